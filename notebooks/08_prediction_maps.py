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
# hundred labels, put the truth beside it, and ask where the error sits and whom it would hurt: beside the labels, where nobody
# has measured, on which continent, and at which height.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** turn a {term}`probe` into a map, weight errors by area, break them down by distance to the labels, by
#   continent and by height, draw its uncertainty, and check it at the date line and the poles.
# - **Prerequisites** [Probing](06_probing.ipynb).
# - **Data** labels and truth from [elevation](../data/cards/elevation.md), continents from
#   [countries](../data/cards/countries.md); training on [satellite](../data/cards/satellite.md),
#   [lights](../data/cards/lights.md) and [place names](../data/cards/places.md).
# - **Time** about 15 minutes to read, 2 minutes to run on two cores: one training is live, the errors over seeds are read
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

import earthtie_lite as et
from earthtie_lite.results import protocol, tables

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)
task = et.load_task("elevation", n=size.n_task)

# %% [markdown]
# ## Three encoders, a few hundred labels
#
# MELT is trained here. Beside it stand two rows that no observation has touched: the {term}`spherical harmonics` that
# the encoder takes as input, and the untrained {term}`location encoder`. Both encoders have a {term}`skip connection`, so all
# three know the smooth harmonics. Anything all three maps share owes nothing to training.

# %%
config = et.TrainConfig(
    epochs=size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate, seed=0
)
torch.manual_seed(0)
encoder = et.LocationEncoder(et.SphericalHarmonics(10), skip=10)
models = {
    "harmonics": et.SphericalHarmonics(10),
    "untrained": encoder,
    "MELT": et.fit(sample, config, encoder).model,
}

# %% [markdown]
# The labels ({numref}`fig-08-labels`) come from three of the four parts of the *development* half of the land; the fourth part has none.
# So the map answers two questions at once: how well are gaps filled between labels, and what happens where nobody has measured? The
# report half has no labels either. Its numbers are not computed here, where everyone may try things out. They are read from the
# tables further down.

# %% mystnb={"figure": {"name": "fig-08-labels", "caption": "All that the probe is told: the elevation of 729 places in three parts of the development half. Grey: the scored part, without labels; white land belongs to the report half. First draw."}, "image": {"alt": "World map with coloured dots in scattered square cells on all continents, dark in lowlands and bright in the Andes, the Rockies and Tibet; other cells are filled with small grey dots."}}
split = protocol.splits(task.lonlat, "development")[0]
labels = split.labels(size.n_labels, seed=0)
limits = (0.0, 4000.0)  # metres, for all maps of elevation
figure, axes = et.maps.world()
on_map = {"linewidths": 0, "transform": et.maps.ccrs.PlateCarree()}
axes[0].scatter(*task.lonlat[split.scored].T, s=2, color="#999999", **on_map)
height = {"c": task.target[labels], "vmin": limits[0], "vmax": limits[1]}
dots = axes[0].scatter(*task.lonlat[labels].T, s=9, **height, **on_map)
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


# %% mystnb={"figure": {"name": "fig-08-elevation", "caption": "The untrained rows give almost flat maps; MELT finds the great highlands, but no narrow range. Truth and linear predictions from 729 labels in three eighths of the land; grey: sea, Antarctica, Greenland. One seed, one draw."}, "image": {"alt": "Four world maps on one colour scale. The truth is sharp. Harmonics and the untrained encoder are nearly flat, with one broad rise over central Asia; MELT draws Tibet at its full height, the Andes and the Rockies, all of them blurred."}}
panels = {"truth": truth, **predicted}
figure = et.maps.prediction_map(
    {title: on_grid(values) for title, values in panels.items()}, "elevation (m)", limits=limits
)
plt.close(figure)
figure

# %% [markdown]
# **Reading.** Start with what all three predictions share in {numref}`fig-08-elevation`: a rise over central Asia needs no training. The first two have little more.
# Cross-validation between cells found that what harmonics learn in one cell seldom holds in the next, and chose a penalty that leaves almost nothing but the mean.
# Then look at what none of the three has: narrow ranges, valleys, coasts. {numref}`fig-08-error` shows the difference to the truth.

# %% mystnb={"figure": {"name": "fig-08-error", "caption": "Orange: too high, purple: too low. The untrained encoder is too low on nearly all land above 2,000 m; MELT is less so, but overshoots by 1,000 m more often. 729 labels, one trained seed, one draw."}, "image": {"alt": "Two world maps of errors in orange and purple. High ranges such as the Andes and the rim of Tibet are purple, land beside them is orange."}}
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
# **Exercise 1 (code).** How smooth is a prediction? Compare how much heights change between neighbouring cells, in truth and prediction. What
# would an encoder need to follow the truth?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
change = pd.Series(
    {
        name: np.sqrt(np.nanmean(np.diff(on_grid(values), axis=1) ** 2))
        for name, values in panels.items()
    }
)
change.to_frame("m from a cell to its eastern neighbour").style.format("{:,.0f}")
# The truth is many times rougher than any prediction. Harmonics up to degree 9 have waves of
# 4,000 km and more; the sine layers add shorter ones, and training has learnt to use some. To
# follow the truth, an encoder needs waves of two cells, and labels enough to fix their weights.

# %% [markdown]
# ## One number, weighted by area
#
# A cell of 1 degree is half as wide at 60° north as at the equator. In a plain mean Siberia and Canada count twice.
# So each cell is weighted by the cosine of its latitude:
#
# $$
# \text{RMSE} = \sqrt{\frac{\sum_i \cos\varphi_i \, (\hat y_i - y_i)^2}{\sum_i \cos\varphi_i}} .
# $$
#
# And it matters which cells are asked: those of the labelled parts, between the labels, or those of the part that has none.


# %%
def quality(true, values, weight):
    """Return area-weighted R2, root mean square error and mean error (the last two in metres)."""
    error = values - true
    return {
        "R2": r2_score(true, values, sample_weight=weight),
        "RMSE (m)": np.sqrt(np.average(error**2, weights=weight)),
        "mean error (m)": np.average(error, weights=weight),
    }


# %%
part = protocol.parts(places, protocol.FIRST)
where = {"between labels": np.isin(part, (1, 2, 3)), "no label near": part == 0}
table = pd.DataFrame(
    {
        (place, name): quality(truth[rows], values[rows], weights[rows])
        | {"R2 without weights": r2_score(truth[rows], values[rows])}
        for place, rows in where.items()
        for name, values in predicted.items()
    }
).T
table.style.format("{:.2f}").format("{:,.0f}", subset=["RMSE (m)", "mean error (m)"])

# %% [markdown]
# One part of the land is luck to some degree. So each of the four parts is left without labels in turn:

# %%
turns = []
for k, turn in enumerate(protocol.splits(task.lonlat, "development")):
    rows = turn.labels(size.n_labels, seed=0)
    for name, model in models.items():
        values = et.probes.fit_probe(model, task, rows)(places[part == k])
        found = quality(truth[part == k], values, weights[part == k])
        turns.append({"embedding": name, "part": k, **found})
turns = pd.DataFrame(turns).pivot(index="part", columns="embedding", values="R2")[list(models)]
turns["MELT - untrained"] = turns["MELT"] - turns["untrained"]
turns.style.format(precision=2)

# %% tags=["hide-input"]
gap = turns["MELT - untrained"]
said = {True: "in every part", False: "but not in every part"}[bool((gap * gap.mean() > 0).all())]
word = {True: "ahead of", False: "behind"}[bool(gap.mean() > 0)]
fall = table["R2"].unstack(0)
display(
    Markdown(
        f"**Reading.** On average MELT is {word} the untrained encoder by {abs(gap.mean()):.2f} in R², {said}. "
        f"Which part is left out moves MELT's score by {np.ptp(turns['MELT']):.2f}. Between labels MELT has "
        f"{fall.loc['MELT', 'between labels']:.2f}, without a label near {fall.loc['MELT', 'no label near']:.2f}. All of this holds "
        "for one trained encoder, short training and one draw of labels; a later section has seeds."
    )
)

# %% [markdown]
# **Exercise 2 (code).** Draw as many labels at {term}`random <blocked split>` from the whole development half instead. How much does the area-weighted
# $R^2$ rise in the parts that had none, on average over the four? What does a map of that kind promise, and to whom?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
rise = []
for k, turn in enumerate(protocol.splits(task.lonlat, "development", "random")):
    rows = turn.labels(size.n_labels, seed=0)
    for name, model in models.items():
        values = et.probes.fit_probe(model, task, rows)(places[part == k])
        found = quality(truth[part == k], values, weights[part == k])
        rise.append({"embedding": name, "R2": found["R2"]})
rise = pd.DataFrame(rise).groupby("embedding", sort=False)["R2"].mean().to_frame("labels there")
rise.insert(0, "no label near", turns[list(models)].mean())
assert rise.diff(axis=1)["labels there"].mean() > 0  # gaps are filled; nobody has to extrapolate
rise.round(2)
# A label in the same cell helps every row, the harmonics most. Such a map promises to fill gaps
# between measurements. It promises nothing to a country where nobody has measured.

# %% [markdown]
# ## How sure is the map?
#
# Another draw of labels gives another map. So a cheap measure of uncertainty is the spread of the predictions over draws, cell by cell, with the trained encoder
# fixed. Guess: is the map most uncertain where it is most wrong? And how often does the truth lie within two standard deviations of the mean?

# %%
draws = [split.labels(size.n_labels, seed=k) for k in range(8)]
several = np.stack([et.probes.fit_probe(models["MELT"], task, rows)(places) for rows in draws])
centre, deviation = several.mean(axis=0), several.std(axis=0, ddof=1)
miss = np.abs(centre - truth)
sure = {}
for place, rows in where.items():
    size_of = {"RMSE of the mean (m)": miss[rows], "spread of the draws (m)": deviation[rows]}
    sure[place] = {
        name: np.sqrt(np.average(value**2, weights=weights[rows]))
        for name, value in size_of.items()
    }
    covered = np.average(miss[rows] < 2 * deviation[rows], weights=weights[rows])
    sure[place]["truth within 2 deviations (%)"] = 100 * covered
sure = pd.DataFrame(sure).T
sure.style.format("{:,.0f}")

# %% mystnb={"figure": {"name": "fig-08-spread", "caption": "The draws of labels agree more with each other than with the truth. Left: error of MELT's mean prediction over eight draws of 729 labels; right: standard deviation over these draws. One trained encoder, three labelled parts."}, "image": {"alt": "Two world maps on one colour scale. The left one, the error, is bright along the Andes, the Rockies and around Tibet; the right one, the spread, is dark nearly everywhere and a little brighter in Tibet and the Andes."}}
figure = et.maps.prediction_map(
    {"error of the mean": on_grid(miss), "spread over draws": on_grid(deviation)},
    "elevation difference (m)",
    limits=(0, 1000),
)
plt.close(figure)
figure

# %% [markdown]
# If the spread were the whole uncertainty, about 95 % of the land would lie within two standard deviations; the table has far less.
# The spread in {numref}`fig-08-spread` covers the luck of the draw and nothing else. All draws share one encoder, one linear probe and the same unlabelled part,
# so what these cannot represent is missing in every map, and the maps agree on the error. An interval from draws alone is far too narrow. The tables of the next section
# retrain the encoder, too.
#
# ## Where, over seeds?
#
# The tables behind [Probing](06_probing.ipynb) keep squared errors by cell, for five retrained seeds, on the report half. So each continent has an
# error of its own, with an interval over seeds and cells. A continent with more mountains is harder: the spread of its true heights (the
# error of always saying the continent's own mean) stands beside it.

# %%
melt3 = "MELT satellite+lights+text"
shown = {"harmonics": "harmonics", "untrained": "untrained", melt3: "MELT", "GeoCLIP": "GeoCLIP"}
report = tables.pick(tables.read_sums("report"), task="elevation", embedding=list(shown))
display(Markdown(f"Made by {tables.provenance('report')}."))
report["continent"] = report["cell"].map(protocol.Grid().table()["continent"])
report = report[report["continent"] != "Antarctica"]  # two cells of southern islands
total = report[report["embedding"] == melt3].groupby("continent")[["n", "total", "square"]].sum()
spread = np.sqrt(total["square"] / total["n"] - (total["total"] / total["n"]) ** 2)

# %%
# A score is 1 - wrong / spread. With a spread of 1 it is 1 minus the mean squared error, in km2.
squared = report.assign(wrong=report["wrong"] / 1e6, total=0.0, square=report["n"])
by_continent = tables.intervals(squared, ["continent"])
numbers = ["mean", "low", "high"]
by_continent[numbers] = 1000 * np.sqrt(1 - by_continent[["mean", "high", "low"]].to_numpy())
metres = by_continent.pivot(index="continent", columns="embedding", values="mean")[list(shown)]
cells_of = report.groupby("continent")["cell"].nunique()
metres = metres.assign(spread=spread, cells=cells_of).sort_values("spread")
metres.rename(columns=shown).style.format("{:,.0f}")

# %%
edges = [-500, 200, 500, 1000, 2000, 6000]
scored = where["no label near"]
sums = pd.DataFrame({name: (error * weights)[scored] for name, error in errors.items()})
sums = sums.assign(weight=weights[scored])
sums = sums.groupby(pd.cut(truth[scored], edges), observed=False).sum()
by_height = sums[list(errors)].div(sums["weight"], axis=0)
by_height.index = ["< 200", "to 500", "to 1,000", "to 2,000", "> 2,000"]  # metres
by_height.style.format("{:+,.0f} m")

# %% mystnb={"figure": {"name": "fig-08-where", "caption": "In Asia, North America and Africa every row's error is below the spread of the truth, MELT's interval in Asia alone. The highest land is predicted too low. Left: report half, 729 labels, five seeds; right: one seed."}, "image": {"alt": "Left, dots with horizontal intervals for six continents and four rows beside a grey mark for the spread of the truth; the dots lie clearly left of the mark in Asia, a little left of it in North America and Africa, and near or right of it elsewhere. Right, three lines that start above zero in lowlands and fall below zero above 2,000 metres, MELT's least."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained", width_ratios=(1.3, 1))
axes[0].plot(metres["spread"], metres.index, "|", ms=26, color="#888888", label="spread of truth")
for k, (name, label) in enumerate(shown.items()):
    row = by_continent[by_continent["embedding"] == name].set_index("continent").loc[metres.index]
    y, style = np.arange(len(metres)) + 0.15 * (k - 1.5), {"color": et.maps.CYCLE[k]}
    axes[0].hlines(y, row["low"], row["high"], lw=1, **style)
    axes[0].plot(row["mean"], y, "o", ms=4, label=label, **style)
axes[0].set(xlabel="RMSE, or spread of the truth (m)", xlim=(0, None))
by_height.plot(ax=axes[1], style="o-", color=list(et.maps.CYCLE[:3]), legend=False, fontsize=9)
axes[1].axhline(0, color="black", lw=0.8)
axes[1].set(xlabel="true elevation (m)", ylabel="mean error (m)")
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper left", ncols=5, frameon=False)
plt.close(figure)
figure

# %% tags=["hide-input"]
pairs = tables.paired(squared, melt3, ["untrained", "GeoCLIP"], ["continent"])
said = ""
for name, rows in pairs.set_index("continent").groupby("name", sort=False):
    ahead, behind = rows.index[rows["low"] > 0], rows.index[rows["high"] < 0]
    said += f"Against {name}, MELT's squared error is smaller in {', '.join(ahead) or 'no continent'} and "
    said += f"larger in {', '.join(behind) or 'no continent'}, by a paired interval that excludes zero. "
useless = metres.index[metres[melt3] > metres["spread"]]
display(
    Markdown(
        f"**Reading.** {said}The continent's own mean would have been a better answer than MELT's in "
        f"{', '.join(useless) or 'no continent'}. The global R² of elevation is made in the high mountains of a few cells: "
        "a gain there need not reach anyone else. Exploratory."
    )
)

# %% [markdown]
# Two things are mixed in {numref}`fig-08-where`. The right panel shows shrinkage: a penalised model pulls towards the mean, so it raises
# lowlands and lowers mountains. That is the price of few labels and a smooth basis, not a flaw of a region. The left panel shows who pays
# for it. To a user in a flat country an error of hundreds of metres is no map at all, however good the global number.
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

# %% mystnb={"figure": {"name": "fig-08-seam", "caption": "No step at the date line, in no row: predictions along the Arctic Circle through Chukotka, from 160 degrees east to 160 degrees west. Truth over land only. 729 labels, one trained seed."}, "image": {"alt": "Three smooth lines cross a dashed vertical line at 180 degrees without a step, beside a jagged grey line of true heights."}}
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

# %%
ashore = np.isfinite(height)
wrong = pd.DataFrame(
    {name: predict(along)[ashore] - height[ashore] for name, predict in probes.items()}
)
wrong = pd.DataFrame(
    {"too high by": wrong.mean(), "root mean square error": wrong.pow(2).mean() ** 0.5}
)
wrong.style.format("{:.0f} m")

# %% [markdown]
# No curve in {numref}`fig-08-seam` has a step. That does not make one right: the table has their errors on the land of this line, where the heights average 350 m. None of the 729 labels lies
# in Chukotka.
#
# **Exercise 3 (code).** Break the seam. Write an embedding that takes longitude as a plain number (a polynomial of both angles, say), fit it to
# the labels by least squares, and measure the step at ±180°, between 60° south and 60° north.


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def polynomial(lonlat):
    """Embed places by the products of powers of both angles, up to the fourth power."""
    x, y = (np.asarray(lonlat) / (180.0, 90.0)).T
    return np.stack([x**i * y**j for i in range(5) for j in range(5) if i + j > 0], axis=1)


flat = LinearRegression().fit(polynomial(task.lonlat[labels]), task.target[labels])
both = [flat.predict(polynomial(np.c_[side, lat])) for side in (edge, -edge)]
step = np.abs(both[0] - both[1])[np.abs(lat) < 60].max()
assert step > 50
f"{step:,.0f} m"

# %% [markdown]
# A step of 250 km is absurd for a height. It lies at 59° south, where the polynomial extrapolates: no label lies south of 45° south or within 10 degrees of the date line.
#
# ## Limits
#
# - The maps show one trained seed and short training. The errors by continent have seeds and the recipe of the report.
# - A continent has 13 to 28 scored cells, and a cell is 1,000 km wide: intervals by continent are wide.
# - Truth is the height at the centre of a cell, itself a mean over 9 km in steps of 28 m.
# - Relief shading is drawn into the satellite picture: MELT has seen a trace of what it predicts.
# - Continents are coarse groups by country: all Russia counts as Europe.
#
# ## Summary
#
# - A probe is a function of places, so any score can become a map.
# - Weight a global mean by area, say where the labels were, and look at regions beside it.
# - The maps here, of one seed, show a gain over the untrained encoder. Over five seeds of the report's recipe, no continent shows one whose interval excludes zero.
# - Put an untrained encoder beside every trained one.
# - The spread over draws of labels understates the error: what encoder and probe cannot represent is missing in all draws.
# - Linear probes with few labels shrink: high places come out too low.
# - Mask what the truth does not know, and say so. Check the date line and the poles.

# %% [markdown]
# ## Check

# %% tags=["hide-input"]
full = size.n >= 20_000
some = ["Asia", "North America", "Africa"]
assert metres.loc[some, list(shown)].lt(metres.loc[some, "spread"], axis=0).all(axis=None)
gain = pairs[pairs["name"] == "untrained"]
assert ((gain["low"] <= 0) & (gain["high"] >= 0)).all(), "training gains on no continent"
tall = by_continent[by_continent["embedding"] == melt3].set_index("continent")["high"]
assert set(tall.index[tall < metres["spread"].reindex(tall.index)]) == {"Asia"}
assert set(report["seed"]) == set(range(5))
above = {name: error[truth > 2000] for name, error in errors.items()}
assert not full or (above["untrained"] < 0).mean() > 0.95 > (above["MELT"] < 0).mean()
too_high = {name: (error > 1000).mean() for name, error in errors.items()}
assert not full or too_high["MELT"] > too_high["untrained"]

# %% tags=["check"]
assert not (country[land] == greenland).any()
assert not set(protocol.FIRST.cells(task.lonlat[labels])) & set(
    protocol.FIRST.cells(places[scored])
)
assert (fall["between labels"] > fall["no label near"]).all(), "a label nearby helps every row"
for error in errors.values():
    assert error[truth > 2000].mean() < 0 < error[truth < 200].mean(), "shrinkage"
assert (seam < 1.0).all(axis=None), "no seam, no pole: less than a metre"
flat_maps = {name: np.std(values) / np.std(truth) for name, values in predicted.items()}
assert not full or max(flat_maps["harmonics"], flat_maps["untrained"]) < 0.4 < flat_maps["MELT"]
assert change["MELT"] < 0.5 * change["truth"], "no narrow range"
assert (sure["spread of the draws (m)"] < sure["RMSE of the mean (m)"]).all()
assert not full or (sure["truth within 2 deviations (%)"] < 80).all()

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): their figure 4 sets predicted elevation beside the truth.
# - [Meyer and Pebesma (2022)](https://doi.org/10.1038/s41467-022-29838-9): what a global map of a learned model can and cannot claim.
# - [Šavrič, Patterson and Jenny (2019)](https://doi.org/10.1080/13658816.2018.1504949): the {term}`Equal Earth` projection used here.
#
# Next: [Is the encoder the bottleneck?](09_bottleneck.ipynb): one change at a time.
