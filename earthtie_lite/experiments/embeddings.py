"""How the embeddings of the book's tables are made; encoders are trained once and kept."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import sample as embedded
from ..checkpoint import Run, load
from ..coords import Array, hold_out, unit_vectors
from ..encodings import SphericalHarmonics, UnitVectors
from ..features import CharacterNGrams, RandomConvolutions, encode
from ..joined import JoinedEncoders
from ..modalities import PATCH_PIXELS, load_sample, nearest_name, thinned_names
from ..models import EarthTie
from ..protocol import in_report_half
from ..storage import cached, sha256
from ..streams import stream
from ..train import fit, new_run
from .pairing import load_arranged
from .peers import load_geoclip
from .rows import TRAINED, Embedding, filled

REVISIONS = {"ensemble": 2}  # raise where the way an embedding is made changes: 2 turns it
UNLABELLED = 20_000  # places over land by which an ensemble is reduced


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
    recipe, seconds = row.recipe, 0.0
    if row.kind in (TRAINED, "untrained"):
        encoder = recipe.encoder(row.seed)
        if row.kind == TRAINED:
            run = trained(row, folder)
            encoder, seconds = run.model.encoder, float(run.history["seconds"].iloc[-1])
        z = encoder.embed(lonlat)
        if recipe.joined:
            z[:, encoder.tied_dim :] = smooth_features(lonlat, recipe.skip, row.seed)
        return z, seconds
    if row.kind in ("ensemble", "threefold"):
        return joined(row, lonlat, folder)
    if row.kind.startswith("reference"):
        return reference(row, lonlat), seconds
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "coordinates": lambda: UnitVectors()(lonlat),
        "harmonics": lambda: SphericalHarmonics(recipe.n_degrees)(lonlat),
        "density": lambda: density(lonlat),
        "observations": lambda: observations(lonlat, row.seed),
        # Minutes for 130,000 places, and alike for every seed.
        "GeoCLIP": lambda: cached(
            b"GeoCLIP" + lonlat.tobytes(), lambda: load_geoclip(geoclip).embed(lonlat)
        ),
    }
    return makers[row.kind](), seconds


def trained(row: Embedding, folder: str | Path) -> Run:
    """Train a row's encoder, or load it where it was trained before."""
    settings = filled(asdict(row))
    for name in ("name", "joined"):  # training knows nothing of these
        settings["recipe"].pop(name, None)
    name = sha256(json.dumps(settings, sort_keys=True).encode())[:16]
    path = Path(folder) / "encoders" / name
    if (path / "run.json").is_file():
        return load(path)
    exclude = in_report_half if row.setting == "inductive" else None
    if row.recipe.places:
        sample = load_arranged(row.recipe.places, row.recipe.n, row.seed)
        sample = {name: sample[name] for name in row.modalities}
    else:
        sample = load_sample(row.recipe.n, row.seed, row.modalities, exclude)
    seed = row.seed if row.retraining is None else 1000 * row.retraining + row.seed
    config = row.recipe.config(row.method, len(sample), seed)
    run = fit(sample, config, row.recipe.encoder(seed))
    if not (path / "run.json").is_file():  # else a row beside this one has trained it meanwhile
        run.save(path)
    return run


def untrained(row: Embedding) -> EarthTie:
    """Return a model of all modalities with the row's random weights."""
    sample = load_sample(row.recipe.n, row.seed)
    every = {name: np.arange(len(m)) for name, m in sample.items()}
    config = row.recipe.config("melt", len(sample), row.seed)
    return new_run(list(sample.values()), every, config, row.recipe.encoder(row.seed)).model


def joined(row: Embedding, lonlat: Array, folder: str | Path) -> tuple[NDArray[Any], float]:
    """Join three encoders by the components of places over land that have no label."""
    runs = [trained(member, folder) for member in members(row)]
    land = embedded.sample_land(UNLABELLED, stream("places of an ensemble", row.seed))
    if row.setting == "inductive":
        land = land[~in_report_half(land)]
    model = JoinedEncoders.fit([run.model.encoder for run in runs], land, row.seed)
    seconds = sum(float(run.history["seconds"].iloc[-1]) for run in runs)
    return model.embed(lonlat), seconds


def members(row: Embedding) -> list[Embedding]:
    """Return the rows that are joined: single modalities, or three trainings of one kind."""
    one = replace(row, kind=TRAINED)
    if row.kind == "ensemble":
        return [replace(one, modalities=(name,)) for name in row.modalities]
    return [replace(one, retraining=k) for k in (None, 1, 2)]


def density(lonlat: Array) -> Array:
    """Describe places by what the positions of the training names give away: (N, 4).

    The logarithm of the distance to the 1st, 10th, 100th and 1000th nearest name.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(thinned_names()[["lon", "lat"]].to_numpy()))
    distance, _ = tree.query(unit_vectors(lonlat), k=[1, 10, 100, 1000])
    return np.log(distance + 1e-4)


def smooth_features(lonlat: Array, n_degrees: int, seed: int) -> Array:
    """Return random waves (N, n_degrees ** 2), on average as smooth as the harmonics of a skip.

    Cosines of random linear maps of the unit vectors (Rahimi and Recht 2007), of unit variance.
    A wave whose vector has length k has a mean squared gradient of 2 k^2 / 3 on the sphere, a
    harmonic of degree l has l (l + 1); averaged, over L degrees, both are (L^2 - 1) / 2.
    """
    rng = stream("smooth features", seed)
    spread = np.sqrt(n_degrees**2 - 1) / 2
    vectors = rng.normal(0.0, spread, (3, n_degrees**2))
    phases = rng.uniform(0.0, 2 * np.pi, n_degrees**2)
    return np.sqrt(2) * np.cos(unit_vectors(lonlat) @ vectors + phases)


def reference(row: Embedding, lonlat: Array) -> NDArray[np.float32]:
    """Join the untrained encoder with the modalities' frozen features at the places themselves.

    What tying them could teach, as far as these features go; of text the nearest name's.
    """
    parts = [frozen_features(name, lonlat, row.seed) for name in row.modalities]
    features = np.concatenate(parts, axis=1)
    rng = stream("controls of a reference", row.seed)
    if row.kind.endswith("shuffled"):
        features = rng.permutation(features)
    if row.kind.endswith("noise"):
        features = rng.standard_normal(features.shape, dtype=np.float32)
    return np.concatenate([row.recipe.encoder(row.seed).embed(lonlat), features], axis=1)


def frozen_features(name: str, lonlat: Array, seed: int) -> NDArray[np.float32]:
    """Return the frozen features of a modality at any place: of the nearest name for text."""
    if name != "text":
        return encode(_filters(name, seed), _patches(name, lonlat))
    row, _ = nearest_name(lonlat)
    return encode(CharacterNGrams(), thinned_names()["name"].iloc[row].tolist())


def observations(lonlat: Array, seed: int) -> NDArray[np.float32]:
    """Return random convolutional features of the images at the places themselves: (N, 512).

    MOSAIKS (Rolf et al. 2021, https://doi.org/10.1038/s41467-021-24638-z), with the filters of
    other places.
    """
    return np.concatenate([frozen_features(n, lonlat, seed) for n in PATCH_PIXELS], axis=1)


def _patches(name: str, lonlat: Array) -> NDArray[np.uint8]:
    return embedded.raster(name).patches(lonlat, PATCH_PIXELS[name])


@functools.lru_cache(maxsize=4)
def _filters(name: str, seed: int) -> RandomConvolutions:
    land = embedded.sample_land(UNLABELLED, stream(f"places of the filters of {name}", seed))
    return RandomConvolutions.fit(_patches(name, land[hold_out(land, 0.5)[1]]), seed=seed)
