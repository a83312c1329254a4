"""Programs that would give a wrong figure without a word, if nobody looked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoNormal
from refused import refused, refused_with
from stories import Conjugate
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.proposals import wider

pytestmark = pytest.mark.usefixtures("small_blocks")

X = torch.randn(100, generator=torch.Generator().manual_seed(4)).sort().values


def normal_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.8))


def of(prior: Any, proposal: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """z from a prior, x from Normal(z, scale); both may depend on x."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior(x))
            pyro.sample("x", dist.Normal(z.float(), scale), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", proposal(x))

    return model, guide


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, -1])
def test_sites_that_only_later_rows_have(order: int) -> None:
    """Ragged sequences, run to the longest of the batch, sorted either way."""

    def model(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(int(lengths.max())):
                with poutine.mask(mask=t < lengths):
                    coin = pyro.sample(
                        f"coin_{t}", dist.Bernoulli(0.5), infer={"enumerate": "parallel"}
                    )
                    z = pyro.sample(f"z_{t}", dist.Normal(coin, 1.0))
                    pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])

    def guide(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(int(lengths.max())):
                with poutine.mask(mask=t < lengths):
                    pyro.sample(f"z_{t}", dist.Normal(x[:, t] / 2 + 0.25, 0.9))

    lengths = torch.tensor([1, 2, 3, 4][::order]).repeat_interleave(20)
    x = torch.randn(80, 4)
    each = dist.Normal(torch.tensor([0.0, 1.0]), 2**0.5).log_prob(x.unsqueeze(-1)).logsumexp(-1)
    exact = ((each - torch.tensor(2.0).log()) * (torch.arange(4) < lengths[:, None])).sum(-1)
    for method in ("importance", Annealed(10), Importance(0.1)):
        evidence = log_evidence(
            (model, guide), (x, lengths), method=method, seed=0, num_particles=400
        )
        off = evidence.mean - exact.mean().item()
        assert abs(off) < 4 * evidence.mean_standard_error


def test_masks_and_supports_are_those_of_every_row() -> None:
    def masked(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=x < 0.5):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    found = log_evidence((masked, normal_guide), X, num_particles=5000, seed=0)
    exact = torch.where(X < 0.5, dist.Normal(0.0, 2**0.5).log_prob(X), 0.0).double()
    off, known = (found.log_evidence - exact).abs(), ~found.without_error
    assert known.sum() > len(X) / 2
    assert (off < 4.5 * found.standard_error + 1e-5)[known].all()
    narrower_later = of(
        lambda x: dist.Uniform(-3 * torch.ones(len(x)), 3.0),
        lambda x: dist.Uniform(-3 + 2.0 * (x > 0.5), 3.0),
    )
    with refused("z", remedy="prior's support"):
        log_evidence(narrower_later, X)


@pytest.mark.parametrize(
    ("likelihood", "value", "words"),
    [
        (lambda z: dist.Exponential(z.exp()), -3.0, "between -3"),
        (lambda z: dist.Bernoulli(logits=z), 7.0, ""),
        (lambda z: dist.Poisson(z.exp()), 1.5, ""),
    ],
)
def test_data_outside_the_support_are_named_wherever_they_are(likelihood, value, words) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", likelihood(pyro.sample("z", dist.Normal(0.0, 1.0))), obs=x)

    x = torch.ones(105)
    x[90] = value
    with refused("x") as error:
        log_evidence((model, normal_guide), x, num_particles=10, seed=0)
    assert "rows 70 to 104" in str(error.value)
    assert words in str(error.value)


def two_latents(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)


def test_an_autoguide_that_is_a_point_in_part() -> None:
    guide = AutoGuideList(two_latents)
    guide.append(AutoNormal(poutine.block(two_latents, hide=["b"])))
    guide.append(AutoDelta(poutine.block(two_latents, hide=["a"])))
    guide(X[:10])
    with refused("a_unconstrained", expected="20 numbers"):
        log_evidence((two_latents, guide), X[:10])


def test_an_auxiliary_variable_that_is_no_bijection() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(a, 1.0))

    with refused("a", expected="8 numbers"):
        log_evidence((Conjugate.model, guide), X)


@pytest.mark.parametrize(
    ("prior", "proposal"),
    [
        (dist.Categorical(torch.tensor([0.3, 0.3, 0.4])), dist.Categorical(torch.tensor([0.5, 0.5, 0.0]))),
        (dist.Bernoulli(0.4), dist.Bernoulli(0.0)),
        (dist.Bernoulli(0.4), dist.Bernoulli(logits=torch.tensor(-1e4))),
    ],
)  # fmt: skip
def test_a_guide_that_never_proposes_a_value(prior, proposal) -> None:
    with refused("z", remedy="prior_share"):
        log_evidence(of(lambda x: prior, lambda x: proposal), X)


def mixture_of(proposal: Callable[[Tensor], Any]) -> Any:
    locs = torch.tensor([-2.0, 0.0, 2.0])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.tensor([0.3, 0.3, 0.4])))
            pyro.sample("x", dist.Normal(locs[k], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("k", proposal(dist.Normal(locs, 1.0).log_prob(x.unsqueeze(-1)) + PRIOR))

    return model, guide


PRIOR = torch.tensor([0.3, 0.3, 0.4]).log()


def test_a_guide_that_is_the_posterior_may_be_sure_of_itself() -> None:
    x = torch.tensor([-9.0, 7.0, 0.0, 3.0])
    locs = torch.tensor([-2.0, 0.0, 2.0])
    exact = (dist.Normal(locs, 1.0).log_prob(x.unsqueeze(-1)) + PRIOR).logsumexp(-1)
    sure = mixture_of(lambda logits: dist.Categorical(logits=logits))
    found = log_evidence(sure, x, num_particles=20, seed=0)
    torch.testing.assert_close(found.log_evidence, exact.double(), rtol=1e-5, atol=1e-5)
    never = mixture_of(lambda logits: dist.Categorical(logits=logits - 50 * (locs > 1)))
    with refused("k", remedy="prior_share"):
        log_evidence(never, x)


@pytest.mark.parametrize("also", ["another draw", "another latent"])
def test_a_value_that_counts_only_beside_other_values_is_missed_too(also: str) -> None:
    """Changed alone, or all at once, it would look as if it did not count."""
    locs, priors = torch.tensor([-9.0, 9.0]), torch.tensor([0.5, 0.5])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("draws", 2, dim=-1):
            k = pyro.sample("k", dist.Categorical(priors))
            centre = locs[k]
            if also == "another latent":
                centre = pyro.sample("z", dist.Normal(centre, 0.1))
            pyro.sample("x", dist.Normal(centre, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("draws", 2, dim=-1):
            pyro.sample("k", dist.Categorical(logits=torch.tensor([0.0, -50.0])))
            if also == "another latent":
                pyro.sample("z", dist.Normal(-9.0, 0.2))

    x = torch.tensor([[-11.0, 8.0]] * 3) if also == "another draw" else torch.full((3, 2), 0.0)
    with refused("k", remedy="prior_share"):
        log_evidence((model, guide), x, unit="data")


def test_the_prior_draws_what_a_guide_does_not_know_of() -> None:
    x = torch.randn(6) + 1
    locs = torch.tensor([-2.0, 0.0, 2.0])
    exact = (dist.Normal(locs, 1.0).log_prob(x.unsqueeze(-1)) + PRIOR).logsumexp(-1)
    fewer = mixture_of(lambda logits: dist.Categorical(torch.tensor([0.5, 0.5])))
    found = log_evidence(fewer, x, method=Importance(0.3), num_particles=5000, seed=0)
    assert ((found.log_evidence - exact).abs() < 4 * found.standard_error).all()


def shifted(base: Any) -> Any:
    """torch takes its support for the real line, whatever the base's is."""
    return dist.TransformedDistribution(base, [torch.distributions.AffineTransform(0.0, 1.0)])


def test_supports_that_are_not_what_they_are_said_to_be() -> None:
    exponential, wide = shifted(dist.Exponential(1.0)), dist.Normal(2.5, 0.8)
    with refused("z", remedy="prior's support"):  # and its formula goes on there
        log_evidence(of(lambda x: exponential, lambda x: wide), X)
    with refused("z", remedy="codomain"):
        log_evidence(of(lambda x: exponential, lambda x: wide), X, method=Annealed(5, "prior"))
    gamma = shifted(dist.Gamma(4.0, 2.0))
    with refused("z", remedy="prior_share"):
        log_evidence(of(lambda x: wide, lambda x: gamma), X)


def test_subsampled_plates_are_refused() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0))
            with pyro.plate("items", 10, subsample_size=3, dim=-1) as index:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, index])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), 0.5))

    with refused("items"):
        log_evidence((model, guide), torch.randn(6, 10))

    def some(x: Tensor, of_model: bool) -> None:
        with pyro.plate("data", len(x), subsample_size=5) as index:
            z = pyro.sample("z", dist.Normal(0.0 if of_model else x[index] / 2, 1.0))
            if of_model:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[index])

    pair = (partial(some, of_model=True), partial(some, of_model=False))
    with refused("data"):
        log_evidence(pair, args=(X,))


def test_a_sequential_plate_that_is_subsampled_is_refused() -> None:
    def model(x: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        for i in pyro.plate("items", len(x), subsample_size=5):
            pyro.sample(f"x_{i}", dist.Normal(mu, 1.0), obs=x[i])

    def guide(x: Tensor) -> None:
        pyro.sample("mu", dist.Normal(x.mean(), 0.3))

    for given in ({"args": (X,)}, {"data": X}):
        with refused("items"):
            log_evidence((model, guide), **given)


def test_a_model_that_looks_at_its_batch() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.mean(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with refused("data", remedy="statistics of the batch"):
        log_evidence((model, normal_guide), X)


def test_particles_that_are_mixed_a_little() -> None:
    """One particle's weight of 12,000 nats moves by one when another's latents do."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            loc = z.mean(0, keepdim=True).expand(z.shape) if z.dim() > 1 else z
            loc = loc.unsqueeze(-1).expand(*loc.shape, x.shape[-1])
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mean(-1), 0.006))

    x = torch.randn(3, 8000) * 0.5 + torch.randn(3, 1)
    total, size = x.double().sum(-1), x.shape[-1]
    precision = 1 + size / 0.25
    exact = dist.Normal(0.0, 0.5).log_prob(x).double().sum(-1)
    exact = exact + (total / 0.25).square() / (2 * precision) - 0.5 * torch.tensor(precision).log()
    evidence = log_evidence((model, guide), x, num_particles=400, seed=0)
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error + 5e-3).all()


def test_a_likelihood_whose_support_moves_with_the_latent() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Uniform(z - 1, z + 1), obs=x)

    normal = dist.Normal(0.0, 1.0)
    exact = ((normal.cdf(X + 1) - normal.cdf(X - 1)) / 2).log()
    evidence = log_evidence((model, normal_guide), X, num_particles=20_000, seed=0)
    off = (evidence.log_evidence - exact) / evidence.standard_error
    assert off.abs().max() < 4.5  # of 100 units


def test_shapes_that_no_plate_explains() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.unsqueeze(-1))

    with refused("x", remedy="add `.to_event(...)`, or a plate"):
        log_evidence((model, normal_guide), X)


def test_widening_an_autoguide() -> None:
    x = X[:20]
    guide = AutoNormal(Conjugate.model, init_scale=0.5)
    guide(x)
    evidence = log_evidence(wider((Conjugate.model, guide), 2.0), x, num_particles=20_000, seed=0)
    off = (evidence.log_evidence - Conjugate.log_evidence(x)) / evidence.standard_error
    assert off.abs().max() < 4


@pytest.mark.parametrize(
    ("options", "expected", "remedy"),
    [
        ({"max_memory": "2GB"}, "a whole number", "default"),
        ({"seed": "a"}, "a whole number from 0", "seed=0"),
        ({"seed": 1.5}, "a whole number from 0", "seed=0"),
        ({"unit": 3}, "the name of a plate", "unit"),
        ({"num_particles": 2.5}, "a whole number", "default"),
        ({"method": Importance}, "", "Importance()"),
        ({"method": ["ais"]}, "the name of a method", "default"),
        ({"num_particles": True}, "a whole number", "num_particles=1"),
    ],
)
def test_arguments_of_the_wrong_kind(options, expected, remedy) -> None:
    (name,) = options
    with refused(name, expected=expected, remedy=remedy):
        log_evidence(Conjugate, X, **options)


@pytest.mark.parametrize(
    ("given", "subject", "expected", "remedy"),
    [
        ({"args": X}, "args", "a tuple of the program's arguments", "args=(x,)"),
        ({"args": (X,), "kwargs": [1]}, "kwargs", "a mapping", "kwargs="),
        ({"args": (X[:0],)}, "data", "", ""),
        ({"data": X[:0]}, "data", "at least one row", ""),
        ({"data": X.to_sparse()}, "data", "", "data.to_dense()"),
        ({"data": X > 0}, "x", "", ".float()"),
    ],
)
def test_data_of_the_wrong_kind(given, subject, expected, remedy) -> None:
    with refused(subject, expected=expected, remedy=remedy):
        log_evidence((Conjugate.model, normal_guide), **given)


def test_options_of_the_wrong_kind() -> None:
    with refused("start", expected="'guide', 'prior'"):
        Annealed(start=None)
    with refused("schedule", expected="a function"):
        Annealed(schedule=None)
    with refused("delta", expected="between 0 and 1", remedy="delta=0.05"):
        log_evidence(Conjugate, X, seed=0).certificate("a")


def test_a_nan_is_one_unit_s_affair() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z + 0 * (2.0 - x).sqrt(), 1.0), obs=x)

    x = torch.cat([X[X < 1.9], torch.tensor([2.5])])
    evidence = log_evidence((model, normal_guide), x, seed=0)
    said = evidence.summary()
    assert "1 of 97 units have NaN weights (the first is unit 96)".replace(
        "97", str(len(x))
    ).replace("96", str(len(x) - 1)) in said.replace("\n", " ")
    assert "certified" not in said
    assert "single draw" not in said
    assert evidence.bad_units == 0
    figures = evidence.to_dict()
    assert figures["mean"] is None
    assert "NaN weights" in figures["warnings"][0]


@pytest.mark.parametrize("row", [0, 90])
def test_nan_among_the_data_is_one_unit_s_affair_wherever_it_is(row: int) -> None:
    x = X.clone()
    x[row] = torch.nan
    for guide in (normal_guide, Conjugate.guide):
        for given in ({"data": x}, {"args": (x,)}):
            evidence = log_evidence((Conjugate.model, guide), **given, seed=0)
            assert evidence.log_evidence.isnan().nonzero().tolist() == [[row]]
            said = evidence.summary().replace("\n", " ")
            assert f"1 of 100 units have NaN weights (the first is unit {row})" in said
    with refused_with("loc", "Normal", "nan", "(0,)"):
        log_evidence((Conjugate.model, normal_guide), x[row : row + 1])


def test_particles_drawn_one_at_a_time_are_told_of() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.dim() == 1
            shift = 0.0 * float(z.sum())
            pyro.sample("x", dist.Normal(z + shift, 1.0), obs=x)

    evidence = log_evidence((model, normal_guide), X[:5], num_particles=50, seed=0)
    assert "drawn one at a time" in evidence.notes[0]
    assert "becomes a Python number" in evidence.notes[0]
    assert "of test_traps.py: `shift = 0.0 * float(z.sum())`)" in evidence.notes[0]
    assert log_evidence((Conjugate.model, normal_guide), X[:5], seed=0).notes == ()


def test_a_summed_out_latent_whose_shape_does_not_fit() -> None:
    def model(counts: Tensor) -> None:
        rates = pyro.sample("rates", dist.Gamma(torch.ones(2), 1.0).to_event(1))
        when = pyro.sample("when", dist.Categorical(torch.ones(8)), infer={"enumerate": "parallel"})
        with pyro.plate("time", len(counts)) as time:
            later = time >= (when.unsqueeze(-1) if when.dim() else when)
            rate = torch.where(later, rates[..., 1:], rates[..., :1])
            pyro.sample("counts", dist.Poisson(rate), obs=counts)

    def guide(counts: Tensor) -> None:
        pyro.sample("rates", dist.Gamma(torch.ones(2), 1.0).to_event(1))

    counts = torch.tensor([1.0, 0.0, 2.0, 1.0, 5.0, 4.0, 6.0, 3.0])
    for method in ("importance", "ais", "auto"):
        with refused("counts", expected="broadcasts against the plates") as error:
            log_evidence((model, guide), args=(counts,), method=method)
        assert "'when'" in str(error.value)
