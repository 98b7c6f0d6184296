"""Places on the sphere: random generators, validation, geometry, blocks, held-out regions."""

import itertools

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.coords import (
    BLOCK_SIZES_KM,
    EARTH_RADIUS_KM,
    _block_layout,
    as_lonlat,
    block_ids,
    block_size,
    destination,
    great_circle_km,
    hold_out,
    n_blocks,
    sample_sphere,
    stream,
    to_lonlat,
    torch_seed,
    unit_vectors,
)

USES = [("places", 0), ("places",), ("labels", 0), ("batches", 0, 0), ("batches", 0), ("places", 1)]


@pytest.fixture(scope="module")
def places():
    return sample_sphere(20_000, np.random.default_rng(0))


def test_a_purpose_and_its_numbers_determine_random_numbers_that_no_other_shares():
    assert (stream("places", 3).random(5) == stream("places", 3).random(5)).all()
    for a, b in itertools.combinations(USES, 2):
        assert not np.isin(stream(*a).random(100), stream(*b).random(100)).any()
        assert torch_seed(*a) != torch_seed(*b)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[0, 0], [0, 90.5]], r"latitude must lie in \[-90, 90\], got 90.5 in row 1"),
        ([[0, 0], [180.5, 0]], r"longitude must lie in \[-180, 180\], got 180.5 in row 1; wrap it"),
        ([[-200, 0]], "got -200 in row 0"),
        ([[35.7, 139.7]], r"got 139.7 in row 0; is the order \(longitude, latitude"),
        (np.array([[0, 0], [np.nan, 1]]), r"must be finite, got \[nan, 1.0\] in row 1"),
        (np.array([[0, np.inf]]), r"must be finite, got \[0.0, inf\] in row 0"),
        ([[0, 0], [np.nan, 1]], r"must be finite, got \[nan, 1.0\] in row 1"),
        (np.empty((0, 2)), "at least one place is needed"),
        ([10.0, 20.0], r"longitude first, got \(2,\); one place is \[\[lon, lat"),
        ([[1, 2, 3]], r"longitude first, got \(1, 3\)"),
        ([[1, 2], [3]], "lonlat must be numbers"),
        (pd.DataFrame({"lat": [52.5], "east": [13.4]}), r"longitude .*found \[\]"),
    ],
)
def test_invalid_places_are_refused_with_the_reason(bad, message):
    with pytest.raises(ValueError, match=message):
        as_lonlat(bad)


def test_unit_vectors_point_to_their_places(places):
    xyz = unit_vectors(places)
    np.testing.assert_allclose(np.linalg.norm(xyz, axis=1), 1, atol=1e-14)
    np.testing.assert_allclose(to_lonlat(xyz), places, rtol=0, atol=1e-9)
    np.testing.assert_allclose(unit_vectors([[90, 0], [0, 30]])[:, 1:], [[1, 0], [0, 0.5]])


def test_the_limits_of_the_range_are_valid_also_in_a_table():
    limits = [[180, 90], [-180, -90]]
    assert as_lonlat(pd.DataFrame(limits, columns=["lon", "lat"])).tolist() == limits


@pytest.mark.parametrize(
    ("a", "b", "km", "within"),
    [
        ([13.405, 52.52], [-74.006, 40.7128], 6385, 5),  # from Berlin to New York
        ([20.0, 10.0], [-160.0, -10.0], np.pi * EARTH_RADIUS_KM, 0.02),  # antipodes
        ([179.9, 0.0], [-179.9, 0.0], 22.24, 0.01),  # across the date line
    ],
)
def test_great_circle_distances_are_right(a, b, km, within):
    assert great_circle_km([a], [b])[0] == pytest.approx(km, abs=within)


def test_a_destination_lies_at_the_given_distance_and_bearing(places):
    np.testing.assert_allclose(great_circle_km(places, destination(places, 37, 500)), 500)
    turn = np.degrees(100 / EARTH_RADIUS_KM)
    north, east = destination([[10.0, 20.0]], 0, 100.0), destination([[10.0, 0.0]], 90, 100.0)
    np.testing.assert_allclose([*north, *east], [[10.0, 20.0 + turn], [10.0 + turn, 0]], atol=1e-9)


@pytest.mark.parametrize("size_km", [10.0, 300.0, 1000.0, 5000.0])
def test_all_blocks_have_the_same_area_of_about_the_requested_size(size_km):
    columns, edges = _block_layout(size_km)
    height = np.diff(edges)  # area of a row is 2 pi times this
    np.testing.assert_allclose(height / columns, 2 / n_blocks(size_km), rtol=1e-9)
    side = np.sqrt(4 * np.pi / n_blocks(size_km)) * EARTH_RADIUS_KM
    assert side == pytest.approx(size_km, rel=0.03 if size_km < 5000 else 0.1)


def test_uniform_places_fall_equally_often_into_each_block(places):
    many = np.concatenate([places, sample_sphere(180_000, np.random.default_rng(1))])
    counts = np.bincount(block_ids(many, 2000.0), minlength=n_blocks(2000.0))
    expected = len(many) / n_blocks(2000.0)
    assert len(counts) == n_blocks(2000.0)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_the_date_line_and_each_pole_lie_in_one_block():
    assert len(set(block_ids([[180.0, 33.0], [-180.0, 33.0]], 100.0))) == 1
    ids = block_ids([[-180, 90], [180, 90], [-180, -90], [180, -90]], 1000.0)
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert 0 <= ids.min() < ids.max() < n_blocks(1000.0)


@pytest.mark.parametrize(
    ("centre", "width", "size_km"),  # places in a square; width in degrees of arc
    [
        ((10, 0), 60, 1000),  # a continent
        ((10, 75), 25, 500),  # near the pole
        ((-120, 37), 9, 200),  # California
        ((179.5, -17), 3, 100),  # islands on the date line
        ((8, 47), 1, 20),
        ((2.3, 48.9), 0.3, 5),  # a city
        ((2.3, 48.9), 0.06, 1),  # a quarter
    ],
)
def test_blocks_are_the_largest_of_which_twenty_hold_places(centre, width, size_km):
    east, north = np.random.default_rng(0).uniform(-width / 2, width / 2, (2, 2000))
    lat = np.clip(centre[1] + north, -90, 90)
    lon = (centre[0] + east / np.cos(np.radians(centre[1])) + 180) % 360 - 180
    lonlat = np.stack([lon, lat], axis=1)
    assert block_size(lonlat) == size_km
    assert len(set(block_ids(lonlat, size_km))) >= 20
    larger = [s for s in BLOCK_SIZES_KM if s > size_km]
    assert all(len(set(block_ids(lonlat, s))) < 20 for s in larger)


@pytest.mark.parametrize("n", [50, 20_000])
def test_places_all_over_the_globe_have_blocks_of_1000_km(places, n):
    assert block_size(places[:n]) == 1000


@pytest.mark.parametrize(
    ("n", "width", "message"),
    [
        (19, 300, "19 places lie in 19 blocks of 1 km, 20 are needed: add places further apart"),
        (500, 0.01, "500 places lie in 2 blocks of 1 km, .* or use a random split"),
        (1, 0, "1 places lie in 1 blocks"),
    ],
)
def test_places_without_twenty_blocks_are_refused(n, width, message):
    lonlat = np.random.default_rng(0).uniform(-width / 2, width / 2, (n, 2)) * [1, 0.5]
    with pytest.raises(ValueError, match=message):
        block_size(lonlat)


def test_without_a_buffer_whole_blocks_are_held_out_and_all_others_kept(places):
    held_out, kept = hold_out(places, 0.25, 1000.0)
    assert (held_out ^ kept).all()
    assert held_out.mean() == pytest.approx(0.25, abs=0.015)
    blocks = block_ids(places, 1000.0)
    assert not set(blocks[held_out]) & set(blocks[kept])


def test_the_held_out_regions_depend_on_the_seed_but_not_on_the_places(places):
    whole, other = (hold_out(places, 0.2, 1000.0, 111.0, seed)[0] for seed in (3, 4))
    assert (whole[::7] == hold_out(places[::7], 0.2, 1000.0, 111.0, 3)[0]).all()
    assert (whole != other).any()


@pytest.fixture(scope="module")
def corners():
    """Return the corners (N, 2) of the held-out blocks, which a wrong buffer misses first."""
    columns, edges = _block_layout(1000.0)
    lats, found = np.degrees(np.arcsin(np.clip(edges, -1, 1))), []
    for row, count in enumerate(columns):
        step = 360 / count
        for lon in -180 + step * np.arange(count):
            middle = np.degrees(np.arcsin((edges[row] + edges[row + 1]) / 2))
            if hold_out([[lon + step / 2, middle]], 0.1)[0][0]:
                found += [(x, y) for x in (lon, lon + step) for y in lats[row : row + 2]]
    return np.clip(found, [-180, -90], [180, 90])


@pytest.mark.parametrize("buffer_km", [50.0, 111.0, 400.0])
def test_the_buffer_around_held_out_blocks_has_the_requested_width(corners, buffer_km):
    bearings = np.random.default_rng(4).uniform(0, 360, 60)
    around = np.concatenate([destination(corners, b, 0.98 * buffer_km) for b in bearings])
    assert len(corners) > 100
    assert not hold_out(around, 0.1, 1000.0, buffer_km)[1].any()
    # Brute force: places to test against a dense cover of the held-out blocks.
    cover = sample_sphere(150_000, np.random.default_rng(2))
    cover = np.concatenate([cover[hold_out(cover, 0.1)[0]], corners])
    tested = sample_sphere(2000, np.random.default_rng(3))
    held_out, kept = hold_out(tested, 0.1, 1000.0, buffer_km)
    cosine = (unit_vectors(tested) @ unit_vectors(cover).T).max(axis=1)
    nearest = EARTH_RADIUS_KM * np.arccos(np.clip(cosine, -1, 1))
    dropped = ~held_out & ~kept
    assert dropped.sum() > 15
    assert not (held_out & kept).any()
    assert nearest[kept].min() >= buffer_km
    assert nearest[dropped].max() < buffer_km + 80.0  # the cover's own spacing


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("size_km", (0, -5, np.nan, np.inf), "block must be positive"),
        ("fraction", (-0.1, 1.0, np.nan), r"fraction must lie in \[0, 1\)"),
        ("buffer_km", (-1.0, np.nan, np.inf), "buffer_km must be zero or more"),
    ],
)
def test_invalid_sizes_of_blocks_and_buffers_are_refused(name, bad, message):
    for value in bad:
        with pytest.raises(ValueError, match=message):
            hold_out([[0, 0]], **{name: value})
