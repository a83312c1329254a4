"""Diagnostics of a fit: ELBO, rate and distortion, active units."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.inference.checks.support import check_proposal
from pyro_vae.inference.evidence.tiles import fitting_units, open_tiles
from pyro_vae.notebook import table
from pyro_vae.program.particles import draw

CHECKS = {"num_particles": checks.at_least_2, "seed": checks.optional(checks.seed)}
ACTIVE = 0.01  # Burda et al.'s threshold on the variance of a posterior mean over the data


@dataclass(frozen=True)
class Evaluation:
    """Hold ``elbo`` = -(``rate`` + ``distortion``) per unit, in nats, each ``units |``.

    ``rate`` is E_q[log q(z | x) - log p(z)], ``distortion`` is -E_q[log p(x | z)].
    ``active_units`` gives for each latent site how many of its dimensions have a posterior mean that
    varies over the data by more than 0.01, and its number of dimensions.

    Source: A. A. Alemi et al., "Fixing a broken ELBO", 2018, https://arxiv.org/abs/1711.00464 (rate,
    distortion); Y. Burda et al., "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519 (active units).
    """

    rate: Tensor
    distortion: Tensor
    active_units: dict[str, tuple[int, int]]
    num_particles: int

    @property
    def elbo(self) -> Tensor:
        return -self.rate - self.distortion

    @property
    def standard_error(self) -> float:
        """Standard error of the mean ELBO, from the draws and the sampling of units together."""
        return float(self.elbo.std() / math.sqrt(len(self.elbo)))

    def __repr__(self) -> str:
        return f"Evaluation({'; '.join(' '.join(row) for row in self._rows())})"

    def _repr_html_(self) -> str:
        caption = f"{len(self.elbo):,} units, {self.num_particles:,} draws of each"
        return table(self._rows(), caption=caption)

    def _rows(self) -> list[tuple[str, str]]:
        """Return the figures in words: means over the units."""
        rate, distortion = float(self.rate.mean()), float(self.distortion.mean())
        return [
            ("ELBO", f"{float(self.elbo.mean()):.3f} ± {self.standard_error:.3f} nats"),
            ("rate", f"{rate:.3f}"),
            ("distortion", f"{distortion:.3f}"),
            *(
                (f"active dimensions of {name}", f"{active} of {every}")
                for name, (active, every) in self.active_units.items()
            ),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of the whole set, as JSON takes them."""
        return {
            "elbo": float(self.elbo.mean()),
            "elbo_standard_error": self.standard_error,
            "rate": float(self.rate.mean()),
            "distortion": float(self.distortion.mean()),
            "active_units": {name: list(counts) for name, counts in self.active_units.items()},
            "num_units": len(self.elbo),
            "num_particles": self.num_particles,
        }


def evaluate(
    program: Any,
    data: Any,
    *,
    num_particles: int = 16,
    seed: int | None = None,
    device: str | torch.device = "auto",
) -> Evaluation:
    """Estimate ELBO, rate, distortion and active units of a program on data, and change nothing.

    Args:
        program: a model and guide.
        data: as :func:`pyro_vae.log_evidence` takes them.
        num_particles: draws a unit, at least 2.
        seed: of the draws.
        device: where to compute.

    Raises:
        InputError: the program does not fit the data, or ``num_particles`` is below 2.

    >>> from pyro_vae.models import FactorAnalysis
    >>> evaluation = evaluate(FactorAnalysis((3,), 2), torch.randn(50, 3), seed=0)
    >>> evaluation.elbo.shape
    torch.Size([50])
    """
    checks.check_arguments(CHECKS, locals())
    rates, distortions = [], []
    spreads: dict[str, _MeanVariance] = {}
    size = partial(fitting_units, num_particles=num_particles)
    with open_tiles(program, data, None, seed, device, size) as tiles:
        check_proposal(tiles.example, narrower_too=False)
        for bound_program in tiles:
            structure, drawn = bound_program.structure, draw(bound_program, num_particles)
            rates.append(drawn.rate.double().mean(0))
            distortions.append(-drawn.log_likelihood.double().mean(0))
            for name, value in drawn.latents.items():
                if name in structure.latents and value.is_floating_point() and structure.unit:
                    draws = value.reshape(num_particles, structure.num_units, -1)
                    spreads.setdefault(name, _MeanVariance(draws.shape[-1])).add(
                        draws.double().cpu()
                    )
    return Evaluation(
        torch.cat(rates).cpu(),
        torch.cat(distortions).cpu(),
        {name: spread.active() for name, spread in spreads.items()},
        num_particles,
    )


class _MeanVariance:
    """Estimate how much the posterior mean of each latent dimension varies over units."""

    def __init__(self, dims: int) -> None:
        zeros = torch.zeros(dims, dtype=torch.float64)
        self.count = 0
        self.total, self.square, self.noise = zeros, zeros.clone(), zeros.clone()

    def add(self, draws: Tensor) -> None:
        """Take in draws (K, units, dims)."""
        means = draws.mean(0)
        self.count += len(means)
        self.total = self.total + means.sum(0)
        self.square = self.square + means.square().sum(0)
        self.noise = self.noise + (draws.var(0) / len(draws)).sum(0)

    def active(self) -> tuple[int, int]:
        """Return how many dimensions are active, and how many there are."""
        mean = self.total / self.count
        # the variance of a mean of K draws exceeds that of the posterior mean by 1/K of the posterior's
        variance = self.square / self.count - mean.square() - self.noise / self.count
        return int((variance > ACTIVE).sum()), len(variance)
