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
# # MELT: every modality in every batch
#
# How can one encoder learn from images, night lights and names when no place has all three? MELT
# (*multimodal embedding via location tying*) joins pairs of every {term}`modality` into one batch and
# asks one question of all of them: which place does this observation belong to?
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** build a joint batch, train with MELT, read its curves modality by modality,
#   and ask the tied space a question in words.
# - **Prerequisites** [Two modalities](03_two_modalities.ipynb): pairs, {term}`NT-Xent`, the
#   {term}`logit scale`.
# - **Data** three {term}`unpaired` modalities of the embedded sample:
#   [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md),
#   [place names](../data/cards/places.md).
# - **Time** about 2 minutes on two cores; a GPU is used if there is one, and was not timed.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from sklearn.decomposition import PCA

import earthtie_lite as et

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)

# %% [markdown]
# ## The question
#
# With two modalities, an image and a place, a batch of pairs is easy to make. With a third the obvious
# plan, to collect places that have an image *and* lights *and* a name, throws most data away. Location
# tying keeps all of it. The location encoder stands in the middle; each modality is compared with places
# only, never with another modality:
#
# $$
# \text{satellite} \longleftrightarrow \text{place} \longleftrightarrow \text{lights},
# \qquad \text{place} \longleftrightarrow \text{text}.
# $$
#
# A dark green patch and the name "Santa Rosa do Purus" can both point at western Amazonia. What they share is the
# place: their own cosine stays near zero ([What was never paired](10_never_paired.ipynb)).

# %% [markdown]
# ## The method: one joint batch
#
# A batch of $B$ pairs is divided as evenly as it can be among the $M$ modalities. The places of all pairs go
# through the one location encoder, the observations each through the projection head of their own
# modality. The rows are then joined, and one contrastive loss runs over the whole. So a pair's
# {term}`negatives` come from the other modalities too: an image has to prefer its own place to the places of
# names and of lights.

# %%
config = et.TrainConfig(
    method="melt",
    epochs=size.passes,
    batch_size=size.batch_size,
    learning_rate=size.learning_rate,
    seed=0,
)

# %%
train_rows, val_rows = et.train.split_rows(list(sample.values()), config)
rng = et.coords.stream("batches", config.seed, 0)  # of the first epoch
batch = next(et.train.melt_batches(train_rows, config.batch_size, rng))
pd.DataFrame(
    {
        "pairs": {name: len(m) for name, m in sample.items()},
        "to train on": {name: len(rows) for name, rows in train_rows.items()},
        "held out": {name: len(rows) for name, rows in val_rows.items()},
        "in one batch": {name: len(rows) for name, rows in batch.items()},
    }
)

# %% [markdown]
# Pairs in whole blocks of the globe are held out, the same blocks for every modality. Those within one patch's
# width of such a block are in neither part, because their patches overlap it; they are missing from
# the table's sum.
#
# An *epoch* of MELT passes over every modality's pairs once. That is three times the pairs of an epoch that
# sees a single modality, so whoever compares methods counts *pairs seen*; the history records them.

# %% [markdown]
# ## Training
#
# The loop is a plain function in `train.py`, about fifty lines. Its heart is this, for each batch:
#
# ```python
# loss = tied_loss(model, data, batch, config)
# optimiser.zero_grad(set_to_none=True)
# loss.backward()
# optimiser.step()
# model.clamp_logit_scale()
# ```
#
# A callback redraws the curves after each epoch while you wait.

# %% mystnb={"figure": {"name": "fig-04-curves", "caption": "MELT's training loss falls; on held-out blocks satellite falls furthest, text falls in the first epochs alone, lights stay near log 256 = 5.55 nats. Above: last step of each epoch. Below: at most 256 candidates. 20,000 pairs each, one seed."}, "image": {"alt": "Two panels of curves over pairs seen. The training loss falls, with two small rises. Below it the held-out loss of satellite falls furthest and wavers at the end, that of text falls early and then stays level, that of lights hardly changes."}}
run = et.fit(sample, config, et.SphericalHarmonics(10), callback=et.maps.LiveCurves())

# %% tags=["hide-input"]
ends = run.history.dropna(subset="val_loss")
candidates = min(config.val_batch_size, *(len(rows) for rows in val_rows.values()))
last = ends.iloc[-1]
display(
    Markdown(
        f"Training took {last['seconds']:.0f} s for {last['pairs']:,.0f} pairs in "
        f"{last['step']:.0f} steps. Among {candidates} held-out candidates, knowing nothing costs "
        f"log {candidates} = {np.log(candidates):.2f} nats. At the end satellite stands at "
        f"{last['val_satellite']:.2f}, lights at {last['val_lights']:.2f} and text at "
        f"{last['val_text']:.2f}."
    )
)

# %% [markdown]
# **Reading.** The joint loss hides what goes on inside it. The held-out losses in {numref}`fig-04-curves`, one a
# modality, tell more. Each curve has 12 points, the ends of epochs, so it cannot show what happens between them.
# An image says a good deal about where it was taken. Night lights say little: most land is dark, and one
# dark patch is as good as another. A name is in between: its spelling gives away a language, and a language a
# region.
#
# Lights end hardly below log 256, although the next table ranks their places better than chance. A loss also
# punishes an answer that is too sure; ranks do not.

# %% [markdown]
# ## What was learned, one modality at a time
#
# A loss in nats is hard to picture. So ask directly: given one held-out observation and all held-out candidates'
# places, at which rank does the model put the right one? A model that knows nothing has a median rank in the
# middle, a relative rank of 50 %.

# %%
rows = []
for name, held_out in val_rows.items():
    m = sample[name]
    with torch.no_grad():
        tied = run.model.observe(name, torch.from_numpy(m.features[held_out])).numpy()
    scores = run.model.similarity(m.lonlat[held_out], tied)  # (places, observations)
    rank = (scores > np.diag(scores)).mean(axis=0)  # part of the places preferred to the right one
    rows.append({"modality": name, "held-out pairs": len(held_out), "median rank": np.median(rank)})
ranks = pd.DataFrame(rows).set_index("modality")
ranks.style.format({"median rank": "{:.0%}", "held-out pairs": "{:,}"})

# %% [markdown]
# ## A look at the embedding
#
# The embedding of a place is a vector of 256 numbers. Its first principal components show what varies most
# over the land ({numref}`fig-04-embedding`). Nothing here was told about deserts, forests or continents.

# %%
lonlat, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(lonlat)
components = PCA(4).fit_transform(run.model.embed(lonlat[land]))
components /= components.std(axis=0)
panels = {}
for i in range(4):
    panels[f"component {i + 1}"] = np.full(shape, np.nan)
    panels[f"component {i + 1}"][land.reshape(shape)] = components[:, i]

# %% mystnb={"figure": {"name": "fig-04-embedding", "caption": "The embedding orders the land by what is seen there and by where it is. First four principal components of MELT's embedding, in standard deviations; the sign is arbitrary. Grid of 1 degree, one seed."}, "image": {"alt": "Four world maps of principal components in purple and orange. Large regions such as the Sahara, the boreal forest and South America stand out, with smooth transitions between them."}}
figure = et.maps.prediction_map(panels, "principal component (standard deviations)", diverging=True)
plt.close(figure)
figure

# %% [markdown]
# ## Asking in words
#
# Text and places share a space now. So a name, even one that is on no map, has a similarity to every place
# on Earth. The model has seen hashed {term}`character n-grams` only, not what they mean.

# %%
names = ["Novoselovo", "Santa Rosa"]
tied = run.model.embed_modality("text", names)
similarity = np.full((len(names), land.size), np.nan)
similarity[:, land] = run.model.similarity(lonlat[land], tied).T

# %% mystnb={"figure": {"name": "fig-04-words", "caption": "A Slavic and a Spanish name point to different parts of the world. Cosine between a name and every place on land. The gazetteer holds Santa Rosa 48 times and Novoselovo not once. Grid of 1 degree, one seed."}, "image": {"alt": "Two world maps. The left one, for Novoselovo, is bright over Eastern Europe, northern Asia and the west of West Africa; the right one, for Santa Rosa, is bright over Latin America and the Philippines."}}
panels = {name: values.reshape(shape) for name, values in zip(names, similarity)}
figure = et.maps.prediction_map(panels, "cosine similarity in the tied space", cmap="cividis")
plt.close(figure)
figure

# %%
regions = {"Russia": [60.0, 56.0], "Mexico": [-102.0, 23.0], "Colombia": [-74.0, 4.5]}
table = run.model.similarity(list(regions.values()), tied)
pd.DataFrame(table, index=regions, columns=names).round(2)

# %% [markdown]
# **Reading.** The two maps of {numref}`fig-04-words` differ as the two languages do. And no sample of text was ever
# paired with an image. Yet the same places now answer to both. How far
# such retrieval carries, and how it compares with chance and with location alone: [What was never paired](10_never_paired.ipynb).

# %% [markdown]
# ## Limits
#
# - One seed. Whether MELT beats a single modality on a task needs retrained seeds and held-out regions;
#   [Probing](06_probing.ipynb) makes a start.
# - The image features are random convolutions and the text features are hashed n-grams. Pretrained encoders
#   see more.
# - The held-out losses are comparable between modalities only because each is computed among the same number
#   of candidates.
#
# ## Summary
#
# - MELT joins pairs of every modality in each batch; modalities share no sample.
# - Negatives come from all modalities, and one location encoder serves them all.
# - The joint loss says little; look at each modality's held-out loss.
# - After training, observations of different modalities are comparable through the places they point to. Compared directly, by cosine, they find each other little better than by chance.
#
# ## Exercises
#
# **Exercise 1 (check).** Which part of an anchor's negatives comes from other modalities? Work it out on paper for
# three modalities, then from the batch above.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
share = {name: len(rows) for name, rows in batch.items()}
total = sum(share.values())
foreign = {name: (total - own) / (total - 1) for name, own in share.items()}
assert all(abs(part - 2 / 3) < 0.01 for part in foreign.values())
pd.Series(foreign, name="negatives from other modalities").round(4).to_frame()

# %% [markdown]
# **Exercise 2 (modify).** Take the same untrained model and the same batch. How does the loss change when the pairs of
# the three modalities are not joined, but each modality forms a batch of its own? Predict before you compute.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
fresh = et.train.new_run(
    list(sample.values()), train_rows, config, et.SphericalHarmonics(10)
).model.eval()
data = et.train.load_data(fresh, list(sample.values()))
with torch.no_grad():
    joint = et.train.tied_loss(fresh, data, batch, config).item()
    alone = [
        et.train.tied_loss(fresh, data, {name: rows}, config).item() for name, rows in batch.items()
    ]
# Three times fewer candidates: about log 3 = 1.1 nats less for a model that knows nothing.
assert abs((joint - np.mean(alone)) - np.log(3)) < 0.5
pd.Series({"joint": joint, **dict(zip(batch, alone))}, name="loss (nats)").round(3).to_frame()

# %% [markdown]
# **Exercise 3 (open).** Find a name that points to two regions at once. What does its map tell about the
# history of the name?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
candidate = run.model.embed_modality("text", ["San Antonio"])
here = pd.DataFrame(
    {
        "similarity": run.model.similarity(
            [[-99.0, 19.4], [121.0, 14.6], [104.9, 52.3]], candidate
        )[:, 0]
    },
    index=["Mexico", "Philippines", "Lake Baikal"],
).round(2)
assert here["similarity"].between(-1, 1).all()
here  # Spanish rule left its saints in both hemispheres

# %% [markdown]
# ## Check

# %% tags=["check"]
first = run.history["loss"].iloc[:3].mean()
assert run.history["loss"].iloc[-3:].mean() < first - 0.3, "training reduces the joint loss"
assert set(run.history["modality"]) == {"satellite+lights+text"}, "every step sees all modalities"
assert last["val_satellite"] < np.log(candidates) - 0.2, "held-out images are told apart"
assert ranks.loc["satellite", "median rank"] < 0.3, "chance is one half"
assert ranks.loc["text", "median rank"] < 0.45, "names say something about where"
assert table[0, 0] > table[1, 0], "Novoselovo is nearer to Russia than to Mexico"
assert table[1, 1] > table[0, 1], "Santa Rosa is nearer to Mexico than to Russia"
assert (et.sample.places()["name"] == "Santa Rosa").sum() == 48
assert run.history["logit_scale"].max() <= np.log(100) + 1e-6

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167), the paper that introduces MELT and SALT.
# - [Klemmer et al. (2023)](https://arxiv.org/abs/2311.17179), SatCLIP: one modality, the starting point.
# - [Radford et al. (2021)](https://arxiv.org/abs/2103.00020), CLIP: the loss, the logit scale and its clamp.
# - [Rolf et al. (2021)](https://doi.org/10.1038/s41467-021-24638-z), MOSAIKS: random convolutional features.
#
# Next: [SALT](05_salt.ipynb), one modality at a time.
