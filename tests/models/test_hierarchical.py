"""Several layers: with linear Gaussian parts the evidence is a Gaussian's, and the guides can be exact."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from pyro_vae import InputError, log_evidence
from pyro_vae.guides import BottomUp, Ladder, MeanFieldNormal
from pyro_vae.inference.svi.step import leaves
from pyro_vae.likelihoods import Bernoulli, FixedScaleNormal, Missing
from pyro_vae.models import VAE, ConditionalVAE, HierarchicalVAE, MixtureVAE
from pyro_vae.networks import MLP, MaskedInput
from pyro_vae.priors import SphericalUniform, VampPrior

linear = partial(MLP, hidden_dims=())
NOISE = 0.4


def affine(module: nn.Module) -> nn.Linear:
    """The one linear map of a part."""
    (found,) = (m for m in module.modules() if isinstance(m, nn.Linear))
    return found


def make(guide, *latent_dims: int) -> HierarchicalVAE:
    """A linear Gaussian hierarchy: no scale depends on what is above."""
    torch.manual_seed(1)
    likelihood = partial(FixedScaleNormal, scale=NOISE)
    parts = {"encoder": linear, "decoder": linear, "between": linear}
    vae = HierarchicalVAE((3,), latent_dims, likelihood=likelihood, guide=guide, **parts)
    vae.double().requires_grad_(False)
    for layer, size in zip(vae.layers, latent_dims, strict=False):
        affine(layer).weight[size:] = 0
        affine(layer).bias.normal_()
    affine(vae.likelihood).bias.normal_()
    return vae


def joint(vae: HierarchicalVAE) -> tuple[Tensor, Tensor, list[slice]]:
    """Mean and covariance of (x, z_1, ..., z_L), and where each is."""
    top = vae.prior.latent_dim
    loc, covariance = torch.zeros(top).double(), torch.eye(top).double()
    size = top
    maps = [(affine(p), p.latent_dim) for p in vae.layers]
    steps = [(m.weight[:n], m.bias[:n], (2 * m.bias[n:]).exp().diag()) for m, n in maps]
    out = affine(vae.likelihood)
    steps.insert(0, (out.weight, out.bias, NOISE**2 * torch.eye(3).double()))
    sizes = [top]
    for weight, bias, noise in reversed(steps):  # whatever is new comes first
        cross = weight @ covariance[:size]
        below = weight @ covariance[:size, :size] @ weight.T + noise
        loc = torch.cat([weight @ loc[:size] + bias, loc])
        covariance = torch.cat([torch.cat([below, cross], 1), torch.cat([cross.T, covariance], 1)])
        size = len(weight)
        sizes.insert(0, size)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return loc, covariance, [slice(end - n, end) for n, end in zip(sizes, ends, strict=True)]


def regression(loc: Tensor, covariance: Tensor, of: slice, on: slice) -> tuple[Tensor, ...]:
    """Weight, bias and log-scale of E[of | on], where ``of`` is one number."""
    weight = torch.linalg.solve(covariance[on, on], covariance[on, of]).T
    variance = covariance[of, of] - weight @ covariance[on, of]
    return weight, loc[of] - weight @ loc[on], variance.log().squeeze(0) / 2


@pytest.mark.parametrize("guide", [BottomUp, partial(Ladder, width=6)])
@pytest.mark.parametrize("sizes", [(2,), (3, 2), (2, 4, 2)])
def test_the_evidence_is_that_of_the_gaussian_marginal(guide, sizes) -> None:
    vae, x = make(guide, *sizes), torch.randn(8, 3).double()
    loc, covariance, (data, *_) = joint(vae)
    expected = MultivariateNormal(loc[data], covariance[data, data]).log_prob(x)
    exact = log_evidence(vae, x, method="exact")
    torch.testing.assert_close(exact.log_evidence, expected)


def test_bottom_up_can_be_the_exact_posterior() -> None:
    vae, x = make(BottomUp, 1, 1, 1), torch.randn(8, 3).double()
    loc, covariance, at = joint(vae)
    for q, on, of in zip(vae.recognition.layers, at, at[1:], strict=False):
        weight, bias, log_scale = regression(loc, covariance, of, on)
        affine(q).weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
        affine(q).bias.copy_(torch.cat([bias, log_scale]))
    check_it_is_exact(vae, x, loc, covariance)


def test_a_ladder_can_be_the_exact_posterior() -> None:
    """r_l is the likelihood of z_l, or at the top its posterior."""
    vae, x = make(partial(Ladder, width=3), 1, 1, 1), torch.randn(8, 3).double()
    loc, covariance, (data, *layers) = joint(vae)
    for up in vae.recognition.ups:  # x is handed on as it is
        affine(up).weight.copy_(torch.eye(3))
        affine(up).bias.zero_()
    for layer, (head, at) in enumerate(zip(vae.recognition.heads, layers, strict=True), 1):
        weight, bias, log_scale = regression(loc, covariance, at, data)
        if layer < len(layers):  # the posterior's precision less the prior's
            before, after = 1 / covariance[at, at].squeeze(), (-2 * log_scale).exp()
            precision = after - before
            weight = weight * after / precision
            bias = (bias * after - loc[at] * before) / precision
            log_scale = -precision.log() / 2
        head.weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
        head.bias.copy_(torch.cat([bias, log_scale]))
    check_it_is_exact(vae, x, loc, covariance)


def check_it_is_exact(vae, x, loc, covariance) -> None:
    """Every weight is the evidence itself."""
    expected = MultivariateNormal(loc[:3], covariance[:3, :3]).log_prob(x)
    found = log_evidence(vae, x, num_particles=50, seed=0)
    torch.testing.assert_close(found.log_evidence, expected)
    torch.testing.assert_close(found.bounds[1], expected, atol=1e-5, rtol=0)  # the ELBO


def test_the_ladder_learns_the_models_layers_and_owns_none_of_them() -> None:
    vae = HierarchicalVAE((4,), (3, 2), guide=Ladder)
    names = dict(vae.named_parameters())
    assert not [name for name in names if "_layers" in name]
    x = torch.zeros(2, 4)
    (_, top), (_, below) = vae.recognition(x)
    reached = {id(leaf) for leaf in leaves(below(top(x).rsample()).rsample().sum())}
    assert {id(p) for p in vae.layers.parameters()} <= reached


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(HierarchicalVAE, (4,), ()), "latent_dims must hold a size of at least 1"),
        (partial(HierarchicalVAE, (4,), (3, 0)), "size in latent_dims must be at least 1, not 0"),
        (partial(HierarchicalVAE, (4,), 3), "for each layer, as (32, 16) does, not 3"),
        (partial(HierarchicalVAE, (4,), guide=MeanFieldNormal), "take one, such as BottomUp"),
        (partial(VAE, (4,), 2, guide=BottomUp), "BottomUp does not fit here, as it is not"),
        (partial(MixtureVAE, (4,), 2, guide=partial(Ladder, width=8)), "Ladder does not fit"),
        (partial(ConditionalVAE, (4,), 2, num_classes=2, guide=Ladder), "Ladder does not fit"),
        (partial(HierarchicalVAE, (4,), (3, 2), prior=SphericalUniform), "SphericalUniform puts"),
        (
            partial(HierarchicalVAE, (4,), (3, 2), prior=VampPrior),
            "take another prior there, such as",
        ),
        (
            partial(
                HierarchicalVAE, (4,), (3, 2), likelihood=partial(Missing, likelihood=Bernoulli)
            ),
            "the encoder MLP cannot: make it partial(MaskedInput, network=MLP)",
        ),
        (partial(HierarchicalVAE, (4,), (3, 2), guide=partial(Ladder, width=0)), "width"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message) -> None:
    with pytest.raises(InputError) as refusal:
        make()
    assert message in str(refusal.value)


@pytest.mark.parametrize("guide", [BottomUp, Ladder])
def test_missing_values_are_read_by_an_encoder_that_can(guide) -> None:
    missing = partial(Missing, likelihood=Bernoulli)
    vae = HierarchicalVAE((4,), (3, 2), guide=guide, likelihood=missing, encoder=MaskedInput)
    x = torch.tensor([[0.0, 1.0, float("nan"), 1.0]])
    assert log_evidence(vae, x, num_particles=10).log_evidence.isfinite().all()
