"""The embeddings that are compared: what each is made of, and that nothing leaks into them."""

import dataclasses

import numpy as np
import pytest

import earthtie_lite as et
from data.experiments import embeddings
from data.experiments.embeddings import embed
from data.experiments.rows import TRAINED, Embedding, Recipe
from earthtie_lite.coords import great_circle_km
from earthtie_lite.modalities import thinned_names
from earthtie_lite.results.peers import smooth_features
from earthtie_lite.results.protocol import in_report_half

TINY = Recipe("tiny", n=300, pairs=1_200, batch_size=64, n_degrees=3, width=16, out_dim=8)
SKIP = dataclasses.replace(TINY, skip=2, out_dim=12)
PLACES = et.sample.sample_land(200, np.random.default_rng(0))
WIDTHS = {"coordinates": 3, "harmonics": 9, "density": 4, "observations": 512, "untrained": 8}
S, SL = ("satellite",), ("satellite", "lights")


def made(folder, kind, recipe=TINY, **settings):
    return embed(Embedding(kind, recipe, **settings), PLACES, folder, "nowhere")


def unexplained(z, parts):
    """Return what is left of z after the best linear map of the parts."""
    joined = np.concatenate([part - part.mean(axis=0) for part in parts], axis=1)
    left = z - z.mean(axis=0)
    return np.abs(left - joined @ np.linalg.lstsq(joined, left, rcond=None)[0]).max()


@pytest.fixture
def fitted(monkeypatch):
    """Note what every training gets: modalities, settings, and the untrained embedding."""
    noted, fit = [], embeddings.fit

    def keep(sample, config, encoder):
        noted.append((sample, config, encoder.embed(PLACES)))
        return fit(sample, config, encoder)

    monkeypatch.setattr(embeddings, "fit", keep)
    return noted


@pytest.mark.parametrize(("kind", "width"), WIDTHS.items())
def test_rows_without_training_have_their_width_and_cost_nothing(tmp_path, kind, width):
    z, seconds = made(tmp_path, kind)
    assert z.shape == (200, width)
    assert np.isfinite(z).all()
    assert seconds == 0
    assert not any(tmp_path.iterdir())


def test_an_encoder_starts_as_the_untrained_row_of_its_seed_and_is_trained_once(tmp_path, fitted):
    z, seconds = made(tmp_path, TRAINED, method="melt", modalities=S, seed=3)
    again = made(tmp_path, TRAINED, method="melt", modalities=S, seed=3)
    ((_, _, start),) = fitted
    np.testing.assert_array_equal(start, made(tmp_path, "untrained", seed=3)[0])
    assert not np.allclose(start, made(tmp_path, "untrained", seed=2)[0])
    np.testing.assert_array_equal(again[0], z)
    assert again[1] == pytest.approx(seconds)
    assert seconds > 0


def test_an_ensemble_has_the_width_of_one_knows_all_and_no_small_column(tmp_path):
    z, seconds = made(tmp_path, "ensemble", method="melt", modalities=SL)
    parts = [made(tmp_path, TRAINED, method="melt", modalities=(name,)) for name in SL]
    assert z.shape == (200, 8)
    assert seconds == pytest.approx(sum(part[1] for part in parts))
    assert unexplained(z, [part[0] for part in parts]) < 1e-4
    sizes = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
    columns = z.std(axis=0)
    assert sizes[0] / sizes[-1] > 5  # its components differ in size
    assert columns.max() / columns.min() < 0.6 * sizes[0] / sizes[-1]  # its columns less so


@pytest.mark.parametrize("kind", [TRAINED, "ensemble"])
def test_the_inductive_setting_trains_on_nothing_near_the_report_half(tmp_path, fitted, kind):
    made(tmp_path, kind, method="melt", modalities=SL, setting="inductive")
    assert fitted
    for modality in (m for sample, *_ in fitted for m in sample.values()):
        assert len(modality) == 300
        assert not in_report_half(modality.lonlat).any()


def test_a_control_of_the_skip_replaces_its_columns_alone(tmp_path):
    smooth = dataclasses.replace(SKIP, name="other", joined="smooth")
    settings = {"seed": 1, "method": "melt", "modalities": S}
    plain, control = (made(tmp_path, TRAINED, r, **settings)[0] for r in (SKIP, smooth))
    assert plain.shape == control.shape == (200, 12)
    assert len(list((tmp_path / "encoders").iterdir())) == 1  # trained once
    np.testing.assert_array_equal(plain[:, :8], control[:, :8])
    np.testing.assert_allclose(control[:, 8:], smooth_features(PLACES, 2, 1), atol=1e-6)


def test_a_reference_joins_what_is_observed_at_the_place_itself(tmp_path):
    plain, seen = (made(tmp_path, kind)[0] for kind in ("untrained", "observations"))
    z, shuffled, noise = (
        made(tmp_path, f"reference{how}", modalities=SL)[0] for how in ("", ", shuffled", ", noise")
    )
    np.testing.assert_array_equal(z, np.concatenate([plain, seen], axis=1))
    np.testing.assert_array_equal(np.sort(shuffled[:, 8:], axis=0), np.sort(seen, axis=0))
    assert not np.allclose(shuffled, z)
    assert noise.shape == z.shape
    assert abs(np.corrcoef(noise[:, 8:].ravel(), seen.ravel())[0, 1]) < 0.05


def test_the_reference_of_text_is_the_nearest_name():
    names = thinned_names()
    places = names[["lon", "lat"]].to_numpy()[:5] + 0.001
    found = embeddings.frozen_features("text", places, 0)
    np.testing.assert_array_equal(found, et.CharacterNGrams()(names["name"].tolist()[:5]))


def test_arranged_places_are_trained_on(tmp_path, fitted):
    made(tmp_path, TRAINED, dataclasses.replace(TINY, places="same"), method="melt", modalities=SL)
    ((sample, *_),) = fitted
    np.testing.assert_array_equal(sample["satellite"].lonlat, sample["lights"].lonlat)


def test_retrieval_joins_features_of_the_nearest_observations(tmp_path):
    settings = {"method": "melt", "modalities": ("lights", "climate")}
    z, alone = (made(tmp_path, kind, **settings)[0] for kind in ("retrieval", TRAINED))
    assert z.shape == (200, 8 + 64)
    np.testing.assert_array_equal(z[:, :8], alone)
    at = et.load_sample(TINY.n, 0, ["climate"])["climate"]
    distance = great_circle_km(np.broadcast_to(PLACES[0], at.lonlat.shape), at.lonlat)
    features = (at.features - at.features.mean(0)) / np.maximum(at.features.std(0), 1e-9)
    nearest = features[distance.argsort()[:5]].mean(axis=0)
    np.testing.assert_allclose(z[0, -32:], nearest, atol=1e-4)


def test_three_trainings_on_the_same_pairs_are_joined(tmp_path, fitted):
    row = Embedding("threefold", TINY, 1, "melt", S)
    z, seconds = embed(row, PLACES, tmp_path, "")
    assert z.shape == (200, 8)
    parts = [embed(member, PLACES, tmp_path, "") for member in embeddings.members(row)]
    assert len(fitted) == 3  # each is trained once
    assert len({config.seed for _, config, _ in fitted}) == 3
    assert len({sample["satellite"].lonlat.tobytes() for sample, *_ in fitted}) == 1
    assert not np.allclose(fitted[0][2], fitted[1][2])
    assert seconds == pytest.approx(sum(part[1] for part in parts))
    parts = [part[0] for part in parts]
    assert unexplained(z, parts) < 1e-4 < min(unexplained(z, parts[:2]), unexplained(z, parts[1:]))
