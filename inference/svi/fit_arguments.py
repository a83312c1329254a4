"""The arguments of a fit, checked."""

from typing import Any, get_args

from pyro.infer import ELBO

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, must_be, positive, true_or_false
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.compiling.precision import Precision
from pyro_vae.inference.objectives import Schedule
from pyro_vae.inference.objectives.objective import Objective, Scheduled
from pyro_vae.inference.svi.made_guide import needs_guide
from pyro_vae.inference.svi.optimizer import PASS_LR_SCHEDULE, PASS_OPTIMIZER
from pyro_vae.inference.svi.run_control import RunControl


def _check_elbo(name: str, elbo: Any) -> None:
    if not isinstance(elbo, ELBO):
        is_class = isinstance(elbo, type) and issubclass(elbo, ELBO)
        remedy = f"pass {elbo.__name__}(...)" if is_class else "pass one, such as Trace_ELBO()"
        raise must_be(name, "an object of class ELBO", elbo, remedy=remedy)
    at_least_1("num_particles", elbo.num_particles)  # Pyro does not check it


def _check_share(name: str, value: Any) -> None:
    if not 0 < checks.number(name, value) <= 1:
        raise must_be(name, "a share of the steps, above 0 and at most 1", value)


PASS_ON_EPOCH = "pass a function of one argument, such as print"
CHECKS: dict[str, checks.Check] = {
    "epochs": checks.optional(at_least_1),
    "steps": checks.optional(at_least_1),
    "batch_size": checks.optional(at_least_1),
    "shuffle": checks.optional(true_or_false),
    "optimizer": checks.optional(checks.suggesting(PASS_OPTIMIZER, checks.function)),
    "lr_schedule": checks.optional(checks.suggesting(PASS_LR_SCHEDULE, checks.function)),
    "elbo": checks.optional(_check_elbo),
    "beta": checks.number_or(Schedule, "a Schedule such as Linear()"),
    "kl_warmup": checks.not_negative,
    "clip_norm": checks.optional(positive),
    "patience": checks.optional(at_least_1),
    "keep_best": true_or_false,
    "averaging": checks.optional(_check_share),
    "restarts": at_least_1,
    "seed": checks.seed,
    "out": checks.optional(checks.path),
    "resume": true_or_false,
    "record": checks.optional(checks.mapping),
    "progress": checks.optional(true_or_false),
    "on_epoch": checks.optional(checks.suggesting(PASS_ON_EPOCH, checks.function)),
    "compile": checks.one_of(*get_args(Compile)),
    "precision": checks.one_of(*get_args(Precision)),
    "control": checks.instance(RunControl, "a RunControl"),
}


def check_together(epochs: int | None, steps: int | None, resume: bool, out: Any) -> None:
    """Check arguments that exclude or need each other.

    Raises:
        InputError: they do not go together.
    """
    if out is None and resume:
        raise InputError(
            "resume needs the folder of the run", subject="resume", remedy="pass out=FOLDER, too"
        )
    if epochs is not None and steps is not None:
        raise InputError(
            f"epochs={epochs} and steps={steps} both say how long to train",
            subject="steps",
            remedy="pass one of them",
        )


def beta_of(elbo: Any, beta: Schedule | float, kl_warmup: float) -> Schedule | float:
    """Return the number that changes over the run: the KL weight, or that of the objective itself.

    Raises:
        InputError: both are given.
    """
    has_term = elbo.has_kl_term if isinstance(elbo, Objective) else True
    if has_term and not isinstance(elbo, Scheduled):
        return beta
    if isinstance(beta, Schedule) or beta != 1 or kl_warmup:
        name, does = (
            type(elbo).__name__,
            "weighs the KL term itself" if has_term else "has no KL term",
        )
        raise InputError(f"{name} {does}", subject=name, remedy="leave beta and kl_warmup out")
    return elbo.schedule if isinstance(elbo, Scheduled) else beta


def check_restarts(elbo: Any, restarts: int) -> None:
    """Check that several runs of an objective can be compared.

    Raises:
        InputError: there is no figure to compare them by.
    """
    if restarts > 1 and not needs_guide(elbo):
        raise InputError(
            f"restarts are compared by an ELBO, and {type(elbo).__name__} uses no guide that has one",
            subject="restarts",
            remedy="leave restarts out, and compare fits by log_evidence(method=Annealed(start='prior'))",
        )
