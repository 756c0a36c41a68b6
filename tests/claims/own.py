"""Claims of the chapter on a reader's own files."""


def your_data(values: dict) -> None:
    """Without the phase map, the check of the structure or that of sections a fault has no name."""
    faults, said = values["faults"], values["said"]
    assert "exchanged" in faults["rock: phases exchanged"]
    assert "by their structures" in faults["cathode: half the voxel size"]
    assert "blank" in faults["stack: a blank section"]
    assert sum(values["raised in sound files"].values()) == 0, "and no fault where there is none"
    for rows in said.values():
        for what in ("scale factor", "fine phases look like coarse ones"):
            assert rows[what]["said"] == rows[what]["true"]
    blur = said["rock"]["blur, coarse voxels"]
    low, high = map(float, blur["said"].split("(")[1].rstrip(")").split("to"))
    assert low <= float(blur["true"]) <= high
    off = {key: row["off in errors"] for key, row in values["fractions"].items()}
    assert sum(value <= 1 for value in off.values()) >= len(off) / 2
    verdicts, right = values["verdicts"], values["right"]
    for name, phase in (key.split(": ") for key, value in off.items() if value >= 2.5):
        # Images of the real sandstone have half of the pore of the scanned part: no fair sample.
        assert values["sources"][name] == "real", f"{name}: {phase}"
        assert verdicts[name][f"how much {phase}"]["doubted"], "and the report says so"
    assert verdicts["rock"]["the coarse grid"]["wrong"], "a first look is no result"
    assert verdicts["rock"]["the coarse grid"]["doubted"], "and the report says so"
    assert "the noise" in values["doubts"]["rock"]
    assert not verdicts["cathode"]["the coarse grid"]["wrong"], "a whole training leaves no grid"
    assert not verdicts["cathode"]["the coarse grid"]["doubted"]
    assert "pore and binder" in values["doubts"]["cathode"]
    assert right["cathode"]["of these right"] > right["cathode"]["output"], "noises know something"
    network, cubic = values["decibels"]["network"], values["decibels"]["cubic"]
    expected, true = (network[c] - cubic[c] for c in ("expected", "true"))
    if values["sources"]["stack"] == "twin":
        assert min(expected, true) > 1, "a whole training is better in sections and along the depth"
    else:  # a first look, which may be better or worse than cubic: the sections say which
        assert abs(expected - true) < 0.5
    told = [row["what is said"] for row in values["noticed"].values()]
    assert told[0] == "nothing" and "about" in told[-1]
    for row in values["lost"].values():
        assert row["blur, % lost"] < 1 < row["nearest, % lost"], (
            "the wrong mode contradicts the scan"
        )


CLAIMS = {"61_your_data": your_data}
