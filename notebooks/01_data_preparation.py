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
# A contrastive model of places learns from what can be observed there: a satellite image, the lights at night, the
# name of a town. This notebook prepares three such kinds of observation, each a {term}`modality`, from data
# that travel with the package. Every modality brings places of its own. Nobody has to find an image, a
# light and a name for the same spot, and that is the point of the methods to come.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** draw places fairly by area, cut patches that cover the same ground everywhere, turn images and
#   names into frozen features, prove that modalities are {term}`unpaired`, and hold out whole regions for validation.
# - **Prerequisites** Python with NumPy; what a vector and a cosine are. No machine learning yet.
# - **Data** [satellite](../data/cards/satellite.md), [night lights](../data/cards/lights.md),
#   [places](../data/cards/places.md), [elevation](../data/cards/elevation.md), [climate](../data/cards/climate.md),
#   [countries and land](../data/cards/countries.md); all offline.
# - **Time** about 1 minute on two cores
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cartopy import crs as ccrs
from IPython.display import Markdown, display
from matplotlib.colors import ListedColormap
from scipy.spatial import cKDTree

import earthtie_lite as et

size = et.profile(profile)

# %% [markdown]
# ## What is in the box?
#
# The embedded sample holds four rasters and a table of named places. A *raster* is a grid of pixels that covers the Earth in equal
# steps of longitude and latitude. Two rasters become modalities, the satellite picture and the night lights. The other
# two, elevation and climate, are kept for later: they are what an embedding will be asked to predict. The table of
# names becomes the third modality.

# %%
NAMES = ("satellite", "lights", "elevation", "climate")
rasters = {name: et.sample.raster(name) for name in NAMES}
pd.DataFrame(
    {
        "raster": name,
        "bands": r.values.shape[0],
        "pixels": f"{r.values.shape[2]:,} x {r.values.shape[1]:,}",
        "km a pixel at the equator": r.spacing_deg * 111.195,
        "used as": "modality" if name in et.modalities.PATCH_PIXELS else "label",
    }
    for name, r in rasters.items()
).style.format(precision=1).hide(axis="index")

# %%
gazetteer = et.sample.places()
gazetteer.head(5).style.format(precision=2, thousands=",").hide(axis="index")

# %% [markdown]
# To draw the single-band rasters we read them at a grid of places. `Raster.at` takes places and returns the pixels that
# hold them. Where a raster has no data, the grid gets NaN, which maps show in grey.

# %%
lonlat, shape = et.maps.grid(0.5)


def gridded(name):
    """Read a single-band raster on the grid, NaN where it has no data."""
    values = rasters[name].at(lonlat)[:, 0].astype(float)
    values[values == rasters[name].nodata] = np.nan
    return values.reshape(shape)


# %%
classes = np.array(rasters["climate"].tags["CLASSES"].split(","))
letters = np.array([np.nan] + ["ABCDE".index(c[0]) for c in classes])
climate = letters[rasters["climate"].at(lonlat)[:, 0]].reshape(shape)
panels = {"lights": (gridded("lights"), "cividis", 0, 40, "brightness")}
panels["elevation"] = (gridded("elevation"), "viridis", 0, 5000, "m")
panels["climate"] = (climate, plt.get_cmap("viridis", 5), -0.5, 4.5, "main zone")
edges = np.linspace(-180, 180, shape[1] + 1), np.linspace(90, -90, shape[0] + 1)

# %% mystnb={"figure": {"name": "fig-01-rasters", "caption": "The four rasters in Equal Earth, which keeps areas true: satellite; lights (8 bits, cut at 40); elevation in metres; climate (A equatorial, B arid, C warm temperate, D snow, E polar). Grey: no data. Drawn at 0.5 degrees."}, "image": {"alt": "Four world maps. The satellite map shows deserts, forests and ice in true colour. The night lights stand out in Europe, eastern North America, India and East Asia. Elevation peaks in Tibet, the Andes and the Rocky Mountains. Climate zones run roughly in bands from the equator to the poles."}}
figure, axes = et.maps.world(4, columns=2)
globe = {"transform": ccrs.PlateCarree(), "zorder": 1}
rgb = rasters["satellite"].at(lonlat).reshape(*shape, 3)
axes[0].imshow(rgb, extent=(-180, 180, -90, 90), regrid_shape=500, **globe)
axes[0].set_title("satellite", fontsize=10)
for ax, (name, (values, cmap, low, high, unit)) in zip(axes[1:], panels.items(), strict=True):
    ax.set_facecolor(et.maps.MISSING)
    mesh = ax.pcolormesh(*edges, values, cmap=cmap, vmin=low, vmax=high, **globe)
    ax.set_title(name, fontsize=10)
    bar = figure.colorbar(mesh, ax=ax, orientation="horizontal", shrink=0.6, aspect=30, label=unit)
bar.set_ticks(range(5), labels=list("ABCDE"))
plt.close(figure)
figure

# %% [markdown]
# {numref}`fig-01-rasters` shows why these data can teach anything about places. The satellite picture sees deserts, forests, ice and, through
# its relief shading, mountains. The lights see people with electricity. Neither was drawn from the climate map, yet its bands can be guessed from the
# picture. The cards tell what is wrong with each file, and it is worth reading them: the sea is painted, the
# lights are not a measurement, and Greenland's elevation is the rock under its ice.
#
# ## How should places be drawn?
#
# The obvious way is to draw a longitude in $[-180, 180]$ and a latitude in $[-90, 90]$, both uniformly. It is wrong on
# a sphere. The strip between the latitudes $\varphi$ and $\varphi + d\varphi$ has the area $2 \pi R^2 \cos\varphi \, d\varphi$,
# where $R$ is the Earth's radius, so near a pole a uniform draw puts many places on little ground. The area south of $\varphi$ grows with
# $\sin\varphi$. It is therefore the *sine* of the latitude that must be uniform:
#
# $$ \lambda \sim U(-180°, 180°), \qquad \sin\varphi \sim U(-1, 1). $$

# %%
rng = np.random.default_rng(0)
naive = np.stack([rng.uniform(-180, 180, size.n), rng.uniform(-90, 90, size.n)], axis=1)
by_area = et.coords.sample_sphere(size.n, rng)
polar = {
    "uniform longitude and latitude": (np.abs(naive[:, 1]) > 60).mean(),
    "uniform by area": (np.abs(by_area[:, 1]) > 60).mean(),
    "true share of the area": 1 - np.sin(np.radians(60)),
}

# %% mystnb={"figure": {"name": "fig-01-area", "caption": "Uniform longitude and latitude crowd places at the poles; a uniform sine of the latitude spreads them evenly. The first 1,500 places of either draw, one seed, in Equal Earth."}, "image": {"alt": "Two world maps with dots. On the left the dots crowd together towards both poles, on the right they are spread evenly."}}
figure = et.maps.points_map(
    {"uniform longitude and latitude": naive[:1500], "uniform by area": by_area[:1500]}, size=2
)
plt.close(figure)
figure

# %% tags=["hide-input"]
naive_share, area_share, truth = (f"{100 * share:.1f} %" for share in polar.values())
display(
    Markdown(
        f"Beyond 60 degrees north or south lie {truth} of the sphere's area, but {naive_share} of the "
        f"naive draw. By area it is {area_share}."
    )
)

# %% [markdown]
# {numref}`fig-01-area` shows both draws. A model trained on the naive one would spend its effort on the Arctic. So `et.sample.sample_land` draws by area and keeps what falls on
# land. Land means here: elevation and climate are known and the place lies north of 60° S. Antarctica is left out, because it has no town names,
# no lights and one climate.
#
# ## Do the modalities share a place?
#
# `et.load_sample` returns the three modalities. Images are drawn anywhere on land, by area. Names are not: they come from the
# gazetteer, thinned to the most populous place in each equal-area cell of 10 km, and then drawn at random.

# %%
sample = et.load_sample(size.n)
display(*sample.values())

# %% mystnb={"figure": {"name": "fig-01-places", "caption": "Where the three modalities have their places. Images cover the land evenly, names follow people and the zeal of the gazetteer's contributors. Same number of places each, seed 0."}, "image": {"alt": "Three world maps of dots. Satellite and lights places cover all land evenly. Name places are dense in Europe, the eastern United States and South Asia and leave deserts, the Amazon and the far north empty."}}
figure = et.maps.points_map({name: m.lonlat for name, m in sample.items()}, size=0.6)
plt.close(figure)
figure

# %% [markdown]
# {numref}`fig-01-places` shows a second difference. Deserts and the far north have images but hardly a name. Whatever the text modality
# teaches, it teaches where names are. And the density of the dots is itself a hint at where people live, which is why
# later chapters treat it with care.
#
# *Unpaired* is a claim about coordinates, so we can check it. We count places that occur in two modalities exactly,
# and measure how far the nearest place of the other modality is. A k-d tree on unit vectors finds the nearest place in
# space, and a straight distance $c$ through the unit sphere is a great-circle distance $2 R \arcsin(c / 2)$.

# %%
rows = []
for a, b in (("satellite", "lights"), ("satellite", "text"), ("lights", "text")):
    here, there = sample[a].lonlat, sample[b].lonlat
    shared = set(map(tuple, here)) & set(map(tuple, there))
    tree = cKDTree(et.coords.unit_vectors(there))
    chord, _ = tree.query(et.coords.unit_vectors(here))
    km = 2 * et.coords.EARTH_RADIUS_KM * np.arcsin(chord / 2)
    rows.append({"from": a, "to": b, "shared places": len(shared), "median km": np.median(km)})
    rows[-1]["nearer than a patch, %"] = 100 * (km < et.sample.PATCH_KM).mean()
unpaired = pd.DataFrame(rows)
unpaired.style.format(precision=1).hide(axis="index")

# %% [markdown]
# No place is shared: no row of one modality has a partner in another. It does not follow that the modalities are
# far apart. The last column says how often the nearest place of the other modality lies within the side of a patch,
# and with enough places that is common. So patches of different modalities may overlap on the ground. *Unpaired*
# means that training is never told which rows belong together; the only bridge between them is where they are.
#
# ## What is a patch?
#
# An image modality needs a small picture around each place. If we cut a fixed number of *degrees*, a patch in northern Norway would
# cover a third of the ground that a patch at the equator covers, because a degree of longitude shrinks with $\cos\varphi$. So
# `Raster.patches` cuts a square of fixed size on the *ground*, 111 km on a side, and widens its columns by
# $1 / \cos\varphi$. Columns also wrap: east of 180° the raster goes on at −180°. Taveuni, an island of Fiji, tests that, as
# the 180th meridian runs through it.

# %%
spots = {
    "Taveuni": (179.97, -16.85),
    "Tromsø": (18.96, 69.65),
    "Cairo": (31.24, 30.04),
    "Amazon": (-60.0, -3.3),
    "New York": (-74.01, 40.71),
    "Sahara": (10.0, 23.0),
}
places = np.array(list(spots.values()))
images = rasters["satellite"].patches(places, 15)
lights = rasters["lights"].patches(places, 12)

# %% mystnb={"figure": {"name": "fig-01-patches", "caption": "Patches of 111 km on a side at six places: satellite above (15 x 15 pixels), night lights below (12 x 12 pixels, brightness 0 to 98). The strip at Taveuni continues over the date line."}, "image": {"alt": "Six columns of small pictures. Above: blue sea with dark green land at its edge at Taveuni, snowy fjords at Tromsø, the green Nile delta and desert at Cairo, dark forest with a river in the Amazon, coast and city at New York, pale sand in the Sahara. Below: bright lights at Cairo and New York, almost black elsewhere."}}
figure, axes = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for column, (name, (lon, lat)) in enumerate(spots.items()):
    axes[0, column].imshow(np.moveaxis(images[column], 0, -1))
    shown = axes[1, column].imshow(lights[column, 0], cmap="cividis", vmin=0, vmax=98)
    axes[0, column].set_title(f"{name}\n{lon:.0f}°, {lat:.0f}°", fontsize=9)
for ax in axes.ravel():
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("satellite")
axes[1, 0].set_ylabel("lights")
figure.colorbar(shown, ax=axes[1], label="brightness", aspect=8)
plt.close(figure)
figure

# %% [markdown]
# Twelve to fifteen pixels are coarse: a pixel is larger than many towns. But {numref}`fig-01-patches` already holds what
# tells these places apart, and the patch at Taveuni shows no seam. Two numbers confirm the geometry: a patch asked for at +180° is the patch at −180°,
# and the ground it spans from west to east is the same at every latitude.

# %%
seam = rasters["satellite"].patches([[180.0, -16.85], [-180.0, -16.85]], 15)
half_deg = et.sample.PATCH_KM / 111.195 / 2
seamless = bool((seam[0] == seam[1]).all())
latitude = np.array([0.0, 40.0, 70.0])
step = half_deg / np.cos(np.radians(latitude))
west, east = np.stack([-step, latitude], axis=1), np.stack([step, latitude], axis=1)
ground = pd.DataFrame({"latitude": latitude, "width in degrees": 2 * step})
ground["width in km"] = et.coords.great_circle_km(west, east)
print("patch at +180° equals patch at -180°:", seamless)
ground.style.format(precision=1).hide(axis="index")

# %% [markdown]
# ## How does an image become a vector?
#
# The model will not see pixels. A *frozen* encoder turns each observation into a fixed vector, its features, and only
# what comes after is trained. For images we use {term}`random convolutional features`, known as MOSAIKS. The recipe needs no
# training: cut small windows, here 3 x 3 pixels, at random from the images; whiten them, so that they
# respond to contrasts and not only to brightness; slide each over an image as a filter; average how
# strongly it responds above a threshold $t$, and how strongly its negative does:
#
# $$ x_k^{+} = \operatorname{mean}_{j} \max(0, w_k \cdot r_j - t), \qquad x_k^{-} = \operatorname{mean}_{j} \max(0, -w_k \cdot r_j - t). $$
#
# Here $w_k$ is filter $k$ and $r_j$ the window at position $j$. With 128 filters an image has 256 features. The average forgets *where* in the patch something is
# and keeps *how much* of it there is.
#
# What do such features capture? We take the patches of the strip as queries and look up their nearest neighbours among the
# places of the satellite modality. Features are standardised first, so that every filter counts.

# %%
satellite = sample["satellite"]
mean, std = satellite.features.mean(axis=0), satellite.features.std(axis=0)
std[std <= 1e-6 * np.abs(satellite.features).max(axis=0)] = 1.0  # a constant feature
queries = (satellite.featuriser(images) - mean) / std
tree = cKDTree((satellite.features - mean) / std)
nearest = tree.query(queries, k=5)[1]  # (6, 5), rows of the modality

# %% mystnb={"figure": {"name": "fig-01-neighbours", "caption": "Nearest neighbours in feature space look alike, on other continents too. Left: a patch of the strip; then its five nearest patches (Euclidean distance of standardised random convolutional features), with longitude and latitude."}, "image": {"alt": "Four rows of six small satellite pictures. The Sahara patch is followed by pale sand, the Amazon patch by dark green forest, the Tromsø patch by snowy coasts and the New York patch by mixed green coasts."}}
figure, axes = plt.subplots(4, 6, figsize=(8, 6.2), layout="constrained")
for row, name in zip(axes, ("Sahara", "Amazon", "Tromsø", "New York"), strict=True):
    found = nearest[list(spots).index(name)]
    where = np.vstack([spots[name], satellite.lonlat[found]])
    for ax, patch, (lon, lat) in zip(
        row, rasters["satellite"].patches(where, 15), where, strict=True
    ):
        ax.imshow(np.moveaxis(patch, 0, -1))
        ax.set_title(f"{lon:.0f}°, {lat:.0f}°", fontsize=8)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.close(figure)
figure

# %% [markdown]
# Neighbours share colour and texture: sand with sand, coast with coast ({numref}`fig-01-neighbours`). They need not be close on the ground.
# Among the neighbours of the Amazon patch are dark forests of the far north, which are as green but have nothing to do with the tropics.
# That is what coordinates can add: a patch says *what* it looks like, the place says *where*.
#
# ## How does a name become a vector?
#
# A name is cut into {term}`character n-grams`, all pieces of one to four letters inside each word, word edges included. Each
# piece is counted in one of $2^{15}$ buckets chosen by a hash, so there is no vocabulary to fit. A fixed random projection
# brings the counts to 256 numbers and keeps angles approximately. We ask for the names most similar to *Novosibirsk* among the
# most populous of the thinned gazetteer.

# %%
names = et.modalities.thinned_names().head(4 * size.n)
ngrams = et.CharacterNGrams()
vectors = et.features.encode(ngrams, names["name"].tolist())
vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
query = ngrams(["Novosibirsk"])[0]
similar = names.assign(cosine=vectors @ (query / np.linalg.norm(query)))
similar = similar.nlargest(9, "cosine")[["name", "country", "lon", "lat", "cosine"]]
similar.style.format(precision=2).hide(axis="index")

# %% [markdown]
# The method knows no language and no map. It matches pieces such as *Novo* and *birsk*, and most names built from them are Slavic: spelling carries
# geography. This works for names with a regional style, and it fails for a *Santiago* or a *Springfield*, which many places are called.
#
# ## Which places may a model be judged on?
#
# Neighbouring patches overlap, so a validation place chosen at random has near twins in the training part, and a model
# that memorises looks good. We therefore hold out whole regions, a {term}`blocked split`. The sphere is cut into blocks of exactly equal area,
# about 1,000 km on a side. Of them 15 % are held out, the same for every modality. A buffer of one patch
# width, 111 km, around them belongs to neither part, so that no training patch reaches into a held-out block.

# %%
places = satellite.lonlat
held_out, kept = et.coords.hold_out(places, 0.15, buffer_km=et.sample.PATCH_KM)
parts = {"training": kept, "buffer": ~kept & ~held_out, "held out": held_out}

# %% mystnb={"figure": {"name": "fig-01-blocks", "caption": "Held-out blocks of equal area (about 1,000 km on a side, 15 % of the sphere, the same for every modality) and the buffer of 111 km around them, in neither part. Every continent has some. Land only."}, "image": {"alt": "World map of the land. Most of it is training area in blue. Some thirty compact regions are held out in vermilion, each framed by a narrow orange band, the buffer. They lie in all continents, most of them in North America, Europe, Africa and Asia."}}
grid_out, grid_kept = et.coords.hold_out(lonlat, 0.15, buffer_km=et.sample.PATCH_KM)
part = np.where(grid_out, 2.0, np.where(grid_kept, 0.0, 1.0))
part[~et.sample.is_land(lonlat)] = np.nan
colours = ListedColormap([et.maps.CYCLE[i] for i in (4, 1, 5)])
figure, (ax,) = et.maps.world()
mesh = ax.pcolormesh(*edges, part.reshape(shape), cmap=colours, vmin=-0.5, vmax=2.5, **globe)
bar = figure.colorbar(mesh, ax=ax, orientation="horizontal", shrink=0.4, aspect=30)
bar.set_ticks(range(3), labels=list(parts))
plt.close(figure)
figure

# %% [markdown]
# {numref}`fig-01-blocks` shows the three parts. The blocks were drawn at random, and they are uneven: they hold about 17 % of the land of Europe and of North America and
# 8 or 9 % of that of the other continents. Every number that is fitted to data must come from the training part alone. That includes the modest ones: the mean and the spread by which
# features are standardised, and the windows that became filters. Otherwise the held-out part leaks into what
# it is meant to judge.

# %%
mean, std = (f(satellite.features[kept], axis=0) for f in (np.mean, np.std))
std[std <= 1e-6 * np.abs(satellite.features[kept]).max(axis=0)] = 1.0
standard = (satellite.features - mean) / std
pd.DataFrame(
    {
        "part": name,
        "places": part.sum(),
        "mean of features": standard[part].mean(),
        "mean square": np.square(standard[part]).mean(),
    }
    for name, part in parts.items()
).style.format(precision=3, thousands=",").hide(axis="index")

# %% [markdown]
# On the training part the mean is zero and the mean square one, by construction. Elsewhere they need not be: a held-out region may look
# unlike anything in the training part, and a blocked validation is there to feel that. Training with `et.fit` does this split
# and this standardisation by itself, and a saved run carries the statistics along.
#
# ## Limits
#
# - The pictures are coarse display products, with known faults. They stand in for the Sentinel-2 images and photos of the literature, they do not
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
# - Features are frozen: random convolutions for images, hashed character n-grams for names. Neither needs training or downloads.
# - Whole blocks with a buffer are held out, and everything fitted comes from the training part.
#
# ## Exercises
#
# **Exercise 1 (check).** How much of the sphere's area lies within 30 degrees of the equator? Derive it, then confirm it with
# `et.coords.sample_sphere`.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# The area south of a latitude grows with its sine: (sin 30° - sin(-30°)) / 2 = 1/2.
drawn = et.coords.sample_sphere(100_000, np.random.default_rng(1))
tropical = (np.abs(drawn[:, 1]) < 30).mean()
print(round(tropical, 3))
assert abs(tropical - 0.5) < 0.01

# %% [markdown]
# **Exercise 2 (modify).** Make a modality of your own: take the places of the gazetteer with more than a million
# people and use the logarithm of their population as the only feature (`et.Modality.from_frame`).

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
cities = gazetteer[gazetteer["population"] > 1_000_000]
cities = cities.assign(log_population=np.log10(cities["population"]))
people = et.Modality.from_frame(cities, name="people", features=["log_population"])
print(people)
assert people.features.shape == (len(cities), 1)

# %% [markdown]
# **Exercise 3 (open).** How much does spelling say about a country? Give each name the country of its most similar other name, and compare
# with always answering the most common country. Then try other lengths of n-grams.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
country = names["country"].to_numpy()[:2000]
cosine = vectors[:2000] @ vectors[:2000].T
np.fill_diagonal(cosine, -1)
right = (country[cosine.argmax(axis=1)] == country).mean()
common = pd.Series(country).value_counts(normalize=True).iloc[0]
print(f"nearest name: {right:.2f}, most common country: {common:.2f}")
assert right > common

# %% [markdown]
# ## Check

# %% tags=["check"]
assert (unpaired["shared places"] == 0).all()
assert polar["uniform longitude and latitude"] > 2 * polar["true share of the area"]
assert abs(polar["uniform by area"] - polar["true share of the area"]) < 0.03
assert seamless
assert np.ptp(ground["width in km"]) < 0.1
assert (et.sample.is_land(satellite.lonlat)).all()
assert not (held_out & kept).any()
assert np.abs(standard[kept].mean()) < 1e-3
amazon = satellite.lonlat[nearest[list(spots).index("Amazon")]]
assert (amazon[:, 1] > 45).any()
assert similar["name"].iloc[0] == "Novosibirsk"
assert similar["country"].iloc[1:].isin(["RU", "UA", "BY"]).mean() > 0.5

# %% [markdown]
# ## Further reading
#
# - [Rolf et al. (2021)](https://doi.org/10.1038/s41467-021-24638-z), MOSAIKS: one set of random convolutional features serves
#   many prediction tasks.
# - [Coates and Ng (2012)](https://doi.org/10.1007/978-3-642-35289-8_30): why whitened random patches make good filters.
# - [Roberts et al. (2017)](https://doi.org/10.1111/ecog.02881): blocked cross-validation for data with spatial structure.
# - [Šavrič et al. (2019)](https://doi.org/10.1080/13658816.2018.1504949): the Equal Earth projection.
#
# Next: [What does an encoder see of a place?](02_location_encoding.ipynb)
