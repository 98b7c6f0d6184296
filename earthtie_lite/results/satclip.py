"""SatCLIP's published location encoders, with the harmonics that they were trained on."""

import decimal
import functools
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..coords import Array, as_lonlat
from ..features import Features
from ..files import under

PREFIX = "model.location.nnet."  # of the location encoder's weights in a checkpoint
PUBLISHED = {"le_type": "sphericalharmonics", "harmonics_calculation": "analytic"}
HINT = (
    "give a name on the Hub, such as microsoft/SatCLIP-ViT16-L40, or the .ckpt file of such a "
    "repository, downloaded elsewhere if the Hub is out of reach"
)
FIRST_OMEGA = 30.0  # frequency of the first sine layer; the others have 1
MOST_DEGREES = 50  # of SatCLIP's formulas, by its own documentation
DIGITS = decimal.Context(prec=15, rounding=decimal.ROUND_HALF_UP)  # as SymPy prints numbers
BATCH = 1024  # places embedded at a time: bounds memory, not results


@functools.cache
def polynomials(n_degrees: int) -> tuple[Array, Array]:
    """Return the polynomials in SatCLIP's harmonics, each the m-th derivative of a Legendre's.

    Returns
    -------
    scale : array, shape (L, L)
        Factors of order m and degree m + k, by (m, k). For m = 0 they are part of the coefficients.
    coefficients : array, shape ((L + 1) // 2, L, L)
        Of the power k - 2j, by (j, m, k), rounded to 15 digits as in SatCLIP's code.
    """
    scale = np.zeros((n_degrees, n_degrees))
    coefficients = np.zeros(((n_degrees + 1) // 2, n_degrees, n_degrees))
    f = math.factorial
    for degree in range(n_degrees):
        # sqrt((2 l + 1) / 4 * pi) in SatCLIP's code, for sqrt((2 l + 1) / (4 pi))
        zonal = math.sqrt((2 * degree + 1) / 4) * math.sqrt(math.pi)
        for m in range(degree + 1):
            k = degree - m
            norm = math.sqrt((2 * degree + 1) / (2 * math.pi) * (f(k) / f(degree + m)))
            inside, scale[m, k] = (1.0, norm) if m else (zonal, 1.0)
            for j in range(k // 2 + 1):
                below = 2**degree * f(j) * f(degree - j) * f(k - 2 * j)
                exact = (-1) ** j * inside * (f(2 * (degree - j)) / below)
                coefficients[j, m, k] = DIGITS.create_decimal_from_float(exact)
    return scale, coefficients


def harmonics(lonlat: Tensor, n_degrees: int) -> Tensor:
    r"""Return SatCLIP's real spherical harmonics of the degrees 0 to L - 1, the encoders' input.

    They differ from the orthonormal ones of
    :class:`~earthtie_lite.encodings.SphericalHarmonics` in three ways, and the published weights
    were trained on them:

    - They are evaluated at the antipode, at the angles lon + 180 and lat + 90 degrees, which turns
      the sign of odd degrees.
    - Those of order 0 are pi times too large: the code takes :math:`\sqrt{(2l + 1) / 4 \cdot \pi}`
      for :math:`\sqrt{(2l + 1) / (4 \pi)}`.
    - They are sums of powers of a cosine, in float64, whose coefficients, up to 1e14, are rounded
      to 15 digits and cancel. The error, against sphericart's stable recurrence, is at most 1e-12
      with 10 degrees. With 40 it is at most 4e-8 within 30 degrees of the equator, 0.01 within 60,
      and 0.64 near the poles, where the largest value is 8.5; the root mean square over the sphere
      is 0.002. Most of it is in order 0, and most of it is due to the rounded coefficients.

    Coefficients and order of the sums are SatCLIP's, so on one processor the values are those of
    its code to 1e-14, with 10 and with 40 degrees. Where powers are rounded otherwise, as on a GPU,
    values of 40 degrees may differ by 4e-9 within 30 degrees of the equator, by 0.001 within 60,
    and by 0.05 near the poles.

    Parameters
    ----------
    lonlat : Tensor, shape (B, 2)
        Degrees, longitude first.
    n_degrees : int
        L.

    Returns
    -------
    Tensor, shape (B, L * L), float64
        Column l * l + l + m holds degree l and order m.

    References
    ----------
    https://github.com/microsoft/satclip, ``satclip/positional_encoding``:
    ``spherical_harmonics.py`` and, for the formulas, ``spherical_harmonics_generate_ylms.py``.

    Examples
    --------
    >>> harmonics(torch.tensor([[0.0, 90.0]]), 2).numpy().round(3) + 0.0
    array([[ 0.886,  0.   , -1.535,  0.   ]])
    """
    scale, coefficients = (torch.from_numpy(a).to(lonlat.device) for a in polynomials(n_degrees))
    lon, lat = lonlat.double().T
    phi, x = torch.deg2rad(lon + 180), torch.cos(torch.deg2rad(lat + 90))
    powers = torch.stack([x**k for k in range(n_degrees)], dim=1)[:, None]
    sines = torch.stack([(1 - x**2) ** (m / 2) for m in range(n_degrees)], dim=1)[:, :, None]
    values = x.new_zeros(len(x), n_degrees, n_degrees)
    for j, c in enumerate(coefficients):  # the order of the sum is part of the result
        values[:, :, 2 * j :] += c[:, 2 * j :] * powers[:, :, : n_degrees - 2 * j]
    values = scale * sines * values
    angles = phi[:, None] * torch.arange(n_degrees, device=x.device)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    degree = np.arange(n_degrees).repeat(2 * np.arange(n_degrees) + 1)
    order = np.arange(n_degrees**2) - degree * (degree + 1)
    m = abs(order)
    return values[:, m, degree - m] * waves[:, m + n_degrees * (order >= 0)]


class SatClipEncoder(nn.Module):
    """SatCLIP's location encoder: its :func:`harmonics`, then a SIREN.

    Klemmer et al. (2023), https://arxiv.org/abs/2311.17179. As published: float64 throughout, sine
    layers of the frequency 30, then 1, with dropout of one half in training, and a linear layer.
    Weights are random; :func:`load_satclip` has the published ones.

    Parameters
    ----------
    n_degrees : int
        L, in [1, 50]: 10 or 40 in the published encoders.
    width, depth : int
        Units of a sine layer, and number of sine layers; 512 and 2 in the published encoders.
    out_dim : int
        Width of the embedding, 256 in the published encoders.

    Examples
    --------
    >>> SatClipEncoder().embed([[13.4, 52.5]]).shape
    (1, 256)
    """

    def __init__(
        self, n_degrees: int = 10, width: int = 512, depth: int = 2, out_dim: int = 256
    ) -> None:
        super().__init__()
        if not 1 <= n_degrees <= MOST_DEGREES:
            raise ValueError(f"n_degrees must lie in [1, {MOST_DEGREES}], got {n_degrees}")
        self.n_degrees, self.out_dim = n_degrees, out_dim
        sizes = [n_degrees**2] + [width] * (depth - 1)
        self.layers = nn.ModuleList(nn.Linear(n, width, dtype=torch.float64) for n in sizes)
        self.last_layer = nn.Linear(width, out_dim, dtype=torch.float64)
        for layer, n in zip((*self.layers, self.last_layer), [*sizes, width]):
            bound = 1 / n if layer is self.layers[0] else math.sqrt(6 / n)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound)

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map places (B, 2), degrees, longitude first, to (B, out_dim), not normalised."""
        x = harmonics(lonlat, self.n_degrees).to(self.last_layer.weight.dtype)
        for index, layer in enumerate(self.layers):
            x = F.dropout(layer(x), training=self.training)
            x = torch.sin(x if index else FIRST_OMEGA * x)
        return self.last_layer(x)

    @torch.no_grad()
    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the embedding (N, out_dim), float32, not normalised, in bounded memory.

        Computed on the device of the weights, which must have float64, without dropout.
        """
        places, device = torch.tensor(as_lonlat(lonlat)), self.last_layer.weight.device
        was_training = self.training
        self.eval()
        batches = [self(batch.to(device)).float().cpu() for batch in places.split(BATCH)]
        self.train(was_training)
        return torch.cat(batches).numpy()


def load_satclip(path_or_name: str | Path) -> SatClipEncoder:
    """Load a published location encoder of SatCLIP, frozen.

    Parameters
    ----------
    path_or_name : str or Path
        A checkpoint as published, such as ``satclip-vit16-l40.ckpt``, or a repository on the Hub,
        such as ``microsoft/SatCLIP-ViT16-L40``, which huggingface_hub downloads and keeps. The
        published ones are ViT16, ResNet18 and ResNet50, each with L10 and L40.

    Returns
    -------
    SatClipEncoder
        On the CPU, in evaluation mode, without gradients. Only tensors and plain values are read
        from the file: no code in it can run.

    Raises
    ------
    ValueError
        If there is no such file or repository, or it is not a checkpoint of SatCLIP, is truncated
        or holds another kind of encoder.
    """
    path = Path(path_or_name).expanduser()
    if not path.is_file():
        path = _download(str(path_or_name))
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state, settings = under(PREFIX, checkpoint["state_dict"]), checkpoint["hyper_parameters"]
        found = {name: settings[name] for name in PUBLISHED}
        width, n_harmonics = state["layers.0.weight"].shape
        depth, out_dim = len(state) // 2 - 1, len(state["last_layer.weight"])
        with torch.device("meta"):  # avoids drawing random weights only to discard them
            encoder = SatClipEncoder(math.isqrt(n_harmonics), width, depth, out_dim)
        encoder.load_state_dict(state, assign=True)
    except Exception as error:  # a damaged file raises many kinds
        raise ValueError(f"{path} is truncated or not a checkpoint of SatCLIP: {HINT}") from error
    if found != PUBLISHED:
        raise ValueError(f"{path} holds an encoder of another kind, {found}: {HINT}")
    return encoder.eval().requires_grad_(False)


def _download(name: str) -> Path:
    """Return the checkpoint of a repository on the Hub."""
    from huggingface_hub import hf_hub_download

    if name.count("/") != 1 or name.endswith(".ckpt"):
        raise ValueError(f"there is no file {name}: {HINT}")
    try:
        return Path(hf_hub_download(name, f"{name.partition('/')[2].lower()}.ckpt"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} is not a file and the Hub does not give it: {HINT}") from error
