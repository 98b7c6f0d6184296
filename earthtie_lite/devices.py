"""Where training runs: its device, what stays there, and the processes that share each batch."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RESIDENT = 0.5  # part of a GPU's free memory that places and features may take


def pick_device(device: str) -> torch.device:
    """Return the device, a GPU for "auto" where there is one: a process's own, by its rank."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no GPU: use 'auto' or 'cpu'")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return (
        torch.device("cuda", torch.cuda.current_device())
        if device == "cuda"
        else torch.device(device)
    )


def home(tensors: list[Tensor], device: torch.device) -> torch.device:
    """Return where tensors that every step reads from should lie: the GPU if they fit, or the CPU.

    From the CPU, where they may be memory-mapped files, a step takes only its own rows.
    """
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    fits = sum(t.numel() * t.element_size() for t in tensors) <= RESIDENT * free
    return device if fits else torch.device("cpu")


def mapped(array: NDArray[Any]) -> Tensor:
    """Return a tensor on an array's own memory, be it a file that is mapped for reading only."""
    with warnings.catch_warnings():  # of torch, that nobody may write to it: nobody does
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@dataclass(frozen=True)
class Ranks:
    """The processes of a job, each of which has a part of every batch; by default a single one.

    Parameters
    ----------
    rank, size : int
        Number of this process, and how many there are.
    """

    rank: int = 0
    size: int = 1

    def part(self, n: int) -> slice:
        """Return which of the n pairs of a joint batch are this process's own."""
        share = n // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, own: Tensor) -> Tensor:
        """Join the parts (b, D) of all processes to the batch (B, D), gradients included."""
        if self.size == 1:
            return own
        from torch.distributed.nn.functional import all_gather

        return torch.cat(all_gather(own.contiguous()))

    def sum(self, tensors: list[Tensor]) -> None:
        """Add tensors up over all processes, in place."""
        if self.size == 1 or not tensors:
            return
        import torch.distributed as dist

        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        for tensor, summed in zip(tensors, flat.split([t.numel() for t in tensors])):
            tensor.copy_(summed.view_as(tensor))

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Add up gradients; a parameter that no pair of this process's part reaches has zero."""
        if self.size == 1:
            return
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self.sum([p.grad for p in parameters if p.grad is not None])

    @torch.no_grad()
    def share(self, module: nn.Module) -> None:
        """Give every process the parameters and buffers of the first."""
        if self.size == 1:
            return
        import torch.distributed as dist

        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)

    def agreed(self, value: Any) -> Any:
        """Return what the first process says, so that all decide alike."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


def ranks() -> Ranks:
    """Return this process's place in the job: see :func:`process_group`."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` has started; without it, be the only one.

    Inside, :func:`~earthtie_lite.train.fit` shares each batch among the processes, on one machine
    or several, through NCCL on GPUs and Gloo on CPUs. An error in one of them ends the job:
    ``torchrun`` stops the others and says which was the first. A run that was saved goes on with
    ``resume_from``.

    Examples
    --------
    In a file that ``torchrun --nproc-per-node 4 file.py`` starts::

        with et.process_group():
            run = et.fit(sample, config, save_to="runs/melt")

    >>> with process_group() as here:
    ...     here
    Ranks(rank=0, size=1)
    """
    import datetime
    import os

    import torch.distributed as dist

    if "TORCHELASTIC_RUN_ID" not in os.environ and "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    patience = datetime.timedelta(minutes=10)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=patience)
    try:
        yield ranks()
    finally:
        dist.destroy_process_group()
