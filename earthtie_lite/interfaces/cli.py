"""The command line: embed tables and rasters, draw maps, find similar places, train.

Slow imports stay inside the commands that need them, so that ``--help`` is fast.
"""

import time
from pathlib import Path
from typing import Any

import click

from .console import (
    TABLE,
    Commands,
    bar,
    check_target,
    hint,
    open_model,
    read_table,
    with_lat,
    with_lon,
    with_missing,
    wrong_use,
)
from .training import train

Box = tuple[float, float, float, float]
PATH = click.Path(path_type=Path)
BOX: dict[str, Any] = {"nargs": 4, "type": float, "default": (-180.0, -90.0, 180.0, 90.0)}
POSITIVE, COUNT = click.FloatRange(min=0, min_open=True), click.IntRange(min=1)
# "-stan" and -60 are values, not options, so no option has a short form.
DASHES = {"ignore_unknown_options": True}

with_model = click.option(
    "--model",
    default="earth",
    metavar="NAME|FOLDER",
    help="A name that `earthtie models` lists, or the folder of a saved run or model.",
)
with_force = click.option("--force", "overwrite", is_flag=True, help="Replace an existing file.")


@click.group(
    cls=Commands,
    context_settings={"show_default": True},
    epilog="`earthtie COMMAND --help` explains a command, with an example.",
)
@click.version_option(package_name="earthtie-lite")
def main() -> None:
    """Embed places, given by longitude and latitude in degrees, or train a model that does."""


@main.command(epilog="\b\nExample:\n  earthtie models")
def models() -> None:
    """List the trained models that travel with the package."""
    from ..runs import list_pretrained

    for name, line in list_pretrained().items():
        click.echo(f"{name:<17} {line}")


@main.command(epilog="\b\nExample:\n  earthtie embed places.csv embedded.parquet --model melt3")
@click.argument("source", type=TABLE)
@click.argument("target", type=PATH)
@with_model
@with_lon
@with_lat
@with_missing("a place", "error", "drop", "keep")
@click.option("--prefix", default="e", help="Prefix of the new columns, which are numbered.")
@click.option("--rows", default=50_000, type=COUNT, help="Rows held in memory at a time.")
@with_force
def embed(source: Path, target: Path, model: str, overwrite: bool, **options: Any) -> None:
    """Join embeddings to a table of places.

    SOURCE is text with any separator, Parquet or a folder of its parts, GeoPackage, GeoJSON,
    Shapefile, FlatGeobuf or Excel. TARGET ends in .csv, .csv.gz or .parquet. Both may be larger
    than memory. The cells of text stay text; coordinates and embeddings are numbers.
    """
    from . import tablefiles
    from .tables import embed_file

    with wrong_use():
        tablefiles.kind(source)
        tablefiles.check_target(target)
    check_target(target, overwrite)
    started = time.perf_counter()
    with bar("rows") as progress:
        made = open_model(model)
        done = embed_file(source, target, made, progress=progress, overwrite=overwrite, **options)
    click.echo(f"{done:,} rows in {time.perf_counter() - started:.1f} s: {target}")


@main.command(
    "map",
    context_settings=DASHES,
    epilog="\b\nExample:\n  earthtie map ville ville.png --region -10 35 15 55 --spacing 0.5",
)
@click.argument("text")
@click.argument("target", type=PATH)
@with_model
@click.option("--modality", default="text", help="The model's modality that reads TEXT.")
@click.option("--region", metavar="WEST SOUTH EAST NORTH", help="In degrees.", **BOX)
@click.option("--spacing", default=1.0, type=click.FloatRange(0, 30, True), help="In degrees.")
@with_force
def map_(
    text: str,
    target: Path,
    model: str,
    modality: str,
    region: Box,
    spacing: float,
    overwrite: bool,
) -> None:
    """Map how similar places are to a text.

    TEXT is a name or a part of one. TARGET ends in .png, .pdf or .svg for a map in an equal-area
    projection, or in .tif for a GeoTIFF. The similarity is the cosine in the tied space.
    """
    import matplotlib

    from ..model import EarthTie
    from .similarity import map_grid, similarity_grid, write_similarity

    if text.startswith("--"):
        raise click.NoSuchOption(text)
    if not text.strip():
        raise click.UsageError("TEXT is empty")
    with wrong_use():
        grid = map_grid(target, region, spacing)
    check_target(target, overwrite)
    made = open_model(model)
    if not isinstance(made, EarthTie):
        raise ValueError(f"the model {model} embeds places only: choose another, such as melt")
    try:
        tied = made.embed_modality(modality, [text])
    except ValueError as error:
        raise ValueError(
            f"modality {modality} of model {model} cannot compare places with a text: {error}"
        ) from error
    with bar("tiles") as progress:
        values = similarity_grid(made, tied, grid, progress)
    matplotlib.use("Agg")  # no window
    write_similarity(target, values, grid, text)
    click.echo(f"similarity of places to {text!r}: {target}")


@main.command(
    context_settings=DASHES, epilog="\b\nExample:\n  earthtie nearest -60 -3.1 places.csv --count 5"
)
@click.argument("longitude", type=click.FloatRange(-180, 180))
@click.argument("latitude", type=click.FloatRange(-90, 90))
@click.argument("places", type=TABLE)
@click.option("--count", default=10, type=COUNT, help="Rows to print.")
@with_model
@with_lon
@with_lat
@with_missing("a place", "error", "drop")
def nearest(
    longitude: float,
    latitude: float,
    places: Path,
    count: int,
    model: str,
    lon: str | None,
    lat: str | None,
    missing: str,
) -> None:
    """Print the places that are most similar to one place.

    The rows of the table PLACES that are most similar to LONGITUDE and LATITUDE are printed.
    """
    from . import tables
    from .tablefiles import about

    table, made = read_table(places, lon, lat), open_model(model)
    with about(places):
        found = tables.nearest(made, (longitude, latitude), table, count, lon, lat, missing)
    found = found.assign(similarity=found["similarity"].round(3), km=found["km"].round(1))
    click.echo(found.to_string(index=False, na_rep=""))


@main.command(epilog="\b\nExample:\n  earthtie grid alps.tif --bounds 5 43 17 49 --resolution 0.1")
@click.argument("target", type=PATH)
@with_model
@click.option("--bounds", metavar="LEFT BOTTOM RIGHT TOP", help="In units of the CRS.", **BOX)
@click.option("--resolution", default=1.0, type=POSITIVE, help="In units of the CRS.")
@click.option("--crs", default="EPSG:4326", help="Coordinate reference system.")
@click.option(
    "--band",
    "bands",
    multiple=True,
    type=click.IntRange(min=0),
    help="Column of the embedding to write, from 0; repeat the option for several. Default: all.",
)
@with_force
def grid(
    target: Path,
    model: str,
    bounds: Box,
    resolution: float,
    crs: str,
    bands: tuple[int, ...],
    overwrite: bool,
) -> None:
    """Embed a grid of places as a GeoTIFF.

    TARGET is a Cloud-Optimised GeoTIFF with a band for each column of the embedding. After an
    interruption the same command continues.
    """
    import numpy as np

    from ..files import human
    from .grid import check_name, embed_grid, part_of
    from .pixels import make_grid
    from .tables import embed_places

    with wrong_use():
        check_name(target)
    check_target(target, overwrite)
    made = open_model(model)
    height, width = make_grid(bounds, resolution, crs).shape
    depth = len(bands) or embed_places(made, np.zeros((1, 2))).shape[1]
    size = human(4 * height * width * depth)
    click.echo(f"{width:,} x {height:,} pixels, {depth} bands: {size} before compression")
    stopped = f"The same command goes on after the last whole tile; until then {part_of(target)} "
    with bar("tiles") as progress, hint(stopped + "holds what is done."):
        embed_grid(
            model, target, bounds, resolution, crs, bands or None, progress, overwrite=overwrite
        )
    click.echo(f"{human(target.stat().st_size)}: {target}")


main.add_command(train)

if __name__ == "__main__":
    main()
