"""Embeddings for comparison: GeoCLIP's published encoder, density of names, random features."""

import importlib.util
import io
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ..coords import Array, as_lonlat, stream, unit_vectors
from ..features import Features
from ..files import sha256
from ..modalities import Modality, thinned_names
from ..sample import sample_land

GEOCLIP_SHA256 = "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394"
GEOCLIP_FILE = Path("model") / "weights" / "location_encoder_weights.pth"  # in the package
GEOCLIP_HINT = "pip install --no-deps geoclip==1.3.0 (40 MB) installs it"
SIGMAS = (2.0**0, 2.0**4, 2.0**8)  # frequencies of the capsules
FREQUENCIES, WIDTH, OUT_DIM = 256, 1024, 512
EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)  # A1 to A4, Savric et al. (2019)
SCALE = 66.50336  # GeoCLIP scales the plane by SCALE / 180
BATCH = 4096  # places embedded at a time: bounds memory, not results


def equal_earth(lonlat: Tensor) -> Tensor:
    """Project places (B, 2), degrees, to GeoCLIP's scaled Equal Earth plane (B, 2).

    Savric, Patterson and Jenny (2019), https://doi.org/10.1080/13658816.2018.1504949.

    Examples
    --------
    >>> equal_earth(torch.tensor([[0.0, 0.0]])).tolist()
    [[0.0, 0.0]]
    """
    lon, lat = torch.deg2rad(lonlat).T
    a1, a2, a3, a4 = EQUAL_EARTH
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(lat))
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1  # dy / dtheta
    x = 2 * math.sqrt(3) * lon * torch.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=1) * SCALE / 180


class PlaneWaves(nn.Module):
    """Gaussian random Fourier features: cosines, then sines, of 2 pi B v.

    Tancik et al. (2020), https://arxiv.org/abs/2006.10739.
    """

    b: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.register_buffer("b", torch.randn(FREQUENCIES, 2) * sigma)

    def forward(self, v: Tensor) -> Tensor:
        """Map points of the plane (B, 2) to (B, 512)."""
        # No matrix product: a GPU may round its factors to 10 bits, and phases reach thousands.
        v = 2 * math.pi * v
        phase = v[:, :1] * self.b[:, 0] + v[:, 1:] * self.b[:, 1]
        return torch.cat([phase.cos(), phase.sin()], dim=1)


class Capsule(nn.Module):
    """One scale of GeoCLIP: Fourier features, three hidden layers, a linear head."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [PlaneWaves(sigma)]
        for in_dim in (2 * FREQUENCIES, WIDTH, WIDTH):
            layers += [nn.Linear(in_dim, WIDTH), nn.ReLU()]
        self.capsule = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(WIDTH, OUT_DIM))

    def forward(self, v: Tensor) -> Tensor:
        """Map points of the plane (B, 2) to (B, 512)."""
        return self.head(self.capsule(v))


class GeoClipEncoder(nn.Module):
    """GeoCLIP's location encoder: the sum of three capsules, from coarse to fine.

    Vivanco Cepeda, Nayak and Shah (2023), https://arxiv.org/abs/2309.16020. Places are (lon, lat)
    here; the published code takes (lat, lon). All else is as published, including float32; at the
    finest scale rounding changes a value by 2e-5. The plane is cut at the date line, so -180 and
    +180 differ. Weights are random; :func:`load_geoclip` has the published ones.

    Examples
    --------
    >>> GeoClipEncoder().embed([[13.4, 52.5]]).shape
    (1, 512)
    """

    out_dim = OUT_DIM

    def __init__(self) -> None:
        super().__init__()
        self.capsules = nn.ModuleList(Capsule(sigma) for sigma in SIGMAS)

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map places (B, 2), degrees, float32, longitude first, to (B, 512), not normalised."""
        v = equal_earth(lonlat)
        return torch.stack([capsule(v) for capsule in self.capsules]).sum(dim=0)

    @torch.no_grad()
    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the embedding (N, 512), float32, not normalised, in bounded memory.

        Computed on the device of the weights.
        """
        places = torch.from_numpy(as_lonlat(lonlat).astype(np.float32))
        device = next(self.parameters()).device
        batches = [self(batch.to(device)).cpu() for batch in places.split(BATCH)]
        return torch.cat(batches).numpy()


def load_geoclip(path: str | Path | None = None) -> GeoClipEncoder:
    """Load GeoCLIP's published location encoder, frozen.

    Parameters
    ----------
    path : str or Path, optional
        The file ``location_encoder_weights.pth``. By default the one of the installed package
        geoclip, which is found but not imported.

    Returns
    -------
    GeoClipEncoder
        On the CPU, in evaluation mode, without gradients.

    Raises
    ------
    ValueError
        If there is no such file, or it is not the published one.
    """
    if path is None:
        found = importlib.util.find_spec("geoclip")
        if found is None or not found.submodule_search_locations:
            raise ValueError(f"the package geoclip is not installed: {GEOCLIP_HINT}")
        path = Path(found.submodule_search_locations[0]) / GEOCLIP_FILE
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"there are no weights of GeoCLIP in {path}: {GEOCLIP_HINT}")
    data = path.read_bytes()
    if sha256(data) != GEOCLIP_SHA256:
        raise ValueError(
            f"{path} is truncated or not GeoCLIP's published file: its SHA-256 is "
            f"{sha256(data)}, expected {GEOCLIP_SHA256}; {GEOCLIP_HINT}"
        )
    weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    with torch.device("meta"):  # avoids drawing random weights only to discard them
        encoder = GeoClipEncoder()
    # Published as "LocEnc0.capsule.1.weight" and so on; the hash guarantees that all names match.
    state = {name.replace("LocEnc", "capsules.", 1): tensor for name, tensor in weights.items()}
    encoder.load_state_dict(state, assign=True)
    return encoder.eval().requires_grad_(False)


def photos(n: int, seed: int = 0, path: str | Path | None = None) -> Modality:
    """Return GeoCLIP's embedding of n random places on land as an eighth modality, (n, 512).

    GeoCLIP was trained on geotagged photographs, so its embedding of a place stands for those taken
    there; to train on it distils GeoCLIP. ``path`` is that of :func:`load_geoclip`.
    """
    places = sample_land(n, stream("places of photos", seed))
    return Modality("photos", places, load_geoclip(path).embed(places), source="GeoCLIP")


def density(lonlat: Array) -> Array:
    """Return the density of training names around places as four columns (N, 4).

    They are the logarithms of the distances to the 1st, 10th, 100th and 1000th nearest name.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(thinned_names()[["lon", "lat"]].to_numpy()))
    distance, _ = tree.query(unit_vectors(lonlat), k=[1, 10, 100, 1000])
    return np.log(distance + 1e-4)


def smooth_features(lonlat: Array, n_degrees: int, seed: int) -> Array:
    """Return random waves (N, n_degrees ** 2) as smooth on average as the harmonics of a skip.

    The waves are cosines of random linear maps of the unit vectors (Rahimi and Recht 2007) and have
    unit variance.
    A wave whose vector has length k has a mean squared gradient of 2 k^2 / 3 on the sphere, a
    harmonic of degree l has l (l + 1); averaged, over L degrees, both are (L^2 - 1) / 2.
    """
    rng = stream("smooth features", seed)
    spread = np.sqrt(n_degrees**2 - 1) / 2
    vectors = rng.normal(0.0, spread, (3, n_degrees**2))
    phases = rng.uniform(0.0, 2 * np.pi, n_degrees**2)
    return np.sqrt(2) * np.cos(unit_vectors(lonlat) @ vectors + phases)
