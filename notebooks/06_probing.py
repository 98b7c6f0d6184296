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
# A contrastive loss says how well places and observations find each other. It does not say what
# an embedding is good for. To learn that we freeze the embedding and let a simple model predict
# something new from it: a {term}`probe`. Then we ask how well the same probe does without any
# training, and whether the difference survives another seed and other regions.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** write a ridge probe and a {term}`blocked split`, choose a penalty fairly, read a table with
#   intervals over seeds and regions, and recognise a circular task.
# - **Prerequisites** [MELT](04_melt.ipynb) and [SALT](05_salt.ipynb); linear regression.
# - **Data** labels from [elevation](../data/cards/elevation.md), [climate](../data/cards/climate.md),
#   [countries](../data/cards/countries.md), [places](../data/cards/places.md), [population](../data/cards/population.md) and
#   [biomes](../data/cards/biomes.md); training on [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md) and place names.
# - **Time** about 25 minutes to read, 3 minutes to run on two cores: one training is live, the
#   tables over seeds are read.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from scipy.spatial import cKDTree
from sklearn.linear_model import Ridge

import earthtie_lite as et
from earthtie_lite.results import charts, intervals, peers, protocol, scoring, tables
from earthtie_lite.results.scoring import Evaluation

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)
tasks = scoring.labelled(size.n_task)
places = tasks["elevation"].lonlat  # (N, 2), the same for all tasks

# %% [markdown]
# ## Four questions about a place
#
# A *task* is a set of places with labels that no training saw ({numref}`fig-06-tasks`). The tasks
# share their places, drawn by area over land without Antarctica and Greenland.
#
# | task | label | scored by | caveat |
# | --- | --- | --- | --- |
# | elevation | metres | $R^2$ | images show the shading of mountains |
# | population | log10(1 + people within 50 km) | $R^2$ | circular: counted from the gazetteer that supplies the names |
# | climate | Köppen-Geiger class, 31 of them | accuracy | closely tied to what satellites see |
# | country | country | accuracy | |
#
# Two more appear in the tables below: population density by GPWv4 and the biomes of RESOLVE. Their files are too large for the
# repository; the data cards say where to get them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-tasks", "caption": "Nearby places have similar labels in all four tasks. Places drawn by area over land (20,000). Climate is shown by its main group: A equatorial, B arid, C warm temperate, D snow, E polar. Countries repeat seven colours."}, "image": {"alt": "Four world maps of coloured points: mountains stand out in elevation, Europe, India and China in population, bands of latitude in climate, and patches in countries."}}
figure, axes = et.maps.world(4, columns=2)
dots = {"s": 1.2, "linewidths": 0, "transform": et.maps.ccrs.PlateCarree()}
for ax, name, cmap in zip(axes[:2], tasks, ("viridis", "cividis")):
    drawn = ax.scatter(*places.T, c=tasks[name].target, cmap=cmap, **dots)
    figure.colorbar(drawn, ax=ax, orientation="horizontal", shrink=0.6, aspect=30)
main_group = np.array([c[0] for c in tasks["climate"].classes])[tasks["climate"].target]
for letter, colour in zip("ABCDE", et.maps.CYCLE):
    axes[2].scatter(*places[main_group == letter].T, color=colour, label=letter, **dots)
axes[2].legend(markerscale=5, fontsize=9, frameon=False, loc=(0.06, 0.16), labelspacing=0.1)
axes[3].scatter(*places.T, c=np.array(et.maps.CYCLE)[tasks["country"].target % 7], **dots)
titles = ("elevation (m)", "population (log10(1 + people))", "climate (main group)", "country")
for ax, title in zip(axes, titles):
    ax.set_title(title, fontsize=10)
plt.close(figure)
figure

# %% [markdown]
# ## Four embeddings of a place
#
# If we compared only trained encoders with each other, we could not tell what training taught.
# So three of these four rows have never seen an image, a light or a name: the point on the unit
# sphere (3 numbers), the {term}`spherical harmonics` that enter the encoder (100), and the encoder
# with random weights (256). The fourth is the same encoder trained with MELT. Both encoders
# have a {term}`skip connection`: 100 of their 256 columns are the harmonics themselves.
#
# The embeddings are computed once. From here on they are arrays; no gradient reaches the encoder.

# %%
torch.manual_seed(0)
encoder = et.LocationEncoder(et.SphericalHarmonics(10), skip=10)
config = et.TrainConfig(
    epochs=size.passes,
    batch_size=size.batch_size,
    learning_rate=size.learning_rate,
    seed=0,
)
z = {
    "coordinates": et.UnitVectors()(places),
    "harmonics": et.SphericalHarmonics(10)(places),
    "untrained": encoder.embed(places),
    "MELT": et.fit(sample, config, encoder).model.embed(places),
}
z = {name: array.astype(np.float64) for name, array in z.items()}  # (N, D) each

# %% [markdown]
# ## Write the probe
#
# A probe must be too weak to learn the task by itself. Ours is ridge regression on the embedding,
#
# $$
# \min_{w, b} \sum_i (y_i - w^\top z_i - b)^2 + \alpha \lVert w \rVert^2 ,
# $$
#
# where the sum is over the labelled places. Its solution is $w = (Z^\top Z + \alpha I)^{-1} Z^\top y$ once $Z$ and $y$ are centred, so
# that $b$ carries no penalty. A penalty treats all columns alike, so each column is first standardised: minus its mean, over its
# standard deviation, *both from the labelled places only*. The score is $R^2$: 1 is perfect, 0 is as good as predicting the
# mean of the scored places, and below 0 is worse than that.


# %%
def standardise(z, rows):
    """Standardise all places by the mean and spread of the labelled ones."""
    mean, spread = z[rows].mean(axis=0), z[rows].std(axis=0)
    return (z - mean) / np.maximum(spread, 1e-6)  # a constant column becomes 0


def ridge(Z, y, alpha):
    """Fit ridge regression; return the function that predicts."""
    middle, centre = Z.mean(axis=0), y.mean(axis=0)
    Z, y = Z - middle, y - centre
    w = np.linalg.solve(Z.T @ Z + alpha * np.eye(Z.shape[1]), Z.T @ y)  # (D,)
    return lambda new: (new - middle) @ w + centre


def r2(predicted, truth):
    return 1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()


# %%
y = tasks["elevation"].target  # (N,)
at_random = np.random.default_rng(0).permutation(len(places))
rows, others = at_random[: size.n_labels], at_random[size.n_labels :]
Z = standardise(z["MELT"], rows)
predicted = ridge(Z[rows], y[rows], 100.0)(Z[others])

by_sklearn = Ridge(alpha=100.0).fit(Z[rows], y[rows]).predict(Z[others])
fitted = et.probes.fit_ridge(z["MELT"], tasks, rows, rows, penalties=(100.0,))
assert np.allclose(predicted, by_sklearn)
assert np.allclose(predicted, fitted["elevation"].predict(z["MELT"][others]))
print(f"{len(rows)} labels, {len(others):,} other places: R2 = {r2(predicted, y[others]):.2f}")

# %% [markdown]
# These few lines agree with scikit-learn's `Ridge` and with the package's probe, which also
# standardises, and solves all tasks with one factorisation.
#
# **Exercise 1 (write).** Predict the country. Make a 0-or-1 column for each country that has a label, fit all
# columns with `ridge`, and let the largest response win. Which places can never be right?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
country = tasks["country"].target
classes = np.unique(country[rows])
one_hot = (country[rows][:, None] == classes).astype(float)  # (n, K)
response = ridge(Z[rows], one_hot, 100.0)(Z[others])  # (N, K)
voted = classes[response.argmax(axis=1)]
assert (voted == fitted["country"].predict(z["MELT"][others])).all()
# A country without a label has no column, so each of its places counts as an error.
missed = ~np.isin(country[others], classes)
print(
    f"accuracy {(voted == country[others]).mean():.2f}; {len(classes)} countries have a label, "
    f"{missed.mean():.1%} of the places lie in another one"
)

# %% [markdown]
# ## Write the split
#
# Those scored places had labels all around them. That answers "fill the gaps of my survey". It does
# not answer "predict where nobody has been". For the second question no label may lie near a scored
# place, so we cut the Earth into cells and score whole cells.
#
# The cells have equal areas. Rows of latitude, each about 1,000 km high, are cut into as many equal steps of
# longitude as fit at about 1,000 km each. On a sphere the area between two latitudes is proportional to the
# difference of their sines. So the edges of the rows, in sin(latitude), are spaced by the number of cells in each row.


# %%
def cells(lonlat, side_km=1000.0, radius_km=6371.0):
    """Number the equal-area cells from south to north; return the cell of each place."""
    lon, lat = lonlat.T
    n_rows = round(np.pi * radius_km / side_km)
    middle = (np.arange(n_rows) + 0.5) / n_rows * np.pi - np.pi / 2
    columns = np.round(2 * np.pi * radius_km * np.cos(middle) / side_km).astype(int)
    upper = 2 * np.cumsum(columns) / columns.sum() - 1  # upper edges of the rows, sin(latitude)
    row = np.searchsorted(upper[:-1], np.sin(np.radians(lat)), side="right")
    column = ((lon + 180) / 360 * columns[row]).astype(int)
    return np.cumsum(columns)[row] - columns[row] + column


cell = cells(places)
assert (cell == et.coords.block_ids(places, 1000.0)).all()


# %%
def random_split(seed):
    """Score a quarter of the places."""
    return et.coords.stream("split", seed).random(len(places)) < 0.25  # (N,), True: scored


def block_split(seed):
    """Deal the cells: score all places in a quarter of them."""
    dealt = et.coords.stream("split", seed).permutation(np.unique(cell))
    return np.isin(cell, dealt[: round(0.25 * len(dealt))])


splits = {"random": random_split, "block": block_split}
for name, deal in splits.items():
    assert (np.flatnonzero(deal(0)) == et.probes.draw_split(places, name, 0).scored).all()
assert not np.isin(cell[~block_split(0)], cell[block_split(0)]).any()

# %% [markdown]
# The generator `stream("split", seed)` is the package's, so both deal the same cells. Now score elevation in five draws of each split, with one penalty for
# all. Beside the embeddings stands a rule without any: copy the nearest label. Guess first: which row loses most when the
# scored cells hold no label?


# %%
def rate(scored, allowed, seed, alpha=1000.0):
    """Return the R2 of each row for elevation; labels come from the allowed places."""
    pool = et.coords.stream("labels", seed).permutation(np.flatnonzero(allowed))
    rows = pool[: size.n_labels]
    nearest = (z["coordinates"][scored] @ z["coordinates"][rows].T).argmax(axis=1)
    found = {"nearest label": r2(y[rows][nearest], y[scored])}
    for name, array in z.items():
        Z = standardise(array, rows)
        found[name] = r2(ridge(Z[rows], y[rows], alpha)(Z[scored]), y[scored])
    return found


rated = {k: [rate(deal(s), ~deal(s), s) for s in range(5)] for k, deal in splits.items()}
by_hand = pd.DataFrame({k: pd.DataFrame(found).mean() for k, found in rated.items()})
by_hand.style.format(precision=2)

# %% [markdown]
# The nearest label loses most: at random it looks like a good model, in blocks it is none. Every other row but the
# coordinates, which know nothing at either, loses too: a random split flatters.
#
# **Exercise 2 (write).** A label just across the edge of a scored cell is still only kilometres from a scored place. Write a *buffer*: allow
# labels only at places more than 300 km from every scored place. What happens to the rows?


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def far_from(scored, km):
    """Return which places are more than ``km`` from every scored place, (N,)."""
    chord, _ = cKDTree(z["coordinates"][scored]).query(z["coordinates"])
    return chord > 2 * np.sin(km / 6371 / 2)


scored = block_split(0)
apart = [rate(block_split(s), far_from(block_split(s), 300), s) for s in range(5)]
by_hand["block, 300 km apart"] = pd.DataFrame(apart).mean()
# The package measures its buffer from the edge of the cell, so it keeps no place that ours drops.
near = et.coords.within_blocks(places, np.unique(cell[scored]), 1000.0, 300.0)
assert far_from(scored, 300)[~near].all()
further = (by_hand["block"] - by_hand["block, 300 km apart"]).drop("coordinates")
assert size.n < 20_000 or (further > 0).all()
# With 20,000 places every row but the coordinates, which know nothing, falls further. The
# distance to the nearest label is part of the question: choose it as large as it will be in use.
by_hand.style.format(precision=2)

# %% [markdown]
# A buffer matters most where two places share data. Two images overlap within a patch's width, so *training* holds out cells with a buffer of one
# patch. A count of people within 50 km reaches across the edge of a cell, too; our labels have no buffer, which helps every row.
#
# ## Choose the penalty between cells, too
#
# One penalty does not suit 3 columns and 256. Each embedding gets its own by cross-validation among its labels: leave out a
# fifth of them, fit on the others, predict the fifth, for each of eight penalties. But which fifth? If single rows are left out, each has a
# labelled neighbour, as in a random split. So whole cells are left out.


# %%
PENALTIES = 10.0 ** np.arange(-1, 7)


def cross_validate(Z, y, groups):
    """Return the R2 of each penalty over five folds; no group is in two folds."""
    error = np.zeros(len(PENALTIES))
    for kept, left in et.probes.folds(groups, 5):
        for k, alpha in enumerate(PENALTIES):
            error[k] += ((ridge(Z[kept], y[kept], alpha)(Z[left]) - y[left]) ** 2).sum()
    return 1 - error / ((y - y.mean()) ** 2).sum()


# %%
held = block_split(0)
given = et.coords.stream("labels", 0).permutation(np.flatnonzero(~held))[: size.n_labels]
by_penalty = {}
for name in ("untrained", "MELT"):
    X = standardise(z[name], given)
    by_penalty[name] = pd.DataFrame(index=PENALTIES)
    by_penalty[name]["folds of rows"] = cross_validate(X[given], y[given], np.arange(len(given)))
    by_penalty[name]["folds of cells"] = cross_validate(X[given], y[given], cell[given])
    fits = [ridge(X[given], y[given], alpha)(X[held]) for alpha in PENALTIES]
    by_penalty[name]["scored cells"] = [r2(guess, y[held]) for guess in fits]
    best = by_penalty[name]["folds of cells"].idxmax()
    package = et.probe(z[name], tasks["elevation"], size.n_labels, "block", "ridge", seeds=1)
    assert package["penalty"].item() == best
    assert np.isclose(package["score"].item(), by_penalty[name]["scored cells"][best])

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-penalty", "caption": "Folds of single rows promise more than folds of cells and than the scored cells keep. For the untrained encoder they choose a smaller penalty, which scores worse. Elevation, 729 labels, block split, one draw, one seed."}, "image": {"alt": "Two panels of three curves over the penalty on a logarithmic axis. The dashed curve of folds of rows lies above the solid one of folds of cells. On the left it peaks at a smaller penalty; circles mark the peaks. The dotted curve of the scored cells stays near the solid one."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, (name, curve) in zip(axes, by_penalty.items()):
    for (how, values), style in zip(curve.items(), ("--", "-", ":")):
        colour = {"--": et.maps.CYCLE[1], "-": et.maps.CYCLE[0], ":": "black"}[style]
        ax.plot(values.index, values, style, color=colour, lw=1.8, label=how)
        if how != "scored cells":
            ax.plot(values.idxmax(), values.max(), "o", color=colour, ms=8)
    ax.set(xscale="log", xlabel="penalty", title=name)
    ax.grid(alpha=0.3)
highest = max(curve.max(axis=None) for curve in by_penalty.values())
axes[0].set(ylabel="R² of elevation", ylim=(-0.3, highest + 0.05))
axes[1].legend(frameon=False)
plt.close(figure)
figure

# %% [markdown]
# A small penalty keeps fine detail, and fine detail helps beside a label ({numref}`fig-06-penalty`). The loop above is
# `et.probe`: at the penalty chosen between cells our score equals its score.
#
# ## The package's version: halves of the land
#
# Another question remains: who chose the settings of training, and on which places? In the book the cells are dealt once, continent by continent,
# into two halves. Every choice is made on the *development* half. The *report* half is scored once, with labels
# from the development half ({numref}`fig-06-splits`). [How embeddings are compared](../book/protocol.md) has all the rules.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-splits", "caption": "In blocks no scored cell holds a label; at random labels lie between the scored places. Above: our splits, one draw of seed 0. Below: the book's fixed halves of the land, dealt continent by continent. 20,000 places."}, "image": {"alt": "Four world maps with points in two colours. Left, both colours mix, above everywhere and below within half of the cells. Right, they form whole square cells, above a quarter of the cells and below half of them."}}
figure, axes = et.maps.world(4, columns=2)
panels = {f"{name} split, by hand": (~deal(0), deal(0)) for name, deal in splits.items()}
for name in splits:
    (half,) = protocol.splits(places, "report", name)
    panels[f"{name} split of the report"] = (half.pool, half.scored)
    assert np.isin(cell[half.scored], cell[half.pool]).any() == (name == "random")
for ax, (title, members) in zip(axes, panels.items()):
    for chosen, colour, label in zip(members, et.maps.CYCLE[5:3:-1], ("may be labelled", "scored")):
        dots = {"s": 1.5, "color": colour, "linewidths": 0, "label": label}
        ax.scatter(*places[chosen].T, **dots, transform=et.maps.ccrs.PlateCarree())
    ax.set_title(title, fontsize=10)
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, markerscale=6, frameon=False, loc="outside lower center", ncols=2)
plt.close(figure)
figure

# %% [markdown]
# `scoring.score(z, tasks, seed, half, evaluations)` follows these rules for an array of embeddings of
# the tasks' places. One encoder and one draw of labels are enough to try an idea, too little to report.
#
# **Exercise 3 (write).** Build an embedding that cheats: it knows the *cell* of each place and nothing else. Score country on the development half, at
# random and in blocks, for it and for MELT. Which split catches the cheat?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
cheat = (cell[:, None] == np.unique(cell)).astype(float)  # (N, number of cells)
both = [Evaluation(split, (size.n_labels,)) for split in splits]
asked = {"country": tasks["country"]}
caught = {"MELT": z["MELT"], "cheat": cheat}
caught = {n: scoring.score(row, asked, 0, "development", both) for n, row in caught.items()}
caught = pd.concat({n: intervals.scores(sums, ["split"]) for n, sums in caught.items()})
caught = caught.droplevel(1).set_index("split", append=True)["score"].unstack()
assert caught.loc["cheat", "random"] > caught.loc["cheat", "block"] + 0.2
# The blocks catch it. The column of a scored cell is 0 at every labelled place, so its weight is 0
# and all scored places get the same answer. At random the cheat copies the countries of its cell.
caught.style.format(precision=2)

# %% [markdown]
# ## The table over seeds
#
# What follows is read from `data/results/report`, which `make results STAGE=report` writes. All rows have the same labels, draw by
# draw, and ridge as their probe unless the row names another rule. All trained rows have the same encoder, batches of the same size and the same number of pairs.
#
# | row | what it is |
# | --- | --- |
# | IDW | the 5 or 50 nearest labels, weighted by inverse distance, without an embedding |
# | coordinates | the point on the unit sphere: by ridge, its 5 nearest labels, boosted trees |
# | harmonics | the fixed input of the encoder, here to 20 degrees |
# | density | distances to the nearest place names: what the positions of a modality give away |
# | observations | MOSAIKS features of the images *at the place itself*, without an encoder |
# | GeoCLIP | a published encoder, trained on 4.7 million photographs |
# | untrained | the {term}`location encoder` with random weights |
# | satellite, lights, text | trained against one {term}`modality` |
# | ensemble | these three joined, reduced to the width of one: three trainings instead of one |
# | MELT, SALT | trained against two or three |
#
# Two tables are folded: all rows with their intervals, and MELT minus two rows under nonlinear probes, larger cells, and cells cut from another origin.

# %% tags=["hide-output"] mystnb={"code_prompt_show": "Show all rows, probes and cells", "code_prompt_hide": "Hide all rows, probes and cells"}
report = tables.read_sums("report")
main, every = list(scoring.MAIN_TASKS), [*scoring.MAIN_TASKS, "climate", "population"]
melt3, salt3 = (f"{method} satellite+lights+text" for method in ("MELT", "SALT"))
usual = [tables.pick(report, task=every)]
for probe, name in (("neighbours", "5 nearest"), ("trees", "trees")):
    some = tables.pick(report, task=every, embedding="coordinates", probe=probe)
    usual.append(some.assign(embedding=f"coordinates, {name}"))
table_1 = tables.intervals(pd.concat(usual), ["task"])
table_1["cell"] = tables.as_text(table_1)
display(table_1.pivot(index="embedding", columns="task", values="cell")[every])
checks = [melt3, "untrained", "GeoCLIP"]
checks = tables.pick(report, task=main, probe=None, grid=None, embedding=checks)
robust = tables.paired(checks, melt3, ["untrained", "GeoCLIP"], ["probe", "grid", "task"])
robust = robust.set_index(["name", "probe", "grid", "task"])
tables.as_text(robust).unstack()[main]

# %%
names = "coordinates|coordinates, 5 nearest|IDW 5|harmonics|density|observations|GeoCLIP|untrained"
names = [*names.split("|"), "satellite", "lights", "text", "ensemble", salt3, melt3]
heat = table_1.pivot(index="embedding", columns="task", values="mean").loc[names, every]
heat = heat.loc[heat[main].mean(axis=1).sort_values().index]
rivals = [(name, "untrained") for name in names if name != "untrained"]
compared = pd.concat(usual)
compared = compared[compared["embedding"].isin(names)]
added = intervals.compare(compared, rivals, ["task"])
assert (heat.loc["observations", every[:-1]] < heat.loc["harmonics", every[:-1]]).all()
assert (robust["difference"].unstack().loc["untrained", [main[1], "biome"]] > 0).all(axis=None)
by_country = robust.loc["untrained"].xs("country", level="task")
assert ((by_country["low"] < 0) & (by_country["high"] > 0)).all()
assert (robust["low"].unstack().loc["untrained", "elevation"][["MLP", "neighbours"]] > 0).all()
clear = ((added["low"] > 0) | (added["high"] < 0)).set_axis([added["a"], added["task"]])

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-heat", "caption": "Training with MELT adds most on population, little on country; on elevation GeoCLIP is highest. Cells: mean R² or accuracy; colour: minus untrained; bold: 95 % interval of the difference excludes zero. 729 labels, blocks, report half, five seeds."}, "image": {"alt": "A table of fourteen rows, from coordinates to MELT, and six tasks with a number in each cell. Coordinates, density and observations are mostly purple, below the untrained row; the trained rows at the bottom are orange, darkest on population."}}
gain = heat - heat.loc["untrained"]
figure, ax = plt.subplots(figsize=(8, 6), layout="constrained")
image = ax.imshow(gain, cmap="PuOr_r", vmin=-0.25, vmax=0.25, aspect="auto")
for (i, j), value in np.ndenumerate(heat):
    weight = "bold" if clear.get((heat.index[i], every[j]), False) else "normal"
    colour = "black" if -0.13 < gain.iat[i, j] < 0.17 else "white"
    text = f"{round(value, 2) + 0:.2f}"  # no minus sign before 0.00
    ax.text(j, i, text, ha="center", va="center", weight=weight, color=colour)
heads = [name.replace(" (", "\n(") for name in [*every[:-1], "population (circular)"]]
ax.set_xticks(range(len(every)), heads)
ax.set_yticks(range(len(heat)), [n.replace(" satellite+lights+text", ", all") for n in heat.index])
ax.xaxis.tick_top()
figure.colorbar(image, ax=ax, extend="both", label="score minus that of the untrained encoder")
plt.close(figure)
figure

# %% [markdown]
# {numref}`fig-06-heat` holds most of the chapter. Harmonics and an untrained encoder are strong rows: without them
# nobody can see what training added. The image of a place ("observations") predicts less than the harmonics of where it is, except on the circular population.
#
# **What the intervals are.** A seed draws the weights, the training places, the batches and the labels. Scores vary over
# seeds *and* over the scored cells, so the bootstrap draws both with replacement; 95 % of its draws lie inside. The cells make most of the
# width. They are the same for all rows, so two rows with overlapping intervals can still differ clearly. Compare in pairs.
#
# **Would another probe, or other cells, say the same?** Against the untrained encoder MELT's lead on population and biome keeps its sign in every
# check of the folded table. On country the interval of the difference always includes zero. With nonlinear probes the lead on elevation is clear, too.
#
# ## Accuracy against labels
#
# A score at one {term}`label budget` says little. {numref}`fig-06-labels` shows all of them. The more labels, the less training adds. With the largest budget
# the five nearest labels (IDW 5), without any embedding, have the highest mean of the drawn rows on country.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-labels", "caption": "With more labels MELT's lead over the untrained encoder shrinks on all four tasks; on country it ends below zero. On population MELT stays highest of the coloured rows. Report half, blocks, five seeds; bands: 95 % intervals."}, "image": {"alt": "Four panels with rising curves over a logarithmic axis of labels from 243 to 59,049. Coloured curves: MELT with all modalities, SALT, satellite alone, ensemble, GeoCLIP, untrained and harmonics; grey curves lie among and below them, and on country one, of interpolated labels, ends above them all."}}
bare = report["embedding"].str.endswith("no skip")  # compared in chapter 09
curves = tables.pick(report[~bare], task=main, n_labels=None)
curves = tables.intervals(curves, ["task", "n_labels"])
curves["task"] = pd.Categorical(curves["task"], main)
coloured = [melt3, salt3, "satellite", "ensemble", "GeoCLIP", "untrained", "harmonics"]
means = curves.pivot(index=["task", "n_labels"], columns="embedding", values="mean")
lead, top = (means[melt3] - means["untrained"]).unstack(), means[coloured].idxmax(axis=1)
assert means.loc[("country", 59_049)].idxmax() == "IDW 5"
legend = dict(zip(coloured, ["MELT, all three", "SALT, all three", *coloured[2:]]))
figure = charts.curves(curves.sort_values("task"), legend, "n_labels", "labels")
plt.close(figure)
figure

# %% [markdown]
# ## The differences that count
#
# The primary endpoint was fixed before the report half was scored: MELT with all modalities minus the best single modality
# (chosen for each task on the development half), 729 labels, in blocks, corrected for four tests by Holm's method. Everything else is
# exploratory. The last column of the table is the effect in labels: how many times as many the single modality would need to reach MELT's
# score (`inf`: more than 59,049 in all; below 1: it needs fewer). {numref}`fig-06-against` sets MELT beside other rows, too.

# %%
singles = tables.BEST_SINGLE
primary = pd.concat(
    tables.paired(tables.pick(report, task=task), melt3, [singles[task]], ["task"]) for task in main
)
primary["p (Holm)"] = intervals.holm(primary.pop("p"))
primary["labels"] = [
    tables.in_labels(tables.pick(report, task=task, n_labels=None), melt3, singles[task])
    for task in main
]
shown = primary.style.hide(axis="index").format("{:.2g}", subset=["p (Holm)", "labels"])
shown.format("{:+.3f}", subset=["difference", "low", "high"])

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-against", "caption": "MELT is ahead of every row on population, of the first three on biome; behind the ensemble on country and elevation, behind text on country. Paired differences, 729 labels, report half, blocks, five seeds; blue: 95 % interval excludes zero."}, "image": {"alt": "Four panels of horizontal intervals around a vertical line at zero, one row each for harmonics, untrained, GeoCLIP, ensemble, SALT and the best single modality."}}
beside = ["harmonics", "untrained", "GeoCLIP", "ensemble", salt3]
against = tables.paired(tables.pick(report, task=main), melt3, beside, ["task"])
against = pd.concat([against, primary.assign(name="best single")])
against = against.replace({"name": {salt3: "SALT, all three"}})
against = against.set_index("task").loc[main].reset_index()
verdict = np.select([against["low"] > 0, against["high"] < 0], ["+", "-"], "0")
verdict = against.assign(sign=verdict).pivot(index="name", columns="task", values="sign")
verdict = verdict.loc[against["name"].unique(), main]
figure = charts.differences(against, "MELT with all three, minus the row")
plt.close(figure)
figure

# %% [markdown]
# Three modalities in one encoder win on population, lose to names alone on country, and leave elevation and biome open. The ensemble costs
# three trainings. It is ahead on country and elevation, so one encoder of three modalities does not replace three encoders of one.
#
# :::{dropdown} Quick check: an embedding scores 0.6 at random and 0 in blocks. What does it know?
# Which labelled places are near. Between them it interpolates, and on land without labels it is as good as the mean. That is of use where labels are everywhere, and nowhere else.
# :::
#
# ## Random against blocked, everywhere against elsewhere
#
# Two questions decide how good an encoder looks. Do labels lie around the scored place? {numref}`fig-06-gap` answers this for the
# report. And did *observations* of the region take part in training? In the {term}`transductive` setting they did: images are
# everywhere, labels are not. In the {term}`inductive` one no pair, image or fitted statistic comes from the report half or from within a
# patch of it. The table under the figure gives the difference, transductive minus inductive. It contains a second effect: the inductive
# encoders also had fewer places (45,000 of each modality instead of 100,000).
#
# **Who is served?** A global mean can hide a continent. The sums are kept by cell, so any part of the land has its own score. The
# folded table gives it by continent, and by how near place names are. On population the mean of MELT is above the untrained one on every
# continent; on country it is below in Africa and South America. $R^2$ compares with the part's own mean, so a flat continent is hard
# by definition.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-06-gap", "caption": "Every row scores higher when labels lie nearby. Interpolated labels and harmonics gain most, GeoCLIP least. Mean of accuracy and R² over country, population (GPWv4), elevation and biome; 729 labels, report half, five seeds."}, "image": {"alt": "Seven horizontal lines, one a row, each from a square (blocks) on the left to a circle (random) on the right. The lines of IDW and harmonics are longest, that of GeoCLIP is shortest."}}
gap_rows = ["IDW 5", "harmonics", "untrained", "GeoCLIP", "satellite", salt3, melt3]
gap = tables.pick(report, task=main, split=list(protocol.SPLITS), embedding=gap_rows)
gap = tables.intervals(gap, ["task", "split"]).groupby(["embedding", "split"])["mean"].mean()
gap = gap.unstack().loc[gap_rows[::-1]]
fall = (gap["random"] - gap["block"]).sort_values()
gap.index = gap.index.str.replace(" satellite+lights+text", ", all")
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
ax.hlines(gap.index, gap["block"], gap["random"], color="#888888", zorder=1)
for name, marker, colour in (("block", "s", et.maps.CYCLE[0]), ("random", "o", et.maps.CYCLE[1])):
    ax.scatter(gap[name], gap.index, marker=marker, color=colour, label=f"{name} split")
ax.set(xlabel="mean of accuracy and R² over four tasks")
figure.legend(frameon=False, loc="outside upper right", ncols=2)
plt.close(figure)
figure

# %%
settings = ["transductive", "inductive"]
part = tables.pick(report, task=main, embedding=["satellite", melt3, salt3], setting=settings)
part = part.assign(embedding=part["setting"] + ": " + part["embedding"])
seen = pd.concat(
    tables.paired(part, f"transductive: {name}", [f"inductive: {name}"], ["task"]).assign(
        embedding=name, cell=tables.as_text
    )
    for name in ("satellite", melt3, salt3)
)
seen.pivot(index="embedding", columns="task", values="cell")[main]

# %% tags=["hide-output"] mystnb={"code_prompt_show": "Show scores by continent", "code_prompt_hide": "Hide scores by continent"}
land = protocol.Grid().table()
sites = scoring.labelled(20_000)["country"].lonlat
crowd = pd.Series(peers.density(sites)[:, 1]).groupby(protocol.Grid().cells(sites)).mean()
land["names"] = pd.qcut(crowd.reindex(land.index), 3, labels=["many", "some", "few"])
parts = tables.pick(report, task=main, embedding=["untrained", "GeoCLIP", melt3])
parts = parts.join(land[["continent", "names"]], on="cell")
served = pd.concat(
    intervals.scores(parts, ["task", "embedding", by]).assign(by=by).rename(columns={by: "part"})
    for by in ("continent", "names")
)
served = served.pivot(index=["by", "part"], columns=["task", "embedding"], values="score")
above = served.xs(melt3, axis=1, level=1) - served.xs("untrained", axis=1, level=1)
assert (above.loc["continent", main[1]] > 0).all()
assert (above.loc["continent", "country"][["Africa", "South America"]] < 0).all()
served[main].style.format(precision=2)

# %% [markdown]
# ## A circular task, and other cautions
#
# The gazetteer supplies the place names that models train on *and* the label "population": people counted within
# 50 km. *Where* names are is already most of the answer, whatever they say.

# %% tags=["hide-input"]
weights = (heat.loc["untrained"] / heat.loc[melt3])[main].map("{:.0%}".format)
ours, census = heat["population"], heat["population (GPWv4)"]
circular = f"""**Reading.** Four distances to the nearest names reach R² = {ours["density"]:.2f} on
the gazetteer's count, in blocks; MELT with all three reaches {ours[melt3]:.2f}, satellite alone
{ours["satellite"]:.2f}. On GPWv4, people counted by a census, the distances reach
{census["density"]:.2f} and MELT {census[melt3]:.2f}. So the count of the gazetteer is shown and
never used for a claim."""
random = f"""Random weights give {weights["country"]} of MELT's accuracy on country,
{weights["biome"]} on biome, {weights["elevation"]} of its R² on elevation and
{weights["population (GPWv4)"]} on population."""
made = f"The tables were made by {tables.provenance('report')}."
display(Markdown(f"{circular}\n\n{random}\n\n{made}"))

# %% [markdown]
# A map of countries is mostly geometry, so a high accuracy there is no evidence of learning. Elevation, biome and climate
# share no source with the modalities, but images show them: relief shading draws mountains, and vegetation is what
# biomes and climate zones were made to explain.
#
# ## Limits
#
# - One recipe, chosen on the development half among a dozen and trained for 1.5 million pairs: five passes where the paper has fifty.
#   [Training dynamics](07_training_dynamics.ipynb) has the same encoder trained as long as the paper's.
# - Five seeds. The intervals cover retraining only as far as five seeds can.
# - Labels come from the development half, so the report scores how an encoder carries labels to other regions of the same continents.
# - A linear probe sees what is linearly readable. GeoCLIP has the highest mean on elevation, but its difference from MELT includes zero.
#
# ## Summary
#
# - A probe freezes the embedding. Standardise on the labelled places, and choose each embedding's penalty between cells.
# - A random split scores the gaps of a survey, a block split regions without labels.
# - Choose on one half of the land, report on the other, once.
# - Show coordinates, harmonics and an untrained encoder. Compare in pairs, over seeds and regions.
# - Ask where labels come from. Population from a gazetteer is circular for a model trained on its names.
#
# ## Check

# %% tags=["check"]
_, pair = cKDTree(z["coordinates"]).query(z["coordinates"], k=2)  # a place and its neighbour
a, b = np.stack([task.target for task in tasks.values()], axis=1)[pair.T]  # (N, 4) each
assert (np.abs(a - b).mean(axis=0) < np.abs(a - np.roll(b, 1, axis=0)).mean(axis=0) / 2).all()
lost = (by_hand["random"] - by_hand["block"]).drop("coordinates").sort_values()
assert all([lost.iloc[0] > 0, lost.index[-1] == "nearest label"])
for promised, between, kept in (by_penalty[k].to_numpy().T for k in ("MELT", "untrained")):
    assert all([(promised > between).all(), promised.max() > kept.max()])
assert size.n < 20_000 or by_hand["block"].iloc[0] < 0.2 < 0.4 < by_hand["random"].iloc[0]
small, right = promised.argmax(), between.argmax()  # of the untrained encoder
assert all([small < right, kept[small] < kept[right]])
assert list(gain.loc[melt3, main].sort_values().index[[0, -1]]) == [main[0], main[1]]
assert all([heat["elevation"].idxmax() == "GeoCLIP", (top[main[1]] == melt3).all()])
assert all([(lead[243] > lead[59_049]).all(), lead.loc["country", 59_049] < 0])
assert list(verdict.sum()) == ["+0+-0-", "++++++", "000-00", "+++000"]
assert all([set(fall.index[-2:]) == {*gap_rows[:2]}, fall.index[0] == "GeoCLIP", fall.iloc[0] > 0])

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
