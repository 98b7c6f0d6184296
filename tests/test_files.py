"""Files: atomic writes, the cache, shipped folders, model files and the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import files

PLACES = [[13.4, 52.5], [-60.0, -3.1], [180.0, 90.0]]


class Counted:
    """A computation that counts its calls."""

    def __init__(self, array):
        self.array, self.calls = array, 0

    def __call__(self):
        self.calls += 1
        return self.array


def flip(path, position):
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_the_hash_is_sha256():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.sha256(b"") == empty


def test_an_atomic_write_creates_its_folder_and_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "file.bin"
    files.write_atomic(path, b"first")
    with files.whole(path) as part:
        part.write_bytes(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.parametrize("step", ["to_disk", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file.bin"
    files.write_atomic(path, b"old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(files if step == "to_disk" else files.os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    code = (
        "import os, sys, pathlib; from earthtie_lite import files\n"
        "files.to_disk = lambda part: os._exit(9)\n"
        "files.write_atomic(pathlib.Path(sys.argv[1]), b'new')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == 9
    assert path.read_bytes() == b"old"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_array_is_computed_once_for_each_key(cache):
    compute = Counted(np.arange(6, dtype=np.float32).reshape(2, 3))
    first, second = files.cached(b"key", compute), files.cached(b"key", compute)
    assert compute.calls == 1
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(files.cached(b"other", Counted(np.ones(2))), np.ones(2))


@pytest.mark.parametrize("damaged", [b"", b"hello", 5, 100, 200])
def test_a_damaged_cache_file_is_computed_again(cache, damaged):
    compute = Counted(np.arange(30.0))
    files.cached(b"key", compute)
    (path,) = cache.iterdir()
    path.write_bytes(damaged if isinstance(damaged, bytes) else path.read_bytes()[:damaged])
    np.testing.assert_array_equal(files.cached(b"key", compute), np.arange(30.0))
    assert compute.calls == 2
    assert len(path.read_bytes()) > 200


def test_the_array_is_returned_if_the_cache_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(files.cached(b"key", Counted(np.ones(2))), np.ones(2))


@pytest.fixture
def root(tmp_path):
    """Return a folder with a manifest, as the shipped ones."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.bin").write_bytes(name.encode() * 50)
    files.write_manifest(tmp_path)
    return tmp_path


def test_a_shipped_file_is_found_and_read_once(root):
    path = files.shipped(root, "one/data.bin")
    assert path == root / "one" / "data.bin"
    path.unlink()
    assert files.shipped(root, "one/data.bin") == path


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_shipped_file_is_named(root, damage):
    path = root / "one" / "data.bin"
    if damage == "flipped":
        flip(path, 70)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(ValueError, match=r"one/data\.bin is missing, truncated or altered"):
        files.shipped(root, "one/data.bin")
    assert files.shipped(root, "two/data.bin").is_file()


def test_a_file_that_the_manifest_does_not_list_is_named(root):
    (root / "one" / "more.bin").write_bytes(b"more")
    with pytest.raises(ValueError, match=r"manifest\.json is .*does not list one/more\.bin"):
        files.shipped(root, "one/more.bin")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"files": {"one/data.bin": 3}}'])
def test_a_damaged_manifest_is_named(root, content):
    (root / "manifest.json").unlink()
    if content is not None:
        (root / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is missing, damaged or"):
        files.shipped(root, "one/data.bin")


@pytest.mark.parametrize("name", ["sample", "pretrained"])
def test_every_file_of_a_shipped_folder_is_listed_and_unaltered(name):
    root = files.shipped_folder(name)
    listed = json.loads((root / "manifest.json").read_text())["files"]
    there = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert set(listed) == there - {"manifest.json"}
    assert all(files.shipped(root, name).is_file() for name in listed)


@pytest.fixture
def small(tmp_path):
    """Return the path of a small model file without a copy of its description beside it."""
    tensors = {
        "weight": torch.arange(40.0).reshape(8, 5),
        "bias": torch.ones(8, dtype=torch.float64),
        "step": torch.tensor(3),
    }
    files.write_model(tmp_path, {"class": "Small", "width": 5}, tensors)
    return tmp_path / files.WEIGHTS


def read(weights):
    return files.read_model(weights, lambda: weights.with_name(files.CONFIG))


def test_a_model_file_alone_holds_description_and_tensors(small):
    (small.parent / files.CONFIG).unlink()
    description, tensors = read(small)
    assert description == {"format": files.FORMAT, "class": "Small", "width": 5}
    assert {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()} == {
        "weight": (torch.float32, (8, 5)),
        "bias": (torch.float64, (8,)),
        "step": (torch.int64, ()),
    }
    assert torch.equal(tensors["weight"], torch.arange(40.0).reshape(8, 5))


def test_every_flipped_byte_of_a_model_file_is_refused(small):
    data, accepted, unnamed = small.read_bytes(), [], set()
    for position in range(len(data)):
        flip(small, position)
        try:
            read(small)
            accepted.append(data[max(position - 12, 0) : position + 12])
        except ValueError as error:
            if small.name not in str(error):
                unnamed.add(str(error))
        small.write_bytes(data)
    assert (accepted, unnamed) == ([], set())


def test_every_cut_of_a_model_file_is_refused(small):
    data = small.read_bytes()
    for length in range(len(data)):
        small.write_bytes(data[:length])
        with pytest.raises(ValueError, match="is damaged"):
            read(small)


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", 3)
    files.write_model(tmp_path, {"class": "Small"}, {"weight": torch.ones(2)})
    monkeypatch.setattr(files, "FORMAT", 2)
    with pytest.raises(ValueError, match=r"has format 3, this version reads 2 at most"):
        read(tmp_path / files.WEIGHTS)


@pytest.fixture(scope="module")
def model(three, make_encoder):
    """Return a trained model with a featuriser of texts and one of images."""
    ngrams = et.CharacterNGrams(8)
    text = et.Modality("text", three[0].lonlat, ngrams(["a b"] * 150 + ["c"] * 150), ngrams)
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 6, 6)).astype(np.uint8)
    filters = et.RandomConvolutions.fit(images, n_filters=4)
    seen = et.Modality("image", three[1].lonlat[:40], filters(images), filters)
    config = et.TrainConfig(epochs=1, batch_size=8, val_fraction=0.0)
    return et.fit([text, seen], config, make_encoder(skip=2)).model


def test_a_saved_model_loads_bitwise_with_its_featurisers(model, tmp_path):
    model.save_pretrained(tmp_path / "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}
    again = et.EarthTie.from_pretrained(tmp_path / "mine")
    np.testing.assert_array_equal(again.embed(PLACES), model.embed(PLACES))
    for name, raw in (("text", ["Novosibirsk"]), ("image", np.full((2, 3, 6, 6), 7, np.uint8))):
        np.testing.assert_array_equal(
            again.embed_modality(name, raw), model.embed_modality(name, raw)
        )
    assert not again.training
    assert again.spec == model.spec


def test_the_card_names_the_class_and_an_existing_card_is_kept(model, tmp_path):
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "EarthTie.from_pretrained" in card
    assert "library_name: earthtie-lite" in card
    assert "http" not in card
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_weights_in_half_precision_become_float32(model, tmp_path):
    model.save_pretrained(tmp_path)
    description, tensors = read(tmp_path / files.WEIGHTS)
    files.write_model(tmp_path, description, {name: t.half() for name, t in tensors.items()})
    again = et.EarthTie.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    np.testing.assert_allclose(again.embed(PLACES), model.embed(PLACES), atol=0.02)


def test_a_folder_of_something_else_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"there is no model in .*: model\.safetensors is missing"):
        et.EarthTie.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a EarthTie"):
        et.JoinedEncoders.from_pretrained(tmp_path)
    description, tensors = read(tmp_path / files.WEIGHTS)
    description["encoder"]["width"] = 33
    files.write_model(tmp_path, description, tensors)
    with pytest.raises(ValueError, match="do not fit"):
        et.EarthTie.from_pretrained(tmp_path)


def test_push_to_hub_sends_the_three_files(model, monkeypatch):
    from huggingface_hub import HfApi

    sent = {}

    def create_repo(self, repo_id, **_):
        return type("Repo", (), {"repo_id": repo_id})()

    def upload_folder(self, *, repo_id, folder_path, **_):
        sent[repo_id] = sorted(path.name for path in Path(folder_path).iterdir())

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    model.push_to_hub("someone/places")
    assert sent == {"someone/places": ["README.md", "config.json", "model.safetensors"]}


def test_a_name_with_an_owner_is_downloaded_from_the_hub(monkeypatch, model, tmp_path):
    import huggingface_hub

    model.save_pretrained(tmp_path)
    asked = []

    def download(repo_id, filename, **where):
        asked.append((repo_id, filename, where["revision"]))
        return str(tmp_path / filename)

    for module in (files, huggingface_hub.hub_mixin):
        monkeypatch.setattr(module, "hf_hub_download", download)
    again = et.EarthTie.from_pretrained("someone/places", revision="v1")
    assert ("someone/places", "model.safetensors", "v1") in asked
    np.testing.assert_array_equal(again.embed(PLACES), model.embed(PLACES))


def test_a_name_without_an_owner_is_not_looked_up_on_the_hub():
    with pytest.raises(ValueError, match="there is no folder mynope"):
        et.EarthTie.from_pretrained("mynope")
