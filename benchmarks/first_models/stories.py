"""First models as people write them, each with a draw of its data and its exact evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from first_models import references

Arguments = tuple[Tensor, ...]
SUMMED_OUT = {"enumerate": "parallel"}


@dataclass(frozen=True)
class Story:
    """Hold a model, what draws its arguments, and what gives log p(x) of them.

    Attributes:
        labels: K, where K! orders of labels have the same probability.
        is_series: whether the arguments are no rows, so that they are handed over as one call.
    """

    name: str
    model: Callable[..., Any]
    draw: Callable[[], Arguments]
    exact: Callable[..., float]
    labels: int = 1
    is_series: bool = False


# --- regressions ------------------------------------------------------------------------------------


def linear_regression(x: Tensor, y: Tensor) -> None:
    intercept = pyro.sample("intercept", dist.Normal(0.0, 2.0))
    slopes = pyro.sample("slopes", dist.Normal(torch.zeros(x.shape[1]), 1.0).to_event(1))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(intercept + x @ slopes, noise), obs=y)


def linear_data() -> Arguments:
    x = torch.randn(40, 2)
    return x, 1 + x @ torch.tensor([0.8, -0.5]) + 0.6 * torch.randn(40)


def poisson_regression(x: Tensor, y: Tensor) -> None:
    intercept = pyro.sample("intercept", dist.Normal(0.0, 1.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Poisson((intercept + slope * x).exp()), obs=y)


def poisson_data() -> Arguments:
    x = torch.randn(60)
    return x, torch.poisson((0.5 + 0.7 * x).exp())


def logistic_regression(x: Tensor, y: Tensor) -> None:
    intercept = pyro.sample("intercept", dist.Normal(0.0, 1.0))
    slopes = pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        logits = intercept + (slopes * x).sum(-1)
        pyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def logistic_data() -> Arguments:
    x = torch.randn(60, 2)
    return x, torch.bernoulli((0.3 + x @ torch.tensor([1.0, -0.7])).sigmoid())


# --- groups -----------------------------------------------------------------------------------------


def eight_schools(y: Tensor, sigma: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def schools() -> Arguments:
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    return y, torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def random_intercepts(group: Tensor, x: Tensor, y: Tensor) -> None:
    intercept = pyro.sample("intercept", dist.Normal(0.0, 2.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("groups", 12):
        effect = pyro.sample("effect", dist.Normal(0.0, spread))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(intercept + effect[group] + slope * x, noise), obs=y)


def padded_intercepts(x: Tensor, y: Tensor, mask: Tensor) -> None:
    intercept = pyro.sample("intercept", dist.Normal(0.0, 2.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(0.0, spread))
        with pyro.plate("members", x.shape[1], dim=-1), poutine.mask(mask=mask):
            pyro.sample("y", dist.Normal(intercept + effect + slope * x, noise), obs=y)


def padded_data() -> Arguments:
    """Twelve groups of two to eight members."""
    mask = torch.arange(8) < torch.randint(2, 9, (12, 1))
    x, effect = torch.randn(12, 8) * mask, 0.8 * torch.randn(12, 1)
    return x, (1 + effect + 0.5 * x + 0.5 * torch.randn(12, 8)) * mask, mask


def long_data() -> Arguments:
    x, y, mask = padded_data()
    group = torch.arange(12)[:, None].expand_as(x)
    return group[mask], x[mask], y[mask]


def survey(answers: Tensor) -> None:
    with pyro.plate("questions", answers.shape[1], dim=-1):
        difficulty = pyro.sample("difficulty", dist.Normal(0.0, 1.5))
    with pyro.plate("people", len(answers), dim=-2):
        ability = pyro.sample("ability", dist.Normal(0.0, 1.0))
        with pyro.plate("answers", answers.shape[1], dim=-1):
            is_there = ~answers.isnan()
            with poutine.mask(mask=is_there):
                given = dist.Bernoulli(logits=ability - difficulty)
                pyro.sample("answer", given, obs=answers.nan_to_num())


def survey_data() -> Arguments:
    logits = torch.randn(50, 1) - torch.tensor([-1.0, 0.0, 1.0])
    answers = torch.bernoulli(logits.sigmoid())
    return (answers.masked_fill(torch.rand(50, 3) < 0.2, torch.nan),)


# --- what is summed out -----------------------------------------------------------------------------


def topic_counts(counts: Tensor) -> None:
    with pyro.plate("kinds", 2):
        topics = pyro.sample("topics", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("documents", len(counts)):
        share = pyro.sample("share", dist.Dirichlet(torch.ones(2)))
        pyro.sample("counts", dist.Multinomial(8, share @ topics), obs=counts)


def topic_words(words: Tensor) -> None:
    with pyro.plate("kinds", 2):
        topics = pyro.sample("topics", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("documents", len(words), dim=-2):
        share = pyro.sample("share", dist.Dirichlet(torch.ones(2)))
        with pyro.plate("words", words.shape[1], dim=-1):
            topic = pyro.sample("topic", dist.Categorical(share), infer=SUMMED_OUT)
            pyro.sample("word", dist.Categorical(topics[topic]), obs=words)


def words_data() -> Arguments:
    """Six documents of eight words."""
    topics = torch.tensor([[0.8, 0.15, 0.05], [0.05, 0.15, 0.8]])
    share = dist.Dirichlet(torch.ones(2)).sample((6,))
    return (torch.multinomial(share @ topics, 8, replacement=True),)


def counts_data() -> Arguments:
    (words,) = words_data()
    return (torch.nn.functional.one_hot(words, 3).sum(1).float(),)


def change_point(y: Tensor) -> None:
    when = pyro.sample("when", dist.Categorical(torch.ones(len(y))), infer=SUMMED_OUT)
    early = pyro.sample("early", dist.Gamma(2.0, 0.5))
    late = pyro.sample("late", dist.Gamma(2.0, 0.5))
    with pyro.plate("time", len(y)):
        rate = torch.where(torch.arange(len(y)) < when, early, late)
        pyro.sample("y", dist.Poisson(rate), obs=y)


def change_data() -> Arguments:
    return (torch.poisson(torch.where(torch.arange(40) < 17, 5.0, 2.0)),)


def gradual_change(y: Tensor) -> None:
    when = pyro.sample("when", dist.Uniform(0.0, float(len(y))))
    early = pyro.sample("early", dist.Normal(0.0, 2.0))
    late = pyro.sample("late", dist.Normal(0.0, 2.0))
    with pyro.plate("time", len(y)):
        share = (torch.arange(len(y)) - when).sigmoid()
        pyro.sample("y", dist.Normal(early + share * (late - early), 0.5), obs=y)


def gradual_data() -> Arguments:
    share = (torch.arange(40) - 17.0).sigmoid()
    return (1 - 1.5 * share + 0.5 * torch.randn(40),)


def mixture(x: Tensor) -> None:
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("components", 2):
        locs = pyro.sample("locs", dist.Normal(0.0, 3.0))
    with pyro.plate("data", len(x)):
        which = pyro.sample("which", dist.Categorical(weights), infer=SUMMED_OUT)
        pyro.sample("x", dist.Normal(locs[which], 1.0), obs=x)


def mixture_data() -> Arguments:
    return (torch.where(torch.rand(60) < 0.35, -2.0, 2.0) + torch.randn(60),)


def hidden_markov(y: Tensor) -> None:
    with pyro.plate("states", 2):
        transition = pyro.sample("transition", dist.Dirichlet(torch.ones(2)))
        loc = pyro.sample("loc", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0))
    state: Any = None
    for step in pyro.markov(range(len(y))):
        to = torch.ones(2) / 2 if state is None else transition[state]
        state = pyro.sample(f"state_{step}", dist.Categorical(to), infer=SUMMED_OUT)
        pyro.sample(f"y_{step}", dist.Normal(loc[state], 1.0), obs=y[step])


def hidden_markov_sequences(y: Tensor) -> None:
    with pyro.plate("states", 2):
        transition = pyro.sample("transition", dist.Dirichlet(torch.ones(2)))
        loc = pyro.sample("loc", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0))
    with pyro.plate("sequences", len(y)):
        state: Any = None
        for step in pyro.markov(range(y.shape[1])):
            to = torch.ones(2) / 2 if state is None else transition[state]
            state = pyro.sample(f"state_{step}", dist.Categorical(to), infer=SUMMED_OUT)
            pyro.sample(f"y_{step}", dist.Normal(loc[state], 1.0), obs=y[:, step])


def sequences_data(sequences: int = 8, steps: int = 6) -> Arguments:
    """Paths that stay in their state with probability 0.8."""
    turns = torch.rand(sequences, steps) < 0.2
    state = (turns.cumsum(1) + torch.randint(2, (sequences, 1))) % 2
    return (3.0 * state - 1.5 + torch.randn(sequences, steps),)


def series_data() -> Arguments:
    (y,) = sequences_data(1, 20)
    return (y[0],)


STORIES = (
    Story("linear regression", linear_regression, linear_data, references.linear_regression),
    Story("Poisson regression", poisson_regression, poisson_data, references.poisson_regression),
    Story(
        "logistic regression", logistic_regression, logistic_data, references.logistic_regression
    ),
    Story("eight schools", eight_schools, schools, references.eight_schools),
    Story(
        "random intercepts, a group a row",
        random_intercepts,
        long_data,
        references.random_intercepts,
    ),
    Story(
        "random intercepts, padded", padded_intercepts, padded_data, references.padded_intercepts
    ),
    Story("survey with gaps", survey, survey_data, references.survey),
    Story("topics, counts", topic_counts, counts_data, references.topic_counts, labels=2),
    Story("topics, words", topic_words, words_data, references.topic_words, labels=2),
    Story("change point", change_point, change_data, references.change_point, is_series=True),
    Story(
        "gradual change", gradual_change, gradual_data, references.gradual_change, is_series=True
    ),
    Story("Gaussian mixture", mixture, mixture_data, references.mixture, labels=2),
    Story(
        "hidden Markov model",
        hidden_markov,
        series_data,
        references.hidden_markov,
        is_series=True,
    ),
    Story(
        "hidden Markov model, sequences",
        hidden_markov_sequences,
        sequences_data,
        references.hidden_markov_sequences,
    ),
)
