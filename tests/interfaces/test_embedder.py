"""The scikit-learn transformer."""

import io

import geopandas as gpd
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fakes import Waves
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.interfaces.embedder import Embedder

LONLAT = sample_sphere(60, np.random.default_rng(0))
LON, LAT = LONLAT.T
NO_PLACES = "its data are normal around 100, and no latitude is 100"
TABLE = pd.DataFrame({"name": "x", "Lat": LAT, "Lon": LON}).rename(index="p{}".format)
POINTS = gpd.GeoDataFrame(
    {"name": "x"}, geometry=gpd.points_from_xy(LON, LAT, crs=4326), index=range(60)
).to_crs(8857)


class Still(Waves):
    """A model that is not changed by what it is asked."""

    def __repr__(self):  # names of tests hold it: no address, which differs between processes
        return "Still()"

    def embed(self, lonlat):
        z = super().embed(lonlat)
        self.calls.clear()
        return z


def expected_failures(embedder):
    """Return the checks whose data are no places; what they check is checked below, with places."""
    checks = ("check_fit_idempotent", "check_fit_check_is_fitted", "check_n_features_in")
    failures = dict.fromkeys(checks, NO_PLACES)
    if embedder.model == "satellite":
        rounding = "sums in float32 depend on the size of the batch in the seventh digit"
        failures["check_methods_subset_invariance"] = rounding
    return failures


@parametrize_with_checks(
    [Embedder(Still(), columns=(0, 1)), Embedder("satellite", columns=(0, 1))],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("X", "columns"),
    [
        (LONLAT, None),
        (LONLAT.tolist(), None),
        (np.column_stack([LAT, np.full(60, np.nan), LON]), (2, 0)),
        (np.column_stack([LAT, LON]), (-1, -2)),
        (TABLE, None),
        (TABLE, (2, 1)),
        (TABLE.rename(columns={"Lon": "east"}), ["east", "Lat"]),
        (POINTS, None),
        (POINTS.geometry, None),
        (pl.DataFrame(TABLE.reset_index(drop=True)), None),
        (pa.Table.from_pandas(TABLE), ["Lon", "Lat"]),
    ],
)
def test_places_come_in_every_form(X, columns):
    z = Embedder(Waves(6), columns).fit_transform(X)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, Waves(6).embed(LONLAT), atol=1e-6)


def test_fitting_is_idempotent_and_notes_the_columns():
    embedder = Embedder(Waves())
    with pytest.raises(NotFittedError):
        embedder.transform(LONLAT)
    first = embedder.fit(TABLE).transform(TABLE)
    np.testing.assert_array_equal(embedder.fit(TABLE).transform(TABLE), first)
    assert embedder.n_features_in_ == 3
    assert embedder.feature_names_in_.tolist() == ["name", "Lat", "Lon"]
    with pytest.raises(ValueError, match="feature names should match"):
        embedder.transform(TABLE.rename(columns={"name": "other"}))
    with pytest.raises(ValueError, match="got 93 in row 1"):
        Embedder(Waves()).fit(LONLAT).transform([[0, 0], [0, 93]])


@pytest.mark.parametrize(
    ("X", "columns", "message"),
    [
        (np.zeros((3, 4)), None, r"expected two columns, .*, got 4: say which \(columns\)"),
        (np.zeros((3, 4)), (0, 4), r"columns \(0, 4\) are not among the columns"),
        (TABLE, ["Lat", "Lon"], "column 'Lat' is no longitude: rename it if it is one"),
        (np.zeros((3, 4)), (0, 1, 2), r"columns must be a pair.*\(0, 1, 2\)"),
        (TABLE.drop(columns="Lat"), None, r"latitude .*found \[\]: name it \(lat"),
        (LONLAT[:, ::-1], None, "is the order"),
        ([[0.0, 0.0], [np.nan, 1.0]], None, r"longitude is missing .* in row 1"),
        (TABLE.assign(Lat=np.inf), None, r"got inf in row 0 \(index 'p0'\)"),
    ],
)
def test_bad_columns_and_places_are_refused(X, columns, message):
    with pytest.raises(ValueError, match=message):
        Embedder(Waves(), columns).fit(X)


def test_columns_of_the_output_have_the_names_of_tables():
    embedder = Embedder(Waves(5)).set_output(transform="pandas")
    got = embedder.fit_transform(TABLE)
    assert list(got) == embedder.get_feature_names_out().tolist()
    pd.testing.assert_frame_equal(got, et.embed_table(TABLE, Waves(5)).iloc[:, 3:])


def test_clones_and_copies_on_disk_give_the_same():
    embedder = Embedder(et.load_pretrained("satellite")).fit(LONLAT)
    joblib.dump(embedder, file := io.BytesIO())
    file.seek(0)
    for other in (joblib.load(file), clone(embedder).fit(LONLAT)):
        np.testing.assert_array_equal(other.transform(LONLAT), embedder.transform(LONLAT))
    assert not hasattr(clone(embedder), "model_")


@pytest.mark.parametrize(("X", "columns"), [(TABLE, ["Lat", "Lon"]), (POINTS, ["geometry"])])
def test_a_column_transformer_keeps_other_columns(X, columns):
    steps = [("place", Embedder(Waves()), columns), ("rest", StandardScaler(), ["rain"])]
    both = ColumnTransformer(steps).set_output(transform="pandas")
    got = both.fit_transform(X.assign(rain=np.arange(60.0)))
    assert [got.columns[i] for i in (0, 1, -1)] == ["place__e000", "place__e001", "rest__rain"]
    np.testing.assert_allclose(got.iloc[:, :4], Waves().embed(LONLAT), atol=1e-6)
