"""The runner of the tables: what a row holds, resuming, and that a leak is caught."""

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from earthtie_lite import experiments
from earthtie_lite.experiments import collect, labelled, run, score, table
from earthtie_lite.inference import Bootstrap, scores
from earthtie_lite.protocol import Grid
from earthtie_lite.rows import Embedding, Recipe
from earthtie_lite.tasks import Task

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)
BUDGETS = {"block": (243, 729), "random": (243,)}


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


@pytest.fixture(scope="module")
def lonlat(tasks):
    return tasks["country"].lonlat


def mean(sums, **where):
    for column, value in where.items():
        sums = sums[sums[column] == value]
    return scores(sums.assign(x=0), ["x"])["score"].item()


def test_tasks_have_the_same_places(tasks):
    assert list(tasks) == ["elevation", "population", "climate", "country"]
    for task in tasks.values():
        np.testing.assert_array_equal(task.lonlat, tasks["elevation"].lonlat)


def test_places_without_a_label_in_one_task_are_in_none(monkeypatch):
    full = et.load_task("population", 2_000)
    lacking = full.at(np.arange(0, 2_000, 2))

    def load_task(name, n, source="sample", path=None):
        return et.load_task(name, n) if source == "sample" else lacking

    monkeypatch.setattr(experiments, "load_task", load_task)
    tasks = labelled(2_000, {"population": "some.tif"})
    assert list(tasks)[-1] == "population (GPWv4)"
    for task in tasks.values():
        np.testing.assert_array_equal(task.lonlat, lacking.lonlat)
    country = et.load_task("country", 2_000).target[::2]
    np.testing.assert_array_equal(tasks["country"].target, country)


def test_unknown_labels_are_refused():
    with pytest.raises(ValueError, match="unknown labels 'rain'"):
        labelled(100, {"rain": "rain.tif"})


def test_an_embedding_that_holds_the_answer_is_perfect(tasks, lonlat):
    answer = np.stack([tasks["elevation"].target, tasks["population"].target], axis=1)
    sums = score(answer, tasks, 0, "report", BUDGETS)
    for name in ("elevation", "population"):
        assert mean(sums, task=name, split="block", n_labels=243) > 0.999


def test_noise_knows_nothing(tasks, lonlat):
    noise = np.random.default_rng(0).normal(size=(len(lonlat), 16))
    sums = score(noise, tasks, 0, "report", BUDGETS)
    assert abs(mean(sums, task="elevation", split="block", n_labels=729)) < 0.05


def test_an_embedding_that_knows_its_cell_is_caught_by_the_blocks(lonlat):
    # What an embedding that memorises regions would do: perfect at random, nothing in blocks.
    cell = Grid().cells(lonlat)
    level = np.random.default_rng(1).normal(size=cell.max() + 1)
    task = {"by cell": Task("by cell", lonlat, level[cell], "regression", "m")}
    one_hot = (cell[:, None] == np.unique(cell)).astype(float)
    sums = score(one_hot, task, 0, "report", {"block": (729,), "random": (729,)})
    assert mean(sums, split="random") > 0.8
    assert mean(sums, split="block") < 0.05


def test_labels_are_the_same_for_every_embedding_and_differ_by_seed(tasks, lonlat):
    seen = []

    def spy(z, tasks, rows, groups):
        seen.append(tuple(rows))
        return experiments.fit_ridge(z, tasks, rows, groups)

    for z, seed in ((et.UnitVectors()(lonlat), 0), (et.SphericalHarmonics(4)(lonlat), 0)):
        score(z, tasks, seed, "report", {"block": (243,)}, spy)
    score(et.UnitVectors()(lonlat), tasks, 1, "report", {"block": (243,)}, spy)
    assert seen[0] == seen[1] != seen[2]


def test_development_scores_never_touch_the_report_half(tasks, lonlat):
    sums = score(et.UnitVectors()(lonlat), tasks, 0, "development", {"block": (243,)})
    assert set(Grid().table().loc[sums["cell"].unique(), "half"]) == {"development"}
    report = score(et.UnitVectors()(lonlat), tasks, 0, "report", {"block": (243,)})
    assert set(Grid().table().loc[report["cell"].unique(), "half"]) == {"report"}


def test_budgets_that_the_places_do_not_reach_are_left_out(tasks, lonlat):
    sums = score(et.UnitVectors()(lonlat), tasks, 0, "report")
    assert sums["n_labels"].max() == 729


def test_embeddings_of_other_places_are_refused(tasks):
    with pytest.raises(ValueError, match="expected embeddings of 3000 places, got 5"):
        score(np.zeros((5, 2)), tasks, 0, "report")


def test_a_finished_row_is_read_and_a_killed_one_repeated(tasks, tmp_path, monkeypatch):
    row = Embedding("untrained", TINY, 1)
    write = experiments.write_atomic
    monkeypatch.setattr(experiments, "write_atomic", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(row, tasks, "report", tmp_path, "")
    assert not list(tmp_path.rglob("*.parquet"))
    monkeypatch.setattr(experiments, "write_atomic", write)
    first = run(row, tasks, "report", tmp_path, "")
    monkeypatch.setattr(experiments, "embed", lambda *a: pytest.fail("made twice"))
    pd.testing.assert_frame_equal(run(row, tasks, "report", tmp_path, ""), first)


def test_a_row_has_another_file_for_other_settings_labels_and_stages(tasks):
    row = Embedding("untrained", TINY, 1)
    fewer = {"country": tasks["country"]}
    keys = {
        experiments.key(row, tasks, "report"),
        experiments.key(row, tasks, "development"),
        experiments.key(row, fewer, "report"),
        experiments.key(Embedding("untrained", TINY, 2), tasks, "report"),
    }
    assert len(keys) == 4


def test_rows_say_how_they_were_made(tasks, tmp_path):
    done = run(Embedding("harmonics", TINY, 1), tasks, "report", tmp_path, "")
    about = {"schema", "stage", "embedding", "method", "modalities", "setting", "recipe", "seed"}
    about |= {"settings", "seconds", "width", "date", "hardware", "python", "torch", "threads"}
    assert about <= set(done)
    assert (done["schema"] == experiments.SCHEMA).all()


def test_the_collected_tables_hold_every_number(tasks, tmp_path):
    rows = [Embedding(kind, TINY, s) for kind in ("harmonics", "coordinates") for s in (0, 1)]
    done = [run(row, tasks, "report", tmp_path, "") for row in rows]
    collect(done, tmp_path / "out")
    runs = pd.read_csv(tmp_path / "out" / "runs.csv", keep_default_na=False)
    sums = pd.read_parquet(tmp_path / "out" / "sums.parquet")
    assert len(runs) == 4
    assert len(sums) == sum(map(len, done))
    got = sums.merge(runs, on="run")
    where = {"task": "country", "split": "block", "n_labels": 243}
    for table_ in done:
        about = {"embedding": table_["embedding"].iloc[0], "seed": table_["seed"].iloc[0]}
        assert mean(got, **where, **about) == pytest.approx(mean(table_, **where), abs=1e-6)
    some = got.query("task == 'country' and split == 'block' and n_labels == 243")
    assert Bootstrap(some, 100).names == ["harmonics", "coordinates"]


def test_the_table_has_every_row_and_seed():
    rows = table()
    names = {row.name for row in rows if row.setting == "transductive"}
    assert {"coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained"} <= names
    assert {"satellite", "lights", "text", "ensemble"} <= names
    assert {f"{m} satellite+lights+text" for m in ("MELT", "SALT")} <= names
    assert len(names) == 6 + 3 + 4 + 4 + 1
    assert len(rows) == len(set(rows)) == 5 * (len(names) + 3)


def test_the_command_runs_resumes_and_writes_the_tables(tmp_path, monkeypatch, capsys):
    few = [Embedding("harmonics", TINY, 0), Embedding("untrained", TINY, 0)]
    monkeypatch.setattr(experiments, "table", lambda recipe, seeds: few)
    places = ["--places", "1500", "--jobs", "1"]
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    for _ in range(2):
        experiments.main(["development", *places, *folders])
        assert len(pd.read_csv(tmp_path / "out" / "development" / "runs.csv")) == 2
    assert len(list((tmp_path / "work").rglob("*.parquet"))) == 2


def test_recipes_are_never_tried_on_the_report_half(capsys):
    with pytest.raises(SystemExit):
        experiments.main(["report", "--recipe", "search", "--places", "1500"])
    assert "development half alone" in capsys.readouterr().err


def test_the_search_changes_one_thing_at_a_time_and_repeats_nothing():
    rows = experiments.search()
    assert len(rows) == len(set(rows))
    assert {row.seed for row in rows} == {0}
    assert all(row.recipe in experiments.SEARCH for row in rows)
