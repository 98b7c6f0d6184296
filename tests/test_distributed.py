"""Training that several processes share gives the result of one process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.distributed import Ranks, process_group
from earthtie_lite.results import variants

NAMES = ("soil", "river", "wind")
USUAL = et.TrainConfig(batch_size=96, epochs=2, learning_rate=1e-2, val_fraction=0.0)  # 20 steps
CASES = {
    "MELT": (USUAL, train.tied_loss),
    "SALT": (USUAL.replace(method="salt", batch_size=64, epochs=4), train.tied_loss),
    "chunks": (USUAL.replace(negatives="all", chunk_size=10), variants.OwnScales(NAMES)),
    "regression": (USUAL, variants.regression_loss),
    "long": (USUAL.replace(epochs=4, val_fraction=0.1, batch_size=72), train.tied_loss),
}


def learn(case, folder=None, rank=0):
    """Train a case in float64, without dropout; in "lost", a process dies during "long"."""
    config, loss = CASES[case.replace("lost", "long")]
    rng, sample = np.random.default_rng(0), []
    for name in NAMES:
        places = sample_sphere(320, rng)
        features = np.sin(unit_vectors(places) @ rng.normal(size=(3, 6)) * 2)
        sample.append(et.Modality(name, places, features))

    def until_it_dies(rows, size, rng, epoch):
        if (case, rank, epoch) == ("lost", 1, 2):
            raise RuntimeError("this process is lost")
        return train.METHODS[config.method](rows, size, rng, epoch)

    with torch.random.fork_rng():
        torch.manual_seed(rank)  # the weights of the first process are used
        encoder = et.LocationEncoder(et.SphericalHarmonics(4), 32, 2, 16, 0.0).double()
    saved = folder and Path(folder, case.replace("lost", "long"))
    resumed = saved if saved and saved.exists() else None
    how = {"save_to": saved, "resume_from": resumed, "batches": until_it_dies, "loss": loss}
    return et.fit(sample, config, encoder, **how)


def launch(n_processes, folder, *cases):
    """Start this file with torchrun, as a user would."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={n_processes}", __file__, str(folder), *cases]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with runs of two processes; "long" was begun by three, one of them lost."""
    folder = tmp_path_factory.mktemp("shared")
    lost = launch(3, folder, "lost")
    assert lost.returncode != 0
    assert "this process is lost" in lost.stderr
    assert et.load(folder / "long").history["epoch"].max() == 1
    done = launch(2, folder, *CASES)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_processes_reach_the_weights_of_one_process(folder, case):
    shared, single = et.load(folder / case), learn(case)
    found, expected = shared.model.state_dict(), single.model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == torch.float64
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10, msg=name)
    columns = ["step", "loss", "val_loss", "grad_norm", "logit_scale"]
    rtol = 1e-6 if case == "chunks" else 1e-9  # the scales are float32
    np.testing.assert_allclose(shared.history[columns], single.history[columns], rtol=rtol)
    assert list(shared.history["modality"]) == list(single.history["modality"])


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, three, tmp_path):
    monkeypatch.setattr(train, "ranks", lambda: Ranks(0, 2))
    with pytest.raises(ValueError, match="2 processes cannot share a batch of 95 pairs"):
        et.fit(three, et.TrainConfig(batch_size=95), save_to=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_dropout_differs_between_processes():
    assert (Ranks().seed_suffix, Ranks(1, 2).seed_suffix) == ((), (1,))


if __name__ == "__main__":
    with process_group() as here:
        for case in sys.argv[2:]:
            learn(case, sys.argv[1], here.rank)
