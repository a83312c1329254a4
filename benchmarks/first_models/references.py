"""Exact evidences of the first models: by quadrature, enumeration, closed forms and the forward algorithm.

This code shares nothing with the models: it works in float64, on the model's arguments.
"""

import math

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    HalfNormal,
    MultivariateNormal,
    Normal,
    Poisson,
)

from first_models.quadrature import gauss_hermite, gauss_legendre, log_integral

SCALES = gauss_legendre(0.0, 6.0, 80)  # of HalfNormal(1), which leaves out 2e-9


def linear_regression(x: Tensor, y: Tensor) -> float:
    """Sum over the noise's scale; given it, y is normal."""
    x, y = x.double(), y.double()
    design = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x], 1)
    prior = torch.tensor([4.0] + [1.0] * x.shape[1], dtype=torch.float64)
    explained = (design * prior) @ design.T

    def log_density(scale: Tensor) -> Tensor:
        noise = scale.square()[:, None, None] * torch.eye(len(y), dtype=torch.float64)
        given = MultivariateNormal(torch.zeros_like(y), explained + noise)
        return given.log_prob(y) + HalfNormal(1.0).log_prob(scale)

    return log_integral(log_density, gauss_legendre(0.0, 6.0, 200))


def poisson_regression(x: Tensor, y: Tensor) -> float:
    """Sum over intercept and slope."""
    x, y = x.double(), y.double()

    def log_density(intercept: Tensor, slope: Tensor) -> Tensor:
        rate = (intercept[:, None] + slope[:, None] * x).exp()
        prior = Normal(0.0, 1.0).log_prob(intercept) + Normal(0.0, 1.0).log_prob(slope)
        return Poisson(rate).log_prob(y).sum(1) + prior

    return log_integral(log_density, *[gauss_legendre(-5.0, 5.0, 300)] * 2)


def logistic_regression(x: Tensor, y: Tensor) -> float:
    """Sum over intercept and two slopes."""
    x, y = x.double(), y.double()

    def log_density(*coefficients: Tensor) -> Tensor:
        intercept, *slopes = coefficients
        logits = intercept[:, None] + torch.stack(slopes, 1) @ x.T
        prior = Normal(0.0, 1.0).log_prob(torch.stack(coefficients)).sum(0)
        return Bernoulli(logits=logits).log_prob(y).sum(1) + prior

    return log_integral(log_density, *[gauss_legendre(-6.0, 6.0, 80)] * 3)


def eight_schools(y: Tensor, sigma: Tensor) -> float:
    """Sum over tau = 5 tan(pi u / 2), with u from (0, 1); given it, y is normal."""
    y, sigma = y.double(), sigma.double()

    def log_density(share: Tensor) -> Tensor:
        tau = 5 * (math.pi / 2 * share).tan()
        of_schools = (sigma.square() + tau.square()[:, None]).diag_embed()
        return MultivariateNormal(torch.zeros_like(y), of_schools + 25.0).log_prob(y)

    return log_integral(log_density, gauss_legendre(0.0, 1.0, 400))


def random_intercepts(group: Tensor, x: Tensor, y: Tensor) -> float:
    """Sum over the scales of groups and noise; given them, y is normal."""
    x, y = x.double(), y.double()
    same = (group[:, None] == group).double()
    shared, eye = 4.0 + x[:, None] * x, torch.eye(len(y), dtype=torch.float64)

    def log_density(spread: Tensor, noise: Tensor) -> Tensor:
        between, within = (s.square()[:, None, None] for s in (spread, noise))
        given = MultivariateNormal(torch.zeros_like(y), shared + between * same + within * eye)
        prior = HalfNormal(1.0).log_prob(spread) + HalfNormal(1.0).log_prob(noise)
        return given.log_prob(y) + prior

    return log_integral(log_density, SCALES, SCALES)


def padded_intercepts(x: Tensor, y: Tensor, mask: Tensor) -> float:
    """Take the same from rows that are padded."""
    group = torch.arange(len(x))[:, None].expand_as(x)
    return random_intercepts(group[mask], x[mask], y[mask])


def survey(answers: Tensor) -> float:
    """Sum over three difficulties, and inside over each person's ability; persons by their pattern."""
    patterns, counts = answers.double().nan_to_num(2.0).unique(dim=0, return_counts=True)
    ability, log_weights = gauss_hermite(40)

    def log_density(*difficulties: Tensor) -> Tensor:
        hard = torch.stack(difficulties, 1)  # nodes, questions
        logits = (ability[:, None] - hard[:, None])[..., None, :]  # nodes, abilities, 1, questions
        scores = Bernoulli(logits=logits).log_prob((patterns == 1).double())
        each = scores.masked_fill(patterns == 2, 0.0).sum(-1)  # nodes, abilities, patterns
        of_patterns = (each + log_weights[:, None]).logsumexp(1)
        return of_patterns @ counts.double() + Normal(0.0, 1.5).log_prob(hard).sum(1)

    return log_integral(log_density, *[gauss_legendre(-7.0, 7.0, 64)] * 3)


def topic_counts(counts: Tensor) -> float:
    """Add the number of orders of each document's words."""
    counts = counts.double()
    orders = (counts.sum(1) + 1).lgamma() - (counts + 1).lgamma().sum(1)
    return topic_words_of(counts) + float(orders.sum())


def topic_words(words: Tensor) -> float:
    """Count the words."""
    return topic_words_of(torch.nn.functional.one_hot(words, 3).sum(1).double())


def topic_words_of(counts: Tensor) -> float:
    """Sum over two topics of three words (sticks of each), and inside over each document's share.

    All priors are flat, so the integrand is a polynomial and the rules are exact: of a topic's sticks the
    degree is the number of all words (+ 1), of a share that of the document's words.
    """
    degree = int(counts.sum()) + 1
    sticks = gauss_legendre(0.0, 1.0, degree // 2 + 1)
    share, log_weights = gauss_legendre(0.0, 1.0, int(counts.sum(1).max()) // 2 + 1)

    def topic(first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([first, (1 - first) * second, (1 - first) * (1 - second)], -1)

    def log_density(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        one, other = topic(a, b).unsqueeze(1), topic(c, d).unsqueeze(1)
        words = (share[:, None] * one + (1 - share[:, None]) * other).log()  # nodes, shares, words
        each = (words @ counts.T + log_weights[:, None]).logsumexp(1)  # nodes, documents
        # Dirichlet(1, 1, 1) has density 2; its first stick leaves 1 - a for the others
        return each.sum(1) + 2 * math.log(2) + (1 - a).log() + (1 - c).log()

    return log_integral(log_density, *[sticks] * 4)


def change_point(y: Tensor) -> float:
    """Sum over the step; given it, each part is a Gamma-Poisson."""
    y = y.double()
    steps = torch.arange(len(y))

    def part(inside: Tensor) -> Tensor:
        """Return log p of the counts in each part, under one rate from Gamma(2, 1/2)."""
        number, total = inside.double().sum(1), (inside * y).sum(1)
        top = (2 + total).lgamma() - (2 + total) * (0.5 + number).log()
        return top + 2 * math.log(0.5) - math.lgamma(2.0)

    early = steps < steps[:, None]
    parts = part(early) + part(~early) - math.log(len(y))
    return float(parts.logsumexp(0) - (y + 1).lgamma().sum())


def gradual_change(y: Tensor) -> float:
    """Sum over the time of the change; given it, y is normal."""
    y = y.double()
    count = len(y)
    steps = torch.arange(count, dtype=torch.float64)

    def log_density(when: Tensor) -> Tensor:
        late = (steps - when[:, None]).sigmoid()
        design = torch.stack([1 - late, late], -1)
        noise = 0.25 * torch.eye(count, dtype=torch.float64)
        given = MultivariateNormal(torch.zeros_like(y), 4 * design @ design.mT + noise)
        return given.log_prob(y) - math.log(count)

    return log_integral(log_density, gauss_legendre(0.0, float(count), 800))


def mixture(x: Tensor) -> float:
    """Sum over the weight and two locations; each row over its component."""
    x = x.double()

    def log_density(weight: Tensor, one: Tensor, other: Tensor) -> Tensor:
        parts = Normal(torch.stack([one, other], -1).unsqueeze(1), 1.0).log_prob(x[:, None])
        each = (parts + torch.stack([weight, 1 - weight], -1).log().unsqueeze(1)).logsumexp(-1)
        prior = Normal(0.0, 3.0).log_prob(one) + Normal(0.0, 3.0).log_prob(other)
        return each.sum(1) + prior

    locations = gauss_legendre(-8.0, 8.0, 120)
    return log_integral(log_density, gauss_legendre(0.0, 1.0, 50), locations, locations)


def hidden_markov(y: Tensor) -> float:
    """Sum over transitions and locations, and inside over paths by the forward algorithm."""
    return hidden_markov_sequences(y.unsqueeze(0))


def hidden_markov_sequences(y: Tensor) -> float:
    """Take several sequences, ``sequences, time``, which start in the first state with probability 1/2."""
    y = y.double()

    def log_density(stay: Tensor, leave: Tensor, low: Tensor, high: Tensor) -> Tensor:
        rows = [torch.stack([stay, 1 - stay], -1), torch.stack([leave, 1 - leave], -1)]
        transition = torch.stack(rows, -2).log().unsqueeze(1)  # nodes, 1, from, to
        locations = torch.stack([low, high], -1)
        scores = Normal(locations[:, None, None], 1.0).log_prob(y[..., None])
        forward = scores[:, :, 0] + math.log(0.5)  # nodes, sequences, states
        for step in range(1, y.shape[1]):
            forward = (forward.unsqueeze(-1) + transition).logsumexp(-2) + scores[:, :, step]
        centre = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        return forward.logsumexp(-1).sum(1) + Normal(centre, 1.0).log_prob(locations).sum(1)

    # the nodes must lie closer than a location is known, to 0.2
    shares, locations = gauss_legendre(0.0, 1.0, 20), gauss_legendre(-5.0, 5.0, 72)
    return log_integral(log_density, shares, shares, locations, locations)
