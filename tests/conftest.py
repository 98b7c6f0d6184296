"""Shared fixtures: a cache folder of its own, small modalities, the embedded sample."""

import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere, unit_vectors


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory):
    """Keep computed arrays in a temporary folder and draw figures without a display."""
    matplotlib.use("Agg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARTHTIE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def smooth_modality(name="soil", n=300, width=6, seed=0, places=None):
    """Return a modality whose features are smooth functions of the place."""
    rng = np.random.default_rng(seed)
    lonlat = sample_sphere(n, rng) if places is None else places
    mixing = np.random.default_rng(len(name)).normal(size=(3, width)) * 2
    return et.Modality(name, lonlat, np.sin(unit_vectors(lonlat) @ mixing))


@pytest.fixture(scope="session")
def make_modality():
    return smooth_modality


@pytest.fixture(scope="session")
def three():
    """Return three small modalities, each with its own places, all of one width."""
    return [smooth_modality(m, seed=seed) for seed, m in enumerate(("soil", "river", "wind"))]


@pytest.fixture(scope="session")
def make_encoder():
    def make(seed=0, degrees=4, width=32, out_dim=16, dropout=0.1, **settings):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            harmonics = et.SphericalHarmonics(degrees)
            return et.LocationEncoder(harmonics, width, 2, out_dim, dropout, **settings)

    return make


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Cache arrays in an empty folder, and return its path."""
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def damage():
    def change(path, how):
        """Flip a bit of a file, cut it to half, empty it or remove it."""
        data = bytearray(path.read_bytes())
        path.unlink()
        if how == "flipped":
            data[len(data) // 2] ^= 1
        if how != "missing":
            path.write_bytes({"cut": data[: len(data) // 2], "empty": b""}.get(how, data))

    return change


@pytest.fixture(scope="session")
def sample():
    """Return the embedded sample, 600 places a modality."""
    return et.load_sample(n=600, seed=0)


@pytest.fixture(scope="session")
def paper_data():
    """Return the folder of real files of the paper's sources; skip where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EARTHTIE_PAPER_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("EARTHTIE_PAPER_DATA names no folder with files of the paper's sources")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Run each file in one process, but the notebooks apart and the slowest of them first."""
    slow = {
        item: item.module.build.stored_seconds(item.callspec.params["source"])
        for item in items
        if item.name.startswith("test_runs_in_profile_smoke")
    }
    items.sort(key=lambda item: -slow.get(item, 0.0))
    for item in items:
        group = item.name if item in slow else item.path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
