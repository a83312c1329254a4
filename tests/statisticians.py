"""Programs that statisticians fit, with data drawn from them: every unknown is a sample site."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.distributions import OrderedLogistic

SUMMED = {"enumerate": "parallel"}


@dataclass(frozen=True, eq=False)
class Study:
    """A model and its data, with the rows' own latents, if there are any, in the rows' plate."""

    name: str
    model: Callable[..., None]
    args: tuple[Any, ...]

    def __str__(self) -> str:
        return self.name


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def negative_binomial() -> Study:
    """Regression of overdispersed counts."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 2.0))
        slopes = pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        shape = pyro.sample("shape", dist.LogNormal(0.0, 1.0))
        with pyro.plate("rows", len(x)):
            rate = (level + (x * slopes.unsqueeze(-2)).sum(-1)).exp()
            pyro.sample("y", dist.GammaPoisson(shape, shape / rate), obs=y)

    own = generator(1)
    x = torch.randn(120, 2, generator=own)
    rate = (1.0 + x @ torch.tensor([0.5, -0.4])).exp()
    frailty = torch.empty(120).exponential_(generator=own)  # shape 1
    return Study("negative binomial", model, (x, torch.poisson(rate * frailty, generator=own)))


def poisson() -> Study:
    """The same without overdispersion."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 2.0))
        slopes = pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("rows", len(x)):
            rate = (level + (x * slopes.unsqueeze(-2)).sum(-1)).exp()
            pyro.sample("y", dist.Poisson(rate), obs=y)

    return Study("poisson", model, negative_binomial().args)


def eight_schools() -> Study:
    """D. B. Rubin, 1981: eight effects with known errors."""

    def model(error: Tensor, y: Tensor | None = None) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
        spread = pyro.sample("spread", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
            effect = pyro.deterministic("effect", mean + spread * raw)
            pyro.sample("y", dist.Normal(effect, error), obs=y)

    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    return Study("eight schools", model, (error, y))


def item_response(people: int = 60, items: int = 6) -> Study:
    """2PL with gaps: a tenth of the answers are missing (NaN)."""

    def model(x: Tensor) -> None:
        with pyro.plate("items", items):
            a = pyro.sample("discrimination", dist.LogNormal(0.0, 0.5))
            b = pyro.sample("difficulty", dist.Normal(0.0, 1.5))
        with pyro.plate("people", len(x)):
            z = pyro.sample("trait", dist.Normal(0.0, 1.0))
            answers = dist.Bernoulli(logits=a * (z.unsqueeze(-1) - b))
            seen = answers.mask(~x.isnan())
            pyro.sample("x", seen.to_event(1), obs=x.nan_to_num())

    own = generator(2)
    z, b = torch.randn(people, 1, generator=own), torch.linspace(-1.5, 1.5, items)
    x = (torch.rand(people, items, generator=own) < torch.sigmoid(1.4 * (z - b))).float()
    x[torch.rand(x.shape, generator=own) < 0.1] = torch.nan
    return Study("item response", model, (x,))


def hidden_markov(length: int = 40) -> Study:
    """Two states, which are summed out; the means are in order."""

    def model(x: Tensor) -> None:
        stay = pyro.sample("stay", dist.Beta(torch.full((2,), 4.0), 1.0).to_event(1))
        low = pyro.sample("low", dist.Normal(0.0, 2.0))
        gap = pyro.sample("gap", dist.LogNormal(0.0, 1.0))
        state = torch.tensor(0)
        for t in pyro.markov(range(len(x))):
            is_next = torch.where(state == 0, 1 - stay[..., 0], stay[..., 1])
            state = pyro.sample(f"state_{t}", dist.Bernoulli(is_next), infer=SUMMED)
            pyro.sample(f"x_{t}", dist.Normal(low + gap * state, 1.0), obs=x[t])

    own = generator(3)
    state = (torch.arange(length) // 10) % 2
    return Study("hidden Markov", model, (3.0 * state + torch.randn(length, generator=own),))


def mixture() -> Study:
    """Two normal components, in order."""

    def model(x: Tensor) -> None:
        share = pyro.sample("share", dist.Beta(2.0, 2.0))
        low = pyro.sample("low", dist.Normal(0.0, 2.0))
        gap = pyro.sample("gap", dist.LogNormal(1.0, 0.5))
        spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
        with pyro.plate("rows", len(x)):
            which = pyro.sample("which", dist.Bernoulli(share), infer=SUMMED)
            pyro.sample("x", dist.Normal(low + gap * which, spread), obs=x)

    own = generator(4)
    x = torch.randn(80, generator=own) + 3.5 * (torch.rand(80, generator=own) < 0.4)
    return Study("mixture", model, (x,))


def censored() -> Study:
    """Survival times of an exponential regression, some of them censored."""

    def model(x: Tensor, time: Tensor, died: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 2.0))
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(x)):
            rate = (level + slope * x).exp()
            with poutine.mask(mask=died):
                pyro.sample("time", dist.Exponential(rate), obs=time)
            with poutine.mask(mask=~died):
                alive = (-rate * time).exp()  # P(T > time)
                pyro.sample("alive", dist.Bernoulli(alive), obs=torch.ones_like(time))

    own = generator(5)
    x = torch.randn(100, generator=own)
    time = torch.empty(100).exponential_(generator=own) / (-0.5 + 0.8 * x).exp()
    return Study("censored", model, (x, time.clamp(max=3.0), time < 3.0))


def ordinal() -> Study:
    """Grades by an ordered logistic regression; the cutpoints are drawn in order."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        ordered = dist.transforms.OrderedTransform()
        free = dist.Normal(torch.zeros(3), 1.0).to_event(1)
        cuts = pyro.sample("cuts", dist.TransformedDistribution(free, [ordered]))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", OrderedLogistic(slope * x, cuts.unsqueeze(-2)), obs=y)

    own = generator(6)
    x = torch.randn(150, generator=own)
    latent = 1.2 * x + torch.logit(torch.rand(150, generator=own))
    return Study("ordinal", model, (x, torch.bucketize(latent, torch.tensor([-1.5, 0.0, 1.0]))))


def gaussian_process() -> Study:
    """Sixty points of a smooth curve; the curve is integrated out."""

    def model(x: Tensor, y: Tensor) -> None:
        length = pyro.sample("length", dist.LogNormal(0.0, 0.5))
        height = pyro.sample("height", dist.LogNormal(0.0, 0.5))
        noise = pyro.sample("noise", dist.LogNormal(-1.0, 0.5))
        off = (x.unsqueeze(-1) - x) / length.reshape(*length.shape, 1, 1)
        scale, error = (v.reshape(*v.shape, 1, 1).square() for v in (height, noise))
        covariance = scale * (-0.5 * off.square()).exp() + (error + 1e-5) * torch.eye(len(x))
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), covariance), obs=y)

    own = generator(7)
    x = torch.linspace(0, 6, 60)
    return Study(
        "Gaussian process", model, (x, torch.sin(x) + 0.3 * torch.randn(60, generator=own))
    )


STUDIES = [
    negative_binomial(),
    poisson(),
    eight_schools(),
    item_response(),
    hidden_markov(),
    mixture(),
    censored(),
    ordinal(),
    gaussian_process(),
]
