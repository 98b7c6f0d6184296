"""GeoCLIP's encoder by known values; random features as smooth as harmonics."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from earthtie_lite import sample as embedded
from earthtie_lite.coords import sample_sphere, to_lonlat, unit_vectors
from earthtie_lite.encodings import SphericalHarmonics
from earthtie_lite.results import peers
from earthtie_lite.results.peers import load_geoclip, smooth_features

PUBLISHED = Path(__file__).parents[2] / "build" / "peers" / "geoclip" / peers.GEOCLIP_FILE
# lon, lat, Euclidean norm and the first 8 of 512 values, from geoclip 1.3.0's own module.
REFERENCE = np.loadtxt(
    """
    -105 39.74 0.201288 0.01293 -0.004879 0.000405 -0.013626 0.004391 0.000329 -0.003774 0.005118
    31.24 30.04 0.317641 -0.019332 0.010839 -0.00447 -0.026427 0.022066 -0.031641 -0.011714 -0.02383
    139.69 35.69 0.26006 0.00334 -0.000656 -0.000218 -0.000783 0.00243 -0.006795 0.009131 -0.007017
    -60 -3.1 0.40172 0.004824 0.002858 0.006751 -0.021431 0.013935 0.000422 0.007592 0.010399
    0 0 0.395226 0.004656 0.000691 0.007355 -0.001512 -0.022802 0.011277 0.001111 -0.015343
    179.9 -16.5 0.407235 0.012487 0.012459 -0.003136 0.004551 0.024059 -0.008892 0.016851 0.000876
    """.splitlines()
)


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.is_file():
        pytest.fail("GeoCLIP's published weights are not installed: make peers brings them")
    return load_geoclip(PUBLISHED)


def test_published_weights_give_the_known_values_whatever_the_batch(published, monkeypatch):
    z = published.embed(REFERENCE[:, :2])
    assert (z.shape, z.dtype) == ((6, 512), np.float32)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), REFERENCE[:, 2], rtol=0, atol=1e-5)
    np.testing.assert_allclose(z[:, :8], REFERENCE[:, 3:], rtol=0, atol=1e-5)
    monkeypatch.setattr(peers, "BATCH", 4)
    np.testing.assert_allclose(published.embed(REFERENCE[:, :2]), z, rtol=0, atol=1e-6)
    assert not published.training
    assert not any(p.requires_grad for p in published.parameters())


def test_an_installed_package_is_found_not_imported_and_draws_no_random_numbers(
    published, monkeypatch
):
    monkeypatch.syspath_prepend(str(PUBLISHED.parents[3]))
    importlib.invalidate_caches()
    before = torch.random.get_rng_state()
    z = load_geoclip().embed(REFERENCE[:, :2])
    np.testing.assert_array_equal(z, published.embed(REFERENCE[:, :2]))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert "geoclip" not in sys.modules


def test_other_files_and_swapped_places_are_refused(published, tmp_path, monkeypatch):
    torch.save(published.state_dict(), tmp_path / "other.pth")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for path, message in (
        (tmp_path / "gone.pth", r"no weights of GeoCLIP in .*gone\.pth: pip install --no-deps"),
        (tmp_path / "other.pth", r"not GeoCLIP's published file: its SHA-256 is \w{64}, expected"),
        (None, r"geoclip is not installed: pip install --no-deps geoclip==1\.3\.0"),
    ):
        with pytest.raises(ValueError, match=message):
            load_geoclip(path)
    with pytest.raises(ValueError, match=r"got 151.2 in row 0; is the order \(longitude"):
        published.embed([[-33.9, 151.2]])


def test_smooth_features_are_as_steep_as_the_harmonics_they_replace():
    places, rng = sample_sphere(2000, np.random.default_rng(0)), np.random.default_rng(1)
    near = to_lonlat(unit_vectors(places) + 1e-4 * rng.normal(size=(2000, 3)))
    step = np.square(unit_vectors(near) - unit_vectors(places)).sum(axis=1)

    def steepness(encode):
        z = encode(places)
        return (np.square(encode(near) - z).sum(axis=1) / step).mean() / np.square(z).mean()

    waves = [steepness(lambda x, s=s: smooth_features(x, 5, s)) for s in range(40)]
    assert np.mean(waves) == pytest.approx(steepness(SphericalHarmonics(5)), rel=0.2)


def test_photos_are_what_the_published_encoder_says_of_random_places():
    m, other = (peers.photos(30, seed, PUBLISHED) for seed in (0, 1))
    assert (m.name, m.features.shape) == ("photos", (30, 512))
    np.testing.assert_allclose(m.features, load_geoclip(PUBLISHED).embed(m.lonlat), atol=1e-5)
    assert (m.lonlat != other.lonlat).all()
    assert embedded.is_land(m.lonlat).all()
