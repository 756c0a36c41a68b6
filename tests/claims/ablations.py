"""Claims of the chapters on the ablations of SuperRes."""

import numpy as np


def scale(values: dict) -> None:
    """With an untrained network nothing is nearer than interpolation."""
    scores = values["scores"]
    for s in ("1.6", "2", "4", "8"):
        network, cnn = scores[f"SuperRes, {s}"], scores[f"CNN, {s}"]
        plain = scores[f"linear, {s}"]
        assert network["statistics off"] < 0.7 * plain["statistics off"], s
        assert cnn["voxels wrong"] < network["voxels wrong"], s
        # At 8 not even the CNN is nearer than interpolation on the synthetic electrode: 23.9 and
        # 23.4 % of the voxels are wrong (on the real one 24.9 and 26.1 %).
        assert s == "8" or cnn["voxels wrong"] < plain["voxels wrong"], s
        assert network["two-point error"] < 0.5 * plain["two-point error"], s
        assert network["binder"] > 0.03, s
    wrong = [scores[f"CNN, {s}"]["voxels wrong"] for s in ("1.6", "2", "4", "8")]
    assert wrong == sorted(wrong), "the larger the factor, the more is wrong"
    assert {"1.6 and 8", "2 and 8", "4 and 8"} <= set(values["apart"]["voxels wrong"])
    for s in ("1.6", "2", "4"):
        network = scores[f"SuperRes, {s}"]["binder that is binder"]
        assert network > 1.2 * scores["truth"]["binder"], "binder is put where some is"
    reach = [
        values["detail"][f"SuperRes, {s}"]["resolution (cycles per voxel)"]
        for s in ("1.6", "2", "4", "8")
    ]
    assert reach == sorted(reach, reverse=True), "the coarser the scan, the less is right"
    sandstone = values["sandstone"]
    ours = sandstone["SuperRes on the real scan, learned from the real"]
    promised = sandstone["SuperRes on the simulated scan, learned from the simulated"]
    linear = sandstone["linear on the real scan"]
    assert len(ours["voxels wrong"]) == 3
    middle = [np.median(row["voxels wrong"]) for row in (promised, ours)]  # one closed its pores
    assert middle[0] < 0.7 * middle[1], "a simulation is easier"
    assert max(ours["surface off"]) < 0.5 * linear["surface off"][0]


def noise(values: dict) -> None:
    """With shuffled noise labels the calibration fails; with a dead noise channel the spread.

    Two rows of the paper do not hold and are expected to fail, with their numbers: the share of
    the noises is not calibrated (6 to 17 times its floor), and for the binder it is worse than
    always saying its fraction (Brier score 1.1 to 1.2 times the constant's). Fig. 17 is another: a
    network that was trained without noise puts nothing into a scan of pore alone.
    """
    error, elsewhere = values["ece_mean"], values["ece_elsewhere"]
    for phase in ("pore", "active material"):
        row = values["brier"][phase]
        assert row["Brier score"] < 0.7 * row["of a constant"], phase
        assert error[phase] < 0.4 * elsewhere[phase], f"{phase}: as if for another place"
    row = values["brier"]["binder"]
    assert row["Brier score"] < 1.3 * row["of a constant"]
    assert error["binder"] < 0.75 * elsewhere["binder"]
    assert max(error[p] / values["ece_floor"][p] for p in error) > 1.5, "calibrated: say so"
    assert values["in_pore"]["without noise"] < 0.001, "there is a pattern: show it"
    assert values["one_voxel_on"]["ratio"] < 3, "Fig. 17 is reproduced: say so"
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


def edges(values: dict) -> None:
    """With an untrained network the two-point functions and the interfaces fail."""
    assert values["reaches"] == {"published": 5, "ours": 8}
    spoiled = [row["differs"] for row in values["spoiled"].values()]
    assert spoiled[0] > spoiled[1] > spoiled[2] > 0.01, "one coarse voxel of cropping is not enough"
    assert spoiled[8:] == [0, 0], "nothing is spoiled deeper than the network looks"
    assert max(row["voxels that differ"] for row in values["seamless"].values()) == 0
    plain = values["scores"]["CNN (supervised)"]
    for name, row in values["scores"].items():
        if "SuperRes" in name:
            assert row["two-point error"] < 0.5 * plain["two-point error"], name
    assert max(values["off"].values()) < 0.15
    known, linear = (values["scan"][k]["pore"] for k in ("3D truth", "linear"))
    for name, row in values["scan"].items():
        if "SuperRes" in name:
            assert abs(row["pore"] - known) < 0.5 * abs(linear - known), "of the pore, relative"
    assert {"pore"} <= set(values["nearer_than_scan"]) & set(values["nearer_than_linear"])


def search(values: dict) -> None:
    """Without steps, without training, or with shuffled voxels, it fails."""
    scores = values["scores"]
    ours, searched = scores["SuperRes"], scores["search, best start"]
    assert ours["coarse voxels lost"] < 0.02
    assert searched["coarse voxels lost"] > ours["coarse voxels lost"]
    assert values["lowered"] < 0.95, "the search goes down"
    linear, equal = scores["linear"], "voxels equal to the truth"
    assert ours["areas off"] < 0.7 * linear["areas off"], "interpolation has no binder"
    assert ours[equal] > searched[equal] > 0.9 * scores["SliceGAN, untouched noise"][equal]
    assert abs(values["agreement"] - values["chance"]) < 0.15
    assert values["floor"] < 0.02, "the known noise gives its scan back"
    for name, row in values["reached"].items():
        if name.startswith("random"):
            assert row["loss at the end"] < row["loss at the start"], name
            near = next(r for k, r in values["reached"].items() if "new" in k)
            assert near["loss at the start"] < row["loss at the start"], "mixed noise is nearer"


def verdicts(values: dict) -> None:
    """Without the rule of three trainings, or with a line that is left out, it fails."""
    rows = values["rows"]
    words = {row["verdict"] for row in rows.values()}
    assert words <= {"confirmed", "refined", "not confirmed", "not tested"}
    missing = {f"AB-{i:02d}" for i in range(1, 29)} - set(rows)
    assert not missing, "each row of the ablations has its line"
    assert len(words) > 2, "a page on which everything holds has not looked"
    assert sum(values["tally"].values()) - values["tally"]["not tested"] > 15
    for name, row in rows.items():
        if row["verdict"] == "confirmed" and row["trainings"] != "–":
            assert int(row["trainings"]) >= 3, f"{name}: a single training confirms nothing"
    assert rows["AB-14"]["verdict"] == "not confirmed", "two facets were enough"
    assert rows["AB-16"]["verdict"] == "refined", "little scan shows its grid"


CLAIMS = {
    "20_scale": scale,
    "21_noise": noise,
    "22_data": amount,
    "23_losses": terms,
    "24_edges": edges,
    "25_search": search,
    "26_verdicts": verdicts,
}
