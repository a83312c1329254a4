"""Maps onto a support: the same as torch's, but for values that gradients could not stand."""

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import biject_to, constraints

from pyro_vae.program.bijections import biject

SUPPORTS = [
    constraints.simplex,
    constraints.positive,
    constraints.greater_than(3.0),
    constraints.independent(constraints.nonnegative, 1),
    constraints.independent(constraints.simplex, 1),
    constraints.interval(-1.0, 2.0),
    constraints.real,
]


@pytest.mark.parametrize("support", SUPPORTS, ids=str)
def test_maps_are_torchs(support):
    x = torch.randn(7, 4, 5, dtype=torch.float64)
    ours, torchs = biject(support), biject_to(support)
    y = ours(x)
    torch.testing.assert_close(y, torchs(x), rtol=1e-12, atol=0)
    torch.testing.assert_close(ours.inv(y), x)
    torch.testing.assert_close(
        ours.log_abs_det_jacobian(x, y), torchs.log_abs_det_jacobian(x, y), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    "prior",
    [dist.Dirichlet(torch.full((4,), 0.1)), dist.Gamma(0.1, 1.0), dist.Beta(0.1, 0.9)],
    ids=lambda prior: type(prior).__name__,
)
def test_density_of_far_coordinates_has_a_finite_slope(prior):
    x = torch.linspace(-200, 80, 281).unsqueeze(-1).repeat(1, 3).requires_grad_()
    onto = biject(prior.support)
    value = onto(x)
    density = prior.log_prob(value).sum() * 1_000 + onto.log_abs_det_jacobian(x, value).sum()
    assert density.isfinite()
    assert torch.autograd.grad(density, x)[0].isfinite().all()


@pytest.mark.parametrize(("dtype", "far"), [(torch.float32, 20.0), (torch.float64, 45.0)])
def test_pieces_of_a_stick_are_right_where_1_minus_z_rounds(dtype, far):
    """torch's 1 - z, and so its later pieces, stop at a rounding of 1, while its density goes on."""
    torch.manual_seed(0)
    x = (40 * torch.randn(100, 3, dtype=dtype)).clamp(-far, far)
    onto = biject(constraints.simplex)
    y = onto(x)
    assert constraints.simplex.check(y).all()
    torch.testing.assert_close(onto.inv(y), x)
    slopes = torch.func.vmap(torch.func.jacrev(onto))(x)[:, :-1].double()
    torch.testing.assert_close(
        onto.log_abs_det_jacobian(x, y).double(),
        slopes.diagonal(0, -2, -1).log().sum(-1),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "support",
    [
        constraints.interval(100.0, 101.0),
        constraints.interval(-0.5, 6.5),
        constraints.greater_than(1.0),
        constraints.greater_than(1e10),
        constraints.less_than(3.0),
        constraints.independent(constraints.interval(torch.tensor([0.0, 5.0]), 6.0), 1),
    ],
    ids=str,
)
def test_no_value_rounds_to_a_bound(support):
    """100 + 1 / (1 + exp(-20)) is 101 in float32, where the density of a Uniform(100, 101) is 0."""
    x = torch.tensor([[-90.0, -40.0], [0.0, 1.0], [20.0, 50.0]])
    y = biject(support)(x)
    base = getattr(support, "base_constraint", support)
    for bound in ("lower_bound", "upper_bound"):
        assert (y != getattr(base, bound, torch.inf)).all()
    assert support.check(y).all()
    torch.testing.assert_close(y[1], biject_to(support)(x)[1])
