"""Wikipedia's dumps in miniature: SQL with escapes, XML as a stream, damaged files."""

import bz2
import gzip

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.paper.wikipedia import first_paragraph, read_geo_tags, read_wikipedia

HEAD = """-- MariaDB dump 10.19  Distrib 10.5.26-MariaDB, for debian-linux-gnu (x86_64)
/*!40101 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `geo_tags`;
CREATE TABLE `geo_tags` (
  `gt_id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `gt_page_id` int(10) unsigned NOT NULL,
  `gt_globe` varbinary(32) NOT NULL,
  `gt_primary` tinyint(1) NOT NULL,
  `gt_lat` decimal(11,8) DEFAULT NULL,
  `gt_lon` decimal(11,8) DEFAULT NULL,
  `gt_dim` int(11) DEFAULT NULL,
  `gt_type` varbinary(32) DEFAULT NULL,
  `gt_name` varbinary(255) DEFAULT NULL,
  `gt_country` binary(2) DEFAULT NULL,
  `gt_region` varbinary(3) DEFAULT NULL,
  PRIMARY KEY (`gt_id`),
  KEY `gt_page_primary` (`gt_page_id`,`gt_primary`)
) ENGINE=InnoDB DEFAULT CHARSET=binary;
LOCK TABLES `geo_tags` WRITE;
"""
TAIL = "UNLOCK TABLES;\n-- Dump completed on 2026-01-03  4:05:06\n"
ROWS = [
    "(1,10,'earth',1,30.04440000,31.23570000,1000,'city(9000000)','Cairo','EG','C')",
    r"(2,11,'earth',1,51.69014000,5.29897000,NULL,NULL,'\'s-Hertogenbosch','NL',NULL)",
    r"(3,12,'moon',1,0.67400000,23.47300000,NULL,NULL,'Apollo (11), base',NULL,NULL)",
    r"(4,10,'earth',0,29.97500000,31.13800000,NULL,'landmark','Giza\\','E\0',NULL)",
    r"(5,13,'earth',1,-16.50000000,180.00000000,NULL,NULL,'a),(b''s \"c\"\n;','FJ',NULL)",
    "(6,14,'earth',1,NULL,NULL,NULL,NULL,NULL,NULL,NULL)",
    "(7,15,'earth',1,90.00000000,0.00000000,NULL,NULL,'Nordpol — Überall',NULL,NULL)",
    r"(8,16,'earth',1,-3.10000000,-60.02000000,10,'city','x\\\'),(9,17,\'earth\',1,1,1','BR','AM')",
]
PLACES = {10: [31.2357, 30.0444], 11: [5.29897, 51.69014], 13: [180.0, -16.5], 15: [0.0, 90.0]}
PLACES[16] = [-60.02, -3.1]
INSERT = "INSERT INTO `geo_tags` VALUES"
STYLES = {
    "one statement": f"{INSERT} {','.join(ROWS)};\n",
    "several": "".join(f"{INSERT} {','.join(rows)};\n" for rows in (ROWS[:3], ROWS[3:4], ROWS[4:])),
    "one row a line": f"{INSERT}\n" + ",\n".join(ROWS) + ";\n",
    "both": f"{INSERT} {ROWS[0]};\n{INSERT}\n" + ",\n".join(ROWS[1:]) + ";\n",
}


def write_sql(path, body, head=HEAD, tail=TAIL):
    """Write a dump, compressed if the name ends in .gz; return the path."""
    data = (head + body + tail).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["enwiki-latest-geo_tags.sql.gz", "geo_tags.sql"])
def test_primary_places_on_earth_are_kept(tmp_path, style, name):
    frame = read_geo_tags(write_sql(tmp_path / name, STYLES[style]))
    assert list(frame.columns) == ["page_id", "lon", "lat"]
    assert frame["page_id"].tolist() == list(PLACES)
    assert frame["page_id"].dtype == np.int64
    np.testing.assert_array_equal(frame[["lon", "lat"]], list(PLACES.values()))


def test_columns_are_taken_by_name(tmp_path):
    head = "CREATE TABLE `geo_tags` (\n  `gt_lon` float,\n  `gt_page_id` int,\n  `gt_lat` float,\n"
    head += "  `gt_primary` tinyint(1),\n  `gt_globe` varbinary(32)\n) ENGINE=InnoDB;\n"
    path = write_sql(tmp_path / "a.sql", f"{INSERT} (1.5,7,-2.5,1,'earth');\n", head)
    assert read_geo_tags(path).to_numpy().tolist() == [[7, 1.5, -2.5]]


def test_a_long_dump_is_read(tmp_path):
    nulls = ",".join(["NULL"] * 5)
    rows = [f"({n},{n},'earth',1,{n % 90}.5,{n % 180}.25,{nulls})" for n in range(20_000)]
    path = write_sql(tmp_path / "a.sql.gz", f"{INSERT}\n" + ",\n".join(rows) + ";\n")
    frame = read_geo_tags(path)
    assert frame["page_id"].tolist() == list(range(20_000))
    assert frame.iloc[-1].tolist() == [19_999, 19_999 % 180 + 0.25, 19_999 % 90 + 0.5]


def test_a_dump_without_rows_has_no_places(tmp_path):
    assert len(read_geo_tags(write_sql(tmp_path / "a.sql", ""))) == 0


LINES = STYLES["one row a line"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LINES[: LINES.index("(5,")], "cut short in the middle of a statement"),
        (STYLES["one statement"][:200], "there is no row of values in"),
        (f"{INSERT} {ROWS[0]} {ROWS[1]}\n", "cut short in the middle"),
        (f"{INSERT} (1,2,'earth',1,3.5,4.5);\n", r"expected 11 values, got 6 in b.1,2,'earth'"),
        (f"{INSERT} {ROWS[0].replace('31.2357', 'east')};\n", "could not convert .*east"),
        (f"{INSERT} (1,10,'earth);\n", "there is no row of values"),
    ],
)
def test_damaged_sql_is_refused(tmp_path, body, reason):
    path = write_sql(tmp_path / "a.sql", body, tail="")
    with pytest.raises(ValueError, match=rf"geo_tags, but .*a\.sql cannot be used: .*{reason}"):
        read_geo_tags(path)


def test_other_tables_are_refused(tmp_path):
    path = tmp_path / "page.sql"
    path.write_text("CREATE TABLE `page` (\n  `page_id` int\n) ENGINE=InnoDB;\n")
    with pytest.raises(ValueError, match=r"there is no CREATE TABLE `geo_tags`"):
        read_geo_tags(path)
    head = "CREATE TABLE `geo_tags` (\n  `GeoTagID` int\n) ENGINE=InnoDB;\n"
    with pytest.raises(ValueError, match=r"it has no column 'gt_lon'"):
        read_geo_tags(write_sql(path, f"{INSERT} (1);\n", head))


def test_a_compressed_dump_that_is_cut_short_or_none_is_refused(tmp_path):
    path = write_sql(tmp_path / "a.sql.gz", STYLES["several"])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.sql\.gz cannot be used: Compressed file ended"):
        read_geo_tags(path)
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"a\.sql\.gz cannot be used: Not a gzipped file"):
        read_geo_tags(path)
    with pytest.raises(ValueError, match=r"an SQL dump of the table geo_tags, but there is no"):
        read_geo_tags(tmp_path / "gone.sql.gz")


CAIRO = """{{Short description|Capital of Egypt}}
{{Infobox settlement|name=Cairo|image=[[File:A.jpg]]
|coordinates={{coord|30|2|N}}}}
[[Datei:Cairo.jpg|thumb|upright=1.2|A [[mosque]]&lt;ref&gt;B&lt;/ref&gt; in Cairo]]
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
CAIRO_TEXT = "Cairo is the capital of Egypt. — big."


def page_xml(number, namespace, title, text):
    redirect = '<redirect title="Manaus" />' if text.startswith("#") else ""
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>\n"
        f"    {redirect}<revision>\n      <id>{number + 1000}</id>\n      <contributor><id>5</id>"
        f'</contributor>\n      <text bytes="9" xml:space="preserve">{text}</text>\n'
        "    </revision>\n  </page>\n"
    )


XML = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">\n'
    "  <siteinfo><sitename>Wikipedia</sitename><namespaces>"
    '<namespace key="0" case="first-letter" /><namespace key="6">Datei</namespace>'
    '<namespace key="14">Kategorie</namespace></namespaces></siteinfo>\n'
    + "".join(page_xml(*page) for page in PAGES)
    + "</mediawiki>\n"
)


@pytest.fixture
def tags(tmp_path):
    return write_sql(tmp_path / "enwiki-latest-geo_tags.sql.gz", STYLES["several"])


@pytest.fixture(params=["pages-articles.xml.bz2", "pages-articles.xml.gz", "pages.xml", "streams"])
def dump(request, tmp_path):
    """Write the pages, compressed in four ways."""
    data = XML.encode()
    if request.param == "streams":  # the multistream dump: one bzip2 stream after another
        path = tmp_path / "pages-articles-multistream.xml.bz2"
        path.write_bytes(bz2.compress(data[:900]) + bz2.compress(data[900:]))
        return path
    path = tmp_path / request.param
    press = {".bz2": bz2.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(press(data))
    return path


def test_articles_get_their_first_paragraph(tags, dump):
    seen = read_wikipedia(tags, dump)
    assert seen.raw == [CAIRO_TEXT, "Den Bosch (founded 1185) is a city."]
    assert list(seen.names) == ["Cairo", "'s-Hertogenbosch"]
    np.testing.assert_array_equal(seen.lonlat, [PLACES[10], PLACES[11]])
    assert seen.dropped == 3  # a draft, a page without text, a redirect
    assert (seen.name, seen.source) == ("text", f"Wikipedia, {dump.name}")


def test_places_may_be_given_as_read(tags, dump):
    frame = read_geo_tags(tags)
    seen = read_wikipedia(frame[::-1].reset_index(drop=True), dump, name="wiki")
    assert list(seen.names) == ["'s-Hertogenbosch", "Cairo"]  # in the order of the places
    np.testing.assert_array_equal(seen.lonlat, [PLACES[11], PLACES[10]])
    assert seen.name == "wiki"


@pytest.mark.parametrize("name", ["pages.csv", "pages.parquet"])
def test_pages_may_be_a_table(tmp_path, tags, name):
    path = tmp_path / name
    frame = pd.DataFrame(
        {
            "id": [16, 13, 10, 99],
            "title": ["Manaus", "Fiji", "Cairo", "NA"],
            "abstract": list("mf c"),
        }
    )
    frame.to_parquet(path) if "parquet" in name else frame.to_csv(path, index=False)
    seen = read_wikipedia(tags, path, page_id="id", text="abstract")
    assert list(seen.names) == ["Fiji", "Manaus"]
    assert seen.raw == ["f", "m"]
    np.testing.assert_array_equal(seen.lonlat, [PLACES[13], PLACES[16]])
    assert seen.dropped == 3


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["10", "11", "10"], r"page 10 comes again in row 2"),
        (["10", "", "11"], r"page_id is no whole number in row 1"),
        (["10", "11", "1.5"], r"page_id is no whole number in row 2"),
    ],
)
def test_a_table_of_pages_that_is_ambiguous_is_refused(tmp_path, tags, ids, message):
    path = tmp_path / "pages.csv"
    path.write_text("page_id,title,text\n" + "".join(f"{n},a,b\n" for n in ids))
    with pytest.raises(ValueError, match=rf"pages\.csv: {message}"):
        read_wikipedia(tags, path)


@pytest.mark.parametrize("kept", [0, 40, 0.5, 0.99])
def test_a_dump_that_is_cut_short_is_refused(tags, dump, kept):
    data = dump.read_bytes()
    dump.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"expected an XML dump .*is none or is cut short: "):
        read_wikipedia(tags, dump)


def test_pages_of_another_wiki_are_refused(tmp_path, tags):
    path = tmp_path / "other.xml"
    path.write_text(XML.replace("<id>1", "<id>7"))
    with pytest.raises(
        ValueError, match=r"no page of .*other\.xml has a place and a text; are both"
    ):
        read_wikipedia(tags, path)


def test_pages_that_were_read_take_no_memory(tmp_path, tags, monkeypatch):
    from xml.etree import ElementTree

    path, sizes = tmp_path / "many.xml", []
    filler = "".join(page_xml(n, 0, f"Page {n}", "Text.") for n in range(1000, 3000))
    path.write_text(XML.replace("</mediawiki>", filler + "</mediawiki>"))
    iterparse = ElementTree.iterparse

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
        ("{{a}}\n\n{{b|c=[[d]]}}\n\nText.", "Text."),
        ("One\nline.\n\nTwo.", "One line."),
        ("Area ( ; , ) and (of) it.", "Area and (of) it."),
        ("A<ref>x {{y}}</ref>B<ref name=z/>C.", "ABC."),
        (
            "See [[:File:x.jpg|the picture]] and [[Star Trek: Voyager]].",
            "See the picture and Star Trek: Voyager.",
        ),
        ("A [[File]] is [[file|one]].", "A File is one."),
        ("[[file: x.jpg|thumb|[[a]] caption [[File:y.jpg]]]]Text.", "Text."),
        ("[[Category:Cities]]\n== Only a heading ==\nText.", ""),
        ("{|\n|-\n| cell <ref>x</ref>\n|}\nAfter.", "After."),
        ("a&nbsp;b &amp; c <!-- no --> d", "a b & c d"),
        ("{{unclosed\n'''X''' is.", "{{unclosed X is."),
    ],
)
def test_wikitext_becomes_plain_text(wikitext, expected):
    assert first_paragraph(wikitext, {"file", "category"}) == expected
