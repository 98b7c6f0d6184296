"""SatCLIP's encoder: its harmonics, checkpoints in the published format, what is refused."""

import math
import re
from collections import OrderedDict

import numpy as np
import pytest
import sphericart
import torch
from server import Server

from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.results import satclip
from earthtie_lite.results.satclip import SatClipEncoder, harmonics, load_satclip, polynomials

# lon, lat; of L = 10, then of L = 40, the Euclidean norm and the first 2 of 8 values that SatCLIP's
# own module, as in the package rangegeo 0.1.0, gives with the weights of `checkpoint`.
REFERENCE = np.loadtxt(
    """
    0 90 0.80924 -0.06271 -0.228781 0.660221 -0.000842 -0.357071
    77 90 0.80924 -0.06271 -0.228781 0.660221 -0.000842 -0.357071
    0 -90 0.892998 0.010769 0.221394 0.462435 0.106554 0.052214
    -120.5 -90 0.892998 0.010769 0.221394 0.462435 0.106554 0.052214
    180 0 0.552541 0.059813 0.01696 1.027898 0.220415 -0.203901
    -180 0 0.552541 0.059813 0.01696 1.027898 0.220415 -0.203901
    180 65.5 0.671553 0.132653 0.317771 0.743471 0.403589 -0.184038
    -180 -41.25 0.542326 0.107916 0.166734 0.526446 -0.126239 -0.109836
    0 0 0.352633 -0.076429 -0.038432 0.693417 -0.044079 -0.034148
    13.4 52.5 0.824271 0.160369 0.172601 0.538986 0.302725 -0.046899
    -105 39.74 1.67639 -0.321305 -0.268223 0.70576 0.250582 -0.000951
    31.24 30.04 0.444498 -0.255405 0.103237 0.771876 0.132869 0.027245
    139.69 35.69 0.860628 0.097293 0.351759 0.523577 0.073625 -0.196855
    -60 -3.1 0.594171 -0.074896 -0.15973 0.772918 0.286026 0.016559
    179.9 -16.5 1.129211 -0.233569 0.369543 0.335127 -0.220016 -0.196412
    151.2 -33.9 0.987035 -0.185514 0.21187 0.545363 0.033771 -0.218837
    -68.3 -54.8 0.83269 -0.218495 0.248826 0.809776 -0.017704 -0.447789
    15.6 78.2 0.567026 -0.065627 -0.321691 0.70285 -0.330328 -0.384182
    -45 -82.5 0.812726 -0.034292 -0.223658 0.312454 0.002764 -0.231283
    100.25 0.5 0.930149 0.35499 0.243751 0.475976 0.252269 -0.234146
    """.splitlines()
)
PLACES = REFERENCE[:, :2]


def checkpoint(n_degrees=10, width=16, out_dim=8, depth=2, **settings):
    """Return what a published file holds, with random weights and the image encoder cut short."""
    rng, nnet = np.random.default_rng(n_degrees), {}
    shapes = {f"layers.{i}": (width, width if i else n_degrees**2) for i in range(depth)}
    for name, (rows, n) in {**shapes, "last_layer": (out_dim, width)}.items():
        for kind, shape in (("weight", (rows, n)), ("bias", rows)):
            nnet[f"{name}.{kind}"] = torch.from_numpy(rng.uniform(-1, 1, shape) / math.sqrt(n))
    state = {f"model.{p}nnet.{k}": t for p in ("", "location.") for k, t in nnet.items()}
    state |= {"model.logit_scale": torch.tensor(2.7), "model.visual.conv1.weight": torch.zeros(2)}
    given = {
        "embed_dim": out_dim,
        "capacity": width,
        "num_hidden_layers": depth,
        "pe_type": "siren",
    }
    given |= {"legendre_polys": n_degrees, "le_type": "sphericalharmonics", "max_radius": 0.01}
    given |= {"harmonics_calculation": "analytic", "eval_downstream": False} | settings
    adam = {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2)}}
    return {
        "epoch": 499,
        "pytorch-lightning_version": "2.0.2",
        "state_dict": OrderedDict(state),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 500}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": adam[0]}},
        "optimizer_states": [{"state": adam, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.99)}]}],
        "hparams_name": "kwargs",
        "hyper_parameters": given,
    }


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a checkpoint and returns its path."""

    def save(content, name="satclip-vit16-l10.ckpt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def sound(lonlat, n_degrees):
    """Return orthonormal harmonics at the antipode, of order 0 times pi, without rounding."""
    values = sphericart.SphericalHarmonics(n_degrees - 1).compute(-unit_vectors(lonlat))
    zonal = np.arange(n_degrees) * (np.arange(n_degrees) + 1)
    values[:, zonal] *= math.pi
    return values


@pytest.mark.parametrize(
    ("n_degrees", "latitudes", "least", "most"),
    [
        (1, (0, 90), 0, 1e-15),
        (10, (0, 90), 0, 1e-11),
        (40, (0, 30), 0, 1e-7),
        (40, (30, 60), 1e-3, 0.05),
        (40, (85, 90), 0.4, 0.8),
    ],
)
def test_harmonics_are_orthonormal_ones_but_for_order_zero_and_rounding(
    n_degrees, latitudes, least, most
):
    lonlat = np.vstack([sample_sphere(5_000, np.random.default_rng(0)), PLACES])
    low, high = latitudes
    lonlat = lonlat[(abs(lonlat[:, 1]) >= low) & (abs(lonlat[:, 1]) <= high)]
    error = harmonics(torch.tensor(lonlat), n_degrees).numpy() - sound(lonlat, n_degrees)
    assert error.shape == (len(lonlat), n_degrees**2)
    assert least <= abs(error).max() <= most


@pytest.mark.parametrize(
    ("degree", "m", "power", "coefficient"),
    [
        (8, 0, 2, -35.9691335906579),
        (14, 5, 9, 588233153.320313),
        (20, 8, 12, 667703378804743.0),
        (23, 0, 19, 81867901.084546),
        (39, 5, 0, -12094680.738796),
        (39, 0, 39, 389968157002.95),
    ],
)
def test_coefficients_are_rounded_as_in_satclips_code(degree, m, power, coefficient):
    _, coefficients = polynomials(40)
    assert coefficients[(degree - m - power) // 2, m, degree - m] == coefficient


@pytest.mark.parametrize(("n_degrees", "first"), [(10, 2), (40, 5)])
def test_a_published_checkpoint_gives_satclips_numbers(saved, monkeypatch, n_degrees, first):
    path, before = saved(checkpoint(n_degrees)), torch.random.get_rng_state()
    encoder = load_satclip(path)
    z = encoder.embed(PLACES)
    assert (encoder.n_degrees, encoder.out_dim) == (n_degrees, 8)
    assert (z.shape, z.dtype) == ((20, 8), np.float32)
    # Processors round powers differently, and far from the equator 40 degrees make that visible.
    visible = (n_degrees == 40) & (abs(PLACES[:, 1]) > 60) & (abs(PLACES[:, 1]) < 90)
    got = np.column_stack([np.linalg.norm(z, axis=1), z[:, :2]])
    error = abs(got - REFERENCE[:, first : first + 3]).max(axis=1)
    assert (error <= np.where(visible, 0.05, 1e-5)).all(), error
    monkeypatch.setattr(satclip, "BATCH", 7)
    np.testing.assert_array_equal(encoder.embed(PLACES.tolist()), z)
    with torch.no_grad():
        np.testing.assert_array_equal(encoder(torch.tensor(PLACES)).float(), z)
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_name_is_loaded_from_the_hub(saved, tmp_path, monkeypatch):
    from huggingface_hub import constants

    data = saved(checkpoint(12, 24, 4, depth=3)).read_bytes()
    with Server() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "kept"))
        hub.add("microsoft/SatCLIP-ViT16-L10/resolve/main/satclip-vit16-l10.ckpt", data)
        assert load_satclip("microsoft/SatCLIP-ViT16-L10").embed(PLACES).shape == (20, 4)
        with pytest.raises(ValueError, match=r"SatCLIP-ViT16-L99 is not a file and the Hub does"):
            load_satclip("microsoft/SatCLIP-ViT16-L99")


class Evil:
    def __reduce__(self):
        return open, ("made", "w")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("hyper_parameters"),
        lambda c: c.pop("state_dict"),
        lambda c: c["state_dict"].pop("model.location.nnet.last_layer.bias"),
        lambda c: c["state_dict"].update(
            {"model.location.nnet.layers.0.weight": torch.ones(16, 99)}
        ),
        lambda c: c.update(checkpoint(51)),
        lambda c: c.update(callbacks=Evil()),
        lambda c: c["hyper_parameters"].pop("le_type"),
    ],
)
def test_other_files_are_refused_and_run_no_code(saved, tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    content = checkpoint()
    change(content)
    path = saved(content)
    with pytest.raises(ValueError, match=r"l10.ckpt is truncated or not a checkpoint of SatCLIP: "):
        load_satclip(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: b"a text", lambda d: d[:-9], lambda d: d[: len(d) // 2]]
)
def test_damaged_files_are_refused(saved, damage):
    path = saved(checkpoint())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"is truncated or .*: give a name on the Hub, such as"):
        load_satclip(path)


@pytest.mark.parametrize(
    "settings", [{"harmonics_calculation": "closed-form"}, {"le_type": "grid"}], ids=str
)
def test_an_encoder_of_another_kind_is_refused(saved, settings):
    ((name, kind),) = settings.items()
    with pytest.raises(ValueError, match=f"an encoder of another kind, .*'{name}': '{kind}'"):
        load_satclip(saved(checkpoint(**settings)))


@pytest.mark.parametrize("name", ["gone.ckpt", "weights/gone.ckpt", "/no/such/file", "satclip"])
def test_a_missing_file_is_not_sought_on_the_hub(name):
    with pytest.raises(ValueError, match=f"there is no file {re.escape(name)}: give a name on"):
        load_satclip(name)


def test_a_new_encoder_is_drawn_as_satclips_and_drops_units_only_in_training():
    encoder = SatClipEncoder(6, width=64, depth=3, out_dim=4)
    bounds = {name: p.abs().max().item() for name, p in encoder.named_parameters()}
    expected = {"layers.0": 1 / 36, "layers.1": 0.306, "layers.2": 0.306, "last_layer": 0.306}
    for name, bound in expected.items():
        assert bounds[f"{name}.weight"] == pytest.approx(bound, rel=0.03)
    places = torch.tensor(PLACES)
    assert not torch.equal(encoder(places), encoder(places))
    np.testing.assert_array_equal(encoder.embed(PLACES), encoder.embed(PLACES))
    assert encoder.training
    encoder(places).square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in encoder.parameters())
    with pytest.raises(ValueError, match=r"got 151.2 in row 0; is the order \(longitude"):
        encoder.embed([[-33.9, 151.2]])
    with pytest.raises(ValueError, match=r"n_degrees must lie in \[1, 50\], got 51"):
        SatClipEncoder(51)
