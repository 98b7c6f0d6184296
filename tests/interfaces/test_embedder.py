"""The scikit-learn transformer."""

import io
import pickle

import geopandas as gpd
import joblib
import numpy as np
import pandas as pd
import pytest
from fakes import Waves
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import earthtie_lite as et
from earthtie_lite.coords import block_ids, sample_sphere, unit_vectors
from earthtie_lite.interfaces.embedder import Embedder

LONLAT = sample_sphere(60, np.random.default_rng(0))
WARMTH = unit_vectors(LONLAT) @ [0.3, -1.0, 2.0]
NO_PLACES = "its data are normal around 100, and no latitude is 100"


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
    failures = dict.fromkeys(
        ("check_fit_idempotent", "check_fit_check_is_fitted", "check_n_features_in"), NO_PLACES
    )
    if embedder.model == "satellite":
        failures["check_methods_subset_invariance"] = (
            "sums in float32 depend on the size of the batch in the seventh digit"
        )
    return failures


@parametrize_with_checks(
    [Embedder(Still(), columns=(0, 1)), Embedder("satellite", columns=(0, 1))],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


def frame(**columns):
    """Return the places as a table, with other columns."""
    table = pd.DataFrame({"name": "x", "Lat": LONLAT[:, 1], "Lon": LONLAT[:, 0], **columns})
    return table.set_index(pd.Index([f"p{i}" for i in range(len(LONLAT))]))


def points():
    """Return the places as points in another CRS."""
    geometry = gpd.points_from_xy(*LONLAT.T, crs=4326).to_crs(8857)
    return gpd.GeoDataFrame({"name": "x"}, geometry=geometry, index=range(len(LONLAT)))


@pytest.mark.parametrize(
    ("X", "columns"),
    [
        (LONLAT, None),
        (LONLAT.tolist(), None),
        (np.column_stack([LONLAT[:, 1], np.full(60, np.nan), LONLAT[:, 0]]), (2, 0)),
        (np.column_stack([LONLAT[:, 1], LONLAT[:, 0]]), (-1, -2)),
        (frame(), None),
        (frame(), ("Lon", "Lat")),
        (frame(), (2, 1)),
        (frame().rename(columns={"Lon": "east"}), ["east", "Lat"]),
        (points(), None),
        (points().geometry, None),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple | list) and len(value) == 2 else "",
)
def test_places_come_in_every_form(X, columns):
    z = Embedder(Waves(6), columns).fit_transform(X)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, Waves(6).embed(LONLAT), atol=1e-6)


def test_fitting_is_idempotent_and_notes_the_columns():
    embedder = Embedder(Waves())
    with pytest.raises(NotFittedError):
        embedder.transform(LONLAT)
    assert not hasattr(embedder, "n_features_in_")
    first = embedder.fit(frame()).transform(frame())
    np.testing.assert_array_equal(embedder.fit(frame()).transform(frame()), first)
    assert embedder.n_features_in_ == 3
    assert embedder.feature_names_in_.tolist() == ["name", "Lat", "Lon"]
    with pytest.raises(ValueError, match="feature names should match"):
        embedder.transform(frame().rename(columns={"name": "other"}))
    with (
        pytest.warns(UserWarning, match="X does not have valid feature names"),
        pytest.raises(ValueError, match="X has 2 features, but Embedder is expecting 3"),
    ):
        embedder.transform(LONLAT)


def test_the_model_of_a_name_is_loaded_when_fitted():
    embedder = Embedder("salt").fit(LONLAT)
    assert embedder.model == "salt"
    np.testing.assert_array_equal(
        embedder.transform(LONLAT), et.load_pretrained("salt").embed(LONLAT)
    )
    with pytest.raises(ValueError, match="unknown model 'clip'"):
        Embedder("clip").fit(LONLAT)


@pytest.mark.parametrize(
    ("X", "columns", "message"),
    [
        (np.zeros((3, 4)), None, r"expected two columns, .*, got 4: say which .*columns=\(0, 1\)"),
        (np.zeros((3, 4)), (0, 4), r"columns \(0, 4\) are not among the columns"),
        (np.zeros((3, 4)), ("lon", "lat"), "longitude 'lon' is not one of the columns"),
        (np.zeros((3, 4)), (0, 1, 2), r"columns must be a pair.*\(0, 1, 2\)"),
        (frame(), "xy", "columns must be a pair"),
        (frame().drop(columns="Lat"), None, r"latitude .*found \[\]: name it with lat="),
        (LONLAT[:, ::-1], None, "is the order"),
        ([[0.0, 0.0], [np.nan, 1.0]], None, "longitude is missing .* in row 1"),
        (frame().assign(Lat=np.inf), None, r"got inf in row 0 \(index 'p0'\)"),
    ],
)
def test_what_is_no_table_of_places_is_refused(X, columns, message):
    with pytest.raises(ValueError, match=message):
        Embedder(Waves(), columns).fit(X)


def test_a_wrong_place_is_refused_after_fitting_too():
    with pytest.raises(ValueError, match="got 93 in row 1"):
        Embedder(Waves()).fit(LONLAT).transform([[0, 0], [0, 93]])


def test_columns_of_the_output_have_the_names_of_tables():
    embedder = Embedder(Waves(5)).set_output(transform="pandas")
    got = embedder.fit_transform(frame())
    names = ["e000", "e001", "e002", "e003", "e004"]
    assert list(got) == names == embedder.get_feature_names_out().tolist()
    assert got.index.equals(frame().index)
    pd.testing.assert_frame_equal(got, et.embed_table(frame(), Waves(5))[names])


def test_clones_and_pickles_give_the_same():
    for model in (Waves(), "satellite", et.load_pretrained("satellite")):
        embedder = Embedder(model).fit(LONLAT)
        expected = embedder.transform(LONLAT)
        np.testing.assert_array_equal(clone(embedder).fit_transform(LONLAT), expected)
        assert not hasattr(clone(embedder), "model_")
        stored = pickle.loads(pickle.dumps(embedder))
        np.testing.assert_array_equal(stored.transform(LONLAT), expected)
        joblib.dump(embedder, file := io.BytesIO())
        file.seek(0)
        np.testing.assert_array_equal(joblib.load(file).transform(LONLAT), expected)


def test_a_column_transformer_keeps_other_columns():
    table = frame(rain=np.arange(60.0))
    both = ColumnTransformer(
        [("place", Embedder(Waves()), ["Lat", "Lon"]), ("rest", StandardScaler(), ["rain"])]
    ).set_output(transform="pandas")
    got = both.fit_transform(table)
    assert list(got)[:2] == ["place__e000", "place__e001"]
    assert list(got)[-1] == "rest__rain"
    np.testing.assert_array_equal(got.iloc[:, :4], Waves().embed(LONLAT))


def test_a_column_transformer_takes_a_geometry():
    table = points().assign(rain=np.arange(60.0))
    place = ColumnTransformer([("place", Embedder(Waves()), ["geometry"])])
    np.testing.assert_allclose(place.fit_transform(table), Waves().embed(LONLAT), atol=1e-6)


@pytest.mark.parametrize("X", [LONLAT, frame(), points()], ids=["array", "table", "points"])
def test_blocks_are_groups_of_a_cross_validation(X):
    probe = make_pipeline(Embedder(Waves()), StandardScaler(), Ridge(1e-3))
    blocks = block_ids(LONLAT, 2000.0)
    scores = cross_val_score(probe, X, WARMTH, groups=blocks, cv=GroupKFold(4))
    by_hand = cross_val_score(
        make_pipeline(StandardScaler(), Ridge(1e-3)),
        Waves().embed(LONLAT),
        WARMTH,
        groups=blocks,
        cv=GroupKFold(4),
    )
    np.testing.assert_allclose(scores, by_hand, rtol=1e-4)
    assert scores.min() > 0.5


def test_a_search_chooses_among_models():
    far_off = Waves(turns=200.0)  # waves so short that nothing is smooth
    search = GridSearchCV(
        make_pipeline(Embedder(), Ridge(1e-3)),
        {"embedder__model": [far_off, "satellite", Waves()]},
        cv=GroupKFold(3),
    )
    search.fit(frame(), WARMTH, groups=block_ids(LONLAT, 2000.0))
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] < min(scores[1:])
    assert search.best_params_["embedder__model"] != far_off
    assert search.predict(frame()).shape == (60,)
