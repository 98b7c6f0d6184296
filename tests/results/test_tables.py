"""The results that travel with the repository: their schema, and that rows can be made again."""

import datetime
import functools
import json
import re
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from data.experiments import plans, runner
from data.experiments.embeddings import embed
from data.experiments.rows import Recipe
from earthtie_lite import probes
from earthtie_lite.files import shipped_folder, write_manifest
from earthtie_lite.results import tables
from earthtie_lite.results.intervals import SUMS, Bootstrap, scores
from earthtie_lite.results.protocol import FIRST, splits
from earthtie_lite.results.scoring import N_PLACES, SAMPLE_TASKS, Evaluation, score
from earthtie_lite.results.tables import collect, in_labels, intervals, pick, same_seeds

NUMBERS = {  # the file of a stage beside runs.csv, and the function that reads both
    "dynamics": ("histories.parquet", tables.read_histories),
    "retrieval": ("distances.parquet", tables.read_distances),
}

RUNNING = ("finer", "apart", "satclip")  # of growth


def frame(embedding, seed, wrong, n_labels=729, key=None):
    """Make the numbers of a run with three cells."""
    cells = pd.DataFrame({"cell": [1, 2, 3], **dict.fromkeys(SUMS, 0.0)})
    cells = cells.assign(n=10.0, square=10.0, wrong=wrong, n_labels=n_labels, penalty=1.0)
    cells = cells.assign(task="height", split="block", probe="ridge", grid="1000 km")
    about = {"key": key or f"{embedding} {seed}", "schema": tables.SCHEMA, "seed": seed}
    about |= {"embedding": embedding, "recipe": "chosen", "setting": "transductive"}
    about |= dict.fromkeys(("method", "modalities", "date", "hardware", "torch", "numpy"), "")
    cells.attrs.update(about | {"scikit-learn": "1", "seconds": 1.0})
    return cells


@pytest.fixture
def collected(tmp_path):
    """Return what collects rows of the report and reads all of its sums."""

    def collect_rows(*rows):
        collect(rows, tmp_path / "report", "sums")
        return tables.read_sums("report", tmp_path)

    return collect_rows


def test_new_rows_join_the_old_ones_and_replace_those_of_the_same_key(tmp_path, collected):
    first = collected(frame("a", 0, [1, 2, 3]), frame("b", 0, [2, 2, 2]))
    assert list(first["embedding"]) == ["a"] * 3 + ["b"] * 3
    assert list(first["wrong"]) == [1, 2, 3, 2, 2, 2]
    sums = collected(frame("a", 0, [5, 5, 5]), frame("c", 0, [3, 3, 3]))
    assert sums.groupby("embedding")["wrong"].sum().to_dict() == {"a": 15.0, "b": 6.0, "c": 9.0}
    assert tables.provenance("report", tmp_path).startswith("3 runs")


def test_errors_of_seen_places_are_stored_for_classes_alone(tmp_path, collected):
    height = frame("a", 0, [1, 2, 3]).assign(square=5.0, wrong_seen=[1.0, 2.0, 3.0])
    zone = frame("b", 0, [2, 2, 2]).assign(square=0.0, wrong_seen=1.0)
    assert collected(height, zone)["wrong_seen"].tolist() == [1, 2, 3, 1, 1, 1]
    stored = pd.read_parquet(tmp_path / "report" / "sums.parquet")
    assert stored["wrong_seen"].isna().tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize("last", ["sums.parquet", "runs.csv"])
def test_a_kill_while_writing_leaves_the_old_tables(tmp_path, monkeypatch, collected, last):
    collected(frame("a", 0, [1, 1, 1]))
    write = tables.write_atomic

    def killed(path, data):
        assert path.name != last, "killed"
        write(path, data)

    monkeypatch.setattr(tables, "write_atomic", killed)
    with pytest.raises(AssertionError, match="killed"):
        collected(frame("b", 0, [1, 1, 1]))
    monkeypatch.setattr(tables, "write_atomic", write)
    assert list(tables.read_sums("report", tmp_path)["embedding"]) == ["a"] * 3
    assert list(tables.read_runs("report", tmp_path)["embedding"]) == ["a"]
    assert list(collected(frame("b", 0, [1, 1, 1]))["embedding"]) == ["a"] * 3 + ["b"] * 3


def test_results_that_are_not_there_or_of_another_schema_are_refused(tmp_path, collected):
    for stage, message in (("report", "no results"), ("press", "unknown stage 'press'")):
        with pytest.raises(ValueError, match=message):
            tables.read_runs(stage, tmp_path)
    collected(frame("a", 0, [1, 1, 1]))
    with pytest.raises(ValueError, match=r"no results in .*histories\.parquet"):
        tables.read_histories("report", tmp_path)
    path = tmp_path / "report" / "runs.csv"
    pd.read_csv(path).assign(schema=tables.SCHEMA + 1).to_csv(path, index=False)
    with pytest.raises(ValueError, match="this version reads"):
        tables.read_runs("report", tmp_path)


def test_picking_and_intervals(collected):
    rows = [frame(m, seed, [w + seed, w, w]) for m, w in (("a", 2), ("b", 4)) for seed in (0, 1)]
    sums = pick(collected(*rows, frame("c", 1, [1, 1, 1])))
    table = intervals(sums, ["task"]).set_index("embedding")
    assert table.loc["a", "mean"] == pytest.approx(1 - np.mean([6 / 30, 7 / 30]))
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()
    assert set(same_seeds(sums, ["a", "c"])["seed"]) == {1}  # only seeds that all have
    for call, message in (
        (lambda: pick(sums, task="depth"), "no results for"),
        (lambda: pick(sums, taks="height"), r"unknown columns \['taks'\]"),
        (lambda: same_seeds(sums, ["a", "d"]), r"no results for \['d'\]"),
        (lambda: in_labels(sums, "a", "b", 700), r"no scores at 700 labels: there are \[729\]"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_an_effect_in_labels(collected):
    wrong = {("a", 729): 2, ("a", 2187): 1, ("b", 729): 4, ("b", 2187): 2}
    rows = [frame(name, 0, [w] * 3, n, f"{name}{n}") for (name, n), w in wrong.items()]
    assert in_labels(pick(collected(*rows), n_labels=None), "a", "b") == pytest.approx(3)


@pytest.mark.parametrize("stage", tables.STAGES)
def test_the_stored_rows_are_the_declared_ones_with_five_seeds_each(stage):
    """Of the paper's training, which takes a GPU, and of tables that run on, rows may lack."""
    runs = tables.read_runs(stage)
    stored = [
        (Recipe(**json.loads(r.settings)), r.embedding, r.method, r.setting, r.seed)
        for r in runs.itertuples()
    ]
    declared = {
        name: {
            (row.recipe, row.name, row.method, row.setting, row.seed)
            for row in plans.rows_of(stage, name)
        }
        for name in set(plans.table_names(stage)) - {"everything"}
    }
    assert len(set(stored)) == len(stored) == runs["key"].nunique()
    assert set(stored) <= set().union(*declared.values())
    running = RUNNING if stage == "growth" else ()
    complete = set().union(*(rows for name, rows in declared.items() if name not in running))
    assert {row for row in complete if row[0].name != "paper"} <= set(stored)
    about = ["date", "hardware", "threads", "python", "torch", "scikit-learn"]
    assert (runs[about].astype(str) != "").all(axis=None)
    if stage in ("report", "retrieval", "bottleneck"):
        seeds = Counter(row[:-1] for row in stored if row[0].name != "paper")
        assert set(seeds.values()) == {5}


@pytest.mark.parametrize("stage", ["development", *NUMBERS])
@pytest.mark.parametrize("damage", ["altered", "cut", "missing"])
def test_damaged_results_are_named(stage, damage, tmp_path, monkeypatch):
    """In the package a hash finds what was altered; in another folder what cannot be parsed."""
    shipped = shipped_folder("results")
    shutil.copytree(shipped / stage, tmp_path / stage)
    shutil.copy(shipped / "manifest.json", tmp_path)
    monkeypatch.setattr(tables, "shipped_folder", lambda _: tmp_path)
    numbers, read = NUMBERS.get(stage, ("sums.parquet", tables.read_sums))
    for name, reader in (("runs.csv", tables.read_runs), (numbers, read)):
        path = tmp_path / stage / name
        data = path.read_bytes()
        path.write_bytes(data[:99] + b"!" + data[100:])
        if damage == "cut":
            path.write_bytes(data[: data.rindex(b"{") + 1])  # within a quoted cell of a CSV
        elif damage == "missing":
            path.unlink()
        with pytest.raises(ValueError, match=re.escape(str(path))):
            reader(stage, None if damage == "altered" else tmp_path)
        path.write_bytes(data)


def test_the_manifest_lists_the_files_as_they_are(tmp_path):
    copy = shutil.copytree(shipped_folder("results"), tmp_path / "results")
    stored = json.loads((copy / "manifest.json").read_bytes())
    write_manifest(copy)
    assert json.loads((copy / "manifest.json").read_bytes()) == stored


@pytest.mark.parametrize("stage", ["development", "report"])
def test_scores_are_of_the_right_half_and_finite(stage):
    sums = tables.read_sums(stage)
    assert np.isfinite(sums[list(SUMS)]).all(axis=None)
    first = sums[sums["grid"] == FIRST.name]
    assert set(FIRST.table().loc[first["cell"].unique(), "half"]) == {stage}


def made_again(kinds, folder, n_cells=None):
    """Make a row of the report again, another one every day: row, embedding, tasks, stored sums.

    Only labels and the first n_cells scored cells are embedded, by default all places.
    """
    have = {(r.embedding, r.seed) for r in tables.read_runs("report").itertuples()}
    rows = [r for r in plans.rows_of("report", "chosen") if r.setting == "transductive"]
    rows = [row for row in rows if row.kind in kinds and (row.name, row.seed) in have]
    row = rows[np.random.default_rng(datetime.date.today().toordinal()).integers(len(rows))]
    kept = np.unpackbits(np.load(shipped_folder("results") / "report" / "places.npy"))
    tasks = {n: et.load_task(n, N_PLACES).at(np.flatnonzero(kept)) for n in SAMPLE_TASKS}
    lonlat = tasks["country"].lonlat
    stored = pick(tables.read_sums("report"), embedding=row.name, seed=row.seed, task=list(tasks))
    stored = stored[stored["cell"].isin(stored["cell"].unique()[:n_cells])]
    needed = np.isin(FIRST.cells(lonlat), stored["cell"])
    needed[splits(lonlat, "report")[0].labels(729, row.seed)] = True
    some, _ = embed(row, lonlat[needed], folder, runner.GEOCLIP)
    z = np.zeros((len(lonlat), some.shape[1]))
    z[needed] = some
    return row, z, tasks, stored


def test_a_row_at_random_is_made_again(tmp_path):
    kinds = ("coordinates", "harmonics", "density", "observations", "untrained")
    row, z, tasks, stored = made_again(kinds, tmp_path, 30)
    again = score(z, tasks, row.seed, "report", [Evaluation()])
    again = again[again["cell"].isin(stored["cell"])]
    found, expected = (scores(s, ["task"]).set_index("task")["score"] for s in (again, stored))
    np.testing.assert_allclose(found[expected.index], expected, atol=4e-3, err_msg=str(row))


@pytest.mark.long
def test_a_trained_row_at_random_is_made_again_with_the_penalties_of_the_table(
    tmp_path, monkeypatch
):
    # Where two penalties are nearly tied, another processor may choose the other one:
    # data/results/README.md has an example. So the probes have the stored penalties.
    row, z, tasks, stored = made_again(("trained",), tmp_path)
    fit_ridge = probes.fit_ridge
    for name, sums in stored.groupby("task"):
        one = functools.partial(fit_ridge, penalties=tuple(sums["penalty"].unique()))
        monkeypatch.setattr(probes, "fit_ridge", one)
        again = score(z, {name: tasks[name]}, row.seed, "report", [Evaluation()])
        both = pd.concat([again.assign(embedding="again"), sums.assign(embedding="stored")])
        # Another processor rounds otherwise, and training amplifies it: by more than 0.03 only
        # where a few cells decide, which the paired interval over cells shows.
        gap = Bootstrap(both.assign(seed=row.seed)).difference("again", "stored")
        assert gap["low"] < 0.03, (row, name, gap)
        assert gap["high"] > -0.03, (row, name, gap)
