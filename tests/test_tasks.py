"""Downstream tasks: known values, one set of places, people counted by brute force."""

import itertools

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite import sample as embedded
from earthtie_lite.coords import great_circle_km
from earthtie_lite.tasks import NAMES, country_of, people_within

KNOWN = {
    "Denver": [-104.99, 39.74],
    "Cairo": [31.24, 30.04],
    "Dead Sea": [35.48, 31.5],
    "Sahara": [10.0, 24.0],
    "New York": [-74.0, 40.72],
    "Manaus": [-60.02, -3.1],
    "Moscow": [37.62, 55.75],
}


@pytest.fixture(scope="module")
def tasks():
    return {name: et.load_task(name, n=2000) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_places_targets_and_a_unit(tasks, name):
    task = tasks[name]
    assert (task.name, len(task)) == (name, 2000)
    assert task.lonlat.shape == (2000, 2)
    assert task.target.shape == (2000,)
    assert task.unit
    assert task.source
    kind, dtype = {
        "elevation": ("regression", np.float64),
        "population": ("regression", np.float64),
        "climate": ("classification", np.int64),
        "country": ("classification", np.int64),
    }[name]
    assert (task.kind, task.target.dtype) == (kind, dtype)


@pytest.mark.parametrize(("one", "other"), list(itertools.pairwise(NAMES)))
def test_all_tasks_have_the_same_places(tasks, one, other):
    np.testing.assert_array_equal(tasks[one].lonlat, tasks[other].lonlat)


def test_the_seed_draws_the_places(tasks):
    np.testing.assert_array_equal(et.load_task("climate", n=2000).lonlat, tasks["climate"].lonlat)
    assert (et.load_task("climate", n=2000, seed=1).lonlat != tasks["climate"].lonlat).all()


def test_places_are_distinct_and_on_land(tasks):
    lonlat = tasks["elevation"].lonlat
    assert len(np.unique(lonlat, axis=0)) == 2000
    assert embedded.is_land(lonlat).all()


def test_no_task_can_change_anothers_places(tasks):
    with pytest.raises(ValueError, match="read-only"):
        tasks["country"].lonlat[0, 0] = 0.0


@pytest.mark.parametrize("name", ["climate", "country"])
def test_classes_are_numbered_by_their_names(tasks, name):
    task = tasks[name]
    assert 0 <= task.target.min() <= task.target.max() < len(task.classes)
    assert len(set(task.classes)) == len(task.classes)


def test_elevations_at_known_places():
    denver, dead_sea = embedded.raster("elevation").at([KNOWN["Denver"], KNOWN["Dead Sea"]])[:, 0]
    assert denver == pytest.approx(1620, abs=60)
    assert dead_sea < -400


@pytest.mark.parametrize(
    ("place", "expected"), [("Cairo", "BWh"), ("Manaus", "Af"), ("Moscow", "Dfb")]
)
def test_climates_at_known_places(tasks, place, expected):
    number = embedded.raster("climate").at([KNOWN[place]])[0, 0] - 1
    assert tasks["climate"].classes[number] == expected


def test_targets_are_the_rasters_values_at_the_places(tasks):
    lonlat = tasks["elevation"].lonlat
    for name, first in (("elevation", 0), ("climate", 1)):
        values = embedded.raster(name).at(lonlat)[:, 0]
        np.testing.assert_array_equal(tasks[name].target + first, values)


def test_lights_are_dark_in_the_sahara_and_bright_in_new_york():
    sahara, york = embedded.raster("lights").at([KNOWN["Sahara"], KNOWN["New York"]])[:, 0]
    assert sahara < 10 < 40 < york


@pytest.mark.parametrize(
    ("lonlat", "country"),
    [
        ([31.24, 30.04], "Egypt"),
        ([-104.99, 39.74], "United States"),
        ([100.0, 62.0], "Russia"),
        ([-175.0, 66.0], "Russia"),  # beyond the date line
        ([178.0, -17.8], "Fiji"),
        ([-60.0, -10.0], "Brazil"),
    ],
)
def test_countries_at_known_places(tasks, lonlat, country):
    (number,) = country_of(np.array([lonlat]))
    assert country in tasks["country"].classes[number]


def test_the_sea_is_in_no_country():
    assert country_of(np.array([[-30.0, 0.0], [31.24, 30.04]])).tolist()[0] == -1


def test_countries_of_many_places_are_those_of_each(tasks):
    lonlat = tasks["country"].lonlat[:50]
    np.testing.assert_array_equal(country_of(lonlat), tasks["country"].target[:50])
    assert [country_of(place[None])[0] for place in lonlat] == tasks["country"].target[:50].tolist()


def test_people_within_a_radius_are_counted_as_by_brute_force(tasks):
    frame = embedded.places()
    towns, population = frame[["lon", "lat"]].to_numpy(), frame["population"].to_numpy()
    asked = np.concatenate([tasks["population"].lonlat[:6], [KNOWN["Cairo"], [179.99, -16.8]]])
    for place, got in zip(asked, people_within(asked, 50.0), strict=True):
        near = great_circle_km(np.broadcast_to(place, towns.shape), towns) <= 50.0
        assert got == population[near].sum()
    assert people_within(asked, 50.0)[6] > 5e6


def test_population_is_the_logarithm_of_the_people_within_50_km(tasks):
    people = people_within(tasks["population"].lonlat[:100], 50.0)
    np.testing.assert_allclose(tasks["population"].target[:100], np.log10(1 + people))
    assert "circular" in tasks["population"].caveat


def test_a_task_tells_what_it_is(tasks):
    assert repr(tasks["elevation"]) == "Task('elevation', regression, 2,000 places, m)"


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"unknown task 'rain': expected one of \('elevation'"):
        et.load_task("rain")


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="unknown source 'web': this version has 'sample'"):
        et.load_task("climate", source="web")


@pytest.mark.parametrize("bad", [1, 0, -4, 2.5, "all"])
def test_a_bad_number_of_places_is_refused(bad):
    with pytest.raises(ValueError, match="n must be an integer of at least 2, got"):
        et.load_task("climate", n=bad)
