"""Settings: every default of training, and the sizes of the notebooks' profiles."""

import dataclasses
import math
from dataclasses import dataclass

from .losses import DIRECTIONS, NEGATIVES

METHODS = ("melt", "salt")
OPTIONS = {
    "method": METHODS,
    "schedule": ("constant", "cosine"),
    "direction": DIRECTIONS,
    "negatives": NEGATIVES,
    "scales": ("shared", "own"),
    "switch": ("epoch", "step"),
    "moments": ("kept", "reset"),
    "objective": ("contrast", "regression"),
    "precision": ("float32", "bf16"),
    "device": ("auto", "cpu", "cuda"),
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults of method, batch, rate and epochs are the paper's.

    Parameters
    ----------
    method : {"melt", "salt"}
        MELT joins pairs of every modality in each batch; SALT takes one modality an epoch. With a
        single modality both are the two-modality baseline.
    epochs : int
        An epoch of MELT passes over every modality's pairs, one of SALT over the active one's.
    batch_size : int
        Pairs in a step, of all modalities together.
    learning_rate, weight_decay : float
        Of AdamW; biases and the logit scale are not decayed.
    schedule : {"constant", "cosine"}
        Of the learning rate, over all steps.
    direction, negatives : str
        Options of :func:`~earthtie_lite.losses.nt_xent`.
    scales : {"shared", "own"}
        One logit scale for all modalities, as in the paper, or one for each.
    switch : {"epoch", "step"}
        When SALT takes the next modality. By step, an epoch passes over a part of each.
    head_warmup : int
        Steps after each return of a modality in which SALT trains its head alone.
    moments : {"kept", "reset"}
        What becomes of the optimiser's moments where an epoch of SALT switches.
    objective : {"contrast", "regression"}
        "regression", a control, predicts the modalities' standardised features from the place by
        least squares, through the transposed heads.
    val_fraction : float
        Part of the globe's blocks held out for the validation loss, with a buffer of one patch
        around them; 0 for none.
    val_batch_size : int
        Pairs of one modality among which the validation loss looks for the partner.
    patience : int or None
        Stop after this many passes over all modalities without a better validation loss.
    seed : int
        Of batches and dropout, and of the weights where no encoder is passed.
    precision : {"float32", "bf16"}
        Of encoders and similarities; the loss and the weights are float32 in both.
    chunk_size : int or None
        Pairs of a batch that look for their partner at a time; all by default. Smaller chunks need
        less memory and more time.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a GPU where there is one.
    save_every : int
        Epochs between checkpoints where ``fit`` is given a folder.
    """

    method: str = "melt"
    epochs: int = 50
    batch_size: int = 2048
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    schedule: str = "constant"
    direction: str = "both"
    negatives: str = "cross"
    scales: str = "shared"
    switch: str = "epoch"
    head_warmup: int = 0
    moments: str = "kept"
    objective: str = "contrast"
    val_fraction: float = 0.1
    val_batch_size: int = 256
    patience: int | None = None
    seed: int = 0
    precision: str = "float32"
    chunk_size: int | None = None
    device: str = "auto"
    save_every: int = 1

    def __post_init__(self) -> None:
        for name, options in OPTIONS.items():
            if getattr(self, name) not in options:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}: expected one of {options}"
                )
        for name, least in (
            ("epochs", 1),
            ("batch_size", 2),
            ("val_batch_size", 2),
            ("seed", 0),
            ("save_every", 1),
            ("head_warmup", 0),
            ("patience", 1),
            ("chunk_size", 1),
        ):
            value = getattr(self, name)
            if name in ("patience", "chunk_size") and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        for name in ("learning_rate", "weight_decay", "val_fraction"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
        turns = {"switch": "epoch", "head_warmup": 0, "moments": "kept"}
        changed = [name for name, usual in turns.items() if getattr(self, name) != usual]
        if changed and self.method != "salt":
            raise ValueError(f"{', '.join(changed)} change how SALT switches: method is 'melt'")
        if "switch" in changed and len(changed) > 1:
            raise ValueError(f"{changed[1]} needs turns of an epoch: switch must be 'epoch'")
        if self.learning_rate == 0:
            raise ValueError("learning_rate must be positive, got 0")
        if self.val_fraction >= 1:
            raise ValueError(f"val_fraction must lie in [0, 1), got {self.val_fraction}")
        if self.patience is not None and self.val_fraction == 0:
            raise ValueError("patience needs a validation loss: val_fraction must be positive")

    def rate_at(self, done: float) -> float:
        """Return the learning rate after a part ``done`` in [0, 1] of all steps."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate

    def replace(self, **changes: object) -> "TrainConfig":
        """Return a copy with some settings changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Profile:
    """Sizes of a notebook: they change how much is computed, never what.

    Parameters
    ----------
    n : int
        Pairs a modality.
    passes : int
        How often training passes over every modality's pairs.
    batch_size : int
    learning_rate : float
    n_task : int
        Places with labels.
    n_labels : int
        Label budget of a probe.
    spacing_deg : float
        Grid of a map.
    originals : bool
        Whether the paper's data sets are fetched, or miniatures stand for them.
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
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: expected one of {sorted(PROFILES)}")
    return PROFILES[name]
