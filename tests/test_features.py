"""Featurisers: random convolutions, character n-grams, columns, image files, the cache."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from earthtie_lite import features
from earthtie_lite.columns import MAX_CLASSES, Columns, MixedColumns
from earthtie_lite.features import (
    CharacterNGrams,
    Featuriser,
    Fractions,
    RandomConvolutions,
    Statistics,
    encode,
    from_spec,
    input_key,
    read_images,
)

NOISE = np.random.default_rng(0).uniform(size=(60, 3, 14, 14))
WINDOWS = [NOISE[:, :, i : i + 12, j : j + 12] for i in range(3) for j in range(3)]
IMAGES = np.uint8(255 * sum(WINDOWS) / 9)  # (60, 3, 12, 12), with structure: smoothed noise
MOSAIKS = RandomConvolutions.fit(IMAGES, n_filters=4)
TABLE = pd.DataFrame({"ph": [5.5, 7.0, 6.25], "soil": ["sand", "clay", "sand"], "code": [3, 1, 10]})
SOIL = MixedColumns(("ph",), (("soil", ("clay", "sand")),))
MANY = pd.DataFrame({"who": [f"name {row}" for row in range(MAX_CLASSES + 1)]})


def test_convolutions_equal_their_definition():
    image, (w, b) = IMAGES[0] / 255.0, (MOSAIKS.filters[1], MOSAIKS.offsets[1])
    response = np.array(
        [[(image[:, i : i + 3, j : j + 3] * w).sum() - b for j in range(10)] for i in range(10)]
    )
    up = np.maximum(response - 1.0, 0).mean()
    down = np.maximum(-response - 1.0, 0).mean()
    z = MOSAIKS(IMAGES)
    assert (z.shape, z.dtype, MOSAIKS.out_dim) == ((60, 8), np.float32, 8)
    np.testing.assert_allclose(z[0, [1, 5]], [up, down], atol=1e-5)


def test_statistics_of_a_patch_equal_their_definitions_and_leave_out_pixels_without_data():
    row, column = np.mgrid[:9, :9]
    raw = np.stack([3.0 * row + 4 * column, -column])[None].repeat(300, axis=0)  # two planes
    raw[1, 0, 0, 0], raw[2, 1, 8] = np.nan, 99  # one pixel, and one row
    z = Statistics(("mean", "std", "slope", "missing"), (0, 0.25, 1), 2, 99)(raw)
    assert (z.shape, z.dtype) == ((300, 14), np.float32)
    planes = raw[0].reshape(2, 81)
    expected = [planes.mean(1), planes.std(1), [5, 1], [0, 0]]
    expected += [np.quantile(planes, q, axis=1) for q in (0, 0.25, 1)]
    np.testing.assert_allclose(z[[0, 299]], [np.concatenate(expected)] * 2, rtol=1e-6)
    assert z[1, [0, 6, 8]] == pytest.approx([planes[0, 1:].mean(), 1 / 81, 3])
    assert z[2, [1, 7, 9, 13]] == pytest.approx([-4, 1 / 9, -8, 0])


def test_fractions_are_those_of_the_classes_in_the_whole_patch_and_in_its_middle():
    raw = np.zeros((1, 1, 15, 15), np.uint8)
    raw[..., :3], raw[..., 5:10, 5:10], raw[..., 7, 7] = 1, 3, 4  # a strip, the middle, its centre
    whole = [(225 - 45 - 25) / 225, 45 / 225, 0, 24 / 225, 1 / 225]
    for parts in ((1, 3, 15), (15, 1)):
        known = {1: whole, 3: [0, 0, 0, 24 / 25, 1 / 25], 15: [0, 0, 0, 0, 1]}
        z = Fractions(5, parts)(raw)
        assert (z.dtype, z.shape[1]) == (np.float32, Fractions(5, parts).out_dim)
        np.testing.assert_allclose(z[0], np.concatenate([known[p] for p in parts]), rtol=1e-6)


def test_convolutions_do_not_depend_on_the_batch(monkeypatch):
    whole = MOSAIKS(IMAGES)
    monkeypatch.setattr(features, "BATCH", 7)
    np.testing.assert_allclose(MOSAIKS(IMAGES), whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(MOSAIKS(IMAGES[5:6]), whole[5:6], rtol=0, atol=1e-6)


def test_a_text_is_encoded_the_same_alone_and_among_others():
    names = ["Nairobi", "Lima", "Novosibirsk", "São Paulo", "東京"]
    whole = CharacterNGrams(64)(names)
    assert (whole.shape, whole.dtype) == ((5, 64), np.float32)
    for row, name in enumerate(names):
        np.testing.assert_allclose(CharacterNGrams(64)([name])[0], whole[row], atol=1e-6)
    assert (CharacterNGrams(64, seed=1)(names) != whole).any()


def test_names_are_hashed_to_the_columns_themselves_if_asked():
    one, other = CharacterNGrams(64, direct=True), CharacterNGrams(64)
    z = one(["Lima", "Lima Lima", "Nairobi"])
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(z[0], z[1], atol=1e-6)  # the same words, scaled to unit length
    assert (z[0] != 0).sum() <= 14  # " Lima " has 14 n-grams of 1 to 4 characters
    assert "direct" not in other.spec
    assert from_spec(one.spec, {}) == one


@pytest.mark.parametrize("direct", [False, True])
def test_names_that_share_letters_are_more_similar_and_lengths_are_one_on_average(direct):
    z = CharacterNGrams(512, direct=direct)(
        ["Novosibirsk", "Novorossiysk", *(f"place {i}" for i in range(50))]
    )
    lengths = np.linalg.norm(z, axis=1)
    cosine = z @ z[0] / lengths / lengths[0]
    assert cosine[1] > cosine[2] + 0.15
    np.testing.assert_allclose(lengths.mean(), 1, atol=0.1)


def test_categories_are_one_hot_in_alphabetical_order_after_the_numbers():
    columns = MixedColumns.fit(TABLE, ["ph"], ["soil", "code"])
    assert columns.classes == (("soil", ("clay", "sand")), ("code", ("1", "10", "3")))
    z = columns(TABLE[["code", "soil", "ph"]])
    assert (z.dtype, columns.out_dim) == (np.float32, 6)
    assert z.tolist() == [[5.5, 0, 1, 0, 0, 1], [7, 1, 0, 1, 0, 0], [6.25, 0, 1, 0, 1, 0]]
    kinds = pd.Categorical(TABLE["soil"], categories=["peat", "sand", "clay"])  # no peat occurs
    alone = MixedColumns.fit(TABLE.assign(soil=kinds), [], ["soil"])
    assert alone(TABLE).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_categories_of_any_type_are_compared_as_text():
    columns = MixedColumns.fit(TABLE, [], ["code"])
    for same in [
        pd.Series([3.0, 1.0, 10.0]),
        pd.Series(["3", "1", "10"]),
        pd.Series([3, 1, 10], dtype="Int64"),
        pd.Series([3, 1, 10], dtype="category"),
        pd.Series([3, 1.0, "10"], dtype=object),
    ]:
        np.testing.assert_array_equal(columns(TABLE.assign(code=same)), columns(TABLE))


@pytest.mark.parametrize(
    ("call", "bad", "message"),
    [
        (MOSAIKS, np.zeros((2, 3, 8, 8), np.float32), r"expected images \(N, 3, H, W\) in uint8"),
        (MOSAIKS, np.zeros((3, 8, 8), np.uint8), r"in uint8, got \(3, 8, 8\)"),
        (MOSAIKS, np.zeros((0, 3, 8, 8), np.uint8), r"got \(0, 3, 8, 8\)"),
        (MOSAIKS, np.zeros((2, 1, 8, 8), np.uint8), r"\(N, 3, H, W\) in uint8, got \(2, 1, 8, 8\)"),
        (RandomConvolutions.fit, np.full((5, 3, 8, 8), 7, np.uint8), "all images are uniform"),
        (RandomConvolutions.fit, np.zeros((1, 3, 2, 9), np.uint8), "filters of 3 pixels do not"),
        (CharacterNGrams(8), "Nairobi", r"expected a sequence of texts.*\['Nairobi'\]"),
        (CharacterNGrams(8), [], "expected at least one text"),
        (CharacterNGrams(8), ["Lima", "  "], "expected text, got '  ' in row 1"),
        (CharacterNGrams(8), ["a", 3], "expected text, got 3 in row 1"),
        (Columns(("ph", "clay")), np.ones((3, 1)), r"expected \(N, 2\) numbers, got \(3, 1\)"),
        (SOIL, pd.DataFrame({"ph": [1.0]}), r"columns \['soil'\] not found"),
        (SOIL, np.ones((2, 3)), r"columns \['ph', 'soil'\] not found"),
        (SOIL, pd.concat([TABLE, TABLE], axis=1), r"columns \['ph', 'soil'\] not found, or not on"),
        (SOIL, TABLE.assign(ph=["1", "2", "x"]), "column 'ph' must hold finite .* 'x' in row 2"),
        (Columns(("ph",)), TABLE.assign(ph=pd.Timestamp(0)), "times become numbers"),
        (SOIL, TABLE.assign(soil="peat"), "unknown category 'peat' of column 'soil' in row 0: ex"),
        (lambda x: MixedColumns(("ph",), x), (), "expected columns of categories"),
        (lambda x: MixedColumns(("ph",), x), (("a", ()),), "expected columns of categories"),
        (lambda x: MixedColumns.fit(x, [], ["who"]), MANY, "'who' has 1,001 categories, at most"),
        (Statistics(), np.zeros((2, 3, 8, 8)), r"images \(N, 1, H, W\) in numbers, got \(2, 3, 8"),
        (Statistics(), np.full((2, 1, 3, 3), "a"), "in numbers, got .* in <U1"),
        (Statistics(nodata=0), np.zeros((1, 1, 3, 3)), "no data in a band of the patch in row 0"),
        (lambda x: Statistics((x,)), "mode", r"unknown statistic 'mode': expected one of \('mean'"),
        (Fractions(3), np.zeros((4, 8, 8), np.uint8), r"expected images .*, got \(4, 8, 8\)"),
        *((Fractions(3), np.full((1, 1, 2, 2), x), r"integers in \[0, 3\)") for x in (3, -1, 0.5)),
        (lambda x: from_spec(x, {}), {"class": "CLIP"}, "unknown featuriser 'CLIP'"),
        (lambda x: from_spec(x, {}), {}, "unknown featuriser None"),
    ],
)
def test_invalid_input_is_refused(call, bad, message):
    with pytest.raises(ValueError, match=message):
        call(bad)


@dataclass(frozen=True)
class TextLengths(Featuriser):
    """The length of a text, as a user may define it."""

    unit: int = 1
    out_dim = 1

    def __call__(self, raw):
        return np.float32([[len(text) / self.unit] for text in raw])


def test_a_featuriser_is_rebuilt_from_its_spec_in_json_and_its_state():
    for featuriser, raw in [
        (CharacterNGrams(16, 3, 5), ["Nairobi"]),
        (RandomConvolutions.fit(IMAGES, 4, threshold=0.5), IMAGES),
        (Columns(("ph", "code")), TABLE),
        (Columns(("ph", "code"), offsets=(0.1 + 0.2, 0.0)), TABLE),
        (SOIL, TABLE),
        (MixedColumns(("ph",), SOIL.classes, offsets=(6.0,)), TABLE),
        (Statistics(("mean", "slope"), (0.1,), 3, 7), IMAGES),
        (Fractions(256, (1, 2)), IMAGES[:, :1]),
        (TextLengths(unit=2), ["Lima"]),
    ]:
        again = from_spec(json.loads(json.dumps(featuriser.spec)), featuriser.state)
        np.testing.assert_array_equal(again(raw), featuriser(raw))


def test_columns_without_offsets_are_described_as_ever():
    assert Columns(("ph",)).spec == {"class": "Columns", "names": ("ph",)}
    assert list(SOIL.spec) == ["class", "names", "classes"]
    assert Columns(("t",), offsets=(1e12,))(np.array([[1e12 + 3]])).tolist() == [[3.0]]


def test_features_are_cached_and_columns_are_not(cache):
    for encoder, raw in ((CharacterNGrams(16), ["Nairobi", "Lima"]), (MOSAIKS, IMAGES)):
        for _ in range(2):
            np.testing.assert_array_equal(encode(encoder, raw), encoder(raw))
    for ph in (5.0, 7.0):
        expected = np.array([[3, ph], [1, ph], [10, ph]])
        for raw in (TABLE.assign(ph=ph), expected):
            np.testing.assert_array_equal(encode(Columns(("code", "ph")), raw), expected)
    assert len(list(cache.iterdir())) == 2
    with pytest.raises(ValueError, match="got one text"):  # though its letters may be cached
        encode(CharacterNGrams(16), "ab")


class Photos(list):
    """Images with a fingerprint that identifies them."""

    fingerprint = "photos of 2024"


def test_the_cache_key_is_that_of_settings_and_content(monkeypatch):
    monkeypatch.setattr(features, "BATCH", 7)
    ngrams, texts = CharacterNGrams(16), ["Nairobi", "Lima"]
    picture = Image.fromarray(np.moveaxis(IMAGES[0], 0, 2))
    changed, later = IMAGES.copy(), Photos(IMAGES)
    changed[30, 1, 2, 5] += 1
    later.fingerprint = "photos of 2025"
    same = [  # each line has one key
        [(ngrams, texts), (ngrams, tuple(texts)), (ngrams, np.array(texts, dtype=object))],
        [(MOSAIKS, IMAGES), (RandomConvolutions.fit(IMAGES, 4), IMAGES.copy())],
        [(MOSAIKS, list(IMAGES)), (MOSAIKS, tuple(IMAGES.copy()))],
        [(MOSAIKS, [picture]), (MOSAIKS, [picture.copy()])],
        [(MOSAIKS, Photos(IMAGES)), (MOSAIKS, Photos(255 - IMAGES))],
        [(CharacterNGrams(16, seed=1), texts)],
        [(ngrams, texts[:1])],
        [(RandomConvolutions.fit(IMAGES, 4, seed=1), IMAGES)],
        [(MOSAIKS, changed)],
        [(MOSAIKS, list(changed))],
        [(MOSAIKS, IMAGES.reshape(60, 3, 6, 24))],
        [(MOSAIKS, list(IMAGES.reshape(60, 3, 6, 24)))],
        [(MOSAIKS, [picture.rotate(90)])],
        [(MOSAIKS, Photos(IMAGES[:9]))],
        [(MOSAIKS, later)],
    ]
    keys = [{input_key(*case) for case in line} for line in same]
    assert [len(line) for line in keys] == [1] * len(same)
    assert len(set.union(*keys)) == len(same)


PIXELS = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write one picture in several formats."""
    path = tmp_path_factory.mktemp("images")
    (path / "deep").mkdir()
    picture = Image.fromarray(PIXELS)
    picture.save(path / "plain.png")
    picture.save(path / "deep" / "er.webp", lossless=True)
    picture.convert("L").save(path / "grey.png")
    Image.merge("RGBA", [*picture.split(), Image.new("L", (24, 24), 90)]).save(path / "clear.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # displayed rotated clockwise, so stored rotated the other way
    picture.transpose(Image.Transpose.ROTATE_90).save(path / "turned.png", exif=turned)
    Image.fromarray(np.uint16(PIXELS[..., 0]) * 256).save(path / "deep.png")
    wide = np.zeros((24, 48, 3), dtype=np.uint8)
    wide[:, 12:36] = PIXELS
    Image.fromarray(wide).save(path / "wide.png")
    Image.new("RGB", (4000, 3000), (200, 100, 50)).save(path / "large.jpg")
    (path / "cut.png").write_bytes((path / "plain.png").read_bytes()[:900])
    (path / "text.jpg").write_text("not an image")
    return path


def test_images_of_any_size_and_mode_are_read_as_upright_rgb_squares(folder):
    names = ["plain.png", "deep/er.webp", "clear.png", "turned.png", "wide.png"]
    images = read_images(names, folder, size=24)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.stack([np.moveaxis(PIXELS, 2, 0)] * 5))
    images = read_images(["large.jpg", folder / "grey.png", str(folder / "plain.png")], folder, 8)
    assert images.shape == (3, 3, 8, 8)
    assert np.abs(images[0].mean(axis=(1, 2)) - [200, 100, 50]).max() < 3
    assert (images[1] == images[1][:1]).all()
    assert np.abs(images[2].mean() - PIXELS.mean()) < 5


@pytest.mark.parametrize(
    ("paths", "size", "message"),
    [
        *((["plain.png", x], 8, rf"image of row 1, .*{x}, cannot") for x in ("cut.png", "deep")),
        (["text.jpg"], 8, r"row 0, .*text\.jpg, cannot be read: "),
        (["deep.png"], 8, r"row 0, .*deep\.png, cannot be read: more than 8 bits"),
        (pd.Series(["plain.png", "none.jpg"], index=[4, 17]), 8, r"row 17, .*none\.jpg"),
        ("plain.png", 8, r"expected a sequence of paths, got one; write \['plain.png'\]"),
        ([5], 8, "expected the path of an image, got 5 in row 0"),
        (["plain.png"], 0, "size must be an integer of at least 1"),
    ],
)
def test_unreadable_images_are_refused_with_their_row(folder, paths, size, message):
    with pytest.raises(ValueError, match=message):
        read_images(paths, folder, size)
