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
# answer would have been without any training.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** probe an embedding fairly, tell a random split from a {term}`blocked split`, put the
#   baselines beside it that matter, and recognise a circular task.
# - **Prerequisites** [MELT](04_melt.ipynb) and [SALT](05_salt.ipynb); linear and logistic regression.
# - **Data** labels from [elevation](../data/cards/elevation.md), [climate](../data/cards/climate.md),
#   [countries](../data/cards/countries.md) and [places](../data/cards/places.md); training on
#   [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md) and place names.
# - **Time** about 5 minutes on two cores, for three trainings and the probes.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from scipy import stats
from scipy.spatial import cKDTree

import earthtie_lite as et

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)

# %% [markdown]
# ## Four questions about a place
#
# A *task* is a set of places with labels that no training saw. The four tasks share their places, drawn by
# area over land. Antarctica is left out, and Greenland, where the source of the elevation gives the rock under the ice.

# %%
names = ("elevation", "population", "climate", "country")
tasks = {name: et.load_task(name, n=size.n_task) for name in names}
places = tasks["elevation"].lonlat
pd.DataFrame(
    {
        "kind": {name: task.kind for name, task in tasks.items()},
        "unit": {name: task.unit for name, task in tasks.items()},
        "classes that occur": {
            name: len(np.unique(task.target)) if task.classes else ""
            for name, task in tasks.items()
        },
        "caveat": {name: task.caveat for name, task in tasks.items()},
    }
).style

# %% [markdown]
# {numref}`fig-06-tasks` shows the labels. Climate has 31 classes, too many for colours. On the map only the first letter of a class is shown: A equatorial, B arid, C
# warm temperate, D snow, E polar.

# %%
letters = np.array([name[0] for name in tasks["climate"].classes])
group = letters[tasks["climate"].target]
repeated = np.array(et.maps.CYCLE)[tasks["country"].target % len(et.maps.CYCLE)]

# %% mystnb={"figure": {"name": "fig-06-tasks", "caption": "The labels of the four tasks at 20,000 places drawn by area over land. Elevation and population are regressions. Climate is shown by its main group only (the first letter of 31 classes). Countries repeat seven colours."}, "image": {"alt": "Four world maps of coloured points: mountains stand out in elevation, Europe, India and China in population, bands of latitude in climate, and patches in countries."}}
figure, axes = et.maps.world(4, columns=2, width=9)
dots = {"s": 1.2, "linewidths": 0, "transform": et.maps.ccrs.PlateCarree()}
for ax, name, cmap in zip(axes[:2], names, ("viridis", "cividis")):
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
# ## Seven ways to describe a place
#
# Who compares only trained encoders with each other cannot tell what training taught. So the first four rows have never
# seen an image, a light or a name:
#
# | row | what it is |
# | --- | --- |
# | coordinates | the place as a point $(x, y, z)$ on the unit sphere |
# | coordinates, 5 nearest | the same, but the five nearest labels average or vote: pure interpolation |
# | harmonics | {term}`spherical harmonics` below degree 10, the fixed input of the encoder |
# | untrained | the {term}`location encoder` with random weights |
# | satellite only | trained against one {term}`modality` |
# | MELT, SALT | trained against three |
#
# All trained rows see the same number of pairs: one pass over three modalities is worth three over one.

# %%
melt = et.TrainConfig(
    method="melt",
    epochs=size.passes,
    batch_size=size.batch_size,
    learning_rate=size.learning_rate,
    seed=0,
)
longer = melt.replace(epochs=len(sample) * size.passes)
runs = {
    "satellite only": et.fit({"satellite": sample["satellite"]}, longer),
    "MELT": et.fit(sample, melt),
    "SALT": et.fit(sample, longer.replace(method="salt")),
}

# %% [markdown]
# Now each encoder is frozen and used once: one array per row, with as many lines as there are places.

# %%
torch.manual_seed(0)
z = {
    "coordinates": et.UnitVectors()(places),
    "harmonics": et.SphericalHarmonics(10)(places),
    "untrained": et.LocationEncoder().embed(places),
    **{name: run.model.embed(places) for name, run in runs.items()},
}
pd.DataFrame(
    {
        "columns": {name: array.shape[1] for name, array in z.items()},
        "pairs seen": {name: run.history["pairs"].iloc[-1] for name, run in runs.items()},
    }
).reindex(z).style.format("{:,.0f}", na_rep="0")

# %% [markdown]
# ## The method: a probe
#
# A probe must be too weak to learn the task by itself. For a regression it is ridge regression on the embedding $z$ of a place,
#
# $$
# \min_{w, b} \sum_i (y_i - w^\top z_i - b)^2 + \lambda \lVert w \rVert^2 ,
# $$
#
# scored by $R^2$: 1 is perfect, 0 is no better than predicting the mean, negative is worse. For a classification it
# is multinomial logistic regression, scored by accuracy.
#
# Embeddings differ in scale and width, so one fixed penalty $\lambda$ would favour one of them. Each is standardised
# on its training part and gets its own penalty, chosen by cross-validation inside that part.
#
# ## Which places are scored?
#
# A *random* split scores places that have labels all around them. A *block* split scores whole equal-area blocks, about
# 1,000 km on a side, in which no place has a label. The penalty is then chosen between blocks too.

# %% mystnb={"figure": {"name": "fig-06-splits", "caption": "A random split asks for interpolation, a block split for whole regions without a label. Both panels: 729 labelled places and the scored quarter, first draw of 20,000 places."}, "image": {"alt": "Two world maps. Left, labelled dots lie among the scored dots everywhere. Right, scored dots fill square blocks that hold no labelled dot."}}
figure, axes = et.maps.world(2, columns=2, width=9)
for ax, split in zip(axes, et.probes.SPLITS):
    part = et.probes.split_places(places, split, size.n_labels, seed=0)
    for rows, colour, s, label in (
        (part.test, et.maps.CYCLE[4], 1, "scored"),
        (part.train, et.maps.CYCLE[5], 4, "labelled"),
    ):
        dots = {"s": s, "color": colour, "linewidths": 0, "label": label}
        ax.scatter(*places[rows].T, **dots, transform=et.maps.ccrs.PlateCarree())
    ax.set_title(f"{split} split", fontsize=10)
axes[0].legend(markerscale=4, fontsize=8, frameon=False, loc="lower left")
plt.close(figure)
figure

# %% [markdown]
# The difference is large: see {numref}`fig-06-splits`. Neither split is wrong. They answer different questions: "fill the gaps of
# my survey" and "predict where nobody has been".
#
# One probe is one call. Each row of the result is one *draw* of scored places and labels.

# %%
one = et.probe(
    z["MELT"], tasks["elevation"], size.n_labels, split="block", seeds=size.seeds, name="MELT"
)
one[["embedding", "task", "split", "seed", "score", "n_test", "penalty"]].round(3)

# %% [markdown]
# ## All rows, all tasks, both splits


# %%
def score_all(split, task):
    """Return the scores of every row on one task."""
    setting = {"n_labels": size.n_labels, "split": split, "seeds": size.seeds}
    table = [et.probe(array, task, name=name, **setting) for name, array in z.items()]
    nearest = {"probe": "neighbours", "name": "coordinates, 5 nearest"}
    table.insert(1, et.probe(z["coordinates"], task, **setting, **nearest))
    return pd.concat(table)


# %%
scores = pd.concat(
    [score_all(split, task) for task in tasks.values() for split in et.probes.SPLITS]
)
summary = et.summarise(scores)
table = summary.pivot(index="embedding", columns=["task", "split"], values="mean")
table = table.reindex(scores["embedding"].unique())
table.style.format(precision=2).highlight_max(props="font-weight: bold")

# %% mystnb={"figure": {"name": "fig-06-bars", "caption": "Held-out blocks are harder than random places, and rows without any training come close to trained ones. 729 labels; elevation and population by R2, climate and country by accuracy. Population is circular: its labels come from the gazetteer whose names MELT and SALT train on. One trained seed; lines are 95 % intervals of the mean over 4 draws of labels and blocks, not over retraining."}, "image": {"alt": "Four panels, one a task, with seven rows each: a round marker for the random split mostly lies right of the square marker for the block split. Intervals of the block split are wide and overlap."}}
figure = et.maps.probe_bars(summary)
plt.close(figure)
figure

# %% [markdown]
# **What the intervals are.** Those of {numref}`fig-06-bars` cover draws of labels and of blocks. The draws overlap, so they are rather too
# narrow ([Nadeau and Bengio, 2003](https://doi.org/10.1023/A:1024068626366)). And they do *not* cover retraining: there is one trained encoder a row. Which method is better is
# a question about encoders that have not been trained yet; answering it needs several retrained seeds. What follows describes
# these encoders.
#
# All rows meet the same draws. So the honest comparison is *paired*: subtract within a draw, then average.

# %%
paired = scores.pivot(index=["task", "split", "seed"], columns="embedding", values="score")
blocked = paired.xs("block", level="split")
rivals = ["harmonics", "untrained", "satellite only", "SALT"]
gain = pd.concat({name: blocked["MELT"] - blocked[name] for name in rivals}, names=["minus"])
by = gain.rename("mean").groupby(["minus", "task"], sort=False)
lead = by.agg(["mean", "sem"])
half = stats.t.ppf(0.975, size.seeds - 1) * lead.pop("sem")
lead["low"], lead["high"] = lead["mean"] - half, lead["mean"] + half
lead.style.format("{:+.3f}")

# %% tags=["hide-input"]
said = {
    what: "; ".join(f"{name} on {task}" for name, task in lead.query(rule).index) or "none"
    for what, rule in {"ahead": "low > 0", "behind": "high < 0", "open": "low <= 0 <= high"}.items()
}
display(
    Markdown(
        f"**Reading, block split.** MELT is ahead of: {said['ahead']}. It is behind: {said['behind']}. "
        f"No difference shows over these {size.seeds} draws against: {said['open']}. Of sixteen such intervals one "
        "would exclude zero by luck now and then; none of this is a test."
    )
)

# %% tags=["hide-input"]
fall = (table.xs("random", axis=1, level=1) - table.xs("block", axis=1, level=1)).mean(axis=1)
display(
    Markdown(
        f"**Reading, splits.** From random to block the row 'coordinates, 5 nearest' loses "
        f"{fall['coordinates, 5 nearest']:.2f} on average over the tasks, MELT {fall['MELT']:.2f}, the untrained "
        f"encoder {fall['untrained']:.2f}. On country, five neighbours without any embedding reach "
        f"{table.loc['coordinates, 5 nearest', ('country', 'random')]:.2f} at random places, MELT "
        f"{table.loc['MELT', ('country', 'random')]:.2f}."
    )
)

# %% [markdown]
# A lead on population does not count yet; the reason comes below. Three habits follow. Report the untrained encoder, always.
# Report both splits. And be slow to credit training with what the geometry of the sphere gives away for free.
#
# ## A class without a label
#
# With few labels some classes have none, and no probe can ever say their name. Such a place counts as an error in
# `score`. The column `score_seen` leaves it out. Reported alone, it would reward a split for having fewer classes.

# %%
classes = scores[scores["task"].isin(["climate", "country"]) & (scores["embedding"] == "MELT")]
seen = classes.groupby(["task", "split"])[["score", "score_seen"]].mean()
seen["cost of absent classes"] = seen["score_seen"] - seen["score"]
seen.round(3)

# %% [markdown]
# In blocks a whole country can lie inside the scored part, so the cost is larger there. Which
# places are lost belongs to the draw of labels: it is the same for every embedding.
#
# ## How much is an embedding worth in labels?
#
# A score at one {term}`label budget` says little, as its unit differs from task to task. Labels are a common currency: how many
# more would the weaker embedding need ({numref}`fig-06-budget`)? To be quick, both tasks use ridge here (for classes: ridge on indicator columns).

# %%
budgets = (size.n_labels // 3, size.n_labels, 3 * size.n_labels)
few = ["harmonics", "untrained", "satellite only", "MELT"]
curves = et.summarise(
    pd.concat(
        et.probe(z[name], tasks[task], n, probe="ridge", seeds=size.seeds, name=name)
        for task in ("elevation", "country")
        for n in budgets
        for name in few
    )
)

# %% mystnb={"figure": {"name": "fig-06-budget", "caption": "More labels raise the accuracy on country in every row, by more than MELT and the untrained encoder differ; on elevation in held-out blocks no row stands out. Block split, ridge probe. One trained seed; bars are 95 % intervals of the mean over 4 draws of labels and blocks, not over retraining."}, "image": {"alt": "Two panels, elevation and country, with four curves each over a logarithmic axis of labels."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, (task, rows) in zip(axes, curves.groupby("task", sort=False)):
    for k, (name, curve) in enumerate(rows.groupby("embedding", sort=False)):
        half = curve["mean"] - curve["low"]
        x = curve["n_labels"] * 1.04 ** (k - 1.5)
        ax.errorbar(
            x, curve["mean"], half, fmt="o-", ms=4, lw=1, color=et.maps.CYCLE[k], label=name
        )
    ax.set(title=task, xlabel="labels", ylabel=curve["metric"].iloc[0], xscale="log")
    ax.set_xticks(budgets, budgets)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
axes[1].legend(frameon=False, fontsize=8)
plt.close(figure)
figure

# %% tags=["hide-input"]
country = curves[curves["task"] == "country"].pivot(
    index="n_labels", columns="embedding", values="mean"
)
target = country.loc[budgets[0], "untrained"]
need = np.exp(np.interp(target, country["satellite only"], np.log(budgets)))
apart = country["MELT"] - country["untrained"]
display(
    Markdown(
        f"**Reading.** On country the untrained encoder reaches {target:.2f} with {budgets[0]} labels; 'satellite only' needs "
        f"about {need:.0f} for that (interpolated, at most {budgets[-1]:,}). MELT minus untrained is "
        f"{', '.join(f'{d:+.3f}' for d in apart)} at {', '.join(f'{n:,}' for n in budgets)} labels."
    )
)

# %% [markdown]
# ## A circular task
#
# Population looks like a success for the place names. Look closer. The labels count people of the places of a gazetteer within
# 50 km, and the names that MELT and SALT train on come from that same gazetteer. *Where* names are is already most of the
# answer, whatever they say. To see how much, describe a place by three distances only: to the 1st, the 10th and the 100th
# nearest name. No learning, no populations.


# %%
def density(names):
    """Describe each place by the log distance to the 1st, 10th and 100th of some names."""
    tree = cKDTree(et.coords.unit_vectors(names))
    distance, _ = tree.query(et.coords.unit_vectors(places), k=[1, 10, 100])
    return np.log(distance + 1e-4)


# %%
where = {
    "where the training names are": density(sample["text"].lonlat),
    "where all names are": density(et.sample.places()[["lon", "lat"]].to_numpy()),
}
circle = pd.concat(
    et.probe(d, tasks["population"], size.n_labels, seeds=size.seeds, name=name)
    for name, d in where.items()
)
rows = summary.query("task == 'population' and split == 'block' and probe == 'ridge'")
circle = pd.concat([rows, et.summarise(circle)]).set_index("embedding")
circle[["mean", "low", "high"]].style.format(precision=2)

# %% tags=["hide-input"]
positions, best = circle.loc["where all names are", "mean"], circle["mean"][:-2].max()
display(
    Markdown(
        f"**Reading.** Three distances reach $R^2$ = {positions:.2f} in held-out blocks; the best embedding reaches "
        f"{best:.2f}. A good score on this task shows that positions of names went into training. It is no evidence that the "
        "*names* taught anything. People counted by a census, independent of the gazetteer, would be a fair task."
    )
)

# %% [markdown]
# Elevation and climate deserve a softer caution. They share no source with the modalities, but imagery shows them:
# relief shading draws mountains, and vegetation is what climate zones were made to explain.
#
# ## Limits
#
# - One trained seed a row. Nothing here supports a claim that one method beats another.
# - A few draws, which overlap. Where an interval spans zero, the experiment is too small to say more.
# - The encoders saw observations from everywhere, scored blocks included; only labels were held out. Predicting where there is
#   no observation either is a harder question.
# - Short training on a small sample, no tuning. An encoder tuned for one task would look different.
# - A linear probe sees what is linearly readable. What an embedding holds in another form is not counted.
#
# ## Summary
#
# - A probe freezes the embedding; standardise, and give each embedding its own penalty.
# - Random splits measure interpolation, block splits prediction of regions. Show both.
# - Coordinates, harmonics and an untrained encoder are strong rows. Without them nobody can see what training added.
# - Compare in pairs, within draws. An interval over draws says nothing on retraining.
# - Ask where labels come from. Population from a gazetteer is circular for a model trained on its names.
#
# ## Exercises
#
# **Exercise 1 (check).** A probe should find nothing where there is nothing. Shuffle the rows of MELT's embedding and
# probe elevation again. What $R^2$ do you expect?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
shuffled = np.random.default_rng(0).permutation(z["MELT"])
nothing = et.probe(shuffled, tasks["elevation"], size.n_labels, seeds=2)["score"].mean()
assert nothing < 0.1  # about zero: the mean is the best one can say
round(nothing, 2)

# %% [markdown]
# **Exercise 2 (check).** How far is a scored place from its nearest label, in both splits? Use it to explain the fall of the row
# "coordinates, 5 nearest".

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
far_km = {}
for split in et.probes.SPLITS:
    part = et.probes.split_places(places, split, size.n_labels, seed=0)
    tree = cKDTree(et.coords.unit_vectors(places[part.train]))
    chord, _ = tree.query(et.coords.unit_vectors(places[part.test]))
    far_km[split] = np.median(2 * et.coords.EARTH_RADIUS_KM * np.arcsin(chord / 2))
assert far_km["block"] > 1.2 * far_km["random"]
{split: f"{km:.0f} km" for split, km in far_km.items()}

# %% [markdown]
# **Exercise 3 (modify).** Training may forget what the harmonics knew. Join both, each scaled to unit variance, and probe elevation on
# the block split. Does the join beat its parts?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
joined = np.hstack([z[name] / z[name].std() for name in ("MELT", "harmonics")])
both = et.probe(joined, tasks["elevation"], size.n_labels, seeds=size.seeds)["score"].mean()
parts = table[("elevation", "block")][["MELT", "harmonics"]]
assert both > parts.min() - 0.1  # the penalty decides how much of each is used
pd.concat([parts, pd.Series({"joined": both})]).round(2)

# %% [markdown]
# **Exercise 4 (open).** Are 1,000 km blocks large enough? Think of a test: when blocks outgrow the distance over which elevation
# resembles itself, larger ones make no further difference. Start with how the resemblance falls with distance.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
i, j = np.random.default_rng(0).integers(0, len(places), (2, 100_000))
km = et.coords.great_circle_km(places[i], places[j])
metres = tasks["elevation"].target
pairs = pd.DataFrame({"here": metres[i], "there": metres[j]})
bands = pairs.groupby(pd.cut(km, [0, 300, 1000, 3000, 9000]), observed=True)
correlation = pd.Series({band: rows["here"].corr(rows["there"]) for band, rows in bands})
assert correlation.iloc[0] > correlation.iloc[-1]
correlation.round(2)  # what is left beyond 1,000 km speaks for larger blocks as a check

# %% [markdown]
# ## Check

# %% tags=["check"]
assert np.isfinite(scores["score"]).all()
for split in et.probes.SPLITS:
    part = et.probes.split_places(places, split, size.n_labels, seed=0)
    labelled, scored = (et.coords.block_ids(places[rows]) for rows in (part.train, part.test))
    shared = np.intersect1d(labelled, scored)
    assert (len(shared) == 0) == (split == "block"), "only blocks keep labels away"
assert np.ptp([np.log(r.history["pairs"].max()) for r in runs.values()]) < 0.15, "equal pairs"
assert (fall[["coordinates, 5 nearest", "untrained", "MELT"]] > 0).all(), "blocks are harder"
assert fall["coordinates, 5 nearest"] > fall["coordinates"], "neighbours live on nearby labels"
assert abs(table.loc["coordinates", "elevation"]).max() < 0.1, "x, y, z are not enough"
assert table.loc["untrained", "country"].min() > 0.4, "a strong row without training"
cost = seen["cost of absent classes"]
assert cost[("country", "block")] > cost[("country", "random")] >= 0, "absent classes cost more"
assert (country.iloc[-1] - country.iloc[0]).min() > apart.abs().max(), "labels beat training"
assert positions > best, "population is circular"

# %% [markdown]
# ## Further reading
#
# - [Alain and Bengio (2016)](https://arxiv.org/abs/1610.01644): linear probes of what a network's layers hold.
# - [Roberts et al. (2017)](https://doi.org/10.1111/ecog.02881): cross-validation for spatial data, and why blocks.
# - [Ploton et al. (2020)](https://doi.org/10.1038/s41467-020-18321-y): a published map whose skill vanished when blocks were held out.
# - [Nadeau and Bengio (2003)](https://doi.org/10.1023/A:1024068626366): why repeated splits give too narrow intervals.
#
# Next: [Prediction maps](08_prediction_maps.ipynb): where is the embedding wrong?
