"""Claims of the chapters on the rock."""

from math import isclose


def rock_images(values: dict) -> None:
    """An untrained generator fails at the first line, copies of the images at the likeness."""
    scores, alike = values["scores"], values["likeness"]
    made, chance = scores["made"], scores["unseen images again"]
    for phase in ("pore", "quartz", "feldspar", "clay"):
        error, spread = made[f"{phase}, points"], values["standard error, points"][phase]
        assert abs(error) < 2 + 3 * spread, "within chance, and two points"
    assert 0.7 < made["variety"] < 1.2 and 0.5 < made["small pores"] < 1.5
    assert isclose(alike["14 images"], 1, abs_tol=1e-4)
    if values["pore space"] == "berea":  # else these are not the images it has learnt from
        assert alike["made"] < alike["unseen images"] + 0.1 < 0.9, "no copies"
    seen, ada, without, _ = (row["surface of quartz %"] for row in values["study"].values())
    assert abs(ada - seen) < 0.5 * abs(without - seen), "augmentation keeps a critic honest"
    assert values["sure at the end"]["ADA"] < 0.75 < values["sure at the end"]["no augmentation"]
    rough = "surface of quartz %"
    assert made[rough] > 20 + abs(chance[rough]), "what the chapter warns of"
    for place in ("0", "1"):
        plain, taught = (
            [run[place][rough] for run in values["volumes"][arm]] for arm in ("recipe", "synthetic")
        )
        assert min(taught) > max(plain) + 20, "the volume learns it"
    sent, arrived = values["telephone"].values()
    assert 5 <= sent < 6 and arrived < 0.5 * sent, "a fraction is held by the scan"
    first, *_, last = (row["variety"] for row in values["truncation"].values())
    assert last < 0.9 * first


def rock_x8(values: dict) -> None:
    scan, runs = values["scan"]["0"], [r["0"] for r in values["runs"].values()]
    voted = values["voted"]["0"]
    assert voted["mixed up"] < 0.5 * scan["mixed up"], "neighbours know better"
    found = {name: row["all voxels"] for name, row in values["recall"].items()}
    assert found["super-resolved"] > found["scan"] + 0.02, "of four classes, not of two alone"
    for run in runs:
        assert run["mixed up"] < 2 / 3 * scan["mixed up"], "a third of the error is put right"
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
    assert values["detected"]["good, moved"]["collapsed"] == "", "a move is no collapse"
    assert values["detected"]["no anchor"]["kept"] < 0.9 < values["detected"]["good"]["kept"]
    for row in values["rocks"].values():
        assert row["mixed up, output"] < 2 / 3 * row["mixed up, scan"], "a third is put right"
    for name, rows in values["recall"].items():
        assert rows["output"]["all voxels"] > rows["scan"]["all voxels"] + 0.01, name
    around = values["around small pores"]
    assert around["good"]["quartz"] < 0.5 < around["truth"]["quartz"], "in the wrong mineral"
    for name, row in values["gains"].items():
        most = 0.5 if name.startswith("single") else 0.8
        assert row["gain"] is None or row["gain"] < most, "neighbours know better"
    gaps = [row["45°"] - row["axes"] for row in values["oblique"].values()]
    assert sum(gaps) / len(gaps) < 0.05, "the mean of the classes: one small cube has no spread"
    flat = values["flatness"]
    assert flat["truth"] < 0.9 and flat["output"] < 0.95, "layers are kept"
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


CLAIMS = {
    "40_rock_images": rock_images,
    "41_rock_x8": rock_x8,
    "42_rock_checks": rock_checks,
    "43_rock_flow": rock_flow,
}
