"""Settings of training and of the notebooks, and the device."""

import dataclasses
import math
from typing import get_args

import pytest
import torch

from earthtie_lite import TrainConfig, config, profile
from earthtie_lite.config import PROFILES, pick_device

OPTIONS = {
    "method": config.Method,
    "schedule": config.Schedule,
    "direction": config.Direction,
    "negatives": config.Negatives,
    "precision": config.Precision,
    "device": config.Device,
}


def test_the_defaults_are_the_papers():
    defaults = TrainConfig()
    assert (defaults.method, defaults.epochs, defaults.batch_size) == ("melt", 50, 2048)
    assert defaults.learning_rate == 1e-4


@pytest.mark.parametrize("name", OPTIONS)
def test_only_known_options_are_accepted(name):
    for known in get_args(OPTIONS[name]):
        assert getattr(TrainConfig(**{name: known}), name) == known
    for bad in ("adapt", "", None, "MELT"):
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
        ("patience", 1),
        ("chunk_size", 1),
    ],
)
def test_a_count_must_be_an_integer_of_at_least_its_minimum(name, least):
    for bad in (least - 1, -1, 2.5, math.nan, math.inf, "3", True):
        with pytest.raises(ValueError, match=rf"{name} must be an integer of at least {least}"):
            TrainConfig(**{name: bad})
    assert getattr(TrainConfig(**{name: least}), name) == least


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "val_fraction"])
@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf, -math.inf, "0.1", None])
def test_a_rate_must_be_finite_and_not_negative(name, bad):
    with pytest.raises(ValueError, match=rf"{name} must be a finite number of at least 0, got"):
        TrainConfig(**{name: bad})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"val_fraction": 1.0}, r"val_fraction must lie in \[0, 1\), got 1"),
        ({"patience": 3, "val_fraction": 0}, "patience needs a validation loss"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


def test_a_config_is_frozen_and_replace_changes_a_checked_copy():
    defaults = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        defaults.epochs = 3
    assert (defaults.replace(epochs=3).epochs, defaults.epochs) == (3, 50)
    with pytest.raises(ValueError, match="epochs must be an integer"):
        defaults.replace(epochs=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'temperature'"):
        defaults.replace(temperature=0.07)


def test_a_cosine_schedule_falls_from_the_rate_to_zero():
    cosine = TrainConfig(schedule="cosine", learning_rate=2.0)
    got = [cosine.rate_at(done) for done in (0, 0.25, 0.5, 1)]
    assert got == pytest.approx([2, 1 + math.sqrt(0.5), 1, 0])
    assert TrainConfig().rate_at(0.9) == TrainConfig().learning_rate


@pytest.mark.parametrize("name", ["smoke", "sample", "paper"])
def test_the_sizes_of_a_profile_fit_together(name):
    sizes = profile(name)
    TrainConfig(batch_size=sizes.batch_size, learning_rate=sizes.learning_rate)
    assert sizes.batch_size <= sizes.n * 0.8
    assert sizes.n_labels <= sizes.n_task * 0.6


def test_profiles_grow_from_smoke_to_paper():
    assert PROFILES["smoke"].n < PROFILES["sample"].n < PROFILES["paper"].n == 100_000


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match=r"unknown profile 'huge': expected one of \('smoke'"):
        profile("huge")


def test_a_gpu_is_taken_if_there_is_one_and_required_if_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'cuda' was asked for, but torch finds no GPU"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 1)
    assert pick_device("cpu") == torch.device("cpu")
