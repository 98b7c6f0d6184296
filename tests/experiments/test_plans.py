"""The declarations in tables.toml: every recipe is used, and each experiment varies one thing."""

import dataclasses

import numpy as np
import pytest

from data.experiments import plans
from data.experiments.plans import evaluations, recipe, row, rows_of
from data.experiments.rows import TRAINED
from earthtie_lite.config import TrainConfig
from earthtie_lite.modalities import NAMES
from earthtie_lite.results.scoring import Evaluation
from earthtie_lite.results.tables import BEST_SINGLE, STAGES
from earthtie_lite.train import melt_batches

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
        config = made.recipe.config(made.method or "melt", len(NAMES), 0)
        assert isinstance(config, TrainConfig)
        made.recipe.variant(NAMES)
        ways = evaluations(made, stage)
        assert len(ways) == len(set(ways)) > 0


def test_the_table_of_a_stage_has_every_kind_of_row():
    names = {r.name for r in rows_of("report", "chosen", [0]) if r.setting == "transductive"}
    assert names >= {"coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained"}
    assert names >= {"ensemble", "MELT satellite+lights+text", "SALT satellite+lights+text", *NAMES}
    assert len([name for name in names if name.endswith("no skip")]) == 7 + 1 + 1
    assert len(rows_of("report", "chosen")) == 5 * (len(names) + 3)
    kinds = {(r.kind, r.method, r.setting) for r in rows_of("retrieval", "chosen", [0])}
    assert kinds >= {(TRAINED, "melt", "inductive"), ("untrained", "", "transductive")}
    assert set(BEST_SINGLE) > {"elevation", "climate", "country", "population (GPWv4)", "biome"}


def test_the_papers_training_has_the_same_encoder_and_nothing_is_trained_twice():
    rows = rows_of("report", "paper", [0])
    assert {(r.recipe.batch_size, r.recipe.learning_rate) for r in rows} == {(2048, 1e-4)}
    assert {r.method: r.recipe.config(r.method, 3, 0).epochs for r in rows} == {
        "melt": 50,
        "salt": 150,
    }
    assert rows[0].recipe.encoder(0).spec == CHOSEN.encoder(0).spec
    assert set(rows_of("dynamics", "paper", [0])) < set(rows)


def test_encoders_and_skips_are_compared_at_equal_size():
    plain = [r for r in rows_of("bottleneck", "encoders", [0]) if r.kind == "untrained"]
    sizes = [
        sum(p.numel() for p in r.recipe.encoder(0).parameters()) for r in (row("untrained"), *plain)
    ]
    np.testing.assert_allclose(np.array(sizes[1:]) / sizes[0], (0.25, 1, 4) * 2, rtol=0.01)
    encoders = [r.recipe.encoder(0) for r in rows_of("bottleneck", "skips", [0])]
    assert {e.out_dim for e in encoders} == {CHOSEN.out_dim}
    assert {e.tied_dim for e in encoders} == {256 - 9, 256 - 25, 256 - 100, 256}


def test_more_places_and_longer_training_are_crossed_at_equal_pairs():
    rows = [r.recipe for r in rows_of("bottleneck", "saturation", [0])]
    seen = {}
    for r in rows:
        config = r.config("melt", len(NAMES), 0)
        places = {name: np.arange(r.n) for name in NAMES}
        steps = len(list(melt_batches(places, config.batch_size, np.random.default_rng(0))))
        seen[r.n, r.pairs] = config.epochs * steps * config.batch_size
    assert len(seen) == len(rows) == 2 * 5
    for (_, pairs), count in seen.items():
        assert count == pytest.approx(pairs, rel=0.02)
    sizes = {r.recipe.name: r.recipe for r in rows_of("bottleneck", "arrangements", [0])}
    assert {r.pairs for r in sizes.values()} == {750_000}
    assert sizes["same, 75,000 places"].n == 3 * sizes["apart"].n


def test_experiments_change_nothing_but_what_their_name_says():
    for table, fields in (
        ("switches", {"training"}),
        ("references", set()),
        ("skips", {"skip", "tie_skip", "joined"}),
        ("encoders", {"n_degrees", "width", "training"}),
        ("arrangements", {"n", "pairs", "places"}),
    ):
        for r in rows_of("bottleneck", table, [0]):
            changed = dataclasses.asdict(r.recipe).items() - dataclasses.asdict(CHOSEN).items()
            assert {name for name, _ in changed} <= fields | {"name"}
    own = [r.recipe for r in rows_of("development", "tries") if r.recipe.training]
    for r in own:
        changed = dataclasses.asdict(r).items() - dataclasses.asdict(own[0]).items()
        assert len(changed) == (r != own[0])


def test_choices_need_few_budgets_and_the_report_has_every_check():
    few = evaluations(row("untrained"), "development")
    assert [(e.split, e.budgets, e.probe) for e in few] == [("block", (729, 6561), "ridge")]
    many = evaluations(row("untrained"), "report")
    assert {e.probe for e in many} == {"ridge", "neighbours", "MLP"}
    assert {e.split for e in many} == {"block", "random"}
    assert len({e.grid for e in many}) == 4
    assert Evaluation(probe="trees") in evaluations(row("coordinates"), "report")


def test_names_are_a_reference_near_names_alone():
    rows = rows_of("bottleneck", "references", [0])
    for r in rows:
        near = {how.near_name_km for how in evaluations(r, "bottleneck")}
        assert near == ({25.0} if r.recipe.name == "near names" else {None})
        assert r.recipe.name == "near names" or r.modalities != ("text",)
    assert any(r.kind == TRAINED and r.recipe.name == "near names" for r in rows)
