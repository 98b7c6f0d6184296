"""The paper's data sets and weights: what they are, where they lie, and under which licence."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Source:
    """One data set or one set of weights, as published.

    Parameters
    ----------
    name : str
        Key in :data:`~earthtie_lite.paper.catalogue.SOURCES`.
    what : str
        What it is and in which format.
    homepage : str
        Where it is described.
    licence, citation : str
        Terms of use, as far as they are documented, and whom to cite.
    address : str
        Where a file is downloaded; ``{file}`` stands for its name. Empty if nothing can be
        downloaded by address; ``note`` then says what to do.
    files, others : tuple of str
        Files that are downloaded by default, and other files at the address.
    size, exact : int or None, bool
        Bytes of ``files`` together, rounded unless exact; None if nobody states it.
    sha256 : str
        Hash of the only file, in hexadecimal, if it is published.
    sign_in : str
        What the provider asks for first; empty if anybody may download.
    note : str
        What else one has to know.

    Examples
    --------
    >>> SOURCES["population"].url("gpw_v4_population_density_rev11_2020_10m.tif")
    'https://geodata.ucdavis.edu/geodata/pop/gpw_v4_population_density_rev11_2020_10m.tif'
    """

    name: str
    what: str
    homepage: str
    licence: str
    citation: str
    address: str = ""
    files: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    size: int | None = None
    exact: bool = False
    sha256: str = ""
    sign_in: str = ""
    note: str = ""

    def url(self, file: str, base_url: str | None = None) -> str:
        """Return the address of a file, or of its copy under ``base_url``."""
        template = self.address if base_url is None else base_url.rstrip("/") + "/{file}"
        return template.replace("{file}", quote(file))


def _expanded(name: str) -> list[str]:
    """Return the names that a range in a name stands for: ``part{00..09}``."""
    if (found := re.search(r"{(\d+)\.\.(\d+)}", name)) is None:
        return [name]
    numbers = range(int(found[1]), int(found[2]) + 1)
    return [name.replace(found[0], str(n).zfill(len(found[1]))) for n in numbers]


def _source(
    name: str, files: Iterable[str] = (), others: Iterable[str] = (), **about: Any
) -> Source:
    """Make a source of an entry of the catalogue."""
    names = tuple(name for file in files for name in _expanded(file))
    return Source(name, files=names, others=tuple(others), **about)


_ENTRIES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SOURCES = {name: _source(name, **entry) for name, entry in _ENTRIES.items()}
