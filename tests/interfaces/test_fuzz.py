"""Ten thousand mutated tables: each is read whole, with every row accounted for, or refused."""

import gzip
import io
import re
import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pytest
from fakes import Waves

from earthtie_lite.coords import sample_sphere
from earthtie_lite.interfaces.tables import embed_file

CASES = 1250  # of each format
JUNK = ["", "NA", "n/a", "\\N", "nan", "inf", "-inf", "1e400", "91", "-181", "0", "-9999", "13,4"]
JUNK += [
    "52°31'N",
    '"',
    "'",
    '""',
    'a "b" c',
    "a,b",
    "x;y",
    "\t",
    "two\nlines",
    "\r\n",
    "\x00",
    "ü",
]
JUNK += ["POINT (1 2)", "SRID=3857;POINT (1 2)", "9" * 400, "=1+1", "  5.5 ", "0x1F", "١٢", "True"]


def table(rng):
    """Return a table of places, some of its cells replaced by junk."""
    n = int(rng.integers(1, 9))
    frame = pd.DataFrame(sample_sphere(n, rng).round(4), columns=["lon", "lat"]).astype(object)
    frame.insert(0, "name", [f"place {i}" for i in range(n)])
    frame["v"] = rng.normal(size=n).round(3)
    for _ in range(rng.integers(0, 4)):
        column = str(rng.choice(frame.columns))
        frame[column] = frame[column].astype(object)
        frame.loc[rng.integers(n), column] = str(rng.choice(JUNK))
    if rng.random() < 0.2:
        names = ["Lat", "LNG", "x", "y", "lon", "", "geometry", "e000", "v", "1.5"]
        frame.columns = [str(rng.choice(names)) if rng.random() < 0.3 else c for c in frame]
    return frame


def points(frame, rng):
    """Return a table with geometry, some of it missing or odd."""
    shapes = gpd.points_from_xy(*sample_sphere(len(frame), rng).T).tolist()
    if rng.random() < 0.3:
        shapes[0] = None
    text = frame.astype(str).set_axis([f"c{i}" for i in range(frame.shape[1])], axis=1)
    crs = [4326, 3857, 4978, None, "IAU_2015:49900"][rng.integers(5)]
    made = gpd.GeoDataFrame(text, geometry=shapes, crs=4326)
    return made.to_crs(3857) if crs == 3857 else made.set_crs(crs, allow_override=True)


def text(separator, encoding):
    """Return a writer of text."""

    def write(frame, path, rng):
        data = frame.to_csv(index=False, sep=separator).encode(encoding)
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)

    return write


WRITERS = {
    "s.csv": text(",", "utf-8"),
    "s.tsv": text("\t", "utf-8-sig"),
    "s.txt": text(";", "utf-16"),
    "s.csv.gz": text("|", "utf-8"),
    "s.parquet": lambda frame, path, rng: frame.astype(str).to_parquet(path),
    "geo.parquet": lambda frame, path, rng: points(frame, rng).to_parquet(path),
    "s.geojson": lambda frame, path, rng: points(frame, rng).to_file(path, driver="GeoJSON"),
    "s.xlsx": lambda frame, path, rng: frame.to_excel(path, index=False),
}


def damage(path, rng):
    """Change some bytes of a file; inside of what is compressed, if it is."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".gz" and rng.random() < 0.8:
        data = bytearray(gzip.decompress(data))
    for _ in range(rng.integers(1, 4)):
        at, way = int(rng.integers(len(data) + 1)), rng.integers(4)
        if way == 0:
            data[at:at] = rng.choice([b'"', b",", b"\n", b"\r", b"\t", b";", b"\0", b"\xff"])
        elif way == 1:
            del data[at : at + int(rng.integers(1, 4))]
        elif way == 2 and at < len(data):
            data[at] = int(rng.integers(256))
        else:
            data = data if rng.random() < 0.7 else data[:at]
    whole = path.suffix == ".gz" and data[:2] != b"\x1f\x8b"
    path.write_bytes(gzip.compress(bytes(data), mtime=0) if whole else bytes(data))


def lines(path):
    """Return the number of lines of a text file that are not blank, and whether it has quotes."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    found = io.StringIO(data.decode("utf-16" if utf16 else "utf-8-sig"), newline="").readlines()
    return sum(bool(line.strip()) for line in found), '"' in "".join(found)


@pytest.mark.long
@pytest.mark.parametrize("name", WRITERS)
def test_a_mutated_table_is_embedded_whole_or_refused_in_a_line(tmp_path, name):
    refused = []
    for case in range(CASES):
        rng = np.random.default_rng([case, len(name)])
        source = tmp_path / name
        target = tmp_path / str(rng.choice(["t.csv", "t.parquet", "t.csv.gz"]))
        frame, broken = table(rng), rng.random() < 0.5
        try:
            WRITERS[name](frame, source, rng)
        except (ValueError, OverflowError, RuntimeError):  # the writer refuses the junk
            continue
        except Exception as error:
            if "illegal" in str(error).lower() or "Illegal" in type(error).__name__:
                continue
            raise
        if broken:
            damage(source, rng)
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            try:
                done = embed_file(source, target, Waves(2), missing="drop", overwrite=True)
            except ValueError as error:
                refused.append(str(error))
                continue
        said = " ".join(str(note.message) for note in noted)
        left_out = re.search(r"([\d,]+) of [\d,]+ rows are left out", said)
        read = done + int(left_out[1].replace(",", "")) if left_out else done
        if not broken:
            assert read == len(frame), (case, said)
        elif name in ("s.csv", "s.tsv", "s.txt", "s.csv.gz"):
            there, quotes = lines(source)
            expected = there - ("no names" not in said)
            assert read == expected or (quotes and read < expected), (case, said)
        got = pd.read_csv(target) if "csv" in target.name else pd.read_parquet(target)
        assert len(got) == done, case
        if target.suffix == ".parquet":
            assert pl.read_parquet(target).height == done, case
    assert 0.1 * CASES < len(refused) < 0.95 * CASES  # neither is everything refused nor nothing
    assert not [said for said in refused if "\n" in said]
