"""Claims of the chapters on the four cases of SuperRes."""

from math import isclose


def cathode(values: dict) -> None:
    """Without a trained generator there is no binder, and the first assertions fail."""
    sr, random = values["errors"]["SuperRes, seed 0"], values["errors"]["random binder"]
    assert abs(sr["binder %"]) < 30
    for error in ("pore/active material %", "pore/binder %", "active material/binder %"):
        assert abs(sr[error]) < 0.5 * abs(random[error]), error
    assert sr["two-point"] < 0.3 * values["errors"]["linear"]["two-point"]
    assert next(iter(values["quality"].values()))["lost"] < 0.01
    right, wrong = values["phase_map_loss"].values()
    assert 10 * right < wrong
    assert 10 * values["physics"]["mode 'blur'"] < values["physics"]["mode 'nearest'"]
    high = values["high_frequencies"]
    assert high["blurred original"] + 0.5 < high["super-resolved"] < high["original"] + 0.2
    three, two = values["entropy"].values()
    assert three > two > 0, "the binder is free, the active material is held"
    ours, linear = (values["transport_error_percent"][k] for k in ("SuperRes, seed 0", "linear"))
    assert linear["binder"] == -100, "interpolation has none"
    assert abs(ours["binder"]) < 80, "nor would it count if it did not conduct"
    assert abs(ours["pore"]) < 0.6 * abs(linear["pore"])


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
    for way, row in values["transport"].items():
        ours, scan = (abs(x / row["truth"] - 1) for x in (row["SuperRes"][0], row["coarse"]))
        assert ours < 0.6 * scan, way
    study = {arm: row["successful"] for arm, row in values["study"].items()}
    assert [study[arm] for arm in ("6", "2", "1")] == ["1 of 1", "1 of 1", "0 of 1"]
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
    real, synthetic = values["scans"].values()
    for phase in ("pore", "nickel", "ceramic"):
        assert real[f"{phase}, in one body"] > 0.9 > synthetic[f"{phase}, in one body"]
    assert values["specks"]["seed 0"] > values["specks"]["linear"], "what interpolation has not"


def xct_sem(values: dict) -> None:
    """With an untrained generator the binder is no sponge: areas and two-point functions fail."""
    forest, mended = values["segmented"].values()
    assert 0.9 < forest["pixels right"] < mended["pixels right"]
    assert 0 < mended["repainted"] < 0.01, "less than 1 % by hand"
    index = values["simulated_index"]
    assert index["labels"] + 0.01 < index["after the hand"] < index["forest"]
    whole, mosaic = (row["unlike neighbours"] for row in values["mangled"].values())
    assert mosaic > 1.5 * whole
    (sr,), noise = values["runs"].values(), values["worms"]
    assert sr["axes percolating"] == 3 and sr["transport"] > 3 * noise["transport"]
    assert sr["kept"] >= 0.99 and sr["binder"] > 2 * noise["binder"]
    few, many = (values["connected"][share] for share in ("0.111", "0.22"))
    assert few["balls"] == 0 < few["smooth noise"] <= many["smooth noise"]
    (sr,), random = values["quality"].values(), values["baseline"]["random binder"]
    for error in ("fractions", "s2", "imprint"):  # areas belong to the image's active material
        assert sr[error] < 0.7 * random[error], error
    ours, scattered = (values["against_truth"][k] for k in ("SuperRes", "random binder"))
    assert ours["two-point"] < 0.5 * scattered["two-point"]
    for binder in ("binder %", "pore/binder %"):
        assert abs(ours[binder]) < 0.5 * abs(scattered[binder]), binder
    flat = values["against_truth"]["linear"]
    assert abs(ours["active material/binder %"]) < 0.7 * abs(flat["active material/binder %"])
    smaller, same, larger = (row["active material"] for row in values["shifts"].values())
    assert smaller < same < larger
    for row in values["cost"].values():  # every voxel is written, and compressed
        assert 0.1 < row["GB on disk for 1920³"] < 1920**3 / 1e9


CLAIMS = {
    "10_case1_cathode": cathode,
    "11_case2_separator": separator,
    "12_case3_fuel_cell": fuel_cell,
    "13_case4_xct_sem": xct_sem,
}
