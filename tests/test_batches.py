"""Batches: MELT's shares, SALT's turns, what is held out."""

import numpy as np

import earthtie_lite as et
from earthtie_lite.batches import batches, shares, split_rows
from earthtie_lite.coords import hold_out
from earthtie_lite.sample import PATCH_KM

CONFIG = et.TrainConfig(batch_size=64)


def test_melt_divides_2048_as_evenly_as_it_can():
    rows = {name: np.arange(5000) for name in "abc"}
    config = et.TrainConfig()
    assert shares(rows, config, 0) == {"a": 683, "b": 683, "c": 682}
    for batch in batches(rows, config, 0, 2):
        assert {name: len(part) for name, part in batch.items()} == {"a": 683, "b": 683, "c": 682}


def test_validation_uses_the_held_out_places_alone(three):
    train_rows, val_rows = split_rows(three, CONFIG)
    for m in three:
        held_out, kept = hold_out(m.lonlat, 0.1, buffer_km=PATCH_KM)
        np.testing.assert_array_equal(val_rows[m.name], np.flatnonzero(held_out))
        np.testing.assert_array_equal(train_rows[m.name], np.flatnonzero(kept))


def test_salt_may_take_its_turns_by_step():
    rows = {name: np.arange(90) for name in "abc"}
    config = CONFIG.replace(method="salt", switch="step", batch_size=30)
    active = [list(batch) for epoch in (0, 1) for batch in batches(rows, config, epoch, 4)]
    assert active == [["a"], ["b"], ["c"], ["a"], ["b"], ["c"], ["a"], ["b"]]


def test_melt_knows_no_turns():
    rows = {name: np.arange(90) for name in "abc"}
    for turn in (0, 1):
        assert shares(rows, CONFIG, turn) == {"a": 22, "b": 21, "c": 21}
