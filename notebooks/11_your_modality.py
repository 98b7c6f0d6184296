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
# # Does your own table help?
#
# You have a table: longitude, latitude, and something observed there. Numbers, categories, text or pictures. This notebook makes a modality of it in three
# lines, ties it with MELT beside the modalities of the sample, and asks in the book's way whether that helped: in blocks, against a training without it that saw as
# many pairs, with intervals.
#
# The table here is one that travels with the book, the climate zones at random places on land. Put yours in its place.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** find the usual faults of a table of places, turn it into a modality, train with it, and say on which tasks it helped and by how much.
# - **Prerequisites** [MELT](04_melt.ipynb), [Probing](06_probing.ipynb).
# - **Data** [climate zones](../data/cards/climate.md) as the user's table; the sample's modalities and labels.
# - **Time** about 10 minutes to read, 4 to 8 minutes to run on two cores: three trainings are live.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import tempfile
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

import earthtie_lite as et
from earthtie_lite.results import charts, scoring, tables
from earthtie_lite.results.intervals import scores
from earthtie_lite.results.scoring import Evaluation

size = et.profile(profile)

# %% [markdown]
# ## A table
#
# One row a place. Yours comes from `pd.read_csv` or `pd.read_parquet`; read codes of countries with `keep_default_na=False`, or Namibia's `NA` is gone.

# %%
rng = np.random.default_rng(11)
places = et.sample.sample_land(size.n, rng)
raster = et.sample.raster("climate")
zones = np.array([*raster.tags["CLASSES"].split(","), ""])
number = raster.at(places)[:, 0].astype(int) - 1
table = pd.DataFrame({"lon": places[:, 0], "lat": places[:, 1], "zone": zones[number]})
table = table[table["zone"] != ""]
table.head()

# %% [markdown]
# ## What may be wrong with it?
#
# Tables of places have faults that no error message of a training would ever mention: a look-up that failed returns (0, 0), columns are swapped, places repeat. We break
# a copy on purpose and look at it with {func}`~earthtie_lite.places.check_places`.

# %%
broken = table.head(400).reset_index(drop=True)
broken.loc[:4, ["lon", "lat"]] = 0.0
broken.loc[10:19, ["lon", "lat"]] = broken.loc[20:29, ["lon", "lat"]].to_numpy()
broken.loc[30, "lat"] = 151.2
broken.loc[40:42, "zone"] = None
et.check_places(broken[["lon", "lat"]].to_numpy()).style.format(precision=3)

# %% [markdown]
# What is certainly wrong is refused, with the row and the remedy. What may be wrong is said, once, as a warning. Nothing is dropped in silence.


# %%
def bring(frame, **settings):
    """Make a modality of a table, and print what is said of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            print(et.Modality.from_frame(frame, name="zones", categories=["zone"], **settings))
        except ValueError as error:
            print(f"refused: {error}")
    for warning in said:
        print(f"warning: {warning.message}")
    print()


bring(broken)
bring(broken, missing="drop")
bring(broken.drop(index=30), missing="drop", duplicates="first")

# %% [markdown]
# ## Three lines
#
# `features=` takes numbers, `categories=` classes (both together, too), `text=` a column of text, `images=` a column of paths of pictures. A category becomes one
# feature a class.

# %%
own = et.Modality.from_frame(table, name="zones", categories=["zone"], duplicates="first")
sample = et.load_sample(n=len(own), seed=0)
with_own = {**sample, "zones": own}
own

# %% [markdown]
# ## Tying it
#
# Both trainings see equally many pairs: four modalities for three quarters of the epochs that three have. An epoch takes as many pairs of each modality as the smallest
# has, so bring about as many rows as the others have, or a small table makes short epochs.

# %%
config = et.TrainConfig(
    epochs=size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate, seed=0
)
torch.manual_seed(0)
encoder = et.LocationEncoder(et.SphericalHarmonics(10), skip=10)
runs = {
    "MELT": et.fit(sample, config, encoder),
    "MELT + zones": et.fit(with_own, config.replace(epochs=3 * size.passes // 4), encoder),
}
pd.Series({name: run.history["pairs"].iloc[-1] for name, run in runs.items()}, name="pairs seen")

# %% mystnb={"figure": {"name": "fig-11-loss", "caption": "Zones stand still soon, since hundreds of places share each of them; images go on learning where they are from. Held-out loss of each modality while MELT trains with the user's table; 20,000 pairs a modality, one seed."}, "image": {"alt": "Four curves of the validation loss over the epochs, one a modality. Satellite falls most; text and zones fall in the first epochs only, lights hardly."}}
history = runs["MELT + zones"].history
held_out = history.dropna(subset=["val_loss"]).set_index("epoch").filter(like="val_")
held_out = held_out.drop(columns="val_loss").rename(columns=lambda name: name[4:])
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for style, colour, (name, losses) in zip(("-", "--", ":", "-."), et.maps.CYCLE, held_out.items()):
    axis.plot(losses.index, losses, style, color=colour, label=name)
axis.set_xlabel("epoch")
axis.set_ylabel("held-out loss (nats)")
figure.legend(loc="outside right upper")
plt.close(figure)
figure

# %% [markdown]
# A category is shared by many places, so some of the partners that {numref}`fig-11-loss` counts as wrong have the very same zone: the loss cannot fall far, and that is no fault.
#
# ## Did it help?
#
# The tasks are scored as everywhere in this book: in blocks, ridge, on the development half, for three draws of labels, with the random split and the trivial baselines beside. Climate is
# **circular** here, since the table holds it. The question is what it does for the others ({numref}`fig-11-gaps`).

# %%
tasks = scoring.labelled(size.n_task)
where = tasks["country"].lonlat
z = {"IDW 5": et.probes.Interpolation(5), "coordinates": et.UnitVectors()(where)}
z |= {"harmonics": et.SphericalHarmonics(10)(where)}
z |= {"untrained": encoder.embed(where)}
z |= {name: run.model.embed(where) for name, run in runs.items()}
ways = [Evaluation(split, (size.n_labels,)) for split in ("block", "random")]
sums = pd.concat(
    scoring.score(array, tasks, seed, "development", ways).assign(embedding=name, seed=seed)
    for name, array in z.items()
    for seed in range(3)
)
shown = scores(sums, ["embedding", "task", "split"])
shown = shown.pivot(index="embedding", columns=["split", "task"], values="score")
shown.loc[list(z)].style.format(precision=2)

# %% mystnb={"figure": {"name": "fig-11-gaps", "caption": "Against MELT without the table, climate, which the table holds, and elevation gain; population and country do not. MELT with the zones minus the row, blocks, 95 % intervals over labels and cells; one training each."}, "image": {"alt": "Four panels, one a task, of horizontal intervals around a line at zero: MELT with the zones minus MELT, minus the untrained encoder and minus harmonics."}}
blocks = sums[sums["split"] == "block"]
gaps = tables.paired(blocks, "MELT + zones", ["MELT", "untrained", "harmonics"], ["task"])
gaps["name"] = "minus " + gaps["name"]
figure = charts.differences(gaps, f"difference of the score, {size.n_labels} labels")
plt.close(figure)
figure

# %% tags=["hide-input"]
mine = gaps[gaps["name"] == "minus MELT"].set_index("task")
lines = [f"- {task}: {text}" for task, text in tables.as_text(mine).items()]
helped = [task for task in mine.index if mine.loc[task, "low"] > 0]
hurt = [task for task in mine.index if mine.loc[task, "high"] < 0]
reading = [
    "**Reading.** With the zones minus without:",
    "",
    *lines,
    "",
    f"The interval lies above zero for {', '.join(helped) or 'no task'}, below for "
    f"{', '.join(hurt) or 'none'}. It is over labels and cells, not over trainings: for a claim, "
    "train several seeds of each.",
]
display(Markdown("\n".join(reading)))

# %% [markdown]
# ## Where does a category point to?
#
# The head of your modality places raw input in the tied space, like an image or a name ({numref}`fig-11-zones`).

# %%
kinds = ["Af", "BWh", "Dfc", "Csa"]
model = runs["MELT + zones"].model
cells, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(cells)
vectors = model.embed_modality("zones", pd.DataFrame({"zone": kinds}))
panels = {kind: np.full(shape, np.nan) for kind in kinds}
for panel, values in zip(panels.values(), model.similarity(cells[land], vectors).T):
    panel[land.reshape(shape)] = values

# %% mystnb={"figure": {"name": "fig-11-zones", "caption": "Each zone is brightest where it lies: rain forest (Af), hot desert (BWh), boreal forest (Dfc), Mediterranean climate (Csa). Cosine in the tied space between a category and every place on land; one seed."}, "image": {"alt": "Four world maps from dark blue to yellow, one for each of four climate zones."}}
figure = et.maps.prediction_map(panels, "cosine in the tied space", cmap="cividis")
plt.close(figure)
figure

# %% [markdown]
# ## Keeping it
#
# A saved run knows the classes of your column, and refuses one that it has not seen.

# %%
with tempfile.TemporaryDirectory() as folder:
    runs["MELT + zones"].save(folder + "/mine")
    again = et.load(folder + "/mine").model
same = np.array_equal(again.embed(where[:100]), model.embed(where[:100]))
try:
    again.embed_modality("zones", pd.DataFrame({"zone": ["Atlantis"]}))
except ValueError as error:
    print(f"the same: {same}; refused: {error}")

# %% [markdown]
# ## Limits
#
# - One training of each: the next seed may tell another story. Notebook 09 has five.
# - A table whose rows lie close together (one country, one city) teaches an encoder of the world little, and blocks of 1,000 km leave it few test cells.
# - A modality that holds the label is no evidence. Ask what it adds where it is *not* the label.
#
# ## Summary
#
# - `Modality.from_frame` makes a modality of numbers, categories, text or pictures; what is wrong with the table it refuses or says.
# - Tie it beside the sample, and compare with a training that saw as many pairs without it.
# - Judge in blocks, by paired intervals, on tasks that the table does not hold.
# - A category, like a name or an image, has a place in the tied space, and so a map.
#
# ## Exercises
#
# **Exercise 1 (check).** A modality without any information: shuffle the zones among the places. What does it cost?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
shuffled = table.assign(zone=rng.permutation(table["zone"]))
noise = et.Modality.from_frame(shuffled, "zones", categories=["zone"], duplicates="first")
noisy = et.fit({**sample, "zones": noise}, config.replace(epochs=3 * size.passes // 4), encoder)
z["MELT + noise"] = noisy.model.embed(where)
scored = scoring.score(z["MELT + noise"], tasks, 0, "development", ways[:1])
both = [scored.assign(embedding="MELT + noise", seed=0), blocks[blocks["seed"] == 0]]
cost = tables.paired(pd.concat(both), "MELT + noise", ["MELT"], ["task"])
assert np.isfinite(cost["difference"]).all()
tables.as_text(cost.set_index("task"))

# %% [markdown]
# **Exercise 2 (modify).** Bring numbers beside the categories: the distance to the equator as a feature of its own. Which width has the modality now?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
more = table.assign(from_equator=table["lat"].abs())
wider = et.Modality.from_frame(
    more, "zones", features=["from_equator"], categories=["zone"], duplicates="first"
)
assert wider.features.shape[1] == own.features.shape[1] + 1
wider

# %% [markdown]
# **Exercise 3 (find the mistake).** Somebody swapped the columns of a table of European towns. No latitude is out of range. What tells?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
towns = et.sample.places().query("country in ('DE', 'FR', 'IT')")[["lon", "lat"]].to_numpy()
report = et.check_places(towns[:, ::-1])
assert report.loc["probably swapped", "places"] > 0.5 * len(towns)
report.loc[["at sea", "probably swapped"]]

# %% [markdown]
# ## Check

# %% tags=["check"]
assert same
assert own.features.shape[1] == table["zone"].nunique()
assert set(mine.index) == {"elevation", "population", "climate", "country"}
assert mine.loc["climate", "high"] > 0, "the zones do not hurt climate, which they hold"
pairs = [run.history["pairs"].iloc[-1] for run in runs.values()]
assert abs(pairs[0] / pairs[1] - 1) < 0.1

# %% [markdown]
# ## Further reading
#
# - {func}`~earthtie_lite.modalities.Modality.from_frame`: all that a table may hold.
# - [Owen (2007)](https://doi.org/10.1214/07-AOAS122): why intervals draw both seeds and cells.
#
# Next: [The paper's scale](12_paper_scale.ipynb).
