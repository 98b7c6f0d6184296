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
# - **You will be able to** train with SALT, tell a spike from a change of task, and compare two methods at
#   equal pairs seen.
# - **Prerequisites** [MELT](04_melt.ipynb).
# - **Data** three {term}`unpaired` modalities of the embedded sample:
#   [satellite](../data/cards/satellite.md), [lights](../data/cards/lights.md),
#   [place names](../data/cards/places.md).
# - **Time** about 4 minutes on two cores, for three trainings.
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
# ## The method
#
# | | MELT | SALT |
# | --- | --- | --- |
# | a batch | pairs of every modality | pairs of one modality |
# | over time | the same in every step | the active modality changes at each epoch boundary |
# | {term}`negatives` | from all modalities | from the active one |
#
# The location encoder is trained throughout, by whichever modality is active. A projection head is trained
# only while its modality is active, and rests in between. Everything else is the same: the loss, the optimiser, the batch
# size.
#
# To compare fairly we give SALT three times the epochs. An epoch of MELT passes over all three modalities, one of SALT
# over one, so both see equally many pairs.

# %%
melt = et.TrainConfig(
    method="melt",
    epochs=size.passes,
    batch_size=size.batch_size,
    learning_rate=size.learning_rate,
    seed=0,
)
salt = melt.replace(method="salt", epochs=len(sample) * size.passes)

# %% [markdown]
# Which head moves when? Train for two epochs of SALT and compare the heads before and after the second.

# %%
harmonics = et.SphericalHarmonics(10)  # on which the paper's encoder is built
one = et.fit(sample, salt.replace(epochs=1), harmonics)
two = et.fit(sample, salt.replace(epochs=2), harmonics)
pd.Series(
    {
        name: not torch.equal(
            one.model.head(name).linear.weight, two.model.head(name).linear.weight
        )
        for name in sample
    },
    name="moved in the second epoch",
).to_frame()

# %% [markdown]
# ## Training
#
# Each colour of the upper panel is the active modality.

# %% mystnb={"figure": {"name": "fig-05-salt", "caption": "SALT's raw training loss jumps at every switch, because modalities differ in difficulty. Above: each step, coloured by the active modality. Below: held-out loss of each modality after each epoch. 20,000 pairs a modality, one seed."}, "image": {"alt": "Above, three coloured bands of training loss that alternate: lights stay high, text lies in between, satellite falls lowest. Below, held-out losses of the three modalities, that of satellite with the largest teeth."}}
run = et.fit(sample, salt, harmonics)
figure = et.maps.loss_curves(run.history)
plt.close(figure)
figure

# %% [markdown]
# **Reading.** A jump at every switch is plain to see in {numref}`fig-05-salt`. But a jump of the raw loss alone proves nothing. Lights are
# harder to place than daylight images, so the loss *must* change when the question changes. Like has to be compared with like.
# (The peak in the first steps of all is the start of training at the full learning rate, without a warm-up. MELT has it too.)

# %% [markdown]
# ## What is a spike?
#
# Compare a modality with itself: the loss of its first two steps after a switch, minus the loss of its last two steps
# before it was left. A *spike* means that this difference is positive: something was forgotten in between.
#
# Even without any switch the difference is not zero, since a new epoch is a new draw of the same pairs. So we need a control: the
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

# %% mystnb={"figure": {"name": "fig-05-jumps", "caption": "How much a modality lost while it was away. One point is one return: loss in its first two steps minus loss in the last two before, in nats; black: median. Top row: never switches. One seed."}, "image": {"alt": "Four rows of points beside a vertical line at zero: lights, satellite and text under SALT, and above them satellite alone without a switch."}}
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
# ## SALT beside MELT
#
# What counts in the end is not the training loss but what is left after it. {numref}`fig-05-beside` shows both methods
# on held-out blocks, at equal pairs seen up to whole batches.

# %%
other = et.fit(sample, melt, harmonics)
runs = {"MELT": other, "SALT": run}

# %% mystnb={"figure": {"name": "fig-05-beside", "caption": "At equal pairs seen MELT ends lower on satellite; on lights and text both end alike. SALT's curves wobble, most at the start. Held-out loss after each epoch, own scales. 20,000 pairs a modality, one seed."}, "image": {"alt": "Three panels, satellite, lights and text, each with a MELT curve and a more jagged SALT curve of held-out loss over pairs seen. In the first epochs SALT's loss of satellite and lights rises far above log 256."}}
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
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
# ## Limits
#
# - One seed and one sample. Whether a spike of a given size is typical needs retrained seeds.
# - The paper's batches are as large, but its epochs are longer: 100,000 pairs a modality against the sample's
#   20,000. More steps between two switches give more time to forget.
# - An epoch of SALT holds few steps here; two of them make the "first" and the "last".
# - The learning rate is ten times the paper's, because training on the sample is short. Larger steps can make larger spikes.
# - The control leaves the modality alone for no time at all; it says nothing on *how* forgetting works.
#
# ## Summary
#
# - SALT trains one modality an epoch; only its head and the location encoder move.
# - The raw loss jumps at a switch because the task changes. A spike is a modality's loss against its own last value.
# - Compare methods at equal pairs seen, on held-out blocks, modality by modality.
#
# ## Exercises
#
# **Exercise 1 (check).** How many pairs have both methods seen at the end? Compute it from the configurations, then compare with the
# histories.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
rows, _ = et.train.split_rows(list(sample.values()), melt)
rng = np.random.default_rng(0)
steps = {
    "MELT": len(list(et.train.melt_batches(rows, melt.batch_size, rng))),
    "SALT": len(list(et.train.salt_batches(rows, salt.batch_size, rng))),
}
expected = {
    "MELT": melt.epochs * steps["MELT"] * melt.batch_size,
    "SALT": salt.epochs * steps["SALT"] * salt.batch_size,
}
seen = {method: r.history["pairs"].iloc[-1] for method, r in runs.items()}
assert seen == expected
assert abs(seen["MELT"] / seen["SALT"] - 1) < 0.15  # whole batches only
pd.Series(seen, name="pairs seen").to_frame()

# %% [markdown]
# **Exercise 2 (modify).** Let SALT train on two modalities only, lights and text, for six epochs. Write down first which modality
# each epoch trains.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
pair = {name: sample[name] for name in ("lights", "text")}
short = et.fit(pair, salt.replace(epochs=6), harmonics)
order = short.history.groupby("epoch")["modality"].first().tolist()
assert order == ["lights", "text"] * 3
order

# %% [markdown]
# **Exercise 3 (open).** A remedy for spikes would be to alternate more often. How could you emulate "switch after half an epoch"
# with the functions you know, and does the jump of satellite shrink?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
half = {
    name: et.Modality(name, m.lonlat[: len(m) // 2], m.features[: len(m) // 2])
    for name, m in sample.items()
}
often = et.fit(half, salt.replace(epochs=6), harmonics)
shrunk = jumps(often.history, k=1)
assert len(shrunk) == 3  # each modality has returned once
shrunk.round(2)  # half the pairs too, so not yet a fair comparison: what would make it one?

# %% [markdown]
# ## Check

# %% tags=["check"]
order = run.history.groupby("epoch")["modality"].agg(["first", "nunique"])
assert (order["nunique"] == 1).all(), "one modality an epoch"
assert order["first"].tolist() == list(sample) * size.passes, "in turn"
level = run.history.tail(3 * len(run.history) // salt.epochs).groupby("modality")["loss"].mean()
assert level["lights"] > level["satellite"], (
    "modalities differ in difficulty: the raw loss must jump"
)
assert len(every[every["run"].str.startswith("SALT")]) == 3 * (size.passes - 1)
assert np.isfinite(every["jump"]).all()
gap = (table[("MELT", "last")] - table[("SALT", "last")]).abs()
assert gap.max() < 0.6, "the two methods end close to each other"
assert run.history["val_satellite"].min() < run.history["val_satellite"].dropna().iloc[0]

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): SALT's loss and its spikes are their figure 3.
# - [Kirkpatrick et al. (2017)](https://doi.org/10.1073/pnas.1611835114): forgetting of earlier tasks in sequential
#   training, and a remedy.
#
# Next: [Probing](06_probing.ipynb): what does a frozen embedding know?
