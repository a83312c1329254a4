"""Regret: what a guide gains where it is fitted to the row itself."""

from dataclasses import dataclass
from typing import Any

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, positive
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.proposals import refined
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.inference.scoring.by import Figures, Score, surprise_shares
from pyro_vae.inference.scoring.rows import Rows
from pyro_vae.program.common_noise import CommonNoise
from pyro_vae.program.isolation import seed_all


@dataclass(frozen=True)
class Regret(Score):
    """Score a row by its likelihood regret, in nats: the ELBO under a guide that is refined for the row
    less the ELBO under the amortised guide.

    An encoder has learnt to describe rows like those of the training; for others it is far from the best
    guide. All rows of a tile are refined together, each with parameters of its own.

    Args:
        steps: of Adam, for each row.
        learning_rate: of the first step; it falls linearly to 0.

    Source: Z. Xiao, Q. Yan, Y. Amit, "Likelihood regret: an out-of-distribution detection score for
    variational auto-encoder", 2020, https://arxiv.org/abs/2003.02977.
    """

    steps: int = 100
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        options = {"steps": at_least_1, "learning_rate": positive}
        checks.check_arguments(options, vars(self))

    @property
    def description(self) -> str:
        return f"likelihood regret after {self.steps} steps, in nats"

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        _check_has_guide(rows)
        plain = rows.under(rows.program, Importance())
        elbo = _CommonELBO(self.steps, rows.seed)
        finer = rows.under(
            refined(rows.program, self.steps, self.learning_rate, elbo), Importance()
        )
        elbo.unit = plain.evidence.unit
        after, before = (each.evidence for each in (finer, plain))
        scores = after.bounds[1] - before.bounds[1]
        errors = (after.bounds_error[1].square() + before.bounds_error[1].square()).sqrt()
        return Figures(scores, errors, surprise_shares(plain), before.notes)


def _check_has_guide(rows: Rows) -> None:
    """Check that there is something to refine.

    Raises:
        InputError: the guide draws nothing.
    """
    if not rows.has_latents:
        raise InputError(
            "the program has no latents, so there is no guide that could be refined, and no regret",
            subject="by",
            expected="another score, such as Surprise()",
        )


class _CommonELBO(TraceELBO):
    """The ELBO with one noise for all rows, so that a row is refined among others as it is alone.

    Args:
        steps: of each fit; every step has a noise of its own, the same in every fit.
        seed: of the noise.
    """

    unit: str | None = None

    def __init__(self, steps: int, seed: int) -> None:
        super().__init__()
        self.steps, self.seed, self.step = steps, seed, 0

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Any:
        common = guide if self.unit is None else CommonNoise(self.unit)(guide)
        seed_all((self.seed + 1_000_003 * (1 + self.step % self.steps)) % 2**32)
        self.step += 1
        return super().differentiable_loss(model, common, *args, **kwargs)
