"""The runs behind the book's tables: what is trained and scored, row by row, resumable.

``python -m earthtie_lite.experiments`` runs them (``make results`` calls it); see ``--help``.
"""

import argparse
import dataclasses
import functools
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .evaluate import (
    MAIN,
    N_PLACES,
    PAPER_TASKS,
    ROBUSTNESS,
    STANDARD,
    Evaluation,
    labelled,
    score,
)
from .modalities import NAMES
from .peers import GEOCLIP_FILE
from .protocol import BUDGETS
from .results import SCHEMA, STAGES, collect, read_runs, write_parquet
from .rows import SETTINGS, TRAINED, Embedding, Recipe, embed, trained
from .storage import sha256, write_atomic
from .tasks import Task, load_task

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 5
INDUCTIVE_NAMES = 45_000  # places a modality: 48,283 thinned names lie outside the report half
GEOCLIP = Path("build", "peers", "geoclip") / GEOCLIP_FILE  # where make peers puts it
# Of what was tried at equal cost: the best mean over the tasks of the paper at 729 labels, on the
# development half. So is the modality to beat: the best single one of each task.
CHOSEN = Recipe("chosen", n_degrees=20, skip=10)
BEST_SINGLE = {"country": "text", "population (GPWv4)": "lights", "population": "lights"}
BEST_SINGLE |= dict.fromkeys(("elevation", "biome", "climate"), "satellite")
# The same encoder, trained as in the paper: 50 passes over three modalities.
PAPER = dataclasses.replace(
    CHOSEN,
    name="paper",
    pairs=15_000_000,
    batch_size=2048,
    learning_rate=1e-4,
    schedule="constant",
)
MAIN_ROWS = (("melt", NAMES), *(("melt", (name,)) for name in NAMES), ("salt", NAMES))
_PAIRS = (("satellite", "lights"), ("satellite", "text"), ("lights", "text"))
PAIR_ROWS = tuple((method, pair) for method in ("melt", "salt") for pair in _PAIRS)
# What was tried on the development half, one change at a time from skip=10.
SEARCH = tuple(
    dataclasses.replace(Recipe("tried", skip=10), **change)
    for change in (
        {},
        {"skip": 0},
        {"skip": 5},
        {"out_dim": 356},
        {"out_dim": 512},
        {"n": 30_000, "pairs": 450_000},
        {"pairs": 4_500_000},
        {"n_degrees": 20},
        {"n_degrees": 20, "pairs": 4_500_000},
        {"n_degrees": 40, "omega": 3.0},
        {"omega": 30.0},
        {"batch_size": 2048},
        {"learning_rate": 3e-3},
        {"dropout": 0.0},
        {"batch_size": 2048, "learning_rate": 1e-4, "schedule": "constant"},  # as in the paper
    )
)


def table(recipe: Recipe = CHOSEN, seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the embeddings of the book's tables.

    First the rows without training, single modalities and all three, seed by seed; then the
    inductive setting; then pairs of modalities, and an encoder without a skip.
    """
    plain = ("coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained")
    bare = dataclasses.replace(recipe, skip=0)
    first = [Embedding(name, recipe) for name in plain] + [Embedding("untrained", bare)]
    first += [_encoder(recipe, *row) for row in MAIN_ROWS]
    first.append(dataclasses.replace(_encoder(recipe, "melt", NAMES), kind="ensemble"))
    fewer = dataclasses.replace(recipe, n=min(recipe.n, INDUCTIVE_NAMES))
    inductive = [
        dataclasses.replace(_encoder(fewer, *row), setting="inductive")
        for row in (("melt", NAMES), ("melt", ("satellite",)), ("salt", NAMES))
    ]
    then = [_encoder(bare, "melt", NAMES)] + [_encoder(recipe, *row) for row in PAIR_ROWS]
    return _by_seed((first, inductive, then), seeds)


def paper_table(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the rows trained as in the paper; all others are those of the chosen recipe."""
    parts = [[_encoder(PAPER, *row) for row in rows] for rows in (MAIN_ROWS, PAIR_ROWS)]
    return _by_seed(parts, seeds)


def _encoder(recipe: Recipe, method: str, modalities: tuple[str, ...]) -> Embedding:
    return Embedding(TRAINED, recipe, 0, method, modalities)


def _by_seed(parts: Iterable[list[Embedding]], seeds: Iterable[int]) -> list[Embedding]:
    """Repeat each part of a table for every seed."""
    some = list(seeds)
    return [dataclasses.replace(row, seed=s) for part in parts for s in some for row in part]


def evaluations(row: Embedding, stage: str) -> list[Evaluation]:
    """Declare how a row is scored: choices need few budgets, the report everything."""
    if stage == "development":
        return [Evaluation(budgets=(MAIN, 9 * MAIN))]
    found = list(STANDARD)
    checked = row.kind in ("harmonics", "GeoCLIP", "untrained", "coordinates", TRAINED)
    if checked and row.modalities in ((), ("satellite",), NAMES) and row.setting == SETTINGS[0]:
        found += ROBUSTNESS
    if row.kind == "coordinates":  # what places alone tell, with probes that can bend
        found.remove(Evaluation(probe="neighbours"))
        found += [Evaluation(budgets=BUDGETS, probe="neighbours"), Evaluation(probe="trees")]
        found += [Evaluation("random", probe="neighbours"), Evaluation("random", probe="trees")]
    return found


def search() -> list[Embedding]:
    """Declare what is tried on the development half: the plain rows, and MELT of every recipe."""
    rows = [Embedding(kind, SEARCH[0]) for kind in ("harmonics", "observations", "GeoCLIP")]
    rows += [Embedding("untrained", recipe) for recipe in SEARCH[:2]]
    rows += [Embedding(TRAINED, SEARCH[0], 0, "melt", (name,)) for name in NAMES]
    return rows + [Embedding(TRAINED, recipe, 0, "melt", NAMES) for recipe in SEARCH]


def dynamics(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the runs whose losses are shown: SALT, MELT, and one modality that never switches.

    The chosen recipe, of all seeds; then SALT and its control at constant learning rates, of the
    first three: in epochs of 20,000 pairs, and at the paper's rate in epochs of 100,000.
    """
    alone = ("satellite",)
    long = dataclasses.replace(CHOSEN, pairs=900_000, schedule="constant")
    rates = [
        dataclasses.replace(
            long, name=f"constant rate {rate:g}", n=20_000, pairs=360_000, learning_rate=rate
        )
        for rate in (1e-4, 1e-3, 3e-3, 1e-2)
    ]
    rates.append(
        dataclasses.replace(long, name="constant rate 0.0001, long epochs", learning_rate=1e-4)
    )
    rows = []
    for seed in seeds:
        rows.append(Embedding(TRAINED, CHOSEN, seed, "melt", NAMES))
        for recipe in (CHOSEN, *(rates if seed < 3 else ())):
            rows.append(Embedding(TRAINED, recipe, seed, "salt", NAMES))
            rows.append(Embedding(TRAINED, recipe, seed, "melt", alone))
    return rows


def paper_dynamics(seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the same three of the paper's training: its SALT, its MELT and the control."""
    return [row for row in paper_table(seeds) if row.modalities in (NAMES, ("satellite",))]


def provenance() -> dict[str, str]:
    """Return the date, the hardware and the versions that a row is made with."""
    import datetime
    import importlib.metadata
    import platform

    import torch

    cuda = torch.cuda.is_available()
    packages = ("earthtie-lite", "torch", "numpy", "scipy", "scikit-learn", "sphericart")
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def key(row: Embedding, stage: str, tasks: Mapping[str, Task] | None = None) -> str:
    """Return the hash of the settings of a row and of what it is scored by, labels included.

    Numbers count to six decimals, so the key is the same on processors that round the last bit
    in another way.
    """
    how = [asdict(how) for how in evaluations(row, stage)] if tasks else []
    data = json.dumps([SCHEMA, stage, asdict(row), how], sort_keys=True).encode()
    for name, task in (tasks or {}).items():
        data += name.encode()
        for numbers in (task.lonlat, task.target):
            data += np.rint(numbers * 1e6).astype(np.int64).tobytes()
    return sha256(data)[:16]


def about(row: Embedding, stage: str, seconds: float) -> dict[str, Any]:
    """Describe a row: what it is and how it was made."""
    found: dict[str, Any] = {"schema": SCHEMA, "stage": stage, "embedding": row.name}
    found |= {"method": row.method, "modalities": "+".join(row.modalities)}
    found |= {"setting": row.setting, "recipe": row.recipe.name, "seed": row.seed}
    found |= {"learning_rate": row.recipe.learning_rate, "seconds": round(seconds, 1)}
    return found | provenance() | {"settings": json.dumps(asdict(row.recipe))}


def run(
    row: Embedding, tasks: Mapping[str, Task], stage: str, folder: str | Path, geoclip: str | Path
) -> "pd.DataFrame":
    """Score one row of the table, or read its scores where they were made before.

    A file is written whole, so a run that is killed leaves nothing half done and repeats only
    the row that it was at.

    Returns
    -------
    DataFrame
        From :func:`~earthtie_lite.evaluate.score`; its ``attrs`` say how it was made.
    """
    import pandas as pd

    name = key(row, stage, tasks)
    path = Path(folder) / stage / f"{name}.parquet"
    if path.is_file():
        return pd.read_parquet(path)
    z, seconds = embed(row, next(iter(tasks.values())).lonlat, folder, geoclip)
    scored = score(z, tasks, row.seed, stage, evaluations(row, stage))
    scored.attrs.update(about(row, stage, seconds), key=name)
    write_parquet(path, scored)
    return scored


def trace(row: Embedding, stage: str, folder: str | Path) -> "pd.DataFrame":
    """Return the history of a row's training, one row a step; trains where that was not done."""
    history = trained(row, folder).history
    steps = history[["step", "epoch", "pairs", "modality", "loss", "logit_scale", "grad_norm"]]
    seconds = float(history["seconds"].iloc[-1])
    steps.attrs.update(about(row, stage, seconds), key=key(row, stage))
    return steps


def remember_places(tasks: Mapping[str, Task], n: int, folder: Path) -> None:
    """Write which of the n places are scored, one bit each: not all have a label in every task."""
    every, kept = (
        a.view(np.complex128)[:, 0]
        for a in (load_task("country", n).lonlat, next(iter(tasks.values())).lonlat)
    )
    buffer = io.BytesIO()
    np.save(buffer, np.packbits(np.isin(every, kept)))
    path = folder / "places.npy"
    if path.is_file() and path.read_bytes() != buffer.getvalue():
        raise ValueError(f"the rows in {folder} were scored at other places: choose another folder")
    write_atomic(path, buffer.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a table; rows that were finished before, here or by others, are not repeated."""
    import joblib

    parser = argparse.ArgumentParser(description="Train and score the rows of the book's tables.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--recipe", choices=("chosen", "paper", "search"), default="chosen")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--places", type=int, default=N_PLACES)
    parser.add_argument("--population", help="GeoTIFF of GPWv4")
    parser.add_argument("--biome", help="ecoregions of RESOLVE")
    parser.add_argument("--geoclip", default=GEOCLIP, help="its published weights")
    parser.add_argument("--work", default="build/results", help="folder of finished rows")
    parser.add_argument("--folder", default="data/results", help="folder of the tables")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = parser.parse_args(arguments)
    if asked.recipe == "search" and asked.stage != "development":
        parser.error("recipes are tried on the development half alone")
    stage, folder = asked.stage, Path(asked.folder) / asked.stage
    tasks: dict[str, Task] = {}
    seeds = range(asked.seeds)
    if stage == "dynamics":
        rows = (paper_dynamics if asked.recipe == "paper" else dynamics)(seeds)
        name = "histories"
        make = functools.partial(trace, stage=stage, folder=asked.work)
    else:
        paper = {n: path for n in PAPER_TASKS if (path := getattr(asked, n)) is not None}
        tasks = labelled(asked.places, paper)
        remember_places(tasks, asked.places, folder)
        declared = {"chosen": lambda: table(seeds=seeds), "paper": lambda: paper_table(seeds)}
        rows = {**declared, "search": search}[asked.recipe]()
        settings = {"tasks": tasks, "stage": stage, "folder": asked.work, "geoclip": asked.geoclip}
        make, name = functools.partial(run, **settings), "sums"
    if (folder / "runs.csv").is_file():
        known = set(read_runs(stage, asked.folder)["key"])
        rows = [row for row in rows if key(row, stage, tasks) not in known]
    if rows:
        parallel = joblib.Parallel(n_jobs=asked.jobs, verbose=10)
        collect(parallel(joblib.delayed(make)(row) for row in rows), folder, name)


if __name__ == "__main__":
    main()
