"""A KL term that costs nothing up to some nats."""

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.argument_checks import number
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.inference.objectives.requirements import factors
from pyro_vae.program.trace import Site, drawn_sites


class FreeBits(Objective):
    """Maximise sum_n E_q[log p(x_n | z_n)] - sum_g max(nats, KL_g), KL_g the batch's mean for latents g.

    A group g is one number of a latent vector, where the model's distribution and the guide's both are
    ``.to_event`` of distributions of numbers; otherwise a whole site; and all latents together where guide
    and model do not name the same sites. A lower bound, but one that stays away from the evidence: a fit
    reports the objective, and validates by the ELBO.

    Source: D. P. Kingma et al., "Improving variational inference with inverse autoregressive flow", 2016,
    https://arxiv.org/abs/1606.04934, appendix C.8.

    Args:
        nats: of each group that cost nothing.
        num_particles: draws a unit that are averaged.
    """

    separates_prior = True

    def __init__(self, nats: float = 0.25, num_particles: int = 1) -> None:
        super().__init__(num_particles)
        self.nats = number("nats", nats, least=0)

    def value(self, draws: GuideDraws) -> Tensor:
        kl = rates(draws).clamp(min=self.nats).sum()
        return draws.count * (draws.log_probs.log_likelihood.mean() - kl)


def rates(draws: GuideDraws) -> Tensor:
    """Return E[log q - log p] of each group of latents, the mean over draws and units, ``groups |``."""
    of_runs = [
        _rates_of_run(draws, guide, model)
        for guide, model in zip(draws.guides, draws.models, strict=True)
    ]
    return torch.stack(of_runs).sum(0) / (draws.num_particles * draws.structure.num_units)


def _rates_of_run(draws: GuideDraws, guide: poutine.Trace, model: poutine.Trace) -> Tensor:
    """Return the same, summed over the draws and units of one run."""
    proposed, latent = drawn_sites(guide), drawn_sites(model)
    if proposed.keys() != latent.keys():
        return draws.log_probs.rate.sum().unsqueeze(0) / len(draws.guides)
    groups = []
    for name, site in proposed.items():
        pair = (site, latent[name])
        apart = all(factors(s["fn"]) is not None for s in pair)
        q, p = (_log_probs(draws, s, apart) for s in pair)
        groups.append(q - p)
    return torch.cat(groups)


def _log_probs(draws: GuideDraws, site: Site, apart: bool) -> Tensor:
    """Return a site's log-probabilities summed over its batch, for each number of the event or for all."""
    fn, value, event_dim = site["fn"], site["value"], site["fn"].event_dim
    log_prob = (
        factors(fn).log_prob(value).flatten(-event_dim) if apart else fn.log_prob(value)[..., None]
    )
    if site["mask"] is not None:
        log_prob = log_prob.where(torch.as_tensor(site["mask"])[..., None], 0.0)
    weight = draws.weight(site)
    return log_prob.reshape(-1, log_prob.shape[-1]).sum(0) * (1.0 if weight is None else weight)
