"""Data and settings of the fixtures in ``tests/first_edition``, which version 0.1.0 wrote.

The main function that wrote them stood in this file in the commit that added it.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import earthtie_lite as et

FOLDER = Path(__file__).with_suffix("")
STAGES = ("development", "report", "dynamics", "retrieval", "bottleneck")
OPTIONS = [(d, n) for d in ("both", "to_location", "to_modality") for n in ("cross", "all")]
COLUMNS = ["step", "epoch", "pairs", "loss", "val_loss", "logit_scale", "grad_norm"]
MODELS = ("melt3", "melt", "salt", "satellite")
RUNS = ("melt", "salt", "float64", "tables", "tie_skip")
SAVED = ("earthtie", "joined")
PROBES = ("ridge", "neighbours", "linear", "logistic")
ALL, SPLITS = "MELT satellite+lights+text", ("block", "random")
SKIPS = ["skip 3", "skip 3, inside training"]
CELLS = {  # stage, and what is picked of its sums
    "intervals": ("report", {"task": ["country", "elevation"], "embedding": [ALL, "text"]}),
    "grid": ("report", {"task": "biome", "grid": "2000 km", "embedding": [ALL, "harmonics"]}),
    "neighbours": ("report", {"task": "biome", "probe": "neighbours", "embedding": [ALL]}),
    "random": ("report", {"task": "country", "split": "random", "embedding": ["harmonics"]}),
    "inductive": ("report", {"task": "country", "setting": "inductive"}),
    "paper": ("report", {"task": "climate", "recipe": "paper", "embedding": [ALL]}),
    "paired": ("report", {"task": ["country", "population (GPWv4)"]}),
    "labels": ("report", {"task": "country", "n_labels": None}),
    "skips": ("bottleneck", {"task": "elevation", "recipe": SKIPS, "embedding": ALL}),
    "scores": ("development", {"task": "climate", "n_labels": [729, 6561]}),
}


def encoder(dropout=0.0):
    torch.manual_seed(0)
    return et.LocationEncoder(et.SphericalHarmonics(6), 48, 2, 32, dropout, skip=3, omega=10.0)


SETTINGS = {"epochs": 1, "batch_size": 98, "learning_rate": 1e-3, "weight_decay": 0.01}
SETTINGS |= {"schedule": "cosine", "direction": "both", "negatives": "cross", "seed": 3}
SETTINGS |= {"val_fraction": 0.1, "val_batch_size": 8, "patience": None, "chunk_size": None}
SETTINGS |= {"precision": "float32", "device": "cpu", "save_every": 1}


def settings(method, **changes):
    return et.TrainConfig(method, **SETTINGS | changes)


STOPPED = {  # runs of four epochs that were stopped after the second
    "melt": settings("melt", epochs=4, batch_size=48),
    "salt": settings("salt", epochs=4, batch_size=48),
    "float64": settings("melt", epochs=4, batch_size=48, direction="to_location", negatives="all"),
}


def sphere(n, seed):
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    return np.stack([rng.uniform(-180, 180, n), lat], axis=1)


def places():
    edge = [[0, 90], [0, -90], [123, 90], [180, 10], [-180, 10], [180, -65.5], [-180, -65.5]]
    return np.concatenate([edge, sphere(993, seed=1)])


def synthetic(name, seed, n=240, width=5):
    """Draw a modality whose features depend smoothly on the place."""
    rng, lonlat = np.random.default_rng(seed), sphere(n, seed + 100)
    angles = np.radians(lonlat) @ rng.normal(size=(2, width))
    return et.Modality(name, lonlat, np.sin(angles) + 0.1 * rng.normal(size=(n, width)))


def pair():
    return [synthetic("soil", 1), synthetic("river", 2, width=4)]


def raw_tables(n=120):
    """Draw raw inputs: numbers with categories, texts and images."""
    rng = np.random.default_rng(7)
    soil = {
        "ph": rng.uniform(4, 9, n),
        "kind": np.array(["clay", "sand", "silt"])[np.arange(n) % 3],
    }
    names = [f"town {a}{b}" for a, b in rng.integers(10, 99, (n, 2))]
    images = rng.integers(0, 256, (n, 2, 6, 6), dtype=np.uint8)
    return {"soil": pd.DataFrame(soil), "names": names, "images": images}


@functools.cache
def embedded_sample():
    return et.load_sample(n=400, seed=0, modalities=("satellite", "lights", "text"), exclude=None)


def paper_files(folder):
    """Return the files with the paper's labels of population and biomes."""
    found = {"population": "gpw/*.tif", "biome": "ecoregions/*.shp"}
    return {name: next(folder.glob(pattern)) for name, pattern in found.items()}
