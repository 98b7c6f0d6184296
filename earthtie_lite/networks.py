"""Networks of a location encoder: from the fixed encoding of a place to the trained columns."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize


class SirenLayer(nn.Module):
    """One layer of a SIREN, sin(omega (W x + b)), with its documented initialisation.

    Weights are uniform in +-1/n for the first layer and in +-sqrt(6/n)/omega after it, where n is
    the width of the input: Sitzmann et al. (2020), https://arxiv.org/abs/2006.09661, section 3.2.
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


def siren(
    in_dim: int, width: int, depth: int, out_dim: int, dropout: float, omega: float
) -> nn.Module:
    """Return a SIREN: ``depth`` sine layers with dropout, then a linear layer."""
    layers: list[nn.Module] = []
    for layer in range(depth):
        layers += [SirenLayer(in_dim, width, omega, first=layer == 0), nn.Dropout(dropout)]
        in_dim = width
    last = nn.Linear(in_dim, out_dim)
    bound = math.sqrt(6 / in_dim) / omega
    nn.init.uniform_(last.weight, -bound, bound)
    return nn.Sequential(*layers, last)


class ResidualBlock(nn.Module):
    """One block of a residual network, x + W2 dropout(gelu(W1 norm(x))).

    The layer is normalised before the branch, so that the sum stays an identity with an addition:
    He et al. (2016), https://arxiv.org/abs/1603.05027.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width) to (B, width)."""
        return x + self.outer(self.dropout(gelu(self.inner(self.norm(x)))))


def residual(
    in_dim: int, width: int, depth: int, out_dim: int, dropout: float, omega: float
) -> nn.Module:
    """Return a residual network: a linear layer, ``depth`` blocks, a norm and a linear layer.

    The weights are drawn as torch draws them: the norms set the size that each block sees.
    ``omega`` is not used.
    """
    blocks = [ResidualBlock(width, dropout) for _ in range(depth)]
    ends = nn.LayerNorm(width), nn.Linear(width, out_dim)
    return nn.Sequential(nn.Linear(in_dim, width), *blocks, *ends)


class VoronoiCells(nn.Module):
    r"""Soft Voronoi cells of the sphere, with learned sites and one vector per cell.

    .. math:: f(v) = \sum_j \mathrm{softmax}_j(\kappa\, v \cdot s_j)\, t_j

    for a unit vector v, sites :math:`s_j` on the sphere and a table of vectors :math:`t_j`, all
    learned, as is :math:`\kappa`: the cells of TTE, https://arxiv.org/abs/2606.27514, without its
    semantic tokens. The sites start uniformly on the sphere. As :math:`\kappa` grows, a place
    belongs to its nearest site alone.

    Parameters
    ----------
    n_sites, out_dim : int

    Notes
    -----
    The kernel :math:`\exp(\kappa (v \cdot s - 1))` covers the area :math:`2 \pi / \kappa`, and the
    cell of one of n sites :math:`4 \pi / n`. So :math:`\kappa` starts at n / 2, where both are
    equal and the kernels of all sites sum to 1 on average. The table starts small, with a standard
    deviation of 0.15, because the loss normalises the output, and the steps of the optimiser have
    to change its direction.
    """

    def __init__(self, n_sites: int, out_dim: int) -> None:
        super().__init__()
        self.sites = nn.Parameter(torch.randn(n_sites, 3))
        self.log_kappa = nn.Parameter(torch.tensor(math.log(n_sites / 2)))
        self.table = nn.Parameter(0.15 * torch.randn(n_sites, out_dim))

    def assign(self, vectors: Tensor) -> Tensor:
        """Return how far unit vectors (B, 3) belong to each site: (B, n_sites), rows sum to 1."""
        # In bfloat16 the cosine, which kappa multiplies, would be wrong by whole cells.
        with torch.autocast(vectors.device.type, enabled=False):
            cosines = vectors @ normalize(self.sites, dim=1).T
            return torch.softmax(self.log_kappa.exp() * cosines, dim=1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map unit vectors (B, 3) to (B, out_dim)."""
        return self.assign(vectors) @ self.table


def voronoi(
    in_dim: int, width: int, depth: int, out_dim: int, dropout: float, omega: float
) -> nn.Module:
    """Return ``width`` Voronoi cells; ``depth``, ``dropout`` and ``omega`` are not used."""
    if in_dim != 3:
        raise ValueError(
            f"the network voronoi needs the encoding UnitVectors, with 3 columns, got {in_dim}"
        )
    return VoronoiCells(width, out_dim)


# A network maps an encoding (B, in_dim) to the trained columns (B, out_dim).
Network = Literal["siren", "residual", "voronoi"]
NETWORKS: dict[str, Callable[[int, int, int, int, float, float], nn.Module]] = {
    function.__name__: function for function in (siren, residual, voronoi)
}
