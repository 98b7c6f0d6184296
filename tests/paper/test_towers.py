"""Frozen networks: features of the network called by hand, known by hash, from the hub."""

import builtins
import contextlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from server import Server

from earthtie_lite.features import encode, from_spec
from earthtie_lite.paper import towers
from earthtie_lite.paper.towers import (
    BgeTexts,
    ClipImages,
    ClipTexts,
    DinoImages,
    MocoSentinel2,
    digest,
    thirteen_bands,
)

towers.mend_torchvision()
import open_clip  # noqa: E402
import timm  # noqa: E402
import transformers  # noqa: E402

TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]  # of the published weights' card
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
KINDS = {
    "clip images": (ClipImages, "tiny-clip"),
    "clip texts": (ClipTexts, "tiny-clip"),
    "moco": (MocoSentinel2, "vit_tiny_patch16_224"),
    "dino": (DinoImages, "test_vit.r160_in1k"),
    "bge": (BgeTexts, "BAAI/bge-small-en-v1.5"),
}
NAMES = list(KINDS)
TEXTS = ["Berlin is old", "x", "a river between two lakes", "old town", "Nairobi"]


def rgb(n=5, height=40, width=50):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def patches(n=5, size=256):
    return np.random.default_rng(1).integers(0, 12_000, (n, 12, size, size), dtype=np.uint16)


def raw_of(name):
    return patches() if name == "moco" else TEXTS if name in ("clip texts", "bge") else rgb()


def tiny_bert(folder):
    """Write a random BERT with the vocabulary of letters, as transformers does."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "vocab_size": len(tokens)}
    config = transformers.BertConfig(**sizes)
    model = transformers.BertModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return networks made by hand, and files of their weights."""
    folder = tmp_path_factory.mktemp("weights")
    config = folder / "tiny-clip.json"
    config.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(config)
    nets = {
        "clip": open_clip.create_model("tiny-clip").eval(),
        "moco": timm.create_model(KINDS["moco"][1], in_chans=13, num_classes=0).eval(),
        "dino": timm.create_model(KINDS["dino"][1], num_classes=0).eval(),
        "bge": tiny_bert(folder / "bge"),
    }
    files = {"bge": folder / "bge"}
    for name in ("clip", "moco", "dino"):
        files[name] = folder / f"{name}.safetensors"
        save_file(nets[name].state_dict(), files[name])
    return SimpleNamespace(files=files, **nets)


def make(made, name, **settings):
    """Return a tower with the weights of a network made by hand."""
    kind, model = KINDS[name]
    return kind(model, made.files[name.split()[0]], **settings)


# ------------------------------------------------------------------------------ features


@torch.no_grad()
def by_hand(made, name, raw):
    if name == "clip images":
        transform = open_clip.image_transform(32, False, CLIP_MEAN, CLIP_STD)
        return made.clip.encode_image(torch.stack([transform(Image.fromarray(i)) for i in raw]))
    if name == "clip texts":
        return made.clip.encode_text(open_clip.tokenize(raw))
    if name == "moco":
        bands = np.insert(raw[:, :, 16:240, 16:240] / 10_000, 10, 0, axis=1)
        return made.moco(torch.from_numpy(bands.astype(np.float32)))
    if name == "dino":
        settings = timm.data.resolve_data_config(pretrained_cfg=made.dino.pretrained_cfg)
        transform = timm.data.create_transform(**settings)
        return made.dino(torch.stack([transform(Image.fromarray(i)) for i in raw]))
    tokens = transformers.AutoTokenizer.from_pretrained(made.files["bge"])
    single = [made.bge(**tokens(t, return_tensors="pt")) for t in raw]  # without padding
    return torch.nn.functional.normalize(torch.cat([z.last_hidden_state[:, 0] for z in single]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_features_are_those_of_the_network_called_by_hand(made, name, batch):
    tower, raw = make(made, name, batch=batch), raw_of(name)
    z = tower(raw)
    assert (z.shape, z.dtype) == ((5, tower.out_dim), np.float32)
    np.testing.assert_allclose(z, by_hand(made, name, raw).numpy(), rtol=0, atol=1e-5)
    assert np.linalg.norm(z[0] - z[1]) > 1e-3
    assert not tower._loaded[0].training


def test_random_towers_have_the_documented_sizes_and_leave_the_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    for kind, raw, width in [
        (ClipImages, rgb(1), 512),
        (ClipTexts, TEXTS[:1], 512),
        (MocoSentinel2, patches(1), 384),
        (DinoImages, rgb(1), 384),
    ]:
        torch.manual_seed(3)
        z = kind(weights="random")(raw)
        assert torch.rand(1) == expected
        assert z.shape == (1, width)
    np.testing.assert_array_equal(DinoImages(weights="random")(rgb(1)), z)


@pytest.mark.parametrize("name", ["clip images", "dino"])
def test_images_come_in_any_form_and_size(made, name):
    tower, raw = make(made, name), rgb()
    expected = tower(raw)
    np.testing.assert_array_equal(tower([Image.fromarray(image) for image in raw]), expected)
    np.testing.assert_array_equal(tower(raw.transpose(0, 3, 1, 2)), expected)
    tall = rgb(1, 70, 20)[0]
    mixed = tower([raw[0], tall, Image.fromarray(raw[1]).convert("RGBA")])
    np.testing.assert_allclose(mixed[[0, 2]], expected[:2], rtol=0, atol=1e-5)
    np.testing.assert_allclose(mixed[1], tower([tall])[0], rtol=0, atol=1e-5)
    assert tower([Image.fromarray(raw[0]).convert("L")]).shape == (1, tower.out_dim)


def test_images_are_normalised_as_for_the_published_weights_of_the_tag(made, monkeypatch):
    published = {"mean": (0.5, 0.5, 0.5), "std": (0.1, 0.1, 0.1)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: published)
    _, prepare, _ = make(made, "clip images")._loaded
    grey = prepare([np.full((40, 50, 3), 51, np.uint8)])
    np.testing.assert_allclose(grey, np.full((1, 3, 32, 32), -3), atol=1e-6)


def test_thirteen_bands_are_in_order_with_an_empty_tenth():
    patch = np.broadcast_to(np.arange(100, 1300, 100, np.uint16)[:, None, None], (12, 256, 256))
    bands = thirteen_bands(patch)
    expected = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.0, 0.11, 0.12]
    assert (bands.shape, bands.dtype) == ((13, 224, 224), torch.float32)
    np.testing.assert_allclose(bands[:, 5, 7], expected, rtol=1e-6)


def test_other_patches_are_resized_to_256_pixels_on_the_shorter_side():
    # 511 x 1021 becomes 256 x 511, every other pixel, since the corners stay in place.
    ramp = np.broadcast_to(np.arange(1021, dtype=np.uint16), (12, 511, 1021))
    bands = thirteen_bands(ramp)
    assert bands.shape == thirteen_bands(patches(1, 30)[0]).shape == (13, 224, 224)
    np.testing.assert_allclose(bands[0, 100], 2 * np.arange(143, 143 + 224) / 10_000, atol=1e-6)


def test_texts_are_truncated_to_what_the_network_takes(made):
    bge, clip = make(made, "bge"), make(made, "clip texts")
    longest = "river " * 102  # five tokens a word for BGE here, and two at the ends: 512
    np.testing.assert_array_equal(bge([longest + "x y z"]), bge([longest + "z y x"]))
    assert (bge([longest]) != bge([longest[:-6]])).any()
    np.testing.assert_array_equal(clip([longest]), clip([longest + "x"]))


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("moco", np.zeros((2, 13, 9, 9), np.uint16), r"\(12, H, W\) in uint16, .* \(13, 9, 9\) in"),
        ("moco", np.zeros((2, 12, 9, 9), np.int16), r"got \(12, 9, 9\) in int16 in row 0"),
        ("moco", np.zeros((12, 9, 9), np.uint16), r"got \(9, 9\) in uint16 in row 0"),
        ("moco", np.zeros((2, 12, 0, 9), np.uint16), r"got \(12, 0, 9\)"),
        ("moco", [], "expected at least one image, got none"),
        ("dino", np.zeros((2, 9, 9, 3), np.float32), r"got \(9, 9, 3\) in float32 in row 0"),
        ("dino", np.zeros((2, 12, 9, 9), np.uint8), r"got \(12, 9, 9\) in uint8 in row 0"),
        ("dino", np.zeros((9, 9, 3), np.uint8), r"a sequence of RGB images, .* got \(9, 3\)"),
        ("dino", [np.zeros((9, 9, 3), np.uint8), None], r"got \(\) in object in row 1"),
        ("clip images", Image.new("RGB", (9, 9)), "expected a sequence of images, got one Image"),
        ("clip texts", "Lima", r"expected a sequence of texts, got one text; write \['Lima'\]"),
        ("clip texts", ["Lima", ""], "expected text, got '' in row 1"),
        ("bge", [], "expected at least one text, got none"),
    ],
)
def test_bad_input_is_refused_before_a_network_is_loaded(made, name, bad, message):
    tower = make(made, name)
    with pytest.raises(ValueError, match=message):
        tower(bad)
    assert "_loaded" not in vars(tower)


# ------------------------------------------------------------------- weights and description


@pytest.mark.parametrize("name", NAMES)
def test_the_description_has_the_hash_and_nothing_of_the_machine(made, name):
    tower = make(made, name, batch=5, device="cpu")
    weights, sha256 = tower.weights, digest(made.files[name.split()[0]])
    settings = {"class": KINDS[name][0].__name__, "model": KINDS[name][1], "sha256": sha256}
    settings |= {"pretrained": "laion2b_s34b_b79k"} if "clip" in name else {}
    assert tower.spec == {**settings, "weights": weights}
    assert tower.identity == settings
    published = KINDS[name][0]()
    assert from_spec(json.loads(json.dumps(published.spec)), {}) == published
    assert (published.weights, published.sha256) == (None, None)


def test_a_tower_is_rebuilt_in_a_fresh_process_which_imports_libraries_at_first_use(made, tmp_path):
    code = """if True:
        import json, sys, numpy as np
        from earthtie_lite.features import from_spec

        tower = from_spec(json.loads(sys.argv[1]), {})
        assert not {"torchvision", "open_clip", "timm", "transformers"} & set(sys.modules)
        np.save(sys.argv[3], tower(np.load(sys.argv[2])))
        """
    tower, raw, z = make(made, "dino"), tmp_path / "raw.npy", tmp_path / "z.npy"
    np.save(raw, rgb())
    command = [sys.executable, "-c", code, json.dumps(tower.spec), str(raw), str(z)]
    subprocess.run(command, check=True, cwd=Path(towers.__file__).parents[2])
    np.testing.assert_allclose(np.load(z), tower(rgb()), rtol=0, atol=1e-6)


def test_features_are_cached_wherever_the_same_weights_lie(made, tmp_path, cache):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(made.files["dino"].read_bytes())
    first, again = make(made, "dino"), DinoImages(KINDS["dino"][1], copy, batch=2)
    np.testing.assert_array_equal(encode(first, rgb()), encode(again, rgb()))
    assert "_loaded" not in vars(again)
    encode(replace(again, weights="random", sha256=None), rgb())
    assert len(list(cache.iterdir())) == 2


def test_weights_may_be_a_file_of_torch_with_the_head_of_a_classifier(made, tmp_path):
    state = made.dino.state_dict() | {"head.bias": torch.ones(9)}
    torch.save({"state_dict": state}, tmp_path / "dino.pth")
    tower = DinoImages(KINDS["dino"][1], tmp_path / "dino.pth")
    np.testing.assert_array_equal(tower(rgb()), make(made, "dino")(rgb()))


@pytest.mark.parametrize(
    ("name", "weights"),
    [("moco", "dino"), ("dino", "moco"), ("clip texts", "moco"), ("bge", "moco")],
)
def test_weights_of_another_network_are_refused(made, name, weights):
    kind, model = KINDS[name]
    message = rf"(?s){model} cannot be loaded from {made.files[weights]}: .+; pass weights of this"
    with pytest.raises(ValueError, match=message):
        kind(model, made.files[weights])(raw_of(name))


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (None, r"missing: \['encoder.layer.1.output.dense.bias'\]"),
        (torch.ones(3), "be loaded from"),
    ],
)
def test_weights_of_bge_that_lack_an_array_are_refused(made, tmp_path, bias, message):
    tiny_bert(tmp_path)
    state = made.bge.state_dict() | {"encoder.layer.1.output.dense.bias": bias}
    kept = {k: t for k, t in state.items() if t is not None and "pooler" not in k}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        BgeTexts(weights=tmp_path)(["Lima"])


def test_weights_of_bge_are_read_from_safetensors_only(made, tmp_path):
    tiny_bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(made.bge.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded from"):
        BgeTexts(weights=tmp_path)(["Lima"])


def test_weights_that_changed_or_are_gone_are_refused(made, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(made.files["dino"].read_bytes())
    tower = DinoImages(KINDS["dino"][1], path)
    save_file(made.moco.state_dict(), path)
    with pytest.raises(ValueError, match=rf"expected weights of the SHA-256 {tower.sha256}"):
        tower(rgb())
    path.unlink()
    for load in (lambda: tower(rgb()), lambda: DinoImages(weights=path)):
        with pytest.raises(ValueError, match=r"there are no weights in .*\.safetensors; download"):
            load()
    with pytest.raises(ValueError, match="BGE cannot be random"):
        BgeTexts(weights="random")
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        DinoImages(batch=0)


def test_the_hash_of_a_folder_is_that_of_its_names_and_files(tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}")
    found = [digest(tmp_path)]
    (tmp_path / "README.md").write_text("read me")
    assert digest(tmp_path) == found[0]
    config.write_text("{ }")
    found.append(digest(tmp_path))
    config.rename(tmp_path / "settings.json")
    assert len({*found, digest(tmp_path)}) == 3


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["clip images", "moco", "dino"])
def test_no_code_of_a_file_of_weights_is_run(made, tmp_path, name):
    kind, model = KINDS[name]
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(tmp_path / "made"), 2))
    torch.save({"cls_token": Evil(tmp_path / "made")}, tmp_path / "worse.pth")
    for file in ("evil.pth", "worse.pth"):
        with pytest.raises(ValueError, match=f"{model} cannot be loaded from"):
            kind(model, tmp_path / file)(raw_of(name))
    assert not (tmp_path / "made").exists()


# ------------------------------------------------------------------------------- the hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a server in the place of the hub."""
    from huggingface_hub import constants

    with Server() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "kept"))
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_come_from_the_hub(made, hub, tmp_path, monkeypatch, name):
    kind, model = KINDS[name]
    torch.save(made.moco.state_dict(), tmp_path / "moco.pth")
    save_file(
        timm.create_model(KINDS["dino"][1]).state_dict() | made.dino.state_dict(), tmp_path / "dino"
    )
    clip = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/open_clip_model.safetensors"
    published = {"laion2b_s34b_b79k": open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", published)
    moco = f"{towers.MOCO_REPOSITORY}/resolve/{towers.MOCO_REVISION}/{towers.MOCO_FILE}"
    files = {moco: tmp_path / "moco.pth", clip: made.files["clip"]}
    files[f"timm/{KINDS['dino'][1]}/resolve/main/model.safetensors"] = tmp_path / "dino"
    for file in made.files["bge"].iterdir():
        files[f"BAAI/bge-small-en-v1.5/resolve/main/{file.name}"] = file
    for path, file in files.items():
        hub.add(path, file.read_bytes())
    if name == "moco":
        with pytest.raises(ValueError, match=r"SHA-256 of .* is not that in its name: delete it"):
            kind(model)(raw_of(name))
        monkeypatch.setattr(towers, "MOCO_FILE", f"{digest(tmp_path / 'moco.pth')[:8]}.pth")
        hub.add(moco.replace(moco.rpartition("/")[2], towers.MOCO_FILE), files[moco].read_bytes())
    np.testing.assert_array_equal(kind(model)(raw_of(name)), make(made, name)(raw_of(name)))


@pytest.mark.parametrize("kind", [MocoSentinel2, DinoImages, BgeTexts, ClipTexts])
def test_a_hub_out_of_reach_is_said_with_what_to_do(hub, kind):
    raw = {MocoSentinel2: patches(1), DinoImages: rgb(1)}.get(kind, TEXTS)
    message = "(?s)cannot be loaded from its hub: .+ downloaded elsewhere if the hub is out of"
    with pytest.raises(ValueError, match=message):
        kind()(raw)


# --------------------------------------------------------------------------- the libraries

NMS, QNMS, ROI = (f"operator torchvision::{name} does not exist" for name in ("nms", "qnms", "roi"))


@pytest.mark.parametrize(
    ("outcomes", "declared"),
    [
        ([None], []),
        ([NMS, None], ["nms"]),
        ([NMS, QNMS, None], ["nms", "qnms"]),
        ([NMS, NMS], ["nms"]),  # what was declared did not help
        ([ROI], []),
    ],
)
def test_only_what_torchvision_lacks_is_declared(monkeypatch, outcomes, declared):
    real, rest = builtins.__import__, list(outcomes)
    raised = contextlib.nullcontext() if outcomes[-1] is None else pytest.raises(RuntimeError)

    def load(name, *args):
        if name != "torchvision":
            return real(name, *args)
        if (outcome := rest.pop(0)) is not None:
            raise RuntimeError(outcome)

    monkeypatch.setattr(towers, "_DECLARED", {})
    monkeypatch.setattr(torch.library, "Library", mock.Mock())
    monkeypatch.setattr(builtins, "__import__", load)
    with raised:
        towers.mend_torchvision()
    assert (list(towers._DECLARED), rest) == (declared, [])


def test_a_missing_library_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"timm.*pip install '\.\[encoders"):
        DinoImages(weights="random")(rgb(1))
