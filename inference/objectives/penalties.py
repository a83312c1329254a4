"""Penalties on the slope of a discriminator, by a gradient within the gradient."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.argument_checks import number

Rows = Sequence[Tensor]  # what a discriminator reads of U units, ``U | event`` each


@dataclass(frozen=True)
class Judged:
    """Hold rows, which are leaves, and the logits that a discriminator gave them."""

    rows: Rows
    logits: Tensor  # U

    def squared_slope(self) -> Tensor:
        """Return |dD(x_n) / dx_n|^2 of each unit, U, with its own gradient."""
        slopes = torch.autograd.grad(
            self.logits.sum(), list(self.rows), create_graph=True, allow_unused=True
        )
        squares = [s.square().flatten(1).sum(1) for s in slopes if s is not None]
        return sum(squares, start=torch.zeros_like(self.logits))


class Penalty(abc.ABC):
    """Give what a discriminator pays for its slope.

    Args:
        weight: of the penalty.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = number("weight", weight, least=0)

    @abc.abstractmethod
    def __call__(self, judge: Callable[[Rows], Tensor], real: Judged, made: Judged) -> Tensor:
        """Return the penalty of each unit, U.

        Args:
            judge: the discriminator, from rows to logits.
            real: data.
            made: what the program has drawn.
        """


class R1(Penalty):
    """Pay weight / 2 |dD(x) / dx|^2 at the data.

    Source: L. Mescheder, A. Geiger, S. Nowozin, "Which training methods for GANs do actually converge?",
    2018, https://arxiv.org/abs/1801.04406.

    Args:
        weight: gamma; the paper has 10 for images of large networks.
    """

    def __call__(self, judge: Callable[[Rows], Tensor], real: Judged, made: Judged) -> Tensor:
        return self.weight / 2 * real.squared_slope()


class R1R2(Penalty):
    """Pay weight / 2 |dD(x) / dx|^2 at the data, and the same at what the program draws.

    Source: N. Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2025,
    https://arxiv.org/abs/2501.05441.

    Args:
        weight: gamma.
    """

    def __call__(self, judge: Callable[[Rows], Tensor], real: Judged, made: Judged) -> Tensor:
        return self.weight / 2 * (real.squared_slope() + made.squared_slope())


class GradientPenalty(Penalty):
    """Pay weight (|dD(y) / dy| - 1)^2 at y = e x + (1 - e) x', with e uniform for each pair of rows.

    On data of a single number the slope keeps the sign that it starts with: at 0 the penalty is greatest.

    Source: I. Gulrajani et al., "Improved training of Wasserstein GANs", 2017,
    https://arxiv.org/abs/1704.00028.

    Args:
        weight: lambda.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__(weight)

    def __call__(self, judge: Callable[[Rows], Tensor], real: Judged, made: Judged) -> Tensor:
        share = torch.rand_like(real.logits)
        between = []
        for x, other in zip(real.rows, made.rows, strict=True):
            e = share.reshape(-1, *[1] * (x.dim() - 1))
            between.append((e * x + (1 - e) * other).detach().requires_grad_())
        squares = Judged(between, judge(between)).squared_slope()
        return self.weight * ((squares + 1e-12).sqrt() - 1).square()  # the root has no slope at 0
