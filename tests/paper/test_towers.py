"""CLIP, MoCo, DINO and BGE against the same networks called by hand; weights, hubs, bad input."""

import hashlib
import http.server
import json
import os
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from earthtie_lite.features import encode, from_spec
from earthtie_lite.paper import towers
from earthtie_lite.paper.frozen import digest, library
from earthtie_lite.paper.towers import (
    BgeTexts,
    ClipImages,
    ClipTexts,
    DinoImages,
    MocoSentinel2,
    thirteen_bands,
)

TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TINY_VIT, TINY_DINO = "vit_tiny_patch16_224", "test_vit.r160_in1k"
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]  # of the published weights' card
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TEXTS = ["Berlin is old", "x", "a river between two lakes", "old town", "Nairobi"]


def rgb(n=5, height=40, width=50):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def patches(n=5, size=256):
    rng = np.random.default_rng(1)
    return rng.integers(0, 12_000, (n, 12, size, size), dtype=np.uint16)


def tiny_bert(folder):
    """Write a random BERT with the vocabulary of letters, as transformers does."""
    transformers = library("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    vocabulary += [f"##{letter}" for letter in letters]
    transformers.BertTokenizer(vocab={v: i for i, v in enumerate(vocabulary)}).save_pretrained(
        folder
    )
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    model = transformers.BertModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return networks made by hand, and files of their weights."""
    folder = tmp_path_factory.mktemp("weights")
    config = folder / "tiny-clip.json"
    config.write_text(json.dumps(TINY_CLIP))
    open_clip, timm = library("open_clip"), library("timm")
    open_clip.add_model_config(config)
    nets = {
        "clip": open_clip.create_model("tiny-clip").eval(),
        "moco": timm.create_model(TINY_VIT, in_chans=13, num_classes=0).eval(),
        "dino": timm.create_model(TINY_DINO, num_classes=0).eval(),
        "bge": tiny_bert(folder / "bge"),
    }
    files = {"bge": folder / "bge"}
    for name in ("clip", "moco", "dino"):
        files[name] = folder / f"{name}.safetensors"
        save_file(nets[name].state_dict(), files[name])
    return SimpleNamespace(folder=folder, files=files, **nets)


def make(made, name, **settings):
    """Return a tower with the weights of a network made by hand, and input for it."""
    if name == "clip images":
        return ClipImages("tiny-clip", made.files["clip"], **settings), rgb()
    if name == "clip texts":
        return ClipTexts("tiny-clip", made.files["clip"], **settings), TEXTS
    if name == "moco":
        return MocoSentinel2(TINY_VIT, made.files["moco"], **settings), patches()
    if name == "dino":
        return DinoImages(TINY_DINO, made.files["dino"], **settings), rgb()
    return BgeTexts(weights=made.files["bge"], **settings), TEXTS


NAMES = ["clip images", "clip texts", "moco", "dino", "bge"]


@torch.no_grad()
def by_hand(made, name, raw):
    if name == "clip images":
        transform = library("open_clip").image_transform(32, False, CLIP_MEAN, CLIP_STD)
        pixels = torch.stack([transform(Image.fromarray(image)) for image in raw])
        return made.clip.encode_image(pixels).numpy()
    if name == "clip texts":
        return made.clip.encode_text(library("open_clip").tokenize(raw)).numpy()
    if name == "moco":
        bands = np.insert(raw[:, :, 16:240, 16:240] / 10_000, 10, 0, axis=1)
        return made.moco(torch.from_numpy(bands.astype(np.float32))).numpy()
    if name == "dino":
        data = library("timm.data")
        transform = data.create_transform(
            **data.resolve_data_config(pretrained_cfg=made.dino.pretrained_cfg)
        )
        pixels = torch.stack([transform(Image.fromarray(image)) for image in raw])
        return made.dino(pixels).numpy()
    tokenizer = library("transformers").AutoTokenizer.from_pretrained(made.files["bge"])
    rows = []
    for text in raw:  # one at a time: no padding
        z = made.bge(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0]
        rows.append(z.numpy() / np.linalg.norm(z))
    return np.array(rows)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_network_called_by_hand(made, name):
    tower, raw = make(made, name)
    z = tower(raw)
    assert z.shape == (5, tower.out_dim)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, by_hand(made, name, raw), rtol=0, atol=1e-5)
    assert np.linalg.norm(z[0] - z[1]) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_features_do_not_depend_on_the_batch(made, name):
    results = [make(made, name, batch=batch) for batch in (1, 3, 16)]
    one, three, sixteen = (tower(raw) for tower, raw in results)
    np.testing.assert_allclose(three, one, rtol=0, atol=1e-5)
    np.testing.assert_allclose(sixteen, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_tower_is_rebuilt_from_its_description(made, name):
    tower, raw = make(made, name)
    spec = json.loads(json.dumps(tower.spec))
    assert spec["sha256"] == digest(Path(spec["weights"]))
    again = from_spec(spec, tower.state)
    assert (type(again), again.spec) == (type(tower), tower.spec)
    np.testing.assert_array_equal(again(raw[:2]), tower(raw[:2]))


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_frozen(made, name):
    network = make(made, name)[0].network
    assert not any(module.training for module in network.modules())
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("kind", [ClipImages, ClipTexts, MocoSentinel2, DinoImages, BgeTexts])
def test_the_defaults_are_published_weights_and_nothing_is_loaded_for_their_names(kind):
    tower = kind()
    assert (tower.weights, tower.sha256) == (None, None)
    assert from_spec(tower.spec, {}) == tower
    assert "network" not in vars(tower)


@pytest.fixture(scope="module")
def drawn():
    """Return towers of the real size, with random weights."""
    kinds = (ClipImages, ClipTexts, MocoSentinel2, DinoImages)
    return SimpleNamespace(**{kind.__name__: kind(weights="random") for kind in kinds})


def test_the_real_sizes_are_those_documented(drawn):
    assert drawn.ClipImages(rgb(1)).shape == (1, 512)
    assert drawn.ClipTexts(["Lima"]).shape == (1, 512)
    assert drawn.MocoSentinel2(patches(1)).shape == (1, 384)
    assert drawn.DinoImages(rgb(1)).shape == (1, 384)


def test_one_tower_of_clip_does_not_hold_the_other(made):
    whole = sum(p.numel() for p in made.clip.parameters())
    images = sum(p.numel() for p in make(made, "clip images")[0].network.parameters())
    texts = sum(p.numel() for p in make(made, "clip texts")[0].network.parameters())
    assert images + texts == whole


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [("ClipImages", CLIP_MEAN, CLIP_STD), ("DinoImages", IMAGENET_MEAN, IMAGENET_STD)],
)
def test_images_are_normalised_as_the_published_weights_expect(drawn, name, mean, std):
    grey = getattr(drawn, name)._prepare([np.full((9, 70, 3), 51, dtype=np.uint8)])
    expected = (0.2 - np.array(mean)) / np.array(std)
    assert grey.shape == (1, 3, 224, 224)
    np.testing.assert_allclose(grey.amin((0, 2, 3)), expected, atol=1e-6)
    np.testing.assert_allclose(grey.amax((0, 2, 3)), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["clip images", "dino"])
def test_images_come_in_any_form_and_size(made, name):
    tower, raw = make(made, name)
    expected = tower(raw)
    np.testing.assert_array_equal(tower([Image.fromarray(image) for image in raw]), expected)
    np.testing.assert_array_equal(tower(raw.transpose(0, 3, 1, 2)), expected)
    tall = rgb(1, 70, 20)[0]
    mixed = tower([raw[0], tall, Image.fromarray(raw[1]).convert("RGBA")])
    np.testing.assert_allclose(mixed[[0, 2]], expected[:2], rtol=0, atol=1e-5)
    np.testing.assert_allclose(mixed[1], tower([tall])[0], rtol=0, atol=1e-5)
    grey = Image.fromarray(raw[0]).convert("L")
    assert tower([grey]).shape == (1, tower.out_dim)


def test_thirteen_bands_are_in_order_with_an_empty_tenth():
    patch = np.repeat(np.arange(1, 13, dtype=np.uint16) * 100, 256 * 256).reshape(12, 256, 256)
    bands = thirteen_bands(patch)
    assert bands.shape == (13, 224, 224)
    expected = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.0, 0.11, 0.12]
    np.testing.assert_allclose(bands[:, 5, 7], expected, rtol=1e-6)
    assert bands.dtype == torch.float32
    assert (bands[10] == 0).all()


def test_a_patch_of_256_pixels_is_cropped_and_not_resized():
    patch = patches(1)[0]
    kept = thirteen_bands(patch)[[*range(10), 11, 12]]
    np.testing.assert_allclose(kept, patch[:, 16:240, 16:240] / 10_000, rtol=1e-6)


def test_other_patches_are_resized_to_256_pixels_on_the_shorter_side():
    # 511 x 1021 becomes 256 x 511, every other pixel, since the corners stay in place.
    ramp = np.broadcast_to(np.arange(1021, dtype=np.uint16), (12, 511, 1021))
    bands = thirteen_bands(ramp)
    assert bands.shape == (13, 224, 224)
    np.testing.assert_allclose(bands[0, 100], 2 * np.arange(143, 143 + 224) / 10_000, atol=1e-6)
    assert thirteen_bands(patches(1, 30)[0]).shape == (13, 224, 224)


def test_real_patches_of_sentinel_2_are_encoded(made, paper_data):
    rasterio = pytest.importorskip("rasterio")
    raw = []
    for path in sorted((paper_data / "s2" / "images").glob("*.tif")):
        with rasterio.open(path) as file:
            raw.append(file.read())
    z = make(made, "moco")[0](raw)
    np.testing.assert_allclose(z, by_hand(made, "moco", np.array(raw)), rtol=0, atol=1e-5)
    assert len(np.unique(z.round(4), axis=0)) == 3


def test_texts_are_cut_at_the_longest_that_the_network_takes(made):
    bge, clip = make(made, "bge")[0], make(made, "clip texts")[0]
    long = "river " * 400  # five tokens a word for BGE here
    assert bge._prepare([long])["input_ids"].shape == (1, 512)
    np.testing.assert_allclose(bge([long]), bge([long + "x"]), rtol=0, atol=1e-6)
    assert np.abs(bge([long]) - bge([long[:200]])).max() > 1e-4
    np.testing.assert_array_equal(clip([long]), clip([long + "x"]))


def test_features_of_bge_have_unit_length(made):
    tower, raw = make(made, "bge")
    np.testing.assert_allclose(np.linalg.norm(tower(raw), axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("moco", np.zeros((2, 13, 9, 9), np.uint16), r"\(12, H, W\) in uint16, .* \(13, 9, 9\) in"),
        ("moco", np.zeros((2, 3, 9, 9), np.uint16), r"got \(3, 9, 9\) in uint16 in row 0"),
        ("moco", np.zeros((2, 12, 9, 9), np.int16), r"got \(12, 9, 9\) in int16 in row 0"),
        ("moco", np.zeros((2, 12, 9, 9), np.float32), "in float32 in row 0"),
        ("moco", np.zeros((12, 9, 9), np.uint16), r"got \(9, 9\) in uint16 in row 0"),
        ("moco", np.zeros((2, 12, 0, 9), np.uint16), r"got \(12, 0, 9\)"),
        ("moco", [], "expected at least one image, got none"),
        ("dino", np.zeros((2, 9, 9, 3), np.float32), r"got \(9, 9, 3\) in float32 in row 0"),
        ("dino", np.zeros((2, 12, 9, 9), np.uint8), r"got \(12, 9, 9\) in uint8 in row 0"),
        ("dino", np.zeros((9, 9, 3), np.uint8), r"got \(9, 3\) .*; put a single image in a list"),
        ("dino", [np.zeros((9, 9, 3), np.uint8), None], r"got \(\) in object in row 1"),
        ("dino", np.zeros((2, 3, 9, 3), np.uint8), r"got \(3, 9, 3\)"),
        ("clip images", Image.new("RGB", (9, 9)), "expected a sequence of images, got one Image"),
        ("clip images", [], "expected at least one image, got none"),
        ("clip texts", "Lima", r"expected a sequence of texts, got one text; write \['Lima'\]"),
        ("clip texts", ["Lima", ""], "expected text, got '' in row 1"),
        ("bge", ["Lima", " "], "expected text, got ' ' in row 1"),
        ("bge", [], "expected at least one text, got none"),
    ],
)
def test_bad_input_is_refused(made, name, bad, message):
    with pytest.raises(ValueError, match=message):
        make(made, name)[0](bad)


def test_weights_may_be_a_file_of_torch_with_the_head_of_a_classifier(made, tmp_path):
    state = made.dino.state_dict()
    torch.save({"state_dict": state | {"head.bias": torch.ones(9)}}, tmp_path / "dino.pth")
    expected = make(made, "dino")[0](rgb())
    tower = DinoImages(TINY_DINO, tmp_path / "dino.pth")
    np.testing.assert_array_equal(tower(rgb()), expected)


@pytest.mark.parametrize("name", ["clip images", "clip texts", "moco", "dino"])
def test_weights_of_another_network_are_refused(made, tmp_path, name):
    other = {"moco": "dino", "dino": "moco"}.get(name, "dino")
    kind, model = type(make(made, name)[0]), make(made, name)[0].model
    message = rf"(?s){model} cannot be loaded from {made.files[other]}: .*; take weights of this"
    with pytest.raises(ValueError, match=message):
        kind(model, made.files[other])(make(made, name)[1])


def test_weights_of_other_shapes_are_refused(made, tmp_path):
    state = made.moco.state_dict()
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][:, :12].clone()
    save_file(state, tmp_path / "twelve.safetensors")
    with pytest.raises(ValueError, match=r"(?s)size mismatch for patch_embed.proj.weight.*take"):
        MocoSentinel2(TINY_VIT, tmp_path / "twelve.safetensors")(patches(1))


def test_weights_of_bge_that_lack_arrays_are_refused(made, tmp_path):
    tiny_bert(tmp_path)
    state = made.bge.state_dict()
    del state["encoder.layer.1.output.dense.bias"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = r"arrays are missing: \['encoder.layer.1.output.dense.bias'\]; take weights of"
    with pytest.raises(ValueError, match=message):
        BgeTexts(weights=tmp_path)(["Lima"])
    with pytest.raises(ValueError, match=r"expected weights in a folder, .* is none"):
        BgeTexts(weights=tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="BGE cannot be random"):
        BgeTexts(weights="random")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", [ClipImages, DinoImages, MocoSentinel2])
def test_no_code_of_a_file_of_weights_is_run(made, tmp_path, kind):
    model = {ClipImages: "tiny-clip", DinoImages: TINY_DINO, MocoSentinel2: TINY_VIT}[kind]
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(tmp_path / "made"), 2))
    torch.save({"cls_token": Evil(tmp_path / "made")}, tmp_path / "worse.pth")
    for name in ("evil.pth", "worse.pth"):
        with pytest.raises(ValueError, match=f"{model} cannot be loaded from"):
            kind(model, tmp_path / name)(patches(1) if kind is MocoSentinel2 else rgb(1))
    assert not (tmp_path / "made").exists()


def test_features_are_cached_wherever_the_same_weights_lie(made, tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(made.files["dino"].read_bytes())
    first, again = DinoImages(TINY_DINO, made.files["dino"]), DinoImages(TINY_DINO, copy, batch=2)
    z = encode(first, rgb())
    np.testing.assert_array_equal(encode(again, rgb()), z)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert "network" not in vars(again)
    encode(DinoImages(TINY_DINO, weights="random"), rgb())
    encode(first, [Image.fromarray(image) for image in rgb()])
    assert len(list((tmp_path / "cache").iterdir())) == 3


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve a folder as the hub does, and let the libraries find nothing but that."""
    from huggingface_hub import constants

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def answer(self):
            parts = unquote(self.path.split("?")[0]).strip("/").split("/")
            repository, revision_and_file = "/".join(parts[:2]), parts[3:]
            file = tmp_path / repository / "/".join(revision_and_file[1:])
            found = parts[2:3] == ["resolve"] and file.is_file()
            data = file.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(data)))
            if found:
                served.append((repository, revision_and_file[0], file.name))
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", "a" * 40)
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

    served = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "kept"))
        yield SimpleNamespace(folder=tmp_path, served=served)
        server.shutdown()


def test_moco_comes_from_the_hub_of_one_revision_and_hash(made, hub, monkeypatch):
    folder = hub.folder / "torchgeo" / "vit_small_patch16_224_sentinel2_all_moco"
    folder.mkdir(parents=True)
    path = folder / "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth"
    torch.save(made.moco.state_dict(), path)
    with pytest.raises(ValueError, match=r"SHA-256 of .* does not begin with 67c9032d: delete it"):
        MocoSentinel2(TINY_VIT)(patches(1))
    monkeypatch.setattr(towers, "MOCO_SHA256", digest(path)[:8])
    z = MocoSentinel2(TINY_VIT)(patches())
    np.testing.assert_array_equal(z, make(made, "moco")[0](patches()))
    revision = "1cb683f6c14739634cdfaaceb076529adf898c74"
    assert set(hub.served) == {(f"torchgeo/{folder.name}", revision, path.name)}


def test_dino_comes_from_the_hub_through_timm(made, hub):
    folder = hub.folder / "timm" / TINY_DINO
    folder.mkdir(parents=True)
    timm = library("timm")
    head = timm.create_model(TINY_DINO).state_dict()
    state = made.dino.state_dict() | {k: t for k, t in head.items() if k.startswith("head.")}
    save_file(state, folder / "model.safetensors")
    z = DinoImages(TINY_DINO)(rgb())
    np.testing.assert_array_equal(z, make(made, "dino")[0](rgb()))


def test_bge_comes_from_the_hub_through_transformers(made, hub):
    folder = hub.folder / "BAAI" / "bge-small-en-v1.5"
    folder.parent.mkdir()
    folder.symlink_to(made.files["bge"])
    z = BgeTexts()(TEXTS)
    np.testing.assert_array_equal(z, make(made, "bge")[0](TEXTS))


def test_clip_comes_from_the_hub_through_open_clip(made, hub, monkeypatch):
    folder = hub.folder / "laion" / "CLIP-ViT-B-32-laion2B-s34B-b79K"
    folder.mkdir(parents=True)
    (folder / "open_clip_model.safetensors").symlink_to(made.files["clip"])
    published = library("open_clip").get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")
    tags = library("open_clip.pretrained")._PRETRAINED
    monkeypatch.setitem(tags, "tiny-clip", {"laion2b_s34b_b79k": published})
    z = ClipImages("tiny-clip")(rgb())
    np.testing.assert_array_equal(z, make(made, "clip images")[0](rgb()))


def test_a_hub_out_of_reach_is_said_with_what_to_do(hub):
    message = "cannot be loaded from its hub: .*; if the hub is out of reach, pass weights"
    for tower, raw in [
        (MocoSentinel2(), patches(1)),
        (DinoImages(), rgb(1)),
        (BgeTexts(), TEXTS),
        (ClipTexts(), TEXTS),
    ]:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            tower(raw)
