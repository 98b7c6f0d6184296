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
# # What does a frozen embedding know?
#
# A contrastive loss says how well places and observations find each other. It does not say what an embedding is good
# for. To learn that we freeze it and ask a simple model to predict something new from it: a {term}`probe`. Then we ask what the
# answer would have been without any training, and whether the difference would survive another seed and other regions.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** probe an embedding fairly, tell a random split from a {term}`blocked split`, read a table with
#   intervals over seeds and regions, and recognise a circular task.
# - **Prerequisites** [MELT](04_melt.ipynb) and [SALT](05_salt.ipynb); linear regression.
# - **Data** labels from [elevation](../data/cards/elevation.md), [climate](../data/cards/climate.md),
#   [countries](../data/cards/countries.md), [places](../data/cards/places.md), [population](../data/cards/population.md) and
#   [biomes](../data/cards/biomes.md); training on [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md) and place names.
# - **Time** about 2 minutes on two cores: one training is live, the tables over seeds are read.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

import earthtie_lite as et
from earthtie_lite.results import charts, intervals, peers, protocol, scoring, tables
from earthtie_lite.results.scoring import Evaluation

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)

# %% [markdown]
# ## Four questions about a place
#
# A *task* is a set of places with labels that no training saw. The tasks share their places, drawn by
# area over land. Antarctica is left out, and Greenland, where the source of the elevation gives the rock under the ice.

# %%
tasks = scoring.labelled(size.n_task)
places = tasks["elevation"].lonlat
pd.DataFrame(
    {
        "kind": {name: task.kind for name, task in tasks.items()},
        "unit": {name: task.unit for name, task in tasks.items()},
        "caveat": {name: task.caveat for name, task in tasks.items()},
    }
).style

# %% [markdown]
# Two more are in the tables below, because they are the paper's and independent of what the models train on: population
# density by GPWv4 and the biomes of RESOLVE. Their files are too large for the repository; the data cards say where to get them.
# {numref}`fig-06-tasks` shows the four that are here. Climate has 31 classes, too many for colours: on the map only the first letter
# of a class is shown, A equatorial, B arid, C warm temperate, D snow, E polar.

# %%
letters = np.array([name[0] for name in tasks["climate"].classes])
group = letters[tasks["climate"].target]
repeated = np.array(et.maps.CYCLE)[tasks["country"].target % len(et.maps.CYCLE)]

# %% mystnb={"figure": {"name": "fig-06-tasks", "caption": "The labels of the four tasks at 20,000 places drawn by area over land. Elevation and population are regressions. Climate is shown by its main group only (the first letter of 31 classes). Countries repeat seven colours."}, "image": {"alt": "Four world maps of coloured points: mountains stand out in elevation, Europe, India and China in population, bands of latitude in climate, and patches in countries."}}
figure, axes = et.maps.world(4, columns=2, width=9)
dots = {"s": 1.2, "linewidths": 0, "transform": et.maps.ccrs.PlateCarree()}
for ax, name, cmap in zip(axes[:2], tasks, ("viridis", "cividis")):
    drawn = ax.scatter(*places.T, c=tasks[name].target, cmap=cmap, **dots)
    bar = figure.colorbar(drawn, cax=ax.inset_axes((0.07, 0.12, 0.02, 0.33)))
    bar.ax.tick_params(labelsize=7)
for letter, colour in zip("ABCDE", et.maps.CYCLE):
    axes[2].scatter(*places[group == letter].T, color=colour, label=letter, **dots)
axes[2].legend(markerscale=5, fontsize=7, frameon=False, loc=(0.05, 0.1))
axes[3].scatter(*places.T, c=repeated, **dots)
titles = ("elevation (m)", "population (log10(1 + people))", "climate (main group)", "country")
for ax, title in zip(axes, titles):
    ax.set_title(title, fontsize=9)
plt.close(figure)
figure

# %% [markdown]
# ## The method: a probe
#
# A probe must be too weak to learn the task by itself. Here it is ridge regression on the embedding $z$ of a place,
#
# $$
# \min_{w, b} \sum_i (y_i - w^\top z_i - b)^2 + \alpha \lVert w \rVert^2 ,
# $$
#
# scored by $R^2$: 1 is perfect, 0 is no better than predicting the mean, negative is worse. For classes it predicts an
# indicator column each and the largest wins, scored by accuracy.
#
# Embeddings differ in scale and width, so one fixed penalty $\alpha$ would favour one of them. Each is standardised
# on its labelled places and gets its own penalty, by cross-validation inside them.
#
# ## Which places are scored?
#
# A *random* split scores places that have labels all around them. A *block* split scores whole equal-area cells, about
# 1,000 km on a side, in which no place has a label, and chooses the penalty between cells too. Neither is wrong. They answer different
# questions: "fill the gaps of my survey" and "predict where nobody has been".
#
# A third question hides behind both: who chose the settings, and on which places? So the cells are dealt once, continent by continent,
# into two halves ({numref}`fig-06-splits`). Every choice is made on the *development* half. The *report* half is scored once, with labels from the
# development half. [How embeddings are compared](../book/protocol.md) has all the rules.

# %% mystnb={"figure": {"name": "fig-06-splits", "caption": "In blocks, no scored cell holds a label: the halves of the land are dealt continent by continent. At random, half of the places of the report half are scored, with labels between them. 20,000 places."}, "image": {"alt": "Two world maps. Left, square cells in two colours alternate over all continents like an irregular chessboard. Right, both colours mix within half of the cells."}}
figure, axes = et.maps.world(2, columns=2, width=9)
for ax, split in zip(axes, protocol.SPLITS):
    (part,) = protocol.splits(places, "report", split)
    for members, colour, label in (
        (part.pool, et.maps.CYCLE[5], "may be labelled"),
        (part.scored, et.maps.CYCLE[4], "scored"),
    ):
        dots = {"s": 1.5, "color": colour, "linewidths": 0, "label": label}
        ax.scatter(*places[members].T, **dots, transform=et.maps.ccrs.PlateCarree())
    ax.set_title(f"{split} split", fontsize=10)
axes[0].legend(markerscale=5, fontsize=8, frameon=False, loc="lower left")
plt.close(figure)
figure

# %% [markdown]
# ## Try it: five ways to predict at a place
#
# Who compares only trained encoders with each other cannot tell what training taught. So four of these five rows have never
# seen an image, a light or a name. The encoder has a {term}`skip connection`, the untrained one too. "IDW 5" has no embedding at all: the five nearest labels, weighted by their inverse distance.

# %%
torch.manual_seed(0)
encoder = et.LocationEncoder(et.SphericalHarmonics(10), skip=10)
melt = et.TrainConfig(
    epochs=size.passes,
    batch_size=size.batch_size,
    learning_rate=size.learning_rate,
    seed=0,
)
z = {
    "coordinates": et.UnitVectors()(places),
    "harmonics": et.SphericalHarmonics(10)(places),
    "untrained": encoder.embed(places),
    "MELT": et.fit(sample, melt, encoder).model.embed(places),
    "IDW 5": et.probes.Interpolation(5),
}

# %%
both = [Evaluation(split, (size.n_labels,)) for split in protocol.SPLITS]
live = {name: scoring.score(array, tasks, 0, "development", both) for name, array in z.items()}
live = pd.concat(live, names=["embedding", None]).reset_index("embedding")
shown = intervals.scores(live, ["embedding", "task", "split"])
shown = shown.pivot(index="embedding", columns=["task", "split"], values="score").reindex(z)
shown.style.format(precision=2)

# %% [markdown]
# These are scores on the development half, of one encoder and one draw of labels: enough to try an idea, too little to report. For that we
# need retrained seeds, and all the rows that a reader may ask for.
#
# ## The table over seeds
#
# What follows is read from `data/results/report`, which `make results STAGE=report` writes. All rows have the same labels, draw by draw. All
# trained rows have the same encoder, batches of the same size and the same number of pairs. Encoders without a {term}`skip connection` are compared in
# [Is the encoder the bottleneck?](09_bottleneck.ipynb).

# %%
report = tables.read_sums("report")
display(Markdown(f"Made by {tables.provenance('report')}."))
main = list(scoring.MAIN_TASKS)
every = [*main, "climate", "population"]
melt3, salt3 = (f"{method} satellite+lights+text" for method in ("MELT", "SALT"))
bare = report["embedding"].str.endswith("no skip")
report = report[~bare | report["embedding"].str.startswith(("untrained", melt3))]

# %% [markdown]
# | row | what it is |
# | --- | --- |
# | IDW | the 5 or 50 nearest labels, weighted by inverse distance, without an embedding |
# | coordinates | the place as a point on the unit sphere: by ridge, its 5 nearest labels, boosted trees |
# | harmonics | {term}`spherical harmonics`, the fixed input of the encoder |
# | density | distances to the nearest place names: what the positions of a modality give away |
# | observations | MOSAIKS features of the images *at the place itself*, without an encoder |
# | GeoCLIP | a published encoder, trained on 4.7 million photographs |
# | untrained | the {term}`location encoder` with random weights |
# | satellite, lights, text | trained against one {term}`modality` |
# | ensemble | these three joined, reduced to the width of one: three trainings instead of one |
# | MELT, SALT | trained against two or three |

# %%
usual = tables.pick(report, task=every)
bent = [
    tables.pick(report, task=every, embedding="coordinates", probe=probe).assign(
        embedding=f"coordinates, {name}"
    )
    for probe, name in (("neighbours", "5 nearest"), ("trees", "trees"))
]
table_1 = tables.intervals(pd.concat([*bent, usual]), ["task"])

# %%
table_1["cell"] = tables.as_text(table_1)
order = ["IDW 5", "IDW 50", "coordinates"]
order += [*bent[0]["embedding"].unique(), *bent[1]["embedding"].unique()]
order += ["harmonics", "density", "observations", "GeoCLIP", "untrained", "untrained, no skip"]
order += ["satellite", "lights", "text", "ensemble"]
pairs = ["satellite+lights", "satellite+text", "lights+text"]
subsets = ["satellite+lights+text", *pairs]
rest = [*order[-4:], *(f"{method} {names}" for method in ("MELT", "SALT") for names in subsets)]
order = dict.fromkeys([*order, *rest, *(f"{name}, no skip" for name in rest)])
shown = table_1.pivot(index="embedding", columns="task", values="cell")[every]
shown["seeds"] = pd.concat([*bent, usual]).groupby("embedding")["seed"].nunique()
shown = shown.loc[[name for name in order if name in shown.index]]
shown.style.set_properties(**{"white-space": "nowrap", "font-size": "85%"})

# %% [markdown]
# **What the intervals are.** A seed draws the weights, the training places, the batches and the labels. Scores vary over
# seeds *and* over the held-out cells, so the bootstrap draws both with replacement: 95 % of its draws lie inside. The cells make most of the width. They
# are the same for all rows, so two rows with overlapping intervals can still differ clearly. Compare in pairs, below.
#
# ## Accuracy against labels
#
# A score at one {term}`label budget` says little. {numref}`fig-06-labels` shows all of them.

# %% mystnb={"figure": {"name": "fig-06-labels", "caption": "With few labels the rows lie far apart, with many they come closer. On population MELT keeps the highest mean of the coloured rows, on elevation GeoCLIP. Report half, blocks; bands: 95 % intervals; grey: other rows."}, "image": {"alt": "Four panels with rising curves over a logarithmic axis of labels from 243 to 59,049. Coloured curves: MELT with all modalities, SALT, satellite alone, ensemble, GeoCLIP, untrained and harmonics; grey curves lie among and below them, and on country one, of interpolated labels, ends above them all."}}
curves = tables.intervals(tables.pick(report, task=main, n_labels=None), ["task", "n_labels"])
curves["task"] = pd.Categorical(curves["task"], main)
names = [melt3, salt3, "satellite", "ensemble", "GeoCLIP", "untrained", "harmonics"]
labels = ["MELT, all three", "SALT, all three", *names[2:]]
figure = charts.label_curves(curves.sort_values("task"), dict(zip(names, labels)))
plt.close(figure)
figure

# %% [markdown]
# ## The differences that count
#
# The primary endpoint was fixed before the report half was scored: MELT with all modalities minus the best single modality (chosen for each task
# on the development half), 729 labels, in blocks, corrected for four tests by Holm's method. Everything else is exploratory.

# %%
best = tables.BEST_SINGLE
primary = pd.concat(
    tables.paired(tables.pick(report, task=task), melt3, [best[task]], ["task"]) for task in main
)
primary["p (Holm)"] = intervals.holm(primary.pop("p"))
primary["labels"] = [
    tables.in_labels(tables.pick(report, task=task, n_labels=None), melt3, best[task])
    for task in main
]
shown = primary.style.hide(axis="index").format("{:.2g}", subset=["p (Holm)", "labels"])
shown.format("{:+.3f}", subset=["difference", "low", "high"])

# %% [markdown]
# The last column is the effect in labels: how many times as many the single modality would need to reach MELT's score (`inf`: more than
# 59,049 in all; below 1: it needs fewer). {numref}`fig-06-against` sets MELT beside the other rows.

# %% mystnb={"figure": {"name": "fig-06-against", "caption": "Three modalities are ahead of every row on population, of harmonics, untrained and GeoCLIP on biome; behind the ensemble on country and elevation, behind text on country. Paired differences, 729 labels, report half, blocks; 95 % intervals, blue excludes zero."}, "image": {"alt": "Four panels of horizontal intervals around a vertical line at zero, one row each for harmonics, untrained, GeoCLIP, best single modality, ensemble and SALT."}}
rivals = ["harmonics", "untrained", "GeoCLIP", "ensemble", salt3]
against = tables.paired(tables.pick(report, task=main), melt3, rivals, ["task"])
against = pd.concat([against, primary.assign(name="best single")])
against = against.replace({"name": {salt3: "SALT, all three"}})
against = against.set_index("task").loc[main].reset_index()
figure = charts.differences(against, "MELT with all three, minus the row")
plt.close(figure)
figure

# %% tags=["hide-input"]
against["verdict"] = np.select(
    [against["low"] > 0, against["high"] < 0], ["above", "below"], "open"
)
said = [
    f"- **{name}**: "
    + "; ".join(
        f"{v} on {', '.join(some['task'])}" for v, some in part.groupby("verdict", sort=False)
    )
    for name, part in against.groupby("name", sort=False)
]
display(Markdown("**Reading.** MELT with all three modalities stands to\n\n" + "\n".join(said)))

# %% [markdown]
# ## Random against blocked, everywhere against elsewhere
#
# Two questions decide how good an encoder looks. Do labels lie around the scored place? And did *observations* of the region
# take part in training? In the {term}`transductive` setting they did: images are everywhere, labels are not. In the
# {term}`inductive` one no pair, image or fitted statistic comes from the report half or from within a patch of it.

# %% mystnb={"figure": {"name": "fig-06-bars", "caption": "Labels nearby help every row: harmonics (0.18 on average) and coordinates with 5 nearest neighbours (0.17) gain most, GeoCLIP least (0.04). Score at 729 labels on the report half, random and in blocks. Lines: 95 % intervals."}, "image": {"alt": "Four panels, one a task, with seven rows each: a round marker for the random split lies right of the square marker for the block split, on country, population and biome furthest for harmonics, on elevation for coordinates with 5 nearest neighbours."}}
shown = ["harmonics", "untrained", "GeoCLIP", "satellite", melt3, salt3]
both = tables.pick(report, task=main, embedding=shown, split=["block", "random"])
nearest = tables.pick(
    report, task=main, embedding="coordinates", probe="neighbours", split=["block", "random"]
)
both = pd.concat([nearest.assign(embedding="coordinates, 5 nearest"), both])
bars = tables.intervals(both, ["task", "split"]).set_index("embedding")
bars = bars.loc[["coordinates, 5 nearest", *shown]].reset_index().set_index("task").loc[main]
bars = bars.reset_index().assign(metric="accuracy or R2")
figure = et.maps.probe_bars(bars)
plt.close(figure)
figure

# %%
settings = ["transductive", "inductive"]
part = tables.pick(report, task=main, embedding=["satellite", melt3, salt3], setting=settings)
part = part.assign(embedding=part["setting"] + ": " + part["embedding"])
apart = pd.concat(
    tables.paired(part, f"transductive: {name}", [f"inductive: {name}"], ["task"]).assign(
        embedding=name, cell=tables.as_text
    )
    for name in ("satellite", melt3, salt3)
)
apart.pivot(index="embedding", columns="task", values="cell")[main]

# %% [markdown]
# The table shows what it is worth to have seen the region's images, lights and names: transductive minus inductive, 729 labels, in
# blocks. {numref}`fig-06-bars` shows the same for labels nearby.
#
# ## What an untrained encoder already knows
#
# Each row's score as a part of MELT's with all three modalities:

# %%
at = table_1.set_index(["embedding", "task"])["mean"]
share = at.unstack("task").loc[["harmonics", "untrained", "GeoCLIP", "satellite"], main]
share /= at[melt3][main]
display(share.style.format("{:.0%}"))
fall = bars.pivot(index="embedding", columns=["task", "split"], values="mean")
fall = (fall.xs("random", axis=1, level=1) - fall.xs("block", axis=1, level=1)).mean(axis=1)
display(
    Markdown(
        f"**Reading.** Random weights give {share.loc['untrained', 'country']:.0%} of MELT's accuracy on country, "
        f"{share.loc['untrained', 'biome']:.0%} on biome, {share.loc['untrained', 'elevation']:.0%} of its R² on elevation "
        f"and {share.loc['untrained', 'population (GPWv4)']:.0%} on population. "
        f"From random to blocked, 'coordinates, 5 nearest' lose {fall['coordinates, 5 nearest']:.2f} on average over the tasks, "
        f"MELT {fall[melt3]:.2f}. A map of countries is mostly geometry; so a high accuracy there is no evidence of learning."
    )
)

# %% [markdown]
# ## Who is served?
#
# A global mean can hide a continent. The sums are kept by cell, so any part of the land has a score of its own.

# %%
land = protocol.Grid().table()
near = scoring.labelled(20_000)["country"].lonlat
crowd = pd.Series(peers.density(near)[:, 1]).groupby(protocol.Grid().cells(near)).mean()
sparse = pd.qcut(crowd.reindex(land.index), 3, labels=["many names", "some names", "few names"])
cells = tables.pick(report, task=main, embedding=["untrained", "GeoCLIP", melt3])
cells = cells.assign(
    continent=cells["cell"].map(land["continent"]), names=cells["cell"].map(sparse)
)
parts = pd.concat(
    intervals.scores(cells, ["task", "embedding", by]).rename(columns={by: "part"})
    for by in ("continent", "names")
)
order = [*sorted(set(cells["continent"])), *sparse.cat.categories]
served = parts.pivot(index="part", columns=["task", "embedding"], values="score")
served.loc[order, main].style.format(precision=2)

# %% [markdown]
# $R^2$ compares with the part's own mean, so a flat continent is hard by definition. The last three rows divide the cells by how near
# place names are, the density of one modality.
#
# ## Would another probe, or other cells, say the same?

# %%
checks = tables.pick(
    report, task=main, probe=None, grid=None, embedding=[melt3, "untrained", "GeoCLIP"]
)
robust = tables.paired(checks, melt3, ["untrained", "GeoCLIP"], ["probe", "grid", "task"])
robust["cell"] = tables.as_text(robust)
robust.pivot(index=["name", "probe", "grid"], columns="task", values="cell")[main]

# %% [markdown]
# ## A circular task
#
# The gazetteer supplies the place names that models train on *and* the label "population": people counted within
# 50 km. *Where* names are is already most of the answer, whatever they say.

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Reading.** Four distances to the nearest names reach R² = {at['density', 'population']:.2f} on the gazetteer's "
        f"count, in blocks; MELT with all three reaches {at[melt3, 'population']:.2f}, satellite alone {at['satellite', 'population']:.2f}. "
        f"On GPWv4, people counted by a census, the distances reach {at['density', 'population (GPWv4)']:.2f} and MELT "
        f"{at[melt3, 'population (GPWv4)']:.2f}. So the count of the gazetteer is shown and never used for a claim."
    )
)

# %% [markdown]
# Elevation, biome and climate deserve a softer caution. They share no source with the modalities, but imagery shows them:
# relief shading draws mountains, and vegetation is what biomes and climate zones were made to explain.
#
# ## Limits
#
# - One recipe, chosen on the development half among a dozen and trained for 1.5 million pairs: five passes where the paper has fifty.
#   [Training dynamics](07_training_dynamics.ipynb) has the same encoder trained as long as the paper's.
# - Five seeds. The intervals cover retraining only as far as five seeds can.
# - Labels come from the development half, so the report scores how an encoder carries labels to other regions of the same continents.
# - A linear probe sees what is linearly readable; the table of checks shows two that bend.
#
# ## Summary
#
# - A probe freezes the embedding; standardise, and give each embedding its own penalty.
# - Choose on one half of the land, report on the other, once.
# - Coordinates, harmonics and an untrained encoder are strong rows. Without them nobody can see what training added.
# - Compare in pairs, over seeds and regions. Say the effect in labels.
# - Ask where labels come from. Population from a gazetteer is circular for a model trained on its names.
#
# ## Exercises
#
# **Exercise 1 (check).** A probe should find nothing where there is nothing. Shuffle the rows of MELT's embedding and
# score elevation again. What $R^2$ do you expect?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
shuffled = np.random.default_rng(0).permutation(z["MELT"])
elevation = {"elevation": tasks["elevation"]}
nothing = scoring.score(
    shuffled, elevation, 0, "development", [Evaluation(budgets=(size.n_labels,))]
)
nothing = intervals.scores(nothing, ["task"])["score"].item()
assert nothing < 0.1  # about zero: the mean is the best one can say
round(nothing, 2)

# %% [markdown]
# **Exercise 2 (modify).** Build an embedding that cheats: it knows the *cell* of each place and nothing else. Score country, at random and in
# blocks. Which split catches it?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
cell = protocol.Grid().cells(places)
cheat = (cell[:, None] == np.unique(cell)).astype(float)
caught = scoring.score(
    cheat,
    {"country": tasks["country"]},
    0,
    "development",
    [Evaluation(split, (size.n_labels,)) for split in protocol.SPLITS],
)
caught = intervals.scores(caught, ["split"]).set_index("split")["score"]
assert caught["random"] > caught["block"] + 0.2  # the blocks catch it
caught.round(2)

# %% [markdown]
# **Exercise 3 (open).** The primary endpoint compares with the best *single* modality. Is that fair to the ensemble? Compare MELT with it
# at every label budget, and say what you would need to decide between one encoder of three modalities and three encoders of one.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
budgets = tables.pick(report, task=main, n_labels=None, embedding=[melt3, "ensemble"])
budgets = intervals.compare(budgets, [(melt3, "ensemble")], ["task", "n_labels"])
assert np.isfinite(budgets["difference"]).all()
budgets.pivot(index="n_labels", columns="task", values="difference")[main].round(3)

# %% [markdown]
# ## Check

# %% tags=["check"]
assert set(report["setting"]) == set(settings)
assert (table_1["low"] <= table_1["mean"]).all()
assert (table_1["mean"] <= table_1["high"]).all()
for name in ("harmonics", "untrained"):
    beaten = against.query("name == @name").set_index("task")
    assert (beaten["difference"] > 0).all(), f"training adds to {name} on every task"
assert fall.idxmax() == "harmonics"
assert fall.idxmin() == "GeoCLIP"
assert fall["coordinates, 5 nearest"] > fall[melt3], "interpolation needs labels nearby"
assert share.loc["untrained", "country"] > share.loc["untrained", "population (GPWv4)"]
assert (share.loc["untrained", ["country", "biome"]] > share.loc["untrained", "elevation"]).all()
assert at["density", "population"] > 0.3, "positions of names predict the gazetteer's count"
assert caught["block"] < 0.4

# %% [markdown]
# ## Further reading
#
# - [Roberts et al. (2017)](https://doi.org/10.1111/ecog.02881): why spatial data need blocked cross-validation.
# - [Ploton et al. (2020)](https://doi.org/10.1038/s41467-020-18321-y): a published map whose skill vanished when blocks were held out.
# - [Owen (2007)](https://doi.org/10.1214/07-AOAS122): the bootstrap over two factors at once.
# - [Rolf et al. (2021)](https://doi.org/10.1038/s41467-021-24638-z): MOSAIKS, the row "observations".
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): their figure 2 and Table I are what this notebook rebuilds.
#
# Next: [Training dynamics](07_training_dynamics.ipynb): what the loss does while these encoders are made.
