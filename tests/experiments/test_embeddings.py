"""The embeddings that are compared: what each is made of, and that nothing leaks into them."""

import dataclasses

import numpy as np
import pytest

import earthtie_lite as et
from data.experiments import embeddings
from data.experiments.embeddings import embed
from data.experiments.rows import TRAINED, Embedding, Recipe
from earthtie_lite.modalities import thinned_names
from earthtie_lite.results.peers import smooth_features
from earthtie_lite.results.protocol import in_report_half

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


def test_a_control_of_the_skip_replaces_its_columns_alone(tmp_path):
    with_skip = dataclasses.replace(TINY, skip=2, out_dim=12)
    smooth = dataclasses.replace(with_skip, name="other", joined="smooth")
    rows = [Embedding(TRAINED, r, 1, "melt", S) for r in (with_skip, smooth)]
    plain, control = (embed(row, PLACES, tmp_path, "")[0] for row in rows)
    assert len(list((tmp_path / "encoders").iterdir())) == 1  # trained once
    np.testing.assert_array_equal(plain[:, :8], control[:, :8])
    np.testing.assert_allclose(control[:, 8:], smooth_features(PLACES, 2, 1), atol=1e-6)


def test_a_reference_joins_what_is_observed_at_the_place_itself(tmp_path):
    plain = made(tmp_path, "untrained")[0]
    seen = made(tmp_path, "observations")[0]
    z = made(tmp_path, "reference", modalities=SL)[0]
    np.testing.assert_array_equal(z[:, :8], plain)
    np.testing.assert_array_equal(z[:, 8:], seen)
    shuffled = made(tmp_path, "reference, shuffled", modalities=SL)[0]
    np.testing.assert_array_equal(np.sort(shuffled[:, 8:], axis=0), np.sort(seen, axis=0))
    assert not np.allclose(shuffled, z)
    noise = made(tmp_path, "reference, noise", modalities=SL)[0]
    assert noise.shape == z.shape
    assert abs(np.corrcoef(noise[:, 8:].ravel(), seen.ravel())[0, 1]) < 0.05


def test_the_reference_of_text_is_the_nearest_name(tmp_path):
    names = thinned_names()
    places = names[["lon", "lat"]].to_numpy()[:5] + 0.001
    found = embeddings.frozen_features("text", places, 0)
    np.testing.assert_array_equal(found, et.CharacterNGrams()(names["name"].tolist()[:5]))


def test_arranged_places_are_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "fit", lambda sample, *a: pytest.fail(str(list(sample))))
    recipe = dataclasses.replace(TINY, places="same")
    with pytest.raises(pytest.fail.Exception, match="'satellite', 'text'"):
        embed(Embedding(TRAINED, recipe, 0, "melt", ("satellite", "text")), PLACES, tmp_path, "")


def test_an_ensemble_is_turned_so_that_no_column_is_small(tmp_path):
    z = made(tmp_path, "ensemble", method="melt", modalities=SL)[0]
    alone = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
    columns = z.std(axis=0)
    assert alone[0] / alone[-1] > 5  # its components differ in size
    assert columns.max() / columns.min() < 0.6 * alone[0] / alone[-1]  # its columns less so


def test_three_trainings_on_the_same_pairs_are_joined(tmp_path, monkeypatch):
    seen, fit = [], embeddings.fit

    def keep(sample, config, encoder):
        seen.append((sample["satellite"].lonlat, config.seed, encoder.embed(PLACES)))
        return fit(sample, config, encoder)

    monkeypatch.setattr(embeddings, "fit", keep)
    row = Embedding("threefold", TINY, 1, "melt", S)
    z, seconds = embed(row, PLACES, tmp_path, "")
    assert z.shape == (200, 8)
    assert len({seed for _, seed, _ in seen}) == 3
    assert all((places == seen[0][0]).all() for places, _, _ in seen)
    assert not np.allclose(seen[0][2], seen[1][2])
    parts = [embed(member, PLACES, tmp_path, "") for member in embeddings.members(row)]
    assert len(seen) == 3  # each is trained once
    assert seconds == pytest.approx(sum(part[1] for part in parts))
    parts = [part[0] - part[0].mean(axis=0) for part in parts]
    left = z - z.mean(axis=0)
    for some in ([0, 1, 2], [0, 1], [1, 2]):
        basis = np.concatenate([parts[k] for k in some], axis=1)
        rest = left - basis @ np.linalg.lstsq(basis, left, rcond=None)[0]
        assert (np.abs(rest).max() < 1e-4) == (len(some) == 3)  # linear in all three
