"""The viewers of a 4D series: what is drawn where, what a page gets, and what is refused."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from srlib import viz
from tests.test_pages import Page

TIMES = ["T0", "T1"]


def series(times=2, deep=3, high=16, wide=24):
    """Each slice has one grey of its own, so that a slice out of place is seen."""
    greys = np.linspace(0, 1, times * deep).reshape(times, deep, 1, 1)
    return np.broadcast_to(greys, (times, deep, high, wide)).copy()


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_the_sheet_holds_every_slice_in_the_order_time_then_z():
    sheet = viz.series_viewer({"a": series()}, TIMES).sheets["a"]
    assert (sheet.columns, sheet.rows) == (3, 2)
    grey = picture(sheet.file)
    assert grey.shape == (2 * 16, 3 * 24)
    centres = grey[8::16, 12::24].astype(int)
    assert np.abs(centres - 255 * np.linspace(0, 1, 6).reshape(2, 3)).max() <= 2


def test_a_page_gets_two_sliders_with_names_and_starts_in_the_middle_at_the_first_time():
    data = {"low <res>": series(), "restored": series()}
    viewer = viz.series_viewer(data, TIMES, ["1 µm", "2 µm", "3 µm"], voxel_nm=50, caption="a <b>")
    first, second = viewer._repr_html_(), viewer._repr_html_()
    page = Page(first + second)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) == 6
    sliders = [a for tag, a in page.tags if tag == "input"][:2]
    assert [(s["max"], s["value"], s["aria-valuetext"]) for s in sliders] == [
        ("2", "1", "2 µm"),
        ("1", "0", "T0"),
    ]
    for label in (a for tag, a in page.tags if tag == "label"):
        assert [a["type"] for a in page.having("id", label["for"])] == ["range"]
    panes = page.having("class", "slice-viewer-pane")
    assert len(panes) == 4 and panes[0]["aria-label"].startswith("low <res>")
    assert "background-position:-330px 0px" in panes[0]["style"]
    assert "a &lt;b&gt;" in first and "http" not in first and "<script" not in first
    assert "500 nm" not in first and "200 nm" in first


def test_the_live_viewer_shows_the_chosen_slice_of_the_chosen_time():
    data = series(2, 3)
    widget = viz.live_series_viewer({"a": data, "b": 1 - data}, TIMES)
    along, when, panes = widget.children

    def drawn():
        images = [a for tag, a in Page(panes.value).tags if tag == "img"]
        files = (a["src"].removeprefix("data:image/png;base64,") for a in images)
        return images[0]["alt"], [picture(base64.b64decode(f)) for f in files]

    for time, z in ((0, 1), (1, 1), (1, 2), (0, 0)):
        when.value, along.value = time, z
        alt, (a, b) = drawn()
        assert alt == f"a: slice {z + 1} of 3, {TIMES[time]}"
        assert (a == round(255 * data[time, z, 0, 0])).all() and (b == 255 - a).all()


@pytest.mark.parametrize(
    ("data", "times", "options", "words"),
    [
        ({}, TIMES, {}, "at least one volume"),
        ({"a": series()[0]}, TIMES, {}, "a series is"),
        ({"a": series(), "b": series(wide=20)}, TIMES, {}, "but a is"),
        ({"a": series() + 0.5}, TIMES, {}, "between 0 and 1"),
        ({"a": series() * np.nan}, TIMES, {}, "between 0 and 1"),
        ({"a": series()}, ["T0"], {}, "2 times and 3 slices"),
        ({"a": series()}, ["T0", "T|1"], {}, "no '|'"),
        ({"a": series()}, TIMES, {"max_bytes": 8_000}, "fewer slices"),
    ],
)
def test_viewers_refuse_what_they_cannot_show(data, times, options, words):
    with pytest.raises(ValueError, match=words.replace("|", r"\|")):
        viz.series_viewer(data, times, **options)


@pytest.mark.browser
def test_both_sliders_move_every_pane_in_a_browser(tmp_path):
    import shutil

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    from tests.test_book import CHROMIUM, FLAGS

    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("NO BROWSER: install Chromium and its driver to test the viewer")
    html = viz.series_viewer({"a": series(), "b": series()}, TIMES)._repr_html_()
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{html}")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        window.get((tmp_path / "page.html").as_uri())
        along, when = window.find_elements(By.TAG_NAME, "input")
        panes = window.find_elements(By.CLASS_NAME, "slice-viewer-pane")

        def state():
            where = {pane.value_of_css_property("background-position") for pane in panes}
            texts = [o.text for o in window.find_elements(By.TAG_NAME, "output")]
            return where, *texts

        assert state() == ({"-330px 0px"}, "slice 2 of 3", "T0")
        when.send_keys(Keys.ARROW_RIGHT)
        assert state() == ({"-330px -220px"}, "slice 2 of 3", "T1")
        along.send_keys(Keys.HOME)
        assert state() == ({"0px -220px"}, "slice 1 of 3", "T1")
    finally:
        window.quit()
