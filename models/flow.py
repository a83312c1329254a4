"""Normalising flows as models of data: an exact density without latents, and one for grey levels."""

from typing import Any

import pyro
import pyro.distributions as dist
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.errors import InputError, at_least
from pyro_vae.flows import Coupling, Density, FlowFactory
from pyro_vae.networks import Shape
from pyro_vae.scaling import Scaling


class FlowDensity(nn.Module):
    """Model data by a flow f of noise: x = f(e), e ~ Normal(0, I). The guide is empty.

    log p(x) = log Normal(f^-1(x) | 0, I) + log |d f^-1 / dx|, and the ELBO is the evidence.
    :class:`~pyro_vae.flows.Coupling` makes RealNVP, :class:`~pyro_vae.flows.Autoregressive` MAF,
    :class:`~pyro_vae.flows.NeuralSpline` a spline flow, :class:`~pyro_vae.flows.Glow` a flow of images.

    This is a density of *real* values. For grey levels it grows without bound, because f can put spikes on
    the levels: use :class:`DequantizedFlow` for those.

    Args:
        data_shape: shape X of one datum, flattened to one vector of D values.
        flow: f, made from D and a context dimension of 0 (:mod:`pyro_vae.flows`).

    Raises:
        InputError: X has no values, or ``flow`` does not make a flow. When it runs: the data have another
            shape.

    Source: L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", 2016,
    https://arxiv.org/abs/1605.08803; G. Papamakarios, T. Pavlakou, I. Murray, "Masked autoregressive flow
    for density estimation", 2017, https://arxiv.org/abs/1705.07057.

    >>> from pyro_vae.flows import NeuralSpline
    >>> FlowDensity((3,), flow=NeuralSpline).log_evidence(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, data_shape: Shape, *, flow: FlowFactory = Coupling) -> None:
        super().__init__()
        self.density = Density(data_shape, flow)
        self.scaling = Scaling(data_shape)

    def learn_scaling(self, x: Tensor) -> None:
        self.density.check(x)
        self.scaling.learn(x)

    def data_distribution(self) -> dist.TransformedDistribution:
        """Return p(x), ``| X``, in the data's units."""
        shape = self.density.data_shape
        location, scale = self.scaling.location.expand(shape), self.scaling.scale.expand(shape)
        last = dist.transforms.AffineTransform(location, scale, event_dim=len(shape))
        return dist.TransformedDistribution(self.density(), [last])

    def model(self, x: Tensor) -> None:
        self.density.check(x)
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.data_distribution(), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        """Draw nothing, because nothing is latent."""

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, exactly: ``batch |`` from x, ``batch | X``."""
        self.density.check(x)
        return self.data_distribution().log_prob(x)


class DequantizedFlow(nn.Module):
    """Model grey levels by a flow f: y = sigmoid(f(e)), e ~ Normal(0, I), x = the level of y.

    With L levels, x = k / (L - 1) stands for the cell [k / L, (k + 1) / L), and p(x) is the mass of a cell
    of the unit cube. The guide draws y uniformly from its cell. The ELBO is therefore the score of
    uniformly dequantised data, which bounds log p(x). Importance sampling estimates log p(x) itself, in
    nats of a discrete distribution, as for other likelihoods of grey levels.

    Args:
        data_shape: shape X of one datum, flattened to one vector of D values.
        flow: f, made from D and a context dimension of 0 (:mod:`pyro_vae.flows`).
        levels: L; 2 for binary data.

    Raises:
        InputError: X has no values, or ``levels`` is below 2. When it runs: the data have another shape or
            do not lie on the levels.

    Source: L. Theis, A. van den Oord, M. Bethge, "A note on the evaluation of generative models", 2015,
    https://arxiv.org/abs/1511.01844; J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel, "Flow++: improving
    flow-based generative models with variational dequantization and architecture design", 2019,
    https://arxiv.org/abs/1902.00275.

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
            p = distributions.Quantized(y, self.levels).to_event(self.event_dim)
            pyro.sample("x", p, obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        self.check(x)
        low = (x * (self.levels - 1)).round()
        with pyro.plate("data", len(x)):
            cell = dist.Uniform(low / self.levels, (low + 1) / self.levels)
            # the prior is wider than a cell, but the posterior is not, because x is the level of y
            infer: Any = {"covers_posterior": True}
            pyro.sample("y", cell.to_event(self.event_dim), infer=infer)  # (B | X)

    def check(self, x: Tensor) -> None:
        """Check the shape of data and, where Pyro validates, that they lie on the levels.

        Raises:
            InputError: they have another shape or do not.
        """
        self.density.check(x)
        if is_validation_enabled():
            wrong = x[~distributions.GreyLevels(self.levels).check(x)]
            if len(wrong):
                raise InputError(
                    f"the data hold {wrong[0]:g}, but levels is {self.levels}",
                    subject="levels",
                    expected=f"grey levels k / {self.levels - 1} from 0 to 1",
                    remedy="set levels to the data's (2 for binary data), or use FlowDensity",
                )
