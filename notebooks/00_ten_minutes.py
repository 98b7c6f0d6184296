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
# # What does a globe look like that has learned?
#
# A model has looked at images, lights, names, heights, climate, land cover and weather. Now you give it a longitude and a latitude, and it
# returns 256 numbers. In ten minutes you turn these numbers into colours, ask the model questions, and see where its answers are wrong.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** embed places, read a colour map of an embedding, look up names and similar places, and predict a map from ten labels.
# - **Prerequisites** none; all code can be skipped.
# - **Data** a trained model that comes with the package; [climate zones](../data/cards/climate.md) and [countries](../data/cards/countries.md) as truth.
# - **Time** about 10 minutes to read, 1 minute to run on two cores.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import io
from pathlib import Path

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image, Markdown, display
from PIL import Image as Picture
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

import earthtie_lite as et

size = et.profile(profile)

# %% [markdown]
# ## Three lines

# %%
model = et.load_pretrained()  # "earth": trained on seven kinds of data
z = model.embed([[13.4, 52.5], [-60.0, -3.1]])  # Berlin and Manaus: longitude, then latitude
z.shape

# %% [markdown]
# A place is now a vector, its *embedding*. The first 156 numbers were trained. The other 100 are waves on the sphere that say only
# where the place is; training does not change them ([chapter 02](02_location_encoding.ipynb)).
#
# ## What do 256 numbers look like?
#
# We take the three directions in which the embeddings of all land vary most, their principal components, and use them as red, green and blue. Such colours
# can be rotated freely without changing any distance between them. So we ask for three hues: orange in the Sahara, green in the Amazon, blue in
# Siberia. The colours of all other places follow.

# %%
HUES = {(10.0, 23.0): (1, 0.55, 0), (-63.0, -4.0): (0, 0.65, 0.2), (105.0, 62.0): (0.25, 0.45, 1)}


def hues(where):
    """Return the wanted colours (N, 3): grey, but for three circles."""
    wanted = np.full((len(where), 3), 0.5)
    for spot, colour in HUES.items():
        wanted[et.coords.great_circle_km(np.full_like(where, spot), where) < 1500] = colour
    return wanted


def paint(embed, spacing_deg, like=None):
    """Return the colours (H, W, 3) of a grid, NaN at sea, rotated to agree with others."""
    cells, shape = et.maps.grid(spacing_deg)
    land = et.sample.is_land(cells)
    wanted = hues(cells[land]) if like is None else like.reshape(-1, 3)[land]
    colours = np.full((len(cells), 3), np.nan)
    colours[land] = et.maps.colours(embed(cells[land]), cells[land], wanted)
    return colours.reshape(*shape, 3)


# %% tags=["hide-input"]
SEA, SPACE = np.array([0.05, 0.09, 0.19]), np.array([0.02, 0.03, 0.07])


def view(grid, lon, lat=15.0, pixels=640):
    """Draw a globe seen from above (lon, lat); return half as many pixels."""
    x, y = np.meshgrid(*[np.linspace(-1.04, 1.04, pixels)] * 2)
    depth = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    ahead = et.coords.unit_vectors([[lon, lat]])[0]
    right = np.cross([0, 0, 1], ahead) / np.cos(np.radians(lat))
    xyz = np.stack([x, -y, depth], axis=2) @ np.stack([right, np.cross(ahead, right), ahead])
    west, north = (et.coords.to_lonlat(xyz.reshape(-1, 3)) * (1, -1) + (180, 90)).T
    row, column = (np.stack([north, west]) / 180 * len(grid)).astype(int)
    seen = grid[row.clip(0, len(grid) - 1), column % (2 * len(grid))].reshape(pixels, pixels, 3)
    seen = np.where(np.isnan(seen), SEA, seen * (0.3 + 0.7 * depth[..., None] ** 0.6))
    seen[x**2 + y**2 > 1] = SPACE
    return Picture.fromarray((255 * seen).astype("uint8")).resize([pixels // 2] * 2)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-00-globe", "caption": "The Earth as the model sees it: three principal components of the embedding as red, green and blue. Hues were chosen for the Sahara, the Amazon and Siberia; the Congo came out like the Amazon, the Andes like Tibet."}, "image": {"alt": "A turning globe with dark blue seas. The Sahara and Arabia are yellow and orange, the Amazon is bright green, the Congo is a darker green, Tibet and the Andes are pink, and the north is light blue."}}
globe = paint(model.embed, size.spacing_deg / 2)
frames = [view(globe, (200.0 - turn) % 360 - 180) for turn in range(0, 360, 12)]
strip = Picture.fromarray(np.hstack([np.asarray(frame) for frame in frames[::5]]))
palette = strip.quantize(128)
first, *others = [frame.quantize(palette=palette) for frame in frames]
buffer = io.BytesIO()
first.save(buffer, "GIF", save_all=True, append_images=others, duration=120, loop=0)
Path("globe.gif").write_bytes(buffer.getvalue())
Image(buffer.getvalue(), format="gif", alt="A turning globe, coloured by the model's embedding")

# %% [markdown]
# Equal colours in {numref}`fig-00-globe` mean that the embeddings agree in what varies most; the hues have no meaning. Three colours are a
# small part of 256 numbers, so unequal colours prove less: in this table of colour differences, the Outback is not the twin of the Sahara.

# %%
spots = {"Sahara": (10, 23), "Outback": (131, -25), "Amazon": (-63, -4), "Congo": (22, 0)}
spots |= {"Tibet": (88, 33), "Andes": (-68, -20)}
lon, lat = np.array(list(spots.values())).T
at = (np.array([90 - lat, lon + 180]) / 180 * len(globe)).astype(int)  # row and column
colour = globe[*at]
difference = np.linalg.norm(colour[:, None] - colour, axis=2)
apart = pd.DataFrame(difference, spots, list(spots))
apart.style.format(precision=2)

# %% [markdown]
# ## Was that learned?
#
# Compare with vectors that have learned less ({numref}`fig-00-four`): the waves alone (*harmonics*), the model with the random weights it started from
# (*untrained*), and `melt`, a model that saw only images, lights and names. The number above each map is a test: take a place, find the most similar place *at least
# 2,000 km away*, and ask if both have the same main climate (tropical, dry, temperate, cold, polar).

# %%
climate, country = (et.load_task(name, n=size.n_task) for name in ("climate", "country"))
zone = np.array(climate.classes)[climate.target]  # such as Csa
main = zone.astype("U1")  # its first letter, A to E
xyz = et.coords.unit_vectors(climate.lonlat)


def twin(embed, asked, among):
    """Return for some places the most similar ones, by cosine, at least 2,000 km away."""
    u, v = (normalize(embed(climate.lonlat[rows])) for rows in (asked, among))
    near = xyz[asked] @ xyz[among].T > np.cos(2000 / et.coords.EARTH_RADIUS_KM)
    return among[np.where(near, -2, u @ v.T).argmax(axis=1)]


def alike(embed):
    """Return how often both have the same main climate, for a fifth of the places."""
    some = np.arange(size.n_task // 5)
    return (main[twin(embed, some, some)] == main[some]).mean()


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-00-four", "caption": "Neighbours have similar colours in all four maps; what training adds is similarity at a distance. Percentages: share of 4,000 places whose most similar place beyond 2,000 km has the same main climate. One model each."}, "image": {"alt": "Four world maps in colours. Harmonics: grey with a few smooth coloured blobs. Untrained: a chequered pattern of stripes over all continents. Melt and earth: regions with shapes that follow deserts, forests and mountains."}}
start, *middle = et.load_snapshots().items()  # earth, before and during its training
encoders = {"harmonics": et.SphericalHarmonics(10), "untrained": start[1].embed}
encoders |= {"melt": et.load_pretrained("melt").embed, "earth": model.embed}
share = {name: alike(embed) for name, embed in encoders.items()}
earth = paint(model.embed, size.spacing_deg)
painted = {name: paint(embed, size.spacing_deg, earth) for name, embed in encoders.items()}
figure = et.maps.colour_map({f"{name}: {share[name]:.0%}": p for name, p in painted.items()})
plt.close(figure)
figure

# %% tags=["hide-input"]
rng = np.random.default_rng(0)
chance = (pd.Series(main).value_counts(normalize=True) ** 2).sum()


def smooth(grid):
    """Return the colour difference of neighbouring cells, relative to that of random cells."""
    a, b = rng.choice(grid[~np.isnan(grid[..., 0])], (2, 20_000))
    next_to = np.linalg.norm(np.diff(grid, axis=0), axis=2)
    return np.nanmean(next_to) / np.linalg.norm(a - b, axis=1).mean()


rough = {name: smooth(grid) for name, grid in painted.items()}
text = ", ".join(f"{name} {value:.0%}" for name, value in rough.items())
display(
    Markdown(
        "Colour difference between a cell and the next one to the south, in percent of that between "
        f"two random cells: {text}. Two random places share the main climate with a chance of {chance:.0%}."
    )
)

# %% [markdown]
# **Neighbours have similar colours also before training.** Any smooth function of longitude and latitude does that, so smoothness is no evidence of learning. What training
# adds is similarity across oceans. `earth` saw climate zones in training, so for it this test is partly circular; `melt` never saw them.
#
# When does this happen? {numref}`fig-00-film` shows `earth` during its training, which took 2.95 million pairs of a place and an observation.
# [Chapter 03](03_two_modalities.ipynb) explains a step of training.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-00-film", "caption": "More than half of the gain comes with the first one percent of training. Pairs seen, and the share of far look-alikes with the same main climate, as before; colours are rotated to agree with the last map. One training."}, "image": {"alt": "Six small world maps. The first is chequered, the second a smooth gradient, in the third the Sahara stands out, in the fourth the Amazon and Tibet too, and the last two gain only detail."}}
stages = [start, *middle, (2_950_000, model)]
film = {pairs: alike(stage.embed) for pairs, stage in stages}  # pairs seen, about
panels = {
    f"{pairs:,} pairs: {film[pairs]:.0%}": paint(stage.embed, size.spacing_deg, earth)
    for pairs, stage in stages
}
figure = et.maps.colour_map(panels, columns=3)
plt.close(figure)
figure

# %%
few = np.arange(size.n_task // 5)
kinds = {
    "hot desert": zone[few] == "BWh",
    "rain forest": np.isin(zone[few], ["Af", "Am"]),
    "above 2,000 m": et.load_task("elevation", n=size.n_task).target[few] > 2000,
}
table = {"chance": {kind: is_so.mean() for kind, is_so in kinds.items()}}
for pairs, stage in stages:
    most_alike = twin(stage.embed, few, few)
    table[f"{pairs:,} pairs"] = {k: is_so[most_alike][is_so].mean() for k, is_so in kinds.items()}
separate = pd.DataFrame(table).T
separate.style.format("{:.0%}")

# %% [markdown]
# The table asks the same of three kinds of places: how often is the far look-alike of the same kind? Deserts and rain forests make half of their gain or more within
# the first 30,720 pairs. Mountains gain nothing in that time; theirs comes later.
#
# ## Where does a name point to?
#
# The model compares places with names, too, by the cosine of two vectors. Type a name, or a piece of one.

# %%
names = ["pur", "Novo", "ville", "Pakistan", "Sahara", "Xyzzy"]
vectors = model.embed_modality("text", names)
cosine = model.similarity(climate.lonlat, vectors)  # (places, names)
gazetteer = et.sample.places()["name"].str.lower()
best = cosine.argsort(axis=0)[-size.n_task // 100 :]  # the most similar 1 % of the places
top = [pd.Series(np.array(country.classes)[country.target[b]]).value_counts(True) for b in best.T]
pd.DataFrame(
    {
        "names that contain it": [gazetteer.str.contains(n.lower()).sum() for n in names],
        "highest cosine": cosine.max(axis=0).round(2),
        "the most similar 1 %": [", ".join(f"{c} {s:.0%}" for c, s in t[:3].items()) for t in top],
    },
    index=names,
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-00-names", "caption": "Three pieces of names point to where they are common: India, Russia, the United States and France. Pakistan points to Indonesia. Cosine between a name and each place on land; one model."}, "image": {"alt": "Four world maps in purple and orange. Pur is orange over India, Novo over Russia, ville over the eastern United States and France, Pakistan over Indonesia and Malaysia."}}
cells, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(cells)


def on_map(values):
    """Return a grid (H, W) from the values of its cells on land."""
    grid = np.full(len(cells), np.nan)
    grid[land] = values
    return grid.reshape(shape)


panels = dict(zip(names[:4], map(on_map, model.similarity(cells[land], vectors[:4]).T)))
figure = et.maps.prediction_map(panels, "cosine of name and place", diverging=True)
plt.close(figure)
figure

# %% [markdown]
# The model knows no meaning. A name is cut into short pieces of letters, which are hashed into 256 numbers
# ([chapter 04](04_melt.ipynb)). Where many names share the pieces, the map is right. "Pakistan" shares its pieces with names elsewhere
# ({numref}`fig-00-names`), and only 17 of 234,908 names end with "-stan". Note "Xyzzy", which no name contains: its highest cosine is as high as the others. **The model does not say when it does not know.**
#
# ## What is this place like?
#
# Now compare places with places. Both questions are about a Mediterranean climate (zones Csa, Csb, Csc): which places beyond 2,000 km are most like the land around Sacramento, and
# which are most like Santiago? Put your own coordinates in.

# %%
labelled = pd.DataFrame(climate.lonlat, columns=["lon", "lat"]).assign(zone=zone)
asked = {"Sacramento": [-121.5, 38.6], "Santiago": [-70.7, -33.5]}
found = {}
for name, place in asked.items():
    ranked = et.nearest(model, place, labelled, k=len(labelled))
    found[name] = ranked[ranked["km"] > 2000].head(20)
pd.DataFrame({name: rows["zone"].value_counts() for name, rows in found.items()}).fillna(0).astype(
    int
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-00-like", "caption": "The look-alikes of Sacramento (left) lie in Mediterranean Iberia; those of Santiago (right) in the desert and highlands of southern Peru, none Mediterranean. Cosine of embeddings; circles: the twenty most similar places beyond 2,000 km; star: the query."}, "image": {"alt": "Two world maps in purple and orange. Left, a star in California and circles in southern Spain. Right, a star in central Chile and circles on the coast and in the Andes of southern Peru."}}
unit, queries = (normalize(model.embed(x)) for x in (cells[land], list(asked.values())))
panels = dict(zip(asked, map(on_map, queries @ unit.T)))
figure = et.maps.prediction_map(panels, "cosine of two embeddings", diverging=True)
for ax, (name, rows) in zip(figure.axes, found.items()):
    at = {"transform": ccrs.PlateCarree(), "zorder": 5, "color": "black"}
    ax.scatter(*asked[name], s=90, marker="*", **at)
    ax.scatter(rows["lon"], rows["lat"], s=25, **(at | {"color": "none", "edgecolor": "black"}))
plt.close(figure)
figure

# %% tags=["hide-input"]
mediterranean, all_places = np.flatnonzero(np.char.startswith(zone, "Cs")), np.arange(len(zone))
med = {
    name: np.isin(twin(encoders[name], mediterranean, all_places), mediterranean).mean()
    for name in ("untrained", "melt", "earth")
}
text = ", ".join(f"{name} {value:.0%}" for name, value in med.items())
display(
    Markdown(
        f"For {len(mediterranean)} Mediterranean places, the most similar far place is Mediterranean in "
        f"this share of cases: {text}. Such places make up {len(mediterranean) / len(zone):.0%} of "
        "the land."
    )
)

# %% [markdown]
# One good example proves little: {numref}`fig-00-like` holds a success and a failure, and the shares above are the answer. [Chapter 06](06_probing.ipynb) shows how to measure what an embedding knows.
#
# ## Ten labels, one map
#
# You know five deserts and five forests. Can they become a map of dry land? Ten labels train a logistic regression on embeddings, which then
# predicts everywhere ({numref}`fig-00-ten`). The truth is climate zone B (dry) against A, C and D. We score only places more than 1,000 km from all ten labels.

# %%
deserts = {"Sahara": (10, 23), "Arabia": (50, 20), "Gobi": (104, 43)}
deserts |= {"Atacama": (-69.5, -23), "Outback": (131, -25)}
forests = {"Amazon": (-63, -4), "Congo": (22, 0), "Borneo": (114, 1)}
forests |= {"Bavaria": (12, 49), "Taiga": (105, 60)}
ten = np.array([*deserts.values(), *forests.values()], dtype=float)
is_dry = np.repeat([True, False], 5)


def fit(embedding, answers):
    """Fit a logistic regression on standardised columns."""
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(embedding, answers)


by_hand = fit(model.embed(ten), is_dry)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-00-ten", "caption": "Ten labels give a map of dry land that misses the west of North America. Probability of desert from a logistic regression on earth's embedding; orange circles: five deserts, blue squares: five forests; one model, one choice of labels."}, "image": {"alt": "A world map of a probability. Bright over the Sahara, Arabia, central Asia, Australia, southern Africa and the Atacama; dark over the Amazon, the Congo, Europe and Siberia; grey over western North America. Ten marks show the labels."}}
probability = on_map(by_hand.predict_proba(model.embed(cells[land]))[:, 1])
figure = et.maps.prediction_map({"": probability}, "probability of desert", "cividis", (0, 1))
for marks, colour, shape_ in ((ten[:5], "#E69F00", "o"), (ten[5:], "#56B4E9", "s")):
    style = {"s": 60, "c": colour, "marker": shape_, "edgecolors": "black", "zorder": 5}
    figure.axes[0].scatter(*marks.T, transform=ccrs.PlateCarree(), **style)
plt.close(figure)
figure

# %%
rows = np.flatnonzero(main != "E")[: size.n_task // 4]
places, dry = climate.lonlat[rows], main[rows] == "B"
encoders["coordinates"] = et.UnitVectors()
encoders["earth-independent"] = et.load_pretrained("earth-independent").embed
draws = [
    np.r_[rng.choice(np.flatnonzero(dry), 5, False), rng.choice(np.flatnonzero(~dry), 5, False)]
    for _ in range(20)
]


def score(fitted, z, labels):
    """Return the balanced accuracy beyond 1,000 km of all labels; 0.5 is chance."""
    cosines = et.coords.unit_vectors(places) @ et.coords.unit_vectors(labels).T
    far = cosines.max(axis=1) < np.cos(1000 / et.coords.EARTH_RADIUS_KM)
    return balanced_accuracy_score(dry[far], fitted.predict(z[far]))


# %%
accuracy = {}
for name in ("coordinates", "untrained", "melt", "earth-independent", "earth"):
    z = encoders[name](places)
    random = [score(fit(z[draw], dry[draw]), z, places[draw]) for draw in draws]
    chosen = score(fit(encoders[name](ten), is_dry), z, ten)
    accuracy[name] = [chosen, np.mean(random), min(random), max(random)]
columns = ["chosen by hand", "20 random draws: mean", "lowest", "highest"]
accuracy = pd.DataFrame.from_dict(accuracy, orient="index", columns=columns)
accuracy.style.format(precision=2)

# %% [markdown]
# The numbers are balanced accuracies, where 0.5 is guessing. On random draws the untrained encoder hardly beats coordinates. Training helps, also in *melt* and
# *earth-independent*, which saw no climate zones. But the range over draws is wide: with ten labels a single result, ours included, says little.
#
# ## Limits: what not to believe
#
# - A score at random places is mostly a score of nearby labels; ask for one in blocks, as in [chapter 06](06_probing.ipynb).
# - A smooth, plausible map can be wrong on a whole continent; look at its errors, as in [chapter 08](08_prediction_maps.ipynb).
# - "More kinds of data are better" does not follow from pretty colours; [chapter 09](09_bottleneck.ipynb) tests it with five seeds.
#
# ## Summary
#
# - An embedding turns a place into numbers; colours make them visible.
# - Neighbours are similar before training; far look-alikes come with training.
# - Names, places and ten labels can be turned into maps, and each map needs a check against truth.
#
# ## Exercises
#
# **Exercise 1 (predict).** Reverse "ville". Its letters are the same. Does it still point to the United States and France?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# No. The model sees pieces of several letters in their order, so "elliv" has other pieces.
both = model.similarity(climate.lonlat, model.embed_modality("text", ["ville", "elliv"]))
agreement = np.corrcoef(both.T)[0, 1]
lists = both.argsort(axis=0)[-size.n_task // 100 :].T
lands = [pd.Series(np.array(country.classes)[country.target[i]]).value_counts(True) for i in lists]
assert agreement < 0.9
print(f"correlation of the two maps {agreement:.2f};", lands[1][:3].round(2).to_dict())

# %% [markdown]
# **Exercise 2 (write).** The last 100 columns only say where a place is. Leave them out and ask again for the look-alikes of Santiago. Is the failure their fault?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# No: the places are still dry or high parts of Peru, so the trained columns say the same.
width = model.encoder.tied_dim  # 156
trained = normalize(model.embed(climate.lonlat)[:, :width])
likeness = trained @ normalize(model.embed([asked["Santiago"]])[:, :width])[0]
distance = et.coords.great_circle_km(
    np.full_like(climate.lonlat, asked["Santiago"]), climate.lonlat
)
twenty = np.where(distance > 2000, likeness, -2).argsort()[-20:]
pd.Series(zone[twenty]).value_counts().to_frame("places")

# %% [markdown]
# **Exercise 3 (change).** Draw 100 labels instead of ten. What happens to the range, and to the lead of `earth` over coordinates?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# The range shrinks. Coordinates stay behind: a plane through the globe cannot enclose the deserts.
more = {}
for name in ("coordinates", "untrained", "earth"):
    z, some_scores = encoders[name](places), []
    for seed in range(10):
        picks = np.random.default_rng(seed).choice(len(dry), 100, replace=False)
        some_scores.append(score(fit(z[picks], dry[picks]), z, places[picks]))
    more[name] = [np.mean(some_scores), min(some_scores), max(some_scores)]
pd.DataFrame.from_dict(more, orient="index", columns=["mean", "lowest", "highest"]).round(2)

# %% [markdown]
# ## Check

# %% tags=["check"]
full = size.n >= 20_000
assert len(buffer.getvalue()) < 1_200_000, "the globe stays light"
assert apart.loc["Congo", "Amazon"] < apart.loc["Congo", "Sahara"]
assert apart.loc["Andes", "Tibet"] < apart.loc["Andes", ["Amazon", "Sahara"]].min()
assert max(rough.values()) < (0.25 if full else 1), "neighbours have similar colours"
assert min(share["melt"], share["earth"]) > max(share["untrained"], share["harmonics"]) + 0.05
assert not full or film[30_720] - film[0] > 0.5 * (film[2_950_000] - film[0])
early = (separate.iloc[2] - separate.iloc[1]) / (separate.iloc[-1] - separate.iloc[1])
assert not full or early["above 2,000 m"] < 0.1 < 0.5 < early.iloc[:2].min()
nations = [t.index[0] for t in top[:4]]
assert not full or nations == ["India", "Russia", "United States", "Indonesia"]
right = {name: f["zone"].str.startswith("Cs").mean() for name, f in found.items()}
assert not full or right["Santiago"] == 0 < 0.8 < right["Sacramento"]
assert not by_hand.predict(model.embed([[-116.0, 39.0]]))[0], "Nevada is missed"
assert accuracy.iloc[:2, 1].max() < accuracy.iloc[2:, 1].min(), "training helps, on average"

# %% [markdown]
# ## Further reading
#
# - [Klemmer et al. (2023)](https://arxiv.org/abs/2311.17179): SatCLIP, an encoder of places trained with images.
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): many kinds of data without common places, the methods of this book.
#
# Next: [Three views of the Earth](01_data_preparation.ipynb)
