"""How far a volume can be believed: its numbers, sentences and page."""

import base64
import io
import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from srlib import models, viz
from srlib.cli.superres import superres as superres_command
from srlib.data import Case
from srlib.inference import assessment
from srlib.inference.assessment import assess, disagreement, doubts, fraction_errors
from srlib.inference.superres import superres
from srlib.physics.downsampling import simulate_lr
from srlib.viz.report import CITATION, MAX_BYTES, NBSP, _provenance, _verdict, percent, report_html

ROOT = Path(__file__).resolve().parents[1]
SCALE = 2
VOID = {"meta", "img", "input", "br", "link"}


def grains(shape, seed=0, sigma=3.0):
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma, mode="wrap")
    return (field > np.quantile(field, 0.6)).astype(np.uint8)


def make_case(phases=("pore", "solid"), **options):
    truth = grains((72, 72, 72))
    lr = simulate_lr(truth, SCALE, phase=1)["lr"]
    how = dict(hr=[grains((256, 256), 1)], lr=lr, truth=truth, phases=list(phases))
    return Case("mine", scale_factor=SCALE, lr_phases=list(phases), **(how | options))


@pytest.fixture(scope="module")
def case():
    return make_case()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return models.SuperResLite(2, 2, SCALE, width=4, blocks=1, refine_channels=4).eval()


@pytest.fixture(scope="module")
def right(case):
    """The true volume as the output."""
    return case.truth[(slice(SCALE, -SCALE),) * 3]


@pytest.fixture(scope="module")
def found(case, network, right):
    return assess(network, case, right, samples=2, edge=64)


def about(found):
    return {d["about"]: d["says"] for d in found["doubts"]}


class Page(HTMLParser):
    """Tags, the text of cells and of items; refuses a tag that is not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text, self.cells = [], [], "", []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th", "dd", "dt", "li"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data
            if {"td", "th", "dd", "dt", "li"} & set(self.open):
                self.cells[-1] += data


# Numbers


def test_the_error_of_a_fraction_is_that_of_independent_grains():
    cells = np.random.default_rng(0).random((64, 64)) < 0.3
    image = np.kron(cells, np.ones((6, 6))).astype(np.uint8)
    wanted = 1.96 * math.sqrt(0.3 * 0.7 / cells.size)
    assert fraction_errors(image, 2) == pytest.approx([wanted] * 2, rel=0.15)
    four = [image[i : i + 192, j : j + 192] for i in (0, 192) for j in (0, 192)]
    assert fraction_errors(four, 2) == pytest.approx([wanted] * 2, rel=0.2)
    assert fraction_errors(image, 3)[2] == np.inf


def test_disagreement_is_the_share_that_is_outvoted():
    samples = [np.uint8([[[0, 1, 2]]]), np.uint8([[[0, 1, 0]]]), np.uint8([[[0, 2, 1]]])]
    assert disagreement(samples) == pytest.approx(np.array([[[0, 1 / 3, 2 / 3]]]))


def test_the_middle_is_the_voxels_of_the_whole(case, network):
    whole = superres(network, case.lr, seed=3)
    middle = assess(network, case, samples=2, seed=3, edge=40)
    cut = tuple(slice(a, b) for a, b in middle["part"])
    assert middle["volumes"]["output"].shape == (40, 40, 40)
    assert (middle["volumes"]["output"] == whole[cut]).all()
    again = assess(network, case, whole, samples=2, seed=3, edge=40)
    assert (again["volumes"]["disagreement"] == middle["volumes"]["disagreement"]).all()
    shares = np.bincount(whole.ravel(), minlength=2) / whole.size
    assert [row["output"] for row in again["fractions"].values()] == pytest.approx(list(shares))


def test_the_middle_is_made_of_tiles_that_fit(case, network, monkeypatch):
    cut = (slice(6, 29),) * 3
    whole = assessment._sample(network, case.lr, 3, cut, 1)
    monkeypatch.setattr(assessment, "tile_edge", lambda model: 9)
    assert (assessment._sample(network, case.lr, 3, cut, 1) == whole).all()


def test_coarse_voxels_and_interpolation_lie_where_the_output_does(case, found):
    volumes, start = found["volumes"], [a for a, _ in found["part"]]
    low = [SCALE + a for a in start]
    at = tuple(slice(a, a + n) for a, n in zip(low, volumes["output"].shape, strict=True))
    assert (case.truth[at] == volumes["output"]).all()
    assert np.mean(volumes["interpolation"] == volumes["output"]) > 0.9
    assert found["consistency"]["output"] == 1
    assert np.mean(volumes["interpolation"][8:] == volumes["output"][:-8]) < 0.8


def test_the_true_volume_raises_no_doubt_of_its_own(found):
    raised = set(about(found)) - {"a place", "the border", "the noise"}
    assert not {a for a in raised if not a.startswith(("transport", "where", "how much"))}
    assert found["fractions"]["solid"]["output"] == pytest.approx(0.4, abs=0.01)
    assert "should be" not in " ".join(about(found).values())


def test_a_planted_wrong_fraction_is_found_and_shown(case, network, right):
    wrong = binary_dilation(right).astype(np.uint8)
    bad = assess(network, case, wrong, samples=2, edge=48)
    says = [d["says"] for d in bad["doubts"] if d["about"] == "how much solid"]
    share = wrong.mean()
    assert any(f"solid is {share:.1%} of the output and should be 40.0%" in s for s in says)
    assert any("believe it, not the output" in s for s in says)
    assert "the scan" in about(bad)
    page = report_html(bad, case)
    part = page[page.index('<section id="doubts">') :]
    part = Page(part[: part.index("</section>") + len("</section>")])
    assert all(any(s in cell for cell in part.cells) for s in says)


@pytest.mark.parametrize(("shift", "judged"), [(0.001, True), (0.2, False)])
def test_boundaries_count_where_the_fine_images_have_the_fractions(case, network, shift, judged):
    """Of a user's files fractions are always named: those of scan and images, weighed."""
    named = case.target_fractions() + [shift, -shift]
    smooth = np.zeros([SCALE * (n - 2) for n in case.lr.shape], np.uint8)
    smooth[: round(len(smooth) * named[1])] = 1
    found = assess(network, replace(case, fractions=named), smooth, samples=2, edge=48)
    assert found["judged_fractions"] is judged
    assert any(a.startswith("boundary") for a in about(found)) is judged


def test_noise_that_changes_nothing_names_no_place(found):
    noise = dict(found["noise"], disagree=1e-4, cubes_mean=1e-4, cubes_spread=1e-4)
    noise["places"] = [{"start": [0, 0, 0], "disagree": 2e-3}]
    assert "a place" not in {d["about"] for d in doubts(found | {"noise": noise})}


def test_slanted_rows_are_seen_and_in_which_planes(case, found, network, right):
    assert all(row["output"] < 0.1 for row in found["slant"].values())
    z, y, x = np.indices(right.shape)
    rows = np.where((x + z) % 6 < 2, 0, right).astype(np.uint8)  # across one diagonal, normal to y
    bad = assess(network, case, rows, samples=2, edge=48)
    assert bad["slant"]["solid"]["normal"] == "y" and bad["slant"]["solid"]["output"] > 0.3
    assert "in planes normal to y" in about(bad)["rows of solid"]


def test_calibration_is_counted_where_a_truth_is_known(case, found, network, right):
    agree = found["volumes"]["disagreement"] == 0
    level = found["calibration"]
    assert level["measured"] and level["agree"] == pytest.approx(agree.mean())
    assert level["right"] == 1  # the first noise is the truth itself
    none = assess(network, make_case(truth=None), right, samples=2, edge=32)["calibration"]
    assert none == {"measured": False, **assessment.CALIBRATED}


def test_each_sentence_follows_from_its_number(found):
    quiet = {
        "phases": ["pore", "solid"],
        "lr_phases": ["pore", "solid"],
        "phase_map": [[1, 0], [0, 1]],
        "judged_fractions": True,
        "iterations": None,
        "part": [(4, 68)] * 3,
        "border": 0,
        "fractions": {"solid": row(0.4, 0.4)},
        "scan": {"solid": {"scan": 0.4, "output": 0.4, "interpolation": 0.4}},
        "areas": {"pore/solid": row(0.1, 0.1)},
        "specks": {"solid": row(0.01, 0.01) | {"below": 9.0}},
        "s2": {"output": 0.001, "interpolation": 0.1, "chance": 0.002},
        "consistency": {"output": 1.0, "interpolation": 1.0},
        "imprint": {"output": 0.01, "interpolation": 0.5},
        "anisotropy": {"output": 0.01, "interpolation": 0.01},
        "slant": {"solid": slant(0.03)},
        "transport": {
            "volume": {
                "solid": {"output": [0.1] * 3, "interpolation": [0.1] * 3, "over noises": 0.001}
            }
        },
        "noise": {
            "same": {"solid": 0.9},
            "disagree": 0.1,
            "places": [{"start": [0, 8, 0], "disagree": 0.12}],
            "cubes_mean": 0.1,
            "cubes_spread": 0.01,
            "cube": 8,
        },
    }
    assert doubts(quiet) == []
    noise = quiet["noise"]
    flow = {"output": [0.2] * 3, "interpolation": [0.1] * 3, "over noises": 0.004}
    planted = {
        "the training": {"iterations": 749},
        "how much solid": {"fractions": {"solid": row(0.43, 0.4)}},
        "boundary pore/solid": {"areas": {"pore/solid": row(0.13, 0.1)}},
        "specks of solid": {"specks": {"solid": row(0.04, 0.01) | {"below": 9.0}}},
        "two-point functions": {"s2": quiet["s2"] | {"output": 0.005}},
        "the scan": {"consistency": {"output": 0.99, "interpolation": 1.0}},
        "the coarse grid": {"imprint": {"output": 0.2, "interpolation": 0.5}},
        "rows of solid": {"slant": {"solid": slant(0.3)}},
        "direction": {"anisotropy": {"output": 0.2, "interpolation": 0.01}},
        "transport through solid": {"transport": {"volume": {"solid": flow}}},
        "where solid is": {"noise": noise | {"same": {"solid": 0.4}}},
        "the noise": {"noise": noise | {"disagree": 0.001}},
        "a place": {"noise": noise | {"places": [{"start": [0, 8, 0], "disagree": 0.2}]}},
        "the border": {"border": 12},
        "pore and solid": {"lr_phases": ["rest"], "phase_map": [[1], [1]], "scan": {}},
    }
    for name, change in planted.items():
        assert [d["about"] for d in doubts(quiet | change)] == [name]
    assert doubts(quiet | {"iterations": 750}) == []
    short = doubts(quiet | planted["the border"] | {"iterations": 60})
    assert [d["about"] for d in short] == ["the training", "the border"], "it comes first"
    wanted = "trained for 60 iterations, where 1500 are usual: a test of the files, not a result."
    assert short[0]["says"] == wanted
    weak = {"output": 0.0568, "fine images": 0.0033, "interpolation": 0.0329, "chance": 0.0152}
    (rows,) = doubts(quiet | {"slant": {"solid": weak | {"normal": "x"}}})
    assert "slightly slanted rows" in rows["says"] and "5.7% more boundary" in rows["says"]
    (place,) = doubts(quiet | planted["a place"])
    assert "20% of the voxels in the cube z 4 to 12, y 12 to 20, x 4 to 12" in place["says"]


def test_the_iterations_are_those_of_the_model_and_of_the_command(found):
    usual = {p.name: p.default for p in superres_command.params}["iterations"]
    assert usual == assessment.USUAL
    assert found["iterations"] is None
    for meta in (None, {}, {"recipe": None}, {"recipe": {"width": 4}}):
        assert assessment._iterations(SimpleNamespace(meta=meta)) is None
    assert assessment._iterations(SimpleNamespace(meta={"recipe": {"iterations": 60}})) == 60


def slant(output):
    seen = {"fine images": 0.01, "interpolation": 0.02}
    return {"output": output, "normal": "y", "chance": 0.02} | seen


def row(output, images, error=0.01):
    return {
        "output": output,
        "output error": error / 2,
        "fine images": images,
        "fine images error": error / 2,
        "interpolation": images,
    }


def test_the_verdict_follows_from_the_doubts():
    def verdict(*kinds):
        return Page(
            _verdict([{"about": a, "says": f"{a} it is", "kind": k} for a, k in kinds])
        ).text

    nothing = "Nothing stands out against the fine images and the scan"
    assert verdict().startswith(nothing) and "Where not to" not in verdict()
    care = verdict(("the border", "unsure"))
    assert care.startswith(nothing) and "Take with care: the border. Read Where not" in care
    one = verdict(("the coarse grid", "wrong"), ("the border", "unsure"))
    assert one.startswith("One thing is off") and nothing not in one
    twice = [("how much a", "wrong"), ("how much a", "wrong"), ("rows of a", "wrong")]
    two = verdict(*twice)
    assert two.startswith("Two things are off") and "allow: how much a and rows of a." in two
    many = verdict(*((f"d{k}", "wrong") for k in range(12)))
    assert many.startswith("12 things are off") and "d0, d1, d2 and 9 more." in many
    assert verdict(("short", "training")).startswith("Short it is Read"), "and no comfort"


def test_the_levels_quoted_are_those_that_are_stored():
    noise = json.loads((ROOT / "results/full/21_noise.json").read_text())
    values, level = noise["values"], assessment.CALIBRATED
    assert noise["source"] == "real"
    assert level["agree"] == values["agree"] and level["right"] == values["right_where_all_agree"]
    assert level["calibration_error"] == max(values["ece_mean"].values())
    assert level["samples"] == len(values["one_noise_right"])
    edges = json.loads((ROOT / "results/full/24_edges.json").read_text())
    spoiled, border = edges["values"]["spoiled"], assessment.BORDER
    assert edges["source"] == "real"
    assert border["outermost"] == spoiled["coarse voxel 2"]["differs"]  # 1 is cropped
    assert border["deeper"] == spoiled[f"coarse voxel {border['coarse'] + 1}"]["differs"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 1}, "two or more noises"),
        ({"edge": 8}, "at least 32"),
        ({"sr": np.zeros((10, 10, 10), np.uint8)}, "give the output of this volume"),
    ],
)
def test_what_cannot_be_assessed_is_refused_in_a_sentence(case, network, options, words):
    with pytest.raises(ValueError, match=words):
        assess(network, case, **options)


def test_another_model_or_no_scan_is_refused(case):
    with pytest.raises(ValueError, match="knows 3 coarse phases and the case has 2"):
        assess(models.SuperResLite(3, 3, SCALE, width=4, blocks=1), case)
    alone = Case("noise", [grains((64, 64))], None, SCALE, ["pore", "solid"], [])
    with pytest.raises(ValueError, match="no coarse volume"):
        assess(models.SuperResLite(2, 2, SCALE, width=4, blocks=1), alone)


# The page


@pytest.fixture(scope="module")
def written(case, network, right, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    how = dict(samples=2, edge=64, inputs={"coarse volume": "a<b>.tif"})
    viz.report(path, network, case, right, voxel_size=0.05, title="<Anode> & co", **how)
    return path


def test_the_numbers_on_the_page_are_those_of_the_assessment(written, found):
    cells = Page(written.read_text()).cells
    for table in ("fractions", "areas", "specks"):
        for name, r in found[table].items():
            both = [percent(r[of], r[f"{of} error"]) for of in ("output", "fine images")]
            assert [*both, percent(r["interpolation"])] in [
                cells[i + 1 : i + 4] for i, c in enumerate(cells) if c == name
            ]
    for name, r in found["scan"].items():
        wanted = [percent(r[of]) for of in ("scan", "output", "interpolation")]
        assert wanted in [cells[i + 1 : i + 4] for i, c in enumerate(cells) if c == name]
    for d in found["doubts"]:
        assert f"{d['about']}: {d['says']}" in [c.strip() for c in cells]


def test_the_page_is_whole_small_and_asks_for_nothing(written):
    text = written.read_text()
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>") and len(text) < MAX_BYTES
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", text)
    for tag, attributes in page.tags:
        link = attributes.get("src") or attributes.get("href")
        assert link is None or link.startswith(("data:image/", "#")), (tag, link)
    assert not [a for tag, a in page.tags if tag in ("link", "iframe", "object")]
    (view,) = [a for tag, a in page.tags if a.get("name") == "viewport"]
    assert "width=device-width" in view["content"]
    images = [a for tag, a in page.tags if tag == "img"]
    assert images and all(a["alt"] for a in images)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in page.tags if tag == "a"} <= set(ids)


def test_names_of_others_are_escaped(written, network):
    text = written.read_text()
    assert "&lt;Anode&gt; &amp; co" in text and "<Anode>" not in text
    assert "a&lt;b&gt;.tif" in text
    odd = ["<script>alert(1)</script>", 'so"lid']
    renamed = make_case(odd)
    html = report_html(assess(network, renamed, samples=2, edge=40), renamed, title="x</title>")
    assert "<script>alert" not in html and "x</title>:" not in html
    assert odd[0] in Page(html).cells


def test_equal_inputs_give_equal_bytes(written, case, network, right, tmp_path):
    how = dict(samples=2, edge=64, inputs={"coarse volume": "a<b>.tif"})
    again = tmp_path / "again.html"
    viz.report(again, network, case, right, voxel_size=0.05, title="<Anode> & co", **how)
    assert again.read_bytes() == written.read_bytes()


def test_scale_bars_are_in_micrometres_or_in_voxels(written, case, found):
    text = written.read_text()
    assert re.search(r'<i style="width:15.62%"></i>500 nm', text)  # 10 of 64 voxels of 0.05 µm
    assert f"a voxel is 0.05{NBSP}µm" in text
    plain = report_html(found, case)
    assert "10 px" in plain and "µm" not in plain
    flat = report_html(found, case, None, (0.1, 0.05, 0.05))
    assert 'aspect-ratio:0.5000"' in flat and f"0.1 × 0.05 × 0.05{NBSP}µm" in flat
    with pytest.raises(ValueError, match="micrometres above 0"):
        viz.report("x.html", None, case, voxel_size=-1.0)


def test_every_picture_of_the_viewer_is_its_slice(written, found):
    text = written.read_text()
    data = json.loads(re.search(r'id="slices">(.*?)</script>', text, re.S)[1])
    assert list(data["panes"]) == [
        "coarse volume",
        "interpolation",
        "output",
        "disagreement of the noises",
    ]
    assert {len(p) for p in data["panes"].values()} == {len(data["names"])} == {32}
    first = found["part"][0][0]
    for name, png in zip(data["names"], data["panes"]["output"], strict=True):
        z = int(name.split()[2]) - first
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
        assert (picture[::8, ::8] == found["volumes"]["output"][z]).all()
        assert f"{0.05 * (z + first):.4g}{NBSP}µm" in name


def test_settings_are_folded_and_device_and_commit_stand_once():
    training = {"device": "cpu", "commit": "abc", "iterations": 60, "betas": [0, 0.9]}
    made = {"recipe": training, "made by": {"device": "cpu", "commit of srlib": "abc"}}
    html = _provenance({}, made)
    assert Page(html).text.count("cpu") == Page(html).text.count("abc") == 1
    folded = html[html.index("<details>") : html.index("</details>")]
    assert "betas" in folded and "iterations" not in folded
    made["made by"]["device"] = "cuda"
    assert "<dt>device of the training</dt><dd>cpu</dd>" in _provenance({}, made)


def test_the_citation_is_that_of_the_repository():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    ours, paper = CITATION
    year = str(cff["date-released"])[:4]
    address = cff["repository-code"].removeprefix("https://")
    for part in (cff["title"], f"Version {cff['version']}", year, cff["license"], address):
        assert part in ours
    assert cff["authors"][0]["name"] in ours
    bib = (ROOT / "book/references.bib").read_text()
    entry = (
        bib[bib.index("{dahari2021superres") :].split("\n@")[0].replace("{", "").replace("}", "")
    )
    title = re.search(r"title = (.*),\n", entry)[1]
    assert title in paper and re.search(r"eprint = (.*),", entry)[1] in paper


# In a browser


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from test_book import CHROMIUM, FLAGS, OFFLINE

    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("NO BROWSER: install Chromium and its driver to test the report")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, OFFLINE):
        options.add_argument(flag)
    window = webdriver.Chrome(options=options, service=Service(driver))
    yield window
    window.quit()


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_the_slider_moves_and_nothing_is_wider_than_the_window(browser, written, width):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    size = dict(width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(written.as_uri())
    wide = "return document.documentElement.scrollWidth - window.innerWidth"
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script(wide) <= 0
    broken = "return [...document.images].filter(i => !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    slider = browser.find_element(By.ID, "slice")

    def state():
        panes = browser.find_elements(By.CSS_SELECTOR, "img[data-pane]")
        return browser.find_element(By.ID, "where").text, [p.get_attribute("src") for p in panes]

    before = state()
    slider.send_keys(Keys.HOME)
    first = state()
    slider.send_keys(Keys.ARROW_RIGHT)
    second = state()
    assert before[0] != first[0] != second[0]
    assert before[1] != first[1] != second[1] and len(first[1]) == 4
    assert browser.execute_script(broken) == 0
