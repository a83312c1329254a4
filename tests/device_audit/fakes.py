"""A program and its batch as fake CUDA tensors: shapes, types and devices, without values."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination

CUDA = torch.device("cuda", 0)
FAKES = FakeTensorMode(
    allow_non_fake_inputs=True
)  # a real tensor that a program holds is the CPU's


def fake(tensor: Tensor) -> Tensor:
    with FAKES:
        return FAKES.from_tensor(tensor).to(CUDA)


def fakes(batch: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(map(fake, batch))


def to_device(modules: Iterable[nn.Module]) -> None:
    """Do what ``module.to("cuda")`` does, and no more: other tensors stay where they are."""
    moved: dict[int, tuple[Tensor, Tensor]] = {}

    def one(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            new = fake(tensor.detach())
            is_parameter = isinstance(tensor, nn.Parameter)
            moved[id(tensor)] = (
                nn.Parameter(new, tensor.requires_grad) if is_parameter else new,
                tensor,
            )
        return moved[id(tensor)][0]

    for module in {id(part): part for root in modules for part in root.modules()}.values():
        for held in (module._parameters, module._buffers):
            held.update({name: one(t) for name, t in held.items() if t is not None and t.is_cpu})
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()


def examined_on_device(examined: Examination) -> Examination:
    """Return an examination as it were on the device, for those who read its structure."""
    return replace(examined, structure=replace(examined.structure, device=CUDA))


def call_on_device(bound_program: BoundProgram, batch: tuple[Tensor, ...]) -> BoundProgram:
    """Return a call with the device's arguments; its modules move, too."""
    to_device(bound_program.program.modules.values())
    structure = replace(bound_program.structure, device=CUDA)
    return replace(bound_program, args=batch, structure=structure, examined=None, pair=None)


# --- kernels that torch has no fakes of ---------------------------------------------------------------


def _gru_cell(x: Tensor, gates: Tensor, h: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(h), h.new_empty(len(h), 5 * h.shape[1])


def _gru_cell_backward(gradient: Tensor, _: Tensor, has_bias: bool) -> tuple[Tensor | None, ...]:
    rows, size = gradient.shape
    of_gates = [gradient.new_empty(rows, 3 * size) for _ in range(2)]
    of_biases = [gradient.new_empty(3 * size) if has_bias else None for _ in range(2)]
    return (*of_gates, torch.empty_like(gradient), *of_biases)


KERNELS = torch.library.Library("aten", "IMPL", "Meta")
KERNELS.impl("_thnn_fused_gru_cell", _gru_cell)
KERNELS.impl("_thnn_fused_gru_cell_backward", _gru_cell_backward)
KERNELS.impl(
    "_sample_dirichlet", lambda concentration, generator=None: torch.empty_like(concentration)
)
