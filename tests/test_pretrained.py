"""The models that travel with the package."""

from pathlib import Path

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite import pretrained
from earthtie_lite.coords import sample_sphere
from earthtie_lite.experiments import results

SMALL_ENOUGH = 5e6  # bytes, all of them together


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_a_model_embeds_places_and_says_what_it_is(name):
    z = et.load_pretrained(name).embed(sample_sphere(50, np.random.default_rng(0)))
    assert z.shape == (50, 256)
    assert np.isfinite(z).all()
    assert z.std() > 0.1
    line = et.list_pretrained()[name]
    assert len(line) > 40
    card = (pretrained.folder() / name / "README.md").read_text()
    for part in ("## Data", "## Recipe", "## Scores", "## Limits", "## Licence", "untrained"):
        assert part in card


def test_all_together_are_small():
    assert sum(f.stat().st_size for f in pretrained.folder().rglob("*")) < SMALL_ENOUGH


def test_a_model_is_read_from_a_folder_of_either_kind(tmp_path, three, make_encoder):
    melt = et.fit(three, et.TrainConfig(epochs=1, batch_size=32), make_encoder())
    places = sample_sphere(5, np.random.default_rng(0))
    melt.save(tmp_path / "run")
    melt.model.save_pretrained(tmp_path / "hub")
    for folder in (tmp_path / "run", str(tmp_path / "hub")):
        np.testing.assert_array_equal(
            et.load_pretrained(folder).embed(places), melt.model.embed(places)
        )
        assert et.embed_table(places, folder).shape[0] == 5
    joined = et.load_pretrained("melt3")
    joined.save_pretrained(tmp_path / "joined")
    np.testing.assert_array_equal(
        et.load_pretrained(tmp_path / "joined").embed(places), joined.embed(places)
    )


def test_what_is_no_name_is_refused():
    with pytest.raises(ValueError, match="text or a path, got 3"):
        et.load_pretrained(3)


def test_a_name_is_never_a_folder_and_a_path_never_a_name(tmp_path, monkeypatch):
    (tmp_path / "melt").mkdir()
    monkeypatch.chdir(tmp_path)
    assert et.load_pretrained("melt").embed([[0.0, 50.0]]).shape == (1, 256)
    with pytest.raises(ValueError, match="unknown model 'melt'"):
        et.load_pretrained(Path("melt"))


@pytest.mark.parametrize(
    ("content", "message"), [("{", "damaged"), ("{}", "damaged"), ('{"class": "Other"}', "'Other'")]
)
def test_a_folder_of_something_else_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        et.load_pretrained(tmp_path)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown model 'clip'"):
        et.load_pretrained("clip")


@pytest.mark.parametrize("name", ["melt", "salt"])
def test_names_point_to_where_they_are_from(name):
    model = et.load_pretrained(name)
    names = model.embed_modality("text", ["Novoselovo", "San Pedro de Macoris"])
    places = [[60.0, 56.0], [-90.0, 15.0]]  # Russia, Guatemala
    nearer = model.similarity(places, names)
    assert nearer[0, 0] > nearer[1, 0]
    assert nearer[1, 1] > nearer[0, 1]


def test_cards_have_the_scores_of_the_tables():
    sums = results.read_sums("report")
    name = "MELT satellite+lights+text"
    for task in ("country", "biome"):
        row = results.intervals(results.pick(sums, embedding=name, task=task), ["task"])
        cell = results.as_text(row).iloc[0]
        assert cell in (pretrained.folder() / "melt" / "README.md").read_text()


def test_a_pretrained_model_scores_as_its_recipe_does():
    # One slice of the table, live: the labels of the first seed, elevation and country.
    from earthtie_lite.experiments.evaluate import Evaluation, score
    from earthtie_lite.experiments.inference import scores

    tasks = {name: et.load_task(name, 20_000) for name in ("country", "elevation")}
    places = tasks["country"].lonlat
    z = {name: et.load_pretrained(name).embed(places) for name in ("melt3", "melt")}
    z["coordinates"] = et.UnitVectors()(places)
    found = {
        name: scores(score(array, tasks, 0, "report", [Evaluation()]), ["task"]).set_index("task")[
            "score"
        ]
        for name, array in z.items()
    }
    for name in ("melt3", "melt"):
        assert (found[name] > found["coordinates"] + 0.1).all()
