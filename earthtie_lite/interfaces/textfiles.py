"""Tables as text: separators, quotes and names as people write them, and sheets of Excel."""

import contextlib
import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import warn
from ..frames import WKT, coordinate_columns

if TYPE_CHECKING:
    import pyarrow as pa

Lines = tuple[Sequence[int], list[Any]]  # where rows of text begin; these, or columns of Arrow
SEPARATORS, NUMBER = (",", ";", "\t", "|"), re.compile(r"\s*[-+]?\d[\d.,]*(e[-+]?\d+)?\s*", re.I)
SAMPLE = 100  # lines that tell the separator
LONGEST = 2**16  # lines of one row of text


def rows_of_text(
    read: Iterator[Lines], lon: str | None, lat: str | None
) -> "tuple[pa.Schema, Iterator[tuple[pa.RecordBatch, Sequence[int]]]]":
    """Return the columns of rows of text, named by the first if it has names, and the rest."""
    import pyarrow as pa

    numbers, rows = next((lines for lines in read if lines[1]), ((), []))
    if not rows:
        raise ValueError("it is empty")
    names = rows[0]
    asked = _coordinates(names, lon, lat) or names
    if any(NUMBER.fullmatch(cell) or WKT.match(cell) for cell in asked):
        names = [f"c{column}" for column in range(1, len(names) + 1)]
        warn(f"the first line has no names: the columns are called c1 to c{len(names)}")
    else:
        numbers, rows = numbers[1:], rows[1:]
    schema = pa.schema([(name, pa.string()) for name in names])

    def parts() -> "Iterator[tuple[pa.RecordBatch, Sequence[int]]]":
        for lines, part in itertools.chain([(numbers, rows)], read):
            if part and isinstance(part[0], list):
                uneven = [(at, row) for at, row in zip(lines, part) if len(row) != len(names)]
                for line, row in uneven[:1]:
                    raise ValueError(f"line {line} has {len(row)} cells, expected {len(names)}")
                part = [
                    pa.array([cell or None for cell in cells], "string") for cells in zip(*part)
                ]
            if part:
                yield pa.RecordBatch.from_arrays(part, schema=schema), lines

    return schema, parts()


def sheet_rows(path: Path) -> Iterator[Lines]:
    """Yield the rows of the first sheet of a workbook, as text."""
    import pandas as pd

    with pd.ExcelFile(path) as book:
        if len(book.sheet_names) > 1:
            warn(f"only the first of the sheets {book.sheet_names} is read")
        sheet = pd.read_excel(book, header=None, dtype=object, keep_default_na=False)
    cells = sheet.map(lambda cell: "" if pd.isna(cell) else str(cell)).to_numpy().tolist()
    yield range(1, len(cells) + 1), cells


def text_rows(path: Path, rows: int, lon: str | None, lat: str | None) -> Iterator[Lines]:
    """Yield the rows of a text file: the lines at which they begin, and their cells."""
    csv.field_size_limit(2**24)  # characters of a cell
    with path.open("rb") as raw, contextlib.ExitStack() as stack:
        data: Any = raw
        if data.peek(2)[:2] == b"\x1f\x8b":
            data = stack.enter_context(gzip.open(raw))
        start = data.peek(2)[:2]
        if start == b"PK":
            raise ValueError("it is a zip archive: unpack it first")
        utf = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        file = io.TextIOWrapper(data, utf, newline="")
        sample, number = list(itertools.islice(file, SAMPLE)), 1
        if sample and (said := re.fullmatch(r'"?sep=(.)"?\s*', sample[0], re.I)):
            separator, sample, number = said[1], sample[1:], 2
        else:
            separator = max(SEPARATORS, key=lambda mark: _merit(mark, sample, lon, lat))
        yield from _split(itertools.chain(sample, file), separator, number, rows)


def _merit(separator: str, sample: list[str], lon: str | None, lat: str | None) -> tuple[Any, ...]:
    """Return how well a separator fits: it finds coordinates, and rows as long as the first."""
    rows = [row for row in csv.reader(sample, delimiter=separator) if row] or [[]]
    equal = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
    return len(rows[0]) > 1, bool(_coordinates(rows[0], lon, lat)), equal, len(rows[0])


def _coordinates(names: list[str], lon: str | None, lat: str | None) -> Sequence[str]:
    """Return the columns of longitude and latitude, if they are found."""
    with contextlib.suppress(ValueError):
        return coordinate_columns(names, lon, lat)
    return ()


def _split(lines: Iterator[str], separator: str, number: int, rows: int) -> Iterator[Lines]:
    """Split lines into the cells of rows; a quote that is not where it should be is refused."""
    quoted, mark = '"[^"]*(?:""[^"]*)*"', re.escape(separator)
    cell = rf'(?:{quoted}|[^"{mark}]*)'
    sound, width, swallowed = re.compile(rf"{cell}(?:{mark}{cell})*"), 0, []
    while part := list(itertools.islice(lines, rows if width else 1)):  # first, the names
        if columns := _without_quotes(part, separator, width):
            yield range(number, number + len(part)), columns
            number += len(part)
            continue
        begins, found = [], []
        coming, end = itertools.chain(part, lines), number + len(part)
        while number < end:
            pieces, begin, number = [next(coming)], number, number + 1
            plain = separator == "\t" and pieces[0].count("\t") + 1 == width
            odd = not plain and pieces[0].count('"') % 2
            while odd:  # a quoted cell goes on in the next line
                pieces.append(next(coming, ""))
                number, odd = number + 1, odd ^ pieces[-1].count('"') % 2
                if not pieces[-1] or len(pieces) > LONGEST:
                    raise ValueError(f"a quote in line {begin} is never closed")
            text = "".join(pieces).rstrip("\r\n")
            if plain:  # tabs often come with quotes that mean themselves
                cells = [
                    c[1:-1].replace('""', '"') if re.fullmatch(quoted, c) else c
                    for c in text.split("\t")
                ]
            elif sound.fullmatch(text):
                cells = next(csv.reader([text], delimiter=separator), [])
            else:
                raise ValueError(
                    f"line {begin} has a quote inside a cell or text after a closing quote: "
                    "quotes enclose a whole cell, and are doubled inside it"
                )
            if len(cells) > 1 or text.strip():  # no blank line
                begins.append(begin)
                found.append(cells)
                width = width or len(cells)
            swallowed += [begin] * any("\n" in c and separator in c for c in cells)
        yield begins, found
    if swallowed:
        warn(
            f"{len(swallowed):,} cells hold line breaks and separators, the first begins in line "
            f"{swallowed[0]}: if whole rows are in it, a quote is missing or too many"
        )


def _without_quotes(part: list[str], separator: str, width: int) -> "list[pa.Array]":
    """Split lines fast into columns; nothing if they have quotes, blanks or faults."""
    import pyarrow as pa
    import pyarrow.csv as pc

    data = "".join(part).encode()
    if not width or b'"' in data:
        return []
    names = [str(column) for column in range(width)]
    reading = pc.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names)
    parsing = pc.ParseOptions(delimiter=separator, quote_char=False)
    types = dict.fromkeys(names, pa.string())
    cells = pc.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    try:
        table = pc.read_csv(io.BytesIO(data), reading, parsing, cells)
    except pa.ArrowInvalid:
        return []
    return table.to_batches()[0].columns if table.num_rows == len(part) else []
