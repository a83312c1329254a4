"""Draws from a model in which some elements of an observed site have given values."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import Site, is_factor, run


def draw_given(
    program: Program,
    batch: Sequence[Any],
    known: Mapping[str, Tensor],
    seed: int,
    kept: Tensor | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Draw all observed sites of a batch, forward, with the known elements at their values.

    The latents come from the prior. A draw's log-weight is the log-probability of the known elements: with
    these weights the draws are from p(x | x_known).

    Args:
        program: the model and guide.
        batch: the model's arguments; the values of the sites' own rows do not matter.
        known: values of sites by name, ``rows | event``; NaN where an element is to be drawn.
        seed: of the draws.
        kept: an argument of the batch that stays as it is where a site observes it.

    Returns:
        The values of the observed sites, and the log-weights, ``rows |``; they are one number if nothing
        that was observed was known.

    Raises:
        InputError: the elements of a site depend on each other in a way that does not allow this.
    """
    drawing = _DrawingGiven(known, kept)
    with undisturbed(program, seed), torch.no_grad(), pyro.validation_enabled(False), drawing:
        run("model", program.model, tuple(batch), {})
    return drawing.values, drawing.log_weight


class _DrawingGiven(Messenger):
    """Draw the observed sites, or what of them is not known."""

    def __init__(self, known: Mapping[str, Tensor], kept: Tensor | None) -> None:
        super().__init__()
        self.known, self.kept, self.values = known, kept, dict[str, Tensor]()
        self.log_weight = torch.zeros(())

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] or msg["infer"].get("_deterministic") or is_factor(msg):
            return
        name, fn = msg["name"], msg["fn"]
        is_kept = self.kept is not None and _are_equal(msg["value"], self.kept)
        if is_kept or name in self.known:
            known = self.known.get(name, msg["value"])
            value, log_weight = (known, fn.log_prob(known)) if is_kept else _draw_rest(msg, known)
            self.log_weight = self.log_weight.to(log_weight) + log_weight
        else:
            value = fn.sample()
        msg["value"], msg["done"] = value, True
        self.values[name] = value


def _are_equal(value: Tensor, kept: Tensor) -> bool:
    return value.shape == kept.shape and bool((value == kept).all())


def _draw_rest(site: Site, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows with the unknown elements drawn, and log p of the known ones."""
    fn, is_known = site["fn"], ~known.isnan()
    if hasattr(fn, "sample_given"):
        found: tuple[Tensor, Tensor] = fn.sample_given(known)
        return found
    base, dims = fn, fn.event_dim
    while hasattr(base, "reinterpreted_batch_ndims"):
        base = base.base_dist
    if base.event_dim:
        raise InputError(
            f"the elements of site {site['name']!r} depend on each other, so they cannot be drawn "
            "given some of them",
            subject="where",
            expected="a model whose columns are independent given the latents, or Table",
        )
    value = torch.where(is_known, known, fn.sample().to(known))
    log_p = torch.where(is_known, base.log_prob(value), 0.0)
    return value, log_p.flatten(log_p.dim() - dims).sum(-1) if dims else log_p
