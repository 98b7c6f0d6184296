# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does an encoder see of a place?
#
# A {term}`location encoder` maps two numbers, longitude and latitude, to a vector. Before anything is learned, its
# construction already decides which places look alike to it and how fine a detail it can draw. This notebook takes
# the encoder apart, from raw coordinates to {term}`spherical harmonics` to a {term}`SIREN`, and looks at the world through each part.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** say why raw coordinates are a poor input, check that spherical harmonics are orthonormal, relate their degree to
#   a resolution in km, initialise a sine network well, and judge what an *untrained* encoder already knows.
# - **Prerequisites** [Three views of the Earth](01_data_preparation.ipynb); linear regression; what a layer of a neural network is.
# - **Data** [elevation](../data/cards/elevation.md) and [land](../data/cards/countries.md); all offline.
# - **Time** about 1 minute on two cores
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from sklearn.linear_model import LinearRegression, Ridge

import earthtie_lite as et

size = et.profile(profile)
lonlat, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(lonlat)

# %% [markdown]
# ## Why not feed longitude and latitude?
#
# To a network, two inputs are similar if their numbers are. Longitude and latitude break this twice. At the date line, +180° and −180° are one
# meridian but the numbers are as far apart as they can be. Near a pole, all longitudes are close together on the ground, and the numbers
# do not show it. We compare the distance in the plane of the numbers (a degree taken as 111.2 km) with the great-circle
# distance, from Taveuni in Fiji, which lies on the date line.

# %%
taveuni = np.array([[179.97, -16.85]])
plane = 111.195 * np.linalg.norm(lonlat - taveuni, axis=1)
sphere = et.coords.great_circle_km(lonlat, np.repeat(taveuni, len(lonlat), axis=0))
distances = {"plane of longitude and latitude": plane, "great circle": sphere}
panels = {name: (km / 1000).reshape(shape) for name, km in distances.items()}

# %% mystnb={"figure": {"name": "fig-02-distance", "caption": "Distance from Taveuni, Fiji (179.97° E), in the plane of the numbers and on the sphere. In the plane the Pacific just east of the date line is the farthest place of all."}, "image": {"alt": "Two world maps coloured by distance from Fiji. In the left map the far east is dark, meaning near, and the far west is bright, although both touch at the date line. In the right map the colours form rings around Fiji that continue over the date line, and the farthest place is in West Africa."}}
figure = et.maps.prediction_map(panels, "thousand km", cmap="cividis", limits=(0, 20))
plt.close(figure)
figure

# %%
pairs = {
    "over the date line": ([[179.97, -16.85]], [[-179.97, -16.85]]),
    "near the North Pole": ([[0.0, 89.5]], [[180.0, 89.5]]),
    "one degree at the equator": ([[0.0, 0.0]], [[1.0, 0.0]]),
}
apart = pd.DataFrame(
    {
        "pair": name,
        "degrees apart": np.linalg.norm(np.subtract(a, b)),
        "km apart": et.coords.great_circle_km(a, b)[0],
        "unit vectors apart": np.linalg.norm(et.coords.unit_vectors(a) - et.coords.unit_vectors(b)),
    }
    for name, (a, b) in pairs.items()
)
apart.style.format(precision=3).hide(axis="index")

# %% [markdown]
# In {numref}`fig-02-distance` the two distances agree nearby and part at the date line and towards the pole. The cure is old: put the place on the unit sphere,
#
# $$ n = (\cos\varphi \cos\lambda,\ \cos\varphi \sin\lambda,\ \sin\varphi), $$
#
# with longitude $\lambda$ and latitude $\varphi$. Straight distances between unit vectors grow with the distance on the ground, everywhere, with no seam and
# no special pole. `et.UnitVectors` is this encoding. But three smooth numbers are all it has: a linear model of
# $n$ can tilt the world, no more.
#
# ## Waves on the sphere
#
# On a circle, any signal is a sum of sines and cosines. On the sphere the same role is played by the {term}`spherical harmonics` $Y_{lm}$, with *degree*
# $l = 0, 1, 2, \dots$ and *order* $m = -l, \dots, l$. Degree $l$ counts how many times the wave goes up and down around the globe, the order
# how these waves are divided between east-west and north-south. A half wave of degree $l$ is about
#
# $$ \frac{\pi R}{l} \approx \frac{20{,}000\ \text{km}}{l} $$
#
# long, with the Earth's radius $R$. `et.SphericalHarmonics(L)` gives the degrees $0$ to $L - 1$, which makes $L^2$ columns; column $l^2 + l + m$
# holds $Y_{lm}$.


# %%
def column(degree, order):
    """Return the column of a harmonic."""
    return degree * degree + degree + order


basis = et.SphericalHarmonics(10)(lonlat)
chosen = [(1, 0), (2, 1), (4, -4), (9, 0), (9, 5), (9, 9)]
waves = {
    f"degree {degree}, order {order}": basis[:, column(degree, order)].reshape(shape)
    for degree, order in chosen
}

# %% mystnb={"figure": {"name": "fig-02-harmonics", "caption": "Six real spherical harmonics of the degrees 1 to 9. Order 0 gives bands of latitude, order l sectors of longitude, orders between them a chequerboard."}, "image": {"alt": "Six world maps in orange and purple. Degree 1 order 0 divides north from south; degree 2 order 1 has four large patches; degree 4 order minus 4 has eight sectors; degree 9 order 0 has ten bands of latitude; degree 9 order 5 a chequerboard; degree 9 order 9 eighteen narrow sectors that fade towards the poles."}}
figure = et.maps.prediction_map(waves, "value of the harmonic", diverging=True)
plt.close(figure)
figure

# %% [markdown]
# The harmonics of {numref}`fig-02-harmonics` are *orthonormal*: $\int Y_{lm} Y_{l'm'} \, d\Omega$ is 1 for a harmonic with itself and 0 for two different ones, so no column repeats another.
# We check it rather than believe it. Gauss-Legendre nodes in $\sin\varphi$ and equal steps in longitude integrate products of
# harmonics exactly, up to rounding.


# %%
def gram(L):
    """Integrate all products of harmonics over the sphere: (L L, L L)."""
    nodes, weights = np.polynomial.legendre.leggauss(L)
    steps = np.arange(2 * L) * 180 / L - 180
    lon, lat = np.meshgrid(steps, np.degrees(np.arcsin(nodes)))
    Y = et.SphericalHarmonics(L)(np.stack([lon.ravel(), lat.ravel()], axis=1))
    return Y.T @ (Y * np.repeat(weights * np.pi / L, 2 * L)[:, None])


worst = {L: np.abs(gram(L) - np.eye(L * L)).max() for L in (5, 10, 20)}
for L, error in worst.items():
    print(f"L = {L:2}: largest deviation from the identity {error:.0e}")

# %% [markdown]
# ## How much detail can L degrees hold?
#
# With $L$ degrees the finest half wave is about $20{,}000 / (L - 1)$ km. To see what that means we fit the elevation of the land by a linear model of the
# harmonics. Half of the places are used to fit. The score is
# $R^2$, the share of variance explained: once on other places *between* the fitted ones, once in held-out *blocks* of 1,000 km.
#
# There is a trap. The harmonics are orthonormal on the sphere, but we have heights on the *land* only. Some combinations of
# many harmonics are almost zero on all land, so the data say nothing about their weight. Ordinary least squares
# gives them enormous weights. A ridge penalty keeps all weights small and removes the problem. We show both.

# %%
task = et.load_task("elevation", n=size.n_task)
split = et.probes.draw_split(task.lonlat, "block", seed=0)
fitted = split.labels(size.n_task // 2, seed=0)
between = np.setdiff1d(split.pool, fitted)

# %%
rows, fits = [], {}
for L in (5, 10, 20):
    Y = et.SphericalHarmonics(L)(task.lonlat) * np.sqrt(4 * np.pi)  # mean square 1 on the sphere
    x, y = Y[fitted], task.target[fitted]
    plain, fits[L] = LinearRegression().fit(x, y), Ridge(alpha=100.0).fit(x, y)
    row = {"L": L, "columns": L * L, "half wave, km": 20_000 / (L - 1)}
    row["least squares, between"] = plain.score(Y[between], task.target[between])
    row["ridge, between"] = fits[L].score(Y[between], task.target[between])
    row["ridge, blocks"] = fits[L].score(Y[split.scored], task.target[split.scored])
    rows.append(row)
detail = pd.DataFrame(rows)
detail.style.format(precision=2, thousands=",").hide(axis="index")

# %%
truth = np.full(len(lonlat), np.nan)
truth[land] = et.sample.raster("elevation").at(lonlat[land])[:, 0]
panels = {"elevation": truth.reshape(shape)}
for L, fit in fits.items():
    drawn = np.full(len(lonlat), np.nan)
    drawn[land] = fit.predict(et.SphericalHarmonics(L)(lonlat[land]) * np.sqrt(4 * np.pi))
    panels[f"L = {L}"] = drawn.reshape(shape)

# %% mystnb={"figure": {"name": "fig-02-resolution", "caption": "More degrees draw finer relief: elevation and its ridge fits with L = 5, 10 and 20, fitted to half of the labelled places. Greenland shows the rock under its ice. Grey: sea or no data. Scores above."}, "image": {"alt": "Four world maps of elevation on land. The true map shows sharp mountain ranges. With L = 5 there is little but a broad blur over Asia. With L = 10 Tibet and the western Americas appear as smooth bulges. With L = 20 the Andes and the Rocky Mountains become narrow bands."}}
figure = et.maps.prediction_map(panels, "elevation (m)", limits=(0, 4000))
plt.close(figure)
figure

# %% tags=["hide-input"]
low, high = detail.iloc[0], detail.iloc[-1]
display(
    Markdown(
        f"Between the fitted places ridge explains {low['ridge, between']:.2f} of the variance with "
        f"L = 5 and {high['ridge, between']:.2f} with L = 20. Without the penalty, least squares "
        f"with L = 20 reaches {high['least squares, between']:.3g}: far worse than the mean height."
    )
)

# %% [markdown]
# {numref}`fig-02-resolution` is a picture of the bound: a linear model of these columns cannot draw a ridge narrower than its half wave. It is also
# a picture of a choice. Large $L$ holds more detail, and has more ways to go wrong where there is no data. The default of this
# package is $L = 10$, and the finer structure is left to what comes next.
#
# ## Sines of sums of waves
#
# A SIREN is a network whose layers are $\sin(\omega (W x + b))$. It takes the harmonics as input and combines them nonlinearly,
# and products and sines of waves contain higher frequencies than the waves themselves. So the network reaches beyond $L$. The factor $\omega$ sets how
# fast: the paper of SIREN uses 30 for raw coordinates, this package 10, because harmonics oscillate already.
#
# Sines are touchy about the size of the weights. With weights that are too small the sine is almost a straight line, the network almost
# linear, and its response to the place fades. With weights that are too large the sine
# wraps around many times and neighbours get unrelated values. The documented initialisation draws weights uniformly in $\pm 1/n$ in the first layer and in
# $\pm \sqrt{6/n} / \omega$ after it, with $n$ inputs. We send places through eight layers and compare with PyTorch's ordinary default, $\pm 1/\sqrt{n}$, and
# with weights ten times too small. Biases are the same in all three.


# %%
def response(start, moved, rule, depth=8, width=256, omega=10.0):
    """Return, layer by layer, the activations of places and of the same places moved."""
    torch.manual_seed(0)
    states, layers = [start, moved], []
    for i in range(depth):
        n = states[0].shape[1]
        layer = et.encoders.SirenLayer(n, width, omega, first=i == 0)
        with torch.no_grad():
            if rule == "PyTorch's default":
                layer.linear.weight.uniform_(-(n**-0.5), n**-0.5)
            layer.linear.weight.mul_(0.1 if rule == "ten times smaller" else 1.0)
            states = [layer(s) for s in states]
        layers.append(states)
    return layers


# %%
encoder = et.LocationEncoder(et.SphericalHarmonics(10))
start = et.sample.sample_land(2000, np.random.default_rng(0))
moved = et.coords.destination(start, 90, 500.0)  # 500 km to the east
places, east = encoder.basis(start), encoder.basis(moved)
RULES = ("documented", "PyTorch's default", "ten times smaller")
deep = {rule: response(places, east, rule) for rule in RULES}


def alike(a, b):
    """Return the mean correlation of two sets of activations, row by row, centred over places."""
    mean = a.mean(dim=0)
    return torch.cosine_similarity(a - mean, b - mean, dim=1).mean().item()


# %% mystnb={"figure": {"name": "fig-02-siren", "caption": "Of three initialisations the documented one alone keeps a signal that neither dies nor turns into noise. Left: spread of activations over places. Right: correlation between places 500 km apart. Untrained, omega 10, one seed."}, "image": {"alt": "Two line plots over layers 1 to 8. Left, on a logarithmic axis: the documented initialisation stays between a tenth and one, PyTorch's default stays at about 0.7, weights ten times smaller fall by about a factor of seven a layer. Right: PyTorch's default falls to zero by the third layer, the other two stay near 0.9."}}
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
for rule, colour in zip(RULES, et.maps.CYCLE, strict=False):
    spread = [a.std(dim=0).mean().item() for a, _ in deep[rule]]
    axes[0].semilogy(range(1, 9), spread, "o-", ms=4, color=colour, label=rule)
    axes[1].plot(range(1, 9), [alike(*pair) for pair in deep[rule]], "o-", ms=4, color=colour)
axes[0].set(xlabel="layer", ylabel="spread over places")
axes[1].set(xlabel="layer", ylabel="correlation with 500 km east")
axes[0].legend(fontsize=8, frameon=False)
for ax in axes:
    ax.grid(alpha=0.3)
plt.close(figure)
figure

# %% [markdown]
# Each naive choice fails in its own way ({numref}`fig-02-siren`). Small weights let the response to the place fade with each layer. PyTorch's default keeps the
# spread but loses the neighbours: after a few layers, places 500 km apart have nothing in common, and no
# learning signal carries from one to the other. The documented rule keeps both. Our encoder has only two
# hidden layers, but two are enough for the damage to show.
#
# ## What does an untrained encoder already give?
#
# The papers of this field rarely show the encoder before training. Yet it already has an opinion on which places are alike. We ask for the similarity of
# every place on land to Berlin. One caution: biases and the constant harmonic add the same vector to all places, and the plain cosine is
# close to one everywhere. We therefore subtract the mean over land first.


# %%
def centred(encode):
    """Embed the land and return unit vectors around the mean over land, and Berlin's."""
    z, berlin = np.asarray(encode(lonlat[land])), np.asarray(encode([[13.4, 52.5]]))
    weight = np.cos(np.radians(lonlat[land, 1]))  # cells of the grid shrink towards the poles
    mean = np.average(z, axis=0, weights=weight)
    z, berlin = z - mean, berlin - mean
    return z / np.linalg.norm(z, axis=1, keepdims=True), berlin[0] / np.linalg.norm(berlin)


# %%
encoders = {}
for omega in (10.0, 30.0):
    torch.manual_seed(0)
    encoders[omega] = et.LocationEncoder(et.SphericalHarmonics(10), omega=omega).eval()
views = {"unit vectors": et.UnitVectors(), "harmonics, L = 10": et.SphericalHarmonics(10)}
views |= {f"untrained SIREN, omega {w:.0f}": e.embed for w, e in encoders.items()}
similar = {name: np.matmul(*centred(encode)) for name, encode in views.items()}

# %%
panels = {}
for name, values in similar.items():
    drawn = np.full(len(lonlat), np.nan)
    drawn[land] = values
    panels[name] = drawn.reshape(shape)

# %% mystnb={"figure": {"name": "fig-02-berlin", "caption": "Similarity of each place on land to Berlin before training: cosine after subtracting the mean over land. Harmonics set the region that is like Berlin; raising omega from 10 to 30 shrinks it a little. One seed."}, "image": {"alt": "Four world maps of similarity to Berlin. Unit vectors: a hemisphere is similar. Harmonics with L = 10: a spot over central Europe with faint rings around it. Untrained SIREN with omega 10 and with omega 30: nearly the same spot, with weak irregular patches elsewhere."}}
figure = et.maps.prediction_map(
    panels, "centred cosine with Berlin", limits=(-1, 1), diverging=True
)
plt.close(figure)
figure

# %% mystnb={"figure": {"name": "fig-02-range", "caption": "How similarity to Berlin falls with distance: mean centred cosine in rings of 250 km over land, untrained, one seed."}, "image": {"alt": "Line plot of similarity against distance up to 6,000 km. Unit vectors fall slowly. Harmonics and the SIREN with omega 10 fall together to zero within about 2,500 km, the SIREN with omega 30 slightly faster."}}
berlin = np.repeat([[13.4, 52.5]], land.sum(), axis=0)
ring = (et.coords.great_circle_km(lonlat[land], berlin) // 250).astype(int)
counts = np.bincount(ring)[:24]
curves = {name: np.bincount(ring, values)[:24] / counts for name, values in similar.items()}
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for (name, curve), colour in zip(curves.items(), et.maps.CYCLE, strict=False):
    ax.plot(np.arange(24) * 250 + 125, curve, color=colour, label=name)
ax.set(xlabel="distance from Berlin (km)", ylabel="centred cosine")
ax.grid(alpha=0.3)
ax.legend(fontsize=8, frameon=False)
plt.close(figure)
figure

# %% tags=["hide-input"]
half = {name: 125 + 250 * np.interp(-0.5, -c[:12], range(12)) for name, c in curves.items()}
listed = ", ".join(f"{name}: {km:,.0f} km" for name, km in half.items() if name != "unit vectors")
display(Markdown(f"Similarity to Berlin falls to one half at this distance: {listed}."))

# %% [markdown]
# An untrained encoder is a smooth notion of nearness, with a range set by its construction ({numref}`fig-02-berlin`, {numref}`fig-02-range`).
# The harmonics set most of it. The untrained network at omega 10 hardly changes it, and a larger omega shortens it. Exercise 2 changes $L$ instead. A
# linear model on top of it can interpolate between labels, and that makes it a strong baseline. Every table in this book
# therefore has a row for it. Without that row nobody can tell what was *learned*.
#
# ## Is it continuous everywhere?
#
# Unit vectors have no seam, and everything built on them inherits that. The check: embed +180° and −180° at several latitudes, and the poles at several
# longitudes. The pairs must agree, and a step of one km over the date line must change the embedding no more
# than one km elsewhere.

# %%
z = encoders[10.0].embed
latitudes = np.linspace(-80, 80, 17)
plus, minus = (z(np.stack([np.full(17, lon), latitudes], axis=1)) for lon in (180.0, -180.0))
poles = z([[lon, lat] for lat in (90.0, -90.0) for lon in (-180.0, 0.0, 77.0)])
gap = {"date line": np.abs(plus - minus).max()}
gap["poles"] = max(np.abs(poles[:3] - poles[0]).max(), np.abs(poles[3:] - poles[3]).max())
change = {}
for where, lon in (("date line", 179.9955), ("elsewhere", 100.0)):
    here = np.stack([np.full(17, lon), latitudes], axis=1)
    step = z(et.coords.destination(here, 90, 1.0)) - z(here)
    change[where] = np.linalg.norm(step, axis=1).mean() / np.linalg.norm(z(here), axis=1).mean()
print("largest difference:", {k: float(v) for k, v in gap.items()})
print("relative change over 1 km:", {k: f"{v:.1e}" for k, v in change.items()})

# %% [markdown]
# ## What does the basis cost?
#
# The harmonics of a place never change. So they are computed once, in double precision, because the recurrence behind them loses its
# digits in single precision. They are then stored in single precision and reused at every step. Training reads rows from a table.

# %%
rows = []
some = et.coords.sample_sphere(size.n, np.random.default_rng(0))
for L in (5, 10, 20, 40):
    started = time.perf_counter()
    Y = et.SphericalHarmonics(L)(some)
    seconds = time.perf_counter() - started
    rows.append({"L": L, "columns": L * L, "seconds": seconds, "table, MB": 4 * Y.size / 1e6})
cost = pd.DataFrame(rows)
cost.style.format(precision=2, thousands=",").hide(axis="index")

# %% [markdown]
# The columns grow with $L^2$, and with them the table and the first layer. Computed once, it hardly matters; recomputed in every step it
# would.
#
# ## A way around the network
#
# Contrastive training has to tell thousands of places apart, and sharp detail does that best. Smooth, large-scale structure may get lost
# on the way. `LocationEncoder(encoding, skip=s)` keeps it: the harmonics of the first $s$ degrees are joined to the trained part, at equal scale. They
# are part of the embedding but of no loss. The width stays the same, so $s^2$ columns are taken from the trained part, and comparisons
# remain fair. The paper's encoder has none. What the skip brings is a question for the [probing chapter](06_probing.ipynb).

# %%
with_skip = et.LocationEncoder(et.SphericalHarmonics(10), skip=5)
embedded = with_skip.embed(task.lonlat[:100])
harmonics = et.SphericalHarmonics(5)(task.lonlat[:100]) * np.sqrt(4 * np.pi)
same = bool(np.allclose(embedded[:, with_skip.tied_dim :], harmonics, atol=1e-4))
print(embedded.shape, "trained:", with_skip.tied_dim, "skip:", 5**2, "harmonics found:", same)

# %% [markdown]
# ## Limits
#
# - The figures of the untrained encoder show one seed. Other seeds change details, not the range.
# - Ridge has one fixed penalty here, the same for all $L$. A probe that chooses it by cross-validation comes in
#   [probing](06_probing.ipynb), and scores move with it.
# - The sphere stands for the Earth. Its flattening, a third of a percent, is ignored.
# - Other encodings exist: random Fourier features, multi-scale grids, learned sites. Which is best for tying modalities is an open question.
#
# ## Summary
#
# - Longitude and latitude tear the date line and stretch the poles. Unit vectors do not.
# - Spherical harmonics are orthonormal waves on the sphere; degree $l$ resolves about $20{,}000 / l$ km.
# - On land alone they are no longer orthogonal: without a penalty, a fit with many degrees explodes.
# - A SIREN adds finer detail, if its weights are initialised with care.
# - An untrained encoder already gives nearness, and belongs into every comparison.
#
# ## Exercises
#
# **Exercise 1 (check).** Which half wave does degree 9 have, and which degree is needed to resolve 200 km?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
half_around = np.pi * et.coords.EARTH_RADIUS_KM
print(f"degree 9: {half_around / 9:,.0f} km; 200 km needs degree {half_around / 200:.0f}")
assert round(half_around / 9, -2) == 2200
assert round(half_around / 200) == 100

# %% [markdown]
# **Exercise 2 (modify).** The range of the untrained encoder can also be set by the number of degrees. At which distance from
# Berlin does the centred similarity first fall below one half, for $L = 5$, 10 and 20 at omega 10?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
reach = {}
for L in (5, 10, 20):
    torch.manual_seed(0)
    values = np.matmul(*centred(et.LocationEncoder(et.SphericalHarmonics(L)).embed))
    mean = np.bincount(ring, values) / np.maximum(np.bincount(ring), 1)
    reach[L] = int(np.argmax(mean < 0.5)) * 250
print(reach)
assert reach[20] <= reach[10] <= reach[5]

# %% [markdown]
# **Exercise 3 (open).** Does the encoding prefer some regions? Show that the inner product of two encodings depends on nothing but the distance between
# the places. (Hint: the addition theorem, $\sum_m Y_{lm}(u) Y_{lm}(v) = \frac{2l+1}{4\pi} P_l(u \cdot v)$.) Does this hold for the SIREN?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
here = et.coords.sample_sphere(1000, np.random.default_rng(2))
there = et.coords.destination(here, 45.0, 1000.0)
Y = et.SphericalHarmonics(10)
inner = (Y(here) * Y(there)).sum(axis=1)
angle = np.cos(1000.0 / et.coords.EARTH_RADIUS_KM)
theorem = np.polynomial.legendre.legval(angle, (2 * np.arange(10) + 1) / (4 * np.pi))
siren = (z(here) * z(there)).sum(axis=1)
print(f"spread of harmonics {np.ptp(inner):.0e}, of the SIREN {siren.std() / siren.mean():.2f}")
assert np.allclose(inner, theorem)
assert siren.std() / siren.mean() > 1e-3  # random weights prefer some regions, a little

# %% [markdown]
# ## Check

# %% tags=["check"]
assert apart.loc[0, "degrees apart"] > 359
assert apart.loc[0, "km apart"] < 10
assert max(worst.values()) < 1e-10
assert detail["ridge, between"].is_monotonic_increasing
assert detail["least squares, between"].iloc[-1] < detail["ridge, between"].iloc[-1]
last = {rule: deep[rule][-1] for rule in RULES}
assert last["ten times smaller"][0].std(dim=0).mean() < 1e-3
assert last["documented"][0].std(dim=0).mean() > 0.05
assert alike(*last["documented"]) > alike(*last["PyTorch's default"]) + 0.2
second = [alike(*deep[rule][1]) for rule in ("documented", "PyTorch's default")]
assert second[0] > second[1] + 0.3
assert max(gap.values()) < 1e-5
assert change["date line"] < 2 * change["elsewhere"]
assert half["untrained SIREN, omega 30"] < half["untrained SIREN, omega 10"]
assert same

# %% [markdown]
# ## Further reading
#
# - [Rußwurm et al. (2024)](https://arxiv.org/abs/2310.06743): spherical harmonics and SIREN as a location encoder, the pair used here.
# - [Sitzmann et al. (2020)](https://arxiv.org/abs/2006.09661): SIREN and its initialisation.
# - [Bigi et al. (2023)](https://doi.org/10.1063/5.0156307): sphericart, the fast and stable harmonics behind this package.
# - [Mai et al. (2022)](https://doi.org/10.1080/13658816.2021.2004602): a review of location encoding.
#
# Next: [Two modalities: the satellite baseline](03_two_modalities.ipynb)
