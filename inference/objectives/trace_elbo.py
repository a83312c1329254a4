"""Pyro's ELBO, without waiting for the device."""

from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero
from pyro.infer.trace_elbo import _compute_log_r
from torch import Tensor


class TraceELBO(pyro.infer.Trace_ELBO):
    """Compute Pyro's ``Trace_ELBO``, the same figure and gradient, without waiting for the device.

    E_q[log p(x, z) - log q(z | x)], summed over the batch. Pyro's own calls ``.item()`` for every
    site, and a GPU waits each time; here everything stays on the device.

    >>> import torch, pyro.distributions as dist
    >>> def model(): pyro.sample("z", dist.Normal(0., 1.))
    >>> float(TraceELBO().differentiable_loss(model, model))
    0.0
    """

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return minus the ELBO, with the gradient of Pyro's surrogate; shape ``|``, in nats."""
        losses = [
            self._particle_loss(*traces) for traces in self._get_traces(model, guide, args, kwargs)
        ]
        return sum(losses[1:], start=losses[0]) / self.num_particles

    @staticmethod
    def _particle_loss(model_trace: poutine.Trace, guide_trace: poutine.Trace) -> Tensor:
        sites, proposals = statements(model_trace), statements(guide_trace)
        zero = sites[0]["log_prob_sum"].new_zeros(()) if sites else torch.zeros(())
        log_joint = sum((site["log_prob_sum"] for site in sites), start=zero)
        elbo = log_joint - sum((site["log_prob_sum"] for site in proposals), start=zero)
        surrogate = log_joint
        log_r = None
        for site in proposals:
            _, score_function_term, entropy_term = site["score_parts"]
            if not is_identically_zero(entropy_term):
                surrogate = surrogate - entropy_term.sum()
            if not is_identically_zero(score_function_term):
                log_r = log_r or _compute_log_r(model_trace, guide_trace)
                weight = log_r.sum_to(site["cond_indep_stack"])
                surrogate = surrogate + (weight * score_function_term).sum()
        return surrogate.detach() - surrogate - elbo.detach()


def statements(trace: Any) -> list[Any]:
    """Return the sample statements of a trace."""
    return [site for site in trace.nodes.values() if site["type"] == "sample"]
