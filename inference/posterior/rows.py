"""The rows of the data: the plate that holds all observed sites, and what lies in it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.log_prob import score
from pyro_vae.program.structure import Structure
from pyro_vae.program.sum_out import sum_out
from pyro_vae.program.trace import sample_sites

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior


@dataclass(frozen=True)
class Rows:
    """Say which plate has a place for each row of the data, and which latents a row has for itself.

    Attributes:
        plate: the outermost plate that holds all observed sites; None where there is none.
        dim: its dimension.
        own: the latents in it, of each row.
        shared: all others.
    """

    plate: str | None
    dim: int
    own: tuple[str, ...]
    shared: tuple[str, ...]

    @classmethod
    def of(cls, posterior: "Posterior") -> "Rows":
        """Find the rows of a posterior's data: its units, or those of the plate that is theirs."""
        layouts, latents = posterior.layouts, tuple(posterior.latents)
        observed = [layouts[name] for name in posterior.observed]
        holding = [p for p in (observed[0].plates if observed else ()) if _hold(p, observed)]
        plate = posterior.unit or next(iter(holding), None)
        if plate is None:
            return cls(None, 0, (), latents)
        dim = observed[0].dims[observed[0].plates.index(plate)]
        own = tuple(name for name in latents if plate in layouts[name].plates)
        return cls(plate, dim, own, tuple(name for name in latents if name not in own))

    def check(self) -> None:
        """Raise InputError unless the data have rows."""
        if self.plate is None:
            raise InputError(
                "no plate holds all observed sites, so the data are one draw without rows, and new values "
                "may depend on those that were seen",
                subject="model",
                expected="observed sites in one plate (`with pyro.plate(...):`), if rows are independent "
                "given the latents",
                remedy="if they are not, as in a Gaussian process or a series, compute predictions and "
                "their density at the draws that posterior.draws holds",
            )

    def structure(self, structure: Structure) -> Structure:
        """Return the structure that takes each row for a unit."""
        assert self.plate is not None
        size = structure.plates[self.plate]
        enumerated = tuple(n for n in structure.enumerated if n in self.own)
        return replace(
            structure,
            unit=self.plate,
            dim=self.dim,
            num_units=size,
            size=size,
            enumerated=enumerated,
        )


def _hold(plate: str, layouts: Iterable[Any]) -> bool:
    return all(plate in layout.plates for layout in layouts)


def score_rows(
    trace: poutine.Trace, structure: Structure, num_particles: int, leave_out: Iterable[str]
) -> Tensor:
    """Return the log-probability of each row's sites, (K, rows), without some latents.

    Sites outside of the rows' plate do not count. Latents that the rows have and the model sums out are
    summed out.

    Args:
        trace: of the model, with K particles.
        structure: whose units are the rows.
        num_particles: K.
        leave_out: the names of latents that do not count.
    """
    trace, left_out = trace.copy(), set(leave_out)
    for name, site in sample_sites(trace).items():
        plates = {frame.name for frame in site["cond_indep_stack"] if frame.vectorized}
        if name in left_out or structure.unit not in plates:
            trace.remove_node(name)
    if structure.enumerated:
        return sum_out(trace, structure).expand(num_particles, -1)
    return score(sample_sites(trace).values(), structure, num_particles)
