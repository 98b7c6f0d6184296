"""Downstream tasks: places with labels that no training saw."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sample as embedded
from .coords import EARTH_RADIUS_KM, Array, unit_vectors

NAMES = ("elevation", "population", "climate", "country")
POPULATION_RADIUS_KM = 50.0


@dataclass(frozen=True, eq=False)
class Task:
    """Labelled places.

    Attributes
    ----------
    name : str
    lonlat : array, shape (N, 2)
    target : array, shape (N,)
        float64 for a regression; class numbers, int64, for a classification.
    kind : {"regression", "classification"}
    unit : str
        What a target counts.
    classes : tuple of str
        Names of the classes, by number; empty for a regression.
    source : str
    caveat : str
        What a reader of a score has to know.
    """

    name: str
    lonlat: Array
    target: NDArray[Any]
    kind: str
    unit: str
    classes: tuple[str, ...] = ()
    source: str = ""
    caveat: str = ""

    def __len__(self) -> int:
        return len(self.lonlat)

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.kind}, {len(self):,} places, {self.unit})"


def load_task(name: str, n: int = 20_000, seed: int = 0, source: str = "sample") -> Task:
    """Load n labelled places of a task; the places are the same for every task.

    Parameters
    ----------
    name : {"elevation", "population", "climate", "country"}
    n : int
        Places, uniform by area over land with a known elevation, climate and country. Antarctica
        is left out, and Greenland, where the source gives the rock under the ice.
    seed : int
        Seed of the places; never the stream of a modality.
    source : {"sample"}
        Labels from the embedded sample.

    Returns
    -------
    Task
    """
    if name not in NAMES:
        raise ValueError(f"unknown task {name!r}: expected one of {NAMES}")
    if source != "sample":
        raise ValueError(f"unknown source {source!r}: this version has 'sample'")
    if not isinstance(n, (int, np.integer)) or n < 2:
        raise ValueError(f"n must be an integer of at least 2, got {n!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    places, country = _labelled_places(int(n), seed)
    if name == "elevation":
        metres = embedded.raster("elevation").at(places)[:, 0].astype(np.float64)
        caveat = "relief shading in the imagery shows mountains"
        return Task(name, places, metres, "regression", "m", (), "elevation.tif", caveat)
    if name == "population":
        people = np.log10(1 + people_within(places, POPULATION_RADIUS_KM))
        return Task(
            name,
            places,
            people,
            "regression",
            f"log10(1 + people within {POPULATION_RADIUS_KM:g} km)",
            (),
            "places.parquet",
            "circular: the same gazetteer supplies the place names that models train on",
        )
    if name == "climate":
        grid = embedded.raster("climate")
        return Task(
            name,
            places,
            grid.at(places)[:, 0].astype(np.int64) - 1,
            "classification",
            "Koppen-Geiger class",
            tuple(grid.tags["CLASSES"].split(",")),
            "climate.tif",
            "climate is strongly tied to what satellites see",
        )
    names = tuple(embedded.countries()["name"])
    return Task(name, places, country, "classification", "country", names, "countries.fgb")


def people_within(lonlat: Array, radius_km: float) -> NDArray[np.float64]:
    """Count the people of the gazetteer's places within a great-circle distance: (N,)."""
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
    rng = np.random.default_rng([seed, 1000])  # modalities use [seed, 0], [seed, 1], [seed, 2]
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
    """Return the row of the country that holds each place, -1 where there is none: (N,)."""
    import shapely

    tree = shapely.STRtree(embedded.countries().geometry.to_numpy())
    point, polygon = tree.query(shapely.points(lonlat), predicate="intersects")
    number = np.full(len(lonlat), -1, dtype=np.int64)
    number[point[::-1]] = polygon[::-1]  # on a shared border the first country counts
    return number
