"""Frozen encoders: random convolutions, character n-grams, columns; and their cache."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from earthtie_lite import features
from earthtie_lite.features import CharacterNGrams, Columns, RandomConvolutions, encode, from_spec


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


def test_filters_and_features_have_their_shapes(images):
    mosaiks = RandomConvolutions.fit(images, n_filters=10, size=3)
    assert mosaiks.filters.shape == (10, 3, 3, 3)
    z = mosaiks(images)
    assert z.shape == (60, 20) == (60, mosaiks.out_dim)
    assert z.dtype == np.float32


def test_the_same_seed_gives_the_same_filters_and_another_seed_others(images):
    one, same = (RandomConvolutions.fit(images, 8, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.filters, same.filters)
    assert (one.filters != RandomConvolutions.fit(images, 8, seed=2).filters).any()


def test_convolving_equals_its_definition(images):
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


def test_features_do_not_depend_on_the_batch(images, monkeypatch):
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
def test_bad_images_are_refused(images, bad, message):
    with pytest.raises(ValueError, match=message):
        RandomConvolutions.fit(images, 4)(bad)


def test_uniform_images_are_refused():
    with pytest.raises(ValueError, match="all images are uniform"):
        RandomConvolutions.fit(np.full((5, 3, 8, 8), 7, dtype=np.uint8))


def test_filters_larger_than_the_images_are_refused(images):
    with pytest.raises(ValueError, match=r"filters of 13 pixels do not fit in images of \(12, 12"):
        RandomConvolutions.fit(images, size=13)


def test_text_has_its_shape():
    z = CharacterNGrams(48)(["Nairobi", "Lima"])
    assert z.shape == (2, 48)
    assert z.dtype == np.float32


def test_text_is_encoded_alike_every_time_and_alone():
    names = ["Nairobi", "Lima", "Novosibirsk", "São Paulo", "東京"]
    whole = CharacterNGrams(64)(names)
    np.testing.assert_array_equal(CharacterNGrams(64)(names), whole)
    for row, name in enumerate(names):
        np.testing.assert_allclose(CharacterNGrams(64)([name])[0], whole[row], atol=1e-6)


def test_names_that_share_letters_are_closer():
    a, b, c = CharacterNGrams()(["Novosibirsk", "Novorossiysk", "Quetzaltenango"])
    assert cosine(a, b) > cosine(a, c) + 0.15


def test_text_keeps_unit_length_on_average():
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
def test_bad_text_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        CharacterNGrams(8)(bad)


def test_columns_come_from_a_frame_or_an_array():
    columns = Columns(("ph", "clay"))
    frame = pd.DataFrame({"clay": [1, 2], "ph": [5.5, 6.5], "other": [0, 0]})
    expected = np.array([[5.5, 1], [6.5, 2]], dtype=np.float32)
    np.testing.assert_array_equal(columns(frame), expected)
    np.testing.assert_array_equal(columns(expected), expected)


def test_columns_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, 2\) numbers, got \(3, 1\)"):
        Columns(("ph", "clay"))(np.ones((3, 1)))


@pytest.mark.parametrize("kind", ["images", "text"])
def test_what_the_cache_returns_equals_what_was_computed(cache, images, kind):
    encoder = CharacterNGrams(16) if kind == "text" else RandomConvolutions.fit(images, 4)
    raw = ["Nairobi", "Lima"] if kind == "text" else images
    computed, first, hit = encoder(raw), encode(encoder, raw), encode(encoder, raw)
    np.testing.assert_array_equal(first, computed)
    np.testing.assert_array_equal(hit, computed)
    assert len(list(cache.iterdir())) == 1


def test_a_cut_cache_file_of_features_is_computed_anew(cache):
    encoder = CharacterNGrams(16)
    expected = encode(encoder, ["Nairobi"])
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    np.testing.assert_array_equal(encode(encoder, ["Nairobi"]), expected)


def test_other_settings_filters_or_input_are_other_features(cache, images):
    encode(CharacterNGrams(16), ["Nairobi"])
    encode(CharacterNGrams(16, seed=1), ["Nairobi"])
    encode(CharacterNGrams(16), ["Lima"])
    for seed in (0, 1):
        encode(RandomConvolutions.fit(images, 4, seed=seed), images)
    encode(RandomConvolutions.fit(images, 4, seed=0), images[:9])
    assert len(list(cache.iterdir())) == 6


def test_one_text_is_refused_though_its_letters_are_in_the_cache(cache):
    encode(CharacterNGrams(8), ["a", "b"])
    with pytest.raises(ValueError, match="expected a sequence of texts, got one text"):
        encode(CharacterNGrams(8), "ab")


def test_tables_with_the_same_columns_are_not_mixed_up_in_the_cache(cache):
    for ph in (5.0, 7.0):
        frame = pd.DataFrame({"ph": [ph, 6.0]})
        assert encode(Columns(("ph",)), frame)[0, 0] == ph


def test_each_featuriser_is_rebuilt_from_its_description(images):
    table = np.ones((2, 2), dtype=np.float32)
    cases = [
        (CharacterNGrams(16, 3, 5), ["Nairobi"]),
        (RandomConvolutions.fit(images, 4, threshold=0.5), images),
        (Columns(("ph", "clay")), table),
    ]
    for featuriser, raw in cases:
        again = from_spec(featuriser.spec, featuriser.state)
        np.testing.assert_array_equal(again(raw), featuriser(raw))


def test_an_unknown_featuriser_is_refused():
    with pytest.raises(ValueError, match="unknown featuriser 'CLIP'"):
        from_spec({"class": "CLIP"}, {})


class Photos(list):
    """Images that say what identifies them."""

    fingerprint = "photos of 2024"


@pytest.mark.parametrize("kind", ["images", "text"])
def test_the_cache_of_arrays_and_texts_has_the_names_it_always_had(
    cache, images, kind, monkeypatch
):
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


def test_a_list_of_images_is_known_by_its_content(cache, images):
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


def test_images_of_pil_are_known_by_their_pixels(cache):
    class Mean(CharacterNGrams):
        def __call__(self, raw):
            return np.array([[np.asarray(image).mean()] for image in raw], dtype=np.float32)

    image = Image.fromarray(np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    assert encode(Mean(), [image]) == encode(Mean(), [image.copy()]) == 13
    assert encode(Mean(), [image.rotate(90), image]).shape == (2, 1)
    assert len(list(cache.iterdir())) == 2


def test_a_fingerprint_stands_for_the_content(cache, images):
    encoder = RandomConvolutions.fit(images, 4)
    photos = Photos(images)
    expected = encode(encoder, photos)
    np.testing.assert_array_equal(encode(encoder, Photos(255 - images)), expected)
    encode(encoder, Photos(images[:9]))
    photos.fingerprint = "photos of 2025"
    encode(encoder, photos)
    assert len(list(cache.iterdir())) == 3


def test_texts_in_an_array_of_objects_are_known_by_their_content(cache):
    raw = np.array(["Nairobi", "Lima"], dtype=object)
    expected = encode(CharacterNGrams(16), ["Nairobi", "Lima"])
    np.testing.assert_array_equal(encode(CharacterNGrams(16), raw), expected)
    assert len(list(cache.iterdir())) == 1
