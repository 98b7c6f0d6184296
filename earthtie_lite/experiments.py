"""The runs behind the book's tables: what is trained and scored, row by row, resumable.

``python -m earthtie_lite.experiments`` runs them (``make results`` calls it); see ``--help``.
"""

import argparse
import dataclasses
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .inference import SUMS, cell_sums
from .modalities import NAMES
from .protocol import BUDGETS, Grid, Split, splits
from .ridge import fit_ridge
from .rows import TRAINED, Embedding, Recipe, embed
from .storage import sha256, write_atomic
from .tasks import Task, load_task

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1  # of the rows; raise it when the meaning of a column changes
N_PLACES = 130_000  # labelled places: half of them may have one of 59,049 labels
SEEDS = 5
MAIN = 729  # labels of the primary endpoint
PAPER_TASKS = {"population": "population (GPWv4)", "biome": "biome"}
CHOSEN = Recipe("chosen")
PAPER = Recipe("paper", 100_000, 15_000_000, 2048, 1e-4, "constant")  # 50 passes over three
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
    )
)
Probe = Callable[[NDArray[Any], Mapping[str, Task], NDArray[np.int64], NDArray[Any]], Any]


def table(recipe: Recipe = CHOSEN, seeds: Iterable[int] = range(SEEDS)) -> list[Embedding]:
    """Declare the embeddings of the book's tables, all seeds of one before the next.

    The rows without training first, then every subset of the modalities by MELT and, where
    there are several, by SALT, the ensemble, and the inductive setting of a few.
    """
    alone = [(name,) for name in NAMES]
    several = [("satellite", "lights"), ("satellite", "text"), ("lights", "text"), NAMES]
    plain = ("coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained")
    rows = [Embedding(name, recipe) for name in plain]
    rows += [Embedding(TRAINED, recipe, 0, "melt", part) for part in (*alone, *several)]
    rows += [Embedding(TRAINED, recipe, 0, "salt", part) for part in several]
    rows += [Embedding("ensemble", recipe, 0, "melt", NAMES)]
    rows += [
        Embedding(TRAINED, recipe, 0, method, part, "inductive")
        for method, part in (("melt", ("satellite",)), ("melt", NAMES), ("salt", NAMES))
    ]
    return [dataclasses.replace(row, seed=seed) for row in rows for seed in seeds]


def search() -> list[Embedding]:
    """Declare what is tried on the development half: the plain rows, and MELT of every recipe."""
    plain = ("harmonics", "GeoCLIP", "untrained")
    rows = [Embedding(kind, recipe) for kind in plain for recipe in SEARCH[:2]]
    rows += [Embedding(TRAINED, SEARCH[0], 0, "melt", (name,)) for name in NAMES]
    return rows + [Embedding(TRAINED, recipe, 0, "melt", NAMES) for recipe in SEARCH]


def labelled(n: int = N_PLACES, paper: Mapping[str, str | Path] | None = None) -> dict[str, Task]:
    """Return the tasks at the places that have a label in every one of them.

    Parameters
    ----------
    n : int
        Places to draw.
    paper : mapping, optional
        Files with labels that are not in the repository: "population" (GPWv4, a GeoTIFF) and
        "biome" (RESOLVE). The tasks are named "population (GPWv4)" and "biome"; the population of
        the gazetteer, which is circular, stays beside them.
    """
    tasks = {name: load_task(name, n) for name in ("elevation", "population", "climate", "country")}
    for name, path in (paper or {}).items():
        if name not in PAPER_TASKS:
            raise ValueError(f"unknown labels {name!r}: expected one of {list(PAPER_TASKS)}")
        tasks[PAPER_TASKS[name]] = load_task(name, n, source="paper", path=path)
    number = {tuple(place): row for row, place in enumerate(tasks["elevation"].lonlat)}
    rows = {name: [number[tuple(place)] for place in task.lonlat] for name, task in tasks.items()}
    common = set.intersection(*(set(r) for r in rows.values()))
    return {
        name: task.at(np.array([row in common for row in rows[name]]))
        for name, task in tasks.items()
    }


def score(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    seed: int,
    stage: str,
    budgets: Mapping[str, Sequence[int]] | None = None,
    probe: Probe = fit_ridge,
) -> "pd.DataFrame":
    """Score an embedding: sums by cell of every task, split and label budget.

    Parameters
    ----------
    z : array, shape (N, D)
        Embeddings of the places of the tasks.
    tasks : mapping of str to Task
        With the same places.
    seed : int
        Draws the labels, alike for every embedding.
    stage : {"development", "report"}
    budgets : mapping of str to sequence of int, optional
        Label budgets of each split; by default all in blocks, the main one at random. Budgets
        that the places do not reach are left out.
    probe : callable
        :func:`~earthtie_lite.ridge.fit_ridge`, or another with its arguments.

    Returns
    -------
    DataFrame
        Columns task, split, n_labels, penalty and those of
        :func:`~earthtie_lite.inference.cell_sums`.
    """
    import pandas as pd

    places = next(iter(tasks.values())).lonlat
    if len(z) != len(places):
        raise ValueError(f"expected embeddings of {len(places)} places, got {len(z)}")
    cells = Grid().cells(places)
    found = []
    for split, counts in (budgets or {"block": BUDGETS, "random": (MAIN,)}).items():
        for part in splits(places, stage, split):
            for n_labels in (n for n in counts if n <= len(part.pool)):
                for name, penalty, sums in _scored(z, tasks, part, n_labels, seed, cells, probe):
                    where: dict[str, Any] = {"task": name, "split": split, "n_labels": n_labels}
                    found.append(sums.assign(**where, penalty=penalty))
    return pd.concat(found, ignore_index=True)


def _scored(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    part: Split,
    n_labels: int,
    seed: int,
    cells: NDArray[np.int64],
    probe: Probe,
) -> "Iterable[tuple[str, float, pd.DataFrame]]":
    """Fit and score one draw of labels: name, penalty and sums of each task."""
    rows = part.labels(n_labels, seed)
    fitted = probe(z, tasks, rows, part.groups[rows])
    predicted = fitted.predict(z[part.scored])
    for name, task in tasks.items():
        truth, labels = task.target[part.scored], task.target[rows]
        sums = cell_sums(predicted[name], truth, cells[part.scored], labels)
        yield name, fitted.penalties[name], sums


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


def key(row: Embedding, tasks: Mapping[str, Task], stage: str) -> str:
    """Return the hash of the settings of a row and of the labels that it is scored by."""
    data = json.dumps([SCHEMA, stage, asdict(row)], sort_keys=True).encode()
    for name, task in tasks.items():
        data += name.encode() + task.lonlat.tobytes() + task.target.tobytes()
    return sha256(data)[:16]


def run(
    row: Embedding, tasks: Mapping[str, Task], stage: str, folder: str | Path, geoclip: str | Path
) -> "pd.DataFrame":
    """Score one row of the table, or read its scores where they were made before.

    A file is written whole, so a run that is killed leaves nothing half done and repeats only
    the row that it was at.
    """
    import pandas as pd

    path = Path(folder) / stage / f"{key(row, tasks, stage)}.parquet"
    if path.is_file():
        return pd.read_parquet(path)
    places = next(iter(tasks.values())).lonlat
    z, seconds = embed(row, places, folder, geoclip)
    about: dict[str, Any] = {"schema": SCHEMA, "stage": stage, "embedding": row.name}
    about |= {"modalities": "+".join(row.modalities), "method": row.method}
    about |= {"setting": row.setting, "recipe": row.recipe.name, "seed": row.seed}
    about |= {"width": z.shape[1], "seconds": seconds, "settings": json.dumps(asdict(row.recipe))}
    scored = score(z, tasks, row.seed, stage).assign(**about, **provenance())
    buffer = io.BytesIO()
    scored.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())
    return scored


def collect(scored: Iterable["pd.DataFrame"], folder: str | Path) -> None:
    """Write all rows as two tables: ``runs.csv``, one row a run, and ``sums.parquet``, by cell."""
    import pandas as pd

    everything = pd.concat(scored, ignore_index=True)
    sums = ["task", "split", "n_labels", "penalty", "cell", *SUMS]
    runs = everything.drop(columns=sums).drop_duplicates(ignore_index=True)
    runs.insert(0, "run", range(len(runs)))
    merged = everything.merge(runs, on=[c for c in runs if c != "run"])[["run", *sums]]
    for name in ("task", "split"):
        merged[name] = merged[name].astype("category")
    merged = merged.astype(dict.fromkeys(("penalty", *SUMS), "float32") | {"cell": "int32"})
    buffer = io.BytesIO()
    merged.to_parquet(buffer, index=False, compression="zstd", compression_level=19)
    write_atomic(Path(folder) / "sums.parquet", buffer.getvalue())
    write_atomic(Path(folder) / "runs.csv", runs.to_csv(index=False).encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the table; rows that were finished before are read."""
    import joblib

    parser = argparse.ArgumentParser(description="Train and score the rows of the book's tables.")
    parser.add_argument("stage", choices=("development", "report"))
    parser.add_argument("--recipe", choices=("chosen", "paper", "search"), default="chosen")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--places", type=int, default=N_PLACES)
    parser.add_argument("--population", help="GeoTIFF of GPWv4")
    parser.add_argument("--biome", help="ecoregions of RESOLVE")
    parser.add_argument("--geoclip", default="build/peers/geoclip/model/weights/" + GEOCLIP_FILE)
    parser.add_argument("--work", default="build/results", help="folder of finished rows")
    parser.add_argument("--folder", default="data/results", help="folder of the tables")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = parser.parse_args(arguments)
    paper = {n: path for n in PAPER_TASKS if (path := getattr(asked, n)) is not None}
    tasks = labelled(asked.places, paper)
    if asked.recipe == "search":
        if asked.stage == "report":
            parser.error("recipes are tried on the development half alone")
        rows = search()
    else:
        rows = table({"chosen": CHOSEN, "paper": PAPER}[asked.recipe], range(asked.seeds))
    scored = joblib.Parallel(n_jobs=asked.jobs, verbose=10)(
        joblib.delayed(run)(row, tasks, asked.stage, asked.work, asked.geoclip) for row in rows
    )
    collect(scored, Path(asked.folder) / asked.stage)


GEOCLIP_FILE = "location_encoder_weights.pth"

if __name__ == "__main__":
    main()
