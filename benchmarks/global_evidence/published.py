"""Examples with published evidences: those of R's bridgesampling, and the trials of beta blockers.

Source: Q. F. Gronau, H. Singmann, E.-J. Wagenmakers, "bridgesampling: An R package for estimating
normalizing constants", Journal of Statistical Software 92, 2020, https://doi.org/10.18637/jss.v092.i10.
It prints log p(x) of both hypotheses on sleep, and the Bayes factor of both on turtles.
"""

import math
from collections.abc import Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from first_models.quadrature import gauss_hermite, gauss_legendre, log_integral
from torch import Tensor

from global_evidence.case import case

PUBLISHED = {"sleep without an effect": -30.01942, "sleep with an effect": -27.17103}  # nats
PUBLISHED_TURTLES = (
    1.2715  # Bayes factor; by long numerical integration 1.273 (Sinharay, Stern 2005)
)
AT_ONCE = 400  # nodes


def in_parts(*points: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(nodes.split(AT_ONCE) for nodes in points), strict=True)


# --- sleep: the difference of two drugs in ten patients (Cushny, Peebles 1905), in hours -------------

SLEEP = torch.tensor([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
FAR = 20.0  # of the log of the precision: beyond it the likelihood is 0


def log_prior_of_precision(log: Tensor) -> Tensor:
    """Gamma(0.0001, 0.0001) of the precision, as a density of its log."""
    prior = dist.Gamma(1e-4, 1e-4, validate_args=False)  # vmap cannot validate
    return prior.log_prob(log.exp()) + log


def t_test(has_effect: bool) -> Any:
    """Differences are Normal(effect s, s), the effect Cauchy(0, 1 / sqrt 2) or 0."""

    def model(y: Tensor) -> None:
        log = pyro.sample("log_precision", dist.Uniform(-FAR, FAR))
        pyro.factor("prior", log_prior_of_precision(log) + math.log(2 * FAR))
        scale, mean = (-log / 2).exp(), 0.0
        if has_effect:
            mean = scale * pyro.sample("effect", dist.Cauchy(0.0, 0.5**0.5))
        with pyro.plate("patients", len(y)):
            pyro.sample("y", dist.Normal(mean, scale), obs=y)

    def log_density(log: Tensor, share: Tensor) -> Tensor:
        scale = (-log / 2).exp()[:, None]
        effect = 0.5**0.5 * (math.pi * (share - 0.5)).tan()[:, None] * has_effect
        given = dist.Normal(effect * scale, scale).log_prob(SLEEP.double()).sum(1)
        return given + log_prior_of_precision(log)

    rules = gauss_legendre(-8.0, 6.0, 200), gauss_legendre(0.0, 1.0, 200)
    return model, (SLEEP,), log_integral(log_density, *rules)


@case
def sleep_without_an_effect() -> Any:
    return t_test(False)


@case
def sleep_with_an_effect() -> Any:
    return t_test(True)


# --- turtles: birth weight and survival in 31 clutches (Janzen, Tucker, Paukstis 2000) ---------------

# A line for each clutch: hundredths of a gram, and whether the turtle survived.
TURTLES = """
383- 415- 597-
478- 464- 495- 569- 487- 413- 504- 481+
459- 485+ 547- 446- 621+
318- 614- 639- 414- 508- 604- 593+ 553- 489- 432- 675+ 649-
479- 472- 600+ 736+ 561- 570+ 589- 575- 409-
525- 541- 515- 528+ 585- 679- 617- 525- 506- 562-
583+ 557+
520- 671+ 555- 555-
566+ 566+ 545- 549- 570- 606+ 623+ 564+ 528- 559+ 615+ 623+
490+ 546- 521+ 670- 636+ 599- 498+ 664- 590+ 561+ 630-
492+ 629- 633- 613- 611+ 588- 528- 566-
610+ 509- 638- 515- 600+ 596+ 566- 605- 571- 518- 665- 628- 656- 511-
644- 433- 729+ 622- 605- 422- 491- 800+
596- 651- 573-
599- 630- 600- 635- 540- 539+ 550+ 652- 788- 715- 623- 671- 587- 651- 697- 610- 558- 520-
810+ 541- 511-
497- 583+ 707- 663- 643- 630- 683- 570+
632- 602- 650- 668- 647+ 555- 674- 631+ 626+
599- 634+ 601- 647+ 729+ 602+
596+ 755- 631+ 644- 649- 554- 593- 750+ 610- 622+ 681- 648- 600- 592-
639+ 646- 641- 681- 684- 636- 642- 598- 652- 678+
710+ 668+
736- 766+ 483+ 819- 760- 755- 837+ 586+ 769+ 633- 667- 745-
684+ 730- 785+ 747- 700+ 684- 761- 729-
746-
776- 879+ 814+ 763+ 558+ 721+ 744- 698+ 605+ 836+ 853+
800+ 636- 795+ 776+ 764- 772+ 677- 790+
745+ 693- 699- 756+ 770- 848+ 787+
720+ 808+ 781+ 811+ 773- 792+ 555- 807- 802+
767-
732- 866+ 796+ 763+ 701- 777- 849+ 711-
"""


def turtles(has_clutches: bool) -> Any:
    """Probit regression, without and with a random intercept of each clutch."""
    clutches = [line.split() for line in TURTLES.split("\n") if line]
    clutch = torch.tensor([i for i, rows in enumerate(clutches) for _ in rows])
    rows = [row for clutch_rows in clutches for row in clutch_rows]
    x = torch.tensor([int(row[:-1]) / 100 for row in rows])
    sign = torch.tensor([1.0 if row.endswith("+") else -1.0 for row in rows])
    normal = dist.Normal(0.0, 10**0.5)

    def model(x: Tensor, sign: Tensor, clutch: Tensor) -> None:
        mean = pyro.sample("intercept", normal) + x * pyro.sample("slope", normal)
        if has_clutches:
            odds = pyro.sample("share", dist.Uniform(0.0, 1.0))  # of s^2, with density (1 + s^2)^-2
            with pyro.plate("clutches", 31):
                effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
            mean = mean + (odds / (1 - odds)).sqrt() * effect[..., clutch]
        with pyro.plate("turtles", len(x)):
            pyro.factor("survival", torch.special.log_ndtr(sign * mean))

    x64, sign64 = x.double() - x.double().mean(), sign.double()
    nodes, weights = gauss_hermite(24)
    of_clutch = torch.nn.functional.one_hot(clutch, 31).double()

    def some(level: Tensor, slope: Tensor, share: Tensor) -> Tensor:
        mean = level[:, None] + slope[:, None] * x64  # (points, turtles)
        scale = (share / (1 - share)).sqrt()[:, None, None] * has_clutches
        each = torch.special.log_ndtr(sign64[:, None] * (mean[..., None] + scale * nodes))
        given = (torch.einsum("ptn,tc->pcn", each, of_clutch) + weights).logsumexp(-1).sum(1)
        intercept = level - slope * x.double().mean()
        return given + normal.log_prob(intercept) + normal.log_prob(slope)

    def log_density(*points: Tensor) -> Tensor:
        return torch.cat([some(*each) for each in in_parts(*points)])

    shares = gauss_legendre(0.0, 0.85, 20) if has_clutches else gauss_legendre(0.0, 1.0, 1)
    count = 22 if has_clutches else 40
    rules = gauss_legendre(-1.2, 0.8, count), gauss_legendre(-0.25, 1.2, count), shares
    return model, (x, sign, clutch), log_integral(log_density, *rules)


@case
def turtles_of_one_kind() -> Any:
    return turtles(False)


@case
def turtles_in_clutches() -> Any:
    return turtles(True)


# --- beta blockers: deaths in 22 trials (J. B. Carlin 1992), as in the examples of BUGS --------------

DEATHS = torch.tensor(
    [
        [3.0, 14, 11, 127, 27, 6, 152, 48, 37, 188, 52, 47, 16, 45, 31, 38, 12, 6, 3, 40, 43, 39],
        [3.0, 7, 5, 102, 28, 4, 98, 60, 25, 138, 64, 45, 9, 57, 25, 33, 28, 8, 6, 32, 27, 22],
    ]
)
TREATED = [38.0, 114, 69, 1533, 355, 59, 945, 632, 278, 1916, 873]
TREATED += [263, 291, 858, 154, 207, 251, 151, 174, 209, 391, 680]
CONTROL = [39.0, 116, 93, 1520, 365, 52, 939, 471, 282, 1921, 583]
CONTROL += [266, 293, 883, 147, 213, 122, 154, 134, 218, 364, 674]
PATIENTS = torch.tensor([CONTROL, TREATED])


@case
def beta_blockers() -> Any:
    """BUGS's priors are nearly flat, and no log p(x) is published; these here are ours."""

    def model(deaths: Tensor, patients: Tensor) -> None:
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("trials", deaths.shape[1]):
            level = pyro.sample("level", dist.Normal(-2.0, 1.0))
            own = pyro.sample("own", dist.Normal(0.0, 1.0))
            logits = torch.stack([level, level + effect + scale * own])
            arms = dist.Binomial(patients.mT, logits=logits.mT).to_event(1)
            pyro.sample("deaths", arms, obs=deaths.mT)

    deaths, patients = DEATHS.double(), PATIENTS.double()
    rate = (deaths[0] / patients[0]).logit()
    spread = (1 / deaths[0] + 1 / (patients[0] - deaths[0])).sqrt()
    steps, log_steps = gauss_legendre(-6.0, 6.0, 50)
    nodes, weights = gauss_hermite(16)

    def log_binomial(arm: int, logits: Tensor) -> Tensor:
        n, k = patients[arm], deaths[arm]
        ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        return ways + k * logits - n * torch.nn.functional.softplus(logits)

    level = rate + steps[:, None] * spread  # (levels, trials)
    prior = dist.Normal(-2.0, 1.0).log_prob(level) + log_steps[:, None] + spread.log()
    of_control = prior + log_binomial(0, level)

    def some(effect: Tensor, scale: Tensor) -> Tensor:
        own = effect[:, None] + scale[:, None] * nodes  # (points, nodes)
        both = of_control + log_binomial(1, level + own[..., None, None])
        of_trial = (both.logsumexp(2) + weights[:, None]).logsumexp(1).sum(1)
        prior = dist.Normal(0.0, 1.0).log_prob(effect) + dist.HalfNormal(1.0).log_prob(scale)
        return of_trial + prior

    def log_density(*points: Tensor) -> Tensor:
        return torch.cat([some(*each) for each in in_parts(*points)])

    rules = gauss_legendre(-0.8, 0.3, 24), gauss_legendre(0.0, 1.0, 24)
    return model, (DEATHS, PATIENTS), log_integral(log_density, *rules)
