"""Rows of the book's tables as settings: how an embedding is made, and its name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from earthtie_lite.config import TrainConfig, check_integer, check_option
from earthtie_lite.coords import torch_seed
from earthtie_lite.encoders import LocationEncoder
from earthtie_lite.encodings import ENCODINGS, SphericalHarmonics
from earthtie_lite.modalities import ALL
from earthtie_lite.results import variants

from .pairing import ARRANGEMENTS

TRAINED = "trained"
JOINED = ("ensemble", "threefold", "pair")
SETTINGS = ("transductive", "inductive")
VARIANTS = ("scales", "objective", "switch", "moments", "head_warmup", "steps")


@dataclass(frozen=True)
class Recipe:
    """How an encoder is built and trained.

    Parameters
    ----------
    name : str
    n : int
        Places per modality.
    pairs : int
        Total number of pairs seen in training, for any number of modalities.
    batch_size, learning_rate, schedule
        Settings of :class:`~earthtie_lite.config.TrainConfig`.
    n_degrees, width, depth, out_dim, dropout, skip, omega, tie_skip
        Settings of :class:`~earthtie_lite.encoders.LocationEncoder` on spherical harmonics.
    joined : {"", "smooth"}
        What the skip appends: harmonics, or the same number of random smooth features (a control).
    places : {"", "same", "apart", "regions"}
        Where the observations are: separate random places for each modality, or an arrangement
        of :func:`pairing.load_arranged`.
    training : tuple of (str, value)
        Variants of training from :mod:`earthtie_lite.results.variants`: ("scales", "own"),
        ("objective", "regression"), ("switch", "step"), ("moments", "reset"), ("head_warmup", n),
        ("steps", n): an epoch of MELT has n batches, ("objective", "sigreg").
    text : {"", "direct"}
        Hash names to columns, without a projection.
    encoding, network : str
        Another encoding than harmonics, by its class, and another network than the sine network.
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
    text: str = ""
    encoding: str = ""
    network: str = ""

    def __post_init__(self) -> None:
        training = tuple((name, value) for name, value in self.training)  # JSON returns lists
        object.__setattr__(self, "training", training)
        if unknown := [pair for pair in training if pair[0] not in VARIANTS]:
            raise ValueError(f"unknown variants {unknown}: expected {VARIANTS}")
        if self.joined == "smooth" and (self.tie_skip or not self.skip):
            raise ValueError("joined needs a skip that is not trained")
        check_option("joined", self.joined, ("", "smooth"))
        check_option("places", self.places, ("", *ARRANGEMENTS))
        for name in ("n", "pairs", "batch_size"):
            check_integer(f"{name} of a recipe", getattr(self, name))

    def encoder(self, seed: int) -> LocationEncoder:
        """Return an untrained encoder, its weights drawn from the seed."""
        make = variants.TiedSkip if self.tie_skip else LocationEncoder
        settings = (self.width, self.depth, self.out_dim, self.dropout, self.skip, self.omega)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed("weights of an experiment", seed))
            encoding = SphericalHarmonics(self.n_degrees)
            if self.encoding:
                encoding = ENCODINGS[self.encoding]()
            return make(encoding, *settings, self.network or "siren")  # type: ignore[arg-type]

    def config(self, method: str, n_modalities: int, seed: int) -> TrainConfig:
        """Return settings that train on about ``pairs`` pairs, in whole epochs.

        An epoch of MELT passes over all modalities, one of SALT over the active one; an incomplete
        last batch is dropped. No pairs are held out because the recipe sets the length of training.
        """
        an_epoch = self.n * (n_modalities if method == "melt" else 1)
        if steps := dict(self.training).get("steps"):
            an_epoch = steps * self.batch_size
        return TrainConfig(
            method=method,  # type: ignore[arg-type]
            epochs=max(1, round(self.pairs / an_epoch)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule=self.schedule,  # type: ignore[arg-type]
            val_fraction=0.0,
            seed=seed,
        )

    def variant(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the arguments of ``fit`` for the variants that ``training`` names."""
        arguments: dict[str, Any] = {}
        for name, value in self.training:
            if name == "scales":
                arguments["loss"] = variants.OwnScales(names)
            elif name == "objective":
                losses = {"regression": variants.regression_loss, "sigreg": variants.sigreg_loss}
                arguments["loss"] = losses[value]
            elif name == "switch":
                arguments["batches"] = variants.salt_by_step
            elif name == "steps":
                arguments["batches"] = variants.first_batches(value)
            elif name == "moments":
                arguments["hook"] = variants.reset_moments
            else:
                arguments["hook"] = variants.head_warmup(value)
        return arguments


@dataclass(frozen=True)
class Embedding:
    """One row: an embedding of places, made with one seed.

    Parameters
    ----------
    kind : str
        "coordinates" (x, y, z), "harmonics" (the encoder's input), "density" (distances to the
        names of the gazetteer), "observations" (frozen features of the images at the place itself:
        MOSAIKS), "GeoCLIP" (its published encoder), "GeoCLIP, harmonics" (joined with those of the
        skip), "IDW 5" and "IDW 50" (the labels interpolated), "untrained", "trained", "ensemble"
        (single-modality encoders, joined and reduced to the same width), "threefold" (three
        trainings on the same pairs, joined and reduced in the same way), "pair" (the first three
        modalities in one encoder, the others in another, joined), "retrieval" (joined
        with features of the nearest observations), "SatCLIP" (published), or "reference"
        (untrained, joined with the modalities' frozen features at the place itself), its controls
        "reference, shuffled" (features of other places) and "reference, noise".
    recipe : Recipe
    seed : int
        Seed of weights, pairs, training and labels.
    method : {"", "melt", "salt"}
    modalities : tuple of str
    setting : {"transductive", "inductive"}
        Inductive: no pair, image or fitted statistic comes from the report half or from within a
        patch width of it.
    retraining : int, optional
        Number of a repeated training on the same pairs, with other weights, batches and dropout.
    source : str
        Of SatCLIP: a file or a name on the Hub.
    """

    kind: str
    recipe: Recipe
    seed: int = 0
    method: str = ""
    modalities: tuple[str, ...] = ()
    setting: str = "transductive"
    retraining: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.modalities, str) or set(self.modalities) - set(ALL):
            raise ValueError(f"modalities must be a tuple of {ALL}, got {self.modalities!r}")
        if self.setting not in SETTINGS:
            raise ValueError(f"unknown setting {self.setting!r}: expected one of {SETTINGS}")
        trains = self.kind in (TRAINED, *JOINED, "retrieval")
        observes = trains or self.kind.startswith("reference")
        if (trains, observes) != (bool(self.method), bool(self.modalities)):
            raise ValueError(f"{self.kind} clashes with method {self.method!r}, {self.modalities}")
        if self.setting != SETTINGS[0] and (self.recipe.places or (not trains and observes)):
            raise ValueError(f"{self.kind!r} of {self.recipe.name!r} cannot be inductive")

    @property
    def name(self) -> str:
        """Name in the tables, such as "MELT satellite+text"."""
        joined = "+".join(self.modalities)
        trained = f"{self.method.upper()} {joined}" if len(self.modalities) > 1 else joined
        if self.kind == "ensemble" and self.modalities == ALL:
            return "ensemble of 7"
        if self.kind in ("threefold", "pair"):
            trained = f"{'3 x' if self.kind == 'threefold' else 'two encoders of'} {trained}"
        if self.kind == "SatCLIP":
            return f"SatCLIP {Path(self.source).stem}".rstrip()
        if self.kind == "retrieval":
            return f"{trained}, retrieval"
        plain = self.kind in (TRAINED, "untrained", *JOINED) and not self.recipe.skip
        if self.kind.startswith("reference"):
            return f"{self.kind}: {joined}"
        named = trained if self.kind in (TRAINED, "threefold", "pair") else self.kind
        return named + (", no skip" if plain else "")


def filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Drop empty settings (None, False, "" or ()), so that adding a setting changes no hash."""
    return {
        name: filled(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if value is not None and value is not False and value not in ("", ())
    }
