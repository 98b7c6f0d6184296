"""Random streams: no two purposes share their numbers."""

import itertools

import numpy as np
import pytest

from earthtie_lite.streams import stream, torch_seed

USES = [("places", 0), ("places",), ("labels", 0), ("batches", 0, 0), ("batches", 0), ("places", 1)]


def test_the_same_purpose_and_numbers_give_the_same_stream():
    assert (stream("places", 3).random(5) == stream("places", 3).random(5)).all()


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(USES, 2)))
def test_other_purposes_and_numbers_give_other_streams(a, b):
    assert not np.isin(stream(*a).random(100), stream(*b).random(100)).any()
    assert torch_seed(*a) != torch_seed(*b)


def test_a_zero_at_the_end_counts_unlike_in_numpy():
    assert np.random.default_rng([3, 0]).random() == np.random.default_rng(3).random()
    assert stream("batches", 3, 0).random() != stream("batches", 3).random()
