"""A method of a user's own: importance sampling, moved by a constant."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Advance, Estimator, Method, Workload
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram


@dataclass(frozen=True)
class Moved(Method):
    """Move the figures of importance sampling by a constant.

    Args:
        importance: where the figures come from.
        shift: nats to add.
        start: a name that another method uses for a text.
    """

    importance: Importance = field(default_factory=Importance)
    shift: float = 1.0
    start: int = 0

    num_particles = 50

    @property
    def description(self) -> str:
        return f"moved by {self.shift + self.start:g} nats, {self.importance.description}"

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        weigh = self.importance.estimator(example, work)

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[MovedEstimate]:
            for sums in weigh(bound_program, advance):
                assert isinstance(sums, WeightSums)
                yield MovedEstimate(sums, self.shift + self.start)

        return estimate


@dataclass(frozen=True)
class MovedEstimate:
    sums: WeightSums
    shift: float

    @property
    def count(self) -> int:
        return self.sums.count

    def unit_estimates(self) -> UnitEstimates:
        estimates = self.sums.unit_estimates()
        return replace(estimates, log_evidence=estimates.log_evidence + self.shift)
