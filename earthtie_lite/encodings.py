"""Fixed encodings of a place: what a location encoder sees before anything is learned."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .coords import Array, unit_vectors


class Encoding(Protocol):
    """A fixed map of places (N, 2) to vectors (N, out_dim), float64."""

    @property
    def out_dim(self) -> int:
        """Width of the vectors."""

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, out_dim)."""


@dataclass(frozen=True)
class UnitVectors:
    """Raw coordinates, as x, y, z on the unit sphere: the plainest baseline."""

    out_dim: ClassVar[int] = 3

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, 3)."""
        return unit_vectors(lonlat)


@dataclass(frozen=True)
class SphericalHarmonics:
    r"""Real, orthonormal spherical harmonics of the degrees 0 to L - 1.

    .. math:: \int_{S^2} Y_{l m}\, Y_{l' m'}\, d\Omega = \delta_{l l'} \delta_{m m'}

    without the Condon-Shortley phase. Column l * l + l + m holds degree l and order m. Degree l
    resolves structures of about 20,000 / l km. Evaluated in float64 by sphericart (Bigi et al.
    2023, https://doi.org/10.1063/5.0156307), which is exact at the poles; in float32 the same
    recurrence is wrong from L = 20.

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
        if not isinstance(self.n_degrees, (int, np.integer)) or not 1 <= self.n_degrees <= 100:
            raise ValueError(
                f"the number of degrees must be an integer in [1, 100], got {self.n_degrees!r}"
            )
        object.__setattr__(self, "n_degrees", int(self.n_degrees))

    @property
    def out_dim(self) -> int:
        """Number of harmonics, L * L."""
        return self.n_degrees**2

    def __call__(self, lonlat: ArrayLike) -> Array:
        """Encode places (N, 2), degrees, as (N, L * L), float64."""
        import sphericart

        return sphericart.SphericalHarmonics(self.n_degrees - 1).compute(unit_vectors(lonlat))


ENCODINGS: dict[str, type] = {c.__name__: c for c in (UnitVectors, SphericalHarmonics)}


def to_spec(encoding: Encoding) -> dict[str, Any]:
    """Describe an encoding as JSON: its class and its settings."""
    return {"class": type(encoding).__name__, **asdict(encoding)}  # type: ignore[call-overload]


def from_spec(spec: dict[str, Any]) -> Encoding:
    """Rebuild an encoding from its description."""
    settings = dict(spec)
    name = settings.pop("class", None)
    if name not in ENCODINGS:
        raise ValueError(f"unknown encoding {name!r}: expected one of {sorted(ENCODINGS)}")
    return ENCODINGS[name](**settings)
