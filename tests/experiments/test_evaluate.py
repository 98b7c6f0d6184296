"""Scoring by the protocol: what is perfect, what is nothing, and that a leak is caught."""

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from earthtie_lite.experiments import evaluate
from earthtie_lite.experiments.evaluate import Evaluation, labelled, score
from earthtie_lite.experiments.inference import scores
from earthtie_lite.modalities import nearest_name
from earthtie_lite.protocol import Grid
from earthtie_lite.tasks import Task

BUDGETS = (Evaluation("block", (243, 729)), Evaluation("random", (243,)))


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


@pytest.fixture(scope="module")
def lonlat(tasks):
    return tasks["country"].lonlat


def mean(sums, **where):
    for column, value in where.items():
        sums = sums[sums[column] == value]
    return scores(sums.assign(x=0), ["x"])["score"].item()


def test_tasks_have_the_same_places(tasks):
    assert list(tasks) == ["elevation", "population", "climate", "country"]
    for task in tasks.values():
        np.testing.assert_array_equal(task.lonlat, tasks["elevation"].lonlat)


def test_places_without_a_label_in_one_task_are_in_none(monkeypatch):
    full = et.load_task("population", 2_000)
    lacking = full.at(np.arange(0, 2_000, 2))

    def load_task(name, n, source="sample", path=None):
        return et.load_task(name, n) if source == "sample" else lacking

    monkeypatch.setattr(evaluate, "load_task", load_task)
    tasks = labelled(2_000, {"population": "some.tif"})
    assert list(tasks)[-1] == "population (GPWv4)"
    for task in tasks.values():
        np.testing.assert_array_equal(task.lonlat, lacking.lonlat)
    country = et.load_task("country", 2_000).target[::2]
    np.testing.assert_array_equal(tasks["country"].target, country)


def test_unknown_labels_are_refused():
    with pytest.raises(ValueError, match="unknown labels 'rain'"):
        labelled(100, {"rain": "rain.tif"})


def test_an_embedding_that_holds_the_answer_is_perfect(tasks, lonlat):
    answer = np.stack([tasks["elevation"].target, tasks["population"].target], axis=1)
    sums = score(answer, tasks, 0, "report", BUDGETS)
    for name in ("elevation", "population"):
        assert mean(sums, task=name, split="block", n_labels=243) > 0.999


def test_noise_knows_nothing(tasks, lonlat):
    noise = np.random.default_rng(0).normal(size=(len(lonlat), 16))
    sums = score(noise, tasks, 0, "report", BUDGETS)
    assert abs(mean(sums, task="elevation", split="block", n_labels=729)) < 0.05


def test_an_embedding_that_knows_its_cell_is_caught_by_the_blocks(lonlat):
    # What an embedding that memorises regions would do: perfect at random, nothing in blocks.
    cell = Grid().cells(lonlat)
    level = np.random.default_rng(1).normal(size=cell.max() + 1)
    task = {"by cell": Task("by cell", lonlat, level[cell], "regression", "m")}
    one_hot = (cell[:, None] == np.unique(cell)).astype(float)
    sums = score(one_hot, task, 0, "report", [Evaluation(), Evaluation("random")])
    assert mean(sums, split="random") > 0.8
    assert mean(sums, split="block") < 0.05


def test_labels_are_the_same_for_every_embedding_and_differ_by_seed(tasks, lonlat, monkeypatch):
    seen = []
    fit_probes = evaluate.fit_probes

    def spy(z, tasks, rows, groups, probe):
        seen.append(tuple(rows))
        return fit_probes(z, tasks, rows, groups, probe)

    monkeypatch.setattr(evaluate, "fit_probes", spy)

    for z, seed in ((et.UnitVectors()(lonlat), 0), (et.SphericalHarmonics(4)(lonlat), 0)):
        score(z, tasks, seed, "report", [Evaluation(budgets=(243,))])
    score(et.UnitVectors()(lonlat), tasks, 1, "report", [Evaluation(budgets=(243,))])
    assert seen[0] == seen[1] != seen[2]


def test_development_scores_never_touch_the_report_half(tasks, lonlat):
    sums = score(et.UnitVectors()(lonlat), tasks, 0, "development", [Evaluation(budgets=(243,))])
    assert set(Grid().table().loc[sums["cell"].unique(), "half"]) == {"development"}
    report = score(et.UnitVectors()(lonlat), tasks, 0, "report", [Evaluation(budgets=(243,))])
    assert set(Grid().table().loc[report["cell"].unique(), "half"]) == {"report"}


def test_budgets_that_the_places_do_not_reach_are_left_out(tasks, lonlat):
    sums = score(et.UnitVectors()(lonlat), tasks, 0, "report")
    assert sums["n_labels"].max() == 729


def test_embeddings_of_other_places_are_refused(tasks):
    with pytest.raises(ValueError, match="expected embeddings of 3000 places, got"):
        score(np.zeros((5, 2)), tasks, 0, "report")


def test_places_too_few_for_every_budget_are_refused(tasks, lonlat):
    with pytest.raises(ValueError, match="3000 places are too few for the labels asked for"):
        score(et.UnitVectors()(lonlat), tasks, 0, "report", [Evaluation(budgets=(19_683,))])


def test_embeddings_that_are_not_finite_are_refused(tasks, lonlat):
    z = et.UnitVectors()(lonlat)
    z[7, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        score(z, tasks, 0, "report")


def test_tasks_of_different_places_are_refused(tasks, lonlat):
    mixed = {"country": tasks["country"], "climate": tasks["climate"].at(slice(0, 2_000))}
    with pytest.raises(ValueError, match="must have the same places"):
        score(et.UnitVectors()(lonlat), mixed, 0, "report")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "blocks"}, "unknown split 'blocks'"),
        ({"probe": "forest"}, "unknown probe 'forest'"),
        ({"budgets": ()}, "numbers of labels"),
        ({"budgets": (0,)}, "numbers of labels"),
        ({"budgets": 729}, "numbers of labels"),
        ({"budgets": (2.5,)}, "numbers of labels"),
        ({"grid": "1000 km"}, "grid must be a Grid"),
    ],
)
def test_wrong_evaluations_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(**settings)


@pytest.mark.parametrize("probe", ["linear", "neighbours", "MLP", "trees"])
def test_other_probes_find_a_plain_signal(lonlat, probe):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(len(lonlat), 4))
    target = {
        "plane": Task("plane", lonlat, 100 + 9 * z[:, 0], "regression", "m"),
        "sides": Task("sides", lonlat, (z[:, 1] > 0).astype(int), "classification", "side"),
    }
    sums = score(z, target, 0, "report", [Evaluation(probe=probe)])
    assert mean(sums, task="plane") > 0.7
    assert mean(sums, task="sides") > 0.85
    assert set(sums["probe"]) == {probe}


def test_other_cells_name_themselves_and_score_their_own_cells(tasks, lonlat):
    grid = Grid(2000.0, (40.0, 25.0))
    sums = score(et.UnitVectors()(lonlat), tasks, 0, "report", [Evaluation(grid=grid)])
    assert set(sums["grid"]) == {"2000 km, turned by 40 and 25"}
    assert set(grid.table().loc[sums["cell"].unique(), "half"]) == {"report"}


def test_places_near_names_alone_take_part_if_asked(tasks, lonlat):
    z = np.random.default_rng(0).normal(size=(len(lonlat), 4))
    near = nearest_name(lonlat)[1] <= 30.0
    assert 0.2 < near.mean() < 0.9
    how = Evaluation(budgets=(243,), near_name_km=30.0)
    some = score(z, tasks, 0, "report", [how])
    assert set(some["grid"]) == {"1000 km, within 30 km of a name"}
    fewer = {name: task.at(near) for name, task in tasks.items()}
    by_hand = score(z[near], fewer, 0, "report", [Evaluation(budgets=(243,))])
    assert some.drop(columns="grid").equals(by_hand.drop(columns="grid"))


def test_an_evaluation_may_leave_tasks_out(tasks, lonlat):
    z = np.random.default_rng(0).normal(size=(len(lonlat), 4))
    some = score(z, tasks, 0, "report", [Evaluation(budgets=(243,), tasks=("elevation",))])
    every = score(z, tasks, 0, "report", [Evaluation(budgets=(243,))])
    pd.testing.assert_frame_equal(some, every[every["task"] == "elevation"].reset_index(drop=True))
    with pytest.raises(ValueError, match=r"there is no task of \('rain',\)"):
        score(z, tasks, 0, "report", [Evaluation(tasks=("rain",))])


@pytest.mark.parametrize("km", [-3.0, 0, np.nan, "near"])
def test_a_distance_to_names_is_positive(km):
    with pytest.raises(ValueError, match="near_name_km must be a positive number or None"):
        Evaluation(near_name_km=km)


def test_names_too_near_and_tasks_that_are_no_tuple_are_refused(tasks, lonlat):
    with pytest.raises(ValueError, match="tasks must be a tuple of names, got 'population'"):
        Evaluation(tasks="population")
    z = np.zeros((len(lonlat), 4))
    with pytest.raises(ValueError, match=r"no place lies within 0.0001 km of a name"):
        score(z, tasks, 0, "report", [Evaluation(near_name_km=1e-4)])
