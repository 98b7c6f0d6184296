"""A user's own table: categories, images, and rows that lack something."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.features import Columns, encode, from_spec
from earthtie_lite.own import MAX_CLASSES, MixedColumns, filled_rows, mean_by_place, read_images


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


def test_columns_are_found_by_name(table, columns):
    np.testing.assert_array_equal(columns(table[["code", "soil", "ph"]]), columns(table))


def test_a_table_without_numbers_has_one_feature_a_class(table):
    columns = MixedColumns.fit(table, [], ["soil"])
    assert columns(table).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_columns_are_rebuilt_from_their_description(table, columns):
    again = from_spec(json.loads(json.dumps(columns.spec)), columns.state)
    assert again == columns
    np.testing.assert_array_equal(again(table.iloc[:1]), columns(table)[:1])


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
def test_a_category_is_known_by_its_text_whatever_its_type(table, columns, same):
    np.testing.assert_array_equal(columns(table.assign(code=same)), columns(table))


def test_classes_that_do_not_occur_are_left_out(table):
    kinds = pd.Categorical(table["soil"], categories=["peat", "sand", "clay"])
    columns = MixedColumns.fit(table.assign(soil=kinds), [], ["soil"])
    assert columns.classes == (("soil", ("clay", "sand")),)


def test_an_unknown_category_is_refused(table, columns):
    table.loc[1, "soil"] = "peat"
    with pytest.raises(
        ValueError, match="unknown category 'peat' of column 'soil' in row 1: there are 'clay', 's"
    ):
        columns(table)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (pd.DataFrame({"ph": [1.0], "soil": ["clay"]}), r"'code'\], it lacks \['code'\]"),
        (np.ones((2, 6)), r"expected a data frame with columns \['ph', 'soil', 'code'\]"),
    ],
)
def test_what_is_no_table_with_the_columns_is_refused(columns, raw, message):
    with pytest.raises(ValueError, match=message):
        columns(raw)


def test_columns_without_classes_are_refused():
    with pytest.raises(ValueError, match="expected columns of categories with their classes"):
        MixedColumns(("ph",))
    with pytest.raises(ValueError, match="expected columns of categories with their classes"):
        MixedColumns(("ph",), (("soil", ()),))


def test_too_many_categories_are_refused():
    names = pd.DataFrame({"who": [f"name {row}" for row in range(MAX_CLASSES + 1)]})
    assert MixedColumns.fit(names[:-1], [], ["who"]).out_dim == MAX_CLASSES
    with pytest.raises(ValueError, match="'who' has 1,001 categories, at most 1,000 are encoded"):
        MixedColumns.fit(names, [], ["who"])


def test_columns_are_not_kept_in_the_cache(columns, table, monkeypatch, tmp_path):
    assert isinstance(columns, Columns)
    monkeypatch.setenv("EARTHTIE_CACHE", str(tmp_path))
    np.testing.assert_array_equal(encode(columns, table), columns(table))
    assert not list(tmp_path.iterdir())


def test_a_saved_run_encodes_new_categories(tmp_path, make_encoder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(sample_sphere(200, rng), columns=["lon", "lat"])
    frame["ph"], frame["soil"] = rng.normal(size=200), rng.choice(["clay", "sand"], 200)
    m = et.Modality.from_frame(frame, "soil", features=["ph"], categories=["soil"])
    run = et.fit(m, et.TrainConfig(epochs=1, batch_size=64, val_batch_size=8), make_encoder())
    run.save(tmp_path / "run")
    loaded, new = et.load(tmp_path / "run").model, frame[["soil", "ph"]].iloc[:5]
    assert loaded.featurisers["soil"] == m.featuriser
    tied = run.model.embed_modality("soil", new)
    np.testing.assert_array_equal(loaded.embed_modality("soil", new), tied)
    with pytest.raises(ValueError, match="unknown category 'peat'"):
        loaded.embed_modality("soil", new.assign(soil="peat"))


def test_features_are_averaged_by_place_in_the_order_of_the_first():
    places = np.array([[180.0, 5.0], [1.0, 2.0], [-180.0, 5.0], [3.0, 4.0], [180.0, 5.0]])
    features = np.array([[1, 10], [2, 20], [4, 10], [3, 30], [7, 40]], dtype=np.float32)
    where, means = mean_by_place(places, features)
    np.testing.assert_array_equal(where, [[180, 5], [1, 2], [3, 4]])
    np.testing.assert_array_equal(means, [[4, 20], [2, 20], [3, 30]])
    assert means.dtype == np.float32


def test_dropped_rows_leave_the_others_their_numbers():
    frame = pd.DataFrame({"x": [1.0, None, 3, 4], "y": 1.0, "a": ["a", "b", " ", "d"]})
    frame = frame.set_index(pd.Index([9, 8, 7, 6]))
    kept, places = filled_rows(frame, "x", "y", ["a"], "drop")
    assert places.tolist() == [[1.0, 1.0], [4.0, 1.0]]
    assert kept.index.tolist() == [0, 3]
    assert kept["a"].tolist() == ["a", "d"]


PIXELS = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Write one picture in several guises."""
    picture = Image.fromarray(PIXELS)
    picture.save(tmp_path / "plain.png")
    (tmp_path / "deep").mkdir()
    picture.save(tmp_path / "deep" / "er.webp", lossless=True)
    picture.convert("L").save(tmp_path / "grey.png")
    clear = picture.copy()
    clear.putalpha(90)
    clear.save(tmp_path / "clear.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # shown turned clockwise, so kept turned the other way
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


def test_an_image_of_more_than_8_bits_is_refused(folder):
    with pytest.raises(ValueError, match=r"row 0, .*deep\.png, cannot be read: more than 8 bits"):
        read_images(["deep.png"], folder)


def test_rows_of_images_are_those_of_the_series(folder):
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
def test_bad_settings_of_images_are_refused(folder, paths, settings, message):
    with pytest.raises(ValueError, match=message):
        read_images(paths, folder, **settings)
