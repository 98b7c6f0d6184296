"""The rows of the book's tables: every embedding that is compared, as settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import OPTIONS, TrainConfig
from ..encodings import SphericalHarmonics
from ..location import LocationEncoder
from ..modalities import NAMES
from ..streams import torch_seed
from .pairing import ARRANGEMENTS

TRAINED = "trained"
KINDS = (
    "coordinates",
    "harmonics",
    "density",
    "observations",
    "GeoCLIP",
    "untrained",
    TRAINED,
    "ensemble",
    "threefold",
    "reference",
    "reference, shuffled",
    "reference, noise",
)
SETTINGS = ("transductive", "inductive")


@dataclass(frozen=True)
class Recipe:
    """How an encoder is built and trained; alike for every variant that is compared.

    Parameters
    ----------
    name : str
    n : int
        Places a modality.
    pairs : int
        Pairs that training sees in all, whatever the number of modalities.
    batch_size, learning_rate, schedule
        Of :class:`~earthtie_lite.config.TrainConfig`.
    n_degrees, width, depth, out_dim, dropout, skip, omega, tie_skip
        Of :class:`~earthtie_lite.location.LocationEncoder` on spherical harmonics.
    joined : {"", "smooth"}
        What the skip joins: harmonics, or as many random smooth features (a control).
    places : {"", "same", "apart", "regions"}
        Where the observations are: each modality's own places over the land, or an arrangement of
        :func:`~earthtie_lite.experiments.pairing.load_arranged`.
    training : tuple of (str, value)
        Further settings of TrainConfig.
    """

    name: str
    n: int = 100_000
    pairs: int = 1_500_000
    batch_size: int = 1024
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    n_degrees: int = 10
    width: int = 256
    depth: int = 2
    out_dim: int = 256
    dropout: float = 0.2
    skip: int = 0
    omega: float = 10.0
    tie_skip: bool = False
    joined: str = ""
    places: str = ""
    training: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        pairs = tuple(tuple(pair) for pair in self.training)  # JSON has lists
        object.__setattr__(self, "training", pairs)
        if any(len(pair) != 2 or pair[0] not in OPTIONS | {"head_warmup": ()} for pair in pairs):
            raise ValueError(f"training must be pairs of a setting and its value, got {pairs!r}")
        if self.joined == "smooth" and (self.tie_skip or not self.skip):
            raise ValueError("joined needs a skip that takes no part in training")
        for name, options in (("joined", ("", "smooth")), ("places", ("", *ARRANGEMENTS))):
            if getattr(self, name) not in options:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}: one of {options}")
        for name in ("n", "pairs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} of a recipe must be a positive integer, got {value!r}")

    def encoder(self, seed: int) -> LocationEncoder:
        """Return an untrained encoder, its weights drawn from the seed."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed("weights of an experiment", seed))
            return LocationEncoder(
                SphericalHarmonics(self.n_degrees),
                self.width,
                self.depth,
                self.out_dim,
                self.dropout,
                self.skip,
                self.omega,
                self.tie_skip,
            )

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of the encoder."""
        return sum(p.numel() for p in self.encoder(0).siren.parameters())

    def config(self, method: str, n_modalities: int, seed: int) -> TrainConfig:
        """Return settings with which training sees about ``pairs`` pairs, in whole epochs.

        An epoch of MELT passes over all modalities, one of SALT over the active one, but for the
        rest that fills no batch. Nothing is held out: how long to train is part of the recipe.
        """
        an_epoch = self.n * (n_modalities if method == "melt" else 1)
        return TrainConfig(
            method=method,
            epochs=max(1, round(self.pairs / an_epoch)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            val_fraction=0.0,
            seed=seed,
            **dict(self.training),
        )


@dataclass(frozen=True)
class Embedding:
    """One row: an embedding of places, made with one seed.

    Parameters
    ----------
    kind : str
        "coordinates" (x, y, z), "harmonics" (the encoder's input), "density" (how near the names
        of the gazetteer are), "observations" (the modalities' frozen features of images at the
        place itself: MOSAIKS), "GeoCLIP" (its published encoder), "untrained", "trained",
        "ensemble" (single-modality encoders, joined and reduced to the same width), "threefold"
        (three trainings on the same pairs, joined and reduced likewise), or "reference"
        (untrained, joined with the modalities' frozen features at the place itself)
        and its controls "reference, shuffled" (those of other places) and "reference, noise".
    recipe : Recipe
    seed : int
        Of weights, pairs, training and labels.
    method : {"", "melt", "salt"}
    modalities : tuple of str
    setting : {"transductive", "inductive"}
        Inductive: no pair, image or fitted statistic comes from the report half or from within a
        patch of it.
    retraining : int, optional
        A further training on the same pairs, with other weights, batches and dropout.
    """

    kind: str
    recipe: Recipe
    seed: int = 0
    method: str = ""
    modalities: tuple[str, ...] = ()
    setting: str = "transductive"
    retraining: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown embedding {self.kind!r}: expected one of {KINDS}")
        if isinstance(self.modalities, str) or set(self.modalities) - set(NAMES):
            raise ValueError(f"modalities must be a tuple of {NAMES}, got {self.modalities!r}")
        if self.setting not in SETTINGS:
            raise ValueError(f"unknown setting {self.setting!r}: expected one of {SETTINGS}")
        trains = self.kind in (TRAINED, "ensemble", "threefold")
        observes = trains or self.kind.startswith("reference")
        if (trains, observes) != (bool(self.method), bool(self.modalities)):
            raise ValueError(f"{self.kind!r} with method {self.method!r} of {self.modalities}")
        if self.setting != SETTINGS[0] and (self.recipe.places or (not trains and observes)):
            raise ValueError(f"{self.kind!r} of {self.recipe.name!r} cannot be inductive")

    @property
    def name(self) -> str:
        """Name in the tables, such as "MELT satellite+text"."""
        joined = "+".join(self.modalities)
        trained = f"{self.method.upper()} {joined}" if len(self.modalities) > 1 else joined
        if self.kind == "threefold":
            trained = f"3 x {trained}"
        plain = (
            self.kind in (TRAINED, "untrained", "ensemble", "threefold") and not self.recipe.skip
        )
        if self.kind.startswith("reference"):
            return f"{self.kind}: {joined}"
        named = trained if self.kind in (TRAINED, "threefold") else self.kind
        return named + (", no skip" if plain else "")


def filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out settings that are empty (None, False, "" or ()): a new one changes no hash."""
    return {
        name: filled(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if value is not None and value is not False and value not in ("", ())
    }
