"""NT-Xent against its closed form and against a naive double loop."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import normalize

from earthtie_lite.losses import DIRECTIONS, MAX_LOGIT_SCALE, NEGATIVES, nt_xent

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
def test_loss_equals_a_naive_loop(direction, negatives, scales):
    inputs = pairs(scales=scales)
    fast = nt_xent(*inputs, direction, negatives)
    torch.testing.assert_close(fast, naive(*inputs, direction, negatives), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scales", [(), (7,)])
@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
def test_gradient_equals_a_naive_loop(direction, negatives, scales):
    inputs = pairs(scales=scales)
    fast = torch.autograd.grad(nt_xent(*inputs, direction, negatives), inputs)
    plain = torch.autograd.grad(naive(*inputs, direction, negatives), inputs)
    for got, expected in zip(fast, plain, strict=True):
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_swapping_the_sides_swaps_the_directions(negatives):
    location, modality, scale = pairs()
    one = nt_xent(location, modality, scale, "to_location", negatives)
    other = nt_xent(modality, location, scale, "to_modality", negatives)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-15)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_both_is_symmetric_and_the_mean_of_the_directions(negatives):
    location, modality, scale = pairs()
    both = nt_xent(location, modality, scale, "both", negatives)
    swapped = nt_xent(modality, location, scale, "both", negatives)
    one = nt_xent(location, modality, scale, "to_location", negatives)
    other = nt_xent(location, modality, scale, "to_modality", negatives)
    assert abs(one.item() - other.item()) > 1e-3
    torch.testing.assert_close(both, swapped, rtol=0, atol=1e-14)
    torch.testing.assert_close(both, (one + other) / 2, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
def test_order_of_the_pairs_does_not_matter(direction, negatives):
    location, modality, scale = pairs()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    moved = nt_xent(location[order], modality[order], scale, direction, negatives)
    expected = nt_xent(location, modality, scale, direction, negatives)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-14)


def test_a_rotation_of_the_space_changes_nothing():
    location, modality, scale = pairs()
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    moved = nt_xent(location @ rotation, modality @ rotation, scale, negatives="all")
    expected = nt_xent(location, modality, scale, negatives="all")
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("negatives", "candidates"), [("cross", 7), ("all", 13)])
def test_knowing_nothing_costs_the_logarithm_of_the_candidates(negatives, candidates):
    same = normalize(torch.ones(7, 5, dtype=torch.float64), dim=1)
    loss = nt_xent(same, same, MAX_LOGIT_SCALE, negatives=negatives)
    assert loss.item() == pytest.approx(math.log(candidates), abs=1e-12)


def test_a_scale_as_number_or_tensor_is_the_same():
    location, modality, _ = pairs()
    scale = torch.tensor(0.7, dtype=torch.float64)
    assert nt_xent(location, modality, 0.7) == nt_xent(location, modality, scale)


def test_the_largest_scale_stays_finite_in_float32():
    pair = normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    for negatives in NEGATIVES:
        assert torch.isfinite(nt_xent(pair, -pair, MAX_LOGIT_SCALE, negatives=negatives))


def test_the_largest_scale_is_clips():
    assert math.exp(MAX_LOGIT_SCALE) == pytest.approx(100.0)


def test_unknown_direction_is_refused():
    with pytest.raises(ValueError, match=r"unknown direction 'up': expected one of \('both'"):
        nt_xent(torch.eye(2), torch.eye(2), 0.0, direction="up")


def test_unknown_negatives_are_refused():
    with pytest.raises(ValueError, match=r"unknown negatives 'none': expected one of \('cross'"):
        nt_xent(torch.eye(2), torch.eye(2), 0.0, negatives="none")


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2,)])
def test_sides_of_different_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must both have shape \(B, D\), got \(2, 2\) and"):
        nt_xent(torch.eye(2), torch.ones(shape), 0.0)


@pytest.mark.parametrize("shape", [(2,), (1,), (3, 1)])
def test_scales_are_one_or_one_a_pair(shape):
    with pytest.raises(ValueError, match=r"must be a number or have shape \(3,\), got"):
        nt_xent(torch.eye(3), torch.eye(3), torch.zeros(shape))


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


@pytest.mark.parametrize(("direction", "negatives"), OPTIONS)
def test_losses_of_some_anchors_add_up(direction, negatives):
    inputs = pairs(scales=(7,))
    whole = nt_xent(*inputs, direction, negatives)
    some = [slice(0, 2), slice(2, 6), slice(6, 7)]
    parts = [nt_xent(*inputs, direction, negatives, anchors=rows, chunk=3) for rows in some]
    torch.testing.assert_close(torch.stack(parts).sum(), whole, rtol=1e-12, atol=1e-12)
    assert len({round(part.item(), 6) for part in parts}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk": 0}, "chunk must be a positive"),
        ({"chunk": True}, "chunk must be a positive"),
        ({"anchors": slice(7, 9)}, "anchors must be a range of the 7 pairs"),
        ({"anchors": slice(0, 7, 2)}, "anchors must be a range of the 7 pairs"),
    ],
)
def test_impossible_parts_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        nt_xent(*pairs(), **settings)


def peak_of_saved(batch, chunk):
    """Return the bytes that autograd keeps for the backward pass of a batch."""
    kept = []

    def pack(tensor):
        kept.append((tensor.data_ptr(), tensor.numel() * tensor.element_size()))
        return tensor

    inputs = pairs(batch, 8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        nt_xent(*inputs, chunk=chunk)
    return sum(dict(kept).values())


def test_chunks_keep_memory_linear_in_the_batch():
    plain = peak_of_saved(1024, None) / peak_of_saved(256, None)
    chunked = peak_of_saved(1024, 64) / peak_of_saved(256, 64)
    assert plain > 12  # the square of 4, and what is linear
    assert chunked < 5


def test_logits_in_half_precision_are_summed_in_single():
    location, modality, _ = (x.detach().float() for x in pairs(200, 16))
    exact = nt_xent(location, modality, math.log(20))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = nt_xent(location, modality, math.log(20))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), abs=0.05)
