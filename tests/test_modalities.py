"""Modalities: the embedded sample, and tables of the user."""

from datetime import date
from decimal import Decimal

import dask.dataframe as dd
import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image

import earthtie_lite as et
from earthtie_lite import modalities, sample as embedded
from earthtie_lite.coords import block_ids, hold_out, sample_sphere
from earthtie_lite.features import CharacterNGrams, read_images
from earthtie_lite.modalities import (
    ALL,
    MAPS,
    NAMES,
    PATCH_PIXELS,
    as_modalities,
    far_out,
    thinned_names,
)

SIZES = PATCH_PIXELS | {name: size for name, (size, _) in MAPS.items()}


@pytest.fixture(scope="module")
def seven():
    return et.load_sample(n=600, modalities="all")


def test_three_modalities_are_loaded_unless_others_are_named(sample, seven):
    assert (tuple(sample), tuple(seven)) == (NAMES, ALL)
    assert list(et.load_sample(n=600, modalities=("weather", "text"))) == ["weather", "text"]
    for name, m in sample.items():
        np.testing.assert_array_equal(m.features, seven[name].features)


def test_modalities_and_tasks_share_no_coordinate(seven):
    places = [m.lonlat for m in seven.values()]
    places.append(et.load_task("elevation", n=2000, seed=0).lonlat)
    for axis in (0, 1):
        both = np.concatenate([np.unique(lonlat[:, axis]) for lonlat in places])
        assert len(np.unique(both)) == len(both)


def test_the_seed_determines_the_sample_and_each_modality_alone_and_a_part_is_its_beginning(seven):
    again, other = (et.load_sample(n=600, seed=s, modalities=["lights"]) for s in (0, 1))
    assert list(again) == ["lights"]
    np.testing.assert_array_equal(again["lights"].features, seven["lights"].features)
    assert (other["lights"].lonlat != seven["lights"].lonlat).any()
    for name, fewer in et.load_sample(n=200, modalities="all").items():
        np.testing.assert_array_equal(fewer.lonlat, seven[name].lonlat[:200])


@pytest.mark.parametrize("name", ALL)
def test_features_belong_to_their_places(seven, name):
    m, rows = seven[name], [0, 7, 311, 599]
    assert (m.name, m.lonlat.shape, m.lonlat.dtype) == (name, (600, 2), np.float64)
    assert (m.features.shape, m.features.dtype) == ((600, m.featuriser.out_dim), np.float32)
    if name == "text":
        frame = embedded.places()
        at = [(frame[["lon", "lat"]] == place).all(axis=1) for place in m.lonlat[rows]]
        raw = [frame["name"][here].iloc[0] for here in at]
    else:
        assert embedded.is_land(m.lonlat).all()
        raw = embedded.raster(name).patches(m.lonlat[rows], SIZES[name])
    np.testing.assert_allclose(m.featuriser(raw), m.features[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MAPS)
def test_features_of_maps_are_fitted_to_nothing_and_lie_in_their_range(seven, name):
    m = seven[name]
    assert m.featuriser.state == {}
    if name in ("climate", "landcover"):
        parts = m.features.reshape(600, -1, m.featuriser.classes)  # places, parts, classes
        np.testing.assert_allclose(parts.sum(axis=2), 1, atol=1e-5)
    elif name == "elevation":
        mean, _, slope, sea, *quantiles = m.features.T
        assert (np.diff(quantiles, axis=0) >= 0).all()
        assert ((quantiles[0] <= mean) & (mean <= quantiles[-1]) & (slope >= 0) & (sea < 1)).all()
    else:  # summer is warm in the north, and pressures are those at the level of the sea
        north, (winter, _, summer, _) = m.lonlat[:, 1] > 30, m.features.T[:4]
        assert (summer > winter)[north].all()
        assert ((m.features[:, 4:] > 980) & (m.features[:, 4:] < 1045)).all()


def test_other_featurisers_encode_the_same_observations(sample):
    given = {"text": CharacterNGrams(32, direct=True), "satellite": sample["satellite"].featuriser}
    again = et.load_sample(n=600, seed=0, featurisers=given)
    assert again["text"].features.shape == (600, 32)
    for name, m in again.items():
        np.testing.assert_array_equal(m.lonlat, sample[name].lonlat)
        if name != "text":
            np.testing.assert_array_equal(m.features, sample[name].features)


@pytest.mark.parametrize("name", ["satellite", "lights"])
def test_filters_are_cut_outside_the_blocks_that_may_be_held_out(sample, name):
    m = sample[name]
    kept = hold_out(m.lonlat, 0.5, buffer_km=embedded.PATCH_KM)[1]
    patches = embedded.raster(name).patches(m.lonlat[kept], PATCH_PIXELS[name])
    np.testing.assert_array_equal(m.featuriser.filters, et.RandomConvolutions.fit(patches).filters)
    for fraction in (0.1, 0.3, 0.5):
        assert not hold_out(m.lonlat, fraction)[0][kept].any()


def test_names_are_thinned_to_the_most_populous_of_each_cell():
    frame, kept = embedded.places(), thinned_names()
    all_cells, cells = (
        block_ids(f[["lon", "lat"]].to_numpy(), modalities.NAME_SPACING_KM) for f in (frame, kept)
    )
    assert len(np.unique(cells)) == len(kept) >= 100_000
    largest = frame.groupby(all_cells)["population"].max()
    np.testing.assert_array_equal(kept["population"], largest.loc[cells])


def test_excluded_places_are_left_out_of_every_modality():
    west = {"exclude": lambda places: places[:, 0] < 0}
    for m in et.load_sample(n=200, modalities="all", **west).values():
        assert len(m) == 200
        assert (m.lonlat[:, 0] >= 0).all()


SOIL = {"name": "soil", "lonlat": [[10.0, 20.0], [30.0, 40.0]], "features": np.eye(2)}


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        *((et.load_sample, {"n": bad}, "integer of at least 2") for bad in (1, -5, 2.5, None)),
        (et.load_sample, {"n": 100_001}, "n must be at most 100,000, got 100,001"),
        (et.load_sample, {"seed": -1}, "seed must be an integer of at least 0"),
        (et.load_sample, {"modalities": ["text", "smell"]}, r"unknown modality \['smell'\]: the s"),
        (et.load_sample, {"modalities": []}, r"unknown modality \[\]: the sample has"),
        (et.load_sample, {"exclude": "Africa"}, "exclude must be a function of places"),
        (et.load_sample, {"exclude": lambda z: z[:, 0] < 999}, "exclude leaves out every place"),
        *((et.Modality, SOIL | {"name": bad}, "must be a word, got") for bad in ("a b", "", 3)),
        (et.Modality, SOIL | {"name": "loss"}, "a modality cannot be named 'loss'"),
        *(
            (et.Modality, SOIL | {"features": bad}, r"must have shape \(2, D\), one row per place")
            for bad in (np.eye(3), np.ones(2), np.ones((2, 0)))
        ),
        *(
            (et.Modality, SOIL | {"features": [[1, 2], [bad, 3]]}, "must be finite .* in row 1: le")
            for bad in (np.nan, -np.inf, 1e39, -3.4e38, np.float32(9.96921e36), 2e30)
        ),
        *(
            (
                et.Modality,
                SOIL | {"features": np.array(bad)},
                "'soil' lose their .*: subtract the m",
            )
            for bad in ([[1.7e12], [1.7e12 + 9000]], [[1, 2**30], [2, 2**30 + 9]])
        ),
        *(
            (et.Modality, SOIL | {"features": np.array([[1], [2]]).astype(bad)}, "must be numbers")
            for bad in ("M8[s]", "m8[s]", complex)
        ),
        (et.Modality, SOIL | {"features": np.ones((2, 4))}, "'soil' are constant"),
        (et.Modality, SOIL | {"features": [["a"], ["b"]]}, "'soil' must be numbers"),
        (et.Modality, SOIL | {"lonlat": [[20, 100.0], [3, 4]]}, "latitude must lie in .* in row 0"),
    ],
)
def test_an_invalid_sample_or_modality_is_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.fixture
def table():
    rows = [
        [13.4, 52.5, 5.1, 10, 1.0, "Berlin"],
        [2.3, 48.9, 7.2, 20, 1.0, "Paris"],
        [36.8, -1.3, 6.6, 30, 1.0, "Nairobi"],
    ]
    return pd.DataFrame(rows, columns=["lon", "lat", "ph", "clay", "flat", "name"])


def from_frame(frame, name="own", **settings):
    if not {"features", "categories", "text", "images"} & set(settings):
        settings["features"] = ["ph"]
    return et.Modality.from_frame(frame, name=name, **settings)


@pytest.mark.filterwarnings("error")  # a valid table gives none
def test_numbers_and_then_categories_become_a_modality(table):
    m = from_frame(table, features=["ph", "clay"], categories=["name"])
    np.testing.assert_array_equal(m.lonlat, table[["lon", "lat"]])
    np.testing.assert_allclose(m.features[:, :2], table[["ph", "clay"]], rtol=1e-6)
    np.testing.assert_array_equal(m.features[:, 2:], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(m.featuriser(table[:2]), m.features[:2])


def test_a_text_column_becomes_a_modality(table):
    for ngrams in (None, et.CharacterNGrams(16)):
        m = from_frame(table, text="name", featuriser=ngrams)
        assert m.featuriser == (ngrams or et.CharacterNGrams())
        np.testing.assert_allclose(m.features, m.featuriser(list(table["name"])), atol=1e-6)


def test_numbers_may_be_text_and_places_may_be_a_geometry(table):
    points = gpd.points_from_xy(table["lon"], table["lat"], crs=4326).to_crs(3857)
    frame = gpd.GeoDataFrame(table.drop(columns=["lon", "lat"]).astype(str), geometry=points)
    m = from_frame(frame[table["ph"] > 6])
    np.testing.assert_allclose(m.lonlat, [[2.3, 48.9], [36.8, -1.3]], atol=1e-6)
    np.testing.assert_allclose(m.features[:, 0], [7.2, 6.6], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "column", "value"),
    [
        ({"features": ["ph"]}, "ph", np.nan),
        *(({"text": "name"}, "name", value) for value in (None, "  ")),
        ({"categories": ["name"]}, "name", None),
        ({"images": "name"}, "name", ""),
    ],
)
def test_a_missing_value_is_refused_with_its_row_and_what_to_do(table, settings, column, value):
    table.loc[1, column] = value
    message = f"1 of 3 rows lack a value, the first is row 1, in column '{column}'"
    with pytest.raises(ValueError, match=rf"{message}.*\(missing: drop\)"):
        from_frame(table, **settings)


def test_rows_that_lack_a_value_are_dropped_and_counted_on_request(table):
    table.loc[1, "ph"] = np.nan
    with pytest.warns(UserWarning, match="^left out 1 of 3 rows, which lack a value$") as record:
        m = et.Modality.from_frame(table, name="soil", features=["ph"], missing="drop")
    assert [w.filename for w in record] == [__file__]
    np.testing.assert_array_equal(m.lonlat, table.loc[[0, 2], ["lon", "lat"]])
    np.testing.assert_allclose(m.features[:, 0], [5.1, 6.6], rtol=1e-6)
    assert m.source == "own table; 1 rows left out"


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        *(
            ({}, {k: "ph", "text": "name"}, "give eit")
            for k in ("features", "categories", "images")
        ),
        ({}, {"text": None}, "give either features"),
        ({}, {"featuriser": et.CharacterNGrams()}, "a featuriser encodes text or images, not"),
        *(({}, {k: "ph"}, r"must be lists of columns; wri") for k in ("features", "categories")),
        ({}, {"text": ["name"]}, r"columns \[\['name'\]\] not found"),
        *(({}, {k: ["silt"]}, r"columns \['silt'\] not found") for k in ("features", "categories")),
        *(({}, {k: "silt"}, r"columns \['silt'\] not found") for k in ("text", "images")),
        ({}, {"features": []}, "give either features"),
        *(({}, {k: ["flat"]}, r"\['flat'\] are constant") for k in ("features", "categories")),
        ({}, {"lon": "longitude"}, "longitude 'longitude' is not one of the columns"),
        ({}, {"missing": "skip"}, r"unknown missing 'skip': expected one of \('error', 'drop'\)"),
        ({}, {"duplicates": "last"}, "unknown duplicates 'last'"),
        ({"lat": [52.5, None, 3]}, {}, "latitude is missing .* in row 1.*missing: drop"),
        ({"lat": [52.5, 48, 120]}, {}, r"latitude must lie in \[-90, 90\], got 120 in row 2"),
        ({"lon": ["13,4", "2,3", "36,8"]}, {}, "longitude must be .*'13,4' in row 0; decimal com"),
        ({"lat": ["52.5", "48.9", "south"]}, {"missing": "drop"}, "latitude .*'south' in row 2"),
        ({}, {"features": ["name"]}, "column 'name' must hold finite numbers.*, got 'Berlin' in"),
        ({"ph": [5.1, "n.a.", 1]}, {"missing": "drop"}, r"got 'n\.a\.' in row 1; text goes to te"),
        ({"ph": ["5,1", "7,0", "6,6"]}, {}, r"got '5,1' in row 0; decimal commas are not supp"),
        *(
            ({"ph": [5.1, big, 1]}, {}, rf"1e30 in size, got .* in row 1;.*\(nodata: {shown}\)")
            for big, shown in ((1e39, r"1e\+39"), ("-3.4028235e+38", r"-3\.4028235e\+38"))
        ),
        *(
            ({"ph": pd.Series([time] * 3)}, {}, "got .* in row 0; .*times become numbers")
            for time in (
                pd.Timestamp("2020-01-01"),
                pd.Timedelta(1),
                pd.Period("2020", "D"),
                date.min,
            )
        ),
        *(({"ph": [1, bad, 3]}, {}, "finite numbers.*in row") for bad in (1j, "inf", [2], "0x1")),
        ({"ph": [1, -9999, "-9999.0"]}, {"nodata": -9999}, "2 of 3 rows lack .* is row 1, in"),
        (lambda table: table.assign(ph=["1", "2", "x"]).set_axis([2, 3, 9]), {}, r"2 \(index 9\)"),
        (lambda table: table.assign(ph=["NA", 1, 2]).set_index("name"), {}, r"0 \(name 'Berlin'\)"),
        ({"name": ["Berlin", 7, "Nairobi"]}, {"text": "name"}, "must be text, got 7 in row 1"),
        *(({"ph": np.nan}, {"missing": x}, "none of the 3 rows") for x in ("error", "drop")),
        ("soil.csv", {}, "expected places, got 'soil.csv'"),
        (lambda table: table[:0], {}, "the table has no rows"),
        (lambda table: pd.concat([table, table["ph"]], axis=1), {}, r"\['ph'\] .*not once"),
        # Rows are counted before any was dropped.
        ({"ph": [np.nan, 7, np.inf]}, {"missing": "drop"}, "got inf in row 2"),
        ({"ph": [np.nan, 7, 6], "lat": [1, 2, 120]}, {"missing": "drop"}, "got 120 in row 2"),
    ],
)
@pytest.mark.filterwarnings("ignore:left out 1 of")
def test_unusable_tables_and_settings_are_refused(table, changes, settings, message):
    if isinstance(changes, dict):
        changes = table.assign(**changes)
    with pytest.raises(ValueError, match=message):
        from_frame(changes(table) if callable(changes) else changes, **settings)


def at_random(**columns):
    """Return a table of some values at random places."""
    n = len(next(iter(columns.values())))
    places = sample_sphere(n, np.random.default_rng(7))
    return pd.DataFrame(places, columns=["lon", "lat"]).assign(**columns)


MARKS = [-9999, -999.0, -99.9, 9999, -32768, 65535, -(2.0**31), 1e20]
ORDINARY = {
    "12 to 18": lambda rng, n: rng.uniform(12, 18, n),
    "temperatures": lambda rng, n: rng.normal(15, 8, n),
    "elevations": lambda rng, n: rng.uniform(-400, 8848, n),
}


@pytest.mark.parametrize(
    ("kind", "mark"),  # an elevation of -999 may be true
    [(k, mark) for k in ORDINARY for mark in MARKS if k != "elevations" or abs(mark) > 9999],
)
@pytest.mark.parametrize(("n", "marked"), [(6, 1), (300, 10), (300, 200)])
def test_marks_of_missing_values_are_warned_of_once_or_taken_as_missing(kind, mark, n, marked):
    ph = ORDINARY[kind](np.random.default_rng(0), n)
    ph[n - marked :] = mark
    told = rf"^{marked} of {n} values of column 'ph' lie far .* in row {n - marked}: .*\(nodata: "
    for make in (from_frame, lambda x: et.Modality("soil", x[["lon", "lat"]], x[["ph"]])):
        with pytest.warns(UserWarning, match=told.replace("'ph'", "('ph'|0)")) as said:
            make(at_random(ph=ph))
        assert [note.filename for note in said] == [__file__]
    for written in (ph, ph.astype(np.float32), ph.astype(str)):
        with pytest.warns(UserWarning, match=f"^left out {marked} of {n} rows, which lack") as said:
            m = from_frame(at_random(ph=written), nodata=[mark, -5e5], missing="drop")
        assert len(said) == 1
        np.testing.assert_array_equal(m.features[:, 0], np.float32(ph[: n - marked]))


@pytest.mark.parametrize(
    "nodata", [-3.4e38, -3.4028234663852886e38, -3.4028235e38, np.float32(-3e38)]
)
@pytest.mark.filterwarnings("ignore:left out 1 of")
def test_nodata_beyond_training_is_found_as_float32(nodata):
    table = at_random(ph=[12.0, 13.0, float(np.float32(nodata)), 18.0])
    assert len(from_frame(table, nodata=nodata, missing="drop")) == 3


@pytest.mark.parametrize("value", [-7777.5, 1e6, 1e15, -1e25])
@pytest.mark.filterwarnings("ignore:left out 1 of")
def test_values_far_out_of_the_rest_are_warned_of_too(value):
    values = np.random.default_rng(0).normal(15, 3, 300)
    values[[5, 9]] = value
    assert np.flatnonzero(far_out(values)).tolist() == [5, 9]
    with pytest.warns(UserWarning, match=r"^2 of 299 values .* in row 5: .*\(nodata: "):
        from_frame(at_random(ph=[np.nan, *values[1:]]), missing="drop")


def test_a_mark_is_found_as_the_only_negative_value():
    people = np.append(embedded.places()["population"].to_numpy(float), -9999)
    assert np.flatnonzero(far_out(people)).tolist() == [len(people) - 1]


def test_ordinary_values_are_never_called_far_out():
    rng, places = np.random.default_rng(0), embedded.places()
    skewed = {
        **ORDINARY,
        "log-normal": lambda rng, n: rng.lognormal(0, 2, n),
        "population": lambda rng, n: rng.choice(places["population"].to_numpy(float), n),
        "rain": lambda rng, n: np.where(rng.uniform(size=n) < 0.7, 0, rng.gamma(0.5, 10, n)),
        "mostly zero": lambda rng, n: rng.lognormal(size=n) * (rng.uniform(size=n) > 0.97),
        "flags": lambda rng, n: 1.0 * (rng.uniform(size=n) < 0.02),
        "years": lambda rng, n: rng.integers(1900, 2030, n).astype(float),
        "counts": lambda rng, n: rng.negative_binomial(0.3, 0.01, n).astype(float),
        "ranks": lambda rng, n: rng.permutation(n) + 1.0,
        "heavy tail": lambda rng, n: 1 / rng.uniform(size=n),
        "rounded": lambda rng, n: rng.choice([0.3, 0.1 + 0.2, 0.4], n, p=[0.49, 0.49, 0.02]),
        "constant": lambda rng, n: np.full(n, 0.1),
    }
    for kind, draw in skewed.items():
        for n in (1, 2, 40, 300, 12_000):
            for _ in range(25):
                assert not far_out(draw(rng, n)).any(), (kind, n)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "offset"),
    [
        (1.7e12 + 1000.0 * np.arange(600), True),
        (np.int64(1.7e12) + 1000 * np.arange(600), True),
        (101_325_000 + np.random.default_rng(0).normal(size=600), True),
        (2020 + np.arange(600) / 600_000, True),
        (np.arange(600) + 1900, False),
        (np.random.default_rng(0).lognormal(0, 2, 600), False),
    ],
)
def test_differences_survive_float32_in_training_and_in_a_saved_model(values, offset, tmp_path):
    table = at_random(time=values, soil=["clay", "sand"] * 300, ph=np.arange(600) % 7)
    for categories, first in ((None, 0), (["soil"], 1)):
        m = from_frame(table, features=["ph", "time"], categories=categories)
        assert (m.featuriser.offsets != ()) == ("offsets" in m.featuriser.spec) == offset
        expected = (values - values.mean()) / values.std()
        found = m.features[:, 1].astype(float)
        np.testing.assert_allclose((found - found.mean()) / found.std(), expected, atol=1e-3)
        np.testing.assert_array_equal(m.features[:, 0], table["ph"])
        encoder = et.LocationEncoder(et.SphericalHarmonics(2), 8, 1, 4)
        model = et.EarthTie(encoder, {"own": 2 + 2 * first}, {"own": m.featuriser})
        model.head("own").fit_statistics(torch.from_numpy(m.features))
        model.save_pretrained(tmp_path / f"model {first}")
        again = et.load_pretrained(str(tmp_path / f"model {first}"))
        z = again.embed_modality("own", table)
        del model.featurisers["own"]
        np.testing.assert_array_equal(z, model.embed_modality("own", m.features))
        assert len(np.unique(z, axis=0)) > 590


def test_columns_without_differences_are_constant():
    for values in ([1.7e12] * 9, [0.1 + 0.2, 0.3] * 9, 1e-50 * np.arange(1, 9)):
        with pytest.raises(ValueError, match=r"\['ph'\] are constant"):
            from_frame(at_random(ph=values))


WORDS = ["NA", "n/a", "NULL", "nan", "\\N", "#N/A", "<NA>", "None", " ", "", None, np.nan]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.filterwarnings("ignore:left out 1 of")
def test_marks_are_missing_in_numbers_and_categories_but_not_in_text(word):
    table = at_random(ph=["1.5", word, "3"], soil=["clay", word, "Sand"])
    for settings in ({"features": ["ph"]}, {"categories": ["soil"]}):
        with pytest.raises(ValueError, match=r"1 of 3 rows lack a value, the first is row 1"):
            from_frame(table, **settings)
        m = from_frame(table, missing="drop", **settings)
        np.testing.assert_array_equal(m.lonlat, table.loc[[0, 2], ["lon", "lat"]])
    named = isinstance(word, str) and word.strip() != ""
    assert len(from_frame(table, text="soil", missing="drop")) == 2 + named


def test_the_code_of_namibia_is_a_class_among_codes_of_two_letters():
    codes = at_random(c=["NA", "DE", "ZA", "NA"])
    assert from_frame(codes, categories=["c"]).featuriser.classes == (("c", ("DE", "NA", "ZA")),)
    for others in (["DE", "other"], ["de", "za"], ["DE", "n/a"], ["A", "B"], [1, 2]):
        with pytest.raises(ValueError, match="lack a value"):
            from_frame(at_random(c=["NA", *others]), categories=["c"])


@pytest.mark.parametrize(
    "kind",
    [
        "Int64",
        "Float32",
        "category",
        "string",
        object,
        "int64[pyarrow]",
        "double[pyarrow]",
        Decimal,
    ],
)
def test_numbers_of_any_type_and_tables_of_any_library_are_read(kind):
    numbers = pd.Series([3, 1, 10])
    numbers = numbers.map(Decimal) if kind is Decimal else numbers.astype(kind)
    table = at_random(ph=numbers, dry=[True, False, True])
    assert from_frame(table, features=["ph", "dry"]).features.tolist() == [[3, 1], [1, 0], [10, 1]]
    table["ph"] = table["ph"].astype(object).astype(float)
    for source in (pl.DataFrame(table), pa.Table.from_pandas(table), dd.from_pandas(table)):
        m = from_frame(source, features=["ph"])
        assert m.featuriser(source).ravel().tolist() == m.features.ravel().tolist() == [3, 1, 10]


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
    settings = {"images": "file", "folder": tmp_path, "size": 9}
    m = from_frame(photos, **settings)
    raw = read_images(photos["file"], tmp_path, 9)
    np.testing.assert_allclose(m.features, m.featuriser(raw), atol=1e-6)
    kept = hold_out(m.lonlat, 0.5, buffer_km=embedded.PATCH_KM)[1]
    assert 0 < kept.sum() < 40
    filters = et.RandomConvolutions.fit(raw[kept])
    np.testing.assert_array_equal(m.featuriser.filters, filters.filters)
    with pytest.raises(ValueError, match="every image lies in a block that may be held out"):
        from_frame(photos[~kept], **settings)
    assert from_frame(photos[~kept], featuriser=filters, **settings).featuriser is filters
    (tmp_path / "7.png").unlink()
    photos.loc[3, "file"] = None
    lines = photos.set_axis(range(2, 42)).rename_axis("line")
    with (
        pytest.warns(UserWarning, match="left out 1 of"),
        pytest.raises(ValueError, match=r"of row 7 \(line 9\), .*7\.png, cannot be read: .*No s"),
    ):
        from_frame(lines, missing="drop", **settings)


@pytest.fixture
def repeated(table):
    """Return the table with Berlin once more, one pH higher."""
    return pd.concat([table, table[:1].assign(ph=6.1, name="Spandau")])


@pytest.mark.parametrize(
    ("duplicates", "ph"),
    [("keep", [5.1, 7.2, 6.6, 6.1]), ("first", [5.1, 7.2, 6.6]), ("mean", [5.6, 7.2, 6.6])],
)
@pytest.mark.filterwarnings("error")
def test_repeated_places_are_kept_dropped_or_averaged_on_request(repeated, duplicates, ph):
    m = from_frame(repeated, duplicates=duplicates)
    np.testing.assert_array_equal(m.lonlat, repeated[["lon", "lat"]][: len(ph)])
    np.testing.assert_allclose(m.features[:, 0], ph, rtol=1e-6)


def test_averaging_averages_features_also_across_the_date_line(repeated):
    repeated["lon"] = [180.0, 2.3, 36.8, -180.0]
    m = from_frame(repeated, text="name", duplicates="mean")
    both = et.CharacterNGrams()(["Berlin", "Spandau"])
    np.testing.assert_allclose(m.features[0], both.mean(axis=0), atol=1e-6)
    m = from_frame(repeated, categories=["name"], duplicates="mean")
    assert m.features[0].tolist() == [0.5, 0, 0, 0.5]
    np.testing.assert_array_equal(m.lonlat, repeated[["lon", "lat"]][:3])


def test_doubtful_places_give_a_warning_that_counts_the_rows_of_the_table(repeated):
    gone = pd.DataFrame({"lon": [7.5], "lat": [47.5], "ph": [np.nan]})
    table = pd.concat([gone, repeated], ignore_index=True)
    with pytest.warns(UserWarning, match="left out|places are") as record:
        assert len(from_frame(table, missing="drop")) == 4
    assert "left out 1 of 5 rows" in str(record[0].message)
    assert "1 of 4 places are duplicated, the first in row 4: " in str(record[1].message)
    named = pd.concat([gone, repeated]).set_axis(range(10, 15)).rename_axis("line")
    with pytest.warns(UserWarning, match="left out|places are") as record:
        from_frame(named, missing="drop")
    assert "duplicated, the first in row 4 (line 14): " in str(record[1].message)


def test_modalities_are_accepted_alone_in_a_sequence_or_in_a_mapping(three):
    assert as_modalities(three[0]) == three[:1]
    assert as_modalities(iter(three)) == as_modalities({m.name: m for m in three}) == three
    for bad, message in [
        *((x, "expected at least one Modality") for x in ([], [3], [three[0], None])),
        (3, "expected modalities, got 3"),
        ([three[0], three[0]], r"names of modalities must differ, got \['soil', 'soil'"),
        ({"x": three[0]}, r"keys \['x'\] differ from the modalities' names"),
    ]:
        with pytest.raises(ValueError, match=message):
            as_modalities(bad)


@pytest.mark.filterwarnings("error")
def test_a_column_that_is_constant_up_to_rounding_does_no_harm_in_an_array():
    rng = np.random.default_rng(0)
    for value in (0.1, 1 / 3, 288.15, 1.7e12):
        for noise in (0, np.spacing(value) * rng.integers(-3, 4, 300)):
            features = np.stack([rng.normal(size=300), value + noise * np.ones(300)], axis=1)
            assert len(et.Modality("soil", sample_sphere(300, rng), features)) == 300


@pytest.mark.filterwarnings("error")
def test_large_units_and_masks_of_two_values_are_ordinary():
    rng = np.random.default_rng(0)
    for values in (1e20 * rng.lognormal(size=300), 1e20 * rng.uniform(0.5, 1.5, 300)):
        assert not far_out(values).any()
    for mark in (255, 999, 65535):
        assert not far_out(np.array([0.0, mark] * 50)).any()


@pytest.mark.filterwarnings("ignore:left out 1 of 4", "ignore:1 of 3 values")
def test_nodata_takes_no_neighbouring_integer():
    for nodata, near in ((16_777_216, 16_777_217), (2_147_483_647, 2_147_483_600)):
        m = from_frame(at_random(ph=[nodata, near, 5, 7]), nodata=nodata, missing="drop")
        assert m.features[:, 0].tolist() == [np.float32(near), 5, 7]
