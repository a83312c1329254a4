"""Flows whose layers move each number by a monotone function of itself."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions import ReshapeTransform, Transform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform, MonotonicAffineTransform, MonotonicRQSTransform

from pyro_vae.errors import InputError, at_least, at_least_1, positive, sizes
from pyro_vae.networks import Shape
from pyro_vae.parts import Part


class Flow(Part):
    """``flow(context)`` is a bijection: layers in which each number is moved by a monotone function.

    In each layer y_i = f(x_i; h_i(x_1, ..., x_(i-1), context)), with the order turned round from layer to
    layer, h a masked network and f affine (or what a subclass says). That is one pass of the network;
    the inverse needs D of them, or as many as ``passes`` says.

    Args:
        dim: D, the length of the vectors.
        context_dim: the length of the context; 0 is none.
        num_layers: number of layers.
        hidden_dims: widths of the hidden layers of each h.

    :raises InputError: a size is below 1, or ``context_dim`` below 0.
    """

    passes: ClassVar[int | None] = None
    noise_first: ClassVar[bool] = (
        False  # whether noise -> vector is the direction that takes one pass
    )

    def __init__(
        self,
        dim: int,
        context_dim: int = 0,
        num_layers: int = 3,
        hidden_dims: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        at_least_1("dim", dim)
        at_least_1("num_layers", num_layers)
        at_least(0, "context_dim", context_dim)
        widths = sizes("hidden_dims", hidden_dims)
        order: Any = torch.arange(dim)  # a LongTensor, as zuko has it
        self.layers = nn.ModuleList(
            MaskedAutoregressiveTransform(
                dim,
                context_dim,
                passes=self.passes,
                order=order.flip(0) if layer % 2 else order,
                hidden_features=widths,
                activation=nn.SiLU,
                **self.monotone(),
            )
            for layer in range(num_layers)
        )

    def monotone(self) -> dict[str, Any]:
        """f, and the shapes of the numbers it takes."""
        return {"univariate": MonotonicAffineTransform, "shapes": ((), ())}

    def forward(self, context: Tensor | None = None) -> "Bijection":
        steps = ComposedTransform(*(layer(context) for layer in self.layers))
        batch_shape = torch.Size() if context is None else context.shape[:-1]
        return Bijection(steps if self.noise_first else steps.inv, batch_shape)


FlowFactory = Callable[[int, int], Flow]


class Autoregressive(Flow):
    """A masked autoregressive flow: a density takes one pass of the network, a draw D. For priors.

    Source: G. Papamakarios, T. Pavlakou, I. Murray, "Masked autoregressive flow for density estimation",
    2017, https://arxiv.org/abs/1705.07057.

    >>> noise, bijection = torch.randn(5, 3), Autoregressive(3, 2)(torch.randn(5, 2))
    >>> torch.allclose(bijection.inv(bijection(noise)), noise, atol=1e-5)
    True
    """


class InverseAutoregressive(Flow):
    """An inverse autoregressive flow: a draw, with its density, takes one pass. For guides.

    The density of a vector from elsewhere, as annealing needs it, takes D.

    Source: D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling, "Improving
    variational inference with inverse autoregressive flow", 2016, https://arxiv.org/abs/1606.04934.

    >>> InverseAutoregressive(3)()(torch.randn(5, 3)).shape
    torch.Size([5, 3])
    """

    noise_first = True


class Coupling(Flow):
    """A coupling flow: half of the numbers are moved given the other half; two passes either way at most.

    Source: L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", 2016,
    https://arxiv.org/abs/1605.08803.

    >>> noise, bijection = torch.randn(5, 4), Coupling(4)()
    >>> bijection.log_abs_det_jacobian(noise, bijection(noise)).shape
    torch.Size([5])
    """

    passes = 2
    noise_first = True


class NeuralSpline(Coupling):
    """A coupling flow whose monotone functions are rational-quadratic splines on [-bound, bound].

    Beyond that interval they are the identity.

    Source: C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, "Neural spline flows", 2019,
    https://arxiv.org/abs/1906.04032.

    Args:
        dim: D, the length of the vectors.
        context_dim: the length of the context; 0 is none.
        num_layers: number of layers.
        hidden_dims: widths of the hidden layers of each network.
        bins: pieces of each spline.
        bound: where the splines end.

    :raises InputError: no piece, a ``bound`` that is not positive, or as of any :class:`Flow`.

    >>> NeuralSpline(2, bins=4)()(torch.tensor([9.0, -9.0])).tolist()  # beyond the bound
    [9.0, -9.0]
    """

    def __init__(
        self,
        dim: int,
        context_dim: int = 0,
        num_layers: int = 3,
        hidden_dims: Sequence[int] = (64, 64),
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        self.bins, self.bound = at_least_1("bins", bins), positive("bound", bound)
        super().__init__(dim, context_dim, num_layers, hidden_dims)

    def monotone(self) -> dict[str, Any]:
        def spline(widths: Tensor, heights: Tensor, slopes: Tensor) -> Transform:
            return MonotonicRQSTransform(widths, heights, slopes, bound=self.bound)

        return {"univariate": spline, "shapes": ((self.bins,), (self.bins,), (self.bins - 1,))}


class Bijection(Transform):
    """A bijection that remembers its last pair and their log-determinant, got in one pass together.

    :param steps: the same, of a library whose transforms say ``call_and_ladj``.
    :param batch_shape: the shape to which vectors are broadcast, the last dimension left out.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, steps: Any, batch_shape: torch.Size) -> None:
        super().__init__(cache_size=1)
        self.steps, self.batch_shape = steps, batch_shape
        self._cached_log_det: tuple[Tensor, Tensor] | None = None  # of which x, and what

    def _call(self, x: Tensor) -> Tensor:
        y, log_det = self.steps.call_and_ladj(self._broadcast(x))
        self._cached_log_det = x, log_det
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x, log_det = self.steps.inv.call_and_ladj(self._broadcast(y))
        self._cached_log_det = x, -log_det
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if self._cached_log_det is None or self._cached_log_det[0] is not x:
            return self.steps.call_and_ladj(self._broadcast(x))[1]
        return self._cached_log_det[1]

    def _broadcast(self, x: Tensor) -> Tensor:
        return x.expand(torch.broadcast_shapes(x.shape[:-1], self.batch_shape) + x.shape[-1:])


class Density(nn.Module):
    """p(x) of data of any shape, ``| X``: that of noise, moved by a flow and then by ``last``.

    Args:
        data_shape: X; it is taken as one vector of D values.
        flow: made from D and a context dimension of 0.
        last: transforms of X.

    :raises InputError: X has no values.

    >>> Density((2, 3), Coupling)().log_prob(torch.zeros(5, 2, 3)).shape
    torch.Size([5])
    """

    zero: Tensor

    def __init__(self, data_shape: Shape, flow: FlowFactory, *last: Transform) -> None:
        super().__init__()
        self.data_shape = torch.Size(data_shape)
        if not self.data_shape.numel():
            raise InputError(
                f"a flow needs data with some values, not of shape {tuple(data_shape)}"
            )
        self.flow = Flow.make(flow, self.data_shape.numel(), 0)
        vector = torch.Size([self.data_shape.numel()])
        self.last = (ReshapeTransform(vector, self.data_shape), *last)
        self.register_buffer("zero", torch.zeros(vector), persistent=False)

    def forward(self) -> dist.TransformedDistribution:
        noise = dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
        return dist.TransformedDistribution(noise, [self.flow(), *self.last])

    def check(self, x: Tensor) -> None:
        """:raises InputError: data of another shape."""
        if x.shape[1:] != self.data_shape:
            raise InputError(
                f"the flow takes data of shape {tuple(self.data_shape)}, not {tuple(x.shape[1:])}"
            )
