"""Settings: every default of training, the sizes of the notebooks' profiles, and the device."""

import dataclasses
import math
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

Method = Literal["melt", "salt"]
Direction = Literal["both", "to_location", "to_modality"]
Negatives = Literal["cross", "all"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]


MARKS = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "\\n", "<na>"})


def is_mark(text: str) -> bool:
    """Return whether a cell is empty or holds a usual mark of a missing value, such as NA."""
    return text.strip().lower() in MARKS


def check_option(name: str, value: Any, options: Any) -> None:
    """Raise a ValueError unless the value is one of the options, a tuple or a Literal type."""
    known = get_args(options) or tuple(options)
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}: expected one of {known}")


def check_integer(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Raise a ValueError unless the value is an integer (not a bool) in a range."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        where = f"of at least {least}" if most is None else f"in [{least}, {most}]"
        raise ValueError(f"{name} must be an integer {where}, got {value!r}")


def warn(message: str) -> None:
    """Warn on behalf of the code that called this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("earthtie_lite."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training; method, batch size, learning rate and epochs default to the paper's.

    Parameters
    ----------
    method : {"melt", "salt"}
        MELT puts pairs of every modality into each batch; SALT trains on one modality per epoch.
        With a single modality both are the two-modality baseline.
    epochs : int
        An epoch takes as many pairs of each modality (SALT: of the active one) as the smallest
        modality has, so an epoch of MELT sees as many pairs as K epochs of SALT.
    batch_size : int
        Pairs in a step, all modalities together.
    learning_rate, weight_decay : float
        Settings of AdamW; biases and the logit scale are not decayed.
    schedule : {"constant", "cosine"}
        Schedule of the learning rate over all steps.
    direction, negatives : str
        Options of :func:`~earthtie_lite.losses.nt_xent`.
    val_fraction : float
        Fraction of the globe's blocks held out for the validation loss, with a buffer of one patch
        width around them; 0 holds out nothing.
    val_batch_size : int
        Pairs per batch of the validation loss, all of one modality.
    patience : int or None
        Stop after this many passes over all modalities without a lower validation loss.
    seed : int
        Seed of batches and dropout, and of the weights if no encoder is passed.
    precision : {"float32", "bf16"}
        Precision of encoders and similarities; loss and weights are float32 in both cases.
    chunk_size : int or None
        Rows of the similarity matrix computed at a time; None computes all at once. Smaller chunks
        need less memory and more time.
    device : {"auto", "cpu", "cuda"}
        "auto" uses a GPU if there is one.
    save_every : int
        Epochs between checkpoints if ``fit`` is given a folder.
    """

    method: Method = "melt"
    epochs: int = 50
    batch_size: int = 2048
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    schedule: Schedule = "constant"
    direction: Direction = "both"
    negatives: Negatives = "cross"
    val_fraction: float = 0.15
    val_batch_size: int = 256
    patience: int | None = None
    seed: int = 0
    precision: Precision = "float32"
    chunk_size: int | None = None
    device: Device = "auto"
    save_every: int = 1

    def __post_init__(self) -> None:
        options = {"method": Method, "schedule": Schedule, "direction": Direction}
        options |= {"negatives": Negatives, "precision": Precision, "device": Device}
        for name, known in options.items():
            check_option(name, getattr(self, name), known)
        least = {"epochs": 1, "batch_size": 2, "val_batch_size": 2, "seed": 0, "save_every": 1}
        least |= {name: 1 for name in ("patience", "chunk_size") if getattr(self, name) is not None}
        for name, value in least.items():
            check_integer(name, getattr(self, name), value)
        for name in ("learning_rate", "weight_decay", "val_fraction"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
        if self.learning_rate == 0:
            raise ValueError("learning_rate must be positive, got 0")
        if self.val_fraction >= 1:
            raise ValueError(f"val_fraction must lie in [0, 1), got {self.val_fraction}")
        if self.patience is not None and self.val_fraction == 0:
            raise ValueError("patience needs a validation loss: val_fraction must be positive")

    def rate_at(self, done: float) -> float:
        """Return the learning rate after a fraction ``done`` in [0, 1] of all steps."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate

    def replace(self, **changes: Any) -> "TrainConfig":
        """Return a copy with some settings changed."""
        return dataclasses.replace(self, **changes)


def pick_device(device: Device) -> torch.device:
    """Return the device to train on; with several processes, the GPU of this process."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no GPU: use 'auto' or 'cpu'")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@dataclass(frozen=True)
class Profile:
    """Sizes of a notebook: they change how much is computed, never what.

    Parameters
    ----------
    n : int
        Pairs per modality.
    passes : int
        Number of passes over every modality's pairs in training.
    batch_size : int
    learning_rate : float
    n_task : int
        Labelled places per task.
    n_labels : int
        Label budget of a probe.
    spacing_deg : float
        Spacing of a map's grid.
    originals : bool
        Whether the paper's data sets are downloaded; otherwise miniatures replace them.
    """

    n: int
    passes: int
    batch_size: int
    learning_rate: float
    n_task: int
    n_labels: int
    spacing_deg: float
    originals: bool = False


PROFILES = {
    "smoke": Profile(2_000, 4, 256, 1e-3, 2_000, 243, 5.0),
    "sample": Profile(20_000, 12, 2048, 1e-3, 20_000, 729, 1.0),
    "paper": Profile(100_000, 50, 2048, 1e-4, 100_000, 729, 0.5, originals=True),
}


def profile(name: str) -> Profile:
    """Return the sizes of a profile: "smoke" (tests), "sample" (2 cores) or "paper" (a GPU).

    Examples
    --------
    >>> profile("sample").n
    20000
    """
    check_option("profile", name, PROFILES)
    return PROFILES[name]
