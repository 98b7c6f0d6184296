"""The command line: embed tables and rasters, draw maps, find places that are alike, train.

What takes time to import is imported by the command that needs it, so that help comes at once.
"""

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .console import (
    Commands,
    bar,
    check_run,
    check_target,
    hint,
    open_model,
    read_table,
    wrong_use,
)

if TYPE_CHECKING:
    from ..modalities import Modality

Box = tuple[float, float, float, float]
PATH = click.Path(path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
BOX: dict[str, Any] = {"nargs": 4, "type": float, "default": (-180.0, -90.0, 180.0, 90.0)}
BOX["metavar"] = "WEST SOUTH EAST NORTH"
SAMPLE = ("satellite", "lights", "text")  # the modalities of the embedded sample
POSITIVE, COUNT = click.FloatRange(min=0, min_open=True), click.IntRange(min=1)
# "-stan" and -60 are no options. For their sake no option has a short form.
DASHES = {"ignore_unknown_options": True}

with_model = click.option(
    "--model",
    default="melt",
    metavar="NAME|FOLDER",
    help="A name that `earthtie models` lists, or the folder of a saved run or model.",
)
with_force = click.option("--force", is_flag=True, help="Replace a file that exists.")
with_lon = click.option(
    "--lon", metavar="NAME", help="Column of longitude, if its name is unusual."
)
with_lat = click.option("--lat", metavar="NAME", help="Column of latitude, if its name is unusual.")


@click.group(
    cls=Commands,
    context_settings={"show_default": True},
    epilog="`earthtie COMMAND --help` explains a command, with an example.",
)
@click.version_option(package_name="earthtie-lite")
def main() -> None:
    """Embed places, given by longitude and latitude in degrees, or train what embeds them."""


@main.command(epilog="\b\nExample:\n  earthtie models")
def models() -> None:
    """List the trained models that travel with the package."""
    from ..pretrained import list_pretrained

    for name, line in list_pretrained().items():
        click.echo(f"{name:<10} {line}")


@main.command(epilog="\b\nExample:\n  earthtie embed places.csv embedded.parquet --model melt3")
@click.argument("source", type=FILE)
@click.argument("target", type=PATH)
@with_model
@with_lon
@with_lat
@click.option("--rows", default=50_000, type=COUNT, help="Rows held in memory at a time.")
@with_force
def embed(
    source: Path, target: Path, model: str, lon: str | None, lat: str | None, rows: int, force: bool
) -> None:
    """Join embeddings to a table of places.

    SOURCE and TARGET end in .csv, .csv.gz or .parquet. They may be larger than the memory. Cells
    of a CSV file stay text; coordinates and embeddings are numbers.
    """
    from .tablefiles import kind
    from .tables import embed_file

    with wrong_use():
        for path in (source, target):
            kind(path)
    check_target(target, force)
    started = time.perf_counter()
    with bar("rows") as progress:
        done = embed_file(source, target, open_model(model), lon, lat, rows, progress)
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
@click.option("--region", help="In degrees.", **BOX)
@click.option("--spacing", default=1.0, type=click.FloatRange(0, 30, True), help="In degrees.")
@with_force
def map_(
    text: str, target: Path, model: str, modality: str, region: Box, spacing: float, force: bool
) -> None:
    """Map how similar places are to a text.

    TEXT is a name or a piece of one. TARGET ends in .png, .pdf or .svg for a map in an equal-area
    projection, or in .tif for a GeoTIFF of the similarity, the cosine in the tied space.
    """
    import matplotlib

    from ..models import EarthTie
    from .similarity import map_grid, similarity_grid, write_similarity

    if text.startswith("--"):
        raise click.NoSuchOption(text)
    with wrong_use():
        grid = map_grid(target, region, spacing)
    check_target(target, force)
    made = open_model(model)
    if not isinstance(made, EarthTie):
        raise ValueError(f"the model {model} embeds places only: choose another, such as melt")
    try:
        tied = made.embed_modality(modality, [text])
    except ValueError as error:
        raise ValueError(f"the model {model} cannot compare places with a text: {error}") from error
    with bar("tiles") as progress:
        values = similarity_grid(made, tied, grid, progress)
    matplotlib.use("Agg")  # no window
    write_similarity(target, values, grid, text)
    click.echo(f"similarity of places to {text!r}: {target}")


@main.command(
    context_settings=DASHES, epilog="\b\nExample:\n  earthtie nearest -60 -3.1 places.csv --count 5"
)
@click.argument("longitude", type=float)
@click.argument("latitude", type=float)
@click.argument("places", type=FILE)
@click.option("--count", default=10, type=COUNT, help="Rows to print.")
@with_model
@with_lon
@with_lat
def nearest(
    longitude: float,
    latitude: float,
    places: Path,
    count: int,
    model: str,
    lon: str | None,
    lat: str | None,
) -> None:
    """Print the places most like one place.

    PLACES is a table, of which the rows most like LONGITUDE and LATITUDE are printed.
    """
    from . import tables

    table = read_table(places, str)
    found = tables.nearest(open_model(model), (longitude, latitude), table, count, lon, lat)
    found = found.assign(similarity=found["similarity"].round(3), km=found["km"].round(1))
    click.echo(found.to_string(index=False, na_rep=""))


@main.command(epilog="\b\nExample:\n  earthtie grid alps.tif --bounds 5 43 17 49 --resolution 0.1")
@click.argument("target", type=PATH)
@with_model
@click.option("--bounds", help="In units of the CRS.", **BOX)
@click.option("--resolution", default=1.0, type=POSITIVE, help="In units of the CRS.")
@click.option("--crs", default="EPSG:4326", help="Coordinate reference system.")
@with_force
def grid(target: Path, model: str, bounds: Box, resolution: float, crs: str, force: bool) -> None:
    """Embed a grid of places as a GeoTIFF.

    TARGET is a Cloud-Optimised GeoTIFF with a band for each column of the embedding. What was
    stopped goes on when the same command is given again.
    """
    from ..pretrained import NAMES
    from .grid import embed_grid

    check_target(target, force)
    made = model if model in NAMES else open_model(model)  # the file will name a known one
    with bar("tiles") as progress, hint("The same command goes on after the last whole tile."):
        embed_grid(made, target, bounds, resolution, crs, progress=progress)
    click.echo(f"{target}")


@main.command(
    epilog="\b\nExamples:\n  earthtie train my_run\n"
    "  earthtie train my_run --table soil.csv --name soil --features ph,clay --pairs 5000\n"
    "  earthtie embed places.csv embedded.parquet --model my_run"
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--method", default="melt", type=click.Choice(["melt", "salt"]))
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    default=SAMPLE,
    type=click.Choice(SAMPLE),
    help="Of the embedded sample; repeat it for several.",
)
@click.option("--table", type=FILE, help="Places of your own, tied too: CSV or Parquet.")
@click.option("--name", help="A word for the table's modality.")
@click.option("--features", metavar="NAME,NAME", help="The table's columns of numbers.")
@click.option("--text", metavar="NAME", help="Or its column of text.")
@with_lon
@with_lat
@click.option(
    "--pairs",
    default=20_000,
    type=click.IntRange(2, 100_000),
    help="Of each modality of the sample.",
)
@click.option(
    "--epochs", default=12, type=COUNT, help="MELT's pass over all modalities, SALT's over one."
)
@click.option("--batch-size", default=2048, type=click.IntRange(min=2))
@click.option("--learning-rate", default=1e-3, type=POSITIVE)
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of places and training.")
@click.option("--resume", is_flag=True, help="Go on with the run in FOLDER, same settings.")
def train(
    folder: Path,
    method: str,
    modalities: tuple[str, ...],
    table: Path | None,
    name: str | None,
    features: str | None,
    text: str | None,
    lon: str | None,
    lat: str | None,
    pairs: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    resume: bool,
) -> None:
    """Train a model and save the run.

    It is trained on the embedded sample and, if you like, on a table of your own, and saved in
    FOLDER after every epoch.
    """
    from ..config import TrainConfig
    from ..modalities import load_sample
    from ..progress import ProgressBar
    from ..train import fit

    own = {}
    check_run(folder, resume)
    if (table is None) != (name is None) or (table is None and (features or text)):
        raise click.UsageError("--table needs a --name, --features or --text need a --table")
    if table is not None and (features is None) == (text is None):
        raise click.UsageError("say what is in the table: --features NAME,NAME or --text NAME")
    if table is not None and name is not None:
        own = {name: _own_modality(table, name, features, text, lon, lat)}
    if taken := own.keys() & set(modalities):
        raise click.UsageError(f"choose another --name: the sample has {taken.pop()!r} already")
    config = TrainConfig(method, epochs, batch_size, learning_rate, seed=seed)
    sample = {**load_sample(pairs, seed, modalities), **own}
    shown = ProgressBar(epochs)
    try:
        run = fit(
            sample, config, save_to=folder, resume_from=folder if resume else None, callback=shown
        )
    except KeyboardInterrupt:
        saved = (folder / "run.json").is_file()
        raise KeyboardInterrupt(
            "The same command with --resume goes on after the last whole epoch."
            if saved
            else "No epoch was complete, so nothing is saved."
        ) from None
    finally:
        shown.bar.close()
    loss, held_out = run.history["loss"], run.history["val_loss"].dropna()
    click.echo(
        f"loss: {loss.iloc[0]:.3f} in the first step, {loss.iloc[-1]:.3f} in the last; held out: "
        f"{held_out.iloc[0]:.3f} after the first epoch, {held_out.iloc[-1]:.3f} after the last\n\n"
        f"The run is in {folder}. In Python:\n\n"
        "    import earthtie_lite as et\n"
        f"    model = et.load({str(folder)!r}).model\n"
        "    z = model.embed([[13.4, 52.5]])  # longitude, latitude\n\n"
        f"or here: earthtie embed places.csv embedded.parquet --model {shlex.quote(str(folder))}"
    )


def _own_modality(
    path: Path, name: str, features: str | None, text: str | None, lon: str | None, lat: str | None
) -> "Modality":
    """Make a modality of a table's columns."""
    from ..modalities import Modality
    from .places import lonlat_of

    table = read_table(path, {} if text is None else {text: str})
    places = lonlat_of(table, lon, lat)
    table = table.assign(lon=places[:, 0], lat=places[:, 1])
    columns = None if features is None else [column.strip() for column in features.split(",")]
    return Modality.from_frame(table, name, features=columns, text=text)


if __name__ == "__main__":
    main()
