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
# # Can an image find a name that it was never paired with?
#
# No image in this book has a caption, and no name has a picture. Each knows its place, and that is all they share. So every link from
# one to the other has to pass through the {term}`location encoder`. We follow that link: from a piece of a name to a map, from an image to
# a name and back, and measure how many kilometres it misses by.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** draw where a piece of a name points to, write the retrieval between modalities that share no sample, and judge it by
#   chance, by an untrained model and by the best that location alone allows.
# - **Prerequisites** [MELT](04_melt.ipynb), [SALT](05_salt.ipynb); the two halves of the land in [Probing](06_probing.ipynb).
# - **Data** [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md) and [place names](../data/cards/places.md).
# - **Time** about 15 minutes to read, 2 minutes to run on two cores: one training is live, the distances over seeds are read.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from scipy.spatial import cKDTree
from sklearn.metrics import roc_auc_score

import earthtie_lite as et
from earthtie_lite.coords import unit_vectors
from earthtie_lite.modalities import first_of_cells
from earthtie_lite.results import retrieval, tables

# %%
size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)
config = et.TrainConfig(
    epochs=size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate, seed=0
)
model = et.fit(sample, config, et.SphericalHarmonics(10)).model

# %% [markdown]
# ## Where does a piece of a name point to?
#
# The text head takes hashed {term}`character n-grams`, so a piece of a name has a vector, too. Its cosine with every place on land is a
# map ({numref}`fig-10-pieces`). "Novo" means new in Slavic languages, "stan" ends the names of countries and villages from
# Turkey to India, "San" is a saint in Spanish, "Llan" a parish in Welsh.

# %%
pieces = {"Novo": "^Novo", "stan": "stan$", "San": "^San ", "Llan": "^Llan"}
cells, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(cells)
vectors = model.embed_modality("text", list(pieces))
panels = {piece: np.full(shape, np.nan) for piece in pieces}
for panel, values in zip(panels.values(), model.similarity(cells[land], vectors).T):
    panel[land.reshape(shape)] = values

# %% mystnb={"figure": {"name": "fig-10-pieces", "caption": "Novo and San point to the lands of their languages, and to others; Llan, rare in the sample, points where San does and misses Wales. Cosine between a piece of a name and every place on land. MELT, one seed."}, "image": {"alt": "Four world maps from purple to orange. Novo is most orange over Eastern Europe and Russia, stan from Turkey to northern India, in East Asia and in North America, San over Central America, the Pacific coast of South America, Iran and Southeast Asia; the map of Llan is much like that of San."}}
figure = et.maps.prediction_map(panels, "cosine in the tied space", diverging=True)
plt.close(figure)
figure

# %% [markdown]
# A map invites us to see what we expect. So ask the names that no training saw (the sample keeps one name an area of 100 km², these are the
# others): at places whose name has the piece, is the cosine higher than at other places? The area under the ROC curve is the
# probability of that: 1 is always, 0.5 is chance. Beside it stands what needs no model at all: how near is the closest name with that
# piece *in the training sample*?

# %%
gazetteer, kept = first_of_cells()
seen, unseen = gazetteer[kept], gazetteer[~kept]
known = {tuple(place) for place in sample["text"].lonlat}
seen = seen[[place in known for place in zip(seen["lon"], seen["lat"])]]
places = unseen[["lon", "lat"]].to_numpy()

# %%
cosine = dict(zip(pieces, model.similarity(places, vectors).T))
rows = {}
for piece, pattern in pieces.items():
    has = unseen["name"].str.contains(pattern)
    listed = seen[seen["name"].str.contains(pattern)][["lon", "lat"]].to_numpy()
    near = np.zeros(len(unseen))  # no name in the list: it cannot tell
    if len(listed):
        near -= cKDTree(unit_vectors(listed)).query(unit_vectors(places))[0]
    rows[piece] = {"in the sample": len(listed), "unseen": has.sum()}
    rows[piece] |= {"cosine": roc_auc_score(has, cosine[piece]), "list": roc_auc_score(has, near)}
table = pd.DataFrame(rows).T
table.style.format("{:.2f}").format("{:,.0f}", subset=["in the sample", "unseen"])

# %% tags=["hide-input"]
better = table.index[table["list"] > table["cosine"]]
display(
    Markdown(
        f"**Reading.** The cosine finds unseen names of a kind with {table['cosine'].min():.2f} to {table['cosine'].max():.2f}. "
        f"A list of names does it better for {', '.join(better) or 'none of them'}: to find names by spelling, look them up. What the "
        "tied space adds is not a better gazetteer but a bridge to images and lights, which no list has."
    )
)

# %% [markdown]
# ## Two routes between modalities
#
# Take an image that no training saw. Which name fits it? There are two ways to ask:
#
# - **direct**: the name with the largest cosine. Both vectors live in one space, but training never compared them: each was
#   pulled towards places only.
# - **through a place**: first the place with the largest cosine among 20,000 on land, then the name that lies nearest to that place. Both steps are what
#   training practised.
#
# Two rows stand beside them to compare with: the candidate **nearest** to the image's true place, the best that location alone allows, and **chance**. Queries and
# candidates lie in the report half of the land: 1,000 images, lights or names that no training saw.

# The first route takes one line, the second three:

# %%
tied = retrieval.tie(model, retrieval.unseen(1000))  # vectors and places of queries, and of land
image, name, place = (tied[kind].vectors for kind in ("satellite", "text", "place"))
where, candidates = tied["satellite"].lonlat, tied["text"].lonlat  # (1000, 2) each

direct = (image @ name.T).argmax(axis=1)  # image -> name

best = (image @ place.T).argmax(axis=1)  # image -> place
guess = tied["place"].lonlat[best]  # (1000, 2)
_, through = cKDTree(unit_vectors(candidates)).query(unit_vectors(guess))  # place -> nearest name

# %% [markdown]
# The package does the same for every pair of modalities. Both routes are judged by how far the match lies from where the query was taken.

# %%
live = retrieval.distances(tied)
asked = live[(live["query"] == "satellite") & (live["target"] == "text")].set_index("route")["km"]
for route, match in {"direct": direct, "through a place": through}.items():
    km = et.coords.great_circle_km(where, candidates[match])
    assert np.allclose(km, asked[route], atol=1e-3)
medians = live.groupby(["query", "target", "route"], sort=False)["km"].median().unstack("route")
medians = medians[list(retrieval.ROUTES)].sort_index()

_, patches = retrieval.unseen(1000)["satellite"]
shown = np.flatnonzero(patches.std(axis=(2, 3)).mean(axis=1) > 15)[:3]
tree = cKDTree(unit_vectors(places))
medians.style.format("{:,.0f}", na_rep="")

# %% [markdown]
# Median distances in km. In rows with the target "place" both routes are one. {numref}`fig-10-examples` shows the second route for three images.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-10-examples", "caption": "The route from an image to a name: the image, the place where it was taken (circle) and the one that the model thinks of (cross), and the unseen names nearest to that. The first three images not one colour."}, "image": {"alt": "Three rows. Left a small satellite patch, in the middle a world map with a blue circle and a black cross joined by a line, right the distance between them in kilometres and three place names."}}
figure, maps = et.maps.world(3)
figure.set_size_inches(8, 6)
for ax, i in zip(maps, shown):
    ends = np.stack([where[i], guess[i]])
    ax.plot(*ends.T, color="black", lw=1, transform=et.maps.ccrs.Geodetic())
    for (lon, lat), mark, colour in zip(ends, "ox", (et.maps.CYCLE[0], "black")):
        ax.plot(lon, lat, mark, color=colour, ms=8, mew=2.5, transform=et.maps.ccrs.PlateCarree())
    query = ax.inset_axes([-0.42, 0.1, 0.36, 0.8], xticks=[], yticks=[])
    query.imshow(np.moveaxis(patches[i], 0, 2))
    near = unseen["name"].iloc[tree.query(unit_vectors(guess[i : i + 1])[0], k=3)[1]]
    far = et.coords.great_circle_km(*ends[:, None]).item()
    ax.text(1.05, 0.5, f"{far:,.0f} km\n\n" + "\n".join(near), transform=ax.transAxes, va="center")
plt.close(figure)
figure

# %% [markdown]
# **Exercise 1 (write).** Let the second route lead through the ten best places instead of one, and keep the one nearest to the image's own. How much better does it look, and why is the
# comparison unfair?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
ten = np.argpartition(-(image @ place.T), 10, axis=1)[:, :10]
options = tied["place"].lonlat[ten].reshape(-1, 2)
km = et.coords.great_circle_km(np.repeat(where, 10, axis=0), options).reshape(-1, 10).min(axis=1)
one = et.coords.great_circle_km(where, guess)
# Ten guesses, and the truth chooses among them: chance would gain, too. It needs its own chance row.
assert np.median(km) < np.median(one)
print(f"median {np.median(one):,.0f} km with one guess, {np.median(km):,.0f} km with ten")

# %% [markdown]
# ## Over seeds
#
# `make results STAGE=retrieval` does the same with the encoders of [Probing](06_probing.ipynb), trained on 100,000 places a modality. Recall within
# 500 km is the share of queries whose match lies that near. For MELT, along both routes ({numref}`fig-10-routes`):

# %%
found = tables.read_distances("retrieval").query("recipe == 'chosen'")
display(Markdown(f"Made by {tables.provenance('retrieval')}."))
short = {"MELT satellite+lights+text": "MELT", "SALT satellite+lights+text": "SALT"}
found["model"] = found["embedding"].replace(short)
found.loc[found["setting"] == "inductive", "model"] = "MELT, region unseen"
found["pair"] = found["query"] + " to " + found["target"]
found = found[["model", "seed", "pair", "target", "route", "cell", "km"]]
melt = found[found["model"] == "MELT"]
radius = 500.0


def recalls(some, by, against):
    """Return recall within the radius with intervals over seeds and cells."""
    sums = retrieval.recall_sums(some.rename(columns={against: "embedding"}), radius)
    return tables.intervals(sums, by)


# %%
routes = recalls(melt.drop(columns=["model", "target"]), ["pair"], "route")
routes["cell"] = tables.as_text(routes)
order = list(dict.fromkeys(melt["pair"]))
order = [*order[:2], *order[3:5], *order[6:8], *order[2::3]]
routes.pivot(index="pair", columns="embedding", values="cell").loc[
    order, list(retrieval.ROUTES)
].fillna("")

# %% mystnb={"figure": {"name": "fig-10-routes", "caption": "Asked directly, modalities that were never paired hardly find each other; through a place, images find names and names find images. Recall within 500 km, report half; lines: 95 % intervals; black: chance; grey: nearest candidate."}, "image": {"alt": "Six rows of pairs of modalities. Orange squares for the direct route lie near zero beside black marks for chance; blue dots for the route through a place lie far to the right where satellite images or names ask, and near zero where lights ask."}}
figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
marks = dict(zip(retrieval.ROUTES, (("s", 6), ("o", 6), ("|", 14), ("|", 14))))
colours = dict(zip(retrieval.ROUTES, (et.maps.CYCLE[1], et.maps.CYCLE[0], "#888888", "#000000")))
for route, (mark, ms) in marks.items():
    row = routes[routes["embedding"] == route].set_index("pair").loc[order[:6]]
    ax.plot(row["mean"], range(6), mark, color=colours[route], ms=ms, label=route)
    ax.hlines(range(6), row["low"], row["high"], color=colours[route], lw=1)
ax.set_yticks(range(6), order[:6])
ax.invert_yaxis()
ax.set(xlabel="recall within 500 km", xlim=(-0.01, 1.02))
ax.grid(axis="x", alpha=0.3)
figure.legend(loc="outside upper left", ncols=4, frameon=False)
plt.close(figure)
figure

# %% [markdown]
# ## Which training ties best?
#
# The same recall through a place, for MELT and SALT that saw the region, for MELT that saw nothing of the report half, and for random weights.

# %%
through = found[(found["route"] == "through a place") | (found["target"] == "place")]
through = through[through["route"].isin(["through a place", "direct"])]
models = recalls(through.drop(columns=["route", "target"]), ["pair"], "model")
models["cell"] = tables.as_text(models)
kinds = ["MELT", "SALT", "MELT, region unseen", "untrained"]
models.pivot(index="pair", columns="embedding", values="cell").loc[order, kinds]

# %% tags=["hide-input"]
at = models.pivot(index="pair", columns="embedding", values="mean")
by_route = routes.pivot(index="pair", columns="embedding", values="mean")
images, words = "satellite to text", "text to satellite"
display(
    Markdown(
        f"**Reading.** Within 500 km, MELT finds a name for an image through a place in {by_route.loc[images, 'through a place']:.0%} of all cases, directly "
        f"in {by_route.loc[images, 'direct']:.0%}, by chance in {by_route.loc[images, 'chance']:.0%}; the nearest name is that near in "
        f"{by_route.loc[images, 'nearest']:.0%}. From a name to an image: {by_route.loc[words, 'through a place']:.0%}, "
        f"{by_route.loc[words, 'direct']:.0%}, {by_route.loc[words, 'chance']:.0%} and {by_route.loc[words, 'nearest']:.0%}. "
        f"SALT, whose last epochs all belong to one modality at a time, has {at.loc[images, 'SALT']:.0%} and {at.loc[words, 'SALT']:.0%}. Where the "
        f"region was never seen, {at.loc[images, 'MELT, region unseen']:.0%} and {at.loc[words, 'MELT, region unseen']:.0%} remain."
    )
)

# %% mystnb={"figure": {"name": "fig-10-distances", "caption": "The route through a place is far above chance up to thousands of kilometres. The direct route is close to chance from images to names, a little above it from names to images. MELT, all seeds together, report half."}, "image": {"alt": "Two panels with four rising curves over a logarithmic axis of kilometres. The grey curve of the nearest candidate rises first, then the blue one through a place; orange and black, direct and chance, rise together at thousands of kilometres."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, pair in zip(axes, (images, words)):
    for route in retrieval.ROUTES:
        km = melt[(melt["pair"] == pair) & (melt["route"] == route)]["km"]
        ax.ecdf(km, color=colours[route], label=route)
    ax.set(xscale="log", xlim=(10, 20_000), title=pair, xlabel="km to the match")
    ax.grid(alpha=0.3)
axes[0].set_ylabel("share of queries")
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False
)
plt.close(figure)
figure

# %% [markdown]
# ## Why does the direct route fail?
#
# All modalities share a space, so why can they not be compared in it? Take the 20 directions in which the vectors of one modality vary most, and ask how
# much of *another* modality's variance lies in them. Two sets of directions drawn blindly would share 20 parts of the width.

# %%
spread_of = {name: part.vectors - part.vectors.mean(axis=0) for name, part in tied.items()}
main = {name: np.linalg.svd(v, full_matrices=False)[2][:20] for name, v in spread_of.items()}
overlap = pd.DataFrame(
    {
        name: {other: ((v @ main[other].T) ** 2).sum() / (v**2).sum() for other in main}
        for name, v in spread_of.items()
    }
)
blind = 20 / tied["place"].vectors.shape[1]
overlap.rename_axis("directions of").style.format("{:.2f}")

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Reading.** Of the variance of names, {overlap.loc['satellite', 'text']:.2f} lies in the main directions of images, and "
        f"{overlap.loc['text', 'satellite']:.2f} the other way round; directions drawn blindly would hold {blind:.2f}. Of the variance of places, the main "
        f"directions of images hold {overlap.loc['satellite', 'place']:.2f}, those of names {overlap.loc['text', 'place']:.2f}, those of lights "
        f"{overlap.loc['lights', 'place']:.2f}. Training gave each modality a part of the space to itself, and only the vector of a place has all parts."
    )
)

# %% [markdown]
# An image's vector says "steppe", a name's vector says "Turkic". Nothing compares the two words, and training never asked for it. A place where both
# hold is what joins them. So {numref}`fig-10-distances` is no fault of the data: the link was learned, and it runs through the location encoder. There is a price: the parts of the space that
# one modality takes are lost to the others, at a fixed width.
#
# **Exercise 2 (write).** In models of images and captions, each modality's vectors share a direction that keeps the two apart (the modality gap), and
# subtracting each modality's mean vector helps. Does it help the direct route here? Why does the table of overlaps let you expect that?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
centred = {}
for name, part in tied.items():
    vectors = spread_of[name] / np.linalg.norm(spread_of[name], axis=1, keepdims=True)
    centred[name] = retrieval.Tied(part.lonlat, vectors)
after = retrieval.distances(centred)
direct_km = pd.DataFrame(
    {
        name: some[some["route"] == "direct"].groupby(["query", "target"])["km"].median()
        for name, some in (("as trained", live), ("centred", after))
    }
)
assert (direct_km["centred"].drop("place", level="target") > 1000).all()
# It does not help: the modalities differ in directions, not by a shift.
direct_km.round(0)

# %% [markdown]
# ## Limits
#
# - An unseen name may stand next to a seen one: the regions were seen, except in the column that says otherwise.
# - Names of one language share letters, so text points to a language's whole area. That is all that letters can tell.
# - Night lights at one place look like lights anywhere else. A model cannot retrieve what the observation does not hold.
# - "Nearest" is the best for a single guess of a place; a model of several possible places could beat it only by luck.
#
# ## Summary
#
# - Tying through places makes a common space: pieces of names become maps, without any list of languages.
# - Modalities that were never paired find each other through a place, hardly by their cosine: each has directions of its own.
# - Set four rows beside every retrieval: chance, random weights, a plain look-up, and the best that location alone allows.

# %% [markdown]
# ## Check

# %% tags=["check"]
assert table.loc["San", "cosine"] > 0.6, "a common piece points to its language"
assert (live.groupby("route")["km"].min() >= 0).all()
assert (medians["nearest"] < medians["direct"]).all(), "location alone is a bound"
assert (by_route["nearest"] > by_route["direct"]).all()
for one, other in (("satellite", "text"), ("text", "satellite")):
    assert overlap.loc[one, other] < overlap.loc[one, "place"], "places hold what both know"
assert by_route.loc[images, "through a place"] > 3 * by_route.loc[images, "chance"]
assert by_route.loc[words, "through a place"] > 3 * by_route.loc[words, "direct"]
assert (at["MELT"] >= at["untrained"] - 0.01).all(), "random weights find nothing"
assert at.loc[words, "MELT"] > at.loc[words, "MELT, region unseen"]

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): tying through the location, whose by-product this is.
# - [Girdhar et al. (2023)](https://arxiv.org/abs/2305.05665): ImageBind ties six modalities through images and retrieves between pairs it never saw.
# - [Liang et al. (2022)](https://arxiv.org/abs/2203.02053): the modality gap, why vectors of two modalities stay apart.
#
# Next: back to [the welcome page](../book/welcome.md).
