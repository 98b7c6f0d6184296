"""Training that several processes share gives the result of one process."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.distributed import Ranks, process_group
from earthtie_lite.results import variants

NAMES = ("soil", "river", "wind")
# Run by torchrun: trains in float64 without dropout, on the modalities and settings of a folder.
SCRIPT = """
import json, pathlib, sys
import numpy as np, torch
import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.results import variants

folder = pathlib.Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text())
dies, loss = settings.pop("dies"), settings.pop("loss")
losses = {"own scales": variants.OwnScales(NAMES), "regression": variants.regression_loss}
data = np.load(folder / "sample.npz")
sample = [et.Modality(n, data[n + "_places"], data[n + "_features"]) for n in NAMES]
with et.process_group() as here:
    torch.manual_seed(here.rank)  # the weights of the first process are used
    encoder = et.LocationEncoder(et.SphericalHarmonics(4), 32, 2, 16, 0.0).double()
    config = et.TrainConfig(**settings)

    def until_it_dies(rows, size, rng, epoch):
        if (here.rank, epoch) == (1, dies):
            raise RuntimeError("this process is lost")
        return train.METHODS[config.method](rows, size, rng, epoch)

    saved = folder / "run"
    et.fit(
        sample,
        config,
        encoder,
        save_to=saved,
        resume_from=saved if saved.exists() else None,
        batches=until_it_dies,
        loss=losses.get(loss, train.tied_loss),
    )
""".replace("NAMES", repr(NAMES))
USUAL = {"batch_size": 96, "epochs": 2, "learning_rate": 1e-2, "val_fraction": 0.0}  # 20 steps


def three_modalities():
    """Return three modalities of 320 places whose features depend on the place."""
    rng, made = np.random.default_rng(0), []
    for name in NAMES:
        places = sample_sphere(320, rng)
        features = np.sin(unit_vectors(places) @ rng.normal(size=(3, 6)) * 2)
        made.append(et.Modality(name, places, features))
    return made


def launch(folder, n_processes, settings, loss=None, dies=-1):
    """Train with several processes, as a user would start them."""
    folder.mkdir(exist_ok=True)
    arrays = {}
    for m in three_modalities():
        arrays |= {f"{m.name}_places": m.lonlat, f"{m.name}_features": m.features}
    np.savez(folder / "sample.npz", **arrays)
    (folder / "settings.json").write_text(json.dumps({**settings, "loss": loss, "dies": dies}))
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={n_processes}", str(folder / "train.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def alone(settings, loss=train.tied_loss):
    """Train in this process."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = et.LocationEncoder(et.SphericalHarmonics(4), 32, 2, 16, 0.0).double()
    return et.fit(three_modalities(), et.TrainConfig(**settings), encoder, loss=loss)


def assert_same_weights(run, other):
    found, expected = run.model.state_dict(), other.model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == torch.float64
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize(
    ("n_processes", "changes", "loss"),
    [
        (2, {}, None),
        (2, {"method": "salt", "batch_size": 64, "epochs": 4}, None),  # 5 steps for each modality
        (4, {"negatives": "all", "chunk_size": 10}, "own scales"),
        (2, {}, "regression"),
    ],
    ids=["MELT", "SALT", "all negatives in chunks, own scales", "regression"],
)
def test_processes_reach_the_weights_of_one_process(tmp_path, n_processes, changes, loss):
    settings = USUAL | changes
    done = launch(tmp_path, n_processes, settings, loss)
    assert done.returncode == 0, done.stderr[-2000:]
    losses = {"own scales": variants.OwnScales(NAMES), "regression": variants.regression_loss}
    of_one = losses.get(loss, train.tied_loss)
    shared, single = et.load(tmp_path / "run"), alone(settings, of_one)
    assert len(single.history) == 20
    assert_same_weights(shared, single)
    columns = ["loss", "grad_norm", "logit_scale"]
    rtol = 1e-6 if loss == "own scales" else 1e-9  # the scales are float32
    np.testing.assert_allclose(shared.history[columns], single.history[columns], rtol=rtol)
    assert list(shared.history["modality"]) == list(single.history["modality"])
    weight = single.model.encoder.siren[0].linear.weight
    start = alone(settings | {"epochs": 1}, of_one).model.encoder.siren[0].linear.weight
    assert not torch.allclose(weight, start, atol=1e-6)


def test_a_lost_process_ends_the_job_and_the_run_resumes(tmp_path):
    settings = USUAL | {"epochs": 4, "val_fraction": 0.1, "batch_size": 72}
    lost = launch(tmp_path, 2, settings, dies=2)
    assert lost.returncode != 0
    assert "this process is lost" in lost.stderr
    assert et.load(tmp_path / "run").history["epoch"].max() == 1
    done = launch(tmp_path, 2, settings)
    assert done.returncode == 0, done.stderr[-2000:]
    resumed, whole = et.load(tmp_path / "run"), alone(settings)
    assert_same_weights(resumed, whole)
    validated = [run.history["val_loss"].dropna() for run in (resumed, whole)]
    np.testing.assert_allclose(*validated, rtol=1e-9)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, three, tmp_path):
    monkeypatch.setattr(train, "ranks", lambda: Ranks(0, 2))
    with pytest.raises(ValueError, match="2 processes cannot share a batch of 95 pairs"):
        et.fit(three, et.TrainConfig(batch_size=95), save_to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_parts_of_the_processes_make_up_the_batch():
    batch = {"soil": np.arange(5), "river": np.arange(10, 14), "wind": np.arange(20, 23)}
    parts = [Ranks(rank, 4).share(batch) for rank in range(4)]
    assert [{name: list(rows) for name, rows in part.items()} for part in parts] == [
        {"soil": [0, 1, 2]},
        {"soil": [3, 4], "river": [10]},
        {"river": [11, 12, 13]},
        {"wind": [20, 21, 22]},
    ]


def test_without_torchrun_there_is_a_single_process():
    with process_group() as here:
        assert here == Ranks(0, 1)
    assert here.seed_suffix == ()
    assert Ranks(1, 2).seed_suffix == (1,)
    batch, tensor, module = {"soil": np.arange(3)}, torch.ones(3, 2), torch.nn.Linear(2, 2)
    assert here.gather(tensor) is tensor
    assert here.agreed("yes") == "yes"
    assert here.wrap(module) is module
    assert here.share(batch).keys() == batch.keys()
