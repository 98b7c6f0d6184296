"""Downstream tasks: places with labels that no training saw."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sample as embedded
from .coords import EARTH_RADIUS_KM, Array, as_lonlat, unit_vectors
from .paper import sources, terrain

NAMES = ("elevation", "population", "climate", "country")
PAPER_NAMES = ("population", "biome", "country", "elevation")  # from files that the user downloads
_PAPER_FILES = {
    "population": "the GeoTIFF of population density of GPWv4.11 (doi 10.7927/H45Q4T5F)",
    "biome": "the polygons of RESOLVE's Ecoregions 2017 (doi 10.1093/biosci/bix014)",
    "country": "the polygons of GADM 4.1 or of Natural Earth's admin_0_countries",
    "elevation": "a folder of terrain tiles, {zoom}/{x}/{y}.tif or .png",
}
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

    Raises
    ------
    ValueError
        If places, targets, kind and classes do not fit together.
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
        object.__setattr__(self, "lonlat", as_lonlat(self.lonlat))
        object.__setattr__(self, "target", np.asarray(self.target))
        if self.kind not in ("regression", "classification"):
            raise ValueError(
                f"kind of task {self.name!r} must be 'regression' or 'classification', "
                f"got {self.kind!r}"
            )
        self._check_target()

    def _check_target(self) -> None:
        """Refuse targets that are not one finite number, or number of a class, for each place."""
        target, start = self.target, f"target of task {self.name!r} must"
        if target.shape != (len(self.lonlat),):
            raise ValueError(
                f"{start} have shape ({len(self.lonlat)},), one a place, got {target.shape}"
            )
        if target.dtype.kind not in ("iu" if self.kind == "classification" else "iuf"):
            what = "integers" if self.kind == "classification" else "numbers"
            raise ValueError(f"{start} be {what} for a {self.kind}, got {target.dtype}")
        bad = ~np.isfinite(target)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{start} be finite, got {target[row]} in row {row}; drop places without a label"
            )
        bad = (target < 0) | (target >= len(self.classes))
        if self.classes and bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{start} number its {len(self.classes)} classes from 0, "
                f"got {target[row]} in row {row}"
            )

    def __len__(self) -> int:
        return len(self.lonlat)

    def at(self, rows: NDArray[Any]) -> "Task":
        """Return the task at some of its places, given by row numbers or a mask."""
        return replace(self, lonlat=self.lonlat[rows], target=self.target[rows])

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
        Places, uniform by area over land with a known elevation, climate and country. Antarctica
        is left out, and Greenland, where the source gives the rock under the ice.
    seed : int
        Seed of the places; never the stream of a modality.
    source : {"sample", "paper"}
        Labels from the embedded sample, or (all but "climate") the paper's own from a file.
        The paper's sources lack a label at some of the n places: these are dropped.
    path : str or Path, optional
        The file, for ``source="paper"``: a GeoTIFF of GPWv4.11 for "population", RESOLVE's
        Ecoregions 2017 for "biome", GADM 4.1 or Natural Earth for "country", a folder of terrain
        tiles for "elevation". The data cards say where to get them.

    Returns
    -------
    Task
    """
    known = (*NAMES, *(other for other in PAPER_NAMES if other not in NAMES))
    if name not in known:
        raise ValueError(f"unknown task {name!r}: expected one of {known}")
    if source not in ("sample", "paper"):
        raise ValueError(f"unknown source {source!r}: this version has 'sample' and 'paper'")
    if source == "sample" and name not in NAMES:
        raise ValueError(f"task {name!r} needs source='paper' and path=: the sample has none")
    if source == "sample" and path is not None:
        raise ValueError(f"path goes with source='paper', got path={str(path)!r} and 'sample'")
    if source == "paper" and name not in PAPER_NAMES:
        raise ValueError(
            f"this version has no {name!r} of the paper, only {PAPER_NAMES}; use source='sample'"
        )
    if source == "paper" and path is None:
        raise ValueError(f"source='paper' needs path=, {_PAPER_FILES[name]}")
    if not isinstance(n, (int, np.integer)) or n < 2:
        raise ValueError(f"n must be an integer of at least 2, got {n!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    places, country = _labelled_places(int(n), seed)
    if path is not None:
        return _paper_task(name, places, path)
    return _sample_task(name, places, country)


def _sample_task(name: str, places: Array, country: NDArray[np.int64]) -> Task:
    """Label the places from the embedded sample."""
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


def _paper_task(name: str, places: Array, path: str | Path) -> Task:
    """Label the places from the paper's source, and drop those without a label."""
    file = Path(path).name
    if name == "population":
        density = sources.population_density(path, places)
        kept = _labelled(~np.isnan(density), path)
        return Task(
            name,
            places[kept],
            np.log10(1 + density[kept]),
            "regression",
            "log10(1 + people per km2)",
            (),
            f"GPWv4.11, {file}",
            "independent of the gazetteer, so not circular; counts spread evenly over census units",
        )
    if name == "elevation":
        metres = terrain.elevation(path, places)
        kept = _labelled(~np.isnan(metres), path)
        caveat = "relief shading in the imagery shows mountains"
        source = f"terrain tiles, {file}"
        return Task(name, places[kept], metres[kept], "regression", "m", (), source, caveat)
    if name == "country":
        number, classes = sources.country(path, places)
        kept = _labelled(number >= 0, path)
        caveat = "disputed areas belong to whom the source gives them"
        return Task(
            name, places[kept], number[kept], "classification", "country", classes, file, caveat
        )
    number = sources.biome(path, places)
    kept = _labelled(number > 0, path)
    return Task(
        name,
        places[kept],
        number[kept] - 1,
        "classification",
        "biome",
        sources.BIOMES,
        file,
        "drawn by experts from climate and vegetation, which satellites see",
    )


def _labelled(kept: NDArray[np.bool_], path: str | Path) -> NDArray[np.bool_]:
    """Check that at least two places have a label."""
    if kept.sum() < 2:
        raise ValueError(
            f"{path} labels {kept.sum()} of {len(kept)} places on land, at least 2 are needed; "
            "take the global file"
        )
    return kept


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
