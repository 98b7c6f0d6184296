"""Trained models by name, which travel with the package, or from a folder: embeddings offline."""

import json
from pathlib import Path

from .checkpoint import load
from .joined import JoinedEncoders
from .models import EarthTie
from .storage import data_folder

NAMES = ("melt3", "melt", "salt", "satellite")


def folder() -> Path:
    """Return where the models are."""
    return data_folder("pretrained")


def list_pretrained() -> dict[str, str]:
    """Return the names of the models with one line on each, from their cards.

    Examples
    --------
    >>> list(list_pretrained())
    ['melt3', 'melt', 'salt', 'satellite']
    """
    cards = {name: (folder() / name / "README.md").read_text(encoding="utf-8") for name in NAMES}
    return {
        name: next(line[2:] for line in card.splitlines() if line.startswith("> "))
        for name, card in cards.items()
    }


def load_pretrained(name: str | Path = "melt") -> EarthTie | JoinedEncoders:
    """Load a trained model, offline: by its name, or from a folder.

    Parameters
    ----------
    name : {"melt3", "melt", "salt", "satellite"} or path
        "melt3" joins three trainings of MELT and has the best scores; it embeds places only.
        "melt", "salt" and "satellite" also compare places with images, lights and names. Each has
        a card beside its weights, with scores and limits. Or the folder of a run or of a model
        that was saved with ``save_pretrained``; what is on the Hub is read by the class's
        ``from_pretrained``.

    Raises
    ------
    ValueError
        If there is no such model, or its files are damaged.

    Examples
    --------
    >>> z = load_pretrained("melt").embed([[13.4, 52.5], [-60.0, -3.1]])  # Berlin, Manaus
    >>> z.shape
    (2, 256)
    """
    if not isinstance(name, (str, Path)):
        raise ValueError(f"a model's name or folder is text or a path, got {name!r}")
    path = folder() / name if name in NAMES else Path(name).expanduser()
    if (path / "run.json").is_file():
        return load(path).model
    config = path / "config.json"
    if not config.is_file():
        raise ValueError(
            f"unknown model {str(name)!r}: expected one of {', '.join(NAMES)}, or the folder of a "
            "saved run (with run.json) or model (with config.json)"
        )
    try:
        made = json.loads(config.read_text(encoding="utf-8"))["class"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{config} is damaged: {error!r}") from error
    for known in (EarthTie, JoinedEncoders):
        if made == known.__name__:
            return known.from_pretrained(path)
    raise ValueError(f"{config} describes an unknown class of models, {made!r}")
