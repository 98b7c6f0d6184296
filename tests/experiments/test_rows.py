"""The rows of the tables as settings: names, and what is refused."""

import dataclasses
import json

import pytest

from data.experiments.rows import TRAINED, Embedding, Recipe
from earthtie_lite.encoders import LocationEncoder
from earthtie_lite.results import variants

TINY = Recipe(
    "tiny", n=300, pairs=1_200, batch_size=64, n_degrees=3, width=16, out_dim=8, dropout=0.0
)
S, SL = ("satellite",), ("satellite", "lights")
SIZES = ("n", "pairs", "batch_size")


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
    ("settings", "message"),
    [
        ({"kind": "magic"}, "unknown embedding"),
        ({"kind": "harmonics", "setting": "seductive"}, "unknown setting"),
        ({"kind": TRAINED}, "with method"),
        ({"kind": "reference"}, "with method"),
        ({"kind": "reference, noise", "method": "melt", "modalities": S}, "with method"),
        ({"kind": "untrained", "method": "melt", "modalities": S}, "with method"),
        ({"kind": TRAINED, "method": "melt", "modalities": "text"}, "must be a tuple of"),
        ({"kind": TRAINED, "method": "melt", "modalities": ("sattelite",)}, "must be a tuple of"),
        ({"kind": "reference", "modalities": S, "setting": "inductive"}, "cannot be inductive"),
    ],
)
def test_impossible_rows_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Embedding(recipe=TINY, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({name: n}, f"{name} of a recipe must be") for name in SIZES for n in (0, -1, 2.5, True)),
        ({"joined": "rough"}, "unknown joined 'rough'"),
        ({"places": "near"}, "unknown places 'near'"),
        ({"training": (("sclaes", "own"),)}, "unknown variants"),
        ({"training": (("seed", 3),)}, "unknown variants"),
        ({"joined": "smooth"}, "joined needs a skip"),
        ({"joined": "smooth", "skip": 2, "tie_skip": True}, "joined needs a skip"),
    ],
)
def test_impossible_recipes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe("wrong", **settings)


def test_arranged_places_cannot_be_inductive():
    arranged = dataclasses.replace(TINY, places="same")
    with pytest.raises(ValueError, match="cannot be inductive"):
        Embedding(TRAINED, arranged, 0, "melt", S, "inductive")


def test_a_recipe_comes_back_from_json():
    recipe = dataclasses.replace(TINY, training=(("scales", "own"), ("head_warmup", 3)))
    again = Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe))))
    assert again == recipe


@pytest.mark.parametrize(
    ("training", "argument", "kind"),
    [
        (("scales", "own"), "loss", variants.OwnScales),
        (("objective", "regression"), "loss", variants.regression_loss),
        (("switch", "step"), "batches", variants.salt_by_step),
        (("moments", "reset"), "hook", variants.reset_moments),
        (("head_warmup", 3), "hook", None),
    ],
)
def test_a_variant_is_one_argument_of_fit(training, argument, kind):
    recipe = dataclasses.replace(TINY, training=(training,))
    ((name, value),) = recipe.variant(SL).items()
    assert name == argument
    assert kind in (value, type(value)) if kind else callable(value)
    assert TINY.variant(SL) == {}


def test_a_tied_skip_makes_another_encoder():
    plain, tied = (dataclasses.replace(TINY, skip=2, tie_skip=t).encoder(0) for t in (False, True))
    assert (type(plain), type(tied)) == (LocationEncoder, variants.TiedSkip)
    assert (plain.tied_dim, tied.tied_dim) == (4, 8)
