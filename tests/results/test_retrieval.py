"""Retrieval through places: which candidate is chosen along each route, and what is unseen."""

import numpy as np
import pandas as pd
import pytest

from data.experiments.embeddings import untrained
from data.experiments.rows import Embedding, Recipe
from earthtie_lite.coords import great_circle_km
from earthtie_lite.modalities import thinned_names
from earthtie_lite.results import retrieval
from earthtie_lite.results.intervals import Bootstrap
from earthtie_lite.results.protocol import in_report_half
from earthtie_lite.results.retrieval import Tied, distances, recall_sums, retrieve, tie, unseen

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)
AT = np.array([[0.0, 0.0], [90.0, 0.0], [180.0, 0.0]])
UNITS = np.eye(3, dtype=np.float32)


@pytest.fixture(scope="module")
def asked():
    return unseen(100)


def test_a_route_takes_the_largest_cosine_directly_or_next_to_the_best_place():
    assert retrieve(Tied(AT[:2], UNITS[[2, 0]]), Tied(AT, UNITS)).tolist() == [2, 0]
    queries = Tied(AT[:1], UNITS[:1])
    places = Tied(AT, UNITS[[1, 0, 2]])  # the second place looks like the query
    candidates = Tied([[-170.0, 10.0], [80.0, 5.0]], UNITS[[0, 1]])  # the first one's vector, too
    assert retrieve(queries, candidates).tolist() == [0]
    assert retrieve(queries, candidates, "through a place", places).tolist() == [1]


def test_the_nearest_candidate_is_a_bound_for_every_route_and_slices_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    places = [np.c_[rng.uniform(-180, 180, 50), rng.uniform(-80, 80, 50)] for _ in range(3)]
    tied = [Tied(p, rng.normal(size=(50, 4)).astype(np.float32)) for p in places]
    queries, candidates, through = tied
    rows = {r: retrieve(queries, candidates, r, through) for r in retrieval.ROUTES}
    km = {r: great_circle_km(places[0], places[1][row]) for r, row in rows.items()}
    for route in rows.keys() - {"nearest"}:
        assert (km["nearest"] <= km[route]).all()
        assert (km["nearest"] < km[route]).any()
    monkeypatch.setattr(retrieval, "SLICE", 7)
    for route, row in rows.items():
        np.testing.assert_array_equal(retrieve(queries, candidates, route, through), row)


WRONG = [
    (lambda t: retrieve(t, t, "by air"), "unknown route 'by air': expected one of"),
    (lambda t: retrieve(t, t, "through a place"), "needs places=, embedded places"),
    (lambda t: retrieve(t, Tied(AT, UNITS[:, :2])), r"of width 3 need candidates .* \(3, 2\)"),
    (lambda t: Tied(AT, UNITS * np.nan), "vectors must be finite, not in row 0"),
    (lambda t: Tied(AT, UNITS[:2]), r"expected vectors \(3, D\), one per place, got \(2, 3\)"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tied(AT, UNITS))


def test_queries_lie_in_the_report_half_and_their_names_are_in_no_sample(asked):
    assert list(asked) == ["satellite", "lights", "text"]
    again = unseen(100)
    for name, (lonlat, raw) in asked.items():
        assert len(lonlat) == len(raw) == 100
        assert in_report_half(lonlat, 0.0).all()
        np.testing.assert_array_equal(again[name][0], lonlat)
    every = thinned_names()[["lon", "lat"]].to_numpy()
    assert len(every) > 100_000
    assert not {tuple(p) for p in every} & {tuple(p) for p in asked["text"][0]}


def test_a_table_has_every_route_between_every_two_modalities(asked, monkeypatch):
    monkeypatch.setattr(retrieval, "N_PLACES", 200)
    tied = tie(untrained(Embedding("untrained", TINY, 0)), asked)
    assert tied["place"].vectors.shape == (200, 8)
    for part in tied.values():
        np.testing.assert_allclose(np.linalg.norm(part.vectors, axis=1), 1, atol=1e-5)
    found = distances(tied)
    counts = found.groupby(["query", "target"])["route"].nunique()
    assert len(counts) == 6 + 3
    assert (counts.drop("place", level="target") == 4).all()
    assert (counts.xs("place", level="target") == 3).all()
    assert found["km"].between(0, 20_038).all()
    alone = distances(tied, places_only=True)
    expected = found.query("target == 'place' and route == 'direct'").reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected)


def test_a_recall_is_the_share_of_near_matches():
    found = pd.DataFrame({"embedding": "a", "seed": 0, "cell": [1, 1, 2, 2]})
    found["km"] = [10.0, 99.0, 101.0, 9000.0]
    recall = Bootstrap(recall_sums(found, 100.0)).interval("a")
    assert recall == pytest.approx((0.5, 0.0, 1.0))
