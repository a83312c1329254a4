"""A first model at the defaults, fitted and weighed, against its exact evidence."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyro
import torch
from pyro_cases.trial import TooLong, at_most, first_line

from first_models.stories import Story
from pyro_vae import InputError, fit, log_evidence
from pyro_vae.inference import Importance

SEEDS = range(5)
NATS, ERROR = 0.05, 0.02  # how far off an evidence may be, and its standard error
SECONDS = 300  # that one fit with its evidence may take


@dataclass(frozen=True)
class Weighed:
    """Hold one seed's figures of all data, in nats."""

    exact: float
    evidence: float
    error: float
    elbo: float
    pareto_k: float
    notes: tuple[str, ...]
    seconds: float

    @property
    def off(self) -> float:
        return self.evidence - self.exact

    @property
    def is_right(self) -> bool:
        return abs(self.off) <= NATS and self.error <= ERROR


@dataclass
class Row:
    """Hold a story's figures by seed, and the sentences of what was not weighed."""

    story: Story
    weighed: list[Weighed] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def num_seeds(self) -> int:
        return len(self.weighed) + len(self.said)


def row_of(story: Story, seeds: Iterable[int] = SEEDS) -> Row:
    """Weigh a story with each seed, its data drawn anew."""
    row = Row(story)
    for seed in seeds:
        try:
            with at_most(SECONDS):
                row.weighed.append(weighed(story, seed))
        except InputError as error:
            row.said.append(f"refused: {error}")
        except TooLong:
            row.said.append(f"took more than {SECONDS} s")
        except Exception as error:
            row.said.append(f"CRASH {first_line(error)}")
    return row


def weighed(story: Story, seed: int) -> Weighed:
    """Fit and weigh a story at the defaults; where labels can be exchanged, as the note says."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    args = story.draw()
    exact = story.exact(*args)
    started = time.monotonic()
    if story.is_series:
        result = fit(story.model, args=args, seed=seed, progress=False)
    else:
        data = args if len(args) > 1 else args[0]
        result = fit(story.model, data, seed=seed, progress=False)
    method = Importance(symmetrize=story.labels > 1)
    evidence = log_evidence(result.program, args=args, method=method, seed=seed, progress=False)
    errors = evidence.standard_error.square().sum().sqrt()
    return Weighed(
        exact,
        evidence.total,
        float(errors) if errors.isfinite() else math.inf,
        float(evidence.bounds[1].sum()),
        float(evidence.pareto_k.max()) if not torch.isnan(evidence.pareto_k).all() else math.nan,
        tuple(evidence.notes),
        time.monotonic() - started,
    )
