"""Ridge probes of many tasks: the same as scikit-learn's, one task and penalty at a time."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold

from earthtie_lite.ridge import FOLDS, PENALTIES, fit_ridge
from earthtie_lite.tasks import Task

RNG = np.random.default_rng(0)
N, D = 400, 12
PLACES = np.stack([RNG.uniform(-180, 180, N), RNG.uniform(-60, 80, N)], axis=1)
Z = RNG.normal(size=(N, D)) * 10.0 ** RNG.uniform(-2, 2, D) + 5
HIDDEN = Z @ (RNG.normal(size=(D, 4)) / Z.std(axis=0)[:, None])
HEIGHT = HIDDEN[:, 0] + RNG.normal(size=N) * 3
KIND = (HIDDEN[:, 1:] + RNG.normal(size=(N, 3)) * 3).argmax(axis=1) * 2  # classes 0, 2, 4
TASKS = {
    "height": Task("height", PLACES, HEIGHT, "regression", "m"),
    "kind": Task("kind", PLACES, KIND, "classification", "kind", tuple("abcde")),
}
ROWS = RNG.permutation(N)[:150]
GROUPS = RNG.integers(0, 20, N)


def predict(z, tasks, rows, elsewhere=None, **settings):
    fitted = fit_ridge(z, tasks, rows, GROUPS[rows], **settings)
    return {
        name: probe.predict(z if elsewhere is None else elsewhere) for name, probe in fitted.items()
    }


def penalties(z):
    return {name: probe.penalty for name, probe in fit_ridge(z, TASKS, ROWS, GROUPS[ROWS]).items()}


def by_sklearn(name, penalty):
    x = Z[ROWS]
    x = (Z - x.mean(axis=0)) / x.std(axis=0)
    y = TASKS[name].target
    model = {"height": Ridge, "kind": RidgeClassifier}[name](penalty)
    return model.fit(x[ROWS], y[ROWS]).predict(x)


@pytest.mark.parametrize("penalty", [0.1, 10.0, 1e4])
def test_predictions_are_those_of_scikit_learn(penalty):
    predicted = predict(Z, TASKS, ROWS, penalties=(penalty,))
    np.testing.assert_allclose(predicted["height"], by_sklearn("height", penalty), atol=1e-8)
    np.testing.assert_array_equal(predicted["kind"], by_sklearn("kind", penalty))


def test_the_penalty_is_that_of_the_best_cross_validation():
    x = (Z[ROWS] - Z[ROWS].mean(axis=0)) / Z[ROWS].std(axis=0)
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=0).split(x, groups=GROUPS[ROWS]))
    best = {}
    for name, model in (("height", Ridge), ("kind", RidgeClassifier)):
        y = TASKS[name].target[ROWS]
        losses = []
        for penalty in PENALTIES:
            wrong = 0.0
            for kept, left in folds:
                predicted = model(penalty).fit(x[kept], y[kept]).predict(x[left])
                wrong += (
                    ((predicted - y[left]) ** 2).sum()
                    if name == "height"
                    else (predicted != y[left]).sum()
                )
            losses.append(wrong)
        best[name] = PENALTIES[int(np.argmin(losses))]
    assert penalties(Z) == best


def test_tasks_do_not_influence_each_other():
    both = predict(Z, TASKS, ROWS)
    for name, task in TASKS.items():
        alone = predict(Z, {name: task}, ROWS)[name]
        np.testing.assert_allclose(alone, both[name], atol=1e-8)


def test_units_of_an_embedding_do_not_matter():
    scaled = Z * 10.0 ** np.arange(-6, 6)
    assert penalties(scaled) == penalties(Z)
    np.testing.assert_allclose(
        predict(scaled, TASKS, ROWS)["height"], predict(Z, TASKS, ROWS)["height"]
    )


def test_a_constant_column_changes_nothing():
    wider = np.concatenate([Z, np.full((N, 1), 7.0)], axis=1)
    elsewhere = wider.copy()
    elsewhere[:, -1] = -3.0
    expected = predict(Z, TASKS, ROWS)["height"]
    np.testing.assert_allclose(predict(wider, TASKS, ROWS, elsewhere)["height"], expected)


def test_more_columns_than_labels_are_no_obstacle():
    wide = RNG.normal(size=(N, 300))
    predicted = predict(wide, TASKS, ROWS)
    assert np.isfinite(predicted["height"]).all()


def test_only_classes_with_labels_are_predicted():
    rows = ROWS[KIND[ROWS] != 4]
    predicted = predict(Z, TASKS, rows)["kind"]
    assert set(predicted) <= {0, 2}


def test_labels_of_one_group_are_refused():
    with pytest.raises(ValueError, match="single cell"):
        fit_ridge(Z, TASKS, ROWS, np.zeros(len(ROWS)))


def test_embeddings_that_are_not_finite_are_refused():
    broken = Z.copy()
    broken[ROWS[0], 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fit_ridge(broken, TASKS, ROWS, GROUPS[ROWS])
