"""Variants that notebooks 07 and 09 compare, passed to ``fit``: other batches, losses and hooks."""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import TrainConfig
from ..coords import sample_sphere
from ..distributed import ALONE, Ranks
from ..encoders import ENCODERS, LocationEncoder
from ..losses import MAX_LOGIT_SCALE
from ..model import EarthTie
from ..train import Data, Rows, cut_batches, melt_batches, tied_loss

SIGREG = 0.05  # weight of the regulariser, as LeJEPA recommends
DIRECTIONS = 64  # random projections of a batch


def salt_by_step(rows: Rows, size: int, rng: np.random.Generator, epoch: int = 0) -> Iterator[Rows]:
    """Yield the batches of SALT with the next modality in every step, for ``batches=``."""
    batches = list(cut_batches(rows, dict.fromkeys(rows, size), rng))
    for step, batch in enumerate(batches):
        active = list(rows)[(epoch * len(batches) + step) % len(rows)]
        yield {active: batch[active]}


def first_batches(steps: int) -> Any:
    """Return batches of MELT for ``batches=``, of which an epoch has a given number.

    Then an epoch has the same length for any number of modalities and of places.
    """

    def batches(rows: Rows, size: int, rng: np.random.Generator, epoch: int = 0) -> Iterator[Rows]:
        yield from itertools.islice(melt_batches(rows, size, rng, epoch), steps)

    return batches


def reset_moments(model: EarthTie, optimiser: torch.optim.Optimizer, epoch: int, step: int) -> None:
    """Clear the moments of the optimiser at the start of an epoch of SALT, for ``hook=``."""
    if step == 0 and len(model.in_dims) > 1:
        optimiser.state.clear()


def head_warmup(steps: int) -> Any:
    """Return a hook that trains the head alone in the first steps after a modality returns."""

    def hook(model: EarthTie, optimiser: torch.optim.Optimizer, epoch: int, step: int) -> None:
        if epoch >= len(model.in_dims) > 1 and step < steps:
            for name, parameter in model.named_parameters():
                if not name.startswith("projections."):
                    parameter.grad = None

    return hook


class OwnScales(nn.Module):
    """The tied loss with a logit scale for every modality, for ``loss=``.

    Parameters
    ----------
    names : iterable of str
        The modalities.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        start = math.log(1 / 0.07)
        # The prefix is needed because a ParameterDict rejects names such as "keys".
        self.scales = nn.ParameterDict({f"of_{name}": torch.tensor(start) for name in names})

    def forward(
        self, model: EarthTie, data: Data, batch: Rows, config: TrainConfig, here: Ranks = ALONE
    ) -> Tensor:
        """Compute the loss; each pair is compared by the scale of its modality.

        The mean scale of the batch becomes the model's, which is what the history records.
        """
        with torch.no_grad():
            for scale in self.scales.values():
                scale.clamp_(max=MAX_LOGIT_SCALE)
        scales = torch.cat([self.scales[f"of_{m}"].expand(len(i)) for m, i in batch.items()])
        if self.training:
            with torch.no_grad():
                model.logit_scale.copy_(here.gather(scales).mean())
        return tied_loss(model, data, batch, config, here, scales)


def regression_loss(
    model: EarthTie, data: Data, batch: Rows, config: TrainConfig, here: Ranks = ALONE
) -> Tensor:
    """Predict the standardised features from the place by least squares, for ``loss=``.

    This is the control without contrast: the transposed head of a modality maps the location
    embedding to the modality's features. Returns the mean squared error over features and pairs.
    """
    like, errors, start = model.logit_scale, [], 0
    with torch.autocast(like.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        places = torch.cat([data.basis[m][i].to(like) for m, i in batch.items()])
        located = model.encoder(places)  # (B, D), not normalised
        for name, rows in batch.items():
            head, stop = model.head(name), start + len(rows)
            expected = head.standardise(data.features[name][rows].to(like))
            error = located[start:stop] @ head.linear.weight - expected
            errors.append(error.square().mean(dim=1))
            start = stop
        return here.gather(torch.cat(errors)).mean()


def sigreg_loss(
    model: EarthTie, data: Data, batch: Rows, config: TrainConfig, here: Ranks = ALONE
) -> Tensor:
    r"""Tie without negatives, for ``loss=``: LeJEPA's objective (https://arxiv.org/abs/2511.08544).

    .. math:: (1 - \lambda)\, \overline{(f(x) - g(y))^2} + \lambda\, \mathrm{SIGReg}

    The squared distance of a pair pulls both sides together. SIGReg keeps them from collapsing: it
    is the mean over random directions of the statistic of Epps and Pulley, which compares the
    characteristic function of the projected batch with that of a standard normal distribution.
    """
    like = model.logit_scale
    places = torch.cat([data.basis[m][i].to(like) for m, i in batch.items()])
    heads = {m: model.head(m) for m in batch}
    seen = [h.linear(h.standardise(data.features[m][batch[m]].to(like))) for m, h in heads.items()]
    located, observed = model.encoder(places), torch.cat(seen)  # (B, D), not normalised
    distance = here.gather((located - observed).square().mean(dim=1)).mean()
    return (1 - SIGREG) * distance + SIGREG * epps_pulley(
        here.gather(torch.cat([located, observed]))
    )


def epps_pulley(z: Tensor) -> Tensor:
    """Return how far vectors (N, D) are from an isotropic normal distribution, a scalar."""
    directions = normalize(torch.randn(z.shape[1], DIRECTIONS).to(z), dim=0)
    t = torch.linspace(-5, 5, 17).to(z)
    phase = (z @ directions)[..., None] * t  # (N, K, T)
    normal = torch.exp(-(t**2) / 2)
    error = (phase.cos().mean(dim=0) - normal).square() + phase.sin().mean(dim=0).square()
    return len(z) * torch.trapezoid(error * normal, t, dim=1).mean()


class TiedSkip(LocationEncoder):
    """A location encoder whose skip takes part in training and in the tied space.

    Parameters are those of :class:`~earthtie_lite.encoders.LocationEncoder`; the encoding must be
    spherical harmonics of at least ``skip`` degrees.
    """

    tied_size: Tensor

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        degrees = getattr(self.encoding, "n_degrees", 0)
        if not 0 < self.skip <= degrees:
            raise ValueError(
                "a tied skip needs at least 1 degree and at most as many as the encoding's "
                f"spherical harmonics have ({degrees}), got {self.skip}"
            )
        self.tied_dim = self.out_dim
        with torch.no_grad():  # scale the harmonics to the initial size of the trained columns
            start = self.trunk(self.basis(sample_sphere(1000, np.random.default_rng(0))))
        self.register_buffer("tied_size", start.square().mean().sqrt())

    def forward(self, basis: Tensor) -> Tensor:
        """Map a basis (B, encoding.out_dim) to the tied columns (B, out_dim), not normalised."""
        # Harmonics of low degree are the first columns of the encoding.
        size = self.tied_size * math.sqrt(4 * math.pi)
        return torch.cat([self.trunk(basis), size * basis[:, : self.skip**2]], dim=1)


ENCODERS["TiedSkip"] = TiedSkip
