"""Scoring by the protocol: what is perfect, what is nothing, and that a leak is caught."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from earthtie_lite.modalities import thinned_names
from earthtie_lite.probes import Interpolation
from earthtie_lite.results import scoring
from earthtie_lite.results.intervals import scores
from earthtie_lite.results.protocol import Grid
from earthtie_lite.results.scoring import (
    Evaluation,
    intrinsic_dimension,
    labelled,
    nearest_name,
    score,
)
from earthtie_lite.tasks import Task

FEW = Evaluation(budgets=(243,))


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


@pytest.fixture(scope="module")
def lonlat(tasks):
    return tasks["country"].lonlat


@pytest.fixture(scope="module")
def noise(lonlat):
    return np.random.default_rng(0).normal(size=(len(lonlat), 4))


def mean(sums, **where):
    for column, value in where.items():
        sums = sums[sums[column] == value]
    return scores(sums.assign(x=0), ["x"])["score"].item()


def halves(sums, grid):
    return set(grid.table().loc[sums["cell"].unique(), "half"])


def test_places_without_a_label_in_one_task_are_in_none(monkeypatch):
    full = et.load_task("population", 2_000)
    lacking = full.at(np.arange(0, 2_000, 2))

    def load_task(name, n, source="sample", path=None):
        return et.load_task(name, n) if source == "sample" else lacking

    monkeypatch.setattr(scoring, "load_task", load_task)
    tasks = labelled(2_000, {"population": "some.tif"})
    assert list(tasks) == [*scoring.SAMPLE_TASKS, "population (GPWv4)"]
    for task in tasks.values():
        np.testing.assert_array_equal(task.lonlat, lacking.lonlat)
    country = et.load_task("country", 2_000).target[::2]
    np.testing.assert_array_equal(tasks["country"].target, country)
    with pytest.raises(ValueError, match="unknown labels 'rain'"):
        labelled(100, {"rain": "rain.tif"})


def test_an_embedding_that_holds_the_answer_is_perfect_and_noise_knows_nothing(tasks, noise):
    answer = np.stack([tasks["elevation"].target, tasks["population"].target], axis=1)
    sums = score(answer, tasks, 0, "report", [FEW])
    assert mean(sums, task="elevation") > 0.999
    assert mean(sums, task="population") > 0.999
    assert abs(mean(score(noise, tasks, 0, "report", [Evaluation()]), task="elevation")) < 0.05


def test_an_embedding_that_knows_its_cell_is_caught_by_the_blocks(lonlat):
    # What an embedding that memorises regions would do: perfect at random, nothing in blocks.
    cell = Grid().cells(lonlat)
    level = np.random.default_rng(1).normal(size=cell.max() + 1)
    task = {"by cell": Task("by cell", lonlat, level[cell], "regression", "m")}
    one_hot = (cell[:, None] == np.unique(cell)).astype(float)
    sums = score(one_hot, task, 0, "report", [Evaluation(), Evaluation("random")])
    assert mean(sums, split="random") > 0.8
    assert mean(sums, split="block") < 0.05


def test_scored_cells_are_those_of_the_stage_and_of_the_grid(tasks, noise):
    for stage in ("development", "report"):
        assert halves(score(noise, tasks, 0, stage, [FEW]), Grid()) == {stage}
    grid = Grid(2000.0, (40.0, 25.0))
    sums = score(noise, tasks, 0, "report", [Evaluation(grid=grid)])
    assert halves(sums, grid) == {"report"}
    assert set(sums["grid"]) == {"2000 km, turned by 40 and 25"}


def test_budgets_that_the_places_do_not_reach_are_left_out(tasks, noise):
    assert score(noise, tasks, 0, "report")["n_labels"].max() == 729


@pytest.mark.parametrize(
    ("change", "how", "message"),
    [
        (lambda z, t: (z[:5], t), {}, "expected embeddings of 3000 places, got"),
        (lambda z, t: (np.where(z == z[7], np.nan, z), t), {}, "finite"),
        (lambda z, t: (z, t | {"half": t["climate"].at(slice(0, 99))}), {}, "the same places"),
        (lambda z, t: (z, t), {"budgets": (19_683,)}, "3000 places are too few for the labels"),
        (lambda z, t: (z, t), {"tasks": ("rain",)}, r"none of the tasks \('rain',\) is given"),
        (lambda z, t: (z, t), {"near_name_km": 1e-4}, "no place lies within 0.0001 km of a name"),
    ],
)
def test_embeddings_and_tasks_that_do_not_fit_are_refused(tasks, noise, change, how, message):
    with pytest.raises(ValueError, match=message):
        score(*change(noise, tasks), 0, "report", [Evaluation(**how)])


BAD = {"unknown split": {"split": "blocks"}, "unknown probe": {"probe": "forest"}}
BAD |= {"must be a Grid": {"grid": "1000 km"}, "tuple of names": {"tasks": "population"}}


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_the_intrinsic_dimension_is_that_of_the_space_behind_the_columns(dimension):
    rng = np.random.default_rng(0)
    hidden = rng.uniform(size=(4000, dimension))
    z = np.tanh(hidden @ rng.normal(size=(dimension, 30)))
    assert intrinsic_dimension(z) == pytest.approx(dimension, rel=0.12)
    assert intrinsic_dimension(z, most=1000) == pytest.approx(dimension, rel=0.2)


def test_wrong_evaluations_are_refused():
    bad = [*BAD.items(), *(("numbers of labels", {"budgets": n}) for n in ((), (0,), 729, (2.5,)))]
    bad += [("a positive number", {"near_name_km": km}) for km in (-3.0, 0, np.nan, "near")]
    for message, settings in bad:
        with pytest.raises(ValueError, match=message):
            Evaluation(**settings)


@pytest.mark.parametrize("probe", ["ridge", "linear", "neighbours", "MLP", "trees"])
def test_only_nonlinear_probes_find_a_nonlinear_signal(lonlat, noise, probe):
    task = Task("bend", lonlat, 100 + 9 * abs(noise[:, 0]), "regression", "m")
    sums = score(noise, {"bend": task}, 0, "report", [Evaluation(probe=probe)])
    assert (mean(sums, probe=probe) > 0.4) == (probe not in ("ridge", "linear"))


def test_interpolation_is_scored_like_an_embedding_and_ties_go_to_the_larger_penalty(tasks, noise):
    lonlat = tasks["country"].lonlat
    for split, least in (("random", 0.6), ("block", 0.3)):
        how = Evaluation(split, (243,), Interpolation(5), tasks=("country",))
        sums = score(Interpolation(5)(lonlat), tasks, 0, "report", [how])
        usual = score(Interpolation(5), tasks, 0, "report", [replace(how, probe="ridge")])
        pd.testing.assert_frame_equal(usual, sums)
        assert set(sums["probe"]) == {"IDW"}
        assert least < mean(sums) < least + 0.3
    plain, near = (
        score(noise, tasks, 0, "report", [Evaluation(budgets=(243,), near_ties=n)])["penalty"]
        for n in (None, 5.0)
    )
    assert (near >= plain).all()
    assert (near > plain).any()


def test_the_nearest_name_is_found_with_its_distance():
    places = thinned_names()[["lon", "lat"]].to_numpy()[10:14]
    row, km = nearest_name(places + np.array([0.0, 0.01]))
    assert row.tolist() == [10, 11, 12, 13]
    np.testing.assert_allclose(km, 1.11, atol=0.01)


def test_places_near_names_alone_take_part_if_asked(tasks, lonlat, noise):
    near = nearest_name(lonlat)[1] <= 30.0
    assert 0.2 < near.mean() < 0.9
    how = Evaluation(budgets=(243,), near_name_km=30.0)
    some = score(noise, tasks, 0, "report", [how])
    assert set(some["grid"]) == {"1000 km, within 30 km of a name"}
    fewer = {name: task.at(near) for name, task in tasks.items()}
    by_hand = score(noise[near], fewer, 0, "report", [FEW])
    assert some.drop(columns="grid").equals(by_hand.drop(columns="grid"))


def test_an_evaluation_may_leave_tasks_out(tasks, noise):
    one = Evaluation(budgets=(243,), tasks=("elevation",))
    some, every = (score(noise, tasks, 0, "report", [how]) for how in (one, FEW))
    pd.testing.assert_frame_equal(some, every[every["task"] == "elevation"].reset_index(drop=True))
