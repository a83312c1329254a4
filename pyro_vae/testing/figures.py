"""What a program says: draws, evidence, diagram; and that it says so on a GPU, too."""

import math
from typing import Any

import pyro.distributions as dist
import torch

from pyro_vae.errors import InputError
from pyro_vae.graph import render_model
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.program.predict import prior_samples
from pyro_vae.program.probe import difference
from pyro_vae.program.trace import (
    drawn_sites,
    is_point_mass,
    latent_sites,
    observed_sites,
    sample_sites,
)
from pyro_vae.testing.case import Case, NotApplicable

NO_VARIANCE = 0.5  # Pareto k from which on
MORE = 50  # times as many particles, before a closed form is called wrong
REPEATS = 20  # of the training loss
SIGMAS = 5


def prior(case: Case) -> str:
    """Data drawn from the prior have the shapes of the data given."""
    traces = case.traces()
    for name, site in latent_sites(traces.model).items():
        if isinstance(site["fn"], dist.ImproperUniform):
            raise NotApplicable(
                f"the prior of {name!r} is flat (ImproperUniform): nothing draws it"
            )
    drawn = prior_samples(case.program, *case.args, seed=case.seed)
    for name, site in observed_sites(traces.model).items():
        value, data = drawn[name].value, site["value"]
        if value.shape != data.shape:
            raise InputError(
                f"site {name!r} drawn from the prior has shape {tuple(value.shape)}, the data have "
                f"{tuple(data.shape)}"
            )
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(f"site {name!r} drawn from the prior is not finite")
    return ""


def evidence(case: Case) -> str:
    """The evidence is finite, not below the ELBO, and what is known exactly, if anything is."""
    _refuse_points(case)
    options: dict[str, Any] = {
        "unit": case.unit,
        "seed": case.seed,
        "device": case.rows.device,
        "progress": False,
    }
    figures = log_evidence(case.program, case.args, num_particles=case.num_particles, **options)
    if not figures.log_evidence.isfinite().all():
        why = (
            "a draw's weight is not a number"
            if math.isnan(figures.mean)
            else "no draw has a weight"
        )
        raise InputError(f"the evidence is {figures.mean:g} nats: {why}")
    said = f"{figures.mean:.4g} nats"
    if case.program.log_evidence is not None:
        exact = log_evidence(case.program, case.args, method="exact", **options)
        try:
            said += _beside(figures, exact)
        except InputError:  # few draws that miss the weights' tail look good: many decide
            many = log_evidence(
                case.program, case.args, num_particles=MORE * case.num_particles, **options
            )
            said += _beside(many, exact)
    scaled = _scaled(case)
    if scaled:
        return f"{said}; {scaled}, so what is trained is no ELBO"
    # units that depend on one another have one figure, though a plate holds them
    units = 1 if figures.unit is None else case.structure.units_of(len(case.args[0]))
    elbos = torch.tensor([_elbo(case) / units for _ in range(REPEATS)], dtype=torch.float64)
    elbo, error = float(elbos.mean()), float(elbos.std()) / math.sqrt(REPEATS)
    own = figures.mean_standard_error
    if math.isnan(
        own
    ):  # no weights' mean lies below the mean of their logs, an ELBO that has an error
        own = float(figures.bounds_error[1].square().sum().sqrt() / figures.units)
    slack = SIGMAS * math.hypot(error, own) + 1e-4 * (1 + abs(elbo))
    if (
        math.isnan(elbo) or elbo > figures.mean + slack
    ):  # of one that is minus infinity, slack is NaN
        raise InputError(
            f"the ELBO that is trained is {elbo:.4g} nats per unit, above the evidence of {said} by "
            "more than chance: they are not of the same program"
        )
    return f"{said}, ELBO {elbo:.4g}"


def _beside(figures: Evidence, exact: Evidence) -> str:
    """What is to be said of a closed form; one too low shows in any weights, one too high in good ones.

    :raises InputError: importance sampling denies it.
    """
    if figures.certificate(1e-4) > exact.mean + 1e-3:
        raise InputError(
            f"its own log_evidence gives {exact.mean:.4g} nats, importance sampling {figures.mean:.4g}, "
            "which by chance is as far above once in 10,000 times"
        )
    good = (figures.pareto_k < NO_VARIANCE) & figures.standard_error.isfinite()
    slack = SIGMAS * figures.standard_error + 1e-3 * (1 + exact.log_evidence.abs())
    wrong = good & ~((figures.log_evidence - exact.log_evidence).abs() <= slack)
    if wrong.any():
        unit = int(wrong.nonzero()[0])
        raise InputError(
            f"its own log_evidence gives unit {unit} {exact.log_evidence[unit]:.4g} nats, importance "
            f"sampling {figures.log_evidence[unit]:.4g} ± {figures.standard_error[unit]:.2g}, so for "
            f"{int(wrong.sum())} of {int(good.sum())} units with good weights"
        )
    if good.all():
        return ""
    return f" (its own log_evidence held against {int(good.sum())} of {len(good)} units)"


@torch.no_grad()
def _elbo(case: Case) -> float:
    """Pyro's own figure of all units together, by one draw."""
    program = case.call.program
    return -case.elbo.loss(program.model, program.guide, *case.args)


def _refuse_points(case: Case) -> None:
    sites = sample_sites(case.traces().guide)
    if any(site["infer"].get("is_auxiliary") for site in sites.values()):
        return  # an AutoGuide that draws there and transforms
    for name, site in sites.items():
        if is_point_mass(site["fn"]):
            raise NotApplicable(
                f"the guide puts {name!r} at a single point: nothing can be weighted"
            )


def _scaled(case: Case) -> str:
    """A site whose log-probability counts otherwise than its plate's subsampling says, in words."""
    share = case.structure.size / case.structure.num_units
    traces = case.traces()
    for name, site in {**sample_sites(traces.model), **drawn_sites(traces.guide)}.items():
        scale = torch.as_tensor(site["scale"], dtype=torch.float64)
        if not torch.allclose(scale, torch.tensor(share, dtype=torch.float64)):
            return f"site {name!r} is scaled"
    return ""


def graph(case: Case) -> str:
    """The diagram renders, and every site is in it."""
    drawn = render_model(case.program, case.args)
    shown = {site for node in drawn.model.nodes for site in node.sites}
    missing = {*case.structure.latents, *case.structure.observed} - shown
    if missing:
        raise InputError(f"the diagram lacks {', '.join(map(repr, sorted(missing)))}")
    if not drawn.svg.startswith("<"):
        raise InputError("the diagram is no SVG")
    return "; ".join(drawn.warnings)


def device(case: Case) -> str:
    """On a GPU it scores as on the CPU."""
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    modules = case.program.modules.values()
    if case.stored or not modules:
        raise NotApplicable("plain functions have no module to move")
    home = case.args[0].device
    away = torch.device("cpu" if home.type == "cuda" else "cuda")
    here = case.traces()
    try:
        for module in modules:
            module.to(away)
        args = tuple(arg.to(away) for arg in case.args)
        there = case.again(here, lambda site: site["value"].to(away), args)
        found = difference(here.scores(case.structure), there.scores(case.structure))
    finally:
        for module in modules:
            module.to(home)
    if found:
        raise InputError(f"on {away} {found[0]} scores otherwise by {found[1]:.3g} nats")
    return f"{home.type} and {away.type}"
