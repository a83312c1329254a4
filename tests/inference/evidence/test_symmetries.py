"""Symmetries: which a model has, what a guide of one mode misses, and the guide that has all."""

import itertools
import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal
from refused import refused
from torch import Tensor

from pyro_vae import InputError, compare, log_evidence, posterior
from pyro_vae.inference import SMC, Annealed, Auto, Bridge, Importance
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.labels import Labels
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.symmetries import symmetries

SUMMED_OUT = {"enumerate": "parallel"}
X = torch.cat([torch.randn(9) - 2, torch.randn(6) + 2])
NOTE, MIXED = "the figure is probably low", "was mixed over all copies"


def mixture(x: Tensor, centre: Any = 0.0, size: int = 2) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(size)))
    with pyro.plate("components", size):
        locs = pyro.sample("locs", dist.Normal(centre, 3.0))
    with pyro.plate("data", len(x)):
        which = pyro.sample("which", dist.Categorical(weights), infer=SUMMED_OUT)
        pyro.sample("x", dist.Normal(locs[which], 1.0), obs=x)


def one_mode(x: Tensor) -> None:
    pyro.sample("weights", dist.Dirichlet(torch.tensor([9.0, 6.0])))
    with pyro.plate("components", 2):
        pyro.sample("locs", dist.Normal(torch.tensor([-2.0, 2.0]), 0.6))


def rule(low: float, high: float, count: int) -> tuple[Tensor, Tensor]:
    """Return the nodes and log-weights of Gauss-Legendre quadrature."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(count))
    return low + (high - low) * (nodes + 1) / 2, (weights * (high - low) / 2).log()


def exact(x: Tensor) -> float:
    """Sum over the weight and both locations."""
    (share, w), (loc, v) = rule(0.0, 1.0, 30), rule(-9.0, 9.0, 120)
    likelihood = dist.Normal(loc[:, None], 1.0).log_prob(x.double())  # locations, rows
    prior = dist.Normal(0.0, 3.0).log_prob(loc) + v
    parts = []
    for s, log_w in zip(share, w, strict=True):
        both = torch.logaddexp(likelihood[:, None] + s.log(), likelihood + (-s).log1p())
        parts.append((both.sum(-1) + prior[:, None] + prior).logsumexp((0, 1)) + log_w)
    return float(torch.stack(parts).logsumexp(0))


def labels_of(model: Any, *args: Any) -> Any:
    with open_tiles(with_prior_as_guide(model), args=args, seed=0) as tiles:
        return tuple(one for one in symmetries(tiles[0]) if isinstance(one, Labels))


# --- which labels are exchangeable ----------------------------------------------------------------


def topics(words: Tensor) -> None:
    """Two topics of two words: the words' axis has the topics' size, and data."""
    with pyro.plate("kinds", 2):
        of_words = pyro.sample("of_words", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("documents", len(words), dim=-2):
        share = pyro.sample("share", dist.Dirichlet(torch.ones(2)))
        with pyro.plate("words", words.shape[1], dim=-1):
            topic = pyro.sample("topic", dist.Categorical(share), infer=SUMMED_OUT)
            pyro.sample("word", dist.Categorical(of_words[topic]), obs=words)


def states(y: Tensor, first: Tensor) -> None:
    with pyro.plate("states", 3):
        transition = pyro.sample("transition", dist.Dirichlet(torch.ones(3)))
        loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    state: Any = None
    for step in pyro.markov(range(len(y))):
        to = first if state is None else transition[state]
        state = pyro.sample(f"state_{step}", dist.Categorical(to), infer=SUMMED_OUT)
        pyro.sample(f"y_{step}", dist.Normal(loc[state], 1.0), obs=y[step])


def regression(x: Tensor, y: Tensor) -> None:
    slope = pyro.sample("slope", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(x @ slope, 1.0), obs=y)


def test_the_axes_that_change_together_are_found() -> None:
    (components,) = labels_of(mixture, X)
    assert (components.name, components.size) == ("components", 2)
    assert components.axes == {"weights": (-1,), "locs": (-1,)}
    words = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 1, 0]])
    (kinds,) = labels_of(topics, words)
    assert kinds.axes == {"of_words": (-2,), "share": (-1,)}
    (of_states,) = labels_of(states, torch.randn(4), torch.ones(3))
    assert of_states.size == 3
    assert {name: set(dims) for name, dims in of_states.axes.items()} == {
        "transition": {-1, -2},
        "loc": {-1},
    }


def test_where_no_labels_are_exchangeable() -> None:
    assert labels_of(lambda x: mixture(x, torch.tensor([-1.0, 1.0])), X) == ()
    assert labels_of(states, torch.randn(4), torch.tensor([1.0, 2.0, 3.0])) == ()
    assert labels_of(regression, torch.randn(9, 3), torch.randn(9)) == ()
    assert labels_of(lambda x: mixture(x, size=6), X) == ()  # 720 orders


# --- the evidence ---------------------------------------------------------------------------------


def auto_guide(kind: Any) -> Any:
    """An AutoGuide of ``mixture`` that holds one mode, as a fitted one does."""
    hidden = pyro.poutine.block(mixture, hide=["which"])
    start = {"weights": torch.tensor([0.6, 0.4]), "locs": torch.tensor([-2.0, 2.0])}
    guide = kind(hidden, init_loc_fn=lambda site: start[site["name"]], init_scale=0.5)
    guide(X)
    return guide


GUIDES = {
    "functions": lambda: one_mode,
    "AutoMultivariateNormal": lambda: auto_guide(AutoMultivariateNormal),
}


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_of_one_labelling_is_low_by_the_log_of_their_number(name: str) -> None:
    program, truth = (mixture, GUIDES[name]()), exact(X)
    low = log_evidence(program, args=(X,), num_particles=2000, seed=0)
    whole = log_evidence(
        program, args=(X,), method=Importance(symmetrize=True), num_particles=2000, seed=0
    )
    assert abs(float(whole.log_evidence) - truth) < 4 * float(whole.standard_error)
    assert float(whole.standard_error) < 0.1
    assert low.standard_error.isnan()
    off = float(low.log_evidence) + math.log(2) - truth
    assert abs(off) < 4 * float(low.ess) ** -0.5 + 0.02  # a rare draw lies in the other mode
    (note,) = [note for note in low.notes if NOTE in note]
    assert "'components'" in note
    assert "0.69 nats" in note
    assert any(MIXED in note for note in whole.notes)
    assert "in all symmetric copies" in whole.method


def test_a_share_of_the_prior_and_all_orders() -> None:
    method = Importance(prior_share=0.2, symmetrize=True)
    found = log_evidence((mixture, one_mode), args=(X,), method=method, num_particles=2000, seed=0)
    assert abs(float(found.log_evidence) - exact(X)) < 4 * float(found.standard_error)


@pytest.mark.slow
def test_three_labels_along_an_event_axis_have_six_orders() -> None:
    x = torch.cat([torch.randn(5) - 4, torch.randn(4), torch.randn(5) + 4])

    def model(x: Tensor) -> None:
        means = pyro.sample("means", dist.Normal(torch.zeros(3), 3.0).to_event(1))
        parts = dist.Normal(means[..., None, :], 1.0)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), parts), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("means", dist.Normal(torch.tensor([-4.0, 0.0, 4.0]), 0.8).to_event(1))

    nodes, weights = rule(-10.0, 10.0, 60)
    log_w = dist.Normal(0.0, 3.0).log_prob(nodes) + weights
    each = dist.Normal(nodes[:, None], 1.0).log_prob(x.double()).exp()  # nodes, rows
    pairs = each[:, None] + each
    truth = [
        (((pairs + one) / 3).log().sum(-1) + log_w[:, None] + log_w).logsumexp((0, 1)) + w
        for one, w in zip(each, log_w, strict=True)
    ]
    exact = float(torch.stack(truth).logsumexp(0))
    for method in (Importance(symmetrize=True), SMC(start="prior")):
        found = log_evidence((model, guide), args=(x,), method=method, num_particles=2000, seed=0)
        assert abs(float(found.log_evidence) - exact) < 4 * float(found.standard_error)
        is_mixed = isinstance(method, Importance)
        assert any(MIXED in note for note in found.notes) is is_mixed
    low = log_evidence((model, guide), args=(x,), num_particles=2000, seed=0)
    assert abs(float(low.log_evidence) + math.log(6) - exact) < 0.2
    assert any("'means'" in note and "3! orders" in note for note in low.notes)


def test_every_order_of_a_draw_has_one_weight() -> None:
    """The proposal is that of any order: weights are the same after a change of it."""
    with open_tiles((mixture, one_mode), args=(X,), seed=0) as tiles, torch.no_grad():
        drawn = Importance(symmetrize=True).draw(tiles[0], 300)
    first = drawn.latents["locs"][..., 0] < drawn.latents["locs"][..., 1]
    assert 100 < int(first.sum()) < 200  # both orders are drawn
    log_guide = []
    for order in itertools.permutations(range(2)):
        at = {n: v[..., list(order)] for n, v in drawn.latents.items()}
        parts = dist.Dirichlet(torch.tensor([9.0, 6.0])).log_prob(at["weights"])
        parts = parts + dist.Normal(torch.tensor([-2.0, 2.0]), 0.6).log_prob(at["locs"]).sum(-1)
        log_guide.append(parts)
    expected = torch.stack(log_guide).logsumexp(0) - math.log(2)
    assert torch.allclose(drawn.log_guide.squeeze(-1), expected, atol=1e-4)


def test_no_note_where_the_guide_knows_no_order_or_the_model_has_none() -> None:
    def wide(x: Tensor) -> None:
        pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
        with pyro.plate("components", 2):
            pyro.sample("locs", dist.Normal(0.0, 3.0))

    other = lambda x: mixture(x, torch.tensor([-1.0, 1.0]))  # noqa: E731
    for program in ((mixture, wide), (other, one_mode)):
        evidence = log_evidence(program, args=(X,), seed=0)
        assert not any(NOTE in note for note in evidence.notes)
    asked = log_evidence((other, one_mode), args=(X,), method=Importance(symmetrize=True), seed=0)
    assert any("changed nothing" in note for note in asked.notes)


def test_symmetrize_is_true_or_false() -> None:
    with pytest.raises(InputError, match="symmetrize"):
        Importance(symmetrize="components")  # type: ignore[arg-type]


# --- other methods --------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["guide", "laplace", "prior"])
def test_annealing_from_one_mode_says_so(start: str) -> None:
    method = Annealed(5, start=start, num_leapfrog=2)
    notes = log_evidence((both, one_means), args=(X,), method=method, num_particles=8, seed=0).notes
    assert any("0.69 nats" in note for note in notes) is (start != "prior")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(Annealed(20, num_leapfrog=3, symmetrize=True), marks=pytest.mark.slow),
        Annealed(1, "laplace", symmetrize=True),
        SMC("guide", symmetrize=True),
    ],
    ids=["annealed", "laplace", "smc"],
)
def test_a_start_in_all_orders(method: Any) -> None:
    """Along the axis of a simplex, too, where an exchange is no exchange of coordinates."""
    found = log_evidence((mixture, one_mode), args=(X,), method=method, num_particles=1000, seed=0)
    assert abs(float(found.log_evidence) - exact(X)) < 4 * float(found.standard_error)
    assert float(found.standard_error) < 0.15
    assert not any(NOTE in note for note in found.notes)


def test_a_start_that_maps_another_draw_onto_the_latents_takes_no_orders() -> None:
    program, method = (mixture, auto_guide(AutoMultivariateNormal)), Annealed(5, symmetrize=True)
    with refused("locs", remedy="start from the prior"):
        log_evidence(program, args=(X,), method=method)


def both(x: Tensor) -> None:
    means = pyro.sample("means", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    parts = dist.Normal(means[..., None, :], 1.0)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), parts), obs=x)


def one_means(x: Tensor) -> None:
    pyro.sample("means", dist.Normal(torch.tensor([-2.0, 2.0]), 0.5).to_event(1))


def exact_of_both(x: Tensor) -> float:
    nodes, weights = rule(-10.0, 10.0, 200)
    log_w = dist.Normal(0.0, 3.0).log_prob(nodes) + weights
    each = dist.Normal(nodes[:, None], 1.0).log_prob(x.double()) - math.log(2)
    total = torch.logaddexp(each[:, None], each).sum(-1) + log_w[:, None] + log_w
    return float(total.logsumexp((0, 1)))


def test_a_bridge_from_draws_of_one_mode_says_so_and_one_from_all_does_not() -> None:
    program, truth = (both, one_means), exact_of_both(X)
    drawn = posterior(program, args=(X,), method=Importance(), num_draws=2000, seed=0)
    means = drawn.draws["means"].flatten(0, -2)
    low = log_evidence(both, args=(X,), method=Bridge({"means": means}), seed=0)
    assert any("0.69 nats" in note for note in low.notes)
    assert abs(float(low.log_evidence) + math.log(2) - truth) < 0.1
    swapped = torch.where(torch.rand(len(means), 1) < 0.5, means.flip(-1), means)
    whole = log_evidence(both, args=(X,), method=Bridge({"means": swapped}), seed=0)
    assert not any(NOTE in note for note in whole.notes)
    assert abs(float(whole.log_evidence) - truth) < 0.1
    symmetrized = Bridge({"means": means}, symmetrize=True)
    for method in (symmetrized, Auto(draws={"means": means}, importance=Importance(0.9))):
        found = log_evidence(both, args=(X,), method=method, seed=0)
        assert abs(float(found.log_evidence) - truth) < 4 * float(found.standard_error)
        assert any("were taken at random" in note for note in found.notes)
        assert "low by" not in str(found)


def test_symmetrize_of_a_bridge_without_symmetries_changes_nothing() -> None:
    def single(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    spread = (1 / 9 + len(X)) ** -0.5
    draws = {"mean": X.sum() * spread**2 + spread * torch.randn(500)}
    found = log_evidence(single, args=(X,), method=Bridge(draws, symmetrize=True), seed=0)
    plain = log_evidence(single, args=(X,), method=Bridge(draws), seed=0)
    assert torch.equal(found.log_evidence, plain.log_evidence)
    assert "symmetrize changed nothing" in str(found)


def test_a_comparison_names_the_model_of_one_mode() -> None:
    def single(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def mean(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(0.0, 1.0))

    models = {"two": (both, one_means), "one": (single, mean)}
    low = compare(models, args=(X,), seed=0)
    assert "evidence of 'two' is probably too low" in str(low)
    whole = compare(models, args=(X,), method=Importance(symmetrize=True), seed=0)
    assert "too low" not in str(whole)


def test_auto_takes_all_copies_by_itself() -> None:
    found = log_evidence((both, one_means), args=(X,), method="auto", seed=0)
    assert abs(float(found.log_evidence) - exact_of_both(X)) < 4 * float(found.standard_error)
    assert any("symmetrize=True" in note for note in found.notes)
