"""What the tests of diagrams share: small parts of programs, and graphs in a few words."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.graph import Graph

X, Y = torch.arange(10.0).reshape(5, 2), torch.zeros(5)
CALL = (X, Y)


def normal(name: str, loc: Any, obs: Any = None) -> Tensor:
    drawn: Tensor = pyro.sample(name, dist.Normal(loc, 1.0), obs=obs)
    return drawn


def chain(length: int) -> Callable[[], Any]:
    """A state-space model written as a loop: z_0 -> z_1 -> ..., each with its datum."""

    def model():
        z = torch.zeros(())
        for t in range(length):
            z = normal(f"z_{t}", z)
            normal(f"x_{t}", z, obs=torch.zeros(()))

    return model


def prior(weight: Tensor) -> Any:
    return dist.Normal(torch.zeros(weight.shape), 1.0).to_event(weight.dim())


def priors(net: nn.Module, part: str = "") -> dict[str, Any]:
    return {name: prior(p) for name, p in net.named_parameters() if part in name}


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(e.source, e.target) for e in graph.edges}


def kinds(graph: Graph) -> dict[str, str]:
    return {node.name: node.kind for node in graph.nodes}


def boxes(graph: Graph) -> dict[str, int | None]:
    return {node.name: node.count for node in graph.nodes if node.kind == "parameters"}
