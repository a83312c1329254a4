"""Compiled code for a function of tensors, which gives what Python gives."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import first_line
from pyro_vae.inference.compiling.fx_capture import CannotCapture, capture
from pyro_vae.inference.compiling.graph_cache import agree, bound_code
from pyro_vae.inference.compiling.inductor import by_inductor
from pyro_vae.inference.compiling.side_effects import side_effect
from pyro_vae.inference.compiling.simplification import optimize
from pyro_vae.inference.compiling.validation_ops import without_validation
from pyro_vae.program.generators import generators_as_found

Code = Callable[..., tuple[Tensor, ...]]


def checked_code(function: Code, arguments: tuple[Tensor, ...], owners: Mapping[str, Any]) -> Code:
    """Return code that Inductor makes of a function, for arguments of one shape.

    Whatever else the function reads, parameters too, must stay as it is. The code is compared with the
    function on these arguments and on these in another order of rows, with the same noise. Generators stay
    as they are.

    Args:
        function: maps tensors to tensors, without gradients.
        arguments: its arguments, for instance.
        owners: the objects that it may change, by name.

    Raises:
        CannotCapture: Python decides or changes something in every run, Inductor fails, or they differ.
    """
    try:
        with without_validation(), generators_as_found():
            effect = side_effect(lambda: function(*arguments), owners)
            if effect is not None:
                raise CannotCapture(effect)
            graph = optimize(capture(function, *arguments, all_fixed=True))
            code = bound_code(by_inductor(graph, *arguments), graph.tensors)
    except CannotCapture:
        raise
    except Exception as error:
        reason = f"Inductor could not compile it: {first_line(error)}"
        raise CannotCapture(reason) from error
    turned = tuple(a.flip(0) if a.dim() else a for a in arguments)
    for some in (arguments, turned):
        results = []
        for run in (function, code):
            with generators_as_found():
                results.append((*run(*some), torch.rand((), device=some[0].device)))
        if not agree(results[1], results[0]):
            raise CannotCapture("the compiled code gives other values")
    return code
