"""NT-Xent against its closed form and a naive double loop; chunks and half precision."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import normalize

from earthtie_lite.losses import MAX_LOGIT_SCALE, nt_xent

DIRECTIONS, NEGATIVES = ("both", "to_location", "to_modality"), ("cross", "all")
OPTIONS = list(itertools.product(DIRECTIONS, NEGATIVES))


def pairs(n=7, width=5, seed=0, scales=()):
    """Return two leaves (B, D) of unit vectors and log scales, all with gradients."""
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(n, width, generator=generator, dtype=torch.float64) for _ in range(2)]
    scale = 1.3 + torch.randn(scales, generator=generator, dtype=torch.float64) / 2
    return *(normalize(x, dim=1).requires_grad_() for x in draw), scale.requires_grad_()


def naive(location, modality, logit_scale, direction, negatives):
    """Write the definition as loops over anchors and candidates."""
    sides = {"to_modality": (location, modality), "to_location": (modality, location)}
    wanted = list(sides) if direction == "both" else [direction]
    terms = []
    for side in wanted:
        anchors, others = sides[side]
        for i in range(len(anchors)):
            scale = logit_scale.exp().expand(len(anchors))[i]
            logits = [scale * (anchors[i] * other).sum() for other in others]
            positive = logits[i]
            if negatives == "all":
                logits += [
                    scale * (anchors[i] * anchors[j]).sum() for j in range(len(anchors)) if j != i
                ]
            terms.append(torch.stack(logits).exp().sum().log() - positive)
    return torch.stack(terms).mean()


@pytest.mark.parametrize(
    ("negatives", "candidates"),
    [("cross", [1, math.e**-1]), ("all", [1, math.e**-1, math.e**-1])],
)
def test_two_opposite_pairs_have_the_closed_form(negatives, candidates):
    # Scale 1/2: the partner has cosine 1, every other candidate cosine -1.
    pair = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    loss = nt_xent(pair, pair, math.log(0.5), negatives=negatives)
    assert loss.item() == pytest.approx(math.log(sum(candidates)), abs=1e-12)


def test_two_pairs_at_an_angle_have_the_closed_form():
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    v = torch.tensor([[0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    to_modality = (math.log1p(math.exp(0 - 0.6)) + math.log1p(math.exp(0.8 - 1))) / 2
    to_location = (math.log1p(math.exp(0.8 - 0.6)) + math.log1p(math.exp(0 - 1))) / 2
    assert nt_xent(u, v, 0.0, "to_modality").item() == pytest.approx(to_modality, abs=1e-12)
    assert nt_xent(u, v, 0.0, "to_location").item() == pytest.approx(to_location, abs=1e-12)


@pytest.mark.parametrize("scales", [(), (7,)])
@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
def test_the_loss_equals_a_naive_loop(direction, negatives, scales):
    inputs = pairs(scales=scales)
    fast = nt_xent(*inputs, direction, negatives)
    torch.testing.assert_close(fast, naive(*inputs, direction, negatives), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scales", [(), (7,)])
@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
def test_the_gradient_equals_that_of_a_naive_loop(direction, negatives, scales):
    inputs = pairs(scales=scales)
    fast = torch.autograd.grad(nt_xent(*inputs, direction, negatives), inputs)
    plain = torch.autograd.grad(naive(*inputs, direction, negatives), inputs)
    for got, expected in zip(fast, plain, strict=True):
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_swapping_the_sides_swaps_the_directions_and_both_is_their_mean(negatives):
    location, modality, scale = pairs()
    both = nt_xent(location, modality, scale, "both", negatives)
    swapped = nt_xent(modality, location, scale, "both", negatives)
    one = nt_xent(location, modality, scale, "to_location", negatives)
    other = nt_xent(location, modality, scale, "to_modality", negatives)
    turned = nt_xent(modality, location, scale, "to_modality", negatives)
    torch.testing.assert_close(one, turned, rtol=0, atol=1e-15)
    assert abs(one.item() - other.item()) > 1e-3
    torch.testing.assert_close(both, swapped, rtol=0, atol=1e-14)
    torch.testing.assert_close(both, (one + other) / 2, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("negatives", "candidates"), [("cross", 7), ("all", 13)])
def test_equal_embeddings_cost_the_logarithm_of_the_number_of_candidates(negatives, candidates):
    same = normalize(torch.ones(7, 5, dtype=torch.float64), dim=1)
    loss = nt_xent(same, same, MAX_LOGIT_SCALE, negatives=negatives)
    assert loss.item() == pytest.approx(math.log(candidates), abs=1e-12)


def test_the_loss_is_finite_in_float32_at_the_largest_scale_which_is_clips():
    assert math.exp(MAX_LOGIT_SCALE) == pytest.approx(100.0)
    pair = normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    for negatives in NEGATIVES:
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


@pytest.mark.parametrize("scales", [(), (7,)])
@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])  # of 7 pairs: the last chunk of 3 has one
def test_chunks_have_the_loss_and_gradient_of_the_whole(direction, negatives, scales, chunk):
    inputs = pairs(scales=scales)
    whole = nt_xent(*inputs, direction, negatives)
    parts = nt_xent(*inputs, direction, negatives, chunk=chunk)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    for got, expected in zip(
        torch.autograd.grad(parts, inputs), torch.autograd.grad(whole, inputs), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)


def bytes_kept(batch, chunk):
    """Return the bytes that autograd keeps for the backward pass of a batch."""
    kept = []

    def pack(tensor):
        kept.append((tensor.data_ptr(), tensor.numel() * tensor.element_size()))
        return tensor

    inputs = pairs(batch, 8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        nt_xent(*inputs, chunk=chunk)
    return sum(dict(kept).values())


def test_chunks_keep_less_than_a_third_of_the_memory_for_the_backward_pass():
    assert bytes_kept(1024, 64) < bytes_kept(1024, None) / 3


def test_exponentials_are_summed_in_float32_under_autocast():
    location, modality, _ = (x.detach().float() for x in pairs(200, 16))
    exact = nt_xent(location, modality, math.log(20))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = nt_xent(location, modality, math.log(20))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), abs=0.05)
