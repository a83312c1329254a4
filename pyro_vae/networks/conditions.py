"""What is given beside an input: classes as numbers, vectors put together."""

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.networks.network import Network, Shape


class OneHot(Network):
    """Labels 0, 1, ..., K - 1 as vectors of K numbers, a single one of them 1.

    Args:
        in_shape: shape of what holds the labels of one datum; () is one label.
        out_shape: (..., K).

    :raises InputError: labels that are not whole numbers, or, where Pyro validates, out of range.

    >>> OneHot((), (3,))(torch.tensor([2, 0]))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """

    reads_names = True
    identity: Tensor

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__(in_shape, out_shape)
        if self.out_shape[:-1] != self.in_shape:
            raise InputError(
                f"OneHot makes of labels of shape {self.in_shape} vectors of shape "
                f"{(*self.in_shape, 'classes')}, not {self.out_shape}"
            )
        self.register_buffer("identity", torch.eye(self.out_shape[-1]), persistent=False)

    def transform(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            raise InputError(f"labels must be whole numbers (int64), not {x.dtype}")
        if is_validation_enabled():
            check_labels(x, self.out_shape[-1])
        return torch.nn.functional.embedding(x.long(), self.identity)


def check_labels(labels: Tensor, num_classes: int, lowest: int = 0) -> None:
    """:raises InputError: a label is out of range."""
    wrong = labels[(labels < lowest) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(
            f"labels must lie between {lowest} and {num_classes - 1}, for {num_classes} classes, but "
            f"there is a label {int(wrong[0])}"
        )


def join(*vectors: Tensor) -> Tensor:
    """Vectors end to end, ``batch | sum of their lengths``; batch shapes are broadcast.

    >>> join(torch.zeros(5, 1, 2), torch.ones(3, 4)).shape
    torch.Size([5, 3, 6])
    """
    batch = torch.broadcast_shapes(*(vector.shape[:-1] for vector in vectors))
    return torch.cat([vector.expand(*batch, -1) for vector in vectors], -1)
