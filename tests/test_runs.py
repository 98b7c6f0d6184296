"""Runs and models on disk: saving, loading, damage, runs of version 0.1, models by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import first_edition as first
import numpy as np
import pandas as pd
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import files, runs
from earthtie_lite.coords import sample_sphere
from earthtie_lite.results import tables

CONFIG = et.TrainConfig(epochs=2, batch_size=48, learning_rate=1e-3, val_batch_size=8, seed=3)
SMALL_ENOUGH = 5e6  # bytes of all pretrained models together


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(0).uniform(size=(240, 2, 8, 8))
    return np.uint8(255 * np.minimum(noise * np.linspace(0.2, 1, 240)[:, None, None, None], 1))


@pytest.fixture(scope="module")
def run(images, make_encoder):
    """Return a run with one modality for each kind of featuriser, and one without."""
    rng = np.random.default_rng(1)
    mosaiks, ngrams = et.RandomConvolutions.fit(images, 4), et.CharacterNGrams(16)
    lonlat = [sample_sphere(240, rng) for _ in range(5)]
    table = pd.DataFrame(lonlat[2], columns=["lon", "lat"]).assign(ph=rng.normal(size=240))
    table["soil"] = rng.choice(["clay", "sand"], 240)
    modalities = [
        et.Modality("images", lonlat[0], mosaiks(images), mosaiks),
        et.Modality("names", lonlat[1], ngrams([f"town {i}" for i in range(240)]), ngrams),
        et.Modality.from_frame(table, name="soil", features=["ph", "lat"]),
        et.Modality.from_frame(table, name="mixed", features=["ph"], categories=["soil"]),
        et.Modality("nan", lonlat[3], rng.normal(size=(240, 3))),  # the name must stay a text
    ]
    return et.fit(modalities, CONFIG, make_encoder(skip=2))


@pytest.fixture
def folder(run, tmp_path):
    run.save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def other(make_modality, make_encoder):
    """Return a smaller run with other settings."""
    return et.fit(make_modality("soil"), CONFIG.replace(seed=9, epochs=1), make_encoder())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip(path, position):
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def assert_equal_tensors(some, others):
    assert some.keys() == others.keys()
    for key, value in some.items():
        assert value.dtype == others[key].dtype
        assert torch.equal(value, others[key]), key


def test_a_run_is_loaded_bitwise(run, folder):
    loaded = et.load(folder)
    assert_equal_tensors(loaded.model.state_dict(), run.model.state_dict())
    assert_equal_tensors(loaded.optimiser, run.optimiser)
    assert loaded.config == run.config
    pd.testing.assert_frame_equal(loaded.history, run.history, check_exact=True)
    assert loaded.model.training is False
    places = sample_sphere(50, np.random.default_rng(5))
    np.testing.assert_array_equal(loaded.model.embed(places), run.model.embed(places))


@pytest.mark.parametrize("name", ["images", "names", "soil", "mixed", "nan"])
def test_a_loaded_run_encodes_new_input_as_before(run, folder, images, name):
    table = pd.DataFrame({"lat": [1.0, 2.0], "ph": [5.0, 6.0], "soil": ["sand", "clay"]})
    raw = {"images": images[:5], "names": ["Nairobi", "São Paulo"], "nan": np.ones((2, 3))}
    given = raw.get(name, table)
    got = et.load(folder).model.embed_modality(name, given)
    np.testing.assert_array_equal(got, run.model.embed_modality(name, given))


def test_an_untrained_run_can_be_saved(make_encoder, tmp_path):
    model = et.EarthTie(make_encoder(), {"soil": 3})
    for history in (pd.DataFrame(), pd.DataFrame(columns=["step"])):
        et.Run(model, CONFIG, history).save(tmp_path / "run")
        assert len(et.load(tmp_path / "run").history) == 0


def test_a_run_is_one_file_of_weights_and_a_copy_of_its_description(run, folder):
    before = contents(folder)
    assert before.keys() == {"config.json", "model.safetensors"}
    for _ in range(4):
        run.save(folder)
        assert contents(folder) == before
    (folder / "config.json").unlink()
    assert et.load(folder).config == run.config


def test_every_flipped_byte_of_a_run_is_refused(folder):
    path = folder / "model.safetensors"
    data, accepted, unnamed = path.read_bytes(), [], set()
    for position in range(0, len(data), len(data) // 300):
        flip(path, position)
        try:
            et.load(folder)
            accepted.append(position)
        except ValueError as error:
            if path.name not in str(error):
                unnamed.add(str(error))
        path.write_bytes(data)
    assert (accepted, unnamed) == ([], set())


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_a_damaged_file_of_a_run_is_named(folder, damage):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=r"model\.safetensors.* is (damaged|missing)"):
        et.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda d, key=key: d.pop(key) for key in ("encoder", "in_dims", "featurisers")),
        lambda d: d.pop("history"),
        lambda d: d["history"].pop("modalities"),
        lambda d: d["history"]["columns"].append("speed"),
        lambda d: d["training"].update(temperature=0.07),
        lambda d: d["training"].update(epochs=0),
        lambda d: d.update(training=None),
        lambda d: d["encoder"].update(width=33),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, change):
    description, tensors = files.read_model(folder / "model.safetensors", None)
    change(description)
    files.write_model(folder, description, tensors)
    with pytest.raises(ValueError, match=r"the run in .* cannot be loaded"):
        et.load(folder)


def test_a_folder_without_a_run_is_refused(run, tmp_path):
    for empty in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"no run in .*: model\.safetensors is missing"):
            et.load(empty)
    run.model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="holds a model without its run: use load_pretrained"):
        et.load(tmp_path / "model")


def test_a_run_replaces_another_and_leaves_other_files_alone(folder, other):
    mine = {"notes.txt": b"mine", "weights-mine.safetensors": b"mine"}
    for name, data in mine.items():
        (folder / name).write_bytes(data)
    other.save(folder)
    assert et.load(folder).config.seed == 9
    assert contents(folder).keys() == {"config.json", "model.safetensors", *mine}


@pytest.mark.parametrize("file", [1, 2])
def test_a_kill_while_saving_leaves_the_old_or_the_new_run_whole(
    run, folder, other, tmp_path, file
):
    other.save(tmp_path / "other")
    code = (
        "import os, sys, earthtie_lite as et; from earthtie_lite import files\n"
        "run, written = et.load(sys.argv[1]), []\n"
        "def die(part):\n"
        "    written.append(part)\n"
        "    if len(written) == int(sys.argv[3]): os._exit(9)\n"
        "files.to_disk = die\n"
        "run.save(sys.argv[2])"
    )
    paths = [str(tmp_path / "other"), str(folder)]
    done = subprocess.run([sys.executable, "-c", code, *paths, str(file)])
    assert done.returncode == 9
    loaded, whole = et.load(folder), run if file == 1 else other  # weights, then the copy
    assert loaded.config == whole.config
    assert_equal_tensors(loaded.model.state_dict(), whole.model.state_dict())
    other.save(folder)  # what the killed process left is not in the way
    assert et.load(folder).config.seed == 9


def test_a_folder_with_other_files_or_a_file_is_refused(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run: nothing was written"):
        run.save(tmp_path)
    with pytest.raises(ValueError, match="is a file, not a folder"):
        run.save(tmp_path / "thesis.txt")
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_folder_with_other_files_is_refused_before_training(tmp_path, three):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run: nothing was written"):
        et.fit(three, CONFIG, save_to=tmp_path, hook=lambda *_: pytest.fail("a step was taken"))


def test_a_killed_first_save_does_not_block_the_folder(run, tmp_path):
    (tmp_path / ".model.safetensors.0a1b2c3d").write_bytes(b"half")
    run.save(tmp_path)
    assert et.load(tmp_path).config == run.config


@pytest.fixture
def old(tmp_path):
    """Return a copy of a run that version 0.1 saved."""
    return Path(shutil.copytree(first.FOLDER / "runs" / "melt", tmp_path / "old"))


@pytest.mark.parametrize("pattern", ["weights-*.safetensors", "history-*.csv", "run.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_file_of_a_run_of_version_0_1_is_named(old, pattern, damage):
    (path,) = old.glob(pattern)
    if damage == "flipped":
        flip(path, 0 if path.suffix == ".json" else 200)
    else:
        data = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(data[: len(data) // 2])
    missing = damage == "missing"
    reason = "model.safetensors is missing" if missing and pattern == "run.json" else path.name
    with pytest.raises(ValueError, match=reason):
        et.load(old)


def test_a_run_of_version_0_1_with_experimental_settings_is_refused():
    with pytest.raises(ValueError, match=r"\{'scales': 'own'\}.* use earthtie-lite 0\.1"):
        et.load(first.FOLDER / "runs" / "own_scales")


def test_saving_over_a_run_of_version_0_1_removes_its_files_only(old, other):
    (old / "weights-mine.safetensors").write_bytes(b"mine")
    other.save(old)
    assert contents(old).keys() == {"config.json", "model.safetensors", "weights-mine.safetensors"}
    assert et.load(old).config.seed == 9


@pytest.mark.parametrize("name", runs.PRETRAINED)
def test_a_pretrained_model_embeds_places_and_has_a_card(name):
    z = et.load_pretrained(name).embed(sample_sphere(50, np.random.default_rng(0)))
    assert z.shape == (50, 256)
    assert np.isfinite(z).all()
    assert z.std() > 0.1
    assert len(et.list_pretrained()[name]) > 40
    card = (files.shipped_folder("pretrained") / name / "README.md").read_text()
    for part in ("## Data", "## Recipe", "## Scores", "## Limits", "## Licence", "untrained"):
        assert part in card


def test_the_pretrained_models_are_small():
    paths = files.shipped_folder("pretrained").rglob("*")
    assert sum(path.stat().st_size for path in paths) < SMALL_ENOUGH


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "README.md"])
def test_a_damaged_file_of_a_pretrained_model_is_named(tmp_path, monkeypatch, file):
    root = shutil.copytree(files.shipped_folder("pretrained"), tmp_path / "pretrained")
    monkeypatch.setattr(runs, "shipped_folder", lambda name: tmp_path / name)
    flip(root / "melt" / file, 100)
    with pytest.raises(ValueError, match=rf"melt/{file} is missing, truncated or altered"):
        et.list_pretrained() if file == "README.md" else et.load_pretrained("melt")
    assert et.load_pretrained("satellite").embed([[0.0, 50.0]]).shape == (1, 256)


def test_a_model_is_loaded_from_a_folder_of_any_kind(run, tmp_path):
    joined, places = et.load_pretrained("melt3"), sample_sphere(5, np.random.default_rng(0))
    run.save(tmp_path / "run")
    run.model.save_pretrained(tmp_path / "hub")
    joined.save_pretrained(tmp_path / "joined")
    for name, model in (("run", run.model), ("hub", run.model), ("joined", joined)):
        for path in (tmp_path / name, str(tmp_path / name)):
            loaded = et.load_pretrained(path)
            np.testing.assert_array_equal(loaded.embed(places), model.embed(places))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (3, "the name of a model must be text or a path, got 3"),
        ("clip", "unknown model 'clip': expected one of melt3, melt, salt, satellite, or the"),
        (Path("melt"), "unknown model 'melt'"),  # a path is never a name
    ],
)
def test_an_unknown_model_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        et.load_pretrained(name)


def test_a_name_takes_precedence_over_a_folder(tmp_path, monkeypatch):
    (tmp_path / "melt").mkdir()
    monkeypatch.chdir(tmp_path)
    assert et.load_pretrained("melt").embed([[0.0, 50.0]]).shape == (1, 256)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "damaged"), ("[]", "damaged"), ("{}", "None"), ('{"class": "Other"}', "'Other'")],
)
def test_a_model_of_version_0_1_with_another_description_is_refused(tmp_path, content, message):
    folder = Path(shutil.copytree(first.FOLDER / "runs" / "earthtie", tmp_path / "model"))
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        et.load_pretrained(folder)


@pytest.mark.parametrize("name", ["melt", "salt"])
def test_place_names_are_more_similar_to_their_own_region(name):
    model = et.load_pretrained(name)
    names = model.embed_modality("text", ["Novoselovo", "San Pedro de Macoris"])
    places = [[60.0, 56.0], [-90.0, 15.0]]  # Russia, Guatemala
    nearer = model.similarity(places, names)
    assert nearer[0, 0] > nearer[1, 0]
    assert nearer[1, 1] > nearer[0, 1]


def test_the_card_has_the_scores_of_the_results():
    card = (files.shipped_folder("pretrained") / "melt" / "README.md").read_text()
    sums = tables.read_sums("report")
    for task in ("country", "biome"):
        chosen = tables.pick(sums, embedding="MELT satellite+lights+text", task=task)
        assert tables.as_text(tables.intervals(chosen, ["task"])).iloc[0] in card


def test_pretrained_models_score_better_than_coordinates():
    from earthtie_lite.results.intervals import scores
    from earthtie_lite.results.scoring import Evaluation, score

    labelled = {name: et.load_task(name, 20_000) for name in ("country", "elevation")}
    places = labelled["country"].lonlat
    z = {name: et.load_pretrained(name).embed(places) for name in ("melt3", "melt")}
    z["coordinates"] = et.UnitVectors()(places)
    sums = {name: score(array, labelled, 0, "report", [Evaluation()]) for name, array in z.items()}
    found = {name: scores(s, ["task"]).set_index("task")["score"] for name, s in sums.items()}
    for name in ("melt3", "melt"):
        assert (found[name] > found["coordinates"] + 0.1).all()
