"""Figures of the book. World maps use the Equal Earth projection; everything works offline."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from . import sample as embedded
from .coords import as_lonlat

if TYPE_CHECKING:
    import pandas as pd
    from cartopy.mpl.geoaxes import GeoAxes

LAND, MISSING, LINE = "#eeeeee", "#cfcfcf", "#666666"
# Okabe and Ito (2008): distinguishable with all common forms of colour blindness.
COLOURS = {
    "satellite": "#0072B2",
    "lights": "#E69F00",
    "text": "#009E73",
    "satellite+lights+text": "#000000",
}
CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")


def world(panels: int = 1, columns: int = 1, width: float = 8.0) -> tuple[Figure, list["GeoAxes"]]:
    """Make a figure of world maps in the Equal Earth projection, land drawn in light grey.

    Land has zorder 0.5 and its outline zorder 3: data with zorder 1 or 2 lie between the two.

    Returns
    -------
    figure, axes : Figure, list of GeoAxes
    """
    rows = -(-panels // columns)
    figure = plt.figure(
        figsize=(width, rows * (0.52 * width / columns + 0.35)), layout="constrained"
    )
    axes = []
    for panel in range(panels):
        ax: Any = figure.add_subplot(rows, columns, panel + 1, projection=ccrs.EqualEarth())
        ax.set_global()
        outlines = list(embedded.land().geometry)
        if not outlines:
            raise ValueError("land.fgb holds no land to draw")
        plate = ccrs.PlateCarree()
        ax.add_geometries(outlines, plate, facecolor=LAND, zorder=0.5)
        ax.add_geometries(outlines, plate, facecolor="none", edgecolor=LINE, lw=0.3, zorder=3)
        ax.spines["geo"].set_edgecolor(LINE)
        axes.append(ax)
    return figure, axes


def points_map(
    groups: Mapping[str, ArrayLike], size: float = 1.0, title: str | None = None
) -> Figure:
    """Draw groups of places, each an array (N, 2) in degrees, with one panel per group."""
    if not groups:
        raise ValueError("at least one group of places is needed")
    figure, axes = world(len(groups), columns=min(len(groups), 2))
    for i, (ax, (name, lonlat)) in enumerate(zip(axes, groups.items())):
        places = as_lonlat(lonlat)
        colour = COLOURS.get(name, CYCLE[i % len(CYCLE)])
        ax.scatter(*places.T, s=size, c=colour, linewidths=0, transform=ccrs.PlateCarree())
        ax.set_title(f"{name}, {len(places):,} places", fontsize=10)
    if title:
        figure.suptitle(title)
    return figure


def grid(spacing_deg: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the cell centres (H * W, 2) of a global grid, north first, and its shape (H, W)."""
    if not np.isfinite(spacing_deg) or not 0 < spacing_deg <= 30:
        raise ValueError(f"spacing_deg must lie in (0, 30], got {spacing_deg}")
    height = round(180 / spacing_deg)
    lat = 90 - (np.arange(height) + 0.5) * 180 / height
    lon = -180 + (np.arange(2 * height) + 0.5) * 180 / height
    mesh = np.meshgrid(lon, lat)
    return np.stack([m.ravel() for m in mesh], axis=1), (height, 2 * height)


def prediction_map(
    panels: Mapping[str, NDArray[np.float64]],
    label: str,
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
) -> Figure:
    """Draw gridded values as world maps that share one colour scale and one colour bar.

    Parameters
    ----------
    panels : mapping of str to array, shape (H, W)
        Title and values on a global grid, north first; NaN where a value is missing.
    label : str
        Label of the colour bar: quantity and unit.
    cmap : str
    limits : tuple, optional
        Ends of the colour scale; by default the 1st and 99th percentile of all panels.
    diverging : bool
        Centre the scale on zero and use a diverging colour map.

    Returns
    -------
    Figure
    """
    if not panels:
        raise ValueError("at least one panel is needed")
    arrays = {title: np.asarray(values, dtype=np.float64) for title, values in panels.items()}
    for title, values in arrays.items():
        if values.ndim != 2 or values.shape[1] != 2 * values.shape[0]:
            raise ValueError(f"panel {title!r} must be a global grid (H, 2 H), got {values.shape}")
        if not np.isfinite(values).any():
            raise ValueError(f"panel {title!r} has no values")
    everything = np.concatenate([v[np.isfinite(v)] for v in arrays.values()])
    low, high = np.percentile(everything, [1, 99]) if limits is None else limits
    if diverging:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
        cmap = "PuOr_r"
    colours = plt.get_cmap(cmap).with_extremes(bad=MISSING)
    figure, axes = world(len(arrays), columns=1 if len(arrays) == 1 else 2)
    for ax, (title, values) in zip(axes, arrays.items()):
        height, width = values.shape
        mesh = ax.pcolormesh(
            np.linspace(-180, 180, width + 1),
            np.linspace(90, -90, height + 1),
            np.ma.masked_invalid(values),
            transform=ccrs.PlateCarree(),
            cmap=colours,
            vmin=low,
            vmax=high,
            rasterized=True,
        )
        ax.set_title(title, fontsize=10)
    ends = (everything.min() < low) + 2 * (everything.max() > high)
    extend = ("neither", "min", "max", "both")[ends]
    figure.colorbar(
        mesh, ax=axes, orientation="horizontal", shrink=0.5, aspect=40, label=label, extend=extend
    )
    return figure


def loss_curves(history: "pd.DataFrame", title: str | None = None) -> Figure:
    """Draw the training loss of each step above the held-out loss of each modality."""
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 5.2), sharex=True, layout="constrained")
    draw_curves(axes, history)
    if title:
        figure.suptitle(title)
    return figure


def draw_curves(axes: Sequence[Any], history: "pd.DataFrame") -> None:
    """Draw the training loss by active modality and the held-out losses on two axes."""
    pairs = history["pairs"] / 1e6
    for name in history["modality"].unique():
        active = history["modality"] == name
        # NaN while another modality is active, so that the line has a gap there.
        loss = history["loss"].where(active)
        axes[0].plot(
            pairs, loss, ".-", ms=1.5, lw=1, color=COLOURS.get(name, "#000000"), label=name
        )
    ends = history.dropna(subset="val_loss")
    names = [c for c in map(str, history) if c.startswith("val_") and c != "val_loss"]
    for i, column in enumerate(names):
        name = column.removeprefix("val_")
        colour = COLOURS.get(name, CYCLE[i % len(CYCLE)])
        axes[1].plot(ends["pairs"] / 1e6, ends[column], "o-", ms=2, lw=1, color=colour, label=name)
    axes[0].set_ylabel("training loss (nats)")
    axes[1].set(ylabel="held-out loss (nats)", xlabel="pairs seen (millions)")
    for ax in axes:
        ax.grid(alpha=0.3)
        if ax.has_data():
            ax.legend(fontsize=8, frameon=False, ncols=3, loc="upper right")


class LiveCurves:
    """A callback for :func:`~earthtie_lite.train.fit` that redraws the curves after each epoch."""

    def __init__(self, title: str | None = None) -> None:
        from IPython.display import display

        self.rows: list[dict[str, Any]] = []
        self.title = title
        self.handle = display(display_id=True)

    def __call__(self, row: dict[str, Any]) -> None:
        """Add the last row of an epoch and redraw."""
        import pandas as pd

        self.rows.append(row)
        figure = loss_curves(pd.DataFrame(self.rows), self.title)
        self.handle.update(figure)
        plt.close(figure)


def probe_bars(summary: "pd.DataFrame") -> Figure:
    """Draw the table of :func:`~earthtie_lite.probes.summarise`: a panel per task.

    Rows are embeddings and markers are splits; a line is the 95 % interval of the mean over draws.
    """
    tasks = list(summary["task"].unique())
    names = list(summary["embedding"].unique())
    figure, axes = plt.subplots(
        1,
        len(tasks),
        figsize=(2.4 * len(tasks) + 1.4, 0.42 * len(names) + 1.5),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    styles = {"random": ("o", CYCLE[4], -0.13), "block": ("s", CYCLE[0], 0.13)}
    for ax, task in zip(axes[0], tasks):
        for split, (marker, colour, shift) in styles.items():
            rows = summary[(summary["task"] == task) & (summary["split"] == split)]
            if rows.empty:
                continue
            y = np.array([names.index(name) for name in rows["embedding"]]) + shift
            sides = np.stack([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
            style = {"fmt": marker, "color": colour, "ms": 5, "lw": 1.2, "label": f"{split} split"}
            ax.errorbar(rows["mean"], y, xerr=sides, **style)
        ax.set_title(task, fontsize=10)
        ax.set_xlabel(summary.loc[summary["task"] == task, "metric"].iloc[0])
        ax.grid(axis="x", alpha=0.3)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure
