"""Files: hashes and manifests, atomic writes, the cache, shipped folders, the Hub's mixin."""

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

with warnings.catch_warnings():  # tqdm warns in notebooks without widgets; no bar is shown here
    warnings.filterwarnings("ignore", message="IProgress not found")
    from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download

FORMAT = 2  # of model files; raise it when the meaning of an entry changes
CONFIG, WEIGHTS, METADATA = "config.json", "model.safetensors", "earthtie"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Flush the content of a file to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write a file atomically: whole or not at all."""
    with whole(Path(path)) as temporary:
        temporary.write_bytes(data)


def cache_folder() -> Path:
    """Return the folder of cached arrays: ``EARTHTIE_CACHE`` or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("EARTHTIE_CACHE") or platformdirs.user_cache_dir("earthtie_lite"))


def cached(key: bytes, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array cached under the hash of ``key``; compute and cache it the first time.

    A damaged file is computed again. If the cache cannot be written (a full or read-only disk),
    the array is still returned.
    """
    path = cache_folder() / f"{sha256(key)}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        array = compute()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    with contextlib.suppress(OSError):
        write_atomic(path, buffer.getvalue())
    return array


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raise an OSError if the disk has too little space for ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the disk is too full: {what} needs {needed:,} more bytes ({human(needed)}), and "
            f"{free:,} are free in {folder}; make room or choose another folder",
        )


def human(size: int) -> str:
    """Format a number of bytes in kB, MB or GB.

    Examples
    --------
    >>> human(999), human(42_000_000)
    ('1.0 kB', '42.0 MB')
    """
    scale, unit = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / scale:,.1f} {unit}"


# ------------------------------------------------------------------------------ shipped files


def shipped_folder(name: str) -> Path:
    """Return a data folder of the installed package or of a source checkout."""
    here = Path(__file__).resolve().parent
    inside = here / "data" / name
    return inside if inside.is_dir() else here.parent / "data" / name


@functools.cache
def shipped(root: Path, name: str) -> Path:
    """Return the path of a shipped file after comparing it with the folder's manifest.

    Parameters
    ----------
    root : path
        A folder with a ``manifest.json``, which :func:`write_manifest` wrote.
    name : str
        Path of the file inside it, with slashes.

    Raises
    ------
    ValueError
        If the file or the manifest is missing, truncated, altered or not listed.
    """
    manifest, path = root / "manifest.json", root / name
    try:
        expected = json.loads(manifest.read_text(encoding="utf-8"))["files"][name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{manifest} is missing, damaged or does not list {name}: reinstall the package"
        ) from error
    if not path.is_file() or sha256(path.read_bytes()) != expected:
        raise ValueError(f"{path} is missing, truncated or altered: reinstall the package")
    return path


def write_manifest(root: Path) -> None:
    """List size and SHA-256 of all files in a folder's subfolders in its ``manifest.json``."""
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.parent != root)
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in paths}
    entries = {name: {"bytes": len(d), "sha256": sha256(d)} for name, d in files.items()}
    write_atomic(root / "manifest.json", json.dumps({"files": entries}, indent=1).encode() + b"\n")


# --------------------------------------------------------------------------- models and runs


def write_model(folder: Path, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a model or a run into a folder: ``model.safetensors``, replaced atomically.

    The file holds everything: the tensors, and in its metadata the description (JSON) and a hash of
    both. ``config.json`` beside it is a copy of the description for readers and for the Hub.
    """
    text = json.dumps({"format": FORMAT, **description}, indent=1)
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    about = json.dumps({"description": text, "sha256": _digest(text, tensors)})
    write_atomic(folder / WEIGHTS, save(tensors, {METADATA: about}))
    write_atomic(folder / CONFIG, text.encode())


def read_model(weights: Path, config: Callable[[], Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what :func:`write_model` wrote; the tensors in half precision become float32.

    Parameters
    ----------
    weights : path
    config : callable
        Returns the path of config.json, which is read only if the weights hold no description
        (models saved with version 0.1).

    Raises
    ------
    ValueError
        If a file is damaged or of a later format.
    """
    try:
        data = weights.read_bytes()
        header, tensors = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), load(data)
        about = json.loads(header.get("__metadata__", {}).get(METADATA, "{}"))
        text = about["description"] if about else config().read_text(encoding="utf-8")
        description = json.loads(text)
        version = description.get("format", 1)
        sound = about["sha256"] == _digest(text, tensors) if about else version == 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{weights} is damaged, or {CONFIG} beside it: {error!r}") from error
    if not sound:
        raise ValueError(f"{weights} is damaged: its metadata are lost or its SHA-256 differs")
    if version > FORMAT:
        raise ValueError(f"{weights} has format {version}, this version reads {FORMAT} at most")
    halves = (torch.float16, torch.bfloat16)
    return description, {k: t.float() if t.dtype in halves else t for k, t in tensors.items()}


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of a description and of names, types, shapes and values of tensors."""
    key = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        key.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        key.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return key.hexdigest()


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with the prefix, under the rest of their names."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


CARD = """---
{{ card_data }}
---

A location encoder: it embeds places, given as longitude and latitude in degrees, in this order.

    model = earthtie_lite.{{ class_name }}.from_pretrained("...")
    z = model.embed([[13.4, 52.5]])

It was saved with earthtie-lite, the module of the book EarthTie. Whoever trained it should describe
here what it was trained on, how it scores and where it fails.
"""


class HubModel(
    ModelHubMixin,
    model_card_template=CARD,
    library_name="earthtie-lite",
    tags=["location-encoder", "contrastive-learning", "geospatial"],
):
    """Adds ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` to a model.

    A model describes its settings by ``spec`` (JSON), its arrays by ``tensors``, and is rebuilt
    from both by ``from_parts``.
    """

    origin = ""  # name of the model, or of the folder that it was loaded from
    spec: Any  # settings, as JSON
    tensors: Any  # a method that returns the weights and all other arrays
    from_parts: Any  # a class method that builds a model from both

    @classmethod
    def from_pretrained(cls, name: str | Path, **settings: Any) -> Self:  # type: ignore[override]
        """Load a model from a folder, or from the Hub by a name such as "someone/places".

        Raises
        ------
        ValueError
            If the model is damaged, of another class, or the name is neither a folder nor
            "owner/name".
        """
        if not Path(name).is_dir() and "/" not in str(name):
            raise ValueError(f"there is no folder {name}, and a name on the Hub is owner/name")
        return super().from_pretrained(name, **settings)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings and weights, written into files of embeddings."""
        found = hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            found.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
        return found.hexdigest()

    def generate_model_card(self, *args: Any, **settings: Any) -> ModelCard:
        """Return the card for a folder that has none."""
        return super().generate_model_card(*args, class_name=type(self).__name__, **settings)

    def _save_pretrained(self, save_directory: Path) -> None:
        write_model(save_directory, {"class": type(self).__name__, **self.spec}, self.tensors())

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **where: Any) -> Self:
        """Read the files from a folder, or download them from the Hub."""

        def find(name: str) -> Path:
            if not Path(model_id).is_dir():
                return Path(hf_hub_download(model_id, name, **where))
            if not (path := Path(model_id) / name).is_file():
                raise ValueError(f"there is no model in {model_id}: {name} is missing")
            return path

        downloads = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        where = {k: v for k, v in where.items() if k in downloads}
        description, tensors = read_model(find(WEIGHTS), lambda: find(CONFIG))
        made = description.get("class")
        if made != cls.__name__:
            raise ValueError(f"{model_id} holds a {made}: use earthtie_lite.{made}.from_pretrained")
        return cls.from_parts(description, tensors)
