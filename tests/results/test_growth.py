"""From one modality to seven: orders, kin, and the weights of the primary endpoints."""

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.coords import stream
from earthtie_lite.modalities import ALL, NAMES
from earthtie_lite.results import growth
from earthtie_lite.results.growth import (
    KIN,
    ORDERS,
    along,
    curve,
    embedding_of,
    endpoints,
    gain,
    slope,
)
from earthtie_lite.results.intervals import contrast
from earthtie_lite.results.scoring import GROWTH_TASKS, INDEPENDENT, PAPER_TASKS

CELLS, SEEDS = 8, 3


def sums_of(scores, tasks=INDEPENDENT):
    """Return sums by cell with these scores {embedding: score} in every cell, seed and task."""
    rows = [
        {"task": t, "embedding": e, "seed": s, "cell": c, "n": 1000, "wrong": 1000 * (1 - score)}
        for t in tasks
        for e, score in scores.items()
        for s in range(SEEDS)
        for c in range(CELLS)
    ]
    return pd.DataFrame(rows).assign(total=0.0, square=0.0)


def test_orders_are_two_random_ones_and_their_reverses_so_every_modality_is_in_the_middle():
    for k, order in enumerate((ORDERS[0], ORDERS[2])):
        drawn = stream("orders of growth", k).permutation(len(ALL))
        assert order == tuple(ALL[i] for i in drawn)
    for name in ALL:
        assert np.mean([order.index(name) for order in ORDERS]) == 3


def test_every_task_has_its_kin_and_the_independent_ones_have_none():
    tasks = {*GROWTH_TASKS, *PAPER_TASKS.values()}
    assert set(KIN) == tasks
    assert {task for task, kin in KIN.items() if not kin} == set(INDEPENDENT)
    assert {name for kin in KIN.values() for name in kin} <= set(ALL)


def test_the_slope_is_that_of_a_line_whatever_the_order():
    weights = slope()
    assert len(weights) == 3 + 19 + 1  # sets of one, of two to six, and all
    size = {name: name.count("+") + 1 for name in weights}
    assert sum(weights.values()) == pytest.approx(0)
    assert sum(w * (0.3 + 0.02 * size[n]) for n, w in weights.items()) == pytest.approx(0.02)


def test_the_curve_is_the_mean_over_the_orders_of_sets_of_a_size():
    scores = {name: 0.3 + 0.01 * name.count("+") for name in slope()}
    odd = embedding_of(ORDERS[0][:3])
    scores[odd] += 0.08
    lines = {"one": along(), "odd": {3: {odd: 1.0}}}
    table = curve(sums_of(scores), ["airports", "independent"], lines)
    np.testing.assert_allclose(table.query("embedding == 'odd'")["mean"], scores[odd])
    table = table[table["embedding"] == "one"]
    for task, part in table.groupby("task"):
        expected = 0.3 + 0.01 * np.arange(7) + 0.08 / 4 * (np.arange(7) == 2)
        np.testing.assert_allclose(part["mean"], expected, atol=1e-9, err_msg=task)
    assert list(table) == ["task", "embedding", "modalities", "mean", "low", "high"]


def test_endpoints_are_differences_of_means_over_the_independent_tasks():
    scores = {name: 0.3 + 0.01 * name.count("+") for name in slope()}
    fine, other = "40 degrees", "residual"
    scores |= {embedding_of(ALL, fine): 0.46, embedding_of(NAMES, fine): 0.33}
    scores |= {embedding_of(ALL, other): 0.35, embedding_of(NAMES, other): 0.36}
    scores |= {embedding_of(NAMES): 0.32, "ensemble of 7, 40 degrees": 0.41}
    scores |= {embedding_of([name], fine): 0.31 for name in ALL}
    table = endpoints(sums_of(scores), dict.fromkeys(INDEPENDENT, "lights"), fine, other)
    expected = [0.01, 0.15, 0.05, (0.46 - 0.36) - (0.33 - 0.32), (0.35 - 0.36) - (0.36 - 0.32)]
    np.testing.assert_allclose(table["difference"], expected, atol=1e-12)
    np.testing.assert_allclose(table[["low", "high"]], np.array([expected] * 2).T, atol=1e-9)
    assert (table["p"] < 0.001).all()
    assert (table["holm"] >= table["p"]).all()
    assert sum(gain(fine).values()) == 0


def test_tasks_with_other_cells_and_missing_rows_are_refused():
    sums, weights = sums_of({"a": 0.5, "b": 0.4}, ("x", "y")), {"a": 1.0, "b": -1.0}
    assert contrast(sums, dict.fromkeys(("x", "y"), weights))["difference"] == pytest.approx(0.1)
    moved = sums.assign(cell=sums["cell"] + 100 * (sums["task"] == "y"))
    for some, names, message in [
        (moved, ("x", "y"), "must have the same seeds and cells"),
        (sums, ("x", "z"), r"task 'z' has no sums of \['a', 'b'\]"),
        (sums[sums["embedding"] == "a"], ("x",), r"task 'x' has no sums of \['b'\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            contrast(some, dict.fromkeys(names, weights))


def test_rows_of_all_families_and_interpolated_labels_can_be_compared(monkeypatch):
    sums = sums_of({"a": 0.5, "b": 0.5, "untrained": 0.5, "IDW 5": 0.5})
    plain = sums["embedding"].isin(["untrained", "IDW 5"])
    sums = sums.assign(method=np.where(plain, "", "melt"), n_labels=729)
    sums = sums.assign(split="block", grid="1000 km", setting="transductive", recipe="grown")
    sums["probe"] = "ridge"
    sums.loc[sums["embedding"] == "b", "recipe"] = "residual, dropout 0, rate 0.001"
    monkeypatch.setattr(growth, "read_sums", lambda stage: {"growth": sums}[stage])
    found = growth.read_growth()
    assert set(found["embedding"]) == {"a, grown", "b, residual", "untrained, grown", "IDW 5"}
    assert len(growth.read_growth(task="airports")) == len(sums) / len(INDEPENDENT)
