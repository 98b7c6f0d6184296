"""Figures: projection, land, colours of values and missing data, shared scales, no network."""

import socket

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from cartopy.mpl.feature_artist import FeatureArtist
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import earthtie_lite as et
from earthtie_lite import maps, sample as embedded

PLATE = ccrs.PlateCarree()


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a figure asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def history():
    steps = np.arange(1, 13)
    frame = pd.DataFrame({"step": steps, "epoch": (steps - 1) // 4, "pairs": steps * 100})
    frame["modality"] = np.repeat(["satellite", "lights", "text"], 4)
    frame["loss"] = 4.0 / steps
    for column in ("val_loss", "val_satellite", "val_lights"):
        frame[column] = np.where(steps % 4 == 0, 3.0 / steps, np.nan)
    frame["logit_scale"], frame["seconds"] = 2.6, steps * 0.1
    return frame


@pytest.fixture(scope="module")
def summary():
    rows = [
        {"task": task, "split": split, "probe": "linear", "n_labels": 100, "metric": metric}
        | {"embedding": name, "mean": 0.5, "draws": 3, "low": 0.4, "high": 0.6}
        for task, metric in (("elevation", "R2"), ("climate", "accuracy"))
        for split in ("random", "block")
        for name in ("harmonics", "untrained", "MELT")
    ]
    return pd.DataFrame(rows)


def meshes(figure):
    found = [[c for c in ax.collections if isinstance(c, QuadMesh)] for ax in geo_axes(figure)]
    assert all(len(each) == 1 for each in found)
    return [each[0] for each in found]


def geo_axes(figure):
    return [ax for ax in figure.axes if hasattr(ax, "projection")]


def colour_at(figure, ax, lonlat):
    """Return the drawn colour of a place, red, green and blue in [0, 1]."""
    figure.canvas.draw()
    x, y = ax.transData.transform(ax.projection.transform_point(*lonlat, PLATE))
    picture = np.asarray(figure.canvas.buffer_rgba())
    return picture[picture.shape[0] - 1 - round(y), round(x), :3] / 255


def test_world_maps_are_equal_earth_with_land_drawn():
    figure, axes = maps.world(3, columns=2)
    assert isinstance(figure, Figure)
    assert len(axes) == 3
    for ax in axes:
        assert isinstance(ax.projection, ccrs.EqualEarth)
        artists = [a for a in ax.get_children() if isinstance(a, FeatureArtist)]
        assert artists
        assert all(len(list(a._feature.geometries())) > 0 for a in artists)
    assert colour_at(figure, axes[0], (15.0, 20.0)) == pytest.approx(to_rgb(maps.LAND), abs=0.01)
    assert colour_at(figure, axes[0], (-150.0, 10.0)) == pytest.approx((1, 1, 1))


def test_a_map_without_land_is_refused(monkeypatch):
    empty = embedded.land().iloc[:0]
    monkeypatch.setattr(embedded, "land", lambda: empty)
    with pytest.raises(ValueError, match="holds no land to draw"):
        maps.world()


def test_drawing_needs_no_network(no_network):
    maps.points_map({"satellite": [[10.0, 20.0]]}).canvas.draw()
    maps.prediction_map({"truth": np.ones((18, 36))}, "metres").canvas.draw()


def test_points_are_drawn_at_their_places():
    places = np.array([[15.0, 20.0], [-100.0, 40.0]])
    figure = maps.points_map({"satellite": places, "mine": places[:1]}, size=200, title="Places")
    first, second = geo_axes(figure)
    drawn = next(c for c in first.collections if isinstance(c, PathCollection)).get_offsets()
    np.testing.assert_array_equal(drawn, places)
    assert colour_at(figure, first, (-100.0, 40.0)) == pytest.approx(
        to_rgb(maps.COLOURS["satellite"]), abs=0.01
    )
    assert (first.get_title(), second.get_title()) == ("satellite, 2 places", "mine, 1 places")


def test_a_map_without_points_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        maps.points_map({})


def test_a_grid_starts_in_the_north_west():
    lonlat, (height, width) = maps.grid(10.0)
    assert (height, width, lonlat.shape) == (18, 36, (648, 2))
    assert lonlat[0].tolist() == [-175, 85]
    assert lonlat[1].tolist() == [-165, 85]
    assert lonlat[-1].tolist() == [175, -85]


@pytest.mark.parametrize("bad", [0, -1.0, 31, np.nan, np.inf])
def test_an_invalid_spacing_is_refused(bad):
    with pytest.raises(ValueError, match=r"spacing_deg must lie in \(0, 30\], got"):
        maps.grid(bad)


@pytest.fixture(scope="module")
def latitudes():
    """Return a global grid of the latitude, without values around (-150, 5)."""
    lonlat, shape = maps.grid(5.0)
    values = lonlat[:, 1].reshape(shape).copy()
    values[15:20, 2:10] = np.nan
    return values


def test_panels_share_their_limits_and_one_labelled_colour_bar(latitudes):
    (mesh,) = meshes(maps.prediction_map({"truth": latitudes}, "degrees", limits=(-50, 70)))
    assert mesh.get_clim() == (-50, 70)
    figure = maps.prediction_map({"truth": latitudes, "MELT": 3 * latitudes}, "latitude (degrees)")
    one, other = meshes(figure)
    assert [ax.get_title() for ax in geo_axes(figure)] == ["truth", "MELT"]
    assert one.get_clim() == other.get_clim()
    bars = [ax for ax in figure.axes if not hasattr(ax, "projection")]
    assert [bar.get_xlabel() for bar in bars] == ["latitude (degrees)"]


def test_a_diverging_scale_is_centred_on_zero(latitudes):
    (mesh,) = meshes(maps.prediction_map({"error": latitudes + 40}, "degrees", diverging=True))
    low, high = mesh.get_clim()
    assert low == -high < 0


def test_values_are_drawn_at_their_places_and_missing_ones_grey(latitudes):
    figure = maps.prediction_map({"truth": latitudes}, "degrees", limits=(-90, 90))
    (ax,), (mesh,) = geo_axes(figure), meshes(figure)
    for place in ((-30.0, 42.5), (60.0, -32.5), (-30.0, -52.5)):
        expected = mesh.get_cmap()(mesh.norm(place[1]))[:3]
        assert colour_at(figure, ax, place) == pytest.approx(expected, abs=0.02)
    assert colour_at(figure, ax, (-150.0, 2.5)) == pytest.approx(to_rgb(maps.MISSING), abs=0.02)


def test_east_and_west_are_not_swapped():
    lonlat, shape = maps.grid(10.0)
    east = (lonlat[:, 0] > 0).reshape(shape).astype(float)
    figure = maps.prediction_map({"east": east}, "east", limits=(0, 1))
    (ax,), (mesh,) = geo_axes(figure), meshes(figure)
    for lon, value in ((-120.0, 0.0), (150.0, 1.0)):
        expected = mesh.get_cmap()(value)[:3]
        assert colour_at(figure, ax, (lon, -35.0)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "at least one panel is needed"),
        ({"truth": np.ones((18, 18))}, r"panel 'truth' must be a global grid \(H, 2 H\), got"),
        ({"truth": np.ones(36)}, r"panel 'truth' must be a global grid \(H, 2 H\), got \(36,\)"),
        ({"truth": np.full((18, 36), np.nan)}, "panel 'truth' has no values"),
    ],
)
def test_panels_other_than_global_grids_are_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        maps.prediction_map(panels, "metres")


def test_loss_curves_show_training_and_held_out_losses(history):
    figure = maps.loss_curves(history, "SALT")
    above, below = figure.axes
    names = [[t.get_text() for t in ax.get_legend().get_texts()] for ax in (above, below)]
    assert names == [["satellite", "lights", "text"], ["satellite", "lights"]]
    drawn = {line.get_label(): line.get_ydata() for line in above.lines}
    active = history["modality"] == "lights"
    np.testing.assert_array_equal(drawn["lights"], history["loss"].where(active))
    assert below.lines[0].get_ydata().tolist() == history["val_satellite"].dropna().tolist()


def test_loss_curves_are_drawn_without_validation_losses(history):
    plain = history.drop(columns=["val_satellite", "val_lights"]).assign(val_loss=np.nan)
    figure = maps.loss_curves(plain)
    figure.canvas.draw()
    assert not figure.axes[1].lines


def test_live_curves_are_redrawn_after_each_epoch(history, monkeypatch):
    import IPython.display

    shown = []

    class Handle:
        def update(self, figure):
            shown.append(figure)

    monkeypatch.setattr(IPython.display, "display", lambda *args, **kwargs: Handle())
    curves = maps.LiveCurves("MELT")
    for row in history.iloc[3::4].to_dict("records"):
        curves(row)
    assert len(shown) == 3
    assert all(isinstance(figure, Figure) for figure in shown)
    assert plt.get_fignums() == []


def test_probe_bars_have_a_panel_per_task_and_a_row_per_embedding(summary):
    figure = maps.probe_bars(summary)
    assert [ax.get_title() for ax in figure.axes] == ["elevation", "climate"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["R2", "accuracy"]
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["harmonics", "untrained", "MELT"]
    legend = [t.get_text() for t in figure.legends[0].texts]
    assert legend == ["random split", "block split"]


def test_probe_bars_have_an_interval_if_there_is_one(summary):
    figure = maps.probe_bars(summary.assign(mean=0.5, low=0.1, high=0.6))
    (lines,) = figure.axes[0].containers[0].lines[2]
    drawn = [segment[:, 0] for segment in lines.get_segments()]
    np.testing.assert_allclose(drawn, [[0.1, 0.6]] * 3)
    figure = maps.probe_bars(summary.assign(low=np.nan, high=np.nan))
    figure.canvas.draw()
    drawn = figure.axes[0].containers[0].lines[0].get_xdata()
    assert list(drawn) == [0.5] * 3


def test_the_modalities_have_different_colours():
    assert set(et.modalities.NAMES) <= set(maps.COLOURS)
    assert len(set(maps.COLOURS.values())) == len(maps.COLOURS)
    assert len(set(maps.CYCLE)) == len(maps.CYCLE)
