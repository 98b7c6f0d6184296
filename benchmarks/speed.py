"""Seconds a step of training at the paper's size: three modalities, batches of 2,048 pairs.

Features are random numbers of the paper's widths, which changes no time. The first epoch warms up
and is not counted. Started by ``torchrun``, the processes share each batch.
"""

import argparse
import platform
import time

import numpy as np
import torch

import earthtie_lite as et
from earthtie_lite.coords import sample_sphere

WIDTHS = {"satellite": 384, "photos": 384, "text": 384}  # MoCo, DINO, BGE
PAIRS, BATCH, EPOCHS = 100_000, 2048, 50  # of the paper
PAPER_STEPS = EPOCHS * len(WIDTHS) * PAIRS // BATCH


def modalities(n: int) -> list[et.Modality]:
    """Return n random places a modality with random features."""
    rng = np.random.default_rng(0)
    return [
        et.Modality(name, sample_sphere(n, rng), rng.normal(size=(n, width)))
        for name, width in WIDTHS.items()
    ]


def seconds_a_step(
    sample: list[et.Modality], method: str, precision: str, degrees: int, steps: int
) -> float:
    """Return the mean time of a step in the second epoch."""
    ends = []
    config = et.TrainConfig(
        method, epochs=2, batch_size=BATCH, val_fraction=0.0, precision=precision
    )
    encoder = et.LocationEncoder(et.SphericalHarmonics(degrees))
    run = et.fit(sample, config, encoder, callback=lambda row: ends.append(time.perf_counter()))
    assert len(run.history) == 2 * steps
    return (ends[1] - ends[0]) / steps if ends else float("nan")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=48, help="steps in an epoch")
    parser.add_argument("--degrees", type=int, nargs="+", default=[10, 20])
    asked = parser.parse_args()
    with et.process_group() as here:
        cuda = torch.cuda.is_available()
        say = print if here.rank == 0 else lambda *_: None
        machine = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU"
        say(f"torch {torch.__version__}, {machine}, {here.size} processes", end="")
        say(f" of {torch.get_num_threads()} threads; {PAPER_STEPS} steps are the paper's training")
        say(f"{'method':8}{'degrees':>8}{'precision':>11}{'s a step':>10}{'paper, min':>12}")
        for degrees in asked.degrees:
            for method in ("melt", "salt"):
                n = asked.steps * (BATCH if method == "salt" else -(-BATCH // len(WIDTHS)))
                sample = modalities(n)
                for precision in ("float32", "bf16") if cuda else ("float32",):
                    step = seconds_a_step(sample, method, precision, degrees, asked.steps)
                    paper = step * PAPER_STEPS / 60
                    say(f"{method:8}{degrees:8}{precision:>11}{step:10.4f}{paper:12.1f}")


if __name__ == "__main__":
    main()
