"""Whatever is run many times at once says and draws what it says and draws by itself."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from pyro.distributions import transforms
from pyro.distributions.testing.rejection_exponential import RejectionExponential
from pyro.ops.special import safe_log
from torch import Tensor, nn

from pyro_vae.program.vmap import map_runs

# torch's Wishart takes every sound sample for a singular one
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")

HALF, ONE, TWO = torch.tensor(0.5), torch.tensor(1.0), torch.tensor(2.0)
COVARIANCE = torch.tensor([[1.0, 0.3], [0.3, 2.0]])
TRIL = torch.linalg.cholesky(COVARIANCE)
SCORES = torch.tensor([[0.4, -1.0, 0.3], [1.2, 0.1, -0.5], [0.0, 0.7, 0.2]])
STANDARD = dist.Normal(torch.zeros(2), 1.0).to_event(1)
MVN = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
STEPS = torch.tensor([0.0, 0.1, 0.3])


def three(s: Tensor) -> Tensor:
    return torch.stack([s, 2 * s, ONE])


def gaussian_hmm(s: Tensor) -> Any:
    return dist.GaussianHMM(
        MVN,
        torch.eye(2),
        dist.MultivariateNormal(torch.zeros(2), s * torch.eye(2)),
        torch.eye(2),
        MVN,
        duration=3,
    )


def linear_hmm(s: Tensor) -> Any:
    return dist.LinearHMM(
        STANDARD,
        torch.eye(2),
        dist.Normal(torch.zeros(2), s).to_event(1),
        torch.eye(2),
        STANDARD,
        duration=3,
    )


def rate_times(s: Tensor) -> Any:
    return dist.CoalescentTimesWithRate(torch.tensor([-1.0, -0.5, 0.0, 0.5]), s * torch.ones(5))


def gamma_gaussian_hmm(s: Tensor) -> Any:
    noise = dist.MultivariateNormal(torch.zeros(2), s * torch.eye(2))
    return dist.GammaGaussianHMM(
        dist.Gamma(s, 1.0), MVN, torch.eye(2), noise, torch.eye(2), MVN, duration=3
    )


FLOWS = {
    name: make()
    for name, make in {
        "affine_autoregressive": lambda: transforms.affine_autoregressive(2),
        "affine_coupling": lambda: transforms.affine_coupling(2),
        "householder": lambda: transforms.householder(2),
        "permute": lambda: transforms.permute(2, torch.tensor([1, 0])),
        "tanh": transforms.TanhTransform,
    }.items()
}
# A function of a positive number, which differs from run to run, to a distribution.
DISTRIBUTIONS: dict[str, Callable[[Tensor], Any]] = {
    "AVFMultivariateNormal": lambda s: dist.AVFMultivariateNormal(
        s * torch.ones(2), TRIL, 0.1 * torch.ones(2, 2, 2)
    ),
    "AffineBeta": lambda s: dist.AffineBeta(s, ONE, 0.0, 2.0),
    "AsymmetricLaplace": lambda s: dist.AsymmetricLaplace(s, 1.0, 2.0),
    "Bernoulli": lambda s: dist.Bernoulli(torch.sigmoid(s)),
    "Beta": lambda s: dist.Beta(s, 1.0),
    "BetaBinomial": lambda s: dist.BetaBinomial(s, ONE, 10),
    "Binomial": lambda s: dist.Binomial(10, torch.sigmoid(s)),
    "Categorical": lambda s: dist.Categorical(three(s)),
    "Cauchy": lambda s: dist.Cauchy(0.0, s),
    "Chi2": lambda s: dist.Chi2(s),
    "CoalescentTimes": lambda s: dist.CoalescentTimes(torch.tensor([0.0, 1.0, 2.0]), s),
    "ContinuousBernoulli": lambda s: dist.ContinuousBernoulli(torch.sigmoid(s)),
    "Delta": lambda s: dist.Delta(s),
    "Dirichlet": lambda s: dist.Dirichlet(three(s)),
    "DirichletMultinomial": lambda s: dist.DirichletMultinomial(three(s), 10),
    "DiscreteHMM": lambda s: dist.DiscreteHMM(
        torch.zeros(2),
        torch.stack([torch.stack([s, ONE]), torch.ones(2)]).log(),
        dist.Normal(torch.tensor([0.0, 1.0]), s),
        duration=4,
    ),
    "Empirical": lambda s: dist.Empirical(torch.tensor([1.0, 2.0, 3.0]), three(s).log()),
    "Exponential": lambda s: dist.Exponential(s),
    "ExtendedBetaBinomial": lambda s: dist.ExtendedBetaBinomial(s, ONE, torch.tensor(10)),
    "ExtendedBinomial": lambda s: dist.ExtendedBinomial(10, torch.sigmoid(s)),
    "FisherSnedecor": lambda s: dist.FisherSnedecor(s, torch.tensor(3.0)),
    "FoldedDistribution": lambda s: dist.FoldedDistribution(dist.Normal(s, 1.0)),
    "Gamma": lambda s: dist.Gamma(s, s),
    "GammaPoisson": lambda s: dist.GammaPoisson(s, ONE),
    "GaussianHMM": gaussian_hmm,
    "GeneralizedPareto": lambda s: dist.GeneralizedPareto(0.0, s, 0.2),
    "Geometric": lambda s: dist.Geometric(torch.sigmoid(-s)),
    "Gumbel": lambda s: dist.Gumbel(s, 1.0),
    "HalfCauchy": lambda s: dist.HalfCauchy(s),
    "HalfNormal": lambda s: dist.HalfNormal(s),
    "InverseGamma": lambda s: dist.InverseGamma(s, 1.0),
    "Kumaraswamy": lambda s: dist.Kumaraswamy(s, 1.0),
    "LKJ": lambda s: dist.LKJ(3, s),
    "LKJCholesky": lambda s: dist.LKJCholesky(3, s),
    "Laplace": lambda s: dist.Laplace(0.0, s),
    "LinearHMM": linear_hmm,
    "LogNormal": lambda s: dist.LogNormal(0.0, s),
    "Logistic": lambda s: dist.Logistic(0.0, s),
    "LogisticNormal": lambda s: dist.LogisticNormal(s * torch.ones(2), torch.ones(2)),
    "LowRankMultivariateNormal": lambda s: dist.LowRankMultivariateNormal(
        torch.zeros(3), s * torch.ones(3, 1), torch.ones(3)
    ),
    "MaskedDistribution": lambda s: dist.Normal(torch.zeros(3), s).mask(
        torch.tensor([True, False, True])
    ),
    "MaskedMixture": lambda s: dist.MaskedMixture(
        torch.tensor([True, False]),
        dist.Normal(torch.zeros(2), s),
        dist.Normal(torch.zeros(2), 1.0),
    ),
    "MixtureOfDiagNormals": lambda s: dist.MixtureOfDiagNormals(
        SCORES, s * torch.ones(3, 3), torch.ones(3)
    ),
    "MixtureOfDiagNormalsSharedCovariance": lambda s: dist.MixtureOfDiagNormalsSharedCovariance(
        SCORES, s * torch.ones(3), torch.ones(3)
    ),
    "MixtureSameFamily": lambda s: dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2)), dist.Normal(torch.tensor([0.0, 3.0]), s)
    ),
    "Multinomial": lambda s: dist.Multinomial(10, three(s)),
    "MultivariateNormal": lambda s: dist.MultivariateNormal(torch.zeros(2), s * COVARIANCE),
    "MultivariateNormal.precision": lambda s: dist.MultivariateNormal(
        torch.zeros(2), precision_matrix=s * COVARIANCE
    ),
    "MultivariateNormal.tril": lambda s: dist.MultivariateNormal(
        torch.zeros(2), scale_tril=s * TRIL
    ),
    "MultivariateStudentT": lambda s: dist.MultivariateStudentT(s + 2, torch.zeros(2), TRIL),
    "NegativeBinomial": lambda s: dist.NegativeBinomial(4 * s, torch.tensor(0.4)),
    "Normal": lambda s: dist.Normal(0.0, s),
    "Normal.expand": lambda s: dist.Normal(0.0, s).expand([3]).to_event(1),
    "OMTMultivariateNormal": lambda s: dist.OMTMultivariateNormal(torch.zeros(2), s * TRIL),
    "OneHotCategorical": lambda s: dist.OneHotCategorical(three(s)),
    "OneHotCategoricalStraightThrough": lambda s: dist.OneHotCategoricalStraightThrough(three(s)),
    "OneOneMatching": lambda s: dist.OneOneMatching(s * SCORES),
    "OneTwoMatching": lambda s: dist.OneTwoMatching(s * SCORES[[0, 1, 2, 0], :2]),
    "OrderedLogistic": lambda s: dist.OrderedLogistic(s, torch.tensor([-1.0, 0.0, 1.0])),
    "Pareto": lambda s: dist.Pareto(1.0, s),
    "Poisson": lambda s: dist.Poisson(s),
    "ProjectedNormal": lambda s: dist.ProjectedNormal(torch.stack([s, ONE])),
    "RelaxedBernoulli": lambda s: dist.RelaxedBernoulli(HALF, torch.sigmoid(s)),
    "RelaxedBernoulliStraightThrough": lambda s: dist.RelaxedBernoulliStraightThrough(
        HALF, torch.sigmoid(s)
    ),
    "RelaxedOneHotCategorical": lambda s: dist.RelaxedOneHotCategorical(HALF, three(s)),
    "SineSkewed": lambda s: dist.SineSkewed(
        dist.VonMises(torch.zeros(1), s.reshape(1)).to_event(1), torch.tensor([0.5])
    ),
    "SkewLogistic": lambda s: dist.SkewLogistic(0.0, s, 1.0),
    "SoftAsymmetricLaplace": lambda s: dist.SoftAsymmetricLaplace(s, 1.0, 2.0, 0.5),
    "SoftLaplace": lambda s: dist.SoftLaplace(0.0, s),
    "SpanningTree": lambda s: dist.SpanningTree(s * torch.tensor([0.3, -0.2, 0.9])),
    "StudentT": lambda s: dist.StudentT(s + 2),
    "TransformedDistribution": lambda s: dist.TransformedDistribution(
        dist.Normal(0.0, s), [transforms.ExpTransform(), transforms.AffineTransform(1.0, TWO)]
    ),
    "TruncatedPolyaGamma": lambda s: dist.TruncatedPolyaGamma(prototype=torch.zeros(2)),
    "Uniform": lambda s: dist.Uniform(0.0, s),
    "Unit": lambda s: dist.Unit(s.log()),
    "VonMises": lambda s: dist.VonMises(0.0, s),
    "Weibull": lambda s: dist.Weibull(1.0, s),
    "Wishart": lambda s: dist.Wishart(torch.tensor(10.0), s * torch.eye(2)),
    "ZeroInflatedDistribution": lambda s: dist.ZeroInflatedDistribution(dist.Poisson(s), gate=HALF),
    "ZeroInflatedNegativeBinomial": lambda s: dist.ZeroInflatedNegativeBinomial(
        4 * s, probs=HALF, gate=HALF
    ),
    "ZeroInflatedPoisson": lambda s: dist.ZeroInflatedPoisson(s, gate=HALF),
    **{
        name: lambda s, flow=flow: dist.TransformedDistribution(
            dist.Normal(torch.zeros(2), s).to_event(1), [flow]
        )
        for name, flow in FLOWS.items()
    },
}
# scored only: Pyro cannot draw them
SCORED: dict[str, tuple[Callable[[Tensor], Any], Tensor]] = {
    "CoalescentTimesWithRate": (rate_times, torch.tensor([-2.0, -1.5, -1.2])),
    "GammaGaussianHMM": (gamma_gaussian_hmm, SCORES[:, :2]),
    "GroupedNormalNormal": (
        lambda s: dist.GroupedNormalNormal(
            s * torch.ones(2), torch.ones(2), torch.ones(3), torch.tensor([0, 0, 1])
        ),
        SCORES[0],
    ),
    "ImproperUniform": (lambda s: dist.ImproperUniform(dist.constraints.real, (), ()), ONE),
    "LogNormalNegativeBinomial": (
        lambda s: dist.LogNormalNegativeBinomial(4 * s, torch.tensor(0.0), ONE),
        torch.tensor(3.0),
    ),
    "VonMises3D": (lambda s: dist.VonMises3D(three(s)), torch.tensor([0.6, 0.8, 0.0])),
}
# drawn only, for Python asks for a value when they are scored: these programs run one by one
DRAWN: dict[str, Callable[[Tensor], Any]] = {
    "NanMaskedMultivariateNormal": lambda s: dist.NanMaskedMultivariateNormal(
        torch.zeros(2), s * COVARIANCE
    ),
    "NanMaskedNormal": lambda s: dist.NanMaskedNormal(torch.zeros(()), s),
    "RejectionExponential": lambda s: RejectionExponential(s, HALF),
    "Stable": lambda s: dist.Stable(1.5, 0.0, s),
    "StableWithLogProb": lambda s: dist.StableWithLogProb(1.5, 0.0, s),
}
# neither: they draw and score by a tensor's value, or are but a base of others
NOT = {
    *("SineBivariateVonMises", "CoalescentRateLikelihood", "GaussianMRF", "IndependentHMM"),
    *("GaussianScaleMixture", "RelaxedOneHotCategoricalStraightThrough", "InverseAutoregressive"),
    *(
        "Distribution",
        "TorchDistribution",
        "TorchDistributionMixin",
        "ExponentialFamily",
        "Independent",
    ),
    *("ExpandedDistribution", "TransformModule", "ComposeTransformModule", "ConditionalTransform"),
    *(
        "ConditionalDistribution",
        "ConditionalTransformedDistribution",
        "ConditionalTransformModule",
    ),
    *("LKJCorrCholesky", "Rejector", "ReflectedDistribution", "TransformedDistribution"),
}


def names() -> set[str]:
    classes = {name for name in dist.__all__ if isinstance(getattr(dist, name, None), type)}
    return {
        name
        for name in classes
        if issubclass(getattr(dist, name), torch.distributions.Distribution)
    }


def test_every_distribution_of_pyro_is_listed() -> None:
    listed = {name.split(".")[0] for name in (*DISTRIBUTIONS, *SCORED, *DRAWN, *NOT)}
    assert names() - listed == set()


SCALES = torch.tensor([0.7, 1.1, 1.6, 0.9])


@pytest.mark.parametrize("name", {**DISTRIBUTIONS, **DRAWN})
def test_draws(name: str) -> None:
    """Of each run its own, from the same distribution as by themselves (Kolmogorov-Smirnov)."""
    of, count = {**DISTRIBUTIONS, **DRAWN}[name], 300
    scales = torch.full((count,), 0.9)
    with torch.no_grad(), pyro.validation_enabled(False):
        ours = map_runs(lambda s: pyro.sample("x", of(s)), count, scales)
        alone = torch.stack([of(s)() for s in scales])
    assert ours.shape == alone.shape
    assert ours.dtype == alone.dtype
    pairs = zip(*(x.reshape(count, -1).double().T for x in (ours, alone)), strict=True)
    for one, other in pairs:
        assert scipy.stats.ks_2samp(one.numpy(), other.numpy(), method="asymp").pvalue > 1e-4
        assert one.unique().numel() > 0.9 * other.unique().numel() - 5


def scored(fn: Any, value: Tensor) -> Tensor:
    """A site's log-probability, ``batch |``, free of its mask."""
    site = pyro.poutine.trace(lambda: pyro.sample("x", fn, obs=value)).get_trace().nodes["x"]
    return site["fn"].log_prob(value)


@pytest.mark.parametrize("name", {**DISTRIBUTIONS, **SCORED})
def test_scores(name: str) -> None:
    if name == "LinearHMM":
        pytest.skip("has no density")
    of = DISTRIBUTIONS.get(name) or SCORED[name][0]
    with torch.no_grad(), pyro.validation_enabled(False):
        values = torch.stack([of(s)() if name not in SCORED else SCORED[name][1] for s in SCALES])
        ours = map_runs(lambda s, x: scored(of(s), x), len(SCALES), SCALES, values)
        alone = torch.stack([of(s).log_prob(x) for s, x in zip(SCALES, values, strict=True)])
    torch.testing.assert_close(ours, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_gradients(name: str) -> None:
    """With respect to what differs from run to run, through the mapped density."""
    if name in ("LinearHMM", "Unit"):
        pytest.skip("has no density of a value")
    of = DISTRIBUTIONS[name]
    with pyro.validation_enabled(False):
        with torch.no_grad():
            values = torch.stack([of(s)() for s in SCALES])
        scales = SCALES.clone().requires_grad_()
        ours = map_runs(lambda s, x: scored(of(s), x).sum(), len(SCALES), scales, values)
        alone = torch.stack([of(s).log_prob(x).sum() for s, x in zip(scales, values, strict=True)])
    if alone.requires_grad:
        found, expected = (torch.autograd.grad(x.sum(), scales)[0] for x in (ours, alone))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


class ByNumPy(dist.TorchDistribution):
    """A person's own distribution, which draws from NumPy's generator."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, scale: Tensor) -> None:
        self.scale = scale
        super().__init__(validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.scale * torch.tensor(np.random.standard_normal())  # noqa: NPY002


def test_a_generator_of_another_kind_draws_for_each_run() -> None:
    with torch.no_grad():
        np.random.seed(0)  # noqa: NPY002
        scales = torch.cat([torch.ones(500), 5 * torch.ones(500)]).double()
        x = map_runs(lambda s: pyro.sample("x", ByNumPy(s)), 1000, scales) / scales
        y = map_runs(lambda: pyro.sample("x", ByNumPy(TWO)), 1000) / 2
    for draws in (x[:500], x[500:], y):
        assert len(draws.unique()) == len(draws)
        assert abs(draws.mean()) < 4 / len(draws) ** 0.5
        assert abs(draws.square().mean() - 1) < 4 * (2 / len(draws)) ** 0.5


def test_what_is_made_in_a_run_is_its_own_and_what_was_made_before_is_not() -> None:
    shared = torch.zeros(3)

    def fill(x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.zeros(3)
        y[0], y[1:] = x, 2 * x
        z = shared.clone()
        z[shared == 0] = 7.0
        z.view(-1)[::2] += x
        return y, z.data

    x = torch.arange(4.0)
    y, z = map_runs(fill, 4, x)
    torch.testing.assert_close(y, x[:, None] * torch.tensor([1.0, 2.0, 2.0]))
    torch.testing.assert_close(z, 7 + x[:, None] * torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(shared, torch.zeros(3))


def test_what_a_distribution_works_out_and_keeps_stays_in_the_run() -> None:
    matching = dist.OneTwoMatching(SCORES[[0, 1, 2, 0], :2])
    given = torch.tensor([0, 1, 0, 1])
    expected = dist.OneTwoMatching(SCORES[[0, 1, 2, 0], :2]).log_prob(given)

    def model() -> Tensor:
        pyro.sample("x", matching, obs=given)
        trace = pyro.poutine.trace(lambda: pyro.sample("x", matching, obs=given)).get_trace()
        return trace.log_prob_sum()

    with pyro.validation_enabled(False):
        torch.testing.assert_close(map_runs(model, 3), expected.expand(3))
        torch.testing.assert_close(matching.log_prob(given), expected)


def last(output: Any) -> Tensor:
    while isinstance(output, tuple):
        output = output[0]
    return output


@pytest.mark.parametrize(
    "network",
    [
        nn.LSTM(1, 3, 2, batch_first=True, bidirectional=True),
        nn.LSTM(1, 3, bias=False),
        nn.GRU(1, 3, 2),
        nn.RNN(1, 3),
        nn.RNN(1, 3, nonlinearity="relu"),
        nn.LSTMCell(1, 3),
        nn.GRUCell(1, 3),
        nn.GRUCell(1, 3, bias=False),
        nn.RNNCell(1, 3),
    ],
    ids=str,
)
def test_recurrent_networks(network: nn.Module) -> None:
    x = torch.randn(5, 4, 1)
    if not isinstance(network, nn.RNNCellBase):
        x = x.unsqueeze(1)  # runs, batch or steps, steps or batch, values
    leaf = x.clone().requires_grad_()
    ours = map_runs(lambda one: last(network(one)), len(x), leaf)
    alone = torch.stack([last(network(one)) for one in leaf])
    torch.testing.assert_close(ours, alone)
    found, expected = (torch.autograd.grad(y.square().sum(), leaf)[0] for y in (ours, alone))
    torch.testing.assert_close(found, expected)


def test_the_logarithm_that_pyro_s_sums_take() -> None:
    x = torch.tensor([[0.0, 0.5], [1.0, 2.0]], requires_grad=True)
    ours, alone = map_runs(safe_log, 2, x), safe_log(x)
    torch.testing.assert_close(ours, alone)
    found, expected = (
        torch.autograd.grad(y, x, torch.ones_like(x), retain_graph=True)[0] for y in (ours, alone)
    )
    torch.testing.assert_close(found, expected)
    assert found[0, 0] == 1 / torch.finfo(x.dtype).eps


def test_parts_change_the_noise_of_draws_and_nothing_else() -> None:
    x = torch.randn(7, 3)
    score: Callable[[Tensor], Tensor] = lambda one: dist.Normal(one.sum(), math.e).log_prob(ONE)  # noqa: E731
    torch.testing.assert_close(map_runs(score, 7, x, at_once=2), map_runs(score, 7, x))
    torch.manual_seed(0)
    first = map_runs(lambda: pyro.sample("x", dist.Normal(0.0, 1.0)), 5)
    torch.manual_seed(0)
    assert torch.equal(first, map_runs(lambda: pyro.sample("x", dist.Normal(0.0, 1.0)), 5))
