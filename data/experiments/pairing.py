"""Arrangements of the embedded sample: all modalities at the same places, or far apart."""

import numpy as np
from numpy.typing import NDArray

from earthtie_lite.config import check_integer, check_option
from earthtie_lite.coords import Array, block_ids, stream
from earthtie_lite.modalities import NAMES, Modality, images_at, names_as_text, thinned_names

ARRANGEMENTS = ("same", "apart", "regions")
REGION_KM = 1000.0  # side of the equal-area cells that make up a region


def load_arranged(arrangement: str, n: int, seed: int = 0) -> dict[str, Modality]:
    """Load the three modalities at places of the gazetteer, in a given arrangement.

    Names exist only at some places, so images are cut at those places, too. All arrangements use n
    pairs per modality.

    Parameters
    ----------
    arrangement : {"same", "apart", "regions"}
        "same": all modalities observe the same n places. "apart": each observes n different places.
        "regions": each observes n places in cells of 1,000 km that no other modality observes.
    n : int
        Places per modality.
    seed : int
        Seed of the places and of the assignment of cells.

    Returns
    -------
    dict of str to Modality

    Raises
    ------
    ValueError
        If the arrangement is unknown or the gazetteer has too few names for it.
    """
    check_integer("n", n, 2)
    check_option("arrangement", arrangement, ARRANGEMENTS)
    names = thinned_names()
    lonlat = names[["lon", "lat"]].to_numpy(dtype=np.float64)
    if arrangement == "regions":
        group = _regions(lonlat, seed)
    elif arrangement == "apart":
        group = stream("modality of a name", seed).permutation(np.arange(len(lonlat)) % len(NAMES))
    else:
        group = np.zeros(len(lonlat), dtype=np.int64)
    order = stream("arranged names", seed).permutation(len(lonlat))
    found = {}
    for k, name in enumerate(NAMES):
        rows = order[group[order] == (0 if arrangement == "same" else k)][:n]
        if len(rows) < n:
            raise ValueError(f"only {len(rows):,} names exist for {name!r}, n is {n:,}")
        found[name] = (
            names_as_text(names.iloc[rows], f"names, {arrangement}")
            if name == "text"
            else images_at(name, lonlat[rows], seed, f"{name}.tif, {arrangement}")
        )
    return found


def _regions(lonlat: Array, seed: int) -> NDArray[np.int64]:
    """Assign each cell, in random order, to the modality with the fewest names so far: (N,)."""
    cells, cell = np.unique(block_ids(lonlat, REGION_KM), return_inverse=True)
    counts, rng = np.bincount(cell), stream("regions of modalities", seed)
    owner, held = np.empty(len(cells), dtype=np.int64), np.zeros(len(NAMES))
    for k in rng.permutation(len(cells)):
        owner[k] = held.argmin()
        held[owner[k]] += counts[k]
    return rng.permutation(len(NAMES))[owner[cell]]
