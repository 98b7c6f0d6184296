"""Probes: how well a simple model predicts a task from frozen embeddings."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .coords import block_ids
from .estimators import PROBES, fit_probes, penalty_of
from .protocol import CELL_KM, SPLITS, Split
from .streams import stream
from .tasks import Task

if TYPE_CHECKING:
    import pandas as pd

SCORED = 0.25  # part of the places, or of the blocks


def draw_split(lonlat: ArrayLike, split: str, seed: int, block_km: float = CELL_KM) -> Split:
    """Draw which places are scored, for places of your own; the book's tables have fixed halves.

    Parameters
    ----------
    lonlat : array, shape (N, 2), degrees
    split : {"block", "random"}
        "random" scores a quarter of the places. "block" scores all places in a quarter of the
        equal-area blocks (Roberts et al. 2017, https://doi.org/10.1111/ecog.02881); no block has
        places in both parts.
    seed : int
    block_km : float
        Side of a block.

    Returns
    -------
    Split
        Its method ``labels`` draws labelled rows from the others.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {SPLITS}")
    blocks = block_ids(lonlat, block_km)
    rng = stream("split", seed)
    if split == "random":
        scored, groups = rng.random(len(blocks)) < SCORED, np.arange(len(blocks))
    else:
        every = np.unique(blocks)
        chosen = rng.permutation(every)[: max(1, round(SCORED * len(every)))]
        scored, groups = np.isin(blocks, chosen), blocks
    return Split(np.flatnonzero(~scored), np.flatnonzero(scored), groups)


def probe(
    model: Any,
    task: Task,
    n_labels: int = 729,
    split: str = "block",
    probe: str = "linear",
    seeds: int = 5,
    name: str | None = None,
) -> "pd.DataFrame":
    """Score an embedding on a task by a simple model on top of it.

    Every embedding is standardised on its training part and gets a penalty of its own, chosen by
    cross-validation there: in blocks where the test is in blocks.

    Parameters
    ----------
    model : EarthTie, LocationEncoder, an encoding, or array (N, D)
        What to score; an array holds the embeddings of ``task.lonlat``, row by row.
    task : Task
    n_labels : int
    split : {"random", "block"}
    probe : {"linear", "ridge", "logistic", "neighbours", "MLP", "trees"}
        "linear" is ridge for a regression and multinomial logistic regression for a
        classification; "neighbours" averages or lets vote the 5 nearest in the embedding; "MLP"
        has one hidden layer of 256 units; "trees" are boosted by histograms.
    seeds : int
        Number of draws of blocks and labels.
    name : str, optional
        Name of the embedding in the result.

    Returns
    -------
    DataFrame
        One row a draw: embedding, task, split, probe, n_labels, seed, metric ("R2" or
        "accuracy"), score, score_seen (accuracy among classes that have labels), n_test, penalty.
        A class without labels counts as an error in ``score``.
    """
    import joblib
    import pandas as pd

    if probe not in PROBES:
        raise ValueError(f"unknown probe {probe!r}: expected one of {PROBES}")
    if probe == "logistic" and task.kind == "regression":
        raise ValueError(f"probe 'logistic' needs classes, task {task.name!r} is a regression")
    if isinstance(seeds, bool) or not isinstance(seeds, (int, np.integer)) or seeds < 1:
        raise ValueError(f"seeds must be an integer of at least 1, got {seeds!r}")
    if isinstance(n_labels, bool) or not isinstance(n_labels, (int, np.integer)) or n_labels < 10:
        raise ValueError(f"n_labels must be an integer of at least 10, got {n_labels!r}")
    if probe == "linear":
        probe = "ridge" if task.kind == "regression" else "logistic"
    z = embeddings(model, task)
    parts = [draw_split(task.lonlat, split, seed) for seed in range(seeds)]
    # One draw a core: the fits are too small to gain from threads inside them.
    drawn = joblib.Parallel(n_jobs=min(seeds, joblib.cpu_count()))(
        joblib.delayed(_draw)(z, task, part, n_labels, seed, probe)
        for seed, part in enumerate(parts)
    )
    scores = pd.DataFrame(drawn)
    setting: dict[str, Any] = {
        "embedding": name or type(model).__name__,
        "task": task.name,
        "split": split,
    }
    setting |= {"probe": probe, "n_labels": n_labels, "seed": range(seeds)}
    return scores.assign(**setting)[[*setting, *scores.columns]]


def _draw(
    z: NDArray[Any], task: Task, part: Split, n_labels: int, seed: int, probe: str
) -> dict[str, Any]:
    """Fit and score one draw."""
    rows = part.labels(n_labels, seed)
    fitted = fit_probes(z, {"": task}, rows, part.groups[rows], probe)[""]
    predicted = fitted.predict(z[part.scored])
    row = score(predicted, task.target[part.scored], task.target[rows], task.kind)
    return {**row, "n_test": len(part.scored), "penalty": penalty_of(fitted)}


def embeddings(model: Any, task: Task) -> NDArray[Any]:
    """Return the embedding (N, D) of a task's places by a model, an encoding or a given array."""
    if hasattr(model, "embed"):
        return model.embed(task.lonlat)
    z = np.asarray(model(task.lonlat) if callable(model) else model)
    if z.ndim != 2 or len(z) != len(task):
        raise ValueError(f"embeddings must have shape ({len(task)}, D), got {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("embeddings must be finite")
    return z


def fit_probe(model: Any, task: Task, rows: ArrayLike) -> Callable[[ArrayLike], NDArray[Any]]:
    """Fit the linear probe on some rows of a task; returns a function of places, for maps.

    The penalty is chosen by cross-validation in blocks.
    """
    chosen = np.asarray(rows)
    if not callable(model):
        raise ValueError("fit_probe needs a model or an encoding, which can embed new places")
    if not chosen.size or not np.isin(chosen, np.arange(len(task))).all():
        raise ValueError(f"rows must be numbers from 0 to {len(task) - 1}, got {rows!r}")
    embed = model.embed if hasattr(model, "embed") else model
    some = task.at(chosen)
    groups = block_ids(some.lonlat, CELL_KM)
    every = np.arange(len(some))
    fitted = fit_probes(embed(some.lonlat), {"": some}, every, groups, "linear")[""]
    return lambda lonlat: fitted.predict(embed(lonlat))


def score(
    predicted: NDArray[Any], truth: NDArray[Any], labels: NDArray[Any], kind: str
) -> dict[str, Any]:
    """Return R2, or the accuracy and that among the classes that occur in ``labels``."""
    from sklearn.metrics import r2_score

    if kind == "regression":
        return {"metric": "R2", "score": r2_score(truth, predicted), "score_seen": np.nan}
    right, seen = predicted == truth, np.isin(truth, labels)
    among = float(right[seen].mean()) if seen.any() else np.nan
    return {"metric": "accuracy", "score": float(right.mean()), "score_seen": among}


def summarise(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Summarise scores over draws: mean and a 95 % t interval of the mean, a row a group.

    The interval covers draws of labels and blocks. As draws share places and blocks it is rather
    too narrow (Nadeau and Bengio 2003, https://doi.org/10.1023/A:1024068626366). Where the scores
    come from one trained model, variation over retraining is not in it.
    """
    from scipy import stats

    keys = ["task", "split", "probe", "n_labels", "metric", "embedding"]
    table = scores.groupby(keys, sort=False)["score"].agg(["mean", "sem", "count"]).reset_index()
    half = table["sem"] * stats.t.ppf(0.975, np.maximum(table["count"] - 1, 1))
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    return table.drop(columns="sem").rename(columns={"count": "draws"})
