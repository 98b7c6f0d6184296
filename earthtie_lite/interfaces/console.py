"""Shared parts of the commands: options, one-line errors, checks before work starts, bars."""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from ..encoders import JoinedEncoders
    from ..model import EarthTie


TABLE = click.Path(exists=True, path_type=Path)  # a folder may hold parts of Parquet
with_lon = click.option(
    "--lon", metavar="NAME", help="Column of longitude, if its name is unusual."
)
with_lat = click.option("--lat", metavar="NAME", help="Column of latitude, if its name is unusual.")


def with_missing(what: str, *choices: str) -> Callable[[Any], Any]:
    """Return the option for rows without ``what``."""
    return click.option(
        "--missing",
        default=choices[0],
        type=click.Choice(choices),
        help=f"How to treat rows without {what}.",
    )


class Command(click.Command):
    """A command that fails in one line: status 1 for bad data, 2 for wrong use, 130 for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except BrokenPipeError:
                raise  # the reader of the output has gone; click exits silently
            except (ValueError, OSError, ImportError) as error:
                said = str(error).removeprefix(f"[Errno {getattr(error, 'errno', None)}] ")
                raise click.ClickException(said) from error
            except KeyboardInterrupt as interrupt:
                click.echo(f"\nInterrupted. {interrupt}".rstrip(), err=True)
                raise click.exceptions.Exit(130) from None


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    """Show a warning in one line."""
    click.echo(f"Warning: {message}", err=True)


class Commands(click.Group):
    """A group of such commands."""

    command_class = Command


def read_table(path: Path, lon: str | None = None, lat: str | None = None) -> "pd.DataFrame":
    """Read a whole table: the cells of text as text, with their lines as the index."""
    import itertools

    import pandas as pd
    import pyarrow as pa

    from ..places import as_frame
    from .tablefiles import kind, open_rows

    with wrong_use():
        kind(path)
    opened = open_rows(path, 100_000, lon, lat)
    batches, numbers = [], []
    for batch, part in opened.parts:
        batches.append(batch)
        numbers.append(part)
    table = as_frame(pa.Table.from_batches(batches, opened.schema))
    if opened.unit == "line":
        table.index = pd.Index(list(itertools.chain(*numbers)), name="line")
    return table


def open_model(name: str) -> "EarthTie | JoinedEncoders":
    """Load a model by its name or from its folder."""
    from ..runs import load_pretrained

    try:
        return load_pretrained(name)
    except ValueError as error:
        if str(error).startswith("unknown model"):
            raise click.BadParameter(str(error), param_hint="--model") from error
        raise


def check_run(folder: Path, resume: bool) -> None:
    """Before work starts, refuse a folder in which a run cannot be saved."""
    from ..runs import holds_run

    held = holds_run(folder)
    if resume and not held:
        raise click.UsageError(f"{folder} holds no run to resume")
    if held and not resume:
        raise click.UsageError(f"{folder} holds a run: add --resume or choose another folder")
    if not held and folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty and holds no run: choose another folder")
    check_writable(folder)


def check_target(path: Path, force: bool) -> None:
    """Before work starts, refuse a file that cannot be written or would be replaced."""
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder: expected the name of a file")
    if path.exists() and not force:
        raise click.UsageError(
            f"{path} exists: choose another name or allow overwriting it (overwrite, --force)"
        )
    if not path.parent.exists():
        raise click.UsageError(f"there is no folder {path.parent}")
    check_writable(path.parent)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to or created."""
    there = next(known for known in (folder, *folder.absolute().parents) if known.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise click.ClickException(f"cannot write into {there}: {error.strerror}") from error


@contextlib.contextmanager
def wrong_use() -> Iterator[None]:
    """Report a ValueError as wrong use of the command (status 2) instead of bad data."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def hint(text: str) -> Iterator[None]:
    """Add advice to the message after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


@contextlib.contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on a terminal; yield a callback progress(done, total)."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", disable=None) as bar:

        def report(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
