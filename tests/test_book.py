"""The book, built from the stored outputs with warnings as errors, opened page by page."""

import functools
import http.server
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from axe_playwright_python.base import AXE_FILE_PATH
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

from book import build

TOC = yaml.safe_load((build.ROOT / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
ENTRIES = [entry for chapter in CHAPTERS for entry in (chapter, *chapter.get("sections", []))]
DOCUMENTS = [TOC["root"], *(entry["file"] for entry in ENTRIES)]
EXTRA = ["index", "genindex", "py-modindex", "search"]  # Sphinx makes them
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
COLOUR = "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)"
IMAGES = """async () => {
  const all = [...document.querySelectorAll('img')];
  all.forEach(i => { i.loading = 'eager' });
  await Promise.all(all.map(i => i.decode().catch(() => 0)));
  return all.map(i => [i.getAttribute('src'), i.naturalWidth, i.alt.trim()])
}"""
AXE = Path(AXE_FILE_PATH).read_text(encoding="utf-8")
BARRIERS = """async rules => {
  const found = await axe.run(
    { include: [['article']], exclude: [['.citation-list']] },  // of sphinxcontrib-bibtex
    { resultTypes: ['violations'], preload: false, ...rules });
  return found.violations.filter(v => ['serious', 'critical'].includes(v.impact)).flatMap(
    v => v.nodes.map(n => `${v.id}: ${n.target}: ${n.failureSummary}`))
}"""
PROSE = """() => {
  const copy = document.querySelector('main').cloneNode(true);
  copy.querySelectorAll('pre, code, script, mjx-container').forEach(e => e.remove());
  return copy.textContent
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the book once; return the folder of its pages."""
    return build.render(build.NOTEBOOKS, tmp_path_factory.mktemp("book") / "book").parent


@pytest.fixture(scope="module")
def address(site):
    """Serve the pages on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            if self.path != "/favicon.ico":  # a browser asks for it where a page names no icon
                return super().do_GET()
            self.send_response(204)
            self.end_headers()

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def context():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)  # else playwright's own
    with sync_playwright() as play:
        if path is None and not Path(play.chromium.executable_path).is_file():
            pytest.fail("no Chromium to open the book in: make browser installs one")
        browser = play.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser.new_context(viewport=DESKTOP, color_scheme="light")
        browser.close()


@pytest.fixture
def visit(context, address):
    """Return what opens a page in a tab of its own; nothing may go wrong there."""
    page, faults, here = context.new_page(), [], (f"{address}/", "data:", "blob:")
    watched = {
        "console": lambda m: m.type in ("error", "warning") and m.text,
        "pageerror": str,
        "requestfailed": lambda r: f"{r.url} failed: {r.failure}",
        "response": lambda r: r.status >= 400 and f"{r.url}: {r.status}",
        "request": lambda r: not r.url.startswith(here) and f"{r.url} is elsewhere",
    }
    for event, fault in watched.items():
        page.on(event, lambda what, fault=fault: faults.append(fault(what)))

    def open_page(name):
        page.goto(f"{address}/{name}.html", wait_until="load")
        if name == "index":
            page.wait_for_url(f"**/{DOCUMENTS[0]}.html")
        if page.locator("article .math").count():
            page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
            page.evaluate("MathJax.startup.promise.then(() => null)")
        return page

    yield open_page
    page.close()
    assert [fault for fault in faults if fault] == []


def test_the_site_has_the_pages_of_the_contents_and_no_other(site):
    found = {p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html")}
    found = {name for name in found if not name.startswith(("_static/", "_sources/"))}
    assert found == {*DOCUMENTS, *EXTRA}


@pytest.mark.parametrize("name", [*DOCUMENTS, *EXTRA])
def test_a_page_opens_without_fault_also_on_a_phone_and_in_the_dark(name, visit):
    page = visit(name)
    page.wait_for_load_state("networkidle")
    assert page.title()
    images = page.evaluate(IMAGES)
    assert [src for src, width, _ in images if width == 0] == [], "broken images"
    assert [src for src, _, alt in images if not alt] == [], "images without a text"
    drawn = page.locator("article .math mjx-container").count()
    assert drawn == page.locator("article .math").count(), "mathematics that was not drawn"
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    prose = page.evaluate(PROSE)
    for raw in ("$$", r"\(", r"\[", r"\frac", "{term}`", "{cite", "{numref}", "{func}"):
        assert raw not in prose, f"{raw} is shown as it is written"
    page.set_viewport_size(PHONE)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], f"the page is {width} pixels wide"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert max(page.locator("body").evaluate(COLOUR)[:3]) < 80, "the page is not dark"
    figures = page.locator("article .cell_output img, article figure img").all()
    assert figures or not name.startswith("notebooks/")
    for figure in figures:
        assert figure.evaluate("e => getComputedStyle(e).filter") == "none"
        assert figure.evaluate(COLOUR)[:3] == [255, 255, 255]
    for table in page.locator("article .text_html:has(table)").all():
        assert max(table.evaluate(COLOUR)[:3]) < 80, "a table on a light ground"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_page_has_no_serious_barrier_in_the_light_and_in_the_dark(name, visit):
    page = visit(name)
    page.evaluate(AXE)
    assert page.evaluate(BARRIERS, {}) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate(BARRIERS, {"runOnly": ["color-contrast"]}) == []  # nothing else differs


def test_solutions_are_closed_and_open(visit):
    page = visit(next(name for name in DOCUMENTS if name.startswith("notebooks/")))
    solution = page.locator("div.cell.tag_hide-cell details").first
    code = solution.locator("pre").first
    assert "Show the solution" in solution.locator("summary").inner_text()
    assert not code.is_visible()
    solution.locator("summary").click()
    assert code.is_visible()


def test_slides_fill_the_screen_by_keyboard_and_leave_it_again(visit):
    page = visit("book/slides")
    page.get_by_role("button", name="Show as slides").focus()
    page.keyboard.press("Enter")
    around = page.locator(".bd-header-article, .bd-sidebar-primary").first
    assert not around.is_visible()
    height = "all => all.map(e => e.getBoundingClientRect().height)"
    slides = page.locator("article > section > section").evaluate_all(height)
    assert len(slides) >= 12
    assert min(slides) >= DESKTOP["height"]
    page.keyboard.press("Enter")
    assert around.is_visible()


def test_the_search_finds_a_term(visit):
    page = visit("search")
    page.goto(f"{page.url}?q=harmonics")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li a").count() > 1


def test_every_internal_link_and_anchor_leads_somewhere(site):
    pages = {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages.items()}
    broken, seen = [], 0
    for path, soup in pages.items():
        links = (
            t.get("href") or t.get("src") for t in soup.find_all(["a", "link", "script", "img"])
        )
        for link in filter(None, links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            there = target.is_file() and (not anchor or anchor in anchors.get(target, [anchor]))
            broken += [] if there else [f"{path.name}: {link}"]
    assert seen > 500
    assert broken == []
