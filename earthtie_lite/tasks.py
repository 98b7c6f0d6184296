"""Downstream tasks: places with labels that are never used in training."""

import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sample as embedded
from .config import check_integer, check_option
from .coords import EARTH_RADIUS_KM, Array, unit_vectors
from .places import lonlat_of

NAMES = ("elevation", "population", "climate", "country")
PAPER_NAMES = ("population", "biome", "country", "elevation")  # from files that the user downloads
POPULATION_RADIUS_KM = 50.0


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
    name : {"elevation", "population", "climate", "country"}
        Or "biome", with ``source="paper"``.
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
    if name not in (NAMES if source == "sample" else PAPER_NAMES):
        raise ValueError(
            f"unknown task {name!r} of source {source!r}: the sample has {NAMES}, the paper "
            f"{PAPER_NAMES} (source='paper', path=...)"
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
    if name == "climate":
        file, unit = embedded.raster("climate"), "Koppen-Geiger class"
        zone, classes = file.at(places)[:, 0].astype(np.int64) - 1, file.tags["CLASSES"].split(",")
        about = (tuple(classes), "climate.tif", "climate is strongly tied to what satellites see")
        return Task(name, places, zone, "classification", unit, *about)
    names = tuple(embedded.countries()["name"])
    return Task(name, places, country, "classification", "country", names, "countries.fgb")


def people_within(lonlat: Array, radius_km: float) -> NDArray[np.float64]:
    """Sum the population of gazetteer places within a great-circle distance of each place: (N,)."""
    from scipy.spatial import cKDTree

    frame = embedded.places()
    tree = cKDTree(unit_vectors(frame[["lon", "lat"]].to_numpy()))
    chord = 2 * np.sin(radius_km / EARTH_RADIUS_KM / 2)
    population = frame["population"].to_numpy(dtype=np.float64)
    found = tree.query_ball_point(unit_vectors(lonlat), chord)
    return np.array([population[rows].sum() for rows in found])


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
