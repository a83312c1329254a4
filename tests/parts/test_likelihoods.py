"""Likelihoods: densities that integrate to 1, masses that sum to 1, draws that follow them."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from parts.parts import COLUMNS, CONTINUOUS, DISCRETE, LIKELIHOODS, small
from refused import refused
from scipy import stats
from torch import Tensor
from torch.distributions import biject_to

from pyro_vae.likelihoods import (
    Beta,
    DiscretizedLogisticMixture,
    Heterogeneous,
    HeteroscedasticNormal,
    Missing,
    NegativeBinomial,
    Normal,
    PixelCNN,
    Sentences,
    StudentT,
    Tokens,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)

NAN = float("nan")
Z = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.4, 0.2]]).double()  # (3 | 2)


def values(part: Any) -> Any:
    """Return the distribution of the values, (3, 4 |), of a likelihood with perturbed parameters."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        return part.double()(Z).base_dist


@pytest.fixture(params=[(4,), (1, 2, 2)], ids=["row", "image"])
def shape(request: pytest.FixtureRequest) -> Iterator[tuple[int, ...]]:
    return request.param


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_shape_and_batch(name: str, shape: tuple[int, ...]) -> None:
    p = LIKELIHOODS[name](2, shape, small)(torch.randn(5, 3, 2))
    assert (p.batch_shape, p.event_shape) == ((5, 3), shape)
    x = p.sample()
    assert p.support.check(x).all()
    assert p.log_prob(x).isfinite().all()
    assert p.expand((7, 5, 3)).log_prob(x).shape == (7, 5, 3)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    module = LIKELIHOODS[name](2, (4,), small)
    p = module(torch.randn(50, 2))
    p.log_prob(p.sample()).sum().backward()
    assert all(q.grad.isfinite().all() and q.grad.abs().sum() > 0 for q in module.parameters())


@pytest.mark.parametrize("name", sorted({*CONTINUOUS} - {"Beta"}))  # whose mass goes below 1e-300
def test_densities_integrate_to_one(name: str) -> None:
    p = values(CONTINUOUS[name](2, (4,), small))
    u = torch.linspace(-60, 60, 60_001).double()[:, None, None]
    u = u.sinh() / 60_000 if name == "StudentT" else u  # its tails are long
    onto = biject_to(p.support)
    x = onto(u)
    masses = torch.trapezoid((p.log_prob(x) + onto.log_abs_det_jacobian(u, x)).exp(), u, dim=0)
    torch.testing.assert_close(masses, torch.ones(3, 4).double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", DISCRETE)
def test_masses_sum_to_one_and_draws_follow_them(name: str) -> None:
    p = values(DISCRETE[name](2, (4,), small))
    try:
        x = p.enumerate_support(expand=False).double()
    except NotImplementedError:
        x = (
            torch.linspace(0, 1, 17)
            if "Log" in name or name == "Categorical"
            else torch.arange(3e3)
        )
        x = x.double()[:, None, None]
    masses = p.log_prob(x).exp()
    torch.testing.assert_close(masses.sum(0), torch.ones(3, 4).double(), rtol=0, atol=1e-6)
    draws = p.sample((20_000,)).double()
    for moment in (lambda x: x, torch.cos):
        mean = (masses * moment(x)).sum(0)
        # by the masses: of the draws themselves none may be what is seldom
        error = ((masses * (moment(x) - mean).square()).sum(0) / len(draws)).sqrt()
        assert ((moment(draws).mean(0) - mean).abs() < 5 * error + 1e-9).all()


@pytest.mark.parametrize("name", sorted({*LIKELIHOODS} - {"Tokens"}))
def test_means_are_those_of_the_draws(name: str) -> None:
    p = values(LIKELIHOODS[name](2, (4,), small))
    draws = p.sample((50_000,)).clamp(-50, 50 if name == "StudentT" else torch.inf)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - p.mean).abs() < 5 * error + 1e-3).all()


def test_categories_have_no_mean() -> None:
    with pytest.raises(NotImplementedError):
        _ = Tokens(2, (4,))(torch.zeros(1, 2)).mean


def test_counts_are_what_scipy_says() -> None:
    x, p = torch.arange(12.0).double()[:, None, None], values(NegativeBinomial(2, (4,), small))
    mean, r = p.mean, p.total_count
    expected = stats.nbinom.logpmf(x, r, r / (r + mean))
    torch.testing.assert_close(p.log_prob(x), torch.from_numpy(expected))
    torch.testing.assert_close(p.variance, mean + mean.square() / r)
    for inflated in (ZeroInflatedPoisson, ZeroInflatedNegativeBinomial):
        p = values(inflated(2, (4,), small))
        gate = p.gate_logits.sigmoid()
        expected = (1 - gate) * p.base_dist.log_prob(x).exp() + gate * (x == 0)
        torch.testing.assert_close(p.log_prob(x).exp(), expected)


def test_beta_is_what_scipy_says() -> None:
    p = values(Beta(2, (4,), small))
    x = p.sample((7,))
    expected = stats.beta.logpdf(x, p.concentration1, p.concentration0)
    torch.testing.assert_close(p.log_prob(x), torch.from_numpy(expected))


def test_student_t_is_what_scipy_says() -> None:
    p, x = values(StudentT(2, (4,), small)), torch.randn(7, 3, 4).double()
    expected = stats.t.logpdf(x, p.df, p.loc, p.scale)
    torch.testing.assert_close(p.log_prob(x), torch.from_numpy(expected))


def test_a_mixture_of_logistics_is_their_weighted_sum() -> None:
    module = DiscretizedLogisticMixture(2, (4,), small, levels=17, num_components=3)
    p = values(module)
    x, parts = torch.randint(17, (3, 4)) / 16.0, p.component_distribution
    each = torch.stack([parts.log_prob(x.double().unsqueeze(-1)).exp()[..., k] for k in range(3)])
    weights = p.mixture_distribution.probs.movedim(-1, 0)
    torch.testing.assert_close(p.log_prob(x.double()).exp(), (weights * each).sum(0))
    start = module.from_parameters(
        torch.zeros(9, 4)
    ).component_distribution.loc.float()  # not as one
    torch.testing.assert_close(start, torch.tensor([0.25, 0.5, 0.75]).expand(4, 3))


# --- tables ------------------------------------------------------------------------------------


def test_a_table_scores_each_column_by_its_own_likelihood() -> None:
    table = Heterogeneous(2, (6,), small, columns=COLUMNS)
    p = table(torch.randn(5, 2))
    x = p.sample()
    columns = p.base_dist.log_prob(x)
    normal, binary, positive, counts, names = p.base_dist.parts
    expected = [
        normal.log_prob(x[:, [0, 3]])[:, 0],
        binary.log_prob(x[:, [1]])[:, 0],
        positive.log_prob(x[:, [2]])[:, 0],
        normal.log_prob(x[:, [0, 3]])[:, 1],
        counts.log_prob(x[:, [4]])[:, 0],
        names.log_prob(x[:, [5]])[:, 0],
    ]
    torch.testing.assert_close(columns, torch.stack(expected, -1))
    assert p.expand((7, 5)).log_prob(x).shape == (7, 5)
    assert p.support.check(x).all()
    for column, wrong in ((1, 0.5), (2, -1.0), (4, 1.5), (5, 4.0)):
        other = x.clone()
        other[0, column] = wrong
        assert p.support.check(other).tolist() == [False, True, True, True, True]


def test_the_columns_of_a_table_share_a_decoder() -> None:
    table = Heterogeneous(2, (6,), small, columns=COLUMNS)
    assert table.decoder.out_shape == (2 * 2 + 1 + 2 + 1 + 4,)
    table(torch.randn(5, 2)).log_prob(table(torch.randn(5, 2)).sample()).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in table.parameters())


@pytest.mark.parametrize("name", [*LIKELIHOODS, "Heterogeneous"])
def test_a_missing_value_says_nothing(name: str) -> None:
    columns = 6 if name == "Heterogeneous" else 4
    whole = {**LIKELIHOODS, name: partial(Heterogeneous, columns=COLUMNS)}[name]
    whole = whole if name == "Heterogeneous" else LIKELIHOODS[name]
    part = Missing(2, (columns,), small, likelihood=whole)
    p = part(torch.randn(5, 2))
    x = p.sample().float()
    missing = torch.rand(5, columns) < 0.4
    holes = torch.where(missing, NAN, x)
    each = part.complete(torch.zeros(5, 2))  # another z, the same family
    assert p.base_dist.base_dist.batch_shape == each.base_dist.batch_shape
    expected = torch.where(missing, 0.0, p.base_dist.base_dist.log_prob(x)).sum(-1)
    torch.testing.assert_close(p.log_prob(holes), expected)
    torch.testing.assert_close(p.expand((3, 5)).log_prob(holes)[1], expected)
    assert p.support.check(holes).all()
    p.log_prob(holes).sum().backward()
    assert all(q.grad.isfinite().all() for q in part.parameters())


def test_a_missing_value_takes_no_gradient() -> None:
    part = Missing(2, (3,), small, likelihood=HeteroscedasticNormal)
    z: Tensor = torch.randn(5, 2)
    x = torch.randn(5, 3)
    x[:, 1] = NAN
    part(z).log_prob(x).sum().backward()
    last = [q for n, q in part.named_parameters() if n.endswith("bias")][-1]
    assert last.grad.reshape(2, 3)[:, 1].tolist() == [0.0, 0.0]
    assert (last.grad.reshape(2, 3)[:, [0, 2]] != 0).all()


def test_what_cannot_be_made_is_refused() -> None:
    with refused("columns") as caught:
        Heterogeneous(2, (3,), columns=[Normal, Normal])
    assert all(part in caught.value.problem for part in ("2 columns", "(3,)"))
    with refused("num_tokens", expected="at least 1"):
        Tokens(2, (3,), num_tokens=0)
    with refused("num_components", expected="at least 1"):
        DiscretizedLogisticMixture(2, (3,), num_components=0)


WORDS = partial(Sentences, num_tokens=3)
TABLE = partial(Heterogeneous, columns=[Normal])


@pytest.mark.parametrize(
    ("whole", "part", "subject"),
    [
        (Missing, Missing, "Missing"),
        (Missing, WORDS, "Sentences"),
        (Missing, PixelCNN, "PixelCNN"),
        (PixelCNN, Missing, "Missing"),
        (PixelCNN, WORDS, "Sentences"),
        (PixelCNN, PixelCNN, "PixelCNN"),
        (PixelCNN, TABLE, "columns"),
        (Heterogeneous, Missing, "Missing"),
        (Heterogeneous, WORDS, "Sentences"),
        (Heterogeneous, TABLE, "Heterogeneous"),
    ],
)
def test_a_likelihood_of_dependent_values_is_not_a_part(
    whole: Any, part: Any, subject: str
) -> None:
    options = {"columns": [part]} if whole is Heterogeneous else {"likelihood": part}
    with refused(subject, expected="column" if subject == "columns" else "single values") as caught:
        whole(2, (1,) if whole is Heterogeneous else (1, 3, 3), small, **options)
    assert subject == "columns" or whole.__name__ in caught.value.problem
