"""Trained models that travel with the package: embeddings without training or a network."""

from pathlib import Path

from .hub import HubModel
from .joined import JoinedEncoders
from .models import EarthTie
from .storage import data_folder

NAMES = ("melt3", "melt", "salt", "satellite")
_CLASSES: dict[str, type[HubModel]] = {c.__name__: c for c in (EarthTie, JoinedEncoders)}


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


def load_pretrained(name: str = "melt") -> EarthTie | JoinedEncoders:
    """Load a trained model, offline.

    Parameters
    ----------
    name : {"melt3", "melt", "salt", "satellite"}
        "melt3" joins three trainings of MELT and has the best scores; it embeds places only.
        "melt", "salt" and "satellite" also compare places with images, lights and names. Each has
        a card beside its weights, with scores and limits.

    Examples
    --------
    >>> z = load_pretrained("melt").embed([[13.4, 52.5], [-60.0, -3.1]])  # Berlin, Manaus
    >>> z.shape
    (2, 256)
    """
    import json

    if name not in NAMES:
        raise ValueError(
            f"unknown model {name!r}: expected one of {NAMES}; a saved run is read by load(), a "
            "folder of save_pretrained by the class's from_pretrained()"
        )
    path = folder() / name
    made = _CLASSES[json.loads((path / "config.json").read_text(encoding="utf-8"))["class"]]
    model = made.from_pretrained(path)
    assert isinstance(model, EarthTie | JoinedEncoders)
    return model
