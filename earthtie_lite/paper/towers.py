"""Frozen encoders that others have trained: CLIP, MoCo, DINO and BGE.

They need the extra "encoders". Its libraries are imported when a network is loaded, at first use.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..config import Device, pick_device
from ..features import Features, Featuriser, as_texts
from ..files import sha256
from .files import file_hash

RANDOM = "random"  # in the place of weights
MOCO_REPOSITORY = "torchgeo/vit_small_patch16_224_sentinel2_all_moco"
MOCO_FILE = "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth"
MOCO_REVISION = "1cb683f6c14739634cdfaaceb076529adf898c74"
RESIZED, CROPPED = 256, 224  # pixels of a Sentinel-2 patch before and after the central crop
REFLECTANCE = 10_000  # what Sentinel-2 stores for a reflectance of 1
BEFORE_B10 = 10  # bands B1 to B9, B8A among them
BGE_TOKENS = 512

Loaded = tuple[Any, Callable[[list[Any]], Any], int]  # network, what makes its input, width
_DECLARED: dict[str, torch.library.Library] = {}  # torchvision's operators that were missing


def mend_torchvision() -> None:
    """Import torchvision, also beside a torch that it was not built for.

    Beside a torch for CPUs, a torchvision for GPUs cannot load its operators. Its import, and that
    of open_clip, timm and transformers, then fails with "operator torchvision::nms does not exist".
    On exactly this error the operator is declared, which is all that an import needs; none of the
    encoders calls it. Any other error is raised, and a working torchvision is left alone.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        missing = re.fullmatch(r"operator torchvision::(nms|qnms) does not exist", str(error))
        if missing is None or missing[1] in _DECLARED:
            raise
        _DECLARED[missing[1]] = fragment = torch.library.Library("torchvision", "FRAGMENT")
        fragment.define(f"{missing[1]}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        mend_torchvision()


@dataclass(frozen=True)
class Tower(Featuriser):
    """A frozen network: evaluation mode, float32, no gradients. It is loaded at first use.

    Parameters
    ----------
    model : str
        Its name in the library that builds it.
    weights : str or Path, optional
        By default the published ones, which the library downloads from its hub and keeps. Or a
        local file of the same format: .safetensors, or .pth and .bin, from which only arrays are
        read. Or ``"random"``, drawn with a fixed seed, for tests and teaching.
    sha256 : str, optional
        Hash of the local weights; computed if it is not given. The weights must have it when they
        are loaded. It is part of ``spec``, so that a saved run says which weights it takes.
    batch : int
        Inputs encoded at a time: bounds memory, not results.
    device : str
        "auto" takes a GPU if there is one.

    Raises
    ------
    ValueError
        If there are no such weights or, at first use, if they cannot be loaded, do not fit the
        network or do not have the hash; for input that the encoder does not take.
    ImportError
        At first use, if a library is missing.
    """

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
            object.__setattr__(self, "sha256", self.sha256 or digest(self.local))

    @property
    def local(self) -> Path | None:
        """Path of local weights."""
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
        """What the features depend on, as JSON: not on the folder of weights of a known hash."""
        return {k: v for k, v in self.spec.items() if k != "weights" or self.local is None}

    @property
    def out_dim(self) -> int:
        """Width of the features; loads the network."""
        return self._loaded[2]

    @functools.cached_property
    def _loaded(self) -> Loaded:
        """The network on its device, what makes its input of B items, the width of its features."""
        if self.local is not None and (found := digest(self.local)) != self.sha256:
            raise ValueError(
                f"expected weights of the SHA-256 {self.sha256}, those in {self.local} have "
                f"{found}; bring back the file, or make a new {type(self).__name__} of it"
            )
        try:
            mend_torchvision()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network, prepare, width = self._load()
        except ImportError as error:
            raise ImportError(
                f'{error}: install the extra "encoders" of earthtie-lite, in a clone with '
                "pip install '.[encoders]'"
            ) from error
        except Exception as error:  # each library has its own
            reason = str(error)[:600] or type(error).__name__
            raise ValueError(
                f"{self.model} cannot be loaded from {self.local or 'its hub'}: {reason}; pass "
                "weights of this very model, downloaded elsewhere if the hub is out of reach"
            ) from error
        network = network.float().eval().requires_grad_(False)
        return network.to(pick_device(self.device)), prepare, width

    def __call__(self, raw: Any) -> Features:
        """Encode N inputs as (N, out_dim)."""
        items = self._check(raw)
        network, prepare, _ = self._loaded
        device = next(network.parameters()).device
        parts = []
        with torch.inference_mode():
            for start in range(0, len(items), self.batch):
                inputs = prepare(items[start : start + self.batch]).to(device)
                parts.append(self._encode(network, inputs).cpu().numpy())
        return np.concatenate(parts)

    def _load(self) -> Loaded:
        """Return the network with its weights, what makes its input, the width of its features."""
        raise NotImplementedError

    def _check(self, raw: Any) -> list[Any]:
        """Return the inputs as a list, or raise a ValueError."""
        return as_texts(raw)

    def _encode(self, network: Any, inputs: Any) -> Tensor:
        """Return the features (B, out_dim)."""
        return network(inputs)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file of weights, or of the list of the hashes in a folder."""
    if path.is_file():
        return file_hash(path)
    kept = [p for p in sorted(path.glob("*")) if p.suffix in (".json", ".txt", ".safetensors")]
    if not kept:
        raise ValueError(f"there are no weights in {path}; download them first")
    return sha256("".join(f"{file_hash(p)}  {p.name}\n" for p in kept).encode())


# ------------------------------------------------------------------------------------- images


class _ImageTower(Tower):
    """An encoder of images, which are checked one by one."""

    expected: ClassVar[str]

    def _fits(self, image: Any) -> bool:
        """Return whether the encoder takes an image."""
        raise NotImplementedError

    def _check(self, raw: Any) -> list[Any]:
        try:
            images = list(raw)
        except TypeError:
            kind = type(raw).__name__
            raise ValueError(f"expected a sequence of images, got one {kind}") from None
        if not images:
            raise ValueError("expected at least one image, got none")
        for row, image in enumerate(images):
            if not self._fits(image):
                got = f"{np.shape(image)} in {np.asarray(image).dtype} in row {row}"
                raise ValueError(f"expected {self.expected}, got {got}")
        return images


class _RgbTower(_ImageTower):
    """An encoder of RGB images of any size, PIL's or arrays."""

    expected = "a sequence of RGB images, PIL's or arrays (H, W, 3) or (3, H, W) in uint8"

    def _fits(self, image: Any) -> bool:
        if hasattr(image, "convert"):
            return True
        array = np.asarray(image)
        return (
            array.ndim == 3 and 3 in array.shape[::2] and array.dtype == np.uint8 and array.size > 0
        )


def _stack_rgb(transform: Callable[[Any], Tensor], images: list[Any]) -> Tensor:
    """Return (B, 3, H, W) of RGB images, each made (3, H, W) by the transform."""
    from PIL import Image

    def as_pil(image: Any) -> Any:
        if hasattr(image, "convert"):
            return image.convert("RGB")
        array = np.asarray(image)
        channels_last = array if array.shape[2] == 3 else array.transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(channels_last))

    return torch.stack([transform(as_pil(image)) for image in images])


@dataclass(frozen=True)
class MocoSentinel2(_ImageTower):
    """A vision transformer for Sentinel-2, trained by MoCo on SSL4EO-S12: 384 features.

    Takes patches (N, 12, H, W) in uint16, reflectance times 10,000, in the order of S2-100K: B1 to
    B8, B8A, B9, B11, B12. The network has 13 bands: zeros stand for the missing B10, between B9 and
    B11, as in SatCLIP. As in torchgeo the shorter side is resized to 256 pixels, bilinearly, and
    the centre of 224 x 224 is taken; a patch of S2-100K has 256 already.

    Wang et al. (2023), https://doi.org/10.1109/MGRS.2023.3281651; Klemmer et al. (2025),
    https://doi.org/10.1609/aaai.v39i4.32457. Parameters as in
    :class:`~earthtie_lite.paper.towers.Tower`; the published weights, 91 MB, are those of torchgeo,
    of one revision.

    Examples
    --------
    >>> MocoSentinel2().spec["model"]
    'vit_small_patch16_224'
    """

    expected = "Sentinel-2 patches (12, H, W) in uint16, without B10"

    model: str = "vit_small_patch16_224"

    def _fits(self, image: Any) -> bool:
        array = np.asarray(image)
        return array.shape[:-2] == (12,) and array.dtype == np.uint16 and array.size > 0

    def _load(self) -> Loaded:
        import timm
        from huggingface_hub import hf_hub_download

        network: Any = timm.create_model(self.model, in_chans=13, num_classes=0)
        if self.weights is None:
            path = Path(hf_hub_download(MOCO_REPOSITORY, MOCO_FILE, revision=MOCO_REVISION))
            if file_hash(path)[:8] not in MOCO_FILE:
                raise ValueError(f"the SHA-256 of {path} is not that in its name: delete it")
            _fill(network, path)
        elif self.local is not None:
            _fill(network, self.local)
        return network, _stack_patches, network.num_features


def _fill(network: nn.Module, path: Path | str) -> None:
    """Load weights into a network of timm, all of them but a classifier's."""
    from timm.models import load_state_dict

    state = load_state_dict(str(path), weights_only=True)
    network.load_state_dict({k: t for k, t in state.items() if not k.startswith("head.")})


def _stack_patches(patches: list[Any]) -> Tensor:
    """Return (B, 13, 224, 224) of patches."""
    return torch.stack([thirteen_bands(np.asarray(patch)) for patch in patches])


def thirteen_bands(patch: np.ndarray) -> Tensor:
    """Return what the network takes for a patch (12, H, W): reflectances (13, 224, 224), float32.

    Examples
    --------
    >>> thirteen_bands(np.full((12, 256, 256), 5000, dtype=np.uint16))[8:12, 0, 0]
    tensor([0.5000, 0.5000, 0.0000, 0.5000])
    """
    bands = torch.from_numpy(patch.astype(np.float32) / REFLECTANCE)
    bands = torch.cat([bands[:BEFORE_B10], torch.zeros_like(bands[:1]), bands[BEFORE_B10:]])
    shorter = min(bands.shape[1:])
    if shorter != RESIZED:
        size = [round(side * RESIZED / shorter) for side in bands.shape[1:]]
        bands = nn.functional.interpolate(bands[None], size, mode="bilinear", align_corners=True)[0]
    top, left = ((side - CROPPED) // 2 for side in bands.shape[1:])
    return bands[:, top : top + CROPPED, left : left + CROPPED]


@dataclass(frozen=True)
class DinoImages(_RgbTower):
    """A vision transformer for RGB images, trained by DINO on ImageNet, by timm: 384 features.

    Takes images as :class:`ClipImages` does; timm knows how they are resized and normalised.

    Caron et al. (2021), https://arxiv.org/abs/2104.14294. Parameters as in
    :class:`~earthtie_lite.paper.towers.Tower`.

    Examples
    --------
    >>> DinoImages().spec["model"]
    'vit_small_patch16_224.dino'
    """

    model: str = "vit_small_patch16_224.dino"

    def _load(self) -> Loaded:
        import timm

        published = self.weights is None
        network: Any = timm.create_model(self.model, pretrained=published, num_classes=0)
        if self.local is not None:
            _fill(network, self.local)
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
        return network, functools.partial(_stack_rgb, transform), network.num_features


@dataclass(frozen=True)
class _Clip(Tower):
    model: str = "ViT-B-32"
    pretrained: str = "laion2b_s34b_b79k"

    def _both_towers(self) -> tuple[Any, int]:
        """Return the network and the width of its features."""
        import open_clip

        source = None if self.weights == RANDOM else self.weights or self.pretrained
        published = open_clip.get_pretrained_cfg(self.model, self.pretrained)
        clip = open_clip.create_model(self.model, source, force_preprocess_cfg=published)
        return clip, open_clip.get_model_config(self.model)["embed_dim"]


@dataclass(frozen=True)
class ClipImages(_Clip, _RgbTower):
    """CLIP's encoder of images, by open_clip, before normalisation: 512 features.

    Takes RGB images of any size: PIL's, or arrays (H, W, 3) or (3, H, W) in uint8. They are
    resized, cropped at the centre and normalised as open_clip does for the published weights.

    Radford et al. (2021), https://arxiv.org/abs/2103.00020; the weights are those of Cherti et al.
    (2023), https://arxiv.org/abs/2212.07143.

    Parameters
    ----------
    model, weights, sha256, batch, device
        As in :class:`~earthtie_lite.paper.towers.Tower`. The file holds both encoders of CLIP.
    pretrained : str
        open_clip's name of the published weights, which also says how images are normalised.

    Examples
    --------
    >>> ClipImages().spec["pretrained"]
    'laion2b_s34b_b79k'
    """

    def _load(self) -> Loaded:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        clip, width = self._both_towers()
        transform = image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False)
        return clip.visual, functools.partial(_stack_rgb, transform), width


# -------------------------------------------------------------------------------------- texts


@dataclass(frozen=True)
class ClipTexts(_Clip):
    """CLIP's encoder of texts, by open_clip, before normalisation: 512 features.

    Takes texts, truncated to 77 tokens as in CLIP's training. References and parameters:
    :class:`ClipImages`.

    Examples
    --------
    >>> ClipTexts().spec["model"]
    'ViT-B-32'
    """

    def _load(self) -> Loaded:
        from open_clip import get_tokenizer

        clip, width = self._both_towers()
        clip.visual = None
        return clip, get_tokenizer(self.model), width

    def _encode(self, network: Any, inputs: Tensor) -> Tensor:
        return network.encode_text(inputs)


@dataclass(frozen=True)
class BgeTexts(Tower):
    """BGE's encoder of English texts, by transformers: 384 features of unit length.

    Takes texts, truncated to 512 tokens. The features are those of the first token, [CLS]. No
    instruction is put before a text.

    Xiao et al. (2024), https://doi.org/10.1145/3626772.3657878. Parameters as in
    :class:`~earthtie_lite.paper.towers.Tower`, except that local ``weights`` are a folder as
    transformers writes it (config.json, model.safetensors and the tokenizer's files) and cannot be
    random: without them there is no vocabulary.

    Examples
    --------
    >>> BgeTexts().spec["model"]
    'BAAI/bge-small-en-v1.5'
    """

    model: str = "BAAI/bge-small-en-v1.5"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights == RANDOM:
            raise ValueError("BGE cannot be random: its vocabulary comes with the weights")

    def _load(self) -> Loaded:
        from transformers import AutoModel, AutoTokenizer

        source = self.weights or self.model
        network, report = AutoModel.from_pretrained(
            source, use_safetensors=True, output_loading_info=True
        )
        missing = [k for k in report["missing_keys"] if not k.startswith("pooler.")]
        if missing:
            raise ValueError(f"arrays are missing: {sorted(missing)[:3]}")
        settings = {"padding": True, "truncation": True, "max_length": BGE_TOKENS}
        tokenizer: Any = AutoTokenizer.from_pretrained(source)
        prepare = functools.partial(tokenizer, return_tensors="pt", **settings)
        return network, prepare, network.config.hidden_size

    def _encode(self, network: Any, inputs: Any) -> Tensor:
        first = network(**inputs).last_hidden_state[:, 0]
        return nn.functional.normalize(first, dim=1)
