"""Figures of results: every curve, band and interval that was given is drawn."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from earthtie_lite.results import charts


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_every_embedding_is_a_line_and_the_highlighted_have_a_name():
    rows = [
        {"task": task, "embedding": name, "n_labels": n, "mean": 0.5, "low": 0.4, "high": 0.6}
        for task in ("height", "kind", "age")
        for name in ("a", "b", "c")
        for n in (243, 729)
    ]
    figure = charts.label_curves(pd.DataFrame(rows), {"b": "the second", "a": "the first"})
    assert [ax.get_title() for ax in figure.axes] == ["height", "kind", "age"]
    assert all(len(ax.lines) == 3 for ax in figure.axes)
    assert [t.get_text() for t in figure.legends[0].texts] == ["the second", "the first"]


def test_curves_of_differences_have_a_line_at_zero():
    rows = [
        {"task": task, "embedding": "a", "degrees": n, "mean": mean, "low": -0.3, "high": 0.3}
        for task, means in (("height", (-0.2, 0.1)), ("kind", (0.1, 0.2)))
        for n, mean in zip((0, 10), means, strict=True)
    ]
    figure = charts.curves(
        pd.DataFrame(rows), {"a": "a"}, "degrees", "degrees of the skip", False, differences=True
    )
    height, kind = figure.axes
    assert [len(ax.lines) for ax in (height, kind)] == [2, 2]
    assert all(ax.get_ylim()[0] < -0.3 < 0.3 < ax.get_ylim()[1] for ax in (height, kind))
    assert height.get_xscale() == "linear"
    assert kind.get_xlabel() == "degrees of the skip"
    assert height.collections


def test_curves_may_come_without_bands():
    rows = [
        {"task": "a", "embedding": "b", "n": n, "mean": 0.1, "low": 0, "high": 1} for n in (1, 2)
    ]
    (ax,) = charts.curves(pd.DataFrame(rows), {"b": "b"}, "n", "n", bands=False).axes
    assert not ax.collections


def test_differences_that_exclude_zero_look_different():
    rows = [
        {"task": "height", "name": name, "difference": d, "low": d - 0.1, "high": d + 0.1}
        for name, d in (("clear", 0.3), ("open", 0.05))
    ]
    (ax,) = charts.differences(pd.DataFrame(rows), "a minus b").axes
    markers = [line.get_marker() for line in ax.lines if len(line.get_xdata()) == 1]
    assert markers == ["o", "s"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["clear", "open"]


def test_traces_have_a_column_a_method_and_a_line_an_epoch():
    rows = [
        {"kind": kind, "modality": m, "epoch": e, "pairs": 100 * e + p, "loss": p + seed}
        for kind in ("SALT", "MELT")
        for e, m in enumerate(("satellite", "lights"))
        for p in (0, 50)
        for seed in (0, 1)
    ]
    figure = charts.traces(pd.DataFrame(rows), {"loss": "loss (nats)"})
    assert [ax.get_title() for ax in figure.axes] == ["SALT", "MELT"]
    assert all(len(ax.lines) == 2 for ax in figure.axes)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.5, 50.5]
