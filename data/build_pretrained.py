"""Train the models that are shipped with the package, and write their cards: ``data/pretrained``.

``make pretrained`` takes minutes on two cores. Trained encoders are stored in the folder of
finished rows, so a row of the book's tables is not trained twice.
"""

import argparse
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data.experiments import plans
from data.experiments.embeddings import UNLABELLED, members, observed, trained
from data.experiments.rows import JOINED, Embedding
from earthtie_lite import sample as embedded
from earthtie_lite.coords import EARTH_RADIUS_KM, stream
from earthtie_lite.encoders import JoinedEncoders
from earthtie_lite.encodings import Sphere2Vec
from earthtie_lite.files import HubModel, write_atomic, write_manifest, write_model
from earthtie_lite.model import EarthTie
from earthtie_lite.results import growth, tables
from earthtie_lite.results.scoring import MAIN, MAIN_TASKS
from earthtie_lite.train import fit

HERE = Path(__file__).resolve().parent
CHOSEN = plans.recipe("chosen")
TEXTS = tomllib.loads((HERE / "pretrained.toml").read_text(encoding="utf-8"))
ROWS = {n: plans.row(m["row"], m.get("recipe", "chosen")) for n, m in TEXTS["models"].items()}
SNAPSHOTS = (0, 30, 96, 288, 960)  # steps after which the encoder of "earth" is kept
CARD = (HERE / "pretrained_card.md").read_text(encoding="utf-8")


def build(name: str, work: Path) -> tuple[HubModel, Embedding]:
    """Return a trained model and its row."""
    row = ROWS[name]
    if row.kind not in JOINED:
        return trained(row, work).model, row
    encoders = [trained(member, work).model.encoder for member in members(row)]
    land = embedded.sample_land(UNLABELLED, stream("places of an ensemble", row.seed))
    return JoinedEncoders.fit(encoders, land, row.seed), row


def snapshots(row: Embedding) -> dict[int, EarthTie]:
    """Train a row again; return its encoder, without heads, by the number of pairs seen."""
    found, seed, recipe = {}, row.seed, row.recipe
    land = embedded.sample_land(1000, stream("places that scale snapshots"))

    def hook(model: EarthTie, optimiser: torch.optim.Optimizer, epoch: int, step: int) -> None:
        steps = epoch * dict(recipe.training)["steps"] + step
        if steps in SNAPSHOTS:
            seen = EarthTie(model.encoder, {})
            seen.encoder.calibrate(seen.encoder.basis(land))
            found[steps * recipe.batch_size] = seen

    sample = observed(row)
    config = recipe.config(row.method, len(sample), seed)
    fit(sample, config, recipe.encoder(seed), hook=hook, **recipe.variant(sample))
    return found


def save_halved(model: HubModel, folder: Path) -> None:
    """Save a model with its matrices in half precision."""
    tensors = {k: t.half() if t.ndim >= 2 else t for k, t in model.tensors().items()}
    write_model(folder, {"class": type(model).__name__, **model.spec}, tensors)


def scores(row: Embedding) -> tuple[str, int]:
    """Return the table of scores in a card of three modalities, and its number of seeds."""
    sums = pd.concat([tables.read_sums("report"), tables.read_sums("bottleneck")])
    rows = [row.name, "untrained", "harmonics", "coordinates"]
    mine = tables.pick(sums, embedding=rows, task=list(MAIN_TASKS), split=["block", "random"])
    mine = mine[(mine["recipe"] == CHOSEN.name)]
    found = tables.intervals(mine, ["split", "task"]).assign(cell=tables.as_text)
    wide = found.pivot(index=["embedding", "split"], columns="task", values="cell")
    lines = ["| embedding | split | " + " | ".join(MAIN_TASKS) + " |", "|---" * 6 + "|"]
    for embedding in rows:
        for split in ("block", "random"):
            cells = [str(wide.at[(embedding, split), task]) for task in MAIN_TASKS]
            lines.append(f"| {embedding} | {split} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", TEXTS["about"]["three"]]), mine["seed"].nunique()


def many_scores(row: Embedding) -> tuple[str, int]:
    """Return the tables of scores in a card of more modalities, and their number of seeds."""
    shown = {f"{row.name}, {row.recipe.name}": "this model", "untrained, grown": "untrained"}
    shown |= {n: n for n in ("harmonics", "IDW 5", "GeoCLIP", "GeoCLIP, harmonics")}
    lines: list[str] = []
    for split in ("block", "random"):
        sums = growth.read_growth(split=split, embedding=list(shown))
        found = tables.intervals(sums, ["task"]).assign(cell=tables.as_text)
        wide = found.pivot(index="task", columns="embedding", values="cell")
        heads = ["in blocks" if split == "block" else "at random", *shown.values()]
        lines += ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for task, kin in growth.KIN.items():
            mark = " \\*" if set(kin) & set(row.modalities) else ""
            cells = [str(wide.at[task, name]) for name in shown]
            lines.append(f"| {task}{mark} | {' | '.join(cells)} |")
    about = textwrap.fill(TEXTS["about"]["many"], 120)
    return "\n".join([*lines[1:], "", about]), sums["seed"].nunique()


def card(name: str, row: Embedding, n_weights: int, error: float) -> str:
    """Write the card of a model."""
    recipe, many = row.recipe, row.recipe.name != CHOSEN.name
    table, seeds = (many_scores if many else scores)(row)
    used = "; ".join(f"{key}: {TEXTS['observed'][key]}" for key in row.modalities)
    data = (
        f"{recipe.n:,} places a modality, none shared, over the land without Antarctica. {used}. "
        "The labels of the scores below were not used; places near them were, as everywhere on "
        "land (the transductive setting of the book)."
    )
    kind = "residual network" if recipe.network else "sine network"
    encoding = recipe.encoder(0).encoding
    if isinstance(encoding, Sphere2Vec):
        name_of, finest = f"Sphere2Vec of {encoding.n_scales} scales", 2 ** (encoding.n_scales - 1)
    else:
        name_of, finest = f"Spherical harmonics of {recipe.n_degrees} degrees", recipe.n_degrees - 1
    how = (
        f"{name_of} into a {kind} of {recipe.depth} "
        f"layers of {recipe.width} units, trained by contrast on {recipe.pairs / 1e6:.3g} million "
        f"pairs in batches of {recipe.batch_size:,} (AdamW, learning rate "
        f"{recipe.learning_rate:g}, {recipe.schedule} schedule, seed {row.seed})"
        f"{TEXTS['times'].get(row.kind, '')}; harmonics of {recipe.skip} degrees are joined beside "
        f"it. {n_weights:,} weights. `make pretrained` trains it again; `make results` repeats the "
        "scores."
    )
    credit = [TEXTS["credit"][key] for key in row.modalities if key in TEXTS["credit"]]
    return CARD.format(
        name=name,
        line=TEXTS["models"][name]["line"],
        data=textwrap.fill(data, 120),
        how=textwrap.fill(how, 120),
        labels=MAIN,
        seeds=seeds,
        table=table,
        wave=np.pi * EARTH_RADIUS_KM / finest,
        error=error,
        credit=textwrap.fill(f"Also trained on {'; '.join(credit)}.", 120, initial_indent="\n\n")
        if credit
        else "",
    )


def main() -> None:
    """Build all models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default="build/results", help="finished rows")
    parser.add_argument("--folder", type=Path, default=HERE / "pretrained", help="models")
    parser.add_argument("--only", choices=ROWS, nargs="+", default=list(ROWS), help="models")
    asked = parser.parse_args()
    places = embedded.sample_land(2000, stream("places of a check"))
    for name in asked.only:
        model, row = build(name, asked.work)
        path = asked.folder / name
        exact = model.embed(places)  # type: ignore[attr-defined]
        save_halved(model, path)
        again = type(model).from_pretrained(path).embed(places)  # type: ignore[attr-defined]
        error = float(abs(again - exact).max() / abs(exact).max())
        n_weights = sum(p.numel() for p in model.parameters())  # type: ignore[attr-defined]
        write_atomic(path / "README.md", card(name, row, n_weights, error).encode())
        if name == "earth":
            for pairs, seen in snapshots(row).items():
                save_halved(seen, path / "snapshots" / f"{pairs:07}")
        size = (path / "model.safetensors").stat().st_size / 1e6
        print(f"{name}: {size:.2f} MB, embeddings differ by {error:.1e} of the largest")
    write_manifest(asked.folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
