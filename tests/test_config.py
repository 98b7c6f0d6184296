"""Settings of training and of the notebooks, and the device."""

import math

import pytest
import torch

from earthtie_lite import TrainConfig, profile
from earthtie_lite.config import PROFILES, pick_device

OPTIONS = {
    "method": ("melt", "salt"),
    "schedule": ("constant", "cosine"),
    "direction": ("both", "to_location", "to_modality"),
    "negatives": ("cross", "all"),
    "precision": ("float32", "bf16"),
    "device": ("auto", "cpu", "cuda"),
}
LEAST = {"epochs": 1, "batch_size": 2, "val_batch_size": 2, "seed": 0}
LEAST |= {"save_every": 1, "patience": 1, "chunk_size": 1}
RATES = ("learning_rate", "weight_decay", "val_fraction")


def test_known_options_and_the_least_of_each_count_are_accepted():
    for name, known in {**OPTIONS, **{name: [least] for name, least in LEAST.items()}}.items():
        for value in known:
            assert getattr(TrainConfig().replace(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(({k: bad}, f"unknown {k} {bad!r}") for k in OPTIONS for bad in ("adapt", "MELT", None)),
        *(
            ({k: bad}, f"{k} must be an integer of at least {least}")
            for k, least in LEAST.items()
            for bad in (least - 1, 2.5, math.nan, "3", True)
        ),
        *(
            ({k: bad}, f"{k} must be a finite number of at least 0")
            for k in RATES
            for bad in (-1e-9, math.nan, math.inf, "0.1", None)
        ),
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"val_fraction": 1.0}, r"val_fraction must lie in \[0, 1\)"),
        ({"patience": 3, "val_fraction": 0}, "patience needs a validation loss"),
    ],
)
def test_impossible_settings_are_refused_also_in_a_changed_copy(settings, message):
    for make in (TrainConfig, TrainConfig().replace):
        with pytest.raises(ValueError, match=message):
            make(**settings)


def test_a_cosine_schedule_falls_from_the_rate_to_zero():
    cosine = TrainConfig(schedule="cosine", learning_rate=2.0)
    got = [cosine.rate_at(done) for done in (0, 0.25, 0.5, 1)]
    assert got == pytest.approx([2, 1 + math.sqrt(0.5), 1, 0])
    assert TrainConfig().rate_at(0.9) == TrainConfig().learning_rate


def test_the_sizes_of_each_profile_fit_together():
    for sizes in map(profile, PROFILES):
        TrainConfig(batch_size=sizes.batch_size, learning_rate=sizes.learning_rate)
        assert sizes.batch_size <= sizes.n * 0.8
        assert sizes.n_labels <= sizes.n_task * 0.6
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        profile("huge")


def test_a_gpu_is_taken_if_there_is_one_and_required_if_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="torch finds no GPU"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 1)
    assert pick_device("cpu") == torch.device("cpu")
