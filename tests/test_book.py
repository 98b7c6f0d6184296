"""The book, built from the stored outputs with warnings as errors, opened page by page."""

import functools
import http.server
import importlib.util
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
ENTRIES = [entry for chapter in CHAPTERS for entry in (chapter, *chapter.get("sections", []))]
DOCUMENTS = [TOC["root"], *(entry["file"] for entry in ENTRIES)]
EXTRA = ["index", "genindex", "py-modindex", "search"]  # Sphinx makes them
page_of_the_book = pytest.mark.parametrize("name", [*DOCUMENTS, *EXTRA])
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the book once; return the folder of its pages."""
    spec = importlib.util.spec_from_file_location("book_build", ROOT / "book" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    return build.render(build.NOTEBOOKS, tmp_path_factory.mktemp("book") / "book").parent


@pytest.fixture(scope="module")
def address(site):
    """Serve the pages on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            if self.path == "/favicon.ico":  # a browser asks for it where a page names no icon
                self.send_response(204)
                return self.end_headers()
            return super().do_GET()

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)  # else playwright's own
    with sync_playwright() as play:
        if path is None and not Path(play.chromium.executable_path).is_file():
            pytest.fail("no Chromium to open the book in: make browser installs one")
        browser = play.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Visit:
    """A page opened in a tab of its own, with what went wrong while it was loaded."""

    def __init__(self, browser, address, name, viewport=DESKTOP, scheme="light"):
        self.faults = []
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = page = context.new_page()
        page.on("console", lambda m: self._fault(m.type in ("error", "warning"), m.text))
        page.on("pageerror", lambda error: self._fault(True, error))
        page.on("requestfailed", lambda r: self._fault(True, f"{r.url} failed: {r.failure}"))
        page.on("response", lambda r: self._fault(r.status >= 400, f"{r.url}: {r.status}"))
        page.on("request", lambda r: self._fault(self._is_elsewhere(r.url, address), r.url))
        page.goto(f"{address}/{name}.html", wait_until="load")
        if name == "index":
            page.wait_for_url(f"**/{DOCUMENTS[0]}.html")
        if page.locator("article .math").count():
            page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
            page.evaluate("MathJax.startup.promise.then(() => null)")

    def _fault(self, is_one, text):
        if is_one:
            self.faults.append(str(text))

    @staticmethod
    def _is_elsewhere(url, address):
        return not url.startswith((f"{address}/", "data:", "blob:"))

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.page.context.close()


def test_the_site_has_the_pages_of_the_contents_and_no_other(site):
    found = {p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html")}
    found = {name for name in found if not name.startswith(("_static/", "_sources/"))}
    assert found == {*DOCUMENTS, *EXTRA}


@page_of_the_book
def test_a_page_opens_without_fault(name, browser, address):
    with Visit(browser, address, name) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.title()
        images = visit.page.evaluate(
            """async () => {
              const all = [...document.querySelectorAll('img')];
              all.forEach(i => { i.loading = 'eager' });
              await Promise.all(all.map(i => i.decode().catch(() => 0)));
              return all.map(i => [i.getAttribute('src'), i.naturalWidth, i.alt.trim()])
            }"""
        )
        assert [src for src, width, _ in images if width == 0] == [], "broken images"
        assert [src for src, _, alt in images if not alt] == [], "images without a text"
        maths = visit.page.locator("article .math").count()
        drawn = visit.page.locator("article .math mjx-container").count()
        assert drawn == maths, "mathematics that was not drawn"
        assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0
        prose = visit.page.evaluate(
            """() => {
              const copy = document.querySelector('main').cloneNode(true);
              copy.querySelectorAll('pre, code, script, mjx-container').forEach(e => e.remove());
              return copy.textContent
            }"""
        )
        for raw in ("$$", r"\(", r"\[", r"\frac", "{term}`", "{cite", "{numref}", "{func}"):
            assert raw not in prose, f"{raw} is shown as it is written"
        assert visit.faults == []


@page_of_the_book
def test_a_page_fits_a_phone(name, browser, address):
    with Visit(browser, address, name, PHONE) as visit:
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"the page is {width} pixels wide"
        assert visit.faults == []


@pytest.mark.parametrize("name", [n for n in DOCUMENTS if n.startswith("notebooks/")])
def test_in_the_dark_figures_keep_their_colours_and_tables_are_dark(name, browser, address):
    with Visit(browser, address, name, scheme="dark") as visit:
        lightness = "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)"
        assert max(visit.page.locator("body").evaluate(lightness)[:3]) < 80, "the page is not dark"
        figures = visit.page.locator("article .cell_output img, article figure img").all()
        assert figures
        for figure in figures:
            assert figure.evaluate("e => getComputedStyle(e).filter") == "none"
            assert figure.evaluate(lightness)[:3] == [255, 255, 255]
        for table in visit.page.locator("article .text_html:has(table)").all():
            assert max(table.evaluate(lightness)[:3]) < 80, "a table on a light ground"
        assert visit.faults == []


def test_mathematics_is_drawn_from_the_site_itself(browser, address):
    with Visit(browser, address, "book/notation") as visit:
        assert visit.page.locator("mjx-container").count() > 50
        assert visit.page.evaluate("document.fonts.check('12px MJXZERO')")


def test_solutions_are_closed_and_open(browser, address):
    notebook = next(name for name in DOCUMENTS if name.startswith("notebooks/"))
    with Visit(browser, address, notebook) as visit:
        solution = visit.page.locator("div.cell.tag_hide-cell details").first
        code = solution.locator("pre").first
        assert "Show the solution" in solution.locator("summary").inner_text()
        assert not code.is_visible()
        solution.locator("summary").click()
        assert code.is_visible()


def test_the_search_finds_a_term(browser, address):
    with Visit(browser, address, "search") as visit:
        visit.page.goto(f"{address}/search.html?q=harmonics")
        visit.page.wait_for_selector("#search-results li a")
        assert visit.page.locator("#search-results li a").count() > 1


def test_every_internal_link_and_anchor_leads_somewhere(site):
    pages = {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages.items()}
    broken, seen = [], 0
    for path, soup in pages.items():
        for tag, attribute in (("a", "href"), ("link", "href"), ("script", "src"), ("img", "src")):
            for link in (t[attribute] for t in soup.find_all(tag) if t.get(attribute)):
                parts = urlsplit(link)
                if parts.scheme or parts.netloc:
                    continue
                seen += 1
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                anchor = unquote(parts.fragment)
                if not target.is_file():
                    broken.append(f"{path.name}: {link}")
                elif anchor and target in anchors and anchor not in anchors[target]:
                    broken.append(f"{path.name}: {link} has no such anchor")
    assert seen > 500
    assert broken == []
