"""EarthTie: contrastive geospatial learning with more than two modalities, tied by the place.

Every name is imported at first use; ``__init__.pyi`` lists them.
"""

from typing import Any

import lazy_loader

__version__ = "0.2.0"
_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_MOVED = {  # modules of version 0.1, and where their content is now
    "batches": "train",
    "checkpoint": "runs",
    "checks": "places",
    "devices": "distributed",
    "estimators": "probes",
    "experiments": "results",
    "hub": "files",
    "joined": "encoders",
    "location": "encoders",
    "models": "model",
    "optimiser": "train",
    "own": "modalities",
    "pretrained": "runs",
    "protocol": "results.protocol",
    "ridge": "probes",
    "storage": "files",
    "streams": "coords",
}


def __getattr__(name: str) -> Any:
    """Import a name at first use, or say where it has moved."""
    if name in _MOVED:
        raise AttributeError(f"{__name__}.{name} is now part of {__name__}.{_MOVED[name]}")
    return _import(name)
