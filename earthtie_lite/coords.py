"""Places on the sphere: lonlat arrays, distances, equal-area blocks, named random generators.

Everywhere in this package ``lonlat`` is an array of shape (N, 2) in degrees, longitude first.
"""

import contextlib
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
LIMITS = np.array([180.0, 90.0])  # of the absolute values of longitude and latitude
BLOCK_SIZES_KM = (1000.0, 500.0, 200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
ENOUGH_BLOCKS = 20  # with places: a quarter of them is scored, and fewer than 5 regions say little


def stream(purpose: str, *numbers: int) -> np.random.Generator:
    """Return the random generator for a purpose and numbers, such as a seed and an epoch.

    Different purposes have independent generators, even with the same seed.

    Examples
    --------
    >>> a, b = stream("labels", 0), stream("places", 0)
    >>> bool(a.random() == b.random())
    False
    """
    # NumPy ignores trailing zeros of a seed: default_rng([3, 0]) equals default_rng(3). The hash of
    # the purpose comes last because it is not zero.
    return np.random.default_rng([*numbers, zlib.crc32(purpose.encode())])


def torch_seed(purpose: str, *numbers: int) -> int:
    """Return a seed for ``torch.manual_seed`` from a purpose and its numbers."""
    return int(stream(purpose, *numbers).integers(2**63))


def as_lonlat(lonlat: Any) -> Array:
    """Check places and return them as a float64 array.

    Parameters
    ----------
    lonlat : array, shape (N, 2)
        Longitude in [-180, 180] and latitude in [-90, 90], degrees, N >= 1. Whatever else holds
        places, such as a table, is read by :func:`~earthtie_lite.places.lonlat_of`.

    Returns
    -------
    array, shape (N, 2), float64

    Raises
    ------
    ValueError
        If the shape is wrong, or a value is not finite or out of range; the message names the row.

    Examples
    --------
    >>> as_lonlat([[31.24, 30.04]])
    array([[31.24, 30.04]])
    >>> as_lonlat([[30.0, 151.2]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: latitude must lie in [-90, 90], got 151.2 in row 0; is the order (longitude, ...
    """
    if type(lonlat) in (list, tuple):
        with contextlib.suppress(TypeError, ValueError):  # of points, or of mappings
            lonlat = np.asarray(lonlat, dtype=np.float64)
    if type(lonlat) is not np.ndarray or lonlat.dtype.kind not in "fiu":
        from .places import lonlat_of

        return lonlat_of(lonlat)
    places = snapped(as_array(lonlat))
    if len(places) == 0:
        raise ValueError("lonlat is empty: at least one place is needed")
    bad = ~(np.abs(places) <= LIMITS).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        if not np.isfinite(places[row]).all():
            raise ValueError(f"lonlat must be finite, got {places[row].tolist()} in row {row}")
        raise ValueError(beyond(places[row], f"row {row}"))
    return places


def as_array(lonlat: Any) -> Array:
    """Return numbers of shape (N, 2) as a float64 array; the values are not checked."""
    try:
        places = np.asarray(lonlat, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"lonlat must be numbers in an array of shape (N, 2): {error}") from error
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(
            f"lonlat must have shape (N, 2), longitude first, got {places.shape}"
            + ("; one place is [[lon, lat]]" if places.shape == (2,) else "")
        )
    return places


def snapped(places: Array) -> Array:
    """Move coordinates that rounding put up to 1e-6 degrees beyond the limits back onto them."""
    beyond = np.abs(places) - LIMITS
    near = (beyond > 0) & (beyond < 1e-6)
    return np.where(near, np.copysign(LIMITS, places), places) if near.any() else places


def beyond(place: Array, row: str) -> str:
    """Return which coordinate of a place (2,) in a row is out of range, and what to do."""
    lon, lat = place
    if abs(lat) > 90:
        return (
            f"latitude must lie in [-90, 90], got {lat:g} in {row}; is the order (longitude, "
            "latitude)?"
        )
    return (
        f"longitude must lie in [-180, 180], got {lon:g} in {row}; wrap it, for example "
        "(longitude + 180) % 360 - 180"
    )


def unit_vectors(lonlat: ArrayLike) -> Array:
    """Return places as unit vectors (N, 3); the north pole is exactly (0, 0, 1).

    Examples
    --------
    >>> unit_vectors([[180.0, 0.0], [55.0, 90.0]]).tolist()
    [[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    lon, lat = np.radians(as_lonlat(lonlat)).T
    xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    # In floating point cos(pi/2) is 6e-17 and sin(pi) is 1e-16. Setting them to zero makes a pole
    # the same vector at every longitude, and +180 the same as -180.
    return np.where(np.abs(xyz) < 1e-15, 0.0, xyz)


def to_lonlat(xyz: ArrayLike) -> Array:
    """Return longitude and latitude (N, 2), in degrees, of vectors (N, 3) of any length."""
    x, y, z = np.asarray(xyz, dtype=np.float64).T
    return np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))


def great_circle_km(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the great-circle distance in km between matching rows of two (N, 2) arrays.

    Examples
    --------
    >>> round(float(great_circle_km([[0.0, 0.0]], [[0.0, 90.0]])[0]))
    10008
    """
    chord = np.linalg.norm(unit_vectors(a) - unit_vectors(b), axis=1)
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0.0, 1.0))


def sample_sphere(n: int, rng: np.random.Generator) -> Array:
    """Draw n places (n, 2), in degrees, uniformly by area: longitude and sin(latitude) uniform."""
    lon = rng.uniform(-180.0, 180.0, n)
    return np.stack([lon, np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))], axis=1)


def _block_layout(size_km: float) -> tuple[NDArray[np.int64], Array]:
    """Return the number of blocks in each row, south to north, and the row edges in sin(lat)."""
    if not np.isfinite(size_km) or size_km <= 0:
        raise ValueError(f"the size of a block must be positive, got {size_km} km")
    n_rows = max(1, round(np.pi * EARTH_RADIUS_KM / size_km))
    middle = (np.arange(n_rows) + 0.5) / n_rows * np.pi - np.pi / 2
    around = 2 * np.pi * EARTH_RADIUS_KM * np.cos(middle) / size_km
    columns = np.maximum(1, np.round(around)).astype(np.int64)
    # The height of a row in sin(lat) is proportional to its number of blocks: equal areas.
    edges = np.concatenate([[0], np.cumsum(columns)]) / columns.sum() * 2 - 1
    return columns, edges


def n_blocks(size_km: float) -> int:
    """Return the number of blocks with sides of about ``size_km`` that cover the sphere."""
    return int(_block_layout(size_km)[0].sum())


def block_ids(lonlat: ArrayLike, size_km: float = 1000.0) -> NDArray[np.int64]:
    """Return the number of the equal-area block that contains each place.

    The sphere is divided into rows of latitude and each row into equal steps of longitude, so that
    all blocks have exactly the same area and sides of about ``size_km``.

    Parameters
    ----------
    lonlat : array, shape (N, 2), degrees
    size_km : float
        Side of a block in km.

    Returns
    -------
    array, shape (N,), int64, in [0, ``n_blocks(size_km)``)

    Examples
    --------
    >>> block_ids([[-180.0, 10.0], [180.0, 10.0]], 1000.0).tolist()
    [294, 294]
    """
    places = as_lonlat(lonlat)
    columns, edges = _block_layout(size_km)
    sine = np.sin(np.radians(places[:, 1]))
    row = np.clip(np.searchsorted(edges, sine, side="right") - 1, 0, len(columns) - 1)
    turn = (places[:, 0] + 180.0) / 360.0 % 1.0
    column = np.minimum((turn * columns[row]).astype(np.int64), columns[row] - 1)
    return (np.cumsum(columns) - columns)[row] + column


def block_size(lonlat: ArrayLike) -> float:
    """Return the side in km of the blocks that suit the extent of the places.

    It is 1,000 km if at least 20 blocks of that size hold places, as on a large continent or the
    globe; otherwise the largest of 500, 200, 100, 50, 20, 10, 5, 2 and 1 km for which 20 blocks do.

    Raises
    ------
    ValueError
        If fewer than 20 blocks of 1 km hold places.

    Examples
    --------
    >>> lon, lat = np.meshgrid(np.arange(20), np.arange(20))
    >>> grid = np.stack([lon.ravel(), lat.ravel()], axis=1)  # 20 x 20 places, steps of one
    >>> [block_size(grid * degrees) for degrees in (4.0, 1.0, 0.1)]
    [1000.0, 500.0, 50.0]
    """
    places = as_lonlat(lonlat)
    for size_km in BLOCK_SIZES_KM:
        occupied = len(np.unique(block_ids(places, size_km)))
        if occupied >= ENOUGH_BLOCKS:
            return size_km
    raise ValueError(
        f"{len(places)} places lie in {occupied} blocks of {size_km:g} km, {ENOUGH_BLOCKS} are "
        "needed: add places further apart, or use a random split"
    )


def hold_out(
    lonlat: ArrayLike,
    fraction: float = 0.15,
    size_km: float = 1000.0,
    buffer_km: float = 0.0,
    seed: int = 0,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Hold out whole blocks of the sphere, with a buffer around them.

    The held-out blocks depend only on ``seed``, ``fraction`` and ``size_km``, not on the places, so
    the same regions are held out for every modality.

    Parameters
    ----------
    lonlat : array, shape (N, 2), degrees
    fraction : float
        Fraction of the sphere's blocks to hold out, in [0, 1).
    size_km : float
        Side of a block in km.
    buffer_km : float
        Places closer than this to a held-out block are in neither mask.
    seed : int
        Seed of the choice of blocks.

    Returns
    -------
    held_out, kept : arrays, shape (N,), bool
        Masks of the held-out places and of those to train on; no place is in both.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must lie in [0, 1), got {fraction}")
    if not np.isfinite(buffer_km) or buffer_km < 0:
        raise ValueError(f"buffer_km must be zero or more, got {buffer_km}")
    places = as_lonlat(lonlat)
    total = n_blocks(size_km)
    chosen = stream("blocks held out", seed).permutation(total)[: round(fraction * total)]
    held_out = np.isin(block_ids(places, size_km), chosen)
    near = held_out if buffer_km == 0 else within_blocks(places, chosen, size_km, buffer_km)
    return held_out, ~near


def within_blocks(
    places: Array, chosen: NDArray[np.int64], size_km: float, distance_km: float
) -> NDArray[np.bool_]:
    """Return which places (N, 2) lie in a chosen block or within ``distance_km`` of one: (N,)."""
    columns, edges = _block_layout(size_km)
    first = np.cumsum(columns) - columns
    rows = np.searchsorted(first, chosen, side="right") - 1
    lats = np.arcsin(np.clip(edges, -1.0, 1.0))
    all_lon, all_lat = np.radians(places).T
    reach = distance_km / EARTH_RADIUS_KM
    near = np.zeros(len(places), dtype=bool)
    for block, row in zip(chosen, rows):
        # Most places are too far north or south; the margin is for rounding.
        south, north = lats[row] - reach - 1e-8, lats[row + 1] + reach + 1e-8
        close = np.flatnonzero((all_lat >= south) & (all_lat <= north) & ~near)
        lon, lat = all_lon[close], all_lat[close]
        half = np.pi / columns[row]
        middle = -np.pi + (2 * (block - first[row]) + 1) * half
        # The nearest point of a block is due north or south, or on the nearer of its meridians.
        off = np.abs((lon - middle + np.pi) % (2 * np.pi) - np.pi)
        turn = np.maximum(off - half, 0.0)
        foot = np.arctan2(np.sin(lat), np.cos(lat) * np.cos(turn))
        foot = np.clip(foot, lats[row], lats[row + 1])
        cosine = np.sin(lat) * np.sin(foot) + np.cos(lat) * np.cos(foot) * np.cos(turn)
        near[close] = cosine >= np.cos(reach)
    return near


def destination(lonlat: ArrayLike, bearing_deg: float, distance_km: float) -> Array:
    """Return the ends (N, 2) of great-circle arcs from places; bearing clockwise from north."""
    lon, lat = np.radians(as_lonlat(lonlat)).T
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=1)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=1)
    bearing, angle = np.radians(bearing_deg), distance_km / EARTH_RADIUS_KM
    towards = np.cos(bearing) * north + np.sin(bearing) * east
    return to_lonlat(np.cos(angle) * unit_vectors(lonlat) + np.sin(angle) * towards)
