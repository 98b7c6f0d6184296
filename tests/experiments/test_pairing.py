"""The sample arranged on purpose: who sees which place."""

from itertools import combinations

import numpy as np
import pytest

from data.experiments.pairing import ARRANGEMENTS, REGION_KM, _regions, load_arranged
from earthtie_lite.coords import block_ids
from earthtie_lite.modalities import NAMES, thinned_names

N = 400


@pytest.fixture(scope="module")
def arranged():
    return {how: load_arranged(how, N, seed=1) for how in ARRANGEMENTS}


def as_set(m):
    return set(map(tuple, m.lonlat))


@pytest.mark.parametrize("how", ARRANGEMENTS)
def test_every_modality_has_n_different_places_of_names(arranged, how):
    names = set(map(tuple, thinned_names()[["lon", "lat"]].to_numpy()))
    assert tuple(arranged[how]) == NAMES
    for m in arranged[how].values():
        assert len(as_set(m)) == len(m) == N
        assert as_set(m) < names


def test_the_same_places_are_the_same_for_all(arranged):
    first, *others = arranged["same"].values()
    for m in others:
        np.testing.assert_array_equal(m.lonlat, first.lonlat)


@pytest.mark.parametrize("how", ["apart", "regions"])
def test_apart_no_place_is_shared(arranged, how):
    for a, b in combinations(arranged[how].values(), 2):
        assert not as_set(a) & as_set(b)


def test_regions_share_no_cell(arranged):
    cells = [set(block_ids(m.lonlat, REGION_KM)) for m in arranged["regions"].values()]
    apart = [set(block_ids(m.lonlat, REGION_KM)) for m in arranged["apart"].values()]
    assert not any(a & b for a, b in combinations(cells, 2))
    assert all(a & b for a, b in combinations(apart, 2))


def test_every_modality_has_names_enough_in_its_regions():
    lonlat = thinned_names()[["lon", "lat"]].to_numpy()
    dealt = [_regions(lonlat, seed) for seed in range(5)]
    for a, b in combinations(dealt, 2):
        assert np.bincount(a).min() >= 25_000
        assert 0.15 < (a == b).mean() < 0.55  # another seed, other regions


def test_the_seed_draws_other_places(arranged):
    other = load_arranged("apart", N, seed=2)
    assert as_set(other["text"]) != as_set(arranged["apart"]["text"])
    again = load_arranged("apart", N, seed=1)
    for name in NAMES:
        np.testing.assert_array_equal(again[name].features, arranged["apart"][name].features)


def test_too_few_names_and_unknown_arrangements_are_refused():
    with pytest.raises(ValueError, match=r"only [\d,]+ names exist for 'satellite', n is 50"):
        load_arranged("apart", 50_000)
    with pytest.raises(ValueError, match=r"unknown arrangement 'near': expected one of \('same'"):
        load_arranged("near", 10)
    for n in (-1, 1, 2.5, True):
        with pytest.raises(ValueError, match="n must be an integer of at least 2, got"):
            load_arranged("same", n)
