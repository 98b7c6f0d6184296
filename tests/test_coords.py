"""Places on the sphere: random generators, validation, geometry, blocks, held-out regions."""

import itertools

import numpy as np
import pandas as pd
import pytest

from earthtie_lite.coords import (
    EARTH_RADIUS_KM,
    _block_layout,
    as_lonlat,
    block_ids,
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


def test_the_same_purpose_and_numbers_give_the_same_random_numbers():
    assert (stream("places", 3).random(5) == stream("places", 3).random(5)).all()


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(USES, 2)))
def test_no_two_purposes_or_numbers_share_random_numbers(a, b):
    assert not np.isin(stream(*a).random(100), stream(*b).random(100)).any()
    assert torch_seed(*a) != torch_seed(*b)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[0, 0], [0, 90.5]], r"latitude must lie in \[-90, 90\], got 90.5 in row 1"),
        ([[0, -91]], r"latitude must lie in \[-90, 90\], got -91 in row 0"),
        ([[0, 0], [1, 1], [180.5, 0]], r"longitude must lie in \[-180, 180\], got 180.5 in row 2"),
        ([[-200, 0]], r"longitude must lie in .* got -200 in row 0; wrap it"),
        ([[40.7, -74.0], [35.7, 139.7]], r"got 139.7 in row 1; is the order \(longitude, latitude"),
        ([[0, 0], [np.nan, 1]], r"must be finite, got \[nan, 1.0\] in row 1"),
        ([[0, np.inf]], r"must be finite, got \[0.0, inf\] in row 0"),
        (np.empty((0, 2)), r"lonlat is empty: at least one place is needed"),
        ([10.0, 20.0], r"shape \(N, 2\), longitude first, got \(2,\); one place is \[\[lon, lat"),
        ([[1, 2, 3]], r"shape \(N, 2\), longitude first, got \(1, 3\)"),
        (5.0, r"shape \(N, 2\), longitude first, got \(\)"),
        ([["a", "b"]], r"lonlat must be numbers in an array of shape \(N, 2\)"),
        ([[1, 2], [3]], r"lonlat must be numbers in an array of shape \(N, 2\)"),
    ],
)
def test_invalid_places_are_refused_with_the_reason(bad, message):
    with pytest.raises(ValueError, match=message):
        as_lonlat(bad)


def test_the_limits_of_the_range_are_valid():
    limits = [[180, 90], [-180, -90]]
    checked = as_lonlat(limits)
    assert checked.dtype == np.float64
    assert checked.tolist() == limits


def test_converting_to_unit_vectors_and_back_changes_nothing(places):
    np.testing.assert_allclose(to_lonlat(unit_vectors(places)), places, rtol=0, atol=1e-9)


def test_unit_vectors_have_unit_length(places):
    np.testing.assert_allclose(np.linalg.norm(unit_vectors(places), axis=1), 1, atol=1e-14)


def test_longitude_grows_to_the_east_and_latitude_to_the_north():
    np.testing.assert_allclose(unit_vectors([[90, 0]]), [[0, 1, 0]], atol=1e-15)
    np.testing.assert_allclose(unit_vectors([[0, 30]])[0, 2], 0.5)


def test_the_distance_from_berlin_to_new_york_is_right():
    km = great_circle_km([[13.405, 52.52]], [[-74.006, 40.7128]])
    assert km[0] == pytest.approx(6385, abs=5)


def test_distances_are_right_for_antipodes_and_across_the_date_line():
    km = great_circle_km([[20.0, 10.0]], [[-160.0, -10.0]])
    assert km[0] == pytest.approx(np.pi * EARTH_RADIUS_KM, rel=1e-6)
    assert great_circle_km([[179.9, 0]], [[-179.9, 0]])[0] == pytest.approx(22.24, abs=0.01)


@pytest.mark.parametrize("bearing", [0, 37, 90, 180, 291])
def test_a_destination_lies_at_the_given_distance(places, bearing):
    arrived = destination(places, bearing, 500.0)
    np.testing.assert_allclose(great_circle_km(places, arrived), 500.0, rtol=1e-7)


def test_a_bearing_is_measured_clockwise_from_north():
    north, east = destination([[10.0, 20.0]], 0, 100.0), destination([[10.0, 0.0]], 90, 100.0)
    np.testing.assert_allclose(north, [[10.0, 20.0 + np.degrees(100 / EARTH_RADIUS_KM)]], atol=1e-9)
    np.testing.assert_allclose(east, [[10.0 + np.degrees(100 / EARTH_RADIUS_KM), 0.0]], atol=1e-9)


def test_the_sphere_is_sampled_uniformly_by_area(places):
    counts = np.histogram(np.sin(np.radians(places[:, 1])), bins=10, range=(-1, 1))[0]
    assert (np.abs(counts / len(places) - 0.1) < 0.01).all()


@pytest.mark.parametrize("size_km", [10.0, 250.0, 1000.0, 5000.0])
def test_all_blocks_have_the_same_area(size_km):
    columns, edges = _block_layout(size_km)
    height = np.diff(edges)  # area of a row is 2 pi times this
    np.testing.assert_allclose(height / columns, 2 / columns.sum(), rtol=1e-9)
    assert (edges[0], edges[-1]) == (-1, pytest.approx(1, abs=1e-14))


def test_uniform_places_fall_equally_often_into_each_block(places):
    many = np.concatenate([places, sample_sphere(180_000, np.random.default_rng(1))])
    counts = np.bincount(block_ids(many, 2000.0), minlength=n_blocks(2000.0))
    expected = len(many) / n_blocks(2000.0)
    assert len(counts) == n_blocks(2000.0)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("size_km", [300.0, 1000.0])
def test_blocks_have_about_the_requested_size(size_km):
    area = 4 * np.pi * EARTH_RADIUS_KM**2 / n_blocks(size_km)
    assert np.sqrt(area) == pytest.approx(size_km, rel=0.03)


def test_no_two_places_of_a_block_are_far_apart(places):
    blocks = block_ids(places, 1000.0)
    for block in np.unique(blocks):
        inside = places[blocks == block]
        assert great_circle_km(inside, np.broadcast_to(inside[0], inside.shape)).max() < 1800


def test_block_ids_do_not_depend_on_the_other_places(places):
    alone = [block_ids(places[i : i + 1], 700.0)[0] for i in range(20)]
    assert block_ids(places, 700.0)[:20].tolist() == alone


def test_the_date_line_and_each_pole_lie_in_one_block():
    assert len(set(block_ids([[180.0, 33.0], [-180.0, 33.0]], 100.0))) == 1
    ids = block_ids([[-180, 90], [180, 90], [-180, -90], [180, -90]], 1000.0)
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert 0 <= ids.min() < ids.max() < n_blocks(1000.0)


def test_held_out_and_kept_places_are_disjoint_with_a_buffer_between(places):
    held_out, kept = hold_out(places, 0.2, 1000.0, 300.0)
    counts = [held_out & kept, held_out & ~kept, kept & ~held_out, ~held_out & ~kept]
    assert [mask.any() for mask in counts] == [False, True, True, True]


def test_without_a_buffer_whole_blocks_are_held_out_and_all_others_kept(places):
    held_out, kept = hold_out(places, 0.25, 1000.0)
    assert (held_out ^ kept).all()
    assert held_out.mean() == pytest.approx(0.25, abs=0.015)
    blocks = block_ids(places, 1000.0)
    assert not set(blocks[held_out]) & set(blocks[kept])


def held_out_corners(seed=0, fraction=0.1, size_km=1000.0):
    """Return the corners (N, 2) of the held-out blocks, which a wrong buffer misses first."""
    columns, edges = _block_layout(size_km)
    lats = np.degrees(np.arcsin(np.clip(edges, -1, 1)))
    corners = []
    for row, count in enumerate(columns):
        step = 360 / count
        for lon in -180 + step * np.arange(count):
            middle = np.degrees(np.arcsin((edges[row] + edges[row + 1]) / 2))
            if hold_out([[lon + step / 2, middle]], fraction, size_km, seed=seed)[0][0]:
                corners += [(x, y) for x in (lon, lon + step) for y in lats[row : row + 2]]
    return np.clip(corners, [-180, -90], [180, 90])


@pytest.mark.parametrize("buffer_km", [50.0, 111.0, 400.0])
def test_no_place_near_the_corner_of_a_held_out_block_is_kept(buffer_km):
    corners = held_out_corners()
    bearings = np.random.default_rng(4).uniform(0, 360, 60)
    around = np.concatenate([destination(corners, b, 0.98 * buffer_km) for b in bearings])
    assert len(corners) > 100
    assert not hold_out(around, 0.1, 1000.0, buffer_km)[1].any()


@pytest.mark.parametrize("buffer_km", [50.0, 111.0, 400.0])
def test_no_kept_place_is_within_the_buffer_of_a_held_out_place(buffer_km):
    # Brute force: places to test against a dense cover of the held-out blocks.
    cover = sample_sphere(100_000, np.random.default_rng(2))
    held_out, _ = hold_out(cover, 0.1, 1000.0)
    tested = sample_sphere(4000, np.random.default_rng(3))
    _, kept = hold_out(tested, 0.1, 1000.0, buffer_km)
    cosine = (unit_vectors(tested[kept]) @ unit_vectors(cover[held_out]).T).max(axis=1)
    nearest = EARTH_RADIUS_KM * np.arccos(np.clip(cosine, -1, 1))
    assert nearest.min() >= buffer_km


def test_a_buffer_drops_no_place_that_is_far_from_the_held_out_blocks():
    cover = sample_sphere(150_000, np.random.default_rng(2))
    cover = np.concatenate([cover[hold_out(cover, 0.1, 1000.0)[0]], held_out_corners()])
    tested = sample_sphere(3000, np.random.default_rng(3))
    out, kept = hold_out(tested, 0.1, 1000.0, 111.0)
    dropped = tested[~out & ~kept]
    cosine = (unit_vectors(dropped) @ unit_vectors(cover).T).max(axis=1)
    assert len(dropped) > 50
    assert (EARTH_RADIUS_KM * np.arccos(cosine)).max() < 111.0 + 80.0  # the cover's own spacing


def test_the_held_out_regions_depend_on_the_seed_but_not_on_the_places(places):
    whole, _ = hold_out(places, 0.2, 1000.0, 111.0, seed=3)
    part, _ = hold_out(places[::7], 0.2, 1000.0, 111.0, seed=3)
    assert (whole[::7] == part).all()
    assert (hold_out(places, 0.2, 1000.0, 111.0, seed=4)[0] != whole).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({"size_km": x}, "block must be positive, got") for x in (0, -5, np.nan, np.inf)),
        *(({"fraction": x}, r"fraction must lie in \[0, 1\), got") for x in (-0.1, 1.0, np.nan)),
        *(
            ({"buffer_km": x}, "buffer_km must be zero or more, got")
            for x in (-1.0, np.nan, np.inf)
        ),
    ],
)
def test_invalid_sizes_of_blocks_and_buffers_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        hold_out([[0, 0]], **settings)


def test_a_table_with_the_latitude_first_is_refused():
    table = pd.DataFrame({"lat": [52.5], "lon": [13.4]})
    with pytest.raises(ValueError, match=r"longitude comes first, got a table with columns"):
        as_lonlat(table)
    assert as_lonlat(table[["lon", "lat"]]).tolist() == [[13.4, 52.5]]
