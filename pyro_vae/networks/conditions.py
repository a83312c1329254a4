"""Conditions: labels as one-hot vectors, and vectors joined."""

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.networks.network import Network, Shape


class OneHot(Network):
    """Map labels 0, 1, ..., K - 1 to one-hot vectors of K numbers.

    Args:
        in_shape: shape of one datum's labels; () is one label.
        out_shape: (*in_shape, K).

    Raises:
        InputError: ``out_shape`` is another. When it runs: a label is not whole or, where Pyro validates,
            out of range.

    >>> OneHot((), (3,))(torch.tensor([2, 0]))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """

    discrete_input = True
    identity: Tensor

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__(in_shape, out_shape)
        if self.out_shape[:-1] != self.in_shape:
            raise InputError(
                f"OneHot cannot map labels of shape {self.in_shape} to shape {self.out_shape}",
                subject="OneHot",
                expected=f"out_shape {(*self.in_shape, 'num_classes')}",
            )
        self.register_buffer("identity", torch.eye(self.out_shape[-1]), persistent=False)

    def transform(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            raise InputError(
                f"labels hold {x.dtype}", subject="labels", expected="whole numbers (int64)"
            )
        if is_validation_enabled():
            check_labels(x, self.out_shape[-1])
        return torch.nn.functional.embedding(x.long(), self.identity)


def check_labels(labels: Tensor, num_classes: int, lowest: int = 0) -> None:
    """Check that labels lie between ``lowest`` and ``num_classes`` - 1.

    Raises:
        InputError: a label is out of range.
    """
    wrong = labels[(labels < lowest) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(
            f"labels hold {int(wrong[0])}, but num_classes is {num_classes}",
            subject="labels",
            expected=f"whole numbers from {lowest} to {num_classes - 1}",
            remedy="set num_classes or number the classes from 0",
        )


def join(*vectors: Tensor) -> Tensor:
    """Join vectors end to end, ``batch | sum of their lengths``; the batch shapes are broadcast.

    >>> join(torch.zeros(5, 1, 2), torch.ones(3, 4)).shape
    torch.Size([5, 3, 6])
    """
    batch = torch.broadcast_shapes(*(vector.shape[:-1] for vector in vectors))
    return torch.cat([vector.expand(*batch, -1) for vector in vectors], -1)
