"""Read and summarise the tables of results that are shipped with the package.

``make results`` writes them. Every row states its settings, date, hardware and versions.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import check_option
from ..files import shipped, shipped_folder, write_atomic
from .intervals import Bootstrap, compare, labels_needed
from .protocol import FIRST
from .scoring import MAIN

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2  # raise it when the meaning of a column changes
STAGES = ("development", "report", "dynamics", "retrieval", "bottleneck", "choices", "growth")
USUAL = {"split": "block", "probe": "ridge", "grid": FIRST.name, "setting": "transductive"}
USUAL |= {"recipe": "chosen"}
# The best single modality of each task, chosen on the development half.
BEST_SINGLE = {"country": "text", "population (GPWv4)": "lights", "population": "lights"}
BEST_SINGLE |= dict.fromkeys(("elevation", "biome", "climate"), "satellite")


def _read(stage: str, name: str, root: str | Path | None) -> "pd.DataFrame":
    """Read a file of a stage, from the shipped tables (checked by hash) or from another folder."""
    import pandas as pd

    check_option("stage", stage, STAGES)
    path = Path(root or shipped_folder("results")) / stage / name
    if not path.is_file():
        raise ValueError(f"stage {stage!r} has no results in {path}: make results writes them")
    if root is None:
        shipped(shipped_folder("results"), f"{stage}/{name}")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, keep_default_na=False)
    except Exception as error:  # pandas and Arrow raise many kinds for damaged files
        raise ValueError(f"{path} is damaged: {error}") from error


def read_runs(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return one row per run: embedding, settings, seed, seconds, date, hardware and versions.

    Raises
    ------
    ValueError
        If there are no results of the stage, or they are damaged or of another schema.
    """
    runs = _read(stage, "runs.csv", root)
    if "schema" not in runs or set(runs["schema"]) != {SCHEMA}:
        found = set(runs.get("schema", ()))
        path = Path(root or shipped_folder("results")) / stage / "runs.csv"
        raise ValueError(f"{path} has schema {found}, this version reads {SCHEMA}")
    runs.insert(0, "run", range(len(runs)))
    return runs


def _read_table(stage: str, name: str, root: str | Path | None, about: list[str]) -> "pd.DataFrame":
    """Return the numbers of a stage together with some columns of their runs."""
    runs, numbers = read_runs(stage, root), _read(stage, f"{name}.parquet", root)
    if "wrong_seen" in numbers:
        numbers["wrong_seen"] = numbers["wrong_seen"].fillna(numbers["wrong"])
    for column in numbers.select_dtypes("category"):
        numbers[column] = numbers[column].astype(object)
    return numbers.merge(runs[["run", "key", *about]], on="key", validate="many_to_one")


def read_sums(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return sums by cell, from which every score and interval follows.

    Returns
    -------
    DataFrame
        Columns task, split, probe, grid, n_labels, penalty and those of
        :func:`~earthtie_lite.results.intervals.cell_sums`; of the run: embedding, method,
        modalities, setting, recipe, seed. Rows of labels interpolated count as scored by ridge.
    """
    about = ["embedding", "method", "modalities", "setting", "recipe", "seed"]
    return _read_table(stage, "sums", root, about).replace({"probe": {"IDW": "ridge"}})


def read_histories(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return the training histories of a stage (one row per step) with columns of their runs."""
    about = ["embedding", "method", "recipe", "seed", "learning_rate"]
    return _read_table(stage, "histories", root, about)


def read_distances(stage: str, root: str | Path | None = None) -> "pd.DataFrame":
    """Return the retrieval distances of a stage (one row per query) with columns of their runs."""
    return _read_table(stage, "distances", root, ["embedding", "setting", "recipe", "seed"])


def collect(done: Sequence["pd.DataFrame"], root: str | Path, name: str) -> None:
    """Add finished rows to the two tables of a stage: ``runs.csv`` and ``<name>.parquet``.

    The key of a run connects the two. The list of runs is written last, so an interruption
    leaves numbers without a run, which are ignored, but never a run without numbers.

    Parameters
    ----------
    done : sequence of DataFrame
        The numbers of each run; ``attrs`` describes the run, ``attrs["key"]`` is its key.
    root : path
        Folder of the stage; rows with other keys stay there.
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
    if "wrong_seen" in numbers:  # of a regression it equals wrong, which does not compress
        numbers["wrong_seen"] = numbers["wrong_seen"].where(numbers["square"] == 0)
    small = dict.fromkeys(numbers.select_dtypes("float"), "float32")
    small |= dict.fromkeys(numbers.select_dtypes(["object", "category", "string"]), "category")
    write_parquet(root / f"{name}.parquet", numbers.astype(small))
    write_atomic(root / "runs.csv", runs.to_csv(index=False).encode())


def write_parquet(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a table atomically as a small Parquet file."""
    buffer = io.BytesIO()
    # Numbers that hardly repeat compress better with their bytes apart.
    noisy = [c for c in frame.select_dtypes("float") if frame[c].nunique() > len(frame) / 4]
    how: Any = {"use_byte_stream_split": noisy, "use_dictionary": sorted({*frame} - {*noisy})}
    frame.to_parquet(buffer, index=False, compression="zstd", compression_level=19, **how)
    write_atomic(path, buffer.getvalue())


def provenance(stage: str, root: str | Path | None = None) -> str:
    """Return a sentence on how the results of a stage were made."""
    runs = read_runs(stage, root)
    what = {name: ", ".join(map(str, sorted(set(runs[name])))) for name in ("date", "hardware")}
    versions = ", ".join(
        f"{name} {' and '.join(sorted(set(runs[name].astype(str))))}"
        for name in ("torch", "numpy", "scikit-learn")
    )
    # Members of an ensemble are rows, too; an encoder shared by several rows counts once.
    alone = runs[~runs["embedding"].str.startswith("ensemble")]
    hours = (
        alone.drop_duplicates(["modalities", "method", "seed", "seconds"])["seconds"].sum() / 3600
    )
    return (
        f"{len(runs)} runs of `make results STAGE={stage}`, {what['date']}, {what['hardware']}, "
        f"{versions}; {hours:.1f} hours of training on one thread each"
    )


def pick(sums: "pd.DataFrame", **where: Any) -> "pd.DataFrame":
    """Return the rows of one way to score, by default the primary endpoint.

    Parameters
    ----------
    sums : DataFrame
        From :func:`read_sums`.
    where
        Column and value, or a list of values. Defaults: blocked split, ridge, first grid,
        transductive, chosen recipe, 729 labels; ``n_labels=None`` keeps every budget.
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

    All embeddings share the drawn cells: see :class:`~earthtie_lite.results.intervals.Bootstrap`.

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
    """Compare an embedding with others over their common seeds.

    Returns
    -------
    DataFrame
        The columns of ``by``, name (the other one), difference (a minus the other), low, high, p.
    """
    names = list(others)
    table = compare(same_seeds(sums, [a, *names]), [(a, name) for name in names], by)
    return table.drop(columns="a").rename(columns={"b": "name"})


def as_text(table: "pd.DataFrame") -> "pd.Series":
    """Format means or differences with their intervals: "0.412 [0.380, 0.447]"."""
    what, form = ("difference", "+.3f") if "difference" in table else ("mean", ".3f")
    return table.apply(
        lambda row: f"{row[what]:{form}} [{row['low']:{form}}, {row['high']:{form}}]", axis=1
    )


def in_labels(sums: "pd.DataFrame", a: str, b: str, n_labels: int = MAIN) -> float:
    """Return how many labels embedding b needs to reach a's score, as a multiple of ``n_labels``.

    Parameters
    ----------
    sums : DataFrame
        Sums of one task and every budget.
    """
    curve = intervals(sums[sums["embedding"].isin([a, b])], ["n_labels"])
    curve = curve.pivot(index="n_labels", columns="embedding", values="mean").sort_index()
    if n_labels not in curve.index:
        raise ValueError(f"no scores at {n_labels} labels: there are {list(curve.index)}")
    target = curve[a].to_numpy()[curve.index == n_labels].item()
    return labels_needed(curve.index.to_numpy(), curve[b].to_numpy(), target) / n_labels


def same_seeds(sums: "pd.DataFrame", names: Iterable[str]) -> "pd.DataFrame":
    """Return the rows of some embeddings, restricted to their common seeds."""
    asked = list(names)
    sums = sums[sums["embedding"].isin(asked)]
    found = sums.groupby("embedding")["seed"].unique()
    missing = [name for name in asked if name not in found]
    if missing:
        raise ValueError(f"no results for {missing}")
    seeds = set.intersection(*(set(values) for values in found))
    return sums[sums["seed"].isin(seeds)]
