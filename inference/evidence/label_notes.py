"""Notes on exchangeable labels: what a start that holds one labelling leaves out of a figure.

Where the density of a model does not depend on the order of some labels, it has a mode for each order. A
proposal q that holds one of them misses the others, and the figure is low by the log of their number.
How much of it q misses, its own draws show: E_q[log q(z) - log mean_s q(s z)], with the mean over all
orders s, is KL(q || q mixed over the orders). It is 0 for a q that knows no order, and the log of the
number of orders where q holds one alone.
"""

import math

import torch

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.defensive import guide_in_all_orders
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.labels import Labels, log_orders, sentence

SCORES = 64  # of the guide, about
MATTERS = 0.05  # nats


def one_mode_note(example: BoundProgram, labels: tuple[Labels, ...]) -> tuple[str, ...]:
    """Return a note where the guide's draws hold a part of the orders of exchangeable labels."""
    with generators_as_found(), torch.no_grad():
        try:
            missing = missed_by_guide(example, labels)
        except InputError:  # its density at other values is not known
            return ()
    if not missing > MATTERS:
        return ()
    return (
        f"{sentence(labels)}, and the guide's draws hold a part of them: the figure is probably low by up "
        f"to {log_orders(labels):.2f} nats, the log of their number. Importance(relabel=True), or "
        "SMC(start='prior'), reaches them all",
    )


def missed_by_guide(example: BoundProgram, labels: tuple[Labels, ...]) -> float:
    """Return KL(q || q mixed over the orders), nats, from some draws."""
    count = math.exp(log_orders(labels))
    found = []
    for _ in range(max(4, int(SCORES / count))):
        scores = guide_in_all_orders(example, labels).double()
        found.append(float(scores[0] - scores.logsumexp(0)) + math.log(count))
    return sum(found) / len(found)
