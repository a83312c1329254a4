"""Log-weights per unit, free of scales, whatever the plates look like."""

import math
from itertools import product

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from refused import refused
from stories import Conjugate, GlobalMean
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.particles import draw
from pyro_vae.program.vectorization import pair_together

X = torch.tensor([0.5, -1.0, 2.0])


def call_of(program: object, *args: Tensor, vectorized: bool = True) -> BoundProgram:
    target = as_program(program)
    return BoundProgram(target, examine(target, *args).structure, vectorized, args)


def test_log_weights_of_a_conjugate_pair() -> None:
    drawn = draw(call_of(Conjugate, X), 4)
    z = drawn.latents["z"]
    assert z.shape == (4, 3)
    prior, likelihood = dist.Normal(0.0, 1.0).log_prob(z), dist.Normal(z, 1.0).log_prob(X)
    guide = dist.Normal(0.3 * X, 0.9).log_prob(z)
    torch.testing.assert_close(drawn.log_likelihood, likelihood)
    torch.testing.assert_close(drawn.log_weights, prior + likelihood - guide)


@pytest.mark.parametrize("vectorized", [True, False])
def test_scales_never_enter_and_masks_do(vectorized) -> None:
    mask = torch.tensor([True, False, True])

    def model(x: Tensor) -> None:
        with pyro.plate("data", 300, subsample_size=3), poutine.scale(scale=0.1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with poutine.mask(mask=mask):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 300, subsample_size=3), poutine.scale(scale=0.1):
            pyro.sample("z", dist.Normal(x, 1.0))

    drawn = draw(call_of((model, guide), X, vectorized=vectorized), 5)
    z = drawn.latents["z"]
    expected = dist.Normal(z, 1.0).log_prob(X) * mask
    torch.testing.assert_close(drawn.log_likelihood, expected)
    torch.testing.assert_close(drawn.log_guide, dist.Normal(X, 1.0).log_prob(z))


def test_inner_plates_are_summed_and_event_dimensions_do_not_count_as_plates() -> None:
    x = torch.randn(4, 3, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 4, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))  # 4, 1 | 2
            with pyro.plate("repeats", 3, dim=-1):
                pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)  # 4, 3 | 2

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 4, dim=-2):
            pyro.sample("z", dist.Normal(x.mean(1, keepdim=True), 1.0).to_event(1))

    drawn = draw(call_of((model, guide), x), 5)
    z = drawn.latents["z"]
    assert z.shape == (5, 4, 1, 2)
    torch.testing.assert_close(drawn.log_likelihood, dist.Normal(z, 1.0).log_prob(x).sum((-1, -2)))
    assert pair_together(examine(as_program((model, guide)), x), x)


def test_a_joint_evidence_has_one_unit() -> None:
    drawn = draw(call_of(GlobalMean, X), 6)
    assert drawn.log_weights.shape == (6, 1)


def test_a_program_that_mixes_particles_up_is_caught() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample(
                "x", dist.Normal(z - z.mean(0), 1.0), obs=x
            )  # over particles, if they are there

    program = as_program((model, Conjugate.guide))
    assert pair_together(examine(program, X), X) is None
    drawn = draw(call_of(program, X, vectorized=False), 3)
    z = drawn.latents["z"]
    expected = dist.Normal(z - z.mean(-1, keepdim=True), 1.0).log_prob(X)
    torch.testing.assert_close(drawn.log_likelihood, expected)


def test_a_discrete_latent_of_the_guide() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(torch.tensor([0.2, 0.8])))
            pyro.sample("x", dist.Normal(which.float(), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("which", dist.Categorical(torch.tensor([0.5, 0.5])))

    drawn = draw(call_of((model, guide), X), 1000)
    exact = (
        dist.Normal(torch.tensor([0.0, 1.0]), 1.0).log_prob(X[:, None])
        + torch.tensor([0.2, 0.8]).log()
    ).logsumexp(-1)
    estimate = drawn.log_weights.logsumexp(0) - torch.tensor(1000.0).log()
    spread = (drawn.log_weights.exp().std(0) / 1000**0.5) / exact.exp()
    assert ((estimate - exact).abs() < 4 * spread).all()


def test_latents_to_be_summed_out_in_crossing_plates_are_named_and_a_loop_mends_it() -> None:
    x = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    summed = {"enumerate": "parallel"}

    def crossing(x: Tensor) -> None:
        rows, columns = pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 2, dim=-1)
        with pyro.plate("data", len(x), dim=-3):
            with rows:
                a = pyro.sample("a", dist.Bernoulli(0.5), infer=summed)
            with columns:
                b = pyro.sample("b", dist.Bernoulli(0.3), infer=summed)
            with rows, columns:
                pyro.sample("x", dist.Normal(a + b, 0.9), obs=x)

    def looping(x: Tensor) -> None:
        rows = pyro.plate("rows", 3, dim=-1)
        with pyro.plate("data", len(x), dim=-2):
            with rows:
                a = pyro.sample("a", dist.Bernoulli(0.5), infer=summed)
            for j in pyro.plate("columns", 2):
                b = pyro.sample(f"b{j}", dist.Bernoulli(0.3), infer=summed)
                with rows:
                    pyro.sample(f"x{j}", dist.Normal(a + b, 0.9), obs=x[..., j])

    def guide(x: Tensor) -> None:
        pass

    with refused("a", remedy="for i in pyro.plate") as error:
        log_evidence((crossing, guide), x, method="exact")
    assert "'a' in 'rows', 'b' in 'columns'" in str(error.value)
    terms = []
    for b in product((0.0, 1.0), repeat=2):
        log_prior = dist.Bernoulli(0.3).log_prob(torch.tensor(b)).sum()
        each = [dist.Normal(a + torch.tensor(b), 0.9).log_prob(x).sum(-1) for a in (0.0, 1.0)]
        terms.append(log_prior + (torch.stack(each).logsumexp(0) - math.log(2)).sum(-1))
    exact = torch.stack(terms).logsumexp(0).double()
    found = log_evidence((looping, guide), x, method="exact").log_evidence
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=0)
