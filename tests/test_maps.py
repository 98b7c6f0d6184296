"""Figures: projection, land, colours of values and missing data, shared scales, no network."""

import itertools
import socket

import cartopy.crs as ccrs
import IPython.display
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import earthtie_lite as et
from earthtie_lite import maps, sample as embedded

PLATE = ccrs.PlateCarree()


@pytest.fixture(autouse=True)
def _offline_and_closed(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a figure asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    plt.close("all")


STEPS = np.arange(1, 13)
HISTORY = pd.DataFrame({"step": STEPS, "pairs": STEPS * 100, "loss": 4.0 / STEPS})
HISTORY["modality"] = np.repeat(["satellite", "lights", "text"], 4)
for column in ("val_loss", "val_satellite", "val_lights"):
    HISTORY[column] = np.where(STEPS % 4 == 0, 3.0 / STEPS, np.nan)
NAMES = ["harmonics", "untrained", "MELT"]
SUMMARY = pd.DataFrame(
    itertools.product([("elevation", "R2"), ("climate", "accuracy")], ["random", "block"], NAMES),
    columns=["task", "split", "embedding"],
).assign(mean=0.5, low=0.1, high=0.6)
SUMMARY["task"], SUMMARY["metric"] = zip(*SUMMARY["task"])
LONLAT, SHAPE = maps.grid(5.0)
LATITUDES = LONLAT[:, 1].reshape(SHAPE).copy()
LATITUDES[15:20, 2:10] = np.nan  # around (-150, 5)


def axes_and_meshes(figure):
    axes = [ax for ax in figure.axes if hasattr(ax, "projection")]
    return axes, [next(c for c in ax.collections if isinstance(c, QuadMesh)) for ax in axes]


def colour_at(figure, ax, lonlat):
    """Return the drawn colour of a place, red, green and blue in [0, 1]."""
    figure.canvas.draw()
    x, y = ax.transData.transform(ax.projection.transform_point(*lonlat, PLATE))
    picture = np.asarray(figure.canvas.buffer_rgba())
    return picture[picture.shape[0] - 1 - round(y), round(x), :3] / 255


def test_world_maps_are_equal_earth_with_land_drawn():
    figure, axes = maps.world(3, columns=2)
    assert [type(ax.projection) for ax in axes] == [ccrs.EqualEarth] * 3
    assert colour_at(figure, axes[0], (15.0, 20.0)) == pytest.approx(to_rgb(maps.LAND), abs=0.01)
    assert colour_at(figure, axes[0], (-150.0, 10.0)) == pytest.approx((1, 1, 1))


def test_points_are_drawn_at_their_places():
    places = np.array([[15.0, 20.0], [-100.0, 40.0]])
    figure = maps.points_map({"satellite": places, "mine": places[:1]}, size=200, title="Places")
    first, second = figure.axes
    drawn = next(c for c in first.collections if isinstance(c, PathCollection)).get_offsets()
    np.testing.assert_array_equal(drawn, places)
    blue = pytest.approx(to_rgb(maps.COLOURS["satellite"]), abs=0.01)
    assert colour_at(figure, first, (-100.0, 40.0)) == blue
    assert (first.get_title(), second.get_title()) == ("satellite, 2 places", "mine, 1 places")


def test_panels_share_one_labelled_scale_which_is_centred_on_zero_if_diverging():
    figure = maps.prediction_map({"truth": LATITUDES, "MELT": 3 * LATITUDES}, "latitude (degrees)")
    axes, (one, other) = axes_and_meshes(figure)
    assert [ax.get_title() for ax in axes] == ["truth", "MELT"]
    assert one.get_clim() == other.get_clim()
    bars = [ax for ax in figure.axes if ax not in axes]
    assert [bar.get_xlabel() for bar in bars] == ["latitude (degrees)"]
    figure = maps.prediction_map({"error": LATITUDES + 40}, "degrees", diverging=True)
    low, high = axes_and_meshes(figure)[1][0].get_clim()
    assert low == -high < 0


def test_values_are_drawn_at_their_places_and_missing_ones_grey():
    east = (LONLAT[:, 0] > 0).reshape(SHAPE) * 90.0
    figure = maps.prediction_map({"lat": LATITUDES, "east": east}, "degrees", limits=(-90, 90))
    (ax, beside), (mesh, _) = axes_and_meshes(figure)
    assert mesh.get_clim() == (-90, 90)
    for panel, place, value in [
        (ax, (-30.0, 42.5), 42.5),
        (ax, (60.0, -32.5), -32.5),
        (ax, (-30.0, -52.5), -52.5),
        (beside, (-120.0, -35.0), 0),
        (beside, (150.0, -35.0), 90),
    ]:
        expected = mesh.get_cmap()(mesh.norm(value))[:3]
        assert colour_at(figure, panel, place) == pytest.approx(expected, abs=0.02)
    assert colour_at(figure, ax, (-150.0, 2.5)) == pytest.approx(to_rgb(maps.MISSING), abs=0.02)


@pytest.mark.parametrize(
    ("draw", "bad", "message"),
    [
        *((maps.grid, x, r"must lie in \(0, 30\]") for x in (0, -1.0, 31, np.nan, np.inf)),
        (maps.points_map, {}, "at least one group"),
        (maps.prediction_map, {}, "at least one panel"),
        (maps.prediction_map, {"truth": np.ones((18, 18))}, r"'truth' must be a global grid"),
        (maps.prediction_map, {"truth": np.ones(36)}, r"global grid \(H, 2 H\), got \(36,\)"),
        (maps.prediction_map, {"truth": np.full((18, 36), np.nan)}, "'truth' has no values"),
        (maps.colour_map, {}, "at least one panel"),
        (maps.colour_map, {"hue": np.ones((18, 36))}, r"\(H, 2 H, 3\), got \(18, 36\)"),
        (maps.colour_map, {"hue": np.full((18, 36, 3), np.nan)}, "'hue' has no values"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, bad, message):
    with pytest.raises(ValueError, match=message):
        draw(bad, *(["metres"] if draw is maps.prediction_map else []))


def test_a_map_without_land_is_refused(monkeypatch):
    monkeypatch.setattr(embedded, "land", lambda: pd.DataFrame({"geometry": []}))
    with pytest.raises(ValueError, match="holds no land to draw"):
        maps.world()


def test_loss_curves_show_training_and_held_out_losses_where_there_are():
    above, below = maps.loss_curves(HISTORY, "SALT").axes
    names = [[t.get_text() for t in ax.get_legend().get_texts()] for ax in (above, below)]
    assert names == [["satellite", "lights", "text"], ["satellite", "lights"]]
    drawn = {line.get_label(): line.get_ydata() for line in above.lines}
    active = HISTORY["modality"] == "lights"
    np.testing.assert_array_equal(drawn["lights"], HISTORY["loss"].where(active))
    assert below.lines[0].get_ydata().tolist() == HISTORY["val_satellite"].dropna().tolist()
    plain = HISTORY.drop(columns=["val_satellite", "val_lights"]).assign(val_loss=np.nan)
    figure = maps.loss_curves(plain)
    figure.canvas.draw()
    assert not figure.axes[1].lines


def test_live_curves_are_redrawn_after_each_epoch(monkeypatch):
    shown = []
    handle = type("Handle", (), {"update": lambda self, figure: shown.append(figure)})
    monkeypatch.setattr(IPython.display, "display", lambda *args, **kwargs: handle())
    curves = maps.LiveCurves("MELT")
    for row in HISTORY.iloc[3::4].to_dict("records"):
        curves(row)
    assert [type(figure) for figure in shown] == [Figure] * 3
    assert plt.get_fignums() == []


def test_probe_bars_have_a_panel_per_task_a_row_per_embedding_and_an_interval_if_known():
    figure = maps.probe_bars(SUMMARY)
    assert [ax.get_title() for ax in figure.axes] == ["elevation", "climate"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["R2", "accuracy"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == NAMES
    assert [t.get_text() for t in figure.legends[0].texts] == ["random split", "block split"]
    (lines,) = figure.axes[0].containers[0].lines[2]
    np.testing.assert_allclose([s[:, 0] for s in lines.get_segments()], [[0.1, 0.6]] * 3)
    figure = maps.probe_bars(SUMMARY.assign(low=np.nan, high=np.nan))
    figure.canvas.draw()
    assert list(figure.axes[0].containers[0].lines[0].get_xdata()) == [0.5] * 3


def test_the_modalities_have_different_colours():
    assert set(et.modalities.NAMES) <= set(maps.COLOURS)
    for colours in (maps.COLOURS.values(), maps.CYCLE):
        assert len(set(colours)) == len(colours)


def test_colours_are_three_components_weighted_by_area_and_turned_to_agree():
    places, _ = maps.grid(10.0)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(len(places), 5)) * [4.0, 3.0, 2.0, 0.1, 0.1] + 7.0
    found = maps.colours(z, places)
    assert found.shape == (len(places), 3)
    assert found.min() >= 0
    assert found.max() <= 1
    inside = ((found > 0) & (found < 1)).all(axis=1)
    weight = np.cos(np.radians(places[:, 1]))
    np.testing.assert_allclose(np.average(found, axis=0, weights=weight), 0.5, atol=0.01)
    for column in range(3):  # the three wide axes, in order, up to the sign
        assert abs(np.corrcoef(found[:, column], z[:, column])[0, 1]) > 0.95
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    again = maps.colours(z @ rotation, places, like=found)
    np.testing.assert_allclose(again[inside], found[inside], atol=0.02)


@pytest.mark.parametrize("z", [np.ones((72, 2)), np.ones(72), np.ones((5, 5)), [[np.nan] * 3] * 72])
def test_embeddings_that_have_no_colours_are_refused(z):
    with pytest.raises(ValueError, match=r"z must be finite, \(72, 3 or more\)"):
        maps.colours(z, maps.grid(30.0)[0])


def test_a_map_of_colours_shows_them_and_leaves_missing_cells_empty():
    colours = np.full((18, 36, 3), np.nan)
    colours[9:, :18] = (0.2, 0.4, 0.6)
    figure = maps.colour_map({"one": colours, "two": colours})
    assert [ax.get_title() for ax in figure.axes] == ["one", "two"]
    figure.canvas.draw()
    assert colour_at(figure, figure.axes[0], (-150.0, -35.0)) == pytest.approx(
        (0.2, 0.4, 0.6), abs=0.02
    )
    assert colour_at(figure, figure.axes[0], (-150.0, 35.0)) == pytest.approx((1, 1, 1), abs=0.02)
