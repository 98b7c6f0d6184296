"""Which pairs make up a batch: what is held out, MELT's shares and SALT's turns."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .config import TrainConfig
from .coords import hold_out
from .modalities import Modality
from .sample import PATCH_KM
from .streams import stream

Rows = dict[str, Any]  # row numbers (n,) of each modality that takes part: an array or a tensor


def split_rows(modalities: list[Modality], config: TrainConfig) -> tuple[Rows, Rows]:
    """Split each modality into rows to train on and rows of held-out blocks.

    The blocks are the same for every modality and seed. Places within a patch's width of a
    held-out block are in neither part.
    """
    train_rows, val_rows = {}, {}
    for m in modalities:
        buffer = PATCH_KM if config.val_fraction else 0.0
        held_out, kept = hold_out(m.lonlat, config.val_fraction, buffer_km=buffer)
        train_rows[m.name], val_rows[m.name] = np.flatnonzero(kept), np.flatnonzero(held_out)
        if config.val_fraction and len(val_rows[m.name]) < 2:
            raise ValueError(
                f"modality {m.name!r} has {len(val_rows[m.name])} places in the held-out blocks: "
                "bring more places or set val_fraction=0"
            )
    return train_rows, val_rows


def batches(
    train_rows: Rows,
    config: TrainConfig,
    epoch: int,
    n_steps: int,
    device: torch.device | None = None,
) -> Iterator[Rows]:
    """Yield the batches of an epoch: all modalities in each (MELT), or one at a time (SALT).

    An epoch takes as many pairs of each modality as the smallest has, drawn anew; SALT by step, a
    part of each. With a device the row numbers are tensors that lie there.
    """
    rng = stream("batches", config.seed, epoch)
    order: Rows = {name: rng.permutation(rows) for name, rows in train_rows.items()}
    if device is not None:
        order = {name: torch.from_numpy(rows).to(device) for name, rows in order.items()}
    for step in range(n_steps):
        turn = epoch if config.switch == "epoch" else epoch * n_steps + step
        yield {
            name: order[name][step * share : (step + 1) * share]
            for name, share in shares(train_rows, config, turn).items()
        }


def shares(train_rows: Rows, config: TrainConfig, turn: int) -> dict[str, int]:
    """Return how many pairs of which modality make up a batch.

    MELT's are alike; SALT takes one modality, the next with each turn (an epoch or a step).
    """
    names = list(train_rows)
    if config.method == "salt":
        return {names[turn % len(names)]: config.batch_size}
    least, left = divmod(config.batch_size, len(names))
    return {name: least + (i < left) for i, name in enumerate(names)}


def steps_per_epoch(train_rows: Rows, config: TrainConfig) -> int:
    """Return how many whole batches an epoch has."""
    smallest = min(train_rows, key=lambda name: len(train_rows[name]))
    share = max(shares(train_rows, config, 0).values())
    if min(shares(train_rows, config, 0).values()) < 1:
        raise ValueError(
            f"a batch of {config.batch_size} pairs cannot hold {len(train_rows)} modalities"
        )
    if len(train_rows[smallest]) < share:
        raise ValueError(
            f"modality {smallest!r} has {len(train_rows[smallest])} pairs to train on, a batch "
            f"needs {share} of it: lower batch_size or bring more places"
        )
    return len(train_rows[smallest]) // share


def part_of(batch: Rows, part: slice) -> Rows:
    """Return the pairs of a batch, all modalities joined in their order, that a slice holds."""
    found, before = {}, 0
    for name, rows in batch.items():
        some = rows[max(part.start - before, 0) : max(part.stop - before, 0)]
        if len(some):
            found[name] = some
        before += len(rows)
    return found
