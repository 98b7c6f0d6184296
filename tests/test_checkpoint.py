"""Runs on disk: the round trip, damage, and an older run that stays whole."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import checkpoint
from earthtie_lite.coords import sample_sphere

CONFIG = et.TrainConfig(epochs=2, batch_size=48, learning_rate=1e-3, val_batch_size=8, seed=3)


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(0).uniform(size=(240, 2, 8, 8))
    return np.uint8(255 * np.minimum(noise * np.linspace(0.2, 1, 240)[:, None, None, None], 1))


@pytest.fixture(scope="module")
def run(images, make_encoder):
    """Return a run with one modality of each kind of featuriser, and one without."""
    rng = np.random.default_rng(1)
    mosaiks, ngrams = et.RandomConvolutions.fit(images, 4), et.CharacterNGrams(16)
    lonlat = [sample_sphere(240, rng) for _ in range(4)]
    soil = pd.DataFrame(lonlat[2], columns=["lon", "lat"]).assign(ph=rng.normal(size=240))
    modalities = [
        et.Modality("images", lonlat[0], mosaiks(images), mosaiks),
        et.Modality("names", lonlat[1], ngrams([f"town {i}" for i in range(240)]), ngrams),
        et.Modality.from_frame(soil, name="soil", features=["ph", "lat"]),
        et.Modality("plain", lonlat[3], rng.normal(size=(240, 3))),
    ]
    return et.fit(modalities, CONFIG, make_encoder(skip=2))


@pytest.fixture
def folder(run, tmp_path):
    run.save(tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(folder, change):
    description = json.loads((folder / "run.json").read_text())
    change(description)
    (folder / "run.json").write_text(json.dumps(description))


def test_weights_come_back_bit_for_bit(run, folder):
    loaded = et.load(folder).model.state_dict()
    assert loaded.keys() == run.model.state_dict().keys()
    for key, value in run.model.state_dict().items():
        assert torch.equal(loaded[key], value)
        assert loaded[key].dtype == value.dtype


def test_config_and_history_come_back_exactly(run, folder):
    loaded = et.load(folder)
    assert loaded.config == run.config
    pd.testing.assert_frame_equal(loaded.history, run.history, check_exact=True)


def test_the_state_of_the_optimiser_comes_back(run, folder):
    loaded = et.load(folder).optimiser
    assert loaded.keys() == run.optimiser.keys()
    assert all(torch.equal(loaded[key], value) for key, value in run.optimiser.items())


def test_embeddings_come_back_bit_for_bit(run, folder):
    places = sample_sphere(50, np.random.default_rng(5))
    loaded = et.load(folder).model
    np.testing.assert_array_equal(loaded.embed(places), run.model.embed(places))


@pytest.mark.parametrize("name", ["images", "names", "soil", "plain"])
def test_raw_input_is_encoded_by_a_loaded_run_as_before(run, folder, images, name):
    raw = {
        "images": images[:5],
        "names": ["Nairobi", "São Paulo"],
        "soil": pd.DataFrame({"lat": [1.0, 2.0], "ph": [5.0, 6.0]}),
        "plain": np.ones((2, 3)),
    }[name]
    got = et.load(folder).model.embed_modality(name, raw)
    np.testing.assert_array_equal(got, run.model.embed_modality(name, raw))


def test_a_loaded_model_is_ready_to_use(folder):
    assert et.load(folder).model.training is False


def test_a_run_without_training_and_history_can_be_saved(make_encoder, tmp_path):
    model = et.EarthTie(make_encoder(), {"soil": 3})
    et.Run(model, CONFIG, pd.DataFrame()).save(tmp_path / "run")
    assert len(et.load(tmp_path / "run").history) == 0


@pytest.mark.parametrize("name", ["nan", "None", "NA", "null"])
def test_names_that_look_missing_come_back(make_modality, make_encoder, tmp_path, name):
    run = et.fit(make_modality(name), CONFIG.replace(epochs=1), make_encoder())
    run.save(tmp_path / "run")
    assert set(et.load(tmp_path / "run").history["modality"]) == {name}


def test_an_encoder_of_a_numpy_integer_can_be_saved(tmp_path):
    encoder = et.LocationEncoder(et.SphericalHarmonics(np.int64(4)), 8, 1, 8)
    model = et.EarthTie(encoder, {"soil": 3})
    et.Run(model, CONFIG, pd.DataFrame(columns=["step"])).save(tmp_path / "run")
    assert et.load(tmp_path / "run").model.encoder.encoding == et.SphericalHarmonics(4)


def test_a_folder_holds_json_csv_and_safetensors_alone(folder):
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".json", ".safetensors"]


def test_no_file_is_a_pickle(folder):
    for name, data in contents(folder).items():
        assert data[:1] != b"\x80", name
        assert b"PK\x03\x04" not in data[:4], name


@pytest.mark.parametrize("pattern", ["weights-*.safetensors", "history-*.csv"])
@pytest.mark.parametrize("damage", ["cut", "altered", "missing", "empty"])
def test_a_damaged_file_is_named(folder, pattern, damage):
    (path,) = folder.glob(pattern)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = data[:200] + bytes([data[200] ^ 1]) + data[201:]
        path.write_bytes({"cut": data[: len(data) // 2], "altered": flipped, "empty": b""}[damage])
    reason = "is missing: the run is incomplete" if damage == "missing" else "is cut or altered"
    with pytest.raises(ValueError, match=rf"{path.name} {reason}"):
        et.load(folder)


@pytest.mark.parametrize("keep", [0, 1, 300])
def test_a_cut_description_is_named(folder, keep):
    path = folder / "run.json"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"run.json is damaged"):
        et.load(folder)


@pytest.mark.parametrize("text", ["[]", "3", "{}", "null"])
def test_a_description_of_something_else_is_named(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run.json is damaged"):
        et.load(folder)


@pytest.mark.parametrize("key", ["config", "encoder", "in_dims", "featurisers", "files"])
def test_a_description_that_lacks_a_part_is_named(folder, key):
    edit(folder, lambda description: description.pop(key))
    with pytest.raises(ValueError, match=r"run.json is damaged"):
        et.load(folder)


def test_an_unknown_setting_in_a_description_is_named(folder):
    edit(folder, lambda description: description["config"].update(temperature=0.07))
    with pytest.raises(ValueError, match=r"run.json is damaged"):
        et.load(folder)


def test_a_folder_without_a_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"no run in .*: run.json is missing"):
            et.load(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_is_refused(folder, version):
    edit(folder, lambda description: description.update(format=version))
    with pytest.raises(ValueError, match=r"run.json has format .*, this version reads 1"):
        et.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["encoder"].update(width=33),
        lambda d: d["encoder"].update(depth=3),
        lambda d: d["encoder"].update(out_dim=20),
        lambda d: d["encoder"]["encoding"].update(n_degrees=5),
        lambda d: d["in_dims"].update(plain=4),
        lambda d: d["in_dims"].pop("plain"),
        lambda d: d["in_dims"].update(extra=4),
    ],
)
def test_weights_of_another_shape_are_refused(folder, change):
    edit(folder, change)
    with pytest.raises(ValueError, match=r"the weights in .* do not fit the model"):
        et.load(folder)


def test_a_run_replaces_an_older_one_as_a_whole(run, folder, make_modality, make_encoder):
    other = et.fit(make_modality("soil"), CONFIG.replace(seed=9), make_encoder())
    other.save(folder)
    assert et.load(folder).config.seed == 9
    assert len(contents(folder)) == 3


def test_saving_twice_changes_nothing(run, folder):
    before = contents(folder)
    run.save(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_run_stays_whole_if_writing_over_it_fails(
    run, folder, make_modality, make_encoder, monkeypatch, fails_at
):
    other = et.fit(make_modality("soil"), CONFIG.replace(seed=9, epochs=1), make_encoder())
    calls, write = [], checkpoint.write_atomic

    def fail(path, data):
        calls.append(path)
        if len(calls) == fails_at:
            raise OSError("disk full")
        write(path, data)

    monkeypatch.setattr(checkpoint, "write_atomic", fail)
    with pytest.raises(OSError, match="disk full"):
        other.save(folder)
    assert len(calls) == fails_at
    loaded = et.load(folder)
    assert loaded.config == run.config
    for key, value in run.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value)


def test_a_folder_with_other_files_is_left_alone(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run: nothing was written"):
        run.save(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_files_beside_a_run_are_left_alone(run, folder, make_modality, make_encoder):
    mine = {"notes.txt": b"mine", "weights-mine.safetensors": b"mine", "history-of-it.csv": b"mine"}
    for name, data in mine.items():
        (folder / name).write_bytes(data)
    et.fit(make_modality("soil"), CONFIG.replace(epochs=1), make_encoder()).save(folder)
    assert mine.items() <= contents(folder).items()


def test_a_file_in_the_way_is_refused(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        run.save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "a file"
