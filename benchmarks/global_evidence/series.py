"""Change points, state spaces, Gaussian processes and mixtures."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from first_models.quadrature import gauss_legendre, log_integral
from torch import Tensor

from global_evidence.case import case


def log_gamma_poisson(counts: Tensor) -> Tensor:
    """log p of counts with one Gamma(2, 0.5) rate."""
    total, size = counts.sum(), len(counts)
    log = torch.lgamma(2 + total) + 2 * math.log(0.5) - (2 + total) * math.log(0.5 + size)
    return log - torch.lgamma(counts + 1).sum()


@case
def change_of_rate_summed_out() -> Any:
    """Counts whose rate changes at one of 30 places, each as likely, which the model sums out."""
    counts = torch.poisson(torch.tensor([2.0] * 18 + [5.0] * 12))

    def model(counts: Tensor) -> None:
        before = pyro.sample("before", dist.Gamma(2.0, 0.5))
        after = pyro.sample("after", dist.Gamma(2.0, 0.5))
        infer = {"enumerate": "parallel"}
        place = pyro.sample("place", dist.Categorical(torch.ones(30)), infer=infer)
        rate = torch.where(torch.arange(30) < place.unsqueeze(-1), before, after)
        pyro.sample("counts", dist.Poisson(rate).to_event(1), obs=counts)

    c = counts.double()
    places = [log_gamma_poisson(c[:i]) + log_gamma_poisson(c[i:]) for i in range(30)]
    return model, (counts,), torch.stack(places).logsumexp(0) - math.log(30)


@case
def gradual_change_of_level() -> Any:
    """Levels before and after a change whose time and noise are unknown; the levels are Gaussian."""
    time = torch.linspace(0, 1, 40)
    y = torch.where(time < 0.6, 0.0, 1.5) + 0.5 * torch.randn(40)

    def model(y: Tensor) -> None:
        before = pyro.sample("before", dist.Normal(0.0, 2.0))
        after = pyro.sample("after", dist.Normal(0.0, 2.0))
        place = pyro.sample("place", dist.Uniform(0.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        share = ((time - place) / 0.05).sigmoid()
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(before + (after - before) * share, scale), obs=y)

    t, y64 = time.double(), y.double()

    def log_density(place: Tensor, scale: Tensor) -> Tensor:
        share = ((t - place[:, None]) / 0.05).sigmoid()
        levels = torch.stack([1 - share, share], -1)
        noise = scale.square()[:, None, None] * torch.eye(len(t), dtype=torch.float64)
        given = dist.MultivariateNormal(torch.zeros_like(t), 4 * levels @ levels.mT + noise)
        return given.log_prob(y64) + dist.HalfNormal(1.0).log_prob(scale)

    rules = gauss_legendre(0.0, 1.0, 300), gauss_legendre(0.2, 2.5, 60)
    return model, (y,), log_integral(log_density, *rules)


def local_level(explicit: bool) -> Any:
    """A random walk, seen with noise; both scales are unknown."""
    y = (0.3 * torch.randn(25)).cumsum(0) + 0.5 * torch.randn(25)

    def model(y: Tensor) -> None:
        step = pyro.sample("step", dist.HalfNormal(1.0))
        noise = pyro.sample("noise", dist.HalfNormal(1.0))
        if explicit:
            white = pyro.sample("white", dist.Normal(torch.zeros(25), 1.0).to_event(1))
            mean = white.cumsum(-1) * step
            pyro.sample("y", dist.Normal(mean, noise).to_event(1), obs=y)
        else:
            index = torch.arange(25.0)
            walk = torch.minimum(index[:, None], index) + 1
            covariance = step**2 * walk + (noise**2 + 1e-3) * torch.eye(25)
            pyro.sample("y", dist.MultivariateNormal(torch.zeros(25), covariance), obs=y)

    index, least = torch.arange(25.0, dtype=torch.float64), 0.0 if explicit else 1e-3
    walk, y64 = torch.minimum(index[:, None], index) + 1, y.double()

    def log_density(step: Tensor, noise: Tensor) -> Tensor:
        eye = torch.eye(25, dtype=torch.float64)
        covariance = (
            step.square()[:, None, None] * walk + (noise.square()[:, None, None] + least) * eye
        )
        prior = dist.HalfNormal(1.0).log_prob(torch.stack([step, noise])).sum(0)
        return dist.MultivariateNormal(torch.zeros_like(y64), covariance).log_prob(y64) + prior

    rules = gauss_legendre(0.0, 3.0, 120), gauss_legendre(0.02, 3.0, 120)
    return model, (y,), log_integral(log_density, *rules)


@case
def state_space_filtered() -> Any:
    return local_level(False)


@case
def state_space_with_its_states() -> Any:
    return local_level(True)


@case
def autoregression() -> Any:
    y = torch.zeros(60)
    for t in range(1, 60):
        y[t] = 0.7 * y[t - 1] + 0.5 * torch.randn(())

    def model(y: Tensor) -> None:
        slope = pyro.sample("slope", dist.Uniform(-1.0, 1.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        pyro.sample("y", dist.Normal(slope * y[:-1], scale).to_event(1), obs=y[1:])

    x, z = y[:-1].double(), y[1:].double()

    def log_density(slope: Tensor, scale: Tensor) -> Tensor:
        given = dist.Normal(slope[:, None] * x, scale[:, None]).log_prob(z).sum(1)
        return given + dist.HalfNormal(1.0).log_prob(scale) - math.log(2)

    rules = gauss_legendre(-1.0, 1.0, 300), gauss_legendre(0.1, 2.0, 200)
    return model, (y,), log_integral(log_density, *rules)


@case
def gaussian_process() -> Any:
    """Log-scales of length, signal and noise."""
    x = torch.linspace(0, 3, 20)
    y = (2 * x).sin() + 0.3 * torch.randn(20)
    squared = (x[:, None] - x).square()

    def covariance(length: Tensor, signal: Tensor, noise: Tensor, squared: Tensor) -> Tensor:
        length, signal, noise = (z.exp()[..., None, None] for z in (length, signal, noise))
        smooth = signal**2 * (-squared / (2 * length**2)).exp()
        return smooth + (noise**2 + 1e-4) * torch.eye(20, dtype=squared.dtype)

    def model(y: Tensor) -> None:
        length = pyro.sample("length", dist.Normal(0.0, 0.7))
        signal = pyro.sample("signal", dist.Normal(0.0, 0.7))
        noise = pyro.sample("noise", dist.Normal(-1.0, 0.7))
        root = torch.linalg.cholesky(covariance(length, signal, noise, squared))
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(20), scale_tril=root), obs=y)

    zeros = torch.zeros(20, dtype=torch.float64)

    def log_density(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        length, signal, noise = 0.7 * a, 0.7 * b, 0.7 * c - 1
        root = torch.linalg.cholesky(covariance(length, signal, noise, squared.double()))
        prior = dist.Normal(0.0, 1.0).log_prob(torch.stack([a, b, c])).sum(0)
        return dist.MultivariateNormal(zeros, scale_tril=root).log_prob(y.double()) + prior

    return model, (y,), log_integral(log_density, *[gauss_legendre(-5.0, 5.0, 40)] * 3)


@case
def mixture_with_exchangeable_labels() -> Any:
    """Two means, each row of either with probability 1/2: two modes that are mirror images."""
    y = torch.cat([torch.randn(12) - 1.5, torch.randn(12) + 1.5])

    def model(y: Tensor) -> None:
        means = pyro.sample("means", dist.Normal(torch.zeros(2), 3.0).to_event(1))
        both = dist.Normal(means[..., None, :], 1.0)
        halves = dist.Categorical(torch.ones(2))
        mixed = dist.MixtureSameFamily(halves, both)
        with pyro.plate("data", len(y)):
            pyro.sample("y", mixed, obs=y)

    def log_density(one: Tensor, other: Tensor) -> Tensor:
        means = torch.stack([one, other], -1)[:, None, :]
        rows = dist.Normal(means, 1.0).log_prob(y.double()[:, None]).logsumexp(-1) - math.log(2)
        return rows.sum(1) + dist.Normal(0.0, 3.0).log_prob(torch.stack([one, other])).sum(0)

    return model, (y,), log_integral(log_density, *[gauss_legendre(-8.0, 8.0, 400)] * 2)


@case
def squared_signal() -> Any:
    """y = z^2 + noise: two modes, and a valley of 10 nats between them."""
    y = torch.tensor([2.2, 1.6, 2.5, 1.9, 2.1])

    def model(y: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(z**2, 1.0), obs=y)

    def log_density(z: Tensor) -> Tensor:
        given = dist.Normal(z.square()[:, None], 1.0).log_prob(y.double()).sum(1)
        return given + dist.Normal(0.0, 2.0).log_prob(z)

    return model, (y,), log_integral(log_density, gauss_legendre(-6.0, 6.0, 600))


@case
def normal_of_unknown_mean_and_variance() -> Any:
    """Normal-Inverse-Gamma: the data are a multivariate Student's t."""
    y = 2 + 1.5 * torch.randn(15)

    def model(y: Tensor) -> None:
        variance = pyro.sample("variance", dist.InverseGamma(3.0, 3.0))
        mean = pyro.sample("mean", dist.Normal(0.0, 2 * variance.sqrt()))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(mean, variance.sqrt()), obs=y)

    root = torch.linalg.cholesky(4 + torch.eye(15, dtype=torch.float64))
    student = dist.MultivariateStudentT(6.0, torch.zeros(15, dtype=torch.float64), root)
    return model, (y,), student.log_prob(y.double())
