"""Contrastive objectives: pure functions of embeddings."""

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

DIRECTIONS = ("both", "to_location", "to_modality")
NEGATIVES = ("cross", "all")
MAX_LOGIT_SCALE = math.log(100.0)  # CLIP, https://arxiv.org/abs/2103.00020, section 2.5


def nt_xent(
    location: Tensor,
    modality: Tensor,
    logit_scale: Tensor | float,
    direction: str = "both",
    negatives: str = "cross",
    anchors: slice | None = None,
    chunk: int | None = None,
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
        Logarithm of the scale s, which is the inverse of the temperature: one for all, or one a
        pair (B,), by which the pair's two anchors compare their candidates.
    direction : {"both", "to_location", "to_modality"}
        What the anchors look for: "to_location" starts from the modality and picks its place,
        "to_modality" starts from the place, "both" averages the two.
    negatives : {"cross", "all"}
        The candidates :math:`C_i`: only the other side of the pairs (B of them, CLIP,
        https://arxiv.org/abs/2103.00020), or every other embedding of the batch (2B - 1, SimCLR,
        https://arxiv.org/abs/2002.05709).
    anchors : slice, optional
        Only these pairs are anchors, all are candidates: the losses of parts that make up the batch
        add up to the loss of the batch.
    chunk : int, optional
        Compare so many anchors at a time, and once more for the gradient: memory then grows with B,
        not with its square.

    Returns
    -------
    Tensor, a scalar, in nats; log B for "cross" where nothing is known.

    Raises
    ------
    ValueError
        For an unknown option, or embeddings or scales of another shape.

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
    if scale.shape not in ((), (len(location),)):
        raise ValueError(
            f"logit_scale must be a number or have shape ({len(location)},), got "
            f"{tuple(scale.shape)}"
        )
    scale = scale.unsqueeze(-1)  # (1,) or (B, 1)
    if anchors is not None or chunk is not None:
        sides = {"to_modality": (location, modality), "to_location": (modality, location)}
        wanted = list(sides.values()) if direction == "both" else [sides[direction]]
        return _in_parts(wanted, scale, negatives == "all", anchors or slice(None), chunk)
    cross = _wide(scale * location @ modality.T)  # (B, B): row = place, column = observation
    partner = cross.diagonal()
    losses = []
    # A row's candidates lie along it, a column's too: nothing is transposed or copied.
    if direction in ("both", "to_modality"):
        logits = cross
        if negatives == "all":
            logits = torch.cat([cross, _others(location, scale)], dim=1)  # (B, 2B)
        losses.append((logits.logsumexp(dim=1) - partner).mean())
    if direction in ("both", "to_location"):
        logits = cross if len(scale) == 1 else _wide(location @ (scale * modality).T)
        if negatives == "all":
            logits = torch.cat([logits, _others(modality, scale).T], dim=0)  # (2B, B)
        losses.append((logits.logsumexp(dim=0) - partner).mean())
    return torch.stack(losses).mean()


def _others(anchors: Tensor, scale: Tensor) -> Tensor:
    """Compare each anchor with the others of its own side, itself excepted: logits (B, B)."""
    own = _wide(scale * anchors @ anchors.T)
    return own.masked_fill(torch.eye(len(own), dtype=torch.bool, device=own.device), -math.inf)


def _wide(logits: Tensor) -> Tensor:
    """Return logits in float32 at least: a sum of exponentials needs it where products do not."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _in_parts(
    sides: list[tuple[Tensor, Tensor]], scale: Tensor, own: bool, anchors: slice, chunk: int | None
) -> Tensor:
    """Add up the losses of some anchors, a chunk at a time, over the number of all."""
    n = len(sides[0][0])
    start, stop, step = anchors.indices(n)
    if step != 1 or start >= stop:
        raise ValueError(f"anchors must be a range of the {n} pairs, got {anchors}")
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"chunk must be a positive number of anchors or None, got {chunk!r}")
    chunk = chunk or stop - start
    losses = [
        checkpoint(
            _summed, side, other, scale, own, slice(i, min(i + chunk, stop)), use_reentrant=False
        )
        for side, other in sides
        for i in range(start, stop, chunk)
    ]
    return torch.stack(losses).sum() / (n * len(sides))


def _summed(side: Tensor, other: Tensor, scale: Tensor, own: bool, rows: slice) -> Tensor:
    """Add up the losses of the anchors in some rows of one side, a scalar."""
    anchors = (scale if len(scale) == 1 else scale[rows]) * side[rows]  # (C, D)
    logits = _wide(anchors @ other.T)  # (C, B)
    partner = logits.diagonal(rows.start)
    if own:
        others = _wide(anchors @ side.T)
        index = torch.arange(len(side), device=side.device)
        itself = index[rows, None] == index
        logits = torch.cat([logits, others.masked_fill(itself, -math.inf)], dim=1)  # (C, 2B)
    return (logits.logsumexp(dim=1) - partner).sum()
