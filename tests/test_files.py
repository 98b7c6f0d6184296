"""Files: atomic writes, the cache, shipped folders, model files and the Hub."""

import json
import os
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import files

PLACES = [[13.4, 52.5], [-60.0, -3.1], [180.0, 90.0]]


def test_a_file_is_replaced_when_its_new_content_is_whole(tmp_path):
    path = tmp_path / "new" / "file.bin"
    files.write_atomic(path, b"first")
    with files.whole(path) as slow:
        slow.write_bytes(b"second")
        files.write_atomic(path, b"of another writer")
        assert path.read_bytes() == b"of another writer"
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.parametrize("step", ["to_disk", "os.replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file.bin"
    files.write_atomic(path, b"old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(f"earthtie_lite.files.{step}", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("damaged", [b"", b"hello", 5, 100, 200])
def test_an_array_is_computed_once_for_each_key_and_again_if_its_file_is_damaged(cache, damaged):
    calls = []

    def compute():
        calls.append(len(calls))
        return np.arange(30.0) * 2 ** len(calls)

    first, again = files.cached(b"key", compute), files.cached(b"key", compute)
    np.testing.assert_array_equal(first, np.arange(30.0) * 2)
    np.testing.assert_array_equal(again, first)
    (path,) = cache.iterdir()
    path.write_bytes(damaged if isinstance(damaged, bytes) else path.read_bytes()[:damaged])
    for _ in range(2):
        np.testing.assert_array_equal(files.cached(b"key", compute), first * 2)
    np.testing.assert_array_equal(files.cached(b"other", compute), first * 4)


def test_the_array_is_returned_if_the_cache_cannot_be_written(cache):
    cache.write_text("in the way")
    np.testing.assert_array_equal(files.cached(b"key", lambda: np.ones(2)), np.ones(2))


@pytest.fixture
def root(tmp_path):
    """Return a folder with a manifest, as the shipped ones."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.bin").write_bytes(name.encode() * 50)
    files.write_manifest(tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_shipped_file_is_named(root, damage, how):
    damage(root / "one" / "data.bin", how)
    with pytest.raises(ValueError, match=r"one/data\.bin is missing, truncated or altered"):
        files.shipped(root, "one/data.bin")
    assert files.shipped(root, "two/data.bin") == root / "two" / "data.bin"


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"files": {"one/data.bin": 3}}'])
def test_a_damaged_manifest_is_named(root, content):
    (root / "manifest.json").unlink()
    if content is not None:
        (root / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is .*does not list one/data\.bin"):
        files.shipped(root, "one/data.bin")


@pytest.mark.parametrize("name", ["sample", "pretrained"])
def test_every_file_of_a_shipped_folder_is_listed_and_unaltered(name):
    root = files.shipped_folder(name)
    listed = json.loads((root / "manifest.json").read_text())["files"]
    there = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    assert there.keys() == listed.keys() | {"manifest.json"}
    for name, entry in listed.items():
        assert files.shipped(root, name).stat().st_size == entry["bytes"]


@pytest.fixture
def small(tmp_path):
    """Return the path of a small model file."""
    tensors = {"weight": torch.arange(6.0).reshape(3, 2), "step": torch.tensor(3)}
    files.write_model(tmp_path, {"class": "Small", "width": 5}, tensors)
    return tmp_path / files.WEIGHTS


def read(weights):
    return files.read_model(weights, lambda: weights.with_name(files.CONFIG))


def test_a_model_file_alone_holds_description_and_tensors(small):
    (small.parent / files.CONFIG).unlink()
    description, tensors = read(small)
    assert description == {"format": files.FORMAT, "class": "Small", "width": 5}
    assert (tensors["step"].dtype, tensors["step"].item()) == (torch.int64, 3)
    assert tensors["weight"].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_every_flipped_byte_and_every_cut_of_a_model_file_is_refused(small):
    data, accepted = small.read_bytes(), []
    flipped = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))]
    for damaged in [*flipped, *(data[:i] for i in range(0, len(data), 7))]:
        small.write_bytes(damaged)
        try:
            read(small)
            accepted.append(damaged)
        except ValueError as error:
            assert small.name in str(error)  # noqa: PT017 - a loop over 700 files
    assert accepted == []


def test_a_later_format_is_refused(small, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", files.FORMAT - 1)
    with pytest.raises(ValueError, match=r"has format 2, this version reads 1 at most"):
        read(small)


@pytest.fixture(scope="module")
def model(make_encoder):
    """Return a model with a featuriser of texts and one of images."""
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 6, 6)).astype(np.uint8)
    makers = {"text": et.CharacterNGrams(8), "image": et.RandomConvolutions.fit(images, 4)}
    return et.EarthTie(make_encoder(skip=2), {"text": 8, "image": 8}, makers).eval()


def test_a_saved_model_has_a_card_and_loads_bitwise_with_its_featurisers(model, tmp_path):
    model.save_pretrained(tmp_path / "mine")
    card = tmp_path / "mine" / "README.md"
    assert "EarthTie.from_pretrained" in card.read_text()
    assert "library_name: earthtie-lite" in card.read_text()
    card.write_text("mine")
    model.save_pretrained(tmp_path / "mine")
    assert card.read_text() == "mine"  # an existing card is kept
    again = et.EarthTie.from_pretrained(tmp_path / "mine")
    np.testing.assert_array_equal(again.embed(PLACES), model.embed(PLACES))
    for name, raw in (("text", ["Novosibirsk"]), ("image", np.full((2, 3, 6, 6), 7, np.uint8))):
        tied = again.embed_modality(name, raw)
        np.testing.assert_array_equal(tied, model.embed_modality(name, raw))
    assert (again.training, again.spec) == (False, model.spec)


def test_weights_in_half_precision_become_float32(model, tmp_path):
    model.save_pretrained(tmp_path)
    description, tensors = read(tmp_path / files.WEIGHTS)
    files.write_model(tmp_path, description, {name: t.half() for name, t in tensors.items()})
    again = et.EarthTie.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    np.testing.assert_allclose(again.embed(PLACES), model.embed(PLACES), atol=0.02)


def test_what_is_no_such_model_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"there is no model in .*: model\.safetensors is missing"):
        et.EarthTie.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="there is no folder mynope"):  # nor a name on the Hub
        et.EarthTie.from_pretrained("mynope")
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a EarthTie"):
        et.JoinedEncoders.from_pretrained(tmp_path)


def test_a_model_goes_to_the_hub_and_comes_back(model, monkeypatch, tmp_path):
    asked = []

    def upload_folder(self, *, repo_id, folder_path, **_):
        for path in Path(folder_path).iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())

    def download(repo_id, filename, revision, **_):
        asked.append((repo_id, filename, revision))
        return str(tmp_path / filename)

    hub = huggingface_hub.HfApi
    repo = type("Repo", (), {"repo_id": "someone/places"})
    monkeypatch.setattr(hub, "create_repo", lambda self, repo_id, **_: repo)
    monkeypatch.setattr(hub, "upload_folder", upload_folder)
    for module in (files, huggingface_hub.hub_mixin):
        monkeypatch.setattr(module, "hf_hub_download", download)
    model.push_to_hub("someone/places")
    assert sorted(os.listdir(tmp_path)) == ["README.md", "config.json", "model.safetensors"]
    again = et.EarthTie.from_pretrained("someone/places", revision="v1")
    assert ("someone/places", "model.safetensors", "v1") in asked
    np.testing.assert_array_equal(again.embed(PLACES), model.embed(PLACES))
