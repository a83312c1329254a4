"""Softplus, and the Bernoulli of logits, in operations that vectorised code does fast.

Beside its products, a step computes them more often than all else: in activations, and for every pixel.
Half of their time is that of a logarithm, which costs as much as ten products. But they need no more than
log(1 + e) with e in [0, 1], and a short polynomial gives that.
"""

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
NO_SMALLER = 17.0  # a threshold beyond which float32 does not tell softplus from its argument


def use_fast_softplus(module: fx.GraphModule) -> None:
    """Replace softplus and the Bernoulli's cross-entropy, on a CPU in float32, in a graph for a compiler.

    Without one, which makes a single loop of all these operations, torch's own are faster.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if not _is_plain(node):
            continue
        faster = softplus if node.target is aten.softplus.default else cross_entropy
        tensors: list[Any] = [fx.Proxy(a) for a in node.args if isinstance(a, fx.Node)]
        with graph.inserting_before(node):
            result: Any = faster(*tensors)
        node.replace_all_uses_with(result.node)
        graph.erase_node(node)
    module.recompile()


def _is_plain(node: Any) -> bool:
    """Return whether a node is one of the two, in float32 and with no option that changes its value."""
    if node.target is aten.softplus.default:
        given = list(node.args[1:])
        beta, threshold = given + [1, 20][len(given) :]
        is_plain = beta == 1 and threshold >= NO_SMALLER
    elif node.target is aten.binary_cross_entropy_with_logits.default:
        is_plain = node.args[2:] == (None, None, 0)  # no weights, and neither a mean nor a sum
    else:
        return False
    value = node.meta["val"]
    return is_plain and value.device.type == "cpu" and value.dtype == torch.float32


def log_one_plus(e: Tensor) -> Tensor:
    """Return log(1 + e) for e in [0, 1], to the precision of float32.

    It is 2 artanh(s) with s = e / (2 + e), at most 1/3, whose series needs no term beyond s^11.
    """
    s = e / (2 + e)
    square = s * s
    series = square * (1 / 11) + 1 / 9
    for odd in (7, 5, 3):
        series = series * square + 1 / odd
    return 2 * s + 2 * s * (square * series)


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + exp(x))."""
    return x.relu() + log_one_plus((-x.abs()).exp())


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return minus the log-probability of targets in [0, 1] under a Bernoulli."""
    return (1 - targets) * logits + softplus(-logits)
