"""Downstream tasks: places with labels that are never used in training."""

import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import sample as embedded
from .config import check_integer, check_option
from .coords import EARTH_RADIUS_KM, Array, unit_vectors
from .places import lonlat_of

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("elevation", "population", "climate", "country")
MORE_NAMES = ("family", "languages", "airports", "turbidity", "turbidity season")
PAPER_NAMES = ("population", "biome", "country", "elevation")  # from files that the user downloads
POPULATION_RADIUS_KM = 50.0
RADIUS_KM = {"languages": 300.0, "airports": 200.0}  # the tasks count them within this distance
SMALLEST_FAMILY = 10  # languages; smaller families and isolates form the class "other"


@dataclass(frozen=True, eq=False)
class Task:
    """Labelled places.

    Attributes
    ----------
    name : str
    lonlat : array, shape (N, 2)
        Or anything else that :func:`~earthtie_lite.places.lonlat_of` reads.
    target : array, shape (N,)
        float64 for a regression; class numbers, int64, for a classification.
    kind : {"regression", "classification"}
    unit : str
        Unit of the target.
    classes : tuple of str
        Names of the classes, by number; empty for a regression.
    source : str
        Origin of the labels.
    caveat : str
        Limit on the interpretation of a score.

    Raises
    ------
    ValueError
        If places, targets, kind and classes are inconsistent.
    """

    name: str
    lonlat: Array
    target: NDArray[Any]
    kind: str
    unit: str
    classes: tuple[str, ...] = ()
    source: str = ""
    caveat: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lonlat", lonlat_of(self.lonlat))
        object.__setattr__(self, "target", np.asarray(self.target))
        check_option("kind", self.kind, ("regression", "classification"))
        target, start = self.target, f"target of task {self.name!r} must"
        if target.shape != (len(self.lonlat),):
            raise ValueError(
                f"{start} have shape ({len(self.lonlat)},), one per place, got {target.shape}"
            )
        what, kinds = ("numbers", "iuf") if self.kind == "regression" else ("integers", "iu")
        if target.dtype.kind not in kinds:
            raise ValueError(f"{start} be {what} for a {self.kind}, got {target.dtype}")
        bad, should, hint = ~np.isfinite(target), "be finite", "; drop places without a label"
        if self.classes and not bad.any():
            bad = (target < 0) | (target >= len(self.classes))
            should, hint = f"number its {len(self.classes)} classes from 0", ""
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"{start} {should}, got {target[row]} in row {row}{hint}")

    def __len__(self) -> int:
        return len(self.lonlat)

    def at(self, rows: NDArray[Any]) -> "Task":
        """Return the task at some of its places, given by row numbers or a mask."""
        some = copy.copy(self)
        object.__setattr__(some, "lonlat", self.lonlat[rows])
        object.__setattr__(some, "target", self.target[rows])
        return some

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.kind}, {len(self):,} places, {self.unit})"


def load_task(
    name: str,
    n: int = 20_000,
    seed: int = 0,
    source: str = "sample",
    path: str | Path | None = None,
) -> Task:
    """Load n labelled places of a task; the places are the same for every task.

    Parameters
    ----------
    name : str
        "elevation" in m; "population" within 50 km; "climate", a Koppen-Geiger zone; "country";
        "family" of the nearest language; "languages" within 300 km; "airports" within 200 km;
        "turbidity" of the air, of the year; "turbidity season", July against January; or "biome",
        with ``source="paper"``.
    n : int
        Number of places, drawn uniformly by area from land with known elevation, climate and
        country. Antarctica and Greenland are left out; for Greenland the elevation source gives the
        bedrock under the ice.
    seed : int
        Seed of the places; their random generator differs from those of the modalities.
    source : {"sample", "paper"}
        Labels from the embedded sample, or (except "climate") from the paper's source in a file.
        Places without a label in that file are dropped.
    path : str or Path, optional
        The file, for ``source="paper"``: a GeoTIFF of GPWv4.11 for "population", RESOLVE's
        Ecoregions 2017 for "biome", GADM 4.1 or Natural Earth for "country", a folder of terrain
        tiles for "elevation". The data cards say where to get them.

    Returns
    -------
    Task
    """
    check_integer("n", n, 2)
    check_integer("seed", seed, 0)
    check_option("source", source, ("sample", "paper"))
    if name not in ((*NAMES, *MORE_NAMES) if source == "sample" else PAPER_NAMES):
        raise ValueError(
            f"unknown task {name!r} of source {source!r}: the sample has {NAMES + MORE_NAMES}, the "
            f"paper {PAPER_NAMES} (source='paper', path=...)"
        )
    if source == "paper" and path is None:
        raise ValueError(f"source='paper' needs path=, a file with labels of {name!r}")
    if source == "sample" and path is not None:
        raise ValueError(f"path needs source='paper', got path={str(path)!r} and 'sample'")
    places, country = _labelled_places(int(n), seed)
    if path is not None:
        from .paper.labels import paper_task

        return paper_task(name, places, path)
    return _sample_task(name, places, country)


def _sample_task(name: str, places: Array, country: NDArray[np.int64]) -> Task:
    """Label the places from the embedded sample."""
    if name == "elevation":
        metres = embedded.raster("elevation").at(places)[:, 0].astype(np.float64)
        caveat = "relief shading in the imagery shows mountains"
        return Task(name, places, metres, "regression", "m", (), "elevation.tif", caveat)
    if name == "population":
        people = np.log10(1 + people_within(places, POPULATION_RADIUS_KM))
        unit = f"log10(1 + people within {POPULATION_RADIUS_KM:g} km)"
        caveat = "circular: the same gazetteer supplies the place names that models train on"
        return Task(name, places, people, "regression", unit, (), "places.parquet", caveat)
    if name in RADIUS_KM:
        count = np.log10(1 + count_within(embedded.points(name), places, RADIUS_KM[name]))
        unit = f"log10(1 + {name} within {RADIUS_KM[name]:g} km)"
        return Task(name, places, count, "regression", unit, (), f"{name}.parquet")
    if name == "family":
        family, classes = family_of(places)
        about = (classes, "languages.parquet", "names are in the languages of their speakers")
        unit = "family of the nearest language"
        return Task(name, places, family, "classification", unit, *about)
    if name.startswith("turbidity"):
        year, january, july = embedded.raster("turbidity").at(places).T.astype(np.float64) / 20
        values, unit = (year, "Linke turbidity factor of the year")
        if name == "turbidity season":
            values, unit = np.log2(july / january), "log2(July / January) of the Linke turbidity"
        return Task(name, places, values, "regression", unit, (), "turbidity.tif")
    if name == "climate":
        file, unit = embedded.raster("climate"), "Koppen-Geiger class"
        zone, names = file.at(places)[:, 0].astype(np.int64) - 1, file.tags["CLASSES"].split(",")
        about = (tuple(names), "climate.tif", "climate is strongly tied to what satellites see")
        return Task(name, places, zone, "classification", unit, *about)
    classes = tuple(embedded.countries()["name"])
    return Task(name, places, country, "classification", "country", classes, "countries.fgb")


def people_within(lonlat: Array, radius_km: float) -> NDArray[np.float64]:
    """Sum the population of gazetteer places within a great-circle distance of each place: (N,)."""
    frame = embedded.places()
    population = frame["population"].to_numpy(dtype=np.float64)
    found = _tree(frame).query_ball_point(unit_vectors(lonlat), _chord(radius_km))
    return np.array([population[rows].sum() for rows in found])


def count_within(frame: "pd.DataFrame", lonlat: Array, radius_km: float) -> NDArray[np.int64]:
    """Count the points of a table within a great-circle distance of each place: (N,)."""
    near = unit_vectors(lonlat), _chord(radius_km)
    return _tree(frame).query_ball_point(*near, return_length=True)


def family_of(lonlat: Array) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the class of the language nearest to each place (N,), and the names of the classes."""
    family = embedded.points("languages")["family"]
    size = family.map(family.value_counts())
    family = family.mask((size < SMALLEST_FAMILY) | (family == ""), "other")
    classes = tuple(sorted(set(family)))
    _, nearest = _tree(embedded.points("languages")).query(unit_vectors(lonlat))
    return np.searchsorted(classes, family.to_numpy(str)[nearest]), classes


def _tree(frame: "pd.DataFrame") -> Any:
    """Index the points of a table by their unit vectors."""
    from scipy.spatial import cKDTree

    return cKDTree(unit_vectors(frame[["lon", "lat"]].to_numpy()))


def _chord(radius_km: float) -> float:
    """Return the length of the chord of a great-circle distance on the unit sphere."""
    return 2 * float(np.sin(radius_km / EARTH_RADIUS_KM / 2))


@functools.lru_cache(maxsize=4)
def _labelled_places(n: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Draw places on land that lie in a country: (n, 2), and the country's number (n,)."""
    # Not coords.stream: the stored tables were scored at the places of this generator.
    rng = np.random.default_rng([seed, 1000])
    places, country = np.empty((0, 2)), np.empty(0, dtype=np.int64)
    greenland = int(np.flatnonzero(embedded.countries()["iso_a2"] == "GL")[0])
    while len(places) < n:
        drawn = embedded.sample_land(max(n // 8, 1000), rng)
        number = country_of(drawn)
        labelled = (number >= 0) & (number != greenland)
        places = np.concatenate([places, drawn[labelled]])
        country = np.concatenate([country, number[labelled]])
    places, country = places[:n], country[:n]
    places.flags.writeable = country.flags.writeable = False  # shared by all tasks
    return places, country


def country_of(lonlat: Array) -> NDArray[np.int64]:
    """Return the row of the country that contains each place, -1 outside all countries: (N,)."""
    import shapely

    tree = shapely.STRtree(embedded.countries().geometry.to_numpy())
    point, polygon = tree.query(shapely.points(lonlat), predicate="intersects")
    number = np.full(len(lonlat), -1, dtype=np.int64)
    number[point[::-1]] = polygon[::-1]  # on a shared border the first country counts
    return number
