"""Sums by cell, the two-way bootstrap, Holm's correction, effects in labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, r2_score

from earthtie_lite.results.intervals import (
    Bootstrap,
    cell_sums,
    compare,
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


def test_sums_give_r2_of_all_and_of_any_cells():
    sums = cell_sums(GUESS, TRUTH, CELLS, TRUTH[:50])
    for keep in (np.arange(30), np.arange(7)):
        rows = np.isin(CELLS, keep)
        got = scores(sums[sums["cell"].isin(keep)].assign(x=0), ["x"])
        assert got["score"].item() == pytest.approx(r2_score(TRUTH[rows], GUESS[rows]))
        assert np.isnan(got["score_seen"].item())
        assert got["n"].item() == rows.sum()


def test_sums_give_the_accuracy_and_that_among_seen_classes():
    sums = cell_sums(VOTE, KIND, CELLS, np.array([0, 1, 2]))
    got = scores(sums.assign(x=0), ["x"])
    seen = KIND < 3
    assert got["score"].item() == pytest.approx(accuracy_score(KIND, VOTE))
    assert got["score_seen"].item() == pytest.approx(accuracy_score(KIND[seen], VOTE[seen]))


def test_a_class_without_labels_counts_as_an_error():
    sums = cell_sums(np.zeros(4, int), np.array([0, 0, 9, 9]), np.zeros(4, int), np.array([0]))
    got = scores(sums.assign(x=0), ["x"])
    assert (got["score"].item(), got["score_seen"].item()) == (0.5, 1.0)


def simulate(rng, gap=0.0, n_seeds=5, n_cells=40):
    """Sums of two embeddings whose errors differ by seeds and cells, and by ``gap`` on average."""
    rows = []
    hard = rng.gamma(3.0, size=n_cells)  # cells differ in difficulty, for both alike
    level = rng.normal(size=n_cells)
    for name, extra in (("a", 0.0), ("b", gap)):
        seeds = rng.normal(scale=0.1, size=n_seeds)
        taste = rng.normal(scale=0.3, size=n_cells)  # cells that suit the one or the other
        noise = rng.normal(scale=0.2, size=(n_seeds, n_cells))
        factor = np.exp(seeds[:, None] + taste + noise + extra)
        for seed in range(n_seeds):
            for cell in range(n_cells):
                row = {"embedding": name, "seed": seed, "cell": cell, "n": 100.0}
                row |= {"wrong": 30 * hard[cell] * factor[seed, cell]}
                row |= {"total": 100 * level[cell], "square": 100 * (level[cell] ** 2 + 1)}
                rows.append(row)
    return pd.DataFrame(rows)


def test_two_equal_embeddings_have_zero_in_95_percent_of_the_intervals():
    rng = np.random.default_rng(1)
    inside = 0
    for k in range(300):
        gap = Bootstrap(simulate(rng), replicates=400, seed=k).difference("a", "b")
        inside += gap["low"] <= 0 <= gap["high"]
    # 95 % of 300 with a binomial spread of 1.3 %; the pigeonhole bootstrap may be too wide.
    assert 0.925 <= inside / 300 <= 0.995


def test_a_real_difference_is_found():
    gap = Bootstrap(simulate(np.random.default_rng(2), gap=0.5)).difference("a", "b")
    assert gap["low"] > 0
    assert gap["p"] < 0.01


def test_a_difference_has_the_other_sign_the_other_way():
    boot = Bootstrap(simulate(np.random.default_rng(3)))
    one, other = boot.difference("a", "b"), boot.difference("b", "a")
    assert one["difference"] == pytest.approx(-other["difference"])
    assert one["low"] == pytest.approx(-other["high"])
    assert one["p"] == pytest.approx(other["p"])


def test_an_embedding_does_not_differ_from_itself():
    sums = simulate(np.random.default_rng(4))
    twin = sums[sums["embedding"] == "a"].assign(embedding="twin")
    gap = Bootstrap(pd.concat([sums, twin])).difference("a", "twin")
    assert (gap["difference"], gap["low"], gap["high"], gap["p"]) == (0, 0, 0, 1)


def test_pairing_makes_the_interval_of_a_difference_shorter():
    sums = simulate(np.random.default_rng(5))
    boot = Bootstrap(sums)
    gap = boot.difference("a", "b")
    alone = [boot.interval(name) for name in ("a", "b")]
    unpaired = np.hypot(*(high - low for _, low, high in alone))
    assert gap["high"] - gap["low"] < 0.8 * unpaired


def test_the_mean_is_the_mean_over_seeds_of_the_score_of_all_cells():
    sums = simulate(np.random.default_rng(6))
    by_seed = scores(sums.assign(wrong_seen=0, n_seen=0), ["embedding", "seed"])
    expected = by_seed.groupby("embedding")["score"].mean()
    boot = Bootstrap(sums)
    for name in "ab":
        mean, low, high = boot.interval(name)
        assert mean == pytest.approx(expected[name])
        assert low < mean < high


def test_the_order_of_the_rows_does_not_matter():
    sums = simulate(np.random.default_rng(7))
    mixed = sums.sample(frac=1, random_state=0)
    assert Bootstrap(sums).difference("a", "b") == Bootstrap(mixed).difference("a", "b")


def test_missing_or_double_cells_are_refused():
    sums = simulate(np.random.default_rng(8))
    with pytest.raises(ValueError, match="same seeds and cells"):
        Bootstrap(sums.iloc[1:])
    with pytest.raises(ValueError, match="twice"):
        Bootstrap(pd.concat([sums, sums]))


def test_score_of_sums_of_a_perfect_and_a_constant_answer():
    assert score_of(4.0, 0.0, 10.0, 30.0) == 1.0
    assert score_of(4.0, 5.0, 10.0, 30.0) == 0.0  # the spread about the mean is 5


def test_holm_is_the_textbook_method():
    p = [0.01, 0.02, 0.03, 0.04]
    np.testing.assert_allclose(holm(p), [0.04, 0.06, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])


def test_holm_keeps_the_rate_of_any_false_alarm():
    rng = np.random.default_rng(0)
    alarms = [(holm(rng.random(4)) < 0.05).any() for _ in range(4000)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.012)


def test_labels_needed_interpolates_in_log_labels():
    assert labels_needed([10, 1000], [0.0, 1.0], 0.5) == pytest.approx(100)
    assert labels_needed([10, 1000], [0.0, 1.0], 2.0) == np.inf
    assert labels_needed([10, 1000], [0.6, 1.0], 0.5) == pytest.approx(10)
    assert labels_needed([10, 100, 1000], [0.1, 0.6, 0.3], 0.6) == pytest.approx(100)


@pytest.mark.parametrize("budgets", [[10, 10], [100, 10], [10]])
def test_budgets_that_do_not_increase_are_refused(budgets):
    with pytest.raises(ValueError, match="budgets must increase"):
        labels_needed(budgets, [0.1, 0.2], 0.1)


def test_comparisons_carry_their_group():
    rng = np.random.default_rng(9)
    gaps = {"easy": 0.5, "equal": 0.0}
    sums = pd.concat([simulate(rng, gap).assign(task=name) for name, gap in gaps.items()])
    table = compare(sums, [("a", "b")], ["task"])
    assert table["task"].tolist() == ["easy", "equal"]
    assert (holm(table["p"]) >= table["p"]).all()
    assert table.loc[0, "low"] > 0
