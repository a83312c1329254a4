"""The graph of a program on data: drawn from a few rows, with the sizes that all of them have."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from pyro_vae.data import Batches, DataSet, batches
from pyro_vae.errors import InputError
from pyro_vae.graph.graph import Graph, Shape
from pyro_vae.graph.record import Arguments
from pyro_vae.program.contract import Program, signature

ROWS = 64  # to call a program on: the shapes of the others are the same

Drawn = tuple[Sequence[Graph], list[str]]  # model, and the guide if there is one; warnings


def drawn_on_data(
    program: Program, data: Any, draw: Callable[[Sequence[Arguments]], Drawn]
) -> Drawn:
    """Return the graphs of a program that is called on data, and the warnings.

    The program is called on a few rows, and on one row less. What has one element less then has an element
    for each row: its size is that of the data. A program that does not take fewer rows, or has other
    nodes or fewer parameters then, is called on all.

    Args:
        program: the program.
        data: rows, as ``fit`` takes them.
        draw: returns the graphs and the warnings of a call.

    Raises:
        InputError: the program does not take these data.
    """
    device = next((p.device for m in program.modules.values() for p in m.parameters()), "cpu")
    rows = batches(data.train if isinstance(data, DataSet) else data, device, signature(program))
    total = rows.num_units
    if total <= ROWS:
        return draw([_call(rows, total)])
    try:
        graphs, warnings = draw([_call(rows, ROWS)])
        fewer, _ = draw([_call(rows, ROWS - 1)])
    except InputError:
        return draw([_call(rows, total)])
    pairs = list(zip(graphs, fewer, strict=True))
    if not all(_has_same_parts(one, other) for one, other in pairs):
        return draw([_call(rows, total)])
    return [_with_sizes(one, other, total) for one, other in pairs], warnings


def _call(rows: Batches, count: int) -> Arguments:
    return next(rows.take(torch.arange(count), count)), {}


def _has_same_parts(one: Graph, other: Graph) -> bool:
    """Return whether two graphs have the same nodes, with as many parameters."""
    parts = [{node.name: node.count for node in graph.nodes} for graph in (one, other)]
    return parts[0] == parts[1]


def _with_sizes(graph: Graph, fewer: Graph, total: int) -> Graph:
    """Return a graph with ``total`` wherever one row less made a size of ``ROWS`` one less."""

    def of_all(size: int | None, less: int | None) -> Any:
        return total if (size, less) == (ROWS, ROWS - 1) else size

    def shape(one: Shape, other: Shape) -> Shape:
        return tuple(map(of_all, one, other)) if len(one) == len(other) else one

    nodes = {
        node.name: replace(
            node,
            batch_shape=shape(node.batch_shape, other.batch_shape),
            event_shape=shape(node.event_shape, other.event_shape),
        )
        for node in graph.nodes
        for other in [fewer.by_name[node.name]]
    }
    others = {plate.name: plate for plate in fewer.plates}
    plates = tuple(
        replace(
            plate,
            size=of_all(plate.size, other.size),
            subsample_size=of_all(plate.subsample_size, other.subsample_size),
        )
        for plate in graph.plates
        for other in [others.get(plate.name, plate)]
    )
    return replace(graph.with_nodes(nodes), plates=plates)
