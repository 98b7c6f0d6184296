"""Frozen encoders that others have trained: CLIP, MoCo, DINO and BGE."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..features import as_texts
from .frozen import RANDOM, Tower, digest, library

if TYPE_CHECKING:
    from PIL.Image import Image

MOCO_REPOSITORY = "torchgeo/vit_small_patch16_224_sentinel2_all_moco"
MOCO_REVISION = "1cb683f6c14739634cdfaaceb076529adf898c74"
MOCO_FILE = "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth"
MOCO_SHA256 = "67c9032d"  # its beginning, as the file's name has it
RESIZED, CROPPED = 256, 224  # pixels of a Sentinel-2 patch before and after the central crop
REFLECTANCE = 10_000  # what Sentinel-2 stores for a reflectance of 1
BEFORE_B10 = 10  # bands B1 to B9, B8A among them
BGE_TOKENS = 512


def _as_list(raw: Any) -> list[Any]:
    """Return images as a list of at least one."""
    try:
        images = list(raw)
    except TypeError:
        raise ValueError(f"expected a sequence of images, got one {type(raw).__name__}") from None
    if not images:
        raise ValueError("expected at least one image, got none")
    return images


class _RgbTower(Tower):
    """An encoder of RGB images of any size."""

    transform: Any  # what makes (3, H, W) of an image of PIL

    def _check(self, raw: Any) -> list[Any]:
        images = _as_list(raw)
        for row, image in enumerate(images):
            if hasattr(image, "convert"):
                continue
            array = np.asarray(image)
            channels = array.ndim == 3 and [array.shape[0], array.shape[2]].count(3)
            if channels != 1 or array.dtype != np.uint8 or 0 in array.shape:
                raise ValueError(
                    "expected RGB images, PIL's or arrays (H, W, 3) or (3, H, W) in uint8, got "
                    f"{array.shape} in {array.dtype} in row {row}; put a single image in a list"
                )
        return images

    def _prepare(self, items: list[Any]) -> Tensor:
        return torch.stack([self.transform(_as_pil(image)) for image in items])


def _as_pil(image: Any) -> "Image":
    """Return an image, checked before, as an RGB image of PIL."""
    from PIL import Image

    if hasattr(image, "convert"):
        return image.convert("RGB")
    array = np.asarray(image)
    channels_last = array if array.shape[2] == 3 else array.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(channels_last))


@dataclass(frozen=True)
class _Clip(Tower):
    model: str = "ViT-B-32"
    pretrained: str = "laion2b_s34b_b79k"

    @property
    def out_dim(self) -> int:
        """Width of the features."""
        return library("open_clip").get_model_config(self.model)["embed_dim"]

    def _both_towers(self) -> Any:
        open_clip = library("open_clip")
        source = None if self.weights == RANDOM else self.weights or self.pretrained
        published = open_clip.get_pretrained_cfg(self.model, self.pretrained)
        return open_clip.create_model(self.model, source, force_preprocess_cfg=published)


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
        As in :class:`~earthtie_lite.paper.frozen.Tower`. The file holds both encoders of CLIP.
    pretrained : str
        open_clip's name of the published weights, which also says how images are normalised.

    Examples
    --------
    >>> ClipImages().spec["pretrained"]
    'laion2b_s34b_b79k'
    """

    def _load(self) -> nn.Module:
        return self._both_towers().visual

    @functools.cached_property
    def transform(self) -> Any:
        """What makes (3, H, W) of an image."""
        open_clip = library("open_clip.transform")
        settings: Any = self.network.preprocess_cfg
        return open_clip.image_transform_v2(open_clip.PreprocessCfg(**settings), is_train=False)


@dataclass(frozen=True)
class ClipTexts(_Clip):
    """CLIP's encoder of texts, by open_clip, before normalisation: 512 features.

    Takes texts; what is longer than 77 tokens is cut there, as in CLIP's training. References and
    parameters: :class:`ClipImages`.

    Examples
    --------
    >>> ClipTexts().spec["model"]
    'ViT-B-32'
    """

    def _load(self) -> nn.Module:
        clip = self._both_towers()
        clip.visual = None
        return clip

    @functools.cached_property
    def tokenizer(self) -> Any:
        """What makes tokens (B, 77) of texts."""
        return library("open_clip").get_tokenizer(self.model)

    def _check(self, raw: Any) -> list[Any]:
        return as_texts(raw)

    def _prepare(self, items: list[Any]) -> Tensor:
        return self.tokenizer(items)

    def _encode(self, network: Any, inputs: Tensor) -> Tensor:
        return network.encode_text(inputs)


class _TimmTower(Tower):
    """A vision transformer of timm without its head."""

    @property
    def out_dim(self) -> int:
        """Width of the features; loads the network."""
        return int(self.network.num_features)  # type: ignore[arg-type]


def _fill(network: nn.Module, path: str | Path) -> None:
    """Load weights into a network of timm, all of them but a classifier's."""
    state = library("timm.models").load_state_dict(str(path), weights_only=True)
    network.load_state_dict({k: t for k, t in state.items() if not k.startswith("head.")})


@dataclass(frozen=True)
class MocoSentinel2(_TimmTower):
    """A vision transformer for Sentinel-2, trained by MoCo on SSL4EO-S12: 384 features.

    Takes patches (N, 12, H, W) in uint16, reflectance times 10,000, in the order of S2-100K: B1 to
    B8, B8A, B9, B11, B12. The network has 13 bands: zeros stand for the missing B10, between B9 and
    B11, as in SatCLIP. As in torchgeo the shorter side is resized to 256 pixels, bilinearly, and
    the centre of 224 x 224 is taken; a patch of S2-100K has 256 already.

    Wang et al. (2023), https://doi.org/10.1109/MGRS.2023.3281651; Klemmer et al. (2025),
    https://doi.org/10.1609/aaai.v39i4.32457. Parameters as in
    :class:`~earthtie_lite.paper.frozen.Tower`; the published weights, 91 MB, are those of torchgeo,
    of one revision, checked by hash.

    Examples
    --------
    >>> MocoSentinel2().spec["model"]
    'vit_small_patch16_224'
    """

    model: str = "vit_small_patch16_224"

    def _load(self) -> nn.Module:
        network = library("timm").create_model(self.model, in_chans=13, num_classes=0)
        if self.weights != RANDOM:
            _fill(network, self.weights or _published_moco())
        return network

    def _check(self, raw: Any) -> list[Any]:
        patches = [np.asarray(patch) for patch in _as_list(raw)]
        for row, patch in enumerate(patches):
            if patch.ndim != 3 or len(patch) != 12 or patch.dtype != np.uint16 or 0 in patch.shape:
                raise ValueError(
                    "expected Sentinel-2 patches (12, H, W) in uint16, without B10, got "
                    f"{patch.shape} in {patch.dtype} in row {row}"
                )
        return patches

    def _prepare(self, items: list[Any]) -> Tensor:
        return torch.stack([thirteen_bands(patch) for patch in items])


def _published_moco() -> Path:
    """Download the weights, or find them where they were kept."""
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(MOCO_REPOSITORY, MOCO_FILE, revision=MOCO_REVISION))
    if not digest(path).startswith(MOCO_SHA256):
        raise ValueError(f"the SHA-256 of {path} does not begin with {MOCO_SHA256}: delete it")
    return path


def thirteen_bands(patch: NDArray[np.uint16]) -> Tensor:
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
class DinoImages(_TimmTower, _RgbTower):
    """A vision transformer for RGB images, trained by DINO on ImageNet, by timm: 384 features.

    Takes images as :class:`ClipImages` does; timm knows how they are resized and normalised.

    Caron et al. (2021), https://arxiv.org/abs/2104.14294. Parameters as in
    :class:`~earthtie_lite.paper.frozen.Tower`.

    Examples
    --------
    >>> DinoImages().spec["model"]
    'vit_small_patch16_224.dino'
    """

    model: str = "vit_small_patch16_224.dino"

    def _load(self) -> nn.Module:
        published = self.weights is None
        network = library("timm").create_model(self.model, pretrained=published, num_classes=0)
        if self.local is not None:
            _fill(network, self.local)
        return network

    @functools.cached_property
    def transform(self) -> Any:
        """What makes (3, H, W) of an image."""
        data = library("timm.data")
        return data.create_transform(**data.resolve_model_data_config(self.network))


@dataclass(frozen=True)
class BgeTexts(Tower):
    """BGE's encoder of English texts, by transformers: 384 features of unit length.

    Takes texts; what is longer than 512 tokens is cut there. The features are those of the first
    token, [CLS]. No instruction is put before a text.

    Xiao et al. (2024), https://doi.org/10.1145/3626772.3657878. Parameters as in
    :class:`~earthtie_lite.paper.frozen.Tower`, except that local ``weights`` are a folder as
    transformers writes it (config.json, model.safetensors and the tokenizer's files) and cannot be
    random: without them there is no vocabulary.

    Examples
    --------
    >>> BgeTexts().spec["model"]
    'BAAI/bge-small-en-v1.5'
    """

    takes_folder: ClassVar[bool] = True

    model: str = "BAAI/bge-small-en-v1.5"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights == RANDOM:
            raise ValueError("BGE cannot be random: its vocabulary comes with the weights")

    @property
    def out_dim(self) -> int:
        """Width of the features; loads the network."""
        return int(self.network.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def _load(self) -> nn.Module:
        network, report = library("transformers").AutoModel.from_pretrained(
            self.weights or self.model, use_safetensors=True, output_loading_info=True
        )
        absent = [k for k in report["missing_keys"] if not k.startswith("pooler.")]
        if absent or report["mismatched_keys"]:
            raise ValueError(f"arrays are missing: {sorted(absent)[:3]}")
        return network

    @functools.cached_property
    def tokenizer(self) -> Any:
        """What makes tokens of texts."""
        return library("transformers").AutoTokenizer.from_pretrained(self.weights or self.model)

    def _check(self, raw: Any) -> list[Any]:
        return as_texts(raw)

    def _prepare(self, items: list[Any]) -> Any:
        return self.tokenizer(
            items, padding=True, truncation=True, max_length=BGE_TOKENS, return_tensors="pt"
        )

    def _encode(self, network: nn.Module, inputs: Any) -> Tensor:
        first = network(**inputs).last_hidden_state[:, 0]
        return nn.functional.normalize(first, dim=1)


TOWERS: dict[str, type[Tower]] = {
    tower.__name__: tower for tower in (ClipImages, ClipTexts, MocoSentinel2, DinoImages, BgeTexts)
}
