"""Compute the embeddings of the book's tables; every encoder is trained once and stored."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthtie_lite import sample as embedded
from earthtie_lite.coords import Array, hold_out, stream, unit_vectors
from earthtie_lite.encoders import JoinedEncoders
from earthtie_lite.encodings import SphericalHarmonics, UnitVectors
from earthtie_lite.features import CharacterNGrams, RandomConvolutions, encode
from earthtie_lite.files import cached, sha256
from earthtie_lite.modalities import ALL, NAMES, PATCH_PIXELS, Modality, load_sample, thinned_names
from earthtie_lite.model import EarthTie
from earthtie_lite.probes import Interpolation
from earthtie_lite.results.peers import density, load_geoclip, smooth_features
from earthtie_lite.results.protocol import in_report_half
from earthtie_lite.results.satclip import load_satclip
from earthtie_lite.results.scoring import nearest_name
from earthtie_lite.runs import Run, holds_run, load
from earthtie_lite.train import fit, new_run

from .pairing import load_arranged
from .rows import JOINED, TRAINED, Embedding, filled

REVISIONS = {"ensemble": 2}  # raise when an embedding is computed differently; 2: rotated
RETRIEVED, NEAREST = 32, 5  # features of a modality at most, and observations that are averaged
UNLABELLED = 20_000  # places on land that give an ensemble's components and filters


def embed(
    row: Embedding,
    lonlat: Array,
    folder: str | Path,
    geoclip: str | Path,
) -> tuple[NDArray[Any], float]:
    """Compute a row's embedding of places (N, 2); trained encoders are stored in a folder.

    Returns
    -------
    z : array, shape (N, D)
    seconds : float
        Time of training, 0 without training.
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
    if row.kind in JOINED:
        return joined(row, lonlat, folder)
    if row.kind == "retrieval":
        run = trained(replace(row, kind=TRAINED), folder)
        z = np.concatenate([run.model.embed(lonlat), retrieved(row, lonlat)], axis=1)
        return z, float(run.history["seconds"].iloc[-1])
    if row.kind.startswith("reference"):
        return reference(row, lonlat), seconds
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "coordinates": lambda: UnitVectors()(lonlat),
        "harmonics": lambda: SphericalHarmonics(recipe.n_degrees)(lonlat),
        "density": lambda: density(lonlat),
        "observations": lambda: observations(lonlat, row.seed),
        # Cached: minutes for 130,000 places, and the same for every seed.
        "GeoCLIP": lambda: cached(
            b"GeoCLIP" + lonlat.tobytes(), lambda: load_geoclip(geoclip).embed(lonlat)
        ),
        "GeoCLIP, harmonics": lambda: np.hstack(
            [makers["GeoCLIP"](), SphericalHarmonics(recipe.skip)(lonlat)]
        ),
        "SatCLIP": lambda: load_satclip(row.source).embed(lonlat),
        "IDW 5": lambda: Interpolation()(lonlat),
        "IDW 50": lambda: Interpolation()(lonlat),
    }
    return makers[row.kind](), seconds


def trained(row: Embedding, folder: str | Path) -> Run:
    """Train a row's encoder, or load it if it was trained before."""
    settings = filled(asdict(row))
    for name in ("name", "joined"):  # training does not depend on these
        settings["recipe"].pop(name, None)
    name = sha256(json.dumps(settings, sort_keys=True).encode())[:16]
    path = Path(folder) / "encoders" / name
    if holds_run(path):
        return load(path)
    sample = observed(row)
    seed = row.seed if row.retraining is None else 1000 * row.retraining + row.seed
    config = row.recipe.config(row.method, len(sample), seed)
    run = fit(sample, config, row.recipe.encoder(seed), **row.recipe.variant(sample))
    if not holds_run(path):  # otherwise another process has trained it in the meantime
        run.save(path)
    return run


def observed(row: Embedding) -> dict[str, Modality]:
    """Return the modalities that a row is trained on."""
    if row.recipe.places:
        sample = load_arranged(row.recipe.places, row.recipe.n, row.seed)
        return {name: sample[name] for name in row.modalities}
    some = (row.recipe.n, row.seed, row.setting == "inductive", bool(row.recipe.text))
    return {name: _modality(name, *some) for name in row.modalities}


@functools.lru_cache(maxsize=len(ALL))
def _modality(name: str, n: int, seed: int, inductive: bool, direct: bool) -> Modality:
    """Load a modality of the sample, which the rows of a seed share."""
    exclude = in_report_half if inductive else None
    names = {"text": CharacterNGrams(direct=True)} if direct and name == "text" else None
    return load_sample(n, seed, [name], exclude, names)[name]


def untrained(row: Embedding) -> EarthTie:
    """Return an untrained model of all modalities; the row's seed gives its weights."""
    sample = load_sample(row.recipe.n, row.seed)
    every = {name: np.arange(len(m)) for name, m in sample.items()}
    config = row.recipe.config("melt", len(sample), row.seed)
    return new_run(list(sample.values()), every, config, row.recipe.encoder(row.seed)).model


def joined(row: Embedding, lonlat: Array, folder: str | Path) -> tuple[NDArray[Any], float]:
    """Join encoders by principal components computed on unlabelled places on land."""
    runs = [trained(member, folder) for member in members(row)]
    land = embedded.sample_land(UNLABELLED, stream("places of an ensemble", row.seed))
    if row.setting == "inductive":
        land = land[~in_report_half(land)]
    model = JoinedEncoders.fit([run.model.encoder for run in runs], land, row.seed)
    seconds = sum(float(run.history["seconds"].iloc[-1]) for run in runs)
    return model.embed(lonlat), seconds


def members(row: Embedding) -> list[Embedding]:
    """Return the rows that are joined: single modalities, two groups, or repeated trainings."""
    one = replace(row, kind=TRAINED)
    if row.kind == "pair":
        maps = tuple(name for name in row.modalities if name not in NAMES)
        return [replace(one, modalities=NAMES), replace(one, modalities=maps)]
    if row.kind == "ensemble":
        return [replace(one, modalities=(name,)) for name in row.modalities]
    return [replace(one, retraining=k) for k in (None, 1, 2)]


def retrieved(row: Embedding, lonlat: Array) -> NDArray[np.float32]:
    """Return features of the nearest observations of each modality (N, up to 32 a modality).

    RANGE (Dhakal et al. 2025, https://arxiv.org/abs/2502.19781) retrieves by similarity in the tied
    space; here the nearest five count. Wide features are reduced to 32 principal components.
    """
    from scipy.spatial import cKDTree
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    found = []
    for m in observed(row).values():
        features = StandardScaler().fit_transform(m.features)
        if features.shape[1] > RETRIEVED:
            features = PCA(RETRIEVED, random_state=0).fit_transform(features)
        _, nearest = cKDTree(unit_vectors(m.lonlat)).query(unit_vectors(lonlat), NEAREST)
        found.append(features[nearest].mean(axis=1))
    return np.hstack(found).astype(np.float32)


def reference(row: Embedding, lonlat: Array) -> NDArray[np.float32]:
    """Join the untrained encoder with the modalities' frozen features at the places themselves.

    It shows how much these features could add to an encoder. The text features of a place are those
    of the nearest name.
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
    """Return a modality's frozen features at places (N, D); for text, those of the nearest name."""
    if name != "text":
        return encode(_fit_filters(name, seed), _cut_patches(name, lonlat))
    row, _ = nearest_name(lonlat)
    return encode(CharacterNGrams(), thinned_names()["name"].iloc[row].tolist())


def observations(lonlat: Array, seed: int) -> NDArray[np.float32]:
    """Return random convolutional features of the images at the places themselves: (N, 512).

    This is MOSAIKS (Rolf et al. 2021, https://doi.org/10.1038/s41467-021-24638-z) with filters cut
    at other places.
    """
    return np.concatenate([frozen_features(n, lonlat, seed) for n in PATCH_PIXELS], axis=1)


def _cut_patches(name: str, lonlat: Array) -> NDArray[np.uint8]:
    """Cut the patches of a modality around places."""
    return embedded.raster(name).patches(lonlat, PATCH_PIXELS[name])


@functools.lru_cache(maxsize=4)
def _fit_filters(name: str, seed: int) -> RandomConvolutions:
    """Fit the filters of a modality on training blocks of random places on land."""
    land = embedded.sample_land(UNLABELLED, stream(f"places of the filters of {name}", seed))
    return RandomConvolutions.fit(_cut_patches(name, land[hold_out(land, 0.5)[1]]), seed=seed)
