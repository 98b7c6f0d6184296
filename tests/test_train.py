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

CONFIG = et.TrainConfig(epochs=3, batch_size=96, learning_rate=3e-3, val_batch_size=16)
METHODS = pytest.mark.parametrize("method", ["melt", "salt"])


def same_weights(one, other):
    first, second = (run.model.state_dict() for run in (one, other))
    return all(torch.equal(first[key], second[key]) for key in first)


def assert_same_run(one, other):
    """Compare weights and histories bitwise, without the seconds."""
    assert same_weights(one, other)
    histories = [run.history.drop(columns="seconds") for run in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.fixture(scope="module")
def fit(three, make_encoder):
    """Return a function that trains on three modalities with changes of CONFIG."""

    def fitted(sample=three, /, how=None, **changes):
        return et.fit(sample, CONFIG.replace(**changes), make_encoder(), **(how or {}))

    return fitted


@pytest.fixture(scope="module")
def melt(fit):
    return fit()


@pytest.fixture(scope="module")
def saved(melt, tmp_path_factory):
    melt.save(folder := tmp_path_factory.mktemp("runs") / "run")
    return folder


@pytest.fixture
def untrained(three, make_encoder):
    """Return a model without dropout and the data of three modalities."""
    model = et.EarthTie(make_encoder(dropout=0.0), {m.name: 6 for m in three})
    return model, train.load_data(model, three)


def test_melt_splits_each_batch_as_evenly_as_possible():
    rows = {name: np.arange(5000) for name in "abc"}
    batches = list(train.melt_batches(rows, 2048, np.random.default_rng(0)))
    shares = [{m: len(some) for m, some in batch.items()} for batch in batches]
    assert shares == [{"a": 683, "b": 683, "c": 682}] * 7


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
    assert all(model.head(name).linear.weight.grad.abs().max() > 0 for name in batch)


def test_an_epoch_of_salt_changes_the_encoder_and_the_active_head_only(fit, tmp_path):
    states = []

    def keep(row):
        states.append((row["modality"], et.load(tmp_path / "run").model.state_dict()))

    fit(how={"save_to": tmp_path / "run", "callback": keep}, method="salt", epochs=5)
    assert [name for name, _ in states] == ["soil", "river", "wind", "soil", "river"]
    for (_, before), (active, after) in pairwise(states):
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        heads = {key.split(".")[1] for key in changed if key.startswith("projections.")}
        assert heads == {f"of_{active}"}
        assert any(key.startswith("encoder.siren.") for key in changed)


def test_training_overfits_32_pairs(make_modality, make_encoder):
    config = CONFIG.replace(epochs=150, batch_size=32, learning_rate=5e-3, val_fraction=0)
    m = make_modality(n=32)
    run = et.fit(m, config, make_encoder(degrees=6, dropout=0.0))
    assert run.history["loss"].iloc[-1] < 0.1 * run.history["loss"].iloc[0]
    picked = run.model.similarity(m.lonlat, run.model.embed_modality("soil", m.features))
    assert (picked.argmax(axis=1) == np.arange(32)).mean() > 0.9


@pytest.mark.parametrize(("method", "epochs"), [("melt", 8), ("salt", 24)])
def test_only_features_that_depend_on_the_place_generalise(make_modality, fit, method, epochs):
    changes = {"learning_rate": 5e-3, "val_batch_size": 64, "batch_size": 96, "method": method}
    related = [make_modality(name, 1000, seed=i) for i, name in enumerate(("a", "bb", "ccc"))]
    order = np.random.default_rng(1).permutation(1000)
    shuffled = [et.Modality(m.name, m.lonlat, m.features[order]) for m in related]
    learned, lost = (
        fit(some, epochs=epochs, **changes).history["val_loss"].iloc[-1] / math.log(64)
        for some in (related, shuffled)
    )
    assert learned < 0.5 < 0.95 < lost


def test_bf16_trains_nearly_as_float32(fit):
    changes = {"epochs": 6, "learning_rate": 1e-3, "val_fraction": 0.0}
    full, half = (fit(precision=name, **changes) for name in ("float32", "bf16"))
    first, last = full.history["loss"].iloc[[0, -1]]
    assert last < first - 0.05
    assert half.history["loss"].iloc[-1] == pytest.approx(last, abs=0.05)
    assert half.history["loss"].tolist() != full.history["loss"].tolist()
    assert next(half.model.parameters()).dtype == torch.float32


def test_fit_can_be_read_on_one_screen():
    (function,) = ast.parse(source := inspect.getsource(et.fit)).body
    body = source.splitlines()[function.body[1].lineno - 1 : function.end_lineno]
    code = [line for line in body if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 60


@METHODS
def test_a_history_has_a_row_per_step_and_validation_losses_at_the_end_of_an_epoch(fit, method):
    rows = []
    run = fit(how={"callback": rows.append}, method=method)
    history, ends = run.history, run.history.dropna(subset="val_loss")
    columns = ["step", "epoch", "pairs", "modality", "loss", "val_loss", "logit_scale", "seconds"]
    assert list(history)[:8] == columns
    assert history["step"].tolist() == list(range(1, len(history) + 1))
    assert history["pairs"].tolist() == (96 * history["step"]).tolist()
    assert np.isfinite(history[["loss", "grad_norm"]]).all(axis=None)
    assert history["seconds"].is_monotonic_increasing
    last = history.groupby("epoch")["step"].max()
    assert ends["step"].tolist() == last.tolist() == [row["step"] for row in rows]
    each = ends[["val_soil", "val_river", "val_wind"]].to_numpy()
    np.testing.assert_allclose(ends["val_loss"], each.mean(axis=1))
    assert [row["val_loss"] for row in rows] == ends["val_loss"].tolist()
    plain = fit(method=method, val_fraction=0, epochs=1).history
    assert (plain["val_loss"].isna().all(), list(plain)[-1]) == (True, "grad_norm")


def test_encoder_data_and_global_random_numbers_stay_unchanged(three, make_encoder, melt):
    encoder = make_encoder()

    def state():
        arrays = [array for m in three for array in (m.lonlat, m.features)]
        arrays += [torch.get_rng_state(), np.random.get_state()[1]]  # noqa: NPY002
        arrays += encoder.state_dict().values()
        return [np.asarray(array).tobytes() for array in arrays]

    torch.manual_seed(77)
    before = state()
    assert_same_run(et.fit(three, CONFIG, encoder), melt)
    assert state() == before


def test_batches_and_a_loss_of_the_user_replace_those_of_the_method(three):
    asked, drawn, seen = [], set(), []

    def first_rows(rows, size, rng, epoch):
        asked.append((sorted(rows), size, epoch))
        drawn.add(rng.random())
        yield {"soil": rows["soil"][:size]}
        yield {"wind": rows["wind"][:size], "soil": rows["soil"][:1]}

    def constant(model, data, batch, *rest):
        seen.append(batch)
        return 25 + 0 * train.tied_loss(model, data, batch, *rest)

    configs = [CONFIG.replace(epochs=2, batch_size=8, seed=seed) for seed in (0, 1)]
    one, two = (et.fit(three, config, batches=first_rows, loss=constant) for config in configs)
    assert asked == [(["river", "soil", "wind"], 8, epoch) for epoch in (0, 1, 0, 1)]
    assert one.history["modality"].tolist() == ["soil", "wind+soil"] * 2
    assert {*one.history["loss"], *one.history["val_loss"].dropna()} == {25}
    train_rows = train.split_rows(three, CONFIG)[0]
    np.testing.assert_array_equal(seen[0]["soil"], train_rows["soil"][:8])
    # Seeds draw other weights, which this loss does not train, and other numbers in each epoch.
    assert not same_weights(one, two)
    assert len(drawn) == 4


def test_a_hook_runs_before_each_step_which_uses_the_rate_of_the_schedule(fit, make_encoder):
    calls, rates = [], []

    def freeze_encoder(model, optimiser, epoch, step):
        calls.append((epoch, step))
        rates.append([group["lr"] for group in optimiser.param_groups])
        assert model.head("soil").linear.weight.grad.abs().max() > 0
        for parameter in model.encoder.parameters():
            parameter.grad = None

    run = fit(how={"hook": freeze_encoder}, schedule="cosine", epochs=2)
    steps = len(run.history)
    assert calls == [(epoch, step) for epoch in (0, 1) for step in range(steps // 2)]
    expected = CONFIG.learning_rate * 0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    np.testing.assert_allclose(rates, np.stack([expected, expected], axis=1))
    for name, value in make_encoder().siren.state_dict().items():
        assert torch.equal(run.model.encoder.siren.state_dict()[name], value)


@METHODS
def test_held_out_places_and_their_buffer_are_never_in_a_batch(three, fit, method):
    taken = []

    def keep(*args):
        for batch in train.METHODS[method](*args):
            taken.append(batch)
            yield batch

    run = fit(how={"batches": keep}, method=method, batch_size=30)
    train_rows, val_rows = train.split_rows(three, run.config)
    for m in three:
        held_out, kept = hold_out(m.lonlat, 0.15, buffer_km=PATCH_KM)
        np.testing.assert_array_equal(train_rows[m.name], np.flatnonzero(kept))
        np.testing.assert_array_equal(val_rows[m.name], np.flatnonzero(held_out))
        rows = np.concatenate([batch[m.name] for batch in taken if m.name in batch])
        assert held_out.sum() > 10
        assert kept[rows].all()


def test_features_of_held_out_places_do_not_affect_the_weights(three, fit, melt):
    other = []
    for m in three:
        kept = hold_out(m.lonlat, 0.15, buffer_km=PATCH_KM)[1]
        features = m.features.copy()
        features[~kept] = 100 * features[~kept] + 30
        other.append(et.Modality(m.name, m.lonlat, features))
    run = fit(other)
    assert same_weights(run, melt)
    assert run.history["val_loss"].iloc[-1] != melt.history["val_loss"].iloc[-1]


def test_validation_is_without_dropout_and_repeatable(three, melt):
    rows, data = train.split_rows(three, CONFIG)[1], train.load_data(melt.model, three)
    again = train.validate(train.Objective(melt.model, train.tied_loss), data, rows, CONFIG)
    melt.model.eval()
    assert again["val_loss"] == melt.history["val_loss"].iloc[-1]


def test_features_in_a_memory_mapped_file_train_as_in_memory(three, fit, melt, tmp_path):
    mapped = []
    for m in three:
        np.save(tmp_path / f"{m.name}.npy", m.features)
        features = np.load(tmp_path / f"{m.name}.npy", mmap_mode="r")
        mapped.append(et.Modality(m.name, m.lonlat, features))
        assert np.shares_memory(mapped[-1].features, features)
    assert_same_run(fit(mapped), melt)


def test_data_too_large_for_a_gpu_stay_in_main_memory(three, untrained, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    data = train.load_data(untrained[0], three, "cuda")
    assert {t.device.type for part in data for t in part.values()} == {"cpu"}


@METHODS
def test_the_same_seed_gives_the_same_run_bitwise(three, fit, method):
    config = CONFIG.replace(method=method, epochs=1)
    one, same, other = (et.fit(three, config.replace(seed=seed)) for seed in (4, 4, 5))
    assert_same_run(one, same)
    assert (one.history["loss"] != other.history["loss"]).all()
    one, other = (fit(seed=seed, epochs=1, method=method) for seed in (4, 5))  # equal weights
    assert (one.history["loss"] != other.history["loss"]).all()


@pytest.mark.parametrize(
    "changes",
    [{}, {"schedule": "cosine"}, {"method": "salt", "save_every": 2}, {"val_fraction": 0}],
)
def test_a_killed_run_resumes_to_the_same_bits(three, fit, tmp_path, changes):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    folder, whole = tmp_path / "run", fit(epochs=5, **changes)
    with pytest.raises(KeyboardInterrupt):
        fit(how={"save_to": folder, "callback": stop}, epochs=5, **changes)
    assert et.load(folder).history["epoch"].max() == (1 if "save_every" in changes else 2)
    resumed = et.fit(three, whole.config, resume_from=folder)
    assert_same_run(resumed, whole)
    assert resumed.history["seconds"].is_monotonic_increasing


def test_an_encoding_stands_for_its_encoder_with_weights_from_the_seed(three, tmp_path):
    config, harmonics = CONFIG.replace(epochs=1), et.SphericalHarmonics(4)
    run = et.fit(three, config, harmonics, save_to=tmp_path)
    assert run.model.encoder.spec == et.LocationEncoder(harmonics).spec
    assert_same_run(et.fit(three, config, harmonics), run)
    assert_same_run(et.fit(three, config, harmonics, resume_from=tmp_path), run)
    with pytest.raises(ValueError, match="has another encoder"):
        et.fit(three, config, et.SphericalHarmonics(5), resume_from=tmp_path)
    with pytest.raises(ValueError, match="unknown encoding 'siren'"):
        et.fit(three, config, "siren")


def test_a_finished_run_resumes_to_itself_or_continues(three, fit, saved, melt):
    for epochs, whole in ((3, melt), (5, fit(epochs=5))):
        run = et.fit(three, CONFIG.replace(epochs=epochs), resume_from=saved)
        assert_same_run(run, whole)
        assert run.config == whole.config


def test_resuming_another_run_is_refused(three, make_encoder, saved, fit, tmp_path):
    changes = [{"learning_rate": 1e-3}, {"batch_size": 48}, {"seed": 1}, {"method": "salt"}]
    changes += [{"val_fraction": 0.2}, {"schedule": "cosine"}]
    soil = three[0]
    others = [soil.features[:, ::-1], soil.features * 1.01, soil.features[::-1]]
    others = [[et.Modality(soil.name, soil.lonlat, x), *three[1:]] for x in others]
    for sample, encoder, change, message in [
        *((three, None, change, r"has other settings, .*: repeat them") for change in changes),
        (three, None, {"epochs": 2}, "has 3 epochs already, more than 2"),
        (three, make_encoder(width=8), {}, "has another encoder"),
        (three[:2], None, {}, r"has other modalities: \{'soil': 6, 'river': 6"),
        *((sample, None, {}, "was trained on other data of 'soil'") for sample in others),
    ]:
        with pytest.raises(ValueError, match=message):
            et.fit(sample, CONFIG.replace(**change), encoder, resume_from=saved)
    cosine = fit(how={"save_to": tmp_path}, schedule="cosine", epochs=1).config
    with pytest.raises(ValueError, match="has other settings, epochs=1"):  # the rate depends on it
        et.fit(three, cosine.replace(epochs=2), resume_from=tmp_path)


def test_places_too_few_for_a_batch_or_validation_are_refused(three, make_modality, fit):
    one = et.Modality("soil", [[10.0, 20.0]], [[1.0, 2.0]])
    everywhere = sample_sphere(500, np.random.default_rng(0))
    kept = make_modality(places=everywhere[hold_out(everywhere)[1]])
    for sample, changes, message in [
        (three, {"batch_size": 2000}, r"'\w+' has \d+ pairs to train on, but a batch needs 667"),
        (three, {"batch_size": 2}, "a batch of 2 pairs cannot hold 3 modalities"),
        (one, {"val_fraction": 0.0}, "has 1 pairs to train on"),
        (one, {}, r"has \d places in the held-out blocks"),
        (kept, {}, "has 0 places in the held-out blocks: add more places"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(sample, **changes)


def test_the_logit_scale_never_exceeds_its_limit(fit):
    def greedy(model, *rest):
        return 0 * train.tied_loss(model, *rest) - model.logit_scale

    scale = fit(how={"loss": greedy}, learning_rate=0.5).history["logit_scale"]
    assert scale.iloc[0] > 3
    assert scale.max() == scale.iloc[-1] == pytest.approx(MAX_LOGIT_SCALE, abs=1e-6)


def test_biases_and_the_logit_scale_are_not_decayed(untrained):
    names = {id(parameter): name for name, parameter in untrained[0].named_parameters()}
    for group in train.adamw(untrained[0], CONFIG.replace(weight_decay=0.3)).param_groups:
        for name in [names.pop(id(parameter)) for parameter in group["params"]]:
            assert group["weight_decay"] == (0.3 if name.endswith("weight") else 0.0), name
    assert not names


@pytest.mark.parametrize(("method", "names"), [("melt", "ab"), ("salt", "ab"), ("salt", "a")])
def test_training_stops_after_passes_without_a_lower_validation_loss(fit, tmp_path, method, names):
    rng, folder = np.random.default_rng(0), tmp_path / "run"
    noise = [et.Modality(n, sample_sphere(300, rng), rng.normal(size=(300, 6))) for n in names]
    changes = {"method": method, "epochs": 200, "patience": 2, "learning_rate": 0.02}
    run = fit(noise, how={"save_to": folder}, **changes)
    losses = run.history["val_loss"].dropna().to_numpy()
    passes = len(names) if method == "salt" else 1
    assert len(losses) < 150
    assert len(losses) - 1 - int(np.argmin(losses)) == 2 * passes
    assert_same_run(et.load(folder), run)
    assert_same_run(et.fit(noise, run.config, resume_from=folder), run)


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_saved_run(fit, tmp_path):
    whole, steps = fit(epochs=2), []

    def breaks_later(model, *rest):
        steps.append(model.training)
        loss = train.tied_loss(model, *rest)
        return loss * math.nan if sum(steps) > len(whole.history) and model.training else loss

    with pytest.raises(ValueError, match="the loss is not finite in epoch 2: try a learning rate"):
        fit(how={"save_to": tmp_path / "run", "loss": breaks_later})
    assert_same_run(et.load(tmp_path / "run"), whole)
