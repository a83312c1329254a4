"""The optimizer's update of the parameters, by torch's fused kernel directly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


def laid_out_like(x: Tensor, parameter: Tensor) -> Tensor:
    """Give a gradient, or an optimizer's state, the strides of its parameter.

    Fused optimizers read memory in order, whatever the strides say.
    """
    return x if in_order_of(x, parameter) else torch.empty_like(parameter, dtype=x.dtype).copy_(x)


def in_memory_of_their_own(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Copy gradients that share memory with an earlier one.

    Clipping, and some optimizers, write to gradients. Autograd may give one memory to parameters that come
    in as a sum or in a stack: then torch's own clipping of three of them clips three times.
    """
    taken: set[int] = set()
    own: list[Tensor | None] = []
    for gradient in gradients:
        memory = None if gradient is None else gradient.untyped_storage()._cdata
        is_shared = gradient is not None and memory in taken
        own.append(gradient.clone() if gradient is not None and is_shared else gradient)
        taken |= set() if memory is None else {memory}
    return own


def in_order_of(x: Tensor, parameter: Tensor) -> bool:
    """Return whether a tensor lies in memory as its parameter does; where a size is 1, any stride does."""
    return all(
        size == 1 or own == other
        for size, own, other in zip(x.shape, x.stride(), parameter.stride(), strict=True)
    )


class Update:
    """Do ``optimizer.step()``, to the same numbers.

    Fused Adam and AdamW look through their state at every step and count it for each parameter, which takes
    an eighth of a step of a small network at batch 32. Here the lists are kept from the first step on, and
    the counts are one tensor. The state stays the optimizer's: it is saved, loaded and scheduled as before.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.groups: list[FusedGroup] = []

    def __call__(self) -> None:
        if self.groups and all(group.is_current(self.optimizer) for group in self.groups):
            for group in self.groups:
                group.update()
            return
        self.optimizer.step()
        self.groups = fused_groups(self.optimizer)


@dataclass(frozen=True)
class FusedGroup:
    """Update a parameter group, once all its parameters have a state."""

    kernel: Callable[..., Any]
    options: dict[str, Any]  # the optimizer's own group
    means: list[Tensor]
    squares: list[Tensor]
    counts: Tensor
    count_views: list[Tensor]  # each parameter's

    def is_current(self, optimizer: Optimizer) -> bool:
        """Return False after the optimizer has loaded another state, or where a gradient is missing."""
        parameters = self.options["params"]
        return optimizer.state[parameters[0]].get("exp_avg") is self.means[0] and all(
            p.grad is not None for p in parameters
        )

    @torch.no_grad()
    def update(self) -> None:
        options, (beta1, beta2) = self.options, self.options["betas"]
        self.counts.add_(1)
        self.kernel(
            options["params"],
            [p.grad for p in options["params"]],
            self.means,
            self.squares,
            [],
            self.count_views,
            lr=options["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=options["weight_decay"],
            eps=options["eps"],
            amsgrad=False,
            maximize=options["maximize"],
        )


def fused_groups(optimizer: Optimizer) -> list[FusedGroup]:
    """Return one for each parameter group; none where the optimizer's own step does something else."""
    if type(optimizer) not in (Adam, AdamW) or _has_hooks(optimizer):
        return []
    groups = [group for group in optimizer.param_groups if group["params"]]
    if not all(_is_plain(optimizer, group) for group in groups):
        return []
    return [_fused_group(optimizer, group) for group in groups]


def _is_plain(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    parameters = group["params"]
    return (
        parameters[0].is_cpu  # elsewhere the host has time, and counts stay on the device
        and group["fused"]
        and not (group["amsgrad"] or group["capturable"] or group["differentiable"])
        and not any(isinstance(number, Tensor) for number in (group["lr"], *group["betas"]))
        and all("exp_avg" in optimizer.state[p] for p in parameters)
        and len({(p.device, p.dtype) for p in parameters}) == 1
    )


def _has_hooks(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )


def _fused_group(optimizer: Optimizer, group: dict[str, Any]) -> FusedGroup:
    states = [optimizer.state[p] for p in group["params"]]
    counts = torch.stack([state["step"] for state in states])
    for state, count in zip(states, counts, strict=True):
        state["step"] = count
    return FusedGroup(
        torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_,
        group,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        counts,
        [state["step"] for state in states],
    )
