"""What the commands share: errors in one line, checks before work starts, models, tables, bars."""

import contextlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from ..joined import JoinedEncoders
    from ..models import EarthTie


class Commands(click.Group):
    """Commands that fail in one line: status 1 for bad data, 2 for wrong use, 130 for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except BrokenPipeError:
                raise  # whoever read the output has gone, which click ends without a word
            except (ValueError, OSError, ImportError) as error:
                raise click.ClickException(str(error)) from error
            except KeyboardInterrupt as interrupt:
                click.echo(f"\nInterrupted. {interrupt}".rstrip(), err=True)
                raise click.exceptions.Exit(130) from None


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    """Show a warning in one line."""
    click.echo(f"Warning: {message}", err=True)


def read_table(path: Path, dtype: Any) -> "pd.DataFrame":
    """Read a table whole; only an empty cell of CSV is missing, for "NA" is Namibia."""
    import pandas as pd

    from .tablefiles import kind

    with wrong_use():
        found = kind(path)
    try:
        if found == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=[""])
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def open_model(name: str) -> "EarthTie | JoinedEncoders":
    """Load a model: by its name, from a saved run, or from the files of the Hub in a folder."""
    from ..checkpoint import load
    from ..joined import JoinedEncoders
    from ..models import EarthTie
    from ..pretrained import NAMES, load_pretrained

    folder = Path(name)
    config = folder / "config.json"
    if name in NAMES:
        return load_pretrained(name)
    if (folder / "run.json").is_file():
        return load(folder).model
    if not config.is_file():
        raise click.BadParameter(
            f"unknown model {name!r}: expected one of {', '.join(NAMES)}, or the folder of a saved "
            "run (with run.json) or model (with config.json)",
            param_hint="--model",
        )
    try:
        made = json.loads(config.read_text(encoding="utf-8"))["class"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{config} is damaged: {error!r}") from error
    for known in (EarthTie, JoinedEncoders):
        if made == known.__name__:
            return known.from_pretrained(folder)
    raise ValueError(f"{config} describes an unknown class of models, {made!r}")


def check_run(folder: Path, resume: bool) -> None:
    """Refuse, before work starts, a folder that a run cannot be saved in."""
    holds_run = (folder / "run.json").is_file()
    if resume and not holds_run:
        raise click.UsageError(f"{folder} holds no run to resume")
    if holds_run and not resume:
        raise click.UsageError(f"{folder} holds a run: add --resume or choose another folder")
    if not holds_run and folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty and holds no run: choose another folder")
    check_writable(folder)


def check_target(path: Path, force: bool) -> None:
    """Refuse, before work starts, a file that cannot be written or would be replaced."""
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder: expected the name of a file")
    if path.exists() and not force:
        raise click.UsageError(f"{path} exists: add --force or choose another name")
    check_writable(path.parent)


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise click.ClickException(f"cannot write into {folder}: {error.strerror}") from error


@contextlib.contextmanager
def wrong_use() -> Iterator[None]:
    """Turn a refusal into one of the command, not of the data."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def hint(text: str) -> Iterator[None]:
    """Say what to do after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


@contextlib.contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on a terminal, and give what is to be told how much is done, and of how much."""
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", disable=None) as bar:

        def tell(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield tell
