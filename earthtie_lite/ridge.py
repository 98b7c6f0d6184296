"""Ridge probes of many tasks at once: one factorisation serves every task and every penalty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tasks import Task

Floats = NDArray[np.float64]
PENALTIES = tuple(10.0 ** np.arange(-1, 7))
FOLDS = 5


@dataclass(frozen=True, eq=False)
class RidgeProbe:
    """A fitted ridge probe; classes by ridge on indicator columns, the largest response wins.

    Attributes
    ----------
    weights : array, shape (D, K)
        K is 1 for a regression, else the number of classes that have labels.
    intercept : array, shape (K,)
    classes : array, shape (K,), or None
    penalty : float
        Chosen by cross-validation; of the embedding standardised by its labelled places.
    """

    weights: Floats
    intercept: Floats
    classes: NDArray[np.int64] | None
    penalty: float

    def predict(self, z: NDArray[Any]) -> NDArray[Any]:
        """Predict numbers or classes (N,) from embeddings (N, D)."""
        response = np.asarray(z, dtype=np.float64) @ self.weights + self.intercept  # (N, K)
        return response[:, 0] if self.classes is None else self.classes[response.argmax(axis=1)]


def fit_ridge(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    rows: NDArray[np.int64],
    groups: NDArray[Any],
    penalties: tuple[float, ...] = PENALTIES,
) -> dict[str, RidgeProbe]:
    r"""Fit one ridge probe a task on the same labelled places.

    Each task solves :math:`\min_{w, b} \lVert y - X w - b \rVert^2 + \lambda \lVert w \rVert^2`
    with the penalty of the best cross-validation (squared error, or accuracy). The eigenvectors of
    :math:`X^\top X` are found once a fold; every task and every penalty is then two matrix
    products. The same as scikit-learn's ``Ridge`` and ``RidgeClassifier``.

    Parameters
    ----------
    z : array, shape (N, D)
        Embeddings of all places.
    tasks : mapping of str to Task
        All with the same N places.
    rows : array, shape (n,)
        Rows that have labels.
    groups : array, shape (n,)
        Of these rows: a group is never in two folds. Cells, or a number of its own each.
    penalties : tuple of float

    Returns
    -------
    dict of str to RidgeProbe
        By task.
    """
    from sklearn.model_selection import GroupKFold

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
    columns = {name: _columns(labels[name], classes[name]) for name in tasks}
    y = np.concatenate(list(columns.values()), axis=1)  # (n, all columns)
    ends = np.cumsum([block.shape[1] for block in columns.values()])
    spans = {n: slice(e - columns[n].shape[1], e) for n, e in zip(tasks, ends)}

    n_folds = min(FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        raise ValueError("the labels lie in a single cell: cross-validation needs at least two")
    loss = {name: np.zeros(len(penalties)) for name in tasks}
    folds = GroupKFold(n_folds, shuffle=True, random_state=0).split(x, groups=groups)
    for kept, left in folds:
        for k, (w, b) in enumerate(_solve(x[kept], y[kept], penalties)):
            response = x[left] @ w + b
            for name, span in spans.items():
                loss[name][k] += _loss(response[:, span], labels[name][left], classes[name])
    fits = _solve(x, y, penalties)
    found = {}
    for name, span in spans.items():
        best = int(np.argmin(loss[name]))
        weights = np.where(constant[:, None], 0.0, fits[best][0][:, span]) / scale[:, None]
        intercept = fits[best][1][span] - mean @ weights
        found[name] = RidgeProbe(weights, intercept, classes[name], float(penalties[best]))
    return found


def _columns(labels: NDArray[Any], classes: NDArray[np.int64] | None) -> Floats:
    """Return the targets of a task as columns (n, K): the numbers, or an indicator a class."""
    if classes is None:
        return np.asarray(labels, dtype=np.float64)[:, None]
    return (labels[:, None] == classes).astype(np.float64)


def _loss(response: Floats, truth: NDArray[Any], classes: NDArray[np.int64] | None) -> float:
    """Return the squared error, or the number of wrong classes."""
    if classes is None:
        return float(((response[:, 0] - truth) ** 2).sum())
    return float((classes[response.argmax(axis=1)] != truth).sum())


def _solve(x: Floats, y: Floats, penalties: tuple[float, ...]) -> list[tuple[Floats, Floats]]:
    """Return weights (D, K) and intercepts (K,) of each penalty by one factorisation."""
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
