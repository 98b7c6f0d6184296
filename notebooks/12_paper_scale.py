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
# # The paper's scale, from its own sources
#
# The paper ties Sentinel-2 images, photos and Wikipedia: 475 GB and a GPU. Every step of that path is here, from the address of a file to a
# score. Without the files the same cells run on *miniatures*: 60 places a modality in the same formats, made up from the embedded sample.
# They show that the path works, and no score of theirs means anything.
#
# :::{admonition} About this notebook
# :class: tip
# - **You will be able to** fetch and read the paper's data sets, encode them once with frozen encoders, train on one or several GPUs, and say
#   what a thousand times as much would cost.
# - **Prerequisites** [MELT](04_melt.ipynb), [SALT](05_salt.ipynb), [Probing](06_probing.ipynb).
# - **Data** miniatures of the paper's sources, written by {func}`~earthtie_lite.paper.miniatures.write_miniatures`; in profile `paper` the sources themselves.
# - **Time** about 15 minutes to read, 1 minute to run on two cores, with the miniatures.
# :::

# %% tags=["parameters"]
profile = "sample"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere
from earthtie_lite.files import human
from earthtie_lite.paper import bulk, catalogue, fetch, miniatures, observations, wikipedia
from earthtie_lite.results import scoring, tables
from earthtie_lite.results.intervals import scores
from earthtie_lite.results.scoring import Evaluation

size = et.profile(profile)

# %% [markdown]
# ## What would be fetched?
#
# Nothing is downloaded without your word. {func}`~earthtie_lite.paper.fetch.fetch` says what a source is, how large, under which licence and where it would go, and asks.
# With `dry_run=True` it stops there. An interrupted download goes on where it stopped, and its hash is checked; archives are read without unpacking them.

# %%
path = fetch.fetch("s2_100k", "sources", dry_run=True)[0]

# %%
sources = pd.DataFrame(
    {
        "size": "" if source.size is None else human(source.size),
        "licence": source.licence,
        "sign-in": source.sign_in,
        "what": source.what,
    }
    for source in catalogue.SOURCES.values()
)
sources.index = list(catalogue.SOURCES)
sources.style.set_properties(**{"font-size": "85%"})

# %% [markdown]
# ## The files
#
# In profile `paper`, set `agree` to `True` after reading the table. MP-16 may want you to sign in at its hub.

# %%
agree = False
files = miniatures.paper_files(size.originals, agree)
pd.Series({name: path.name for name, path in files.items()}, name="read from").to_frame()

# %% [markdown]
# ## Reading
#
# Each reader returns {class}`~earthtie_lite.paper.observations.Observations`: places and what was observed there, read on demand. Tar archives are read where they
# are; 100,000 patches never lie in memory. Rows without an image are refused, or left out and counted.

# %%
tags = wikipedia.read_geo_tags(files["wikipedia_geo_tags"])
read = [
    observations.read_s2_100k(files["s2_100k"]),
    observations.read_mp16(files["mp16_metadata"], files["mp16_images"], missing="drop"),
    wikipedia.read_wikipedia(tags, files["wikipedia_articles"]),
]
read = {seen.name: seen for seen in read}
rng = np.random.default_rng(0)
chosen = {n: np.sort(rng.permutation(len(seen))[:100_000]) for n, seen in read.items()}
read = {name: seen.at(chosen[name]) for name, seen in read.items()}
for seen in read.values():
    print(seen)
print(f"\n{read['text'].names[0]}: {read['text'].raw[0][:200]}")

# %% mystnb={"figure": {"name": "fig-12-seen", "caption": "What two readers return: four Sentinel-2 patches in true colour (bands 4, 3, 2) above, four photos below. In the stored run both are pieces of Blue Marble, about one degree wide, in the formats of the data sets."}, "image": {"alt": "Two rows of four pictures: satellite patches above and photos below."}}
figure, axes = plt.subplots(2, 4, figsize=(8, 4))
for k in range(4):
    patch = read["satellite"].raw[k][[3, 2, 1]].astype(float)
    axes[0, k].imshow(np.moveaxis(patch / np.percentile(patch, 99), 0, -1).clip(0, 1))
    axes[1, k].imshow(read["photos"].raw[k])
for axis in axes.flat:
    axis.set_axis_off()
plt.close(figure)
figure

# %% [markdown]
# {numref}`fig-12-seen` is a check that a reader should never skip: bands in a wrong order show at once.
#
# ## Encoding once
#
# The frozen encoders are MoCo for the 12 bands (a band of zeros stands for the missing B10), DINO for photos, BGE for text. Their features are
# computed once, in chunks, into a file that is mapped into memory and known by the hash of encoder and input; a killed job goes on where it stopped.
# Here the image encoders have the same architecture with random weights, and character n-grams stand for BGE.

# %%
encoders = miniatures.paper_encoders(size.originals)
sample, seconds = {}, {}
for name, seen in read.items():
    started = pd.Timestamp.now()
    features = bulk.encode_to_disk(encoders[name], seen.raw)
    seconds[name] = (pd.Timestamp.now() - started).total_seconds()
    sample[name] = seen.modality(features, encoders[name])
    print(f"{sample[name]}, {type(features).__name__}, {seconds[name]:.1f} s")

# %%
started = pd.Timestamp.now()
again = bulk.encode_to_disk(encoders["photos"], read["photos"].raw)
spent = (pd.Timestamp.now() - started).total_seconds()
print(f"again: {spent:.2f} s")
assert np.array_equal(again, sample["photos"].features)

# %% [markdown]
# ## Training
#
# From here on nothing is new: {func}`~earthtie_lite.train.fit` takes these modalities as it takes the sample's. On a GPU the basis and the features lie in its memory where they fit
# and are streamed from the file where they do not; `precision="bf16"` halves what is multiplied, and the loss stays in float32; `chunk_size` bounds the memory of the loss.

# %%
pairs = min(len(modality) for modality in sample.values())
config = et.TrainConfig(
    epochs=size.passes,
    batch_size=min(size.batch_size, pairs),
    learning_rate=size.learning_rate,
    val_fraction=0.0,
    precision="bf16" if torch.cuda.is_available() else "float32",
)
runs = {
    "MELT": et.fit(sample, config, et.SphericalHarmonics(10)),
    "SALT": et.fit(
        sample, config.replace(method="salt", epochs=3 * size.passes), et.SphericalHarmonics(10)
    ),
}

# %%
table = {
    name: {
        "steps": len(run.history),
        "first loss": run.history["loss"].iloc[0],
        "last loss": run.history["loss"].iloc[-1],
        "log of the batch": np.log(config.batch_size),
    }
    for name, run in runs.items()
}
pd.DataFrame(table).T.round(2)

# %% [markdown]
# ### Several GPUs
#
# A file that `torchrun` starts trains in as many processes as you like, on one machine or several:
#
# ```python
# # train.py: torchrun --nproc-per-node 4 train.py
# import earthtie_lite as et
#
# sample = ...  # the modalities from above, from the mapped files
# with et.process_group():
#     config = et.TrainConfig(batch_size=8192, precision="bf16")
#     run = et.fit(sample, config, save_to="runs/melt")
# ```
#
# Each process encodes its part of every batch and compares it with *all* pairs of the batch, so negatives are as many as on one GPU; gradients find
# their way back through the exchange, and the weights are those of a single process with the whole batch (to 1e-10 in float64, which the tests check with 2 and 4
# processes). The first one writes; if one dies, the job ends with its message, and `resume_from` goes on.
#
# The loss can be cut the same way on a single device. In chunks of $C$ rows it keeps about $BC + B^2/C$ numbers instead of $B^2$, and its value is the same:

# %%
torch.manual_seed(0)
unit = torch.nn.functional.normalize(torch.randn(2, 512, 64, dtype=torch.float64), dim=2)
whole = et.nt_xent(*unit, 2.0)
chunked = et.nt_xent(*unit, 2.0, chunk=100)  # the last chunk has 12
print([round(float(loss), 12) for loss in (whole, chunked)])

# %% [markdown]
# ## The paper's labels
#
# Population of GPWv4 and the biomes of RESOLVE are read from their files; countries and elevation are those of the sample, or of GADM and the terrain tiles
# through `load_task(source="paper")`. The protocol is that of Probing, with its baselines.

# %%
paper = {"population": files["population"], "biome": files["ecoregions"]}
tasks = scoring.labelled(size.n_task, paper)
places = tasks["country"].lonlat
torch.manual_seed(0)
z = {
    "IDW 5": et.probes.Interpolation(5),
    "coordinates": et.UnitVectors()(places),
    "harmonics": et.SphericalHarmonics(10)(places),
    "untrained": et.LocationEncoder(et.SphericalHarmonics(10)).embed(places),
}
z |= {name: run.model.embed(places) for name, run in runs.items()}

# %%
both = [Evaluation(split, (size.n_labels,)) for split in ("block", "random")]
scored = {name: scoring.score(array, tasks, 0, "development", both) for name, array in z.items()}
scored = pd.concat(scored, names=["embedding", None]).reset_index("embedding")
scored = scores(scored, ["embedding", "task", "split"])
shown = scored.pivot(index="embedding", columns=["split", "task"], values="score")
main = list(scoring.MAIN_TASKS)
shown.loc[list(z), [(split, task) for split in ("block", "random") for task in main]].round(2)

# %% [markdown]
# In the stored run MELT and SALT have seen 60 places a modality: what they score is mostly what their random start knows.
#
# ## The paper's numbers, and what was reproduced
#
# Left what the paper's first table says, as far as it is known to us, in its own protocol; right what this repository measured with the paper's training (15 million pairs, batches of 2,048) on
# the *embedded sample*, in blocks and, below, at random: other images, other words, one seed. **The paper's numbers and these are not comparable.** A cell is empty where nobody has measured. From the original sources nothing
# has been reproduced yet: 475 GB have not been at hand.

# %% tags=["hide-input"]
known = pd.DataFrame(index=["SatCLIP", "GeoCLIP", "MOSAIKS"], columns=main)
known["country"] = [0.654, 0.538, np.nan]
known["population (GPWv4)"] = [0.47, np.nan, 0.30]
known["biome"] = [0.668, np.nan, 0.530]

# %% tags=["hide-input"]
report = tables.read_sums("report")
melt3, salt3 = "MELT satellite+lights+text", "SALT satellite+lights+text"
names = {"satellite": "satellite alone", melt3: "MELT, three", salt3: "SALT, three"}
plain = {"observations": "MOSAIKS", "GeoCLIP": "GeoCLIP"}
trivial = ["IDW 5", "coordinates", "harmonics", "untrained"]
picked = {"task": main, "n_labels": 729, "split": ["block", "random"]}
trained = tables.pick(report, recipe="paper", embedding=list(names), **picked)
others = tables.pick(report, embedding=[*plain, *trivial], **picked)
ours = pd.concat([trained, others[others["seed"] == 0]])
ours = tables.intervals(ours, ["split", "task"]).assign(cell=tables.as_text)
ours = ours.pivot(index="embedding", columns=["split", "task"], values="cell")
ours = ours.rename(index=names | plain)

# %% tags=["hide-input"]
rows = [*plain.values(), *trivial, *names.values()]
beside = pd.concat({"paper": known, "here, sample, in blocks": ours["block"][main]}, axis=1)
beside = beside.loc[["SatCLIP", *rows]].astype(object)
beside = beside.where(beside.notna(), "")
display(beside.style.format(lambda cell: f"{cell:.3f}" if isinstance(cell, float) else cell))
pd.concat({"here, sample, at random": ours["random"].loc[rows, main]}, axis=1).style

# %% [markdown]
# ## How long would it take?
#
# A step at the paper's size, timed live on this machine with random features of the paper's widths (`benchmarks/device.py` does it at length):

# %%
rng = np.random.default_rng(0)
random = [
    et.Modality(name, sample_sphere(5 * 683, rng), rng.normal(size=(5 * 683, 384)))
    for name in ("satellite", "photos", "text")
]
once = et.TrainConfig(epochs=1, batch_size=2048, val_fraction=0.0)
timed = et.fit(random, once, et.SphericalHarmonics(10))
step = float(np.diff(timed.history["seconds"]).mean())
paper_steps = 50 * 300_000 // 2048
where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
print(
    f"{step:.3f} s a step on {where}, threads: {torch.get_num_threads()}; {paper_steps:,} steps "
    f"of the paper in {step * paper_steps / 60:.0f} minutes"
)

# %% [markdown]
# And a hundred million pairs a modality, a thousand times the paper's? Nobody has measured that. What follows is arithmetic from the step timed above, the width of the features and the size of a patch:

# %% tags=["hide-input"]
many, width, steps = 100_000_000, 384, 300_000_000 / 8192
patch = 12 * 256 * 256 * 2
plan = {
    "features of one modality on disk": f"{many * width * 4 / 1e9:,.0f} GB in float32",
    "basis of all places (L = 20)": f"{3 * many * 400 * 4 / 1e9:,.0f} GB: do not keep it, compute it by batch",
    "Sentinel-2 patches, unpacked": f"{many * patch / 1e12:,.0f} TB",
    "steps of one epoch, batches of 8,192": f"{steps:,.0f}",
    "one epoch, at four times the step timed here": f"{4 * step * steps / 3600:,.0f} hours",
    "logits of one batch, whole": f"{8192**2 * 4 / 1e9:.2f} GB, three of them with gradients",
    "the same in chunks of 1,024": f"{1024 * 8192 * 4 / 1e9:.2f} GB",
}
display(pd.Series(plan, name="plan").to_frame())

# %% [markdown]
# What breaks first is the basis, which {func}`~earthtie_lite.train.fit` computes for all places at the start: at that size it belongs into the step. Then the patches, which are read
# once and never again after encoding. Training itself stays small: the encoder has a quarter of a million weights.
#
# ## Limits
#
# - No score from the original sources stands here. The readers were tested on files of the exact formats and on a few real ones.
# - Speed on GPUs was not measured: the code has run on CPUs, with Gloo between processes. CUDA graphs and compilation were not tried.
# - The paper's labels of countries (GADM) may not be redistributed, so no table of this book uses them.
#
# ## Summary
#
# - A source is asked for, hashed, resumed and read where it lies; a frozen encoder runs once, to disk.
# - Training on the paper's modalities is the training of the other notebooks; several processes give the weights of one.
# - With the sample's features the paper's training (15 million pairs) took 13 to 25 minutes on one CPU thread. Its data, not its training, are what is large.
#
# ## Exercises
#
# **Exercise 1 (check).** Bands in a wrong order give features that look fine. Encode two patches with bands 4 and 2 exchanged, and measure how far the features move.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
patches = np.array(read["satellite"].raw[:2])
order = [0, 3, 2, 1, *range(4, 12)]
right, wrong = (encoders["satellite"](some) for some in (patches, patches[:, order]))
moved = np.linalg.norm(right - wrong, axis=1) / np.linalg.norm(right, axis=1)
assert np.isfinite(wrong).all()
assert (moved > 0).all()
moved.round(3)

# %% [markdown]
# **Exercise 2 (modify).** An image cut in half by a broken download must not become a feature. Cut a photo's file and read it again.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
import tempfile

with tempfile.TemporaryDirectory() as folder:
    cut = miniatures.write_miniatures(folder, n=2)
    first = sorted(cut["mp16_images"].iterdir())[0]
    first.write_bytes(first.read_bytes()[:200])
    try:
        message = ""
        observations.read_mp16(cut["mp16_metadata"], cut["mp16_images"]).raw[0]
    except ValueError as error:
        message = str(error).replace(folder, "...")
assert first.name in message
print(message)

# %% [markdown]
# ## Check

# %% tags=["check"]
assert set(sample) == {"satellite", "photos", "text"}
assert {m.features.shape[1] for m in sample.values()} == {384}
assert abs(float(whole - chunked)) < 1e-12
assert all(np.isfinite(run.history["loss"]).all() for run in runs.values())
assert all(run.history["loss"].iloc[-1] < run.history["loss"].iloc[0] for run in runs.values())

# %% [markdown]
# ## Further reading
#
# - [Hecht et al. (2026)](https://arxiv.org/abs/2606.20167): the paper.
# - [Klemmer et al. (2025)](https://doi.org/10.1609/aaai.v39i4.32457): SatCLIP and S2-100K.
# - [Wang et al. (2023)](https://doi.org/10.1109/MGRS.2023.3281651): the images and the training behind MoCo's weights.
