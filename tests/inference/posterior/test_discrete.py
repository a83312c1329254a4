"""Latents that the model sums out, drawn back: against Bayes' rule, forward-backward and Viterbi."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import posterior, prior_samples
from pyro_vae.inference import Annealed, Importance

SUMMED = {"enumerate": "parallel"}
LOCS, WEIGHTS = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.2, 0.5, 0.3])


def test_the_component_of_a_mixture_follows_bayes_rule() -> None:
    """z is drawn, so the component given the data needs both steps to be right."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(WEIGHTS), infer=SUMMED)
            z = pyro.sample("z", dist.Normal(LOCS[which], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.7))

    x = torch.linspace(-3, 4, 80)
    exact = (dist.Normal(LOCS, 1.25**0.5).log_prob(x[:, None]) + WEIGHTS.log()).softmax(-1)
    for method, num in ((Importance(), 4000), (Annealed(num_temperatures=8), 1000)):
        found = posterior((model, guide), x, method=method, num_draws=num, seed=0)
        assert found.draws["which"].shape == (num, 80)
        error = (exact * (1 - exact) / found.ess[:, None]).sqrt()
        off = (found.probabilities("which") - exact).abs() / (error + 1e-3)
        assert off.max() < 4.5
        table = found.summary(["which"])
        assert table.rows[:3] == ("which[0] = 0", "which[0] = 1", "which[0] = 2")
        torch.testing.assert_close(
            torch.tensor(table.columns["mean"]), found.probabilities("which").float().flatten()
        )


def hidden_markov(has_level: bool):
    """Ragged sequences of two states; a level of each sequence is drawn, or there is none."""
    transition, locs = torch.tensor([[0.8, 0.2], [0.3, 0.7]]), torch.tensor([-1.0, 1.0])

    def model(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            level, state = 0.0, 0
            if has_level:
                level = pyro.sample("level", dist.Normal(0.0, 1.0))
            for t in pyro.markov(range(x.shape[1])):
                with poutine.mask(mask=t < lengths):
                    p = dist.Categorical(transition[state])
                    state = pyro.sample(f"state_{t}", p, infer=SUMMED)
                    pyro.sample(f"x_{t}", dist.Normal(level + locs[state], 0.8), obs=x[:, t])

    def guide(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            if has_level:
                pyro.sample("level", dist.Normal(0.3 * x[:, 0], 1.0))

    x, lengths = 1.5 * torch.randn(6, 4), torch.tensor([4, 1, 2, 3, 4, 4])

    def log_joint(row: Tensor, states: tuple[int, ...], level: Tensor) -> Tensor:
        """log p(x, states | level), of all levels."""
        total, before = torch.zeros_like(level), 0
        for value, state in zip(row, states, strict=False):
            total = total + transition[before, state].log()
            total = total + dist.Normal(level + locs[state], 0.8).log_prob(value)
            before = state
        return total

    return (model, guide), (x, lengths), log_joint


def test_states_of_a_markov_chain_are_those_of_forward_backward() -> None:
    """All paths are added up, at every level of a grid; masked states follow their prior."""
    torch.manual_seed(1)
    program, (x, lengths), log_joint = hidden_markov(has_level=True)
    found = posterior(program, (x, lengths), num_draws=8000, seed=0)
    level = torch.linspace(-6, 6, 601).double()
    log_prior = dist.Normal(0.0, 1.0).log_prob(level)
    for n, (row, length) in enumerate(zip(x.double(), lengths.tolist(), strict=True)):
        paths = list(itertools.product((0, 1), repeat=length))
        logs = torch.stack([log_joint(row[:length], p, level) + log_prior for p in paths])
        mass = logs.flatten().softmax(0).reshape(logs.shape).sum(-1)  # of each path
        for t in range(length):
            exact = sum(m for m, path in zip(mass, paths, strict=True) if path[t])
            share = found.probabilities(f"state_{t}")[n, 1]
            assert abs(share - exact) < 4.5 * (exact * (1 - exact) / found.ess[n]).sqrt() + 1e-3
        if length >= 2:  # not only each state: both together
            drawn = (found.draws["state_0"][:, n] == 1) & (found.draws["state_1"][:, n] == 1)
            exact = sum(m for m, path in zip(mass, paths, strict=True) if path[0] and path[1])
            error = (exact * (1 - exact) / found.ess[n]).sqrt()
            assert abs(drawn.double().mean() - exact) < 6 * error + 1e-3
    given = found.draws["state_1"][:, 1] == 1  # the second state of the sequence of one
    share = (found.draws["state_0"][:, 1] == 1).double().mean()
    after = 0.2 * (1 - share) + 0.7 * share
    assert abs(given.double().mean() - after) < 0.03


def test_the_best_path_is_viterbis() -> None:
    torch.manual_seed(2)
    program, (x, lengths), log_joint = hidden_markov(has_level=False)
    found = posterior(program, (x, lengths), num_draws=3, seed=0)
    best = found.most_probable()
    zero = torch.zeros(1)
    for n, (row, length) in enumerate(zip(x, lengths.tolist(), strict=True)):
        paths = list(itertools.product((0, 1), repeat=length))
        scores = torch.cat([log_joint(row[:length], path, zero) for path in paths])
        path = paths[int(scores.argmax())]
        for draw in range(3):
            assert tuple(int(best[f"state_{t}"][draw, n]) for t in range(length)) == path


def test_a_joint_mixture_with_drawn_weights() -> None:
    """Of 2^5 assignments each has its exact probability, with the weights integrated out."""
    locs, prior = torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 2.0])

    def model(x: Tensor) -> None:
        weights = pyro.sample("weights", dist.Dirichlet(prior))
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(weights), infer=SUMMED)
            pyro.sample("x", dist.Normal(locs[which], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("weights", dist.Dirichlet(prior))

    x, logs = torch.tensor([-1.5, -0.3, 0.2, 0.9, 2.0]), []
    assignments = torch.tensor(list(itertools.product([0, 1], repeat=5)))
    for which in assignments:
        counts = torch.bincount(which, minlength=2)
        ordered = torch.lgamma(prior + counts).sum()
        logs.append(ordered + dist.Normal(locs[which], 1.0).log_prob(x).sum())
    mass = torch.stack(logs).softmax(0).double()
    found = posterior((model, guide), x, num_draws=8000, seed=0)
    code = (found.draws["which"] * torch.tensor([16, 8, 4, 2, 1])).sum(-1)
    share = torch.bincount(code, minlength=32).double() / 8000
    assert ((share - mass).abs() < 5 * (mass / found.ess).sqrt() + 1e-3).all()
    exact = (mass[:, None] * assignments).sum(0)
    assert found.probabilities("which")[:, 1].tolist() == pytest.approx(exact.tolist(), abs=0.03)


@pytest.mark.parametrize("code", ["vmap", "python"])
def test_draws_of_programs_without_a_dimension_for_particles(code) -> None:
    def model(x: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        shift = torch.stack([w[0], w[1]]).sum()
        if code == "python":
            assert float(shift.detach()) < 100
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(torch.tensor([0.5, 0.5])), infer=SUMMED)
            pyro.sample("x", dist.Normal(shift + 2.0 * which, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("w", dist.Normal(torch.zeros(2), 0.8).to_event(1))

    x, num = torch.tensor([-1.0, 0.5, 2.5, 3.0]), 200 if code == "python" else 4000
    s = torch.linspace(-8, 8, 2001).double()[:, None]  # w[0] + w[1] ~ Normal(0, sqrt 2)
    logs = [dist.Normal(s + 2.0 * k, 1.0).log_prob(x.double()) for k in (0, 1)]
    each = torch.logaddexp(*logs)
    mass = (each.sum(-1) + dist.Normal(0.0, 2**0.5).log_prob(s[:, 0])).softmax(0)
    exact = (mass[:, None] * (logs[1] - each).exp()).sum(0)
    found = posterior((model, guide), x, num_draws=num, seed=0)
    share = found.probabilities("which")[:, 1]
    assert ((share - exact).abs() < 4.5 * (exact * (1 - exact) / found.ess).sqrt()).all()


def test_what_is_computed_from_a_summed_out_latent() -> None:
    """It has the shape of a run where that latent is drawn, not of one where it takes all its values."""
    nodes = torch.linspace(-2, 2, 5)

    def model(x: Tensor) -> None:
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            node = pyro.sample("node", dist.Categorical(torch.ones(5)), infer=SUMMED)
            z = pyro.deterministic("z", nodes[node])
            pyro.sample("x", dist.Normal(loc + z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("loc", dist.Normal(0.0, 0.5))

    found = posterior((model, guide), args=(torch.randn(7),), num_draws=50, seed=0)
    assert torch.equal(found.draws["z"], nodes[found.draws["node"].long()])
    assert found.dims("z") == ("data",)
    assert found.to_arviz()["posterior"]["z"].shape == (1, 50, 7)
    drawn = prior_samples(model, args=(torch.randn(7),), num_draws=9, seed=0).draws
    assert torch.equal(drawn["z"], nodes[drawn["node"].long()])
