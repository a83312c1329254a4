"""Guides that are made from a model: how far do they stay below the evidence, and below other guides?

    python benchmarks/made_guides.py [--section closed_forms hard autoguides shelf steps] [--steps 5000]
                                     [--units 100000] [--seconds 20] [--only Gamma linear]

closed_forms: KL from the guide to the exact posterior of held-out units, in nats. hard: random effects of
300 groups of two, whose evidence is a quadrature's. autoguides: the ELBO after so many seconds of training,
against Pyro's guides and one by hand. shelf: against the guides of this library's own models. steps: the
processor time of a step (loss and gradients) against a guide by hand whose network is as large.
"""

import argparse
import logging
import warnings
from collections.abc import Iterable, Sequence

from guide_gaps import autoguides, closed_forms, hard, shelf, steps

from pyro_vae.inference.objectives import StickingTheLanding

STEPS, SHELF_STEPS = 5_000, 1_500
SECTIONS = ("closed_forms", "hard", "autoguides", "shelf", "steps")


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table, row by row."""
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, nargs="+", default=[20.0])
    parser.add_argument("--groups", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 1_000], help="of the steps")
    parser.add_argument("--seeds", type=int, default=3, help="of the shelf")
    parser.add_argument("--only", nargs="+", default=[], help="words in the names of closed forms")
    parser.add_argument("--landing", action="store_true", help="fit by StickingTheLanding")
    options = parser.parse_args()
    elbo = StickingTheLanding() if options.landing else None
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    if "closed_forms" in options.section:
        forms = closed_forms.rows(options.steps, options.units, elbo, options.only)
        show(["closed form", *closed_forms.HEAD], forms)
        if not options.only or "shared" in options.only:
            head = [
                "a shared mean: sd over the exact one",
                "its mean, sds off",
                "seconds",
                "bar met",
            ]
            show(head, [closed_forms.shared_mean(options.steps, options.units, elbo)])
    if "hard" in options.section:
        show(hard.HEAD, hard.rows(None if options.steps == STEPS else options.steps, elbo))
    if "autoguides" in options.section:
        show(autoguides.HEAD, autoguides.rows(options.groups, options.seconds))
    if "shelf" in options.section:
        show(shelf.HEAD, shelf.rows(min(options.steps, SHELF_STEPS), options.seeds))
    if "steps" in options.section:
        show(steps.HEAD, steps.rows(options.batch))


if __name__ == "__main__":
    main()
