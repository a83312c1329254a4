"""The guide's mean: one point of the latent space for each unit, without noise."""

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import constraints
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.nn.functional import normalize

from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws
from pyro_vae.inference.evidence.method import Advance, Workload
from pyro_vae.inference.posterior.at_draws import each_particle
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import values_of
from pyro_vae.program.support import support_of

DRAWS_WITHOUT_MEAN = 1000  # of a distribution that gives no mean, such as a flow


@dataclass(frozen=True)
class GuideMean(DrawsPosterior):
    """Take the mean of each site of the guide, given the means of the sites before it.

    A site whose values are classes takes the most probable one, a direction the mean direction. A
    distribution that gives no mean (a flow) has that of 1,000 draws. All draws are the same, so one is
    enough.

    >>> from pyro_vae import posterior
    >>> from pyro_vae.models import VAE
    >>> vae, x = VAE((3,), 2), torch.rand(5, 3).round()
    >>> z = posterior(vae, x, method=GuideMean(), num_draws=1).draws["z"]
    >>> torch.equal(z[0], vae.recognition(x).mean)
    True
    """

    is_weighted = False
    uses_density = False
    rests_on_guide = True
    num_chains = 1

    @property
    def description(self) -> str:
        return "the guide's mean"

    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        def draw(bound_program: BoundProgram, advance: Advance) -> WeightedDraws:
            def run(count: int, _: dict[str, Tensor]) -> dict[str, Tensor]:
                return values_of(bound_program.guide(count, _AtMeans()))

            structure = bound_program.structure
            found = each_particle(bound_program, run, work.num_particles, {})
            advance(1.0)
            log_weights = torch.zeros(
                work.num_particles, structure.num_units, device=bound_program.device
            )
            return WeightedDraws(found, log_weights)

        return draw


class _AtMeans(Messenger):
    """Give each draw the centre of its distribution."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["done"] or isinstance(msg["fn"], _Subsample):
            return
        if not msg["infer"].get("_deterministic"):
            msg["value"], msg["done"] = centre_of(msg["fn"]), True


def centre_of(fn: Any) -> Tensor:
    """Return the mean of a distribution, ``batch | event``; of classes the mode, on a sphere a direction.

    >>> from torch.distributions import Categorical, Cauchy, LogNormal
    >>> centre_of(Categorical(torch.tensor([0.2, 0.8]))), centre_of(LogNormal(0.0, 1.0)) > 1.6
    (tensor(1), tensor(True))
    """
    shape = torch.Size((*fn.batch_shape, *fn.event_shape))
    support = _innermost(support_of(fn)) if _has_support(fn) else None
    if getattr(support, "is_discrete", False):
        mode = given_by(fn, "mode")
        return (fn.sample() if mode is None else mode).expand(shape)
    mean = given_by(fn, "mean")
    if mean is None or not bool(mean.isfinite().all()):
        mean = fn.sample(torch.Size((DRAWS_WITHOUT_MEAN,))).mean(0)
    mean = mean.expand(shape)
    return normalize(mean, dim=-1) if support is constraints.sphere else mean


def given_by(fn: Any, name: str) -> Tensor | None:
    """Return a distribution's mean or mode; None where it has none."""
    try:
        found: Tensor = getattr(fn, name)
    except (NotImplementedError, AttributeError):
        return None
    return found


def _has_support(fn: Any) -> bool:
    try:
        support_of(fn)
    except (NotImplementedError, AttributeError):
        return False
    return True


def _innermost(support: Any) -> Any:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support
