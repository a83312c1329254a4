"""Checks of a program's draws from the prior, and of its evidence."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import torch

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import (
    drawn_sites,
    is_point_mass,
    latent_sites,
    observed_sites,
    run,
    sample_sites,
)
from pyro_vae.testing.case import Case, NotApplicable

RELIABLE_K = 0.5  # Pareto k below which the weights have a variance
MORE_PARTICLES = 50  # times as many, before a closed form is called wrong
NUM_ELBOS = 20  # draws of the training loss
SIGMAS = 5


def prior(case: Case) -> str:
    """Data drawn from the prior have the shapes of the given data."""
    traces = case.traces()
    for name, site in latent_sites(traces.model).items():
        if isinstance(site["fn"], dist.ImproperUniform):
            raise NotApplicable(
                f"the prior of {name!r} is flat (ImproperUniform), so it cannot be drawn"
            )
    with undisturbed(case.program, case.seed), torch.no_grad(), pyro.validation_enabled(False):
        drawn = sample_sites(run("model", redrawing(case.program.model), case.args, {}))
    for name, site in observed_sites(traces.model).items():
        value, data = drawn[name]["value"], site["value"]
        if value.shape != data.shape:
            problem = f"site {name!r} drawn from the prior has shape {tuple(value.shape)}"
            raise InputError(problem, subject=name, expected=f"the data's {tuple(data.shape)}")
        if value.is_floating_point() and not value.isfinite().all():
            remedy = "use a prior with lighter tails, or bound the parameters of the likelihood"
            raise InputError(
                f"site {name!r} drawn from the prior is not finite", subject=name, remedy=remedy
            )
    return ""


def evidence(case: Case) -> str:
    """The evidence is finite, not below the ELBO, and agrees with the closed form if there is one."""
    _require_weights(case)
    estimate = partial(
        log_evidence,
        case.program,
        case.args,
        unit=case.unit,
        seed=case.seed,
        device=case.rows.device,
        progress=False,
    )
    found = estimate(num_particles=case.num_particles)
    if not found.log_evidence.isfinite().all():
        is_nan = math.isnan(found.mean)
        reason = "the weight of a draw is NaN" if is_nan else "no draw has a positive weight"
        remedy = "bound the parameters" if is_nan else "let the guide reach where the model does"
        problem = f"the evidence is {found.mean:g} nats, because {reason}"
        raise InputError(problem, subject="evidence", remedy=remedy)
    text = f"{found.mean:.4g} nats"
    if case.program.log_evidence is not None:
        exact = estimate(method="exact")
        try:
            text += _compare(found, exact)
        except InputError:  # few draws that miss the tail of the weights look good: many decide
            text += _compare(estimate(num_particles=MORE_PARTICLES * case.num_particles), exact)
    scaled = _scaled_site(case)
    if scaled:
        return f"{text}; site {scaled!r} is scaled, so the objective is not an ELBO"
    return f"{text}, ELBO {_check_elbo(case, found):.4g}"


def _check_elbo(case: Case, found: Evidence) -> float:
    """Return the ELBO per unit.

    Raises:
        InputError: it lies above the evidence by more than chance.
    """
    # units that depend on each other have one evidence, although a plate holds them
    units = 1 if found.unit is None else case.structure.units_of(len(case.args[0]))
    elbos = torch.tensor([_elbo(case) / units for _ in range(NUM_ELBOS)], dtype=torch.float64)
    elbo, error = float(elbos.mean()), float(elbos.std()) / math.sqrt(NUM_ELBOS)
    own = found.mean_standard_error
    if math.isnan(
        own
    ):  # the mean of the weights has no error; that of their logs has, and is lower
        own = float(found.bounds_error[1].square().sum().sqrt() / found.num_units)
    slack = SIGMAS * math.hypot(error, own) + 1e-4 * (1 + abs(elbo))  # NaN if the ELBO is infinite
    if math.isnan(elbo) or elbo > found.mean + slack:
        raise InputError(
            f"the ELBO in training is {elbo:.4g} nats per unit, above the evidence of {found.mean:.4g} "
            "nats by more than chance: they are not of the same program",
            subject="ELBO",
            remedy="compute the same densities in training and in evaluation",
        )
    return elbo


def _compare(found: Evidence, exact: Evidence) -> str:
    """Return a remark on how many units were compared with the closed form.

    A closed form that is too low shows with any weights, one that is too high with reliable ones.

    Raises:
        InputError: importance sampling contradicts it.
    """
    remedy = "correct log_evidence, or the model"
    if found.certificate(1e-4) > exact.mean + 1e-3:
        raise InputError(
            f"the program's own log_evidence gives {exact.mean:.4g} nats, importance sampling "
            f"{found.mean:.4g}, with a chance below 1 in 10,000",
            subject="log_evidence",
            remedy=remedy,
        )
    reliable = (found.pareto_k < RELIABLE_K) & found.standard_error.isfinite()
    slack = SIGMAS * found.standard_error + 1e-3 * (1 + exact.log_evidence.abs())
    wrong = reliable & ~((found.log_evidence - exact.log_evidence).abs() <= slack)
    if wrong.any():
        unit = int(wrong.nonzero()[0])
        raise InputError(
            f"the program's own log_evidence gives {exact.log_evidence[unit]:.4g} nats for unit {unit}, "
            f"importance sampling {found.log_evidence[unit]:.4g} ± {found.standard_error[unit]:.2g}; "
            f"{int(wrong.sum())} of {int(reliable.sum())} units with reliable weights differ",
            subject="log_evidence",
            remedy=remedy,
        )
    if reliable.all():
        return ""
    return (
        f" (compared with its own log_evidence for {int(reliable.sum())} of {len(reliable)} units)"
    )


@torch.no_grad()
def _elbo(case: Case) -> float:
    """Return Pyro's ELBO of all units together, by one draw."""
    program = case.bound_program.program
    return -case.elbo.loss(program.model, program.guide, *case.args)


def _require_weights(case: Case) -> None:
    sites = sample_sites(case.traces().guide)
    if any(site["infer"].get("is_auxiliary") for site in sites.values()):
        return  # an AutoGuide draws there, and its other sites are transforms of that draw
    for name, site in sites.items():
        if is_point_mass(site["fn"]):
            raise NotApplicable(f"the guide puts {name!r} at a single point, which has no weight")


def _scaled_site(case: Case) -> str | None:
    """Return a site whose scale differs from the subsampling of its plate, or None."""
    share = torch.tensor(case.structure.size / case.structure.num_units, dtype=torch.float64)
    traces = case.traces()
    for name, site in {**sample_sites(traces.model), **drawn_sites(traces.guide)}.items():
        if not torch.allclose(torch.as_tensor(site["scale"], dtype=torch.float64), share):
            return name
    return None
