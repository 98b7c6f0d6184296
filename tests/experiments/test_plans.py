"""The declarations in tables.toml: every recipe is used, every row can be trained and scored."""

import numpy as np
import pytest

from data.experiments import plans
from data.experiments.plans import evaluations, recipe, row, rows_of
from earthtie_lite.modalities import NAMES
from earthtie_lite.results.scoring import Evaluation
from earthtie_lite.results.tables import STAGES

CHOSEN = recipe("chosen")
TABLES = [(stage, name) for stage in STAGES for name in plans.table_names(stage)]


def test_every_recipe_is_used():
    declared = plans.declared()
    blocks = [b for tables in declared["stages"].values() for some in tables.values() for b in some]
    assert {name for block in blocks for name in block["recipes"]} == set(declared["recipes"])
    assert list(declared["stages"]) == list(STAGES)


@pytest.mark.parametrize(("stage", "table"), TABLES)
def test_every_row_can_be_trained_and_scored_and_none_is_there_twice(stage, table):
    rows = rows_of(stage, table, range(3))
    assert len(rows) == len(set(rows)) > 0
    if stage != "development":  # there, recipes of one name are told apart by their settings
        names = {(r.recipe.name, r.name, r.method, r.setting, r.seed) for r in rows}
        assert len(names) == len(rows)
    for made in {r.recipe: r for r in rows}.values():
        assert made.recipe.encoder(0).out_dim >= 256
        made.recipe.config(made.method or "melt", len(NAMES), 0)
        made.recipe.variant(NAMES)
        ways = evaluations(made, stage)
        assert len(ways) == len(set(ways)) > 0


def test_encoders_and_skips_are_compared_at_equal_size():
    plain = [r for r in rows_of("bottleneck", "encoders", [0]) if r.kind == "untrained"]
    encoders = [r.recipe.encoder(0) for r in (row("untrained"), *plain)]
    sizes = np.array([sum(p.numel() for p in encoder.parameters()) for encoder in encoders])
    np.testing.assert_allclose(sizes[1:] / sizes[0], (0.25, 1, 4) * 2, rtol=0.01)
    encoders = [r.recipe.encoder(0) for r in rows_of("bottleneck", "skips", [0])]
    assert {e.out_dim for e in encoders} == {CHOSEN.out_dim}
    assert {e.tied_dim for e in encoders} == {256 - 9, 256 - 25, 256 - 100, 256}


def test_choices_need_few_budgets_and_the_report_has_every_check():
    (few,) = evaluations(row("untrained"), "development")
    assert (few.split, few.budgets, few.probe) == ("block", (729, 6561), "ridge")
    many = evaluations(row("untrained"), "report")
    assert {e.probe for e in many} == {"ridge", "neighbours", "MLP"}
    assert {e.split for e in many} == {"block", "random"}
    assert len({e.grid for e in many}) == 4
    assert Evaluation(probe="trees") in evaluations(row("coordinates"), "report")
