"""The halves of the land, who may be labelled and who is scored."""

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite.coords import great_circle_km
from earthtie_lite.results.protocol import BUDGETS, Grid, in_report_half, parts, splits

PLACES = et.sample.sample_land(6_000, np.random.default_rng(7))
SHIFTED = Grid(1000.0, (37.0, 90.0))


def test_the_halves_have_not_changed():
    # Choices were made on the development half: moving a cell would leak.
    table = Grid().table()
    assert len(table) == 257
    held = table.index[table["half"] == "report"]
    assert (len(held), int(held.to_numpy().sum())) == (127, 39_686)


def test_halves_hold_alike_amounts_of_every_continent():
    land = Grid().table().groupby(["continent", "half"])["land"].sum().unstack(fill_value=0)
    large = land[land.sum(axis=1) > 0.01]
    assert len(large) == 6
    np.testing.assert_allclose(large["development"], large["report"], rtol=0.17)


def test_parts_make_up_the_halves():
    table = Grid().table()
    assert set(table.loc[table["half"] == "development", "part"]) == {0, 1, 2, 3}
    assert set(table.loc[table["half"] == "report", "part"]) == {4, 5, 6, 7}


def test_nearly_all_land_but_greenland_has_a_cell():
    greenland = (PLACES[:, 1] > 59) & (PLACES[:, 0] > -75) & (PLACES[:, 0] < -10)
    assert (parts(PLACES[~greenland], Grid()) < 0).mean() < 0.002


@pytest.mark.parametrize("turn", [(0.0, 0.0), (37.0, 90.0), (90.0, 45.0)])
def test_turned_cells_keep_their_area(turn):
    rng = np.random.default_rng(0)
    cells = Grid(2000.0, turn).cells(et.coords.sample_sphere(100_000, rng))
    counts = np.bincount(cells, minlength=et.coords.n_blocks(2000.0))
    expected = 100_000 / len(counts)
    assert abs((counts - expected) / np.sqrt(expected)).max() < 5


def test_a_turned_grid_cuts_elsewhere():
    same = Grid().cells(PLACES)[:, None] == Grid().cells(PLACES)[None, :500]
    turned = SHIFTED.cells(PLACES)[:, None] == SHIFTED.cells(PLACES)[None, :500]
    assert 0.2 < (same & turned).sum() / same.sum() < 0.9


def cells_of(rows):
    return set(Grid().cells(PLACES[rows]).tolist())


@pytest.mark.parametrize("stage", ["development", "report"])
@pytest.mark.parametrize("split", ["block", "random"])
def test_no_row_is_labelled_and_scored(stage, split):
    for part in splits(PLACES, stage, split):
        assert not np.isin(part.pool, part.scored).any()


@pytest.mark.parametrize("stage", ["development", "report"])
def test_in_blocks_no_scored_cell_has_a_label(stage):
    for part in splits(PLACES, stage, "block"):
        assert not cells_of(part.pool) & cells_of(part.scored)
        np.testing.assert_array_equal(part.groups, Grid().cells(PLACES))


def test_at_random_scored_cells_have_labels_and_folds_ignore_cells():
    (part,) = splits(PLACES, "report", "random")
    assert len(cells_of(part.scored) - cells_of(part.pool)) < 15
    assert len(np.unique(part.groups)) == len(PLACES)


@pytest.mark.parametrize("split", ["block", "random"])
def test_choices_never_see_the_report_half(split):
    report = parts(PLACES, Grid()) >= 4
    for part in splits(PLACES, "development", split):
        assert not report[part.pool].any()
        assert not report[part.scored].any()


@pytest.mark.parametrize("split", ["block", "random"])
def test_the_report_scores_the_report_half_only(split):
    (part,) = splits(PLACES, "report", split)
    assert (parts(PLACES, Grid())[part.scored] >= 4).all()


def test_development_scores_all_of_its_half_once():
    scored = np.concatenate([part.scored for part in splits(PLACES, "development")])
    expected = np.flatnonzero(np.isin(parts(PLACES, Grid()), [0, 1, 2, 3]))
    np.testing.assert_array_equal(np.sort(scored), expected)


@pytest.mark.parametrize("grid", [SHIFTED, Grid(2000.0)])
def test_other_grids_score_nothing_that_a_choice_was_made_on(grid):
    (part,) = splits(PLACES, "report", grid=grid)
    assert (parts(PLACES, Grid())[part.scored] >= 4).all()
    labelled, scored = (set(grid.cells(PLACES[r]).tolist()) for r in (part.pool, part.scored))
    assert not labelled & scored


def test_smaller_draws_of_labels_start_larger_ones():
    (part,) = splits(PLACES, "report")
    np.testing.assert_array_equal(part.labels(243, 1), part.labels(729, 1)[:243])
    assert not np.array_equal(part.labels(243, 0), part.labels(243, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: splits(PLACES, "test"), "unknown stage 'test'"),
        (lambda: splits(PLACES, "report", "blocks"), "unknown split 'blocks'"),
        (lambda: splits(PLACES, "development", grid=SHIFTED), "choices are made on the first grid"),
        (lambda: splits(PLACES[:1], "report"), "no places to label or to score"),
        *(
            (lambda n=n: splits(PLACES, "report")[0].labels(n, 0), message)
            for n, message in [
                (BUDGETS[-1], "59049 labels were asked for"),
                *((n, "must be an integer of at least 1") for n in (0, -5, 2.5, True)),
            ]
        ),
    ],
)
def test_what_cannot_be_split_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_inductive_setting_leaves_out_the_report_half_and_a_buffer():
    out = in_report_half(PLACES, 111.0)
    report = parts(PLACES, Grid()) >= 4
    assert out[report].all()
    # By brute force: what is left is farther away than the buffer.
    half, others = PLACES[report], PLACES[~out]
    for place in others[:300]:
        assert great_circle_km(np.repeat([place], len(half), 0), half).min() >= 111.0
    assert (out & ~report).any()


def test_a_sample_without_the_report_half_has_no_pair_there():
    sample = et.load_sample(400, 0, exclude=in_report_half)
    for modality in sample.values():
        assert len(modality) == 400
        assert not in_report_half(modality.lonlat).any()


def test_grids_name_themselves():
    assert Grid().name == "1000 km"
    assert Grid(2000.0, (40.0, 25.0)).name == "2000 km, turned by 40 and 25"
