"""The deep Markov model: with linear parts it is the state space model, whose evidence is known."""

from functools import cache, partial

import pyro
import pytest
import torch
from oracles import agrees
from refused import refused, refused_with
from torch import Tensor

from pyro_vae import fit, log_evidence
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.likelihoods import (
    Bernoulli,
    Categorical,
    Heterogeneous,
    HeteroscedasticNormal,
    Missing,
    Normal,
    Sentences,
)
from pyro_vae.models import DeepMarkov, StateSpace
from pyro_vae.networks import MLP
from pyro_vae.sequences.transitions import LinearTransition

LENGTHS = torch.tensor([4, 1, 3, 2] * 2)
SHAPES = [(4, 3), (4,), (1, 4, 3)]


def pair(data_shape: tuple[int, ...]) -> tuple[DeepMarkov, StateSpace]:
    """Return the same model, as either class."""
    torch.manual_seed(0)
    linear = partial(MLP, hidden_dims=())
    deep = DeepMarkov(data_shape, 2, transition=LinearTransition, likelihood=Normal, decoder=linear)
    plain = StateSpace(data_shape, 2)
    with torch.no_grad():
        for parameter in (deep.prior.loc, deep.prior.log_scale, deep.transition.weight):
            parameter.add_(0.3 * torch.randn_like(parameter))
        plain.initial_loc.copy_(deep.prior.loc)
        plain.initial_log_scale.copy_(deep.prior.log_scale)
        plain.transition.copy_(deep.transition.weight)
        layer = deep.likelihood.decoder.layers[-1]
        plain.loadings.copy_(layer.weight)
        plain.bias.copy_(layer.bias)
        plain.log_scale.fill_(deep.likelihood.log_scale)
    return deep.requires_grad_(False), plain.requires_grad_(False)


def log_joint(model: torch.nn.Module, guide: pyro.poutine.Trace, *batch: Tensor | None) -> Tensor:
    trace = pyro.poutine.trace(pyro.poutine.replay(model.model, guide)).get_trace(*batch)
    return trace.log_prob_sum()


@pytest.mark.parametrize("data_shape", SHAPES)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_with_linear_parts_it_is_the_state_space_model(data_shape, lengths) -> None:
    deep, plain = pair(data_shape)
    x = torch.randn(8, *data_shape)
    guide = pyro.poutine.trace(deep.guide).get_trace(x, lengths)
    torch.testing.assert_close(
        log_joint(deep, guide, x, lengths), log_joint(plain, guide, x, lengths)
    )


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_its_evidence_is_the_kalman_filters(lengths: Tensor | None) -> None:
    deep, plain = pair((4, 3))
    batch = (torch.randn(8, 4, 3),) if lengths is None else (torch.randn(8, 4, 3), lengths)
    deep.requires_grad_(True)  # only the guide is off
    for part in (deep.prior, deep.transition, deep.likelihood):
        part.requires_grad_(False)
    adam = partial(torch.optim.Adam, lr=0.02)
    fit(deep, batch, epochs=300, optimizer=adam, progress=False, device="cpu")

    @cache
    def found(num_particles: int) -> Evidence:
        return log_evidence(deep, batch, num_particles=num_particles, seed=0)

    assert found(20_000).pareto_k.median() < 0.7
    assert (~found(20_000).without_error).sum() > 4
    assert agrees(found, 20_000, plain.log_evidence(*batch), least=1e-3)


COLUMNS = [Normal, HeteroscedasticNormal, Normal]
TABLE = partial(Heterogeneous, columns=COLUMNS)
PER_STEP = [TABLE, HeteroscedasticNormal, Bernoulli, partial(Categorical, levels=2)]


def log_likelihood(model: DeepMarkov, z: dict[str, Tensor], *batch: Tensor | None) -> Tensor:
    """Return log p(x | z) of each sequence."""
    trace = pyro.poutine.trace(pyro.poutine.condition(model.model, data=z)).get_trace(*batch)
    trace.compute_log_prob()
    return trace.nodes["x"]["log_prob"]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("kind", PER_STEP)
def test_an_image_is_the_sequence_of_its_rows(kind, lengths: Tensor | None) -> None:
    torch.manual_seed(0)
    plain = DeepMarkov((4, 3), 2, likelihood=kind, hidden_dim=8)
    image = DeepMarkov((1, 4, 3), 2, likelihood=kind, hidden_dim=8)
    image.load_state_dict(plain.state_dict())
    x = torch.bernoulli(torch.full((8, 4, 3), 0.4))
    z = {f"z_{t}": torch.randn(8, 2) for t in range(4)}
    expected = log_likelihood(plain, z, x, lengths)
    torch.testing.assert_close(log_likelihood(image, z, x.unsqueeze(1), lengths), expected)
    for n in range(len(x)):  # for each sequence alone
        own = {name: value[n : n + 1] for name, value in z.items()}
        length = None if lengths is None else lengths[n : n + 1]
        alone = log_likelihood(image, own, x[n : n + 1].unsqueeze(1), length)
        torch.testing.assert_close(alone, expected[n : n + 1])


@pytest.mark.parametrize("data_shape", [(2, 3), (1, 2, 3), (6,)])
def test_a_step_may_be_a_sentence(data_shape: tuple[int, ...]) -> None:
    model = DeepMarkov(data_shape, 2, likelihood=partial(Sentences, num_tokens=2, hidden_dim=4))
    x = torch.cartesian_prod(*[torch.arange(2.0)] * 6).reshape(-1, *data_shape)  # all there are
    z = {f"z_{t}": torch.randn(2).expand(len(x), 2) for t in range(model.steps)}
    torch.testing.assert_close(log_likelihood(model, z, x).exp().sum(), torch.tensor(1.0))


def test_what_lies_beyond_a_length_does_not_count() -> None:
    torch.manual_seed(0)
    model, x = DeepMarkov((4, 3), 2, likelihood=Normal), torch.randn(8, 4, 3)
    beyond = torch.arange(4).unsqueeze(-1) >= LENGTHS[:, None, None]
    found = [
        log_evidence(model, (data, LENGTHS), num_particles=20, seed=0).log_evidence
        for data in (x, torch.where(beyond, 100.0, x))
    ]
    torch.testing.assert_close(*found)


def test_refusals() -> None:
    with refused("DeepMarkov", expected="rows are the steps"):
        DeepMarkov((3, 4, 4), 2)
    with refused("latent_dim", expected="at least 1"):
        DeepMarkov((4, 4), 0)
    with refused("likelihood", remedy="without Missing"):
        DeepMarkov((4, 3), 2, likelihood=Missing)
    model = DeepMarkov((4, 3), 2)
    with refused("x", expected="(4, 3)"):
        model.model(torch.zeros(2, 5, 3))
    with refused("lengths", expected="each of 2"):
        model.guide(torch.zeros(2, 4, 3), torch.ones(2))


@pytest.mark.parametrize("kind", [DeepMarkov, StateSpace])
@pytest.mark.parametrize("length", [-5, 0, 3, 99])
def test_lengths_that_no_sequence_has_are_refused(kind, length: int) -> None:
    x, lengths = torch.zeros(3000, 2, 3), torch.full((3000,), 2)
    lengths[-1] = length  # beyond the rows that are looked at first
    words = f"lengths holds {length};", "from 1 to 2"
    with refused_with(*words):
        fit(kind((2, 3), 2), (x, lengths), epochs=1, batch_size=1000, progress=False, device="cpu")
    with refused_with(*words):
        log_evidence(kind((2, 3), 2), (x, lengths), num_particles=1, device="cpu")
