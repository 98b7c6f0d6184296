"""Wikipedia as published by Wikimedia: the places of pages, and the first paragraph of each."""

import bz2
import gzip
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from ..coords import as_lonlat
from .files import reading
from .observations import Observations

# The first columns of geo_tags, and a row with the place of a page on Earth. No string in the dump
# can look like such a row, because quotes within strings are escaped.
COLUMNS = ("gt_id", "gt_page_id", "gt_globe", "gt_primary", "gt_lat", "gt_lon")
_PLACE = re.compile(rb"\(\d+,(\d+),'earth',1,(-?[\d.]+),(-?[\d.]+)[,)]")

_PICTURE = r"^\[\[\s*(file|image|category)\s*:"  # a link that is not text
_NO_WORDS = re.compile(r"\s*\([^\w()]*\)")  # parentheses emptied of a template


def _opened(path: Path) -> Any:
    """Open a file that may be compressed."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    return openers.get(path.suffix, open)(path, "rb")


def read_geo_tags(path: str | Path) -> pd.DataFrame:
    """Read which page is where from the SQL dump of MediaWiki's table geo_tags.

    Only primary coordinates (the place of the page's subject) on Earth are kept; others, and rows
    without coordinates, are not places of a page. The dump is read as a stream.

    Parameters
    ----------
    path : str or Path
        ...-geo_tags.sql.gz, or unpacked: CREATE TABLE with the columns, then INSERT INTO with any
        number of rows in a statement, on one line or several.

    Returns
    -------
    DataFrame
        Columns page_id (int64), lon and lat (float64, degrees), in the order of the dump.

    Raises
    ------
    ValueError
        If the dump is missing, damaged or of another table, or a place is out of range.

    References
    ----------
    https://www.mediawiki.org/wiki/Extension:GeoData/geo_tags_table
    """
    with reading(path, "an SQL dump of the table geo_tags") as path, _opened(path) as file:
        columns, places, line = [], [], b""
        for line in file:
            columns += [name.decode() for name in re.findall(rb"^\s*`(\w+)`", line)]
            places += _PLACE.findall(line)
        if tuple(columns[: len(COLUMNS)]) != COLUMNS:
            raise ValueError(f"it has the columns {columns}, expected {COLUMNS} first")
        if not line.rstrip().endswith(b";") and not line.startswith(b"--"):
            raise ValueError("it is cut short in the middle of a statement")
        tags = pd.DataFrame(places, columns=["page_id", "lat", "lon"]).astype(np.float64)
        as_lonlat(tags[["lon", "lat"]].to_numpy())
    return tags[["page_id", "lon", "lat"]].astype({"page_id": np.int64})


def read_wikipedia(
    geo_tags: str | Path | pd.DataFrame, pages: str | Path, name: str = "text"
) -> Observations:
    """Read the first paragraph of each page of Wikipedia that has a place.

    Only articles are read (namespace 0, no redirects): the first paragraph before the first
    heading, without templates, tables, footnotes and pictures. What a template would write (a
    converted length, a pronunciation) is lost, and parentheses that are empty without it are
    removed. Places whose page is not an article (drafts and lists of users have places, too) or has
    no text are left out and counted in ``dropped``. English Wikipedia takes hours: save the texts.

    Parameters
    ----------
    geo_tags : str, Path or DataFrame
        The SQL dump, or what :func:`read_geo_tags` returned.
    pages : str or Path
        The XML dump: pages-articles.xml.bz2, or .gz, or unpacked. It is read as a stream.
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
    wanted = set(tags["page_id"])
    found: dict[int, tuple[str, str]] = {}
    with reading(pages, "an XML dump of MediaWiki") as path, _opened(path) as file:
        events = ElementTree.iterparse(file, events=("start", "end"))
        _, root = next(events)
        for event, page in events:
            if event == "end" and page.tag.rpartition("}")[2] == "page":
                number = int(page.findtext("{*}id", ""))
                article = page.findtext("{*}ns") == "0" and page.find("{*}redirect") is None
                wikitext = page.findtext("{*}revision/{*}text", "")
                if article and number in wanted and (text := first_paragraph(wikitext)):
                    found[number] = page.findtext("{*}title", ""), text
                root.clear()  # the pages read so far
    kept = tags["page_id"].isin(found).to_numpy()
    if not kept.any():
        raise ValueError(f"no page of {pages} has a place and a text; are both of one wiki?")
    lonlat, dropped = tags[["lon", "lat"]].to_numpy()[kept], int((~kept).sum())
    names, texts = zip(*(found[number] for number in tags["page_id"][kept]))
    return Observations(name, lonlat, list(texts), list(names), f"Wikipedia, {path.name}", dropped)


def first_paragraph(wikitext: str) -> str:
    r"""Return the first paragraph of an English article as plain text, "" if there is none.

    Examples
    --------
    >>> first_paragraph("{{Infobox}}\n'''Cairo''' is a [[city|large city]].\n== Site ==")
    'Cairo is a large city.'
    """
    try:
        import mwparserfromhell
    except ImportError as error:
        raise ImportError(f"{error}: pip install '.[sources]' in a clone") from error
    code = mwparserfromhell.parse(re.split(r"(?m)^==", wikitext, maxsplit=1)[0])
    unwanted = code.filter_tags(matches=lambda tag: tag.tag in ("ref", "table"))
    for node in unwanted + code.filter_wikilinks(matches=_PICTURE):
        if code.contains(node):  # it was not removed with an outer node
            code.remove(node)
    # Switches such as __NOTOC__ are no text either.
    paragraphs = re.split(r"\n\s*\n", re.sub(r"__[A-Z]+__", "", code.strip_code()))
    words = (" ".join(_NO_WORDS.sub("", paragraph).split()) for paragraph in paragraphs)
    return next(filter(None, words), "")
