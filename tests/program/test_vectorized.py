"""Programs in the ways of Pyro's examples, which take no further dimension, with all particles at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import pytest
import torch
from oracles import agrees
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer import autoguide
from pyro.nn import PyroModule, PyroSample
from pyro.ops.indexing import Vindex
from pyro.util import warn_if_nan
from torch import Tensor, nn
from torch.nn import functional

from pyro_vae import InputError, log_evidence
from pyro_vae.inference.annealing.from_guide import FromGuide
from pyro_vae.inference.annealing.hmc import Sampler
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.particles import draw_by_vmap
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.vectorization import pair_together, why_not_by_vmap

NOISE = torch.Generator().manual_seed(0)
X = torch.randn(20, 5, generator=NOISE)
Y = X @ torch.randn(5, generator=NOISE) + 0.3 * torch.randn(20, generator=NOISE)
GROUP = torch.randint(4, (20,), generator=NOISE)
SUMMED = {"enumerate": "parallel"}


@dataclass(frozen=True)
class Idiom:
    """A model, a guide or what makes one of the model, and the arguments."""

    model: Any
    guide: Any
    args: tuple[Any, ...]

    def program(self) -> Program:
        guide = self.guide(self.model) if isinstance(self.guide, type | partial) else self.guide
        with torch.no_grad():
            guide(*self.args)
        return as_program((self.model, guide))


IDIOMS: dict[str, Idiom] = {}


def idiom(*args: Any, guide: Any = autoguide.AutoNormal) -> Callable[[Any], Any]:
    def add(model: Any) -> Any:
        IDIOMS[getattr(model, "__name__", type(model).__name__)] = Idiom(model, guide, args)
        return model

    return add


@idiom(X, Y)
def matrix_times_weights(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.HalfCauchy(1.0))
    with pyro.plate("data", x.shape[0]):
        pyro.sample("y", dist.Normal(x @ w, scale + 0.1), obs=y)


for make in (
    autoguide.AutoDiagonalNormal,
    autoguide.AutoMultivariateNormal,
    autoguide.AutoLowRankMultivariateNormal,
    autoguide.AutoIAFNormal,
    autoguide.AutoGaussian,
    partial(
        autoguide.AutoStructured,
        conditionals={"w": "mvn", "scale": "normal"},
        dependencies={"scale": {"w": "linear"}},
    ),
):
    name = getattr(make, "__name__", "AutoStructured")
    IDIOMS[name] = Idiom(matrix_times_weights, make, (X, Y))


@idiom(X, Y)
def linear(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(1, 5), 1.0).to_event(2))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(functional.linear(x, w).squeeze(-1) + b, 0.5), obs=y)


@idiom(Y.reshape(10, 2))
def loop_over_time(x: Tensor) -> None:
    z = pyro.sample("z_0", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    transition = pyro.sample("transition", dist.Normal(torch.eye(2), 0.1).to_event(2))
    for t in pyro.markov(range(x.shape[0])):
        z = pyro.sample(f"z_{t + 1}", dist.Normal(transition @ z, 0.5).to_event(1))
        pyro.sample(f"x_{t}", dist.Normal(z, 0.5).to_event(1), obs=x[t])


@idiom(GROUP, Y)
def groups_by_index(group: Tensor, y: Tensor) -> None:
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("groups", 4):
        w = pyro.sample("w", dist.Normal(loc, 1.0))
    with pyro.plate("data", len(y)) as rows:
        pyro.sample("y", dist.Normal(w[group[rows]], 0.5), obs=y[torch.arange(len(y))])


def of_mixture(y: Tensor) -> None:
    pyro.sample("weights", dist.Dirichlet(torch.tensor([1.0, 2.0, 3.0])))
    with pyro.plate("components", 3):
        pyro.sample("theta", dist.Normal(torch.tensor([-1.0, 0.0, 1.0]), 0.5))


@idiom(Y, guide=of_mixture)
def mixture_summed_out(y: Tensor) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("components", 3):
        theta = pyro.sample("theta", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Categorical(weights), infer=SUMMED)
        pyro.sample("y", dist.Normal(theta[z], 0.7), obs=y)


@idiom(Y, guide=of_mixture)
def mixture_by_vindex(y: Tensor) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("components", 3):
        theta = pyro.sample("theta", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Categorical(weights), infer=SUMMED)
        pyro.sample("y", dist.Normal(Vindex(theta)[..., z], weights.sum()), obs=y)


def of_drawn_mixture(y: Tensor) -> None:
    of_mixture(y)
    with pyro.plate("data", len(y)):
        pyro.sample("z", dist.Categorical(torch.ones(3) / 3))


@idiom(Y, guide=of_drawn_mixture)
def mixture_drawn(y: Tensor) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("components", 3):
        theta = pyro.sample("theta", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Categorical(weights))
        pyro.sample("y", dist.Normal(theta[z], 0.7), obs=y)


@idiom(X, Y)
def sums_and_means_over_all(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    pyro.factor("sparse", -w.abs().sum() - w.mean() ** 2)
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(w.sum() - w.mean() + w.max(), 0.5), obs=y)


@idiom(Y)
def stacked_and_reshaped(y: Tensor) -> None:
    a, b = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in "ab")
    loc = torch.cat([torch.stack([a, b]).view(-1), a.reshape(1), b.view(1)])
    root = torch.diag(loc.exp())
    pyro.sample("y", dist.MultivariateNormal(loc, root @ root.t()), obs=y[:4])


@idiom(Y)
def filled_in_place(y: Tensor) -> None:
    theta, loc = torch.empty(2), torch.zeros(len(y))
    theta[0] = pyro.sample("a", dist.Normal(0.0, 1.0))
    theta[1] = pyro.sample("b", dist.Normal(0.0, 1.0))
    for i in range(len(y)):
        loc[i] += theta[i % 2]
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(loc, 0.5), obs=y)


class BayesianNet(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = PyroModule[nn.Linear](5, 4), PyroModule[nn.Linear](4, 1)
        for layer, shape in ((self.hidden, (4, 5)), (self.out, (1, 4))):
            layer.weight = PyroSample(dist.Normal(0.0, 1.0).expand(shape).to_event(2))
            layer.bias = PyroSample(dist.Normal(0.0, 1.0).expand(shape[:1]).to_event(1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scale = pyro.sample("scale", dist.Uniform(0.1, 2.0))
        loc = self.out(torch.tanh(self.hidden(x))).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(loc, scale), obs=y)
        return loc


idiom(X, Y, guide=autoguide.AutoDiagonalNormal)(BayesianNet())


@idiom(Y)
def covariance_by_its_cholesky_factor(y: Tensor) -> None:
    root = pyro.sample("root", dist.LKJCholesky(3, 2.0))
    scale = pyro.sample("scale", dist.HalfNormal(torch.ones(3)).to_event(1))
    with pyro.plate("data", 6):
        fn = dist.MultivariateNormal(torch.zeros(3), scale_tril=torch.diag(scale) @ root)
        pyro.sample("y", fn, obs=y[:18].view(6, 3))


@idiom(Y)
def cholesky_factor_of_a_drawn_covariance(y: Tensor) -> None:
    v = pyro.sample("v", dist.LogNormal(torch.zeros(2), 0.3).to_event(1))
    r = pyro.sample("r", dist.Uniform(-0.9, 0.9))
    covariance = torch.diag(v)
    covariance[0, 1] = covariance[1, 0] = r * v.prod().sqrt()
    with pyro.plate("data", 10):
        fn = dist.MultivariateNormal(torch.zeros(2), scale_tril=torch.linalg.cholesky(covariance))
        pyro.sample("y", fn, obs=y.view(10, 2))


@idiom(Y)
def differential_equation(y: Tensor) -> None:
    k = pyro.sample("k", dist.LogNormal(torch.zeros(2), 0.3).to_event(1))
    state, path = torch.ones(2), []
    for _ in range(8):
        meet = state[0] * state[1]
        state = state + 0.1 * torch.stack([k[0] * state[0] - meet, meet - k[1] * state[1]])
        path.append(state)
    pyro.sample("y", dist.Normal(torch.stack(path), 0.5).to_event(2), obs=y[:16].view(8, 2))


@idiom(X, Y)
def gaussian_process(x: Tensor, y: Tensor) -> None:
    length = pyro.sample("length", dist.LogNormal(0.0, 1.0))
    kernel = torch.exp(-0.5 * torch.cdist(x, x) ** 2 / length**2)
    kernel.view(-1)[:: len(x) + 1] += 0.1
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), kernel), obs=y)


def with_priors() -> Any:
    kernel = gp.kernels.RBF(1)
    kernel.lengthscale = PyroSample(dist.LogNormal(0.0, 0.5))
    kernel.variance = PyroSample(dist.LogNormal(0.0, 0.5))
    regression = gp.models.GPRegression(X[:, :1], Y, kernel, noise=torch.tensor(0.1))
    for parameter in ("lengthscale", "variance"):
        regression.kernel.autoguide(parameter, dist.Normal)
    return regression


REGRESSION = with_priors()
IDIOMS["contrib.gp"] = Idiom(REGRESSION.model, REGRESSION.guide, ())
GRU, LSTM = nn.GRU(1, 3), nn.LSTMCell(2, 3)


@idiom(Y)
def recurrent_decoder(y: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("values", 3):
        pyro.sample(
            "y", dist.Normal(GRU(z.view(2, 1, 1))[0][-1, 0] + LSTM(z[None])[0][0], 0.5), obs=y[:3]
        )


MADE_OUTSIDE = dist.Normal(torch.zeros(5), 1.0, validate_args=True).to_event(1)


@idiom(X, Y)
def prior_made_outside(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", MADE_OUTSIDE)
    with pyro.plate("data", len(x)), poutine.mask(mask=y > 0), poutine.scale(scale=2.0):
        pyro.sample("y", dist.Poisson((x @ w).exp()), obs=y.abs().round())


@idiom(X, Y)
def parameters_of_the_store(x: Tensor, y: Tensor) -> None:
    scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    w = pyro.sample("w", dist.Normal(torch.zeros(5), scale).to_event(1))
    pyro.deterministic("twice", 2 * w)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Bernoulli(logits=x @ w), obs=(y > 0).float())


@idiom(X, Y)
def missing_values_filled_in(x: Tensor, y: Tensor) -> None:
    gaps = y > 1
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    v = pyro.sample("v", dist.Normal(torch.zeros(int(gaps.sum())), 1.0).to_event(1))
    filled = y.clone()
    filled[gaps] = v
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(x @ w - filled, 0.5), obs=y)


@idiom(X, Y)
def counts_of_categories(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        fn = dist.Multinomial(5, logits=torch.stack([x @ w, y], -1))
        pyro.sample("y", fn, obs=torch.tensor([2.0, 3.0]).expand(20, 2))


WORDS = torch.randint(6, (7, 3), generator=NOISE)


def of_topics(words: Tensor) -> None:
    with pyro.plate("topics", 2):
        pyro.sample("words of", dist.Dirichlet(torch.ones(6)))
    with pyro.plate("documents", 3):
        pyro.sample("theta", dist.Dirichlet(torch.ones(2)))


@idiom(WORDS, guide=of_topics)
def topics(words: Tensor) -> None:
    with pyro.plate("topics", 2):
        of = pyro.sample("words of", dist.Dirichlet(torch.ones(6)))
    with pyro.plate("documents", 3):
        theta = pyro.sample("theta", dist.Dirichlet(torch.ones(2)))
        with pyro.plate("places", 7):
            z = pyro.sample("z", dist.Categorical(theta), infer=SUMMED)
            pyro.sample("word", dist.Categorical(of[z]), obs=words)


def of_loop(group: Tensor, y: Tensor) -> None:
    for i in pyro.plate("groups", 4):
        pyro.sample(f"w_{i}", dist.Gamma(2.0, 1.0))


@idiom(GROUP, Y, guide=of_loop)
def sequential_plate(group: Tensor, y: Tensor) -> None:
    w = [pyro.sample(f"w_{i}", dist.Gamma(1.0, 1.0)) for i in pyro.plate("groups", 4)]
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(torch.stack(w)[group], 0.5), obs=y)


def of_angle(y: Tensor) -> None:
    pyro.sample("angle", dist.VonMises(0.3, 2.0))


@idiom(Y, guide=of_angle)
def angles(y: Tensor) -> None:
    angle = pyro.sample("angle", dist.VonMises(0.0, 1.0))
    pyro.sample("y", dist.VonMises(angle, 2.0).expand([len(y)]).to_event(1), obs=y)


def of_gaps(y: Tensor) -> None:
    with pyro.plate("data", len(y)):
        pyro.sample("y_unobserved", dist.Normal(y.mean(), 1.0))
    pyro.sample("loc", dist.Normal(0.0, 1.0))


@idiom(Y, guide=of_gaps)
def values_observed_in_part(y: Tensor) -> None:
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    assert loc.shape == ()
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(loc, 1.0), obs=y, obs_mask=y < 1)


def by_pyro(program: Program, args: Any, latents: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Pyro's own log-densities of model and guide at one particle's latents, without scales."""
    guide = poutine.trace(program.guide).get_trace(*args)
    for name, value in latents.items():
        guide.nodes[name]["value"] = value
    given = guide.copy()
    for name in [n for n in latents if isinstance(base_of(given.nodes[n]["fn"]), dist.Delta)]:
        given.remove_node(name)
    guide = poutine.trace(poutine.replay(program.guide, given)).get_trace(*args)
    model = poutine.trace(poutine.replay(program.model, guide)).get_trace(*args)
    for trace in (model, guide):
        for site in trace.nodes.values():
            site["scale"] = 1.0
    return model.log_prob_sum(), guide.log_prob_sum()


def base_of(fn: Any) -> Any:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


@pytest.mark.parametrize("name", IDIOMS)
def test_idioms_are_taken(name: str) -> None:
    """At the same draws the scores are Pyro's own of one particle; memory changes no draw."""
    one = IDIOMS[name]
    program, args = one.program(), one.args
    with torch.no_grad():
        structure = examine(program, *args).structure
    call = BoundProgram(program, structure, False, args)
    with torch.no_grad(), pyro.validation_enabled(False):
        assert why_not_by_vmap(call) == ""
        pyro.set_rng_seed(1)
        drawn = draw_by_vmap(call, 30)
        pyro.set_rng_seed(1)
        parts = draw_by_vmap(call, 30, at_once=8)
        for latent, value in drawn.latents.items():
            assert torch.equal(value, parts.latents[latent])
            assert (value != value[:1]).any()
        torch.testing.assert_close(parts.log_weights, drawn.log_weights, rtol=1e-4, atol=1e-3)
        if structure.enumerated:
            return
        for k in (0, 29):
            expected = by_pyro(program, args, {n: value[k] for n, value in drawn.latents.items()})
            joint = drawn.log_likelihood + drawn.log_prior
            for found, wanted in zip((joint[k], drawn.log_guide[k]), expected, strict=True):
                torch.testing.assert_close(found.sum(), wanted, rtol=1e-4, atol=1e-3)


def test_most_idioms_take_no_plate_over_particles() -> None:
    """Else nothing is gained here."""
    plates = []
    for name, one in IDIOMS.items():
        pyro.clear_param_store()
        with torch.no_grad():
            program = one.program()
            examined = examine(program, *one.args)
            with pyro.validation_enabled(False):
                plates += [name] * (pair_together(examined, *one.args) is not None)
    assert len(plates) < len(IDIOMS) / 4, plates


# --- closed forms -----------------------------------------------------------------------------------

PRECISION = torch.eye(5) + X.T @ X / 0.25
MEAN = torch.linalg.solve(PRECISION, X.T @ Y / 0.25)
EXACT = dist.MultivariateNormal(torch.zeros(20), X @ X.T + 0.25 * torch.eye(20)).log_prob(Y)


def regression(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    with pyro.plate("data", x.shape[0]):
        pyro.sample("y", dist.Normal(x @ w, 0.5), obs=y)


def posterior(x: Tensor, y: Tensor) -> None:
    pyro.sample("w", dist.MultivariateNormal(MEAN, precision_matrix=PRECISION / 1.3))


@pytest.mark.parametrize(
    "method",
    [
        "importance",
        Importance(prior_share=0.2),
        Annealed(5, num_leapfrog=3),
        Annealed(100, start="prior", num_leapfrog=5),
        "exact",
    ],
    ids=["importance", "defensive", "from the guide", "from the prior", "exact"],
)
def test_a_regression(method: Any) -> None:
    count = 4000 if "Importance" in str(method) or method == "importance" else 200

    @cache
    def found(num_particles: int) -> Evidence:
        options: dict[str, Any] = {"method": method, "num_particles": num_particles, "seed": 1}
        return log_evidence((regression, posterior), args=(X, Y), **options)

    assert agrees(found, count, EXACT)
    assert not any("one at a time" in note for note in found(count).notes)


def test_groups() -> None:
    def model(group: Tensor, y: Tensor) -> None:
        with pyro.plate("groups", 4):
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(w[group], 0.5), obs=y)

    design = functional.one_hot(GROUP, 4).float()
    precision = 1 + design.sum(0) / 0.25
    loc = design.T @ Y / 0.25 / precision

    def guide(group: Tensor, y: Tensor) -> None:
        with pyro.plate("groups", 4):
            pyro.sample("w", dist.Normal(loc, 1.2 * precision**-0.5))

    covariance = design @ design.T + 0.25 * torch.eye(20)
    exact = dist.MultivariateNormal(torch.zeros(20), covariance).log_prob(Y)
    for method, count in (("importance", 2000), (Annealed(5, num_leapfrog=3), 64)):
        evidence = log_evidence(
            (model, guide), args=(GROUP, Y), method=method, num_particles=count, seed=2
        )
        assert abs(evidence.mean - exact) < 4 * evidence.mean_standard_error


def test_a_mixture_whose_parts_are_summed_out_by_annealing() -> None:
    """log p(y) = log of the integral over theta, on a grid."""
    y = Y[:6]

    def model(y: Tensor) -> None:
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        both = torch.stack([theta, -theta])
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Bernoulli(0.3), infer=SUMMED)
            pyro.sample("y", dist.Normal(both[z.long()], 0.7), obs=y)

    def guide(y: Tensor) -> None:
        pyro.sample("theta", dist.Normal(0.5, 2.0))  # wherever the data draw it

    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    parts = [
        dist.Normal(sign * grid[:, None], 0.7).log_prob(y.double()) + math.log(weight)
        for sign, weight in ((1, 0.7), (-1, 0.3))
    ]
    joint = torch.logsumexp(torch.stack(parts), 0).sum(-1) + dist.Normal(0.0, 1.0).log_prob(grid)
    exact = torch.logsumexp(joint, 0) + math.log(16 / 20_000)
    for method, count in (("importance", 4000), (Annealed(10, num_leapfrog=3), 100)):

        @cache
        def found(num_particles: int, method: Any = method) -> Evidence:
            options: dict[str, Any] = {"method": method, "num_particles": num_particles}
            return log_evidence((model, guide), args=(y,), seed=3, **options)

        assert agrees(found, count, exact)
        assert not any("one at a time" in note for note in found(count).notes)


@pytest.mark.parametrize("start", [FromGuide, FromPrior])
def test_gradients_of_chains_that_are_runs_of_their_own(start: type) -> None:
    with open_tiles((regression, posterior), args=(X, Y), seed=0) as tiles:
        (call,) = tiles
        path = start(call)
        assert path.bound_program.by_vmap
        u = torch.randn(7, 1, 5)
        state = Sampler(path, 3, 4).state(u)
        normal = dist.MultivariateNormal(MEAN, precision_matrix=PRECISION / 1.3)
        log_prior = dist.Normal(0.0, 1.0).log_prob(u).sum(-1)
        likelihood = dist.Normal((u @ X.T), 0.5).log_prob(Y).sum(-1)
        log_start = normal.log_prob(u) if start is FromGuide else log_prior
        of_start = -(u - MEAN) @ (PRECISION / 1.3) if start is FromGuide else -u
        of_end = (Y - u @ X.T) @ X / 0.25 - u
        for found, expected in (
            (state.start, log_start),
            (state.end, log_prior + likelihood),
            (state.start_gradient, of_start),
            (state.end_gradient, of_end),
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_memory_and_units_in_tiles_change_no_figure() -> None:
    x = Y[:, None] + torch.tensor([0.0, 0.3])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.dim() == 1
            pyro.sample("x", dist.Normal(torch.stack([z, z], 1), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mean(1) * 2 / 3, 0.7))

    program, options = (model, guide), {"num_particles": 600, "seed": 4}
    evidence = log_evidence(program, x, **options)
    small = log_evidence(program, x, **options, max_memory=2**14)
    torch.testing.assert_close(small.log_evidence, evidence.log_evidence, rtol=0, atol=1e-5)
    covariance = torch.eye(2) + torch.ones(2, 2)
    exact = dist.MultivariateNormal(torch.zeros(2), covariance).log_prob(x)
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error).all()


def test_data_unlike_the_first_are_taken_one_by_one() -> None:
    x = torch.cat([Y, Y + 100])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 10.0))
            assert z.dim() == 1
            if x.max() > 50:
                z = z + 0.0 * z.sum().item()
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 1.01, 1.1))

    evidence = log_evidence((model, guide), x, num_particles=50, seed=0)
    exact = dist.Normal(0.0, 101**0.5).log_prob(x)
    assert ((evidence.log_evidence - exact).abs() < 5 * evidence.standard_error).all()


# --- what stands in the way ---------------------------------------------------------------------------


def loose_call(model: Callable[..., Any]) -> BoundProgram:
    program = as_program((model, posterior))
    with torch.no_grad():
        structure = examine(program, X, Y, strict=False).structure
    return BoundProgram(program, structure, False, (X, Y))


def reason(model: Callable[..., Any]) -> str:
    call = loose_call(model)
    with torch.no_grad(), pyro.validation_enabled(False):
        return why_not_by_vmap(call)


def test_a_likelihood_of_zero_and_a_look_for_nan_are_no_reasons() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        loc = warn_if_nan(x @ w, "loc")
        pyro.sample("y", dist.Uniform(loc + 50, loc + 51).to_event(1), obs=y)

    with torch.no_grad(), pyro.validation_enabled(False):
        drawn = draw_by_vmap(loose_call(model), 3)
    assert (drawn.log_likelihood == -math.inf).all()
    assert reason(model) == ""


def test_a_scale_of_each_run_about_one_mean_is_no_reason() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(0.0, (x @ w).exp()).to_event(1), obs=y)

    assert reason(model) == ""


def test_a_branch_on_a_latent_is_named() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        loc = x @ w
        if w[0] > 0:
            loc = loc + 1
        pyro.sample("y", dist.Normal(loc, 0.5).to_event(1), obs=y)

    found = reason(model)
    assert found.startswith("Python decides by the value of a tensor (`torch.where` would not)")
    assert found.endswith("of test_vectorized.py: `if w[0] > 0:`)")


def test_a_mask_of_latents_is_named() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        loc = x @ w + w[w > 0].sum()
        pyro.sample("y", dist.Normal(loc, 0.5).to_event(1), obs=y)

    assert "picked by a mask that depends on latents" in reason(model)
    assert ": `loc = x @ w + w[w > 0].sum()`)" in reason(model)


def test_a_site_whose_density_cannot_be_mapped_is_named() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        pyro.sample("y", dist.StableWithLogProb(1.5, 0.0, 0.5, x @ w).to_event(1), obs=y)

    assert "where site 'y' (Independent" in reason(model)


def test_what_says_something_else_is_named() -> None:
    seen: list[Tensor] = []

    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        seen.append(y)
        shift = 1.0 if torch._C._functorch.is_batchedtensor(w) else 0.0
        pyro.sample("y", dist.Normal(x @ w + shift, 0.5).to_event(1), obs=y)

    assert reason(model).startswith("its likelihood is another under torch's vmap, by ")


def test_the_note_says_what_to_change() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        scale = 0.5 + 0.0 * w[0].item()
        pyro.sample("y", dist.Normal(x @ w, scale).to_event(1), obs=y)

    evidence = log_evidence((model, posterior), args=(X, Y), num_particles=200, seed=0)
    assert abs(evidence.mean - EXACT) < 4 * evidence.mean_standard_error
    (note,) = [note for note in evidence.notes if "one at a time" in note]
    assert "a tensor becomes a Python number (line " in note
    assert ": `scale = 0.5 + 0.0 * w[0].item()`)" in note


def test_a_call_knows_how_it_runs() -> None:
    def plates(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal((w * x).sum(-1), 0.5), obs=y)

    ways = {}
    for model in (plates, regression):
        with open_tiles((model, posterior), args=(X, Y), seed=0) as tiles:
            ways[model] = tiles.example
    assert ways[plates].vectorized
    assert ways[regression].by_vmap
    assert not ways[regression].vectorized
    assert not any(isinstance(call, BoundProgram) and call.reason for call in ways.values())


def test_a_prior_in_the_guides_place_may_depend_on_what_is_summed_out() -> None:
    """It draws the component anew in each run; the model, which has it all, decides."""

    def mixture(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            marked = {"enumerate": "parallel"}
            which = pyro.sample("which", dist.Categorical(torch.ones(2)), infer=marked)
            z = pyro.sample("z", dist.Normal(torch.tensor([-2.0, 2.0])[which], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def regression_too(x: Tensor, y: Tensor) -> None:
        mixture(y)
        w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(x @ w, 0.5).to_event(1), obs=y)  # no place for particles

    with open_tiles(with_prior_as_guide(mixture), args=(Y,), seed=0) as tiles:
        assert tiles.example.vectorized
    with open_tiles(with_prior_as_guide(regression_too), args=(X, Y), seed=0) as tiles:
        assert tiles.example.by_vmap
    with pytest.raises(InputError, match="a different density at each call"):
        log_evidence(with_prior_as_guide(mixture), args=(Y,), seed=0)
