"""What frozen encoders that others have trained have in common: weights, batches, imports."""

import functools
import hashlib
import importlib
import importlib.util
import re
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..config import Device, pick_device
from ..features import Features, Featuriser
from ..files import sha256

RANDOM = "random"  # in the place of weights
MISSING = re.compile(r"operator torchvision::(nms|qnms) does not exist")


def mend_torchvision() -> None:
    """Make torchvision importable beside a torch that it was not built for.

    Beside a torch for CPUs, a torchvision for GPUs cannot load its operators. Its import then ends
    in "operator torchvision::nms does not exist", and so do those of open_clip, timm and
    transformers. On this very error the operator is declared, which is all that an import needs,
    and none of the encoders calls it. Any other error is raised, and a torchvision that can be
    imported is left alone.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    for _ in ("nms", "qnms"):
        try:
            importlib.import_module("torchvision")
            return
        except RuntimeError as error:
            missing = MISSING.fullmatch(str(error))
            if missing is None:
                raise
            _declare(missing[1])
    importlib.import_module("torchvision")


@functools.cache
def _declare(name: str) -> torch.library.Library:
    """Declare an operator of torchvision for as long as what is returned lives."""
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    fragment.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return fragment


def library(name: str) -> Any:
    """Import a library of the extra "encoders"."""
    try:
        with warnings.catch_warnings():  # of tqdm, in a notebook without widgets
            warnings.filterwarnings("ignore", message="IProgress not found")
            mend_torchvision()
            return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f'{name} cannot be imported ({error}): install the extra "encoders" of '
            "earthtie-lite, in a clone with pip install '.[encoders]'"
        ) from error


@dataclass(frozen=True)
class Tower(Featuriser):
    """A frozen network: evaluation mode, float32, no gradients. It is loaded at first use.

    Parameters
    ----------
    model : str
        Its name in the library that builds it.
    weights : str or Path, optional
        By default the published ones, which the library downloads from its hub and keeps. Or a
        local file of the same format: .safetensors, or .pth and .bin, from which nothing but
        arrays is read. Or ``"random"``, drawn with a fixed seed, for tests and teaching.
    sha256 : str, optional
        Of the local weights. Computed where it is not given; the weights have to have it when they
        are loaded. It is in ``spec``, so that a saved run says which weights it takes.
    batch : int
        Inputs encoded at a time: bounds memory, not results.
    device : str
        "auto" takes a GPU where there is one.

    Raises
    ------
    ValueError
        If there are no such weights or, at first use, if they cannot be loaded, do not fit the
        network or are not those of ``sha256``; for input that is not what the encoder takes.
    ImportError
        At first use, if a library is missing.
    """

    takes_folder: ClassVar[bool] = False  # or a file

    model: str
    weights: str | Path | None = None
    sha256: str | None = None
    batch: int = 32
    device: Device = "auto"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        if self.local is not None:
            object.__setattr__(self, "weights", str(self.local))
            if self.sha256 is None:
                if self.local.is_dir() != self.takes_folder:
                    kind = "a folder" if self.takes_folder else "a file"
                    raise ValueError(f"expected weights in {kind}, {self.local} is none")
                object.__setattr__(self, "sha256", digest(self.local))

    @property
    def local(self) -> Path | None:
        """Where weights of one's own lie."""
        if self.weights is None or self.weights == RANDOM:
            return None
        return Path(self.weights).expanduser().resolve()

    @property
    def spec(self) -> dict[str, Any]:
        """Class and settings, as JSON, without those that do not change the features."""
        settings = asdict(self)
        del settings["batch"], settings["device"]
        return {"class": type(self).__name__, **settings}

    @property
    def identity(self) -> dict[str, Any]:
        """What the features depend on, as JSON: not on where weights of a known hash lie."""
        return {k: v for k, v in self.spec.items() if k != "weights" or self.local is None}

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network, on its device."""
        device = pick_device(self.device)
        if self.local is not None and (found := digest(self.local)) != self.sha256:
            raise ValueError(
                f"expected weights of the SHA-256 {self.sha256}, those in {self.local} have "
                f"{found}; bring back the file, or make a new {type(self).__name__} of it"
            )
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = self._load()
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # each library has its own
            advice = (
                "if the hub is out of reach, pass weights that were downloaded elsewhere"
                if self.local is None
                else "take weights of this very model"
            )
            raise ValueError(
                f"{self.model} cannot be loaded from {self.local or 'its hub'}: "
                f"{str(error)[:600]}; {advice}"
            ) from error
        return network.float().eval().requires_grad_(False).to(device)

    def __call__(self, raw: Any) -> Features:
        """Encode N inputs as (N, out_dim)."""
        items = self._check(raw)
        network = self.network
        device = next(network.parameters()).device
        parts = []
        with torch.inference_mode():
            for start in range(0, len(items), self.batch):
                inputs = self._prepare(items[start : start + self.batch]).to(device)
                parts.append(self._encode(network, inputs).cpu().numpy())
        return np.concatenate(parts)

    def _load(self) -> nn.Module:
        """Return the network with its weights."""
        raise NotImplementedError

    def _check(self, raw: Any) -> list[Any]:
        """Return the inputs as a list, or raise a ValueError."""
        raise NotImplementedError

    def _prepare(self, items: list[Any]) -> Any:
        """Return what the network takes for B inputs."""
        raise NotImplementedError

    def _encode(self, network: nn.Module, inputs: Any) -> Tensor:
        """Return the features (B, out_dim)."""
        return network(inputs)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the list of the hashes in a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise ValueError(f"there are no weights in {path}; download them first")
    kept = (p for p in sorted(path.iterdir()) if p.suffix in (".json", ".txt", ".safetensors"))
    return sha256("".join(f"{digest(p)}  {p.name}\n" for p in kept).encode())
