"""Encoders joined into one embedding."""

import numpy as np
import pytest

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere

PLACES = sample_sphere(400, np.random.default_rng(0))
ELSEWHERE = sample_sphere(50, np.random.default_rng(1))


@pytest.fixture(scope="module")
def encoders(make_encoder):
    return [make_encoder(seed, skip=2) for seed in range(3)]


def test_the_components_are_those_of_the_joined_parts(encoders):
    width = encoders[0].tied_dim
    model = et.JoinedEncoders.fit(encoders, PLACES)
    z = model.embed(ELSEWHERE)
    assert z.shape == (50, 16)
    assert z.dtype == np.float32
    here, there = (
        [encoder.embed(places)[:, :width] for encoder in encoders] for places in (PLACES, ELSEWHERE)
    )
    joined, other = (
        np.concatenate([p / q.std() for p, q in zip(part, here)], axis=1) for part in (here, there)
    )
    _, _, components = np.linalg.svd(joined - joined.mean(axis=0), full_matrices=False)
    expected = (other - joined.mean(axis=0)) @ components[:width].T
    # A turn keeps distances between places.
    np.testing.assert_allclose(
        z[:, :width] @ z[:, :width].T, expected @ expected.T, rtol=1e-3, atol=1e-3
    )
    assert np.abs(z[:, :width] - expected).max() > 0.1
    np.testing.assert_array_equal(z[:, width:], encoders[0].embed(ELSEWHERE)[:, width:])


def test_a_joined_model_comes_back(encoders, tmp_path):
    model = et.JoinedEncoders.fit(encoders, PLACES)
    model.save_pretrained(tmp_path)
    again = et.JoinedEncoders.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.embed(ELSEWHERE), model.embed(ELSEWHERE))


def test_encoders_that_differ_are_refused(encoders, make_encoder):
    with pytest.raises(ValueError, match="alike in all settings"):
        et.JoinedEncoders([encoders[0], make_encoder(0)])
    with pytest.raises(ValueError, match="alike in all settings"):
        et.JoinedEncoders([])


def test_joined_encoders_have_no_tied_space(encoders):
    with pytest.raises(ValueError, match="embed places only"):
        et.JoinedEncoders.fit(encoders, PLACES).embed_modality("text", ["Paris"])
