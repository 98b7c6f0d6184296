"""The embeddings that are compared: what each is made of, and that nothing leaks into them."""

import dataclasses

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite import rows
from earthtie_lite.protocol import in_report_half
from earthtie_lite.rows import TRAINED, Embedding, Recipe, embed

TINY = Recipe(
    "tiny", n=300, pairs=1_200, batch_size=64, n_degrees=3, width=16, out_dim=8, dropout=0.0
)
PLACES = et.sample.sample_land(200, np.random.default_rng(0))
S, SL = ("satellite",), ("satellite", "lights")


def made(folder, kind, **settings):
    return embed(Embedding(kind, TINY, **settings), PLACES, folder, "nowhere")


@pytest.mark.parametrize(
    ("kind", "width"),
    [("coordinates", 3), ("harmonics", 9), ("density", 4), ("observations", 512), ("untrained", 8)],
)
def test_rows_without_training_have_their_width_and_cost_nothing(tmp_path, kind, width):
    z, seconds = made(tmp_path, kind)
    assert z.shape == (200, width)
    assert np.isfinite(z).all()
    assert seconds == 0
    assert not any(tmp_path.iterdir())


def test_the_seed_draws_the_weights(tmp_path):
    first, again, other = (made(tmp_path, "untrained", seed=s)[0] for s in (1, 1, 2))
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_training_starts_from_the_untrained_row_of_the_same_seed(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        rows, "fit", lambda sample, config, encoder: started.append(encoder) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        made(tmp_path, TRAINED, method="melt", modalities=S, seed=3)
    assert (started[0].embed(PLACES) == made(tmp_path, "untrained", seed=3)[0]).all()


def test_an_encoder_is_trained_once_and_then_loaded(tmp_path, monkeypatch):
    z, seconds = made(tmp_path, TRAINED, method="melt", modalities=S)
    monkeypatch.setattr(rows, "fit", lambda *a: pytest.fail("trained twice"))
    again = made(tmp_path, TRAINED, method="melt", modalities=S)
    assert (again[0] == z).all()
    assert seconds == pytest.approx(again[1])
    assert seconds > 0


def test_an_ensemble_has_the_width_of_one_and_knows_all(tmp_path):
    z, seconds = made(tmp_path, "ensemble", method="melt", modalities=SL)
    assert z.shape == (200, 8)
    parts = [made(tmp_path, TRAINED, method="melt", modalities=(name,)) for name in SL]
    assert seconds == pytest.approx(sum(part[1] for part in parts))
    joined = np.concatenate([part[0] for part in parts], axis=1)
    joined = joined - joined.mean(axis=0)
    left = z - z.mean(axis=0)
    left -= joined @ np.linalg.lstsq(joined, left, rcond=None)[0]
    np.testing.assert_allclose(left, 0, atol=1e-4)  # linear in the parts


@pytest.mark.parametrize("kind", [TRAINED, "ensemble"])
def test_the_inductive_setting_trains_on_nothing_near_the_report_half(tmp_path, monkeypatch, kind):
    seen = []
    fit = rows.fit
    monkeypatch.setattr(rows, "fit", lambda sample, *a: seen.append(sample) or fit(sample, *a))
    made(tmp_path, kind, method="melt", modalities=SL, setting="inductive")
    for sample in seen:
        for modality in sample.values():
            assert len(modality) == 300
            assert not in_report_half(modality.lonlat).any()
    assert seen


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
        {"kind": "untrained", "method": "melt", "modalities": S},
    ],
)
def test_impossible_rows_are_refused(settings):
    with pytest.raises(ValueError, match=r"unknown embedding|unknown setting|with method"):
        Embedding(recipe=TINY, **settings)


def test_a_skip_is_in_the_encoder_and_its_width():
    with_skip = dataclasses.replace(TINY, skip=2, out_dim=12)
    assert with_skip.encoder(0).embed(PLACES).shape == (200, 12)
    assert with_skip.encoder(0).tied_dim == 8


@pytest.mark.parametrize("name", ["n", "pairs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_recipes_of_nothing_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} of a recipe must be a positive integer"):
        Recipe("wrong", **{name: value})


@pytest.mark.parametrize("modalities", ["satellite", ("sattelite",)])
def test_modalities_must_be_a_tuple_of_known_names(modalities):
    with pytest.raises(ValueError, match="modalities must be a tuple of"):
        Embedding(TRAINED, TINY, 0, "melt", modalities)
