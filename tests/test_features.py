"""Featurisers: random convolutions, character n-grams, columns, image files, the cache."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import earthtie_lite as et
from earthtie_lite import features
from earthtie_lite.features import (
    MAX_CLASSES,
    CharacterNGrams,
    Columns,
    Featuriser,
    MixedColumns,
    RandomConvolutions,
    encode,
    from_spec,
    read_images,
)


@pytest.fixture(scope="module")
def images():
    """Return images (60, 3, 12, 12) with structure: smoothed noise."""
    noise = np.random.default_rng(0).uniform(size=(60, 3, 14, 14))
    smooth = sum(noise[:, :, i : i + 12, j : j + 12] for i in range(3) for j in range(3)) / 9
    return np.uint8(255 * smooth)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path))
    return tmp_path


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_convolutions_have_two_features_per_filter(images):
    mosaiks = RandomConvolutions.fit(images, n_filters=10, size=3)
    assert mosaiks.filters.shape == (10, 3, 3, 3)
    z = mosaiks(images)
    assert z.shape == (60, 20) == (60, mosaiks.out_dim)
    assert z.dtype == np.float32


def test_the_same_seed_gives_the_same_filters_and_another_seed_others(images):
    one, same = (RandomConvolutions.fit(images, 8, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.filters, same.filters)
    assert (one.filters != RandomConvolutions.fit(images, 8, seed=2).filters).any()


def test_convolutions_equal_their_definition(images):
    mosaiks = RandomConvolutions.fit(images, n_filters=4)
    image, (w, b) = images[0] / 255.0, (mosaiks.filters[1], mosaiks.offsets[1])
    response = np.array(
        [[(image[:, i : i + 3, j : j + 3] * w).sum() - b for j in range(10)] for i in range(10)]
    )
    up = np.maximum(response - 1.0, 0).mean()
    down = np.maximum(-response - 1.0, 0).mean()
    np.testing.assert_allclose(mosaiks(images)[0, [1, 5]], [up, down], atol=1e-5)


def test_responses_are_whitened(images):
    # The whitened windows have unit variance in every direction, up to the noise floor.
    mosaiks = RandomConvolutions.fit(images, n_filters=16)
    batch = torch.from_numpy(images / 255.0).float()
    response = torch.nn.functional.conv2d(
        batch, torch.from_numpy(mosaiks.filters), -torch.from_numpy(mosaiks.offsets)
    )
    assert response.mean(dim=(0, 2, 3)).abs().max() < 0.1
    spread = response.std(dim=(0, 2, 3))
    assert 0.3 < spread.min() <= spread.max() < 1.1


def test_convolutions_do_not_depend_on_the_batch(images, monkeypatch):
    mosaiks = RandomConvolutions.fit(images, 8)
    whole = mosaiks(images)
    monkeypatch.setattr(features, "BATCH", 7)
    np.testing.assert_allclose(mosaiks(images), whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mosaiks(images[5:6]), whole[5:6], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 3, 8, 8), dtype=np.float32), r"expected images \(N, C, H, W\) in uint8"),
        (np.zeros((3, 8, 8), dtype=np.uint8), r"in uint8, got \(3, 8, 8\) in uint8"),
        (np.zeros((0, 3, 8, 8), dtype=np.uint8), r"got \(0, 3, 8, 8\)"),
        (np.zeros((2, 1, 8, 8), dtype=np.uint8), "expected images of 3 channels, got 1"),
    ],
)
def test_invalid_images_are_refused(images, bad, message):
    with pytest.raises(ValueError, match=message):
        RandomConvolutions.fit(images, 4)(bad)


def test_images_that_give_no_filters_are_refused(images):
    with pytest.raises(ValueError, match="all images are uniform"):
        RandomConvolutions.fit(np.full((5, 3, 8, 8), 7, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"filters of 13 pixels do not fit in images of \(12, 12"):
        RandomConvolutions.fit(images, size=13)


def test_a_text_is_encoded_the_same_alone_and_among_others():
    names = ["Nairobi", "Lima", "Novosibirsk", "São Paulo", "東京"]
    whole = CharacterNGrams(64)(names)
    assert (whole.shape, whole.dtype) == ((5, 64), np.float32)
    np.testing.assert_array_equal(CharacterNGrams(64)(names), whole)
    for row, name in enumerate(names):
        np.testing.assert_allclose(CharacterNGrams(64)([name])[0], whole[row], atol=1e-6)


def test_names_that_share_letters_are_more_similar():
    a, b, c = CharacterNGrams()(["Novosibirsk", "Novorossiysk", "Quetzaltenango"])
    assert cosine(a, b) > cosine(a, c) + 0.15


def test_texts_have_unit_length_on_average():
    z = CharacterNGrams(512)([f"place {i} name" for i in range(50)])
    np.testing.assert_allclose(np.linalg.norm(z, axis=1).mean(), 1, atol=0.1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("Nairobi", r"expected a sequence of texts, got one text; write \['Nairobi'\]"),
        ([], "expected at least one text, got none"),
        (["Lima", ""], "expected text, got '' in row 1"),
        (["Lima", "  "], "expected text, got '  ' in row 1"),
        ([None], "expected text, got None in row 0"),
        (["a", 3], "expected text, got 3 in row 1"),
    ],
)
def test_invalid_texts_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        CharacterNGrams(8)(bad)


def test_columns_accept_a_data_frame_or_an_array():
    columns = Columns(("ph", "clay"))
    frame = pd.DataFrame({"clay": [1, 2], "ph": [5.5, 6.5], "other": [0, 0]})
    expected = np.array([[5.5, 1], [6.5, 2]], dtype=np.float32)
    np.testing.assert_array_equal(columns(frame), expected)
    np.testing.assert_array_equal(columns(expected), expected)
    with pytest.raises(ValueError, match=r"expected \(N, 2\) numbers, got \(3, 1\)"):
        Columns(("ph", "clay"))(np.ones((3, 1)))


@pytest.mark.parametrize("kind", ["images", "text"])
def test_cached_features_equal_the_computed_ones(cache, images, kind):
    encoder = CharacterNGrams(16) if kind == "text" else RandomConvolutions.fit(images, 4)
    raw = ["Nairobi", "Lima"] if kind == "text" else images
    computed, first, hit = encoder(raw), encode(encoder, raw), encode(encoder, raw)
    np.testing.assert_array_equal(first, computed)
    np.testing.assert_array_equal(hit, computed)
    assert len(list(cache.iterdir())) == 1


def test_other_settings_filters_or_input_have_another_cache_key(cache, images):
    encode(CharacterNGrams(16), ["Nairobi"])
    encode(CharacterNGrams(16, seed=1), ["Nairobi"])
    encode(CharacterNGrams(16), ["Lima"])
    for seed in (0, 1):
        encode(RandomConvolutions.fit(images, 4, seed=seed), images)
    encode(RandomConvolutions.fit(images, 4, seed=0), images[:9])
    assert len(list(cache.iterdir())) == 6


def test_a_single_text_is_refused_even_if_its_letters_are_cached(cache):
    encode(CharacterNGrams(8), ["a", "b"])
    with pytest.raises(ValueError, match="expected a sequence of texts, got one text"):
        encode(CharacterNGrams(8), "ab")


def test_columns_are_not_cached(cache):
    for ph in (5.0, 7.0):
        frame = pd.DataFrame({"ph": [ph, 6.0]})
        assert encode(Columns(("ph",)), frame)[0, 0] == ph
    assert not list(cache.iterdir())


def test_a_featuriser_is_rebuilt_from_its_spec_in_json_and_its_state(images):
    table = np.ones((2, 2), dtype=np.float32)
    soils = pd.DataFrame({"soil": ["sand", "clay"], "ph": [5.0, 6.0]})
    cases = [
        (CharacterNGrams(16, 3, 5), ["Nairobi"]),
        (RandomConvolutions.fit(images, 4, threshold=0.5), images),
        (Columns(("ph", "clay")), table),
        (MixedColumns(("ph",), (("soil", ("clay", "sand")),)), soils),
    ]
    for featuriser, raw in cases:
        again = from_spec(json.loads(json.dumps(featuriser.spec)), featuriser.state)
        np.testing.assert_array_equal(again(raw), featuriser(raw))


def test_an_unknown_featuriser_is_refused():
    for spec in ({"class": "CLIP"}, {}):
        with pytest.raises(ValueError, match=r"unknown featuriser .*: expected one of \["):
            from_spec(spec, {})


@dataclass(frozen=True)
class TextLengths(Featuriser):
    """The length of a text, as a user may define it."""

    unit: int = 1
    out_dim = 1

    def __call__(self, raw):
        return np.float32([[len(text) / self.unit] for text in raw])


def test_a_featuriser_of_the_user_is_found_by_its_class(tmp_path):
    lonlat = np.random.default_rng(0).uniform(-60, 60, (40, 2))
    texts, lengths = ["x" * (1 + i % 9) for i in range(40)], TextLengths(unit=2)
    assert from_spec(lengths.spec, lengths.state) == lengths
    m = et.Modality("notes", lonlat, lengths(texts), lengths)
    config = et.TrainConfig(epochs=1, batch_size=20, val_fraction=0)
    run = et.fit(m, config, et.LocationEncoder(width=8, out_dim=8), save_to=tmp_path / "run")
    again = et.load(tmp_path / "run").model
    assert again.featurisers == {"notes": lengths}
    np.testing.assert_array_equal(
        again.embed_modality("notes", texts), run.model.embed_modality("notes", texts)
    )


def in_fresh_process(code, *arguments):
    """Run Python code in a process that has imported nothing; return what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_a_tower_of_clip_is_found_in_a_fresh_process():
    code = "from earthtie_lite.features import from_spec\n"
    code += "print(from_spec({'class': 'ClipImages', 'batch': 7}, {}))"
    assert in_fresh_process(code).startswith("ClipImages(")


def test_a_saved_run_encodes_new_input_in_a_fresh_process(sample, make_encoder, tmp_path):
    config = et.TrainConfig(epochs=1, batch_size=60)
    run = et.fit(sample, config, make_encoder(), save_to=tmp_path / "run")
    code = "import sys, numpy as np, earthtie_lite as et; model = et.load(sys.argv[1]).model\n"
    code += "np.save(sys.argv[2], model.embed_modality('text', ['Nairobi', 'Lima']))"
    in_fresh_process(code, tmp_path / "run", tmp_path / "tied.npy")
    tied = run.model.embed_modality("text", ["Nairobi", "Lima"])
    np.testing.assert_array_equal(np.load(tmp_path / "tied.npy"), tied)


class Photos(list):
    """Images with a fingerprint that identifies them."""

    fingerprint = "photos of 2024"


@pytest.mark.parametrize("kind", ["images", "text"])
def test_cache_keys_of_arrays_and_texts_are_those_of_version_0_1(cache, images, kind, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 7)
    encoder = CharacterNGrams(16) if kind == "text" else RandomConvolutions.fit(images, 4)
    raw = ["Nairobi", "São Paulo", '"東京"'] if kind == "text" else images[::2, :, :, 1:]
    key = hashlib.sha256(json.dumps(encoder.spec, sort_keys=True).encode())
    for name in sorted(encoder.state):
        key.update(name.encode() + encoder.state[name].tobytes())
    if kind == "text":
        key.update(json.dumps(raw, ensure_ascii=False).encode())
    else:
        key.update(repr((raw.shape, raw.dtype.str)).encode() + raw.tobytes())
    encode(encoder, raw)
    (path,) = cache.iterdir()
    assert path.name == hashlib.sha256(key.digest()).hexdigest() + ".npy"


def test_the_cache_key_of_a_list_of_images_is_that_of_its_content(cache, images):
    encoder = RandomConvolutions.fit(images, 4)
    expected = encoder(images)
    np.testing.assert_array_equal(encode(encoder, list(images)), expected)
    np.testing.assert_array_equal(encode(encoder, tuple(images.copy())), expected)
    assert len(list(cache.iterdir())) == 1
    other = images.copy()
    other[3, 1, 2, 5] += 1
    encode(encoder, list(other))
    encode(encoder, list(images[:, :, :6]))
    assert len(list(cache.iterdir())) == 3


def test_the_cache_key_of_pil_images_is_that_of_their_pixels(cache):
    class Mean(CharacterNGrams):
        def __call__(self, raw):
            return np.array([[np.asarray(image).mean()] for image in raw], dtype=np.float32)

    image = Image.fromarray(np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    assert encode(Mean(), [image]) == encode(Mean(), [image.copy()]) == 13
    assert encode(Mean(), [image.rotate(90), image]).shape == (2, 1)
    assert len(list(cache.iterdir())) == 2


def test_a_fingerprint_replaces_the_content_in_the_cache_key(cache, images):
    encoder = RandomConvolutions.fit(images, 4)
    photos = Photos(images)
    expected = encode(encoder, photos)
    np.testing.assert_array_equal(encode(encoder, Photos(255 - images)), expected)
    encode(encoder, Photos(images[:9]))
    photos.fingerprint = "photos of 2025"
    encode(encoder, photos)
    assert len(list(cache.iterdir())) == 3


def test_texts_in_an_array_of_objects_have_the_key_of_a_list(cache):
    raw = np.array(["Nairobi", "Lima"], dtype=object)
    expected = encode(CharacterNGrams(16), ["Nairobi", "Lima"])
    np.testing.assert_array_equal(encode(CharacterNGrams(16), raw), expected)
    assert len(list(cache.iterdir())) == 1


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "ph": [5.5, 7.0, 6.25],
            "soil": ["sand", "clay", "sand"],
            "code": [3, 1, 10],
        }
    )


@pytest.fixture
def columns(table):
    return MixedColumns.fit(table, ["ph"], ["soil", "code"])


def test_categories_are_one_hot_in_alphabetical_order_after_the_numbers(table, columns):
    assert columns.classes == (("soil", ("clay", "sand")), ("code", ("1", "10", "3")))
    np.testing.assert_array_equal(
        columns(table), [[5.5, 0, 1, 0, 0, 1], [7, 1, 0, 1, 0, 0], [6.25, 0, 1, 0, 1, 0]]
    )
    assert columns(table).dtype == np.float32
    assert columns.out_dim == 6
    np.testing.assert_array_equal(columns(table[["code", "soil", "ph"]]), columns(table))
    assert MixedColumns.fit(table, [], ["soil"])(table).tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    "same",
    [
        pd.Series([3.0, 1.0, 10.0]),
        pd.Series(["3", "1", "10"]),
        pd.Series([3, 1, 10], dtype="Int64"),
        pd.Series([3, 1, 10], dtype="category"),
        pd.Series([3, 1.0, "10"], dtype=object),
    ],
)
def test_categories_of_any_type_are_compared_as_text(table, columns, same):
    np.testing.assert_array_equal(columns(table.assign(code=same)), columns(table))


def test_classes_that_do_not_occur_are_left_out(table):
    kinds = pd.Categorical(table["soil"], categories=["peat", "sand", "clay"])
    columns = MixedColumns.fit(table.assign(soil=kinds), [], ["soil"])
    assert columns.classes == (("soil", ("clay", "sand")),)


def test_an_unknown_category_is_refused(table, columns):
    table.loc[1, "soil"] = "peat"
    with pytest.raises(
        ValueError, match="unknown category 'peat' of column 'soil' in row 1: expected one of 'cl"
    ):
        columns(table)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pd.DataFrame({"ph": [1.0], "soil": ["clay"]}), r"'code'\], it lacks \['code'\]"),
        (np.ones((2, 6)), r"expected a data frame with columns \['ph', 'soil', 'code'\]"),
    ],
)
def test_input_without_the_columns_is_refused(columns, raw, message):
    with pytest.raises(ValueError, match=message):
        columns(raw)


def test_columns_without_classes_are_refused():
    for classes in ((), (("soil", ()),)):
        with pytest.raises(ValueError, match="expected columns of categories with their classes"):
            MixedColumns(("ph",), classes)


def test_too_many_categories_are_refused():
    names = pd.DataFrame({"who": [f"name {row}" for row in range(MAX_CLASSES + 1)]})
    assert MixedColumns.fit(names[:-1], [], ["who"]).out_dim == MAX_CLASSES
    with pytest.raises(ValueError, match="'who' has 1,001 categories, at most 1,000 are encoded"):
        MixedColumns.fit(names, [], ["who"])


PIXELS = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Write one picture in several formats."""
    picture = Image.fromarray(PIXELS)
    picture.save(tmp_path / "plain.png")
    (tmp_path / "deep").mkdir()
    picture.save(tmp_path / "deep" / "er.webp", lossless=True)
    picture.convert("L").save(tmp_path / "grey.png")
    clear = picture.copy()
    clear.putalpha(90)
    clear.save(tmp_path / "clear.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # displayed rotated clockwise, so stored rotated the other way
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=turned)
    Image.fromarray(np.uint16(PIXELS[..., 0]) * 256).save(tmp_path / "deep.png")
    wide = np.zeros((24, 48, 3), dtype=np.uint8)
    wide[:, 12:36] = PIXELS
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.new("RGB", (4000, 3000), (200, 100, 50)).save(tmp_path / "large.jpg")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["plain.png", "deep/er.webp", "clear.png", "turned.png", "wide.png"]
)
def test_images_are_read_as_upright_rgb_squares(folder, name):
    images = read_images([name], folder, size=24)
    assert (images.shape, images.dtype) == ((1, 3, 24, 24), np.uint8)
    np.testing.assert_array_equal(images[0], np.moveaxis(PIXELS, 2, 0))


def test_images_of_any_size_and_mode_become_one_array(folder):
    images = read_images(["large.jpg", folder / "grey.png", str(folder / "plain.png")], folder, 8)
    assert images.shape == (3, 3, 8, 8)
    assert np.abs(images[0].mean(axis=(1, 2)) - [200, 100, 50]).max() < 3
    assert (images[1] == images[1][:1]).all()
    assert np.abs(images[2].mean() - PIXELS.mean()) < 5


def test_damaged_images_are_refused_with_row_and_path(folder):
    data = (folder / "plain.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("not an image")
    for name in ("cut.png", "text.jpg", "none.jpg", "deep"):
        with pytest.raises(ValueError, match=rf"the image of row 1, .*{name}, cannot be read: "):
            read_images(["plain.png", name], folder)


def test_an_image_of_more_than_8_bits_is_refused_with_the_row_of_its_series(folder):
    with pytest.raises(ValueError, match=r"row 0, .*deep\.png, cannot be read: more than 8 bits"):
        read_images(["deep.png"], folder)
    with pytest.raises(ValueError, match=r"the image of row 17, .*none\.jpg"):
        read_images(pd.Series(["plain.png", "none.jpg"], index=[4, 17]), folder)


@pytest.mark.parametrize(
    ("paths", "settings", "message"),
    [
        ("plain.png", {}, r"expected a sequence of paths, got one; write \['plain.png'\]"),
        ([5], {}, "expected the path of an image, got 5 in row 0"),
        (["plain.png"], {"size": 0}, "size must be an integer of at least 1, got 0"),
        (["plain.png"], {"size": None}, "size must be an integer of at least 1, got None"),
    ],
)
def test_invalid_paths_and_sizes_are_refused(folder, paths, settings, message):
    with pytest.raises(ValueError, match=message):
        read_images(paths, folder, **settings)
