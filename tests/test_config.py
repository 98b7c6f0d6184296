"""Settings of training and of the notebooks: defaults, and every bad one."""

import dataclasses
import math

import pytest

from earthtie_lite import TrainConfig, profile
from earthtie_lite.config import OPTIONS, PROFILES


def test_the_defaults_are_the_papers():
    config = TrainConfig()
    assert (config.method, config.epochs, config.batch_size) == ("melt", 50, 2048)
    assert config.learning_rate == 1e-4


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("bad", ["adapt", "", None, "MELT"])
def test_an_unknown_option_is_refused(name, bad):
    with pytest.raises(ValueError, match=rf"unknown {name} {bad!r}: expected one of \("):
        TrainConfig(**{name: bad})


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("epochs", 1),
        ("batch_size", 2),
        ("val_batch_size", 2),
        ("seed", 0),
        ("save_every", 1),
        ("head_warmup", 0),
        ("patience", 1),
    ],
)
def test_a_bad_count_is_refused(name, least):
    for bad in (least - 1, -1, 2.5, math.nan, math.inf, "3", True):
        with pytest.raises(ValueError, match=rf"{name} must be an integer of at least {least}"):
            TrainConfig(**{name: bad})
    assert getattr(TrainConfig(method="salt", **{name: least}), name) == least


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "val_fraction"])
@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf, -math.inf, "0.1", None])
def test_a_bad_number_is_refused(name, bad):
    with pytest.raises(ValueError, match=rf"{name} must be a finite number of at least 0, got"):
        TrainConfig(**{name: bad})


def test_a_learning_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="learning_rate must be positive, got 0"):
        TrainConfig(learning_rate=0)


def test_holding_everything_out_is_refused():
    with pytest.raises(ValueError, match=r"val_fraction must lie in \[0, 1\), got 1"):
        TrainConfig(val_fraction=1.0)


def test_patience_without_a_validation_loss_is_refused():
    with pytest.raises(ValueError, match="patience needs a validation loss"):
        TrainConfig(patience=3, val_fraction=0)


@pytest.mark.parametrize("setting", [{"head_warmup": 5}, {"moments": "reset"}])
def test_turns_of_one_step_have_nothing_to_warm_up_or_reset(setting):
    with pytest.raises(ValueError, match="needs turns of an epoch: switch must be 'epoch'"):
        TrainConfig(method="salt", switch="step", **setting)
    TrainConfig(method="salt", **setting)


@pytest.mark.parametrize("setting", [{"switch": "step"}, {"head_warmup": 5}, {"moments": "reset"}])
def test_melt_refuses_what_changes_salts_switches(setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} change how SALT switches"):
        TrainConfig(method="melt", **setting)


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3


def test_replace_changes_a_copy_and_checks_it():
    config = TrainConfig()
    assert config.replace(epochs=3).epochs == 3
    assert config.epochs == 50
    with pytest.raises(ValueError, match="epochs must be an integer"):
        config.replace(epochs=0)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'temperature'"):
        TrainConfig(temperature=0.07)


@pytest.mark.parametrize("name", ["smoke", "sample", "paper"])
def test_each_profile_can_train(name):
    sizes = profile(name)
    TrainConfig(batch_size=sizes.batch_size, learning_rate=sizes.learning_rate)
    assert sizes.batch_size <= sizes.n * 0.8
    assert sizes.n_labels <= sizes.n_task * 0.6


def test_profiles_grow():
    assert PROFILES["smoke"].n < PROFILES["sample"].n < PROFILES["paper"].n == 100_000


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match=r"unknown profile 'huge': expected one of \['paper'"):
        profile("huge")
