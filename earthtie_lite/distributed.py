"""Several processes that train one model: each takes its part of every batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(minutes=10)  # a process that waits longer for the others gives up


@dataclass(frozen=True)
class Ranks:
    """The processes of a job; by default a single one.

    Parameters
    ----------
    rank, size : int
        Number of this process, counted from 0, and number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def seed_suffix(self) -> tuple[int, ...]:
        """The rank, or () for a single process; makes the random numbers of processes differ."""
        return () if self.size == 1 else (self.rank,)

    def part(self, n: int) -> slice:
        """Return the rows of a batch of n pairs that belong to this process."""
        if n % self.size:
            raise ValueError(f"{self.size} processes cannot share a batch of {n} pairs")
        share = n // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def share(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return this process's part of a batch: rows of each modality, in the batch's order."""
        part, mine, before = self.part(sum(map(len, batch.values()))), {}, 0
        for name, rows in batch.items():
            some = rows[max(part.start - before, 0) : max(part.stop - before, 0)]
            if len(some):
                mine[name] = some
            before += len(rows)
        return mine

    def gather(self, part: Tensor) -> Tensor:
        """Join the parts (b, ...) of all processes to (B, ...), with gradients."""
        return part if self.size == 1 else Gather.apply(part, self)

    def agreed(self, value: Any) -> Any:
        """Return the first process's value, so that all processes make the same decision."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def wrap(self, objective: nn.Module) -> nn.Module:
        """Return a module that synchronises its gradients over the processes.

        Every process computes the loss of the whole batch. In the backward pass :meth:`gather` sums
        the gradients that a part receives from all processes, and DistributedDataParallel divides
        by their number; the result is the gradient of that loss.
        """
        if self.size == 1:
            return objective
        # Heads that no process used keep the gradient None, so the optimiser skips them.
        return DistributedDataParallel(objective, find_unused_parameters=True)


class Gather(torch.autograd.Function):
    """Concatenate the parts of all processes; the gradient of a part sums over the processes."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, here: Ranks) -> Tensor:
        """Return the parts (b, ...) of all processes as (B, ...)."""
        parts = [torch.empty_like(part) for _ in range(here.size)]
        dist.all_gather(parts, part.contiguous())
        ctx.here = here
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of this process's part, summed over the processes."""
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.here.part(len(gradient))], None


ALONE = Ranks()


def ranks() -> Ranks:
    """Return the rank of this process and the number of processes: see :func:`process_group`."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return ALONE


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` has started; without torchrun, run alone.

    Inside, :func:`~earthtie_lite.train.fit` shares each batch among the processes, on one machine
    or several, through NCCL on GPUs and Gloo on CPUs. An error in one of them ends the job:
    ``torchrun`` stops the others and names the first. A saved run continues with ``resume_from``.

    Examples
    --------
    In a file that ``torchrun --nproc-per-node 4 file.py`` starts::

        with et.process_group():
            run = et.fit(sample, config, save_to="runs/melt")

    >>> with process_group() as here:
    ...     here
    Ranks(rank=0, size=1)
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ and "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield ranks()
    finally:
        dist.destroy_process_group()
