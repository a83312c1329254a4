"""What each latent depends on, given the data: the factorisation of a guide, from a model's edges."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

Neighbours = dict[str, set[str]]


def faithful_inverse(
    parents: Mapping[str, Collection[str]],
    stages: Sequence[Collection[str]],
    related: Iterable[tuple[str, str]] = (),
) -> dict[str, tuple[str, ...]]:
    """Return latents in an order of drawing, and for each what it depends on: observed, or drawn before.

    prod_v q(v | inverse[v]) can be the model's posterior, whatever its distributions: q claims no
    independence that the model's graph does not have. Eliminating a variable from the moral graph joins its
    neighbours, and they are what it depends on; the last one eliminated is drawn first. Of a stage, a
    variable without children goes first, and of several the one whose elimination adds fewest edges.

    Args:
        parents: names of the parents of each latent and observed variable, in the program's order.
        stages: the latents, stage by stage in the order of elimination; all others are observed.
        related: pairs of latents that depend on each other, whatever the edges say.

    Source: S. Webb, A. Goliński, R. Zinkov, N. Siddharth, T. Rainforth, Y. W. Teh, F. Wood, "Faithful
    inversion of generative models for effective amortized inference", 2018,
    https://arxiv.org/abs/1712.00287.

    >>> parents = {"mean": (), "effect": ("mean",), "x": ("effect",)}
    >>> faithful_inverse(parents, [["effect"], ["mean"]])
    {'mean': ('x',), 'effect': ('mean', 'x')}
    """
    order = {name: number for number, name in enumerate(parents)}
    near, barren = _moral_graph(parents, {v: i for i, stage in enumerate(stages) for v in stage})
    _join(near, related)
    inverse: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        left = set(stage)
        while left:
            busy = {parent for name in left for parent in parents[name]}
            name = min(left - busy, key=lambda v: (len(_missing_edges(near, v)), -order[v]))
            _join(near, [] if name in barren else _missing_edges(near, name))
            left.remove(name)
            inverse[name] = tuple(sorted(near.pop(name), key=order.__getitem__))
            for others in near.values():
                others.discard(name)
    return dict(reversed(inverse.items()))


def _moral_graph(
    parents: Mapping[str, Collection[str]], stage_of: Mapping[str, int]
) -> tuple[Neighbours, set[str]]:
    """Return each variable's neighbours, and the latents above no observation.

    Neighbours are joined by an edge, or have a child together; a latent above no observation does not join
    its parents, since nothing is known of it (if it is not drawn before them).
    """
    after = len(stage_of)  # of observed parents, which are known from the start
    barren = {v for v in stage_of if all(stage_of.get(u, after) >= stage_of[v] for u in parents[v])}
    near: Neighbours = {name: set() for name in parents}
    for name, its_parents in reversed([*parents.items()]):
        if name not in barren:
            barren -= set(its_parents)
            _join(near, combinations(its_parents, 2))
        _join(near, ((name, parent) for parent in its_parents))
    return near, barren


def _missing_edges(near: Neighbours, name: str) -> list[tuple[str, str]]:
    """Return the pairs of a variable's neighbours that are not joined yet."""
    pairs = combinations(sorted(near[name]), 2)
    return [(one, other) for one, other in pairs if other not in near[one]]


def _join(near: Neighbours, edges: Iterable[tuple[str, str]]) -> None:
    for one, other in edges:
        near[one].add(other)
        near[other].add(one)
