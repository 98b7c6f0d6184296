"""The contrastive loss: NT-Xent, a pure function of embeddings."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .config import Direction, Negatives, check_option
from .distributed import ALONE, Ranks

MAX_LOGIT_SCALE = math.log(100.0)  # CLIP, https://arxiv.org/abs/2103.00020, section 2.5


def nt_xent(
    location: Tensor,
    modality: Tensor,
    logit_scale: Tensor | float,
    direction: Direction = "both",
    negatives: Negatives = "cross",
    chunk: int | None = None,
    ranks: Ranks = ALONE,
) -> Tensor:
    r"""Compute NT-Xent, the normalised temperature-scaled cross-entropy, of B matching pairs.

    With unit vectors :math:`u_i` (anchor) and :math:`v_i` (its partner) and scale :math:`s`

    .. math:: \ell_i = -\log \frac{\exp(s\, u_i \cdot v_i)}{\sum_{c \in C_i} \exp(s\, u_i \cdot c)}

    averaged over the anchors. With the defaults this is::

        logits = logit_scale.exp() * location @ modality.T  # (B, B)
        loss = (cross_entropy(logits, arange(B)) + cross_entropy(logits.T, arange(B))) / 2

    Parameters
    ----------
    location, modality : Tensor, shape (B, D)
        Unit vectors; row i of one is the partner of row i of the other.
    logit_scale : Tensor or float
        Logarithm of the scale s, the inverse of the temperature: a scalar, or one per pair (B,).
    direction : {"both", "to_location", "to_modality"}
        What the anchors look for: "to_location" starts from the observation and picks its place,
        "to_modality" starts from the place and picks its observation, "both" averages the two.
    negatives : {"cross", "all"}
        The candidates :math:`C_i`: only the other side of the pairs (B of them, CLIP,
        https://arxiv.org/abs/2103.00020), or every other embedding of the batch (2B - 1, SimCLR,
        https://arxiv.org/abs/2002.05709).
    chunk : int, optional
        Number of rows of the logits computed at a time; they are recomputed in the backward pass.
        Memory is then O(B * chunk + B * B / chunk) instead of O(B * B).
    ranks : Ranks
        Processes that share the rows of the logits, each with its own B / size pairs as input;
        every process returns the loss of the whole batch.

    Returns
    -------
    Tensor, a scalar, in nats
        With "cross" negatives, log B for embeddings that carry no information.

    Raises
    ------
    ValueError
        For an unknown option, a wrong shape or a chunk below 1.

    Examples
    --------
    >>> pairs = torch.eye(4)
    >>> round(nt_xent(pairs, pairs, 0.0).item(), 4)  # log(e + 3) - 1
    0.7437
    """
    check_option("direction", direction, Direction)
    check_option("negatives", negatives, Negatives)
    if location.ndim != 2 or location.shape != modality.shape:
        raise ValueError(
            "location and modality must both have shape (B, D), "
            f"got {tuple(location.shape)} and {tuple(modality.shape)}"
        )
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be a positive number of rows or None, got {chunk}")
    scale = torch.as_tensor(logit_scale, dtype=location.dtype, device=location.device).exp()
    if scale.shape not in ((), (len(location),)):
        raise ValueError(
            f"logit_scale must be a number or have shape ({len(location)},), got "
            f"{tuple(scale.shape)}"
        )
    if scale.ndim:
        scale = ranks.gather(scale)
    scale = scale.unsqueeze(-1)  # (1,) or (B, 1)
    location, modality = ranks.gather(location), ranks.gather(modality)  # (B, D)
    mine, size = ranks.part(len(location)), chunk or len(location)
    blocks = [slice(i, min(i + size, mine.stop)) for i in range(mine.start, mine.stop, size)]
    compare = partial(checkpoint, _compare, use_reentrant=False) if len(blocks) > 1 else _compare
    found = [compare(location, modality, scale, rows, negatives == "all") for rows in blocks]
    partner, rows_of, columns_of = (list(tensors) for tensors in zip(*found))
    positive = ranks.gather(torch.cat(partner))  # (B,)
    losses = []
    if direction in ("both", "to_modality"):
        losses.append((ranks.gather(torch.cat(rows_of)) - positive).mean())
    if direction in ("both", "to_location"):  # a column's candidates are spread over the blocks
        every = ranks.gather(torch.stack(columns_of)).logsumexp(dim=0)  # (B,)
        losses.append((every - positive).mean())
    return torch.stack(losses).mean()


def _compare(
    location: Tensor, modality: Tensor, scale: Tensor, rows: slice, with_own_side: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare the places in some rows, C of them, with all observations.

    Returns the logits of the C partners, the log-sum-exp over the candidates of each of the C
    places, and over the C candidates in these rows of each of the B observations.
    """
    one_scale = len(scale) == 1
    # A slice would change the summation order of gradients: runs of version 0.1 resume bitwise.
    places = location if rows == slice(0, len(location)) else location[rows]
    own_scale = scale if one_scale else scale[rows]
    by_place = _float32((own_scale * places) @ modality.T)  # (C, B): a row is a place
    partner = by_place.diagonal(rows.start).clone()  # a view would keep all logits in memory
    by_observation = by_place if one_scale else _float32(places @ (scale * modality).T)
    if with_own_side:
        index = torch.arange(len(location), device=location.device)
        itself = index[rows, None] == index  # (C, B)
        others = _float32((own_scale * places) @ location.T).masked_fill(itself, -math.inf)
        by_place = torch.cat([by_place, others], dim=1)  # (C, 2B)
        others = _float32((scale * modality) @ modality[rows].T).masked_fill(itself.T, -math.inf)
        by_observation = torch.cat([by_observation, others.T], dim=0)  # (2C, B)
    return partner, by_place.logsumexp(dim=1), by_observation.logsumexp(dim=0)


def _float32(logits: Tensor) -> Tensor:
    """Return logits in float32 at least: sums of exponentials are inaccurate in half precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
