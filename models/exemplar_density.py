"""Exemplars as a model of data: every training row, and its surroundings."""

import math

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.distributions import ExemplarMixture
from pyro_vae.errors import at_least_1, positive, sizes
from pyro_vae.networks import Shape
from pyro_vae.scaling import Scaling

SMALLEST = 1e-3  # width, in standard deviations of a value


class ExemplarDensity(nn.Module):
    """Model data by exemplars: n ~ Uniform(1..N), y ~ t(e_n, width, freedom), x = m + s y; empty guide.

    The exemplars e_n are training rows, in units in which values have mean 0 and standard deviation 1
    (m and s, :mod:`pyro_vae.scaling`): each column of a table, all values of an image together. The width
    is the one parameter. While it is fitted, a row does not
    count as its own exemplar, nor do rows that equal it: leave-one-out maximum likelihood. n is summed out,
    so the ELBO is the evidence. Other names are kernel density and Parzen window; here with t kernels,
    whose heavy tails keep far rows comparable. A value that is NaN is integrated out, and a training row
    with gaps has the mean in them.

    With more training rows than ``num_exemplars``, a random choice of them becomes exemplars.

    Args:
        data_shape: shape X of one datum, flattened to one vector of D values.
        num_exemplars: the most exemplars.
        freedom: degrees of freedom of a kernel.

    Raises:
        InputError: a size is below 1, or ``freedom`` is not positive.

    Source: E. Parzen, "On estimation of a probability density function and mode", 1962,
    https://doi.org/10.1214/aoms/1177704472; S. Norouzi, D. J. Fleet, M. Norouzi, "Exemplar VAE: linking
    generative models, nearest neighbor retrieval, and data augmentation", 2020,
    https://arxiv.org/abs/2004.04795 (leave-one-out).

    >>> from pyro_vae import fit
    >>> x = torch.randn(200, 2)
    >>> model = ExemplarDensity((2,), num_exemplars=200)
    >>> _ = fit(model, x, epochs=5, progress=False)
    >>> near, far = model.log_evidence(torch.tensor([[0.0, 0.0], [5.0, 5.0]])).tolist()
    >>> near > far
    True
    """

    exemplars: Tensor
    count: Tensor

    def __init__(self, data_shape: Shape, num_exemplars: int = 5000, freedom: float = 5.0) -> None:
        super().__init__()
        self.data_shape = sizes("data_shape", data_shape)
        self.freedom = positive("freedom", freedom)
        size = math.prod(self.data_shape)
        self.scaling = Scaling(self.data_shape)
        self.log_width = nn.Parameter(torch.zeros(()))
        # of a fixed size, so that a checkpoint of any fit fits; the rows from `count` on are unused
        self.register_buffer(
            "exemplars", torch.zeros(at_least_1("num_exemplars", num_exemplars), size)
        )
        self.register_buffer("count", torch.tensor(1))

    def learn_scaling(self, x: Tensor) -> None:
        """Take rows, in a random order, as exemplars."""
        if self.scaling.is_learnt:
            return
        self.scaling.learn(x, may_keep=False)
        rows = self._scaled(x.flatten(1)).nan_to_num()[: len(self.exemplars)]
        with torch.no_grad():
            self.exemplars[: len(rows)] = rows
            self.count.fill_(len(rows))

    def data_distribution(self) -> ExemplarMixture:
        """Return p(x), ``| X``, in the data's units."""
        return ExemplarMixture(
            self.exemplars,
            self.log_width.exp() + SMALLEST,
            self.freedom,
            self.count,
            location=self.scaling.location,
            scale=self.scaling.scale,
            event_shape=self.data_shape,
            leave_out=self.training,
        )

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.data_distribution(), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        """Draw nothing, because nothing is latent."""

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, exactly: ``batch |`` from x, ``batch | X``."""
        return self.data_distribution().log_prob(x)

    def _scaled(self, flat: Tensor) -> Tensor:
        return (flat - self.scaling.location) / self.scaling.scale
