"""The rows of the book's tables: every embedding that is compared, and how it is made."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sample as embedded
from .checkpoint import Run, load
from .config import TrainConfig
from .coords import Array, hold_out, unit_vectors
from .encodings import SphericalHarmonics, UnitVectors
from .features import RandomConvolutions
from .location import LocationEncoder
from .modalities import NAMES, PATCH_PIXELS, load_sample, thinned_names
from .models import EarthTie
from .peers import load_geoclip
from .protocol import in_report_half
from .storage import cached, sha256
from .streams import stream, torch_seed
from .train import fit, new_run

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
)
SETTINGS = ("transductive", "inductive")
UNLABELLED = 20_000  # places over land by which an ensemble is reduced


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
    n_degrees, width, depth, out_dim, dropout, skip, omega
        Of :class:`~earthtie_lite.location.LocationEncoder` on spherical harmonics.
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

    def __post_init__(self) -> None:
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
            )

    def config(self, method: str, n_modalities: int, seed: int) -> TrainConfig:
        """Return settings with which training sees ``pairs`` pairs, to within half an epoch.

        An epoch of MELT passes over all modalities, one of SALT over the active one. Nothing is
        held out: how long to train is part of the recipe.
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
        )


@dataclass(frozen=True)
class Embedding:
    """One row: an embedding of places, made with one seed.

    Parameters
    ----------
    kind : str
        "coordinates" (x, y, z), "harmonics" (the encoder's input), "density" (how near the names
        of the gazetteer are), "observations" (the modalities' frozen features of images at the
        place itself: MOSAIKS), "GeoCLIP" (its published encoder), "untrained", "trained", or
        "ensemble" (single-modality encoders, joined and reduced to the same width).
    recipe : Recipe
    seed : int
        Of weights, pairs, training and labels.
    method : {"", "melt", "salt"}
    modalities : tuple of str
    setting : {"transductive", "inductive"}
        Inductive: no pair, image or fitted statistic comes from the report half or from within a
        patch of it.
    """

    kind: str
    recipe: Recipe
    seed: int = 0
    method: str = ""
    modalities: tuple[str, ...] = ()
    setting: str = "transductive"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown embedding {self.kind!r}: expected one of {KINDS}")
        if isinstance(self.modalities, str) or set(self.modalities) - set(NAMES):
            raise ValueError(f"modalities must be a tuple of {NAMES}, got {self.modalities!r}")
        if self.setting not in SETTINGS:
            raise ValueError(f"unknown setting {self.setting!r}: expected one of {SETTINGS}")
        if (self.kind in (TRAINED, "ensemble")) != bool(self.modalities and self.method):
            raise ValueError(f"{self.kind!r} with method {self.method!r} of {self.modalities}")

    @property
    def name(self) -> str:
        """Name in the tables, such as "MELT satellite+text"."""
        joined = "+".join(self.modalities)
        trained = f"{self.method.upper()} {joined}" if len(self.modalities) > 1 else joined
        plain = self.kind in (TRAINED, "untrained", "ensemble") and not self.recipe.skip
        return (trained if self.kind == TRAINED else self.kind) + (", no skip" if plain else "")


def embed(
    row: Embedding, lonlat: Array, folder: str | Path, geoclip: str | Path
) -> tuple[NDArray[Any], float]:
    """Make a row's embedding of places (N, 2); encoders are trained once and kept in a folder.

    Returns
    -------
    z : array, shape (N, D)
    seconds : float
        Of training, 0 where there is none.
    """
    recipe = row.recipe
    if row.kind == TRAINED:
        run = trained(row, folder)
        return run.model.embed(lonlat), float(run.history["seconds"].iloc[-1])
    if row.kind == "ensemble":
        return ensemble(row, lonlat, folder)
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "coordinates": lambda: UnitVectors()(lonlat),
        "harmonics": lambda: SphericalHarmonics(recipe.n_degrees)(lonlat),
        "density": lambda: density(lonlat),
        "observations": lambda: observations(lonlat, row.seed),
        # Minutes for 130,000 places, and alike for every seed.
        "GeoCLIP": lambda: cached(
            b"GeoCLIP" + lonlat.tobytes(), lambda: load_geoclip(geoclip).embed(lonlat)
        ),
        "untrained": lambda: recipe.encoder(row.seed).embed(lonlat),
    }
    return makers[row.kind](), 0.0


def trained(row: Embedding, folder: str | Path) -> Run:
    """Train a row's encoder, or load it where it was trained before."""
    name = sha256(json.dumps(asdict(row), sort_keys=True).encode())[:16]
    path = Path(folder) / "encoders" / name
    if (path / "run.json").is_file():
        return load(path)
    exclude = in_report_half if row.setting == "inductive" else None
    sample = load_sample(row.recipe.n, row.seed, row.modalities, exclude)
    config = row.recipe.config(row.method, len(sample), row.seed)
    run = fit(sample, config, row.recipe.encoder(row.seed))
    if not (path / "run.json").is_file():  # else a row beside this one has trained it meanwhile
        run.save(path)
    return run


def untrained(row: Embedding) -> EarthTie:
    """Return a model of all modalities with the row's random weights."""
    sample = load_sample(row.recipe.n, row.seed)
    every = {name: np.arange(len(m)) for name, m in sample.items()}
    config = row.recipe.config("melt", len(sample), row.seed)
    return new_run(list(sample.values()), every, config, row.recipe.encoder(row.seed)).model


def ensemble(row: Embedding, lonlat: Array, folder: str | Path) -> tuple[NDArray[Any], float]:
    """Join the single-modality encoders of a row and reduce them to the width of one of them.

    Of each the trained part is scaled to unit variance; the principal components are those of
    places over land that have no label. The skip, alike in all, is kept once.
    """
    from sklearn.decomposition import PCA

    singles = [replace(row, kind=TRAINED, modalities=(n,)) for n in row.modalities]
    runs = [trained(single, folder) for single in singles]
    land = embedded.sample_land(UNLABELLED, stream("places of an ensemble", row.seed))
    if row.setting == "inductive":
        land = land[~in_report_half(land)]
    width = runs[0].model.encoder.tied_dim
    some = [run.model.embed(land)[:, :width] for run in runs]
    scales = [part.std() for part in some]
    pca = PCA(width, svd_solver="covariance_eigh")
    pca.fit(np.concatenate([part / scale for part, scale in zip(some, scales)], axis=1))
    z = [run.model.embed(lonlat) for run in runs]
    parts = [whole[:, :width] / scale for whole, scale in zip(z, scales)]
    seconds = sum(float(run.history["seconds"].iloc[-1]) for run in runs)
    reduced = pca.transform(np.concatenate(parts, axis=1))
    return np.concatenate([reduced, z[0][:, width:]], axis=1), seconds


def density(lonlat: Array) -> Array:
    """Describe places by what the positions of the training names give away: (N, 4).

    The logarithm of the distance to the 1st, 10th, 100th and 1000th nearest name.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(thinned_names()[["lon", "lat"]].to_numpy()))
    distance, _ = tree.query(unit_vectors(lonlat), k=[1, 10, 100, 1000])
    return np.log(distance + 1e-4)


def observations(lonlat: Array, seed: int) -> NDArray[np.float32]:
    """Return random convolutional features of the images at the places themselves: (N, 512).

    MOSAIKS (Rolf et al. 2021, https://doi.org/10.1038/s41467-021-24638-z), with the filters of
    other places.
    """
    return np.concatenate([_filters(n, seed)(_patches(n, lonlat)) for n in PATCH_PIXELS], axis=1)


def _patches(name: str, lonlat: Array) -> NDArray[np.uint8]:
    return embedded.raster(name).patches(lonlat, PATCH_PIXELS[name])


@functools.lru_cache(maxsize=4)
def _filters(name: str, seed: int) -> RandomConvolutions:
    land = embedded.sample_land(UNLABELLED, stream(f"places of the filters of {name}", seed))
    return RandomConvolutions.fit(_patches(name, land[hold_out(land, 0.5)[1]]), seed=seed)
