"""The rows of the tables as settings: names, and what is refused."""

from dataclasses import replace

import pytest

from data.experiments.rows import TRAINED, Embedding, Recipe
from earthtie_lite.encoders import LocationEncoder
from earthtie_lite.results import variants

TINY = Recipe("tiny", n=300, pairs=1_200, batch_size=64, n_degrees=3, width=16, out_dim=8)
S, SL, ARRANGED = ("satellite",), ("satellite", "lights"), replace(TINY, places="same")
MELT = {"kind": TRAINED, "method": "melt", "modalities": S}


def test_every_variant_sees_the_same_pairs():
    recipe = Recipe("r", n=100_000, pairs=3_000_000)
    for method, n in (("melt", 1), ("melt", 2), ("melt", 3), ("salt", 3)):
        passes = recipe.config(method, n, 0).epochs * (n if method == "melt" else 1)
        assert passes * recipe.n == 3_000_000


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"kind": "harmonics"}, "harmonics"),
        (MELT, "satellite"),
        ({"kind": TRAINED, "method": "salt", "modalities": SL}, "SALT satellite+lights"),
        ({"kind": "ensemble", "method": "melt", "modalities": SL}, "ensemble"),
        ({"kind": "threefold", "method": "melt", "modalities": S}, "3 x satellite"),
        ({"kind": "reference, noise", "modalities": SL}, "reference, noise: satellite+lights"),
    ],
)
def test_names_tell_method_and_modalities(settings, name):
    assert Embedding(recipe=replace(TINY, skip=2), **settings).name == name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "harmonics", "setting": "seductive"}, "unknown setting"),
        ({"kind": TRAINED}, "with method"),
        (MELT | {"kind": "reference, noise"}, "with method"),
        (MELT | {"kind": "untrained"}, "with method"),
        *((MELT | {"modalities": m}, "must be a tuple of") for m in ("text", ("sattelite",))),
        ({"kind": "reference", "modalities": S, "setting": "inductive"}, "cannot be inductive"),
        (MELT | {"setting": "inductive", "recipe": ARRANGED}, "cannot be inductive"),
    ],
)
def test_impossible_rows_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Embedding(**{"recipe": TINY} | settings)


BAD = [
    *(({name: 0}, f"{name} of a recipe must be") for name in ("n", "pairs", "batch_size")),
    ({"joined": "rough"}, "unknown joined 'rough'"),
    ({"places": "near"}, "unknown places 'near'"),
    ({"training": (("sclaes", "own"),)}, "unknown variants"),
    ({"joined": "smooth"}, "joined needs a skip"),
    ({"joined": "smooth", "skip": 2, "tie_skip": True}, "joined needs a skip"),
]


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_impossible_recipes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe("wrong", **settings)


@pytest.mark.parametrize(
    ("training", "argument", "kind"),
    [
        (("scales", "own"), "loss", variants.OwnScales),
        (("objective", "regression"), "loss", variants.regression_loss),
        (("switch", "step"), "batches", variants.salt_by_step),
        (("moments", "reset"), "hook", variants.reset_moments),
        (("head_warmup", 3), "hook", type(lambda: 0)),
    ],
)
def test_a_variant_is_one_argument_of_fit(training, argument, kind):
    ((name, value),) = replace(TINY, training=(training,)).variant(SL).items()
    assert name == argument
    assert kind in (value, type(value))
    assert TINY.variant(SL) == {}


def test_a_skip_narrows_the_tied_space_unless_it_is_tied():
    for tied, kind, width in ((False, LocationEncoder, 4), (True, variants.TiedSkip, 8)):
        encoder = replace(TINY, skip=2, tie_skip=tied).encoder(0)
        assert (type(encoder), encoder.tied_dim) == (kind, width)
