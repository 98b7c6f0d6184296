"""Scores with intervals: sums by cell, two-way bootstrap, Holm's correction, labels needed."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..coords import stream

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
REPLICATES = 4000
SUMS = ("n", "wrong", "total", "square", "wrong_seen", "n_seen")


def cell_sums(
    predicted: NDArray[Any], truth: NDArray[Any], cells: NDArray[np.int64], labels: NDArray[Any]
) -> "pd.DataFrame":
    """Return the sums by cell from which the score of any set of cells can be computed.

    Parameters
    ----------
    predicted, truth : array, shape (N,)
        Numbers (float) or class numbers (integer).
    cells : array, shape (N,)
    labels : array
        Labels used for training; a class that is not among them is not *seen*.

    Returns
    -------
    DataFrame
        One row per cell: cell, n, wrong (squared error, or number of errors), total and square
        (sums of the truth and of its square; 0 for classes), n_seen and wrong_seen (the same over
        places of seen classes).
    """
    import pandas as pd

    if np.issubdtype(truth.dtype, np.integer):
        wrong = (predicted != truth).astype(np.float64)
        total, seen = np.zeros(len(truth)), np.isin(truth, labels)
    else:
        wrong, total, seen = (predicted - truth) ** 2, truth, np.ones(len(truth), dtype=bool)
    columns = {"n": 1, "wrong": wrong, "total": total, "square": total**2}
    columns |= {"wrong_seen": wrong * seen, "n_seen": seen.astype(np.float64)}
    return pd.DataFrame({"cell": cells, **columns}).groupby("cell").sum().reset_index()


def score_of(n: Any, wrong: Any, total: Any, square: Any) -> Any:
    """Return R2, or the accuracy if ``square`` is zero (classes), from sums, element-wise."""
    spread = square - total**2 / n
    return 1 - wrong / np.where(spread > 0, spread, n)


def scores(sums: "pd.DataFrame", by: list[str]) -> "pd.DataFrame":
    """Return the score of each group of sums: R2 or accuracy, and the accuracy on seen classes."""
    table = sums.groupby(by, sort=False)[list(SUMS)].sum().reset_index()
    table["score"] = score_of(*(table[c] for c in ("n", "wrong", "total", "square")))
    seen = table["n_seen"].where(table["n_seen"] > 0)
    table["score_seen"] = (1 - table["wrong_seen"] / seen).where(table["square"] == 0)
    return table.drop(columns=["wrong", "total", "square", "wrong_seen", "n_seen"])


class Bootstrap:
    """A paired two-way bootstrap that draws seeds and held-out cells with replacement.

    Each replicate draws the same seeds and the same cells for every embedding, so differences are
    paired. This is the pigeonhole bootstrap (Owen 2007, https://doi.org/10.1214/07-AOAS122), which
    is conservative if seeds and cells interact.

    Parameters
    ----------
    sums : DataFrame
        Rows of :func:`cell_sums` for one task and setting, with columns embedding, seed and cell;
        every embedding must have the same seeds and cells.
    replicates : int
    seed : int
        Seed of the draws.

    Attributes
    ----------
    names : list of str
        The embeddings.
    mean : array, shape (E,)
        The score of each embedding, averaged over seeds.
    draws : array, shape (E, replicates)
    """

    def __init__(self, sums: "pd.DataFrame", replicates: int = REPLICATES, seed: int = 0) -> None:
        self.names = list(dict.fromkeys(sums["embedding"]))
        cube = sums.set_index(["embedding", "seed", "cell"])[["n", "wrong", "total", "square"]]
        if cube.index.has_duplicates:
            raise ValueError("sums hold an embedding, seed and cell twice: select one setting")
        n_seeds, n_cells = sums["seed"].nunique(), sums["cell"].nunique()
        if len(cube) != len(self.names) * n_seeds * n_cells:
            raise ValueError("every embedding must have the same seeds and cells")
        cube = cube.sort_index()
        values = cube.to_numpy().reshape(len(self.names), n_seeds, n_cells, 4)
        order = [sorted(self.names).index(name) for name in self.names]
        n, wrong, total, square = np.moveaxis(values[order], -1, 0)  # (E, S, C) each
        rng = stream("bootstrap", seed)
        cell = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), replicates)  # (R, C)
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), replicates) / n_seeds
        self.mean = score_of(*(a.sum(axis=2) for a in (n, wrong, total, square))).mean(axis=1)
        drawn = [a @ cell.T.astype(np.float64) for a in (n, wrong, total, square)]  # (E, S, R)
        self.draws = np.einsum("esr,rs->er", score_of(*drawn), seeds)

    def interval(self, name: str) -> tuple[float, float, float]:
        """Return the mean score of an embedding and its 95 % interval."""
        row = self.names.index(name)
        low, high = np.percentile(self.draws[row], [2.5, 97.5])
        return float(self.mean[row]), float(low), float(high)

    def difference(self, a: str, b: str) -> dict[str, float]:
        """Compare two embeddings: mean of a minus b, 95 % interval, two-sided p value."""
        return summary(*self.combine({a: 1.0, b: -1.0}))

    def combine(self, weights: Mapping[str, float]) -> tuple[float, Floats]:
        """Return the weighted sum of the embeddings' scores, and its draws (replicates,)."""
        rows, factors = [self.names.index(name) for name in weights], np.array([*weights.values()])
        return float(factors @ self.mean[rows]), factors @ self.draws[rows]


def summary(mean: float, draws: Floats) -> dict[str, float]:
    """Return a difference with its 95 % interval and the two-sided p value, from its draws."""
    low, high = np.percentile(draws, [2.5, 97.5])
    below = (np.sum(draws <= 0) + 1) / (len(draws) + 1)
    above = (np.sum(draws >= 0) + 1) / (len(draws) + 1)
    p = min(1.0, 2 * min(below, above))
    return {"difference": mean, "low": float(low), "high": float(high), "p": float(p)}


def contrast(sums: "pd.DataFrame", weights: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Compare embeddings over several tasks, each of which counts the same.

    Parameters
    ----------
    sums : DataFrame
        One way to score. The tasks must share their cells, which are drawn together.
    weights : mapping of str to mapping of str to float
        For each task the weight of each embedding: +1 and -1 for a difference.

    Returns
    -------
    dict
        difference, low and high (95 % interval), p (two-sided).
    """
    found, drawn = [], set()
    for task, factors in weights.items():
        some = sums[(sums["task"] == task) & sums["embedding"].isin(list(factors))]
        if missing := sorted(set(factors) - set(some["embedding"])):
            raise ValueError(f"task {task!r} has no sums of {missing}")
        found.append(Bootstrap(some).combine(factors))
        drawn.add((tuple(sorted(set(some["cell"]))), tuple(sorted(set(some["seed"])))))
    if len(drawn) != 1:
        raise ValueError(f"the tasks {list(weights)} must have the same seeds and cells")
    means, draws = zip(*found)
    return summary(float(np.mean(means)), np.mean(draws, axis=0))


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values for the number of tests by Holm's step-down method (1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, 0.005]).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def labels_needed(budgets: ArrayLike, curve: ArrayLike, target: float) -> float:
    """Return how many labels an embedding needs for a score, by interpolation in log labels.

    Parameters
    ----------
    budgets : array, shape (B,)
        Increasing numbers of labels.
    curve : array, shape (B,)
        The embedding's score at each.
    target : float
        The score to reach.

    Returns
    -------
    float
        The first number of labels at which the interpolated curve reaches the target: the smallest
        budget if that reaches it already, infinite if the largest does not.

    Examples
    --------
    >>> round(labels_needed([100, 10_000], [0.2, 0.6], 0.4))
    1000
    """
    x, y = np.log(np.asarray(budgets, dtype=np.float64)), np.asarray(curve, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not (np.diff(x) > 0).all():
        raise ValueError("budgets must increase and the curve must have one score per budget")
    reached = np.flatnonzero(y >= target)
    if not len(reached):
        return float("inf")
    k = int(reached[0])
    if k == 0:
        return float(np.exp(x[0]))
    fraction = (target - y[k - 1]) / (y[k] - y[k - 1])
    return float(np.exp(x[k - 1] + fraction * (x[k] - x[k - 1])))


def compare(
    sums: "pd.DataFrame", pairs: Iterable[tuple[str, str]], by: list[str]
) -> "pd.DataFrame":
    """Return paired differences between embeddings, with intervals, for each group of sums."""
    import pandas as pd

    asked = list(pairs)
    rows = []
    for key, group in sums.groupby(by, sort=False):
        boot = Bootstrap(group[group["embedding"].isin({name for pair in asked for name in pair})])
        where = dict(zip(by, key if isinstance(key, tuple) else (key,)))
        rows += [{**where, "a": a, "b": b, **boot.difference(a, b)} for a, b in asked]
    return pd.DataFrame(rows)
