"""Item response theory: its evidence by quadrature, its items by their formulas, traits recovered."""

from functools import partial

import numpy as np
import pytest
import torch
from refused import refused, refused_with
from torch import Tensor

from pyro_vae import fit, log_evidence, posterior, prior_samples
from pyro_vae.guides import BottomUp, Categorical, RelaxedCategorical, VonMisesFisher
from pyro_vae.item_models import Graded, OneParameter, TwoParameter
from pyro_vae.models import ItemResponse
from pyro_vae.networks import MLP

ITEMS = [(TwoParameter, 2), (OneParameter, 2), (partial(Graded, levels=4), 4)]

_nodes, _weights = np.polynomial.hermite_e.hermegauss(60)
NODES, LOG_WEIGHTS = torch.tensor(_nodes)[:, None], torch.tensor(_weights / _weights.sum()).log()


def with_gaps(x: Tensor, share: float = 0.3) -> Tensor:
    return torch.where(torch.rand(x.shape) < share, torch.nan, x)


def by_quadrature(model: ItemResponse, x: Tensor, latent_dim: int) -> Tensor:
    """Return log p(x) by Gauss-Hermite quadrature in each trait."""
    nodes, weights = (torch.tensor(a).float() for a in np.polynomial.hermite_e.hermegauss(40))
    log_weights = (weights / weights.sum()).log()
    z = torch.cartesian_prod(*[nodes] * latent_dim).reshape(-1, 1, latent_dim)
    log_w = torch.cartesian_prod(*[log_weights] * latent_dim).reshape(-1, latent_dim).sum(-1)
    return (model.answers(z).log_prob(x) + log_w.unsqueeze(-1)).logsumexp(0)


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize(("items", "levels"), ITEMS)
def test_the_evidence_is_that_of_quadrature(items, levels: int, latent_dim: int) -> None:
    torch.manual_seed(0)
    model = ItemResponse((2, 3), latent_dim, item=items)
    for parameter in model.item.parameters():
        parameter.data.add_(0.5 * torch.randn_like(parameter))
    x = with_gaps(torch.randint(levels, (20, 2, 3)).float())
    found = log_evidence(model, x, num_particles=4000, seed=0)
    off = found.log_evidence - by_quadrature(model, x, latent_dim)
    assert (off.abs() < 5 * found.standard_error + 1e-3).all()


def test_probabilities_of_grades_are_differences_of_sigmoids() -> None:
    items = Graded(1, (3,), levels=4)
    z = torch.tensor([[0.7], [-2.0]])
    steps = torch.cat([items.threshold, torch.nn.functional.softplus(items.raw_steps)], -1)
    at_least = torch.sigmoid(z @ items.discrimination.T)[..., None]  # of a cutpoint at 0
    at_least = torch.sigmoid(torch.logit(at_least) - steps.cumsum(-1))
    ones, zeros = torch.ones(2, 3, 1), torch.zeros(2, 3, 1)
    expected = torch.cat([ones, at_least], -1) - torch.cat([at_least, zeros], -1)
    torch.testing.assert_close(items(z).probs, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("per_person", [False, True])
def test_a_fit_recovers_items_and_people(per_person: bool) -> None:
    torch.manual_seed(0)
    truth, people = ItemResponse((20,)), 600
    truth.item.threshold.data.copy_(torch.linspace(-2, 2, 20))
    truth.item.discrimination.data.fill_(1.5)
    z = torch.randn(people, 1)
    x = with_gaps(truth.answers(z).sample(), 0.2)
    model = ItemResponse((20,), num_people=people if per_person else None)
    data = (x, torch.arange(people)) if per_person else x
    adam = partial(torch.optim.Adam, lr=0.05 if per_person else 5e-3)
    fit(model, data, epochs=40 if per_person else 120, optimizer=adam, progress=False, device="cpu")
    found = posterior(model, data, num_draws=200, seed=0).means["z"]
    assert torch.stack([found[:, 0], z[:, 0]]).corrcoef()[0, 1] > 0.85
    difficulties = torch.stack([model.item.threshold, truth.item.threshold])
    assert difficulties.corrcoef()[0, 1] > 0.98
    assert (difficulties[0] - difficulties[1]).abs().mean() < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("people", [150, 500])
def test_at_the_defaults_items_are_those_of_maximum_likelihood(people: int) -> None:
    """...within their standard errors, and the fit adds little to these."""
    truth = ItemResponse((20,))
    truth.item.discrimination.data.copy_(0.8 + 1.4 * torch.rand(20, 1))
    truth.item.threshold.data.normal_()
    x = prior_samples(truth, torch.zeros(people, 20), num_draws=1, seed=0).predictive["x"][0]

    def lost(items: Tensor) -> Tensor:
        given = {"discrimination": items[:20, None], "threshold": items[20:]}
        p = torch.func.functional_call(truth.item, given, (NODES,))
        at_nodes = p.log_prob(x.double()[:, None]).sum(-1)  # (people, nodes)
        return -(at_nodes + LOG_WEIGHTS).logsumexp(-1).sum()

    best = torch.cat([torch.ones(20), torch.zeros(20)]).double().requires_grad_()
    optimizer = torch.optim.LBFGS([best], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        (loss := lost(best)).backward()
        return loss

    optimizer.step(closure)
    information = torch.autograd.functional.hessian(lost, best.detach())
    errors = information.inverse().diagonal().sqrt()
    model = ItemResponse((20,))
    fit(model, x, progress=False, device="cpu")
    slopes = model.item.discrimination.detach().flatten()
    found = torch.cat([slopes * slopes.sum().sign(), model.item.threshold.detach()])
    off = (found.double() - best.detach()) / errors
    assert off.square().mean().sqrt() < 1
    assert lost(found.double()) - lost(best) < 0.02 * people


@pytest.mark.parametrize(
    "item", [TwoParameter, OneParameter, partial(Graded, levels=2), partial(Graded, levels=4)]
)
def test_an_item_is_as_difficult_as_the_trait_at_which_half_pass(item) -> None:
    items = item(1, (5,)).double()
    for parameter in items.parameters():
        parameter.data.uniform_(0.4, 2.0)
    b = items.difficulty.reshape(5, -1)
    for k, z in enumerate(b.T, start=1):
        answers = items(z[:, None]).enumerate_support(expand=False)[k:]
        passed = items(z[:, None]).log_prob(answers).exp().sum(0)
        torch.testing.assert_close(passed.diagonal(), torch.full((5,), 0.5).double())


@pytest.mark.parametrize("item", [TwoParameter, OneParameter, partial(Graded, levels=4)])
def test_information_is_the_curvature_of_the_expected_log_likelihood(item) -> None:
    """-d^2/dt^2 E_z[log p(x | t)] at t = z, by differences."""
    items, z, h = item(1, (5,)).double(), torch.linspace(-3, 3, 13).double(), 1e-3
    for parameter in items.parameters():
        parameter.data.uniform_(0.4, 2.0)
    at = items(z[:, None])
    answers = at.enumerate_support(expand=False)
    below, here, above = (items((z + d)[:, None]).log_prob(answers) for d in (-h, 0.0, h))
    curvature = (at.log_prob(answers).exp() * (above + below - 2 * here)).sum(0) / h**2
    torch.testing.assert_close(items.information(z), -curvature, atol=1e-6, rtol=1e-4)


def test_draws_follow_the_items() -> None:
    model = ItemResponse((3,), item=partial(Graded, levels=3))
    drawn = prior_samples(model, torch.zeros(20_000, 3), num_draws=1, seed=0).predictive["x"][0]
    share = torch.stack([(drawn[:, 0] == level).float().mean() for level in range(3)])
    grid = torch.arange(3.0).repeat(3, 1).T
    gaps = torch.tensor([0.0, torch.nan, torch.nan])
    expected = by_quadrature(model, grid + gaps, 1).exp()
    assert (share - expected).abs().max() < 0.02


@pytest.mark.parametrize(
    ("make", "batch", "subject", "words"),
    [
        (partial(ItemResponse, (3,), encoder=MLP), None, "encoder", "MaskedInput, network=MLP"),
        (partial(ItemResponse, (3,), 0), None, "latent_dim", "at least 1"),
        (partial(ItemResponse, (3,), item=partial(Graded, levels=1)), None, "levels", "at least 2"),
        (partial(ItemResponse, (3,)), (torch.zeros(2, 4),), "x", "(3,)"),
        (partial(ItemResponse, (3,), num_people=2), (torch.zeros(2, 3),), "person", "(x, person)"),
        (partial(ItemResponse, (3,)), (torch.zeros(2, 3), torch.arange(2)), "person", "num_people"),
        *(
            (partial(ItemResponse, (3,), 2, guide=guide), None, guide.__name__, "StandardNormal")
            for guide in (VonMisesFisher, Categorical, RelaxedCategorical)
        ),
        (
            partial(ItemResponse, (3,), guide=RelaxedCategorical, num_people=2),
            None,
            "RelaxedCategorical",
            "StandardNormal",
        ),
        (partial(ItemResponse, (3,), 2, guide=BottomUp), None, "AmortizedGuide", "BottomUp"),
    ],
)
def test_refusals(make, batch, subject: str, words: str) -> None:
    with refused(subject) as caught:
        make().guide(*batch)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("person", "words"),
    [
        (-1, ["person -1", "from 0 to 19", "num_people"]),
        (20, ["person 20", "from 0 to 19", "num_people"]),
        (0.7, ["person", "int64", "torch.float32"]),
    ],
)
def test_persons_without_parameters_are_refused(person: float, words: list[str]) -> None:
    model, people = ItemResponse((3,), num_people=20), torch.arange(3000) % 20
    people = people + 0.0 if isinstance(person, float) else people
    people[-1] = person  # beyond the rows that are looked at first
    data = (torch.zeros(3000, 3), people)
    options = {"epochs": 1, "batch_size": 1000, "progress": False, "device": "cpu"}
    with refused_with(*words):
        fit(model, data, **options)
    with refused_with(*words):
        log_evidence(model, data, num_particles=1, device="cpu")
    with refused_with(*words):
        posterior(model, data)
    with refused_with("validation", *words):
        fit(model, (data[0][:10], torch.arange(10)), validation=data, **options)


def test_information_is_on_one_trait() -> None:
    two = TwoParameter(2, (3,))
    torch.testing.assert_close(two.difficulty, two.threshold / two.discrimination.norm(dim=-1))
    with refused("latent_dim"):
        two.information(torch.zeros(3))


@pytest.mark.parametrize("people", [0, -1])
def test_there_are_people(people: int) -> None:
    with refused("num_people", expected="at least 1"):
        ItemResponse((3,), num_people=people)
