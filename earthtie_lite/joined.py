"""Several location encoders in one embedding of the width of one of them."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .features import Features
from .hub import HubModel
from .location import LocationEncoder
from .streams import stream


class JoinedEncoders(nn.Module, HubModel):
    """Encoders of one architecture, joined and reduced by principal components.

    Of each the trained part is scaled to unit variance; the components are turned at random, so
    that a probe that standardises columns does not make the last one as large as the first. The
    skip, alike in all, is kept once.

    Parameters
    ----------
    encoders : sequence of LocationEncoder
        Alike in all settings.

    Attributes
    ----------
    sizes : Tensor, shape (K,)
        Standard deviation of each encoder's trained part.
    mean : Tensor, shape (K * tied_dim,)
        Of the joined parts over the places of :meth:`fit`.
    turned : Tensor, shape (K * tied_dim, tied_dim)
        The turned components.
    """

    sizes: Tensor
    mean: Tensor
    turned: Tensor

    def __init__(self, encoders: Sequence[LocationEncoder]) -> None:
        super().__init__()
        specs = [encoder.spec for encoder in encoders]
        if not specs or any(spec != specs[0] for spec in specs):
            raise ValueError(f"encoders to join must be alike in all settings, got {specs}")
        self.encoders = nn.ModuleList(encoders)
        self.out_dim, self.tied_dim = encoders[0].out_dim, encoders[0].tied_dim
        joined = len(encoders) * self.tied_dim
        self.register_buffer("sizes", torch.ones(len(encoders)))
        self.register_buffer("mean", torch.zeros(joined))
        self.register_buffer("turned", torch.zeros(joined, self.tied_dim))

    @classmethod
    def fit(cls, encoders: Sequence[LocationEncoder], lonlat: ArrayLike, seed: int = 0) -> Self:
        """Join encoders; sizes and components are those of some places without labels.

        Parameters
        ----------
        encoders : sequence of LocationEncoder
        lonlat : array, shape (N, 2), degrees
            At least as many as the encoders have trained columns.
        seed : int
            Of the turn.
        """
        from scipy.stats import ortho_group
        from sklearn.decomposition import PCA

        model = cls(encoders)
        width = model.tied_dim
        parts = [encoder.embed(lonlat)[:, :width] for encoder in encoders]
        sizes = np.array([part.std() for part in parts])
        pca = PCA(width, svd_solver="covariance_eigh")
        pca.fit(np.concatenate([part / size for part, size in zip(parts, sizes)], axis=1))
        turn = ortho_group.rvs(width, random_state=stream("turn of an ensemble", seed))
        for name, array in (
            ("sizes", sizes),
            ("mean", pca.mean_),
            ("turned", pca.components_.T @ turn),
        ):
            getattr(model, name).copy_(torch.from_numpy(array))
        return model

    def embed(self, lonlat: ArrayLike) -> Features:
        """Return the location embedding (N, out_dim), float32, in bounded memory."""
        reduced: Any = 0.0
        for k, encoder in enumerate(self.encoders):
            assert isinstance(encoder, LocationEncoder)
            z = encoder.embed(lonlat)
            rows = slice(k * self.tied_dim, (k + 1) * self.tied_dim)
            part = z[:, : self.tied_dim] / self.sizes[k].item() - self.mean[rows].cpu().numpy()
            reduced = reduced + part @ self.turned[rows].cpu().numpy()
        return np.concatenate([reduced, z[:, self.tied_dim :]], axis=1)

    def embed_modality(self, name: str, raw: Any) -> Features:
        """Refuse: joined encoders have no heads, so there is no tied space."""
        raise ValueError("joined encoders embed places only: choose a single model, such as melt")

    @property
    def spec(self) -> dict[str, Any]:
        """Settings, as JSON."""
        first = self.encoders[0]
        assert isinstance(first, LocationEncoder)
        return {"encoder": first.spec, "encoders": len(self.encoders)}

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
