"""The posterior of the latents, given the data."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Categorical, OneHotCategorical

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.evidence.cutting import joint_note
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.inference.posterior.computed import computed_in
from pyro_vae.inference.posterior.draw_tiles import concatenate, draw_tile
from pyro_vae.inference.posterior.methods import IMPORTANCE, as_posterior_method
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.inference.posterior.source import Source
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import require_guide
from pyro_vae.program.site_layout import layouts_of
from pyro_vae.program.structure import check_proper
from pyro_vae.program.trace import is_factor, sample_sites
from pyro_vae.program.wrappers import innermost
from pyro_vae.progress import progress_bar

CHECKS: dict[str, checks.Check] = {
    "method": checks.instance(
        (str, DrawsPosterior, type), "a method that draws, such as Importance()"
    ),
    "num_draws": at_least_1,
    "num_particles": checks.optional(at_least_1),
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
    "progress": checks.optional(true_or_false),
}
ANNEAL = 'anneal from the prior: method=Annealed(start="prior") (--method ais --start prior)'
FEW_NUMBERS = 10_000  # of a draw; all particles are kept


def posterior(
    program: Any,
    data: Any = None,
    *,
    method: str | DrawsPosterior = IMPORTANCE,
    num_draws: int = 1000,
    num_particles: int | None = None,
    unit: str | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> Posterior:
    """Draw the latents given the data: p(z | x) of each unit, or p(z | x) of all data together.

    Where a plate holds every site, each of its units has a posterior of its own, and the data are taken in
    tiles. Where latents are shared there is one joint posterior. Latents that the model sums out are drawn
    back from their exact conditional, given the others.

    K draws of the method have weights w_k, whose tail is smoothed by a Pareto distribution. All means,
    intervals and errors of :meth:`Posterior.summary` come from these. ``draws`` are S of the K, taken by
    weight, for whatever else is to be computed. Parameters (``nn.Parameter``, ``pyro.param``) are held at
    their values: what is to be integrated must be a ``pyro.sample`` site.

    Args:
        program: a model and guide; for ``NUTS()`` and ``SMC(start="prior")`` a model is enough.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        method: ``Importance()``, ``Annealed()``, ``SMC()``, ``Guide()`` or ``NUTS()`` of
            :mod:`pyro_vae.inference`, or "importance", "ais", "smc", "guide" or "nuts".
        num_draws: S.
        num_particles: K, by default S, or 4 S for importance sampling of one joint posterior; more of
            them make better draws.
        unit: the plate of the units; by default the outermost that holds every site.
        args: with ``kwargs``, in place of ``data``: the program is called with them as they are.
        kwargs: the named arguments of that call.
        seed: of the draws; by default they continue from torch's generator, without advancing it.
        device: where to compute; "auto" is the GPU where there is one. The result is on the CPU.
        progress: whether to draw a bar; by default where standard error is a terminal.

    Raises:
        InputError: the program does not fit the data or the method, or no draw has a finite weight.

    Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling",
    2024, https://arxiv.org/abs/1507.02646.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 2)
    >>> posterior(model, x, num_draws=500, seed=0).draws["z"].shape
    torch.Size([500, 4, 2])
    """
    checks.check_arguments(CHECKS, locals())
    method = as_posterior_method(method)
    _check_num_particles(method, num_particles)
    if method.rests_on_guide:
        require_guide(program, ANNEAL)
    size = num_particles or num_draws
    source = Source(method.program(program), data, args, kwargs, unit, device, size)
    with source.open(seed) as tiles:
        example = tiles.example
        if method.uses_density:
            check_proper(example.structure)
        if not example.structure.latents:
            raise InputError(
                "the model draws no latent, so there is no posterior",
                subject="program",
                expected="a `pyro.sample` statement without `obs=` in the model",
            )
        model_trace = example.one()[1]
        layouts = layouts_of(sample_sites(model_trace))
        latents = {name: layouts[name] for name in example.structure.latents}
        computed = computed_in(example)
        numbers = sum(sample_sites(model_trace)[name]["value"].numel() for name in latents)
        if num_particles is None and example.structure.unit is None and numbers <= FEW_NUMBERS:
            size *= method.per_draw
        draw = method.drawer(example, Workload(size, tuple(map(len, tiles.index))))
        parts = []
        with progress_bar(tiles.num_units, progress, "unit", delay=1) as bar:
            for number, bound_program in enumerate(tiles):
                units = len(tiles.index[number])

                def advance(share: float, units: int = units) -> object:
                    return bar.update(share * units)

                parts.append(
                    draw_tile(bound_program, draw, method, latents, num_draws, advance, computed)
                )
    layouts |= computed
    drawn = concatenate(
        parts, {name: layout.axis(example.structure.unit) for name, layout in layouts.items()}
    )
    sites = sample_sites(model_trace)
    shared = joint_note(
        example.structure
    )  # of an evidence: a posterior of shared latents is no surprise
    notes = tuple(note for note in tiles.notes if note not in shared)
    return Posterior(
        **{**vars(drawn), "notes": (*notes, *drawn.notes)},
        layouts=layouts,
        observed=tuple(n for n in example.structure.observed if not is_factor(sites[n])),
        computed=tuple(computed),
        categories=_categories(model_trace, example),
        unit=example.structure.unit,
        method=method.description + _changes(example),
        num_chains=method.num_chains,
        num_islands=method.num_islands,
        is_weighted=method.is_weighted,
        is_independent=method.is_independent,
        source=source,
    )


def _check_num_particles(method: DrawsPosterior, num_particles: int | None) -> None:
    """Check that there are not more particles than draws where all count the same."""
    if num_particles is not None and not method.is_weighted:
        raise InputError(
            f"num_particles is {num_particles}, but the draws of {type(method).__name__} have no weights",
            subject="num_particles",
            remedy="leave num_particles out, and pass num_draws",
        )


def _categories(model_trace: poutine.Trace, example: BoundProgram) -> dict[str, int]:
    """Return how many classes each latent has whose values are classes."""
    sites = sample_sites(model_trace)
    found = {name: innermost(sites[name]["fn"]) for name in example.structure.latents}
    return {
        name: fn.event_shape[0] if isinstance(fn, OneHotCategorical) else fn.logits.shape[-1]
        for name, fn in found.items()
        if isinstance(fn, Categorical | OneHotCategorical)
    }


def _changes(example: BoundProgram) -> str:
    """Return in words how the guide was changed to propose values."""
    changes = example.program.proposal
    return f"; the guide {', '.join(changes)}" if changes else ""
