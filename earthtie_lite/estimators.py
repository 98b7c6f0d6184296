"""The simple models that read a frozen embedding."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .ridge import RidgeProbe, fit_ridge
from .tasks import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PROBES = ("linear", "ridge", "logistic", "neighbours", "MLP", "trees")
MLP_UNITS, MLP_DECAY, MLP_PASSES = 256, 1.0, 100
LOGISTIC_PENALTIES = tuple(10.0 ** np.arange(-1, 3))
LOGISTIC_FOLDS = 3  # the slow one


def fit_probes(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    rows: NDArray[np.int64],
    groups: NDArray[Any],
    probe: str = "ridge",
) -> "dict[str, RidgeProbe | Pipeline]":
    """Fit a probe a task on the same labelled places; ridge probes share their factorisation.

    Embeddings are standardised by the labelled places; penalties are chosen by cross-validation
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
        Of these rows: a group is never in two folds of the cross-validation of a penalty.
    probe : str
        One of ``PROBES``; "linear" is ridge for a regression, logistic for a classification.

    Returns
    -------
    dict of str to fitted probes
        With a method ``predict``: embeddings (N, D) to numbers or classes (N,).
    """
    linear = {"regression": "ridge", "classification": "logistic"}
    kinds = {n: linear[t.kind] if probe == "linear" else probe for n, t in tasks.items()}
    by_ridge = {name: task for name, task in tasks.items() if kinds[name] == "ridge"}
    ridge = fit_ridge(z, by_ridge, rows, groups) if by_ridge else {}
    fitted: dict[str, RidgeProbe | Pipeline] = {}
    for name, task in tasks.items():
        if name in ridge:
            fitted[name] = ridge[name]
        elif kinds[name] == "logistic":
            fitted[name] = _fit_logistic(z[rows], task.target[rows], groups)
        else:
            classify = task.kind == "classification"
            fitted[name] = _fit_free(z[rows], task.target[rows], classify, probe)
    return fitted


def _fit_logistic(z: NDArray[Any], target: NDArray[Any], groups: NDArray[Any]) -> "Pipeline":
    """Fit multinomial logistic regression, its penalty by cross-validation over the groups."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    n_folds = min(LOGISTIC_FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        raise ValueError("the labels lie in a single cell: cross-validation needs at least two")
    folds = GroupKFold(n_folds, shuffle=True, random_state=0)
    cv = list(folds.split(z, target, groups))
    grid = {"C": [1 / penalty for penalty in LOGISTIC_PENALTIES]}  # C is the inverse
    model = GridSearchCV(LogisticRegression(max_iter=300, tol=1e-3), grid, cv=cv)
    with threadpool_limits(1):  # matrices this small lose more to waiting threads than they gain
        return make_pipeline(StandardScaler(), model).fit(z, target)


def _fit_free(z: NDArray[Any], target: NDArray[Any], classify: bool, probe: str) -> "Pipeline":
    """Fit a probe that can bend, with settings that are alike for every embedding."""
    import warnings

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    model: Any
    if probe == "neighbours":
        model = (KNeighborsClassifier if classify else KNeighborsRegressor)(n_neighbors=5)
    elif probe == "trees":
        trees = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
        model = trees(early_stopping=False, random_state=0)
    else:
        network = MLPClassifier if classify else MLPRegressor
        model = network(
            hidden_layer_sizes=(MLP_UNITS,),
            alpha=MLP_DECAY,
            max_iter=MLP_PASSES,
            random_state=0,
        )
        if not classify:
            model = TransformedTargetRegressor(model, transformer=StandardScaler())
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is the setting
        return make_pipeline(StandardScaler(), model).fit(z, target)


def penalty_of(fitted: "RidgeProbe | Pipeline") -> float:
    """Return the penalty that cross-validation chose; NaN where the probe has none."""
    if isinstance(fitted, RidgeProbe):
        return fitted.penalty
    return 1 / getattr(fitted[-1], "best_params_", {}).get("C", np.nan)
