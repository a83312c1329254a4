"""The checks of the arguments that a posterior's methods take."""

from typing import Any

from pyro_vae import argument_checks as checks
from pyro_vae.errors import at_least_1, must_be, true_or_false
from pyro_vae.inference.posterior.summary import check_probability


def _check_level(name: str, level: Any) -> None:
    if checks.number(name, level, least=0) > 1:
        raise must_be(name, "between 0 and 1", level)


SEED_CHECKS: dict[str, checks.Check] = {"seed": checks.optional(checks.seed)}
PREDICTIVE_CHECKS = {**SEED_CHECKS, "num": checks.optional(at_least_1)}
LIKELIHOOD_CHECKS = {**SEED_CHECKS, "conditional": true_or_false, "num_inner": at_least_1}
IMPUTE_CHECKS = {
    **SEED_CHECKS,
    "quantiles": checks.each(_check_level, "a list of numbers between 0 and 1", least=1),
}
SUMMARY_CHECKS: dict[str, checks.Check] = {"probability": check_probability}
