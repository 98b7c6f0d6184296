"""NT-Xent against its closed form and a naive double loop; chunks and half precision."""

import math
from itertools import product

import pytest
import torch
from torch.nn.functional import normalize

from earthtie_lite.losses import MAX_LOGIT_SCALE, nt_xent

DIRECTIONS, NEGATIVES = ("both", "to_location", "to_modality"), ("cross", "all")
OPTIONS = list(product(DIRECTIONS, NEGATIVES))


def pairs(n=7, width=5, scales=()):
    """Return two leaves (B, D) of unit vectors and log scales, all with gradients."""
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(n, width, generator=generator, dtype=torch.float64) for _ in range(2)]
    scale = 1.3 + torch.randn(scales, generator=generator, dtype=torch.float64) / 2
    return *(normalize(x, dim=1).requires_grad_() for x in draw), scale.requires_grad_()


def naive(location, modality, logit_scale, direction, negatives):
    """Write the definition as loops over anchors and candidates."""
    sides = {"to_modality": (location, modality), "to_location": (modality, location)}
    terms = []
    for anchors, others in sides.values() if direction == "both" else [sides[direction]]:
        for i, anchor in enumerate(anchors):
            scale = logit_scale.exp().expand(len(anchors))[i]
            logits = [scale * (anchor * other).sum() for other in others]
            positive = logits[i]
            if negatives == "all":
                logits += [scale * (anchor * a).sum() for j, a in enumerate(anchors) if j != i]
            terms.append(torch.stack(logits).exp().sum().log() - positive)
    return torch.stack(terms).mean()


def assert_same_loss(inputs, one, other):
    """Compare values and gradients with respect to all inputs."""
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad(loss, inputs) for loss in (one, other))
    for got, expected in zip(*gradients, strict=True):
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_two_pairs_at_an_angle_have_the_closed_form():
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    v = torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    to_modality = (math.log1p(math.exp(0 - 0.6)) + math.log1p(math.exp(0.8 - 1))) / 2
    to_location = (math.log1p(math.exp(0.8 - 0.6)) + math.log1p(math.exp(0 - 1))) / 2
    assert nt_xent(u, v, 0.0, "to_modality").item() == pytest.approx(to_modality, abs=1e-12)
    assert nt_xent(u, v, 0.0, "to_location").item() == pytest.approx(to_location, abs=1e-12)


@pytest.mark.parametrize("scales", [(), (7,)])
@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
def test_loss_and_gradient_equal_those_of_a_naive_loop(direction, negatives, scales):
    inputs = pairs(scales=scales)
    assert_same_loss(inputs, *(f(*inputs, direction, negatives) for f in (nt_xent, naive)))


@pytest.mark.parametrize("scales", [(), (7,)])
@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
@pytest.mark.parametrize("chunk", [1, 3, 100])  # of 7 pairs: the last chunk of 3 has one
def test_chunks_have_the_loss_and_gradient_of_the_whole(direction, negatives, scales, chunk):
    inputs = pairs(scales=scales)
    assert_same_loss(inputs, *(nt_xent(*inputs, direction, negatives, c) for c in (chunk, None)))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_loss_is_finite_in_float32_at_the_largest_scale_which_is_clips(negatives):
    assert math.exp(MAX_LOGIT_SCALE) == pytest.approx(100.0)
    pair = pairs(64, 8)[0].float()
    assert torch.isfinite(nt_xent(pair, -pair, MAX_LOGIT_SCALE, negatives=negatives))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "up"}, r"unknown direction 'up': expected one of \('both'"),
        ({"negatives": "none"}, r"unknown negatives 'none': expected one of \('cross', 'all'\)"),
        ({"chunk": 0}, "chunk must be a positive number of rows or None, got 0"),
        *(({"modality": torch.ones(s)}, "must both have shape") for s in ((4, 3), (3, 2), (3,))),
        *(({"logit_scale": torch.ones(s)}, "a number or have") for s in ((2,), (1,), (3, 1))),
    ],
)
def test_invalid_input_is_refused(settings, message):
    valid = {"location": torch.eye(3), "modality": torch.eye(3), "logit_scale": 0.0}
    with pytest.raises(ValueError, match=message):
        nt_xent(**{**valid, **settings})


def bytes_kept(chunk):
    """Return the bytes that autograd keeps for the backward pass of a batch."""
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = nt_xent(*pairs(1024, 8), chunk=chunk)
    assert loss.requires_grad
    return sum(kept.values())


def test_chunks_keep_less_than_a_third_of_the_memory_for_the_backward_pass():
    assert bytes_kept(64) < bytes_kept(None) / 3


def test_exponentials_are_summed_in_float32_under_autocast():
    location, modality, _ = (x.detach().float() for x in pairs(200, 16))
    exact = nt_xent(location, modality, math.log(20))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = nt_xent(location, modality, math.log(20))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), abs=0.05)
