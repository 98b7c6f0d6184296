"""The command ``train``: on the embedded sample, on a user's table, or on both."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .console import (
    TABLE,
    Command,
    check_run,
    read_table,
    with_lat,
    with_lon,
    with_missing,
)

if TYPE_CHECKING:
    from ..config import Method, TrainConfig
    from ..modalities import Modality

SAMPLE = ("satellite", "lights", "text")  # the modalities of the embedded sample
BATCH, BATCHES = 2048, 4  # default pairs per batch; least number of batches per epoch


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n  earthtie train my_run\n"
    "  earthtie train my_run --table soil.csv --name soil --features ph,clay --pairs 5000\n"
    "  earthtie embed places.csv embedded.parquet --model my_run",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--method", default="melt", type=click.Choice(["melt", "salt"]))
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    default=SAMPLE,
    type=click.Choice(SAMPLE),
    help="Modality of the embedded sample; repeat the option for several.",
)
@click.option("--table", type=TABLE, help="A table of your own to train on as well.")
@click.option("--name", help="A word for the table's modality.")
@click.option(
    "--features",
    metavar="NAME,NAME",
    multiple=True,
    help="Its numeric columns; give a name that contains a comma by itself.",
)
@click.option("--categories", metavar="NAME,NAME", multiple=True, help="Its categorical columns.")
@click.option("--text", metavar="NAME", help="Or its text column.")
@click.option(
    "--images", metavar="NAME", help="Or its column of image paths, relative to the table."
)
@with_lon
@with_lat
@with_missing("a place or a value", "error", "drop")
@click.option(
    "--nodata", type=float, multiple=True, help="A number that marks a missing value, as -9999."
)
@click.option(
    "--duplicates",
    default="warn",
    type=click.Choice(["warn", "keep", "first", "mean"]),
    help="How to treat rows with the same place.",
)
@click.option(
    "--pairs",
    default=20_000,
    type=click.IntRange(2, 100_000),
    help="Pairs for each modality of the sample.",
)
@click.option(
    "--epochs",
    default=12,
    type=click.IntRange(min=1),
    help="Passes over all modalities (MELT) or over one modality each (SALT).",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=2),
    show_default=f"{BATCH}, or less so that an epoch has at least {BATCHES} batches",
)
@click.option("--learning-rate", default=1e-3, type=click.FloatRange(min=0, min_open=True))
@click.option(
    "--val-fraction",
    default=0.15,
    type=click.FloatRange(0, 0.5),
    help="Fraction of the land held out to monitor the loss.",
)
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Seed of places and training.")
@click.option("--resume", is_flag=True, help="Continue the run in FOLDER with the same settings.")
def train(
    folder: Path,
    method: "Method",
    modalities: tuple[str, ...],
    table: Path | None,
    name: str | None,
    pairs: int,
    epochs: int,
    batch_size: int | None,
    learning_rate: float,
    val_fraction: float,
    seed: int,
    resume: bool,
    **columns: Any,
) -> None:
    """Train a model and save the run.

    The model is trained on the embedded sample and, optionally, on a table of your own. The run is
    saved in FOLDER after every epoch.
    """
    from ..config import TrainConfig
    from ..modalities import load_sample
    from ..progress import ProgressBar
    from ..runs import holds_run
    from ..train import fit

    check_run(folder, resume)
    observed = any(columns[kind] for kind in ("features", "categories", "text", "images"))
    if (table is None) != (name is None) or (table is None and observed):
        raise click.UsageError("--table needs a --name, and columns need a --table")
    own: dict[str, Modality] = {}
    if table is not None and name is not None:
        if not observed:
            raise click.UsageError(
                "say what is in the table: --features, --categories, --text or --images"
            )
        if name in modalities:
            raise click.UsageError(f"choose another --name: the sample has {name!r} already")
        own[name] = _own_modality(table, name, **columns)
    sample = {**load_sample(pairs, seed, modalities), **own}
    config = TrainConfig(
        method, epochs, batch_size or BATCH, learning_rate, seed=seed, val_fraction=val_fraction
    )
    if batch_size is None:
        config = _fitting(config, sample.values())
    shown = ProgressBar(epochs)
    try:
        run = fit(
            sample, config, save_to=folder, resume_from=folder if resume else None, callback=shown
        )
    except KeyboardInterrupt:
        saved = holds_run(folder)
        raise KeyboardInterrupt(
            "The same command with --resume goes on after the last whole epoch."
            if saved
            else "No epoch was complete, so nothing is saved."
        ) from None
    finally:
        shown.bar.close()
    loss, held_out = run.history["loss"], run.history["val_loss"].dropna()
    said = f"loss: {loss.iloc[0]:.3f} in the first step, {loss.iloc[-1]:.3f} in the last"
    if len(held_out):
        said += f"; held out: {held_out.iloc[0]:.3f} after the first epoch, "
        said += f"{held_out.iloc[-1]:.3f} after the last"
    click.echo(
        f"{said}\n\n"
        f"The run is in {folder}. In Python:\n\n"
        "    import earthtie_lite as et\n"
        f"    model = et.load_pretrained({str(folder)!r})\n"
        "    z = model.embed([[13.4, 52.5]])  # longitude, latitude\n\n"
        f"or here: earthtie embed places.csv embedded.parquet --model {shlex.quote(str(folder))}"
    )


def _fitting(config: "TrainConfig", sample: "Iterable[Modality]") -> "TrainConfig":
    """Reduce the batch size until an epoch has at least ``BATCHES`` batches."""
    from numpy.random import default_rng

    from ..train import METHODS, split_rows

    rows, _ = split_rows(list(sample), config)
    fewest = min(len(some) for some in rows.values())
    share = max(1, fewest // BATCHES)
    largest = share * (len(rows) if config.method == "melt" else 1)
    config = config.replace(batch_size=max(2, min(config.batch_size, largest)))
    if config.batch_size < BATCH:
        steps = len(list(METHODS[config.method](rows, config.batch_size, default_rng(), 0)))
        click.echo(f"a batch has {config.batch_size} pairs, {steps} batches are an epoch")
    return config


def _own_modality(
    path: Path,
    name: str,
    lon: str | None,
    lat: str | None,
    features: tuple[str, ...],
    categories: tuple[str, ...],
    **options: Any,
) -> "Modality":
    """Make a modality from columns of a table."""
    from ..modalities import Modality
    from .tablefiles import about

    table, options["folder"] = read_table(path, lon, lat), path.parent
    options["features"] = _columns(features, table.columns) or None
    options["categories"] = _columns(categories, table.columns) or None
    with about(path):
        return Modality.from_frame(table, name, lon, lat, **options)


def _columns(given: tuple[str, ...], known: Iterable[str]) -> list[str]:
    """Return the named columns; an option may name several, separated by commas."""
    known = set(known)
    found = [[name] if name in known else name.split(",") for name in given]
    return [name.strip() if name not in known else name for names in found for name in names]
