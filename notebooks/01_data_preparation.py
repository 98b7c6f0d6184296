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
# # Three views of the Earth that share no place
#
# What can be observed at a place? A satellite image, the lights at night, the name of the town. A contrastive model
# learns what places are like from such observations. Each kind of observation is a {term}`modality`. It would be
# natural to collect all three at the same places. This notebook does not: every modality brings places of its own,
# and the methods of this book have to do without a single pair of an image and a name.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** draw places fairly by area, cut patches that cover the same ground everywhere, show that modalities are
#   {term}`unpaired`, hold out whole regions for validation, and write the frozen features of images and names by hand.
# - **Prerequisites** Python with NumPy; what a vector and a cosine are. No machine learning yet.
# - **Data** [satellite](../data/cards/satellite.md), [night lights](../data/cards/lights.md),
#   [places](../data/cards/places.md), [elevation](../data/cards/elevation.md), [climate](../data/cards/climate.md),
#   [countries and land](../data/cards/countries.md); all offline.
# - **Time** about 20 minutes to read, 1 minute to run on two cores
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from cartopy import crs as ccrs
from matplotlib.colors import ListedColormap
from numpy.lib.stride_tricks import sliding_window_view
from scipy.spatial import cKDTree
from sklearn.utils import murmurhash3_32
from torch.nn.functional import conv2d

import earthtie_lite as et

size = et.profile(profile)
sample = et.load_sample(size.n, seed=0)

# %% [markdown]
# ## What is in the box?
#
# The embedded sample holds rasters and a table of 234,908 named places, the *gazetteer*. A *raster* is a grid of pixels that covers the Earth in
# equal steps of longitude and latitude. This notebook uses four. The satellite picture and the night lights become modalities, and so do the
# names. Elevation and climate are kept for later: they are what an embedding will be asked to predict. Where a
# raster has no data, maps show grey.

# %% tags=["hide-input"]
NAMES = ("satellite", "lights", "elevation", "climate")
rasters = {name: et.sample.raster(name) for name in NAMES}
gazetteer = et.sample.places()  # the most populous place first
lonlat, shape = et.maps.grid(0.5)
edges = np.linspace(-180, 180, shape[1] + 1), np.linspace(90, -90, shape[0] + 1)
classes = np.array(rasters["climate"].tags["CLASSES"].split(","))
letters = np.array([np.nan] + ["ABCDE".index(c[0]) for c in classes])
values = {name: rasters[name].at(lonlat)[:, 0] for name in NAMES}  # read at the grid's centres
height = np.where(values["elevation"] == rasters["elevation"].nodata, np.nan, values["elevation"])
panels = {"lights": (values["lights"], "cividis", 0, 40, "brightness (0 to 255, cut at 40)")}
panels["elevation"] = (height, "viridis", 0, 5000, "m")
panels["climate"] = (letters[values["climate"]], plt.get_cmap("viridis", 5), -0.5, 4.5, "main zone")

# %% mystnb={"figure": {"name": "fig-01-rasters", "caption": "The four rasters at 0.5 degrees, in Equal Earth, which keeps areas true. Climate zones: A equatorial, B arid, C warm temperate, D snow, E polar. Grey: no data."}, "image": {"alt": "Four world maps. The satellite map shows deserts, forests and ice in true colour. The night lights stand out in Europe, eastern North America, India and East Asia. Elevation peaks in Tibet, the Andes and the Rocky Mountains. Climate zones run roughly in bands from the equator to the poles."}} tags=["hide-input"]
figure, axes = et.maps.world(4, columns=2)
globe = {"transform": ccrs.PlateCarree(), "zorder": 1}
rgb = rasters["satellite"].at(lonlat).reshape(*shape, 3)
axes[0].imshow(rgb, extent=(-180, 180, -90, 90), regrid_shape=500, **globe)
axes[0].set_title("satellite", fontsize=10)
for ax, (name, (shown, cmap, low, high, unit)) in zip(axes[1:], panels.items(), strict=True):
    ax.set_facecolor(et.maps.MISSING)
    mesh = ax.pcolormesh(*edges, shown.reshape(shape), cmap=cmap, vmin=low, vmax=high, **globe)
    ax.set_title(name, fontsize=10)
    bar = figure.colorbar(mesh, ax=ax, orientation="horizontal", shrink=0.6, aspect=30, label=unit)
bar.set_ticks(range(5), labels=list("ABCDE"))
plt.close(figure)
figure

# %% [markdown]
# {numref}`fig-01-rasters` shows why these data can teach something about places. The satellite picture sees deserts, forests, ice and, through
# its relief shading, mountains. The lights see people with electricity. Neither was drawn from the climate map, yet its bands can be guessed from the
# picture. The data cards say what is wrong with each file: the sea is painted, the
# lights are not a measurement, and Greenland's elevation is the rock under its ice.
#
# ## How should places be drawn?
#
# The obvious way is to draw a longitude in $[-180, 180]$ and a latitude in $[-90, 90]$, both uniformly. Guess first: which share of
# the places will lie beyond 60° north or south?
#
# A third of all latitudes, so a third of the places. But the caps beyond 60° hold only 13.4 % of the sphere. The strip between the latitudes
# $\varphi$ and $\varphi + d\varphi$ has the area $2 \pi R^2 \cos\varphi \, d\varphi$, where $R$ is the Earth's radius. So the
# area south of $\varphi$ grows with $\sin\varphi$, and it is the *sine* of the latitude that must be uniform:
#
# $$ \lambda \sim U(-180°, 180°), \qquad \sin\varphi \sim U(-1, 1). $$

# %%
rng = np.random.default_rng(1)
naive = np.stack([rng.uniform(-180, 180, size.n), rng.uniform(-90, 90, size.n)], axis=1)

rng = np.random.default_rng(0)
lon, sine = rng.uniform(-180, 180, size.n), rng.uniform(-1, 1, size.n)
by_area = np.stack([lon, np.degrees(np.arcsin(sine))], axis=1)
assert np.array_equal(by_area, et.coords.sample_sphere(size.n, np.random.default_rng(0)))
polar = {"naive": (np.abs(naive[:, 1]) > 60).mean(), "by area": (np.abs(by_area[:, 1]) > 60).mean()}
pd.Series(polar, name="beyond 60°").to_frame().style.format("{:.1%}")

# %% mystnb={"figure": {"name": "fig-01-area", "caption": "Uniform longitude and latitude crowd places at the poles; a uniform sine of the latitude spreads them evenly. The first 1,500 places of either draw, one seed, in Equal Earth."}, "image": {"alt": "Two world maps with dots. On the left the dots crowd together towards both poles, on the right they are spread evenly."}} tags=["hide-input"]
figure = et.maps.points_map(
    {"uniform longitude and latitude": naive[:1500], "uniform by area": by_area[:1500]}, size=2
)
plt.close(figure)
figure

# %% [markdown]
# A model trained on the left draw of {numref}`fig-01-area` would spend its effort on the Arctic. `et.load_sample` therefore draws images by area and
# keeps what falls on land. Land means here: elevation and climate are known and the place lies north of 60° S. Antarctica is left out,
# because it has no town names, no lights and one climate. Names are drawn in another way: the gazetteer is thinned to the most
# populous place in each equal-area cell of 10 km, and names are drawn from what remains.
#
# **Exercise 1 (code).** Write `share(south, north)`, the share of the sphere's area between two latitudes, without drawing any
# place. Then find the latitude that splits the northern hemisphere into two halves of equal area.


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def share(south, north):
    """Return the share of the sphere's area between two latitudes in degrees."""
    return (np.sin(np.radians(north)) - np.sin(np.radians(south))) / 2


drawn = ((by_area[:, 1] > 0) & (by_area[:, 1] < 30)).mean()
assert abs(share(0, 30) - drawn) < 0.03
print(f"0 to 30°: {share(0, 30):.3f} of the sphere by the formula, {drawn:.3f} of the draw")
# Half a hemisphere is a quarter of the sphere, so sin(latitude) = 1/2 and the latitude is 30°:
# the tropics and subtropics are as large as everything from there to the poles.

# %% [markdown]
# ## What is a patch?
#
# An image modality needs a small picture around each place. If we cut a fixed number of *degrees*, a patch in northern Norway would
# cover a third of the ground that a patch at the equator covers, because a degree of longitude shrinks with $\cos\varphi$. So
# `Raster.patches` cuts a square of fixed size on the *ground*, 111 km on a side, and widens its columns by
# $1 / \cos\varphi$. A patch has 15 x 15 pixels of the satellite picture or 12 x 12 of the lights. Columns wrap: east of 180° the raster goes on at −180°.

# %%
seam = rasters["satellite"].patches([[180.0, -16.85], [-180.0, -16.85]], 15)  # (2, 3, 15, 15)
latitude = np.array([0.0, 40.0, 70.0])
step = et.sample.PATCH_KM / 111.195 / 2 / np.cos(np.radians(latitude))  # half a patch, degrees
west, east = np.stack([-step, latitude], axis=1), np.stack([step, latitude], axis=1)
ground = pd.DataFrame({"latitude": latitude, "width in degrees": 2 * step})
ground["width in km"] = et.coords.great_circle_km(west, east)
print("patch at +180° equals patch at -180°:", (seam[0] == seam[1]).all())
ground.style.format(precision=1).hide(axis="index")

# %% [markdown]
# ## Do the modalities share a place?
#
# Here are four towns as the three modalities would show them, and beside them the places that the sample really has.

# %%
TOWNS = ["Tromsø", "Cairo", "New York City", "Manaus"]
towns = gazetteer.drop_duplicates("name").set_index("name").loc[TOWNS, ["lon", "lat"]].to_numpy()
pictures = np.moveaxis(rasters["satellite"].patches(towns, 15), 1, -1)  # (4, 15, 15, 3)
lights = rasters["lights"].patches(towns, 12)[:, 0]  # (4, 12, 12)


def draw_places(ax, name):
    """Draw the places of a modality on an axis in Equal Earth."""
    ax.set_global()
    ax.add_geometries(et.sample.land().geometry, ccrs.PlateCarree(), facecolor=et.maps.LAND)
    style = {"s": 0.8, "color": et.maps.COLOURS[name], "linewidths": 0, "zorder": 2}
    ax.scatter(*sample[name].lonlat.T, transform=ccrs.PlateCarree(), **style)


# %% mystnb={"figure": {"name": "fig-01-views", "caption": "The same four places as image, lights (brightness 0 to 98) and name. Maps: where the sample has each modality, never at the same place. Images and lights cover the land evenly, names follow people."}, "image": {"alt": "Three rows. First row: satellite patches of snowy fjords, the green Nile delta in desert, the coast at New York and forest with a river; then a map with dots all over the land. Second row: lights of the same places, bright at Cairo and New York; a map with dots all over the land. Third row: the four names; a map whose dots are dense in Europe, the eastern United States and South Asia and leave deserts and the far north empty."}} tags=["hide-input"]
figure = plt.figure(figsize=(8, 4.5), layout="constrained")
layout = figure.add_gridspec(3, 5, width_ratios=(1, 1, 1, 1, 2.6))
for row, name in enumerate(sample):
    for column, town in enumerate(TOWNS):
        ax = figure.add_subplot(layout[row, column], xticks=[], yticks=[], box_aspect=1)
        if name == "text":
            ax.text(0.5, 0.5, town.replace(" ", "\n"), ha="center", va="center")
        else:
            shown = (pictures if name == "satellite" else lights)[column]
            ax.imshow(shown, cmap="cividis", vmin=0, vmax=98)
        ax.set_ylabel(name if column == 0 else "")
    draw_places(figure.add_subplot(layout[row, 4], projection=ccrs.EqualEarth()), name)
plt.close(figure)
figure

# %% [markdown]
# The columns of {numref}`fig-01-views` are what *paired* data would be. The maps are what there is: the three
# modalities were drawn independently. This is a claim about coordinates, so we can check it. We count the places that occur in two modalities and
# measure how far the nearest place of the other modality is.


# %%
def nearest_km(here, there):
    """Return the great-circle distance from each place to the nearest of the others."""
    chord, _ = cKDTree(et.coords.unit_vectors(there)).query(et.coords.unit_vectors(here))
    return 2 * et.coords.EARTH_RADIUS_KM * np.arcsin(chord / 2)  # chord through the unit sphere


unpaired = []
for a, b in (("satellite", "lights"), ("satellite", "text"), ("lights", "text")):
    shared = set(map(tuple, sample[a].lonlat)) & set(map(tuple, sample[b].lonlat))
    km = nearest_km(sample[a].lonlat, sample[b].lonlat)
    unpaired.append({"from": a, "to": b, "shared places": len(shared), "median km": np.median(km)})
    unpaired[-1]["nearer than a patch, %"] = 100 * (km < et.sample.PATCH_KM).mean()
unpaired = pd.DataFrame(unpaired)
unpaired.style.format(precision=1).hide(axis="index")

# %% [markdown]
# No place is shared, so no row of one modality has a partner in another. It does not follow that the modalities are
# far apart. The last column says how often the nearest place of the other modality lies within the side of a patch,
# and with enough places that is common. *Unpaired* means that training is never told which rows belong together; the only bridge
# between two modalities is where their places are.
#
# :::{dropdown} Quick check: no place has both an image and a name. How can a model learn which names go with which landscapes?
# Through the place. Names and images lie close together on the ground, and an encoder that is smooth gives neighbours similar vectors. Where names and images share no *region*, this way is closed ([chapter 09](09_bottleneck.ipynb)).
# :::
#
# ## Which places may a model be judged on?
#
# The usual answer is a random tenth of them. But neighbouring patches overlap: two squares of 111 km whose centres are nearer than 111 km always
# share ground. Then a model that memorises its training images looks good. So we hold out whole regions, a {term}`blocked split`. The sphere is cut into blocks of exactly equal area,
# about 1,000 km on a side, and 15 % of the blocks are held out, the same for every modality.
# Even then a training place just outside a block has nearly the image of a held-out place just inside it. Therefore
# a buffer of one patch width around the blocks belongs to neither part.

# %%
places = sample["satellite"].lonlat
total = et.coords.n_blocks(1000.0)
chosen = et.coords.stream("blocks held out", 0).permutation(total)[: round(0.15 * total)]
held_out = np.isin(et.coords.block_ids(places, 1000.0), chosen)
near = nearest_km(places, places[held_out]) < et.sample.PATCH_KM  # and the held-out places

again, kept = et.coords.hold_out(places, 0.15, buffer_km=et.sample.PATCH_KM)
assert np.array_equal(again, held_out)
assert not (kept & near).any()  # the package measures from the edge of a block: a bit wider

anywhere = np.random.default_rng(0).permutation(held_out)  # as many places, not in blocks
pairs = {"random places": (anywhere, ~anywhere), "blocks": (held_out, ~held_out)}
pairs["blocks and buffer"] = (held_out, kept)
twins = {k: nearest_km(places[a], places[b]) < et.sample.PATCH_KM for k, (a, b) in pairs.items()}
twins = pd.Series({name: overlap.mean() for name, overlap in twins.items()})
twins.to_frame("share with a training patch that overlaps").style.format("{:.1%}")

# %% mystnb={"figure": {"name": "fig-01-blocks", "caption": "Held-out blocks of equal area (about 1,000 km on a side, 15 % of the sphere) and the buffer of 111 km around them, in neither part. Every continent has some. Land only; the same for every modality."}, "image": {"alt": "World map of the land. Most of it is training area in blue. Some thirty compact regions are held out in vermilion, each framed by a narrow orange band, the buffer. They lie in all continents, most of them in North America, Europe, Africa and Asia."}} tags=["hide-input"]
grid_out, grid_kept = et.coords.hold_out(lonlat, 0.15, buffer_km=et.sample.PATCH_KM)
land = et.sample.is_land(lonlat)
part = np.where(land, np.where(grid_out, 2.0, np.where(grid_kept, 0.0, 1.0)), np.nan)
colours = ListedColormap([et.maps.CYCLE[i] for i in (4, 1, 5)])
figure, (ax,) = et.maps.world()
mesh = ax.pcolormesh(*edges, part.reshape(shape), cmap=colours, vmin=-0.5, vmax=2.5, **globe)
bar = figure.colorbar(mesh, ax=ax, orientation="horizontal", shrink=0.4, aspect=30)
bar.set_ticks(range(3), labels=["training", "buffer", "held out"])
plt.close(figure)
figure

# %%
country = et.tasks.country_of(lonlat)  # a row of the countries, -1 where there is none
continent = et.sample.countries()["continent"].to_numpy()[country]
inside = land & (country >= 0) & (continent != "Antarctica")
area = pd.DataFrame({"area": np.cos(np.radians(lonlat[:, 1])), "continent": continent})
area["held out"], area["buffer"] = area["area"] * grid_out, area["area"] * ~(grid_out | grid_kept)
shares = area[inside].groupby("continent").sum()
shares = shares[["held out", "buffer"]].div(shares["area"], axis=0)
shares.style.format("{:.1%}")

# %% [markdown]
# The blocks of {numref}`fig-01-blocks` were drawn at random, so the continents' shares are uneven, but each has some (all Russia counts as Europe here).
# From now on a rule holds: **whatever is fitted to data comes from the training part alone**. That includes the modest things of the next section, the windows that become filters
# and the mean and spread that standardise features. Otherwise the held-out part leaks into what it is meant to judge.
#
# **Exercise 2 (code).** Write a split that holds out the whole of Africa, with the same buffer. How far is a held-out place from the nearest training place, compared
# with the blocks? Which question does either split ask?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
africa = et.tasks.country_of(places)
africa = et.sample.countries()["continent"].to_numpy()[africa] == "Africa"
training = ~africa & (nearest_km(places, places[africa]) > et.sample.PATCH_KM)
gaps = {"Africa": np.median(nearest_km(places[africa], places[training]))}
gaps["blocks"] = np.median(nearest_km(places[held_out], places[kept]))
assert gaps["Africa"] > 2 * gaps["blocks"]
print({name: f"{km:,.0f} km" for name, km in gaps.items()})
# Blocks ask whether gaps of a few hundred kilometres can be filled; Africa asks whether what
# was learnt on other continents carries over to one that was never seen.

# %% [markdown]
# ## How does an image become a vector?
#
# A *frozen* encoder turns each observation into a fixed vector, its features, and only what comes after it is trained.
# For images we use {term}`random convolutional features`, known as MOSAIKS. Nothing is learnt: small windows of the images serve as filters.
#
# **Cut** 20,000 windows of 3 x 3 pixels at random. They come from patches that no split up to one half holds out. **Whiten** them: in raw windows almost all variance
# is brightness, and every filter would measure it again. Whitening divides each principal direction by its standard deviation, so that contrasts and
# colours count as much as brightness. A floor of 1 % of the mean variance keeps it from amplifying the noise of the compression.

# %%
satellite = sample["satellite"]
patches = rasters["satellite"].patches(satellite.lonlat, 15)  # (N, 3, 15, 15), 0 to 255
safe = et.coords.hold_out(satellite.lonlat, 0.5, buffer_km=et.sample.PATCH_KM)[1]
views = sliding_window_view(patches[safe], (3, 3), axis=(2, 3))  # (n, 3, 13, 13, 3, 3)
rng = et.coords.stream("windows of filters", 0)
image, top, left = (rng.integers(views.shape[axis], size=20_000) for axis in (0, 2, 3))
windows = views[image, :, top, left].reshape(20_000, 27) / 255
middle = windows.mean(axis=0)
variances, directions = np.linalg.eigh(np.cov(windows.T))
whiten = (directions / np.sqrt(variances + 0.01 * variances.mean())) @ directions.T
white = (windows - middle) @ whiten  # (20000, 27)
print(f"share of the variance in one direction, brightness: {variances[-1] / variances.sum():.0%}")

# %% [markdown]
# **Choose** 128 filters among the whitened windows, the half with the more contrast, and scale them to unit length.
# **Slide** each filter $w_k$ over an image: whiten the window $r_j$ at position $j$ and take the dot product. The naive version does
# this for one filter, one image and one window at a time.

# %%
length = np.linalg.norm(white, axis=1)
strong = np.flatnonzero(windows.any(axis=1) & (length >= np.median(length)))
selected = rng.choice(strong, size=128, replace=False)
filters = white[selected] / length[selected, None]  # (128, 27), unit vectors

one = patches[0] / 255
slow = np.empty((13, 13))
for i in range(13):
    for j in range(13):
        window = one[:, i : i + 3, j : j + 3].reshape(27)
        slow[i, j] = filters[0] @ ((window - middle) @ whiten)

# %% [markdown]
# The whitening can be folded into the filter, $w_k \cdot W(r_j - \bar r) = (W w_k) \cdot r_j - (W w_k) \cdot \bar r$ with the symmetric matrix $W$.
# This is a convolution with a bias, which PyTorch computes for all filters and images at once. **Average** how strongly each filter responds above a threshold $t = 1$,
# and how strongly its negative does:
#
# $$ x_k^{+} = \operatorname{mean}_{j} \max(0, w_k \cdot W(r_j - \bar r) - t), \qquad x_k^{-} = \operatorname{mean}_{j} \max(0, -w_k \cdot W(r_j - \bar r) - t). $$

# %%
weight = torch.tensor((filters @ whiten).reshape(128, 3, 3, 3), dtype=torch.float32)
bias = -torch.tensor(filters @ whiten @ middle, dtype=torch.float32)


def convolve(pixels, weight):
    """Return two features per filter of images (n, 3, 15, 15) in [0, 1]: (n, 256)."""
    response = conv2d(pixels, weight, bias)  # (n, 128, 13, 13)
    above, below = torch.relu(response - 1), torch.relu(-response - 1)
    return torch.cat([above.mean(dim=(2, 3)), below.mean(dim=(2, 3))], dim=1)


pixels = torch.from_numpy(patches[:1000]).float() / 255
assert np.allclose(conv2d(pixels[:1], weight, bias)[0, 0], slow, atol=1e-4)
assert np.allclose(convolve(pixels, weight), satellite.features[:1000], atol=1e-4)

# %% mystnb={"figure": {"name": "fig-01-responses", "caption": "Four of the 128 filters (top, whitened windows in false colours) and their responses to the patch of Cairo (bottom). Only responses beyond the threshold of 1, on either side, enter the two averages in the titles."}, "image": {"alt": "Top: the patch of Cairo, the dark Nile delta in pale desert, then four small squares of 3 by 3 coloured pixels. Bottom: four maps of 13 by 13 positions in orange and purple; those of the first and the last filter are strongest along the borders of the delta."}} tags=["hide-input"]
cairo = torch.from_numpy(pictures[1:2] / 255).float().movedim(3, 1)
found, two = conv2d(cairo, weight, bias)[0], convolve(cairo, weight)[0]
figure, axes = plt.subplots(2, 5, figsize=(8, 3.9), layout="constrained")
plt.setp(axes, xticks=[], yticks=[])
axes[0, 0].imshow(pictures[1])
axes[1, 0].axis("off")
for k, (above, below) in enumerate(axes[:, 1:].T):
    above.imshow(np.clip(0.5 + filters[k].reshape(3, 3, 3).transpose(1, 2, 0), 0, 1))
    above.set_title(f"filter {k}", fontsize=10)
    shown = below.imshow(found[k], cmap="PuOr_r", vmin=-5, vmax=5)
    below.set_title(f"+{two[k]:.2f}, −{two[128 + k]:.2f}", fontsize=10)
scale = {"cax": axes[1, 0].inset_axes((0.8, 0, 0.1, 1)), "location": "left"}
figure.colorbar(shown, label="response", **scale)
plt.close(figure)
figure

# %% [markdown]
# Both assertions above hold: one convolution equals the double loop, and the 256 numbers are the features that the package computed
# for the same places (`satellite.features`, by `et.RandomConvolutions`). {numref}`fig-01-responses` shows what happens inside.
# The average forgets *where* in the patch something is and keeps *how much* of it there is.
#
# **Why frozen?** First, cost: features are computed once, and each epoch of training then reads 256 numbers per image instead of running an image
# network. Second, the loss cannot collapse them: whatever training does, two images that differ keep different
# features, and no image encoder can be bent until it suits a small training set. Third, all methods of this book get the same input. The price is that features never
# improve. What *is* trained is a linear map on top, the {term}`projection`, one for each modality.
#
# ## Which rows standardise?
#
# Some features are much larger than others, so each column is standardised. The rule is that of the package's projection:
# mean and standard deviation over the **training rows of that modality**, no others; a column that is constant there (spread at most $10^{-6}$ of its largest value) is divided by 1.
# On these rows the mean becomes zero and the mean square one, by construction. Elsewhere they need not: a held-out region may look
# unlike anything in the training part, and a blocked validation is there to feel that. `et.fit` does this split
# and this standardisation by itself, and a saved run carries the statistics along.
#
# What do the features capture? After the table we look up the nearest neighbours of the four towns among the images.

# %%
rows = []
for name, m in sample.items():
    out, fit = et.coords.hold_out(m.lonlat, 0.15, buffer_km=et.sample.PATCH_KM)
    training = m.features[fit].astype(np.float64)
    mean, std = training.mean(axis=0), training.std(axis=0)
    std[std <= 1e-6 * np.abs(training).max(axis=0)] = 1.0  # a constant column
    standard = (m.features - mean) / std
    head = et.model.Projection(m.features.shape[1], 256)
    head.fit_statistics(torch.from_numpy(m.features[fit]))
    assert np.allclose(head.standardise(torch.from_numpy(m.features)), standard, atol=1e-3)
    row = {"modality": name, "training rows": fit.sum(), "their mean": abs(standard[fit].mean())}
    row["their mean square"] = np.square(standard[fit]).mean()
    rows.append(row | {"mean square, held out": np.square(standard[out]).mean()})
standardised = pd.DataFrame(rows)
standardised.style.format(precision=2, thousands=",").hide(axis="index")

# %%
mean, std = satellite.features[kept].mean(axis=0), satellite.features[kept].std(axis=0)
assert (std > 1e-6 * np.abs(satellite.features[kept]).max(axis=0)).all()  # none is constant
queries = satellite.featuriser(np.moveaxis(pictures, -1, 1))
tree = cKDTree((satellite.features - mean) / std)
nearest = tree.query((queries - mean) / std, k=5)[1]  # (4, 5), rows of the modality

colour, asked = patches.mean(axis=(2, 3)), pictures.mean(axis=(1, 2))  # do they look alike?
alike = np.array([np.abs(colour[nearest[k]] - asked[k]).mean() for k in range(4)])
usual = np.array([np.abs(colour - asked[k]).mean() for k in range(4)])
print("difference of mean colour, relative to that of any patch:", np.round(alike / usual, 2))

# %% mystnb={"figure": {"name": "fig-01-neighbours", "caption": "Nearest neighbours in feature space look alike, on other continents too. Left: a patch; then its five nearest patches of the satellite modality (Euclidean distance of standardised features), with longitude and latitude."}, "image": {"alt": "Three rows of six small satellite pictures with their coordinates. The Tromsø patch is followed by snowy coasts, the Cairo patch by pale land with darker parts and the Manaus patch by dark green forest."}} tags=["hide-input"]
figure, axes = plt.subplots(3, 6, figsize=(8, 4.9), layout="constrained")
for row, name in zip(axes, ("Tromsø", "Cairo", "Manaus"), strict=True):
    found = nearest[TOWNS.index(name)]
    where = np.vstack([towns[TOWNS.index(name)], satellite.lonlat[found]])
    shown = np.moveaxis(rasters["satellite"].patches(where, 15), 1, -1)
    for ax, patch, (lon, lat) in zip(row, shown, where, strict=True):
        ax.imshow(patch)
        ax.set_title(f"{lon:.0f}°, {lat:.0f}°", fontsize=9)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.close(figure)
figure

# %% [markdown]
# Neighbours in {numref}`fig-01-neighbours` share colour and texture. They need not be close on the ground:
# among the neighbours of Manaus are dark forests of the far north, which are as green but have nothing to do with the tropics.
# A patch says *what* it looks like, and only the place says *where*.
#
# **Exercise 3 (code).** Mirror the 1,000 images from east to west. Do their features change? What else must be mirrored so that they stay the same?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
mirrored = convolve(pixels.flip(3), weight)
both = convolve(pixels.flip(3), weight.flip(3))
changed = (mirrored - convolve(pixels, weight)).abs().mean() / convolve(pixels, weight).mean()
assert changed > 0.01
assert torch.allclose(both, convolve(pixels, weight), atol=1e-4)
print(f"mean change if only the images are mirrored: {changed:.0%} of the mean feature")
# A filter is an oriented pattern: a coast with its sea in the east excites other filters than
# one with its sea in the west. Mirror the filters too, and every average is the same again.

# %% [markdown]
# ## How does a name become a vector?
#
# A name is cut into {term}`character n-grams`: all pieces of one to four letters of each word, with a space at either edge. A hash function turns each piece
# into one of $2^{15}$ buckets and a sign, so there is no vocabulary to fit. The signed counts are scaled to unit length. A fixed random
# matrix brings them to 256 numbers and keeps angles approximately. The next cell does it for *Oslo* and gets the vector of the package's
# `et.CharacterNGrams`. The one after it asks which names are most similar to *Novosibirsk* among the
# most populous of the thinned gazetteer.

# %%
word = " oslo "
grams = [word[i : i + n] for n in range(1, 5) for i in range(len(word) - n + 1)]
counts = np.zeros(2**15, dtype=np.float32)
for gram in grams:
    code = murmurhash3_32(gram)  # a 32-bit integer with a sign
    counts[abs(code) % 2**15] += 1 if code >= 0 else -1
counts /= np.linalg.norm(counts)
projection = np.random.default_rng(0).standard_normal((2**15, 256), dtype=np.float32) / 16
assert np.allclose(counts @ projection, et.CharacterNGrams()(["Oslo"])[0], atol=1e-5)
print(len(grams), "n-grams:", grams)

# %%
names = et.modalities.thinned_names().head(4 * size.n)
ngrams = et.CharacterNGrams()
vectors = et.features.encode(ngrams, names["name"].tolist())
vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
query = ngrams(["Novosibirsk"])[0]
similar = names.assign(cosine=vectors @ (query / np.linalg.norm(query)))
similar = similar.nlargest(8, "cosine")[["name", "country", "lon", "lat", "cosine"]]
similar.style.format(precision=2).hide(axis="index")

# %% [markdown]
# The method knows no language and no map. It matches pieces such as *Novo* and *birsk*, and most names built from them are Slavic: spelling carries
# geography. This works for names with a regional style, and it fails for a *Santiago* or a *Springfield*, which many places are called.
#
# **Exercise 4 (code).** How much does spelling say about a country? Give each of the first 2,000 names the country of its most similar other name, and compare
# with always answering the most common country.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
home = names["country"].to_numpy()[:2000]
cosine = vectors[:2000] @ vectors[:2000].T
np.fill_diagonal(cosine, -1)
right = (home[cosine.argmax(axis=1)] == home).mean()
common = pd.Series(home).value_counts(normalize=True).iloc[0]
print(f"nearest name: {right:.2f}, most common country: {common:.2f}")
assert right > common
# Spelling alone finds the country of one large town in three, twice as often as the constant
# answer: so much geography the text modality holds before anything is trained.

# %% [markdown]
# ## Limits
#
# - The pictures are coarse display products, with known faults. They stand in for the Sentinel-2 images and photos of the literature; they do not
#   replace them.
# - Random features see colour, texture and spelling, not objects or meaning. Learned encoders would see more.
# - The names follow their contributors. Regions without names are silent in the text modality.
# - One fixed set of blocks is held out. How much results vary with the choice of blocks is a matter of the
#   [probing chapter](06_probing.ipynb).
#
# ## Summary
#
# - Places are drawn uniformly by area: a uniform latitude would favour the poles.
# - Each modality has its own places, and no place is shared. Nearby places are common all the same.
# - Patches cover the same ground at every latitude and wrap at the date line.
# - Whole blocks are held out, on every continent. Because patches overlap, a buffer surrounds them.
# - Features are frozen: 128 whitened windows as filters for images, hashed character n-grams for names. They are computed once, and no loss can change them.
# - Filters, mean and spread come from training rows alone, for each modality by itself.
#
# ## Check

# %% tags=["check"]
lit = {name: rasters["lights"].at(m.lonlat).mean() for name, m in sample.items()}
assert lit["text"] > 2 * lit["satellite"], "names follow people"
assert (unpaired["shared places"] == 0).all()
assert polar["naive"] > 2 * polar["by area"]
assert (seam[0] == seam[1]).all()
assert np.ptp(ground["width in km"]) < 0.1
assert twins["blocks and buffer"] == 0 < twins["blocks"] < twins["random places"]
assert len(shares) == 6
assert (shares["held out"] > 0.05).all(), "every continent has some"
assert standardised["their mean"].abs().max() < 1e-3
assert (standardised["their mean square"] - 1).abs().max() < 1e-2
assert (alike < (0.5 if size.n >= 20_000 else 1.0) * usual).all(), "neighbours look alike"
manaus = satellite.lonlat[nearest[TOWNS.index("Manaus")]]
assert (manaus[:, 1] > 45).any()
assert similar["country"].iloc[1:].isin(["RU", "UA", "BY"]).mean() > 0.5

# %% [markdown]
# ## Further reading
#
# - [Rolf et al. (2021)](https://doi.org/10.1038/s41467-021-24638-z), MOSAIKS: one set of random convolutional features serves
#   many prediction tasks.
# - [Coates and Ng (2012)](https://doi.org/10.1007/978-3-642-35289-8_30): why whitened random patches make good filters.
# - [Roberts et al. (2017)](https://doi.org/10.1111/ecog.02881): blocked cross-validation for data with spatial structure.
# - [Weinberger et al. (2009)](https://arxiv.org/abs/0902.2206): hashing features instead of keeping a vocabulary.
#
# Next: [What does an encoder see of a place?](02_location_encoding.ipynb)
