"""Simulation-based calibration: whether a method's draws are those of the posterior."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least, at_least_1, true_or_false
from pyro_vae.inference.annealing.simulate import simulate
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.inference.evidence.tiles import Tiles
from pyro_vae.inference.posterior.at_draws import named
from pyro_vae.inference.posterior.draw_tiles import UnitDraws, draw_tile
from pyro_vae.inference.posterior.guide_draws import Guide
from pyro_vae.inference.posterior.methods import IMPORTANCE, as_posterior_method
from pyro_vae.inference.posterior.ranks import Calibration, rank
from pyro_vae.inference.posterior.source import Source
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.site_layout import SiteLayout, labels
from pyro_vae.program.structure import check_proper
from pyro_vae.program.trace import drawn_sites, sample_sites
from pyro_vae.progress import progress_bar

PARTICLES_PER_DRAW = 10  # of weighted draws: few ranks are then of one particle
NO_DATA_READ = (
    "the guide draws the same latents for all data. It was fitted to one data set and does not read them, "
    "so it cannot be right for others. Calibrate NUTS or Annealed, or use a guide that reads the data"
)
CHECKS: dict[str, checks.Check] = {
    "method": checks.instance(
        (str, DrawsPosterior, type), "a method that draws, such as Importance()"
    ),
    "num_data_sets": lambda name, value: at_least(20, name, value),
    "num_draws": lambda name, value: at_least(9, name, value),
    "num_particles": checks.optional(at_least_1),
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
    "progress": checks.optional(true_or_false),
}


def calibrate(
    program: Any,
    data: Any = None,
    *,
    method: str | DrawsPosterior = IMPORTANCE,
    num_data_sets: int = 1000,
    num_draws: int = 99,
    num_particles: int | None = None,
    unit: str | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> Calibration:
    """Find out whether a method's draws are those of the posterior, on data that the model draws.

    Latents z* come from the prior and data from p(x | z*); the method then draws z from what should be
    p(z | x). If it is, the rank of z* among S draws is uniform on 0, ..., S, for every number of the
    latents. Where units are independent, each unit is a data set. ``print`` shows a verdict for each
    number: its posterior is right, too narrow or too wide, too low or too high.

    A guide has to read the data: one with parameters for these data alone is another guide for others.
    ``Guide()`` tests the guide itself, ``Importance()`` what its weights make of it.

    Args:
        program: a model and guide; for ``NUTS`` a model is enough.
        data: their shapes, and the values that the model does not draw, such as covariates.
        method: as :func:`pyro_vae.posterior` takes it.
        num_data_sets: how many data sets, at least 20; 1,000 show an sd that is 20 % off.
        num_draws: S; with S + 1 a multiple of 10 or 20 the bins of the histogram are alike.
        num_particles: K of each data set, by default 10 S where draws have weights.
        unit: the plate of the units.
        args: with ``kwargs``, in place of ``data``.
        kwargs: the named arguments of that call.
        seed: of data and draws; by default they continue from torch's generator, without advancing it.
        device: where to compute.
        progress: whether to draw a bar.

    Raises:
        InputError: the program does not fit the data or the method; an observed value is not an argument of
            the model or a part of one, so that drawn data cannot take its place.

    Source: S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman, "Validating Bayesian inference
    algorithms with simulation-based calibration", 2018, https://arxiv.org/abs/1804.06788.

    >>> import pyro, pyro.distributions as dist
    >>> from pyro_vae.inference import Guide
    >>> def model(x):
    ...     with pyro.plate("data", len(x)):
    ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
    ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
    >>> def guide(x):  # its sd should be sqrt(1/2)
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("z", dist.Normal(x / 2, 0.5))
    >>> print(calibrate((model, guide), torch.zeros(500), method=Guide(), seed=0).verdicts["z"])
    too narrow
    """
    checks.check_arguments(CHECKS, locals())
    method = as_posterior_method(method)
    if num_particles is not None and not method.is_weighted:
        raise InputError(
            f"num_particles is {num_particles}, but the draws of {type(method).__name__} have no weights",
            subject="num_particles",
            remedy="leave num_particles out, and pass num_draws",
        )
    size = num_particles or num_draws * (PARTICLES_PER_DRAW if method.is_weighted else 1)
    source = Source(method.program(program), data, args, kwargs, unit, device, size)
    with source.open(seed) as tiles, progress_bar(num_data_sets, progress, "data set") as bar:
        check_proper(tiles.example.structure)
        of_guide = isinstance(method, Guide | Importance)
        notes = (NO_DATA_READ,) if of_guide and not _reads_data(tiles.example) else ()
        run = _Run(method, size, num_draws, tiles)
        parts: list[dict[str, Tensor]] = []
        found = 0
        for ranks, count in run.data_sets():
            parts.append(ranks)
            found += count
            bar.update(count)
            if found >= num_data_sets:
                break
    return Calibration(
        {name: torch.cat([part[name] for part in parts])[:num_data_sets] for name in parts[0]},
        num_draws,
        method.description,
        notes,
    )


def _reads_data(example: BoundProgram) -> bool:
    """Return whether the guide draws other latents for other data; True where it draws none."""
    drawn = []
    for seed in (0, 1):
        seed_all(seed)
        simulated, _ = simulate(example)
        seed_all(0)
        guide_trace, _ = simulated.one()
        drawn.append({name: site["value"] for name, site in drawn_sites(guide_trace).items()})
    return not drawn[0] or any(not torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])


@dataclass(frozen=True)
class _Run:
    """Simulate data sets from the tiles of a call, and rank their latents."""

    method: DrawsPosterior
    num_particles: int
    num_draws: int
    tiles: Tiles

    def data_sets(self) -> Iterator[tuple[dict[str, Tensor], int]]:
        """Yield the ranks of one tile of data sets after another, without end, and their number."""
        example, repeat = self.tiles.example, 0
        sites = sample_sites(example.one()[1])
        layouts = {n: SiteLayout.of(sites[n]) for n in example.structure.latents}
        work = Workload(self.num_particles, tuple(map(len, self.tiles.index)))
        draw = self.method.drawer(example, work)
        while True:
            for number, call in enumerate(self.tiles):
                seed_all((self.tiles.seed + 1_000_003 * number + 7_919 * repeat) % 2**32)
                simulated, trace = simulate(call)
                drawn = draw_tile(
                    simulated, draw, self.method, layouts, self.num_draws, lambda share: None
                )
                yield self._ranks(simulated, trace, drawn, layouts), call.structure.num_units
            repeat += 1

    def _ranks(
        self,
        call: BoundProgram,
        trace: poutine.Trace,
        drawn: UnitDraws,
        layouts: Mapping[str, SiteLayout],
    ) -> dict[str, Tensor]:
        """Return the ranks of the true latents, (data sets,), by the name of each number."""
        unit, single = call.structure.unit, call.single()
        sites = sample_sites(trace)
        truth = named({n: sites[n]["value"][None] for n in drawn.particles}, layouts, 1, single)
        ranks: dict[str, Tensor] = {}
        for name, particles in drawn.particles.items():
            ours = layouts[name].by_unit(particles, unit)  # (K, U, R)
            units = torch.arange(ours.shape[1])
            found = rank(
                ours[drawn.index[:, : len(units)], units],
                layouts[name].by_unit(truth[name].cpu(), unit)[0],
            )
            shape = layouts[name].within_unit(particles.shape[1:], unit)
            ranks |= zip(labels(name, shape), found.T, strict=True)
        return ranks
