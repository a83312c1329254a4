"""The density of data under a flow."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import ReshapeTransform, Transform

from pyro_vae.errors import InputError
from pyro_vae.flows.flow import Flow, FlowFactory
from pyro_vae.networks import Shape


class Density(nn.Module):
    """Return p(x), ``| X``: the distribution of standard normal noise moved by a flow and by ``last``.

    Args:
        data_shape: X, flattened to one vector of D values.
        flow: makes the flow from D and a context dimension of 0.
        last: transforms of X.

    Raises:
        InputError: X has no values.

    >>> from pyro_vae.flows import Coupling
    >>> Density((2, 3), Coupling)().log_prob(torch.zeros(5, 2, 3)).shape
    torch.Size([5])
    """

    zero: Tensor

    def __init__(self, data_shape: Shape, flow: FlowFactory, *last: Transform) -> None:
        super().__init__()
        self.data_shape = torch.Size(data_shape)
        size = self.data_shape.numel()
        if not size:
            raise InputError(
                f"a flow cannot model data of shape {tuple(data_shape)}",
                subject="data_shape",
                expected="a shape with at least one value",
            )
        self.flow = Flow.make(flow, size, 0)
        self.last = (ReshapeTransform(torch.Size([size]), self.data_shape), *last)
        self.register_buffer("zero", torch.zeros(size), persistent=False)

    def forward(self) -> dist.TransformedDistribution:
        noise = dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
        return dist.TransformedDistribution(noise, [self.flow(), *self.last])

    def check(self, x: Tensor) -> None:
        """Check that data have the shape ``rows | X``.

        Raises:
            InputError: they have another.
        """
        if x.shape[1:] != self.data_shape:
            raise InputError(
                f"x holds data of shape {tuple(x.shape[1:])}",
                subject="x",
                expected=f"shape {tuple(self.data_shape)}",
            )
