"""The progress bar of a training."""

import io

import earthtie_lite as et


class Terminal(io.StringIO):
    def isatty(self):
        return True


def rows(n):
    return [{"epoch": epoch, "loss": 7.0 - epoch, "val_loss": 5.0} for epoch in range(n)]


def test_a_terminal_shows_epochs_and_losses():
    screen = Terminal()
    bar = et.ProgressBar(3, file=screen)
    for row in rows(3):
        bar(row)
    assert "3/3" in screen.getvalue()
    assert "loss=5.000" in screen.getvalue()


def test_nothing_is_written_outside_a_terminal():
    page = io.StringIO()
    bar = et.ProgressBar(3, file=page)
    for row in rows(3):
        bar(row)
    assert page.getvalue() == ""
