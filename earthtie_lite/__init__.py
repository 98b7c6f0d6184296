"""EarthTie: contrastive geospatial learning with more than two modalities, tied by the place."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import coords, features, losses, maps, modalities, probes, sample, tasks, train
    from .checkpoint import Run, load
    from .checks import check_places
    from .config import TrainConfig, profile
    from .devices import process_group
    from .encodings import SphericalHarmonics, UnitVectors
    from .features import CharacterNGrams, RandomConvolutions
    from .interfaces.embedder import Embedder
    from .interfaces.grid import embed_grid, to_xarray
    from .interfaces.tables import embed_file, embed_table, nearest
    from .joined import JoinedEncoders
    from .location import LocationEncoder
    from .losses import nt_xent
    from .modalities import Modality, load_sample
    from .models import EarthTie
    from .pretrained import list_pretrained, load_pretrained
    from .probes import probe, summarise
    from .progress import ProgressBar
    from .tasks import Task, load_task
    from .train import fit

__version__ = "0.1.0"
__all__ = [
    "CharacterNGrams",
    "EarthTie",
    "Embedder",
    "JoinedEncoders",
    "LocationEncoder",
    "Modality",
    "ProgressBar",
    "RandomConvolutions",
    "Run",
    "SphericalHarmonics",
    "Task",
    "TrainConfig",
    "UnitVectors",
    "check_places",
    "coords",
    "embed_file",
    "embed_grid",
    "embed_table",
    "features",
    "fit",
    "list_pretrained",
    "load",
    "load_pretrained",
    "load_sample",
    "load_task",
    "losses",
    "maps",
    "modalities",
    "nearest",
    "nt_xent",
    "probe",
    "probes",
    "process_group",
    "profile",
    "sample",
    "summarise",
    "tasks",
    "to_xarray",
    "train",
]

_LAZY = {  # all is imported when it is asked for: help on the command line needs no torch
    "CharacterNGrams": "features",
    "EarthTie": "models",
    "Embedder": "interfaces.embedder",
    "JoinedEncoders": "joined",
    "LocationEncoder": "location",
    "Modality": "modalities",
    "ProgressBar": "progress",
    "RandomConvolutions": "features",
    "Run": "checkpoint",
    "SphericalHarmonics": "encodings",
    "Task": "tasks",
    "TrainConfig": "config",
    "UnitVectors": "encodings",
    "check_places": "checks",
    "embed_file": "interfaces.tables",
    "embed_grid": "interfaces.grid",
    "embed_table": "interfaces.tables",
    "fit": "train",
    "list_pretrained": "pretrained",
    "load": "checkpoint",
    "load_pretrained": "pretrained",
    "load_sample": "modalities",
    "load_task": "tasks",
    "nearest": "interfaces.tables",
    "nt_xent": "losses",
    "probe": "probes",
    "process_group": "devices",
    "profile": "config",
    "summarise": "probes",
    "to_xarray": "interfaces.grid",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import at first use: a name, or a file of the package."""
    import importlib
    from importlib.util import find_spec

    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)
