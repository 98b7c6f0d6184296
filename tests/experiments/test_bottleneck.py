"""The experiments of notebook 09: what is declared, and that each varies one thing."""

import dataclasses

import numpy as np
import pytest

from earthtie_lite.batches import steps_per_epoch
from earthtie_lite.experiments import bottleneck
from earthtie_lite.experiments.plans import CHOSEN, evaluations
from earthtie_lite.experiments.rows import TRAINED
from earthtie_lite.modalities import NAMES


@pytest.mark.parametrize("name", bottleneck.SETS)
def test_a_set_has_its_rows_for_every_seed_and_none_twice(name):
    rows = bottleneck.SETS[name](range(3))
    assert len(rows) == len(set(rows))
    assert len([r for r in rows if r.seed == 0]) * 3 == len(rows)
    names = {(r.recipe.name, r.name, r.method) for r in rows if r.seed == 0}
    assert len(names) * 3 == len(rows)  # a row is told by its recipe and its name


def test_encoders_have_equal_parameters_whatever_their_encoding():
    found = [recipe.n_parameters for recipe in bottleneck.encoder_recipes()]
    for n, factor in zip(found, (0.25, 1, 4) * 2, strict=True):
        assert n == pytest.approx(factor * CHOSEN.n_parameters, rel=0.01)


def test_skips_have_equal_width():
    rows = bottleneck.skips([0])
    assert {row.recipe.encoder(0).out_dim for row in rows} == {CHOSEN.out_dim}
    tied = {row.recipe.skip: row.recipe.encoder(0).tied_dim for row in rows if row.recipe.tie_skip}
    assert set(tied.values()) == {CHOSEN.out_dim}


def test_longer_training_and_more_places_are_crossed_at_equal_pairs():
    seen = {}
    for row in bottleneck.saturation([0]):
        rows = {name: np.arange(row.recipe.n) for name in NAMES}
        config = row.recipe.config("melt", len(NAMES), 0)
        steps = config.epochs * steps_per_epoch(rows, config)
        seen[row.recipe.n, row.recipe.pairs] = steps * config.batch_size
    assert set(seen) == {(n, pairs) for n in bottleneck.SIZES for pairs in bottleneck.LENGTHS}
    for (_, pairs), count in seen.items():
        assert count == pytest.approx(pairs, rel=0.02)


def test_each_switch_is_what_its_name_says():
    plain = CHOSEN.config("salt", 3, 0)
    expected = {
        "SALT, own scales": plain.replace(scales="own"),
        "SALT, moments reset": plain.replace(moments="reset"),
        "SALT, head warm-up": plain.replace(head_warmup=30),
        "SALT, by step": plain.replace(switch="step"),
        "SALT, own scales, by step": plain.replace(scales="own", switch="step"),
    }
    rows = bottleneck.switches([0])
    assert {(row.method, row.modalities) for row in rows} == {("salt", NAMES)}
    assert {row.recipe.name: row.recipe.config("salt", 3, 0) for row in rows} == expected


def test_places_apart_are_as_many_as_in_the_larger_same_arrangement():
    sizes = {
        row.recipe.name: (row.recipe.n, row.recipe.pairs) for row in bottleneck.arrangements([0])
    }
    assert {pairs for _, pairs in sizes.values()} == {750_000}
    assert sizes["same, 75,000 places"][0] == 3 * sizes["apart"][0]


def test_names_are_a_reference_near_names_alone():
    rows = bottleneck.references([0])
    for row in rows:
        near = {how.near_name_km for how in evaluations(row, "bottleneck")}
        assert len(near) == 1
        assert (near != {None}) == (row.recipe.name == "near names")
        assert row.recipe.name == "near names" or row.modalities != ("text",)
    assert any(row.kind == TRAINED and row.recipe.name == "near names" for row in rows)


def test_tries_repeat_nothing_and_change_one_thing_beside_the_scales():
    rows = bottleneck.tries()
    assert len(rows) == len(set(rows))
    own = [row.recipe for row in rows if row.recipe.training]
    for recipe in own:
        fields = dataclasses.asdict(recipe).items() - dataclasses.asdict(own[0]).items()
        assert len(fields) == (recipe != own[0])
