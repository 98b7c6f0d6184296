"""Figures of results: training over seeds, scores against labels, paired differences."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..maps import COLOURS, CYCLE, LINE

if TYPE_CHECKING:
    import pandas as pd


def traces(steps: "pd.DataFrame", columns: Mapping[str, str]) -> Figure:
    """Draw quantities of training over seeds, one column of panels per method.

    Parameters
    ----------
    steps : DataFrame
        Histories of several seeds with a column kind, the name of the method. Lines are means over
        seeds, bands span the lowest to the highest value, colours show the active modality.
    columns : mapping of str to str
        Columns to draw, and the label of each.
    """
    kinds = list(steps["kind"].unique())
    figure, axes = plt.subplots(
        len(columns),
        len(kinds),
        figsize=(8, 2.1 * len(columns) + 0.3),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for i, (column, label) in enumerate(columns.items()):
        axes[i, 0].set_ylabel(label)
        for ax, kind in zip(axes[i], kinds):
            history = steps[steps["kind"] == kind]
            for (name, _), piece in history.groupby(["modality", "epoch"]):
                over = piece.groupby("pairs")[column].agg(["mean", "min", "max"])
                x, colour = over.index.to_numpy() / 1e6, COLOURS.get(str(name), "#000000")
                ax.fill_between(x, over["min"], over["max"], color=colour, alpha=0.25, lw=0)
                ax.plot(x, over["mean"], color=colour, lw=0.8)
            ax.grid(alpha=0.3)
    for ax, kind in zip(axes[0], kinds):
        ax.set_title(kind, fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("pairs seen (millions)")
    return figure


def curves(
    table: "pd.DataFrame",
    highlight: Mapping[str, str],
    x: str,
    label: str,
    log: bool = True,
    differences: bool = False,
    bands: bool = True,
) -> Figure:
    """Draw means with 95 % intervals as bands against a number, one panel per task.

    Parameters
    ----------
    table : DataFrame
        Columns task, embedding, mean, low, high, and the one named by ``x``.
    highlight : mapping of str to str
        Embeddings to draw in colour, and the name of each in the legend; the others are grey.
    x, label : str
        Column for the horizontal axis, and its label.
    log : bool
        Whether that axis is logarithmic.
    differences : bool
        Draw a line at zero; otherwise panels begin at -0.1 or above (0 if no interval is below 0).
    bands : bool
        Whether to draw the intervals; omit them if curves are compared in pairs elsewhere.
    """
    tasks = list(table["task"].unique())
    rows = -(-len(tasks) // 2)
    figure, axes = plt.subplots(
        rows, 2, figsize=(8, 2.9 * rows + 0.8), squeeze=False, sharex=True, layout="constrained"
    )
    for ax in axes.flat[len(tasks) :]:
        ax.remove()
    colours = dict(zip(highlight, (CYCLE[6], *CYCLE[:6], LINE)))
    for ax, task in zip(axes.flat, tasks):
        drawn = table[table["task"] == task].sort_values(x)
        for name, curve in drawn.groupby("embedding", sort=False):
            known = name in highlight
            colour, order = colours.get(str(name), "#b0b0b0"), 3 if known else 1
            band = (curve[x], curve["low"], curve["high"])
            if bands:
                alpha = 0.1 if known else 0.04
                ax.fill_between(*band, color=colour, alpha=alpha, lw=0, zorder=order)
            line = {"lw": 1.6 if known else 0.7, "ms": 3, "marker": "o" if known else ""}
            label_of = highlight.get(str(name))
            ax.plot(*band[:1], curve["mean"], color=colour, label=label_of, zorder=order, **line)
        ax.set_title(task)
        ax.set_xscale("log" if log else "linear")
        if differences:
            ax.axhline(0, color="black", lw=0.8)
        else:
            lowest = max(-0.1, drawn["mean"].min() - 0.03)
            ax.set_ylim(bottom=max(0.0, lowest) if (drawn["low"] >= 0).all() else lowest)
        ax.grid(alpha=0.3)
    counts = sorted(table[x].unique())
    for ax in figure.axes[-2:]:
        turn = 30 if max(counts) >= 100_000 else 0
        ax.set_xticks(counts, [f"{n:,}" for n in counts], fontsize=9, rotation=turn)
        ax.minorticks_off()
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    lines = dict(zip(labels, handles))
    names = [name for name in highlight.values() if name in lines]
    figure.legend(
        [lines[name] for name in names],
        names,
        loc="outside upper center",
        ncols=4 if max(map(len, names), default=0) < 20 else 2,
        frameon=False,
    )
    return figure


def differences(table: "pd.DataFrame", label: str) -> Figure:
    """Draw paired differences with 95 % intervals: one panel per task, one row per comparison.

    Parameters
    ----------
    table : DataFrame
        Columns task, name, difference, low, high.
    label : str
        Label of the horizontal axis.
    """
    tasks, names = list(table["task"].unique()), list(table["name"].unique())
    figure, axes = plt.subplots(
        1,
        len(tasks),
        figsize=(7.8, 0.32 * len(names) + 1.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, task in zip(axes[0], tasks):
        rows = table[table["task"] == task].set_index("name").reindex(names)
        clear = (rows["low"] > 0) | (rows["high"] < 0)
        for y, (name, row) in enumerate(rows.iterrows()):
            colour = CYCLE[0] if clear[name] else "#888888"
            ax.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.6)
            ax.plot(row["difference"], y, "o" if clear[name] else "s", color=colour, ms=5)
        ax.axvline(0, color="black", lw=0.8)
        ax.set_title(task, fontsize=10)
        ax.grid(axis="x", alpha=0.3)
        ax.tick_params(axis="x", labelsize=9)
        ax.locator_params(axis="x", nbins=2 if len(tasks) > 4 else 3)
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    figure.supxlabel(label, fontsize=10)
    return figure
