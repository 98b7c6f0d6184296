"""Figures of results: every curve, band and interval that was given is drawn."""

from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from earthtie_lite.results import charts


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def means(tasks, embeddings, x, counts, low, high):
    """Return a table of means, all 0.1, with intervals."""
    rows = pd.DataFrame(product(tasks, embeddings, counts), columns=["task", "embedding", x])
    return rows.assign(mean=0.1, low=low, high=high)


def test_every_embedding_is_a_line_and_the_highlighted_have_a_name():
    table = means(("height", "kind", "age"), "abc", "n_labels", (243, 729), 0.0, 0.6)
    figure = charts.curves(table, {"b": "the second", "a": "the first"}, "n_labels", "labels")
    assert [ax.get_title() for ax in figure.axes] == ["height", "kind", "age"]
    assert [(len(ax.lines), len(ax.collections)) for ax in figure.axes] == [(3, 3)] * 3
    assert [t.get_text() for t in figure.legends[0].texts] == ["the second", "the first"]


def test_curves_of_differences_show_zero_and_all_bands():
    table = means(("height", "kind"), "a", "degrees", (0, 10), -0.3, 0.3)
    how = {"log": False, "differences": True}
    figure = charts.curves(table, {"a": "a"}, "degrees", "degrees of the skip", **how)
    for ax in figure.axes:
        assert (len(ax.lines), len(ax.collections)) == (2, 1)
        assert ax.get_ylim()[0] < -0.3 < 0.3 < ax.get_ylim()[1]
        assert (ax.get_xscale(), ax.get_xlabel()) == ("linear", "degrees of the skip")


def test_differences_that_exclude_zero_look_different():
    table = pd.DataFrame({"task": "height", "name": ["clear", "open"], "difference": [0.3, 0.05]})
    table = table.assign(low=table["difference"] - 0.1, high=table["difference"] + 0.1)
    (ax,) = charts.differences(table, "a minus b").axes
    markers = [line.get_marker() for line in ax.lines if len(line.get_xdata()) == 1]
    assert markers == ["o", "s"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["clear", "open"]


def test_traces_have_a_column_a_method_and_a_line_an_epoch():
    rows = [
        {"kind": kind, "modality": m, "epoch": e, "pairs": 100 * e + p, "loss": p + seed}
        for kind, (e, m), p, seed in product(
            ("SALT", "MELT"), enumerate(("satellite", "lights")), (0, 50), (0, 1)
        )
    ]
    figure = charts.traces(pd.DataFrame(rows), {"loss": "loss (nats)"})
    assert [ax.get_title() for ax in figure.axes] == ["SALT", "MELT"]
    assert all(len(ax.lines) == 2 for ax in figure.axes)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.5, 50.5]
