"""Train the models that are shipped with the package, and write their cards: ``data/pretrained``.

``make pretrained`` takes minutes on two cores. Trained encoders are stored in the folder of
finished rows, so a row of the book's tables is not trained twice.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data.experiments import plans
from data.experiments.embeddings import UNLABELLED, members, trained
from data.experiments.rows import Embedding
from earthtie_lite import sample as embedded
from earthtie_lite.coords import EARTH_RADIUS_KM, stream
from earthtie_lite.encoders import JoinedEncoders
from earthtie_lite.files import HubModel, write_atomic, write_manifest, write_model
from earthtie_lite.results import tables
from earthtie_lite.results.scoring import MAIN, MAIN_TASKS

HERE = Path(__file__).resolve().parent
CHOSEN = plans.recipe("chosen")
ROWS: dict[str, tuple[Embedding, str]] = {
    "melt3": (
        plans.row("threefold satellite+lights+text"),
        "Three trainings of MELT on satellite images, night lights and place names, joined; "
        "the best mean score, places only.",
    ),
    "melt": (
        plans.row("melt satellite+lights+text"),
        "MELT on satellite images, night lights and place names; compares places with all three.",
    ),
    "salt": (
        plans.row("salt satellite+lights+text"),
        "SALT on satellite images, night lights and place names; compares places with all three.",
    ),
    "satellite": (
        plans.row("melt satellite"),
        "Satellite images alone, the two-modality baseline; compares places with images.",
    ),
}
CARD = (HERE / "pretrained_card.md").read_text(encoding="utf-8")


def build(name: str, work: Path) -> tuple[HubModel, Embedding]:
    """Return a trained model and its row."""
    row, _ = ROWS[name]
    if row.kind != "threefold":
        return trained(row, work).model, row
    encoders = [trained(member, work).model.encoder for member in members(row)]
    land = embedded.sample_land(UNLABELLED, stream("places of an ensemble", row.seed))
    return JoinedEncoders.fit(encoders, land, row.seed), row


def save_halved(model: HubModel, folder: Path) -> None:
    """Save a model with its matrices in half precision."""
    tensors = {k: t.half() if t.ndim >= 2 else t for k, t in model.tensors().items()}
    write_model(folder, {"class": type(model).__name__, **model.spec}, tensors)


def scores(row: Embedding) -> tuple[str, int]:
    """Return the table of scores in a card, and its number of seeds."""
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
    return "\n".join(lines), mine["seed"].nunique()


def card(name: str, row: Embedding, n_weights: int, error: float) -> str:
    """Write the card of a model."""
    recipe, (table, seeds) = row.recipe, scores(row)
    several = row.kind == "threefold"
    what = {
        "satellite": "random convolutional features of Blue Marble patches about 1 degree wide",
        "lights": "the same of a picture of night lights",
        "text": "hashed character n-grams of place names",
    }
    used = "; ".join(f"{key}: {what[key]}" for key in row.modalities)
    data = (
        f"{recipe.n:,} places a modality, none shared, over the land without Antarctica. {used}. "
        "The labels of the scores below were not used; places near them were, as everywhere on "
        "land (the transductive setting of the book)."
    )
    rate, times = f"{recipe.learning_rate:g}", ", three times, reduced to one width"
    how = (
        f"Spherical harmonics of {recipe.n_degrees} degrees into a sine network of {recipe.depth} "
        f"layers of {recipe.width} units, trained by contrast on {recipe.pairs / 1e6:g} million "
        f"pairs in batches of {recipe.batch_size:,} (AdamW, learning rate {rate}, "
        f"{recipe.schedule} schedule, seed {row.seed}){times if several else ''}; harmonics of "
        f"{recipe.skip} degrees are joined beside it. {n_weights:,} weights. `make pretrained` "
        "trains it again; `make results` repeats the scores."
    )
    return CARD.format(
        name=name,
        line=ROWS[name][1],
        data=textwrap.fill(data, 120),
        how=textwrap.fill(how, 120),
        labels=MAIN,
        seeds=seeds,
        table=table,
        wave=np.pi * EARTH_RADIUS_KM / (recipe.n_degrees - 1),
        error=error,
    )


def main() -> None:
    """Build all models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default="build/results", help="finished rows")
    parser.add_argument("--folder", type=Path, default=HERE / "pretrained", help="models")
    asked = parser.parse_args()
    places = embedded.sample_land(2000, stream("places of a check"))
    for name in ROWS:
        model, row = build(name, asked.work)
        path = asked.folder / name
        exact = model.embed(places)  # type: ignore[attr-defined]
        save_halved(model, path)
        again = type(model).from_pretrained(path).embed(places)  # type: ignore[attr-defined]
        error = float(abs(again - exact).max() / abs(exact).max())
        n_weights = sum(p.numel() for p in model.parameters())  # type: ignore[attr-defined]
        write_atomic(path / "README.md", card(name, row, n_weights, error).encode())
        size = (path / "model.safetensors").stat().st_size / 1e6
        print(f"{name}: {size:.2f} MB, embeddings differ by {error:.1e} of the largest")
    write_manifest(asked.folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
