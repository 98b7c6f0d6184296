"""Modalities: the embedded sample, a user's own table, and every bad input."""

import itertools

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from earthtie_lite import modalities
from earthtie_lite import sample as embedded
from earthtie_lite.coords import block_ids, great_circle_km, hold_out
from earthtie_lite.modalities import (
    NAMES,
    PATCH_PIXELS,
    as_modalities,
    nearest_name,
    thinned_names,
)

TWO = np.array([[10.0, 20.0], [30.0, 40.0]])


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "lon": [13.4, 2.3, 36.8],
            "lat": [52.5, 48.9, -1.3],
            "ph": [5.1, 7.2, 6.6],
            "clay": [10, 20, 30],
            "flat": [1.0, 1.0, 1.0],
            "name": ["Berlin", "Paris", "Nairobi"],
        }
    )


def test_the_sample_has_three_modalities_of_n_places(sample):
    assert list(sample) == ["satellite", "lights", "text"]
    for name, m in sample.items():
        assert (m.name, len(m)) == (name, 600)
        assert m.lonlat.shape == (600, 2)
        assert m.lonlat.dtype == np.float64
        assert m.features.shape == (600, m.featuriser.out_dim)
        assert m.features.dtype == np.float32


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(NAMES, 2)))
def test_no_two_modalities_share_a_coordinate(sample, one, other):
    for axis in (0, 1):
        assert not np.isin(sample[one].lonlat[:, axis], sample[other].lonlat[:, axis]).any()


@pytest.mark.parametrize("name", NAMES)
def test_no_modality_shares_a_place_with_the_tasks(sample, name):
    task = et.load_task("elevation", n=2000, seed=0)
    for axis in (0, 1):
        assert not np.isin(task.lonlat[:, axis], sample[name].lonlat[:, axis]).any()


def test_fewer_places_are_the_first_of_more(sample):
    fewer = et.load_sample(n=200)
    for name in NAMES:
        np.testing.assert_array_equal(fewer[name].lonlat, sample[name].lonlat[:200])


def test_text_features_of_fewer_places_are_the_first_of_more(sample):
    fewer = et.load_sample(n=200, modalities=["text"])["text"]
    np.testing.assert_array_equal(fewer.features, sample["text"].features[:200])


def test_another_seed_draws_other_places(sample):
    other = et.load_sample(n=600, seed=1)
    for name in NAMES:
        assert (other[name].lonlat != sample[name].lonlat).any()


def test_the_same_seed_draws_the_same_sample(sample):
    again = et.load_sample(n=600, seed=0)
    for name in NAMES:
        np.testing.assert_array_equal(again[name].lonlat, sample[name].lonlat)
        np.testing.assert_array_equal(again[name].features, sample[name].features)


def test_a_part_of_the_sample_is_the_same_as_in_the_whole(sample):
    part = et.load_sample(n=600, modalities=["lights"])
    assert list(part) == ["lights"]
    np.testing.assert_array_equal(part["lights"].features, sample["lights"].features)


@pytest.mark.parametrize("name", ["satellite", "lights"])
def test_features_of_images_belong_to_their_places(sample, name):
    m, rows = sample[name], [0, 7, 311, 599]
    patches = embedded.raster(name).patches(m.lonlat[rows], PATCH_PIXELS[name])
    np.testing.assert_allclose(m.featuriser(patches), m.features[rows], rtol=0, atol=1e-5)


def test_features_of_names_belong_to_their_places(sample):
    m, rows = sample["text"], [0, 7, 311, 599]
    frame = embedded.places()
    names = [
        frame["name"][(frame["lon"] == lon) & (frame["lat"] == lat)].iloc[0]
        for lon, lat in m.lonlat[rows]
    ]
    np.testing.assert_allclose(m.featuriser(names), m.features[rows], rtol=0, atol=1e-6)


def test_images_lie_on_land(sample):
    for name in ("satellite", "lights"):
        assert embedded.is_land(sample[name].lonlat).all()


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("name", ["satellite", "lights"])
def test_filters_are_cut_from_the_training_part_alone(sample, name, fraction, monkeypatch):
    seen = []
    fit = et.RandomConvolutions.fit

    def record(patches, **settings):
        seen.append(patches)
        return fit(patches, **settings)

    monkeypatch.setattr(modalities.RandomConvolutions, "fit", record)
    m = et.load_sample(n=600, modalities=[name])[name]
    kept = hold_out(m.lonlat, 0.5, buffer_km=embedded.PATCH_KM)[1]
    expected = embedded.raster(name).patches(m.lonlat[kept], PATCH_PIXELS[name])
    np.testing.assert_array_equal(seen[0], expected)
    assert kept.any()
    assert not hold_out(m.lonlat, fraction, buffer_km=embedded.PATCH_KM)[0][kept].any()


def test_names_are_thinned_to_one_a_cell():
    frame = thinned_names()
    cells = block_ids(frame[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM)
    assert len(np.unique(cells)) == len(frame)


def test_the_most_populous_name_of_a_cell_stays():
    frame, kept = embedded.places(), thinned_names()
    cell = block_ids(frame[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM)
    largest = frame.groupby(cell)["population"].max()
    own = block_ids(kept[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM)
    np.testing.assert_array_equal(kept["population"], largest.loc[own])


def test_a_hundred_thousand_places_can_be_drawn():
    assert len(thinned_names()) >= 100_000
    drawn = embedded.sample_land(100_000, np.random.default_rng(0))
    assert len(np.unique(drawn, axis=0)) == 100_000


@pytest.mark.parametrize("bad", [1, 0, -5, 100_001, 2.5, "many", None])
def test_a_bad_number_of_places_is_refused(bad):
    with pytest.raises(ValueError, match=r"n must be an integer in \[2, 100000\], got"):
        et.load_sample(n=bad)


@pytest.mark.parametrize("bad", [["smell"], ["text", "smell"], []])
def test_an_unknown_modality_is_refused(bad):
    with pytest.raises(ValueError, match=r"unknown modality .*: the sample has \['satellite'"):
        et.load_sample(n=10, modalities=bad)


def test_a_modality_keeps_float64_places_and_float32_features():
    m = et.Modality("soil", [[10, 20], [30, 40]], [[1], [2]])
    assert (m.lonlat.dtype, m.features.dtype) == (np.float64, np.float32)
    assert repr(m) == "Modality('soil', 2 places, 1 features)"


@pytest.mark.parametrize(
    ("name", "lonlat", "features", "message"),
    [
        ("two words", TWO, np.eye(2), "the name of a modality must be a word, got 'two words'"),
        ("", TWO, np.eye(2), "the name of a modality must be a word, got ''"),
        (3, TWO, np.eye(2), "the name of a modality must be a word, got 3"),
        ("soil", TWO, np.eye(3), r"must have shape \(2, D\), one row a place, got \(3, 3\)"),
        ("soil", TWO, np.ones(2), r"must have shape \(2, D\), one row a place, got \(2,\)"),
        ("soil", TWO, np.ones((2, 0)), r"must have shape \(2, D\), one row a place, got \(2, 0"),
        ("soil", TWO, [[1, 2], [np.nan, 3]], "'soil' must be finite, not in row 1"),
        ("soil", TWO, [[np.inf, 2], [1, 3]], "'soil' must be finite, not in row 0"),
        ("soil", TWO, np.ones((2, 4)), "'soil' are constant: nothing to learn"),
        ("soil", [[20, 100.0], [3, 4]], np.eye(2), "latitude must lie in .* 100 in row 0; is the"),
        ("soil", TWO, [["a"], ["b"]], "features of modality 'soil' must be numbers"),
    ],
)
def test_a_bad_modality_is_refused(name, lonlat, features, message):
    with pytest.raises(ValueError, match=message):
        et.Modality(name, lonlat, features)


def test_numeric_columns_become_a_modality(table):
    m = et.Modality.from_frame(table, name="soil", features=["ph", "clay"])
    np.testing.assert_array_equal(m.lonlat, table[["lon", "lat"]])
    np.testing.assert_allclose(m.features, table[["ph", "clay"]], rtol=1e-6)


def test_a_text_column_becomes_a_modality(table):
    m = et.Modality.from_frame(table, name="town", text="name")
    np.testing.assert_allclose(m.features, et.CharacterNGrams()(list(table["name"])), atol=1e-6)


def test_columns_of_coordinates_may_have_any_name(table):
    renamed = table.rename(columns={"lon": "x", "lat": "y"})
    m = et.Modality.from_frame(renamed, name="soil", lon="x", lat="y", features=["ph"])
    np.testing.assert_array_equal(m.lonlat, table[["lon", "lat"]])


def test_a_filtered_table_keeps_rows_together(table):
    m = et.Modality.from_frame(table[table["ph"] > 6], name="soil", features=["ph"])
    np.testing.assert_array_equal(m.lonlat, [[2.3, 48.9], [36.8, -1.3]])
    np.testing.assert_allclose(m.features[:, 0], [7.2, 6.6], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give either features"),
        ({"features": ["ph"], "text": "name"}, "give either features"),
        ({"features": ["silt"]}, r"columns \['silt'\] not found: there are \['lon', 'lat'"),
        ({"text": "title"}, r"columns \['title'\] not found"),
        ({"features": ["ph"], "lon": "longitude"}, r"columns \['longitude'\] not found"),
        ({"features": []}, r"columns \[\] not found"),
        ({"features": ["ph", "flat"]}, r"columns \['flat'\] are constant: leave them out"),
        ({"features": ["name"]}, r"columns \['name'\] must be numbers"),
        ({"features": ["ph"], "lon": "lat", "lat": "clay"}, None),
    ],
)
def test_a_bad_table_is_refused(table, settings, message):
    if message is None:
        table = table.assign(clay=[10, 20, 120])
        message = r"latitude must lie in \[-90, 90\], got 120 in row 2"
    with pytest.raises(ValueError, match=message):
        et.Modality.from_frame(table, name="soil", **settings)


def test_a_missing_number_in_a_table_is_refused(table):
    table.loc[1, "ph"] = np.nan
    with pytest.raises(ValueError, match="'soil' must be finite, not in row 1"):
        et.Modality.from_frame(table, name="soil", features=["ph"])


def test_a_missing_text_in_a_table_is_refused(table):
    table.loc[1, "name"] = None
    with pytest.raises(ValueError, match=r"expected text, got .* in row 1"):
        et.Modality.from_frame(table, name="town", text="name")


def test_modalities_come_alone_in_a_sequence_or_in_a_mapping(three):
    assert as_modalities(three[0]) == three[:1]
    assert as_modalities(iter(three)) == three
    assert as_modalities({m.name: m for m in three}) == three


def test_bad_collections_of_modalities_are_refused(three):
    with pytest.raises(ValueError, match="at least one modality is needed"):
        as_modalities([])
    with pytest.raises(ValueError, match="expected a Modality, got int"):
        as_modalities([3])
    with pytest.raises(ValueError, match=r"names of modalities must differ, got \['soil', 'soil'"):
        as_modalities([three[0], three[0]])
    with pytest.raises(ValueError, match=r"keys \['x'\] differ from the modalities' names"):
        as_modalities({"x": three[0]})


def test_places_of_images_spread_over_the_land(sample):
    lonlat = sample["satellite"].lonlat
    for city in ([[100.0, 62.0]], [[-100.0, 45.0]], [[20.0, 0.0]], [[135.0, -25.0]]):
        assert great_circle_km(lonlat, np.repeat(city, len(lonlat), axis=0)).min() < 1000


def test_the_nearest_name_is_found_with_its_distance():
    names = thinned_names()
    places = names[["lon", "lat"]].to_numpy()[10:14]
    row, km = nearest_name(places + np.array([0.0, 0.01]))
    assert row.tolist() == [10, 11, 12, 13]
    np.testing.assert_allclose(km, 1.11, atol=0.01)
