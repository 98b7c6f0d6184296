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
    height = rows * (0.52 * width / columns + 0.35)
    figure = plt.figure(figsize=(width, height), layout="constrained")
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
    figure.suptitle(title or "")
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


def as_grids(panels: Mapping[str, ArrayLike], shape: str) -> dict[str, NDArray[np.float64]]:
    """Return panels as arrays (H, 2 H) or (H, 2 H, 3), or raise a ValueError."""
    if not panels:
        raise ValueError("at least one panel is needed")
    arrays = {title: np.atleast_1d(np.asarray(x, np.float64)) for title, x in panels.items()}
    for title, values in arrays.items():
        known = {"(H, 2 H)": (), "(H, 2 H, 3)": (3,)}[shape]
        if values.shape != (len(values), 2 * len(values), *known):
            raise ValueError(f"panel {title!r} must be a global grid {shape}, got {values.shape}")
        if not np.isfinite(values).any():
            raise ValueError(f"panel {title!r} has no values")
    return arrays


def draw_grid(ax: "GeoAxes", values: Any, title: str, **style: Any) -> Any:
    """Draw values, or colours (H, W, 4), on a global grid, north first; return the mesh."""
    height, width = values.shape[:2]
    edges = np.linspace(-180, 180, width + 1), np.linspace(90, -90, height + 1)
    ax.set_title(title, fontsize=10)
    return ax.pcolormesh(*edges, values, transform=ccrs.PlateCarree(), rasterized=True, **style)


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
    arrays = as_grids(panels, "(H, 2 H)")
    everything = np.concatenate([v[np.isfinite(v)] for v in arrays.values()])
    low, high = np.percentile(everything, [1, 99]) if limits is None else limits
    if diverging:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
        cmap = "PuOr_r"
    style = {"cmap": plt.get_cmap(cmap).with_extremes(bad=MISSING), "vmin": low, "vmax": high}
    figure, axes = world(len(arrays), columns=1 if len(arrays) == 1 else 2)
    for ax, (title, values) in zip(axes, arrays.items()):
        mesh = draw_grid(ax, np.ma.masked_invalid(values), title, **style)
    ends = (everything.min() < low) + 2 * (everything.max() > high)
    extend = ("neither", "min", "max", "both")[ends]
    bar: Any = {"orientation": "horizontal", "shrink": 0.5, "aspect": 40}
    figure.colorbar(mesh, ax=axes, label=label, extend=extend, **bar)
    return figure


def colours(z: ArrayLike, lonlat: ArrayLike, like: Any = None) -> NDArray[np.float64]:
    """Turn embeddings into colours: three principal components as red, green and blue.

    Two places have similar colours if their embeddings are similar in what varies most.

    Parameters
    ----------
    z : array, shape (N, D)
        Embeddings of the cells of a grid.
    lonlat : array, shape (N, 2)
        Their centres, in degrees: a cell counts by its area, the cosine of its latitude.
    like : array, shape (N, 3), optional
        Colours of the same cells by another embedding: the components are rotated to agree with
        them as well as they can, which changes colours and no distance between them.

    Returns
    -------
    array, shape (N, 3), in [0, 1]: 0.5 is the mean, and 0 and 1 are 2.5 standard deviations away.

    Raises
    ------
    ValueError
        If z has other rows than lonlat, fewer than three columns, or values that are not finite.
    """
    weight = np.cos(np.radians(as_lonlat(lonlat)[:, 1:]))
    array = np.asarray(z, dtype=np.float64)
    fits = array.ndim == 2 and array.shape[1] >= 3 and len(array) == len(weight)
    if not fits or not np.isfinite(array).all():
        raise ValueError(f"z must be finite, ({len(weight)}, 3 or more), got {array.shape}")
    array = array - np.average(array, axis=0, weights=weight[:, 0])
    components = array @ np.linalg.eigh((weight * array).T @ array)[1][:, :-4:-1]
    components /= np.sqrt((weight * components**2).sum(axis=0) / weight.sum())
    if like is not None:  # the orthogonal Procrustes problem
        left, _, right = np.linalg.svd((weight * components).T @ (like - 0.5))
        components = components @ left @ right
    return np.clip(0.5 + components / 5, 0, 1)


def colour_map(panels: Mapping[str, NDArray[np.float64]], columns: int = 2) -> Figure:
    """Draw grids of colours, shape (H, W, 3), as world maps; cells that are NaN stay empty."""
    arrays = as_grids(panels, "(H, 2 H, 3)")
    figure, axes = world(len(arrays), min(columns, len(arrays)))
    for ax, (title, values) in zip(axes, arrays.items()):
        shown = np.concatenate([np.nan_to_num(values), np.isfinite(values[..., :1])], axis=2)
        draw_grid(ax, shown, title)
    return figure


def loss_curves(history: "pd.DataFrame", title: str | None = None) -> Figure:
    """Draw the training loss of each step above the held-out loss of each modality."""
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 5.2), sharex=True, layout="constrained")
    draw_curves(axes, history)
    figure.suptitle(title or "")
    return figure


def draw_curves(axes: Sequence[Any], history: "pd.DataFrame") -> None:
    """Draw the training loss by active modality and the held-out losses on two axes."""
    pairs = history["pairs"] / 1e6
    for name in history["modality"].unique():
        # NaN while another modality is active, so that the line has a gap there.
        loss, colour = history["loss"].where(history["modality"] == name), COLOURS.get(name, "k")
        axes[0].plot(pairs, loss, ".-", ms=1.5, lw=1, color=colour, label=name)
    ends = history.dropna(subset="val_loss")
    names = [c[4:] for c in map(str, history) if c.startswith("val_") and c != "val_loss"]
    for i, name in enumerate(names):
        loss, colour = ends[f"val_{name}"], COLOURS.get(name, CYCLE[i % len(CYCLE)])
        axes[1].plot(ends["pairs"] / 1e6, loss, "o-", ms=2, lw=1, color=colour, label=name)
    axes[0].set_ylabel("training loss (nats)")
    axes[1].set(ylabel="held-out loss (nats)", xlabel="pairs seen (millions)")
    for ax in axes:
        ax.grid(alpha=0.3)
        if ax.has_data():
            ax.legend(frameon=False, ncols=3, loc="upper right")


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
    figure, (axes,) = plt.subplots(1, len(tasks), sharey=True, squeeze=False, layout="constrained")
    figure.set_size_inches(2.4 * len(tasks) + 1.4, 0.42 * len(names) + 1.5)
    styles = {"random": ("o", CYCLE[4], -0.13), "block": ("s", CYCLE[0], 0.13)}
    for ax, task in zip(axes, tasks):
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
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=2, frameon=False)
    return figure
