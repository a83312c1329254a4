"""A datum without its batch dimension: refused by every verb, in a sentence with the remedy."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import nn

from pyro_vae import (
    InputError,
    evaluate,
    fit,
    log_evidence,
    posterior,
    prior_samples,
)
from pyro_vae.likelihoods import Normal
from pyro_vae.models import VAE, FactorAnalysis, FlowDensity, ItemResponse, TokenVAE


class Reshaping(nn.Module):
    """A program of one's own that flattens what it is given."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.encoder, self.decoder = size, nn.Linear(size, 2), nn.Linear(2, size)

    def model(self, x):
        with pyro.plate("images", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            flat = dist.Normal(self.decoder(z), 1.0).to_event(1)
            pyro.sample("x", flat, obs=x.reshape(-1, self.size))

    def guide(self, x):
        with pyro.plate("images", x.shape[0]):
            pyro.sample("z", dist.Normal(self.encoder(x.reshape(-1, self.size)), 1.0).to_event(1))


PROGRAMS = {
    "an image in colour": lambda: (VAE((5, 4, 4), 2, likelihood=Normal), torch.rand(6, 5, 4, 4)),
    "a grey image": lambda: (VAE((1, 4, 4), 2, likelihood=Normal), torch.rand(6, 1, 4, 4)),
    "more lines than rows that are looked at": lambda: (
        VAE((150, 2), 2, likelihood=Normal),
        torch.rand(6, 150, 2),
    ),
    "a row of a table": lambda: (FactorAnalysis((5,), 2), torch.randn(6, 5)),
    "one person's answers": lambda: (ItemResponse((5,)), torch.rand(6, 5).round()),
    "a sentence": lambda: (TokenVAE((5,), num_tokens=7), torch.randint(7, (6, 5))),
    "a program that reshapes": lambda: (Reshaping(20), torch.rand(6, 5, 4)),
}
VERBS = {
    "fit": lambda program, x: fit(program, x, epochs=1, progress=False),
    "log_evidence": lambda program, x: log_evidence(program, x, num_particles=10),
    "evaluate": evaluate,
    "posterior": lambda program, x: posterior(program, x, num_draws=10),
    "prior_samples": prior_samples,
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("what", PROGRAMS)
def test_it_is_refused(what, verb):
    program, x = PROGRAMS[what]()
    with refused("data", remedy="x[None]") as e:
        VERBS[verb](program, x[0])
    assert str(tuple(x[0].shape)) in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("what", PROGRAMS)
def test_with_its_batch_dimension_it_is_one_unit(what):
    program, x = PROGRAMS[what]()
    by_none, by_slice = (
        log_evidence(program, one, num_particles=50, seed=0).log_evidence
        for one in (x[0][None], x[0:1])
    )
    assert by_none.shape == (1,)
    assert torch.equal(by_none, by_slice)


def test_a_density_without_latents():
    with refused("data", remedy="x[None]"):
        log_evidence(FlowDensity((5,)), torch.randn(5))


def test_the_refusal_leaves_nothing_behind():
    program, x = PROGRAMS["a row of a table"]()
    before = torch.get_rng_state()
    with pytest.raises(InputError):
        posterior(program, x[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_what_all_units_observe_is_no_datum():
    """A plate of repetitions that all observe the same data, in a plate of their own."""

    def model(y):
        with pyro.plate("members", 3, dim=-2):
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(y), dim=-1):
                pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    def guide(y):
        with pyro.plate("members", 3, dim=-2):
            pyro.sample("mean", dist.Normal(y.mean(), 0.5))

    y = torch.randn(3)
    assert prior_samples((model, guide), y, num_draws=5).predictive["y"].shape == (5, 3, 3)
    assert log_evidence((model, guide), y, num_particles=50).num_units == 3


def test_a_constant_is_no_datum():
    """What is observed need not be what was handed over."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x, 1.0))
            pyro.sample("y", dist.Bernoulli(logits=z), obs=torch.ones(()))

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    assert log_evidence((model, guide), torch.randn(6), num_particles=50).num_units == 6
    assert posterior((model, guide), torch.randn(1), num_draws=9).means["z"].shape == (1,)
