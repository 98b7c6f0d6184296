"""The embeddings that are compared: what each is made of, and that nothing leaks into them."""

import dataclasses

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite import embeddings
from earthtie_lite.embeddings import embed
from earthtie_lite.protocol import in_report_half
from earthtie_lite.rows import TRAINED, Embedding, Recipe

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
        embeddings, "fit", lambda sample, config, encoder: started.append(encoder) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        made(tmp_path, TRAINED, method="melt", modalities=S, seed=3)
    assert (started[0].embed(PLACES) == made(tmp_path, "untrained", seed=3)[0]).all()


def test_an_encoder_is_trained_once_and_then_loaded(tmp_path, monkeypatch):
    z, seconds = made(tmp_path, TRAINED, method="melt", modalities=S)
    monkeypatch.setattr(embeddings, "fit", lambda *a: pytest.fail("trained twice"))
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
    fit = embeddings.fit

    def keep(sample, *settings):
        seen.append(sample)
        return fit(sample, *settings)

    monkeypatch.setattr(embeddings, "fit", keep)
    made(tmp_path, kind, method="melt", modalities=SL, setting="inductive")
    for sample in seen:
        for modality in sample.values():
            assert len(modality) == 300
            assert not in_report_half(modality.lonlat).any()
    assert seen


def test_a_skip_is_in_the_encoder_and_its_width():
    with_skip = dataclasses.replace(TINY, skip=2, out_dim=12)
    assert with_skip.encoder(0).embed(PLACES).shape == (200, 12)
    assert with_skip.encoder(0).tied_dim == 8
