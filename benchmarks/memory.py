"""Measure the peak memory of the loss and its gradient by batch, in one piece and in chunks."""

import argparse
import multiprocessing
import resource
import time

import torch

from earthtie_lite.losses import nt_xent

WIDTH, CHUNK = 256, 1024


def measure(batch: int, chunk: int | None, results: "multiprocessing.Queue[tuple]") -> None:
    """Compute one loss and its gradient; report seconds and the peak in MB above the start."""
    unit = [torch.nn.functional.normalize(torch.randn(batch, WIDTH), dim=1) for _ in range(2)]
    sides = [side.requires_grad_() for side in unit]
    nt_xent(*(side[:64] for side in sides), 2.0, chunk=chunk).backward()  # loads the kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    nt_xent(*sides, 2.0, chunk=chunk).backward()
    seconds = time.perf_counter() - started
    results.put((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def main() -> None:
    """Print the table; each row runs in a new process, because a peak never falls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[2048, 8192, 32768])
    parser.add_argument("--whole-up-to", type=int, default=8192, help="a whole batch: 12 B² bytes")
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{'pairs':>8}{'chunk':>8}{'seconds':>10}{'peak, MB':>10}")
    for batch in asked.batches:
        for chunk in (None, CHUNK) if batch <= asked.whole_up_to else (CHUNK,):
            results = context.Queue()
            process = context.Process(target=measure, args=(batch, chunk, results))
            process.start()
            seconds, megabytes = results.get()
            process.join()
            print(f"{batch:8}{chunk or 'whole':>8}{seconds:10.2f}{megabytes:10.0f}")


if __name__ == "__main__":
    main()
