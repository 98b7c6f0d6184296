"""The benchmark for a GPU, in miniature on a CPU."""

import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import earthtie_lite as et
from benchmarks import device
from data.experiments import embeddings

NUMBERS = {  # columns of measurements, by part
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


@pytest.mark.parametrize("part", NUMBERS)
def test_each_part_writes_finite_numbers_and_how_they_were_made(folder, part):
    table = pd.read_csv(folder / f"{part}.csv", keep_default_na=False)
    assert "error" not in table, table.get("error")
    assert len(table) == len(device.cases(part, device.PROFILES["tiny"])) > 0
    assert np.isfinite(table[NUMBERS[part]].to_numpy(float)).all()
    made = ["profile", "global_seed", "date", "hardware", "threads", "torch", "sphericart"]
    assert (table[made].astype(str) != "").all(axis=None)
    assert len(list(folder.iterdir())) == len(NUMBERS) + 1  # one zip
    if part == "processes":  # a process of torchrun trains as one without
        assert table["largest_difference"][0] == pytest.approx(0, abs=1e-5)


def test_rows_left_out_for_lack_of_time_or_packages_are_named(tmp_path, capsys, monkeypatch):
    device.main([str(tmp_path), "--tiny", "--minutes", "0"])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("left out: steps (4 rows for lack of time); embedding (6 ")
    assert all(f"{part} (" in line for part in NUMBERS)
    assert not any(tmp_path.iterdir())
    find = device.util.find_spec
    monkeypatch.setattr(device.util, "find_spec", lambda n: None if n == "rasterio" else find(n))
    device.main([str(tmp_path), "--tiny", "--parts", "precision", "training"])
    out = capsys.readouterr().out
    assert out == "left out: precision (needs rasterio); training (needs rasterio)\n"


def test_a_failure_is_a_row_with_its_message_and_is_tried_again(tmp_path, monkeypatch):
    def measured(seconds, fails=None):
        def measure(size, model, device):
            return {"seconds": seconds[model == fails]}  # fails where there is no such item

        monkeypatch.setitem(device.PARTS, "embedding", measure)
        device.main([str(tmp_path), "--tiny", "--parts", "embedding"])
        return pd.read_csv(tmp_path / "embedding.csv").set_index("model")

    errors = measured([1.0], "melt")["error"].dropna()
    assert errors.to_dict() == {"melt": "IndexError: list index out of range"}
    seconds = measured([2.0])["seconds"]
    assert seconds.to_dict() == dict.fromkeys(et.list_pretrained(), 1) | {"melt": 2}


def test_trained_runs_are_found_where_the_tables_look_for_them(folder, tmp_path, monkeypatch):
    (path,) = folder.glob("trained-*.zip")
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path)
    monkeypatch.setattr(embeddings, "fit", lambda *a, **k: pytest.fail("trained again"))
    for row in list(device.lacking().values())[:2]:
        recipe = replace(row.recipe, **device.PROFILES["tiny"].recipe)
        run = embeddings.trained(replace(row, recipe=recipe), tmp_path)
        assert run.config.seed == row.seed
        assert not run.optimiser
        assert run.model.embed([[13.4, 52.5]]).shape == (1, recipe.out_dim)
