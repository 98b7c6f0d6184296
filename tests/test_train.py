"""Training: batches, MELT and SALT, held-out places, determinism, resuming, stopping."""

import ast
import inspect
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.coords import hold_out, sample_sphere
from earthtie_lite.losses import MAX_LOGIT_SCALE, nt_xent
from earthtie_lite.sample import PATCH_KM

CONFIG = et.TrainConfig(
    epochs=3, batch_size=96, learning_rate=3e-3, val_batch_size=16, device="cpu"
)
METHODS = pytest.mark.parametrize("method", ["melt", "salt"])
MAX_LINES_OF_FIT = 60


class Stopped(Exception):
    """Raised by a callback to end a run."""


def stop_after(epoch):
    def callback(row):
        if row["epoch"] == epoch:
            raise Stopped

    return callback


def recording(taken):
    """Return the tied loss, which adds each training batch to a list."""

    def loss(model, data, batch, *rest):
        if model.training:
            taken.append({name: np.asarray(rows) for name, rows in batch.items()})
        return train.tied_loss(model, data, batch, *rest)

    return loss


def assert_same_run(one, other):
    """Compare weights and histories bitwise, without the seconds."""
    first, second = one.model.state_dict(), other.model.state_dict()
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key
    histories = [run.history.drop(columns="seconds") for run in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.fixture(scope="module")
def melt(three, make_encoder):
    return et.fit(three, CONFIG, make_encoder())


@pytest.fixture
def untrained(three, make_encoder):
    """Return a model without dropout and the data of three modalities."""
    model = et.EarthTie(make_encoder(dropout=0.0), {m.name: 6 for m in three})
    return model, train.load_data(model, three)


def test_melt_splits_a_batch_as_evenly_as_possible():
    rows = {name: np.arange(5000) for name in "abc"}
    shares = {"a": 683, "b": 683, "c": 682}
    assert train.split_evenly(2048, rows) == shares
    batches = list(train.melt_batches(rows, 2048, np.random.default_rng(0)))
    assert [{m: len(i) for m, i in batch.items()} for batch in batches] == [shares] * 7


def test_salt_takes_one_modality_per_epoch_in_turn():
    rows, rng = {name: np.arange(90) for name in "abc"}, np.random.default_rng(0)
    for epoch, active in enumerate("abcab"):
        batches = list(train.salt_batches(rows, 30, rng, epoch))
        assert [list(batch) for batch in batches] == [[active]] * 3


@METHODS
def test_an_epoch_takes_as_many_pairs_as_the_smallest_modality_has(method):
    rows = {"small": np.arange(120), "large": np.arange(1000, 1700)}
    rng, taken = np.random.default_rng(0), {"small": [], "large": []}
    for epoch in range(4):
        batches = list(train.METHODS[method](rows, 20, rng, epoch))
        for name in batches[0]:
            taken[name].append(np.concatenate([batch[name] for batch in batches]))
    for name, epochs in taken.items():
        assert len(epochs) == {"melt": 4, "salt": 2}[method]
        assert all(len(np.unique(epoch)) == 120 for epoch in epochs)
        assert np.isin(epochs, rows[name]).all()
        assert (epochs[0] != epochs[1]).any()
    assert len(np.unique(taken["large"])) > 200  # drawn anew in each epoch


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (2000, r"modality '\w+' has \d+ pairs to train on, but a batch needs 667: low"),
        (2, "a batch of 2 pairs cannot hold 3 modalities"),
    ],
)
def test_a_batch_size_that_does_not_fit_is_refused(three, size, message):
    with pytest.raises(ValueError, match=message):
        et.fit(three, CONFIG.replace(batch_size=size))


def test_the_loss_joins_the_pairs_of_all_modalities_and_trains_every_head(untrained):
    model, data = untrained
    batch = {"soil": np.array([3, 1]), "river": np.array([7]), "wind": np.array([0, 9])}
    pairs = [(name, row) for name, rows in batch.items() for row in rows]
    places = torch.cat([model.locate(data.basis[m][row : row + 1]) for m, row in pairs])
    seen = torch.cat([model.observe(m, data.features[m][row : row + 1]) for m, row in pairs])
    for direction, negatives, chunk in (("both", "cross", None), ("to_location", "all", 2)):
        config = CONFIG.replace(direction=direction, negatives=negatives, chunk_size=chunk)
        got = train.tied_loss(model, data, batch, config)
        expected = nt_xent(places, seen, model.logit_scale, direction, negatives)
        torch.testing.assert_close(got, expected)
    got.backward()
    for name in batch:
        assert model.head(name).linear.weight.grad.abs().max() > 0


def test_an_epoch_of_salt_changes_the_encoder_and_the_active_head_only(
    three, make_encoder, tmp_path
):
    states = []

    def keep(row):
        states.append((row["modality"], et.load(tmp_path / "run").model.state_dict()))

    config = CONFIG.replace(method="salt", epochs=5)
    et.fit(three, config, make_encoder(), save_to=tmp_path / "run", callback=keep)
    assert [name for name, _ in states] == ["soil", "river", "wind", "soil", "river"]
    for (_, before), (active, after) in pairwise(states):
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        heads = {key.split(".")[1] for key in changed if key.startswith("projections.")}
        assert heads == {f"of_{active}"}
        assert any(key.startswith("encoder.siren.") for key in changed)


def test_the_gradient_norm_is_that_of_all_weights_together(make_encoder):
    encoder = make_encoder()
    encoder(encoder.basis([[13.4, 52.5], [2.3, 48.9]])).square().sum().backward()
    joined = torch.cat([p.grad.ravel() for p in encoder.parameters()])
    torch.testing.assert_close(train.gradient_norm(encoder), joined.norm())


def test_training_overfits_32_pairs(make_modality, make_encoder):
    config = CONFIG.replace(epochs=150, batch_size=32, learning_rate=5e-3, val_fraction=0)
    m = make_modality(n=32)
    run = et.fit(m, config, make_encoder(degrees=6, dropout=0.0))
    assert run.history["loss"].iloc[-1] < 0.1 * run.history["loss"].iloc[0]
    picked = run.model.similarity(m.lonlat, run.model.embed_modality("soil", m.features))
    assert (picked.argmax(axis=1) == np.arange(32)).mean() > 0.9


@pytest.mark.parametrize(("method", "epochs"), [("melt", 12), ("salt", 36)])
def test_features_that_depend_on_the_place_are_learned_and_generalise(
    make_modality, make_encoder, method, epochs
):
    config = CONFIG.replace(
        method=method, epochs=epochs, batch_size=192, learning_rate=5e-3, val_batch_size=64
    )
    related = [make_modality(name, 1000, seed=i) for i, name in enumerate(("a", "bb", "ccc"))]
    run = et.fit(related, config, make_encoder())
    assert run.history["val_loss"].iloc[-1] < 0.5 * math.log(64)


def test_features_shuffled_among_the_places_do_not_generalise(make_modality, make_encoder):
    config = CONFIG.replace(epochs=12, batch_size=64, learning_rate=5e-3, val_batch_size=64)
    m = make_modality("a", 1000)
    order = np.random.default_rng(1).permutation(1000)
    run = et.fit(et.Modality("a", m.lonlat, m.features[order]), config, make_encoder())
    assert run.history["val_loss"].iloc[-1] > 0.95 * math.log(64)


@METHODS
def test_bf16_trains_nearly_as_float32(three, make_encoder, method):
    config = CONFIG.replace(method=method, epochs=6, learning_rate=1e-3, val_fraction=0.0)
    runs = [
        et.fit(three, config.replace(precision=name), make_encoder())
        for name in ("float32", "bf16")
    ]
    first, last = ([run.history["loss"].iloc[i] for run in runs] for i in (0, -1))
    assert last[0] < first[0] - 0.05
    assert last[1] == pytest.approx(last[0], abs=0.05)
    assert runs[1].history["loss"].tolist() != runs[0].history["loss"].tolist()
    assert next(runs[1].model.parameters()).dtype == torch.float32


def test_fit_can_be_read_on_one_screen():
    (function,) = ast.parse(inspect.getsource(et.fit)).body
    source = inspect.getsource(et.fit).splitlines()
    body = source[function.body[1].lineno - 1 : function.end_lineno]
    code = [line for line in body if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= MAX_LINES_OF_FIT


@METHODS
def test_a_run_has_model_config_and_history(three, make_encoder, method):
    config = CONFIG.replace(method=method)
    run = et.fit(three, config, make_encoder())
    assert isinstance(run.model, et.EarthTie)
    assert run.config == config
    columns = ["step", "epoch", "pairs", "modality", "loss", "val_loss", "logit_scale", "seconds"]
    assert list(run.history)[:8] == columns
    assert run.history["step"].tolist() == list(range(1, len(run.history) + 1))
    assert run.history["pairs"].tolist() == (96 * run.history["step"]).tolist()
    assert np.isfinite(run.history["loss"]).all()
    assert run.history["seconds"].is_monotonic_increasing
    assert (run.history["grad_norm"] > 0).all()
    assert run.model.embed(three[0].lonlat).shape == (300, 16)


def test_the_last_row_of_an_epoch_has_the_validation_losses(three, make_encoder):
    rows = []
    run = et.fit(three, CONFIG, make_encoder(), callback=rows.append)
    last = run.history.groupby("epoch")["step"].max()
    ends = run.history.dropna(subset="val_loss")
    assert ends["step"].tolist() == last.tolist() == [row["step"] for row in rows]
    each = ends[["val_soil", "val_river", "val_wind"]].to_numpy()
    np.testing.assert_allclose(ends["val_loss"], each.mean(axis=1))
    assert [row["val_loss"] for row in rows] == ends["val_loss"].tolist()


def test_without_held_out_blocks_there_is_no_validation_loss(three, make_encoder):
    run = et.fit(three, CONFIG.replace(val_fraction=0, epochs=1), make_encoder())
    assert run.history["val_loss"].isna().all()
    assert list(run.history)[-1] == "grad_norm"
    assert len(run.history) == 300 // 32


@METHODS
def test_one_modality_is_accepted_alone_or_in_a_mapping(three, make_encoder, method):
    config = CONFIG.replace(method=method, epochs=1)
    alone = et.fit(three[0], config, make_encoder())
    assert set(alone.history["modality"]) == {"soil"}
    assert_same_run(alone, et.fit({"soil": three[0]}, config, make_encoder()))


def test_encoder_and_sample_stay_unchanged(three, make_encoder):
    encoder = make_encoder()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    arrays = [(m.lonlat.copy(), m.features.copy()) for m in three]
    run = et.fit(three, CONFIG.replace(epochs=1), encoder)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    assert any(not torch.equal(before[k], v) for k, v in run.model.encoder.state_dict().items())
    for m, (lonlat, features) in zip(three, arrays, strict=True):
        np.testing.assert_array_equal(m.lonlat, lonlat)
        np.testing.assert_array_equal(m.features, features)


def test_batches_of_the_user_replace_those_of_the_method(three, make_encoder):
    asked, taken = [], []

    def first_rows(rows, size, rng, epoch):
        asked.append((sorted(rows), size, epoch))
        yield {"soil": rows["soil"][:size]}
        yield {"wind": rows["wind"][:size], "soil": rows["soil"][:1]}

    config = CONFIG.replace(epochs=2, batch_size=8)
    run = et.fit(three, config, make_encoder(), batches=first_rows, loss=recording(taken))
    assert asked == [(["river", "soil", "wind"], 8, epoch) for epoch in (0, 1)]
    assert run.history["modality"].tolist() == ["soil", "wind+soil"] * 2
    train_rows = train.split_rows(three, CONFIG)[0]
    np.testing.assert_array_equal(taken[0]["soil"], train_rows["soil"][:8])


def test_a_loss_of_the_user_trains_and_validates_with_parameters_of_its_own(three, make_encoder):
    class Shifted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = torch.nn.Parameter(torch.tensor(5.0))

        def forward(self, model, data, batch, config, here=None):
            return self.shift.square() + 0 * train.tied_loss(model, data, batch, config)

    loss = Shifted()
    run = et.fit(three, CONFIG.replace(learning_rate=0.1), make_encoder(), loss=loss)
    losses = run.history["loss"]
    assert (losses.iloc[0], losses.is_monotonic_decreasing) == (25.0, True)
    assert run.history["val_loss"].iloc[-1] == pytest.approx(loss.shift.item() ** 2)
    assert torch.equal(run.optimiser["loss.shift.value"], loss.shift.detach())


def test_a_hook_of_the_user_runs_before_each_optimiser_step(three, make_encoder):
    calls = []

    def freeze_encoder(model, optimiser, epoch, step):
        calls.append((epoch, step))
        assert model.head("soil").linear.weight.grad.abs().max() > 0
        assert isinstance(optimiser, torch.optim.AdamW)
        for parameter in model.encoder.parameters():
            parameter.grad = None

    encoder = make_encoder()
    run = et.fit(three, CONFIG.replace(epochs=2), encoder, hook=freeze_encoder)
    steps = len(run.history) // 2
    assert calls == [(epoch, step) for epoch in (0, 1) for step in range(steps)]
    for name, value in run.model.encoder.siren.state_dict().items():
        assert torch.equal(value, encoder.siren.state_dict()[name])


@METHODS
def test_held_out_places_and_their_buffer_are_never_in_a_batch(three, make_encoder, method):
    taken, config = [], CONFIG.replace(method=method, epochs=6, batch_size=30)
    et.fit(three, config, make_encoder(), loss=recording(taken))
    train_rows, val_rows = train.split_rows(three, config)
    for m in three:
        held_out, kept = hold_out(m.lonlat, 0.1, buffer_km=PATCH_KM)
        np.testing.assert_array_equal(train_rows[m.name], np.flatnonzero(kept))
        np.testing.assert_array_equal(val_rows[m.name], np.flatnonzero(held_out))
        rows = np.concatenate([batch[m.name] for batch in taken if m.name in batch])
        assert held_out.sum() > 10
        assert kept[rows].all()


def test_features_of_held_out_places_do_not_affect_the_weights(three, make_encoder, melt):
    other = []
    for m in three:
        kept = hold_out(m.lonlat, 0.1, buffer_km=PATCH_KM)[1]
        head, features = melt.model.head(m.name), m.features.copy()
        np.testing.assert_allclose(head.mean, features[kept].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(head.std, features[kept].std(axis=0), atol=1e-5)
        features[~kept] = 100 * features[~kept] + 30
        other.append(et.Modality(m.name, m.lonlat, features))
    run = et.fit(other, CONFIG, make_encoder())
    expected = melt.model.state_dict()
    assert all(torch.equal(value, expected[k]) for k, value in run.model.state_dict().items())
    assert run.history["val_loss"].iloc[-1] != melt.history["val_loss"].iloc[-1]


def test_validation_is_without_dropout_and_repeatable(three, melt):
    rows = train.split_rows(three, CONFIG)[1]
    objective = train.Objective(melt.model, train.tied_loss)
    again = train.validate(objective, train.load_data(melt.model, three), rows, CONFIG)
    melt.model.eval()
    assert again["val_loss"] == melt.history["val_loss"].iloc[-1]


def test_too_few_places_are_refused(make_modality):
    one = et.Modality("soil", [[10.0, 20.0]], [[1.0, 2.0]])
    for fraction in (0.0, 0.1):
        message = r"has (1 pairs to train on|\d places in the held-out blocks)"
        with pytest.raises(ValueError, match=message):
            et.fit(one, CONFIG.replace(val_fraction=fraction))
    everywhere = sample_sphere(500, np.random.default_rng(0))
    kept = everywhere[hold_out(everywhere)[1]]
    with pytest.raises(ValueError, match="has 0 places in the held-out blocks: add more places"):
        et.fit(make_modality(places=kept), CONFIG)


def test_features_in_a_memory_mapped_file_train_as_in_memory(three, make_encoder, melt, tmp_path):
    mapped = []
    for m in three:
        np.save(tmp_path / f"{m.name}.npy", m.features)
        features = np.load(tmp_path / f"{m.name}.npy", mmap_mode="r")
        mapped.append(et.Modality(m.name, m.lonlat, features))
        assert np.shares_memory(mapped[-1].features, features)
    assert_same_run(et.fit(mapped, CONFIG, make_encoder()), melt)


def test_data_too_large_for_a_gpu_stay_in_main_memory(three, untrained, monkeypatch):
    model, _ = untrained
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    data = train.load_data(model, three, "cuda")
    assert {t.device.type for part in data for t in part.values()} == {"cpu"}


@METHODS
def test_the_same_seed_gives_the_same_run_bitwise(three, method):
    config = CONFIG.replace(method=method, epochs=2)
    one, same, other = (et.fit(three, config.replace(seed=seed)) for seed in (4, 4, 5))
    assert_same_run(one, same)
    assert (one.history["loss"] != other.history["loss"]).all()
    assert one.model.encoder.spec == et.LocationEncoder().spec


def test_the_seed_determines_batches_and_dropout_of_a_given_encoder(three, make_encoder, melt):
    other = et.fit(three, CONFIG.replace(seed=1), make_encoder())
    assert (other.history["loss"] != melt.history["loss"]).all()


def test_a_run_neither_changes_nor_depends_on_global_random_numbers(three, melt, make_encoder):
    torch.manual_seed(77)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert_same_run(et.fit(three, CONFIG, make_encoder()), melt)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


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
    resumed = et.fit(three, config, resume_from=tmp_path / "run")
    assert_same_run(resumed, whole)
    assert resumed.history["seconds"].is_monotonic_increasing


@pytest.fixture(scope="module")
def saved(three, make_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    et.fit(three, CONFIG, make_encoder(), save_to=folder)
    return folder


def test_a_finished_run_resumes_to_itself_or_continues(three, make_encoder, saved, melt):
    assert_same_run(et.fit(three, CONFIG, resume_from=saved), melt)
    longer = CONFIG.replace(epochs=5)
    run = et.fit(three, longer, resume_from=saved)
    assert_same_run(run, et.fit(three, longer, make_encoder()))
    assert run.config == longer


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"batch_size": 48},
        {"seed": 1},
        {"method": "salt"},
        {"negatives": "all"},
        {"val_fraction": 0.2},
        {"schedule": "cosine"},
    ],
)
def test_resuming_with_other_settings_is_refused(three, saved, change):
    with pytest.raises(ValueError, match=r"has other settings, .*: repeat them, or train"):
        et.fit(three, CONFIG.replace(**change), resume_from=saved)


def test_resuming_with_fewer_epochs_or_another_encoder_is_refused(three, saved, make_encoder):
    with pytest.raises(ValueError, match=r"has 3 epochs already, not epochs=2"):
        et.fit(three, CONFIG.replace(epochs=2), resume_from=saved)
    with pytest.raises(ValueError, match="has another encoder"):
        et.fit(three, CONFIG, make_encoder(width=8), resume_from=saved)


def test_resuming_with_other_data_is_refused(three, saved):
    with pytest.raises(ValueError, match=r"has other modalities: \{'soil': 6, 'river': 6"):
        et.fit(three[:2], CONFIG, resume_from=saved)
    soil = three[0]
    for other in (soil.features[:, ::-1], soil.features * 1.01, soil.features[::-1]):
        changed = et.Modality(soil.name, soil.lonlat, other)
        with pytest.raises(ValueError, match="was trained on other data of 'soil'"):
            et.fit([changed, *three[1:]], CONFIG, resume_from=saved)


def test_a_cosine_schedule_cannot_be_extended(three, make_encoder, tmp_path):
    config = CONFIG.replace(schedule="cosine", epochs=1)
    et.fit(three, config, make_encoder(), save_to=tmp_path / "run")
    with pytest.raises(ValueError, match="has other settings"):
        et.fit(three, config.replace(epochs=2), resume_from=tmp_path / "run")


def test_a_folder_with_another_run_is_refused_before_training(three, make_encoder, saved):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(ValueError, match="holds another run: resume from it or choose another"):
        et.fit(three, CONFIG.replace(seed=9), make_encoder(), save_to=saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_the_logit_scale_never_exceeds_its_limit(three, make_encoder):
    def greedy(model, data, batch, *rest):
        """Ask for an ever larger scale."""
        return 0 * train.tied_loss(model, data, batch, *rest) - model.logit_scale

    run = et.fit(three, CONFIG.replace(learning_rate=0.5), make_encoder(), loss=greedy)
    scale = run.history["logit_scale"]
    assert scale.iloc[0] > 3
    assert scale.max() <= MAX_LOGIT_SCALE + 1e-6
    assert scale.iloc[-1] == pytest.approx(MAX_LOGIT_SCALE, abs=1e-6)


def test_biases_and_the_logit_scale_are_not_decayed(untrained):
    model, _ = untrained
    groups = train.adamw(model, CONFIG.replace(weight_decay=0.3)).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.3 if name.endswith("weight") else 0.0), name


def test_each_step_uses_the_learning_rate_of_the_schedule(three, make_encoder):
    rates = []

    def keep(model, optimiser, epoch, step):
        rates.append({group["lr"] for group in optimiser.param_groups})

    run = et.fit(three, CONFIG.replace(schedule="cosine"), make_encoder(), hook=keep)
    done = (run.history["step"] - 1) / len(run.history)
    expected = CONFIG.learning_rate * 0.5 * (1 + np.cos(np.pi * done))
    assert [len(rate) for rate in rates] == [1] * len(rates)
    np.testing.assert_allclose([rate.pop() for rate in rates], expected)


def unlearnable(name, seed):
    rng = np.random.default_rng(seed)
    return et.Modality(name, sample_sphere(300, rng), rng.normal(size=(300, 6)))


@pytest.mark.parametrize(("method", "names"), [("melt", "ab"), ("salt", "abc"), ("salt", "a")])
def test_training_stops_after_passes_without_a_lower_validation_loss(
    make_encoder, tmp_path, method, names
):
    config = CONFIG.replace(method=method, epochs=200, patience=2, learning_rate=0.02)
    noise = [unlearnable(name, i) for i, name in enumerate(names)]
    run = et.fit(noise, config, make_encoder(), save_to=tmp_path / "run")
    losses = run.history["val_loss"].dropna().to_numpy()
    passes = len(names) if method == "salt" else 1
    assert len(losses) < 150
    assert len(losses) - 1 - int(np.argmin(losses)) == 2 * passes
    assert_same_run(et.load(tmp_path / "run"), run)
    assert_same_run(et.fit(noise, config, resume_from=tmp_path / "run"), run)


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_saved_run(
    three, make_encoder, tmp_path
):
    whole = et.fit(three, CONFIG.replace(epochs=2), make_encoder())
    steps = []

    def breaks_later(model, *rest):
        steps.append(model.training)
        loss = train.tied_loss(model, *rest)
        return loss * math.nan if sum(steps) > len(whole.history) and model.training else loss

    with pytest.raises(ValueError, match="the loss is not finite in epoch 2: try a learning rate"):
        et.fit(three, CONFIG, make_encoder(), save_to=tmp_path / "run", loss=breaks_later)
    assert_same_run(et.load(tmp_path / "run"), whole)
