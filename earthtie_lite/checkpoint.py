"""Runs on disk: weights in safetensors, everything else in JSON and CSV, replaced atomically."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import TrainConfig
from .hub import under
from .models import EarthTie
from .storage import sha256, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

FORMAT = 1  # raise it when the meaning of a file changes


@dataclass(eq=False)
class Run:
    """A trained model and how it came about.

    Attributes
    ----------
    model : EarthTie
    config : TrainConfig
    history : DataFrame
        One row a step: step, epoch, pairs (seen so far), modality, loss, val_loss, logit_scale,
        seconds, grad_norm (of the location encoder); validation losses, one column a modality and
        their mean, where an epoch ends.
    optimiser : dict of str to Tensor
        State of AdamW, for resuming.
    """

    model: EarthTie
    config: TrainConfig
    history: "pd.DataFrame"
    optimiser: dict[str, "Tensor"] = field(default_factory=dict, repr=False)

    def save(self, folder: str | Path) -> None:
        """Write the run into a folder; an older run there is replaced as a whole or stays whole.

        Raises
        ------
        ValueError
            If the folder holds other files, which are left alone.
        """
        from safetensors.torch import save as to_bytes

        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is a file, not a folder")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "run.json").is_file():
            raise ValueError(f"{folder} is not empty and holds no run: nothing was written")
        before = _file_names(folder)
        tensors = self.model.tensors()
        tensors |= {f"optimiser.{k}": v for k, v in self.optimiser.items()}
        weights = to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
        history = self.history.to_csv(index=False).encode()
        description: dict[str, Any] = {
            "format": FORMAT,
            "config": asdict(self.config),
            **self.model.spec,
            "files": {},
        }
        # Files are named by their content and run.json is replaced last: it is the one switch.
        for kind, data in (("weights.safetensors", weights), ("history.csv", history)):
            stem, suffix = kind.split(".")
            name = f"{stem}-{sha256(data)[:12]}.{suffix}"
            description["files"][kind] = {"name": name, "sha256": sha256(data)}
            write_atomic(folder / name, data)
        write_atomic(folder / "run.json", json.dumps(description, indent=1).encode())
        for name in before - {entry["name"] for entry in description["files"].values()}:
            (folder / name).unlink(missing_ok=True)


def load(folder: str | Path) -> Run:
    """Read a run that :meth:`Run.save` wrote; the model is on the CPU.

    Raises
    ------
    ValueError
        If the folder holds no run, or a file is missing, cut, altered or does not fit the model.
    """
    import pandas as pd
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    path = folder / "run.json"
    if not path.is_file():
        raise ValueError(f"no run in {folder}: run.json is missing")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
        if version == FORMAT:
            config = TrainConfig(**description["config"])
            spec = {k: description[k] for k in ("encoder", "in_dims", "featurisers")}
            spec["scales"] = config.scales
            files = [description["files"][kind] for kind in ("weights.safetensors", "history.csv")]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if version != FORMAT:
        raise ValueError(f"{path} has format {version}, this version reads {FORMAT}")
    weights, history_csv = (_read(folder, entry) for entry in files)
    tensors = from_bytes(weights)
    try:
        model = EarthTie.from_parts(spec, tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the weights in {folder} do not fit the model: {error}") from error
    history = pd.DataFrame()
    if history_csv.strip():
        # Read as text: not every version of pandas parses floats exactly.
        history = pd.read_csv(
            io.BytesIO(history_csv), dtype=str, keep_default_na=False, na_values=[""]
        )
        for column in history.columns.difference(["modality"]):
            whole = column in ("step", "epoch", "pairs")
            history[column] = history[column].astype(np.int64 if whole else np.float64)
    return Run(model, config, history, under("optimiser.", tensors))


def refuse_other_run(save_to: str | Path | None, resume_from: str | Path | None) -> None:
    """Raise a ValueError before training would replace a run that it does not go on from."""
    if save_to is None or not (Path(save_to) / "run.json").exists():
        return
    if resume_from is None or Path(resume_from).resolve() != Path(save_to).resolve():
        raise ValueError(f"{save_to} holds another run: resume from it or choose another folder")


def _file_names(folder: Path) -> set[str]:
    """Return the names of the files that belong to the run in a folder."""
    try:
        files = json.loads((folder / "run.json").read_text(encoding="utf-8"))["files"]
        return {Path(entry["name"]).name for entry in files.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _read(folder: Path, entry: dict[str, str]) -> bytes:
    """Read a file and compare its hash."""
    path = folder / entry["name"]
    if not path.is_file():
        raise ValueError(f"{path} is missing: the run is incomplete")
    data = path.read_bytes()
    if sha256(data) != entry["sha256"]:
        raise ValueError(f"{path} is cut or altered: its SHA-256 differs from run.json")
    return data
