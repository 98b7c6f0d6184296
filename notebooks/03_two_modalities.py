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
# # Two modalities: the satellite baseline
#
# Before tying many modalities we tie two: places and satellite images. The recipe is SatCLIP's. A place and the
# image taken there should agree, and disagree with all others. This notebook derives the loss from a plain question, trains
# the encoder, and then asks on regions it has never seen whether it learned about images or only memorised places.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** derive {term}`NT-Xent`, read a similarity matrix, say what the {term}`logit scale` and the {term}`negatives` do, read a
#   held-out contrastive loss, and measure retrieval on held-out blocks.
# - **Prerequisites** [Three views of the Earth](01_data_preparation.ipynb),
#   [What does an encoder see of a place?](02_location_encoding.ipynb); softmax and cross-entropy.
# - **Data** [satellite](../data/cards/satellite.md), offline.
# - **Time** about 2 minutes on two cores.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Markdown, display
from scipy.spatial import cKDTree

import earthtie_lite as et

size = et.profile(profile)
satellite = et.load_sample(size.n, modalities=["satellite"])["satellite"]
satellite

# %% [markdown]
# ## Which of B places belongs to this image?
#
# Take $B$ pairs of a place and an image. The {term}`location encoder` and a normalisation turn place $i$ into a unit vector $u_i$. The frozen features $x_i$ of image $i$
# go through a trained linear *projection* and become a unit vector $v_i$. Now play a game. Somebody shows image $i$ and the
# $B$ places in random order. Which one belongs to it? Let the model answer by probabilities, the larger the more similar
# place and image are:
#
# $$ p(j \mid x_i) = \frac{\exp(s \, v_i \cdot u_j)}{\sum_{k=1}^{B} \exp(s \, v_i \cdot u_k)}. $$
#
# The factor $s > 0$ says how much a difference in similarity counts; $1/s$ is called the temperature. Maximising the probability of the right answers
# means minimising
#
# $$ \mathcal{L}_{\text{to location}} = -\frac{1}{B} \sum_{i=1}^{B} \log p(i \mid x_i), $$
#
# the cross-entropy of a classification with $B$ classes. The classes are new in every batch. The wrong places are the {term}`negatives`. Asking the
# other way round, which image belongs to this place, gives $\mathcal{L}_{\text{to modality}}$, and the default is the mean of the two. This is
# {term}`NT-Xent`, the normalised temperature-scaled cross-entropy.
#
# Two values are worth remembering. Somebody who knows nothing and admits it gives every place the probability $1/B$, and the loss is $\log B$.
# Somebody who is sure and wrong pays more than $\log B$.
#
# ## A batch of four
#
# We choose four places that look different from above, and build the model as training will start from it.

# %%
spots = {
    "Sahara": (10.0, 23.0),
    "Amazon": (-65.0, -5.0),
    "Tromsø": (18.96, 69.65),
    "Tibet": (90.0, 32.0),
}
places = np.array(list(spots.values()))
images = et.sample.raster("satellite").patches(places, et.modalities.PATCH_PIXELS["satellite"])
config = et.TrainConfig(
    epochs=3 * size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate
)
train_rows, val_rows = et.train.split_rows([satellite], config)
torch.manual_seed(et.coords.torch_seed("weights", config.seed))
start = et.train.new_run([satellite], train_rows, config, et.SphericalHarmonics(10))
untrained = start.model.eval()


# %%
def vectors(model):
    """Return unit vectors of the four places and of the four images."""
    with torch.no_grad():
        u = model.locate(model.encoder.basis(places))
    return u, torch.from_numpy(model.embed_modality("satellite", images))


u, v = vectors(untrained)
logits = untrained.logit_scale.exp() * v @ u.T  # row = image, column = place
by_hand = -torch.log_softmax(logits, dim=1).diagonal().mean()
by_module = et.nt_xent(u, v, untrained.logit_scale, direction="to_location")
print(f"by hand {by_hand:.4f}, et.nt_xent {by_module:.4f}, log 4 = {np.log(4):.4f}")

# %% [markdown]
# The definition and the module agree. The untrained model knows nothing: on four pairs its loss may lie a little above or below $\log 4$, by luck. Now we train.
#
# ## Training
#
# `et.fit` does everything that the earlier notebooks prepared: it holds out blocks with a buffer, standardises on the training part, computes the harmonics
# once and then takes steps of AdamW. A later notebook ties three modalities. To make the runs comparable, this one makes three times as
# many passes over its single modality, so it sees as many pairs. In the table below, `logit_scale` is the *logarithm* of the scale $s$, as everywhere in the code.

# %%
run = et.fit({"satellite": satellite}, config, et.SphericalHarmonics(10))
model = run.model.cpu()
run.history.dropna(subset="val_loss").iloc[[0, -1]][
    ["epoch", "pairs", "loss", "val_loss", "logit_scale", "seconds"]
].style.format(precision=2, thousands=",").hide(axis="index")

# %% mystnb={"figure": {"name": "fig-03-matrix", "caption": "Cosines of four images (rows) and four places (columns) before and after training. Training makes the diagonal stand out. The scale and seed are the run's; the four places are not chosen from the held-out part."}, "image": {"alt": "Two matrices of four by four coloured cells with numbers. Before training, all cells are pale. After training the diagonal is strongly coloured and most other cells are near zero or negative."}}
cosines = [np.asarray(torch.matmul(v, u.T)) for u, v in (vectors(untrained), vectors(model))]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharey=True)
for ax, matrix, title in zip(axes, cosines, ("before training", "after training"), strict=True):
    table = pd.DataFrame(matrix, index=list(spots), columns=list(spots))
    colours = {"cmap": "PuOr_r", "vmin": -1, "vmax": 1, "cbar": False}
    sns.heatmap(table, annot=True, fmt=".2f", square=True, ax=ax, **colours)
    ax.set(title=title, xlabel="place")
    ax.tick_params(axis="y", rotation=0)
axes[0].set_ylabel("image")
figure.colorbar(axes[0].collections[0], ax=axes, label="cosine")
plt.close(figure)
figure

# %% [markdown]
# Before training, the cells of a row in {numref}`fig-03-matrix` are nearly equal: all places have almost the same vector, the constant part met in the second notebook. No
# sensible choice is possible. After training, each image prefers its own place. Tibet's image keeps some similarity to the Sahara and to Tromsø.
#
# The history of the run shows how it got there, for whole batches.

# %% mystnb={"figure": {"name": "fig-03-curves", "caption": "The training loss falls to the end; the held-out loss gains most early and little or nothing later. Above: each step, with dropout. Below: after each epoch, among at most 256 places of held-out blocks, without dropout. One seed."}, "image": {"alt": "Two line plots over pairs seen. Above, the training loss falls steeply, then ever more slowly, without stopping. Below, the held-out loss falls steeply in the first epochs, slowly for a while, and then wavers around one level."}}
figure = et.maps.loss_curves(run.history)
plt.close(figure)
figure

# %% [markdown]
# ## What does the held-out loss say?
#
# The two curves of {numref}`fig-03-curves` cannot be compared directly: the game is harder among the places of a training batch than among the candidates of a
# validation batch, and dropout is on in one and off in the other. So we let the trained model play the same game twice, with the same number of
# candidates: once with places it trained on, once with places of held-out blocks.

# %%
basis = model.encoder.basis(satellite.lonlat)
features = torch.from_numpy(satellite.features)
with torch.no_grad():
    U, V = model.locate(basis), model.observe("satellite", features)
    U0, V0 = untrained.locate(basis), untrained.observe("satellite", features)
parts = {"training places": train_rows["satellite"], "held-out blocks": val_rows["satellite"]}
B = min(256, *map(len, parts.values()))  # candidates


def games(rows, count=16):
    """Cut rows, in random order, into at most ``count`` batches of B."""
    rows = np.random.default_rng(0).permutation(rows)
    return [rows[i : i + B] for i in range(0, len(rows) - B + 1, B)][:count]


# %%
def loss(rows, u, v, **options):
    """Return the mean loss over games."""
    scale = options.pop("logit_scale", model.logit_scale)
    return np.mean([et.nt_xent(u[g], v[g], scale, **options).item() for g in games(rows)])


played = {part: loss(rows, U, V) for part, rows in parts.items()}
before = {part: loss(r, U0, V0, logit_scale=untrained.logit_scale) for part, r in parts.items()}
table = pd.DataFrame({"places": parts.keys(), "untrained": before.values()})
table["trained"] = played.values()
table["log B"] = np.log(B)
table.style.format(precision=2).hide(axis="index")

# %% tags=["hide-input"]
curve = run.history.dropna(subset="val_loss")["val_loss"].to_numpy()
best = curve.min()
early = int(np.argmax(curve <= np.log(B) - 0.8 * (np.log(B) - best))) + 1
alike = {part: np.exp(value) for part, value in played.items()}
display(
    Markdown(
        f"The model does beat $\\log {B} = {np.log(B):.2f}$ on regions it never saw: "
        f"{played['held-out blocks']:.2f} nats. It is as if it chose between "
        f"{alike['held-out blocks']:.0f} places instead of {B}. On the places it trained on it is "
        f"as if it chose between {alike['training places']:.0f}. Epoch {early} of {len(curve)} had "
        f"already reached four fifths of the best held-out gain over $\\log {B}$."
    )
)

# %% [markdown]
# That is the central observation of this notebook. Some of what training teaches holds everywhere: which climates go with which colours, say. It is learned
# in the first part of training. Most of what the training loss gains later is about *these* places. A location encoder can always lower the loss by
# giving each training place a place of its own in the space, and that helps nobody elsewhere. Only a held-out loss on whole regions shows it; neighbours
# chosen at random would be near twins of the training places.
#
# Is memorising places bad? Not always. A location encoder is often used where observations lie everywhere and only labels are scarce. Then knowing the training
# places *is* the use. The [probing chapter](06_probing.ipynb) measures which it is.
#
# ## What does the logit scale do?
#
# The scale $s$ sharpens or flattens the probabilities. Cosines lie between −1 and 1, so with $s = 1$ even a perfect model could not be sure among many candidates: the loss
# has a floor. With a large $s$ every mistake is expensive. The model learns $s$ together with everything else, starting at $1 / 0.07$, and it is capped at 100. The trained parameter, `logit_scale`, is $\log s$. We keep the
# vectors fixed and vary $s$.

# %%
scales = np.geomspace(1, 100, 25)
swept = {"untrained, held-out blocks": [], **{part: [] for part in parts}}
for s in np.log(scales):
    for part, rows in parts.items():
        swept[part].append(loss(rows, U, V, logit_scale=s))
    swept["untrained, held-out blocks"].append(
        loss(parts["held-out blocks"], U0, V0, logit_scale=s)
    )
learned = model.logit_scale.exp().item()
best_scale = {name: scales[int(np.argmin(values))] for name, values in swept.items()}

# %% mystnb={"figure": {"name": "fig-03-scale", "caption": "Loss against the scale s, all vectors fixed, batches of equal size. The best scale for held-out blocks is smaller than the one for training places, and than the learned one (dotted). Dashed: log B. One seed."}, "image": {"alt": "Three curves of loss against scale on a logarithmic axis. The curve of the training places has a low minimum near or above the learned scale. The curve of the held-out blocks has a shallow minimum at a smaller scale and rises steeply beyond it. The untrained curve starts at log B and only rises."}}
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, values), colour in zip(swept.items(), et.maps.CYCLE, strict=False):
    ax.semilogx(scales, values, color=colour, label=name)
ax.axhline(np.log(B), color="#666666", ls="--", lw=1, label=f"log {B}")
ax.axvline(learned, color="#666666", ls=":", lw=1, label="learned scale")
ax.set(xlabel="scale s", ylabel="loss (nats)", ylim=(0, 2 * np.log(B)))
ax.grid(alpha=0.3)
ax.legend(fontsize=8, frameon=False)
plt.close(figure)
figure

# %% tags=["hide-input"]
display(
    Markdown(
        f"The learned scale is {learned:.1f}. The best one on the sweep is "
        f"{best_scale['training places']:.1f} for training places and "
        f"{best_scale['held-out blocks']:.1f} for held-out blocks."
    )
)

# %% [markdown]
# The scale is fitted to the training places, where the model is right more often ({numref}`fig-03-scale`). On new regions the same confidence
# costs. A part of a held-out loss is therefore miscalibration, not ignorance, and ranks, which do not depend on $s$, are a useful second opinion.
#
# ## Directions and negatives
#
# The loss has two options, and the literature is not always clear on which it uses. The *direction* says who asks: the image for its place (`to_location`), the place for its image
# (`to_modality`), or both. The *negatives* say who competes: only the other side of the pairs (`cross`, $B$ candidates), or all other vectors of the batch, of both
# sides (`all`, $2B - 1$ candidates). We compare all six on the same vectors.

# %%
options = pd.DataFrame(
    {
        "direction": direction,
        "negatives": negatives,
        "candidates": {"cross": B, "all": 2 * B - 1}[negatives],
        **{
            part: loss(rows, U, V, direction=direction, negatives=negatives)
            for part, rows in parts.items()
        },
    }
    for direction in ("both", "to_location", "to_modality")
    for negatives in ("cross", "all")
)
options["log of candidates"] = np.log(options["candidates"])
options.style.format(precision=2).hide(axis="index")

# %% [markdown]
# The two directions are close to each other with `cross`. With `all` the loss is far larger than doubling the candidates explains. The reason is in the added candidates. A place now competes with *places*, and a
# neighbouring place has nearly the same vector; an image competes with images, and one patch of desert looks like another. This model was trained with `cross` and was never asked to push such
# neighbours apart. The numbers therefore do not say which option trains better. They say that losses under different options must not be compared.
#
# ## Retrieval on held-out blocks
#
# The game itself can be scored without $s$. For an image from a held-out block, rank the candidate places by similarity. *Recall@k* is the
# share of images whose own place is among the first $k$. Chance is $k / B$. There is also a baseline without any training: find the most similar image
# of the training part by its frozen features, and rank the candidates by their distance on the ground to *its* place.

# %%
held, trained = parts["held-out blocks"], parts["training places"]
head = untrained.head("satellite")  # it holds the statistics of the training part
standard = head.standardise(features).numpy()
twin = trained[cKDTree(standard[trained]).query(standard[held])[1]]
twin_place = dict(zip(held, et.coords.unit_vectors(satellite.lonlat[twin]), strict=True))
xyz = et.coords.unit_vectors(satellite.lonlat)


# %%
def ranks(score):
    """Return how many candidates beat the right place, for each held-out image."""
    matrices = [np.asarray(score(g)) for g in games(held)]  # row = image, column = place
    return np.concatenate([(m > np.diag(m)[:, None]).sum(axis=1) for m in matrices])


ranked = {"trained": ranks(lambda g: V[g] @ U[g].T)}
ranked["place of the most similar image"] = ranks(
    lambda g: np.stack([twin_place[i] for i in g]) @ xyz[g].T
)
ranked["untrained"] = ranks(lambda g: V0[g] @ U0[g].T)
recall = pd.DataFrame(
    {name: [(r < k).mean() for k in range(1, B + 1)] for name, r in ranked.items()}
)

# %% mystnb={"figure": {"name": "fig-03-recall", "caption": "On regions never trained on, the trained encoder finds the right place of an image far more often than chance. Recall@k among equally many candidates, all from held-out blocks; one seed, so no interval."}, "image": {"alt": "Recall against k on logarithmic k axis. The curve of the trained model is highest, the most similar image is lower, the untrained model stays near the dashed line of chance."}}
k = np.arange(1, B + 1)
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, colour in zip(recall, et.maps.CYCLE, strict=False):
    ax.semilogx(k, recall[name], color=colour, label=name)
ax.semilogx(k, k / B, color="#666666", ls="--", lw=1, label="chance")
ax.set(xlabel="k", ylabel="recall@k")
ax.grid(alpha=0.3)
ax.legend(fontsize=8, frameon=False)
plt.close(figure)
figure

# %%
shown = recall.iloc[[0, 4, 9, 31]].assign(chance=k[[0, 4, 9, 31]] / B)
shown.insert(0, "k", k[[0, 4, 9, 31]])
shown.style.format(precision=3).hide(axis="index")

# %% [markdown]
# {numref}`fig-03-recall` and the table agree with the losses: something was learned that holds on new regions.
#
# ## Where in the world does this image belong?
#
# The candidates need not come from a batch. We compare one image with every place on land. `model.similarity` gives the cosine in the tied space.

# %%
lonlat, shape = et.maps.grid(size.spacing_deg)
land = et.sample.is_land(lonlat)
world = np.full((len(lonlat), len(spots)), np.nan)
world[land] = model.similarity(lonlat[land], model.embed_modality("satellite", images))
panels = {name: world[:, i].reshape(shape) for i, name in enumerate(spots)}

# %% mystnb={"figure": {"name": "fig-03-world", "caption": "Cosine of one patch with every place on land. The Sahara patch finds the Sahara and Arabia; the Amazon patch finds the Amazon, then the Congo and the plains of North America, and more weakly India, Kazakhstan and Siberia. One seed; grey: sea."}, "image": {"alt": "Four world maps. Sahara: North Africa and Arabia stand out. Amazon: the Amazon is darkest; the rest of South America, the Congo basin, the plains of North America, India and parts of Siberia stand out less. Tromsø: coasts of Alaska, Norway, western Europe, Patagonia and New Zealand. Tibet: Tibet, then parts of North Africa, the Near East, Central Asia and Australia."}}
figure = et.maps.prediction_map(panels, "cosine with the image", diverging=True)
plt.close(figure)
figure

# %% tags=["hide-input"]
peaks = lonlat[np.nanargmax(world, axis=0)]
own = model.similarity(places, model.embed_modality("satellite", images)).diagonal()
share = {name: (world[land, i] > own[i]).mean() for i, name in enumerate(spots)}
listed = ", ".join(f"{name} {100 * value:.0f} %" for name, value in share.items())
display(
    Markdown(
        f"How much of the land (cells of the grid) is more similar to the image than its own place? {listed}."
    )
)

# %% [markdown]
# {numref}`fig-03-world` shows what the encoder has learned and what it cannot learn. The image of the Sahara fits the Sahara and Arabia with a cosine of about 0.5; the deserts of Australia and
# southern Africa with about 0.1. The image of the Amazon fits the Amazon best (about 0.5), the Congo nearly as well (about 0.4), and India, Siberia and Canada less (about 0.3): at this resolution, in these colours, forests look alike. The image leaves it open *where* it was taken, and the map
# shows that openness. Another modality may close it: names differ between Brazil, the Congo and Siberia.
# That is the idea of the next notebook.
#
# ## Limits
#
# - One seed, one set of held-out blocks. The size of the gap between training and held-out places will vary with both.
# - The images are coarse, their features random. SatCLIP uses Sentinel-2 and a learned image encoder.
# - Retrieval is not the aim. Whether an embedding is *useful* is decided by probes.
# - The number of epochs was set by the number of pairs that the later comparison needs, not by the best held-out loss.
#
# ## Summary
#
# - NT-Xent is a classification: which of $B$ places belongs to this image? Knowing nothing costs $\log B$.
# - The scale sets how sure the model is. It is fitted to training places and too large for new regions.
# - Losses under other batch sizes, directions or negatives are different games and do not compare.
# - What holds on new regions is learned in the first part of training. After that the encoder mostly learns its training places.
# - Even so, retrieval on held-out blocks is far above chance.
#
# ## Exercises
#
# **Exercise 1 (check).** A collapsed model gives every place and every image the same vector. What is its loss, for any scale?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# All logits are equal, so each candidate has the probability 1 / B: the loss is log B.
same = torch.nn.functional.normalize(torch.ones(64, 8), dim=1)
collapsed = [et.nt_xent(same, same, s).item() for s in (0.0, 2.65, 4.6)]
print(collapsed, np.log(64))
assert np.allclose(collapsed, np.log(64), atol=1e-5)

# %% [markdown]
# **Exercise 2 (modify).** Let the trained model play with 8, 32 and 128 candidates from held-out blocks. How does the gain over $\log B$ change?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
gain = {}
for b in (8, 32, 128):
    order = np.random.default_rng(1).permutation(held)
    batches = [order[i : i + b] for i in range(0, len(order) - b + 1, b)]
    value = np.mean([et.nt_xent(U[g], V[g], model.logit_scale).item() for g in batches])
    gain[b] = np.log(b) - value
    print(f"B = {b:3}: loss {value:.2f}, log B {np.log(b):.2f}, gain {gain[b]:.2f} nats")
assert min(gain.values()) > 0

# %% [markdown]
# **Exercise 3 (open).** How much of the held-out loss is overconfidence? Choose the scale on one half of the held-out
# games and measure the gain on the other half.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
half = len(held) // 2
order = np.random.default_rng(2).permutation(held)
first, second = order[:half], order[half:]
grid = np.linspace(0, 4, 41)
tuned = min(grid, key=lambda s: et.nt_xent(U[first], V[first], s).item())
as_learned, rescaled = (
    et.nt_xent(U[second], V[second], s).item() for s in (model.logit_scale, tuned)
)
print(
    f"scale {np.exp(tuned):.1f}: loss {as_learned:.2f} becomes {rescaled:.2f}, log {half} = {np.log(half):.2f}"
)
assert rescaled < as_learned

# %% [markdown]
# ## Check

# %% tags=["hide-input"]
late = 2 * len(curve) // 3
by_epoch = run.history.groupby("epoch")["loss"].mean().to_numpy()
still_gained = curve[:late].min() - best  # by the last third of training, on held-out blocks
around = {"Sahara": (10, 23), "Amazon": (22, 0)}  # the Amazon's image is looked for in the Congo
contrast = {}
for name, centre in around.items():
    values = panels[name].ravel()
    near = land & (np.abs(lonlat - centre).max(axis=1) < 5)
    contrast[name] = np.nanmean(values[near]) - np.nanmean(values)

# %% tags=["check"]
assert abs(by_hand - by_module) < 1e-5
assert np.ptp(cosines[0], axis=1).max() < 0.1
assert (np.argmax(cosines[1], axis=1) == np.arange(4)).sum() >= 3, "all four in profile sample"
assert played["held-out blocks"] < np.log(B) - 0.3
assert played["training places"] < played["held-out blocks"] - 0.5
assert early <= late
assert still_gained < 0.15
assert by_epoch[late:].mean() < by_epoch[late // 2 : late].mean()
assert best_scale["held-out blocks"] < min(best_scale["training places"], learned)
assert (options["held-out blocks"][1::2].to_numpy() > options["held-out blocks"][::2] + 1).all()
assert recall["trained"].iloc[9] > 3 * 10 / B
assert recall["trained"].iloc[9] > recall["place of the most similar image"].iloc[9]
assert contrast["Sahara"] > 0.3
assert contrast["Amazon"] > 0.1

# %% [markdown]
# ## Further reading
#
# - [Klemmer et al. (2023)](https://arxiv.org/abs/2311.17179): SatCLIP, the baseline of this notebook, with Sentinel-2 images.
# - [Radford et al. (2021)](https://arxiv.org/abs/2103.00020): CLIP, the loss in both directions and the learned scale.
# - [Chen et al. (2020)](https://arxiv.org/abs/2002.05709): SimCLR, NT-Xent with all other vectors of the batch as negatives.
# - [van den Oord et al. (2018)](https://arxiv.org/abs/1807.03748): InfoNCE, where the classification view comes from.
#
# Next: [MELT](04_melt.ipynb)
