"""The location encoder, and the model that ties modalities to it."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import normalize

from . import encodings
from .coords import as_lonlat, sample_sphere
from .encodings import Encoding, SphericalHarmonics
from .features import Features, Featuriser
from .losses import MAX_LOGIT_SCALE

EMBED_BATCH = 8192  # places embedded at a time: bounds memory, not results


class SirenLayer(nn.Module):
    """One layer of a SIREN, sin(omega (W x + b)), with its documented initialisation.

    Weights are uniform in +-1/n for the first layer and in +-sqrt(6/n)/omega after it, n the
    width of the input: Sitzmann et al. (2020), https://arxiv.org/abs/2006.09661, section 3.2.
    """

    def __init__(self, in_dim: int, out_dim: int, omega: float, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.omega = omega
        bound = 1 / in_dim if first else math.sqrt(6 / in_dim) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_dim) to (B, out_dim)."""
        return torch.sin(self.omega * self.linear(x))


class LocationEncoder(nn.Module):
    """Map places to vectors: a fixed encoding, then a SIREN, and optionally a skip around it.

    Training makes an embedding forget smooth, large-scale structure, as it is sharp detail that
    tells thousands of places apart. The skip joins harmonics of low degree to the trained part;
    they take part neither in training nor in the tied space.

    Parameters
    ----------
    encoding : Encoding
        By default ``SphericalHarmonics(10)``.
    width, depth : int
        Units of a hidden layer, and how many of them.
    out_dim : int
        Width of the embedding. Of it ``skip ** 2`` columns are the skip's, the others are trained,
        so embeddings with and without a skip are compared at equal width.
    dropout : float
        Probability of dropping a hidden unit, in [0, 1).
    skip : int
        Number of degrees of the skip; 0 for none.
    omega : float
        Frequency of the sine layers; 30 in the paper of SIREN for raw coordinates. Spherical
        harmonics are frequencies already, so the default is lower.

    Examples
    --------
    >>> encoder = LocationEncoder(SphericalHarmonics(5), width=16, out_dim=8)
    >>> encoder.embed([[13.4, 52.5]]).shape
    (1, 8)
    """

    rms: Tensor

    def __init__(
        self,
        encoding: Encoding | None = None,
        width: int = 256,
        depth: int = 2,
        out_dim: int = 256,
        dropout: float = 0.2,
        skip: int = 0,
        omega: float = 10.0,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("depth", depth), ("out_dim", out_dim)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        if not (math.isfinite(omega) and omega > 0):
            raise ValueError(f"omega must be positive, got {omega}")
        if not isinstance(skip, int) or skip < 0 or skip**2 >= out_dim:
            raise ValueError(
                f"skip must be an integer with 0 <= skip ** 2 < out_dim = {out_dim}, got {skip!r}"
            )
        self.encoding = SphericalHarmonics(10) if encoding is None else encoding
        if type(self.encoding) not in encodings.ENCODINGS.values():
            raise ValueError(f"unknown encoding {encoding!r}: {sorted(encodings.ENCODINGS)}")
        self.width, self.depth, self.out_dim = width, depth, out_dim
        self.dropout, self.skip, self.omega = float(dropout), skip, float(omega)
        self.tied_dim = out_dim - skip**2
        layers: list[nn.Module] = []
        in_dim = self.encoding.out_dim
        for layer in range(depth):
            layers += [SirenLayer(in_dim, width, self.omega, first=layer == 0), nn.Dropout(dropout)]
            in_dim = width
        last = nn.Linear(in_dim, self.tied_dim)
        bound = math.sqrt(6 / in_dim) / self.omega
        nn.init.uniform_(last.weight, -bound, bound)
        self.siren = nn.Sequential(*layers, last)
        self.register_buffer("rms", torch.ones(()))
        self.calibrate(self.basis(sample_sphere(1000, np.random.default_rng(0))))

    def basis(self, lonlat: ArrayLike) -> Tensor:
        """Return the fixed encoding (N, encoding.out_dim), float32; compute it once, keep it."""
        places = as_lonlat(lonlat)
        basis = np.empty((len(places), self.encoding.out_dim), dtype=np.float32)
        for start in range(0, len(places), EMBED_BATCH):  # float64 a slice at a time only
            part = slice(start, start + EMBED_BATCH)
            basis[part] = self.encoding(places[part])
        return torch.from_numpy(basis)

    def forward(self, basis: Tensor) -> Tensor:
        """Map a basis (B, encoding.out_dim) to the trained part (B, tied_dim), not normalised."""
        return self.siren(basis)

    @torch.no_grad()
    def calibrate(self, basis: Tensor) -> None:
        """Measure the root mean square of the trained part, by which the skip is scaled."""
        was_training = self.training
        self.eval()
        self.rms.copy_(self(basis).square().mean().sqrt())
        self.train(was_training)

    @torch.no_grad()
    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the embedding (N, out_dim), float32, before normalisation, in bounded memory.

        Without a skip this is the trained part. With one, the trained part comes first, divided by
        its root mean square, then the harmonics, scaled to the same size.
        """
        places = as_lonlat(lonlat)
        device = self.rms.device
        was_training = self.training
        self.eval()
        z = np.empty((len(places), self.out_dim), dtype=np.float32)
        for start in range(0, len(places), EMBED_BATCH):
            part = slice(start, start + EMBED_BATCH)
            trained = self(self.basis(places[part]).to(device)).cpu()
            if self.skip:
                trained = trained / self.rms.cpu()
                harmonics = SphericalHarmonics(self.skip)(places[part]) * math.sqrt(4 * math.pi)
                z[part, self.tied_dim :] = harmonics
            z[part, : self.tied_dim] = trained.numpy()
        self.train(was_training)
        return z

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        names = ("width", "depth", "out_dim", "dropout", "skip", "omega")
        settings = {name: getattr(self, name) for name in names}
        return {"encoding": encodings.to_spec(self.encoding), **settings}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "LocationEncoder":
        """Rebuild an encoder, with fresh weights, from its settings."""
        return cls(**{**spec, "encoding": encodings.from_spec(spec["encoding"])})


class Projection(nn.Module):
    """The trainable head of one modality: standardise its frozen features, project, normalise."""

    mean: Tensor
    std: Tensor

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("std", torch.ones(in_dim))
        self.linear = nn.Linear(in_dim, out_dim)

    @torch.no_grad()
    def fit_statistics(self, features: Tensor) -> None:
        """Take mean and standard deviation from features (N, D) of the training part."""
        self.mean.copy_(features.mean(dim=0))
        std = features.std(dim=0, correction=0)
        constant = std <= 1e-6 * features.abs().amax(dim=0)  # relative: units may be small
        self.std.copy_(torch.where(constant, 1.0, std))

    def forward(self, features: Tensor) -> Tensor:
        """Map frozen features (B, D) to unit vectors (B, tied_dim)."""
        return normalize(self.linear((features - self.mean) / self.std), dim=1)


class EarthTie(nn.Module):
    """One location encoder and one projection a modality, in one tied space.

    Parameters
    ----------
    encoder : LocationEncoder
        Copied; the one passed in stays as it is.
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
            # The prefix: a ModuleDict refuses names such as "values" or "type".
            {f"of_{name}": Projection(dim, encoder.tied_dim) for name, dim in in_dims.items()}
        )
        self.featurisers = dict(featurisers or {})
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # as CLIP starts

    @property
    def in_dims(self) -> dict[str, int]:
        """Name of each modality and the width of its frozen features."""
        names = (key.removeprefix("of_") for key in self.projections)
        return {name: self.head(name).linear.in_features for name in names}

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

    def locate(self, basis: Tensor) -> Tensor:
        """Map a basis (B, encoding.out_dim) to unit vectors (B, tied_dim) of the tied space."""
        return normalize(self.encoder(basis), dim=1)

    def observe(self, name: str, features: Tensor) -> Tensor:
        """Map a modality's frozen features (B, D) to unit vectors (B, tied_dim)."""
        return self.head(name)(features)

    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the location embedding (N, out_dim), float32, before normalisation."""
        return self.encoder.embed(lonlat)

    @torch.no_grad()
    def embed_modality(self, name: str, raw: Any) -> Features:
        """Embed raw input of a modality in the tied space.

        Parameters
        ----------
        name : str
        raw : sequence of str, images (N, C, H, W) in uint8, a data frame or numbers (N, D)
            What the modality's featuriser takes; features (N, D) where it has none.

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
        return head(torch.from_numpy(features).to(self.logit_scale.device)).cpu().numpy()

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
