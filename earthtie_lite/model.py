"""The model that ties modalities to places: one location encoder and one head per modality."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import normalize

from . import columns  # noqa: F401  (registers the featurisers of saved tables)
from .coords import Array
from .encoders import LocationEncoder
from .features import Features, Featuriser, from_spec
from .files import HubModel, under
from .losses import MAX_LOGIT_SCALE
from .places import lonlat_of


class Projection(nn.Module):
    """The trainable head of one modality: standardise frozen features, project, normalise."""

    mean: Tensor
    std: Tensor

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("std", torch.ones(in_dim))
        self.linear = nn.Linear(in_dim, out_dim)

    @torch.no_grad()
    def fit_statistics(self, features: Tensor) -> None:
        """Set mean and standard deviation to those of the training features (N, D)."""
        self.mean.copy_(features.mean(dim=0))
        std = features.std(dim=0, correction=0)
        constant = std <= 1e-6 * features.abs().amax(dim=0)  # relative: units may be small
        self.std.copy_(torch.where(constant, 1.0, std))

    def standardise(self, features: Tensor) -> Tensor:
        """Scale frozen features (B, D) by the mean and deviation of the training features."""
        return (features - self.mean) / self.std

    def forward(self, features: Tensor) -> Tensor:
        """Map frozen features (B, D) to unit vectors (B, tied_dim)."""
        return normalize(self.linear(self.standardise(features)), dim=1)


class EarthTie(nn.Module, HubModel):  # HubModel only saves and loads
    """One location encoder and one projection per modality, in one tied space.

    Parameters
    ----------
    encoder : LocationEncoder
        Copied, so the encoder passed in stays unchanged.
    in_dims : mapping of str to int
        Name of each modality and the width of its frozen features.
    featurisers : mapping of str to Featuriser, optional
        The frozen encoders, for :meth:`embed_modality`.
    """

    def __init__(
        self,
        encoder: LocationEncoder,
        in_dims: Mapping[str, int],
        featurisers: Mapping[str, Featuriser] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.projections = nn.ModuleDict(
            # The prefix is needed because a ModuleDict rejects names such as "values" or "type".
            {f"of_{name}": Projection(dim, encoder.tied_dim) for name, dim in in_dims.items()}
        )
        self.featurisers = dict(featurisers or {})
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's first value

    # ------------------------------------------------------------------------ in training

    def locate(self, basis: Tensor) -> Tensor:
        """Map a basis (B, encoding.out_dim) to unit vectors (B, tied_dim) of the tied space."""
        return normalize(self.encoder(basis), dim=1)

    def observe(self, name: str, features: Tensor) -> Tensor:
        """Map a modality's frozen features (B, D) to unit vectors (B, tied_dim)."""
        return self.head(name)(features)

    def head(self, name: str) -> Projection:
        """Return the projection of a modality."""
        if f"of_{name}" not in self.projections:
            raise ValueError(f"unknown modality {name!r}: the model has {list(self.in_dims)}")
        head = self.projections[f"of_{name}"]
        assert isinstance(head, Projection)
        return head

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep the scale at 100 or below, as CLIP does after each step of the optimiser."""
        self.logit_scale.clamp_(max=MAX_LOGIT_SCALE)

    # ------------------------------------------------------------------------- after training

    def embed(self, lonlat: Any) -> Features:
        """Return the location embedding (N, out_dim), float32, not normalised.

        Places are whatever :func:`~earthtie_lite.places.lonlat_of` reads: an array (N, 2), or a
        table, whose columns are found by name. Dask arrays and xarray objects give lazy embeddings:
        :func:`~earthtie_lite.interfaces.lazy.embed_lazy`.
        """
        if hasattr(lonlat, "map_blocks"):  # dask or xarray
            from .interfaces.lazy import embed_lazy

            return embed_lazy(self, lonlat)
        return self.embed_places(lonlat_of(lonlat))

    def embed_places(self, places: Array) -> Features:
        """Embed places (N, 2) that have been checked."""
        return self.encoder.embed(places)

    @torch.no_grad()
    def embed_modality(self, name: str, raw: Any) -> Features:
        """Embed raw input of a modality in the tied space.

        Parameters
        ----------
        name : str
        raw : sequence of str, images (N, C, H, W), a data frame or numbers (N, D)
            What the modality's featuriser takes; features (N, D) if it has none.

        Returns
        -------
        array, shape (N, tied_dim), float32, unit length
        """
        head = self.head(name)
        featuriser = self.featurisers.get(name)
        features = np.asarray(raw if featuriser is None else featuriser(raw), dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != len(head.mean):
            raise ValueError(
                f"modality {name!r} has features (N, {len(head.mean)}), got {features.shape}"
            )
        if not np.isfinite(features).all():
            raise ValueError(f"features of modality {name!r} must be finite")
        return head(torch.from_numpy(features).to(self.logit_scale)).float().cpu().numpy()

    @torch.no_grad()
    def similarity(self, lonlat: ArrayLike, tied: ArrayLike) -> Features:
        """Compare places with embedded observations by the cosine in the tied space.

        Parameters
        ----------
        lonlat : array, shape (N, 2), degrees
        tied : array, shape (M, tied_dim)
            From :meth:`embed_modality`.

        Returns
        -------
        array, shape (N, M), float32, in [-1, 1]
        """
        vectors = np.atleast_2d(np.asarray(tied, dtype=np.float32))
        if vectors.ndim != 2 or vectors.shape[1] != self.encoder.tied_dim:
            raise ValueError(
                f"expected vectors (M, {self.encoder.tied_dim}) of the tied space, "
                f"got {vectors.shape}"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise ValueError("vectors of the tied space must be finite and not zero")
        z = self.encoder.embed(lonlat)[:, : self.encoder.tied_dim]
        z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
        return z @ (vectors / lengths).T

    # --------------------------------------------------------------------------- on disk

    @property
    def in_dims(self) -> dict[str, int]:
        """Name of each modality and the width of its frozen features."""
        names = (key.removeprefix("of_") for key in self.projections)
        return {name: self.head(name).linear.in_features for name in names}

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        return {
            "encoder": self.encoder.spec,
            "in_dims": self.in_dims,
            "featurisers": {name: f.spec for name, f in self.featurisers.items()},
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights, and the arrays of the featurisers."""
        tensors = {f"model.{key}": tensor for key, tensor in self.state_dict().items()}
        for name, featuriser in self.featurisers.items():
            for key, array in featuriser.state.items():
                array = np.ascontiguousarray(array)
                tensors[f"featuriser.{name}.{key}"] = torch.from_numpy(array)
        return tensors

    @classmethod
    def from_parts(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Build a model from its :attr:`spec` and :meth:`tensors`.

        Raises
        ------
        ValueError
            If they do not fit together, or an experimental setting of version 0.1 was used.
        """
        if spec.get("scales", "shared") != "shared":
            raise ValueError(
                "the model was trained with scales='own', an experimental setting that this "
                "version cannot load: use earthtie-lite 0.1"
            )
        try:
            featurisers = {}
            for name, settings in spec["featurisers"].items():
                arrays = under(f"featuriser.{name}.", tensors)
                featurisers[name] = from_spec(settings, {k: t.numpy() for k, t in arrays.items()})
            model = cls(LocationEncoder.from_spec(spec["encoder"]), spec["in_dims"], featurisers)
            weights = under("model.", tensors)
            model.to(weights["encoder.rms"].dtype).load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise ValueError(f"the weights do not fit the model: {error!r}") from error
        return model.eval()
