"""The progress bar of a training."""

import io

import pytest
from fakes import Terminal

import earthtie_lite as et


@pytest.mark.parametrize(("stream", "seen"), [(Terminal, ["3/3", "loss=5.000"]), (io.StringIO, [])])
def test_epochs_and_losses_are_shown_on_a_terminal_only(stream, seen):
    bar = et.ProgressBar(3, file=(screen := stream()))
    for epoch in range(3):
        bar({"epoch": epoch, "loss": 7.0 - epoch, "val_loss": 5.0})
    assert all(text in screen.getvalue() for text in seen)
    assert bool(seen) == bool(screen.getvalue())
