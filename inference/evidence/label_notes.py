"""Notes on exchangeable labels: what a start that holds one labelling leaves out of a figure.

Where the density of a model does not depend on the order of some labels, it has a mode for each order. A
proposal q that holds one of them misses the others, and the figure is low by the log of their number.
How much of it q misses, its own draws show: E_q[log q(z) - log mean_s q(s z)], with the mean over all
orders s, is KL(q || q mixed over the orders). It is 0 for a q that knows no order, and the log of the
number of orders where q holds one alone.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.evidence.defensive import guide_in_all_orders
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.labels import (
    Labels,
    exchangeable_labels,
    in_order,
    log_orders,
    orders,
    sentence,
    trace_of,
)
from pyro_vae.program.probe import PROBE_SEED

SCORES = 64  # about, in all
MATTERS = 0.05  # nats
PART = "hold a part of them"
OTHERS = "Importance(relabel=True), or SMC(start='prior'), reaches them all"

Scores = Callable[[tuple[Labels, ...]], Tensor]
"""Returns log q, up to a constant, of one draw of q in all orders of some labels, the drawn one first."""


def one_mode_note(
    example: BoundProgram,
    scores: Scores | None = None,
    holder: str = "the guide",
    remedy: str = OTHERS,
) -> tuple[str, ...]:
    """Return a note where the draws of a proposal hold a part of the orders of exchangeable labels.

    Args:
        example: the program.
        scores: of the proposal; by default of the guide.
        holder: the proposal in words.
        remedy: what reaches all orders.
    """
    labels = exchangeable_labels(example)
    if not labels:
        return ()
    count = math.exp(log_orders(labels))
    scores = scores or (lambda labels: guide_in_all_orders(example, labels))
    with generators_as_found(), torch.no_grad():
        seed_all(PROBE_SEED)  # the same answer wherever it is asked
        try:
            drawn = [scores(labels).double() for _ in range(max(4, int(SCORES / count)))]
        except InputError:  # the density at other values is not known
            return ()
    missed = [float(each[0] - each.logsumexp(0)) + math.log(count) for each in drawn]
    if not sum(missed) / len(missed) > MATTERS:
        return ()
    return (
        f"{sentence(labels)}, and the draws of {holder} {PART}: the figure is probably low by "
        f"up to {log_orders(labels):.2f} nats, the log of their number. {remedy}",
    )


def relabelled_note(example: BoundProgram, how: str) -> tuple[str, ...]:
    """Return what ``relabel`` has done: with the labels, or nothing where there are none."""
    labels = exchangeable_labels(example)
    if labels:
        return (f"{sentence(labels)}, and {how}",)
    return ("relabel changed nothing: the model has no exchangeable labels",)


def is_of_one_mode(notes: Iterable[str]) -> bool:
    """Return whether the notes on a figure say that it is of a part of the orders."""
    return any(PART in note for note in notes)


def scores_of_path(path: AnnealingPath, draw: Callable[[], Tensor]) -> Scores:
    """Return the scores of a path's start at draws (1, U, D), all in one call of the program.

    The model's density is the same in all orders, so the ratio of the path's ends tells that of the start,
    without Jacobians.
    """

    def scores(labels: tuple[Labels, ...]) -> Tensor:
        u = draw()
        rows = path.latents(u, 1)
        values = {name: value[0] for name, value in rows.items()}
        found = []
        for one in orders(labels):
            other = path.coordinates_of(trace_of(in_order(values, labels, one)))
            start, end = path.log_densities(other)
            found.append((start.double() - end.double()).reshape(()))
        return torch.stack(found)

    return scores
