"""Runs and models on disk: save them, load them, find them by name."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .config import TrainConfig
from .encoders import JoinedEncoders
from .files import (
    CONFIG,
    WEIGHTS,
    read_model,
    sha256,
    shipped,
    shipped_folder,
    under,
    write_model,
)
from .model import EarthTie

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

PRETRAINED = ("earth", "earth-independent", "melt3", "melt", "salt", "satellite")
WHOLE = ("step", "epoch", "pairs")  # integer columns of a history
EXPERIMENTAL = {  # settings of version 0.1 that only experiments used, and their usual values
    "scales": "shared",
    "switch": "epoch",
    "head_warmup": 0,
    "moments": "kept",
    "objective": "contrast",
}


@dataclass(eq=False)
class Run:
    """A trained model and how it was trained.

    Attributes
    ----------
    model : EarthTie
    config : TrainConfig
    history : DataFrame
        One row per step: step, epoch, pairs (seen so far), modality, loss, val_loss, logit_scale
        (its logarithm), seconds, grad_norm (of the location encoder). The last row of an epoch also
        has the validation loss of each modality and their mean, val_loss.
    optimiser : dict of str to Tensor
        State of AdamW, for resuming.
    """

    model: EarthTie
    config: TrainConfig
    history: "pd.DataFrame"
    optimiser: dict[str, "Tensor"] = field(default_factory=dict, repr=False)

    def save(self, folder: str | Path) -> None:
        """Save the run in a folder; an older run there is replaced atomically.

        Raises
        ------
        ValueError
            If the folder holds other files; nothing is written then.
        """
        folder = Path(folder)
        _check_target(folder)
        columns = {c: self.history[c].to_numpy() for c in self.history if len(self.history)}
        names = list(dict.fromkeys(columns.get("modality", ())))
        if names:
            columns["modality"] = np.array([names.index(name) for name in columns["modality"]])
        tensors = {
            **self.model.tensors(),
            **{f"optimiser.{key}": value for key, value in self.optimiser.items()},
            **{f"history.{c}": torch.from_numpy(values.copy()) for c, values in columns.items()},
        }
        history = {"columns": list(columns), "modalities": names}
        description = {"class": "EarthTie", **self.model.spec}
        description |= {"training": asdict(self.config), "history": history}
        write_model(folder, description, tensors)
        _remove_first_edition(folder)


def load(folder: str | Path) -> Run:
    """Load a run that :meth:`Run.save` wrote; the model is on the CPU.

    Raises
    ------
    ValueError
        If the folder holds no run, or a file is missing, damaged or does not fit the model.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file():
        return _load_first_edition(folder)
    description, tensors = read_model(folder / WEIGHTS, lambda: folder / CONFIG)
    if "training" not in description:
        raise ValueError(f"{folder} holds a model without its run: use load_pretrained")
    return _rebuild(folder, description, tensors)


def holds_run(folder: str | Path) -> bool:
    """Return whether a folder holds a saved run or model."""
    return any((Path(folder) / name).is_file() for name in (WEIGHTS, "run.json"))


def refuse_other_run(save_to: str | Path | None, resume_from: str | Path | None) -> None:
    """Raise a ValueError if training would replace a run that it does not resume."""
    if save_to is None:
        return
    _check_target(Path(save_to))
    resumed = resume_from is not None and Path(resume_from).resolve() == Path(save_to).resolve()
    if holds_run(save_to) and not resumed:
        raise ValueError(f"{save_to} holds another run: resume from it or choose another folder")


def _check_target(folder: Path) -> None:
    """Raise a ValueError if the folder is a file or holds something other than a run."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder")
    # A name that starts with a dot may be what a killed process was writing.
    if any(p.name[0] != "." for p in folder.glob("*")) and not holds_run(folder):
        raise ValueError(f"{folder} is not empty and holds no run: nothing was written")


def _rebuild(folder: Path, description: dict[str, Any], tensors: dict[str, "Tensor"]) -> Run:
    """Build a run from its description and tensors."""
    import pandas as pd

    try:
        config = TrainConfig(**description["training"])
        names, columns = (description["history"][key] for key in ("modalities", "columns"))
        history = pd.DataFrame({c: tensors[f"history.{c}"].numpy() for c in columns})
        if names:
            history["modality"] = pd.Series([names[i] for i in history["modality"]], dtype=str)
        model = EarthTie.from_parts(description, tensors)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"the run in {folder} cannot be loaded: {error}") from error
    return Run(model, config, history, under("optimiser.", tensors))


# ------------------------------------------------------------------ runs saved with version 0.1


def _load_first_edition(folder: Path) -> Run:
    """Load a run.json with its weights and its history in CSV."""
    import io

    import pandas as pd
    from safetensors.torch import load as from_bytes

    path = folder / "run.json"
    if not path.is_file():
        raise ValueError(f"no run in {folder}: {WEIGHTS} is missing")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        training = description.pop("config")
        files = [description["files"][kind] for kind in ("weights.safetensors", "history.csv")]
        files = [(folder / Path(entry["name"]).name, entry["sha256"]) for entry in files]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if used := {k: v for k, v in training.items() if k in EXPERIMENTAL and v != EXPERIMENTAL[k]}:
        raise ValueError(
            f"the run in {folder} was trained with {used}, an experimental setting that this "
            "version cannot load: use earthtie-lite 0.1"
        )
    for file, expected in files:
        if not file.is_file():
            raise ValueError(f"{file} is missing: the run is incomplete")
        if sha256(file.read_bytes()) != expected:
            raise ValueError(f"{file} is damaged: its SHA-256 differs from run.json")
    tensors, csv = from_bytes(files[0][0].read_bytes()), files[1][0].read_bytes()
    history, names = pd.DataFrame(), []
    if csv.strip():
        # Read as text: not every version of pandas parses floats exactly.
        table = pd.read_csv(io.BytesIO(csv), dtype=str, keep_default_na=False, na_values=[""])
        names = list(dict.fromkeys(table["modality"]))
        table["modality"] = [str(names.index(name)) for name in table["modality"]]
        types = {c: np.int64 if c in (*WHOLE, "modality") else np.float64 for c in table}
        history = table.astype(types)
    tensors |= {f"history.{c}": torch.from_numpy(history[c].to_numpy().copy()) for c in history}
    description["training"] = {k: v for k, v in training.items() if k not in EXPERIMENTAL}
    description["history"] = {"columns": list(history), "modalities": names}
    return _rebuild(folder, description, tensors)


def _remove_first_edition(folder: Path) -> None:
    """Delete the files of a run of version 0.1 that a newer one has replaced."""
    if (old := folder / "run.json").is_file():
        for entry in json.loads(old.read_text(encoding="utf-8"))["files"].values():
            (folder / Path(entry["name"]).name).unlink(missing_ok=True)
        old.unlink()


# --------------------------------------------------------------------------- models by name


def list_pretrained() -> dict[str, str]:
    """Return the names of the shipped models, each with one line from its card.

    Examples
    --------
    >>> list(list_pretrained())
    ['earth', 'earth-independent', 'melt3', 'melt', 'salt', 'satellite']
    """
    root = shipped_folder("pretrained")
    cards = {n: shipped(root, f"{n}/README.md").read_text(encoding="utf-8") for n in PRETRAINED}
    return {
        name: next(line[2:] for line in card.splitlines() if line.startswith("> "))
        for name, card in cards.items()
    }


def load_pretrained(name: str | Path = "earth") -> EarthTie | JoinedEncoders:
    """Load a trained model, offline: by its name, or from a folder.

    Parameters
    ----------
    name : str or path
        "earth", the default, learned seven modalities; "earth-independent" left out
        elevation, climate zones and land cover, for those who predict these. "melt", "salt",
        "satellite" and "melt3" (three trainings of MELT, joined) are those of the book. All but
        "melt3" compare places with observations, such as names. The card of each, next to its
        weights, states scores and limits. A path is the folder of a run or of
        a model saved with ``save_pretrained``. For models on the Hub use ``from_pretrained`` of
        their class.

    Raises
    ------
    ValueError
        If there is no such model, or its files are damaged.

    Examples
    --------
    >>> z = load_pretrained().embed([[13.4, 52.5], [-60.0, -3.1]])  # Berlin, Manaus
    >>> z.shape
    (2, 256)
    """
    if not isinstance(name, (str, Path)):
        raise ValueError(f"the name of a model must be text or a path, got {name!r}")
    folder = Path(name).expanduser()
    if name in PRETRAINED:
        root = shipped_folder("pretrained")
        for file in (CONFIG, WEIGHTS):
            folder = shipped(root, f"{name}/{file}").parent
    if not holds_run(folder):
        raise ValueError(
            f"unknown model {str(name)!r}: expected one of {', '.join(PRETRAINED)}, or the folder "
            "of a saved run or model"
        )
    if not (folder / WEIGHTS).is_file():
        return load(folder).model
    description, tensors = read_model(folder / WEIGHTS, lambda: folder / CONFIG)
    for known in (EarthTie, JoinedEncoders):
        if description.get("class") == known.__name__:
            model = known.from_parts(description, tensors)
            model.origin = folder.resolve().name
            return model
    raise ValueError(f"{folder} holds a model of unknown class, {description.get('class')!r}")


def load_snapshots() -> dict[int, EarthTie]:
    """Load the encoder of "earth" as it was during training, by the number of pairs seen.

    The models have no heads: they embed places only.

    Examples
    --------
    >>> list(load_snapshots())
    [0, 30720, 98304, 294912, 983040]
    """
    folders = sorted((shipped_folder("pretrained") / "earth" / "snapshots").iterdir())
    for folder in folders:
        for file in (CONFIG, WEIGHTS):
            shipped(folder.parents[2], f"earth/snapshots/{folder.name}/{file}")
    found = {int(folder.name): load_pretrained(folder) for folder in folders}
    return {pairs: model for pairs, model in found.items() if isinstance(model, EarthTie)}
