"""Proposals beyond the guide: each takes a program and returns one with the same model.

log_evidence(wider(program, 1.5), data)
"""

from dataclasses import replace
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.distributions import constraints, transform_to
from torch.distributions.transforms import AffineTransform

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, positive
from pyro_vae.guides import AutoAmortized
from pyro_vae.guides.joint_latents import SkewedStudentT
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.probe import moves
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import Site, drawn_sites, is_point_mass, run
from pyro_vae.program.wrappers import inside, rebuilt

WIDER = {"factor": checks.suggesting("pass factor=1.5, say", positive)}


def wider(program: Any, factor: float) -> Program:
    """Spread every real-valued site of the guide about its mean by a factor.

    A guide fitted by the ELBO is often narrower than the posterior, and its weights may have no finite
    variance; a wider one lowers the effective sample size, and the error becomes finite.

    Args:
        program: a model and guide.
        factor: the new standard deviation over the old, above 0.

    Raises:
        InputError: a factor that is not positive, or a guide whose mean is not known, as a flow's.

    >>> import pyro
    >>> guide = lambda: pyro.sample("z", dist.Normal(1.0, 1.0))
    >>> fn = poutine.trace(wider((guide, guide), 2.0).guide).get_trace().nodes["z"]["fn"]
    >>> fn.log_prob(torch.tensor(3.0)) == dist.Normal(1.0, 2.0).log_prob(torch.tensor(3.0))
    tensor(True)
    """
    target = as_program(program)
    checks.check_arguments(WIDER, locals())
    widen, unrefined = _Widened(factor), target.unrefined_guide
    return replace(
        target,
        guide=widen(target.guide),
        proposal=(*target.proposal, f"widened by a factor of {factor:g}"),
        unrefined_guide=None if unrefined is None else widen(unrefined),
    )


class _Widened(Messenger):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if msg["is_observed"] or isinstance(fn, _Subsample) or is_point_mass(fn):
            return
        if not _is_real(support_of(fn)):
            return
        # within the masks: the Jacobian counts only where the value does
        base = inside(fn)
        msg["fn"] = rebuilt(fn, _spread(msg["name"], base, self.factor))


def _spread(name: str, fn: Any, factor: float) -> Any:
    """Return a distribution spread about its mean; one that is skewed by coordinates, skewed afterwards."""
    if isinstance(fn, SkewedStudentT):
        return dist.TransformedDistribution(_spread(name, fn.base_dist, factor), fn.transforms)
    mean = _mean(name, fn)
    shift = AffineTransform(mean * (1 - factor), factor, event_dim=fn.event_dim)
    return dist.TransformedDistribution(fn, shift)


def _mean(name: str, fn: Any) -> Tensor:
    try:
        mean: Tensor = fn.mean
    except NotImplementedError as error:
        raise InputError(
            f"the guide's site {name!r} is a {type(fn).__name__}, whose mean is not known, so it cannot be "
            "widened about it",
            subject=name,
            remedy="anneal (method='ais'), or draw a share of the particles from the prior",
        ) from error
    if not mean.isfinite().all():
        raise InputError(
            f"the guide's site {name!r} ({fn}) has no finite mean, about which it could be widened",
            subject=name,
        )
    return mean


def _is_real(support: constraints.Constraint) -> bool:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support in (constraints.real, constraints.real_vector)


REFINED: dict[str, checks.Check] = {
    "steps": at_least_1,
    "learning_rate": positive,
    "elbo": checks.optional(checks.instance(ELBO, "an ELBO such as Trace_ELBO()")),
}


def refined(
    program: Any, steps: int = 50, learning_rate: float = 0.05, elbo: ELBO | None = None
) -> Program:
    """Fit the guide's distributions to each batch, starting from those of the amortised guide.

    The parameters of every guide site (a Normal's loc and scale, say) become free, one set a datum,
    and take some Adam steps up the ELBO; the networks do not change. The gain of the ELBO is the
    amortisation gap. The weighted draws come after the fit and are independent of it, so the evidence
    stays unbiased.

    Source: C. Cremer, X. Li, D. Duvenaud, "Inference suboptimality in variational autoencoders", 2018,
    https://arxiv.org/abs/1801.03558.

    Args:
        program: a model and guide.
        steps: of Adam.
        learning_rate: of the first step; it falls linearly to 0.
        elbo: the objective, by default Trace_ELBO; pass TraceEnum_ELBO for enumerated latents.

    Raises:
        InputError: an AutoGuide, a made guide of latents that units share, or a guide site whose
            distribution has no parameters to free.
    """
    checks.check_arguments(REFINED, locals())
    target = as_program(program)
    kind, guide = type(target.guide).__name__, target.guide
    if isinstance(guide, AutoGuide) or (isinstance(guide, AutoAmortized) and guide.shared):
        raise InputError(
            f"the guide is an {kind}, whose parameters belong to the data that it was fitted to, so it "
            "cannot be refined",
            subject=kind,
            remedy="fit it for longer, or widen it",
        )
    refining = _Refined(target, steps, learning_rate, elbo or TraceELBO())
    return replace(
        target,
        guide=refining,
        proposal=(*target.proposal, f"refined for each unit by {steps:,} steps"),
        unrefined_guide=target.unrefined_guide or target.guide,
    )


class _Refined:
    """A guide that fits itself to each batch that it is called with, once for each batch."""

    def __init__(self, program: Program, steps: int, learning_rate: float, elbo: Any) -> None:
        self.program, self.steps = program, steps
        self.learning_rate, self.elbo = learning_rate, elbo
        self.batch: tuple[Any, ...] | None = None
        self.fitted: dict[str, _FreeSite] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        batch = (*args, *kwargs.values())
        if self.batch is None or any(a is not b for a, b in zip(batch, self.batch, strict=True)):
            with poutine.block(), torch.enable_grad():  # outer handlers must not see the fit
                self.fitted = self.fit(args, kwargs)
            self.batch = batch
        return _ReplaceSites(self.fitted)(self.program.guide)(*args, **kwargs)

    def fit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, "_FreeSite"]:
        sites = drawn_sites(run("guide", self.program.guide, args, kwargs))
        free = {name: _FreeSite(name, site) for name, site in sites.items()}
        leaves = [leaf for site in free.values() for leaf in site.leaves.values()]
        optimizer = torch.optim.Adam(leaves, lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, self.steps)
        guide = _ReplaceSites(free)(self.program.guide)
        for _ in range(self.steps):
            loss = self.elbo.differentiable_loss(self.program.model, guide, *args, **kwargs)
            gradients = torch.autograd.grad(loss, leaves)
            for leaf, gradient in zip(leaves, gradients, strict=True):
                leaf.grad = gradient
            optimizer.step()
            decay.step()
        return free


_Dependent = type(constraints.dependent)
# torch derives the others from any of these
SAME = (("logits", "probs"), ("scale_tril", "covariance_matrix", "precision_matrix"))


class _FreeSite:
    """A site's distribution with unconstrained parameters as leaves; discrete parameters stay fixed."""

    def __init__(self, name: str, site: Site) -> None:
        fn, self.whole = inside(site["fn"]), site["fn"]
        self.kind, self.leaves, self.transforms = type(fn), {}, {}
        self.fixed: dict[str, Any] = {}
        for parameter, constraint in _parameters(fn).items():
            value = getattr(fn, parameter)
            if isinstance(constraint, _Dependent):
                raise self.refusal(name, f"its {parameter} has a constraint that depends on others")
            if constraint.is_discrete:
                self.fixed[parameter] = value
            elif isinstance(value, Tensor) and value.is_floating_point():
                self.transforms[parameter] = transform_to(constraint)
                unconstrained = self.transforms[parameter].inv(value.detach())
                self.leaves[parameter] = unconstrained.clone().requires_grad_()
        if not self.leaves:
            raise self.refusal(name, "torch declares no continuous parameters of it")
        if not self.is_rebuilt(site):
            raise self.refusal(name, f"it depends on more than its {', '.join(self.leaves)}")

    def refusal(self, name: str, reason: str) -> InputError:
        return InputError(
            f"the guide's site {name!r} is a {self.kind.__name__}, which cannot be refined: {reason}",
            subject=name,
            remedy="anneal (method='ais')",
        )

    def is_rebuilt(self, site: Site) -> bool:
        """Return whether the distribution made of the leaves scores as the site's own."""
        try:
            log_prob = self.distribution().log_prob(site["value"])
        except (TypeError, ValueError, NotImplementedError):
            return False
        return not bool(moves(site["fn"].log_prob(site["value"]), log_prob).any())

    def distribution(self) -> Any:
        values = {name: self.transforms[name](leaf) for name, leaf in self.leaves.items()}
        return rebuilt(self.whole, self.kind(**values, **self.fixed))


def _parameters(fn: Any) -> dict[str, Any]:
    """Return the constraint of each parameter; of several that determine one another, of the first."""
    parameters = dict(getattr(fn, "arg_constraints", {}))
    for names in SAME:
        for other in [name for name in names if name in parameters][1:]:
            del parameters[other]
    return parameters


class _ReplaceSites(Messenger):
    def __init__(self, free: dict[str, _FreeSite]) -> None:
        super().__init__()
        self.free = free

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.free:
            msg["fn"] = self.free[msg["name"]].distribution()
