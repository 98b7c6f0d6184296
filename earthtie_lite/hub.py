"""Models in the two files of the Hugging Face Hub: config.json and model.safetensors."""

import json
import warnings
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from .storage import write_atomic

with warnings.catch_warnings():  # of tqdm, in a notebook without widgets: no bar is shown here
    warnings.filterwarnings("ignore", message="IProgress not found")
    from huggingface_hub import ModelCard, ModelHubMixin

CARD = """---
{{ card_data }}
---

A location encoder: it embeds places, given as longitude and latitude in degrees, in this order.

    model = earthtie_lite.{{ class_name }}.from_pretrained("...")
    z = model.embed([[13.4, 52.5]])

It was saved with earthtie-lite, the module of the book EarthTie. What it was trained on, how it
scores and where it fails has to be written here by whoever trained it.
"""


class HubModel(
    ModelHubMixin,
    model_card_template=CARD,
    library_name="earthtie-lite",
    tags=["location-encoder", "contrastive-learning", "geospatial"],
):
    """What has ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    A model describes itself as JSON by its ``spec``, holds its arrays in ``tensors`` and is built
    again from both.
    """

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights and all other arrays."""
        raise NotImplementedError

    @classmethod
    def from_parts(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Build a model; raises a ValueError if settings and arrays do not fit together."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, name: str | Path, **settings: Any) -> Self:  # type: ignore[override]
        """Load a model from a folder, or from the Hub by a name such as "someone/places".

        Raises
        ------
        ValueError
            If it is damaged, of another class, or there is neither a folder nor a "/" in the name.
        """
        if not Path(name).is_dir() and "/" not in str(name):
            raise ValueError(f"there is no folder {name}, and a name on the Hub has an owner: a/b")
        return super().from_pretrained(name, **settings)

    def generate_model_card(self, *args: Any, **settings: Any) -> ModelCard:
        """Return the card that a folder without one is given."""
        return super().generate_model_card(*args, class_name=type(self).__name__, **settings)

    def _save_pretrained(self, save_directory: Path) -> None:
        from safetensors.torch import save

        weights = {name: t.detach().cpu().contiguous() for name, t in self.tensors().items()}
        write_atomic(save_directory / "model.safetensors", save(weights))
        description = {"class": type(self).__name__, **self.spec}
        write_atomic(save_directory / "config.json", json.dumps(description, indent=1).encode())

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **where: Any) -> Self:
        """Read the files from a folder, or download them from the Hub."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        where = {k: v for k, v in where.items() if k in _DOWNLOAD}
        config, weights = (
            _find(model_id, name, where) for name in ("config.json", "model.safetensors")
        )
        try:
            description = json.loads(config.read_text(encoding="utf-8"))
            made = description.pop("class")
            tensors = load_file(weights)
            tensors = {k: t.float() if t.dtype == torch.float16 else t for k, t in tensors.items()}
        except (ValueError, KeyError, AttributeError, SafetensorError) as error:
            raise ValueError(f"the model {model_id} is damaged: {error!r}") from error
        if made != cls.__name__:
            raise ValueError(f"{model_id} holds a {made}: use earthtie_lite.{made}.from_pretrained")
        return cls.from_parts(description, tensors)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


_DOWNLOAD = ("revision", "cache_dir", "force_download", "local_files_only", "token")


def _find(model: str, name: str, where: dict[str, Any]) -> Path:
    """Return the path of a model's file: in its folder, or downloaded."""
    from huggingface_hub import hf_hub_download

    if not Path(model).is_dir():
        return Path(hf_hub_download(model, name, **where))
    if not (Path(model) / name).is_file():
        raise ValueError(f"there is no model in {model}: {name} is missing")
    return Path(model) / name
