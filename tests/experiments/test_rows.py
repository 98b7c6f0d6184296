"""The rows of the tables as settings: names, and what is refused."""

import dataclasses
import json

import pytest

from earthtie_lite.experiments.rows import TRAINED, Embedding, Recipe

TINY = Recipe(
    "tiny", n=300, pairs=1_200, batch_size=64, n_degrees=3, width=16, out_dim=8, dropout=0.0
)
S, SL = ("satellite",), ("satellite", "lights")


def test_every_variant_sees_the_same_pairs():
    recipe = Recipe("r", n=100_000, pairs=3_000_000)
    for method, n_modalities in (("melt", 1), ("melt", 2), ("melt", 3), ("salt", 3)):
        config = recipe.config(method, n_modalities, 0)
        passes = config.epochs * (n_modalities if method == "melt" else 1)
        assert passes * recipe.n == 3_000_000


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"kind": "harmonics"}, "harmonics"),
        ({"kind": TRAINED, "method": "melt", "modalities": S}, "satellite"),
        ({"kind": TRAINED, "method": "salt", "modalities": SL}, "SALT satellite+lights"),
        ({"kind": "ensemble", "method": "melt", "modalities": SL}, "ensemble"),
        ({"kind": "threefold", "method": "melt", "modalities": S}, "3 x satellite"),
        ({"kind": "reference, noise", "modalities": SL}, "reference, noise: satellite+lights"),
    ],
)
def test_names_tell_method_and_modalities(settings, name):
    assert Embedding(recipe=dataclasses.replace(TINY, skip=2), **settings).name == name


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "magic"},
        {"kind": "harmonics", "setting": "seductive"},
        {"kind": TRAINED},
        {"kind": "reference"},
        {"kind": "reference, noise", "method": "melt", "modalities": S},
        {"kind": "untrained", "method": "melt", "modalities": S},
    ],
)
def test_impossible_rows_are_refused(settings):
    with pytest.raises(ValueError, match=r"unknown embedding|unknown setting|with method"):
        Embedding(recipe=TINY, **settings)


@pytest.mark.parametrize("name", ["n", "pairs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_recipes_of_nothing_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} of a recipe must be a positive integer"):
        Recipe("wrong", **{name: value})


@pytest.mark.parametrize("modalities", ["satellite", ("sattelite",)])
def test_modalities_must_be_a_tuple_of_known_names(modalities):
    with pytest.raises(ValueError, match="modalities must be a tuple of"):
        Embedding(TRAINED, TINY, 0, "melt", modalities)


@pytest.mark.parametrize("setting", [{"joined": "rough"}, {"places": "near"}])
def test_unknown_options_of_a_recipe_are_refused(setting):
    with pytest.raises(ValueError, match=r"unknown (joined|places) '(rough|near)'"):
        Recipe("wrong", **setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"training": ("scales", "own")},
        {"training": (("sclaes", "own"),)},
        {"training": (("seed", 3),)},
        {"joined": "smooth"},
        {"joined": "smooth", "skip": 2, "out_dim": 12, "tie_skip": True},
    ],
)
def test_recipes_that_cannot_be_are_refused(setting):
    with pytest.raises(ValueError, match=r"training must be pairs of|joined needs a skip"):
        dataclasses.replace(TINY, **setting)


def test_what_sees_the_report_half_cannot_be_inductive():
    arranged = dataclasses.replace(TINY, places="same")
    for row in (("reference", TINY, 0, "", S), (TRAINED, arranged, 0, "melt", S)):
        with pytest.raises(ValueError, match="cannot be inductive"):
            Embedding(*row, setting="inductive")


def test_a_recipe_comes_back_from_json():
    recipe = dataclasses.replace(TINY, training=(("scales", "own"), ("head_warmup", 3)))
    again = Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe))))
    assert again == recipe
    config = again.config("salt", 3, 0)
    assert (config.scales, config.head_warmup) == ("own", 3)
