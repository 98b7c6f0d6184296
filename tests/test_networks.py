"""Networks of location encoders: their definition, their first weights, what they learn."""

import math

import numpy as np
import pytest
import torch

from earthtie_lite.coords import sample_sphere, unit_vectors
from earthtie_lite.networks import NETWORKS, ResidualBlock, SirenLayer, VoronoiCells

VECTORS = torch.tensor(unit_vectors(sample_sphere(2000, np.random.default_rng(0)))).float()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("omega", [10.0, 30.0])
def test_siren_layers_are_initialised_within_their_bounds(omega, first):
    bound = 1 / 256 if first else math.sqrt(6 / 256) / omega
    weight = SirenLayer(256, 256, omega, first).linear.weight.detach()
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_siren_layer_is_the_sine_of_a_scaled_linear_map():
    layer, x = SirenLayer(3, 4, omega=7.0), torch.randn(5, 3)
    expected = torch.sin(7.0 * (x @ layer.linear.weight.T + layer.linear.bias))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_learns_with_all_its_parameters(kind):
    torch.manual_seed(0)
    network, targets = NETWORKS[kind](3, 48, 2, 5, 0.0, 10.0), torch.randn(32, 5)
    assert network(VECTORS).shape == (2000, 5)
    optimiser, losses = torch.optim.Adam(network.parameters(), lr=0.01), []
    for _ in range(400):
        losses.append((network(VECTORS[:32]) - targets).square().mean())
        optimiser.zero_grad()
        losses[-1].backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())
        optimiser.step()
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("kind", ["siren", "residual"])
@pytest.mark.parametrize("depth", [1, 3])
def test_depth_adds_layers_and_dropout_acts_in_training_alone(kind, depth):
    network = NETWORKS[kind](3, 16, depth, 5, 0.5, 10.0)
    kinds = [type(module) for module in network]
    assert kinds.count(SirenLayer) + kinds.count(ResidualBlock) == depth
    for training in (True, False):
        network.train(training)
        assert torch.equal(network(VECTORS), network(VECTORS)) is not training


def test_a_residual_block_adds_to_what_it_gets():
    block, x = ResidualBlock(6, 0.2).eval(), torch.randn(4, 6) * 3 + 1
    normal = (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True, correction=0)
    inner = normal @ block.inner.weight.T + block.inner.bias
    branch = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2  # GELU
    expected = x + branch @ block.outer.weight.T + block.outer.bias
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_the_last_layer_of_a_residual_network_sees_normalised_columns():
    hidden = NETWORKS["residual"](3, 64, 2, 5, 0.0, 10.0)[:-1](VECTORS)
    torch.testing.assert_close(hidden.mean(dim=1), torch.zeros(2000), rtol=0, atol=1e-5)
    torch.testing.assert_close(hidden.std(dim=1, correction=0), torch.ones(2000), rtol=0, atol=0.01)


@pytest.mark.parametrize("n_sites", [20, 200, 2000])
def test_voronoi_cells_start_as_wide_as_their_spacing_with_a_small_output(n_sites):
    torch.manual_seed(0)
    cells = VoronoiCells(n_sites, 64)
    assigned, sites = cells.assign(VECTORS), torch.nn.functional.normalize(cells.sites, dim=1)
    torch.testing.assert_close(assigned.sum(dim=1), torch.ones(2000))
    assert 1.5 < 1 / assigned.square().sum(dim=1).mean() < 3  # sites that share a place
    nearest = (VECTORS @ sites.T).argmax(dim=1)
    assert torch.equal(assigned.argmax(dim=1), nearest)
    assert cells(VECTORS).square().mean().sqrt().item() == pytest.approx(0.1, rel=0.1)
    torch.testing.assert_close(cells(VECTORS), assigned @ cells.table)
    with torch.no_grad():
        cells.log_kappa += 20  # hard cells; the length of a site does not matter
        cells.sites *= 3
    off = (cells(VECTORS) - cells.table[nearest]).abs().amax(dim=1)
    assert (off < 1e-3).float().mean() > 0.99  # all but places on an edge


def test_cells_are_as_sharp_in_bfloat16():
    cells = VoronoiCells(1000, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assigned, coarse = cells.assign(VECTORS), cells(VECTORS)
    assert torch.equal(assigned, cells.assign(VECTORS))
    torch.testing.assert_close(coarse.float(), cells(VECTORS), rtol=0.02, atol=0.02)


def test_voronoi_cells_refuse_what_is_no_unit_vector():
    with pytest.raises(ValueError, match="needs the encoding UnitVectors, with 3 columns, got 30"):
        NETWORKS["voronoi"](30, 8, 1, 4, 0.0, 10.0)
