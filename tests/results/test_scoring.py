"""Scoring by the protocol: what is perfect, what is nothing, and that a leak is caught."""

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from earthtie_lite.modalities import thinned_names
from earthtie_lite.results import scoring
from earthtie_lite.results.intervals import scores
from earthtie_lite.results.protocol import Grid
from earthtie_lite.results.scoring import Evaluation, labelled, nearest_name, score
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

    monkeypatch.setattr(scoring, "load_task", load_task)
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
    fit_probes = scoring.fit_probes

    def spy(z, tasks, rows, groups, probe):
        seen.append(tuple(rows))
        return fit_probes(z, tasks, rows, groups, probe)

    monkeypatch.setattr(scoring, "fit_probes", spy)

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


@pytest.mark.parametrize(
    ("change", "budget", "message"),
    [
        (lambda z, tasks: (z[:5], tasks), 243, "expected embeddings of 3000 places, got"),
        (lambda z, tasks: (z, tasks), 19_683, "3000 places are too few for the labels asked for"),
        (lambda z, tasks: (np.where(z == z[7], np.nan, z), tasks), 243, "finite"),
        (
            lambda z, tasks: (z, {**tasks, "half": tasks["climate"].at(slice(0, 2_000))}),
            243,
            "must have the same places",
        ),
    ],
)
def test_embeddings_and_tasks_that_do_not_fit_are_refused(tasks, lonlat, change, budget, message):
    with pytest.raises(ValueError, match=message):
        score(
            *change(et.UnitVectors()(lonlat), tasks), 0, "report", [Evaluation(budgets=(budget,))]
        )


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
        ({"tasks": "population"}, "tasks must be a tuple of names, got 'population'"),
        *(
            ({"near_name_km": km}, "near_name_km must be a positive number or None")
            for km in (-3.0, 0, np.nan, "near")
        ),
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


def test_the_nearest_name_is_found_with_its_distance():
    places = thinned_names()[["lon", "lat"]].to_numpy()[10:14]
    row, km = nearest_name(places + np.array([0.0, 0.01]))
    assert row.tolist() == [10, 11, 12, 13]
    np.testing.assert_allclose(km, 1.11, atol=0.01)


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
    with pytest.raises(ValueError, match=r"none of the tasks \('rain',\) is given"):
        score(z, tasks, 0, "report", [Evaluation(tasks=("rain",))])


def test_names_that_no_place_is_near_are_refused(tasks, lonlat):
    with pytest.raises(ValueError, match=r"no place lies within 0.0001 km of a name"):
        score(np.zeros((len(lonlat), 4)), tasks, 0, "report", [Evaluation(near_name_km=1e-4)])
