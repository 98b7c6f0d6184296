"""Sums by cell, the two-way bootstrap, Holm's correction, effects in labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score

from earthtie_lite.results.intervals import (
    Bootstrap,
    cell_sums,
    holm,
    labels_needed,
    score_of,
    scores,
)

RNG = np.random.default_rng(0)
CELLS = RNG.integers(0, 30, 500)
TRUTH = RNG.normal(size=500) + CELLS / 10
GUESS = TRUTH + RNG.normal(size=500)
KIND = RNG.integers(0, 5, 500)
VOTE = np.where(RNG.random(500) < 0.6, KIND, 0)


@pytest.mark.parametrize("n_cells", [30, 7])
def test_sums_give_r2_of_all_and_of_any_cells(n_cells):
    sums, rows = cell_sums(GUESS, TRUTH, CELLS, TRUTH[:50]), np.isin(CELLS, range(n_cells))
    got = scores(sums[sums["cell"] < n_cells].assign(x=0), ["x"]).loc[0]
    assert got["score"] == pytest.approx(r2_score(TRUTH[rows], GUESS[rows]))
    assert np.isnan(got["score_seen"])


def test_sums_give_the_accuracy_and_that_among_seen_classes():
    got = scores(cell_sums(VOTE, KIND, CELLS, np.array([0, 1, 2])).assign(x=0), ["x"]).loc[0]
    seen = KIND < 3
    assert got["score"] == pytest.approx(accuracy_score(KIND, VOTE))
    assert got["score_seen"] == pytest.approx(accuracy_score(KIND[seen], VOTE[seen]))


def simulate(seed, gap=0.0, n_seeds=5, n_cells=40):
    """Return sums of two embeddings whose errors differ by seeds, cells and, on average, gap."""
    rng = np.random.default_rng(seed)
    hard, level = rng.gamma(3.0, size=n_cells), rng.normal(size=n_cells)  # alike for both
    seeds = rng.normal(scale=0.2, size=(2, n_seeds, 1))
    taste = rng.normal(scale=0.3, size=(2, 1, n_cells))  # cells that suit the one or the other
    noise = rng.normal(scale=0.2, size=(2, n_seeds, n_cells))
    wrong = 30 * hard * np.exp(seeds + taste + noise + np.array([0.0, gap])[:, None, None])
    names = (list("ab"), range(n_seeds), range(n_cells))
    index = pd.MultiIndex.from_product(names, names=["embedding", "seed", "cell"])
    sums = pd.DataFrame({"n": 100.0, "wrong": wrong.ravel()}, index)
    total = np.tile(100 * level, 2 * n_seeds)
    return sums.assign(total=total, square=total**2 / 100 + 100).reset_index()


@pytest.mark.parametrize("seed", [2, 3])
def test_a_paired_interval_is_that_of_a_naive_bootstrap(seed):
    sums, rng = simulate(seed, gap=0.2), np.random.default_rng(0)
    cube = sums[["n", "wrong", "total", "square"]].to_numpy().reshape(2, 5, 40, 4)
    draws = []
    for _ in range(2000):
        seeds, cells = rng.integers(5, size=5), rng.integers(40, size=40)
        a, b = score_of(*np.moveaxis(cube[:, seeds][:, :, cells].sum(axis=2), -1, 0)).mean(axis=1)
        draws.append((a, b, a - b))
    mean = score_of(*np.moveaxis(cube.sum(axis=2), -1, 0)).mean(axis=1)
    expected = np.c_[[*mean, mean[0] - mean[1]], np.percentile(draws, [2.5, 97.5], axis=0).T]
    boot = Bootstrap(sums.sample(frac=1, random_state=0))  # whatever the order of the rows
    gap = boot.difference("a", "b")
    got = [boot.interval("a"), boot.interval("b"), [gap[k] for k in ("difference", "low", "high")]]
    np.testing.assert_allclose(np.array(got)[:, 0], expected[:, 0], rtol=1e-9)
    for found, naive in zip(got, expected):
        np.testing.assert_allclose(found, naive, rtol=0, atol=0.07 * (naive[2] - naive[1]))


def test_two_equal_embeddings_have_zero_in_95_percent_of_the_intervals():
    gaps = [Bootstrap(simulate(k), 400, seed=k).difference("a", "b") for k in range(200)]
    inside = np.mean([gap["low"] <= 0 <= gap["high"] for gap in gaps])
    # 95 % of 200 with a binomial spread of 1.5 %; the pigeonhole bootstrap may be too wide.
    assert 0.92 <= inside <= 0.995


def test_p_is_small_for_a_real_difference_and_one_for_none():
    sums = simulate(2, gap=0.5)
    twin = sums[sums["embedding"] == "a"].assign(embedding="twin")
    boot = Bootstrap(pd.concat([sums, twin]))
    one, other = boot.difference("a", "b"), boot.difference("b", "a")
    assert one["low"] == pytest.approx(-other["high"])
    assert one["low"] > 0
    assert one["p"] == pytest.approx(other["p"])
    assert one["p"] < 0.01
    assert holm([0.9, 0.8]).tolist() == [1, 1]  # the doctest has the textbook's example
    assert boot.difference("a", "twin") == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_missing_or_double_cells_are_refused():
    sums = simulate(8)
    for wrong, message in ((sums.iloc[1:], "same seeds"), (pd.concat([sums, sums]), "twice")):
        with pytest.raises(ValueError, match=message):
            Bootstrap(wrong)


def test_labels_needed_interpolates_in_log_labels():
    assert labels_needed([10, 1000], [0.0, 1.0], 0.5) == pytest.approx(100)
    assert labels_needed([10, 1000], [0.0, 1.0], 2.0) == np.inf
    assert labels_needed([10, 1000], [0.6, 1.0], 0.5) == pytest.approx(10)
    assert labels_needed([10, 100, 1000], [0.1, 0.6, 0.3], 0.6) == pytest.approx(100)
    for budgets in ([10, 10], [100, 10], [10]):
        with pytest.raises(ValueError, match="budgets must increase"):
            labels_needed(budgets, [0.1, 0.2], 0.1)
