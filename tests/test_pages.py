"""What reaches a page: figures with alternative text, tables, and the slice viewer."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from srlib import results, viz
from srlib.viz import fields
from srlib.viz.viewer import _label_sheet

PHASES = ["pore", "nickel", "ceramic"]
VOID = {"img", "input", "br"}


class Page(HTMLParser):
    """Collects the tags of a page and refuses one that is not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def having(self, name, value):
        return [attributes for _, attributes in self.tags if attributes.get(name) == value]


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr("IPython.display.display", found.append)
    return found


def volume(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def png_labels(data):
    picture = Image.open(io.BytesIO(data))
    assert picture.mode == "P"
    return np.asarray(picture), np.array(picture.getpalette()).reshape(-1, 3)


def test_show_gives_alternative_text_caption_anchor_and_file(shown, tmp_path):
    import matplotlib.pyplot as plt

    figure, _ = viz.new_figure(height=2, width=3)
    viz.show(figure, 'Pores < 5 "px"', "Real & twin.", file=tmp_path / "new" / "io.png")
    page = Page(shown[0]._repr_html_())
    assert [tag for tag, _ in page.tags] == ["figure", "img", "figcaption"]
    (_, anchor), (_, image), _ = page.tags
    assert anchor["id"] == "fig-io"
    assert image["alt"] == 'Pores < 5 "px"'
    assert ">Real &amp; twin.</figcaption>" in shown[0]._repr_html_()
    assert repr(shown[0]) == 'Pores < 5 "px"'
    saved = (tmp_path / "new" / "io.png").read_bytes()
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == saved
    width = Image.open(io.BytesIO(saved)).width
    assert f"width:{width // 2}px" in image["style"]
    assert abs(width / 200 - 3) < 0.5
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alt": " "}, "Give alt"),
        ({"alt": "a", "name": "a/b"}, "letters, digits"),
        ({"alt": "a", "file": "x/a b.png"}, "letters, digits"),
    ],
)
def test_show_refuses_a_figure_without_text_or_name(shown, options, words):
    figure, _ = viz.new_figure()
    with pytest.raises(ValueError, match=words):
        viz.show(figure, **options)
    assert shown == []


def test_show_says_when_it_cannot_save(shown, tmp_path):
    (tmp_path / "file").write_text("in the way")
    figure, _ = viz.new_figure()
    with pytest.raises(ValueError, match="Cannot save a figure as"):
        viz.show(figure, "a", file=tmp_path / "file" / "b.png")


def test_a_run_stands_beside_the_stored_one(tmp_path):
    keys = {"area": "scores/ours/area", "new": "new"}
    values = {"scores": {"ours": {"area": 0.25}}, "new": 3}
    run = results.Run("12_a", "laptop", "twin", 0, tmp_path)
    alone = repr(viz.beside(values, keys, run, tmp_path))
    assert "synthetic twin data, profile laptop\t0.250\t3" in alone and "stored run" not in alone
    record = {"values": {"scores": {"ours": {"area": 0.125}}}, "source": "real", "profile": "full"}
    record |= {"date": "2026-11-30T10:00:00+00:00", "device": "H100", "seconds": 1234.5}
    (tmp_path / "12_a.json").write_text(json.dumps(record))
    both = repr(viz.beside(values, keys, run, tmp_path))
    line = (
        "stored run of 2026-11-30: real data, the full profile of that day, 1234 s on H100\t0.125"
    )
    assert line in both
    with pytest.raises(ValueError, match="has none of gone"):
        viz.beside(values, {"x": "gone"}, run, tmp_path)


def test_table_marks_the_best_of_each_column():
    rows = {
        "ours": {"area": (0.0103, 0.0012), "tpb": 0.98},
        "nearest": {"area": (0.02, 0.001), "tpb": 1.1},
        "paper": {"area": 0.001, "tpb": None},
    }
    table = viz.table(rows, best={"area": "min", "tpb": 1.0}, caption="A < B", corner="method")
    page = Page(table._repr_html_())
    assert [tag for tag, _ in page.tags].count("tr") == 4
    best = re.findall(r"<strong>(.*?)</strong>", table._repr_html_())
    assert best == ["0.0103 ± 0.0012", "0.980"]
    assert repr(table).splitlines()[2] == "nearest\t0.0200 ± 0.0010\t1.10"
    nearest = viz.table({"far": {"x": 0.9}, "near": {"x": 1.05}}, best={"x": 1})
    assert re.findall(r"<strong>(.*?)</strong>", nearest.html) == ["1.05"]
    largest = viz.table(rows, ["tpb"], best={"tpb": "max"})
    assert re.findall(r"<strong>(.*?)</strong>", largest.html) == ["1.10"]
    turned = viz.table(rows, ["tpb", "area"], turned=True, best={"ours": "min"}, corner="number")
    assert repr(turned).splitlines()[:2] == ["number\tours\tnearest\tpaper", "tpb\t0.980\t1.10\t"]
    assert re.findall(r"<strong>(.*?)</strong>", turned.html) == ["0.0103 ± 0.0012"]


@pytest.mark.parametrize(
    ("rows", "best", "words"),
    [
        ({}, {}, "at least one row"),
        ({"a": {"b": 1}}, {"c": "min"}, "'c', which is not in the table"),
        ({"a": {"b": 1}}, {"b": "good"}, "should be 'min', 'max' or a number"),
    ],
)
def test_table_refuses_what_it_cannot_rank(rows, best, words):
    with pytest.raises(ValueError, match=words):
        viz.table(rows, best=best)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_tile_of_a_sheet_is_the_slice_of_its_step(axis):
    labels = volume(5, 7, 6)
    positions = (np.arange(11) + 0.5) / 11
    sheet = _label_sheet(labels, fields.palette(PHASES), axis, positions)
    picture, colours = png_labels(sheet.file)
    assert colours[:3].tolist() == fields.palette(PHASES).tolist()
    height, width = sheet.tile
    for position, frame in zip(positions, sheet.frames, strict=True):
        row, column = divmod(frame, sheet.columns)
        tile = picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert (tile == viz.slice_at(labels, axis, position)).all()


def test_viewer_is_a_page_part_with_names_for_readers_and_ids_of_its_own():
    viewer = viz.slice_viewer({"low <res>": volume(4, 5, 6), "sr": volume(8, 10, 12)}, PHASES)
    first, second = viewer._repr_html_(), viewer._repr_html_()
    page = Page(first + second)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) == 4
    panes = page.having("class", "slice-viewer-pane")
    assert len(panes) == 4
    assert all(pane["role"] == "img" and pane["aria-label"] for pane in panes)
    assert panes[0]["aria-label"].startswith("low <res>:")
    for label in (a for tag, a in page.tags if tag == "label"):
        assert [a["type"] for a in page.having("id", label["for"])] == ["range"]
    assert all(phase in first for phase in PHASES)
    assert "http" not in first and "<script" not in first


def test_viewer_moves_a_coarse_volume_to_the_same_place_at_the_same_size():
    coarse = volume(2, 3, 4)
    fine = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)
    page = Page(viz.slice_viewer({"lr": coarse, "sr": fine}, PHASES)._repr_html_())
    lr, sr = page.having("class", "slice-viewer-pane")
    assert lr["data-frames"] == "0,0,0,0,1,1,1,1"
    assert sr["data-frames"] == "0,1,2,3,4,5,6,7"
    assert (lr["data-width"], lr["data-height"]) == (sr["data-width"], sr["data-height"])
    (output,) = [a for tag, a in page.tags if tag == "output"]
    assert output["data-labels"].split("|")[6] == "slice 7 of 8"
    (slider,) = [a for tag, a in page.tags if tag == "input"]
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "7", "4")
    assert slider["aria-valuetext"] == "slice 5 of 8"


def test_viewer_cuts_every_volume_to_the_field_of_the_output():
    truth = volume(24, 20, 16)
    output = truth[4:-4, 4:-4, 4:-4]
    viewer = viz.slice_viewer(
        {"lr": truth[::4, ::4, ::4], "truth": truth, "sr": output}, PHASES, scale_factor=4
    )
    assert len(viewer.sheets["sr"].frames) == 16
    assert viewer.sheets["truth"].file == viewer.sheets["sr"].file
    assert viewer.sheets["lr"].tile == (3, 2)
    assert viewer.sheets["lr"].frames == [k // 4 for k in range(16)]


def test_viewer_has_a_scale_bar_and_a_caption():
    labels = volume(10, 10, 100)
    html = viz.slice_viewer(
        {"a": labels}, PHASES, voxel_nm=50, caption="Real <data>."
    )._repr_html_()
    assert "1 µm" in html and "width:76.0px" in html  # 20 of 100 voxels of a pane of 380 px
    assert "Real &lt;data&gt;." in html
    assert "20 px" in viz.slice_viewer({"a": labels}, PHASES)._repr_html_()


def slices(viewer):
    ((_, names, _),) = viewer.sliders
    return [int(name.split()[1]) - 1 for name in names]


def test_viewer_keeps_to_its_weight_by_showing_fewer_slices():
    labels = {"a": volume(40, 64, 64)}
    whole = viz.slice_viewer(labels, PHASES)
    assert len(slices(whole)) == 40
    light = viz.slice_viewer(labels, PHASES, max_bytes=30_000)
    assert len(light._repr_html_()) <= 30_000 < len(whole._repr_html_())
    assert 4 <= len(slices(light)) < 40
    assert np.ptp(np.diff(slices(light))) <= 1
    step = 40 / len(slices(light))
    assert slices(light)[0] < step and slices(light)[-1] >= 40 - step
    with pytest.raises(ValueError, match="crop the volumes"):
        viz.slice_viewer(labels, PHASES, max_bytes=9_000)


@pytest.mark.parametrize(
    ("volumes", "options", "words"),
    [
        ({}, {}, "at least one volume"),
        ({"a": np.zeros((3, 3), int)}, {}, "should be a volume"),
        ({"a": np.full((2, 2, 2), 7)}, {}, "holds the label 7"),
        ({"a": np.zeros((2, 2, 2), int)}, {"axis": 3}, "axis=3 should be"),
        ({"a": np.zeros((4, 4, 4), int), "b": np.zeros((4, 4, 8), int)}, {}, "same field"),
        ({"a": np.zeros((2, 2, 2), int)}, {"own_phases": {"b": PHASES}}, "not a volume"),
    ],
)
def test_viewers_refuse_what_they_cannot_show(volumes, options, words):
    with pytest.raises(ValueError, match=words):
        viz.slice_viewer(volumes, PHASES, **options)


def test_live_viewer_shows_the_chosen_slice_and_turns():
    labels = volume(3, 5, 4)
    widget = viz.live_viewer({"sr": labels}, PHASES)
    (menu, slider), panes = widget.children[0].children, widget.children[1]

    def drawn():
        (image,) = [a for tag, a in Page(panes.value).tags if tag == "img"]
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        return image["alt"], png_labels(data)[0]

    slider.value = 1
    assert (drawn()[1] == labels[0]).all()
    slider.value = 3
    alt, picture = drawn()
    assert alt == "sr: slice 3 of 3 along z"
    assert (picture == labels[2]).all()
    menu.value = 1
    assert (slider.min, slider.max) == (1, 5)
    slider.value = 5
    assert (drawn()[1] == labels[:, 4]).all()
    menu.value = 0
    assert slider.max == 3
    assert "of 3 along z" in drawn()[0]
