"""The built book: its links, and every page in a real browser with the network off."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from book import build

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
    "--window-size=1280,1000"
).split()
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
NOISE = ("'THEBE_JS_URL' has already been declared", "fontawesome", "Got invalid theme mode")
FACTS = """
const done = arguments[0], count = (s) => document.querySelectorAll(s).length;
const ready = window.MathJax?.startup?.promise ?? Promise.resolve();
ready.then(() => done({
  heading: document.querySelector('article h1')?.textContent.trim() ?? '',
  images: [...document.images].map((i) => [i.src.slice(0, 90), i.alt.trim(), i.naturalWidth]),
  math: count('.math'), typeset: count('mjx-container'), mistakes: count('mjx-merror'),
  viewers: count('.slice-viewer'), views: count('script[type$="widget-view+json"]'),
  widgets: count('.jupyter-widgets'), wide: document.documentElement.scrollWidth - innerWidth,
}));
"""

LOADED = """
return location.href === arguments[0] && document.readyState === 'complete'
  && document.querySelector('h1') !== null;
"""

pytestmark = pytest.mark.book


class Page(HTMLParser):
    """Addresses and anchors of one HTML page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        self.links += [values[key] for key in ("href", "src") if values.get(key)]


def pages(book: Path) -> list[Path]:
    return sorted(p for p in book.rglob("*.html") if "_static" not in p.relative_to(book).parts)


def self_hosted() -> bool:
    return (build.VENDOR / "mathjax" / "tex-chtml.js").exists()


def test_every_page_of_the_contents_is_built(book):
    built = {str(page.relative_to(book).with_suffix("")) for page in pages(book)}
    words = (build.ROOT / "_toc.yml").read_text().split()
    listed = {words[i + 1] for i, word in enumerate(words) if word in ("root:", "file:")}
    assert listed and listed <= built


def test_internal_links_lead_somewhere(book):
    read = {page: Page(page) for page in pages(book)}
    broken = []
    for page, content in read.items():
        for link in content.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = read[target].anchors if target in read else {unquote(parts.fragment)}
            if not target.exists() or unquote(parts.fragment) not in anchors:
                broken.append(f"{page.relative_to(book)} -> {link}")
    assert not broken, "\n".join(broken)


def test_no_notebook_output_is_an_error(book):
    for page in pages(book):
        assert "Traceback (most recent call last)" not in page.read_text(), page.name


# In a browser


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("NO BROWSER: install Chromium and its driver to test the pages of the book")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, OFFLINE):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    window.set_script_timeout(60)
    yield window
    window.quit()


def visit(browser, page: Path) -> None:
    """Load a page; ``get`` can return while the window still holds an empty document."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.as_uri())
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(LOADED, page.as_uri()))


@pytest.fixture(scope="module")
def visits(book, browser) -> dict[str, dict]:
    """What the browser found on every page."""
    found = {}
    for page in pages(book):
        if page == book / "index.html":
            continue
        visit(browser, page)
        facts = browser.execute_async_script(FACTS)
        logged = [entry["message"] for entry in browser.get_log("browser") if is_error(entry)]
        found[str(page.relative_to(book))] = facts | {"errors": logged}
    return found


def is_error(entry: dict) -> bool:
    noise = NOISE if self_hosted() else (*NOISE, "net::ERR_NAME_NOT_RESOLVED", "is not defined")
    return entry["level"] == "SEVERE" and not any(word in entry["message"] for word in noise)


@pytest.mark.browser
def test_every_page_loads_without_console_errors(visits):
    assert len(visits) > 10
    assert {name: facts["errors"] for name, facts in visits.items() if facts["errors"]} == {}
    chapters = [name for name in visits if name.startswith(("book/", "notebooks/"))]
    assert [name for name in chapters if not visits[name]["heading"]] == []


@pytest.mark.browser
def test_first_page_leads_to_the_introduction(book, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((book / "index.html").as_uri())
    WebDriverWait(browser, 20).until(lambda b: b.current_url.endswith("/book/intro.html"))


@pytest.mark.browser
def test_side_bar_has_numbers_and_folds(book, browser):
    from selenium.webdriver.common.by import By

    visit(browser, book / "notebooks" / "12_case3_fuel_cell.html")
    parts = browser.find_elements(By.CSS_SELECTOR, "nav.bd-links p.caption")
    opened = [p for p in parts if p.get_attribute("aria-expanded") == "true"]
    assert len(parts) > 6 and len(opened) == 1, "only the part of this page is open"
    current = browser.find_element(By.CSS_SELECTOR, "nav.bd-links a.current")
    assert current.text == "12 Fuel-cell anode, Case 3"
    closed = next(p for p in parts if p not in opened)
    browser.execute_script("arguments[0].click()", closed)
    assert closed.get_attribute("aria-expanded") == "true"


@pytest.mark.browser
def test_first_page_shows_the_picture_and_every_chapter(book):
    page = Page(book / "book" / "intro.html")
    assert any("readme" in link for link in page.links)
    chapters = {p.stem for p in build.run.notebooks() if not p.stem.startswith("_")}
    assert chapters <= {Path(urlsplit(link).path).stem for link in page.links}


@pytest.mark.browser
def test_every_image_loads_and_has_alternative_text(visits):
    images = [(name, *image) for name, facts in visits.items() for image in facts["images"]]
    assert images
    assert [image for image in images if not image[2] or not image[3]] == []


@pytest.mark.browser
def test_no_page_is_wider_than_the_window(visits):
    assert {name: facts["wide"] for name, facts in visits.items() if facts["wide"] > 0} == {}


@pytest.mark.browser
def test_math_is_typeset_and_widgets_are_drawn(visits):
    if not self_hosted():
        pytest.skip("NO NPM: the math of this build is loaded from the network")
    assert sum(facts["math"] for facts in visits.values()) > 0
    for name, facts in visits.items():
        assert facts["typeset"] >= facts["math"], name
        assert not facts["mistakes"], name
        assert facts["widgets"] >= facts["views"], name


@pytest.mark.browser
def test_slice_viewer_moves_with_the_keyboard(book, browser, visits):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    with_viewer = [name for name, facts in visits.items() if facts["viewers"]]
    assert with_viewer
    for name in with_viewer:
        visit(browser, book / name)
        for viewer in browser.find_elements(By.CLASS_NAME, "slice-viewer"):
            panes = viewer.find_elements(By.CLASS_NAME, "slice-viewer-pane")
            slider = viewer.find_element(By.CSS_SELECTOR, "input[type=range]")
            label = viewer.find_element(By.TAG_NAME, "output")

            def state(panes=panes, label=label):
                shown = [pane.value_of_css_property("background-position") for pane in panes]
                return label.text, shown

            before = state()
            slider.send_keys(Keys.HOME)
            first = state()
            slider.send_keys(Keys.ARROW_RIGHT)
            second = state()
            assert before[0] != first[0] != second[0]
            assert before[1] != first[1] != second[1]


@pytest.mark.browser
def test_search_finds_a_word_and_not_nonsense(book, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def hits(word: str) -> int:
        browser.get(f"{(book / 'search.html').as_uri()}?q={word}")
        ended = ("Search finished", "Your search did not match")
        summary = (By.CSS_SELECTOR, "#search-results .search-summary")
        WebDriverWait(browser, 20).until(lambda b: b.find_element(*summary).text.startswith(ended))
        return len(browser.find_elements(By.CSS_SELECTOR, "#search-results ul.search li"))

    assert hits("anode") > 0
    assert hits("xylophonium") == 0


# How it is built


def test_without_npm_there_is_one_warning_and_no_self_hosting(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "VENDOR", tmp_path / "vendor")
    monkeypatch.setenv("PATH", str(tmp_path))
    build.fetch_vendor()
    assert capsys.readouterr().out.count("warning") == 1
    assert "mathjax_path" not in build.config()["sphinx"]["config"]


def test_self_hosted_scripts_are_used_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "VENDOR", tmp_path)
    (tmp_path / "mathjax").mkdir()
    (tmp_path / "mathjax" / "tex-chtml.js").touch()
    (tmp_path / "embed-amd.js").touch()
    settings = build.config()["sphinx"]["config"]
    assert settings["mathjax_path"] == "vendor/mathjax/tex-chtml.js"
    assert list(settings["nb_ipywidgets_js"]) == ["vendor/require.js", "vendor/embed-amd.js"]


def test_buttons_follow_one_setting(monkeypatch):
    plain = build.config()
    assert "repository" not in plain and "launch_buttons" not in plain
    read = yaml.safe_load

    def with_address(text):
        return read(text) | {"repository": {"url": "https://github.com/a/b", "branch": "main"}}

    monkeypatch.setattr(build.yaml, "safe_load", with_address)
    settings = build.config()
    assert settings["html"]["use_repository_button"]
    assert {"binderhub_url", "colab_url"} <= set(settings["launch_buttons"])


def test_book_is_not_built_when_a_notebook_fails(monkeypatch, capsys):
    row = build.run.Row("01_metrics", False, 1.0, 1.0, 1.0, "    cell 3: ValueError: no")
    monkeypatch.setattr(build.run, "run_all", lambda *args, **how: [row])
    monkeypatch.setattr(build, "build", lambda out_dir: pytest.fail("it was built"))
    monkeypatch.setattr("sys.argv", ["build"])
    assert build.main() == 1
    assert "0 passed, 1 failed" in capsys.readouterr().out


def test_a_sphinx_warning_stops_the_build(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "logs").mkdir()
    said = subprocess.CompletedProcess([], 1, "page.md:3: WARNING: target not found\n", "")
    monkeypatch.setattr(build, "fetch_vendor", lambda: None)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: said)
    with pytest.raises(RuntimeError, match="target not found"):
        build.build(tmp_path)
