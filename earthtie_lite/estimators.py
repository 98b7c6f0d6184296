"""The simple models that read a frozen embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .ridge import PENALTIES, RidgeProbes, fit_ridge
from .tasks import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PROBES = ("linear", "ridge", "logistic", "neighbours", "MLP", "trees")
FOLDS = {"ridge": 5, "logistic": 3}
MLP_UNITS, MLP_DECAY, MLP_PASSES = 256, 1.0, 100
LOGISTIC_PENALTIES = tuple(10.0 ** np.arange(-1, 3))


def fit_one(
    z: NDArray[Any], target: NDArray[Any], groups: NDArray[Any], kind: str, probe: str
) -> "Pipeline":
    """Fit a probe on standardised embeddings, its penalty by cross-validation over the groups."""
    from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeCV
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    classify = kind == "classification"
    if probe == "neighbours":
        nearest = (KNeighborsClassifier if classify else KNeighborsRegressor)(n_neighbors=5)
        return make_pipeline(StandardScaler(), nearest).fit(z, target)
    if probe in ("MLP", "trees"):
        return _fit_free(z, target, classify, probe)
    if len(np.unique(groups)) < 2:
        raise ValueError("the labels lie in a single block: cross-validation needs at least two")
    n_folds = min(FOLDS[probe], len(np.unique(groups)))
    folds = GroupKFold(n_folds, shuffle=True, random_state=0)
    cv = list(folds.split(z, target, groups))
    model: Any
    if not classify:
        model = RidgeCV(PENALTIES, cv=cv)
    elif probe == "ridge":
        model = GridSearchCV(RidgeClassifier(), {"alpha": PENALTIES}, cv=cv)
    else:
        # sklearn's C is the inverse of the penalty.
        grid = {"C": [1 / penalty for penalty in LOGISTIC_PENALTIES]}
        model = GridSearchCV(LogisticRegression(max_iter=300, tol=1e-3), grid, cv=cv)
    with threadpool_limits(1):  # matrices this small lose more to waiting threads than they gain
        return make_pipeline(StandardScaler(), model).fit(z, target)


@dataclass(frozen=True, eq=False)
class Probes:
    """A fitted probe a task."""

    models: "dict[str, Pipeline]"

    @property
    def penalties(self) -> dict[str, float]:
        """Of each task: what cross-validation chose; NaN where the probe has no penalty."""
        return {name: penalty_of(model) for name, model in self.models.items()}

    def predict(self, z: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Predict every task for embeddings (N, D); one array (N,) a task."""
        return {name: model.predict(z) for name, model in self.models.items()}


def fit_probes(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    rows: NDArray[np.int64],
    groups: NDArray[Any],
    probe: str = "ridge",
) -> Probes | RidgeProbes:
    """Fit a probe a task on the same labelled places; ridge probes share their factorisation.

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
        One of ``PROBES``.
    """
    if probe == "ridge":
        return fit_ridge(z, tasks, rows, groups)
    fitted = {}
    for name, task in tasks.items():
        classes = task.kind == "classification"
        kind = ("logistic" if classes else "ridge") if probe == "linear" else probe
        fitted[name] = fit_one(z[rows], task.target[rows], groups, task.kind, kind)
    return Probes(fitted)


def _fit_free(z: NDArray[Any], target: NDArray[Any], classify: bool, probe: str) -> "Pipeline":
    """Fit a probe that is free to bend, with settings that are alike for every embedding."""
    import warnings

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    model: Any
    if probe == "trees":
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


def penalty_of(fitted: "Pipeline") -> float:
    """Return the penalty that cross-validation chose."""
    model = fitted[-1]
    if hasattr(model, "alpha_"):
        return float(model.alpha_)
    best = getattr(model, "best_params_", {})
    return float(best.get("alpha", 1 / best["C"] if "C" in best else np.nan))
