"""Models in the files of the Hugging Face Hub."""

import json

import numpy as np
import pytest
import torch

import earthtie_lite as et

PLACES = [[13.4, 52.5], [-60.0, -3.1], [180.0, 90.0]]


@pytest.fixture(scope="module")
def model(three, make_encoder):
    text = et.Modality("text", three[0].lonlat, et.CharacterNGrams(8)(["a b"] * 150 + ["c"] * 150))
    text = et.Modality("text", text.lonlat, text.features, et.CharacterNGrams(8))
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 6, 6)).astype(np.uint8)
    filters = et.RandomConvolutions.fit(images, n_filters=4)
    seen = et.Modality("image", three[1].lonlat[:40], filters(images), filters)
    config = et.TrainConfig(epochs=1, batch_size=8, val_fraction=0.0)
    return et.fit([text, seen], config, make_encoder(skip=2)).model


def test_a_model_comes_back_bit_for_bit_with_its_featurisers(model, tmp_path):
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


def test_the_card_names_the_class_and_no_address(model, tmp_path):
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "EarthTie.from_pretrained" in card
    assert "library_name: earthtie-lite" in card
    assert "http" not in card


def test_a_card_that_is_there_is_kept(model, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_half_precision_is_widened(model, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({k: t.half() for k, t in weights.items()}, tmp_path / "model.safetensors")
    again = et.EarthTie.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    np.testing.assert_allclose(again.embed(PLACES), model.embed(PLACES), atol=0.02)


def test_what_does_not_fit_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        et.EarthTie.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a EarthTie"):
        et.JoinedEncoders.from_pretrained(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    description["encoder"]["width"] = 33
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="do not fit"):
        et.EarthTie.from_pretrained(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="damaged"):
        et.EarthTie.from_pretrained(tmp_path)


def test_a_push_sends_the_three_files(model, monkeypatch):
    from huggingface_hub import HfApi

    sent = {}

    def create_repo(self, repo_id, **_):
        return type("Repo", (), {"repo_id": repo_id})()

    def upload_folder(self, *, repo_id, folder_path, **_):
        from pathlib import Path

        sent[repo_id] = sorted(path.name for path in Path(folder_path).iterdir())

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    model.push_to_hub("someone/places")
    assert sent == {"someone/places": ["README.md", "config.json", "model.safetensors"]}


def test_a_name_that_is_no_folder_is_asked_of_the_hub(monkeypatch, model, tmp_path):
    import huggingface_hub

    model.save_pretrained(tmp_path)
    asked = []

    def download(repo_id, filename, **where):
        asked.append((repo_id, filename, where["revision"]))
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.hub_mixin, "hf_hub_download", download)
    again = et.EarthTie.from_pretrained("someone/places", revision="v1")
    assert {name for _, name, _ in asked} >= {"config.json", "model.safetensors"}
    assert {(repo, revision) for repo, _, revision in asked} == {("someone/places", "v1")}
    np.testing.assert_array_equal(again.embed(PLACES), model.embed(PLACES))


def test_a_mistyped_folder_is_not_asked_of_the_hub():
    with pytest.raises(ValueError, match="there is no folder mynope"):
        et.EarthTie.from_pretrained("mynope")
