"""Probes: how well a simple model predicts a task from frozen embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from .config import check_integer, check_option
from .coords import as_lonlat, block_ids, block_size, stream
from .tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

Floats = NDArray[np.float64]
Kind = Literal["linear", "ridge", "logistic", "neighbours", "MLP", "trees"]
SplitName = Literal["block", "random"]
CELL_KM = 1000.0  # side of the cells of the book's fixed halves of the land
SCORED = 0.25  # fraction of the places, or of the blocks, used for scoring
FEWEST_BLOCKS = 12  # with places, if their size is given: then three are scored in every draw
FEWEST_SCORED = 10  # places: the score of fewer is mostly chance
PENALTIES = tuple(10.0 ** np.arange(-1, 7))  # for ridge
FOLDS = 5
LOGISTIC_PENALTIES, LOGISTIC_FOLDS = tuple(10.0 ** np.arange(-1, 3)), 3  # fewer because it is slow
MLP_UNITS, MLP_DECAY, MLP_PASSES = 256, 1.0, 100


# -------------------------------------------------------------------------------------- splits


@dataclass(frozen=True, eq=False)
class Split:
    """Rows that may be labelled and rows that are scored; no row is in both.

    Attributes
    ----------
    pool : array of int
        Rows to draw labels from.
    scored : array of int
        Rows to score.
    groups : array, shape (N,)
        Group label of every row: its cell for blocked cross-validation, otherwise the row number.
    """

    pool: NDArray[np.int64]
    scored: NDArray[np.int64]
    groups: NDArray[np.int64]

    def labels(self, n: int, seed: int) -> NDArray[np.int64]:
        """Draw n rows to label; with one seed a smaller draw is a prefix of a larger one."""
        check_integer("the number of labels", n)
        if n > len(self.pool):
            raise ValueError(
                f"{n} labels were asked for, the split leaves only {len(self.pool)}: ask for fewer"
            )
        return stream("labels", seed).permutation(self.pool)[:n]


def draw_split(
    lonlat: ArrayLike, split: SplitName, seed: int, block_km: float | None = None
) -> Split:
    """Draw a random split of places; the book's tables use fixed halves of the land instead.

    Parameters
    ----------
    lonlat : array, shape (N, 2), degrees
    split : {"block", "random"}
        "random" scores a quarter of the places. "block" scores all places in a quarter of the
        equal-area blocks (Roberts et al. 2017, https://doi.org/10.1111/ecog.02881); no block has
        both scored places and places to label.
    seed : int
    block_km : float, optional
        Side of a block in km, by default :func:`~earthtie_lite.coords.block_size` of the places; a
        random split does not use it.

    Returns
    -------
    Split
        Its method ``labels`` draws labelled rows from the places that are not scored.

    Raises
    ------
    ValueError
        If fewer than 12 blocks hold places, or fewer than 10 places would be scored.
    """
    check_option("split", split, SplitName)
    places, rng = as_lonlat(lonlat), stream("split", seed)
    if split == "random":
        scored, groups = rng.random(len(places)) < SCORED, np.arange(len(places))
    else:
        size_km = block_size(places) if block_km is None else block_km
        groups = block_ids(places, size_km)
        every = np.unique(groups)
        if len(every) < FEWEST_BLOCKS:
            raise ValueError(
                f"the places lie in {len(every)} blocks of {size_km:g} km, a blocked split needs "
                f"at least {FEWEST_BLOCKS}: use smaller blocks (block_km: {block_size(places):g})"
            )
        scored = np.isin(groups, rng.permutation(every)[: round(SCORED * len(every))])
    if scored.sum() < FEWEST_SCORED:
        other = "" if split == "random" else ", or use blocks of another size (block_km)"
        raise ValueError(
            f"only {scored.sum()} of {len(places)} places would be scored (seed {seed}), "
            f"{FEWEST_SCORED} are needed: add places{other}"
        )
    return Split(np.flatnonzero(~scored), np.flatnonzero(scored), groups)


# ------------------------------------------------------------------------------ scores


def probe(
    model: Any,
    task: Task,
    n_labels: int = 729,
    split: SplitName = "block",
    probe: Kind = "linear",
    seeds: int = 5,
    name: str | None = None,
    block_km: float | None = None,
) -> "pd.DataFrame":
    """Score an embedding by how well a simple model predicts a task from it.

    The embedding is standardised on the labelled places. The penalty is chosen by cross-validation
    among them, which is blocked if the split is.

    Parameters
    ----------
    model : EarthTie, LocationEncoder, an encoding, array (N, D) or Interpolation
        What to score; an array holds the embeddings of ``task.lonlat``, row by row. An
        :class:`Interpolation` predicts by itself, without a probe.
    task : Task
    n_labels : int
        Number of labelled places, at least 10.
    split : {"random", "block"}
        As in :func:`draw_split`.
    probe : {"linear", "ridge", "logistic", "neighbours", "MLP", "trees"}
        "linear" is ridge for a regression and multinomial logistic regression for a
        classification; "neighbours" averages the 5 nearest neighbours in the embedding, or takes
        their vote; "MLP" has one hidden layer of 256 units; "trees" is gradient boosting.
    seeds : int
        Number of draws of blocks and labels.
    name : str, optional
        Name of the embedding in the result.
    block_km : float, optional
        Side of a block of the blocked split, by default 1,000 km for places of global extent and
        less for others: :func:`~earthtie_lite.coords.block_size`.

    Returns
    -------
    DataFrame
        One row per draw: embedding, task, split, block_km and n_blocks (side and number of the
        scored blocks, NaN for a random split), probe, n_labels, seed, metric ("R2" or "accuracy"),
        score, score_seen (accuracy among classes that have labels), n_test, penalty. A class
        without labels counts as an error in ``score``.

    Raises
    ------
    ValueError
        If there are too few places, blocks or places that may have labels; the message counts them.
    """
    import joblib
    import pandas as pd

    check_option("probe", probe, Kind)
    idw = isinstance(model, Interpolation)
    if idw and probe != "linear":
        raise ValueError(f"an interpolation predicts without a probe, got {probe!r}: leave it out")
    if probe == "logistic" and task.kind == "regression":
        raise ValueError(f"probe 'logistic' needs classes, task {task.name!r} is a regression")
    check_integer("seeds", seeds)
    check_integer("n_labels", n_labels, 10)
    if probe == "linear":
        probe = "ridge" if task.kind == "regression" else "logistic"
    if split == "block" and block_km is None:
        block_km = block_size(task.lonlat)
    draws = [(draw_split(task.lonlat, split, seed, block_km), seed) for seed in range(seeds)]
    z, how = embeddings(model, task), model if idw else probe
    # One process per draw: the fits are too small to gain from multithreading.
    parallel = joblib.Parallel(n_jobs=min(seeds, joblib.cpu_count()))
    score_draw = joblib.delayed(_score_draw)
    scores = pd.DataFrame(parallel(score_draw(z, task, *draw, n_labels, how) for draw in draws))
    name = name or (f"IDW (k = {model.k})" if idw else type(model).__name__)
    setting: dict[str, Any] = {"embedding": name, "task": task.name}
    setting |= {"split": split, "block_km": np.nan, "n_blocks": np.nan}
    if split == "block":
        counts = [len(np.unique(part.groups[part.scored])) for part, _ in draws]
        setting |= {"block_km": block_km, "n_blocks": counts}
    setting |= {"probe": "IDW" if idw else probe, "n_labels": n_labels, "seed": range(seeds)}
    return scores.assign(**setting)[[*setting, *scores.columns]]


def _score_draw(
    z: NDArray[Any], task: Task, split: Split, seed: int, n_labels: int, probe: Any
) -> dict[str, Any]:
    """Fit and score one draw."""
    rows = split.labels(n_labels, seed)
    fitted = fit_probes(z, {"": task}, rows, split.groups[rows], probe)[""]
    predicted = fitted.predict(z[split.scored])
    row = score(predicted, task.target[split.scored], task.target[rows], task.kind)
    return {**row, "n_test": len(split.scored), "penalty": penalty_of(fitted)}


def embeddings(model: Any, task: Task) -> NDArray[Any]:
    """Return the embedding (N, D) of a task's places from a model, an encoding or an array."""
    if hasattr(model, "embed"):
        return model.embed(task.lonlat)
    z = np.asarray(model(task.lonlat) if callable(model) else model)
    if z.ndim != 2 or len(z) != len(task):
        raise ValueError(f"embeddings must have shape ({len(task)}, D), got {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("embeddings must be finite")
    return z


def fit_probe(model: Any, task: Task, rows: ArrayLike) -> Callable[[ArrayLike], NDArray[Any]]:
    """Fit the linear probe on some rows of a task; return a function that predicts at places.

    The penalty is chosen by cross-validation in blocks that suit the extent of all places of the
    task (:func:`~earthtie_lite.coords.block_size`). An :class:`Interpolation` predicts by itself.
    """
    chosen = np.asarray(rows)
    if not callable(model):
        raise ValueError("fit_probe needs a model or an encoding, which can embed new places")
    if not chosen.size or not np.isin(chosen, np.arange(len(task))).all():
        raise ValueError(f"rows must be numbers from 0 to {len(task) - 1}, got {rows!r}")
    embed = model.embed if hasattr(model, "embed") else model
    how: Any = model if isinstance(model, Interpolation) else "linear"
    some = task.at(chosen)
    every = np.arange(len(some))
    groups = every if how is model else block_ids(some.lonlat, block_size(task.lonlat))
    fitted = fit_probes(embed(some.lonlat), {"": some}, every, groups, how)[""]
    return lambda lonlat: fitted.predict(embed(lonlat))


def score(
    predicted: NDArray[Any], truth: NDArray[Any], labels: NDArray[Any], kind: str
) -> dict[str, Any]:
    """Return R2, or the accuracy over all places and over those of classes in ``labels``."""
    from sklearn.metrics import r2_score

    if kind == "regression":
        return {"metric": "R2", "score": r2_score(truth, predicted), "score_seen": np.nan}
    right, seen = predicted == truth, np.isin(truth, labels)
    among = float(right[seen].mean()) if seen.any() else np.nan
    return {"metric": "accuracy", "score": float(right.mean()), "score_seen": among}


def summarise(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Summarise scores over draws: mean and 95 % t interval of the mean, one row per group.

    The table needs the columns of :func:`probe` that it reports, ``block_km`` only if there is one.
    The interval covers draws of labels and blocks. It is somewhat too narrow, because draws share
    places and blocks (Nadeau and Bengio 2003, https://doi.org/10.1023/A:1024068626366). It does not
    cover retraining if all scores come from one trained model.
    """
    from scipy import stats

    keys = ["task", "split", "probe", "n_labels", "metric", "embedding"]
    keys[2:2] = ["block_km"] if "block_km" in scores else []
    table = scores.groupby(keys, sort=False, dropna=False)["score"].agg(["mean", "sem", "count"])
    half = table["sem"] * stats.t.ppf(0.975, np.maximum(table["count"] - 1, 1))
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    return table.drop(columns="sem").rename(columns={"count": "draws"}).reset_index()


# ------------------------------------------------------------------------------ the probes


@dataclass(frozen=True)
class Interpolation:
    """Inverse-distance weighting of the labels: what a score needs to beat, without an embedding.

    A place gets the mean of the k nearest labels, or their vote, weighted by one over the
    great-circle distance (Shepard 1968, https://doi.org/10.1145/800186.810616); one that coincides
    with a labelled place gets its label. Pass it to :func:`probe` or :func:`fit_probe` as a model.

    Attributes
    ----------
    k : int
    """

    k: int = 5

    def __post_init__(self) -> None:
        check_integer("k", self.k)

    def __call__(self, lonlat: ArrayLike) -> Floats:
        """Encode places as latitude and longitude in radians (N, 2), as the distance takes them."""
        return np.radians(as_lonlat(lonlat)[:, ::-1])


def fit_probes(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    rows: NDArray[np.int64],
    groups: NDArray[Any],
    probe: "Kind | Interpolation" = "ridge",
    near_ties: float = 0.0,
) -> "dict[str, RidgeProbe | Pipeline]":
    """Fit one probe per task on the same labelled places; ridge probes share one factorisation.

    Embeddings are standardised on the labelled places; penalties are chosen by cross-validation
    among them.

    Parameters
    ----------
    z : array, shape (N, D)
        Embeddings of all places.
    tasks : mapping of str to Task
        All with the same N places.
    rows : array, shape (n,)
        Rows that have labels.
    groups : array, shape (n,)
        Group label of each row; a group is never in two folds of the cross-validation.
    probe : str or Interpolation
        As in :func:`probe`; an :class:`Interpolation` needs its own encoding of the places as z.
    near_ties : float
        Of a ridge probe: :func:`fit_ridge`.

    Returns
    -------
    dict of str to fitted probes
        Their method ``predict`` maps embeddings (N, D) to numbers or classes (N,).
    """
    linear = {"regression": "ridge", "classification": "logistic"}
    kinds: dict[str, Any] = {
        n: linear[t.kind] if probe == "linear" else probe for n, t in tasks.items()
    }
    by_ridge = {name: task for name, task in tasks.items() if kinds[name] == "ridge"}
    ridge = fit_ridge(z, by_ridge, rows, groups, near_ties=near_ties) if by_ridge else {}
    fitted: dict[str, RidgeProbe | Pipeline] = dict(ridge)
    for name, task in tasks.items():
        if name not in ridge:
            classify, target = task.kind == "classification", task.target[rows]
            fitted[name] = _fit_sklearn(z[rows], target, groups, classify, kinds[name])
    return fitted


def folds(groups: NDArray[Any], most: int) -> list[Any]:
    """Return the folds of a cross-validation, as rows to fit and rows to predict."""
    from sklearn.model_selection import GroupKFold

    n_folds = min(most, len(np.unique(groups)))
    if n_folds < 2:
        raise ValueError(
            "the labels lie in a single block, cross-validation needs two: add labels further apart"
        )
    return list(GroupKFold(n_folds, shuffle=True, random_state=0).split(groups, groups=groups))


@threadpool_limits.wrap(limits=1)
def _fit_sklearn(
    z: NDArray[Any], target: NDArray[Any], groups: NDArray[Any], classify: bool, probe: Any
) -> "Pipeline":
    """Fit a scikit-learn probe; its settings are the same for every embedding."""
    import warnings

    from sklearn import ensemble, linear_model, model_selection, neighbors, neural_network
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any
    scaler: Any = StandardScaler()
    knn = neighbors.KNeighborsClassifier if classify else neighbors.KNeighborsRegressor
    if isinstance(probe, Interpolation):
        if probe.k > len(z):
            raise ValueError(f"{probe.k} nearest labels (k) were asked for, there are {len(z)}")
        scaler, model = "passthrough", knn(probe.k, weights="distance", metric="haversine")
    elif probe == "logistic":
        options = {"C": [1 / penalty for penalty in LOGISTIC_PENALTIES]}  # C is the inverse
        model = linear_model.LogisticRegression(max_iter=300, tol=1e-3)
        model = model_selection.GridSearchCV(model, options, cv=folds(groups, LOGISTIC_FOLDS))
    elif probe == "neighbours":
        model = knn(n_neighbors=5)
    elif probe == "trees":
        trees = ensemble.HistGradientBoostingClassifier
        trees = trees if classify else ensemble.HistGradientBoostingRegressor
        model = trees(early_stopping=False, random_state=0)
    else:
        mlp = neural_network.MLPClassifier if classify else neural_network.MLPRegressor
        units = {"hidden_layer_sizes": (MLP_UNITS,), "alpha": MLP_DECAY, "max_iter": MLP_PASSES}
        model = mlp(**units, random_state=0)
        if not classify:
            model = TransformedTargetRegressor(model, transformer=StandardScaler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is fixed
        return make_pipeline(scaler, model).fit(z, target)


def penalty_of(fitted: "RidgeProbe | Pipeline") -> float:
    """Return the penalty that cross-validation chose; NaN if the probe has none."""
    if isinstance(fitted, RidgeProbe):
        return fitted.penalty
    return 1 / getattr(fitted[-1], "best_params_", {}).get("C", np.nan)


# ------------------------------------------------------------------------------ ridge


@dataclass(frozen=True, eq=False)
class RidgeProbe:
    """A fitted ridge probe; it predicts the class whose one-hot column has the largest response.

    Attributes
    ----------
    weights : array, shape (D, K)
        K is 1 for a regression, else the number of classes that have labels.
    intercept : array, shape (K,)
    classes : array, shape (K,), or None
    penalty : float
        Chosen by cross-validation, for the embedding standardised on the labelled places.
    """

    weights: Floats
    intercept: Floats
    classes: NDArray[np.int64] | None
    penalty: float

    def predict(self, z: NDArray[Any]) -> NDArray[Any]:
        """Predict numbers or classes (N,) from embeddings (N, D)."""
        response = np.asarray(z, dtype=np.float64) @ self.weights + self.intercept  # (N, K)
        return response[:, 0] if self.classes is None else self.classes[response.argmax(axis=1)]


@threadpool_limits.wrap(limits=1)  # for matrices this small, threads cost more than they gain
def fit_ridge(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    rows: NDArray[np.int64],
    groups: NDArray[Any],
    penalties: tuple[float, ...] = PENALTIES,
    near_ties: float = 0.0,
) -> dict[str, RidgeProbe]:
    r"""Fit one ridge probe per task on the same labelled places.

    Each task solves :math:`\min_{w, b} \lVert y - X w - b \rVert^2 + \lambda \lVert w \rVert^2`
    with the penalty of the best cross-validation score (squared error, or accuracy). The
    eigenvectors of :math:`X^\top X` are computed once per fold; each task and penalty then costs
    two matrix products. Results equal scikit-learn's ``Ridge`` and ``RidgeClassifier``.

    Parameters
    ----------
    z, tasks, rows, groups
        As :func:`fit_probes` takes them.
    penalties : tuple of float
    near_ties : float
        Take the largest penalty whose cross-validation score is worse than the best one by at most
        this number of standard errors of the difference, estimated over folds, so that a last bit
        does not choose between two that are as good. 0 takes the best one.

    Returns
    -------
    dict of str to RidgeProbe
        One fitted probe per task.
    """
    x = np.asarray(z, dtype=np.float64)[rows]
    if not np.isfinite(x).all():
        raise ValueError("embeddings must be finite")
    mean, scale = x.mean(axis=0), x.std(axis=0)
    constant = scale <= 1e-6 * np.abs(x).max(axis=0)
    scale = np.where(constant, 1.0, scale)
    x = np.where(constant, 0.0, (x - mean) / scale)
    labels = {name: task.target[rows] for name, task in tasks.items()}
    classes = {
        name: np.unique(labels[name]) if task.kind == "classification" else None
        for name, task in tasks.items()
    }
    columns = {name: _target_columns(labels[name], classes[name]) for name in tasks}
    y = np.concatenate(list(columns.values()), axis=1)  # (n, all columns)
    ends = np.cumsum([block.shape[1] for block in columns.values()])
    spans = {n: slice(e - columns[n].shape[1], e) for n, e in zip(tasks, ends)}

    parts = folds(groups, FOLDS)
    loss = {name: np.zeros((len(parts), len(penalties))) for name in tasks}
    for fold, (kept, left) in enumerate(parts):
        for k, (w, b) in enumerate(_solve(x[kept], y[kept], penalties)):
            response = x[left] @ w + b
            for name, span in spans.items():
                loss[name][fold, k] = _loss(response[:, span], labels[name][left], classes[name])
    fits = _solve(x, y, penalties)
    found = {}
    for name, span in spans.items():
        best = int(np.argmin(loss[name].sum(axis=0)))
        if near_ties:
            worse = loss[name] - loss[name][:, [best]]
            allowed = near_ties * worse.std(axis=0, ddof=1) * np.sqrt(len(parts))
            near = np.flatnonzero(worse.sum(axis=0) <= allowed)
            best = max(near.tolist(), key=penalties.__getitem__)
        weights = np.where(constant[:, None], 0.0, fits[best][0][:, span]) / scale[:, None]
        intercept = fits[best][1][span] - mean @ weights
        found[name] = RidgeProbe(weights, intercept, classes[name], float(penalties[best]))
    return found


def _target_columns(labels: NDArray[Any], classes: NDArray[np.int64] | None) -> Floats:
    """Return the targets of a task as columns (n, K): the numbers, or one-hot classes."""
    if classes is None:
        return np.asarray(labels, dtype=np.float64)[:, None]
    return (labels[:, None] == classes).astype(np.float64)


def _loss(response: Floats, truth: NDArray[Any], classes: NDArray[np.int64] | None) -> float:
    """Return the sum of squared errors, or the number of wrong classes."""
    if classes is None:
        return float(((response[:, 0] - truth) ** 2).sum())
    return float((classes[response.argmax(axis=1)] != truth).sum())


def _solve(x: Floats, y: Floats, penalties: tuple[float, ...]) -> list[tuple[Floats, Floats]]:
    """Return weights (D, K) and intercepts (K,) for each penalty, from one factorisation."""
    from scipy.linalg import eigh

    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred, targets = x - x_mean, y - y_mean
    values, vectors = eigh(centred.T @ centred)  # (D,), (D, D)
    values = np.maximum(values, 0.0)
    inner = vectors.T @ (centred.T @ targets)  # (D, K)
    solutions = []
    for penalty in penalties:
        weights = vectors @ (inner / (values + penalty)[:, None])
        solutions.append((weights, y_mean - x_mean @ weights))
    return solutions
