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
# # Which place belongs to this image?
#
# Before tying many modalities we tie two: places and satellite images. The recipe is SatCLIP's. The vector of a place and the vector of the
# image taken there should agree, and each should disagree with all others. In this chapter you compute the loss from four pairs, write the training
# loop, and then ask on regions that were held out whether the encoder learned about images or only memorised its places.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** compute {term}`NT-Xent` by hand, write a contrastive training loop, read a similarity matrix and a held-out loss, and say what the
#   {term}`logit scale` and the {term}`negatives` do.
# - **Prerequisites** [Three views of the Earth](01_data_preparation.ipynb),
#   [What does an encoder see of a place?](02_location_encoding.ipynb); softmax and cross-entropy.
# - **Data** [satellite](../data/cards/satellite.md), offline.
# - **Time** about 25 minutes to read, 2 to 3 minutes to run on two cores.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Markdown, display
from scipy.spatial import cKDTree
from torch import nn
from torch.nn.functional import normalize

import earthtie_lite as et

size = et.profile(profile)
satellite = et.load_sample(size.n, modalities=["satellite"])["satellite"]
satellite

# %% [markdown]
# ## Four pairs
#
# Take four places that look different from above, and cut the image of each. Somebody hands you one of the images and the list of the four places. Which place
# belongs to it? A model plays the same game, and it answers with probabilities.
#
# For the game, places and images must become vectors of one space. A place goes through the {term}`location encoder` of chapter 02, here with the paper's
# spherical harmonics and sine layers. An image goes through the frozen random convolutions of chapter 01, which give 256 features, and then through a *projection*: the features are standardised
# by the mean and deviation of the training rows, and one trained linear layer follows. Both sides are scaled to unit length, so their product is a cosine. That is the whole model:


# %%
class Tie(nn.Module):
    """A location encoder and a projection of images, in one space."""

    def __init__(self, encoder, mean, std, width=256):
        super().__init__()
        self.encoder, self.mean, self.std = encoder, mean, std
        self.projection = nn.Linear(len(mean), width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # trained, too

    def places(self, basis):  # harmonics (B, 100) -> unit vectors u (B, 256)
        return normalize(self.encoder(basis), dim=1)

    def images(self, features):  # features (B, 256) -> unit vectors v (B, 256)
        return normalize(self.projection((features - self.mean) / self.std), dim=1)


# %% [markdown]
# The harmonics of all places and the features of all images are computed once. Whole blocks of the Earth are held out, with a buffer, as in chapter 01.

# %%
spots = {
    "Sahara": (10.0, 23.0),
    "Amazon": (-65.0, -5.0),
    "Tromsø": (18.96, 69.65),
    "Tibet": (90.0, 32.0),
}
config = et.TrainConfig(
    epochs=3 * size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate
)
(train_rows,), (val_rows,) = (x.values() for x in et.train.split_rows([satellite], config))
harmonics = et.SphericalHarmonics(10)  # the encoding of the paper's encoder
torch.manual_seed(et.coords.torch_seed("weights", config.seed))
encoder = et.LocationEncoder(harmonics)  # two sine layers of 256 units, then a linear one

# %%
basis = encoder.basis(satellite.lonlat)  # (N, 100)
features = torch.from_numpy(satellite.features)  # (N, 256)
mean, std = features[train_rows].mean(dim=0), features[train_rows].std(dim=0, correction=0)
tie = Tie(encoder, mean, std)

places = np.array(list(spots.values()))
images = et.sample.raster("satellite").patches(places, et.modalities.PATCH_PIXELS["satellite"])
four_basis = encoder.basis(places)
four_features = torch.from_numpy(satellite.featuriser(images))


def vectors(model):
    """Return unit vectors of the four places and of the four images."""
    model.eval()  # no dropout
    with torch.no_grad():
        return model.places(four_basis), model.images(four_features)


# %% [markdown]
# ## The loss, with the numbers
#
# Let $u_j$ be the unit vector of place $j$ and $v_i$ that of image $i$. The answer to image $i$ is a softmax over the places,
#
# $$ p(j \mid i) = \frac{\exp(s \, v_i \cdot u_j)}{\sum_{k=1}^{B} \exp(s \, v_i \cdot u_k)} , \qquad \ell_i = -\log p(i \mid i), $$
#
# and the loss $\ell_i$ is the negative logarithm of the probability of the right answer. The factor $s > 0$, the scale, says how much a difference of cosines counts; $1/s$ is called the temperature.
# The wrong places are the {term}`negatives`. Here are the steps for four pairs and random weights. A row is an image, a column a place.

# %%
u, v = vectors(tie)
cosine = v @ u.T  # (4, 4)
logit = tie.log_scale.exp() * cosine  # s = 1 / 0.07 = 14.3
probability = torch.softmax(logit, dim=1)  # each row sums to one
by_image = -torch.log(probability.diagonal())  # one loss for each image
steps = {"cosine": cosine, "logit": logit, "probability": probability}
shown = {k: pd.DataFrame(x.detach().numpy(), spots, list(spots)) for k, x in steps.items()}
shown["probability"]["loss"] = by_image.detach().numpy()
pd.concat(shown).style.format(precision=2, na_rep="")

# %% [markdown]
# The cosines of a row are nearly equal, because an untrained encoder gives all places nearly the same vector. So all probabilities are near 1/4 and all losses near $\log 4 = 1.39$.
#
# The question can be asked the other way round: *which image belongs to this place?* The candidates are then the four images, and the softmax runs down the columns of the same logits. The loss
# of the batch is the mean over both directions and over all pairs. This is {term}`NT-Xent`, the normalised temperature-scaled cross-entropy.


# %%
def nt_xent(u, v, log_scale):
    """Compute NT-Xent of B pairs in both directions: row i of u belongs to row i of v."""
    logits = log_scale.exp() * v @ u.T  # (B, B), row = image, column = place
    to_location = -torch.log_softmax(logits, dim=1).diagonal().mean()
    to_modality = -torch.log_softmax(logits, dim=0).diagonal().mean()
    return (to_location + to_modality) / 2


by_hand = nt_xent(u, v, tie.log_scale)
by_package = et.nt_xent(u, v, tie.log_scale)
assert torch.allclose(by_hand, by_package, atol=1e-5)
by_place = -torch.log_softmax(logit, dim=0).diagonal()
print(f"image to place {by_image.mean():.4f}, place to image {by_place.mean():.4f}")
print(f"by hand {by_hand:.4f}, et.nt_xent {by_package:.4f}, log 4 = {math.log(4):.4f}")

# %% [markdown]
# **Why $\log B$?** A model that knows nothing and admits it gives each of $B$ candidates the probability $1/B$, and its loss is $-\log(1/B) = \log B$. A loss *above* $\log B$
# means worse than ignorance: the model is sure of wrong answers. A loss of $\log b$ means as much as a fair choice between $b$ candidates.
#
# :::{dropdown} Quick check: what does the loss of one image become if its right place has probability 1/2, and if it has 1/100?
# $-\log(1/2) = 0.69$ and $-\log(1/100) = 4.61$ nats. Among four candidates the second is far above $\log 4 = 1.39$: the model was nearly sure of another place.
# :::
#
# **Exercise 1 (write).** A *collapsed* model gives every place and every image the same vector. Predict its loss for any scale, then write such vectors and test your answer.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# All logits are equal, so each of the 64 candidates has the probability 1/64 and the loss is log 64,
# whatever the scale is. Collapse is no way to lower this loss: the negatives prevent it.
same = normalize(torch.ones(64, 8), dim=1)
collapsed = [nt_xent(same, same, torch.tensor(s)).item() for s in (0.0, 2.65, 4.6)]
assert np.allclose(collapsed, math.log(64), atol=1e-5)
collapsed

# %% [markdown]
# ## The training loop
#
# Training repeats the game with new batches. Each step draws $B$ pairs, computes the loss and its gradient, and moves all weights: those of the encoder, of the projection, and the scale. After the step
# the scale is limited to 100, as in CLIP. The optimiser is AdamW; its weight decay acts on matrices only.


# %%
def train(model, epochs):
    """Train a model on the pairs of places and images; return the loss of each step."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]  # biases and the scale
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.01)
    losses = []
    for epoch in range(epochs):
        torch.manual_seed(et.coords.torch_seed("dropout", config.seed, epoch))
        order = et.coords.stream("batches", config.seed, epoch).permutation(train_rows)
        for rows in order[: len(order) // config.batch_size * config.batch_size].reshape(
            -1, config.batch_size
        ):
            losses.append(step(model, optimiser, rows))
    return losses


# %%
def step(model, optimiser, rows):
    """Move all weights once, by the gradient of the loss of one batch; return the loss."""
    loss = nt_xent(model.places(basis[rows]), model.images(features[rows]), model.log_scale)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        model.log_scale.clamp_(max=math.log(100))
    return loss.item()


tie.train()  # with dropout
by_hand_losses = train(tie, epochs=3)

# %% [markdown]
# `et.fit` does the same and more: it holds out blocks, standardises, encodes the places once, validates after each epoch, and can save and resume. With the same seeds it must have the same losses as your loop.

# %%
run = et.fit({"satellite": satellite}, config, harmonics)
model = run.model.cpu()
package_losses = run.history["loss"].to_numpy()[: len(by_hand_losses)]
apart = np.abs(package_losses - by_hand_losses).max()
assert apart < 0.01
print(f"{len(by_hand_losses)} steps: the largest difference of the losses is {apart:.1e} nats")
ends = run.history.dropna(subset="val_loss").iloc[[0, -1]]
columns = ["epoch", "pairs", "loss", "val_loss", "logit_scale", "seconds"]
ends[columns].style.format(precision=2, thousands=",").hide(axis="index")

# %% [markdown]
# The package's model has the same parts as `Tie`: `model.locate` is `places`, `model.observe("satellite", ...)` is `images`, and `model.logit_scale` is the *logarithm* $\log s$, as `log_scale` is above. It made three times as
# many passes over its one modality as the next chapter makes over three, so that both see equally many pairs.
#
# ## Before and after
#
# What has training changed in the matrix of cosines? We take twelve places, the four and eight more.

# %%
more = {"Congo": (23.0, 0.0), "New York": (-74.0, 40.7), "Cairo": (31.2, 30.0)}
more |= {"Iowa": (-93.5, 42.0), "Yakutia": (125.0, 65.0), "Borneo": (114.0, 1.0)}
more |= {"Bihar": (85.5, 25.8), "Outback": (133.0, -25.0)}
twelve = spots | more
where = np.array(list(twelve.values()))
patches = et.sample.raster("satellite").patches(where, et.modalities.PATCH_PIXELS["satellite"])
torch.manual_seed(et.coords.torch_seed("weights", config.seed))
untrained = et.train.new_run([satellite], {"satellite": train_rows}, config, harmonics).model.eval()
cosines = {
    title: m.similarity(where, m.embed_modality("satellite", patches)).T  # row = image
    for title, m in (("before training", untrained), ("after training", model))
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-03-matrix", "caption": "Training makes the diagonal stand out: cosines of twelve images (rows) and twelve places (columns). The four of the table come first. The places were not chosen by region; some lie in held-out blocks. One seed."}, "image": {"alt": "Two matrices of twelve by twelve coloured cells. Before training each row has one pale colour. After training the diagonal is orange, most other cells are pale or purple, and forests share orange cells with forests, deserts with deserts."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 4.8), layout="constrained", sharey=True)
for ax, (title, matrix) in zip(axes, cosines.items(), strict=True):
    table = pd.DataFrame(matrix, index=list(twelve), columns=list(twelve))
    sns.heatmap(table, square=True, ax=ax, cmap="PuOr_r", vmin=-1, vmax=1, cbar=False)
    ax.set(title=title, xlabel="place")
    ax.tick_params(axis="y", rotation=0)
axes[0].set_ylabel("image")
bar = figure.colorbar(axes[0].collections[0], ax=axes, location="bottom", shrink=0.4)
bar.set_label("cosine")
bar.set_ticks([-1, -0.5, 0, 0.5, 1])
plt.close(figure)
figure

# %% [markdown]
# Before training, the cells of a row in {numref}`fig-03-matrix` are nearly equal. After training most images prefer their own place, and what is left over is sensible: images of forests are similar to places in other forests.
#
# ## Does it hold where nothing was seen?
#
# {numref}`fig-03-curves` shows how the losses of the run fell.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-03-curves", "caption": "The training loss falls to the end; the held-out loss gains most early and little or nothing later. Above: each step, with dropout. Below: after each epoch, among at most 256 places of held-out blocks, without dropout. One seed."}, "image": {"alt": "Two line plots over pairs seen. Above, the training loss falls steeply, then ever more slowly, without stopping. Below, the held-out loss falls steeply in the first epochs, slowly for a while, and then wavers around one level."}}
figure = et.maps.loss_curves(run.history)
plt.close(figure)
figure

# %% [markdown]
# The two curves are different games: a training batch has more candidates, and dropout. So we let the trained model play the same game twice, among equally many
# candidates: once with places it trained on, once with places of held-out blocks.

# %%
with torch.no_grad():
    U, V = model.locate(basis), model.observe("satellite", features)
    U0, V0 = untrained.locate(basis), untrained.observe("satellite", features)
parts = {"training places": train_rows, "held-out blocks": val_rows}
B = min(256, *map(len, parts.values()))  # candidates


def games(rows, count=16):
    """Cut rows, in random order, into at most ``count`` batches of B."""
    rows = np.random.default_rng(0).permutation(rows)
    return [rows[i : i + B] for i in range(0, len(rows) - B + 1, B)][:count]


# %%
def loss(rows, u, v, log_scale):
    """Return the mean loss over games."""
    return np.mean([et.nt_xent(u[g], v[g], log_scale).item() for g in games(rows)])


played = {part: loss(rows, U, V, model.logit_scale) for part, rows in parts.items()}
first_scale = untrained.logit_scale.detach()
before = {part: loss(rows, U0, V0, first_scale) for part, rows in parts.items()}
table = pd.DataFrame({"untrained": before, "trained": played}).assign(**{"log B": math.log(B)})
table.style.format(precision=2)

# %% tags=["hide-input"]
curve = run.history.dropna(subset="val_loss")["val_loss"].to_numpy()
best = curve.min()
early = int(np.argmax(curve <= np.log(B) - 0.8 * (np.log(B) - best))) + 1
alike = {part: np.exp(value) for part, value in played.items()}
late = 2 * len(curve) // 3
still_gained = curve[:late].min() - best  # by the last third of training, on held-out blocks
display(
    Markdown(
        f"On regions it never saw the model beats $\\log {B} = {np.log(B):.2f}$: its loss is "
        f"{played['held-out blocks']:.2f} nats, that of a fair choice between "
        f"{alike['held-out blocks']:.0f} places instead of {B}. On the places it trained on the choice is "
        f"between {alike['training places']:.0f}. Epoch {early} of {len(curve)} had already reached four fifths "
        f"of the best held-out gain over $\\log {B}$."
    )
)

# %% [markdown]
# That is the central observation of this chapter. Some of what training teaches holds everywhere, such as which colours go with which climates, and it is learned early. Most of what the training loss gains later is about *these* places: an encoder
# can always lower the loss by giving each training place a direction of its own, which helps nobody elsewhere. Only a held-out loss on whole regions shows the difference. Neighbours
# held out at random would be near twins of the training places.
#
# Memorising is not always bad. If observations exist everywhere and only labels are scarce, knowing the training places *is* the use. The [probing chapter](06_probing.ipynb) measures which it is.
#
# ## What does the scale do?
#
# Cosines lie between −1 and 1. With $s = 1$ even a perfect model cannot be sure among many candidates; with a large $s$ every mistake is expensive. The model learns $\log s$ together with everything else, from $s = 1/0.07 = 14.3$ on.
# We keep the trained vectors fixed and vary $s$.

# %%
scales = np.geomspace(1, 100, 25)
swept = {part: [loss(r, U, V, np.log(s)) for s in scales] for part, r in parts.items()}
held = parts["held-out blocks"]
swept["untrained, held-out blocks"] = [loss(held, U0, V0, np.log(s)) for s in scales]
learned = model.logit_scale.exp().item()
best_scale = {name: scales[int(np.argmin(values))] for name, values in swept.items()}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-03-scale", "caption": "The best scale for held-out blocks is smaller than the one for training places, and smaller than the learned one (dotted). Loss against the scale s, all vectors fixed, batches of equal size; dashed: log B. One seed."}, "image": {"alt": "Three curves of loss against scale on a logarithmic axis. The curve of the training places has a low minimum near or above the learned scale. The curve of the held-out blocks has a shallow minimum at a smaller scale and rises steeply beyond it. The untrained curve starts at log B and only rises."}}
figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
for (name, values), colour in zip(swept.items(), et.maps.CYCLE, strict=False):
    ax.semilogx(scales, values, color=colour, label=f"{name}, best at {best_scale[name]:.0f}")
ax.axhline(np.log(B), color="#666666", ls="--", lw=1, label=f"log {B}")
ax.axvline(learned, color="#666666", ls=":", lw=1, label=f"learned scale, {learned:.0f}")
ax.set(xlabel="scale s", ylabel="loss (nats)", ylim=(0, 2 * np.log(B)))
ax.grid(alpha=0.3)
ax.legend(frameon=False)
plt.close(figure)
figure

# %% [markdown]
# The scale is fitted to the training places, where the model is right more often ({numref}`fig-03-scale`). On new regions the same confidence costs. So part of a held-out loss, even one above $\log B$, is
# overconfidence and not ignorance. Ranks do not depend on $s$ and are a useful second opinion.
#
# **Exercise 2 (write).** In SimCLR the candidates are *all* other vectors of the batch: an image competes with the places and with the other $B - 1$ images. Write that loss. You need a $2B \times 2B$ matrix and a mask that removes each vector's cosine
# with itself. Compare it with `et.nt_xent(..., negatives="all")`.


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def nt_xent_all(u, v, log_scale):
    """Compute NT-Xent with all 2B - 1 other vectors as candidates."""
    both = torch.cat([u, v])  # (2B, D)
    logits = (log_scale.exp() * both @ both.T).masked_fill(torch.eye(len(both)).bool(), -math.inf)
    partner = torch.arange(len(both)).roll(len(u))  # u_i belongs to v_i and back
    return torch.nn.functional.cross_entropy(logits, partner)


g = games(held)[0]
mine, cross = (f(U[g], V[g], model.logit_scale) for f in (nt_xent_all, nt_xent))
theirs = et.nt_xent(U[g], V[g], model.logit_scale, negatives="all")
assert torch.allclose(mine, theirs, atol=1e-4)
print(f"all {mine:.2f}, cross {cross:.2f}: a place now competes with its neighbours' vectors,")
print("which training never pushed apart. Losses with different candidates do not compare.")

# %% [markdown]
# ## Retrieval on held-out blocks
#
# The game can be scored without $s$. For an image from a held-out block, rank the candidate places by cosine. *Recall@k* is the
# share of images whose own place is among the first $k$; chance is $k / B$. A baseline without any training: find the most similar image
# of the training part by its frozen features, and rank the candidates by their distance on the ground to *its* place.

# %%
head = untrained.head("satellite")  # it holds the statistics of the training part
standard = head.standardise(features).numpy()
twin = train_rows[cKDTree(standard[train_rows]).query(standard[held])[1]]
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

# %%
k = np.array([1, 5, 10, 32])
shown = recall.iloc[k - 1].assign(chance=k / B)
shown.insert(0, "k", k)
shown.style.format(precision=3).hide(axis="index")

# %% [markdown]
# The ranks agree with the losses: something was learned that holds on new regions.
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

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-03-world", "caption": "The Sahara patch finds the Sahara and Arabia; the Amazon patch finds the Amazon, then the Congo and, more weakly, other forests and plains. Cosine of one patch with every place on land, one seed; grey: sea."}, "image": {"alt": "Four world maps. Sahara: North Africa and Arabia stand out. Amazon: the Amazon is darkest; the rest of South America, the Congo basin, the plains of North America, India and parts of Siberia stand out less. Tromsø: coasts of Alaska, Norway, western Europe, Patagonia and New Zealand. Tibet: Tibet, then parts of North Africa, the Near East, Central Asia and Australia."}}
figure = et.maps.prediction_map(panels, "cosine with the image", diverging=True)
plt.close(figure)
figure

# %% tags=["hide-input"]
contrast = {}  # the Amazon's image is looked for in the Congo
for name, centre in {"Sahara": (10, 23), "Amazon": (22, 0)}.items():
    near = land & (np.abs(lonlat - centre).max(axis=1) < 5)
    contrast[name] = np.nanmean(panels[name].ravel()[near]) - np.nanmean(panels[name])
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
# - One seed and one set of held-out blocks. The gap between training and held-out places will vary with both.
# - The images are coarse and their features random. SatCLIP uses Sentinel-2 and a learned image encoder.
# - Retrieval is not the aim. Whether an embedding is *useful* is decided by probes.
# - The number of epochs was set by the number of pairs that the next chapter needs, not by the best held-out loss.
#
# ## Summary
#
# - NT-Xent is a classification: which of $B$ places belongs to this image, and which of $B$ images to this place? Knowing nothing costs $\log B$.
# - A training step is a batch of pairs, the loss, its gradient, a step of AdamW, and the limit of the scale.
# - The scale sets how sure the model is. It is fitted to training places and too large for new regions.
# - What holds on new regions is learned early. Afterwards the encoder mostly learns its training places.
#
# ## Check

# %% tags=["check"]
by_epoch = run.history.groupby("epoch")["loss"].mean().to_numpy()
assert np.ptp(cosines["before training"], axis=1).max() < 0.15
after = cosines["after training"]
assert size.n < 20_000 or (after.argmax(axis=1) == np.arange(12)).mean() > 0.5
assert np.diag(after).mean() > after[~np.eye(len(after), dtype=bool)].mean() + 0.2
assert played["held-out blocks"] < np.log(B) - 0.3
assert played["training places"] < played["held-out blocks"] - 0.5
assert early <= late
assert still_gained < 0.15
assert by_epoch[late:].mean() < by_epoch[late // 2 : late].mean()
assert best_scale["held-out blocks"] < min(best_scale["training places"], learned)
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
