"""Training: batches, MELT and SALT, what is held out, determinism, resuming, stopping."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.batches import batches, split_rows
from earthtie_lite.coords import hold_out, sample_sphere
from earthtie_lite.losses import MAX_LOGIT_SCALE, nt_xent
from earthtie_lite.sample import PATCH_KM

CONFIG = et.TrainConfig(
    epochs=3, batch_size=96, learning_rate=3e-3, val_batch_size=16, device="cpu"
)
METHODS = pytest.mark.parametrize("method", ["melt", "salt"])


class Stopped(Exception):
    """What a callback raises to kill a run."""


def stop_after(epoch):
    def callback(row):
        if row["epoch"] == epoch:
            raise Stopped

    return callback


def weights(run):
    return {k: v.clone() for k, v in run.model.state_dict().items()}


def assert_same_run(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key
    pd.testing.assert_frame_equal(
        one.history.drop(columns="seconds"), other.history.drop(columns="seconds"), check_exact=True
    )


@pytest.fixture
def spy(monkeypatch):
    """Record the batches that training takes, without those of validation."""
    taken, tied_loss = [], train.tied_loss

    def record(model, basis, features, batch, config, *here):
        if model.training:
            taken.append({name: np.asarray(rows) for name, rows in batch.items()})
        return tied_loss(model, basis, features, batch, config, *here)

    monkeypatch.setattr(train, "tied_loss", record)
    return taken


@pytest.fixture(scope="module")
def melt(three, make_encoder):
    return et.fit(three, CONFIG, make_encoder())


@METHODS
def test_a_run_has_model_config_and_history(three, make_encoder, method):
    config = CONFIG.replace(method=method)
    run = et.fit(three, config, make_encoder())
    assert isinstance(run.model, et.EarthTie)
    assert run.config == config
    columns = ["step", "epoch", "pairs", "modality", "loss", "val_loss", "logit_scale", "seconds"]
    assert list(run.history)[:8] == columns
    assert run.history["step"].tolist() == list(range(1, len(run.history) + 1))
    assert np.isfinite(run.history["loss"]).all()
    assert run.history["seconds"].is_monotonic_increasing
    assert (run.history["grad_norm"] > 0).all()
    assert run.model.embed(three[0].lonlat).shape == (300, 16)


def test_validation_losses_stand_where_an_epoch_ends(melt):
    last = melt.history.groupby("epoch")["step"].max()
    ends = melt.history.dropna(subset="val_loss")
    assert ends["step"].tolist() == last.tolist()
    each = ends[["val_soil", "val_river", "val_wind"]].to_numpy()
    np.testing.assert_allclose(ends["val_loss"], each.mean(axis=1))


def test_the_default_encoder_is_the_contracts(make_modality):
    run = et.fit(make_modality(n=40), CONFIG.replace(epochs=1, batch_size=16, val_fraction=0))
    assert run.model.encoder.spec == et.LocationEncoder().spec


@METHODS
def test_one_modality_is_the_baseline_alone_or_in_a_mapping(three, make_encoder, method):
    config = CONFIG.replace(method=method)
    alone = et.fit(three[0], config, make_encoder())
    assert set(alone.history["modality"]) == {"soil"}
    assert_same_run(alone, et.fit({"soil": three[0]}, config, make_encoder()))


def test_without_held_out_blocks_there_is_no_validation_loss(three, make_encoder, spy):
    run = et.fit(three, CONFIG.replace(val_fraction=0, epochs=1), make_encoder())
    assert run.history["val_loss"].isna().all()
    assert list(run.history)[-1] == "grad_norm"
    assert len(spy) == 300 // 32


def test_the_encoder_passed_in_stays_untrained(three, make_encoder):
    encoder = make_encoder()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    run = et.fit(three, CONFIG.replace(epochs=1), encoder)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    assert any(not torch.equal(before[k], v) for k, v in run.model.encoder.state_dict().items())


def test_the_sample_passed_in_stays_as_it_was(three, make_encoder):
    before = [(m.lonlat.copy(), m.features.copy()) for m in three]
    et.fit(three, CONFIG.replace(epochs=1), make_encoder())
    for m, (lonlat, features) in zip(three, before, strict=True):
        np.testing.assert_array_equal(m.lonlat, lonlat)
        np.testing.assert_array_equal(m.features, features)


def test_callback_sees_the_last_row_of_each_epoch(three, make_encoder):
    rows = []
    run = et.fit(three, CONFIG, make_encoder(), callback=rows.append)
    ends = run.history.dropna(subset="val_loss")
    assert [row["step"] for row in rows] == ends["step"].tolist()
    assert [row["val_loss"] for row in rows] == ends["val_loss"].tolist()


def test_the_gradient_norm_is_that_of_all_weights_joined(make_encoder):
    encoder = make_encoder()
    encoder(encoder.basis([[13.4, 52.5], [2.3, 48.9]])).square().sum().backward()
    joined = torch.cat([p.grad.ravel() for p in encoder.parameters()])
    torch.testing.assert_close(et.train.gradient_norm(encoder), joined.norm())


def test_training_overfits_32_pairs(make_modality, make_encoder):
    config = CONFIG.replace(epochs=150, batch_size=32, learning_rate=5e-3, val_fraction=0)
    m = make_modality(n=32)
    run = et.fit(m, config, make_encoder(degrees=6, dropout=0.0))
    assert run.history["loss"].iloc[-1] < 0.1 * run.history["loss"].iloc[0]
    picked = run.model.similarity(m.lonlat, run.model.embed_modality("soil", m.features))
    assert (picked.argmax(axis=1) == np.arange(32)).mean() > 0.9


@pytest.mark.parametrize(("method", "epochs"), [("melt", 12), ("salt", 36)])
def test_what_depends_on_the_place_is_learned_and_holds_elsewhere(
    make_modality, make_encoder, method, epochs
):
    config = CONFIG.replace(
        method=method, epochs=epochs, batch_size=192, learning_rate=5e-3, val_batch_size=64
    )
    related = [make_modality(name, 1000, seed=i) for i, name in enumerate(("a", "bb", "ccc"))]
    run = et.fit(related, config, make_encoder())
    assert run.history["val_loss"].iloc[-1] < 0.5 * math.log(64)


def test_features_shuffled_against_places_teach_nothing_that_holds_elsewhere(
    make_modality, make_encoder
):
    config = CONFIG.replace(epochs=12, batch_size=64, learning_rate=5e-3, val_batch_size=64)
    m = make_modality("a", 1000)
    order = np.random.default_rng(1).permutation(1000)
    run = et.fit(et.Modality("a", m.lonlat, m.features[order]), config, make_encoder())
    assert run.history["val_loss"].iloc[-1] > 0.95 * math.log(64)


def test_the_loss_of_a_batch_joins_the_pairs_of_its_modalities(three, make_encoder):
    model = et.EarthTie(make_encoder(), {m.name: 6 for m in three}).eval()
    basis = {m.name: model.encoder.basis(m.lonlat) for m in three}
    features = {m.name: torch.from_numpy(m.features) for m in three}
    batch = {"soil": np.array([3, 1]), "river": np.array([7]), "wind": np.array([0, 9])}
    pairs = [(name, row) for name, rows in batch.items() for row in rows]
    places = torch.cat([model.locate(basis[name][row : row + 1]) for name, row in pairs])
    seen = torch.cat([model.observe(name, features[name][row : row + 1]) for name, row in pairs])
    for direction, negatives in (("both", "cross"), ("to_location", "all")):
        config = CONFIG.replace(direction=direction, negatives=negatives)
        got = train.tied_loss(model, basis, features, batch, config)
        expected = nt_xent(places, seen, model.logit_scale, direction, negatives)
        torch.testing.assert_close(got, expected)


def test_every_batch_of_melt_holds_every_modality(three, make_encoder, spy):
    et.fit(three, CONFIG.replace(batch_size=95), make_encoder())
    for batch in spy:
        assert {k: len(v) for k, v in batch.items()} == {"soil": 32, "river": 32, "wind": 31}


def test_melt_trains_every_head_in_each_step(three, make_encoder):
    model = et.EarthTie(make_encoder(), {m.name: 6 for m in three})
    basis = {m.name: model.encoder.basis(m.lonlat) for m in three}
    features = {m.name: torch.from_numpy(m.features) for m in three}
    rows = {m.name: np.arange(300) for m in three}
    batch = next(batches(rows, CONFIG, 0, 1))
    train.tied_loss(model, basis, features, batch, CONFIG).backward()
    for name in rows:
        assert model.head(name).linear.weight.grad.abs().max() > 0


def test_salt_takes_one_modality_an_epoch_in_turn(three, make_encoder, spy):
    run = et.fit(three, CONFIG.replace(method="salt", epochs=5), make_encoder())
    assert all(len(batch) == 1 for batch in spy)
    active = run.history.groupby("epoch")["modality"].unique().map(list).tolist()
    assert active == [["soil"], ["river"], ["wind"], ["soil"], ["river"]]
    assert [next(iter(batch)) for batch in spy] == run.history["modality"].tolist()


def test_salt_moves_the_encoder_and_the_active_head_alone(three, make_encoder, tmp_path):
    states = []

    def keep(row):
        states.append((row["modality"], et.load(tmp_path / "run").model.state_dict()))

    config = CONFIG.replace(method="salt", epochs=6)
    et.fit(three, config, make_encoder(), save_to=tmp_path / "run", callback=keep)
    for (_, before), (active, after) in pairwise(states):
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        heads = {
            key.split(".")[1].removeprefix("of_")
            for key in changed
            if key.startswith("projections.")
        }
        assert heads == {active}
        assert any(key.startswith("encoder.siren.") for key in changed)


@pytest.mark.parametrize(("method", "epochs"), [("melt", 2), ("salt", 6)])
def test_a_pass_over_all_modalities_is_as_many_pairs_in_melt_and_salt(
    three, make_encoder, method, epochs
):
    run = et.fit(three, CONFIG.replace(method=method, epochs=epochs, batch_size=30), make_encoder())
    per_epoch = run.history.groupby("epoch").size()
    assert per_epoch.nunique() == 1
    assert run.history["pairs"].tolist() == (30 * run.history["step"]).tolist()
    smallest = min(len(rows) for rows in split_rows(three, CONFIG)[0].values())
    passes = run.history["pairs"].iloc[-1] / (3 * smallest)
    assert passes == pytest.approx(2, rel=0.15)


@METHODS
def test_of_unequal_sizes_an_epoch_takes_as_many_pairs_as_the_smallest_has(
    make_modality, make_encoder, spy, method
):
    unequal = [make_modality("small", 120, seed=1), make_modality("large", 700, seed=2)]
    config = CONFIG.replace(method=method, epochs=4, batch_size=20, val_fraction=0)
    et.fit(unequal, config, make_encoder())
    for name in ("small", "large"):
        rows = np.concatenate([batch[name] for batch in spy if name in batch])
        epochs = rows.reshape(-1, 120)  # of SALT's four epochs each modality has two
        assert len(epochs) == {"melt": 4, "salt": 2}[method]
        assert all(len(np.unique(epoch)) == 120 for epoch in epochs)
        if name == "large":
            assert len(np.unique(rows)) > 200  # drawn anew
        else:
            assert (epochs[0] != epochs[1]).any()  # in another order


@METHODS
def test_held_out_places_and_their_buffer_are_never_in_a_batch(three, make_encoder, spy, method):
    et.fit(three, CONFIG.replace(method=method, epochs=6, batch_size=30), make_encoder())
    for m in three:
        held_out, kept = hold_out(m.lonlat, 0.1, buffer_km=PATCH_KM)
        rows = np.concatenate([batch[m.name] for batch in spy if m.name in batch])
        assert held_out.sum() > 10
        assert kept[rows].all()


def altered(m, rows):
    features = m.features.copy()
    features[rows] = 100 * features[rows] + 30
    return et.Modality(m.name, m.lonlat, features)


def test_features_of_held_out_places_do_not_touch_the_weights(three, make_encoder, melt):
    kept = [hold_out(m.lonlat, 0.1, buffer_km=PATCH_KM)[1] for m in three]
    other = [altered(m, ~rows) for m, rows in zip(three, kept, strict=True)]
    run = et.fit(other, CONFIG, make_encoder())
    assert all(torch.equal(value, weights(melt)[key]) for key, value in weights(run).items())
    assert run.history["val_loss"].iloc[-1] != melt.history["val_loss"].iloc[-1]


def test_statistics_for_standardising_come_from_the_training_part(three, melt):
    for m in three:
        kept = hold_out(m.lonlat, 0.1, buffer_km=PATCH_KM)[1]
        head = melt.model.head(m.name)
        np.testing.assert_allclose(head.mean, m.features[kept].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(head.std, m.features[kept].std(axis=0), atol=1e-5)


def test_validation_is_without_dropout_and_repeatable(three, melt):
    rows = split_rows(three, CONFIG)[1]
    basis = {m.name: melt.model.encoder.basis(m.lonlat) for m in three}
    features = {m.name: torch.from_numpy(m.features) for m in three}
    again = train.validate(melt.model, basis, features, rows, CONFIG)
    melt.model.eval()
    assert again["val_loss"] == melt.history["val_loss"].iloc[-1]


@METHODS
def test_the_same_seed_is_the_same_run_bit_for_bit(three, method):
    config = CONFIG.replace(method=method, epochs=2)
    one, same, other = (et.fit(three, config.replace(seed=seed)) for seed in (4, 4, 5))
    assert_same_run(one, same)
    assert (one.history["loss"] != other.history["loss"]).all()


def test_the_seed_draws_batches_and_dropout_where_an_encoder_is_given(three, make_encoder):
    one, other = (et.fit(three, CONFIG.replace(seed=seed), make_encoder()) for seed in (0, 1))
    assert (one.history["loss"] != other.history["loss"]).all()


def test_global_random_numbers_stay_as_they_were(three, make_encoder):
    torch.manual_seed(77)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    et.fit(three, CONFIG.replace(epochs=1), make_encoder())
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


def test_what_ran_before_does_not_change_a_run(three, melt, make_encoder):
    torch.randn(1000)
    assert_same_run(et.fit(three, CONFIG, make_encoder()), melt)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "melt"},
        {"method": "salt"},
        {"method": "melt", "schedule": "cosine"},
        {"method": "salt", "save_every": 2},
        {"method": "melt", "val_fraction": 0},
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(three, make_encoder, tmp_path, changes):
    config = CONFIG.replace(epochs=5, **changes)
    whole = et.fit(three, config, make_encoder())
    with pytest.raises(Stopped):
        et.fit(three, config, make_encoder(), save_to=tmp_path / "run", callback=stop_after(2))
    assert et.load(tmp_path / "run").history["epoch"].max() == (1 if "save_every" in changes else 2)
    assert_same_run(et.fit(three, config, resume_from=tmp_path / "run"), whole)


def test_seconds_go_on_after_resuming(three, make_encoder, tmp_path):
    with pytest.raises(Stopped):
        et.fit(three, CONFIG, make_encoder(), save_to=tmp_path / "run", callback=stop_after(1))
    run = et.fit(three, CONFIG, resume_from=tmp_path / "run")
    assert run.history["seconds"].is_monotonic_increasing


def test_a_finished_run_can_be_extended(three, make_encoder, tmp_path):
    et.fit(three, CONFIG, make_encoder(), save_to=tmp_path / "run")
    longer = CONFIG.replace(epochs=5)
    run = et.fit(three, longer, resume_from=tmp_path / "run")
    assert_same_run(run, et.fit(three, longer, make_encoder()))
    assert run.config == longer


def test_a_finished_run_resumes_to_itself(three, make_encoder, tmp_path):
    run = et.fit(three, CONFIG, make_encoder(), save_to=tmp_path / "run")
    assert_same_run(et.fit(three, CONFIG, resume_from=tmp_path / "run"), run)


def test_resuming_for_fewer_epochs_is_refused(three, make_encoder, tmp_path):
    et.fit(three, CONFIG.replace(epochs=3), make_encoder(), save_to=tmp_path / "run")
    with pytest.raises(ValueError, match=r"has 3 epochs already, not epochs=2"):
        et.fit(three, CONFIG.replace(epochs=2), resume_from=tmp_path / "run")


@pytest.fixture(scope="module")
def saved(three, make_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    et.fit(three, CONFIG.replace(epochs=1), make_encoder(), save_to=folder)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"batch_size": 48},
        {"seed": 1},
        {"method": "salt"},
        {"negatives": "all"},
        {"val_fraction": 0.2},
    ],
)
def test_resuming_with_other_settings_is_refused(three, saved, change):
    with pytest.raises(ValueError, match=r"has other settings, .*: repeat them, or train"):
        et.fit(three, CONFIG.replace(**change), resume_from=saved)


def test_resuming_with_other_modalities_is_refused(three, saved):
    with pytest.raises(ValueError, match=r"has other modalities: \{'soil': 6, 'river': 6"):
        et.fit(three[:2], CONFIG, resume_from=saved)


def test_resuming_with_other_data_is_refused(three, saved):
    soil = three[0]
    for other in (soil.features[:, ::-1], soil.features * 1.01, soil.features[::-1]):
        changed = et.Modality(soil.name, soil.lonlat, other)
        with pytest.raises(ValueError, match="was trained on other data of 'soil'"):
            et.fit([changed, *three[1:]], CONFIG, resume_from=saved)


def test_resuming_with_another_encoder_is_refused(three, saved, make_encoder):
    with pytest.raises(ValueError, match="has another encoder"):
        et.fit(three, CONFIG, make_encoder(width=8), resume_from=saved)


def test_a_cosine_schedule_cannot_be_extended(three, make_encoder, tmp_path):
    config = CONFIG.replace(schedule="cosine", epochs=1)
    et.fit(three, config, make_encoder(), save_to=tmp_path / "run")
    with pytest.raises(ValueError, match="has other settings"):
        et.fit(three, config.replace(epochs=2), resume_from=tmp_path / "run")


def test_resuming_from_nothing_is_refused(three, tmp_path):
    with pytest.raises(ValueError, match=r"no run in .*: run.json is missing"):
        et.fit(three, CONFIG, resume_from=tmp_path)


def test_the_scale_never_leaves_its_limit(three, make_encoder, monkeypatch):
    # A loss that asks for an ever larger scale.
    def greedy(location, modality, logit_scale, *options, **more):
        return 0 * (location.sum() + modality.sum()) - logit_scale

    monkeypatch.setattr(train, "nt_xent", greedy)
    run = et.fit(three, CONFIG.replace(learning_rate=0.5), make_encoder())
    scale = run.history["logit_scale"]
    assert scale.iloc[0] > 3
    assert scale.max() <= MAX_LOGIT_SCALE + 1e-6
    assert scale.iloc[-1] == pytest.approx(MAX_LOGIT_SCALE, abs=1e-6)


def test_biases_and_the_scale_are_not_decayed(three, make_encoder):
    model = et.EarthTie(make_encoder(), {m.name: 6 for m in three})
    groups = train.adamw(model, CONFIG.replace(weight_decay=0.3)).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.3 if name.endswith("weight") else 0.0), name


def test_cosine_schedule_falls_from_the_rate_to_nothing():
    config = CONFIG.replace(schedule="cosine", learning_rate=2.0)
    got = [config.rate_at(done) for done in (0, 0.25, 0.5, 1)]
    assert got == pytest.approx([2, 1 + math.sqrt(0.5), 1, 0])
    assert CONFIG.rate_at(0.9) == CONFIG.learning_rate


def test_each_step_takes_the_rate_of_the_schedule(three, make_encoder, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def record(optimiser, *args, **kwargs):
        rates.append({group["lr"] for group in optimiser.param_groups})
        return step(optimiser, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    run = et.fit(three, CONFIG.replace(schedule="cosine"), make_encoder())
    done = (run.history["step"] - 1) / len(run.history)
    expected = CONFIG.learning_rate * 0.5 * (1 + np.cos(np.pi * done))
    assert [len(rate) for rate in rates] == [1] * len(rates)
    np.testing.assert_allclose([rate.pop() for rate in rates], expected)


def unlearnable(name, seed):
    rng = np.random.default_rng(seed)
    return et.Modality(name, sample_sphere(300, rng), rng.normal(size=(300, 6)))


def passes_since_best(run, passes):
    losses = run.history["val_loss"].dropna().to_numpy()
    return (len(losses) - 1 - int(np.argmin(losses))) / passes


def test_training_stops_when_patience_ends(make_encoder, tmp_path):
    config = CONFIG.replace(epochs=200, patience=3, learning_rate=0.02)
    noise = [unlearnable("a", 1), unlearnable("b", 2)]
    run = et.fit(noise, config, make_encoder(), save_to=tmp_path / "run")
    assert run.history["epoch"].max() < 100
    assert passes_since_best(run, 1) == 3
    assert_same_run(et.load(tmp_path / "run"), run)


def test_patience_counts_passes_over_all_modalities_in_salt(make_encoder):
    config = CONFIG.replace(method="salt", epochs=200, patience=2, learning_rate=0.02)
    run = et.fit([unlearnable(name, i) for i, name in enumerate("abc")], config, make_encoder())
    assert run.history["epoch"].max() < 199
    assert passes_since_best(run, 3) >= 2


def test_a_run_that_stopped_early_resumes_to_itself(make_encoder, tmp_path):
    config = CONFIG.replace(epochs=200, patience=2, learning_rate=0.02)
    noise = unlearnable("a", 1)
    run = et.fit(noise, config, make_encoder(), save_to=tmp_path / "run")
    assert_same_run(et.fit(noise, config, resume_from=tmp_path / "run"), run)


def test_a_loss_that_is_not_finite_ends_training(three, make_encoder):
    with pytest.raises(
        ValueError, match=r"the loss is not finite in epoch \d: try a learning rate"
    ):
        et.fit(three, CONFIG.replace(learning_rate=1e20), make_encoder())


def test_a_loss_that_is_not_finite_leaves_the_saved_run_intact(
    three, make_encoder, tmp_path, monkeypatch
):
    whole = et.fit(three, CONFIG.replace(epochs=2), make_encoder())
    tied_loss, steps = train.tied_loss, []

    def breaks_later(model, basis, features, batch, config, *here):
        steps.append(model.training)
        loss = tied_loss(model, basis, features, batch, config, *here)
        return loss * math.nan if sum(steps) > len(whole.history) and model.training else loss

    monkeypatch.setattr(train, "tied_loss", breaks_later)
    with pytest.raises(ValueError, match="the loss is not finite in epoch 2"):
        et.fit(three, CONFIG, make_encoder(), save_to=tmp_path / "run")
    kept = et.load(tmp_path / "run")
    assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(kept).items())


def test_fewer_pairs_than_a_batch_are_refused(three):
    with pytest.raises(
        ValueError, match=r"modality '\w+' has \d+ pairs to train on, a batch needs 667 of it"
    ):
        et.fit(three, CONFIG.replace(batch_size=2000))


def test_a_batch_smaller_than_the_number_of_modalities_is_refused(three):
    with pytest.raises(ValueError, match="a batch of 2 pairs cannot hold 3 modalities"):
        et.fit(three, CONFIG.replace(batch_size=2))


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_one_place_only_is_refused(fraction):
    one = et.Modality("soil", [[10.0, 20.0]], [[1.0, 2.0]])
    message = r"has (1 pairs to train on|\d places in the held-out blocks)"
    with pytest.raises(ValueError, match=message):
        et.fit(one, CONFIG.replace(val_fraction=fraction))


def test_no_place_in_the_held_out_blocks_is_refused(make_modality):
    everywhere = sample_sphere(500, np.random.default_rng(0))
    kept = everywhere[hold_out(everywhere)[1]]
    with pytest.raises(ValueError, match="has 0 places in the held-out blocks: bring more places"):
        et.fit(make_modality(places=kept), CONFIG)


def test_no_modality_is_refused():
    with pytest.raises(ValueError, match="at least one modality is needed"):
        et.fit([], CONFIG)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_asking_for_a_gpu_that_is_not_there_is_refused(three):
    with pytest.raises(ValueError, match="device 'cuda' was asked for, but torch finds no GPU"):
        et.fit(three, CONFIG.replace(device="cuda"))


def test_a_modality_named_loss_is_refused(make_modality):
    with pytest.raises(ValueError, match="cannot be named 'loss'"):
        make_modality("loss", seed=1)


def test_a_folder_that_holds_another_run_is_refused_before_training(three, make_encoder, tmp_path):
    folder = tmp_path / "run"
    et.fit(three, CONFIG.replace(epochs=1), make_encoder(), save_to=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="holds another run: resume from it or choose another"):
        et.fit(three, CONFIG.replace(seed=9), make_encoder(), save_to=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    longer = CONFIG.replace(epochs=2)
    assert et.fit(three, longer, resume_from=folder, save_to=folder).history["epoch"].max() == 1


def test_a_returning_head_warms_up_while_all_else_stands_still(
    make_modality, make_encoder, monkeypatch
):
    two = [make_modality(name, 120, seed=i) for i, name in enumerate(("soil", "wind"))]
    states, freeze = [], train.freeze_all_but_heads

    def keep(model):
        states.append({key: value.clone() for key, value in model.state_dict().items()})
        freeze(model)

    monkeypatch.setattr(train, "freeze_all_but_heads", keep)
    config = CONFIG.replace(
        method="salt", epochs=3, batch_size=30, val_fraction=0, head_warmup=3, scales="own"
    )
    et.fit(two, config, make_encoder())
    assert len(states) == 3  # of the third epoch alone: only there a modality returns
    for before, after in pairwise(states):
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed == {f"projections.of_soil.linear.{part}" for part in ("weight", "bias")}


def test_a_warm_up_must_leave_steps_to_the_encoder(three, make_encoder):
    config = CONFIG.replace(method="salt", batch_size=30, val_fraction=0, head_warmup=10)
    with pytest.raises(ValueError, match="leaves none of an epoch's 10 to the encoder"):
        et.fit(three, config, make_encoder())


def test_one_modality_knows_no_switch(three, make_encoder):
    config = CONFIG.replace(method="salt", epochs=3, batch_size=30)
    plain, changed = (
        et.fit(three[:1], config.replace(**change), make_encoder())
        for change in ({}, {"head_warmup": 3, "moments": "reset"})
    )
    assert_same_run(plain, changed)


def test_moments_are_forgotten_at_a_switch_if_asked(three, make_encoder):
    config = CONFIG.replace(method="salt", epochs=2, batch_size=30, moments="reset")
    run = et.fit(three, config, make_encoder())
    steps = len(run.history) // 2
    counts = {key: int(v) for key, v in run.optimiser.items() if key.endswith(".step")}
    assert set(counts.values()) == {steps}  # of the second epoch alone
    assert not any("of_soil" in key for key in counts)


def test_each_modality_has_a_scale_of_its_own_if_asked(three, make_encoder):
    config = CONFIG.replace(scales="own", epochs=3)
    run = et.fit(three, config, make_encoder())
    scales = {m.name: run.model.scale_of(m.name).item() for m in three}
    assert len(set(scales.values())) == 3
    assert run.model.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert run.history["logit_scale"].iloc[-1] == pytest.approx(np.mean([*scales.values()]))


def test_scales_of_their_own_compare_each_pair_by_its_modality(three, make_encoder):
    model = et.EarthTie(make_encoder(), {m.name: 6 for m in three}, scales="own").eval()
    with torch.no_grad():
        for i, m in enumerate(three):
            model.scale_of(m.name).fill_(0.5 + i)
    basis = {m.name: model.encoder.basis(m.lonlat) for m in three}
    features = {m.name: torch.from_numpy(m.features) for m in three}
    batch = {m.name: np.arange(i + 1) for i, m in enumerate(three)}
    places = torch.cat([model.locate(basis[name][rows]) for name, rows in batch.items()])
    seen = torch.cat([model.observe(name, features[name][rows]) for name, rows in batch.items()])
    scales = torch.tensor([0.5, 1.5, 1.5, 2.5, 2.5, 2.5])
    got = train.tied_loss(model, basis, features, batch, CONFIG.replace(scales="own"))
    torch.testing.assert_close(got, nt_xent(places, seen, scales))


def test_a_run_with_scales_of_its_own_is_loaded_and_resumed(three, make_encoder, tmp_path):
    config = CONFIG.replace(scales="own", method="salt", moments="reset", epochs=4)
    whole = et.fit(three, config, make_encoder(), save_to=tmp_path / "whole")
    half = config.replace(epochs=2)
    et.fit(three, half, make_encoder(), save_to=tmp_path / "half")
    resumed = et.fit(three, config, resume_from=tmp_path / "half")
    assert_same_run(whole, resumed)
    assert_same_run(whole, et.load(tmp_path / "whole"))


def test_regression_predicts_the_standardised_features(three, make_encoder):
    model = et.EarthTie(make_encoder(dropout=0.0), {m.name: 6 for m in three})
    for m in three:
        model.head(m.name).fit_statistics(torch.from_numpy(m.features))
    basis = {m.name: model.encoder.basis(m.lonlat) for m in three}
    features = {m.name: torch.from_numpy(m.features) for m in three}
    batch = {"soil": np.arange(4), "wind": np.arange(2)}
    errors = []
    for name, rows in batch.items():
        predicted = model.encoder(basis[name][rows]) @ model.head(name).linear.weight
        errors.append((predicted - model.head(name).standardise(features[name][rows])) ** 2)
    got = train.tied_loss(model, basis, features, batch, CONFIG.replace(objective="regression"))
    torch.testing.assert_close(got, torch.cat(errors).mean())


def test_regression_learns_what_depends_on_the_place(three, make_encoder):
    config = CONFIG.replace(objective="regression", epochs=40)
    history = et.fit(three, config, make_encoder()).history
    losses = history["val_loss"].dropna()
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
