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
# # SALT: one modality at a time
#
# SALT (*sequential alternating location training*) never mixes. It trains against one {term}`modality` for an
# epoch, then against the next. The paper reports that its loss spikes where the modality switches. Does it
# spike here, and what would count as a spike?
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** turn MELT into SALT, say which weights train and which rest, tell a spike from a change of task, and compare two methods at
#   equal pairs seen.
# - **Prerequisites** [MELT](04_melt.ipynb).
# - **Data** three {term}`unpaired` modalities of the embedded sample:
#   [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md),
#   [place names](../data/cards/places.md).
# - **Time** about 15 minutes to read, 3 to 7 minutes to run on two cores, for three trainings.
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

size = et.profile(profile)
sample = et.load_sample(n=size.n, seed=0)

# %% [markdown]
# ## Two changed lines
#
# | | MELT | SALT |
# | --- | --- | --- |
# | a batch | pairs of every modality | pairs of one modality |
# | over time | the same mixture in every step | the active modality changes at each epoch boundary |
# | {term}`negatives` | from all modalities | from the active one |
#
# Everything else is the same: the model, the loss, the optimiser, the batch size. So only the function that cuts the batches changes, in the two lines marked below.


# %%
def salt_batches(rows, size, rng, epoch):
    """Yield the batches of one epoch: pairs of the active modality only."""
    active = list(rows)[epoch % len(rows)]  # changed: the modalities take turns
    shares = {active: size}  # changed: the whole batch is of one modality
    order = {m: rng.permutation(r) for m, r in rows.items()}
    steps = min(len(r) for r in rows.values()) // max(shares.values())
    for step in range(steps):
        yield {m: order[m][step * k : (step + 1) * k] for m, k in shares.items()}


melt = et.TrainConfig(
    method="melt", epochs=size.passes, batch_size=size.batch_size, learning_rate=size.learning_rate
)
salt = melt.replace(method="salt", epochs=len(sample) * size.passes)

# %% [markdown]
# An epoch of MELT passes over all three modalities, one of SALT over one. So SALT gets three times as many epochs, and both see equally many pairs. Here is the loop of the last chapter with the new batches. The loss takes the pairs of one
# modality as well as those of three.


# %%
def tied_loss(model, batch):  # as in chapter 04
    u = model.locate(torch.cat([basis[m][rows] for m, rows in batch.items()]))
    v = torch.cat([model.observe(m, features[m][rows]) for m, rows in batch.items()])
    return et.nt_xent(u, v, model.logit_scale)


# %%
def train_epoch(model, optimiser, epoch):
    """Train for one epoch of SALT; return the loss of each step."""
    torch.manual_seed(et.coords.torch_seed("dropout", salt.seed, epoch))
    rng, losses = et.coords.stream("batches", salt.seed, epoch), []
    for batch in salt_batches(train_rows, salt.batch_size, rng, epoch):
        loss = tied_loss(model, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        model.clamp_logit_scale()
        losses.append(loss.item())
    return losses


# %% [markdown]
# ## Who trains, who rests?
#
# The location encoder and the scale are shared: whichever modality is active trains them. A projection takes part in the loss only while its modality is active. Guess what happens to it in between: does AdamW, with its momentum and its weight decay, move it on?

# %%
harmonics = et.SphericalHarmonics(10)  # the encoding of the paper's encoder
train_rows, _ = et.train.split_rows(list(sample.values()), salt)
torch.manual_seed(et.coords.torch_seed("weights", salt.seed))
model = et.train.new_run(list(sample.values()), train_rows, salt, harmonics).model.train()
basis = {m: model.encoder.basis(sample[m].lonlat) for m in sample}
features = {m: torch.from_numpy(sample[m].features) for m in sample}
optimiser = et.train.adamw(model, salt)
parts = {"location encoder": model.encoder} | {f"projection of {m}": model.head(m) for m in sample}

# %%
by_hand, moved = [], {}
for epoch in range(4):
    before = {name: next(part.parameters()).clone() for name, part in parts.items()}
    by_hand += train_epoch(model, optimiser, epoch)
    moved[f"epoch {epoch + 1}: {list(sample)[epoch % 3]}"] = {
        name: not torch.equal(before[name], next(part.parameters())) for name, part in parts.items()
    }
pd.DataFrame(moved).replace({True: "trains", False: "rests"})

# %% [markdown]
# A resting projection does not move at all. It has no gradient (`None`, not zero), and AdamW skips such weights: no step, no momentum, no decay. What does move under it is the encoder. When its modality returns, the projection meets places whose vectors
# have changed. That is how something could be forgotten.
#
# :::{dropdown} Quick check: why does the loss of the first step after a switch say little about forgetting?
# It belongs to another modality than the step before. Lights are harder to place than images, so the loss jumps even if nothing was forgotten. The section after the next finds the comparison that does say something.
# :::
#
# ## Training

# %%
run = et.fit(sample, salt, harmonics)
apart = np.abs(run.history["loss"].to_numpy()[: len(by_hand)] - by_hand).max()
print(f"{len(by_hand)} steps by hand and by et.fit: losses differ by {apart:.0e} nats at most")


# %% tags=["hide-input"]
def draw_turns(above, below, history):
    """Draw who trains, and the loss of each step, coloured by the active modality."""
    for epoch, rows in history.groupby("epoch"):
        name, steps = rows["modality"].iloc[0], rows["step"]
        bar = {"left": steps.min() - 1, "height": 0.8, "color": et.maps.COLOURS[name]}
        above.barh([0, 1 + list(sample).index(name)], len(rows), edgecolor="white", **bar)
        label = name if epoch < len(sample) else None
        below.plot(steps - 0.5, rows["loss"], ".-", color=bar["color"], label=label)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-05-timeline", "caption": "SALT's raw training loss jumps at every switch, because modalities differ in difficulty. The first nine epochs: above, who trains; below, the loss of each step, coloured by the active modality. 20,000 pairs a modality, one seed."}, "image": {"alt": "Above, three rows of coloured bars: the location encoder trains in all nine epochs, each projection in every third one. Below, the loss of each step: it starts high, then falls within each epoch and jumps at each switch; from the fourth epoch on, lights are highest and satellite lowest."}}
figure, axes = plt.subplots(
    2, 1, figsize=(8, 5.4), sharex=True, height_ratios=(1, 2.2), layout="constrained"
)
draw_turns(*axes, run.history[run.history["epoch"] < 9])
axes[0].set_yticks(range(4), ["location encoder", *(f"projection of {m}" for m in sample)])
axes[0].invert_yaxis()
axes[0].set_title("who trains")
axes[1].set(xlabel="step", ylabel="training loss (nats)")
axes[1].grid(alpha=0.3)
axes[1].legend(frameon=False, ncols=3)
plt.close(figure)
figure

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-05-salt", "caption": "The levels of the three modalities stay apart to the end. Above: training loss of each step, coloured by the active modality. Below: held-out loss of each modality after each epoch. 20,000 pairs a modality, one seed."}, "image": {"alt": "Above, three coloured bands of training loss that alternate: lights stay high, text lies in between, satellite falls lowest. Below, held-out losses of the three modalities, that of satellite with the largest teeth."}}
figure = et.maps.loss_curves(run.history)
plt.close(figure)
figure

# %% [markdown]
# A jump at every switch is plain to see in {numref}`fig-05-timeline` and in the whole run ({numref}`fig-05-salt`). But a jump of the raw loss alone proves nothing. Lights are
# harder to place than daylight images, so the loss *must* change when the question changes. Like has to be compared with like.
# (The peak in the first steps comes from starting at the full learning rate, without a warm-up. MELT has it, too.)
#
# ## What is a spike?
#
# Compare a modality with itself: the loss of its first two steps after a switch, minus the loss of its last two steps
# before it was left. A *spike* means that this difference is positive: something was forgotten in between.
#
# Even without any switch the difference is not zero, since a new epoch draws the same pairs in a new order. So we need a control: the
# same method, the same number of pairs, one modality alone. Its epochs end, but nothing switches.


# %%
def jumps(history, k=2):
    """Return, for each return of a modality, first k steps minus last k steps of its epoch before."""
    epochs = history.groupby(["modality", "epoch"])["loss"]
    ends = pd.DataFrame({"first": epochs.apply(lambda x: x.head(k).mean())})
    ends["last"] = epochs.apply(lambda x: x.tail(k).mean())
    before = ends.groupby("modality")["last"].shift()
    return (ends["first"] - before).dropna().rename("jump").reset_index()


control = et.fit({"satellite": sample["satellite"]}, salt, harmonics)

# %%
every = pd.concat(
    [
        jumps(run.history).assign(run="SALT, three modalities"),
        jumps(control.history).assign(run="satellite alone, no switch"),
    ]
)
spikes = every.groupby(["run", "modality"])["jump"].describe(percentiles=[0.25, 0.5, 0.75])
spikes = spikes[["count", "25%", "50%", "75%", "max"]]
spikes.style.format("{:+.2f}").format("{:.0f}", subset="count")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-05-jumps", "caption": "How much a modality lost while it was away. One point is one return: loss in its first two steps minus loss in the last two before, in nats; black: median. Top row: never switches. One seed."}, "image": {"alt": "Four rows of points beside a vertical line at zero: lights, satellite and text under SALT, and above them satellite alone without a switch."}}
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
groups = list(every.groupby(["run", "modality"])["jump"])
for y, ((kind, name), values) in enumerate(groups):
    colour = et.maps.COLOURS[name] if "SALT" in kind else "#888888"
    ax.plot(values, np.full(len(values), y), "o", ms=4, alpha=0.6, color=colour, mec="none")
    ax.plot(values.median(), y, "|", ms=16, mew=2, color="black")
ax.axvline(0, color="black", lw=0.8)
ax.margins(y=0.15)
ax.set_yticks(
    range(len(groups)), [name if "SALT" in k else f"{name}, no switch" for (k, name), _ in groups]
)
ax.set_xlabel("jump of the loss when the modality returns (nats)")
plt.close(figure)
figure

# %% tags=["hide-input"]
median = every.groupby(["run", "modality"])["jump"].median()
rise = median.xs("SALT, three modalities")
base = median.xs("satellite alone, no switch")["satellite"]
said = "rises" if rise["satellite"] > base + 0.05 else "does not rise"
display(
    Markdown(
        f"**Reading.** When satellite returns, its loss is {rise['satellite']:+.2f} nats (median) from where it was "
        f"left; without a switch it is {base:+.2f}. Lights return at {rise['lights']:+.2f}, text at "
        f"{rise['text']:+.2f}. So beyond the change of task, the loss of satellite {said} at a switch "
        f"by {rise['satellite'] - base:+.2f} nats against the control."
    )
)

# %% [markdown]
# {numref}`fig-05-jumps` holds every return of every modality, so that no median hides a rare spike.
#
# **Exercise 1 (write).** Write SALT with a switch after every *step* instead of every epoch, and pass it to `et.fit` as `batches=`. Train for six epochs. Does the held-out loss change more smoothly from epoch to epoch than with the switch after each epoch?


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def by_step(rows, size, rng, epoch=0):
    """Yield batches of one modality each; the modality changes at every step."""
    order = {m: rng.permutation(r) for m, r in rows.items()}
    for step in range(min(map(len, rows.values())) // size):
        name = list(rows)[step % len(rows)]
        yield {name: order[name][step * size : (step + 1) * size]}


six = salt.replace(epochs=6)
ways = {"every epoch": None, "every step": by_step}
ways = {way: et.fit(sample, six, harmonics, batches=b).history for way, b in ways.items()}
rough = {way: h["val_loss"].dropna().diff().abs().iloc[2:].mean() for way, h in ways.items()}
# Smoother, as no modality is away for long. Each step still has negatives of one modality only.
assert size.n < 20_000 or rough["every step"] < rough["every epoch"]
pd.Series(rough, name="mean change of the held-out loss (nats)").round(3).to_frame()

# %% [markdown]
# ## SALT beside MELT
#
# What counts in the end is not the training loss but what is left after it. {numref}`fig-05-beside` shows both methods
# on held-out blocks, at equal pairs seen up to whole batches.

# %%
other = et.fit(sample, melt, harmonics)
runs = {"MELT": other, "SALT": run}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-05-beside", "caption": "At equal pairs seen MELT ends lower on satellite; on lights and text both end alike. SALT's curves wobble, most at the start. Held-out loss after each epoch, own scales. 20,000 pairs a modality, one seed."}, "image": {"alt": "Three panels, satellite, lights and text, each with a MELT curve and a more jagged SALT curve of held-out loss over pairs seen. In the first epochs SALT's loss of satellite and lights rises far above log 256."}}
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for ax, name in zip(axes, sample):
    for (method, r), colour in zip(runs.items(), ("#000000", "#D55E00")):
        ends = r.history.dropna(subset="val_loss")
        ax.plot(
            ends["pairs"] / 1e6, ends[f"val_{name}"], ".-", ms=3, lw=1, color=colour, label=method
        )
    ax.set(title=name, xlabel="pairs seen (millions)")
    ax.grid(alpha=0.3)
axes[0].set_ylabel("held-out loss (nats)")
axes[0].legend(frameon=False)
plt.close(figure)
figure


# %%
def roughness(history, name):
    """Return the mean absolute change of a held-out loss from one epoch to the next, in nats."""
    return history[f"val_{name}"].dropna().diff().abs().mean()


table = pd.DataFrame(
    {
        (method, what): {
            name: f(r.history, name)
            for name in sample
            for f in [{"last": lambda h, n: h[f"val_{n}"].iloc[-1], "roughness": roughness}[what]]
        }
        for method, r in runs.items()
        for what in ("last", "roughness")
    }
)
table.round(2)

# %% [markdown]
# **Exercise 2 (check).** How many pairs have both methods seen at the end? Compute it from the batches and the numbers of epochs, then compare with the
# histories.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
rng = np.random.default_rng(0)
steps = {
    "MELT": len(list(et.train.melt_batches(train_rows, melt.batch_size, rng))),
    "SALT": len(list(salt_batches(train_rows, salt.batch_size, rng, 0))),
}
expected = {
    "MELT": melt.epochs * steps["MELT"] * melt.batch_size,
    "SALT": salt.epochs * steps["SALT"] * salt.batch_size,
}
seen = {method: r.history["pairs"].iloc[-1] for method, r in runs.items()}
assert seen == expected  # equal up to whole batches
pd.Series(seen, name="pairs seen").to_frame()

# %% [markdown]
# ## Limits
#
# - One seed and one sample. Whether a spike of a given size is typical needs retrained seeds.
# - The paper's batches are as large, but its epochs are longer: 100,000 pairs a modality against the sample's
#   20,000. More steps between two switches give more time to forget.
# - An epoch of SALT holds few steps here; two of them make the "first" and the "last".
# - The learning rate is ten times the paper's, because training on the sample is short. Larger steps can make larger spikes.
# - In the control the modality is never away; it says nothing about *how* forgetting works.
#
# ## Summary
#
# - SALT differs from MELT in its batches alone: one modality an epoch.
# - The encoder and the scale always train. A projection trains while its modality is active, and rests without moving otherwise.
# - The raw loss jumps at a switch because the task changes. A spike is a modality's loss against its own last value.
# - Compare methods at equal pairs seen, on held-out blocks, modality by modality.
#
# ## Check

# %% tags=["check"]
full = size.n >= 20_000
assert apart < 0.01, "the loop written here is that of the package"
turns = run.history.groupby("epoch")["modality"].agg(["first", "nunique"])
assert (turns["nunique"] == 1).all()
assert turns["first"].tolist() == list(sample) * size.passes
for epoch, column in enumerate(moved.values()):
    assert column["location encoder"]
    assert [column[f"projection of {m}"] for m in sample] == [i == epoch % 3 for i in range(3)]
level = run.history[run.history["epoch"] >= salt.epochs - 3].groupby("modality")["loss"].mean()
assert level["lights"] > level["text"] > level["satellite"] or not full
assert level["lights"] > level["satellite"], "the raw loss must jump"
assert len(every[every["run"].str.startswith("SALT")]) == 3 * (size.passes - 1)
gap = table[("MELT", "last")] - table[("SALT", "last")]
assert gap.abs().max() < 0.6, "the two methods end close to each other"
assert not full or (gap["satellite"] < 0 and gap[["lights", "text"]].abs().max() < 0.15)

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): SALT's loss and its spikes are their figure 3.
# - [Kirkpatrick et al. (2017)](https://doi.org/10.1073/pnas.1611835114): forgetting of earlier tasks in sequential
#   training, and a remedy.
#
# Next: [Probing](06_probing.ipynb): what does a frozen embedding know?
