"""Normalising flows as models of data: a density that is known exactly, and no latent."""

from typing import Any

import pyro
import pyro.distributions as dist
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.distributions.grid import Grid
from pyro_vae.errors import InputError, at_least
from pyro_vae.flows import Coupling, Density, FlowFactory
from pyro_vae.networks import Shape
from pyro_vae.units import Units


class FlowDensity(nn.Module):
    """x = f(e), e ~ Normal(0, I), f a flow: log p(x) = log Normal(f^-1(x) | 0, I) + log |d f^-1 / dx|.

    The kind of flow is a part: :class:`~pyro_vae.flows.Coupling` is RealNVP,
    :class:`~pyro_vae.flows.Autoregressive` MAF, :class:`~pyro_vae.flows.NeuralSpline` a spline flow,
    :class:`~pyro_vae.flows.Glow` one of images. There is no latent, the guide is empty, and the ELBO
    is the evidence.

    This is a density of *real* values. Of data on a grid, such as grey levels, it grows without bound as
    f puts spikes on the levels: :class:`DequantizedFlow` is for those.

    Source: L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", 2016,
    https://arxiv.org/abs/1605.08803; G. Papamakarios, T. Pavlakou, I. Murray, "Masked autoregressive flow
    for density estimation", 2017, https://arxiv.org/abs/1705.07057.

    Args:
        data_shape: shape X of one datum; it is taken as one vector of D values.
        flow: f, made from D and a context dimension of 0 (:mod:`pyro_vae.flows`).

    :raises InputError: data of another shape, or nothing in one.

    >>> from pyro_vae.flows import NeuralSpline
    >>> FlowDensity((3,), flow=NeuralSpline).log_evidence(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, data_shape: Shape, *, flow: FlowFactory = Coupling) -> None:
        super().__init__()
        self.density = Density(data_shape, flow)
        self.units = Units(data_shape)

    def learn_units(self, x: Tensor) -> None:
        self.density.check(x)
        self.units.learn(x)

    def of_data(self) -> dist.TransformedDistribution:
        """p(x), ``| X``, in the data's units."""
        shape = self.density.data_shape
        location, scale = self.units.location.expand(shape), self.units.scale.expand(shape)
        last = dist.transforms.AffineTransform(location, scale, event_dim=len(shape))
        return dist.TransformedDistribution(self.density(), [last])

    def model(self, x: Tensor) -> None:
        self.density.check(x)
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.of_data(), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        """Nothing is latent."""

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) in nats, exactly; x is ``batch | X``, the result ``batch |``."""
        self.density.check(x)
        return self.of_data().log_prob(x)


class DequantizedFlow(nn.Module):
    """y = sigmoid(f(e)), e ~ Normal(0, I), x = the level of y: p(x) is the mass of a cell of the unit cube.

    Of L levels x = k / (L - 1) has the cell [k / L, (k + 1) / L). The guide draws y evenly from it, so the
    ELBO is log p(x) of uniformly dequantised data, and a bound; importance sampling estimates log p(x)
    itself, in nats of a discrete distribution, as other likelihoods of levels have it.

    Source: L. Theis, A. van den Oord, M. Bethge, "A note on the evaluation of generative models", 2015,
    https://arxiv.org/abs/1511.01844; J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel, "Flow++: improving
    flow-based generative models with variational dequantization and architecture design", 2019,
    https://arxiv.org/abs/1902.00275.

    Args:
        data_shape: shape X of one datum; it is taken as one vector of D values.
        flow: f, made from D and a context dimension of 0 (:mod:`pyro_vae.flows`).
        levels: L; 2 for binary data.

    :raises InputError: data of another shape or not on the levels, or ``levels`` below 2.

    >>> flow, x = DequantizedFlow((3,), levels=17), torch.tensor([[0.0, 0.25, 1.0]])
    >>> pyro.poutine.trace(flow.guide).get_trace(x).nodes["y"]["fn"].support.base_constraint
    Interval(lower_bound=tensor([[0.0000, 0.2353, 0.9412]]), upper_bound=tensor([[0.0588, 0.2941, 1.0000]]))
    """

    def __init__(
        self, data_shape: Shape, *, flow: FlowFactory = Coupling, levels: int = 256
    ) -> None:
        super().__init__()
        self.density = Density(data_shape, flow, dist.transforms.SigmoidTransform())
        self.levels, self.event_dim = at_least(2, "levels", levels), len(data_shape)

    def model(self, x: Tensor) -> None:
        self.check(x)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", self.density())  # (B | X)
            p = distributions.LevelOf(y, self.levels).to_event(self.event_dim)
            pyro.sample("x", p, obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        self.check(x)
        low = (x * (self.levels - 1)).round()
        with pyro.plate("data", len(x)):
            cell = dist.Uniform(low / self.levels, (low + 1) / self.levels)
            # the prior reaches beyond it, but x, being the level of y, does not let it
            infer: Any = {"covers_posterior": True}
            pyro.sample("y", cell.to_event(self.event_dim), infer=infer)  # (B | X)

    def check(self, x: Tensor) -> None:
        """:raises InputError: data of another shape or, where Pyro validates, not on the levels."""
        self.density.check(x)
        if is_validation_enabled():
            wrong = x[~Grid(self.levels).check(x)]
            if len(wrong):
                raise InputError(
                    f"data must lie on the {self.levels} levels k / {self.levels - 1} from 0 to 1, but "
                    f"there is a value {wrong[0]:g}: set levels to how many the data have (2 where "
                    "they are binary), or use FlowDensity, of real values"
                )
