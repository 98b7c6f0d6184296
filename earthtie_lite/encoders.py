"""Location encoders: a fixed encoding of the place, a network on top, and a skip around it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .coords import Array, as_lonlat, sample_sphere, stream
from .encodings import ENCODINGS, Encoding, Sphere2Vec, SphericalHarmonics
from .features import Features
from .files import HubModel
from .networks import NETWORKS, Network, SirenLayer as SirenLayer
from .places import lonlat_of

EMBED_BATCH = 8192  # places embedded at a time: bounds memory, not results


class LocationEncoder(nn.Module):
    """Map places to vectors: a fixed encoding, then a network, and optionally a skip around it.

    To tell thousands of places apart, a contrastive loss rewards fine detail, and training makes
    the embedding lose smooth, large-scale structure. The skip appends spherical harmonics of low
    degree to the trained columns; it is used neither in training nor in the tied space.

    Parameters
    ----------
    encoding : Encoding, optional
        By default the recommended encoder is built: ``Sphere2Vec()``, a residual network and a skip
        of ten degrees. With an encoding of your own, ``network`` and ``skip`` are by default those
        of the MELT paper: sine layers and no skip.
    width, depth : int
        Units of a hidden layer, and number of hidden layers, or of residual blocks; of Voronoi
        cells ``width`` is the number, and ``depth`` is not used.
    out_dim : int
        Width of the embedding. Of its columns ``skip ** 2`` belong to the skip and the others are
        trained, so encoders with and without a skip are compared at equal width.
    dropout : float
        Probability of dropping a hidden unit, in [0, 1); Voronoi cells have none.
    skip : int, optional
        Number of degrees of the skip; 0 for no skip.
    omega : float
        Frequency of the sine layers, used by "siren" alone. The SIREN paper uses 30 for raw
        coordinates; spherical harmonics have high frequencies already, so the default is lower.
    network : {"siren", "residual", "voronoi"}, optional
        Sine layers, a residual network, or Voronoi cells, which need the encoding ``UnitVectors``:
        :mod:`earthtie_lite.networks`.

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
        skip: int | None = None,
        omega: float = 10.0,
        network: Network | None = None,
    ) -> None:
        super().__init__()
        network = ("residual" if encoding is None else "siren") if network is None else network
        skip = (10 if encoding is None else 0) if skip is None else skip
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
        self.encoding = Sphere2Vec() if encoding is None else encoding
        if type(self.encoding) not in ENCODINGS.values():
            raise ValueError(f"unknown encoding {encoding!r}: expected one of {sorted(ENCODINGS)}")
        if network not in NETWORKS:
            raise ValueError(f"unknown network {network!r}: expected one of {sorted(NETWORKS)}")
        self.width, self.depth, self.out_dim, self.network = width, depth, out_dim, network
        self.dropout, self.skip, self.omega = float(dropout), skip, float(omega)
        self.tied_dim = out_dim - skip**2  # columns that are trained and compared
        # Registered under its kind, which the names of its weights begin with.
        build, hidden = NETWORKS[network], (width, depth, self.tied_dim)
        self.add_module(network, build(self.encoding.out_dim, *hidden, self.dropout, self.omega))
        # Also calibrated here, so that an untrained encoder with a skip can embed.
        self.register_buffer("rms", torch.ones(()))  # root mean square of the trained columns
        self.calibrate(self.basis(sample_sphere(1000, np.random.default_rng(0))))

    @property
    def trunk(self) -> nn.Module:
        """The network between the encoding and the trained columns."""
        return self.get_submodule(self.network)

    def basis(self, lonlat: ArrayLike) -> Tensor:
        """Return the fixed encoding (N, encoding.out_dim), float32; compute it once and keep it."""
        places = as_lonlat(lonlat)
        basis = np.empty((len(places), self.encoding.out_dim), dtype=np.float32)
        for start in range(0, len(places), EMBED_BATCH):  # limits the memory that float64 takes
            rows = slice(start, start + EMBED_BATCH)
            basis[rows] = self.encoding(places[rows])
        return torch.from_numpy(basis)

    def forward(self, basis: Tensor) -> Tensor:
        """Map a basis (B, encoding.out_dim) to the tied columns (B, tied_dim), not normalised."""
        return self.trunk(basis)

    @torch.no_grad()
    def calibrate(self, basis: Tensor) -> None:
        """Measure the root mean square of the trained columns, which sets the size of the skip."""
        was_training = self.training
        self.eval()
        self.rms.copy_(self.trunk(basis).square().mean().sqrt())
        self.train(was_training)

    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the embedding (N, out_dim), float32, not normalised, in bounded memory.

        Without a skip these are the trained columns. With a skip, the trained columns come first,
        divided by their root mean square, then the harmonics, scaled to the same size.
        """
        return self.embed_with(as_lonlat(lonlat), self.columns)

    @torch.no_grad()
    def columns(self, basis: Tensor) -> Features:
        """Return the trained columns of the embedding (B, tied_dim) from the fixed encoding."""
        was_training = self.training
        self.eval()
        trained = self(basis.to(self.rms)).cpu()
        self.train(was_training)
        return (trained / self.rms.cpu() if self.out_dim > self.tied_dim else trained).numpy()

    def embed_with(self, places: Array, columns: Callable[[Tensor], Features]) -> Features:
        """Embed places (N, 2) in batches, with trained columns computed from their encoding."""
        z = np.empty((len(places), self.out_dim), dtype=np.float32)
        for start in range(0, len(places), EMBED_BATCH):
            rows = slice(start, start + EMBED_BATCH)
            z[rows, : self.tied_dim] = columns(self.basis(places[rows]))
            if self.out_dim > self.tied_dim:  # a skip that is not tied
                # sqrt(4 pi) gives a harmonic a root mean square of 1 on the sphere.
                harmonics = SphericalHarmonics(self.skip)(places[rows]) * math.sqrt(4 * math.pi)
                z[rows, self.tied_dim :] = harmonics
        return z

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        names = ("width", "depth", "out_dim", "dropout", "skip", "omega", "network")
        encoding = {"class": type(self.encoding).__name__, **asdict(self.encoding)}
        settings = {name: getattr(self, name) for name in names}
        return {"class": type(self).__name__, "encoding": encoding, **settings}

    @staticmethod
    def from_spec(spec: dict[str, Any]) -> "LocationEncoder":
        """Rebuild an encoder, with fresh weights, from its settings."""
        settings = dict(spec)
        name = settings.pop("class", "LocationEncoder")
        if settings.pop("tie_skip", False):  # a setting of version 0.1
            name = "TiedSkip"
        if name not in ENCODERS:
            raise ValueError(
                f"unknown encoder {name!r}: expected one of {sorted(ENCODERS)}; import the module "
                "that defines it and adds it to encoders.ENCODERS, such as results.variants"
            )
        encoding = dict(settings.pop("encoding"))
        kind = encoding.pop("class", None)
        if kind not in ENCODINGS:
            raise ValueError(f"unknown encoding {kind!r}: expected one of {sorted(ENCODINGS)}")
        return ENCODERS[name](ENCODINGS[kind](**encoding), **settings)


ENCODERS: dict[str, type[LocationEncoder]] = {"LocationEncoder": LocationEncoder}


class JoinedEncoders(nn.Module, HubModel):
    """Encoders of one architecture, joined and reduced by principal components.

    The trained columns of each encoder are scaled to unit variance. The components are rotated at
    random, because a probe that standardises columns would otherwise scale the last component up
    to the size of the first. The skip is the same in all encoders and is kept once.

    Parameters
    ----------
    encoders : sequence of LocationEncoder
        With equal settings.

    Attributes
    ----------
    sizes : Tensor, shape (K,)
        Standard deviation of each encoder's trained columns.
    mean : Tensor, shape (K * tied_dim,)
        Mean of the joined columns over the places of :meth:`fit`.
    turned : Tensor, shape (K * tied_dim, tied_dim)
        The rotated components.
    """

    sizes: Tensor
    mean: Tensor
    turned: Tensor

    def __init__(self, encoders: Sequence[LocationEncoder]) -> None:
        super().__init__()
        specs = [encoder.spec for encoder in encoders]
        if not specs or any(spec != specs[0] for spec in specs):
            raise ValueError(f"encoders to join must have equal settings, got {specs}")
        self.encoders = nn.ModuleList(encoders)
        self.out_dim, self.tied_dim = encoders[0].out_dim, encoders[0].tied_dim
        joined = len(encoders) * self.tied_dim
        self.register_buffer("sizes", torch.ones(len(encoders)))
        self.register_buffer("mean", torch.zeros(joined))
        self.register_buffer("turned", torch.zeros(joined, self.tied_dim))

    @classmethod
    def fit(cls, encoders: Sequence[LocationEncoder], lonlat: ArrayLike, seed: int = 0) -> Self:
        """Join encoders; sizes and components are measured at places without labels.

        Parameters
        ----------
        encoders : sequence of LocationEncoder
        lonlat : array, shape (N, 2), degrees
            At least as many places as an encoder has trained columns.
        seed : int
            Seed of the rotation.
        """
        from scipy.stats import ortho_group
        from sklearn.decomposition import PCA

        model = cls(encoders)
        width = model.tied_dim
        columns = [encoder.embed(lonlat)[:, :width] for encoder in encoders]
        sizes = np.array([z.std() for z in columns])
        pca = PCA(width, svd_solver="covariance_eigh")
        pca.fit(np.concatenate([z / size for z, size in zip(columns, sizes)], axis=1))
        rotation = ortho_group.rvs(width, random_state=stream("turn of an ensemble", seed))
        found = {"sizes": sizes, "mean": pca.mean_, "turned": pca.components_.T @ rotation}
        for name, array in found.items():
            getattr(model, name).copy_(torch.from_numpy(array))
        return model

    @property
    def members(self) -> list[LocationEncoder]:
        """The encoders that are joined."""
        return list(self.encoders)  # type: ignore[arg-type]

    def embed(self, lonlat: Any) -> Features:
        """Return the location embedding (N, out_dim), float32, as a model does."""
        if hasattr(lonlat, "map_blocks"):  # dask or xarray
            from .interfaces.lazy import embed_lazy

            return embed_lazy(self, lonlat)
        return self.embed_places(lonlat_of(lonlat))

    def embed_places(self, places: Array) -> Features:
        """Embed places (N, 2) that have been checked."""
        return self.members[0].embed_with(places, self._reduce)

    def _reduce(self, basis: Tensor) -> Features:
        """Return the reduced columns (B, tied_dim) from the encoding that all encoders share."""
        reduced: Any = 0.0
        for k, encoder in enumerate(self.members):
            rows = slice(k * self.tied_dim, (k + 1) * self.tied_dim)
            scaled = encoder.columns(basis) / self.sizes[k].item()
            turned = self.turned[rows].cpu().numpy()
            reduced = reduced + (scaled - self.mean[rows].cpu().numpy()) @ turned
        return reduced

    def embed_modality(self, name: str, raw: Any) -> Features:
        """Raise a ValueError: joined encoders have no heads and no tied space."""
        raise ValueError("joined encoders embed places only: choose a single model, such as melt")

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        return {"encoder": self.members[0].spec, "encoders": len(self.encoders)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of all encoders, the sizes and the components."""
        return self.state_dict()

    @classmethod
    def from_parts(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Build a model from its settings and weights."""
        try:
            encoders = [LocationEncoder.from_spec(spec["encoder"]) for _ in range(spec["encoders"])]
            model = cls(encoders)
            model.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"the weights do not fit the settings: {error}") from error
        return model.eval()
