"""Devices, and training that several processes share."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite.batches import part_of
from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.devices import Ranks, home, pick_device, process_group

# What torchrun starts: trains in float64 without dropout, from a folder's modalities and settings.
SCRIPT = """
import json, os, pathlib, sys
import numpy as np, torch
import earthtie_lite as et

folder = pathlib.Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text())
dies = settings.pop("dies")
data = np.load(folder / "sample.npz")
names = ("soil", "river", "wind")
sample = [et.Modality(n, data[n + "_places"], data[n + "_features"]) for n in names]
with et.process_group() as here:
    torch.manual_seed(here.rank)  # the first process's weights count
    encoder = et.LocationEncoder(et.SphericalHarmonics(4), 32, 2, 16, 0.0).double()
    batches = et.train.batches

    def until_it_dies(rows, config, epoch, *rest):
        if (here.rank, epoch) == (1, dies):
            raise RuntimeError("this process is lost")
        return batches(rows, config, epoch, *rest)

    et.train.batches = until_it_dies
    saved = folder / "run"
    resume = saved if (saved / "run.json").is_file() else None
    et.fit(sample, et.TrainConfig(**settings), encoder, save_to=saved, resume_from=resume)
"""
USUAL = {"batch_size": 96, "epochs": 2, "learning_rate": 1e-2, "val_fraction": 0.0}  # 20 steps


def three_modalities():
    """Return three modalities of 320 places whose features depend on the place."""
    rng, made = np.random.default_rng(0), []
    for name in ("soil", "river", "wind"):
        places = sample_sphere(320, rng)
        features = np.sin(unit_vectors(places) @ rng.normal(size=(3, 6)) * 2)
        made.append(et.Modality(name, places, features))
    return made


def launch(folder, n_processes, settings, dies=-1):
    """Train with several processes, as a user would start them."""
    import json

    folder.mkdir(exist_ok=True)
    arrays = {}
    for m in three_modalities():
        arrays |= {f"{m.name}_places": m.lonlat, f"{m.name}_features": m.features}
    np.savez(folder / "sample.npz", **arrays)
    (folder / "settings.json").write_text(json.dumps({**settings, "dies": dies}))
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={n_processes}", str(folder / "train.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def alone(settings):
    """Train in this process."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = et.LocationEncoder(et.SphericalHarmonics(4), 32, 2, 16, 0.0).double()
    return et.fit(three_modalities(), et.TrainConfig(**settings), encoder)


def assert_same_weights(run, other):
    for (name, got), expected in zip(
        run.model.state_dict().items(), other.model.state_dict().values(), strict=True
    ):
        assert got.dtype == torch.float64
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize(
    ("n_processes", "changes"),
    [
        (2, {}),
        (4, {"negatives": "all", "scales": "own", "chunk_size": 10}),
        (2, {"method": "salt", "batch_size": 64, "epochs": 4}),  # 5 steps, then the next modality
        (4, {"objective": "regression"}),
    ],
    ids=["MELT", "MELT, all negatives in chunks", "SALT", "regression"],
)
def test_processes_reach_the_weights_of_one_with_the_joint_batch(tmp_path, n_processes, changes):
    settings = USUAL | changes
    done = launch(tmp_path, n_processes, settings)
    assert done.returncode == 0, done.stderr[-2000:]
    shared, single = et.load(tmp_path / "run"), alone(settings)
    assert len(single.history) == 20
    assert_same_weights(shared, single)
    columns = ["loss", "grad_norm", "logit_scale"]
    np.testing.assert_allclose(shared.history[columns], single.history[columns], rtol=1e-9)
    assert list(shared.history["modality"]) == list(single.history["modality"])
    start = alone(settings | {"epochs": 1}).model.encoder.siren[0].linear.weight
    assert not torch.allclose(single.model.encoder.siren[0].linear.weight, start, atol=1e-6)


def test_a_process_that_is_lost_ends_the_job_and_the_run_goes_on(tmp_path):
    settings = USUAL | {"epochs": 4, "val_fraction": 0.1, "batch_size": 72}
    lost = launch(tmp_path, 2, settings, dies=2)
    assert lost.returncode != 0
    assert "this process is lost" in lost.stderr
    assert et.load(tmp_path / "run").history["epoch"].max() == 1
    done = launch(tmp_path, 2, settings)
    assert done.returncode == 0, done.stderr[-2000:]
    whole = alone(settings)
    assert_same_weights(et.load(tmp_path / "run"), whole)
    validated = et.load(tmp_path / "run").history["val_loss"].dropna()
    np.testing.assert_allclose(validated, whole.history["val_loss"].dropna(), rtol=1e-9)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    done = launch(tmp_path, 2, USUAL | {"batch_size": 95})
    assert done.returncode != 0
    assert "batch_size 95 cannot be shared by 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()


def test_parts_make_up_the_batch():
    batch = {"soil": np.arange(5), "river": np.arange(10, 14), "wind": np.arange(20, 23)}
    parts = [part_of(batch, Ranks(rank, 4).part(12)) for rank in range(4)]
    assert [{name: list(rows) for name, rows in part.items()} for part in parts] == [
        {"soil": [0, 1, 2]},
        {"soil": [3, 4], "river": [10]},
        {"river": [11, 12, 13]},
        {"wind": [20, 21, 22]},
    ]


def test_one_process_is_alone():
    with process_group() as here:
        assert here == Ranks(0, 1)
    tensor = torch.ones(3, 2)
    assert here.gather(tensor) is tensor
    assert here.agreed("yes") == "yes"
    here.sum([tensor])
    assert tensor.sum() == 6


def test_what_fits_a_gpu_lies_there_and_what_does_not_is_streamed(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert home([torch.zeros(100)], gpu) == gpu
    assert home([torch.zeros(100), torch.zeros(26)], gpu) == torch.device("cpu")
    assert home([torch.zeros(10**6)], torch.device("cpu")) == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="torch finds no GPU"):
        pick_device("cuda")


def test_features_in_a_memory_mapped_file_train_as_in_memory(tmp_path):
    mapped = []
    for m in three_modalities():
        np.save(tmp_path / f"{m.name}.npy", m.features)
        features = np.load(tmp_path / f"{m.name}.npy", mmap_mode="r")
        mapped.append(et.Modality(m.name, m.lonlat, features))
        assert np.shares_memory(mapped[-1].features, features)
    config = et.TrainConfig(**USUAL)
    runs = [et.fit(sample, config) for sample in (three_modalities(), mapped)]
    assert runs[0].history["loss"].equals(runs[1].history["loss"])


def test_bf16_trains_nearly_as_float32_does(three, make_encoder):
    config = et.TrainConfig(epochs=6, batch_size=96, learning_rate=1e-3, val_fraction=0.0)
    runs = [
        et.fit(three, config.replace(precision=name), make_encoder())
        for name in ("float32", "bf16")
    ]
    first, last = ([run.history["loss"].iloc[i] for run in runs] for i in (0, -1))
    assert last[0] < first[0] - 0.05
    assert last[1] == pytest.approx(last[0], abs=0.05)
    assert runs[1].history["loss"].tolist() != runs[0].history["loss"].tolist()
    assert next(runs[1].model.parameters()).dtype == torch.float32
