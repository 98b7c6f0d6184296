"""Variants of training: batches, hooks, losses and the tied skip."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.coords import sample_sphere
from earthtie_lite.losses import MAX_LOGIT_SCALE, nt_xent
from earthtie_lite.results import variants

CONFIG = et.TrainConfig(epochs=3, batch_size=96, learning_rate=3e-3, val_batch_size=16)
NAMES = ("soil", "river", "wind")  # of the fixture three
SALT = CONFIG.replace(method="salt", batch_size=30)


def assert_same_run(one, other):
    """Compare weights, optimiser and histories bitwise, without the seconds."""
    first, second = (run.model.state_dict() | run.optimiser for run in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    histories = [run.history.drop(columns="seconds") for run in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.fixture
def untrained(three, make_encoder):
    """Return a model with fitted statistics and the data of three modalities."""
    model = et.EarthTie(make_encoder(dropout=0.0), {m.name: 6 for m in three})
    for m in three:
        model.head(m.name).fit_statistics(torch.from_numpy(m.features))
    return model, train.load_data(model, three)


def test_salt_by_step_takes_the_next_modality_in_every_step():
    rows, active = {name: np.arange(90) for name in "abc"}, []
    for epoch in range(3):
        batches = list(variants.salt_by_step(rows, 20, np.random.default_rng(4), epoch))
        active += [name for batch in batches for name in batch]
        assert [len(some) for batch in batches for some in batch.values()] == [20] * 4
    assert active == list("abcabcabcabc")


def test_an_epoch_has_the_number_of_batches_asked_for_and_begins_like_that_of_melt():
    rows = {name: np.arange(900) for name in "abc"}
    few = list(variants.first_batches(5)(rows, 20, np.random.default_rng(4), 2))
    full = list(train.melt_batches(rows, 20, np.random.default_rng(4), 2))
    assert (len(few), len(full)) == (5, 128)
    for one, other in zip(few, full):
        assert all((one[name] == other[name]).all() for name in rows)


def test_head_warm_up_trains_only_the_returning_head(make_modality, make_encoder):
    two = [make_modality(name, 120, seed=i) for i, name in enumerate(("soil", "wind"))]
    states, warm_up = [], variants.head_warmup(3)

    def hook(model, optimiser, epoch, step):
        states.append({key: value.clone() for key, value in model.state_dict().items()})
        warm_up(model, optimiser, epoch, step)

    et.fit(two, SALT.replace(val_fraction=0), make_encoder(), hook=hook)
    assert len(states) == 12  # 4 steps an epoch; in the third, soil returns
    changed = [{k for k in a if not torch.equal(a[k], b[k])} for a, b in pairwise(states)]
    head = {f"projections.of_soil.linear.{part}" for part in ("weight", "bias")}
    assert [keys == head for keys in changed] == [False] * 8 + [True] * 3


def test_moments_are_reset_at_the_start_of_an_epoch(three, make_encoder):
    run = et.fit(three, SALT.replace(epochs=2), make_encoder(), hook=variants.reset_moments)
    counts = {key: int(v) for key, v in run.optimiser.items() if key.endswith(".step")}
    assert set(counts.values()) == {len(run.history) // 2}  # of the second epoch only
    assert not any("of_soil" in key for key in counts)


@pytest.mark.parametrize("hook", [variants.head_warmup(3), variants.reset_moments])
def test_the_hooks_do_not_change_a_run_with_one_modality(three, make_encoder, hook):
    assert_same_run(*(et.fit(three[:1], SALT, make_encoder(), hook=h) for h in (None, hook)))


def test_own_scales_compare_each_pair_with_the_clamped_scale_of_its_modality(untrained):
    (model, data), loss = untrained, variants.OwnScales(NAMES)
    for name, scale in zip(NAMES, (0.5, 1.5, 9.0)):
        assert loss.scales[f"of_{name}"].exp().item() == pytest.approx(1 / 0.07)  # CLIP's
        loss.scales[f"of_{name}"].data.fill_(scale)
    batch = {name: np.arange(i + 1) for i, name in enumerate(NAMES)}
    places = torch.cat([model.locate(data.basis[m][rows]) for m, rows in batch.items()])
    seen = torch.cat([model.observe(m, data.features[m][rows]) for m, rows in batch.items()])
    scales = torch.tensor([0.5, 1.5, 1.5, *[MAX_LOGIT_SCALE] * 3])
    torch.testing.assert_close(loss(model, data, batch, CONFIG), nt_xent(places, seen, scales))


@pytest.mark.parametrize("config", [CONFIG.replace(epochs=4), SALT.replace(epochs=4)])
def test_a_run_with_own_scales_is_loaded_and_resumed_bitwise(three, make_encoder, tmp_path, config):
    def train_to(epochs, encoder=None, **where):
        loss = variants.OwnScales(NAMES)
        settings = {"loss": loss, "hook": variants.reset_moments, **where}
        return et.fit(three, config.replace(epochs=epochs), encoder, **settings), loss

    whole, loss = train_to(4, make_encoder(), save_to=tmp_path / "whole")
    train_to(2, make_encoder(), save_to=tmp_path / "half")
    assert_same_run(whole, train_to(4, resume_from=tmp_path / "half")[0])
    assert_same_run(whole, et.load(tmp_path / "whole"))
    scales = [loss.scales[f"of_{m.name}"].item() for m in three]
    assert len(set(scales)) == 3
    assert "loss.scales.of_soil.value" in whole.optimiser
    assert whole.history["logit_scale"].iloc[-1] == whole.model.logit_scale.item()
    if config.method == "melt":  # the model has the scale of the step before
        assert whole.model.logit_scale.item() == pytest.approx(np.mean(scales), abs=0.01)


def test_resuming_with_another_loss_is_refused(three, make_encoder, tmp_path):
    config, own_scales = CONFIG.replace(epochs=1), variants.OwnScales(NAMES)
    et.fit(three, config, make_encoder(), loss=own_scales, save_to=tmp_path / "own")
    et.fit(three, config, make_encoder(), save_to=tmp_path / "shared")
    for name, loss in (("own", {}), ("shared", {"loss": own_scales})):
        with pytest.raises(ValueError, match="was trained with another loss"):
            et.fit(three, config.replace(epochs=2), resume_from=tmp_path / name, **loss)


def test_regression_is_the_squared_error_of_the_standardised_features(untrained):
    model, data = untrained
    batch, errors = {"soil": np.arange(4), "wind": np.arange(2)}, []
    for name, rows in batch.items():
        head = model.head(name)
        predicted = model.encoder(data.basis[name][rows]) @ head.linear.weight
        errors.append((predicted - head.standardise(data.features[name][rows])) ** 2)
    got = variants.regression_loss(model, data, batch, CONFIG)
    torch.testing.assert_close(got, torch.cat(errors).mean())


@pytest.fixture
def tied_skip():
    torch.manual_seed(0)
    return variants.TiedSkip(et.SphericalHarmonics(4), 32, 2, 16, 0.1, skip=3).eval()


def test_epps_pulley_tells_a_normal_batch_from_others():
    torch.manual_seed(0)
    z = torch.randn(4000, 6)
    found = [
        variants.epps_pulley(x).item() for x in (z, 2 * z, z - 1, z.sign(), z.mean(1)[:, None])
    ]
    t = np.linspace(-5, 5, 17)
    normal = np.exp(-(t**2) / 2)
    assert found[0] == pytest.approx(np.trapezoid((1 - normal**2) * normal, t), rel=0.3)  # expected
    assert min(found[1:]) > 20 * found[0]
    x, weight = z[:50, :1], torch.exp(-(torch.linspace(-5, 5, 17) ** 2) / 2)
    wave = torch.exp(1j * x * torch.linspace(-5, 5, 17)).mean(dim=0)  # one direction is enough
    error = (wave - weight).abs().square() * weight
    expected = 50 * torch.trapezoid(error, torch.linspace(-5, 5, 17))
    torch.testing.assert_close(variants.epps_pulley(x), expected)


def test_sigreg_learns_without_negatives_and_does_not_collapse(three, make_encoder):
    run = et.fit(three, CONFIG.replace(epochs=8), make_encoder(), loss=variants.sigreg_loss)
    losses = run.history["loss"]
    assert losses.iloc[-5:].mean() < 0.7 * losses.iloc[:5].mean()
    z = run.model.embed(sample_sphere(500, np.random.default_rng(0)))
    assert z.std(axis=0).min() > 0.2


def test_a_tied_skip_is_part_of_the_tied_space(tied_skip):
    places = sample_sphere(500, np.random.default_rng(0))
    assert (tied_skip.tied_dim, tied_skip.out_dim) == (16, 16)
    tied = tied_skip(tied_skip.basis(places)).detach()
    low = et.SphericalHarmonics(3)(places) * math.sqrt(4 * math.pi)
    size = tied[:, :7].square().mean().sqrt()  # both parts start equally large
    np.testing.assert_allclose(tied[:, 7:], low * size.item(), rtol=0.05, atol=1e-3)
    np.testing.assert_allclose(tied_skip.embed(places), tied, atol=1e-5)


def test_a_run_with_a_tied_skip_is_saved_and_loaded(three, tied_skip, tmp_path):
    run = et.fit(three, CONFIG.replace(epochs=1), tied_skip, save_to=tmp_path / "run")
    loaded = et.load(tmp_path / "run")
    assert isinstance(loaded.model.encoder, variants.TiedSkip)
    assert_same_run(loaded, run)
    places = three[0].lonlat
    np.testing.assert_array_equal(loaded.model.embed(places), run.model.embed(places))


@pytest.mark.parametrize("skip", [0, 5])
def test_a_tied_skip_must_be_part_of_the_encoding(skip):
    for encoding in (et.SphericalHarmonics(4), et.UnitVectors()):
        with pytest.raises(ValueError, match=rf"at least 1 degree and .*, got {skip}"):
            variants.TiedSkip(encoding, out_dim=64, skip=skip)
