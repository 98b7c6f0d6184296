"""EarthTie: contrastive geospatial learning with more than two modalities, tied by the place."""

from typing import Any

from . import coords, features, losses, modalities, probes, sample, tasks, train
from .checkpoint import Run, load
from .config import TrainConfig, profile
from .devices import process_group
from .encodings import SphericalHarmonics, UnitVectors
from .features import CharacterNGrams, RandomConvolutions
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
    "coords",
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
    "nt_xent",
    "probe",
    "probes",
    "process_group",
    "profile",
    "sample",
    "summarise",
    "tasks",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import the figures at first use: nothing else needs cartopy."""
    if name == "maps":
        import importlib

        return importlib.import_module(".maps", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
