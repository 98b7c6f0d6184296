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
# (*multimodal embedding via location tying*) joins pairs of every {term}`modality` in one batch and
# asks one question of all of them: which place does this observation belong to?
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** write MELT's batches, its loss and its training loop, read its curves modality by modality,
#   and ask the tied space a question in words.
# - **Prerequisites** [Which place belongs to this image?](03_two_modalities.ipynb): pairs, {term}`NT-Xent`, the
#   {term}`logit scale`.
# - **Data** three {term}`unpaired` modalities of the embedded sample:
#   [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md),
#   [place names](../data/cards/places.md).
# - **Time** about 20 minutes to read, 2 minutes to run on two cores.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

import earthtie_lite as et

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)

# %% [markdown]
# ## The question
#
# With places and images alone, a batch of pairs is easy to make. With a third kind of observation the obvious
# plan is to collect places that have an image *and* lights *and* a name, and it throws most data away. Location
# tying keeps all of it. The location encoder stands in the middle. Each observation is compared with places
# only, never with another observation:
#
# $$
# \text{satellite} \longleftrightarrow \text{place} \longleftrightarrow \text{lights},
# \qquad \text{place} \longleftrightarrow \text{text}.
# $$
#
# Before you read on, guess: three modalities, a batch of 2,048 pairs. How many places does one image have to be told from, and how many of those are places of names?
#
# ## Write the batches
#
# A batch of $B$ pairs is divided as evenly as possible among the $M$ modalities. In an epoch every pair of each modality is used once, in random order, up to whole batches.

# %%
config = et.TrainConfig(
    method="melt",
    epochs=size.passes,
    batch_size=size.batch_size,
    learning_rate=size.learning_rate,
    seed=0,
)
train_rows, val_rows = et.train.split_rows(list(sample.values()), config)


def melt_batches(rows, size, rng):
    """Yield the batches of one epoch: of each modality, which of its rows."""
    shares = {m: size // len(rows) + (i < size % len(rows)) for i, m in enumerate(rows)}
    order = {m: rng.permutation(r) for m, r in rows.items()}
    steps = min(len(r) for r in rows.values()) // max(shares.values())
    for step in range(steps):
        yield {m: order[m][step * k : (step + 1) * k] for m, k in shares.items()}


# %%
def first_epoch(cut):
    return list(cut(train_rows, config.batch_size, et.coords.stream("batches", config.seed, 0)))


pairs = zip(first_epoch(melt_batches), first_epoch(et.train.melt_batches), strict=True)
assert all((mine[m] == theirs[m]).all() for mine, theirs in pairs for m in sample)
batch = first_epoch(melt_batches)[0]
pd.DataFrame(
    {
        "pairs": {name: len(m) for name, m in sample.items()},
        "to train on": {name: len(rows) for name, rows in train_rows.items()},
        "held out": {name: len(rows) for name, rows in val_rows.items()},
        "in one batch": {name: len(rows) for name, rows in batch.items()},
    }
)

# %% [markdown]
# The same blocks of the globe are held out for every modality. Pairs within one patch's
# width of such a block are in neither part, because their patches overlap it, so the two columns do not add up to the first.
#
# ## Write the loss
#
# The places of all pairs go through the one location encoder. The observations go through the projection of their own modality: standardise by that modality's training rows, one linear layer, unit length.
# The rows are then concatenated, and the loss of chapter 03 runs over the whole batch. Nothing in it knows which row is an image and which a name.


# %%
def nt_xent(u, v, log_scale):  # from chapter 03
    logits = log_scale.exp() * v @ u.T  # (B, B), row = observation, column = place
    to_location = -torch.log_softmax(logits, dim=1).diagonal().mean()
    to_modality = -torch.log_softmax(logits, dim=0).diagonal().mean()
    return (to_location + to_modality) / 2


def vectors(model, batch):
    """Return unit vectors of places and observations of all modalities, (B, 256) each."""
    u = model.locate(torch.cat([basis[m][rows] for m, rows in batch.items()]))
    v = torch.cat([model.observe(m, features[m][rows]) for m, rows in batch.items()])
    return u, v


def melt_loss(model, batch):
    return nt_xent(*vectors(model, batch), model.logit_scale)


# %%
harmonics = et.SphericalHarmonics(10)  # the encoding of the paper's encoder
torch.manual_seed(et.coords.torch_seed("weights", config.seed))
model = et.train.new_run(list(sample.values()), train_rows, config, harmonics).model
basis = {m: model.encoder.basis(sample[m].lonlat) for m in sample}  # (N, 100), computed once
features = {m: torch.from_numpy(sample[m].features) for m in sample}  # (N, 256), frozen

model.eval()  # no dropout
by_hand = melt_loss(model, batch)
by_package = et.train.tied_loss(model, et.train.Data(basis, features), batch, config)
assert torch.allclose(by_hand, by_package, atol=1e-4)
B = sum(map(len, batch.values()))
print(f"by hand {by_hand:.4f}, et.train.tied_loss {by_package:.4f}, log {B} = {math.log(B):.4f}")

# %% [markdown]
# The answer to the guess: an image has one right place and $B - 1$ wrong ones, and two thirds of the wrong ones are places of lights and of names. In the other direction, a place that belongs to a name
# competes for its name with all other names, and with all images and lights of the batch. These are the {term}`negatives` of MELT. Chance is $\log B$ whatever the number of modalities.
#
# **Exercise 1 (write).** Let an observation compete only with places of its own modality: mask the logits of all other blocks. What does the loss of the untrained model become? Predict before you compute.


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def own_negatives(model, batch):
    """Compute NT-Xent with candidates of the pair's own modality only."""
    u, v = vectors(model, batch)
    kind = torch.cat([torch.full((len(rows),), i) for i, rows in enumerate(batch.values())])
    logits = model.logit_scale.exp() * v @ u.T
    logits = logits.masked_fill(kind[:, None] != kind, -math.inf)
    sides = [-torch.log_softmax(logits, dim=d).diagonal().mean() for d in (0, 1)]
    return sum(sides) / 2


# A third of the candidates is left. A model that knows nothing loses about log 3 = 1.1 nats less.
fewer = (by_hand - own_negatives(model, batch)).item()
assert abs(fewer - math.log(3)) < 0.5
print(f"smaller by {fewer:.2f} nats")

# %% [markdown]
# ## Write the loop
#
# It is the loop of chapter 03. Only the two functions above are new.


# %%
def train(model, epochs):
    """Train with MELT; return the loss of each step."""
    optimiser = et.train.adamw(model, config)  # no weight decay for biases and the scale
    losses = []
    for epoch in range(epochs):
        torch.manual_seed(et.coords.torch_seed("dropout", config.seed, epoch))
        rng = et.coords.stream("batches", config.seed, epoch)
        for batch in melt_batches(train_rows, config.batch_size, rng):
            loss = melt_loss(model, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            model.clamp_logit_scale()  # s is at most 100
            losses.append(loss.item())
    return losses


# %%
by_hand_losses = train(model.train(), epochs=1)
print(f"{by_hand_losses[0]:.3f} nats in the first step, {by_hand_losses[-1]:.3f} in the last")

# %% [markdown]
# An epoch of MELT passes once over the pairs of *every* modality: three times the pairs of an epoch of a single modality. Methods are therefore compared at equal *pairs seen*.
#
# `et.fit` has the same loop, and validates after each epoch. Its callback redraws the curves while you wait. With the same seeds its first epoch has the same losses as yours.

# %% mystnb={"figure": {"name": "fig-04-curves", "caption": "MELT's training loss falls; on held-out blocks satellite falls furthest, text falls in the first epochs alone, lights stay near log 256 = 5.55 nats. Above: last step of each epoch. Below: at most 256 candidates. 20,000 pairs each."}, "image": {"alt": "Two panels of curves over pairs seen. The training loss falls, with two small rises. Below it the held-out loss of satellite falls furthest and wavers at the end, that of text falls early and then stays level, that of lights hardly changes."}}
run = et.fit(sample, config, harmonics, callback=et.maps.LiveCurves())

# %% tags=["hide-input"]
apart = np.abs(run.history["loss"].to_numpy()[: len(by_hand_losses)] - by_hand_losses).max()
ends = run.history.dropna(subset="val_loss")
candidates = min(config.val_batch_size, *(len(rows) for rows in val_rows.values()))
last = ends.iloc[-1]
display(
    Markdown(
        f"In the first {len(by_hand_losses)} steps the losses of both loops differ by {apart:.0e} nats at most. Training took {last['seconds']:.0f} s for {last['pairs']:,.0f} pairs in "
        f"{last['step']:.0f} steps. Among {candidates} held-out candidates, knowing nothing costs "
        f"log {candidates} = {np.log(candidates):.2f} nats. At the end satellite stands at "
        f"{last['val_satellite']:.2f}, lights at {last['val_lights']:.2f} and text at "
        f"{last['val_text']:.2f}."
    )
)

# %% [markdown]
# The joint loss hides what goes on inside it. The held-out losses in {numref}`fig-04-curves`, one for each
# modality, tell more. They have one point an epoch, so they cannot show what happens in between.
# An image says a good deal about where it was taken. Night lights say little: most land is dark, and one
# dark patch is like another. A name is in between: its spelling gives away a language, and a language a
# region.
#
# ## The batch as a picture
#
# The cosines of a batch form three by three blocks. We draw those of the trained model for twelve training pairs of each modality.

# %%
few = {m: rows[:12] for m, rows in batch.items()}
with torch.no_grad():
    u, v = vectors(run.model, few)
cosine = (v @ u.T).numpy()  # row = observation, column = place
names = list(sample)
positive = np.diag(cosine)
negative = np.where(np.eye(len(cosine)), np.nan, cosine).reshape(3, 12, 3, 12)
levels = pd.DataFrame(np.nanmean(negative, axis=(1, 3)), names, [f"places of {m}" for m in names])
right = pd.Series(positive.reshape(3, 12).mean(axis=1), names)
levels.assign(**{"right place": right}).style.format(precision=2)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-04-batch", "caption": "A batch of MELT in blocks: each observation (row) has one right place (on the diagonal) and negatives from every modality. After training the diagonal stands out for images and names, hardly for lights. 36 training pairs, one seed."}, "image": {"alt": "A square matrix of 36 by 36 coloured cells, cut by black lines into nine blocks labelled satellite, lights and text. An orange diagonal runs through it; in the block of lights it is paler, and the cells beside it form broad orange and purple stripes."}}
figure, ax = plt.subplots(figsize=(6.8, 6), layout="constrained")
shown = ax.imshow(cosine, cmap="PuOr_r", vmin=-1, vmax=1)
for edge in (11.5, 23.5):
    ax.axhline(edge, color="black", lw=1.2)
    ax.axvline(edge, color="black", lw=1.2)
ax.set_xticks([5.5, 17.5, 29.5], [f"places of {m}" for m in names])
ax.set_yticks([5.5, 17.5, 29.5], names, rotation=90, va="center")
ax.tick_params(length=0)
ax.set(xlabel="place", ylabel="observation")
figure.colorbar(shown, ax=ax, label="cosine", shrink=0.7)
plt.close(figure)
figure

# %% [markdown]
# No cell of {numref}`fig-04-batch` compares an image with a name. Yet both are compared with the same kind of vector, that of a place, and the same encoder makes them all. This is what *tied* means.
#
# ## What was learned, one modality at a time
#
# A loss in nats is hard to picture. So ask directly: given one held-out observation and all held-out
# places of its modality, what part of the places does the model prefer to the right one? A model that knows nothing has a median of 50 %.

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
# Lights end hardly below log 256, although their ranks are better than chance. A loss also
# punishes an answer that is too sure, as chapter 03 showed; ranks do not.
#
# ## A look at the embedding
#
# The embedding of a place is a vector of 256 numbers. Its three first principal components, as red, green and blue, show what varies most
# over the land. The colours of the untrained encoder are turned to agree with the trained ones as well as they can.

# %%
lonlat, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(lonlat)
torch.manual_seed(et.coords.torch_seed("weights", config.seed))
untrained = et.LocationEncoder(harmonics)  # the weights from which training started
trained = et.maps.colours(run.model.embed(lonlat[land]), lonlat[land])
start = et.maps.colours(untrained.embed(lonlat[land]), lonlat[land], like=trained)
panels = {}
for name, colour in {"untrained": start, "MELT": trained}.items():
    panels[name] = np.full((len(lonlat), 3), np.nan)
    panels[name][land] = colour
    panels[name] = panels[name].reshape(*shape, 3)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-04-embedding", "caption": "Before training, neighbours have similar colours; after it, places that look alike have. Three principal components of the embedding as red, green and blue, 2.5 standard deviations from 0.5 to the ends. Grid of 1 degree, one seed."}, "image": {"alt": "Two world maps in colours. The untrained encoder has broad smooth patches of colour that follow position alone. MELT has finer structure: the Sahara and Arabia share a colour with other dry regions, northern forests have another, and mountains stand out."}}
figure = et.maps.colour_map(panels)
plt.close(figure)
figure

# %% [markdown]
# Nothing in {numref}`fig-04-embedding` was told about deserts, forests or continents.
#
# ## Asking in words
#
# Text and places share a space now. So a name, even one that is on no map, has a cosine with every place
# on Earth. The model has seen hashed {term}`character n-grams` only, not what they mean.

# %%
asked = ["Novoselovo", "Santa Rosa"]
tied = run.model.embed_modality("text", asked)
similarity = np.full((len(asked), land.size), np.nan)
similarity[:, land] = run.model.similarity(lonlat[land], tied).T

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-04-words", "caption": "A Slavic and a Spanish name point to different parts of the world. Cosine between a name and every place on land. The gazetteer holds Santa Rosa 48 times and Novoselovo not once. Grid of 1 degree, one seed."}, "image": {"alt": "Two world maps. The left one, for Novoselovo, is bright over Eastern Europe, northern Asia and the west of West Africa; the right one, for Santa Rosa, is bright over Latin America and the Philippines."}}
panels = {name: values.reshape(shape) for name, values in zip(asked, similarity)}
figure = et.maps.prediction_map(panels, "cosine in the tied space", diverging=True)
plt.close(figure)
figure

# %%
regions = {"Russia": [60.0, 56.0], "Mexico": [-102.0, 23.0], "Colombia": [-74.0, 4.5]}
table = run.model.similarity(list(regions.values()), tied)
pd.DataFrame(table, index=regions, columns=asked).round(2)

# %% [markdown]
# The two maps of {numref}`fig-04-words` differ as the two languages do. And no name was ever
# paired with an image. A dark green patch and the name "Santa Rosa do Purus" can both point at western Amazonia, and still their own cosine stays near zero: what they share is the place.
# How retrieval works between two kinds of observations that were never paired: [chapter 10](10_never_paired.ipynb).
#
# **Exercise 2 (open).** Find a name that points to two regions at once. What does its map tell about the
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
here  # Spanish rule left its saints in Mexico and in the Philippines

# %% [markdown]
# ## Limits
#
# - One seed. Whether MELT beats a single modality on a task needs retrained seeds and held-out regions: [chapter 06](06_probing.ipynb) and [chapter 09](09_bottleneck.ipynb).
# - The image features are random convolutions and the text features are hashed n-grams. Pretrained encoders
#   see more.
# - The held-out losses are comparable between modalities only because each is computed among the same number
#   of candidates.
#
# ## Summary
#
# - MELT concatenates pairs of every modality in each batch; modalities share no sample.
# - Negatives come from all modalities, and one location encoder serves them all.
# - The joint loss says little; look at each modality's held-out loss and ranks.
# - Observations of different modalities become comparable through the places they point to. Compared directly, by cosine, they find each other little better than by chance.
#
# ## Check

# %% tags=["check"]
full = size.n >= 20_000
first = run.history["loss"].iloc[:3].mean()
assert run.history["loss"].iloc[-3:].mean() < first - 0.3, "training reduces the joint loss"
assert apart < 0.01, "the loop written here is that of the package"
assert last["val_satellite"] < np.log(candidates) - 0.2, "held-out images are told apart"
assert last["val_satellite"] < min(last["val_text"], last["val_lights"])
assert not full or abs(last["val_lights"] - np.log(candidates)) < 0.3
lift = right - levels.max(axis=1)
assert not full or lift[["satellite", "text"]].min() > 0.15, "the diagonal stands out"
assert not full or lift["lights"] < 0.1
assert ranks.loc["satellite", "median rank"] < 0.3, "chance is one half"
assert ranks.loc["text", "median rank"] < 0.45, "names say something about where"
assert table[0, 0] > table[1, 0], "Novoselovo is nearer to Russia than to Mexico"
assert table[1, 1] > table[0, 1], "Santa Rosa is nearer to Mexico than to Russia"
assert (et.sample.places()["name"] == "Santa Rosa").sum() == 48

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167), the paper that introduces MELT and SALT.
# - [Klemmer et al. (2023)](https://arxiv.org/abs/2311.17179), SatCLIP: one modality, the starting point.
# - [Radford et al. (2021)](https://arxiv.org/abs/2103.00020), CLIP: the loss, the logit scale and its clamp.
# - [Rolf et al. (2021)](https://doi.org/10.1038/s41467-021-24638-z), MOSAIKS: random convolutional features.
#
# Next: [SALT](05_salt.ipynb), one modality at a time.
