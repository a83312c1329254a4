"""Handlers around a program that let it run, and score as its author means it."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.masks import unmask
from pyro_vae.program.trace import as_value


def unmasked(program: Program, model: frozenset[str], guide: frozenset[str]) -> Program:
    """Return the program in which masked sites of these names count everywhere."""
    if not model and not guide:
        return program
    return replace(
        program,
        model=_Unmasked(model)(program.model) if model else program.model,
        guide=_Unmasked(guide)(program.guide) if guide else program.guide,
    )


class _Unmasked(Messenger):
    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self.names = names

    def _pyro_sample(self, msg: Any) -> None:  # after all handlers of the program
        if msg["name"] in self.names:
            unmask(msg)


def tensors_for_numbers(program: Program) -> Program:
    """Return the program whose model observes plain numbers as tensors."""
    return replace(program, model=_TensorsForNumbers()(program.model))


class _TensorsForNumbers(Messenger):
    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] and not isinstance(msg["value"], Tensor):
            msg["value"] = as_value(msg["value"])


def with_gradients(program: Program) -> Program:
    """Return the program that runs with gradients, also where the caller turns them off."""
    return replace(
        program, model=_with_gradients(program.model), guide=_with_gradients(program.guide)
    )


def _with_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def differentiating(*args: Any, **kwargs: Any) -> Any:
        with torch.enable_grad():
            return function(*args, **kwargs)

    return differentiating
