"""The sample arranged on purpose: who sees which place."""

from itertools import combinations

import numpy as np
import pytest

from data.experiments.pairing import ARRANGEMENTS, REGION_KM, _regions, load_arranged
from earthtie_lite.coords import block_ids
from earthtie_lite.modalities import NAMES, thinned_names

N = 200


@pytest.fixture(scope="module")
def arranged():
    return {how: load_arranged(how, N, seed=1) for how in ARRANGEMENTS}


def as_set(m):
    return set(map(tuple, m.lonlat))


@pytest.mark.parametrize("how", ARRANGEMENTS)
def test_every_modality_has_n_places_of_names_shared_by_all_or_by_none(arranged, how):
    names = set(map(tuple, thinned_names()[["lon", "lat"]].to_numpy()))
    assert tuple(arranged[how]) == NAMES
    for m in arranged[how].values():
        assert len(as_set(m)) == len(m) == N
        assert as_set(m) < names
    for a, b in combinations(arranged[how].values(), 2):
        assert len(as_set(a) & as_set(b)) == (N if how == "same" else 0)
        assert (a.lonlat == b.lonlat).all() == (how == "same")


def test_regions_share_no_cell(arranged):
    for how in ("regions", "apart"):
        cells = [set(block_ids(m.lonlat, REGION_KM)) for m in arranged[how].values()]
        assert all(bool(a & b) == (how == "apart") for a, b in combinations(cells, 2))


def test_the_names_are_dealt_evenly_to_the_regions():
    lonlat = thinned_names()[["lon", "lat"]].to_numpy()
    for seed in range(3):
        assert np.bincount(_regions(lonlat, seed)).min() > 0.3 * len(lonlat)


def test_the_seed_draws_the_places(arranged):
    again, other = (load_arranged("apart", N, seed) for seed in (1, 2))
    assert as_set(other["text"]) != as_set(arranged["apart"]["text"])
    for name in NAMES:
        np.testing.assert_array_equal(again[name].features, arranged["apart"][name].features)


def test_too_few_names_and_unknown_arrangements_are_refused():
    for how, n, message in (
        ("apart", 50_000, r"only [\d,]+ names exist for 'satellite', n is 50"),
        ("near", 10, r"unknown arrangement 'near': expected one of \('same'"),
        ("same", 1, "n must be an integer of at least 2, got"),
    ):
        with pytest.raises(ValueError, match=message):
            load_arranged(how, n)
