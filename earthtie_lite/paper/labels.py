"""Tasks that the sample does not hold: the paper's sources, SatCLIP's label sets, temperature."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..coords import Array, as_lonlat
from ..tasks import Task
from . import sources, terrain
from .files import reading

LABEL_SETS = {  # column: name of the task, unit, class of the ocean; numbers have no such class
    "country": ("country", "country", 0),
    "ecoregion_class_index": ("ecoregion", "ecoregion", -1),
    "log_population": ("population", "log population, as published", None),
    "elevation": ("elevation", "m", None),
    "meanT": ("air temperature", "mean air temperature, degrees Celsius", None),
}


def read_label_set(path: str | Path) -> Task:
    """Read SatCLIP's label sets, as CoordBench distributes them, or the air temperatures.

    Rows in the ocean (country 0, ecoregion -1) or without a finite label are left out; the
    ``source`` of the task says how many. Which countries and ecoregions the class numbers stand for
    is not published.

    Parameters
    ----------
    path : str or Path
        Parquet (CoordBench) or CSV (stationDataAll.csv of the temperatures).

    Returns
    -------
    Task
        The first known column of ``LABEL_SETS`` as target. Classes are numbered from 0, without
        gaps, and named by their published numbers.

    Raises
    ------
    ValueError
        If the file is missing or damaged, has no known label, labels fewer than two places, or a
        class is not a whole number.

    References
    ----------
    Klemmer et al. (2025), https://doi.org/10.1609/aaai.v39i4.32457
    Hooker et al. (2018), https://doi.org/10.1038/sdata.2018.246
    """
    with reading(path, f"a table with one of the labels {list(LABEL_SETS)}") as path:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        frame = frame.rename(columns={"Lon": "lon", "Lat": "lat"})
        column = next((c for c in LABEL_SETS if c in frame), None)
        if column is None:
            raise ValueError(f"it has the columns {list(frame)}")
        label = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
        lonlat, (name, unit, ocean) = as_lonlat(frame[["lon", "lat"]]), LABEL_SETS[column]
        kept = np.isfinite(label) & (label != ocean)
        if kept.sum() < 2 or (ocean is not None and (label[kept] % 1).any()):
            raise ValueError(f"{kept.sum()} rows have a label, or a class is not a whole number")
    dropped = int((~kept).sum())
    source = path.name + (f", {dropped:,} rows without a label left out" if dropped else "")
    if ocean is None:
        return Task(name, lonlat[kept], label[kept], "regression", unit, (), source)
    target, numbers = pd.factorize(label[kept].astype(np.int64), sort=True)
    classes = tuple(map(str, numbers))
    return Task(name, lonlat[kept], target, "classification", unit, classes, source)


def paper_task(name: str, places: Array, path: str | Path) -> Task:
    """Label places (N, 2) from the paper's source in a file, and drop those without a label.

    Parameters
    ----------
    name : {"population", "biome", "country", "elevation"}
    places : array, shape (N, 2), degrees
    path : str or Path
        Population density of GPWv4.11 (GeoTIFF), RESOLVE's Ecoregions 2017, GADM 4.1 or Natural
        Earth's countries, or a folder of terrain tiles, {zoom}/{x}/{y}.tif or .png.

    Returns
    -------
    Task
        Classes are numbered from 0.

    Raises
    ------
    ValueError
        If the file is missing, damaged or of another kind, or labels fewer than two places.
    """
    source, classes = Path(path).name, tuple[str, ...]()
    if name == "population":
        label = np.log10(1 + sources.population_density(path, places))
        unit, source = "log10(1 + people per km2)", f"GPWv4.11, {source}"
        caveat = (
            "independent of the gazetteer, so not circular; counts spread evenly over census units"
        )
    elif name == "elevation":
        label, unit, source = terrain.elevation(path, places), "m", f"terrain tiles, {source}"
        caveat = "relief shading in the imagery shows mountains"
    elif name == "country":
        (label, classes), unit = sources.country(path, places), "country"
        caveat = "disputed areas belong to whom the source gives them"
    else:
        label, classes, unit = sources.biome(path, places) - 1, sources.BIOMES, "biome"
        caveat = "drawn by experts from climate and vegetation, which satellites see"
    kept = label >= 0 if classes else np.isfinite(label)
    if kept.sum() < 2:
        labelled = f"{path} labels {kept.sum()} of {len(kept)} places on land, expected at least 2"
        raise ValueError(f"{labelled}; take the global file")
    kind = "classification" if classes else "regression"
    return Task(name, places[kept], label[kept], kind, unit, classes, source, caveat)
