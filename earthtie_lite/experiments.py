"""The runs behind the book's tables: what is trained and scored, row by row, resumable.

``python -m earthtie_lite.experiments development`` or ``report`` (that is ``make results``).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .config import TrainConfig
from .encodings import SphericalHarmonics, UnitVectors
from .inference import cell_sums
from .modalities import load_sample
from .models import LocationEncoder
from .peers import load_geoclip
from .protocol import BUDGETS, Grid, in_report_half, splits
from .ridge import fit_ridge
from .storage import write_atomic
from .streams import torch_seed
from .tasks import Task, load_task
from .train import fit

if TYPE_CHECKING:
    import pandas as pd

GEOCLIP = "build/peers/geoclip/model/weights/location_encoder_weights.pth"  # by `make peers`
SCHEMA = 1  # of the rows; raise it when the meaning of a column changes
N_PLACES = 130_000  # labelled places: about half of them may have one of 59,049 labels


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained: sizes, data and settings. ``pairs`` are those seen, in all.

    Parameters
    ----------
    name : str
    n : int
        Places a modality.
    pairs : int
        Pairs seen by every variant alike, of one modality or of several together.
    """

    name: str
    n: int = 100_000
    pairs: int = 1_350_000
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
        """Return settings with which training sees ``pairs`` pairs, up to a part of an epoch.

        An epoch of MELT passes over all modalities, one of SALT over the active one.
        """
        an_epoch = self.n * (n_modalities if method == "melt" else 1)
        return TrainConfig(
            method=method,
            epochs=max(1, round(self.pairs / an_epoch)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            val_fraction=0.0,  # when to stop was chosen on the development half
            seed=seed,
        )


@dataclass(frozen=True)
class Experiment:
    """One embedding to score: a fixed encoding, an untrained encoder or a trained one.

    Parameters
    ----------
    embedding : str
        Name in the tables: "harmonics", "untrained" or "trained".
    recipe : Recipe
    seed : int
        Of the weights, the training and the labels.
    method : {"", "melt", "salt"}
    modalities : tuple of str
    setting : {"transductive", "inductive"}
        Inductive: no pair lies in the report half or within a patch of it.
    """

    embedding: str
    recipe: Recipe
    seed: int
    method: str = ""
    modalities: tuple[str, ...] = ()
    setting: str = "transductive"

    @property
    def key(self) -> str:
        """Hash of all settings: names the files of this experiment."""
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def embed(experiment: Experiment, lonlat: NDArray[np.float64]) -> tuple[NDArray[Any], float]:
    """Make the embedding of an experiment at places (N, 2): train, where it is a trained one.

    Returns
    -------
    z : array, shape (N, D)
    seconds : float
        Of training; 0 where there is none.
    """
    recipe = experiment.recipe
    if experiment.embedding == "harmonics":
        return SphericalHarmonics(recipe.n_degrees)(lonlat), 0.0
    if experiment.embedding == "coordinates":
        return UnitVectors()(lonlat), 0.0
    if experiment.embedding == "GeoCLIP":
        return load_geoclip(GEOCLIP).embed(lonlat), 0.0
    encoder = recipe.encoder(experiment.seed)
    if experiment.embedding == "untrained":
        return encoder.embed(lonlat), 0.0
    exclude = in_report_half if experiment.setting == "inductive" else None
    sample = load_sample(recipe.n, experiment.seed, experiment.modalities, exclude)
    config = recipe.config(experiment.method, len(sample), experiment.seed)
    run = fit(sample, config, encoder)
    return run.model.embed(lonlat), float(run.history["seconds"].iloc[-1])


def labelled(n: int = N_PLACES, paper: Mapping[str, str | Path] | None = None) -> dict[str, Task]:
    """Return the tasks on places that have a label in every one of them.

    Parameters
    ----------
    n : int
        Places to draw.
    paper : mapping, optional
        Files of the labels that are not in the repository: "population" (GPWv4, a GeoTIFF) and
        "biome" (RESOLVE). The tasks are named "population (GPWv4)" and "biome".
    """
    tasks = {name: load_task(name, n) for name in ("elevation", "population", "climate", "country")}
    asked = {"population": "population (GPWv4)", "biome": "biome"}
    for name, path in (paper or {}).items():
        tasks[asked[name]] = load_task(name, n, source="paper", path=path)
    places = tasks["elevation"].lonlat
    number = {tuple(place): row for row, place in enumerate(places)}
    rows = np.arange(len(places))
    for task in tasks.values():
        if len(task) < len(places):
            rows = np.intersect1d(rows, [number[tuple(place)] for place in task.lonlat])
    common = {tuple(place) for place in places[rows]}
    return {
        name: task.at(np.array([tuple(place) in common for place in task.lonlat]))
        for name, task in tasks.items()
    }


def score(
    experiment: Experiment,
    tasks: Mapping[str, Task],
    stage: str,
    settings: Mapping[str, tuple[int, ...]] | None = None,
) -> "pd.DataFrame":
    """Score an experiment: sums by cell of every task, split and label budget.

    Parameters
    ----------
    experiment : Experiment
    tasks : mapping of str to Task
        With the same places.
    stage : {"development", "report"}
    settings : mapping of str to tuple of int, optional
        Label budgets of each split; by default all of them in blocks, 729 at random.

    Returns
    -------
    DataFrame
        Columns task, split, n_labels, penalty, seconds (of training) and those of
        :func:`~earthtie_lite.inference.cell_sums`.
    """
    import pandas as pd

    places = next(iter(tasks.values())).lonlat
    z, seconds = embed(experiment, places)
    cells = Grid().cells(places)
    tables = []
    for split, budgets in (settings or {"block": BUDGETS, "random": (729,)}).items():
        for part in splits(places, stage, split):
            for n_labels in (n for n in budgets if n <= len(part.pool)):
                rows = part.labels(n_labels, experiment.seed)
                probes = fit_ridge(z, tasks, rows, part.groups[rows])
                predicted = probes.predict(z[part.scored])
                for name, task in tasks.items():
                    truth, seen = task.target[part.scored], task.target[rows]
                    sums = cell_sums(predicted[name], truth, cells[part.scored], seen)
                    where: dict[str, Any] = {"task": name, "split": split, "n_labels": n_labels}
                    where["penalty"] = probes.penalties[name]
                    tables.append(sums.assign(**where, seconds=seconds))
    return pd.concat(tables, ignore_index=True)


def provenance() -> dict[str, str]:
    """Return the date, the hardware and the versions that a run is made with."""
    import datetime
    import importlib.metadata
    import platform

    import torch

    cuda = torch.cuda.is_available()
    versions = {
        name: importlib.metadata.version(name)
        for name in ("earthtie-lite", "torch", "numpy", "scikit-learn", "sphericart")
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name() if cuda else platform.machine() + " CPU",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **versions,
    }


def run(
    experiment: Experiment, tasks: Mapping[str, Task], stage: str, folder: str | Path
) -> "pd.DataFrame":
    """Score an experiment, or read its rows where they were scored before.

    The rows are written in one piece, so a run that is killed leaves nothing half done and is
    the only one to be repeated.
    """
    import io

    import pandas as pd

    path = Path(folder) / f"{stage}-{experiment.key}.parquet"
    if path.is_file():
        return pd.read_parquet(path)
    table = score(experiment, tasks, stage)
    about: dict[str, Any] = {"schema": SCHEMA, "stage": stage, "embedding": experiment.embedding}
    about |= {"method": experiment.method, "modalities": "+".join(experiment.modalities)}
    about |= {"setting": experiment.setting, "seed": experiment.seed}
    about |= {"recipe": json.dumps(asdict(experiment.recipe)), **provenance()}
    table = table.assign(**about)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())
    return table
