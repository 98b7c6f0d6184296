"""Contrastive objectives: pure functions of embeddings."""

import math

import torch
from torch import Tensor

DIRECTIONS = ("both", "to_location", "to_modality")
NEGATIVES = ("cross", "all")
MAX_LOGIT_SCALE = math.log(100.0)  # CLIP, https://arxiv.org/abs/2103.00020, section 2.5


def nt_xent(
    location: Tensor,
    modality: Tensor,
    logit_scale: Tensor | float,
    direction: str = "both",
    negatives: str = "cross",
) -> Tensor:
    r"""Compute NT-Xent, the normalised temperature-scaled cross-entropy, of B matching pairs.

    With unit vectors :math:`u_i` (anchor) and :math:`v_i` (its partner) and scale :math:`s`

    .. math:: \ell_i = -\log \frac{\exp(s\, u_i \cdot v_i)}{\sum_{c \in C_i} \exp(s\, u_i \cdot c)}

    averaged over the anchors.

    Parameters
    ----------
    location, modality : Tensor, shape (B, D)
        Unit vectors; row i of one belongs to row i of the other.
    logit_scale : Tensor or float
        Logarithm of the scale s, which is the inverse of the temperature.
    direction : {"both", "to_location", "to_modality"}
        What the anchors look for: "to_location" starts from the modality and picks its place,
        "to_modality" starts from the place, "both" averages the two.
    negatives : {"cross", "all"}
        The candidates :math:`C_i`: only the other side of the pairs (B of them, CLIP,
        https://arxiv.org/abs/2103.00020), or every other embedding of the batch (2B - 1, SimCLR,
        https://arxiv.org/abs/2002.05709).

    Returns
    -------
    Tensor, a scalar, in nats; log B for "cross" where nothing is known.

    Raises
    ------
    ValueError
        For an unknown option or embeddings of different shapes.

    Examples
    --------
    >>> pairs = torch.eye(4)
    >>> round(nt_xent(pairs, pairs, 0.0).item(), 4)  # log(e + 3) - 1
    0.7437
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"unknown direction {direction!r}: expected one of {DIRECTIONS}")
    if negatives not in NEGATIVES:
        raise ValueError(f"unknown negatives {negatives!r}: expected one of {NEGATIVES}")
    if location.ndim != 2 or location.shape != modality.shape:
        raise ValueError(
            "location and modality must both have shape (B, D), "
            f"got {tuple(location.shape)} and {tuple(modality.shape)}"
        )
    scale = torch.as_tensor(logit_scale, dtype=location.dtype, device=location.device).exp()
    cross = scale * location @ modality.T  # (B, B): row = place, column = observation
    partner = cross.diagonal()
    losses = []
    # A row's candidates lie along it, a column's too: nothing is transposed or copied.
    if direction in ("both", "to_modality"):
        logits = _candidates(cross, location, scale, negatives, dim=1)
        losses.append((logits.logsumexp(dim=1) - partner).mean())
    if direction in ("both", "to_location"):
        logits = _candidates(cross, modality, scale, negatives, dim=0)
        losses.append((logits.logsumexp(dim=0) - partner).mean())
    return torch.stack(losses).mean()


def _candidates(cross: Tensor, anchors: Tensor, scale: Tensor, negatives: str, dim: int) -> Tensor:
    """Append the anchors' own side, themselves excepted, along ``dim``: B or 2B logits each."""
    if negatives == "cross":
        return cross
    own = scale * anchors @ anchors.T
    own = own.masked_fill(torch.eye(len(own), dtype=torch.bool, device=own.device), -math.inf)
    return torch.cat([cross, own], dim=dim)
