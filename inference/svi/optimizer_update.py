"""The optimizer's update of the parameters, without what torch does around its kernel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


class Update:
    """``optimizer.step()``, to the same numbers.

    Fused Adam and AdamW look through their state at every step and count it for each parameter, which for
    a small batch takes half as long again as the kernel. Here the lists are kept from the first
    step on, and the counts are one tensor; the state stays the optimizer's, so it is saved, loaded and
    scheduled as before.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.kernels: list[Kernel] = []

    def __call__(self) -> None:
        if self.kernels and all(kernel.is_current(self.optimizer) for kernel in self.kernels):
            for kernel in self.kernels:
                kernel()
            return
        self.optimizer.step()
        self.kernels = kernels(self.optimizer)


@dataclass(frozen=True)
class Kernel:
    """The update of a group, once all its parameters have a state."""

    update: Callable[..., Any]
    group: dict[str, Any]  # the optimizer's
    means: list[Tensor]
    squares: list[Tensor]
    counts: Tensor
    count: list[Tensor]  # each parameter's, a view of them

    def is_current(self, optimizer: Optimizer) -> bool:
        """Not so after the optimizer has loaded another state, or where a gradient is wanting."""
        parameters = self.group["params"]
        return optimizer.state[parameters[0]].get("exp_avg") is self.means[0] and all(
            p.grad is not None for p in parameters
        )

    @torch.no_grad()
    def __call__(self) -> None:
        group, (beta1, beta2) = self.group, self.group["betas"]
        self.counts.add_(1)
        self.update(
            group["params"],
            [p.grad for p in group["params"]],
            self.means,
            self.squares,
            [],
            self.count,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )


def kernels(optimizer: Optimizer) -> list[Kernel]:
    """One for each group; none where the optimizer's own step does more, or something else."""
    if type(optimizer) not in (Adam, AdamW) or has_hooks(optimizer):
        return []
    groups = [group for group in optimizer.param_groups if group["params"]]
    if not all(is_plain(optimizer, group) for group in groups):
        return []
    return [kernel(optimizer, group) for group in groups]


def is_plain(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    parameters = group["params"]
    return (
        parameters[0].is_cpu  # elsewhere the host has time, and counts stay on the device
        and group["fused"]
        and not (group["amsgrad"] or group["capturable"] or group["differentiable"])
        and not any(isinstance(number, Tensor) for number in (group["lr"], *group["betas"]))
        and all("exp_avg" in optimizer.state[p] for p in parameters)
        and len({(p.device, p.dtype) for p in parameters}) == 1
    )


def has_hooks(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )


def kernel(optimizer: Optimizer, group: dict[str, Any]) -> Kernel:
    states = [optimizer.state[p] for p in group["params"]]
    counts = torch.stack([state["step"] for state in states])
    for state, count in zip(states, counts, strict=True):
        state["step"] = count
    return Kernel(
        torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_,
        group,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        counts,
        [state["step"] for state in states],
    )
