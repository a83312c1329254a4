"""Priors and guides: densities that integrate to 1, draws that follow them, gradients of draws."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from parts.parts import GUIDES, PRIORS, small
from refused import refused
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from pyro_vae.distributions import NormalMixture
from pyro_vae.guides import LowRankNormal, MeanFieldNormal, MixtureNormal
from pyro_vae.models import VAE, TokenVAE
from pyro_vae.networks import EmbeddedTokens, MaskedInput, OneHot
from pyro_vae.priors import GaussianMixture, StandardNormal, VampPrior

X = torch.tensor([[0.3, -1.0, 0.5]]).double()
# sinh of even steps: 1/32 apart around 0, and as far as 122, because flows both squeeze and spread
STEPS = torch.arange(-176, 177).double() / 32
GRID = torch.cartesian_prod(STEPS, STEPS).sinh()  # (points | 2)
AREAS = torch.cartesian_prod(STEPS.cosh(), STEPS.cosh()).prod(-1) / 32**2  # (points)


def perturbed(part: nn.Module) -> nn.Module:
    """Return a part with perturbed parameters."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return part.double()


def density(name: str) -> tuple[nn.Module, Callable[[], torch.distributions.Distribution]]:
    """Return a part and a function that makes its distribution over two numbers."""
    if name in PRIORS:
        guide = perturbed(MeanFieldNormal((3,), 2, small))
        prior = perturbed(PRIORS[name](2, guide))
        return prior, prior
    guide = perturbed(GUIDES[name]((3,), 2, small))
    return guide, lambda: guide(X.expand(1, 3)[0])


def grid_error(summands: Tensor) -> Tensor:
    """Return a bound on a sum's error as an integral: a twelfth of all changes of slope.

    It matters for splines, which have kinks, and for flows that squeeze a density below a step's size. For
    Normals wider than two steps the sum is exact.
    """
    square = summands.unflatten(0, (len(STEPS), len(STEPS)))
    return sum(square.diff(n=2, dim=dim).abs().sum((0, 1)) for dim in (0, 1)) / 12


@pytest.mark.parametrize("name", [*PRIORS, *GUIDES])
def test_draws_follow_a_density(name: str) -> None:
    flow = name.startswith("Flow")
    with torch.no_grad():
        p = density(name)[1]()
        assert p.event_shape == (2,)
        draws, masses = p.sample((20_000,)), p.log_prob(GRID).exp() * AREAS
        assert (masses.sum() - 1).abs() < (grid_error(masses) if flow else 1e-6)
        for moment in (lambda z: z, torch.square, torch.sin, lambda z: z * z.flip(-1)):
            values, weighed = moment(draws), masses[:, None] * moment(GRID)
            error = 5 * values.std(0) / len(draws) ** 0.5
            error += grid_error(weighed) if flow else 1e-6
            assert ((values.mean(0) - weighed.sum(0)).abs() < error).all()
        assert p.expand((4, 3)).log_prob(draws[:3]).shape == (4, 3)
        torch.testing.assert_close(p.expand((4, 3)).log_prob(draws[:3])[1], p.log_prob(draws[:3]))


def test_function(z: Tensor) -> Tensor:
    return z[..., 0].sin() + 0.1 * z[..., 0] * z[..., 1].square()


test_function.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", GUIDES)
def test_gradients_of_draws_are_those_of_the_density(name: str) -> None:
    """The pathwise gradient of E_q f is E_q[f * the gradient of log q]."""
    guide, q = density(name)
    bias = [p for n, p in guide.encoder.named_parameters() if n.endswith("bias")][-1]
    assert q().has_rsample

    def difference() -> Tensor:
        z = q().rsample((1000,))
        (pathwise,) = torch.autograd.grad(test_function(z).mean(), bias)
        weighted = (test_function(z).detach() - 0.1) * q().log_prob(z.detach())
        return pathwise - torch.autograd.grad(weighted.mean(), bias)[0]

    differences = torch.stack([difference() for _ in range(100)])
    error = differences.std(0) / len(differences) ** 0.5
    assert (differences.mean(0).abs() <= 5 * error).all()


def test_gradients_of_a_mixtures_draws_are_finite_in_many_dimensions() -> None:
    guide = MixtureNormal((3,), 300, small, num_components=5)
    guide(torch.randn(20, 3)).rsample().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in guide.parameters())


@pytest.mark.parametrize("batch", [(), (4,)])
def test_a_mixture_of_normals_is_the_sum_of_its_parts_and_so_are_its_gradients(batch) -> None:
    parameters = [torch.randn(*batch, 3), torch.randn(*batch, 3, 2), torch.rand(*batch, 3, 2) + 0.2]
    logits, loc, scale = (p.double().requires_grad_() for p in parameters)
    z = torch.randn(5, 4, 2).double().requires_grad_()
    parts = Independent(Normal(loc, scale), 1)
    expected = MixtureSameFamily(Categorical(logits=logits), parts).expand((4,)).log_prob(z)
    ours = NormalMixture(logits, loc, scale).expand((4,)).log_prob(z)
    torch.testing.assert_close(ours, expected)
    for left, right in zip(
        *(torch.autograd.grad(y.sin().sum(), (logits, loc, scale, z)) for y in (ours, expected)),
        strict=True,
    ):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("width", [1.0, 1e-2, 1e-4])
def test_nothing_cancels_where_a_mixtures_parts_are_narrow(width: float) -> None:
    logits, loc, scale = torch.randn(7), 3 * torch.randn(7, 50), width * (torch.rand(7, 50) + 0.5)
    mixture = NormalMixture(logits, loc, scale)
    z = mixture.sample((1000,)).requires_grad_()
    parts = Independent(Normal(loc.double(), scale.double()), 1)
    exact = MixtureSameFamily(Categorical(logits=logits.double()), parts)
    expected = exact.log_prob(z.double())
    rounding = 50 * torch.finfo(torch.float32).eps
    assert (mixture.log_prob(z) - expected).abs().max() < rounding * expected.abs().max()
    slopes = [torch.autograd.grad(y.sum(), z)[0] for y in (mixture.log_prob(z), expected)]
    torch.testing.assert_close(*slopes)


def test_a_vamp_prior_is_the_mean_of_what_the_guide_makes() -> None:
    guide = MeanFieldNormal((3,), 2, small)
    prior, z = VampPrior(2, guide, num_components=4), torch.randn(7, 2)
    each = torch.stack([guide(u).log_prob(z) for u in prior.pseudo_inputs])
    torch.testing.assert_close(prior().log_prob(z), each.exp().mean(0).log())
    assert [name for name, _ in prior.named_parameters()] == ["scaled_inputs"]
    assert {name.split(".")[0] for name in prior.state_dict()} == {"scaled_inputs", "scaling"}


def test_a_vamp_prior_starts_from_data() -> None:
    guide, data = MeanFieldNormal((3,), 2, small), 1e4 + 1e3 * torch.randn(5, 3)
    prior = VampPrior(2, guide, num_components=5)
    prior.start_from(data)
    found = prior.pseudo_inputs[prior.pseudo_inputs[:, 0].argsort()]
    torch.testing.assert_close(found, data[data[:, 0].argsort()])
    torch.testing.assert_close(prior.scaled_inputs.square().mean(0), torch.ones(3))
    with refused("VampPrior", expected="6 rows of shape (3,)", remedy="num_components"):
        VampPrior(2, guide, num_components=6).start_from(data)
    with refused("VampPrior", expected="5 rows of shape (3,)"):
        prior.start_from(data[:, :2])


READERS = {
    "EmbeddedTokens": lambda prior: VAE((4,), 2, prior=prior, encoder=EmbeddedTokens),
    "MaskedInput": lambda prior: VAE(
        (4,), 2, prior=prior, encoder=partial(MaskedInput, network=EmbeddedTokens)
    ),
    "TokenVAE": lambda prior: TokenVAE((4,), 2, prior=prior),
    "OneHot": lambda prior: prior(4, MeanFieldNormal((2,), 4, OneHot)),
}


@pytest.mark.parametrize("name", READERS)
def test_categories_have_no_pseudo_inputs(name: str) -> None:
    with refused("VampPrior", remedy="GaussianMixture"):
        READERS[name](partial(VampPrior, num_components=3))


def test_the_standard_normal() -> None:
    assert StandardNormal(3)().log_prob(torch.zeros(3)).item() == pytest.approx(-2.756815, abs=1e-5)
    assert StandardNormal(3).double()().mean.dtype == torch.float64  # it moves with the module


def test_what_cannot_be_made_is_refused() -> None:
    with refused("VampPrior", expected="a guide"):
        VampPrior(2)
    with refused("num_components", expected="at least 1"):
        GaussianMixture(2, num_components=0)
    with refused("num_components", expected="at least 1"):
        MixtureNormal((3,), 2, num_components=0)
    with refused("rank", expected="1 to latent_dim, 2"):
        LowRankNormal((3,), 2, rank=3)
