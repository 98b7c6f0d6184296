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
# A {term}`location encoder` maps two numbers, longitude and latitude, to a vector. Before it has learned anything, its construction decides which places look alike to it and how
# fine a detail it can draw. In this chapter you build the whole encoder of the paper, from coordinates to {term}`spherical harmonics` to a {term}`SIREN`, and look at the world through each part.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** write the harmonics of a place, a sine layer and the encoder of the paper, relate degrees to
#   a resolution in km, say why the initialisation matters, and judge what an *untrained* encoder already knows.
# - **Prerequisites** [Three views of the Earth](01_data_preparation.ipynb); linear regression; what a layer of a neural network is.
# - **Data** [elevation](../data/cards/elevation.md), [climate zones](../data/cards/climate.md) and [land](../data/cards/countries.md), offline.
# - **Time** about 25 minutes to read, 1 minute to run on two cores.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.patches import FancyBboxPatch
from scipy.special import factorial, lpmv
from sklearn.linear_model import LinearRegression, Ridge
from torch import nn

import earthtie_lite as et

size = et.profile(profile)
lonlat, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(lonlat)
task = et.load_task("elevation", n=size.n_task)

# %% [markdown]
# ## Why not feed longitude and latitude?
#
# To a network, two inputs are similar if their numbers are. Longitude and latitude break this twice. At the date line, +180° and −180° are one
# meridian, but the numbers are as far apart as they can be. Near a pole all longitudes are close together on the ground, and the numbers
# do not show it. {numref}`fig-02-distance` compares the distance in the plane of the numbers (a degree taken as 111.2 km) with the great-circle
# distance, from Taveuni in Fiji, which lies on the date line.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-distance", "caption": "Distance from Taveuni, Fiji (179.97° E), in the plane of the numbers and on the sphere. In the plane the Pacific just east of the date line is the farthest place of all."}, "image": {"alt": "Two world maps coloured by distance from Fiji. In the left map the far east is dark, meaning near, and the far west is bright, although both touch at the date line. In the right map the colours form rings around Fiji that continue over the date line, and the farthest place is in West Africa."}}
taveuni = np.array([[179.97, -16.85]])
plane = 111.195 * np.linalg.norm(lonlat - taveuni, axis=1)
sphere = et.coords.great_circle_km(lonlat, np.repeat(taveuni, len(lonlat), axis=0))
distances = {"plane of longitude and latitude": plane, "great circle": sphere}
panels = {name: (km / 1000).reshape(shape) for name, km in distances.items()}
figure = et.maps.prediction_map(panels, "thousand km", cmap="cividis", limits=(0, 20))
plt.close(figure)
figure

# %% [markdown]
# The cure is old: put the place on the unit sphere, with longitude $\lambda$ and latitude $\varphi$,
#
# $$ n = (x, y, z) = (\cos\varphi \cos\lambda,\ \cos\varphi \sin\lambda,\ \sin\varphi). $$


# %%
def unit_vectors(lonlat):
    """Return the points (N, 3) on the unit sphere of places (N, 2) in degrees."""
    lon, lat = np.radians(lonlat).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


assert np.allclose(unit_vectors(lonlat), et.UnitVectors()(lonlat))
west, east = unit_vectors(np.array([[-179.97, -16.85], [179.97, -16.85]]))
date_line = np.linalg.norm(west - east)
assert date_line < 0.002
print(f"Two shores of Taveuni: 359.94 degrees apart, as unit vectors {date_line:.4f}.")

# %% [markdown]
# Straight distances between unit vectors grow with the distance on the ground, everywhere, with no seam and no special pole. But three smooth numbers are all we have: a linear
# model of $n$ can tilt the world, no more. Finer detail needs waves.
#
# ## Waves on the sphere
#
# On a circle, any signal is a sum of sines and cosines. On the sphere the same role is played by the spherical harmonics $Y_{lm}$, with *degree*
# $l = 0, 1, 2, \dots$ and *order* $m = -l, \dots, l$. The first four are so simple that they can be written down, as functions of the unit vector:
#
# $$ Y_{00} = \sqrt{\tfrac{1}{4\pi}}, \qquad Y_{1,-1} = \sqrt{\tfrac{3}{4\pi}}\, y, \qquad Y_{10} = \sqrt{\tfrac{3}{4\pi}}\, z, \qquad Y_{11} = \sqrt{\tfrac{3}{4\pi}}\, x. $$
#
# A constant and the unit vector. Here they are for Berlin.


# %%
def four_harmonics(lonlat):
    """Return Y_00, Y_1-1, Y_10 and Y_11 of places: (N, 4)."""
    x, y, z = unit_vectors(lonlat).T
    factor = math.sqrt(3 / (4 * math.pi))  # makes the mean square over the sphere 1 / (4 pi)
    return np.stack(
        [np.full(len(x), math.sqrt(1 / (4 * math.pi))), factor * y, factor * z, factor * x], 1
    )


berlin = np.array([[13.4, 52.5]])
assert np.allclose(four_harmonics(lonlat), et.SphericalHarmonics(2)(lonlat))
pd.DataFrame(four_harmonics(berlin), ["Berlin"], ["Y_00", "Y_1,-1", "Y_10", "Y_11"]).round(4)

# %% [markdown]
# All others follow one rule: a wave of longitude times a *Legendre function* $P_l^{|m|}$ of latitude, which SciPy knows.
#
# $$ Y_{lm} = N_{lm}\, P_l^{|m|}(\sin\varphi) \cdot \begin{cases} \sqrt2 \cos m\lambda & m > 0 \\ 1 & m = 0 \\ \sqrt2 \sin |m|\lambda & m < 0 \end{cases}, \qquad N_{lm}^2 = \frac{2l + 1}{4\pi} \frac{(l - |m|)!}{(l + |m|)!}. $$


# %%
def harmonic(degree, order, lonlat):
    """Return the real harmonic of a degree and an order at places: (N,)."""
    lon, lat = np.radians(lonlat).T
    m = abs(order)
    norm = (2 * degree + 1) / (4 * np.pi) * factorial(degree - m) / factorial(degree + m)
    wave = np.cos(m * lon) if order >= 0 else np.sin(m * lon)
    legendre = (-1) ** m * lpmv(m, degree, np.sin(lat))  # SciPy's has the sign (-1) ** m
    return math.sqrt(norm * (2 if m else 1)) * legendre * wave


basis = et.SphericalHarmonics(10)(lonlat)  # degrees 0 to 9: 100 columns
orders = [(degree, order) for degree in range(10) for order in range(-degree, degree + 1)]
assert np.allclose(np.stack([harmonic(*lm, lonlat) for lm in orders], axis=1), basis)
waves = {
    f"degree {degree}, order {order}": harmonic(degree, order, lonlat).reshape(shape)
    for degree, order in [(1, 0), (2, 1), (4, -4), (9, 0), (9, 5), (9, 9)]
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-harmonics", "caption": "Six real spherical harmonics of the degrees 1 to 9. Order 0 gives bands of latitude, order l sectors of longitude, orders between them a chequerboard."}, "image": {"alt": "Six world maps in orange and purple. Degree 1 order 0 divides north from south; degree 2 order 1 has four large patches; degree 4 order minus 4 has eight sectors; degree 9 order 0 has ten bands of latitude; degree 9 order 5 a chequerboard; degree 9 order 9 eighteen narrow sectors that fade towards the poles."}}
figure = et.maps.prediction_map(waves, "value of the harmonic", diverging=True)
plt.close(figure)
figure

# %% [markdown]
# `et.SphericalHarmonics(L)` gives the degrees $0$ to $L - 1$: $L^2$ columns, of which number $l^2 + l + m$ holds $Y_{lm}$ ({numref}`fig-02-harmonics`). Degree $l$ counts how many times the wave goes up and down around the globe, so a half wave is about
#
# $$ \frac{\pi R}{l} \approx \frac{20{,}000\ \text{km}}{l} $$
#
# long, with the Earth's radius $R$.
#
# :::{dropdown} Quick check: what are Y_00, Y_1,-1, Y_10 and Y_11 of the North Pole, and which half wave has degree 9?
# The unit vector of the pole is (0, 0, 1), so the four are 0.282, 0, 0.489 and 0. A half wave of degree 9 is 20,000 / 9 = 2,200 km long.
# :::
#
# One property makes them convenient. The harmonics are *orthonormal*: $\int Y_{lm} Y_{l'm'} \, d\Omega$ is 1 for a harmonic with itself and 0 for two different ones, so no column repeats another.
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
assert max(worst.values()) < 1e-10
for L, error in worst.items():
    print(f"L = {L:2}: largest deviation from the identity {error:.0e}")

# %% [markdown]
# **Exercise 1 (write).** Does the encoding prefer some regions? Show in code that the inner product of the encodings of two places depends on nothing but the distance between
# them. (Hint: take many pairs of places 1,000 km apart. The addition theorem says $\sum_m Y_{lm}(u) Y_{lm}(v) = \frac{2l+1}{4\pi} P_l(u \cdot v)$.)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
here = et.coords.sample_sphere(1000, np.random.default_rng(2))
there = et.coords.destination(here, 45.0, 1000.0)
Y = et.SphericalHarmonics(10)
inner = (Y(here) * Y(there)).sum(axis=1)
angle = np.cos(1000.0 / et.coords.EARTH_RADIUS_KM)
theorem = np.polynomial.legendre.legval(angle, (2 * np.arange(10) + 1) / (4 * np.pi))
# All 1,000 inner products are equal: no region is special, and no distance is closer in Europe.
assert np.allclose(inner, theorem)
print(f"inner products {inner.min():.6f} to {inner.max():.6f}, by the theorem {theorem:.6f}")

# %% [markdown]
# ## How much detail can L degrees hold?
#
# With $L$ degrees the finest half wave is about $20{,}000 / (L - 1)$ km. To see what that means we fit the elevation of the land by a linear model of the
# harmonics, on half of the places. The score is
# $R^2$, the share of variance explained: once on other places *between* the fitted ones, once in held-out *blocks* of 1,000 km.
#
# There is a trap. The harmonics are orthonormal on the sphere, but we have heights on *land* only. Some combinations of
# many harmonics are almost zero on all land, so the data say nothing about their weight, and ordinary least squares
# makes it enormous. A ridge penalty keeps all weights small. We try both.

# %%
split = et.probes.draw_split(task.lonlat, "block", seed=0)
fitted = split.labels(size.n_task // 2, seed=0)
between = np.setdiff1d(split.pool, fitted)
rows, fits = [], {}
for L in (5, 10, 20):
    Y = et.SphericalHarmonics(L)(task.lonlat) * np.sqrt(4 * np.pi)  # mean square 1 on the sphere
    x, y = Y[fitted], task.target[fitted]
    plain, fits[L] = LinearRegression().fit(x, y), Ridge(alpha=100.0).fit(x, y)
    row = {"L": L, "half wave, km": 20_000 / (L - 1)}
    row["least squares, between"] = plain.score(Y[between], task.target[between])
    row["ridge, between"] = fits[L].score(Y[between], task.target[between])
    row["ridge, blocks"] = fits[L].score(Y[split.scored], task.target[split.scored])
    rows.append(row)
detail = pd.DataFrame(rows)
detail.style.format(precision=2, thousands=",").hide(axis="index")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-resolution", "caption": "More degrees draw finer relief: elevation and its ridge fits with L = 5, 10 and 20, fitted to half of the labelled places. Greenland shows the rock under its ice. Grey: sea or no data. Scores above."}, "image": {"alt": "Four world maps of elevation on land. The true map shows sharp mountain ranges. With L = 5 there is little but a broad blur over Asia. With L = 10 Tibet and the western Americas appear as smooth bulges. With L = 20 the Andes and the Rocky Mountains become narrow bands."}}
truth = np.full(len(lonlat), np.nan)
truth[land] = et.sample.raster("elevation").at(lonlat[land])[:, 0]
panels = {"elevation": truth.reshape(shape)}
for L, fit in fits.items():
    drawn = np.full(len(lonlat), np.nan)
    drawn[land] = fit.predict(et.SphericalHarmonics(L)(lonlat[land]) * np.sqrt(4 * np.pi))
    panels[f"L = {L}"] = drawn.reshape(shape)
figure = et.maps.prediction_map(panels, "elevation (m)", limits=(0, 4000))
plt.close(figure)
figure

# %% [markdown]
# Least squares with $L = 20$ is far worse than the mean height; ridge gains with every degree. {numref}`fig-02-resolution` is a picture of the bound: a linear model of these columns cannot draw a ridge narrower than its half wave. It is also
# a picture of a choice. Large $L$ holds more detail, and has more ways to go wrong where there is no data. The paper takes
# $L = 10$ and leaves finer structure to the network.
#
# ## A sine of a sine
#
# How can a network draw finer detail than its inputs hold? Take one wave, $\sin 3x$, multiply it by a number $a$, and take the sine again.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-wave", "caption": "A sine of a sine has frequencies that the inner sine has not: odd multiples of 3, reaching the further, the larger the factor. Left: one wave. Right: its power by frequency, in shares."}, "image": {"alt": "Four rows. Left, curves over one turn: a wave with three periods; nearly the same wave; a wave with nine periods of unequal depth; a wave with many narrow wiggles. Right, bars of power: one at frequency 3; the same; one at 9 and a small one at 15; four from 15 to 33."}}
x = np.arange(2048) * 2 * np.pi / 2048
sines = {f"sin({a} sin 3x)": np.sin(a * np.sin(3 * x)) for a in (1, 4, 10)}
sines = {"sin 3x": np.sin(3 * x), **sines}
power = {name: np.abs(np.fft.rfft(wave)) ** 2 for name, wave in sines.items()}
finer = {name: p[4:].sum() / p.sum() for name, p in power.items()}  # share above frequency 3
figure, axes = plt.subplots(4, 2, figsize=(8, 4.6), sharex="col", layout="constrained")
for (left, right), (name, wave), colour in zip(axes, sines.items(), et.maps.CYCLE, strict=False):
    left.plot(x, wave, color=colour)
    left.set(ylim=(-1.25, 1.25), yticks=(-1, 0, 1), title=name)
    shares = power[name][:46] / power[name].sum()
    right.bar(range(46), shares, color=colour, width=1)
    right.set(yticks=(0, 0.5, 1), ylim=(0, 1), title=f"{100 * finer[name]:.1f} % above 3")
axes[-1, 1].set(xlabel="frequency", xticks=range(0, 46, 3))
plt.close(figure)
figure

# %% [markdown]
# So the network makes higher frequencies out of the ones it is given ({numref}`fig-02-wave`), and the factor says how high. That is the idea of a SIREN, a network whose layers compute
#
# $$ h = \sin\bigl(\omega (W x + b)\bigr), $$
#
# with weights $W$ and biases $b$ that are trained and a fixed factor $\omega$. Its paper takes $\omega = 30$ for raw coordinates; we take 10, because harmonics oscillate already. The documented initialisation draws weights uniformly in
# $\pm 1/n$ in the first layer and in $\pm \sqrt{6/n} / \omega$ after it, with $n$ inputs. Biases are drawn as PyTorch draws them, in $\pm 1 / \sqrt n$.
#
# **Why so careful?** Sines are touchy about the size of the weights. If these are too small, the sine is almost a straight line and the response to the place fades. If they are too large, the
# sine wraps around many times and neighbours get unrelated values. We send places, and the same places moved 500 km to the east, through eight layers with the documented rule, with PyTorch's ordinary default, $\pm 1/\sqrt{n}$, and
# with weights ten times too small.


# %%
class Sine(nn.Module):
    """One sine layer: (B, n) to (B, width)."""

    def __init__(self, n, width, omega=10.0, first=False):
        super().__init__()
        self.linear, self.omega = nn.Linear(n, width), omega
        bound = 1 / n if first else math.sqrt(6 / n) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(self.omega * self.linear(x))


# %%
def response(start, moved, rule, depth=8):
    """Return, layer by layer, the activations of places and of the same places moved."""
    torch.manual_seed(0)
    states, layers = [start, moved], []
    for i in range(depth):
        n = states[0].shape[1]
        layer = Sine(n, 256, first=i == 0)
        with torch.no_grad():
            if rule == "PyTorch's default":
                layer.linear.weight.uniform_(-(n**-0.5), n**-0.5)
            layer.linear.weight.mul_(0.1 if rule == "ten times smaller" else 1.0)
            states = [layer(s) for s in states]
        layers.append(states)
    return layers


# %%
def harmonics(lonlat):
    """Return the harmonics of places, (N, 100), in the precision of the network."""
    return torch.from_numpy(et.SphericalHarmonics(10)(lonlat)).float()


def alike(a, b):
    """Return the mean correlation of two sets of activations, row by row, centred over places."""
    mean = a.mean(dim=0)
    return torch.cosine_similarity(a - mean, b - mean, dim=1).mean().item()


start = et.sample.sample_land(2000, np.random.default_rng(0))
moved = et.coords.destination(start, 90, 500.0)
RULES = ("documented", "PyTorch's default", "ten times smaller")
deep = {rule: response(harmonics(start), harmonics(moved), rule) for rule in RULES}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-siren", "caption": "Of three initialisations the documented one alone keeps a signal that neither dies nor turns into noise. Left: spread of activations over places. Right: correlation between places 500 km apart. Untrained, omega 10, one seed."}, "image": {"alt": "Two line plots over layers 1 to 8. Left, on a logarithmic axis: the documented initialisation stays between a tenth and one, PyTorch's default stays at about 0.7, weights ten times smaller fall by about a factor of seven a layer. Right: PyTorch's default falls to zero by the third layer, the other two stay near 0.9."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for rule, colour in zip(RULES, et.maps.CYCLE, strict=False):
    spread = [a.std(dim=0).mean().item() for a, _ in deep[rule]]
    axes[0].semilogy(range(1, 9), spread, "o-", ms=4, color=colour, label=rule)
    axes[1].plot(range(1, 9), [alike(*pair) for pair in deep[rule]], "o-", ms=4, color=colour)
axes[0].set(xlabel="layer", ylabel="spread over places")
axes[1].set(xlabel="layer", ylabel="correlation with 500 km east")
axes[0].legend(frameon=False)
for ax in axes:
    ax.grid(alpha=0.3)
plt.close(figure)
figure

# %% [markdown]
# Each naive choice fails in its own way ({numref}`fig-02-siren`). Small weights let the response to the place fade with each layer. PyTorch's default keeps the
# spread but loses the neighbours: after a few layers, places 500 km apart have nothing in common, and no
# learning signal carries from one to the other. The documented rule keeps both.
#
# ## The whole encoder
#
# Now we can write the encoder of the paper as this book uses it: harmonics of ten degrees, two sine layers of 256 units, a linear layer. *Dropout* sets each hidden number to zero with probability 0.2 while the
# network trains, and does nothing afterwards. {numref}`fig-02-encoder` shows the same as a drawing.


# %%
class Encoder(nn.Module):
    """Map the harmonics of places (B, 100) to their embedding (B, 256)."""

    def __init__(self, width=256):
        super().__init__()
        first, second = Sine(100, width, first=True), Sine(width, width)
        last = nn.Linear(width, width)
        bound = math.sqrt(6 / width) / 10  # as in a sine layer
        nn.init.uniform_(last.weight, -bound, bound)
        self.layers = nn.Sequential(first, nn.Dropout(0.2), second, nn.Dropout(0.2), last)

    def forward(self, basis):
        return self.layers(basis)


# %%
torch.manual_seed(0)
mine = Encoder().eval()  # eval: no dropout
torch.manual_seed(0)
package = et.LocationEncoder(et.SphericalHarmonics(10)).eval()
with torch.no_grad():
    by_hand = mine(harmonics(start)).numpy()
assert np.allclose(by_hand, package.embed(start), atol=1e-6)
sizes = [sum(p.numel() for p in mine.layers[k].parameters()) for k in (0, 2, 4)]
print("weights and biases:", " + ".join(f"{n:,}" for n in sizes), f"= {sum(sizes):,}")

names = ["longitude, latitude", "spherical harmonics, degrees 0 to 9"]
names += [*["sine layer, dropout 0.2"] * 2, "linear layer", "embedding z"]
trained = [f"256 numbers; {n:,} trained" for n in sizes]
numbers = ["2 numbers", "100 numbers, fixed", *trained, "256 numbers"]
colours = ["white", "#dddddd", *["#cfe3f3"] * 3, "white"]

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-encoder", "caption": "The encoder of the paper: 157,440 numbers are trained, and the harmonics are not. The skip, dashed, is this book's addition: it joins harmonics to the embedding and takes part in no loss."}, "image": {"alt": "A column of boxes with arrows from top to bottom: longitude and latitude, 2 numbers; spherical harmonics, 100 numbers, fixed; sine layer to 256, 25,856 trained numbers; sine layer to 256, 65,792; linear layer to 256, 65,792; embedding, 256 numbers. A dashed arrow leads from the harmonics around the network to the embedding."}}
figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for y, name, number, colour in zip(range(5, -1, -1), names, numbers, colours, strict=True):
    ax.add_patch(FancyBboxPatch((0, y), 4.6, 0.5, "round,pad=0.08", fc=colour, ec="#333333"))
    ax.text(0.1, y + 0.25, name, va="center")
    ax.text(4.5, y + 0.25, number, va="center", ha="right")
    if y:
        ax.annotate("", (2.3, y - 0.42), (2.3, y - 0.08), arrowprops={"arrowstyle": "->"})
ax.plot([4.72, 5.4, 5.4, 4.9], [4.25, 4.25, 0.25, 0.25], "--", color="black", lw=1.2)
ax.annotate("", (4.7, 0.25), (5.0, 0.25), arrowprops={"arrowstyle": "->"})
ax.text(5.5, 2.25, "skip, if asked for:\nharmonics join the\nembedding, but\nno loss", va="center")
ax.set(xlim=(-0.2, 7), ylim=(-0.2, 5.8))
ax.set_axis_off()
plt.close(figure)
figure

# %% [markdown]
# The harmonics of a place never change. So they are computed once, in double precision, because the recurrence behind them loses its
# digits in single precision, and training reads rows of a table.
#
# ## What does an untrained encoder already give?
#
# The papers of this field rarely show the encoder before training. Yet it already has an opinion on which places are alike. We ask for the similarity of
# every place on land to Berlin. One caution: biases and the constant harmonic add the same vector to all places, so the plain cosine is
# close to one everywhere. We subtract the mean over land first.


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
views = {"unit vectors": unit_vectors, "harmonics, L = 10": et.SphericalHarmonics(10)}
views |= {f"untrained SIREN, omega {w:.0f}": e.embed for w, e in encoders.items()}
similar = {name: np.matmul(*centred(encode)) for name, encode in views.items()}

km = et.coords.great_circle_km(lonlat[land], np.repeat(berlin, land.sum(), axis=0))
ring = (km // 250).astype(int)
curves = {name: np.bincount(ring, v)[:24] / np.bincount(ring)[:24] for name, v in similar.items()}
half = {name: 125 + 250 * np.interp(-0.5, -c[:12], range(12)) for name, c in curves.items()}
listed = [f"{name}: {d:,.0f} km" for name, d in half.items() if name != "unit vectors"]
print("Similarity to Berlin falls to one half at this distance:", ", ".join(listed))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-berlin", "caption": "Similarity of each place on land to Berlin before training: cosine after subtracting the mean over land. Harmonics set the region that is like Berlin; raising omega from 10 to 30 shrinks it a little. One seed."}, "image": {"alt": "Four world maps of similarity to Berlin. Unit vectors: a hemisphere is similar. Harmonics with L = 10: a spot over central Europe with faint rings around it. Untrained SIREN with omega 10 and with omega 30: nearly the same spot, with weak irregular patches elsewhere."}}
panels = {}
for name, values in similar.items():
    drawn = np.full(len(lonlat), np.nan)
    drawn[land] = values
    panels[name] = drawn.reshape(shape)
figure = et.maps.prediction_map(
    panels, "centred cosine with Berlin", limits=(-1, 1), diverging=True
)
plt.close(figure)
figure

# %% [markdown]
# An untrained encoder is a smooth notion of nearness, with a range set by its construction ({numref}`fig-02-berlin`).
# The harmonics set most of it; the untrained network at $\omega = 10$ hardly changes it, and a larger $\omega$ shortens it. A
# linear model on top of it can interpolate between labels, and that makes it a strong baseline. Every table in this book
# has a row for it. Without that row nobody can tell what was *learned*.
#
# A second view: turn the embedding of each place into a colour. The three directions in which the embedding varies most, its principal components over land, become
# red, green and blue. Places of like colour are alike to the encoder, as far as three numbers can say it.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-02-colours", "caption": "Before training, colour follows nearness alone: patches of a continent's size, of one colour within a few hundred km. Three principal components over land as red, green and blue. One seed."}, "image": {"alt": "Four world maps in colours. Unit vectors: three broad gradients over the globe. Harmonics and both untrained networks: smooth patches of a continent's size and less, in different colours on each map, with no sign of deserts, forests or mountains."}}
seen = et.maps.colours(unit_vectors(lonlat[land]), lonlat[land])
painted = {"unit vectors": seen}
painted["harmonics, L = 10"] = et.maps.colours(harmonics(lonlat[land]), lonlat[land], like=seen)
for omega, encoder in encoders.items():
    title = f"untrained SIREN, omega {omega:.0f}"
    painted[title] = et.maps.colours(encoder.embed(lonlat[land]), lonlat[land], like=seen)
panels = {}
for name, colour in painted.items():
    drawn = np.full((len(lonlat), 3), np.nan)
    drawn[land] = colour
    panels[name] = drawn.reshape(*shape, 3)
figure = et.maps.colour_map(panels)
plt.close(figure)
figure

# %% [markdown]
# Do two places of one climate zone have similar colours in {numref}`fig-02-colours`? We take random pairs more than 3,000 km apart, and neighbours for comparison.

# %%
i, j = np.random.default_rng(0).integers(0, land.sum(), (2, 20_000))
far = et.coords.great_circle_km(lonlat[land][i], lonlat[land][j]) > 3000
zone = et.sample.raster("climate").at(lonlat[land])[:, 0]
pairs = {"one zone": far & (zone[i] == zone[j]), "two zones": far & (zone[i] != zone[j])}
rows = {}
for name, colour in painted.items():
    differ = np.linalg.norm(colour[i] - colour[j], axis=1)
    rows[name] = {kind: differ[some].mean() for kind, some in pairs.items()}
    east = np.nan_to_num(panels[name][:, 1:] - panels[name][:, :-1], nan=np.inf)
    rows[name]["next cell"] = np.median(np.linalg.norm(east, axis=2)[np.isfinite(east[..., 0])])
differing = pd.DataFrame(rows).T
differing.style.format(precision=2)

# %% [markdown]
# Far from each other, places of one zone differ in colour about as much as places of two: the harmonics and the untrained networks know nothing of climate. (Unit vectors know a little: latitude.)
# [Chapter 04](04_melt.ipynb) paints the map again after training, when the encoder has seen what is there.
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
assert max(gap.values()) < 1e-5
assert change["date line"] < 2 * change["elsewhere"]
print("largest difference:", {k: float(v) for k, v in gap.items()})
print("relative change over 1 km:", {k: f"{v:.1e}" for k, v in change.items()})

# %% [markdown]
# ## A way around the network
#
# Contrastive training has to tell thousands of places apart, and sharp detail does that best. Smooth, large-scale structure may get lost
# on the way. A {term}`skip connection` keeps it: the harmonics of the first $s$ degrees are joined to the trained columns, at equal scale. They
# are part of the embedding but of no loss, so training never touches them. The width stays 256, so $s^2$ columns are taken from the trained part, and comparisons
# remain fair. The paper's encoder has no skip. What it brings is a question for the [probing chapter](06_probing.ipynb).
#
# **Exercise 2 (write).** Build the embedding with a skip of five degrees of an encoder `with_skip` yourself: harmonics of ten degrees, and `skip=5`. Take its trained columns, `with_skip(basis)`, and `et.SphericalHarmonics(5)`. Compare with `with_skip.embed`. At equal scale means: the trained columns are divided by their root mean square over the sphere, `with_skip.rms`, and a harmonic is multiplied by $\sqrt{4\pi}$.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
torch.manual_seed(0)
with_skip = et.LocationEncoder(et.SphericalHarmonics(10), skip=5).eval()
with torch.no_grad():
    trained = with_skip(harmonics(start)) / with_skip.rms  # (2000, 231)
smooth = et.SphericalHarmonics(5)(start) * math.sqrt(4 * math.pi)  # (2000, 25)
joined = np.concatenate([trained.numpy(), smooth], axis=1)
# A loss compares with_skip(basis) alone. The 25 columns are added when the place is embedded.
assert np.allclose(joined, with_skip.embed(start), atol=1e-4)

# %% [markdown]
# ## The encoder that we recommend
#
# `et.LocationEncoder()`, without arguments, is another one: sines and cosines of doubling frequencies (`Sphere2Vec`) into a residual network, with a skip of ten degrees. With three modalities it is level with
# harmonics and sine layers, with seven it is ahead ([chapter 09](09_bottleneck.ipynb)); the shipped model `earth` has it. The chapters that follow mean the encoder of the paper and write it out.
#
# ## Limits
#
# - The figures of the untrained encoder show one seed. Other seeds change details, not the range.
# - Ridge has one fixed penalty here, the same for all $L$. [Probing](06_probing.ipynb) chooses it by cross-validation, and scores move with it.
# - The sphere stands for the Earth. Its flattening, a third of a percent, is ignored.
#
# ## Summary
#
# - Longitude and latitude tear the date line and stretch the poles. Unit vectors do not.
# - Spherical harmonics are orthonormal waves on the sphere: the first four are a constant and the unit vector, and degree $l$ resolves about $20{,}000 / l$ km.
# - On land alone they are no longer orthogonal: without a penalty, a fit with many degrees explodes.
# - A sine layer makes higher frequencies out of the ones it is given, if its weights are drawn with care.
# - An untrained encoder already gives nearness, and belongs into every comparison.
#
# ## Check

# %% tags=["check"]
assert lonlat[np.argmax(plane)][0] < -170, "just east of the date line is the farthest"
assert detail["ridge, between"].is_monotonic_increasing
assert detail["least squares, between"].iloc[-1] < 0
assert finer["sin(1 sin 3x)"] < finer["sin(4 sin 3x)"] < finer["sin(10 sin 3x)"]
assert power["sin(10 sin 3x)"][3::6].sum() > 0.999 * power["sin(10 sin 3x)"].sum(), "3, 9, 15, ..."
last = {rule: deep[rule][-1] for rule in RULES}
assert last["ten times smaller"][0].std(dim=0).mean() < 1e-3
assert last["documented"][0].std(dim=0).mean() > 0.05
assert alike(*last["documented"]) > alike(*last["PyTorch's default"]) + 0.2
assert alike(*deep["documented"][1]) > alike(*deep["PyTorch's default"][1]) + 0.3
assert half["untrained SIREN, omega 30"] < half["untrained SIREN, omega 10"]
ratio = differing["one zone"] / differing["two zones"]
assert ratio.drop("unit vectors").min() > 0.9, "climate is not seen before training"
assert ratio["unit vectors"] < 0.95
assert (differing["next cell"] < 0.5 * differing["two zones"]).all()

# %% [markdown]
# ## Further reading
#
# - [Rußwurm et al. (2024)](https://arxiv.org/abs/2310.06743): spherical harmonics and SIREN as a location encoder, the pair used here.
# - [Sitzmann et al. (2020)](https://arxiv.org/abs/2006.09661): SIREN and its initialisation.
# - [Bigi et al. (2023)](https://doi.org/10.1063/5.0156307): sphericart, the fast and stable harmonics behind this package.
# - [Mai et al. (2022)](https://doi.org/10.1080/13658816.2021.2004602): a review of location encoding.
#
# Next: [Two modalities: the satellite baseline](03_two_modalities.ipynb)
