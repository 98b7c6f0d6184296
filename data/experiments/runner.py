"""Runner of the book's tables: train and score every row once and store the result.

``make results`` calls ``python -m data.experiments.runner``; see its ``--help``.
"""

import argparse
import functools
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earthtie_lite.files import sha256, write_atomic, write_manifest
from earthtie_lite.results.peers import GEOCLIP_FILE
from earthtie_lite.results.retrieval import distances, tie, unseen
from earthtie_lite.results.scoring import (
    GROWTH_TASKS,
    N_PLACES,
    PAPER_TASKS,
    SAMPLE_TASKS,
    intrinsic_dimension,
    labelled,
    score,
)
from earthtie_lite.results.tables import SCHEMA, STAGES, collect, read_runs, write_parquet
from earthtie_lite.tasks import Task, load_task

from .embeddings import REVISIONS, embed, trained, untrained
from .plans import MANY, SEEDS, evaluations, rows_of, table_names
from .rows import TRAINED, Embedding, filled

if TYPE_CHECKING:
    import pandas as pd

QUERIES = 1_000  # observations per modality used as queries
# Stages whose rows are scored, and the half of the land that they are scored on.
SCORED = dict.fromkeys(("development", "choices"), "development")
SCORED |= dict.fromkeys(("report", "bottleneck", "growth"), "report")
SAVE_EVERY = 20 * 60  # seconds: finished rows reach the tables at least as often
GEOCLIP = Path("build", "peers", "geoclip") / GEOCLIP_FILE  # where make peers puts it


def provenance() -> dict[str, str]:
    """Return the date, the hardware and the versions for a row that is made now."""
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
    """Return a hash of a row's settings, its evaluations and its labels.

    Empty settings are left out, so that adding a setting changes no key. Numbers are rounded to six
    decimals, so the key is the same on processors that round the last bit differently.
    """
    how = [filled(asdict(how)) for how in evaluations(row, stage)] if tasks else []
    made = [SCHEMA, stage, filled(asdict(row)), how]
    if row.kind in REVISIONS:
        made.append(REVISIONS[row.kind])
    data = json.dumps(made, sort_keys=True).encode()
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
    row: Embedding,
    tasks: Mapping[str, Task],
    stage: str,
    folder: str | Path,
    geoclip: str | Path,
) -> "pd.DataFrame":
    """Score one row of the table, or read its scores if they exist.

    Files are written atomically, so a killed run leaves no partial file and repeats only the row
    that it was computing.

    Returns
    -------
    DataFrame
        From :func:`~earthtie_lite.results.scoring.score`; its ``attrs`` say how it was made.
    """
    import pandas as pd

    name = key(row, stage, tasks)
    path = Path(folder) / stage / f"{name}.parquet"
    if path.is_file():
        return pd.read_parquet(path)
    z, seconds = embed(row, next(iter(tasks.values())).lonlat, folder, geoclip)
    scored = score(z, tasks, row.seed, SCORED[stage], evaluations(row, stage))
    scored.attrs.update(about(row, stage, seconds), key=name)
    if stage in MANY:
        scored.attrs["dimension"] = round(intrinsic_dimension(z), 2)
    write_parquet(path, scored)
    return scored


def trace(row: Embedding, stage: str, folder: str | Path) -> "pd.DataFrame":
    """Return the history of a row's training, one row per step; train the row first if needed."""
    history = trained(row, folder).history
    steps = history[["step", "epoch", "pairs", "modality", "loss", "logit_scale", "grad_norm"]]
    seconds = float(history["seconds"].iloc[-1])
    steps.attrs.update(about(row, stage, seconds), key=key(row, stage))
    return steps


def find(
    row: Embedding, stage: str, folder: str | Path, places_only: bool = False
) -> "pd.DataFrame":
    """Return the retrieval distances of a row's model, one row per query."""
    if row.kind == TRAINED:
        run = trained(row, folder)
        model, seconds = run.model, float(run.history["seconds"].iloc[-1])
    else:
        model, seconds = untrained(row), 0.0
    found = distances(tie(model, unseen(QUERIES)), places_only)
    found.attrs.update(about(row, stage, seconds), key=key(row, stage))
    return found


def remember_places(tasks: Mapping[str, Task], n: int, folder: Path) -> None:
    """Store, one bit per place, which of the n places have labels in every task and are scored."""
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
    """Run a table; rows that are already finished are not repeated."""
    import joblib

    parser = argparse.ArgumentParser(description="Train and score the rows of the book's tables.")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--recipe", help="table of the stage; default: its first")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of seeds")
    parser.add_argument("--places", type=int, default=N_PLACES, help="labelled places to draw")
    parser.add_argument("--population", help="labels: GeoTIFF of GPWv4")
    parser.add_argument("--biome", help="labels: ecoregions of RESOLVE")
    parser.add_argument("--geoclip", default=GEOCLIP, help="GeoCLIP's published weights")
    parser.add_argument(
        "--satclip", help="SatCLIP's published encoder, a file or a name on the Hub"
    )
    parser.add_argument("--work", default="build/results", help="folder of finished rows")
    parser.add_argument("--folder", default="data/results", help="folder of the tables")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="rows at a time")
    asked = parser.parse_args(arguments)
    tables = table_names(asked.stage)
    recipe = asked.recipe or tables[0]
    if recipe not in tables:
        parser.error(f"the stage {asked.stage} has the tables {tables}, not {recipe!r}")
    stage, folder = asked.stage, Path(asked.folder) / asked.stage
    tasks: dict[str, Task] = {}
    settings: dict[str, Any]
    make: Callable[[Embedding], pd.DataFrame]
    if stage in SCORED:
        paper = {n: path for n in PAPER_TASKS if (path := getattr(asked, n)) is not None}
        names = GROWTH_TASKS if stage in MANY else SAMPLE_TASKS
        tasks = labelled(asked.places, paper, names)
        remember_places(tasks, asked.places, folder)
        settings = {"tasks": tasks, "stage": stage, "folder": asked.work, "geoclip": asked.geoclip}
        make, name = functools.partial(run, **settings), "sums"
    else:
        settings = {"stage": stage, "folder": asked.work}
        if stage == "retrieval":
            settings["places_only"] = recipe == "saturation"
        function, name = {"dynamics": (trace, "histories"), "retrieval": (find, "distances")}[stage]
        make = functools.partial(function, **settings)
    rows = rows_of(stage, recipe, range(asked.seeds))
    if any(row.kind == "SatCLIP" for row in rows):
        if not asked.satclip:
            parser.error("the table of SatCLIP needs --satclip, its published encoder")
        rows = [replace(row, source=asked.satclip) for row in rows]
    rows.sort(key=lambda row: row.seed)  # so that an interruption leaves whole seeds
    if (folder / "runs.csv").is_file():
        known = set(read_runs(stage, asked.folder)["key"])
        rows = [row for row in rows if key(row, stage, tasks) not in known]
    if rows:
        parallel = joblib.Parallel(asked.jobs, verbose=10, return_as="generator_unordered")
        done, saved = [], time.monotonic()
        for finished in parallel(joblib.delayed(make)(row) for row in rows):
            done.append(finished)
            if time.monotonic() - saved > SAVE_EVERY or len(done) == len(rows):
                collect(done, folder, name)
                write_manifest(folder.parent)
                rows, done, saved = rows[len(done) :], [], time.monotonic()


if __name__ == "__main__":
    main()
