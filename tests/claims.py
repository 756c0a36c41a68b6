"""What each notebook claims, checked on the numbers that its run at the smoke profile wrote.

One function a notebook; it gets the ``values`` of the results file and asserts. Limits are what the
chapter says, loosened for the small volumes of a smoke run, but a broken method fails them.
"""

from math import isclose

import numpy as np

AREAS, LOST = "interface areas, worst error %", "measured voxels lost %"


def tour(values: dict) -> None:
    scores = values["scores"]
    sr = scores["super-resolved"]
    assert sr[AREAS] < 0.8 * min(scores["nearest"][AREAS], scores["linear"][AREAS])
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


def cathode(values: dict) -> None:
    """Without a trained generator there is no binder, and the first assertions fail."""
    sr, random = values["errors"]["SuperRes, seed 0"], values["errors"]["random binder"]
    assert abs(sr["binder %"]) < 30
    for error in ("pore/active material %", "active material/binder %", "two-point"):
        assert abs(sr[error]) < abs(random[error]), error
    assert next(iter(values["quality"].values()))["lost"] < 0.01
    right, wrong = values["phase_map_loss"].values()
    assert 10 * right < wrong
    assert 10 * values["physics"]["mode 'blur'"] < values["physics"]["mode 'nearest'"]
    high = values["high_frequencies"]
    assert high["blurred original"] + 0.5 < high["super-resolved"] < high["original"] + 0.2
    three, two = values["entropy"].values()
    assert three > two > 0, "the binder is free, the active material is held"


def separator(values: dict) -> None:
    """With an untrained generator there are no fibrils, and the answers fail."""
    measure = values["measure"]
    five, laid = measure["square of 5"], measure["truth"]["fibril fraction"]
    assert isclose(five["fibril fraction"], laid, rel_tol=0.05)
    assert min(five["true fibrils found"], five["found ones that are true"]) > 0.95
    assert five["fraction in lamellae alone"] < 0.03 * laid
    loss = values["losses"]
    assert loss["truth"]["public code"] < 0.005 < loss["truth"]["plain"]
    assert max(loss["solid everywhere"]["public code"], loss["truth"]["ours"]) < 0.005
    for wrong in ("solid everywhere", "pore everywhere", "truth, moved by a coarse voxel along x"):
        assert loss[wrong]["ours"] > 0.02, wrong
    fed = values["fed"]
    for axis in "zyx":
        fine, facet = (fed[f"{kind} normal to {axis}"] for kind in ("slices", "facets"))
        assert all(isclose(fine[way], facet[way], rel_tol=0.3) for way in ("down", "across")), axis
    rods, quarter = fed["facets normal to z"], fed["facets normal to z, turned"]
    assert rods["across"] > 1.2 * rods["down"] and quarter["down"] > 1.2 * quarter["across"]
    faces = [row["faces / all faces"] for row in values["scan"].values()]
    assert faces[2] > 2 * max(faces[:2]), "lamellae are normal to x"
    errors = values["errors_percent"]
    sr = errors["SuperRes, seed 0"]
    assert errors["linear"]["fibrils"] < -80 and abs(sr["fibrils"]) < 40
    assert abs(sr["area"]) < 0.5 * abs(errors["linear"]["area"])
    assert values["answers"]["pore transport nearer than the scan's, every axis"] == 1
    assert values["answers"]["lamellae normal to x, fibrils along x"] == 1
    assert values["complement_gap"] < 1e-12
    sharp = values["high_frequencies"]
    assert sharp["super-resolved"] - sharp["blurred original"] > 0.8 * (
        sharp["original"] - sharp["blurred original"]
    )
    rows = values["against_facets"].values()  # one small facet may have half as many by chance
    ours, facets = (sum(row[f"{k}: fibrils"] for row in rows) for k in ("output", "facets"))
    assert 0.75 < ours / facets < 1.25


def fuel_cell(values: dict) -> None:
    """Without a trained generator the output is linear interpolation, and most of this fails."""
    (sr,), linear = values["quality"].values(), values["baseline"]["linear"]
    assert sr["lost"] < 0.005
    for error in ("areas", "s2"):
        assert sr[error] < linear[error], error
    assert sr["imprint"] < 0.5 * linear["imprint"]
    assert sr["score"] < 0.6 * min(linear["score"], values["baseline"]["nearest"]["score"])
    gaps = {name: abs(row["tpb_gap"]) for name, row in values["against_truth"].items()}
    assert gaps["seed 0"] < gaps["linear"]
    truth = values["truth_percent"]
    assert truth["SuperRes, seed 0"]["two-point"] < 0.6 * truth["linear"]["two-point"]
    sampled, blurred = values["physics"].values()
    assert sampled["mode 'nearest'"] == 0 < 0.02 < sampled["mode 'blur'"]
    assert blurred["mode 'blur'"] < 0.005 < 0.02 < blurred["mode 'nearest'"]
    assert [form["fine edge"] for form in values["forms"].values()] == [64] * 4
    assert all(row["lost"] < 0.005 for row in values["at8"].values())
    assert values["entropy"]["8"] > values["entropy"]["4"] > 0.01


def slicegan(values: dict) -> None:
    """Without a trained generator most of this fails: the volume has wrong fractions and areas."""
    ours, field = (values["against_truth"][k] for k in ("SliceGAN", "random field"))
    areas = [k for k in ours if "/" in k]
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


def xct_sem(values: dict) -> None:
    """With an untrained generator the binder is no sponge: areas and two-point functions fail."""
    forest, mended = values["segmented"].values()
    assert 0.9 < forest["pixels right"] < mended["pixels right"]
    assert 0 < mended["repainted"] < 0.01, "less than 1 % by hand"
    index = values["simulated_index"]
    assert index["labels"] + 0.01 < index["after the hand"] < index["forest"]
    whole, mosaic = (row["unlike neighbours"] for row in values["mangled"].values())
    assert mosaic > 1.5 * whole
    (sr,), random = values["runs"].values(), values["random_binder"]
    assert sr["axes percolating"] == 3 and random["axes percolating"] == 0
    assert sr["kept"] >= 0.99 and sr["binder"] > 2 * random["binder"]
    (sr,), random = values["quality"].values(), values["baseline"]["random binder"]
    for error in ("fractions", "s2", "imprint"):  # areas belong to the image's active material
        assert sr[error] < 0.7 * random[error], error
    ours, scattered = (values["against_truth"][k] for k in ("SuperRes", "random binder"))
    assert ours["two-point"] < 0.5 * scattered["two-point"]
    for binder in ("binder %", "pore/binder %", "active material/binder %"):
        assert abs(ours[binder]) < 0.5 * abs(scattered[binder]), binder
    smaller, same, larger = (row["active material"] for row in values["shifts"].values())
    assert smaller < same < larger
    for row in values["cost"].values():  # every voxel is written, and compressed
        assert 0.1 < row["GB on disk for 1920³"] < 1920**3 / 1e9


def scale(values: dict) -> None:
    """With an untrained network nothing is nearer than interpolation."""
    scores = values["scores"]
    for s in ("1.6", "2", "4", "8"):
        network, cnn = scores[f"SuperRes, {s}"], scores[f"CNN, {s}"]
        plain = scores[f"linear, {s}"]
        assert network["statistics off"] < 0.7 * plain["statistics off"], s
        assert cnn["voxels wrong"] < plain["voxels wrong"], s
        assert network["binder"] > 0.03, s
    wrong = [scores[f"CNN, {s}"]["voxels wrong"] for s in ("1.6", "2", "4", "8")]
    assert wrong == sorted(wrong), "the larger the factor, the more is wrong"
    power = [
        values["detail"][f"{k}, 8"]["power above the coarse grid"] for k in ("SuperRes", "linear")
    ]
    assert abs(power[0] - 1) < 0.5 * abs(power[1] - 1)
    assert {"1.6 and 8", "2 and 8", "4 and 8"} <= set(values["apart"]["voxels wrong"])
    for s in ("1.6", "2", "4"):
        network = scores[f"SuperRes, {s}"]["binder that is binder"]
        assert network > 1.2 * scores["truth"]["binder"], "binder is put where some is"
    reach = [
        values["detail"][f"SuperRes, {s}"]["resolution (cycles per voxel)"]
        for s in ("1.6", "2", "4", "8")
    ]
    assert reach == sorted(reach, reverse=True), "the coarser the scan, the less is right"


def noise(values: dict) -> None:
    """With shuffled noise labels the calibration fails; with a dead noise channel the spread."""
    assert max(values["ece_mean"].values()) < 0.15
    for row in (values["brier"][p] for p in ("pore", "active material")):
        assert row["Brier score"] < row["of a constant"]
    seam = {name: row["seam / inside"] for name, row in values["seams"].items()}
    assert seam["periodic"] < 1.2 < seam["as it is"]
    assert values["entropy_mean"] > 0.02
    scores = values["scores"]
    vote = next(row for name, row in scores.items() if "vote" in name)
    assert vote["voxels right"] > max(values["one_noise_right"])
    assert values["ratio"] > 1.2, "without noise more repeats than with it"


def amount(values: dict) -> None:
    """A scatter that does not fall with the size, or an image that is not followed, fails."""
    measured = [row["measured"] for row in values["predicted"].values()]
    expected = [row["predicted from one image"] for row in values["predicted"].values()]
    assert measured == sorted(measured, reverse=True)
    assert np.all(np.divide(measured[:3], expected[:3]) < 3)
    assert np.all(np.divide(expected[:3], measured[:3]) < 3)
    nine, cnn = values["scores"]["SuperRes, nine images"], values["scores"]["CNN (supervised)"]
    assert nine["statistics off"] < cnn["statistics off"]
    assert cnn["voxels right"] > nine["voxels right"]


def terms(values: dict) -> None:
    scores = values["scores"]
    assert scores["SuperRes"]["measured voxels lost"] < 0.01
    assert scores["SuperRes"]["statistics off"] < scores["CNN (supervised)"]["statistics off"]
    assert (
        scores["SuperRes"]["imprint of the grid"] < 0.3 * scores["nearest"]["imprint of the grid"]
    )
    assert max(values["luck"]) > 1.2, "an arbitrary late iteration is not as good as the best"
    face = values["at_the_face"]
    assert face["no cut before the critic"] > 1.1 * face["recipe: c 30, b 0.005"]
    for row in values["physics_verdicts"].values():
        assert row["voxels wrong"] > 0.05 and row["measured voxels lost"] > 0.1


def search(values: dict) -> None:
    """A generator that is given the scan, or a target that is not within reach, fails."""
    scores = values["scores"]
    assert scores["SuperRes"]["coarse voxels lost"] < 0.02
    assert scores["search, best start"]["coarse voxels lost"] > 0.02
    equal = "voxels equal to the truth"
    assert scores["SuperRes"][equal] > scores["search, best start"][equal]
    assert abs(values["agreement"] - values["chance"]) < 0.2
    assert values["floor"] < 0.02, "the known noise gives its scan back"
    reached = values["reached"]
    starts = [row["loss at the start"] for name, row in reached.items() if "new" in name]
    assert starts == sorted(starts, reverse=True), "the nearer to the known noise, the lower"


def verdicts(values: dict) -> None:
    words = {row["verdict"] for row in values["rows"].values()}
    assert words <= {"confirmed", "refined", "not confirmed", "not tested"}
    missing = {f"AB-{i:02d}" for i in range(1, 27)} - set(values["rows"])
    assert not missing, "each row of the ablations has its line"
    assert len(words) > 2, "a page on which everything holds has not looked"
    assert sum(values["tally"].values()) - values["tally"]["not tested"] > 15


def edges(values: dict) -> None:
    """With an untrained network the two-point functions and the interfaces fail."""
    assert values["reaches"] == {"published": 5, "ours": 8}
    spoiled = [row["differs"] for row in values["spoiled"].values()]
    assert spoiled[0] > spoiled[1] > spoiled[2] > 0.01, "one coarse voxel of cropping is not enough"
    assert spoiled[8:] == [0, 0], "nothing is spoiled deeper than the network looks"
    assert max(row["voxels that differ"] for row in values["seamless"].values()) == 0
    for name, row in values["scores"].items():
        if "SuperRes" in name:
            assert row["two-point error"] < 0.005
    assert max(values["off"].values()) < 0.15
    assert "pore" in values["nearer_than_scan"]


def indi_theory(values: dict) -> None:
    """An untrained network fails, and so does a sampler with wrong steps or wrong times."""
    assert values["perfect"] < 1e-4, "a perfect network is exact in any number of steps"
    assert values["first"] < 1e-6, "one step is the network itself at t = 1"
    assert values["late"] < 1e-4, "of a network that is wrong by t, 1/N is left"
    assert max(values["missed"]) < 0.2, "the regression answers with the mean of what fits"
    one, many = (values["scores"][f"InDI, {k} steps"] for k in (1, 32))
    near, error = "near a mode", "mean squared error"
    assert one[near][0] < 0.3 and many[near][0] > one[near][0] + 0.3
    assert one[error][0] < 1.05 * values["scores"]["regression"][error][0] + 0.1
    assert many[error][0] > one[error][0] + 0.1, "what looks real is farther from the truth"
    assert 0.1 < many["near a wrong mode"][0] < many[near][0]
    late = values["stopped"]["8"]
    assert late["schedule of k, near a mode"] > late["stopped in 64, near a mode"]


def indi_data(values: dict) -> None:
    """Without registration, without the reduction of rings, or with motions turned round, fails."""
    scores, rings = values["scores"], values["rings"]
    assert scores["rigid, then shift"] < 0.4 * scores["not registered"]
    assert max(values["cells"]) < 0.4 * scores["not registered"]
    assert rings["rings reduced"]["CNR"] > 1.05 * rings["as reconstructed"]["CNR"]
    for row in values["strains"].values():
        assert abs(row["taken up, rigid"]) < 0.1 * row["true strain"], "a rigid motion has none"


def indi_compare(values: dict) -> None:
    """Untrained networks give LQ back, and a sampler of one step has no sweep: both fail."""
    width, scores = values["fwhm"], values["scores"]
    (ours,) = (k for k in width if k.startswith("InDI"))
    for name in ("CNN", "GAN", ours):
        assert width[name] < 0.75 * width["LQ"], name
    for name in ("CNN", ours):
        assert scores[name]["PSNR to truth"] > scores["unsharp mask"]["PSNR to truth"], name
    assert scores["GAN"]["high band"] > 5 * scores["CNN"]["high band"], "the mean has no texture"
    first, *_, last = values["sweep"].values()
    assert last["mid band"] > 1.2 * first["mid band"] and last["high band"] > first["high band"]
    assert last["widths nm"] < first["widths nm"] and last["CNR"] < first["CNR"]
    assert last["PSNR to truth"] < first["PSNR to truth"], "sharper is not truer"
    for unit in ("px", "°"):
        loss = [row["PSNR"] for name, row in values["shifts"].items() if name.endswith(unit)]
        assert len(loss) > 2 and loss == sorted(loss, reverse=True), unit
    assert len(values["upsample"]) == 5 and len(values["calls"]["InDI"]) > 2


def indi_segmentation(values: dict) -> None:
    """Untrained segmenters fail, and so does a restorer that gives LQ back."""
    ours = [name for name in values["steep"] if name.startswith("InDI")]
    for name in ours:  # over all places: on the small sample of a smoke run one may fail
        lq, restored = (np.mean(list(values["steep"][n].values())) for n in ("LQ", name))
        assert restored > 1.1 * lq, "a restored edge is steeper"
    assert 0.002 < values["painted"] < 0.15
    for name, row in values["forests"].items():
        assert row["Dice"] > 0.7, f"the forest learns from strokes on {name}"
    for place, of in values["measured"].items():
        for name, rows in of.items():
            for row in rows:
                assert row["Dice"] > 0.65, f"{name} on {place}"
                assert row["Dice elsewhere"] > row["Dice near edges"], "errors lie at the edges"
                assert row["boundary F, 2 px"] > row["boundary F, 1 px"]
    means = values["means"]["cell 0"]
    assert means["HQ"] > means["LQ"]
    lq, ours_as_is = (values["unlevelled"][n]["cell 0"] for n in ("LQ", values["chosen"]))
    assert np.mean(ours_as_is) > np.mean(lq), "of slices as they are the restored one reads better"
    assert min(values["drift"][n] for n in ours) < values["drift"]["LQ"]
    for of in values["curves"].values():
        for name, share in of.items():
            far, near = min(share[0], share[-1]), min(share[len(share) // 2 - 1 :][:2])
            assert far > near, f"{name}: the valley is at the edge"


def indi_in_situ(values: dict) -> None:
    """An untrained network gives LQ back, and nothing is gained; unmoved scans do not register."""
    one, lq = (values["cnr"]["whole field"][k] for k in ("InDI, N = 1", "LQ"))
    assert all(a > 1.05 * b for a, b in zip(one, lq, strict=True)), "more contrast at every state"
    assert one[2] < one[0] and lq[2] < lq[0], "the charged cell has less"
    gains = [np.mean(v) for k, v in values["gain"].items() if k.endswith("whole field")]
    assert gains == sorted(gains, reverse=True), "each step takes some of the gain"
    measured = values["measured"]
    assert measured["LQ"][2] < measured["LQ"][0], "Table 1 falls as in the paper"
    assert min(values["measured_gain"]["InDI, N = 1"]) > 1.1, "and InDI's is higher at every state"
    assert values["fall"]["contrast, truth"][2] < 95, "swollen particles stand out less"
    width = {k: v[0] for k, v in values["fwhm"].items()}
    assert min(v for k, v in width.items() if k.startswith("InDI")) < 0.8 * width["LQ"]
    for median, low, high in values["intervals"].values():
        assert low <= median <= high
    medians = {k: v[0] for k, v in values["intervals"].items()}
    ours = next(k for k in medians if k.endswith(", T0")).removesuffix(", T0")
    away = medians[ours] - medians["HQ, cell 0"]
    assert abs(sum(values["price"].values()) - away) <= 1, "the parts make the whole"
    assert values["trend"]["dark share (%)"]["truth"] == "up"
    for row in values["aligned"].values():
        assert row["after"] < 0.75 * row["before"]
        assert row["after"] < row["after, rings left in"], "shared rings hold the scans back"
        assert abs(row["strain taken up"]) < 0.1 * row["true strain"], "growth is still there"
    assert values["drift"]["1"]["InDI"] < values["drift"]["0"]["InDI"] - 0.05


def indi_limits(values: dict) -> None:
    """Untrained networks give LQ back: no edge is narrower, nothing is right to finer detail."""
    rows, gain = values["rows"], values["gain"]
    last = max((k for k in rows if "InDI" in k), key=lambda k: int(k.split("=")[1]))
    looks, right = gain[last]
    assert looks > 1.3 and looks > 1.2 * right, "it looks sharper than it is right"
    assert gain["deconvolved"][0] > 1.1 > gain["deconvolved"][1], "sharpening adds nothing"
    cnn, indi = (np.mean(values["little"][k]["PSNR (dB), this cell"]) for k in ("CNN", "InDI"))
    assert cnn > indi, "the mean of many answers has the smallest error"
    assert gain["HQ"][1] > right, "a fine scan is right to finer detail than a restored one"
    lost = {k: [*v.values()][0] - [*v.values()][-1] for k, v in values["spaced"].items()}
    assert lost["truth"] > 5 > 1 > max(v for k, v in lost.items() if k != "truth")
    assert values["coherence"]["truth"] < min(values["coherence"][k] for k in ("LQ", last))
    for method in ("InDI", "CNN", "GAN"):
        whole, small = (values["little"][f"{method}{k}"] for k in ("", ", 1/64"))
        for column in ("PSNR (dB), T0", "PSNR (dB), T2"):
            assert np.mean(small[column]) < np.mean(whole[column]), (method, column)


def template(values: dict) -> None:
    scores, wrong = values["scores"], list(values["voxels_wrong"].values())
    assert scores["trilinear"]["voxels right"] > scores["nearest"]["voxels right"] + 0.05
    for method in ("nearest", "trilinear"):
        lost = scores["truth"]["interface per face"] - scores[method]["interface per face"]
        assert lost > 0.05 * scores["truth"]["interface per face"]
    assert wrong == sorted(wrong)


def rock_images(values: dict) -> None:
    """An untrained generator fails at the first line, copies of the images at the likeness."""
    scores, alike = values["scores"], values["likeness"]
    made, chance = scores["made"], scores["unseen images again"]
    for phase in ("pore", "quartz", "feldspar", "clay"):
        error, spread = made[f"{phase}, points"], chance[f"{phase}, points"]
        assert abs(error) < 5 > abs(spread), "three standard errors of a thousand squares"
    assert 0.7 < made["variety"] < 1.2 and 0.5 < made["small pores"] < 1.5
    assert isclose(alike["14 images"], 1, abs_tol=1e-4)
    assert alike["made"] < alike["unseen images"] + 0.1 < 0.9, "no copies"
    seen, ada, without, _ = (row["surface of quartz %"] for row in values["study"].values())
    assert abs(ada - seen) < 0.5 * abs(without - seen), "augmentation keeps a critic honest"
    assert values["sure at the end"]["ADA"] < 0.75 < values["sure at the end"]["no augmentation"]
    rough = "surface of quartz %"
    assert made[rough] > 50 > abs(chance[rough]), "what the chapter warns of"
    for place in ("0", "1"):
        plain, taught = (
            [run[place][rough] for run in values["volumes"][arm]] for arm in ("recipe", "synthetic")
        )
        assert min(taught) > max(plain) + 20, "the volume learns it"
    sent, arrived = values["telephone"].values()
    assert 5 <= sent < 6 and arrived < 0.5 * sent, "a fraction is held by the scan"
    variety = [row["variety"] for row in values["truncation"].values()]
    assert variety == sorted(variety, reverse=True)


def rock_x8(values: dict) -> None:
    scan, runs = values["scan"]["0"], [r["0"] for r in values["runs"].values()]
    voted = values["voted"]["0"]
    assert voted["mixed up"] < 0.5 * scan["mixed up"], "neighbours know better"
    for run in runs:
        assert run["mixed up"] < 2 / 3 * scan["mixed up"], "a third of the error is put right"
        assert run["two-point"] < 0.7 * scan["two-point"]
        assert abs(run["pore, points"]) < 3 and abs(run["clay, points"]) < 3
        assert 0.3 < run["small pores"] < 3 and scan["small pores"] < 0.05
        surfaces = [f"surface of {phase} %" for phase in ("pore", "quartz", "feldspar", "clay")]
        off, before, after = (sum(abs(row[k]) for k in surfaces) for row in (run, scan, voted))
        assert off < 0.7 * min(before, after)
    assert values["shuffled"] > 1.5 * runs[0]["mixed up"], "minerals come from the scan"
    changed = values["changed by noise"]
    assert 0.001 < changed["all"] < 0.1 and changed["quartz"] < changed["clay"]
    memory = [row["GB"] for row in values["memory"].values()]
    assert memory[0] < memory[1] < memory[2] and memory[3] < min(2, memory[2])
    ways = values["ways"]
    assert 20 * ways["windows"]["GB"] < min(r["GB"] for k, r in ways.items() if k != "windows")
    assert max(row["GB"] for row in ways.values()) == ways["plain"]["GB"]
    blurred, single = (values["anchors"][k]["small pores"] for k in ("recipe", "nearest"))
    assert max(single) < 0.7 * min(blurred), "what the anchor leaves free has no texture"
    steps = values["sixteen"]["errors"]
    large, both = (steps[k] for k in ("overview", "two networks"))
    assert sum(abs(both[k]) for k in surfaces) < 0.6 * sum(abs(large[k]) for k in surfaces)
    assert both["small pores"] > 0.5 and large["small pores"] < 0.05


def rock_checks(values: dict) -> None:
    assert values["fires"] == [True] * 3, "each sign is detected where it is forced"
    assert values["silent"], "and not on the good network"
    scores = values["scores"]
    assert scores["no critic"]["small pores"] < 0.2 < scores["good"]["small pores"]
    assert values["detected"]["no noise"]["diversity"] == 0
    assert values["detected"]["good, moved"]["collapsed"] == "", "a move is no collapse"
    assert values["detected"]["no anchor"]["kept"] < 0.9 < values["detected"]["good"]["kept"]
    for row in values["rocks"].values():
        assert row["mixed up, output"] < 2 / 3 * row["mixed up, scan"], "a third is put right"
        assert row["two-point, output"] < row["two-point, scan"]
    around = values["around small pores"]
    assert around["good"]["quartz"] < 0.5 < around["truth"]["quartz"], "in the wrong mineral"
    for name, row in values["gains"].items():
        most = 0.35 if name.startswith("single") else 0.7
        assert row["gain"] is None or row["gain"] < most, "neighbours know better"
    assert all(gaps["45°"] < gaps["axes"] + 0.05 for gaps in values["oblique"].values())
    flat = values["flatness"]
    assert flat["truth"] < 0.9 and flat["output"] < 0.95, "layers are kept"
    assert abs(flat["output"] - flat["scan"]) < 0.1, "as the scan shows them"
    assert values["norms"]["with"] < 2 < values["norms"]["without"]


def rock_flow(values: dict) -> None:
    for row in values["ruler"].values():
        assert isclose(row["k"], row["on paper"], rel_tol=0.01)
    errors = values["errors"]
    for number in ("pore", "bulk modulus (GPa)"):
        assert errors[number]["error of the output %"] < errors[number]["error of the scan %"]
    filled, blocks = values["effects"].values()
    assert filled["pore"] < 0 and abs(filled.get("k (mD)", 0)) < 5, "small pores carry no flow"
    assert blocks["pore"] < filled["pore"]


def fibsem(values: dict) -> None:
    """A generator that has learnt nothing is linear interpolation, and the first line fails."""
    scores = values["scores"]
    plain = [row["dB"] for name, row in scores.items() if name != "SRGAN"]
    assert scores["SRGAN"]["dB"] > max(plain) + 1
    assert scores["SRGAN"]["flipped %"] < scores["linear"]["flipped %"]
    assert scores["linear, half a plane off"]["dB"] < scores["linear"]["dB"]
    assert abs(values["fraction"]["90"] - 0.16) < 0.005
    assert values["offsets"] == {"2": [-1, 0], "4": [-2, -1, 0, 1], "8": list(range(-4, 4))}
    alignment = values["alignment"]
    left = alignment["left, 1 section in 1"]
    assert left < 0.7 * alignment["slip"], "a small field errs more"
    assert left < alignment["left, 1 section in 8"]
    assert values["across"]["SRGAN"] > values["across"]["cubic"] + 1
    counts = values["counts"]
    assert [counts[f"tiles to learn from, n = {n}"] for n in (2, 4, 8)] == [127160, 63580, 31790]
    assert [counts[k] for k in ("tiles of a plane", "of one direction", "of both")] == [
        276,
        179400,
        358800,
    ]
    joints = values["joints"]
    assert (
        joints["two sections left out"]["grey levels off"]
        < 0.5 * joints["nothing left out"]["grey levels off"]
    ), "what is left out at each side is what is wrong"
    assert values["file is the same"]
    ways = values["planes"]
    assert ways["both"]["dB"] > max(ways["xz"]["dB"], ways["yz"]["dB"])
    assert values["other section"]["first kept"] < values["other section"]["middle kept"] - 1


def fibsem_tables(values: dict) -> None:
    for n, db in (("2", 39.0), ("4", 32.4), ("8", 27.1)):
        assert abs(values["input"]["easy"][n][0] - db) < 2
        assert round(values["input"]["milled"][n][0], 1) == db, "as printed"
    for row in values["bound"].values():
        assert row["paper"] > row["at most, if evenly cut"], "no even stack has these errors"
    odd = [values["scale"][name].pop("4") for name in ("cubic", "linear")]
    scale = [x for row in values["scale"].values() for x in row.values()]
    assert max(scale) / min(scale) < 1.03, "one factor, but for two cells, swapped or not"
    assert all(abs(x / scale[0] - 1) > 0.05 for x in odd)
    gains = values["gains"]
    for n, easy, harder in ((2, 1, 0), (4, 2, 0), (8, 4, 1)):
        assert gains[f"easy, n = {n}"]["gain"] > easy
        assert gains[f"harder, n = {n}"]["gain"] > harder
        assert gains[f"harder, n = {n}"]["low"] > 0
    seen, orders = values["perception"], [list(row.values()) for row in values["orders"].values()]
    assert abs(seen["SRGAN"]["surface %"]) < min(8, abs(seen["CNN, equal time"]["surface %"]))
    assert orders == [[0, 0], [1, 1], [0, 0], [1, 1]], "best at 8 and at 2; cubic before linear"
    for look in ("easy", "harder"):
        right, off = (
            values["grey"][f"{way}, {look}"]["2"][0] for way in ("cubic", "cubic, OpenCV")
        )
        assert right - off > gains[f"{look}, n = 2"]["gain"], "half a plane costs more"
    first = values["grey"]["input, first of n, easy"]["8"][0]
    assert first < 25.3 < values["grey"]["input, easy"]["8"][0], "nearest of the paper is between"


def fibsem_worth(values: dict) -> None:
    published = {"n = 2": 23.3, "n = 4": 7.8, "n = 8": 3.4}
    for n, specimens in published.items():
        assert isclose(values["balance"][n]["specimens"], specimens, abs_tol=0.05)
        assert values["balance"][n]["specimens, ours"] < 1
    scores, away = values["scores"], values["scattering"]
    assert scores["SRGAN"]["dB"] > scores["cubic"]["dB"] + 1
    for name in ("linear", "SRGAN"):
        assert away[f"{name}, as measured"] < away[name], "it scatters more as measured"
    assert scores["linear, as measured"]["dB"] < scores["SRGAN"]["dB"]
    for rows in (values["uneven"], values["stretched"]):
        first, *_, last = (row["SRGAN, dB"] - row["cubic, dB"] for row in rows.values())
        assert last < first, "what is taken for granted matters"


CLAIMS = {
    "00_tour": tour,
    "01_metrics": metrics,
    "02_imaging": imaging,
    "03_slicegan": slicegan,
    "10_case1_cathode": cathode,
    "11_case2_separator": separator,
    "12_case3_fuel_cell": fuel_cell,
    "13_case4_xct_sem": xct_sem,
    "20_scale": scale,
    "21_noise": noise,
    "22_data": amount,
    "23_losses": terms,
    "24_edges": edges,
    "25_search": search,
    "26_verdicts": verdicts,
    "30_indi_theory": indi_theory,
    "31_indi_data": indi_data,
    "32_indi_compare": indi_compare,
    "33_indi_in_situ": indi_in_situ,
    "34_indi_segmentation": indi_segmentation,
    "35_indi_limits": indi_limits,
    "40_rock_images": rock_images,
    "41_rock_x8": rock_x8,
    "42_rock_checks": rock_checks,
    "43_rock_flow": rock_flow,
    "50_fibsem_pipeline": fibsem,
    "51_fibsem_tables": fibsem_tables,
    "52_fibsem_worth": fibsem_worth,
    "_template": template,
}
