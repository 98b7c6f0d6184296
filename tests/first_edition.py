"""How the fixtures in ``tests/first_edition`` were made, and the data that they need.

The main function runs with the first edition alone (version 0.1.0, commit 08f09ba)::

    OMP_NUM_THREADS=1 python tests/first_edition.py

It computes the values with the functions of ``test_contract.py``, whose adapters must then name
the functions of the first edition.
"""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import earthtie_lite as et

FOLDER = Path(__file__).with_suffix("")
PAPER_DATA = Path("/work/shared/data")
STAGES = ("development", "report", "dynamics", "retrieval", "bottleneck")
OPTIONS = [(d, n) for d in ("both", "to_location", "to_modality") for n in ("cross", "all")]
COLUMNS = ["step", "epoch", "pairs", "loss", "val_loss", "logit_scale", "grad_norm"]
MODELS = ("melt3", "melt", "salt", "satellite")
RUNS = ("melt", "salt", "float64", "tables", "tie_skip")
SAVED = ("earthtie", "joined")
PROBES = ("ridge", "neighbours", "linear", "logistic")
CONTRACT = """load_sample Modality Modality.from_frame LocationEncoder LocationEncoder.basis
LocationEncoder.embed LocationEncoder.from_spec SphericalHarmonics SphericalHarmonics.__call__
TrainConfig TrainConfig.replace fit load Run Run.save EarthTie EarthTie.embed
EarthTie.embed_modality EarthTie.similarity EarthTie.observe EarthTie.locate nt_xent load_task Task
probe summarise load_pretrained list_pretrained Embedder Embedder.fit Embedder.transform
embed_table embed_file embed_grid to_xarray nearest check_places process_group maps.world
maps.points_map maps.grid maps.prediction_map maps.loss_curves maps.draw_curves
maps.probe_bars"""
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


def encoder(seed=0, degrees=6, width=48, out_dim=32, dropout=0.0, skip=3, tie_skip=False):
    torch.manual_seed(seed)
    return et.LocationEncoder(
        et.SphericalHarmonics(degrees),
        width=width,
        depth=2,
        out_dim=out_dim,
        dropout=dropout,
        skip=skip,
        omega=10.0,
        tie_skip=tie_skip,
    )


def small(seed=0, dropout=0.2, **settings):
    return encoder(seed, 4, 16, 12, dropout, 2, **settings)


def settings(method, **changes):
    config = et.TrainConfig(
        method=method,
        epochs=1,
        batch_size=98,
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="cosine",
        direction="both",
        negatives="cross",
        val_fraction=0.1,
        val_batch_size=8,
        patience=None,
        seed=3,
        precision="float32",
        chunk_size=None,
        device="cpu",
        save_every=1,
    )
    return config.replace(**changes)


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


class Stopped(Exception):
    """Raised by the callback that stops a run."""


def stop(row):
    if row["epoch"] == 1:
        raise Stopped


def save_runs(contract):
    """Save every run and model; return the arrays and histories to compare with."""
    arrays, ends, runs = {}, {}, FOLDER / "runs"
    for name, config in STOPPED.items():
        start = small().double() if name == "float64" else small()
        try:
            et.fit(pair(), config, start, save_to=runs / name, callback=stop)
        except Stopped:
            end = et.fit(pair(), config, resume_from=runs / name)
        whole = et.fit(pair(), config, start)
        state = contract.state_of(end)
        assert all(t.equal(contract.state_of(whole)[k]) for k, t in state.items())
        arrays |= {f"end {name} {k}": t.numpy() for k, t in state.items()}
        ends[name] = end.history[COLUMNS].to_dict("list")

    raw, lonlat = raw_tables(), sphere(120, 8)
    frame = raw["soil"].assign(lon=lonlat[:, 0], lat=lonlat[:, 1], name=raw["names"])
    images = et.RandomConvolutions.fit(raw["images"], n_filters=4)
    ngrams = et.CharacterNGrams(16)
    tables = [
        et.Modality.from_frame(frame, "soil", "lon", "lat", ["ph"], categories=["kind"]),
        et.Modality.from_frame(frame, "names", "lon", "lat", text="name", featuriser=ngrams),
        et.Modality("images", lonlat, images(raw["images"]), images),
    ]
    brief = settings("melt", epochs=2, batch_size=48, val_fraction=0.0)
    et.fit(tables, brief, small(1), save_to=runs / "tables")
    et.fit(pair(), brief, small(2, tie_skip=True), save_to=runs / "tie_skip")
    own = brief.replace(scales="own")
    et.fit(pair(), own, small(3), save_to=runs / "own_scales")
    et.load(runs / "tables").model.save_pretrained(runs / "earthtie")
    encoders = [et.load(runs / name).model.encoder for name in ("melt", "salt")]
    joined = et.JoinedEncoders.fit(encoders, sphere(200, 11), seed=0)
    joined.save_pretrained(runs / "joined")
    for name in (*RUNS, *SAVED, "own_scales"):
        model = et.load_pretrained(runs / name)
        arrays[f"saved {name}"] = model.embed(sphere(20, 9))
    for kind, values in raw.items():
        model = et.load(runs / "tables").model
        arrays[f"encoded {kind}"] = model.embed_modality(kind, values[:9])
    return arrays, ends


def main():
    import test_contract as contract

    assert et.__version__ == "0.1.0"
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    arrays, ends = save_runs(contract)
    arrays |= {f"embed {name}": contract.embeddings(name) for name in MODELS}
    arrays |= {f"tied {name}": contract.tied(name) for name in ("text", "satellite", "lights")}
    numbers = {
        group: {case: compute(*case.split()) for case in cases}
        for group, (compute, cases, _) in contract.NUMBERS.items()
    }
    numbers |= {
        "ends": ends,
        "covered": {stage: contract.covered(stage) for stage in ("dynamics", "retrieval")},
        "signatures": {name: contract.signature(name) for name in CONTRACT.split()},
        "commands": contract.commands(),
        "spec": encoder(skip=3, tie_skip=True).spec,
    }
    for stage in ("development", "report", "bottleneck"):
        n = 60_000 if stage == "development" else contract.internal("N_PLACES")
        tasks = contract.internal("labelled")(n, paper_files(PAPER_DATA))
        numbers["covered"][stage] = contract.covered(stage, tasks)
    np.savez_compressed(FOLDER / "arrays.npz", **arrays)
    (FOLDER / "numbers.json").write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
