"""The benchmark for a GPU, in miniature on a CPU."""

import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from benchmarks import device
from earthtie_lite import train

PARTS = ("steps", "embedding", "processes", "precision", "training")
NUMBERS = {  # columns of measurements
    "steps": ["seconds_a_step", "paper_minutes", "step_gflop", "share_of_product_rate"],
    "embedding": ["places_per_second", "harmonics_seconds"],
    "processes": ["first_loss", "last_loss", "largest_difference"],
    "precision": ["val_loss", "elevation", "country"],
    "training": ["pairs", "seconds", "loss"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the tables of a tiny run."""
    path = tmp_path_factory.mktemp("device")
    device.main([str(path), "--tiny"])
    return path


@pytest.mark.parametrize("part", PARTS)
def test_each_part_writes_finite_numbers_and_how_they_were_made(folder, part):
    table = pd.read_csv(folder / f"{part}.csv", keep_default_na=False)
    assert "error" not in table, table.get("error")
    assert len(table) == len(device.cases(part, device.PROFILES["tiny"])) > 0
    assert np.isfinite(table[NUMBERS[part]].to_numpy(float)).all()
    made = ["profile", "global_seed", "date", "hardware", "threads", "torch", "sphericart"]
    assert (table[made].astype(str) != "").all(axis=None)
    assert set(table["profile"]) == {"tiny"}


def test_few_files_are_written(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert [name for name in names if name.endswith(".csv")] == sorted(f"{p}.csv" for p in PARTS)
    assert len(names) == len(PARTS) + 1  # one zip


def test_a_second_call_repeats_nothing(folder, capsys, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    nothing = dict.fromkeys(PARTS, lambda *a, **k: pytest.fail("measured again"))
    monkeypatch.setattr(device, "PARTS", nothing)
    device.main([str(folder), "--tiny"])
    assert capsys.readouterr().out == "left out: nothing\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_without_time_nothing_is_run_and_what_is_left_out_is_named(tmp_path, capsys):
    device.main([str(tmp_path), "--tiny", "--minutes", "0"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("left out: steps (4 rows for lack of time); embedding (4 ")
    assert all(f"{part} (" in line for part in PARTS)
    assert not any(tmp_path.iterdir())


def test_a_row_is_not_started_if_the_slowest_so_far_would_end_too_late(tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 20))  # each reading is 20 s after the last: a row takes 20 s
    monkeypatch.setattr(device.time, "monotonic", lambda: next(clock))
    monkeypatch.setitem(device.PARTS, "embedding", lambda size, **case: {"seconds": 1.0})
    left = device.measure("embedding", tmp_path, "tiny", 90.0, train.ranks())
    assert left == "2 rows for lack of time"  # begun at 0 and 40, not at 80 or 100
    assert len(pd.read_csv(tmp_path / "embedding.csv")) == 2


def test_a_failure_is_a_row_with_its_message_and_is_tried_again(tmp_path, monkeypatch):
    def fail(size, model, device):
        if model == "melt":
            raise ValueError("no such kernel")
        return {"seconds": 1.0}

    monkeypatch.setitem(device.PARTS, "embedding", fail)
    arguments = [str(tmp_path), "--tiny", "--parts", "embedding"]
    device.main(arguments)
    table = pd.read_csv(tmp_path / "embedding.csv", keep_default_na=False).set_index("model")
    assert table["error"]["melt"] == "ValueError: no such kernel"
    assert set(table["error"].drop("melt")) == {""}
    monkeypatch.setitem(device.PARTS, "embedding", lambda size, **case: {"seconds": 2.0})
    device.main(arguments)
    table = pd.read_csv(tmp_path / "embedding.csv").set_index("model")
    assert table["seconds"].to_dict() == {"melt": 2, "melt3": 1, "salt": 1, "satellite": 1}


def test_a_part_whose_packages_are_missing_is_left_out_by_name(tmp_path, capsys, monkeypatch):
    find = device.util.find_spec
    monkeypatch.setattr(device.util, "find_spec", lambda n: None if n == "rasterio" else find(n))
    device.main([str(tmp_path), "--tiny", "--parts", "precision", "training"])
    out = capsys.readouterr().out
    assert out == "left out: precision (needs rasterio); training (needs rasterio)\n"


def test_a_process_of_torchrun_trains_as_one_without(folder):
    table = pd.read_csv(folder / "processes.csv")
    assert table["largest_difference"][0] == pytest.approx(0, abs=1e-5)
    assert table["first_loss"][0] != table["last_loss"][0]


def test_trained_runs_are_found_where_the_tables_look_for_them(folder, tmp_path, monkeypatch):
    from data.experiments import embeddings

    (path,) = folder.glob("trained-*.zip")
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path)
    monkeypatch.setattr(embeddings, "fit", lambda *a, **k: pytest.fail("trained again"))
    changes = device.PROFILES["tiny"].recipe
    for row in list(device.lacking().values())[:2]:
        small = replace(row, recipe=replace(row.recipe, **changes))
        run = embeddings.trained(small, tmp_path)
        assert run.config.seed == row.seed
        assert len(run.history) > 1
        assert not run.optimiser
        assert run.model.embed([[13.4, 52.5]]).shape == (1, small.recipe.out_dim)


def test_rows_in_the_tables_are_not_trained(monkeypatch):
    from earthtie_lite.results import tables

    every = device.lacking()
    assert every
    assert all(row.recipe.name == "paper" for row in every.values())
    (first, *others) = every
    read = tables.read_runs

    def with_first(stage):
        row = {"embedding": first[0], "seed": first[1], "recipe": "paper"}
        return pd.concat([read(stage), pd.DataFrame([row])], ignore_index=True)

    monkeypatch.setattr(tables, "read_runs", with_first)
    assert list(device.lacking()) == others


def test_a_full_zip_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "ZIP_BYTES", 200)
    names = []
    for name in ("a", "b", "c"):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(name)
        names.append(device.pack(run, tmp_path))
    assert names == ["trained-a.zip", "trained-a.zip", "trained-c.zip"]
    with zipfile.ZipFile(tmp_path / "trained-a.zip") as file:
        assert file.namelist() == ["encoders/a/config.json", "encoders/b/config.json"]


def test_operations_are_counted_by_hand():
    sample, batch = device.random_modalities(60), 30
    config = et.TrainConfig(batch_size=batch, val_fraction=0.0)
    encoder = et.LocationEncoder(et.SphericalHarmonics(3), width=16, depth=1, out_dim=8)
    first = 2 * 2 * batch * 9 * 16  # forward and for the weights; its input needs no gradient
    second = 3 * 2 * batch * 16 * 8
    heads = 2 * 2 * batch * device.WIDTH * 8
    similarities = 3 * 2 * batch**2 * 8
    assert device.count_flop(sample, config, encoder) == first + second + heads + similarities
