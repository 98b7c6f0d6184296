"""Probes: splits that do not leak, scores known in advance, intervals, and ridge."""

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection
from scipy import stats
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold

import earthtie_lite as et
from earthtie_lite.coords import block_ids, great_circle_km, sample_sphere, unit_vectors
from earthtie_lite.probes import (
    CELL_KM,
    FOLDS,
    PENALTIES,
    Interpolation,
    draw_split,
    fit_probe,
    fit_ridge,
    score,
)
from earthtie_lite.tasks import Task

N = 3000
LONLAT = sample_sphere(N, np.random.default_rng(0))
Z = np.random.default_rng(1).normal(size=(N, 8))
NOISE = np.random.default_rng(5).normal(size=(N, 40))
LINEAR = Task("plane", LONLAT, 100 + Z @ np.arange(8.0), "regression", "m")
SIDES = Task("sides", LONLAT, Z[:, :3].argmax(axis=1), "classification", "side")
SMOOTH = Task("height", LONLAT, 1000 * unit_vectors(LONLAT)[:, 2], "regression", "m")


def region(west, south, east, north, n=400):
    """Return a task that a linear probe solves, at places in a box."""
    lonlat = np.random.default_rng(0).uniform([west, south], [east, north], (n, 2))
    return Task("region", lonlat, 100 + Z[:n] @ np.arange(8.0), "regression", "m")


CITY, COUNTRY, CONTINENT = (2.1, 48.7, 2.6, 49.0), (-124, 33, -115, 42), (-15, -30, 45, 35)
SPLITS = pytest.mark.parametrize("split", ["random", "block"])


@pytest.fixture(autouse=True)
def _one_process():
    """Score the draws in this process, without the seconds that others need to start."""
    with joblib.parallel_config(backend="sequential"):
        yield


@SPLITS
def test_a_seed_draws_a_quarter_to_score_and_labels_among_the_others(split):
    part, same, other = (draw_split(LONLAT, split, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(part.scored, same.scored)
    assert set(part.scored) != set(other.scored)
    assert sorted([*part.pool, *part.scored]) == list(range(N))
    assert len(part.scored) / N == pytest.approx(0.25, abs=0.04)
    labels = part.labels(500, 0)
    assert set(labels) <= set(part.pool)
    assert len(labels) == len(set(labels)) == 500
    np.testing.assert_array_equal(part.labels(100, 0), labels[:100])


def test_no_scored_block_has_a_label():
    blocks = block_ids(LONLAT, CELL_KM)
    for seed in range(3):
        part = draw_split(LONLAT, "block", seed)
        assert not set(blocks[part.pool]) & set(blocks[part.scored])
        np.testing.assert_array_equal(part.groups, blocks)


@SPLITS
@pytest.mark.parametrize(
    ("task", "z", "probe", "metric", "low", "high"),
    [
        (LINEAR, Z, "linear", "R2", 0.999, 1),
        (LINEAR, NOISE, "linear", "R2", -0.08, 0.08),
        (SIDES, Z, "linear", "accuracy", 0.85, 1),
        (SIDES, Z, "ridge", "accuracy", 0.85, 1),
        (SMOOTH, et.UnitVectors(), "neighbours", "R2", 0.9, 1),
    ],
)
def test_scores_that_are_known_in_advance(task, z, probe, metric, low, high, split):
    (row,) = et.probe(z, task, 500, split, probe, seeds=1).to_dict("records")
    assert row["metric"] == metric
    assert low <= row["score"] <= high
    assert np.isnan(row["penalty"]) == (probe == "neighbours")


def test_what_only_tells_blocks_or_neighbours_apart_fails_in_the_block_split():
    # A target that is constant in each block, and an embedding that only tells blocks apart.
    many = sample_sphere(15_000, np.random.default_rng(7))
    lonlat = many[block_ids(many, CELL_KM) % 5 == 0]
    names, block = np.unique(block_ids(lonlat, CELL_KM), return_inverse=True)
    target = np.random.default_rng(3).normal(size=len(names))[block]
    task, z = Task("blocks", lonlat, target, "regression", "m"), np.eye(len(names))[block]
    for model in (z, Interpolation(5)):
        assert et.probe(model, task, 1000, "random", seeds=1)["score"][0] > 0.9
        assert et.probe(model, task, 1000, "block", seeds=1)["score"][0] < 0.05


@SPLITS
def test_cross_validation_keeps_groups_together(split, monkeypatch):
    seen, divide = [], sklearn.model_selection.GroupKFold.split

    def record(self, x, y=None, groups=None):
        folds = list(divide(self, x, y, groups))
        seen.append((groups, folds))
        return iter(folds)

    monkeypatch.setattr(sklearn.model_selection.GroupKFold, "split", record)
    et.probe(Z, LINEAR, n_labels=200, split=split, seeds=1)
    ((groups, folds),) = seen
    part = draw_split(LONLAT, split, 0)
    np.testing.assert_array_equal(groups, part.groups[part.labels(200, 0)])
    assert len(folds) == 5
    for train, held_out in folds:
        assert not set(groups[train]) & set(groups[held_out])


@pytest.mark.parametrize(
    ("box", "given", "block_km"),
    [
        (CITY, None, 5),
        (COUNTRY, None, 200),
        (CONTINENT, None, 1000),
        ((-180, -90, 180, 90), None, 1000),
        (COUNTRY, 100, 100),
        (CITY, 2.0, 2),
    ],
)
def test_a_region_is_scored_in_blocks_of_its_size(box, given, block_km):
    task = region(*box)
    (row,) = et.probe(Z[:400], task, 50, seeds=1, block_km=given).to_dict("records")
    part, blocks = draw_split(task.lonlat, "block", 0, given), block_ids(task.lonlat, block_km)
    scored = set(blocks[part.scored])
    assert (row["block_km"], row["n_blocks"]) == (block_km, len(scored))
    assert len(scored) == round(len(set(blocks)) / 4) >= 5
    assert not set(blocks[part.pool]) & scored
    assert row["n_test"] == len(part.scored) == np.isin(blocks, list(scored)).sum()
    assert row["score"] > 0.99
    predict = fit_probe(et.UnitVectors(), task, range(100))
    assert predict(task.lonlat).shape == (400,)


def test_standardisation_and_penalty_do_not_depend_on_the_scored_places():
    other = Z.copy()
    other[draw_split(LONLAT, "block", 0).scored] *= 1000
    one, two = (et.probe(x, LINEAR, n_labels=200, seeds=1) for x in (Z, other))
    assert one["penalty"][0] == two["penalty"][0]
    assert two["score"][0] < 0.9 < one["score"][0]


def test_a_class_without_labels_counts_as_an_error():
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    got = score(predicted, truth, labels=np.array([0, 1, 1]), kind="classification")
    assert got == {"metric": "accuracy", "score": 0.5, "score_seen": pytest.approx(2 / 3)}


def test_an_array_a_function_and_a_model_score_the_same(make_encoder):
    encoder = make_encoder()
    models = (encoder, encoder.embed(LONLAT), encoder.embed, et.EarthTie(encoder, {"a": 2}))
    rows = [et.probe(model, SMOOTH, n_labels=200, seeds=1)["score"][0] for model in models]
    assert rows == pytest.approx([rows[0]] * 4, abs=1e-9)


def test_scores_have_one_row_per_draw_and_are_repeatable():
    one, two = (et.probe(Z, LINEAR, 50, "random", seeds=3, name=name) for name in ("mine", None))
    assert one["seed"].tolist() == [0, 1, 2]
    assert one["score"].nunique() == 3
    assert (set(one["embedding"]), set(one["n_labels"])) == ({"mine"}, {50})
    columns = "embedding task split block_km n_blocks probe n_labels seed metric score score_seen"
    assert list(one) == [*columns.split(), "n_test", "penalty"]
    assert one[["block_km", "n_blocks"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(one.assign(embedding="ndarray"), two)


def test_a_summary_has_the_mean_of_each_group_and_a_t_interval_if_there_are_draws():
    scores = et.probe(Z[:, :4], LINEAR, n_labels=60, split="random", seeds=4)
    parts = [scores, scores.assign(split="block", seed=0)[:1], scores.assign(embedding="other")]
    summary = et.summarise(pd.concat(parts))
    mean = scores["score"].mean()
    interval = stats.t.interval(0.95, 3, loc=mean, scale=stats.sem(scores["score"]))
    first, single, _ = summary.to_dict("records")
    assert (first["draws"], first["mean"]) == (4, pytest.approx(mean))
    assert (first["low"], first["high"]) == pytest.approx(interval)
    assert (single["draws"], single["mean"]) == (1, pytest.approx(scores["score"][0]))
    assert np.isnan([single["low"], single["high"]]).all()


def test_a_summary_keeps_sizes_of_blocks_apart_and_does_without_them():
    old = pd.DataFrame({"task": "t", "split": "block", "probe": "ridge", "n_labels": 9}, range(4))
    old = old.assign(metric="R2", embedding="e", score=[1.0, 2.0, 3.0, 4.0])
    assert et.summarise(old)["mean"].tolist() == [2.5]
    new = et.summarise(old.assign(block_km=[np.nan, 50, np.nan, 50]))
    assert new["mean"].tolist() == [2, 3]
    assert list(new)[:4] == ["task", "split", "block_km", "probe"]
    assert np.isnan(new["block_km"][0])
    assert list(new.drop(columns="block_km")) == list(et.summarise(old))


def interpolated(task, labelled, lonlat, k):
    """Weight the k nearest labels of a place by one over the distance, the slow way."""
    km = great_circle_km(np.repeat([lonlat], len(labelled), axis=0), task.lonlat[labelled])
    near = np.argsort(km)[:k]
    target, weight = task.target[labelled][near], 1 / np.maximum(km[near], 1e-9)
    if task.kind == "classification":
        return np.bincount(target, weight).argmax()
    return target @ weight / weight.sum()


@SPLITS
@pytest.mark.parametrize("k", [1, 5, 50])
@pytest.mark.parametrize("task", [SMOOTH, SIDES], ids=["regression", "vote"])
def test_interpolation_weights_the_nearest_labels_by_their_inverse_distance(task, k, split):
    part = draw_split(LONLAT, split, 0)
    labelled, scored = part.labels(200, 0), part.scored
    expected = np.array([interpolated(task, labelled, place, k) for place in LONLAT[scored]])
    want = score(expected, task.target[scored], task.target[labelled], task.kind)
    (row,) = et.probe(Interpolation(k), task, 200, split, seeds=1).to_dict("records")
    assert (row["embedding"], row["probe"]) == (f"IDW (k = {k})", "IDW")
    assert row["score"] == pytest.approx(want["score"], abs=1e-9)
    assert np.isnan(row["penalty"])
    got = fit_probe(Interpolation(k), task, labelled)(LONLAT[scored])
    np.testing.assert_allclose(got, expected)


def test_a_place_with_a_label_takes_it_also_across_the_date_line_and_at_a_pole():
    rows = np.arange(300)
    for task in (SMOOTH, SIDES):
        predict = fit_probe(Interpolation(5), task, rows)
        np.testing.assert_allclose(predict(LONLAT[rows]), task.target[rows])
    edge = Task("edge", [[180, 0], [170, 0], [0, 90]], [1.0, 2.0, 3.0], "regression", "m")
    got = fit_probe(Interpolation(3), edge, range(3))([[-180, 0], [77, 90]])
    np.testing.assert_allclose(got, [1, 3])


def test_a_fitted_probe_predicts_at_any_place_from_its_rows_only():
    target = SMOOTH.target.copy()
    target[500:] = 1e9
    task = Task("height", LONLAT, target, "regression", "m")
    predict = fit_probe(et.SphericalHarmonics(3), task, np.arange(500))
    got = predict([[10.0, 0.0], [20.0, 30.0], [0.0, 90.0]])
    np.testing.assert_allclose(got, [0, 500, 1000], atol=5)


def few(box, block_km=None, n=400):
    """Return arguments for places in a box."""
    return {"task": region(*box, n=n), "model": et.UnitVectors(), "block_km": block_km}


@pytest.mark.parametrize(
    ("call", "changes", "message"),
    [
        (et.probe, {"split": "spatial"}, r"unknown split 'spatial': expected one of \('block'"),
        (et.probe, {"probe": "forest"}, r"unknown probe 'forest': expected one of \('linear'"),
        (et.probe, {"probe": "logistic"}, "needs classes, task 'plane' is a regression"),
        *((et.probe, {"seeds": x}, "seeds must be an integer of at least 1") for x in (0, True)),
        *((et.probe, {"n_labels": x}, "must be an integer of at least 10") for x in (5, 99.5)),
        (et.probe, {"n_labels": 2900}, r"2900 labels were asked for, the split leaves only \d+: a"),
        (et.probe, few(CITY, 1000), "in 1 blocks of 1000 km, .* at least 12: .*block_km: 5"),
        (et.probe, few(COUNTRY, 500), r"in 8 blocks of 500 km, .* at least 12: .*block_km: 200"),
        (et.probe, few(COUNTRY, 0), "the size of a block must be positive"),
        (et.probe, few(COUNTRY, n=15), "15 places lie in 15 blocks of 1 km, 20 are needed: add"),
        (et.probe, few(COUNTRY, n=22), r"only 5 of 22 places .* 10 are needed: .* \(block_km\)"),
        (et.probe, {**few(COUNTRY, n=15), "split": "random"}, r"2 of 15 places .*: add places$"),
        (et.probe, {**few(COUNTRY, n=90), "n_labels": 80}, "80 labels .* split leaves only"),
        (et.probe, {"model": Interpolation(), "probe": "MLP"}, "without a probe, got 'MLP': leave"),
        (et.probe, {"model": Interpolation(60)}, r"60 nearest labels \(k\) were .*, there are 50"),
        (et.probe, {"model": Z[:-1]}, r"embeddings must have shape \(3000, D\), got \(2999, 8\)"),
        (et.probe, {"model": Z[:, 0]}, r"shape \(3000, D\), got \(3000,\)"),
        (et.probe, {"model": np.where(Z > 3, np.nan, Z)}, "embeddings must be finite"),
        (fit_probe, {"rows": range(100)}, "a model or an encoding"),
        (fit_probe, {"model": et.UnitVectors(), "rows": [7, 7]}, "lie in a single block"),
        *(
            (fit_probe, {"model": et.UnitVectors(), "rows": rows}, "numbers from 0 to 2999")
            for rows in ([], [0, 3000], [0.5], [-1])
        ),
    ],
)
def test_what_cannot_be_scored_or_fitted_is_refused(call, changes, message):
    some = {"n_labels": 50, "seeds": 1} if call is et.probe else {}
    with pytest.raises(ValueError, match=message):
        call(**{"model": Z, "task": LINEAR, **some, **changes})


DRAW = np.random.default_rng(0)
FEW, WIDTH = 400, 12
X = DRAW.normal(size=(FEW, WIDTH)) * 10.0 ** DRAW.uniform(-2, 2, WIDTH) + 5
HIDDEN = X @ (DRAW.normal(size=(WIDTH, 4)) / X.std(axis=0)[:, None])
HEIGHT = HIDDEN[:, 0] + DRAW.normal(size=FEW) * 3
KIND = (HIDDEN[:, 1:] + DRAW.normal(size=(FEW, 3)) * 3).argmax(axis=1) * 2  # classes 0, 2, 4
TASKS = {
    "height": Task("height", LONLAT[:FEW], HEIGHT, "regression", "m"),
    "kind": Task("kind", LONLAT[:FEW], KIND, "classification", "kind", tuple("abcde")),
}
PEERS = {"height": Ridge, "kind": RidgeClassifier}
ROWS = DRAW.permutation(FEW)[:150]
GROUPS = DRAW.integers(0, 20, FEW)
STANDARD = (X - X[ROWS].mean(axis=0)) / X[ROWS].std(axis=0)


def ridge(z, tasks=TASKS, rows=ROWS, **settings):
    return fit_ridge(z, tasks, rows, GROUPS[rows], **settings)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("penalty", [0.1, 10.0, 1e4])
def test_ridge_predictions_equal_those_of_scikit_learn(name, penalty):
    expected = PEERS[name](penalty).fit(STANDARD[ROWS], TASKS[name].target[ROWS]).predict(STANDARD)
    predicted = ridge(X, penalties=(penalty,))[name].predict(X)
    np.testing.assert_allclose(predicted, expected, atol=1e-8)


@pytest.mark.parametrize("near_ties", [0.0, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("name", TASKS)
def test_the_ridge_penalty_has_the_best_score_or_is_the_largest_near_tie(name, near_ties):
    x, y = STANDARD[ROWS], TASKS[name].target[ROWS]
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=0).split(x, groups=GROUPS[ROWS]))
    losses = []
    for penalty in PENALTIES:
        residuals = [
            PEERS[name](penalty).fit(x[kept], y[kept]).predict(x[left]) - y[left]
            for kept, left in folds
        ]
        wrong = [r**2 if name == "height" else r != 0 for r in residuals]
        losses.append([some.sum() for some in wrong])
    best = min(losses, key=sum)
    worse = [np.subtract(some, best) for some in losses]
    near = [w.mean() <= near_ties * w.std(ddof=1) / np.sqrt(FOLDS) for w in worse]
    expected = np.flatnonzero(near)[-1] if near_ties else losses.index(best)
    assert ridge(X, near_ties=near_ties)[name].penalty == PENALTIES[expected]


def test_ridge_probes_of_several_tasks_are_independent():
    both = ridge(X)
    for name, task in TASKS.items():
        alone = ridge(X, {name: task})[name].predict(X)
        np.testing.assert_allclose(alone, both[name].predict(X), atol=1e-8)


def test_neither_the_units_of_the_embedding_nor_a_constant_column_matter():
    scaled = np.concatenate([X * 10.0 ** np.arange(-6, 6), np.full((FEW, 1), 7.0)], axis=1)
    elsewhere = scaled.copy()
    elsewhere[:, -1] = -3.0
    one, two = ridge(X)["height"], ridge(scaled)["height"]
    assert one.penalty == two.penalty
    np.testing.assert_allclose(two.predict(elsewhere), one.predict(X))


def test_ridge_predicts_only_classes_with_labels_even_with_more_columns_than_labels():
    wide, rows = DRAW.normal(size=(FEW, 300)), ROWS[KIND[ROWS] != 4]
    fitted = ridge(wide, rows=rows)
    assert np.isfinite(fitted["height"].predict(wide)).all()
    assert set(fitted["kind"].predict(wide)) <= {0, 2}
