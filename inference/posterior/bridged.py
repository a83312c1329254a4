"""The evidence of a posterior's data, by bridge sampling from its draws."""

from typing import TYPE_CHECKING

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.bridge import Bridge
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.result import Evidence

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior


def bridged(
    posterior: "Posterior", num_particles: int | None, symmetrize: bool, seed: int | None
) -> Evidence:
    """Return the evidence; see :meth:`Posterior.log_evidence`.

    Raises:
        InputError: the draws repeat by their weights, so their number says nothing of their error.
    """
    if posterior.is_weighted:
        raise InputError(
            f"the draws come from weights ({posterior.method}): a bridge from them is no better than these",
            subject="method",
            expected="draws of NUTS",
            remedy="call log_evidence with the program, or draw by posterior(..., method=NUTS())",
        )
    source = posterior.source
    return log_evidence(
        source.program,
        source.data,
        args=source.args,
        kwargs=source.kwargs,
        unit=source.unit,
        device=source.device,
        method=Bridge(posterior.latents, posterior.num_chains, symmetrize),
        num_particles=num_particles,
        seed=seed,
    )
