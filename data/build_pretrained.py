"""Train the models that travel with the package, and write their cards: ``data/pretrained``.

``make pretrained`` runs it; trained encoders are kept in the folder of finished rows, so rows of
the book's tables are not trained twice. Minutes on two cores.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save

from earthtie_lite import sample as embedded
from earthtie_lite.coords import EARTH_RADIUS_KM
from earthtie_lite.experiments import bottleneck, plans, results
from earthtie_lite.experiments.embeddings import UNLABELLED, members, trained
from earthtie_lite.experiments.evaluate import MAIN, MAIN_TASKS
from earthtie_lite.experiments.rows import Embedding
from earthtie_lite.hub import HubModel
from earthtie_lite.joined import JoinedEncoders
from earthtie_lite.modalities import NAMES
from earthtie_lite.storage import write_atomic
from earthtie_lite.streams import stream

HERE = Path(__file__).resolve().parent
CHOSEN = plans.CHOSEN
ROWS: dict[str, tuple[Embedding, str]] = {
    "melt3": (
        bottleneck.threefold([0])[0],
        "Three trainings of MELT on satellite images, night lights and place names, joined; "
        "the best mean score, places only.",
    ),
    "melt": (
        plans.encoder_row(CHOSEN, "melt", NAMES),
        "MELT on satellite images, night lights and place names; compares places with all three.",
    ),
    "salt": (
        plans.encoder_row(CHOSEN, "salt", NAMES),
        "SALT on satellite images, night lights and place names; compares places with all three.",
    ),
    "satellite": (
        plans.encoder_row(CHOSEN, "melt", ("satellite",)),
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


def halved(path: Path) -> bytes:
    """Return the file of weights with its matrices in half precision."""
    tensors = load_file(path)
    return save({k: t.half() if t.ndim >= 2 else t for k, t in tensors.items()})


def scores(row: Embedding) -> tuple[str, int]:
    """Return the table of a card, and how many seeds it has."""
    sums = pd.concat([results.read_sums("report"), results.read_sums("bottleneck")])
    rows = [row.name, "untrained", "harmonics", "coordinates"]
    mine = results.pick(sums, embedding=rows, task=list(MAIN_TASKS), split=["block", "random"])
    mine = mine[(mine["recipe"] == CHOSEN.name)]
    found = results.intervals(mine, ["split", "task"]).assign(cell=results.as_text)
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
    parser.add_argument("--folder", type=Path, default=HERE / "pretrained")
    asked = parser.parse_args()
    places = embedded.sample_land(2000, stream("places of a check"))
    for name in ROWS:
        model, row = build(name, asked.work)
        path = asked.folder / name
        exact = model.embed(places)  # type: ignore[attr-defined]
        model.save_pretrained(path)
        write_atomic(path / "model.safetensors", halved(path / "model.safetensors"))
        again = type(model).from_pretrained(path).embed(places)  # type: ignore[attr-defined]
        error = float(abs(again - exact).max() / abs(exact).max())
        n_weights = sum(p.numel() for p in model.parameters())  # type: ignore[attr-defined]
        write_atomic(path / "README.md", card(name, row, n_weights, error).encode())
        size = (path / "model.safetensors").stat().st_size / 1e6
        print(f"{name}: {size:.2f} MB, embeddings differ by {error:.1e} of the largest")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
