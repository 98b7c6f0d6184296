"""What may be wrong with places: ranges, the order of the columns, duplicates, the sea."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import sample as embedded
from .coords import Array, unit_vectors

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]

ADVICE = {
    "not finite": "drop these rows or find their coordinates",
    "out of range": "swap the columns, wrap longitudes to [-180, 180], or turn metres into degrees",
    "duplicated": "in a batch they are false negatives of each other: choose duplicates='keep', "
    "duplicates='first' or duplicates='mean'",
    "at (0, 0)": "off Africa; often what a failed look-up returns: drop these rows",
    "whole degrees": "rounded to as much as 111 km: bring more digits",
    "at sea": "the embedded sample has land only: drop these rows or expect little of them",
    "probably swapped": "far more places lie on land with the columns swapped: swap lon and lat",
}
FEWEST, SHARE, GAIN = 10, 0.8, 0.2  # places, share on land if swapped, and how much larger it is


def check_places(lonlat: ArrayLike) -> "pd.DataFrame":
    """Report what may be wrong with places, without refusing any.

    Parameters
    ----------
    lonlat : array, shape (N, 2)
        Degrees, longitude first; numbers of any size, NaN too.

    Returns
    -------
    DataFrame
        One row a check, with its number of ``places``, their ``share``, the ``first_row`` (counted
        from 0, -1 for none) and ``advice`` where there is reason for it. "duplicated" counts
        the repetitions, without the first of each place; the poles are one place each, and so are
        longitudes of 180 and -180. "whole degrees" have no decimals in either coordinate. "at sea"
        means no elevation in the sample's raster, whose pixels are 9 km wide, so a beach may lie
        at sea. "probably swapped" counts places at sea that lie on land when the columns are
        swapped, where there are ten places or more and swapping puts four in five of all places on
        land, and a fifth of all more than before; who observes the sea may ignore it.

    Raises
    ------
    ValueError
        If the array is not numbers (N, 2), N >= 1.

    Examples
    --------
    >>> check_places([[31.2, 30.0], [0.0, 0.0], [31.2, 30.0]])["places"].to_dict()
    {'not finite': 0, 'out of range': 0, 'duplicated': 1, 'at (0, 0)': 1, 'whole degrees': 1, \
'at sea': 1, 'probably swapped': 0}
    """
    import pandas as pd

    try:
        places = np.asarray(lonlat, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"lonlat must be numbers in an array of shape (N, 2): {error}") from error
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise ValueError(
            f"lonlat must have shape (N, 2), N at least 1, longitude first, got {places.shape}"
        )
    lon, lat = places.T
    finite = np.isfinite(lon) & np.isfinite(lat)
    sound = finite & (np.abs(lon) <= 180) & (np.abs(lat) <= 90)
    found: dict[str, Mask] = {"not finite": ~finite, "out of range": finite & ~sound}
    for check, mask in _checks(places[sound]).items():
        found[check] = np.zeros(len(places), dtype=np.bool_)
        found[check][sound] = mask
    counts = {check: int(mask.sum()) for check, mask in found.items()}
    columns = {
        "places": counts,
        "share": {check: count / len(places) for check, count in counts.items()},
        "first_row": {
            check: int(np.argmax(found[check])) if counts[check] else -1 for check in found
        },
        "advice": {check: ADVICE[check] if counts[check] else "" for check in found},
    }
    return pd.DataFrame(columns).rename_axis("check")


def _checks(places: Array) -> dict[str, Mask]:
    """Return which places (N, 2), all in range, fail each check."""
    if not len(places):
        return {check: np.zeros(0, dtype=bool) for check in list(ADVICE)[2:]}
    land = has_elevation(places)
    return {
        "duplicated": repeats(places),
        "at (0, 0)": (places == 0).all(axis=1),
        "whole degrees": (places == np.round(places)).all(axis=1),
        "at sea": ~land,
        "probably swapped": _swapped(places, land),
    }


def repeats(places: Array) -> Mask:
    """Tell which places (N, 2) came before, exactly the same on the sphere: (N,).

    Examples
    --------
    >>> repeats(np.array([[180.0, 10.0], [0.0, 90.0], [-180.0, 10.0], [7.0, 90.0]])).tolist()
    [False, False, True, True]
    """
    import pandas as pd

    return pd.DataFrame(unit_vectors(places)).duplicated().to_numpy()


def has_elevation(places: Array) -> Mask:
    """Tell which places (N, 2) have an elevation in the sample: land, small islands too."""
    raster = embedded.raster("elevation")
    return raster.at(places)[:, 0] != raster.nodata


def _swapped(places: Array, land: Mask) -> Mask:
    """Tell which places at sea lie on land when swapped, if so many do that it is suspicious."""
    none = np.zeros(len(places), dtype=bool)
    if len(places) < FEWEST or np.abs(places[:, 0]).max() > 90:
        return none
    turned = has_elevation(places[:, ::-1])
    suspicious = turned.mean() >= max(SHARE, land.mean() + GAIN)
    return turned & ~land if suspicious else none
