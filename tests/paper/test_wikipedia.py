"""Wikipedia's dumps in miniature: SQL with escapes, XML as a stream, damaged files."""

import bz2
import gzip
from xml.etree import ElementTree

import numpy as np
import pytest

from earthtie_lite.paper.wikipedia import first_paragraph, read_geo_tags, read_wikipedia

HEAD = """-- MariaDB dump 10.19  Distrib 10.5.26-MariaDB, for debian-linux-gnu (x86_64)
CREATE TABLE `geo_tags` (
  `gt_id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `gt_page_id` int(10) unsigned NOT NULL,
  `gt_globe` varbinary(32) NOT NULL,
  `gt_primary` tinyint(1) NOT NULL,
  `gt_lat` decimal(11,8) DEFAULT NULL,
  `gt_lon` decimal(11,8) DEFAULT NULL,
  `gt_dim` int(11) DEFAULT NULL,
  `gt_name` varbinary(255) DEFAULT NULL,
  KEY `gt_page_primary` (`gt_page_id`,`gt_primary`)
) ENGINE=InnoDB DEFAULT CHARSET=binary;
"""
TAIL = "UNLOCK TABLES;\n-- Dump completed on 2026-01-03  4:05:06\n"
ROWS = [
    "(1,10,'earth',1,30.04440000,31.23570000,1000,'Cairo')",
    r"(2,11,'earth',1,51.69014000,5.29897000,NULL,'\'s-Hertogenbosch')",
    r"(3,12,'moon',1,0.67400000,23.47300000,NULL,'Apollo (11), base')",
    r"(4,10,'earth',0,29.97500000,31.13800000,NULL,'Giza\\')",
    r"(5,13,'earth',1,-16.50000000,180.00000000,NULL,'a),(9,9,''earth'',1,2,2,\n;')",
    "(6,14,'earth',1,NULL,NULL,NULL,NULL)",
    "(7,15,'earth',1,90.00000000,0.00000000,NULL,'Nordpol — Überall')",
    r"(8,16,'earth',1,-3.10000000,-60.02000000,10,'x\\\'),(9,17,\'earth\',1,1,1')",
]
PLACES = {10: [31.2357, 30.0444], 11: [5.29897, 51.69014], 13: [180.0, -16.5], 15: [0.0, 90.0]}
PLACES[16] = [-60.02, -3.1]
INSERT = "INSERT INTO `geo_tags` VALUES"
STYLES = {
    "several statements": f"{INSERT} {ROWS[0]};\n{INSERT} {','.join(ROWS[1:])};\n",
    "one row a line": f"{INSERT}\n" + ",\n".join(ROWS) + ";\n",
}


def write_sql(path, body, head=HEAD, tail=TAIL):
    """Write a dump, compressed if the name ends in .gz; return the path."""
    data = (head + body + tail).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("style", STYLES)
def test_primary_places_on_earth_are_kept(tmp_path, style):
    frame = read_geo_tags(write_sql(tmp_path / "geo_tags.sql", STYLES[style]))
    assert list(frame.columns) == ["page_id", "lon", "lat"]
    assert frame["page_id"].dtype == np.int64
    assert dict(zip(frame["page_id"], frame[["lon", "lat"]].to_numpy().tolist())) == PLACES


LINES = STYLES["one row a line"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LINES[: LINES.index("(5,")], "cut short in the middle of a statement"),
        (STYLES["several statements"][:200], "cut short in the middle of a statement"),
        (f"{INSERT}\n", "cut short in the middle of a statement"),
        ("", "lonlat is empty"),
        (f"{INSERT} {ROWS[0].replace('30.0444', '93.0444')};\n", "latitude .* 93.0444"),
    ],
)
def test_damaged_sql_is_refused(tmp_path, body, reason):
    path = write_sql(tmp_path / "a.sql", body, tail="")
    with pytest.raises(ValueError, match=rf"geo_tags, but .*a\.sql cannot be read: .*{reason}"):
        read_geo_tags(path)


def test_other_tables_and_damaged_compression_are_refused(tmp_path):
    head = HEAD.replace("gt_lat", "new").replace("gt_lon", "gt_lat").replace("new", "gt_lon")
    with pytest.raises(ValueError, match=r"it has the columns \['gt_id', .*, expected"):
        read_geo_tags(write_sql(tmp_path / "a.sql", LINES, head))
    path = write_sql(tmp_path / "a.sql.gz", LINES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.sql\.gz cannot be read: Compressed file ended"):
        read_geo_tags(path)


CAIRO = """{{Infobox settlement|name=Cairo|image=[[File:A.jpg]]
|coordinates={{coord|30|2|N}}}}
[[Image:Cairo.jpg|thumb|upright=1.2|A [[mosque]]&lt;ref&gt;B&lt;/ref&gt; in Cairo]]
{| class="wikitable"
| a table
|}
__NOTOC__
'''Cairo''' ({{IPAc-en|k}}; {{lang|ar|x}}) is the [[capital city|capital]] of
[[Egypt]].&lt;ref name="a"&gt;{{cite web|url=x}} noted&lt;/ref&gt;&lt;ref name="a" /&gt;
&amp;mdash; ''big''.

A second paragraph.
== Name ==
More."""
PAGES = [
    (10, 0, "Cairo", CAIRO),
    (11, 0, "'s-Hertogenbosch", "'''Den Bosch''' (founded 1185) is a city.&lt;!-- really --&gt;"),
    (13, 2, "User:Someone", "A draft about Fiji."),
    (15, 0, "North Pole", "{{stub}}"),
    (16, 0, "Manaus, Amazonas", "#REDIRECT [[Manaus]]"),
    (99, 0, "No place", "Nowhere."),
]


def page_xml(number, namespace, title, text):
    redirect = '<redirect title="Manaus" />' if text.startswith("#") else ""
    return (
        f"<page>\n<title>{title}</title>\n<ns>{namespace}</ns>\n<id>{number}</id>\n{redirect}"
        f"<revision>\n<id>{number + 1000}</id>\n<contributor><id>5</id></contributor>\n"
        f'<text bytes="9" xml:space="preserve">{text}</text>\n</revision>\n</page>\n'
    )


SPACE = "http://www.mediawiki.org/xml/export-0.11/"
XML = f'<mediawiki xmlns="{SPACE}">{"".join(page_xml(*page) for page in PAGES)}</mediawiki>'


@pytest.fixture
def tags(tmp_path):
    return write_sql(tmp_path / "enwiki-latest-geo_tags.sql.gz", LINES)


PRESSES = {
    "a.xml": bytes,
    "a.xml.gz": gzip.compress,
    "a.xml.bz2": lambda data: bz2.compress(data[:900]) + bz2.compress(data[900:]),  # multistream
}


@pytest.fixture(params=PRESSES)
def dump(request, tmp_path):
    """Write the pages, compressed in several ways."""
    (tmp_path / request.param).write_bytes(PRESSES[request.param](XML.encode()))
    return tmp_path / request.param


def test_articles_get_their_first_paragraph(tags, dump):
    seen = read_wikipedia(tags, dump)
    assert seen.raw[0] == "Cairo is the capital of Egypt. — big."
    assert seen.raw[1:] == ["Den Bosch (founded 1185) is a city."]
    assert seen.names == ["Cairo", "'s-Hertogenbosch"]
    np.testing.assert_array_equal(seen.lonlat, [PLACES[10], PLACES[11]])
    assert seen.dropped == 3  # a draft, a page without text, a redirect
    assert (seen.name, seen.source) == ("text", f"Wikipedia, {dump.name}")
    turned = read_wikipedia(read_geo_tags(tags)[::-1].reset_index(drop=True), dump, name="wiki")
    assert turned.names == seen.names[::-1]  # in the order of the places
    np.testing.assert_array_equal(turned.lonlat, seen.lonlat[::-1])


@pytest.mark.parametrize("kept", [0, 0.02, 0.5, 0.99])
def test_a_dump_that_is_cut_short_is_refused(tags, dump, kept):
    data = dump.read_bytes()
    dump.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=r"expected an XML dump .*cannot be read: "):
        read_wikipedia(tags, dump)


def test_pages_of_another_wiki_are_refused(tmp_path, tags):
    path = tmp_path / "other.xml"
    path.write_text(XML.replace("<id>1", "<id>7"))
    with pytest.raises(ValueError, match=r"no page of .*other\.xml has a place and a text"):
        read_wikipedia(tags, path)


def test_pages_that_were_read_take_no_memory(tmp_path, tags, monkeypatch):
    path, sizes, iterparse = tmp_path / "many.xml", [], ElementTree.iterparse
    filler = "".join(page_xml(n, 0, f"Page {n}", "Text.") for n in range(1000, 3000))
    path.write_text(XML.replace("</mediawiki>", filler + "</mediawiki>"))

    def watched(file, events):
        root = None
        for event, element in iterparse(file, events):
            root = element if root is None else root
            sizes.append(len(root))
            yield event, element

    monkeypatch.setattr(ElementTree, "iterparse", watched)
    assert len(read_wikipedia(tags, path)) == 2
    assert len(sizes) > 20_000
    assert max(sizes) < 200  # the parser is some kilobytes ahead of what it tells


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("", ""),
        ("Area ( ; , ) and (of) it.", "Area and (of) it."),
        ("See [[:File:x.jpg|it]] and [[Star Trek: Voyager]].", "See it and Star Trek: Voyager."),
        ("A [[File]] is [[file|one]].", "A File is one."),
        ("[[file: x.jpg|thumb|[[a]] caption [[File:y.jpg]]]]Text.", "Text."),
        ("[[Category:Cities]]\n== Only a heading ==\nText.", ""),
        ("{|\n|-\n| cell <ref>x</ref>\n|}\nAfter.", "After."),
        ("a&nbsp;b &amp; c <!-- no --> d", "a b & c d"),
        ("{{unclosed\n'''X''' is.", "{{unclosed X is."),
    ],
)
def test_wikitext_becomes_plain_text(wikitext, expected):
    assert first_paragraph(wikitext) == expected
