"""How a guide factorises: the faithful inverse of a model's graph, and what is drawn together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pyro import poutine

from pyro_vae.errors import InputError
from pyro_vae.graph.graph import Graph
from pyro_vae.graph.inverse import faithful_inverse
from pyro_vae.graph.record.record import graph_and_warnings
from pyro_vae.guides.coupling import has_coupled_cells, related_latents
from pyro_vae.guides.joint_latents import JOINT_COVARIANCE
from pyro_vae.guides.latent import FULL_COVARIANCE, Latent
from pyro_vae.guides.model_facts import latents_to_draw
from pyro_vae.program.contract import Program
from pyro_vae.program.trace import Site, latent_sites


@dataclass(frozen=True)
class Factorisation:
    """Hold in which order a guide draws its latents, and what each depends on given the data.

    Attributes:
        parents: of each latent, in the order of drawing: the latents drawn before.
        joint: the shared latents that one distribution draws together, before all others.
        along: those that are drawn while the model runs, in its order.
        informed: those of them whose factors know the prior.
    """

    parents: Mapping[str, tuple[str, ...]]
    joint: tuple[str, ...]
    along: tuple[str, ...] = ()
    informed: frozenset[str] = frozenset()


def factorisation_of(
    target: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    draws: Sequence[poutine.Trace],
    local: Sequence[str],
    known: Mapping[str, Latent],
) -> Factorisation:
    """Return the faithful inverse of the model: those summed out go first, then a unit's own latents.

    Of the shared latents, those have factors of their own whose cells do not depend on each other, given
    what is drawn before them; and from the last one on, as many small ones without plates as leave a joint
    distribution of a size that can have a full covariance.

    Args:
        target: the model, without a guide.
        args: the arguments of a call.
        kwargs: its named arguments.
        draws: traces of the model.
        local: the latents of a unit.
        known: the latents by name.
    """
    whole, _ = graph_and_warnings("model", target, [(args, kwargs)], ())
    graph = whole.without("data", "parameters", "deterministic")
    edges = {node.name: graph.parents(node.name) for node in graph.nodes}
    latents, drawn = [*latent_sites(draws[0])], latents_to_draw(draws[0])
    for name in latents:
        if name not in edges:
            raise InputError(
                f"latent {name!r} is a part of a site that is observed in part (obs_mask=)",
                subject=name,
                remedy="mask the likelihood of what is missing by `poutine.mask` instead",
            )
    summed_out = [name for name in latents if name not in drawn]
    shared = [name for name in drawn if name not in local]
    cells = {n: known[n].num_cells for n in shared}
    values = [{n: cast(Site, draw.nodes[n])["value"] for n in latents} for draw in draws[:2]]
    related = related_latents(target, args, kwargs, values)

    def inverse(alone: Sequence[str]) -> Factorisation:
        joint = [name for name in shared if name not in alone]
        # larger plates are drawn later: their cells are rarely coupled by those of smaller ones
        stages = [[n for n in alone if cells[n] == k] for k in sorted({cells[n] for n in alone})]
        order = faithful_inverse(edges, [summed_out, local, *reversed(stages), joint], related)
        return Factorisation(
            {n: tuple(u for u in us if u in drawn) for n, us in order.items() if n in drawn},
            tuple(joint),
        )

    def is_coupled(name: str, found: Factorisation) -> bool:
        order = [*found.parents]
        after = order[order.index(name) + 1 :]
        return has_coupled_cells(target, args, kwargs, values, name, after, summed_out)

    alone = [name for name in shared if cells[name] > 1]
    found = inverse(alone)
    while coupled := [n for n in alone if is_coupled(n, found)]:
        alone.remove(coupled[-1])
        found = inverse(alone)
    beyond = sum(known[n].size for n in found.joint) - JOINT_COVARIANCE
    for name in reversed([*found.parents]):
        is_small = cells.get(name) == 1 and known[name].size <= FULL_COVARIANCE
        if beyond > 0 and name in found.joint and is_small:
            alone.append(name)
            beyond -= known[name].size
    return _with_priors(inverse(alone), whole, drawn, known, draws[0])


def _with_priors(
    found: Factorisation,
    graph: Graph,
    drawn: Sequence[str],
    known: Mapping[str, Latent],
    draw: poutine.Trace,
) -> Factorisation:
    """Return a factorisation, with the latents whose prior is normal, and moves with latents or the data.

    A prior with learnt parameters is none of them, since the guide would hold the model's parameters.
    """
    priors = graph.without("deterministic")
    informed = {
        name
        for name in drawn
        if (parents := priors.parents(name))
        and all(u in drawn or priors.by_name[u].kind == "data" for u in parents)
        and known[name].coordinates.prior_of(cast(Site, draw.nodes[name])["fn"]) is not None
    }
    along = _along_model(found, drawn)
    if not informed & {*along}:
        return found
    return replace(found, along=along, informed=frozenset(informed & {*along}))


def _along_model(found: Factorisation, drawn: Sequence[str]) -> tuple[str, ...]:
    """Return the latents that can be drawn where the model comes to them.

    What a latent depends on must have been drawn by then. So a latent that the model draws later than one
    that depends on it is drawn before the model runs, and so is all that it depends on.

    Args:
        found: the order of drawing.
        drawn: the latents in the model's order.
    """
    before = set(found.joint)
    place = {name: number for number, name in enumerate(drawn)}
    for name in reversed([*found.parents]):
        parents = found.parents[name]
        before |= {u for u in parents if name in before or place[u] > place[name]}
    return tuple(name for name in drawn if name not in before)
