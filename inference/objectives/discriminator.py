"""A discriminator beside a program, and one round of the game between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, first_line
from pyro_vae.inference.objectives.adversarial_losses import AdversarialLoss
from pyro_vae.inference.objectives.penalties import Judged, Penalty, Rows
from pyro_vae.networks import Shape

BY_SHAPES = "make it from its two arguments: in_shape, out_shape"


class Discriminator(nn.Module):
    """Give rows a logit of being data: a network of one thing alone, or of several side by side.

    Under a condition c, a vector, the logit is D_0(x) + sum_i c_i D_i(x), with outputs D_0, D_1, ... of the
    network: a projection, for any network that reads x alone.

    Source: T. Miyato, M. Koyama, "cGANs with projection discriminator", 2018,
    https://arxiv.org/abs/1802.05637.

    Args:
        make: makes the network from an input and an output shape.
        shapes: of one unit's inputs.
        condition_dim: the length of c; 0 without.
    """

    def __init__(
        self,
        make: Callable[[Shape, Shape], nn.Module],
        shapes: Sequence[torch.Size],
        condition_dim: int = 0,
    ) -> None:
        super().__init__()
        in_shape = shapes[0] if len(shapes) == 1 else (sum(s.numel() for s in shapes),)
        self.in_shape, self.num_logits = tuple(in_shape) or (1,), 1 + condition_dim
        self.network = _made(make, self.in_shape, (self.num_logits,))

    def forward(self, rows: Rows, condition: Tensor | None = None) -> Tensor:
        """Return the logits of U units, U."""
        joined = self.joined(rows)
        out = self._logits(joined)
        if out.shape != (len(joined), self.num_logits):
            raise InputError(
                f"the discriminator maps {len(joined)} rows of shape {self.in_shape} to shape "
                f"{tuple(out.shape)}",
                subject="discriminator",
                expected=f"shape {(len(joined), self.num_logits)}",
                remedy=BY_SHAPES,
            )
        logit = out[:, 0]
        return logit if condition is None else logit + (out[:, 1:] * condition).sum(1)

    def joined(self, rows: Rows) -> Tensor:
        """Return what the network reads, ``U | in_shape``."""
        joined = rows[0] if len(rows) == 1 else side_by_side(rows)
        return joined.reshape(-1, *self.in_shape)

    def _logits(self, joined: Tensor) -> Tensor:
        try:
            out: Tensor = self.network(joined)
        except InputError:
            raise
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the discriminator fails on {len(joined)} rows of shape {self.in_shape}: "
                f"{first_line(error)}",
                subject="discriminator",
                remedy=BY_SHAPES,
            ) from error
        return out


def side_by_side(rows: Rows) -> Tensor:
    """Return things of U units as one vector for each, (U, D).

    >>> side_by_side([torch.zeros(5, 2, 2), torch.zeros(5)]).shape
    torch.Size([5, 5])
    """
    return torch.cat([x.reshape(len(x), -1) for x in rows], 1)


def _made(
    make: Callable[[Shape, Shape], nn.Module], in_shape: Shape, out_shape: Shape
) -> nn.Module:
    """Return the network of a discriminator.

    Raises:
        InputError: it cannot be made from two shapes, is no module, or learns nothing.
    """
    try:
        network = make(in_shape, out_shape)
    except TypeError as error:
        raise InputError(
            f"no discriminator can be made from the shapes {in_shape} and {out_shape}: "
            f"{first_line(error)}",
            subject="discriminator",
            remedy=BY_SHAPES,
        ) from error
    if not isinstance(network, nn.Module) or not any(p.requires_grad for p in network.parameters()):
        raise InputError(
            f"the discriminator that was made, a {type(network).__name__}, has nothing to learn",
            subject="discriminator",
            expected="an nn.Module with parameters",
        )
    return network


@dataclass(frozen=True)
class Round:
    """Hold one round of the game, on U units.

    Attributes:
        generator_loss: of each unit, U, without a gradient.
        discriminator_loss: likewise, with its penalty.
        pull: a number with the gradient of the generator's summed losses, in the rows alone, ``|``.
        learning: one with that of the discriminator's, in its parameters alone, ``|``.
        real: the logits of data, U.
        made: those of what the program drew, U.
    """

    generator_loss: Tensor
    discriminator_loss: Tensor
    pull: Tensor
    learning: Tensor
    real: Tensor
    made: Tensor


def play(
    judge: Callable[[Rows], Tensor],
    parameters: Sequence[Tensor],
    loss: AdversarialLoss,
    penalty: Penalty | None,
    real: Rows,
    made: Rows,
    is_mutual: bool = False,
) -> Round:
    """Let both sides judge the same rows, each with the other held, by one run of the discriminator.

    It reads copies of the rows, so the generator's slope at these is what goes back to the program.

    Args:
        judge: the discriminator, from rows to logits, U.
        parameters: of the discriminator.
        loss: of both sides.
        penalty: what the discriminator pays for its slope.
        real: the rows that are to have high logits.
        made: those that are to have low ones.
        is_mutual: whether the real rows depend on the program, too, and are to look made.
    """
    with torch.enable_grad():
        sides = [Judged(copies, judge(copies)) for copies in (_leaves(real), _leaves(made))]
        r, f = (side.logits for side in sides)
        own = loss.generator(r, f)
        if is_mutual:
            own = own + loss.generator(-f, -r)
        cost = loss.discriminator(r, f)
        if penalty is not None:
            cost = cost + penalty(judge, *sides)
        copies = [*sides[0].rows, *sides[1].rows]
        pull = _with_gradient(own, copies, [*real, *made])
        learning = _with_gradient(cost, parameters, parameters)
    return Round(own.detach(), cost.detach(), pull, learning, r.detach(), f.detach())


def _leaves(rows: Rows) -> list[Tensor]:
    return [x.detach().requires_grad_() for x in rows]


def _with_gradient(losses: Tensor, by: Sequence[Tensor], of: Sequence[Tensor]) -> Tensor:
    """Return a number that has, in ``of``, the gradient of the sum of losses by ``by``, ``|``."""
    pairs = [(x, y) for x, y in zip(by, of, strict=True) if y.requires_grad]
    number = torch.zeros_like(losses[0]).detach()
    if not pairs:
        return number
    inputs = [x for x, _ in pairs]
    slopes = torch.autograd.grad(losses.sum(), inputs, retain_graph=True, allow_unused=True)
    found = [(slope, y) for slope, (_, y) in zip(slopes, pairs, strict=True) if slope is not None]
    return sum(((slope.detach() * y).sum() for slope, y in found), start=number)
