"""The location encoder: a fixed encoding of the place, a SIREN, and a skip around it."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from . import encodings
from .coords import as_lonlat, sample_sphere
from .encodings import Encoding, SphericalHarmonics
from .features import Features

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
    tie_skip : bool
        Whether the skip takes part in training and in the tied space after all, as an experiment;
        the encoding must then be spherical harmonics of at least as many degrees.
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
    tied_size: Tensor

    def __init__(
        self,
        encoding: Encoding | None = None,
        width: int = 256,
        depth: int = 2,
        out_dim: int = 256,
        dropout: float = 0.2,
        skip: int = 0,
        omega: float = 10.0,
        tie_skip: bool = False,
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
        degrees = getattr(self.encoding, "n_degrees", 0)
        if tie_skip and not 0 < skip <= degrees:
            raise ValueError(
                "tie_skip needs a skip of at least 1 and at most as many degrees as the encoding's "
                f"spherical harmonics have ({degrees}), got {skip}"
            )
        self.dropout, self.skip, self.omega = float(dropout), skip, float(omega)
        self.tie_skip = bool(tie_skip)
        trained_dim = out_dim - skip**2
        self.tied_dim = out_dim if tie_skip else trained_dim
        layers: list[nn.Module] = []
        in_dim = self.encoding.out_dim
        for layer in range(depth):
            layers += [SirenLayer(in_dim, width, self.omega, first=layer == 0), nn.Dropout(dropout)]
            in_dim = width
        last = nn.Linear(in_dim, trained_dim)
        bound = math.sqrt(6 / in_dim) / self.omega
        nn.init.uniform_(last.weight, -bound, bound)
        self.siren = nn.Sequential(*layers, last)
        self.register_buffer("rms", torch.ones(()))  # of the trained part
        if tie_skip:  # the harmonics enter training as large as the trained part starts
            with torch.no_grad():
                start = self.siren(self.basis(sample_sphere(1000, np.random.default_rng(0))))
            self.register_buffer("tied_size", start.square().mean().sqrt())
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
        """Map a basis (B, encoding.out_dim) to the tied part (B, tied_dim), not normalised."""
        z = self.siren(basis)
        if self.tie_skip:  # harmonics of low degree are the first columns of the encoding
            size = self.tied_size * math.sqrt(4 * math.pi)
            z = torch.cat([z, size * basis[:, : self.skip**2]], dim=1)
        return z

    @torch.no_grad()
    def calibrate(self, basis: Tensor) -> None:
        """Measure the root mean square of the trained part, by which the skip is scaled."""
        was_training = self.training
        self.eval()
        self.rms.copy_(self.siren(basis).square().mean().sqrt())
        self.train(was_training)

    @torch.no_grad()
    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the embedding (N, out_dim), float32, before normalisation, in bounded memory.

        Without a skip this is the trained part. With one, the trained part comes first, divided by
        its root mean square, then the harmonics, scaled to the same size.
        """
        places = as_lonlat(lonlat)
        was_training = self.training
        self.eval()
        z = np.empty((len(places), self.out_dim), dtype=np.float32)
        for start in range(0, len(places), EMBED_BATCH):
            part = slice(start, start + EMBED_BATCH)
            trained = self(self.basis(places[part]).to(self.rms)).cpu()
            if self.skip and not self.tie_skip:
                trained = trained / self.rms.cpu()
                harmonics = SphericalHarmonics(self.skip)(places[part]) * math.sqrt(4 * math.pi)
                z[part, self.tied_dim :] = harmonics
            z[part, : self.tied_dim] = trained.numpy()
        self.train(was_training)
        return z

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        names = ("width", "depth", "out_dim", "dropout", "skip", "omega", "tie_skip")
        settings = {name: getattr(self, name) for name in names}
        return {"encoding": encodings.to_spec(self.encoding), **settings}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "LocationEncoder":
        """Rebuild an encoder, with fresh weights, from its settings."""
        return cls(**{**spec, "encoding": encodings.from_spec(spec["encoding"])})
