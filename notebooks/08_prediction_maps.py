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
# # Where is it wrong? Prediction maps
#
# A score is one number for the whole Earth. A map shows where it comes from. We predict elevation everywhere from a few
# hundred labels, put the truth beside it, and ask where the error sits and whom it would hurt.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** turn a {term}`probe` into a map, weight errors by area, break them down by continent and height, and
#   check a map at the date line and the poles.
# - **Prerequisites** [Probing](06_probing.ipynb).
# - **Data** labels and truth from [elevation](../data/cards/elevation.md), continents from
#   [countries](../data/cards/countries.md); training on [satellite](../data/cards/satellite.md),
#   [lights](../data/cards/lights.md) and [place names](../data/cards/places.md).
# - **Time** about 2 minutes on two cores.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from sklearn.metrics import r2_score

import earthtie_lite as et

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)
task = et.load_task("elevation", n=size.n_task)

# %% [markdown]
# ## Three encoders, a few hundred labels
#
# MELT is trained here. Beside it stand two rows that no observation has touched: the {term}`spherical harmonics` that
# the encoder takes as input, and the untrained {term}`location encoder`. What all three maps show, training did not bring.

# %%
config = et.TrainConfig(
    epochs=size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate, seed=0
)
torch.manual_seed(0)
models = {
    "harmonics": et.SphericalHarmonics(10),
    "untrained": et.LocationEncoder(),
    "MELT": et.fit(sample, config).model,
}

# %% [markdown]
# The labels ({numref}`fig-08-labels`) are drawn from all over the land, so this is the easy question: fill the gaps of a survey. The penalty is still chosen between
# blocks, as for land without labels. That is cautious, and gives smoother maps than the labels would allow.

# %% mystnb={"figure": {"name": "fig-08-labels", "caption": "All that the probe is told: the elevation of 729 places, drawn by area over land without Antarctica and Greenland; first draw."}, "image": {"alt": "World map with dots spread evenly over the land, dark in lowlands and bright in the Andes, the Rockies and Tibet."}}
labels = et.probes.split_places(task.lonlat, "random", size.n_labels, seed=0).train
limits = (0.0, 4000.0)  # metres, for all maps of elevation
figure, axes = et.maps.world()
dots = axes[0].scatter(
    *task.lonlat[labels].T,
    c=task.target[labels],
    s=9,
    linewidths=0,
    transform=et.maps.ccrs.PlateCarree(),
    vmin=limits[0],
    vmax=limits[1],
)
figure.colorbar(dots, ax=axes, shrink=0.6, extend="both", label="elevation (m)")
plt.close(figure)
figure

# %% [markdown]
# ## From a probe to a map
#
# `fit_probe` fits the linear probe on the labelled rows and returns a function of places. The map calls it
# at the centre of each cell of a grid.
#
# Three kinds of cells stay grey: the sea, Antarctica, and Greenland. In the source the elevation of Greenland is the *bedrock* under the
# ice, hundreds of metres below the surface that a satellite sees. A score there would punish a right answer.

# %%
cells, shape = et.maps.grid(size.spacing_deg)
country = et.tasks.country_of(cells)
countries = et.sample.countries()
greenland = np.flatnonzero(countries["iso_a2"] == "GL")[0]
land = et.sample.is_land(cells) & (country >= 0) & (country != greenland)
places = cells[land]
weights = np.cos(np.radians(places[:, 1]))  # a cell's area, up to a constant
truth = et.sample.raster("elevation").at(places)[:, 0].astype(float)
probes = {name: et.probes.fit_probe(model, task, labels) for name, model in models.items()}
predicted = {name: predict(places) for name, predict in probes.items()}


# %%
def on_grid(values):
    """Put the values of the land cells on the grid, NaN elsewhere."""
    full = np.full(len(cells), np.nan)
    full[land] = values
    return full.reshape(shape)


# %% mystnb={"figure": {"name": "fig-08-elevation", "caption": "The great highlands are found, ranges narrower than the encoder can resolve are not. Truth (heights at the centres of 1-degree cells) and linear predictions from 729 labels; grey: sea, Antarctica, Greenland. One trained seed, one draw of labels."}, "image": {"alt": "Four world maps on one colour scale. The truth is sharp. Harmonics give smooth waves; the untrained encoder is about as smooth; MELT draws Tibet, the Andes and the Rockies more narrowly and adds patches elsewhere, some of them right."}}
panels = {"truth": truth, **predicted}
figure = et.maps.prediction_map(
    {title: on_grid(values) for title, values in panels.items()}, "elevation (m)", limits=limits
)
plt.close(figure)
figure

# %% [markdown]
# **Reading.** Start with what all three predictions share in {numref}`fig-08-elevation`: it needs no training, only labels and a smooth basis.
# Then look at what none of them has: narrow ranges, valleys, coasts. Harmonics below degree 10 have waves of about 4,000 km, and what the
# encoder makes of them is finer but still broad. {numref}`fig-08-error` shows the difference to the truth.

# %% mystnb={"figure": {"name": "fig-08-error", "caption": "Errors come in regions, and both encoders share many of them. Prediction minus truth; orange: too high, purple: too low. 729 labels, one trained seed, one draw of labels."}, "image": {"alt": "Two world maps of errors in orange and purple. High ranges such as the Andes and the rim of Tibet are purple, land beside them is orange."}}
errors = {name: values - truth for name, values in predicted.items()}
figure = et.maps.prediction_map(
    {name: on_grid(errors[name]) for name in ("untrained", "MELT")},
    "predicted minus true elevation (m)",
    limits=(-1500, 1500),
    diverging=True,
)
plt.close(figure)
figure

# %% [markdown]
# ## One number, weighted by area
#
# A cell of 1 degree is half as wide at 60° north as at the equator. In a plain mean Siberia and Canada count twice.
# So each cell is weighted by the cosine of its latitude:
#
# $$
# \text{RMSE} = \sqrt{\frac{\sum_i \cos\varphi_i \, (\hat y_i - y_i)^2}{\sum_i \cos\varphi_i}} .
# $$


# %%
def quality(true, values, weight):
    """Return area-weighted R2, root mean square error and mean error (the last two in metres)."""
    error = values - true
    return {
        "R2": r2_score(true, values, sample_weight=weight),
        "RMSE (m)": np.sqrt(np.average(error**2, weights=weight)),
        "mean error (m)": np.average(error, weights=weight),
    }


table = pd.DataFrame({name: quality(truth, v, weights) for name, v in predicted.items()}).T
plain = {name: quality(truth, v, np.ones_like(weights))["R2"] for name, v in predicted.items()}
table["R2 without weights"] = pd.Series(plain)
table.style.format("{:.2f}").format("{:,.0f}", subset=["RMSE (m)", "mean error (m)"])

# %% [markdown]
# One draw of labels is luck to some degree. The same map from other labels, same encoders:

# %%
draws = []
for seed in range(size.seeds):
    rows = et.probes.split_places(task.lonlat, "random", size.n_labels, seed).train
    for name, model in models.items():
        values = et.probes.fit_probe(model, task, rows)(places)
        draws.append({"embedding": name, "draw": seed, **quality(truth, values, weights)})
draws = pd.DataFrame(draws)
by_draw = draws.pivot(index="draw", columns="embedding", values="R2")[list(models)]
by_draw["MELT - untrained"] = by_draw["MELT"] - by_draw["untrained"]
by_draw.style.format(precision=2)

# %% tags=["hide-input"]
gap = by_draw["MELT - untrained"]
said = {True: "in every draw", False: "but not in every draw"}[bool((gap * gap.mean() > 0).all())]
word = {True: "ahead of", False: "behind"}[bool(gap.mean() > 0)]
display(
    Markdown(
        f"**Reading.** On average MELT is {word} the untrained encoder by {abs(gap.mean()):.2f} in R², {said}. "
        f"The draws alone move MELT's score by {np.ptp(by_draw['MELT']):.2f}. All of this holds for one trained encoder; how "
        "much retraining moves it is not shown here."
    )
)

# %% [markdown]
# ## Where, and how high?
#
# Two ways to take the error apart: by continent, and by true height. A continent with more mountains is harder, so the
# spread of its true heights (the error of always saying the continent's own mean) stands beside the RMSE of each row, all in
# metres. A few southern islands that the source counts to Antarctica are in no row.

# %%
continent = countries["continent"].to_numpy()[country[land]]
regions = {}
for name in np.unique(continent[continent != "Antarctica"]):
    here = continent == name
    level = np.full(here.sum(), np.average(truth[here], weights=weights[here]))
    values = {"spread of truth": level, **{row: v[here] for row, v in predicted.items()}}
    regions[name] = {
        row: quality(truth[here], v, weights[here])["RMSE (m)"] for row, v in values.items()
    }
    regions[name]["share of land"] = weights[here].sum() / weights.sum()
regions = pd.DataFrame(regions).T
regions.style.format("{:,.0f}").format("{:.0%}", subset="share of land")

# %%
edges = [-500, 200, 500, 1000, 2000, 6000]
columns = {name: error * weights for name, error in errors.items()}
sums = (
    pd.DataFrame({**columns, "weight": weights}).groupby(pd.cut(truth, edges), observed=True).sum()
)
by_height = sums[list(errors)].div(sums["weight"], axis=0)
by_height.style.format("{:+,.0f} m")

# %% mystnb={"figure": {"name": "fig-08-where", "caption": "The error is not spread evenly: it is largest where the land is high, and highlands are predicted too low. Left: area-weighted error by continent beside the spread of the true heights. Right: mean error by true height. 729 labels, one trained seed, one draw of labels, so no interval."}, "image": {"alt": "Left, dots for six continents: in most, the errors of all rows lie left of a grey mark for the spread of the truth; in Oceania they lie right of it. Right, three lines that start above zero in lowlands and fall far below zero above 2,000 metres."}}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", width_ratios=(1.3, 1))
marks = {"ms": 14, "color": "#888888", "label": "spread of truth"}
axes[0].plot(regions["spread of truth"], regions.index, "|", **marks)
for name, colour in zip(errors, et.maps.CYCLE):
    axes[0].plot(regions[name], regions.index, "o", ms=5, color=colour, label=name)
    axes[1].plot(range(len(by_height)), by_height[name], "o-", ms=4, color=colour)
axes[0].set(xlabel="RMSE, or spread of the truth (m)", xlim=(0, None))
axes[1].axhline(0, color="black", lw=0.8)
axes[1].set_xticks(range(5), ["< 200", "to 500", "to 1,000", "to 2,000", "> 2,000"], fontsize=8)
axes[1].set(xlabel="true elevation (m)", ylabel="mean error (m)")
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=4, frameon=False)
plt.close(figure)
figure

# %% tags=["hide-input"]
better = regions["MELT"] < regions["untrained"]
useless = regions["MELT"] > regions["spread of truth"]
display(
    Markdown(
        f"**Reading.** MELT's error is smaller than that of the untrained encoder in "
        f"{', '.join(better.index[better]) or 'no continent'}, larger in "
        f"{', '.join(better.index[~better]) or 'no continent'}. The continent's own mean would have been a better answer "
        f"than MELT's in {', '.join(useless.index[useless]) or 'no continent'}. A gain in the global number need not "
        "reach everyone: squared errors are ruled by the high mountains."
    )
)

# %% [markdown]
# Two things are mixed in {numref}`fig-08-where`. The right panel shows shrinkage: a penalised model pulls towards the mean, so it raises
# lowlands and lowers mountains. That is the price of few labels and a smooth basis, not a flaw of a region. The left panel shows who pays
# for it. A user in the Andes is served worse than the one global number says, a user in a flat country better.
#
# ## The date line and the poles
#
# A map is flat, the Earth is not. A model that takes longitude as a plain number breaks at ±180°, in the middle of Chukotka and of Fiji. An encoder on
# spherical harmonics cannot: both sides are the same place. Test it instead of believing it. The table
# gives the largest difference between predictions on both sides of the date line, at any latitude, and between all longitudes of a pole. {numref}`fig-08-seam` looks at one line in detail.

# %%
lat = np.linspace(-90, 90, 181)
edge = np.full_like(lat, 180.0)
lon = np.linspace(-180, 180, 73)
seam = pd.DataFrame(
    {
        name: {
            "date line": np.abs(predict(np.c_[edge, lat]) - predict(np.c_[-edge, lat])).max(),
            "north pole": np.ptp(predict(np.c_[lon, np.full_like(lon, 90.0)])),
            "south pole": np.ptp(predict(np.c_[lon, np.full_like(lon, -90.0)])),
        }
        for name, predict in probes.items()
    }
).T
seam.style.format("{:.3f} m")

# %% mystnb={"figure": {"name": "fig-08-seam", "caption": "No step at the date line: predictions along the Arctic Circle through Chukotka, 66.5 degrees north, from 160 degrees east to 160 degrees west. Truth is drawn over land only. 729 labels, one trained seed, one draw of labels."}, "image": {"alt": "Three smooth lines cross a dashed vertical line at 180 degrees without a step, beside a jagged grey line of true heights."}}
east = np.linspace(160, 200, 201)
along = np.c_[(east + 180) % 360 - 180, np.full_like(east, 66.5)]
height = et.sample.raster("elevation").at(along)[:, 0].astype(float)
height[~et.sample.is_land(along)] = np.nan
figure, ax = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
ax.plot(east, height, color="#888888", lw=1, label="truth")
for (name, predict), colour in zip(probes.items(), et.maps.CYCLE):
    ax.plot(east, predict(along), color=colour, lw=1.5, label=name)
ax.axvline(180, color="black", lw=0.8, ls="--")
ax.set_xticks(range(160, 201, 10), ["160° E", "170° E", "180°", "170° W", "160° W"])
ax.set_ylabel("elevation (m)")
figure.legend(loc="outside upper left", ncols=4, frameon=False)
plt.close(figure)
figure

# %% [markdown]
# ## Limits
#
# - One trained seed. The draws of labels are shown, retraining is not.
# - Labels lie everywhere, so the map shows interpolation. For regions without labels see the blocks of
#   [Probing](06_probing.ipynb), and exercise 1.
# - Truth is the height at the centre of a cell, itself a mean over 9 km in steps of 28 m.
# - Relief shading is drawn into the satellite picture: MELT has seen a trace of what it predicts.
# - Continents are coarse groups by country: all Russia counts as Europe.
#
# ## Summary
#
# - A probe is a function of places, so any score can become a map.
# - Weight a global mean by area, and look at regions beside it.
# - Much of the map needs no training. Put an untrained encoder beside every trained one.
# - Linear probes with few labels shrink: high places come out too low.
# - Mask what the truth does not know, and say so. Check the date line and the poles.
#
# ## Exercises
#
# **Exercise 1 (check).** Draw the labels by a {term}`blocked split` instead, equally many, and compute the area-weighted $R^2$ of MELT inside and outside the scored
# blocks. Which of both does the map above show?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
part = et.probes.split_places(task.lonlat, "block", size.n_labels, seed=0)
held = np.unique(et.coords.block_ids(task.lonlat[part.test]))
inside = np.isin(et.coords.block_ids(places), held)
values = et.probes.fit_probe(models["MELT"], task, part.train)(places)
apart = {
    where: quality(truth[rows], values[rows], weights[rows])["R2"]
    for where, rows in {"scored blocks": inside, "elsewhere": ~inside}.items()
}
assert 0.1 < inside.mean() < 0.4  # about a quarter of the land
assert np.isfinite(list(apart.values())).all()
{where: round(value, 2) for where, value in apart.items()}  # the map shows "elsewhere"

# %% [markdown]
# **Exercise 2 (modify).** Break the seam. Write an embedding that takes longitude as a plain number (a polynomial of both angles, say) and
# measure the step at ±180°, between 60° south and 60° north.


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def polynomial(lonlat):
    """Embed places by the products of powers of both angles, up to the fourth power."""
    x, y = (np.asarray(lonlat) / (180.0, 90.0)).T
    return np.stack([x**i * y**j for i in range(5) for j in range(5) if i + j > 0], axis=1)


flat = et.probes.fit_probe(polynomial, task, labels)
step = np.abs(flat(np.c_[edge, lat]) - flat(np.c_[-edge, lat]))[np.abs(lat) < 60].max()
assert step > 50
f"{step:,.0f} m"

# %% [markdown]
# **Exercise 3 (open).** How smooth is a prediction? Compare how much heights change between neighbouring cells, in truth and prediction. What
# would an encoder need to follow the truth?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
change = pd.Series(
    {
        name: np.sqrt(np.nanmean(np.diff(on_grid(values), axis=1) ** 2))
        for name, values in panels.items()
    }
)
assert change["truth"] > change["harmonics"]
change.round(0)  # metres from a cell to its eastern neighbour; try SphericalHarmonics(20) next

# %% [markdown]
# ## Check

# %% tags=["check"]
assert not (country[land] == greenland).any()
assert places[:, 1].min() > -60, "Greenland and Antarctica are left out"
assert all(np.isfinite(values).all() for values in predicted.values())
assert (table["R2"] > 0).all(), "every row beats the mean"
assert (table["mean error (m)"].abs() < 150).all()
spread = regions["spread of truth"]
assert spread.max() > 1.5 * spread.min(), "continents differ in difficulty"
for name in models:
    assert regions.loc["South America", name] > regions.loc["Africa", name], "as their relief does"
for error in errors.values():
    assert error[truth > 2000].mean() < 0 < error[truth < 200].mean(), "shrinkage"
assert (seam < 1.0).all(axis=None), "no seam, no pole: less than a metre"

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): their figure 4 sets predicted elevation beside the truth.
# - [Meyer and Pebesma (2022)](https://doi.org/10.1038/s41467-022-29838-9): what a global map of a learned model can and cannot claim.
# - [Šavrič, Patterson and Jenny (2019)](https://doi.org/10.1080/13658816.2018.1504949): the {term}`Equal Earth` projection used here.
#
# Next: back to [the welcome page](../book/welcome.md), or to [Probing](06_probing.ipynb) with an encoder of your own.
