"""Modalities: the embedded sample, and tables of the user."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import earthtie_lite as et
from earthtie_lite import modalities, sample as embedded
from earthtie_lite.coords import block_ids, great_circle_km, hold_out, sample_sphere
from earthtie_lite.features import read_images
from earthtie_lite.modalities import (
    NAMES,
    PATCH_PIXELS,
    _complete_rows,
    _mean_by_place,
    as_modalities,
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


def test_modalities_and_tasks_share_no_coordinate(sample):
    places = [m.lonlat for m in sample.values()]
    places.append(et.load_task("elevation", n=2000, seed=0).lonlat)
    for axis in (0, 1):
        both = np.concatenate([np.unique(lonlat[:, axis]) for lonlat in places])
        assert len(np.unique(both)) == len(both)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one(sample):
    fewer = et.load_sample(n=200)
    for name in NAMES:
        np.testing.assert_array_equal(fewer[name].lonlat, sample[name].lonlat[:200])
    np.testing.assert_array_equal(fewer["text"].features, sample["text"].features[:200])


def test_the_seed_determines_the_sample(sample):
    again, other = (et.load_sample(n=600, seed=seed) for seed in (0, 1))
    for name in NAMES:
        np.testing.assert_array_equal(again[name].lonlat, sample[name].lonlat)
        np.testing.assert_array_equal(again[name].features, sample[name].features)
        assert (other[name].lonlat != sample[name].lonlat).any()


def test_one_modality_alone_is_the_same_as_among_others(sample):
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


def test_images_lie_all_over_the_land(sample):
    for name in ("satellite", "lights"):
        assert embedded.is_land(sample[name].lonlat).all()
    lonlat = sample["satellite"].lonlat
    for inland in ([[100.0, 62.0]], [[-100.0, 45.0]], [[20.0, 0.0]], [[135.0, -25.0]]):
        assert great_circle_km(lonlat, np.repeat(inland, len(lonlat), axis=0)).min() < 1000


@pytest.mark.parametrize("name", ["satellite", "lights"])
def test_filters_are_cut_outside_the_blocks_that_may_be_held_out(name, monkeypatch):
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
    for fraction in (0.1, 0.3, 0.5):
        assert not hold_out(m.lonlat, fraction)[0][kept].any()


def test_names_are_thinned_to_one_per_cell():
    frame = thinned_names()
    cells = block_ids(frame[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM)
    assert len(np.unique(cells)) == len(frame)


def test_the_most_populous_name_of_a_cell_is_kept():
    frame, kept = embedded.places(), thinned_names()
    cell = block_ids(frame[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM)
    largest = frame.groupby(cell)["population"].max()
    own = block_ids(kept[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM)
    np.testing.assert_array_equal(kept["population"], largest.loc[own])


def test_a_hundred_thousand_places_can_be_drawn():
    assert len(thinned_names()) >= 100_000
    drawn = embedded.sample_land(100_000, np.random.default_rng(0))
    assert len(np.unique(drawn, axis=0)) == 100_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"n": bad}, "n must be an integer of at least 2, got") for bad in (1, -5, 2.5, None)),
        ({"n": 100_001}, "n must be at most 100,000, got 100,001"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"modalities": ["text", "smell"]}, r"unknown modality \['smell'\]: the sample has"),
        ({"modalities": []}, r"unknown modality \[\]: the sample has \['satellite'"),
        ({"exclude": "Africa"}, "exclude must be a function of places"),
        ({"exclude": lambda places: places[:, 0] < 999}, "exclude leaves out every place"),
    ],
)
def test_an_invalid_setting_of_the_sample_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        et.load_sample(**{"n": 10, **settings})


def test_excluded_places_are_left_out_of_every_modality():
    def west(places):
        return places[:, 0] < 0

    for m in et.load_sample(n=200, exclude=west).values():
        assert len(m) == 200
        assert not west(m.lonlat).any()


def test_places_are_float64_and_features_float32():
    m = et.Modality("soil", [[10, 20], [30, 40]], [[1], [2]])
    assert (m.lonlat.dtype, m.features.dtype) == (np.float64, np.float32)
    assert repr(m) == "Modality('soil', 2 places, 1 features)"


@pytest.mark.parametrize(
    ("name", "lonlat", "features", "message"),
    [
        ("two words", TWO, np.eye(2), "the name of a modality must be a word, got 'two words'"),
        ("", TWO, np.eye(2), "the name of a modality must be a word, got ''"),
        (3, TWO, np.eye(2), "the name of a modality must be a word, got 3"),
        ("soil", TWO, np.eye(3), r"must have shape \(2, D\), one row per place, got \(3, 3\)"),
        ("soil", TWO, np.ones(2), r"must have shape \(2, D\), one row per place, got \(2,\)"),
        ("soil", TWO, np.ones((2, 0)), r"must have shape \(2, D\), one row per place, got \(2, 0"),
        ("soil", TWO, [[1, 2], [np.nan, 3]], "'soil' must be finite, not in row 1"),
        ("soil", TWO, [[np.inf, 2], [1, 3]], "'soil' must be finite, not in row 0"),
        ("soil", TWO, np.ones((2, 4)), "'soil' are constant: nothing to learn"),
        ("soil", [[20, 100.0], [3, 4]], np.eye(2), "latitude must lie in .* 100 in row 0; is the"),
        ("soil", TWO, [["a"], ["b"]], "features of modality 'soil' must be numbers"),
        ("loss", TWO, np.eye(2), "a modality cannot be named 'loss'"),
    ],
)
def test_an_invalid_modality_is_refused(name, lonlat, features, message):
    with pytest.raises(ValueError, match=message):
        et.Modality(name, lonlat, features)


def test_numeric_columns_become_a_modality(table):
    m = et.Modality.from_frame(table, name="soil", features=["ph", "clay"])
    np.testing.assert_array_equal(m.lonlat, table[["lon", "lat"]])
    np.testing.assert_allclose(m.features, table[["ph", "clay"]], rtol=1e-6)
    m = et.Modality.from_frame(table[table["ph"] > 6], name="soil", features=["ph"])
    np.testing.assert_array_equal(m.lonlat, [[2.3, 48.9], [36.8, -1.3]])
    np.testing.assert_allclose(m.features[:, 0], [7.2, 6.6], rtol=1e-6)


@pytest.mark.parametrize("ngrams", [None, et.CharacterNGrams(16)])
def test_a_text_column_becomes_a_modality(table, ngrams):
    m = et.Modality.from_frame(table, name="town", text="name", featuriser=ngrams)
    assert m.featuriser == (ngrams or et.CharacterNGrams())
    np.testing.assert_allclose(m.features, m.featuriser(list(table["name"])), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give either features"),
        ({"features": ["ph"], "text": "name"}, "give either features"),
        ({"features": ["silt"]}, r"columns \['silt'\] not found: there are \['lon', 'lat'"),
        ({"text": "title"}, r"columns \['title'\] not found"),
        ({"features": ["ph"], "lon": "longitude"}, "longitude 'longitude' is not one of the col"),
        ({"features": []}, r"columns \[\] not found"),
        ({"features": ["ph", "flat"]}, r"columns \['flat'\] are constant: leave them out"),
        ({"features": ["name"]}, "column 'name' must hold finite numbers, got 'Berlin' in row 0"),
        ({"features": ["ph"], "lon": "lat", "lat": "clay"}, None),
    ],
)
def test_an_unusable_table_is_refused(table, settings, message):
    if message is None:
        table = table.assign(clay=[10, 20, 120])
        message = r"latitude must lie in \[-90, 90\], got 120 in row 2"
    with pytest.raises(ValueError, match=message):
        et.Modality.from_frame(table, name="soil", **settings)


LACKING = [
    ({"features": ["ph"]}, "ph", np.nan),
    ({"text": "name"}, "name", None),
    ({"text": "name"}, "name", "  "),
    ({"categories": ["name"]}, "name", None),
    ({"images": "name"}, "name", ""),
    ({"features": ["ph"]}, "lon", np.nan),
    ({"features": ["ph"]}, "lat", np.nan),
]


@pytest.mark.parametrize(("settings", "column", "value"), LACKING)
def test_a_missing_value_in_a_table_is_refused(table, settings, column, value):
    table.loc[1, column] = value
    message = f"1 of 3 rows lack a value, the first is row 1, in column '{column}'; fill them in"
    if column in ("lon", "lat"):
        message = (
            r"itude is missing .* in row 1; fill them in, or leave them out with missing='drop'"
        )
    with pytest.raises(ValueError, match=message):
        et.Modality.from_frame(table, name="own", **settings)


def test_rows_that_lack_a_value_are_dropped_and_counted_on_request(table):
    table.loc[1, "ph"] = np.nan
    with pytest.warns(UserWarning, match="^left out 1 of 3 rows, which lack a value$") as record:
        m = et.Modality.from_frame(table, name="soil", features=["ph"], missing="drop")
    assert [w.filename for w in record] == [__file__]
    np.testing.assert_array_equal(m.lonlat, table.loc[[0, 2], ["lon", "lat"]])
    np.testing.assert_allclose(m.features[:, 0], [5.1, 6.6], rtol=1e-6)
    assert m.source == "own table; 1 rows left out"


def test_a_table_that_lacks_values_everywhere_is_refused(table):
    for missing in ("error", "drop"):
        with pytest.raises(ValueError, match="none of the 3 rows has a place and a value"):
            et.Modality.from_frame(
                table.assign(ph=np.nan), name="soil", features=["ph"], missing=missing
            )


@pytest.mark.filterwarnings("ignore:left out 1 of")
def test_errors_count_the_rows_of_the_table_before_any_were_dropped(table):
    table.loc[0, "ph"] = np.nan
    table["ph"] = [np.nan, 7.2, np.inf]
    with pytest.raises(ValueError, match="'ph' must hold finite numbers, got inf in row 2"):
        et.Modality.from_frame(table, name="soil", features=["ph"], missing="drop")
    table["lat"] = [52.5, 48.9, 120.0]
    with pytest.raises(ValueError, match=r"latitude must lie in .* got 120 in row 2; is the order"):
        et.Modality.from_frame(table, name="soil", features=["ph"], missing="drop")


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        (
            {"lon": ["13,4", "2,3", "36,8"]},
            {},
            "longitude must be a number of degrees, got '13,4' in row 0; decimal commas",
        ),
        ({"lat": ["52.5", "48.9", "south"]}, {"missing": "drop"}, "latitude .*'south' in row 2"),
        ({}, {"features": "ph"}, r"must be lists of columns; write \[column\]"),
        ({}, {"categories": "name"}, r"must be lists of columns; write \[column\]"),
        ({}, {"categories": ["flat"]}, r"columns \['flat'\] are constant: leave them out"),
        ({}, {"categories": ["kind"]}, r"columns \['kind'\] not found"),
        ({}, {"images": "photo"}, r"columns \['photo'\] not found"),
        ({}, {"images": "name", "text": "name"}, "give either features"),
        ({}, {"categories": ["name"], "text": "name"}, "give either features"),
        ({}, {"featuriser": et.CharacterNGrams()}, "a featuriser encodes text or images, not"),
        ({}, {"missing": "skip"}, r"unknown missing 'skip': expected one of \('error', 'drop'\)"),
        ({}, {"text": ["name"]}, r"text and images must be one column, got \['name'\]"),
        ({"ph": [5.1, "n.a.", 1]}, {"missing": "drop"}, r"got 'n\.a\.' in row 1; for text"),
        ({"ph": ["5,1", "7,0", "6,6"]}, {}, r"got '5,1' in row 0; decimal commas are not supp"),
        ({"ph": [5.1, 1e39, 1]}, {}, r"finite numbers, got 1e\+39 in row 1"),
        ({"ph": pd.Timestamp("2020-01-01")}, {}, "finite numbers, got Timestamp"),
        ({}, {"duplicates": "last"}, r"unknown duplicates 'last': expected one of \('warn'"),
        ({"name": ["Berlin", 7, "Nairobi"]}, {"text": "name"}, "must be text, got 7 in row 1"),
    ],
)
def test_unusable_values_and_settings_are_refused(table, changes, settings, message):
    if not {"features", "categories", "text", "images"} & set(settings):
        settings = {"features": ["ph"], **settings}
    with pytest.raises(ValueError, match=message):
        et.Modality.from_frame(table.assign(**changes), name="own", **settings)


def test_input_other_than_a_table_with_rows_is_refused(table):
    with pytest.raises(ValueError, match="expected a data frame, got str; read the file first"):
        et.Modality.from_frame("soil.csv", name="soil", features=["ph"])
    with pytest.raises(ValueError, match="the table has no rows: at least one place is needed"):
        et.Modality.from_frame(table[:0], name="soil", features=["ph"])
    twice = pd.concat([table, table[["ph"]]], axis=1)
    with pytest.raises(ValueError, match=r"names of columns must differ, got \['ph', 'ph'\]"):
        et.Modality.from_frame(twice, name="soil", features=["ph"])


def test_numbers_may_be_text_and_places_may_be_a_geometry(table):
    import geopandas as gpd

    points = gpd.points_from_xy(table["lon"], table["lat"], crs=4326).to_crs(3857)
    frame = gpd.GeoDataFrame(table.drop(columns=["lon", "lat"]).astype(str), geometry=points)
    m = et.Modality.from_frame(frame, name="soil", features=["ph"])
    np.testing.assert_allclose(m.lonlat, table[["lon", "lat"]], atol=1e-6)
    np.testing.assert_allclose(m.features[:, 0], table["ph"], rtol=1e-6)
    renamed = table.rename(columns={"lon": "Longitude", "lat": "LAT"})
    assert len(et.Modality.from_frame(renamed, name="soil", features=["ph"])) == 3


def test_categories_follow_the_numbers(table):
    m = et.Modality.from_frame(table, name="own", features=["ph"], categories=["name"])
    np.testing.assert_array_equal(m.features[:, 1:], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(m.features[:, 0], table["ph"], rtol=1e-6)
    np.testing.assert_array_equal(m.featuriser(table[:2]), m.features[:2])


@pytest.fixture
def photos(tmp_path):
    """Write 40 images of noise; return their table, over the whole globe."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(sample_sphere(40, rng), columns=["lon", "lat"])
    frame["file"] = [f"{row}.png" for row in range(40)]
    for name in frame["file"]:
        pixels = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return frame


def test_image_files_are_encoded_by_filters_from_outside_the_held_out_blocks(photos, tmp_path):
    m = et.Modality.from_frame(photos, name="photos", images="file", folder=tmp_path, size=9)
    raw = read_images(photos["file"], tmp_path, 9)
    np.testing.assert_allclose(m.features, m.featuriser(raw), atol=1e-6)
    kept = hold_out(m.lonlat, 0.5, buffer_km=embedded.PATCH_KM)[1]
    raw = read_images(photos["file"][kept], tmp_path, 9)
    assert 0 < len(raw) < 40
    np.testing.assert_array_equal(m.featuriser.filters, et.RandomConvolutions.fit(raw).filters)


def test_images_need_a_featuriser_if_all_may_be_held_out(photos, tmp_path):
    held_out = photos[~hold_out(photos[["lon", "lat"]], 0.5, buffer_km=embedded.PATCH_KM)[1]]
    settings = {"name": "photos", "images": "file", "folder": tmp_path, "size": 9}
    with pytest.raises(ValueError, match="every image lies in a block that may be held out"):
        et.Modality.from_frame(held_out, **settings)
    filters = et.RandomConvolutions.fit(read_images(held_out["file"], tmp_path, 9), 4)
    m = et.Modality.from_frame(held_out, featuriser=filters, **settings)
    assert m.features.shape == (len(held_out), 8)
    assert m.featuriser is filters


@pytest.mark.filterwarnings("ignore:left out 1 of")
def test_a_missing_image_is_refused_with_its_row_and_path(photos, tmp_path):
    (tmp_path / "7.png").unlink()
    photos.loc[3, "file"] = None
    with pytest.raises(
        ValueError, match=r"the image of row 7, .*7\.png, cannot be read: .*No such"
    ):
        et.Modality.from_frame(
            photos, name="photos", images="file", folder=tmp_path, missing="drop"
        )


@pytest.fixture
def repeated(table):
    """Return the table with Berlin once more, one pH higher."""
    return pd.concat([table, table[:1].assign(ph=6.1, name="Spandau")])


def test_a_repeated_place_is_kept_with_a_warning(repeated):
    message = "1 of 4 places are duplicated, the first in row 3: .*duplicates='first' or"
    with pytest.warns(UserWarning, match=message):
        m = et.Modality.from_frame(repeated, name="soil", features=["ph"])
    assert len(m) == 4


@pytest.mark.parametrize(
    ("duplicates", "ph"),
    [("keep", [5.1, 7.2, 6.6, 6.1]), ("first", [5.1, 7.2, 6.6]), ("mean", [5.6, 7.2, 6.6])],
)
@pytest.mark.filterwarnings("error")
def test_repeated_places_are_kept_dropped_or_averaged_on_request(repeated, duplicates, ph):
    m = et.Modality.from_frame(repeated, name="soil", features=["ph"], duplicates=duplicates)
    np.testing.assert_array_equal(m.lonlat, repeated[["lon", "lat"]][: len(ph)])
    np.testing.assert_allclose(m.features[:, 0], ph, rtol=1e-6)


def test_averaging_texts_and_categories_averages_their_features(repeated):
    m = et.Modality.from_frame(repeated, name="town", text="name", duplicates="mean")
    both = et.CharacterNGrams()(["Berlin", "Spandau"])
    np.testing.assert_allclose(m.features[0], both.mean(axis=0), atol=1e-6)
    m = et.Modality.from_frame(repeated, name="town", categories=["name"], duplicates="mean")
    assert m.features[0].tolist() == [0.5, 0, 0, 0.5]


def test_swapped_columns_and_places_at_zero_give_a_warning():
    frame = embedded.places()
    frame = frame[frame["country"] == "KE"][:50]
    with pytest.warns(UserWarning, match="of 50 places are probably swapped, the first in row 0"):
        et.Modality.from_frame(frame, name="town", lon="lat", lat="lon", text="name")
    lost = frame.assign(lon=[0.0, *frame["lon"][1:]], lat=[0.0, *frame["lat"][1:]])
    with pytest.warns(UserWarning, match=r"1 of 50 places are at \(0, 0\), the first in row 0"):
        et.Modality.from_frame(lost, name="town", text="name")


def test_warnings_count_the_rows_of_the_table_before_any_were_dropped(repeated):
    gone = pd.DataFrame({"lon": [7.5], "lat": [47.5], "ph": [np.nan]})
    table = pd.concat([gone, repeated], ignore_index=True)
    with pytest.warns(UserWarning, match="left out 1 of 5|first in row 4: ") as record:
        et.Modality.from_frame(table, name="soil", features=["ph"], missing="drop")
    assert str(record[0].message) == "left out 1 of 5 rows, which lack a value"
    assert str(record[1].message).startswith("1 of 4 places are duplicated, the first in row 4: ")


@pytest.mark.filterwarnings("error")
def test_a_valid_table_gives_no_warning(table):
    et.Modality.from_frame(table, name="own", features=["ph", "clay"], categories=["name"])


def test_features_are_averaged_by_place_in_order_of_first_occurrence():
    places = np.array([[180.0, 5.0], [1.0, 2.0], [-180.0, 5.0], [3.0, 4.0], [180.0, 5.0]])
    features = np.array([[1, 10], [2, 20], [4, 10], [3, 30], [7, 40]], dtype=np.float32)
    where, means = _mean_by_place(places, features)
    np.testing.assert_array_equal(where, [[180, 5], [1, 2], [3, 4]])
    np.testing.assert_array_equal(means, [[4, 20], [2, 20], [3, 30]])
    assert means.dtype == np.float32


def test_dropping_rows_keeps_the_numbers_of_the_others():
    frame = pd.DataFrame({"x": [1.0, None, 3, 4], "y": 1.0, "a": ["a", "b", " ", "d"]})
    frame = frame.set_index(pd.Index([9, 8, 7, 6]))
    kept, places = _complete_rows(frame, "x", "y", ["a"], "drop")
    assert places.tolist() == [[1.0, 1.0], [4.0, 1.0]]
    assert kept.index.tolist() == [0, 3]
    assert kept["a"].tolist() == ["a", "d"]


def test_modalities_are_accepted_alone_in_a_sequence_or_in_a_mapping(three):
    assert as_modalities(three[0]) == three[:1]
    assert as_modalities(iter(three)) == three
    assert as_modalities({m.name: m for m in three}) == three


def test_invalid_collections_of_modalities_are_refused(three):
    for bad in ([], [3], [three[0], None]):
        with pytest.raises(ValueError, match="expected at least one Modality, got"):
            as_modalities(bad)
    with pytest.raises(ValueError, match="expected modalities, got 3"):
        as_modalities(3)
    with pytest.raises(ValueError, match=r"names of modalities must differ, got \['soil', 'soil'"):
        as_modalities([three[0], three[0]])
    with pytest.raises(ValueError, match=r"keys \['x'\] differ from the modalities' names"):
        as_modalities({"x": three[0]})
