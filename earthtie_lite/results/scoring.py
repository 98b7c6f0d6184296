"""Score an embedding by the protocol: tasks, splits, label budgets and probes; sums by cell."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import check_option
from ..coords import great_circle_km, unit_vectors
from ..modalities import thinned_names
from ..probes import Interpolation, Kind, Split, fit_probes, penalty_of
from ..tasks import MORE_NAMES, Task, load_task
from .intervals import cell_sums
from .protocol import BUDGETS, FIRST, SPLITS, Grid, splits

if TYPE_CHECKING:
    import pandas as pd

N_PLACES = 130_000  # drawn so that the half that may be labelled has 59,049 places
MAIN = 729  # label budget of the primary endpoint
SAMPLE_TASKS = ("elevation", "population", "climate", "country")
MAIN_TASKS = ("country", "population (GPWv4)", "elevation", "biome")  # of the primary endpoint
GROWTH_TASKS = ("elevation", "climate", "country", *MORE_NAMES)
INDEPENDENT = ("population (GPWv4)", "languages", "airports", "turbidity season")  # of modalities
PAPER_TASKS = {"population": "population (GPWv4)", "biome": "biome"}


@dataclass(frozen=True)
class Evaluation:
    """One way to score an embedding.

    Parameters
    ----------
    split : {"block", "random"}
    budgets : tuple of int
        Numbers of labels.
    probe : str or Interpolation
        As in :func:`~earthtie_lite.probes.probe`.
    grid : Grid
        Cells that separate labels from scored places.
    near_name_km : float, optional
        Use only places within this distance of a name in the gazetteer.
    tasks : tuple of str
        Names of the tasks to score, as far as labels exist; all by default.
    near_ties : float, optional
        As in :func:`~earthtie_lite.probes.fit_ridge`.
    """

    split: str = "block"
    budgets: tuple[int, ...] = (MAIN,)
    probe: Kind | Interpolation = "ridge"
    grid: Grid = FIRST
    near_name_km: float | None = None
    tasks: tuple[str, ...] = ()
    near_ties: float | None = None

    def __post_init__(self) -> None:
        check_option("split", self.split, SPLITS)
        if not isinstance(self.probe, Interpolation):
            check_option("probe", self.probe, Kind)
        if not isinstance(self.grid, Grid):
            raise ValueError(f"grid must be a Grid, got {self.grid!r}")
        km = self.near_name_km
        if km is not None and not (isinstance(km, (int, float)) and 0 < km < np.inf):
            raise ValueError(f"near_name_km must be a positive number or None, got {km!r}")
        if not isinstance(self.tasks, tuple):
            raise ValueError(f"tasks must be a tuple of names, got {self.tasks!r}")
        counts = self.budgets if isinstance(self.budgets, tuple) else ()
        if not counts or not all(isinstance(n, int) and n > 0 for n in counts):
            raise ValueError(f"budgets must be a tuple of numbers of labels, got {self.budgets!r}")

    @property
    def where(self) -> str:
        """Name of the cells, and of the places used in them."""
        near = self.near_name_km
        return self.grid.name + (f", within {near:g} km of a name" if near is not None else "")


STANDARD = (Evaluation("block", BUDGETS), Evaluation("random"))
# Other probes and other cells, at the label budget of the primary endpoint.
ROBUSTNESS = (
    Evaluation(probe="neighbours"),
    Evaluation(probe="MLP"),
    Evaluation(grid=Grid(2000.0)),
    Evaluation(grid=Grid(1000.0, (40.0, 25.0))),
    Evaluation(grid=Grid(1000.0, (80.0, 50.0))),
)


def nearest_name(lonlat: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row of the thinned gazetteer nearest to each place (N,), and its distance, km."""
    from scipy.spatial import cKDTree

    names = thinned_names()[["lon", "lat"]].to_numpy()
    _, row = cKDTree(unit_vectors(names)).query(unit_vectors(lonlat))
    return row, great_circle_km(lonlat, names[row])


def labelled(
    n: int = N_PLACES,
    paper: Mapping[str, str | Path] | None = None,
    names: Iterable[str] = SAMPLE_TASKS,
) -> dict[str, Task]:
    """Return the tasks at the places that have a label in each of them.

    Parameters
    ----------
    n : int
        Places to draw.
    paper : mapping, optional
        Files with labels that the package does not hold: "population" (GPWv4, a GeoTIFF) and
        "biome" (RESOLVE). The tasks are named "population (GPWv4)" and "biome", because ``names``
        may hold the circular "population" of the gazetteer.
    names : iterable of str
        Tasks of the sample.
    """
    tasks = {name: load_task(name, n) for name in names}
    for name, path in (paper or {}).items():
        if name not in PAPER_TASKS:
            raise ValueError(f"unknown labels {name!r}: expected one of {list(PAPER_TASKS)}")
        tasks[PAPER_TASKS[name]] = load_task(name, n, source="paper", path=path)
    # Each place as one complex number, because NumPy has set operations for these.
    places = {name: task.lonlat.view(np.complex128)[:, 0] for name, task in tasks.items()}
    common = functools.reduce(np.intersect1d, places.values())
    return {name: task.at(np.isin(places[name], common)) for name, task in tasks.items()}


def score(
    z: NDArray[Any] | Interpolation,
    tasks: Mapping[str, Task],
    seed: int,
    stage: str,
    evaluations: Sequence[Evaluation] = STANDARD,
) -> "pd.DataFrame":
    """Score an embedding: sums by cell of every task, evaluation and label budget.

    Parameters
    ----------
    z : array, shape (N, D), or Interpolation
        Finite embeddings of the tasks' places; or the labels are interpolated, without a probe.
    tasks : mapping of str to Task
        Tasks with the same places.
    seed : int
        Seed of the labels, which are the same for every embedding.
    stage : {"development", "report"}
    evaluations : sequence of Evaluation
        Budgets larger than the number of places are left out.

    Returns
    -------
    DataFrame
        Columns task, split, probe, grid, n_labels, penalty and those of
        :func:`~earthtie_lite.results.intervals.cell_sums`.

    Raises
    ------
    ValueError
        If embeddings and tasks do not match, or the places are too few for every budget.
    """
    import pandas as pd

    if not tasks:
        raise ValueError("at least one task is needed")
    places = next(iter(tasks.values())).lonlat
    if any(not np.array_equal(task.lonlat, places) for task in tasks.values()):
        raise ValueError("the tasks must have the same places: see labelled()")
    if isinstance(z, Interpolation):
        evaluations = [replace(how, probe=z) for how in evaluations]
        z = z(places)
    array = np.asarray(z)
    if array.ndim != 2 or len(array) != len(places):
        raise ValueError(f"expected embeddings of {len(places)} places, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("embeddings must be finite")
    found = []
    for how in evaluations:
        z, here = array, {n: task for n, task in tasks.items() if n in (how.tasks or tasks)}
        if not here:
            raise ValueError(f"none of the tasks {how.tasks} is given: there are {list(tasks)}")
        if how.near_name_km is not None:
            near = nearest_name(places)[1] <= how.near_name_km
            if not near.any():
                raise ValueError(f"no place lies within {how.near_name_km:g} km of a name")
            z, here = array[near], {name: task.at(near) for name, task in here.items()}
        lonlat = next(iter(here.values())).lonlat
        cells = how.grid.cells(lonlat)
        for split in splits(lonlat, stage, how.split, how.grid):
            for n_labels in (n for n in how.budgets if n <= len(split.pool)):
                idw = isinstance(how.probe, Interpolation)
                where: dict[str, Any] = {"split": how.split, "probe": "IDW" if idw else how.probe}
                where |= {"grid": how.where, "n_labels": n_labels}
                for name, penalty, sums in _score_draw(z, here, split, n_labels, seed, cells, how):
                    found.append(sums.assign(task=name, **where, penalty=penalty))
    if not found:
        raise ValueError(f"{len(places)} places are too few for the labels asked for: add more")
    return pd.concat(found, ignore_index=True)


def intrinsic_dimension(z: NDArray[Any], most: int = 10_000) -> float:
    """Estimate the number of directions in which standardised embeddings (N, D) vary locally.

    The maximum likelihood estimate from the ratio of the distances to the two nearest neighbours
    (Facco et al. 2017, https://doi.org/10.1038/s41598-017-11873-y) over the first ``most`` rows. It
    depends on their density: an embedding of places has two dimensions at the smallest scale.
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(np.asarray(z[:most], dtype=np.float64))
    distances, _ = NearestNeighbors(n_neighbors=2).fit(x).kneighbors()  # without the row itself
    ratio = np.log(distances[:, 1] / np.maximum(distances[:, 0], 1e-12))
    return float(1 / ratio.mean())


def _score_draw(
    z: NDArray[Any],
    tasks: Mapping[str, Task],
    split: Split,
    n_labels: int,
    seed: int,
    cells: NDArray[np.int64],
    how: Evaluation,
) -> "Iterable[tuple[str, float, pd.DataFrame]]":
    """Fit and score one draw of labels; yield name, penalty and sums of each task."""
    rows = split.labels(n_labels, seed)
    fitted = fit_probes(z, tasks, rows, split.groups[rows], how.probe, how.near_ties or 0.0)
    scored = z[split.scored]
    for name, task in tasks.items():
        truth, labels = task.target[split.scored], task.target[rows]
        sums = cell_sums(fitted[name].predict(scored), truth, cells[split.scored], labels)
        yield name, penalty_of(fitted[name]), sums
