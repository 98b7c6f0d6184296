"""Split places into labelled and scored ones: equal-area cells in two halves of the land.

A fixed seed assigns the cells, stratified by continent, to a *development* half, on which every
choice is made, and a *report* half, which is scored once.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import sample as embedded
from ..config import check_option
from ..coords import Array, as_lonlat, block_ids, stream, to_lonlat, unit_vectors, within_blocks
from ..probes import CELL_KM, Split
from ..tasks import country_of

if TYPE_CHECKING:
    import pandas as pd

PARTS = 8  # parts of the cells: four for each half
SEED = 20261123  # assigns cells to halves; committed before any report half was scored
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
        Rotation of the sphere about its axis and then about the x axis before it is cut: another
        origin of the same cells, for checks of robustness.
    """

    size_km: float = CELL_KM
    turn_deg: tuple[float, float] = (0.0, 0.0)

    def cells(self, lonlat: ArrayLike) -> NDArray[np.int64]:
        """Return the number of the cell of each place, (N,)."""
        return block_ids(self._turned(lonlat), self.size_km)

    def near(self, lonlat: ArrayLike, cells: NDArray[np.int64], km: float) -> NDArray[np.bool_]:
        """Return which places lie in one of the cells or within ``km`` of it, (N,)."""
        return within_blocks(self._turned(lonlat), cells, self.size_km, km)

    @property
    def name(self) -> str:
        """Size, and rotation if there is one: "1000 km, turned by 40 and 25"."""
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
        return _cell_table(self).copy()

    def _turned(self, lonlat: ArrayLike) -> Array:
        """Return places on the rotated sphere, (N, 2)."""
        places = as_lonlat(lonlat)
        if self.turn_deg == (0.0, 0.0):
            return places
        from scipy.spatial.transform import Rotation

        return to_lonlat(Rotation.from_euler("zx", self.turn_deg, True).apply(unit_vectors(places)))


FIRST = Grid()  # all choices are made on this grid


@functools.cache
def _cell_table(grid: Grid) -> "pd.DataFrame":
    """Return the cells of a grid that hold land; callers must not change the table."""
    import pandas as pd

    # Places on a fixed lattice, so the halves depend only on the seed and the map of countries.
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
        # Assign cells in order of size, eight at a time, so the parts of a continent are similar.
        order = rows.sort_values("land", ascending=False, kind="stable").index
        rng = stream(f"halves {continent}", SEED)
        dealt = [rng.permutation(PARTS) for _ in range(-(-len(order) // PARTS))]
        table.loc[order, "part"] = np.concatenate(dealt)[: len(order)]
    table["half"] = np.where(table["part"] < PARTS // 2, *STAGES)
    return table


def splits(lonlat: ArrayLike, stage: str, split: str = "block", grid: Grid = FIRST) -> list[Split]:
    """Split places into those that may be labelled and those that are scored.

    Parameters
    ----------
    lonlat : array, shape (N, 2), degrees
    stage : {"development", "report"}
        "report" scores the report half, with labels from the development half. "development"
        uses the development half alone: each of its four parts is scored with labels from the
        other three.
    split : {"block", "random"}
        "block": no label lies in a scored cell. "random": half of the places of the same cells
        are scored, and labels are drawn from all other places that the stage may use.
    grid : Grid
        Other cells than those used for choices, for a check of robustness. Only places that lie in
        the report half of both grids are scored.

    Returns
    -------
    list of Split
    """
    check_option("stage", stage, STAGES)
    check_option("split", split, SPLITS)
    first = parts(lonlat, FIRST)
    part, cell = parts(lonlat, grid), grid.cells(lonlat)
    alone = np.arange(len(first))
    labelled = (part >= 0) & (part < PARTS // 2)
    if stage == "development":
        if grid != FIRST:
            raise ValueError("other grids are for the report: choices are made on the first grid")
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
            raise ValueError(f"no places to label or to score in the {stage} half: add more")
        found.append(Split(rows, targets, cell if split == "block" else alone))
    return found


def parts(lonlat: ArrayLike, grid: Grid) -> NDArray[np.int64]:
    """Return the part of each place, -1 if its cell is not in the table, (N,)."""
    table = _cell_table(grid)
    return table["part"].reindex(grid.cells(lonlat), fill_value=-1).to_numpy(dtype=np.int64)


def in_report_half(lonlat: ArrayLike, buffer_km: float = embedded.PATCH_KM) -> NDArray[np.bool_]:
    """Return which places lie in the report half or within ``buffer_km`` of it, (N,).

    The inductive setting excludes these from all training:
    ``load_sample(exclude=in_report_half)``.
    """
    table = _cell_table(Grid())
    return Grid().near(lonlat, table.index[table["half"] == "report"].to_numpy(), buffer_km)
