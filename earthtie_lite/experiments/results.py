"""The tables of results that travel with the repository, read and summarised.

``make results`` writes them; every row says how, when, with what and on which machine it was made.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..protocol import FIRST
from ..storage import data_folder, write_atomic
from .evaluate import MAIN
from .inference import Bootstrap, compare, labels_needed

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2  # of the tables; raise it when the meaning of a column changes
STAGES = ("development", "report", "dynamics", "retrieval", "bottleneck")
USUAL = {"split": "block", "probe": "ridge", "grid": FIRST.name, "setting": "transductive"}
USUAL |= {"recipe": "chosen"}


def folder() -> Path:
    """Return the folder of the results."""
    return data_folder("results")


def read_runs(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return one row a run: embedding, settings, seed, seconds, date, hardware and versions.

    Raises
    ------
    ValueError
        If there are no results of the stage, or they were written in another schema.
    """
    import pandas as pd

    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: expected one of {STAGES}")
    path = Path(root or folder()) / stage / "runs.csv"
    if not path.is_file():
        raise ValueError(f"there are no results in {path.parent}: make results writes them")
    runs = pd.read_csv(path, keep_default_na=False)
    if set(runs["schema"]) != {SCHEMA}:
        raise ValueError(f"{path} has schema {set(runs['schema'])}, this version reads {SCHEMA}")
    runs.insert(0, "run", range(len(runs)))
    return runs


def _numbers(stage: str, name: str, root: str | Path | None, about: list[str]) -> "pd.DataFrame":
    """Return the numbers of a stage with some columns of their runs."""
    import pandas as pd

    path = Path(root or folder()) / stage / f"{name}.parquet"
    runs = read_runs(stage, root)
    if not path.is_file():
        raise ValueError(f"stage {stage!r} has no {name}: there is no {path}")
    numbers = pd.read_parquet(path)
    for column in numbers.select_dtypes("category"):
        numbers[column] = numbers[column].astype(object)
    return numbers.merge(runs[["run", "key", *about]], on="key", validate="many_to_one")


def read_sums(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return sums by cell, from which every score and interval follows.

    Returns
    -------
    DataFrame
        Columns task, split, probe, grid, n_labels, penalty and those of
        :func:`~earthtie_lite.experiments.inference.cell_sums`; of the run: embedding, method,
        modalities, setting, recipe, seed.
    """
    about = ["embedding", "method", "modalities", "setting", "recipe", "seed"]
    return _numbers(stage, "sums", root, about)


def read_histories(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return the histories of training (one row a step) of a stage, with the columns of the run."""
    about = ["embedding", "method", "recipe", "seed", "learning_rate"]
    return _numbers(stage, "histories", root, about)


def read_distances(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return the distances of retrieval (one row a query) of a stage, with columns of the run."""
    return _numbers(stage, "distances", root, ["embedding", "setting", "recipe", "seed"])


def collect(done: Sequence["pd.DataFrame"], root: str | Path, name: str) -> None:
    """Add finished rows to the two tables of a stage: ``runs.csv`` and ``<name>.parquet``.

    The key of a run ties both. The list of runs is written last, so a kill between the two leaves
    numbers that no run claims, and no run without numbers.

    Parameters
    ----------
    done : sequence of DataFrame
        The numbers of a run; ``attrs`` says how they were made, ``attrs["key"]`` which run it is.
    root : path
        Folder of the stage; rows that it has already stay, unless their key is among the new ones.
    name : {"sums", "histories", "distances"}
    """
    import pandas as pd

    root = Path(root)
    runs = pd.DataFrame([frame.attrs for frame in done])
    numbers = pd.concat([frame.assign(key=frame.attrs["key"]) for frame in done])
    if (root / "runs.csv").is_file():
        old = pd.read_csv(root / "runs.csv", keep_default_na=False)
        kept = old[~old["key"].isin(runs["key"])]
        held = pd.read_parquet(root / f"{name}.parquet")
        runs = pd.concat([kept, runs], ignore_index=True)
        numbers = pd.concat([held[held["key"].isin(kept["key"])], numbers], ignore_index=True)
    small = dict.fromkeys(numbers.select_dtypes("float"), "float32")
    small |= dict.fromkeys(numbers.select_dtypes(["object", "category", "string"]), "category")
    write_parquet(root / f"{name}.parquet", numbers.astype(small))
    write_atomic(root / "runs.csv", runs.to_csv(index=False).encode())


def write_parquet(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a table whole or not at all."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd", compression_level=19)
    write_atomic(path, buffer.getvalue())


def provenance(stage: str, root: str | Path | None = None) -> str:
    """Say in one sentence how the results of a stage were made."""
    runs = read_runs(stage, root)
    what = {name: ", ".join(map(str, sorted(set(runs[name])))) for name in ("date", "hardware")}
    versions = ", ".join(
        f"{name} {' and '.join(sorted(set(runs[name].astype(str))))}"
        for name in ("torch", "numpy", "scikit-learn")
    )
    # An ensemble's members are rows too; rows that share an encoder took its seconds once.
    alone = runs[~runs["embedding"].str.startswith("ensemble")]
    hours = (
        alone.drop_duplicates(["modalities", "method", "seed", "seconds"])["seconds"].sum() / 3600
    )
    return (
        f"{len(runs)} runs of `make results STAGE={stage}`, {what['date']}, {what['hardware']}, "
        f"{versions}; {hours:.1f} hours of training on one thread each"
    )


def pick(sums: "pd.DataFrame", **where: Any) -> "pd.DataFrame":
    """Return the rows of one way to score, by default that of the primary endpoint.

    Parameters
    ----------
    sums : DataFrame
        From :func:`read_sums`.
    where
        Column and value, or a list of values. Unless given: in blocks, by ridge, on the first
        grid, transductive, the chosen recipe, 729 labels; ``n_labels=None`` for every budget.
    """
    unknown = sorted(set(where) - set(sums))
    if unknown:
        raise ValueError(f"unknown columns {unknown}: there are {list(sums)}")
    for column, value in {**USUAL, "n_labels": MAIN, **where}.items():
        if value is not None:
            kept = sums[column].isin(value if isinstance(value, list) else [value])
            sums = sums[kept]
    if sums.empty:
        raise ValueError(f"no results for {where}")
    return sums


def intervals(sums: "pd.DataFrame", by: list[str]) -> "pd.DataFrame":
    """Return the mean score and its 95 % interval of each embedding in each group.

    The same cells are drawn for all; see :class:`~earthtie_lite.experiments.inference.Bootstrap`.

    Returns
    -------
    DataFrame
        The columns of ``by``, embedding, mean, low, high.
    """
    import pandas as pd

    rows = []
    for key, group in sums.groupby([*by, "embedding"], sort=False):
        mean, low, high = Bootstrap(group).interval(str(key[-1]))
        rows.append({**dict(zip([*by, "embedding"], key)), "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def paired(sums: "pd.DataFrame", a: str, others: Iterable[str], by: list[str]) -> "pd.DataFrame":
    """Compare an embedding with others, over the seeds that all of them have.

    Returns
    -------
    DataFrame
        The columns of ``by``, name (of the other), difference (a minus the other), low, high, p.
    """
    names = list(others)
    table = compare(same_seeds(sums, [a, *names]), [(a, name) for name in names], by)
    return table.drop(columns="a").rename(columns={"b": "name"})


def as_text(table: "pd.DataFrame") -> "pd.Series":
    """Write means or differences with their intervals: "0.412 [0.380, 0.447]"."""
    what, form = ("difference", "+.3f") if "difference" in table else ("mean", ".3f")
    return table.apply(
        lambda row: f"{row[what]:{form}} [{row['low']:{form}}, {row['high']:{form}}]", axis=1
    )


def in_labels(sums: "pd.DataFrame", a: str, b: str, n_labels: int = MAIN) -> float:
    """Return how many labels embedding b needs to reach a's score, as a multiple of ``n_labels``.

    Parameters
    ----------
    sums : DataFrame
        Of one task and every budget.
    """
    curve = intervals(sums[sums["embedding"].isin([a, b])], ["n_labels"])
    curve = curve.pivot(index="n_labels", columns="embedding", values="mean").sort_index()
    if n_labels not in curve.index:
        raise ValueError(f"no scores at {n_labels} labels: there are {list(curve.index)}")
    target = curve[a].to_numpy()[curve.index == n_labels].item()
    return labels_needed(curve.index.to_numpy(), curve[b].to_numpy(), target) / n_labels


def same_seeds(sums: "pd.DataFrame", names: Iterable[str]) -> "pd.DataFrame":
    """Return the rows of some embeddings, of the seeds that all of them have."""
    asked = list(names)
    sums = sums[sums["embedding"].isin(asked)]
    found = sums.groupby("embedding")["seed"].unique()
    missing = [name for name in asked if name not in found]
    if missing:
        raise ValueError(f"no results for {missing}")
    seeds = set.intersection(*(set(values) for values in found))
    return sums[sums["seed"].isin(seeds)]
