"""Wikipedia as published by Wikimedia: the places of pages, and the first paragraph of each."""

import bz2
import gzip
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import IO, TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from .files import existing, read_table, table_places
from .observations import Observations

if TYPE_CHECKING:
    import pandas as pd
    from mwparserfromhell.nodes import Node
    from mwparserfromhell.wikicode import Wikicode

# A row of values, and one value: a number, NULL or a string, in which a backslash or a second
# quote lets a quote stand.
_ROW = re.compile(rb"\s*\(((?:[^'()]|'(?:[^'\\]|\\.|'')*')*)\)\s*([,;])?", re.DOTALL)
_VALUE = re.compile(rb"\s*('(?:[^'\\]|\\.|'')*'|[^',]+)\s*(?:,|$)", re.DOTALL)
_COLUMN = re.compile(rb"\s*`(\w+)`")
_INSERT = b"INSERT INTO `geo_tags` VALUES"
_CREATE = b"CREATE TABLE `geo_tags`"

ARTICLES, FILES, CATEGORIES = "0", "6", "14"  # namespaces of MediaWiki
_HEADING = re.compile(r"^==", re.MULTILINE)
_BEHAVIOUR = re.compile(r"__[A-Z]+__")  # such as __NOTOC__
_NO_WORDS = re.compile(r"\s*\([^\w()]*\)")  # parentheses from which a template went


def read_geo_tags(path: str | Path) -> "pd.DataFrame":
    """Read which page is where from the SQL dump of MediaWiki's table geo_tags.

    Only primary coordinates (the place of the page's subject) on Earth are kept; others, and rows
    without coordinates, are not places of a page. The dump is read as a stream.

    Parameters
    ----------
    path : str or Path
        ...-geo_tags.sql.gz, or unpacked: CREATE TABLE with the columns, then INSERT
        INTO with any number of rows a statement, on one line or on many.

    Returns
    -------
    DataFrame
        Columns page_id (int64), lon and lat (float64, degrees), in the order of the dump.

    Raises
    ------
    ValueError
        If the dump is missing, cut short or not such a table.

    References
    ----------
    https://www.mediawiki.org/wiki/Extension:GeoData/geo_tags_table
    """
    import pandas as pd

    path = existing(path, "an SQL dump of the table geo_tags")
    page_id, lon, lat = [], [], []
    try:
        with _opened(path) as file:
            for row in _sql_rows(file):
                place = row["gt_lon"], row["gt_lat"]
                primary = row["gt_globe"] == b"'earth'" and row["gt_primary"] == b"1"
                if primary and b"NULL" not in place:
                    page_id.append(int(row["gt_page_id"]))
                    lon.append(float(place[0]))
                    lat.append(float(place[1]))
    except (OSError, EOFError, KeyError, ValueError) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"expected an SQL dump of the table geo_tags, but {path} cannot be used: {reason}; "
            "download it again"
        ) from error
    return pd.DataFrame({"page_id": np.array(page_id, dtype=np.int64), "lon": lon, "lat": lat})


def _opened(path: Path) -> IO[bytes]:
    """Open a file that may be compressed."""
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    return bz2.open(path) if path.suffix == ".bz2" else path.open("rb")


def _sql_rows(file: IO[bytes]) -> Iterator[dict[str, bytes]]:
    """Yield the rows of geo_tags, values by column as they are written."""
    columns: list[str] = []
    state = b""  # what the lines belong to: _CREATE, _INSERT or nothing
    for line in file:
        if line.startswith((_CREATE, _INSERT)):
            state = _CREATE if line.startswith(_CREATE) else _INSERT
            line = line.removeprefix(state)
        if state == _CREATE:
            if line.startswith(b")"):
                state = b""
            elif column := _COLUMN.match(line):
                columns.append(column[1].decode())
        elif state == _INSERT:
            at = 0
            while row := _ROW.match(line, at):
                yield _fields(row[1], columns)
                at = row.end()
                state = b"" if row[2] == b";" else _INSERT
            if line[at:].strip():
                raise ValueError(f"there is no row of values in {line[at : at + 60]!r}")
    if not columns:
        raise ValueError("there is no CREATE TABLE `geo_tags`")
    if state:
        raise ValueError("it is cut short in the middle of a statement")


def _fields(row: bytes, columns: list[str]) -> dict[str, bytes]:
    """Split a row into its values."""
    values = _VALUE.findall(row)
    if len(values) != len(columns):
        raise ValueError(f"expected {len(columns)} values, got {len(values)} in {row[:60]!r}")
    return dict(zip(columns, values))


def read_wikipedia(
    geo_tags: "str | Path | pd.DataFrame",
    pages: str | Path,
    page_id: str = "page_id",
    title: str = "title",
    text: str = "text",
    name: str = "text",
) -> Observations:
    """Read the first paragraph of each page of Wikipedia that has a place.

    Of the XML dump, articles are taken (namespace 0, no redirects): the text before the first
    heading, without templates, tables, footnotes and pictures; its first paragraph. What a
    template writes (a converted length, a pronunciation) is lost, and parentheses that are empty
    without it go too. Places whose page is no article or has no text are left out (drafts and lists
    of users have places, too) and counted in ``dropped``. English Wikipedia takes hours: keep what
    was read as a table for :func:`~earthtie_lite.paper.observations.read_texts`.

    Parameters
    ----------
    geo_tags : str, Path or DataFrame
        The SQL dump, or what :func:`read_geo_tags` returned.
    pages : str or Path
        The XML dump (pages-articles.xml.bz2, or .gz, or unpacked; read as a stream), or a table
        (CSV or Parquet) with one text a page, which is taken as it is.
    page_id, title, text : str
        Columns, if ``pages`` is a table.
    name : str

    Returns
    -------
    Observations
        ``raw`` is a list of str, in the order of ``geo_tags``; ``names`` are titles.

    Raises
    ------
    ValueError
        If a file is missing, cut short or not as described, or no page has a place and a text.
    """
    tags = read_geo_tags(geo_tags) if isinstance(geo_tags, str | Path) else geo_tags
    wanted = set(tags["page_id"].tolist())
    pages = existing(pages, "pages of Wikipedia")
    is_dump = ".xml" in pages.suffixes
    rows = _dump_rows(pages, wanted) if is_dump else _table_rows(pages, page_id, title, text)
    found = {page: (heading, words) for page, heading, words in rows if words and page in wanted}
    if not found:
        raise ValueError(f"no page of {pages} has a place and a text; are both of one wiki?")
    places = table_places(tags, "lon", "lat", "geo_tags")
    kept = np.array([page in found for page in tags["page_id"]])
    titles, texts = zip(*(found[page] for page in tags["page_id"][kept]))
    dropped = int((~kept).sum())
    return Observations(
        name, places[kept], list(texts), titles, f"Wikipedia, {pages.name}", dropped
    )


def _table_rows(path: Path, page_id: str, title: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield page, title and text of a table."""
    frame = read_table(path, "a table of pages", [title, text], [page_id])
    whole = (frame[page_id] % 1 == 0).to_numpy(dtype=bool)
    if not whole.all():
        raise ValueError(f"{path}: {page_id} is no whole number in row {int(np.argmin(whole))}")
    if frame[page_id].duplicated().any():
        row = int(np.argmax(frame[page_id].duplicated()))
        raise ValueError(f"{path}: page {frame[page_id].iloc[row]:.0f} comes again in row {row}")
    yield from zip(frame[page_id].astype(np.int64), frame[title], frame[text].str.strip())


def _dump_rows(path: Path, wanted: set[int]) -> Iterator[tuple[int, str, str]]:
    """Yield page, title and first paragraph of the articles wanted."""
    pictures = {"file", "image", "category"}
    try:
        with _opened(path) as file:
            events = ElementTree.iterparse(file, events=("start", "end"))
            _, root = next(events)
            for event, element in events:
                kind = element.tag.rpartition("}")[2]
                if event == "start" or kind not in ("namespace", "page"):
                    continue
                if kind == "namespace":
                    if element.get("key") in (FILES, CATEGORIES) and element.text:
                        pictures.add(element.text.lower())
                    continue
                page = {part.tag.rpartition("}")[2]: part for part in element}
                number = int(page["id"].text or "")
                if page["ns"].text == ARTICLES and "redirect" not in page and number in wanted:
                    wikitext = page["revision"].findtext("{*}text") or ""
                    yield number, page["title"].text or "", first_paragraph(wikitext, pictures)
                root.clear()  # the pages read so far
    except (OSError, EOFError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(
            f"expected an XML dump of MediaWiki, but {path} is none or is cut short: {error}; "
            "download it again"
        ) from error


def first_paragraph(wikitext: str, pictures: Set[str] = frozenset()) -> str:
    r"""Return the first paragraph of an article as plain text, "" if there is none.

    Parameters
    ----------
    wikitext : str
    pictures : set of str
        Names of the namespaces whose links are no text, in lower case: files and categories.

    Examples
    --------
    >>> first_paragraph("{{Infobox}}\n'''Cairo''' is a [[city|large city]].\n== Site ==")
    'Cairo is a large city.'
    """
    try:
        import mwparserfromhell
    except ImportError as error:
        raise ImportError(
            f'wikitext cannot be read ({error}): install the extra "sources" of earthtie-lite, in '
            "a clone with pip install '.[sources]'"
        ) from error
    code = mwparserfromhell.parse(_HEADING.split(wikitext, maxsplit=1)[0])
    for tag in code.filter_tags(matches=lambda tag: tag.tag in ("ref", "table")):
        _remove(code, tag)
    for link in code.filter_wikilinks():
        namespace = str(link.title).partition(":")[0].strip().lower()
        if namespace in pictures and ":" in link.title:
            _remove(code, link)
    for paragraph in re.split(r"\n\s*\n", _BEHAVIOUR.sub("", code.strip_code())):
        words = " ".join(_NO_WORDS.sub("", paragraph).split())
        if words:
            return words
    return ""


def _remove(code: "Wikicode", node: "Node") -> None:
    """Remove a node, unless it went with one that held it."""
    if code.contains(node):
        code.remove(node)
