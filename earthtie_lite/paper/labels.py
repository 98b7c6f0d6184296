"""Labels that the sample does not hold: the paper's sources, SatCLIP's label sets, temperature."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..coords import Array
from ..tasks import Task
from . import sources, terrain
from .files import read_table, table_columns, table_places


class LabelSet(NamedTuple):
    """What is known of a column of labels."""

    task: str
    kind: str
    unit: str
    ocean: float  # what stands for the ocean; NaN where nothing does


NONE = float("nan")
LABEL_SETS = {  # columns of satclip_country, _ecoregion, _population and _elevation, by column
    "country": LabelSet("country", "classification", "country", 0),
    "ecoregion_class_index": LabelSet("ecoregion", "classification", "ecoregion", -1),
    "biome_class_index": LabelSet("biome", "classification", "biome", -1),
    "realmbiome_class_index": LabelSet("realm and biome", "classification", "biome of a realm", -1),
    "log_population": LabelSet("population", "regression", "log population, as published", NONE),
    "elevation": LabelSet("elevation", "regression", "m", NONE),
}


def read_label_set(
    path: str | Path, column: str | None = None, lon: str = "lon", lat: str = "lat"
) -> Task:
    """Read one of SatCLIP's published label sets, as CoordBench distributes them.

    Rows that are ocean (country 0, ecoregion and biome -1) or have no finite label are left out;
    ``source`` of the task says how many. CoordBench documents the columns lon and lat and that all
    others are as SatCLIP published them; their names and what stands for the ocean are from its
    public reader. What the numbers of countries and ecoregions stand for is not published.

    Parameters
    ----------
    path : str or Path
        Parquet, or CSV.
    column : str, optional
        One of ``LABEL_SETS``; by default the first of them that the file has.
    lon, lat : str
        Columns; SatCLIP's own files of population and elevation have Lon and Lat.

    Returns
    -------
    Task
        Classes are numbered from 0, without gaps, and named by their published numbers.

    Raises
    ------
    ValueError
        If the file is missing or damaged, lacks the column, or a class is no whole number.

    References
    ----------
    Klemmer et al. (2025), https://doi.org/10.1609/aaai.v39i4.32457
    """
    if column is None:
        column = _known_column(path)
    elif column not in LABEL_SETS:
        raise ValueError(f"unknown label {column!r}: expected one of {list(LABEL_SETS)}")
    return _task(path, column, LABEL_SETS[column], lon, lat)


def read_air_temperature(
    path: str | Path, column: str = "meanT", lon: str = "Lon", lat: str = "Lat"
) -> Task:
    """Read mean air temperatures at weather stations.

    Documented by public readers of the file (stationDataAll.csv, 3,076 stations): the columns Lat,
    Lon, meanT and meanP. Assumed: that meanT is in degrees Celsius. Stations without a number are
    left out; ``source`` of the task says how many.

    Parameters
    ----------
    path : str or Path
        CSV.
    column, lon, lat : str
        Columns.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        If the file is missing or damaged or lacks a column.

    References
    ----------
    Hooker et al. (2018), https://doi.org/10.1038/sdata.2018.246
    """
    kind = LabelSet("air temperature", "regression", "mean air temperature, degrees Celsius", NONE)
    return _task(path, column, kind, lon, lat)


def _known_column(path: str | Path) -> str:
    """Return the first column of a table that is a known label."""
    columns = table_columns(path, "a label set of SatCLIP")
    for column in LABEL_SETS:
        if column in columns:
            return column
    raise ValueError(f"expected one of the labels {list(LABEL_SETS)}, {path} has {columns}")


def _task(path: str | Path, column: str, known: LabelSet, lon: str, lat: str) -> Task:
    """Read a column of labels, without the ocean."""
    frame = read_table(path, f"a table of labels ({known.task})", numbers=[lon, lat, column])
    places, label = table_places(frame, lon, lat, path), frame[column].to_numpy()
    kept = np.isfinite(label) & (label != known.ocean)
    if kept.sum() < 2:
        raise ValueError(f"{path} labels {kept.sum()} of {len(kept)} places, at least 2 are needed")
    places, label = places[kept], label[kept]
    classes: tuple[str, ...] = ()
    if known.kind == "classification":
        broken = label % 1 != 0
        if broken.any():
            row = int(np.flatnonzero(kept)[np.argmax(broken)])
            number = frame[column].iloc[row]
            raise ValueError(f"{path}: {column} must number classes, got {number:g} in row {row}")
        numbers, label = np.unique(label.astype(np.int64), return_inverse=True)
        classes = tuple(map(str, numbers))
    left_out = f", {(~kept).sum():,} of {len(kept):,} rows without a label left out"
    source = Path(path).name + (left_out if not kept.all() else "")
    return Task(known.task, places, label, known.kind, known.unit, classes, source)


def paper_task(name: str, places: Array, path: str | Path) -> Task:
    """Label places (N, 2) from the paper's source in a file, and drop those without a label.

    Parameters
    ----------
    name : {"population", "biome", "country", "elevation"}
    lonlat : array, shape (N, 2), degrees
    path : str or Path
        Population density of GPWv4.11 (GeoTIFF), RESOLVE's Ecoregions 2017, GADM 4.1 or Natural
        Earth's countries, or a folder of terrain tiles, {zoom}/{x}/{y}.tif or .png.
    """
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
