"""The halves of the land, who may be labelled and who is scored."""

import numpy as np
import pytest

from earthtie_lite.coords import great_circle_km, n_blocks, sample_sphere
from earthtie_lite.results.protocol import BUDGETS, FIRST, Grid, in_report_half, parts, splits
from earthtie_lite.sample import sample_land

PLACES = sample_land(6_000, np.random.default_rng(7))
PART = parts(PLACES, FIRST)
OTHER = Grid(2000.0, (40.0, 25.0))
each_stage = pytest.mark.parametrize("stage", ["development", "report"])
each_split = pytest.mark.parametrize("split", ["block", "random"])


def test_the_halves_have_not_changed():
    # Choices were made on the development half: moving a cell would leak.
    table = FIRST.table()
    held = table.index[table["half"] == "report"]
    assert (len(table), len(held), int(held.to_numpy().sum())) == (257, 127, 39_686)
    assert ((table["part"] >= 4) == (table["half"] == "report")).all()
    assert set(table["part"]) == set(range(8))


def test_both_halves_hold_similar_shares_of_every_continent():
    land = FIRST.table().groupby(["continent", "half"])["land"].sum().unstack(fill_value=0)
    large = land[land.sum(axis=1) > 0.01]
    assert len(large) == 6
    np.testing.assert_allclose(large["development"], large["report"], rtol=0.17)
    greenland = (PLACES[:, 1] > 59) & (PLACES[:, 0] > -75) & (PLACES[:, 0] < -10)
    assert (PART[~greenland] < 0).mean() < 0.002  # nearly all other land has a cell


def test_a_turned_grid_cuts_elsewhere_into_cells_of_the_same_area():
    turned = Grid(1000.0, (37.0, 90.0))
    one, other = ((c[:, None] == c[:500]) for c in (FIRST.cells(PLACES), turned.cells(PLACES)))
    assert 0.2 < (one & other).sum() / one.sum() < 0.9
    cells = OTHER.cells(sample_sphere(100_000, np.random.default_rng(0)))
    counts = np.bincount(cells, minlength=n_blocks(2000.0))
    expected = 100_000 / len(counts)
    assert abs((counts - expected) / np.sqrt(expected)).max() < 5


def cells_of(rows, grid=FIRST):
    return set(grid.cells(PLACES[rows]).tolist())


@each_stage
@each_split
def test_no_row_is_labelled_and_scored_and_choices_never_see_the_report_half(stage, split):
    for part in splits(PLACES, stage, split):
        assert not np.isin(part.pool, part.scored).any()
        assert ((PART[part.scored] >= 4) == (stage == "report")).all()
        if stage == "development":
            assert (PART[part.pool] < 4).all()


@each_stage
def test_in_blocks_no_scored_cell_has_a_label(stage):
    for part in splits(PLACES, stage, "block"):
        assert not cells_of(part.pool) & cells_of(part.scored)
        np.testing.assert_array_equal(part.groups, FIRST.cells(PLACES))


def test_at_random_scored_cells_have_labels_and_folds_ignore_cells():
    (part,) = splits(PLACES, "report", "random")
    assert len(cells_of(part.scored) - cells_of(part.pool)) < 15
    assert len(np.unique(part.groups)) == len(PLACES)
    assert set(part.labels(243, 0)) != set(part.labels(243, 1))


def test_development_scores_all_of_its_half_once():
    scored = np.concatenate([part.scored for part in splits(PLACES, "development")])
    np.testing.assert_array_equal(np.sort(scored), np.flatnonzero((PART >= 0) & (PART < 4)))


def test_other_grids_score_nothing_that_a_choice_was_made_on():
    (part,) = splits(PLACES, "report", grid=OTHER)
    assert (PART[part.scored] >= 4).all()
    assert not cells_of(part.pool, OTHER) & cells_of(part.scored, OTHER)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: splits(PLACES, "test"), "unknown stage 'test'"),
        (lambda: splits(PLACES, "report", "blocks"), "unknown split 'blocks'"),
        (lambda: splits(PLACES, "development", grid=OTHER), "choices are made on the first grid"),
        (lambda: splits(PLACES[:1], "report"), "no places to label or to score"),
        (lambda: splits(PLACES, "report")[0].labels(BUDGETS[-1], 0), "59049 labels were asked for"),
    ],
)
def test_impossible_splits_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_inductive_setting_leaves_out_the_report_half_and_a_buffer():
    out, report = in_report_half(PLACES, 111.0), PART >= 4
    assert out[report].all()
    assert (out & ~report).any()
    half = PLACES[report]
    for place in PLACES[~out][:300]:  # by brute force: what is left is farther than the buffer
        assert great_circle_km(np.repeat([place], len(half), 0), half).min() >= 111.0
