"""Flows whose layers move each number by a monotone function."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform, MonotonicAffineTransform, MonotonicRQSTransform

from pyro_vae.errors import at_least, at_least_1, positive, sizes
from pyro_vae.parts import Part


class Flow(Part):
    """Map a context to a bijection: layers that move each number by a monotone function.

    A layer computes y_i = f(x_i; h_i(x_1, ..., x_(i-1), context)), with a masked network h and an affine f
    (or :meth:`univariate` of a subclass). The order of the numbers is reversed from layer to layer. This
    takes one pass of the network; the inverse takes ``passes``, by default D.

    Args:
        dim: D, the length of the vectors.
        context_dim: the length of the context; 0 for none.
        num_layers: number of layers.
        hidden_dims: widths of the hidden layers of each h.

    Attributes:
        passes: number of passes of the inverse; None: D.
        noise_first: whether the direction from noise to vector takes one pass.

    Raises:
        InputError: a size is below 1, or ``context_dim`` below 0.
    """

    is_offered = False
    passes: ClassVar[int | None] = None
    noise_first: ClassVar[bool] = False

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
        order: Any = torch.arange(dim)  # zuko annotates a LongTensor
        self.layers = nn.ModuleList(
            MaskedAutoregressiveTransform(
                dim,
                context_dim,
                passes=self.passes,
                order=order.flip(0) if layer % 2 else order,
                hidden_features=widths,
                activation=nn.SiLU,
                **self.univariate(),
            )
            for layer in range(num_layers)
        )

    def univariate(self) -> dict[str, Any]:
        """Return f and the shapes of its parameters."""
        return {"univariate": MonotonicAffineTransform, "shapes": ((), ())}

    def forward(self, context: Tensor | None = None) -> "Bijection":
        steps = ComposedTransform(*(layer(context) for layer in self.layers))
        batch_shape = torch.Size() if context is None else context.shape[:-1]
        return Bijection(steps if self.noise_first else steps.inv, batch_shape)


FlowFactory = Callable[[int, int], Flow]


class Autoregressive(Flow):
    """Map noise by a masked autoregressive flow, for priors: a density takes one pass, a draw D.

    Source: G. Papamakarios, T. Pavlakou, I. Murray, "Masked autoregressive flow for density estimation",
    2017, https://arxiv.org/abs/1705.07057.

    >>> noise, bijection = torch.randn(5, 3), Autoregressive(3, 2)(torch.randn(5, 2))
    >>> torch.allclose(bijection.inv(bijection(noise)), noise, atol=1e-5)
    True
    """


class InverseAutoregressive(Flow):
    """Map noise by an inverse autoregressive flow, for guides: a draw and its density take one pass.

    The density of any other vector, which annealing needs, takes D.

    Source: D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling, "Improving
    variational inference with inverse autoregressive flow", 2016, https://arxiv.org/abs/1606.04934.

    >>> InverseAutoregressive(3)()(torch.randn(5, 3)).shape
    torch.Size([5, 3])
    """

    noise_first = True


class Coupling(Flow):
    """Map noise by a coupling flow, which moves half of the numbers given the other half.

    A draw or a density takes at most two passes.

    Source: L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", 2016,
    https://arxiv.org/abs/1605.08803.

    >>> noise, bijection = torch.randn(5, 4), Coupling(4)()
    >>> bijection.log_abs_det_jacobian(noise, bijection(noise)).shape
    torch.Size([5])
    """

    passes = 2
    noise_first = True


class NeuralSpline(Coupling):
    """Map noise by a coupling flow of rational-quadratic splines on [-bound, bound].

    Outside that interval the splines are the identity.

    Args:
        dim: D, the length of the vectors.
        context_dim: the length of the context; 0 for none.
        num_layers: number of layers.
        hidden_dims: widths of the hidden layers of each network.
        bins: number of pieces of each spline.
        bound: where the splines end.

    Raises:
        InputError: a size is below 1, ``bound`` is not positive, or ``context_dim`` is negative.

    Source: C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, "Neural spline flows", 2019,
    https://arxiv.org/abs/1906.04032.

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

    def univariate(self) -> dict[str, Any]:
        def spline(widths: Tensor, heights: Tensor, slopes: Tensor) -> Transform:
            return MonotonicRQSTransform(widths, heights, slopes, bound=self.bound)

        return {"univariate": spline, "shapes": ((self.bins,), (self.bins,), (self.bins - 1,))}


class Bijection(Transform):
    """Map vectors one-to-one; one pass computes the image and the log-determinant, and both are cached.

    Args:
        steps: the transform as zuko writes it, with ``call_and_ladj`` and ``inv``.
        batch_shape: the batch shape to which vectors are broadcast.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, steps: Any, batch_shape: torch.Size) -> None:
        super().__init__(cache_size=1)
        self.steps, self.batch_shape = steps, batch_shape
        self._cached_log_det: tuple[Tensor, Tensor] | None = None  # x and its log-determinant

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
