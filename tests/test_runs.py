"""Runs and models on disk: saving, loading, damage, runs of version 0.1, models by name."""

import pickle
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
from earthtie_lite.features import Fractions, Statistics
from earthtie_lite.results import tables

CONFIG = et.TrainConfig(epochs=2, batch_size=48, learning_rate=1e-3, val_batch_size=8, seed=3)
IMAGES = np.random.default_rng(0).integers(0, 255, (240, 2, 8, 8), dtype=np.uint8)
RAW = {  # new input, by modality
    "images": IMAGES[:5],
    "names": ["Nairobi", "São Paulo"],
    "soil": pd.DataFrame({"lat": [1.0, 2.0], "ph": [5.0, 6.0]}),
    "mixed": pd.DataFrame({"soil": ["sand", "clay"], "ph": [5.0, 6.0]}),
    "heights": IMAGES[:3, :1],
    "zones": IMAGES[:3, :1] % 5,
    "nan": np.ones((2, 3)),
}


@pytest.fixture(scope="module")
def run(make_encoder):
    """Return a run with one modality for each kind of featuriser, and one without."""
    rng = np.random.default_rng(1)
    mosaiks, ngrams = et.RandomConvolutions.fit(IMAGES, 4), et.CharacterNGrams(16)
    heights, zones = Statistics(quantiles=(0.5,), nodata=3), Fractions(5, (1, 2))
    lonlat = [sample_sphere(240, rng) for _ in range(6)]
    table = pd.DataFrame(lonlat[2], columns=["lon", "lat"]).assign(ph=rng.normal(size=240))
    table["soil"] = rng.choice(["clay", "sand"], 240)
    modalities = [
        et.Modality("images", lonlat[0], mosaiks(IMAGES), mosaiks),
        et.Modality("names", lonlat[1], ngrams([f"town {i}" for i in range(240)]), ngrams),
        et.Modality.from_frame(table, name="soil", features=["ph", "lat"]),
        et.Modality.from_frame(table, name="mixed", features=["ph"], categories=["soil"]),
        et.Modality("heights", lonlat[4], heights(IMAGES[:, :1]), heights),
        et.Modality("zones", lonlat[5], zones(IMAGES[:, :1] % 5), zones),
        et.Modality("nan", lonlat[3], rng.normal(size=(240, 3))),  # the name must stay a text
    ]
    return et.fit(modalities, CONFIG, make_encoder(skip=2))


@pytest.fixture(scope="module")
def other(make_modality, make_encoder):
    """Return a smaller run with other settings."""
    return et.fit(make_modality("soil"), CONFIG.replace(seed=9, epochs=1), make_encoder())


@pytest.fixture
def folder(run, tmp_path):
    run.save(tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_equal_runs(run, expected):
    assert run.config == expected.config
    pd.testing.assert_frame_equal(run.history, expected.history, check_exact=True)
    some, others = (r.model.state_dict() | r.optimiser for r in (run, expected))
    torch.testing.assert_close(some, others, rtol=0, atol=0)


def test_a_run_is_loaded_bitwise_from_one_file_of_weights_and_description(run, folder):
    before = contents(folder)
    assert before.keys() == {"config.json", "model.safetensors"}
    run.save(folder)
    assert contents(folder) == before
    (folder / "config.json").unlink()  # a copy for readers
    loaded = et.load(folder)
    assert_equal_runs(loaded, run)
    assert loaded.model.training is False


def test_an_untrained_run_can_be_saved(run, tmp_path):
    for history in (pd.DataFrame(), pd.DataFrame(columns=["step"])):
        et.Run(run.model, CONFIG, history).save(tmp_path / "run")
        assert len(et.load(tmp_path / "run").history) == 0


# Loads a run, encodes new input, and has two children die while they write their first or second
# file: weights, then the copy of the description.
FRESH = """
import os, pickle, sys
from pathlib import Path
import numpy as np
import earthtie_lite as et
from earthtie_lite import features, files

root = Path(sys.argv[1])
run, other = et.load(root / "run"), et.load(root / "other")
for last in (1, 2):
    if os.fork() == 0:
        written = []
        def die(path):
            written.append(path)
            if len(written) == last:
                os._exit(9)
        files.to_disk = die
        other.save(root / f"killed {last}")
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
raw = pickle.loads((root / "raw").read_bytes())
np.savez(root / "encoded.npz", **{m: run.model.embed_modality(m, raw[m]) for m in raw})
print(type(features.from_spec({"class": "ClipImages"}, {})).__name__)
"""


@pytest.fixture(scope="module")
def fresh(run, other, tmp_path_factory):
    """Return the folder of a process that had imported nothing, and what it printed."""
    root = tmp_path_factory.mktemp("fresh")
    for name in ("run", "killed 1", "killed 2"):
        run.save(root / name)
    other.save(root / "other")
    (root / "raw").write_bytes(pickle.dumps(RAW))
    command = [sys.executable, "-c", FRESH, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return root, done.stdout.split()


def test_a_fresh_process_encodes_new_input_as_before_and_finds_the_towers_of_the_paper(run, fresh):
    encoded = np.load(fresh[0] / "encoded.npz")
    for name, raw in RAW.items():
        np.testing.assert_array_equal(encoded[name], run.model.embed_modality(name, raw))
    assert fresh[1] == ["ClipImages"]


@pytest.mark.parametrize("file", [1, 2])
def test_a_kill_while_saving_leaves_the_old_or_the_new_run_whole(run, other, fresh, file):
    folder = fresh[0] / f"killed {file}"
    assert_equal_runs(et.load(folder), run if file == 1 else other)
    other.save(folder)  # what the killed process left is not in the way
    assert_equal_runs(et.load(folder), other)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("encoder"),
        lambda d: d["history"].pop("modalities"),
        lambda d: d["history"]["columns"].append("speed"),
        lambda d: d["training"].update(temperature=0.07),
        lambda d: d["training"].update(epochs=0),
        lambda d: d.update(training=None),
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
    run.model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a model without its run: use load_pretrained"):
        et.load(tmp_path)


def test_a_run_replaces_another_and_leaves_other_files_alone(folder, other):
    (folder / "notes.txt").write_bytes(b"mine")
    other.save(folder)
    assert_equal_runs(et.load(folder), other)
    assert contents(folder).keys() == {"config.json", "model.safetensors", "notes.txt"}


def test_another_run_other_files_or_a_file_are_not_replaced_by_training(run, three, tmp_path):
    thesis = tmp_path / "text" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".model.safetensors.0a1b2c3d").write_bytes(b"of a killed first save")
    run.save(tmp_path / "run")
    before = [contents(tmp_path / name) for name in ("run", "text")]
    for target, message in [
        (tmp_path / "run", "holds another run: resume from it or choose another folder"),
        (thesis.parent, "is not empty and holds no run"),
        (thesis, "is a file"),
    ]:
        with pytest.raises(ValueError, match=message):
            et.fit(three, CONFIG, save_to=target, hook=lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        run.save(thesis.parent)
    assert [contents(tmp_path / name) for name in ("run", "text")] == before


@pytest.fixture
def old(tmp_path):
    """Return a copy of a run that version 0.1 saved."""
    return Path(shutil.copytree(first.FOLDER / "runs" / "melt", tmp_path / "old"))


@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        *((f"{p}-*", how) for p in ("weights", "history") for how in ("flipped", "cut", "missing")),
        ("run.json", "cut"),
    ],
)
def test_a_damaged_file_of_a_run_of_version_0_1_is_named(old, damage, pattern, how):
    (path,) = old.glob(pattern)
    damage(path, how)
    with pytest.raises(ValueError, match=path.name):
        et.load(old)


def test_saving_over_a_run_of_version_0_1_removes_its_files_only(old, other):
    (old / "weights-mine.safetensors").write_bytes(b"mine")
    other.save(old)
    assert contents(old).keys() == {"config.json", "model.safetensors", "weights-mine.safetensors"}
    assert_equal_runs(et.load(old), other)


@pytest.mark.parametrize(("content", "message"), [("[]", "damaged"), ("{}", "unknown class, None")])
def test_a_model_of_version_0_1_with_another_description_is_refused(tmp_path, content, message):
    folder = Path(shutil.copytree(first.FOLDER / "runs" / "earthtie", tmp_path / "model"))
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        et.load_pretrained(folder)


def test_a_model_is_loaded_from_a_folder_of_any_kind(run, tmp_path):
    joined, places = et.load_pretrained("melt3"), sample_sphere(5, np.random.default_rng(0))
    run.save(tmp_path / "run")
    run.model.save_pretrained(tmp_path / "hub")
    joined.save_pretrained(tmp_path / "joined")
    for name, model in (("run", run.model), ("hub", run.model), ("joined", joined)):
        for path in (tmp_path / name, str(tmp_path / name)):
            loaded = et.load_pretrained(path)
            np.testing.assert_array_equal(loaded.embed(places), model.embed(places))


def test_names_take_precedence_over_folders_and_unknown_ones_are_refused(tmp_path, monkeypatch):
    (tmp_path / "melt").mkdir()
    monkeypatch.chdir(tmp_path)
    assert et.load_pretrained("melt").embed([[0.0, 50.0]]).shape == (1, 256)
    for name, message in [
        (3, "the name of a model must be text or a path, got 3"),
        (
            "clip",
            "unknown model 'clip': expected one of earth, earth-independent, melt3, melt, salt",
        ),
        (Path("melt"), "unknown model 'melt'"),  # a path is never a name
    ]:
        with pytest.raises(ValueError, match=message):
            et.load_pretrained(name)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "README.md"])
def test_a_damaged_file_of_a_pretrained_model_is_named(tmp_path, monkeypatch, damage, file):
    root = shutil.copytree(files.shipped_folder("pretrained"), tmp_path / "pretrained")
    monkeypatch.setattr(runs, "shipped_folder", lambda name: tmp_path / name)
    damage(root / "melt" / file, "flipped")
    with pytest.raises(ValueError, match=rf"melt/{file} is missing, truncated or altered"):
        et.list_pretrained() if file == "README.md" else et.load_pretrained("melt")
    assert et.load_pretrained("satellite").embed([[0.0, 50.0]]).shape == (1, 256)


def test_pretrained_models_score_better_than_coordinates_and_know_names_of_places():
    task, scores = et.load_task("country", 5_000), {}
    models = {name: et.load_pretrained(name) for name in runs.PRETRAINED}
    for name, model in (models | {"coordinates": et.UnitVectors()}).items():
        table = et.probe(model, task, split="random", probe="ridge", seeds=1)
        scores[name] = table["score"][0]
    assert min(scores[name] for name in models) > scores["coordinates"] + 0.1
    for name in ("melt", "salt"):
        names = models[name].embed_modality("text", ["Novoselovo", "San Pedro de Macoris"])
        nearer = models[name].similarity([[60.0, 56.0], [-90.0, 15.0]], names)
        assert nearer.argmax(axis=0).tolist() == [0, 1]  # Russia, Guatemala


def test_the_cards_say_what_a_reader_needs_and_the_scores_of_the_results():
    assert min(map(len, et.list_pretrained().values())) > 40
    root = files.shipped_folder("pretrained")
    cards = {name: (root / name / "README.md").read_text() for name in runs.PRETRAINED}
    for card in cards.values():
        for part in ("## Data", "## Recipe", "## Scores", "## Limits", "## Licence", "untrained"):
            assert part in card
    sums = tables.read_sums("report")
    for task in ("country", "biome"):
        chosen = tables.pick(sums, embedding="MELT satellite+lights+text", task=task)
        text = tables.as_text(tables.intervals(chosen, ["task"])).iloc[0]
        assert text in cards["melt"]
