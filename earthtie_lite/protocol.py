"""Which places are labelled and which are scored: cells, halves of the land, draws of labels.

The land is cut into equal-area cells. A fixed seed deals them, continent by continent, into a
*development* half, on which every choice is made, and a *report* half, which is scored once.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import sample as embedded
from .coords import Array, as_lonlat, block_ids, to_lonlat, unit_vectors, within_blocks
from .streams import stream
from .tasks import country_of

if TYPE_CHECKING:
    import pandas as pd

CELL_KM = 1000.0
PARTS = 8  # of the cells: four for each half
SEED = 20261123  # of the halves; committed before any report half was scored
BUDGETS = (243, 729, 2187, 6561, 19683, 59049)  # 3^5 to 3^10
SPLITS = ("block", "random")
STAGES = ("development", "report")


@dataclass(frozen=True)
class Grid:
    """Equal-area cells of the sphere.

    Parameters
    ----------
    size_km : float
        Side of a cell.
    turn_deg : tuple of float
        The sphere is turned by these angles about its axis and then about the x axis before it
        is cut: another origin of the same cells, for checks of robustness.
    """

    size_km: float = CELL_KM
    turn_deg: tuple[float, float] = (0.0, 0.0)

    def cells(self, lonlat: ArrayLike) -> NDArray[np.int64]:
        """Return the number of the cell of each place, (N,)."""
        return block_ids(self._turned(lonlat), self.size_km)

    def near(self, lonlat: ArrayLike, cells: NDArray[np.int64], km: float) -> NDArray[np.bool_]:
        """Tell which places lie in one of the cells or closer than ``km`` to it, (N,)."""
        return within_blocks(self._turned(lonlat), cells, self.size_km, km)

    @property
    def name(self) -> str:
        """Say the size, and the turn where there is one: "1000 km, turned by 40 and 25"."""
        turn = " and ".join(f"{angle:g}" for angle in self.turn_deg)
        return f"{self.size_km:g} km" + (f", turned by {turn}" if any(self.turn_deg) else "")

    def table(self) -> "pd.DataFrame":
        """Return the cells that hold land: continent, share of the land, and the half.

        Returns
        -------
        DataFrame
            Indexed by cell: continent (the one with most land in it), land (share of all land
            without Antarctica and Greenland), half ("development" or "report"), part (0 to 7; 0 to
            3 make up the development half).
        """
        return _table(self).copy()

    def _turned(self, lonlat: ArrayLike) -> Array:
        places = as_lonlat(lonlat)
        if self.turn_deg == (0.0, 0.0):
            return places
        from scipy.spatial.transform import Rotation

        return to_lonlat(Rotation.from_euler("zx", self.turn_deg, True).apply(unit_vectors(places)))


FIRST = Grid()  # on which choices are made


@functools.cache
def _table(grid: Grid) -> "pd.DataFrame":
    import pandas as pd

    # A fixed lattice of places, so the halves depend on the seed and the map of countries alone.
    height = 360
    lat = np.degrees(np.arcsin((np.arange(height) + 0.5) / height * 2 - 1))  # equal areas
    lon = (np.arange(2 * height) + 0.5) / height * 180 - 180
    places = np.stack([m.ravel() for m in np.meshgrid(lon, lat)], axis=1)
    country = country_of(places)
    names = embedded.countries()
    known = (country >= 0) & (places[:, 1] > embedded.SOUTHERN_LIMIT)
    known &= names["iso_a2"].to_numpy()[country] != "GL"
    land = pd.DataFrame(
        {
            "cell": grid.cells(places[known]),
            "continent": names["continent"].to_numpy()[country[known]],
        }
    )
    counts = land.groupby("cell")["continent"].value_counts().unstack(fill_value=0)
    table = pd.DataFrame({"continent": counts.idxmax(axis=1), "land": counts.sum(axis=1)})
    table["land"] /= table["land"].sum()
    table["part"] = -1
    for continent, rows in table.groupby("continent"):
        # Deal the cells by size, eight at a time: parts get alike amounts of each continent.
        order = rows.sort_values("land", ascending=False, kind="stable").index
        rng = stream(f"halves {continent}", SEED)
        dealt = [rng.permutation(PARTS) for _ in range(-(-len(order) // PARTS))]
        table.loc[order, "part"] = np.concatenate(dealt)[: len(order)]
    table["half"] = np.where(table["part"] < PARTS // 2, *STAGES)
    return table


@dataclass(frozen=True, eq=False)
class Split:
    """Rows that may be labelled and rows that are scored; no row is in both.

    Attributes
    ----------
    pool : array of int
        Rows to draw labels from.
    scored : array of int
    groups : array, shape (N,)
        Of every row: its cell, where penalties are chosen between cells, else its own number.
    """

    pool: NDArray[np.int64]
    scored: NDArray[np.int64]
    groups: NDArray[np.int64]

    def labels(self, n: int, seed: int) -> NDArray[np.int64]:
        """Draw the rows of n labels; a smaller draw of the same seed is the start of a larger."""
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"the number of labels must be a positive integer, got {n!r}")
        if n > len(self.pool):
            raise ValueError(f"{n} labels were asked for, {len(self.pool)} places may have one")
        return stream("labels", seed).permutation(self.pool)[:n]


def splits(lonlat: ArrayLike, stage: str, split: str = "block", grid: Grid = FIRST) -> list[Split]:
    """Divide places into those that may have labels and those that are scored.

    Parameters
    ----------
    lonlat : array, shape (N, 2), degrees
    stage : {"development", "report"}
        "report" scores the report half once, with labels from the development half. "development"
        never touches the report half: each of its four parts is scored with labels from the
        other three.
    split : {"block", "random"}
        "block": no label lies in a scored cell. "random": half of the places of the same cells
        are scored, the labels are drawn from all other places that the stage may use.
    grid : Grid
        Other cells than those of the choices, for a check of robustness. Places are scored where
        both grids have their report half, so what was chosen on the first is never scored.

    Returns
    -------
    list of Split
    """
    for name, value, options in (("stage", stage, STAGES), ("split", split, SPLITS)):
        if value not in options:
            raise ValueError(f"unknown {name} {value!r}: expected one of {options}")
    first = parts(lonlat, FIRST)
    part, cell = parts(lonlat, grid), grid.cells(lonlat)
    alone = np.arange(len(first))
    labelled = (part >= 0) & (part < PARTS // 2)
    if stage == "development":
        if grid != FIRST:
            raise ValueError("other grids check the report, choices are made on the first grid")
        masks = [(labelled & (part != k), part == k) for k in range(PARTS // 2)]
    else:
        masks = [(labelled, (part >= PARTS // 2) & (first >= PARTS // 2))]
    found = []
    for pool, scored in masks:
        if split == "random":
            half = stream("scored at random").random(len(first)) < 0.5
            pool, scored = (pool | scored) & ~(scored & half), scored & half
        rows, targets = np.flatnonzero(pool), np.flatnonzero(scored)
        if not len(rows) or not len(targets):
            raise ValueError(f"no places to label or to score in the {stage} half: bring more")
        found.append(Split(rows, targets, cell if split == "block" else alone))
    return found


def parts(lonlat: ArrayLike, grid: Grid) -> NDArray[np.int64]:
    """Return the part of each place, -1 where its cell is not in the table, (N,)."""
    table = _table(grid)
    return table["part"].reindex(grid.cells(lonlat), fill_value=-1).to_numpy(dtype=np.int64)


def in_report_half(lonlat: ArrayLike, buffer_km: float = embedded.PATCH_KM) -> NDArray[np.bool_]:
    """Tell which places lie in the report half or closer to it than ``buffer_km``, (N,).

    The inductive setting leaves these out of all training:
    ``load_sample(exclude=in_report_half)``.
    """
    table = _table(Grid())
    return Grid().near(lonlat, table.index[table["half"] == "report"].to_numpy(), buffer_km)
