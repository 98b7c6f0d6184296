"""The runner of the tables: what a row holds, resuming, and what is declared."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from earthtie_lite import experiments
from earthtie_lite.evaluate import Evaluation, labelled
from earthtie_lite.experiments import evaluations, run, table
from earthtie_lite.results import read_histories, read_runs
from earthtie_lite.rows import Embedding, Recipe

TINY = Recipe("tiny", n=300, pairs=600, batch_size=64, n_degrees=3, width=16, out_dim=8)


@pytest.fixture(scope="module")
def tasks():
    return labelled(3_000)


def test_a_finished_row_is_read_and_a_killed_one_repeated(tasks, tmp_path, monkeypatch):
    row = Embedding("untrained", TINY, 1)
    write = experiments.write_parquet
    monkeypatch.setattr(experiments, "write_parquet", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(row, tasks, "report", tmp_path, "")
    assert not list(tmp_path.rglob("*.parquet"))
    monkeypatch.setattr(experiments, "write_parquet", write)
    first = run(row, tasks, "report", tmp_path, "")
    monkeypatch.setattr(experiments, "embed", lambda *a: pytest.fail("made twice"))
    pd.testing.assert_frame_equal(run(row, tasks, "report", tmp_path, ""), first)


def test_a_row_has_another_file_for_other_settings_labels_and_stages(tasks, monkeypatch):
    row = Embedding("untrained", TINY, 1)
    fewer = {"country": tasks["country"]}
    keys = {
        experiments.key(row, "report", tasks),
        experiments.key(row, "development", tasks),
        experiments.key(row, "report", fewer),
        experiments.key(Embedding("untrained", TINY, 2), "report", tasks),
    }
    assert len(keys) == 4
    monkeypatch.setattr(experiments, "evaluations", lambda row, stage: [Evaluation()])
    assert experiments.key(row, "report", tasks) not in keys


def test_a_row_has_the_same_file_where_the_last_bit_is_rounded_otherwise(tasks):
    row = Embedding("untrained", TINY, 1)
    other = {
        name: dataclasses.replace(
            task,
            lonlat=np.nextafter(task.lonlat, 0.0),
            target=np.nextafter(task.target, 0.0) if task.kind == "regression" else task.target,
        )
        for name, task in tasks.items()
    }
    assert experiments.key(row, "report", other) == experiments.key(row, "report", tasks)
    other = {name: dataclasses.replace(t, lonlat=t.lonlat * 0.9) for name, t in tasks.items()}
    assert experiments.key(row, "report", other) != experiments.key(row, "report", tasks)


def test_rows_say_how_they_were_made(tasks, tmp_path):
    done = run(Embedding("harmonics", TINY, 1), tasks, "report", tmp_path, "")
    about = {"schema", "stage", "embedding", "method", "modalities", "setting", "recipe", "seed"}
    about |= {"settings", "seconds", "key", "date", "hardware", "python", "torch", "threads"}
    assert about <= set(done.attrs)
    assert done.attrs["schema"] == experiments.SCHEMA


def test_a_row_that_is_read_says_the_same(tasks, tmp_path):
    row = Embedding("harmonics", TINY, 1)
    first, again = (run(row, tasks, "report", tmp_path, "") for _ in range(2))
    assert again.attrs == first.attrs


def test_the_table_has_every_row_and_seed():
    rows = table()
    names = {row.name for row in rows if row.setting == "transductive"}
    assert {"coordinates", "harmonics", "density", "observations", "GeoCLIP", "untrained"} <= names
    assert {"satellite", "lights", "text", "ensemble"} <= names
    assert {f"{m} satellite+lights+text" for m in ("MELT", "SALT")} <= names
    assert {"untrained, no skip", "MELT satellite+lights+text, no skip"} <= names
    assert len(names) == 7 + 3 + 5 + 4 + 1
    assert len(rows) == len(set(rows)) == 5 * (len(names) + 3)


def test_the_paper_s_training_has_every_variant_and_the_same_encoder():
    rows = experiments.paper_table(range(2))
    assert len(rows) == len(set(rows)) == 2 * (7 + 4)
    assert {(row.recipe.batch_size, row.recipe.learning_rate) for row in rows} == {(2048, 1e-4)}
    for method, share in (("melt", 1), ("salt", 3)):
        (row,) = {r for r in rows if r.method == method and len(r.modalities) == 3 and not r.seed}
        config = row.recipe.config(method, 3, 0)
        assert (config.epochs, config.schedule) == (50 * share, "constant")
    assert {row.recipe.encoder(0).spec == experiments.CHOSEN.encoder(0).spec for row in rows} == {
        True
    }


def test_the_paper_s_losses_are_of_its_rows_so_nothing_is_trained_twice():
    rows = experiments.paper_dynamics(range(2))
    assert set(rows) < set(experiments.paper_table(range(2)))
    assert {(row.method, len(row.modalities)) for row in rows} == {
        ("melt", 3),
        ("salt", 3),
        ("melt", 1),
    }


def test_the_modality_to_beat_is_named_for_every_task():
    assert set(experiments.BEST_SINGLE) == {
        "elevation",
        "population",
        "climate",
        "country",
        "population (GPWv4)",
        "biome",
    }


def test_the_command_runs_resumes_and_writes_the_tables(tmp_path, monkeypatch, capsys):
    few = [Embedding("harmonics", TINY, 0), Embedding("untrained", TINY, 0)]
    monkeypatch.setattr(experiments, "table", lambda seeds: few)
    places = ["--places", "3000", "--jobs", "1"]
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    for _ in range(2):
        experiments.main(["development", *places, *folders])
        assert len(read_runs("development", tmp_path / "out")) == 2
    assert len(list((tmp_path / "work").rglob("*.parquet"))) == 2


def test_the_command_repeats_no_row_of_the_tables_it_finds(tmp_path, monkeypatch):
    rows = [Embedding("harmonics", TINY, 0)]
    monkeypatch.setattr(experiments, "table", lambda seeds: rows)
    places = ["--places", "3000", "--jobs", "1", "--folder", str(tmp_path / "out")]
    experiments.main(["development", *places, "--work", str(tmp_path / "here")])
    rows.append(Embedding("untrained", TINY, 0))
    experiments.main(["development", *places, "--work", str(tmp_path / "elsewhere")])
    assert len(list((tmp_path / "elsewhere").rglob("*.parquet"))) == 1
    assert list(read_runs("development", tmp_path / "out")["embedding"]) == [
        "harmonics",
        "untrained, no skip",
    ]


def test_histories_are_collected_of_every_run(tmp_path, monkeypatch):
    rows = [Embedding("trained", TINY, seed, "salt", ("satellite", "lights")) for seed in (0, 1)]
    monkeypatch.setattr(experiments, "dynamics", lambda seeds: rows)
    folders = ["--work", str(tmp_path / "work"), "--folder", str(tmp_path / "out")]
    for _ in range(2):
        experiments.main(["dynamics", "--jobs", "1", *folders])
    steps = read_histories("dynamics", tmp_path / "out")
    assert set(steps["seed"]) == {0, 1}
    assert steps.groupby("seed")["step"].apply(lambda x: x.is_monotonic_increasing).all()
    assert np.isfinite(steps[["loss", "logit_scale", "grad_norm"]]).all(axis=None)


def test_recipes_are_never_tried_on_the_report_half(capsys):
    with pytest.raises(SystemExit):
        experiments.main(["report", "--recipe", "search", "--places", "3000"])
    assert "development half alone" in capsys.readouterr().err


def test_the_search_changes_one_thing_at_a_time_and_repeats_nothing():
    rows = experiments.search()
    assert len(rows) == len(set(rows))
    assert {row.seed for row in rows} == {0}
    assert all(row.recipe in experiments.SEARCH for row in rows)


def test_choices_need_few_budgets_and_the_report_has_every_check():
    few = evaluations(Embedding("untrained", TINY), "development")
    assert [(e.split, e.budgets, e.probe) for e in few] == [("block", (729, 6561), "ridge")]
    many = evaluations(Embedding("untrained", TINY), "report")
    assert {e.probe for e in many} == {"ridge", "neighbours", "MLP"}
    assert {e.split for e in many} == {"block", "random"}
    assert len({e.grid for e in many}) == 4
    bent = evaluations(Embedding("coordinates", TINY), "report")
    assert Evaluation(probe="trees") in bent
    assert len(set(bent)) == len(bent)
