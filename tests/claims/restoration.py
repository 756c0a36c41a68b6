"""Claims of the chapters on the restoration of tomography."""

import numpy as np


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


def indi_in_situ(values: dict) -> None:
    """An untrained network gives LQ back, and nothing is gained; unmoved scans do not register."""
    reported = f"InDI, N = {values['steps']}"  # what the chapter calls InDI
    one, lq = (values["cnr"]["whole field"][k] for k in ("InDI, N = 1", "LQ"))
    assert all(a > 1.05 * b for a, b in zip(one, lq, strict=True)), "one step smooths"
    assert one[2] < one[0] and lq[2] < lq[0], "the charged cell has less"
    gains = [np.mean(v) for k, v in values["gain"].items() if k.endswith("whole field")]
    assert gains == sorted(gains, reverse=True), "each step takes some of the gain"
    measured = values["measured"]
    assert measured["LQ"][2] < measured["LQ"][0], "Table 1 falls as in the paper"
    assert min(values["measured_gain"][reported]) > 1.1, "and InDI's is higher at every state"
    assert values["fall"]["contrast, truth"][2] < 95, "swollen particles stand out less"
    width = {k: v[0] for k, v in values["fwhm"].items()}
    longest = max((k for k in width if k.startswith("InDI")), key=lambda k: int(k.split()[-1]))
    assert width[reported] < 0.9 * width["LQ"] and width[longest] < 0.8 * width["LQ"]
    for median, low, high in values["intervals"].values():
        assert low <= median <= high
    medians = {k: v[0] for k, v in values["intervals"].items()}
    ours = next(k for k in medians if k.endswith(", T0")).removesuffix(", T0")
    away = medians[ours] - medians["HQ, cell 0"]
    assert abs(sum(values["price"].values()) - away) <= 1, "the parts make the whole"
    assert values["trend"]["dark share (%)"]["truth"] == "up"
    rows = dict(values["aligned"])
    ringed = rows.pop("T2, rings left in")
    assert rows["T2"]["after"] < ringed["after"], "shared rings hold the scans back"
    for row in rows.values():
        assert row["after"] < 0.75 * row["before"]
        assert abs(row["strain taken up"]) < 0.1 * row["true strain"], "growth is still there"
    assert values["drift"]["1"]["InDI"] < values["drift"]["0"]["InDI"] - 0.05


def indi_segmentation(values: dict) -> None:
    """Untrained segmenters fail, and so does a restorer that gives LQ back."""
    F, ours = "boundary F, ", [name for name in values["steep"] if name.startswith("InDI")]
    for name in ours:  # over all places: on the small sample of a smoke run one may fail
        lq, restored = (np.mean(list(values["steep"][n].values())) for n in ("LQ", name))
        assert restored > 1.1 * lq, "a restored edge is steeper"
    assert 0.002 < values["painted"] < 0.15
    for name, row in values["forests"].items():
        assert row["Dice"] > 0.7, f"the forest learns from strokes on {name}"
    for place, of in values["measured"].items():
        for name, rows in of.items():
            for row in rows:
                simple = values["otsu"][place][name]  # a threshold on the same pictures
                assert row["Dice"] > 0.9 * simple["Dice"], f"{name} on {place}"
                assert row[f"{F}1 px"] > 0.4 * simple[f"{F}1 px"], "borders, not a guess"
                assert row["Dice elsewhere"] > row["Dice near edges"], "errors lie at the edges"
                assert row[f"{F}2 px"] > row[f"{F}1 px"]
    lq, ours_as_is = (values["unlevelled"][n]["cell 0"] for n in ("LQ", values["chosen"]))
    assert np.mean(ours_as_is) > np.mean(lq), "of slices as they are the restored one reads better"
    for of in values["curves"].values():
        for name, share in of.items():
            far, near = min(share[0], share[-1]), min(share[len(share) // 2 - 1 :][:2])
            assert far > near, f"{name}: the valley is at the edge"


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


CLAIMS = {
    "30_indi_theory": indi_theory,
    "31_indi_data": indi_data,
    "32_indi_compare": indi_compare,
    "33_indi_in_situ": indi_in_situ,
    "34_indi_segmentation": indi_segmentation,
    "35_indi_limits": indi_limits,
}
