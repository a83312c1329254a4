"""The benchmark of models without a guide finds what is worse, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from first_models import quadrature, references, weighing
from first_models.stories import STORIES, Story
from first_models.weighing import Row
from pyro_cases import alone
from pyro_cases.alone import Comparison, compare
from pyro_cases.alone_table import section
from pyro_cases.case import Case
from torch import Tensor

STEPS = 300


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "STEPS", STEPS)


def model(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("seen", dist.Normal(mean, 1.0), obs=x)


def wide(x: Tensor) -> None:
    loc = pyro.param("loc", torch.tensor(0.0))
    pyro.sample("mean", dist.Normal(loc, 3.0))


def drawn_at_random(x: Tensor) -> None:
    if torch.rand(()) < 0.5:
        pyro.sample("sometimes", dist.Normal(0.0, 1.0))
    model(x)


def counted(x: Tensor) -> None:
    number = pyro.sample("number", dist.Poisson(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("seen", dist.Normal(number, 1.0), obs=x)


def nothing(x: Tensor) -> None:
    pyro.param("level", torch.tensor(0.0))


def compared(model: Callable[..., Any], guide: Callable[..., Any]) -> Comparison:
    case = Case("case", (model, guide), (torch.tensor([0.5, 1.0, -0.2]),), rows=True)
    return compare([case] * (alone.COPIES * len(alone.SEEDS)))


@pytest.fixture(scope="module")
def against_wide() -> Comparison:
    """The guide that `fit` makes against one that is too wide: a dozen fits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alone, "STEPS", STEPS)
        return compared(model, wide)


def test_a_guide_that_is_worse_is_seen(against_wide: Comparison) -> None:
    result = replace(against_wide)
    assert result.verdict == "better"
    assert result.is_kept
    result.ours, result.theirs = result.theirs, result.ours
    assert alone.verdict(result) == "**worse**"


@pytest.mark.parametrize(
    ("bare", "guide", "verdict"),
    [
        (drawn_at_random, nothing, "- other latents in each run"),
        (counted, nothing, "refused"),
        (nothing, nothing, "- no latents to draw"),
    ],
)
def test_what_is_not_compared_says_why(bare, guide, verdict) -> None:
    result = compared(bare, guide)
    assert result.verdict == verdict
    assert ("summed out" in result.said) == (verdict == "refused")


def test_the_page_has_a_row_a_case_and_the_share(against_wide: Comparison) -> None:
    rows = [("a.py", against_wide), ("a.py", compared(counted, nothing))]
    page = section("commit", "1.9", rows)
    assert "1 of 2 programs" in page
    assert "refused [1]" in page
    assert "\n1. latent 'number'" in page


def test_rules_are_exact() -> None:
    share = quadrature.gauss_legendre(0.0, 1.0, 6)
    beta = torch.distributions.Beta(*torch.tensor([3.0, 5.0], dtype=torch.float64))
    assert quadrature.log_integral(beta.log_prob, share) == pytest.approx(0.0, abs=1e-12)
    nodes, log_weights = quadrature.gauss_hermite(5)
    assert float((log_weights.exp() * nodes**4).sum()) == pytest.approx(3.0)


def test_topics_of_one_word_have_a_known_evidence() -> None:
    assert references.topic_counts(torch.tensor([[1.0, 0.0, 0.0]])) == pytest.approx(
        -torch.tensor(3.0).log().item()
    )


@pytest.mark.slow
def test_a_first_model_is_right_at_the_defaults() -> None:
    story = next(s for s in STORIES if s.name == "Poisson regression")
    row: Row = weighing.row_of(story, seeds=[0])
    assert row.said == []
    assert [w.is_right for w in row.weighed] == [True]


def test_a_first_model_that_is_refused_is_told() -> None:
    story = Story("counted", counted, lambda: (torch.ones(3),), lambda x: 0.0)
    assert all("summed out" in sentence for sentence in weighing.row_of(story).said)
