"""The parameters move as torch's own optimizers move them, to the last bit."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from pyro_vae.inference.svi.optimizer import OptimizerFactory, fused
from pyro_vae.inference.svi.optimizer_update import Update, in_order_of, laid_out_like

OPTIMIZERS = {
    "Adam": Adam,
    "AdamW": AdamW,
    "decay": partial(Adam, weight_decay=0.1, betas=(0.5, 0.9), eps=1e-3, maximize=True),
    "amsgrad": partial(Adam, amsgrad=True),
    "single": partial(AdamW, foreach=False, fused=False),
    "SGD": partial(SGD, lr=0.1, momentum=0.9),
}


def parameters(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(n, 3, dtype=dtype, requires_grad=True) for n in (2, 500, 1)]


def set_gradients(wanted: list[Tensor], seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in wanted:
        parameter.grad = torch.randn_like(parameter)


def in_groups(wanted: list[Tensor], make: OptimizerFactory) -> Optimizer:
    optimizer = make(wanted[:2])
    optimizer.add_param_group({"params": wanted[2:], "lr": 0.3})
    optimizer.add_param_group({"params": []})  # as where nothing is left for it
    return fused(optimizer)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_optimizers_own(make: OptimizerFactory, dtype: torch.dtype) -> None:
    """With groups, schedules of rates and momenta, a gradient wanting once, a state loaded midway."""
    mine, theirs = parameters(dtype), parameters(dtype)
    optimizers = [in_groups(wanted, make) for wanted in (mine, theirs)]
    update = Update(optimizers[0])
    schedules = [OneCycleLR(o, max_lr=[0.5, 0.3, 0.1], total_steps=20) for o in optimizers]
    for step in range(12):
        for wanted in (mine, theirs):
            set_gradients(wanted, step)
            if step == 4:
                wanted[1].grad = None
        update()
        optimizers[1].step()
        for schedule in schedules:
            schedule.step()
        if step == 7:
            optimizers[0].load_state_dict(deepcopy(optimizers[1].state_dict()))
        assert all(map(torch.equal, mine, theirs)), step


@pytest.mark.parametrize(("make", "is_direct"), [(Adam, True), (AdamW, True), (SGD, False)])
def test_which_have_a_kernel(make: OptimizerFactory, is_direct: bool) -> None:
    """Otherwise the test above compares an optimizer with itself."""
    wanted = parameters()
    update = Update(in_groups(wanted, partial(make, lr=0.1)))
    for seed in range(2):
        set_gradients(wanted, seed)
        update()
    assert len(update.groups) == 2 * is_direct


def test_a_hook_is_called() -> None:
    wanted, calls = parameters(), []
    optimizer = in_groups(wanted, Adam)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    update = Update(optimizer)
    for seed in range(3):
        set_gradients(wanted, seed)
        update()
    assert len(calls) == 3


def test_a_stride_of_a_dimension_of_size_1_is_no_other_order() -> None:
    parameter = torch.zeros(4, 1, 3)
    gradient = torch.randn(12).as_strided((4, 1, 3), (3, 1, 1))  # as a batched product gives it
    assert gradient.stride() != parameter.stride()
    assert laid_out_like(gradient, parameter) is gradient
    turned = torch.randn(3, 1, 4).transpose(0, 2)
    laid_out = laid_out_like(turned, parameter)
    assert not in_order_of(turned, parameter)
    assert in_order_of(laid_out, parameter)
    assert torch.equal(laid_out, turned)


def test_a_gradient_with_such_a_stride_moves_its_parameter_as_any_other() -> None:
    gradient = torch.randn(4, 1, 3)
    moved = []
    for strides in ((3, 3, 1), (3, 1, 1)):
        parameter = torch.ones(4, 1, 3, requires_grad=True)
        update = Update(fused(Adam([parameter])))
        for _ in range(3):
            parameter.grad = gradient.as_strided((4, 1, 3), strides)
            update()
        moved.append(parameter.detach())
    assert torch.equal(*moved)
