"""Retrieve observations of one modality by those of another, tied through their places."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import sample as embedded
from ..coords import Array, as_lonlat, great_circle_km, stream, unit_vectors
from ..features import Features
from ..modalities import PATCH_PIXELS, first_of_cells
from ..model import EarthTie
from .protocol import FIRST, in_report_half

if TYPE_CHECKING:
    import pandas as pd

ROUTES = ("direct", "through a place", "nearest", "chance")
N_PLACES = 20_000  # places on land available to the route through a place
SLICE = 4096  # queries compared at a time: bounds memory, not results


@dataclass(frozen=True, eq=False)
class Tied:
    """N observations in the tied space and the places where they were made.

    Attributes
    ----------
    lonlat : array, shape (N, 2), degrees
    vectors : array, shape (N, D)
        Unit vectors of the tied space.

    Raises
    ------
    ValueError
        Unless each place has one finite vector.
    """

    lonlat: Array
    vectors: Features

    def __post_init__(self) -> None:
        object.__setattr__(self, "lonlat", as_lonlat(self.lonlat))
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.lonlat):
            raise ValueError(
                f"expected vectors ({len(self.lonlat)}, D), one per place, got {self.vectors.shape}"
            )
        bad = ~np.isfinite(self.vectors).all(axis=1)
        if bad.any():
            raise ValueError(f"vectors must be finite, not in row {int(np.argmax(bad))}")


def best_match(queries: Tied, candidates: Tied) -> NDArray[np.int64]:
    """Return the candidate with the largest cosine for each query: row numbers (Q,)."""
    widths = queries.vectors.shape[1], candidates.vectors.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(
            f"queries of width {widths[0]} need candidates of the same width, got "
            f"{candidates.vectors.shape}"
        )
    starts = range(0, len(queries.vectors), SLICE)
    found = [(queries.vectors[i : i + SLICE] @ candidates.vectors.T).argmax(axis=1) for i in starts]
    return np.concatenate(found)


def nearest(lonlat: Array, candidates: Tied) -> NDArray[np.int64]:
    """Return the candidate closest to each place on the sphere: row numbers (Q,)."""
    from scipy.spatial import cKDTree

    return cKDTree(unit_vectors(candidates.lonlat)).query(unit_vectors(lonlat))[1]


def retrieve(
    queries: Tied, candidates: Tied, route: str = "direct", places: Tied | None = None
) -> NDArray[np.int64]:
    """Choose one candidate for each query.

    Parameters
    ----------
    queries, candidates : Tied
    route : {"direct", "through a place", "nearest", "chance"}
        "direct" takes the largest cosine between the two modalities, which training never
        compared. "through a place" takes the place with the largest cosine, then the candidate
        nearest to it on the sphere. The others are bounds: the candidate nearest to the true place
        (the best that location alone allows), and a random one.
    places : Tied, optional
        Embedded places, for "through a place".

    Returns
    -------
    array of int, shape (Q,)
        Row numbers of candidates.
    """
    if route not in ROUTES:
        raise ValueError(f"unknown route {route!r}: expected one of {ROUTES}")
    if route == "direct":
        return best_match(queries, candidates)
    if route == "nearest":
        return nearest(queries.lonlat, candidates)
    if route == "chance":
        rng = stream("chance of a retrieval")
        return rng.integers(len(candidates.lonlat), size=len(queries.lonlat))
    if places is None:
        raise ValueError("the route 'through a place' needs places=, embedded places")
    return nearest(places.lonlat[best_match(queries, places)], candidates)


def unseen(n: int) -> dict[str, tuple[Array, Any]]:
    """Draw observations of the report half that no training has seen: places and raw input.

    Images are at new places. Names are those that the sample leaves out, because it keeps one per
    equal-area cell of 10 km; training may have seen a more populous neighbour of each.

    Parameters
    ----------
    n : int
        Observations per modality, the same for every model.

    Returns
    -------
    dict of str to (lonlat, raw)
        Places (n, 2), and what :meth:`~earthtie_lite.model.EarthTie.embed_modality` takes.
    """
    frame, first = first_of_cells()
    names = frame[~first].reset_index(drop=True)
    names = names[in_report_half(names[["lon", "lat"]].to_numpy(), 0.0)]
    if not isinstance(n, (int, np.integer)) or not 1 <= n <= len(names):
        raise ValueError(
            f"n must be an integer in [1, {len(names)}] (names in the report half), got {n!r}"
        )
    drawn = names.iloc[stream("queries of text").permutation(len(names))[:n]]
    found: dict[str, tuple[Array, Any]] = {}
    for name, size in PATCH_PIXELS.items():
        places = _report_land(n, f"queries of {name}")
        found[name] = places, embedded.raster(name).patches(places, size)
    return found | {"text": (drawn[["lon", "lat"]].to_numpy(), drawn["name"].tolist())}


def _report_land(n: int, purpose: str) -> Array:
    """Draw n places on land in the report half."""
    rng, found = stream(purpose), np.empty((0, 2))
    while len(found) < n:
        drawn = embedded.sample_land(2 * n, rng)
        found = np.concatenate([found, drawn[in_report_half(drawn, 0.0)]])
    return found[:n]


def tie(model: EarthTie, observed: Mapping[str, tuple[Array, Any]]) -> dict[str, Tied]:
    """Embed observations in the tied space, and ``N_PLACES`` places on land as "place"."""
    found = {
        name: Tied(lonlat, model.embed_modality(name, raw))
        for name, (lonlat, raw) in observed.items()
    }
    land = embedded.sample_land(N_PLACES, stream("places of a retrieval"))
    vectors = model.embed(land)[:, : model.encoder.tied_dim]
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found | {"place": Tied(land, vectors / length)}


def distances(tied: Mapping[str, Tied], places_only: bool = False) -> "pd.DataFrame":
    """Retrieve every modality, and places, by every other modality and route.

    Parameters
    ----------
    tied : mapping of str to Tied
        From :func:`tie`.
    places_only : bool
        Retrieve only places, and only directly.

    Returns
    -------
    DataFrame
        One row per query: query and target (names), route, cell (of the query's place) and km (from
        the query's place to that of the retrieved one).
    """
    import pandas as pd

    tables = []
    for query, asked in tied.items():
        for target, candidates in tied.items():
            routes = [r for r in ROUTES if target != "place" or r != "through a place"]
            if query in (target, "place") or (places_only and target != "place"):
                continue
            if places_only:
                routes = ["direct"]
            for route in routes:
                row = retrieve(asked, candidates, route, tied["place"])
                km = great_circle_km(asked.lonlat, candidates.lonlat[row])
                where = {"query": query, "target": target, "route": route}
                cells = FIRST.cells(asked.lonlat)
                tables.append(pd.DataFrame({**where, "cell": cells, "km": km}))
    return pd.concat(tables, ignore_index=True)


def recall_sums(found: "pd.DataFrame", radius_km: float) -> "pd.DataFrame":
    """Count by cell how often the match lies within a radius, as sums for a bootstrap.

    Parameters
    ----------
    found : DataFrame
        Rows of :func:`distances`, with further columns that identify the runs.
    radius_km : float

    Returns
    -------
    DataFrame
        One row per cell and group, with the columns that
        :class:`~earthtie_lite.results.intervals.Bootstrap` takes: its score is the recall.
    """
    by = [column for column in found.columns if column != "km"]
    missed = found.assign(wrong=(found["km"] > radius_km).astype(float), n=1.0)
    sums = missed.groupby(by, sort=False, observed=True)[["n", "wrong"]].sum().reset_index()
    return sums.assign(total=0.0, square=0.0)
