"""What a program of the table is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CASES: "dict[str, Case]" = {}


@dataclass(frozen=True)
class Case:
    """Hold a model, its arguments, and log p(x) by quadrature or in closed form; None where neither
    exists."""

    name: str
    model: Callable[..., Any]
    args: tuple[Tensor, ...]
    exact: float | None


def case(function: Callable[[], tuple[Any, tuple[Tensor, ...], Any]]) -> Any:
    """Register what a function returns, with data that are the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model, args, exact = function()
    name = function.__name__.replace("_", " ")
    CASES[name] = Case(name, model, args, None if exact is None else float(exact))
    return function
