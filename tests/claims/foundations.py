"""Claims of the chapters on the foundations."""

from math import isclose

import numpy as np

AREAS, LOST = "interface areas, worst error %", "measured voxels lost %"


def tour(values: dict) -> None:
    scores = values["scores"]
    sr = scores["super-resolved"]
    areas = values["areas_against_truth"] or {name: row[AREAS] for name, row in scores.items()}
    assert areas["super-resolved"] < 0.8 * min(areas["nearest"], areas["linear"])
    assert sr[AREAS] < min(scores["nearest"][AREAS], scores["linear"][AREAS]), "nor of the image"
    assert sr[LOST] < 0.5
    assert 0.005 < values["changed_by_noise"] < 0.3, "another noise changes some voxels, not most"
    assert values["swapped"][LOST] > 10, "swapped labels are not this model's material"
    assert values["voxels"]["made"] > 40 * values["voxels"]["measured"]


def metrics(values: dict) -> None:
    for shape, tolerance in (("cube", 1e-9), ("chequerboard", 1e-9), ("ball", 0.02)):
        row = values["areas"][shape]
        assert isclose(row["srlib"], row["on paper"], rel_tol=tolerance)
        assert isclose(row["srlib"], row["shifted array"], rel_tol=1e-9)
    row = values["boundary"]["line of 3 edges"]
    assert isclose(row["srlib"], row["by hand"])
    for name, row in values["transport"].items():
        assert isclose(row["srlib"], row["on paper"], rel_tol=1e-4, abs_tol=1e-12), name
    assert values["two_point_difference"] < 1e-9
    assert isclose(values["stripe_chords"], 1)
    assert values["wave_peak"] == np.hypot(9, 12)
    faults, materials = values["faults"], values["materials"]
    assert isclose(faults["repeated voxels"]["grid imprint"], 3)
    assert faults["layers"]["anisotropy"] > 1 > 10 * faults["anode"]["anisotropy"]
    pores = [material["pore fraction"] for material in materials.values()]
    assert max(pores) - min(pores) < 1e-9, "same fraction, three different materials"
    assert materials["shuffled"]["pore/nickel area"] > 3 * materials["anode"]["pore/nickel area"]
    assert materials["layers"]["transport down"] == 0 < materials["layers"]["transport across"]
    small, large = (
        np.std(values["cubes"][name]["volume_fractions"], 0).max()
        for name in ("cubes of 32³", "cubes of 64³")
    )
    assert large < small, "larger cubes differ less"
    for name, expected in (("area", 1 / 2), ("boundary", 1 / 4), ("transport", 1)):
        assert isclose(values["exercise_ratio"][name], expected, rel_tol=0.1), name


def imaging(values: dict) -> None:
    four = values["weights"]["4"]
    assert np.allclose(four, [0.1195, 0.3805, 0.3805, 0.1195], atol=1e-4)
    for weights in values["weights"].values():
        assert isclose(sum(weights), 1, rel_tol=1e-6) and np.allclose(weights, weights[::-1])
    assert values["operator_gap"] < 1e-5, "one strided kernel is blur and interpolation together"
    kept = [values["binning_keeps"][f"scale factor {s}"]["binder"] for s in (2, 4, 8)]
    assert 1 > kept[0] > kept[1] > kept[2], "the coarser, the less of the thin phase is left"
    differing = values["differing"]["active material"]
    assert differing["block mean"]["4"] < 0.02 < differing["sampled, centre"]["4"]
    assert differing["sampled, corner"]["4"] > 2 * differing["sampled, centre"]["4"]
    for name, expected in (("corner", 1.5), ("centre", -0.5), ("blur", 0)):
        assert abs(values["shift"][name] - expected) < 0.2, name
    loss = {name: row["loss, T = 100"] for name, row in values["loss"].items()}
    assert loss["stairs"] <= loss["truth"] < 0.005 < loss["moved by one"] < loss["another sample"]
    assert values["stairs"]["wrong fine voxels"] > 0.03, "a loss of zero is not the truth"
    assert values["no_blur"] == 33


def slicegan(values: dict) -> None:
    """Without a trained generator most of this fails: the volume has wrong fractions and areas."""
    ours, field = (values["against_truth"][k] for k in ("SliceGAN", "random field"))
    areas = [k for k in ours if "/" in k]
    for row in (values["nine_twin"][k.removesuffix(" %")] for k in areas):
        assert abs(row["SliceGAN - truth"]) < abs(row["random field - truth"])
    mean = [np.mean([abs(row[k]) for k in areas]) for row in (ours, field)]
    assert mean[0] < 0.6 * mean[1], "the network learns how the phases lie around each other"
    assert max(abs(v) for k, v in ours.items() if k.endswith("%") and "/" not in k) < 25
    assert ours["two-point"] < 0.015
    flat, solid = values["joins"].values()
    assert min(solid[:2]) == 1 > max(flat), "phases join in space that do not in a plane"
    assert abs(values["agree"]["SliceGAN and truth"] - values["agree"]["chance"]) < 0.05
    heard = [sorted(set(counts)) for counts in values["heard"].values()]
    assert heard == [[1, 2], [1], [1, 2], [2]], "only the published choice is even and overlaps"
    widths = (32, 1024, 512, 128, 32, 3)
    weights = sum(64 * a * b for a, b in zip(widths, widths[1:], strict=False))
    assert values["parameters"]["generator, published"] == weights + 2 * sum(widths[1:-1])
    for row in values["forms"].values():
        assert row["volume edge"] == row["32 (edge - 2)"]
    assert all(row["same corner"] == "yes" for row in values["timing"].values())
    assert values["seams"]["periodic"] < 1.25 < 1.5 < values["seams"]["plain"]
    chords = values["chords"]
    assert all(abs(row["error %"]) < 50 for row in chords.values())
    along_z, along_x = (chords[f"solid, along {a}"] for a in "zx")
    ratios = [along_x[of] / along_z[of] for of in ("facets", "SliceGAN")]
    assert min(ratios) > 1.2, "solid reaches farther along x, in the facets and in the volume"
    repeats = [row["equal one pitch on"] for row in values["noise"].values()]
    assert repeats[0] < repeats[1] < repeats[2] == 1
    shares = values["sy8"]
    assert max(shares.values()) - min(shares.values()) < 0.06
    made, upper = (row["mean"] for row in values["matches"].values())
    assert made < upper + 0.05, "the volume does not copy the image"


def template(values: dict) -> None:
    scores, wrong = values["scores"], list(values["voxels_wrong"].values())
    assert scores["trilinear"]["voxels right"] > scores["nearest"]["voxels right"] + 0.05
    for method in ("nearest", "trilinear"):
        lost = scores["truth"]["interface per face"] - scores[method]["interface per face"]
        assert lost > 0.05 * scores["truth"]["interface per face"]
    assert wrong == sorted(wrong)


CLAIMS = {
    "00_tour": tour,
    "01_metrics": metrics,
    "02_imaging": imaging,
    "03_slicegan": slicegan,
    "_template": template,
}
