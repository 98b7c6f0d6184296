"""Checks of places: each fault is counted where it is, and sound places pass."""

import numpy as np
import pytest

from earthtie_lite import sample as embedded
from earthtie_lite.checks import ADVICE, check_places, has_elevation, repeats

CITIES = np.array(
    [[13.41, 52.52], [2.35, 48.86], [36.82, -1.29], [-60.02, -3.12], [151.21, -33.87]]
)
SEA = [-30.5, 30.5]


def faults(lonlat):
    """Return the checks that count at least one place: how many, and the first row."""
    report = check_places(lonlat)
    found = report[report["places"] > 0]
    return dict(zip(found.index, zip(found["places"], found["first_row"])))


def test_sound_places_pass_every_check():
    report = check_places(CITIES)
    assert list(report.index) == list(ADVICE)
    assert (report["places"] == 0).all()
    assert (report["first_row"] == -1).all()
    assert (report["advice"] == "").all()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[np.nan, 1.5]], {"not finite": (1, 5)}),
        ([[1.5, np.inf]], {"not finite": (1, 5)}),
        ([[52.5, 113.4], [181.5, 0.5]], {"out of range": (2, 5)}),
        ([[500000.5, 4649776.5]], {"out of range": (1, 5)}),
        ([[13.41, 52.52], [13.41, 52.52], [2.35, 48.86]], {"duplicated": (3, 5)}),
        ([[0.0, 0.0]], {"at (0, 0)": (1, 5), "whole degrees": (1, 5), "at sea": (1, 5)}),
        ([[20.0, 0.5], [0.0, 51.48]], {}),
        ([[20.0, 10.0]], {"whole degrees": (1, 5)}),
        ([SEA, SEA], {"at sea": (2, 5), "duplicated": (1, 6)}),
    ],
)
def test_a_fault_is_counted_and_its_first_row_is_named(rows, expected):
    assert faults(np.concatenate([CITIES, rows])) == expected


def test_rows_are_counted_over_all_places_sound_or_not():
    places = np.concatenate([[[np.nan, 0.5], [200.5, 0.5]], CITIES, [SEA]])
    assert faults(places) == {"not finite": (1, 0), "out of range": (1, 1), "at sea": (1, 7)}


def test_shares_are_of_all_places_and_advice_stands_where_there_is_reason():
    report = check_places([[13.41, 52.52], SEA, SEA, [np.nan, 0.0]])
    assert report["share"].round(2).to_dict() == dict.fromkeys(ADVICE, 0.0) | {
        "not finite": 0.25,
        "duplicated": 0.25,
        "at sea": 0.5,
    }
    assert (report["advice"] != "").tolist() == (report["places"] > 0).tolist()


def test_places_that_are_all_out_of_range_are_reported_too():
    assert faults([[10.0, 100.0], [20.0, 100.0]]) == {"out of range": (2, 0)}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([10.0, 20.0], r"shape \(N, 2\), N at least 1, longitude first, got \(2,\)"),
        (np.empty((0, 2)), r"N at least 1, longitude first, got \(0, 2\)"),
        ([["13,4", "52,5"]], "lonlat must be numbers"),
    ],
)
def test_what_is_no_array_of_places_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        check_places(bad)


def test_a_place_is_the_same_at_the_date_line_and_at_a_pole():
    places = np.array([[180.0, 5.0], [-180.0, 5.0], [0.0, 5.0], [-0.0, 5.0], [3.0, 90], [4.0, 90]])
    assert repeats(places).tolist() == [False, True, False, True, False, True]


def test_nearby_places_are_not_the_same():
    assert not repeats(np.array([[10.0, 5.0], [10.0000001, 5.0], [10.0, 5.0000001]])).any()


def of_country(code):
    """Return the places of a country in the gazetteer."""
    frame = embedded.places()
    return frame.loc[frame["country"] == code, ["lon", "lat"]].to_numpy()


@pytest.mark.parametrize("code", ["KE", "BR", "DE", "AR"])
def test_swapped_columns_are_found(code):
    places = of_country(code)
    assert "probably swapped" not in faults(places)
    count, row = faults(places[:, ::-1])["probably swapped"]
    assert count == (~has_elevation(places[:, ::-1]) & has_elevation(places)).sum() > 0
    assert not has_elevation(places[row : row + 1, ::-1])[0]


def test_no_country_is_taken_for_swapped():
    codes = embedded.places()["country"].value_counts()
    for code in codes.index[codes >= 10]:
        assert "probably swapped" not in faults(of_country(code)), code


def test_a_few_swapped_places_are_not_enough_to_tell():
    assert "probably swapped" in faults(of_country("KE")[:10, ::-1])
    assert "probably swapped" not in faults(of_country("KE")[:9, ::-1])


def test_places_at_sea_are_not_taken_for_swapped_where_most_would_stay_at_sea():
    stays, moves = [-30.5, -20.5], SEA
    turned = has_elevation(np.array([stays, moves])[:, ::-1])
    assert turned.tolist() == [False, True]
    assert "probably swapped" not in faults([stays] * 10 + [moves] * 10)
    assert "probably swapped" in faults([stays] * 4 + [moves] * 16)


def test_places_that_cannot_be_swapped_are_not_taken_for_swapped():
    places = np.concatenate([of_country("KE")[:, ::-1], [[100.5, 15.5]]])
    assert "probably swapped" not in faults(places)


def test_small_islands_are_land():
    assert has_elevation(np.array([[-23.52, 14.92], [14.51, 35.90], [-30.5, 30.5]])).tolist() == [
        True,
        True,
        False,
    ]
