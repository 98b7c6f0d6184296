"""Fixed encodings of places: without a seam at the date line, continuous at the poles."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import ArrayLike

from .config import check_integer
from .coords import Array, stream, to_lonlat, unit_vectors


@dataclass(frozen=True)
class UnitVectors:
    """Raw coordinates, as x, y, z on the unit sphere: the simplest baseline."""

    out_dim: ClassVar[int] = 3

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, 3)."""
        return unit_vectors(lonlat)


@dataclass(frozen=True)
class SphericalHarmonics:
    r"""Real, orthonormal spherical harmonics of the degrees 0 to L - 1.

    .. math:: \int_{S^2} Y_{l m}\, Y_{l' m'}\, d\Omega = \delta_{l l'} \delta_{m m'}

    without the Condon-Shortley phase. Column l * l + l + m holds degree l and order m. Degree l
    resolves structures of about 20,000 / l km. The values are computed in float64 by sphericart
    (Bigi et al. 2023, https://doi.org/10.1063/5.0156307), which is exact at the poles; in float32
    the same recurrence is inaccurate from L = 20 on.

    Parameters
    ----------
    n_degrees : int
        L, in [1, 100].

    Examples
    --------
    >>> SphericalHarmonics(3).out_dim
    9
    >>> SphericalHarmonics(2)([[0.0, 90.0]]).round(4).tolist()  # the constant, then y, z, x
    [[0.2821, 0.0, 0.4886, 0.0]]
    """

    n_degrees: int = 10

    def __post_init__(self) -> None:
        check_integer("the number of degrees", self.n_degrees, 1, 100)
        object.__setattr__(self, "n_degrees", int(self.n_degrees))

    @property
    def out_dim(self) -> int:
        """Number of harmonics, L * L."""
        return self.n_degrees**2

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, L * L), float64."""
        import sphericart

        return sphericart.SphericalHarmonics(self.n_degrees - 1).compute(unit_vectors(lonlat))


@dataclass(frozen=True)
class FourierFeatures:
    r"""Random Fourier features of several scales: cosines, then sines, of plane waves.

    Rahimi and Recht (2007); Tancik et al. (2020), https://arxiv.org/abs/2006.10739. The scales side
    by side are the idea of GeoCLIP, https://arxiv.org/abs/2309.16020, whose waves run over a map
    and break at the date line. These run through space and are read at the unit vector v:

    .. math:: \cos(\sigma b_i \cdot v), \quad \sin(\sigma b_i \cdot v), \quad b_i \sim N(0, I_3)

    A scale :math:`\sigma` is a wave number, in radians of phase per radian of arc, as the degree of
    a harmonic is. The mean inner product of two places a chord d apart is
    :math:`\exp(-\sigma^2 d^2 / 2)`, a Gaussian as wide as 6,371 / :math:`\sigma` km. Of its power,
    degree l holds about :math:`(2 l + 1) \exp(-l (l + 1) / (2 \sigma^2))`: most near
    :math:`l = \sigma`, and nine tenths from :math:`0.3 \sigma` to :math:`2.4 \sigma`. So the
    default scales reach from degree 0 to about 40.

    Parameters
    ----------
    n : int
        Number of waves of a scale, in [1, 10000].
    scales : sequence of float
        One or more wave numbers, positive.
    seed : int
        Seed of the waves.

    Examples
    --------
    >>> FourierFeatures().out_dim  # 2 n len(scales)
    768
    >>> FourierFeatures(2, [1.0])([[-180.0, 0.0], [180.0, 0.0]]).round(3).tolist()
    [[0.681, -0.967, 0.732, -0.256], [0.681, -0.967, 0.732, -0.256]]
    """

    n: int = 128
    scales: tuple[float, ...] = (1.0, 4.0, 16.0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("the number of waves", self.n, 1, 10_000)
        check_integer("the seed", self.seed, 0)
        object.__setattr__(self, "n", int(self.n))
        object.__setattr__(self, "seed", int(self.seed))
        try:
            scales = np.asarray(self.scales, dtype=np.float64)
        except (TypeError, ValueError):
            scales = np.empty(0)
        if scales.ndim != 1 or not len(scales) or not ((scales > 0) & np.isfinite(scales)).all():
            raise ValueError(f"the scales must be one or more positive numbers, got {self.scales}")
        object.__setattr__(self, "scales", tuple(scales.tolist()))

    @property
    def out_dim(self) -> int:
        """Number of features, 2 n len(scales)."""
        return 2 * self.n * len(self.scales)

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, 2 n len(scales)), float64, in [-1, 1]."""
        waves = stream("Fourier features", self.seed).normal(size=(len(self.scales), self.n, 3))
        waves *= np.array(self.scales)[:, None, None]
        phases = unit_vectors(lonlat) @ waves.reshape(-1, 3).T
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1)


@dataclass(frozen=True)
class Sphere2Vec:
    r"""Sines and cosines of longitude and latitude at doubling frequencies, after Sphere2Vec.

    The encoding sphereM of Mai et al. (2023), https://arxiv.org/abs/2306.17624, with frequencies
    :math:`k = 1, 2, 4, \ldots, 2^{S - 1}`; for longitude :math:`\lambda` and latitude
    :math:`\varphi`, in this order, each for all k:

    .. math::

        \sin k\varphi, \quad
        \cos k\varphi \cos\varphi \cos\lambda, \quad \cos\varphi \cos k\lambda, \quad
        \cos k\varphi \cos\varphi \sin\lambda, \quad \cos\varphi \sin k\lambda

    It departs from the paper in two ways. The frequencies are integers, where the paper divides by
    a geometric series of radii, so there is no seam at the date line. The factor
    :math:`\cos\varphi` of the second and fourth term is added, so every term that depends on
    longitude vanishes at the poles, where the paper's jump. At a pole the terms are continuous; for
    k > 1 they are not smooth there.

    Parameters
    ----------
    n_scales : int
        S, in [1, 20]. The finest waves are 40,000 / 2^(S - 1) km long at the equator, and shorter
        towards the poles.

    Examples
    --------
    >>> Sphere2Vec().out_dim  # 5 S
    30
    >>> Sphere2Vec(2)([[90.0, 0.0]]).round(4).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.0, 1.0, 1.0, 0.0]]
    """

    n_scales: int = 6

    def __post_init__(self) -> None:
        check_integer("the number of scales", self.n_scales, 1, 20)
        object.__setattr__(self, "n_scales", int(self.n_scales))

    @property
    def out_dim(self) -> int:
        """Number of terms, 5 S."""
        return 5 * self.n_scales

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, 5 S), float64, in [-1, 1]."""
        # Back from a unit vector, -180 is +180, and a pole has the longitude 0.
        lon, lat = np.radians(to_lonlat(unit_vectors(lonlat))).T[..., None]
        k, ring = 2.0 ** np.arange(self.n_scales), np.cos(lat)
        east, north = ring * np.cos(k * lon), ring * np.cos(k * lat)
        terms = [np.sin(k * lat), north * np.cos(lon), east]
        return np.concatenate([*terms, north * np.sin(lon), ring * np.sin(k * lon)], axis=1)


# A fixed encoding maps places (N, 2) to vectors (N, out_dim), float64.
Encoding = UnitVectors | SphericalHarmonics | FourierFeatures | Sphere2Vec
ENCODINGS: dict[str, type] = {c.__name__: c for c in get_args(Encoding)}
