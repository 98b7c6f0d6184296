"""GeoCLIP's encoder by hand and by known values; random features as smooth as harmonics."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from earthtie_lite.coords import sample_sphere, to_lonlat, unit_vectors
from earthtie_lite.encoders import SphericalHarmonics
from earthtie_lite.results import peers
from earthtie_lite.results.peers import (
    GeoClipEncoder,
    equal_earth,
    load_geoclip,
    smooth_features,
)

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
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GeoClipEncoder()


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.is_file():
        pytest.fail("GeoCLIP's published weights are not installed: make peers brings them")
    return load_geoclip(PUBLISHED)


def published_names(encoder):
    return {k.replace("capsules.", "LocEnc"): v.clone() for k, v in encoder.state_dict().items()}


def test_published_weights_give_the_known_norms(published):
    norm = np.linalg.norm(published.embed(REFERENCE[:, :2]), axis=1)
    np.testing.assert_allclose(norm, REFERENCE[:, 2], rtol=0, atol=1e-5)


def test_published_weights_give_the_known_values(published):
    z = published.embed(REFERENCE[:, :2])
    assert z.shape == (6, 512)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z[:, :8], REFERENCE[:, 3:], rtol=0, atol=1e-5)


def test_published_weights_are_frozen(published):
    assert not published.training
    assert not any(p.requires_grad for p in published.parameters())


def test_the_random_frequencies_grow_by_sixteen(published):
    spread = [float(capsule.capsule[0].b.std()) for capsule in published.capsules]
    np.testing.assert_allclose(spread, [1, 16, 256], rtol=0.1)


def test_loading_draws_no_random_numbers(published):
    before = torch.random.get_rng_state()
    load_geoclip(PUBLISHED)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_installed_package_is_found_and_not_imported(published, monkeypatch):
    monkeypatch.syspath_prepend(str(PUBLISHED.parents[3]))
    importlib.invalidate_caches()
    z = load_geoclip().embed(REFERENCE[:, :2])
    np.testing.assert_array_equal(z, published.embed(REFERENCE[:, :2]))
    assert "geoclip" not in sys.modules


def test_the_plane_has_known_edges():
    pole, east = equal_earth(torch.tensor([[0.0, 90.0], [180.0, 0.0]], dtype=torch.float64))
    # Savric et al. (2019): the map is 2.05458 times as wide as high.
    assert float(east[0] / pole[1]) == pytest.approx(2.05458, abs=1e-5)
    assert pole[0] == east[1] == 0


def test_areas_on_the_plane_are_those_on_the_sphere():
    for lon, lat in [(10.0, 5.0), (-120.0, 45.0), (170.0, -80.0)]:
        place = torch.tensor([lon, lat], dtype=torch.float64)
        slopes = torch.autograd.functional.jacobian(lambda p: equal_earth(p[None])[0], place)
        a_degree = np.radians(1) * peers.SCALE / 180  # at the equator, were the map a plain one
        expected = np.cos(np.radians(lat)) * a_degree**2
        assert float(torch.det(slopes)) == pytest.approx(expected, rel=1e-5)


def test_an_embedding_is_the_sum_of_its_capsules_by_hand(encoder):
    lonlat = sample_sphere(5, np.random.default_rng(1)).astype(np.float32)
    v = equal_earth(torch.from_numpy(lonlat)).double()
    state = {name: tensor.double() for name, tensor in encoder.state_dict().items()}
    total = torch.zeros(5, 512, dtype=torch.float64)
    for number in range(3):
        phase = 2 * torch.pi * v @ state[f"capsules.{number}.capsule.0.b"].T
        x = torch.cat([phase.cos(), phase.sin()], dim=1)
        for layer in (1, 3, 5):
            name = f"capsules.{number}.capsule.{layer}"
            x = torch.relu(x @ state[f"{name}.weight"].T + state[f"{name}.bias"])
        name = f"capsules.{number}.head.0"
        total += x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
    np.testing.assert_allclose(encoder.embed(lonlat), total.numpy(), rtol=0, atol=2e-5)


def test_embeddings_do_not_depend_on_the_batch(encoder, monkeypatch):
    lonlat = sample_sphere(20, np.random.default_rng(2))
    whole = encoder.embed(lonlat)
    assert whole.shape == (20, encoder.out_dim) == (20, 512)
    monkeypatch.setattr(peers, "BATCH", 7)
    np.testing.assert_allclose(encoder.embed(lonlat), whole, rtol=0, atol=1e-6)


def test_longitude_comes_first(encoder):
    with pytest.raises(ValueError, match=r"got 151.2 in row 0; is the order \(longitude"):
        encoder.embed([[-33.9, 151.2]])


def test_random_frequencies_are_not_trained(encoder):
    assert not [name for name, _ in encoder.named_parameters() if name.endswith(".b")]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no weights of GeoCLIP in .*gone\.pth: pip install --no"):
        load_geoclip(tmp_path / "gone.pth")


def test_a_file_that_is_not_the_published_one_is_refused(encoder, tmp_path):
    torch.save(published_names(encoder), tmp_path / "weights.pth")
    with pytest.raises(
        ValueError, match=r"not GeoCLIP's published file: its SHA-256 is \w{64}, ex"
    ):
        load_geoclip(tmp_path / "weights.pth")


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = r"geoclip is not installed: pip install --no-deps geoclip==1\.3\.0 \(40 MB\)"
    with pytest.raises(ValueError, match=message):
        load_geoclip()


def test_smooth_features_are_as_steep_as_the_harmonics_they_stand_for():
    places = sample_sphere(4000, np.random.default_rng(0))
    near = to_lonlat(unit_vectors(places) + 1e-4 * np.random.default_rng(1).normal(size=(4000, 3)))
    step = np.square(unit_vectors(near) - unit_vectors(places)).sum(axis=1)

    def steepness(encode):
        z = encode(places)
        return (np.square(encode(near) - z).sum(axis=1) / step).mean() / np.square(z).mean()

    for degrees in (3, 5, 10):
        waves = [steepness(lambda x, s=s, d=degrees: smooth_features(x, d, s)) for s in range(40)]
        harmonics = steepness(lambda x, d=degrees: SphericalHarmonics(d)(x))
        assert smooth_features(places, degrees, 0).shape == (4000, degrees**2)
        assert np.mean(waves) == pytest.approx(harmonics, rel=0.2)
