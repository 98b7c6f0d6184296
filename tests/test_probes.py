"""Probes: splits that do not leak, scores known in advance, intervals, and ridge."""

import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection
from scipy import stats
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold

import earthtie_lite as et
from earthtie_lite.coords import block_ids, sample_sphere, unit_vectors
from earthtie_lite.probes import (
    CELL_KM,
    FOLDS,
    PENALTIES,
    draw_split,
    fit_probe,
    fit_ridge,
    score,
)
from earthtie_lite.tasks import Task

N = 3000


@pytest.fixture(scope="module")
def lonlat():
    return sample_sphere(N, np.random.default_rng(0))


@pytest.fixture(scope="module")
def z():
    return np.random.default_rng(1).normal(size=(N, 8))


@pytest.fixture(scope="module")
def linear_task(lonlat, z):
    return Task("plane", lonlat, 100 + z @ np.arange(8.0), "regression", "m")


@pytest.fixture(scope="module")
def class_task(lonlat, z):
    return Task("sides", lonlat, z[:, :3].argmax(axis=1), "classification", "side")


SPLITS = pytest.mark.parametrize("split", ["random", "block"])


@SPLITS
def test_labelled_places_are_disjoint_from_a_quarter_that_is_scored(lonlat, split):
    part = draw_split(lonlat, split, seed=0)
    assert sorted([*part.pool, *part.scored]) == list(range(N))
    assert len(part.scored) / N == pytest.approx(0.25, abs=0.04)
    labels = part.labels(500, 0)
    assert set(labels) <= set(part.pool)
    assert len(labels) == len(set(labels)) == 500
    np.testing.assert_array_equal(part.labels(100, 0), labels[:100])


@pytest.mark.parametrize("seed", range(5))
def test_no_scored_block_has_a_label(lonlat, seed):
    part, blocks = draw_split(lonlat, "block", seed), block_ids(lonlat, CELL_KM)
    assert not set(blocks[part.pool]) & set(blocks[part.scored])
    np.testing.assert_array_equal(part.groups, blocks)


@SPLITS
def test_the_seed_determines_the_split(lonlat, split):
    one, same, other = (draw_split(lonlat, split, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.scored, same.scored)
    assert set(one.scored) != set(other.scored)


@SPLITS
def test_a_linear_target_is_recovered(linear_task, z, split):
    scores = et.probe(z, linear_task, n_labels=300, split=split, seeds=2)
    assert (scores["score"] > 0.999).all()
    assert (scores["metric"] == "R2").all()


@SPLITS
@pytest.mark.parametrize("kind", ["linear", "ridge"])
def test_linearly_separable_classes_are_recovered(class_task, z, split, kind):
    scores = et.probe(z, class_task, n_labels=500, split=split, probe=kind, seeds=1)
    assert (scores["score"] > 0.85).all()
    assert (scores["metric"] == "accuracy").all()


@SPLITS
def test_noise_scores_zero(linear_task, split):
    noise = np.random.default_rng(5).normal(size=(N, 40))
    scores = et.probe(noise, linear_task, n_labels=300, split=split, seeds=3)
    assert (scores["score"].abs() < 0.08).all()


def test_nearest_neighbours_predict_a_smooth_target(lonlat):
    task = Task("height", lonlat, unit_vectors(lonlat)[:, 2] ** 2, "regression", "m")
    scores = et.probe(et.UnitVectors(), task, 1000, "random", "neighbours", seeds=1)
    assert scores["score"][0] > 0.95
    assert np.isnan(scores["penalty"][0])
    assert scores["embedding"][0] == "UnitVectors"  # the name of its class


def test_an_embedding_that_only_identifies_blocks_fails_in_the_block_split():
    # A target that is constant in each block, and an embedding that only tells blocks apart.
    many = sample_sphere(15_000, np.random.default_rng(7))
    lonlat = many[block_ids(many, CELL_KM) % 5 == 0]
    names, block = np.unique(block_ids(lonlat, CELL_KM), return_inverse=True)
    target = np.random.default_rng(3).normal(size=len(names))[block]
    task = Task("blocks", lonlat, target, "regression", "m")
    random, blocked = (
        et.probe(np.eye(len(names))[block], task, 1000, split, seeds=2)["score"]
        for split in ("random", "block")
    )
    assert (random > 0.95).all()
    assert (blocked < 0.05).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_random_split_with_the_seed_of_the_places_is_uniform(seed):
    places = sample_sphere(N, np.random.default_rng(seed))
    scored = places[draw_split(places, "random", seed).scored]
    assert (scored[:, 0] < 0).mean() == pytest.approx(0.5, abs=0.08)


@SPLITS
def test_cross_validation_keeps_groups_together(linear_task, z, split, monkeypatch):
    seen, divide = [], sklearn.model_selection.GroupKFold.split

    def record(self, x, y=None, groups=None):
        folds = list(divide(self, x, y, groups))
        seen.append((groups, folds))
        return iter(folds)

    monkeypatch.setattr(sklearn.model_selection.GroupKFold, "split", record)
    et.probe(z, linear_task, n_labels=200, split=split, seeds=1)
    ((groups, folds),) = seen
    part = draw_split(linear_task.lonlat, split, 0)
    np.testing.assert_array_equal(groups, part.groups[part.labels(200, 0)])
    assert len(folds) == 5
    for train, held_out in folds:
        assert not set(groups[train]) & set(groups[held_out])


def test_standardisation_and_penalty_do_not_depend_on_the_scored_places(linear_task, z):
    part = draw_split(linear_task.lonlat, "block", 0)
    other = z.copy()
    other[part.scored] *= 1000
    one, two = (et.probe(x, linear_task, n_labels=200, seeds=1) for x in (z, other))
    assert one["penalty"][0] == two["penalty"][0]
    assert two["score"][0] < 0.9 < one["score"][0]


def test_a_class_without_labels_counts_as_an_error():
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    got = score(predicted, truth, labels=np.array([0, 1, 1]), kind="classification")
    assert got == {"metric": "accuracy", "score": 0.5, "score_seen": pytest.approx(2 / 3)}


def test_r2_is_one_minus_the_unexplained_variance():
    truth, predicted = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0])
    assert score(predicted, truth, truth, "regression")["score"] == pytest.approx(1 - 1 / 2)


@SPLITS
def test_an_array_a_function_and_a_model_score_the_same(make_encoder, lonlat, split):
    encoder = make_encoder()
    task = Task("height", lonlat, unit_vectors(lonlat)[:, 2], "regression", "m")
    rows = [
        et.probe(model, task, n_labels=200, split=split, seeds=1)["score"][0]
        for model in (encoder, encoder.embed(lonlat), encoder.embed, et.EarthTie(encoder, {"a": 2}))
    ]
    assert rows == pytest.approx([rows[0]] * 4, abs=1e-9)


def test_scores_have_one_row_per_draw(linear_task, z):
    scores = et.probe(z, linear_task, n_labels=50, split="random", seeds=3, name="mine")
    assert scores["seed"].tolist() == [0, 1, 2]
    assert set(scores["embedding"]) == {"mine"}
    assert set(scores["n_labels"]) == {50}
    columns = "embedding task split probe n_labels seed metric score score_seen n_test penalty"
    assert list(scores) == columns.split()
    pd.testing.assert_frame_equal(
        scores, et.probe(z, linear_task, n_labels=50, split="random", seeds=3, name="mine")
    )


def test_a_summary_has_the_mean_and_a_t_interval(linear_task, z):
    scores = et.probe(z[:, :4], linear_task, n_labels=60, split="random", seeds=4)
    (row,) = et.summarise(scores).to_dict("records")
    low, high = stats.t.interval(
        0.95, 3, loc=scores["score"].mean(), scale=stats.sem(scores["score"])
    )
    assert (row["draws"], row["mean"]) == (4, pytest.approx(scores["score"].mean()))
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_summary_has_one_row_per_group_and_no_interval_for_one_draw(linear_task, z):
    parts = [
        et.probe(x, linear_task, n_labels=60, split=split, seeds=1, name=name)
        for name, x in (("all", z), ("half", z[:, :4]))
        for split in ("random", "block")
    ]
    summary = et.summarise(pd.concat(parts))
    assert summary[["embedding", "split"]].drop_duplicates().shape == (4, 2)
    assert (summary["draws"] == 1).all()
    assert np.isfinite(summary["mean"]).all()
    assert summary[["low", "high"]].isna().all(axis=None)


def test_a_fitted_probe_predicts_at_any_place(lonlat):
    task = Task("height", lonlat, 1000 * unit_vectors(lonlat)[:, 2], "regression", "m")
    predict = fit_probe(et.SphericalHarmonics(3), task, np.arange(500))
    got = predict([[10.0, 0.0], [20.0, 30.0], [0.0, 90.0]])
    np.testing.assert_allclose(got, [0, 500, 1000], atol=5)


def test_a_fitted_probe_depends_on_its_rows_only(lonlat):
    target = unit_vectors(lonlat)[:, 2].copy()
    target[500:] = 1e6
    task = Task("height", lonlat, target, "regression", "m")
    predict = fit_probe(et.SphericalHarmonics(3), task, np.arange(500))
    assert np.abs(predict(lonlat[500:])).max() < 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "spatial"}, r"unknown split 'spatial': expected one of \('block', 'random'\)"),
        ({"probe": "forest"}, r"unknown probe 'forest': expected one of \('linear', 'ridge'"),
        ({"probe": "logistic"}, "probe 'logistic' needs classes, task 'plane' is a regression"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"seeds": True}, "seeds must be an integer of at least 1, got True"),
        ({"n_labels": 5}, "n_labels must be an integer of at least 10, got 5"),
        ({"n_labels": -1}, "n_labels must be an integer of at least 10, got -1"),
        ({"n_labels": 99.5}, "n_labels must be an integer of at least 10, got 99.5"),
        ({"n_labels": 2900}, r"2900 labels were asked for, only \d+ places may be used"),
    ],
)
def test_an_invalid_setting_is_refused(linear_task, z, settings, message):
    with pytest.raises(ValueError, match=message):
        et.probe(z, linear_task, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z[:-1], r"embeddings must have shape \(3000, D\), got \(2999, 8\)"),
        (lambda z: z[:, 0], r"embeddings must have shape \(3000, D\), got \(3000,\)"),
        (lambda z: np.where(z > 3, np.nan, z), "embeddings must be finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(linear_task, z, change, message):
    with pytest.raises(ValueError, match=message):
        et.probe(change(z), linear_task, n_labels=50, seeds=1)


def test_a_fitted_probe_of_an_array_is_refused(linear_task, z):
    with pytest.raises(ValueError, match="a model or an encoding"):
        fit_probe(z, linear_task, np.arange(100))


@pytest.mark.parametrize("rows", [[], [0, 3000], [0.5], [-1]])
def test_rows_outside_the_task_are_refused(linear_task, rows):
    with pytest.raises(ValueError, match="rows must be numbers from 0 to 2999"):
        fit_probe(et.UnitVectors(), linear_task, rows)


def test_places_in_a_single_block_are_refused():
    near = np.random.default_rng(0).uniform([10, 10], [10.5, 10.5], (200, 2))
    task = Task("town", near, near[:, 0], "regression", "m")
    with pytest.raises(ValueError, match="the labels lie in a single cell"):
        fit_probe(et.UnitVectors(), task, np.arange(100))
    with pytest.raises(ValueError, match="50 labels were asked for, only 0 places may be used"):
        et.probe(et.UnitVectors(), task, 50, "block", seeds=1)


DRAW = np.random.default_rng(0)
N_RIDGE, WIDTH = 400, 12
PLACES = np.stack([DRAW.uniform(-180, 180, N_RIDGE), DRAW.uniform(-60, 80, N_RIDGE)], axis=1)
Z = DRAW.normal(size=(N_RIDGE, WIDTH)) * 10.0 ** DRAW.uniform(-2, 2, WIDTH) + 5
HIDDEN = Z @ (DRAW.normal(size=(WIDTH, 4)) / Z.std(axis=0)[:, None])
HEIGHT = HIDDEN[:, 0] + DRAW.normal(size=N_RIDGE) * 3
KIND = (HIDDEN[:, 1:] + DRAW.normal(size=(N_RIDGE, 3)) * 3).argmax(axis=1) * 2  # classes 0, 2, 4
TASKS = {
    "height": Task("height", PLACES, HEIGHT, "regression", "m"),
    "kind": Task("kind", PLACES, KIND, "classification", "kind", tuple("abcde")),
}
ROWS = DRAW.permutation(N_RIDGE)[:150]
GROUPS = DRAW.integers(0, 20, N_RIDGE)


def ridge(z, tasks, rows, elsewhere=None, **settings):
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
def test_ridge_predictions_equal_those_of_scikit_learn(penalty):
    predicted = ridge(Z, TASKS, ROWS, penalties=(penalty,))
    np.testing.assert_allclose(predicted["height"], by_sklearn("height", penalty), atol=1e-8)
    np.testing.assert_array_equal(predicted["kind"], by_sklearn("kind", penalty))


def test_the_ridge_penalty_has_the_best_cross_validation_score():
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


def test_ridge_probes_of_several_tasks_are_independent():
    both = ridge(Z, TASKS, ROWS)
    for name, task in TASKS.items():
        alone = ridge(Z, {name: task}, ROWS)[name]
        np.testing.assert_allclose(alone, both[name], atol=1e-8)


def test_the_units_of_the_embedding_do_not_matter():
    scaled = Z * 10.0 ** np.arange(-6, 6)
    assert penalties(scaled) == penalties(Z)
    np.testing.assert_allclose(
        ridge(scaled, TASKS, ROWS)["height"], ridge(Z, TASKS, ROWS)["height"]
    )


def test_a_constant_column_changes_nothing():
    wider = np.concatenate([Z, np.full((N_RIDGE, 1), 7.0)], axis=1)
    elsewhere = wider.copy()
    elsewhere[:, -1] = -3.0
    expected = ridge(Z, TASKS, ROWS)["height"]
    np.testing.assert_allclose(ridge(wider, TASKS, ROWS, elsewhere)["height"], expected)


def test_there_may_be_more_columns_than_labels():
    wide = DRAW.normal(size=(N_RIDGE, 300))
    predicted = ridge(wide, TASKS, ROWS)
    assert np.isfinite(predicted["height"]).all()


def test_ridge_predicts_only_classes_with_labels():
    rows = ROWS[KIND[ROWS] != 4]
    predicted = ridge(Z, TASKS, rows)["kind"]
    assert set(predicted) <= {0, 2}
