"""Bar 1: made guides of new units, against exact posteriors."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyro
import torch
from pyro.infer import ELBO
from torch import Tensor
from torch.optim import Adam

from guide_gaps.draws import Draws, draws_of
from guide_gaps.models import CLOSED_FORMS, ClosedForm, draw_groups_around_2, groups_with_mean
from pyro_vae import fit
from pyro_vae.guides import AutoAmortized

BATCH, LR, HELD_OUT = 256, 3e-3, 200
HEAD = (
    "KL, median",
    "KL, 95 %",
    "their error",
    "ESS / K, 5 %",
    "means, sds off",
    "sds, % off",
    "bar met",
    "seconds",
)


@dataclass(frozen=True)
class Gap:
    """Hold a guide's figures of held-out units, in nats; means in units of the posterior's sd."""

    kl: Tensor
    error: Tensor
    ess: Tensor
    means_off: Tensor
    sds_off: Tensor


def rows(
    steps: int, units: int, elbo: ELBO | None = None, only: Sequence[str] = ()
) -> Iterator[list[str]]:
    """Yield a row of the table for each model."""
    for case in CLOSED_FORMS:
        if only and not any(word in case.name for word in only):
            continue
        pyro.set_rng_seed(0)
        data, new = case.draw(units), case.draw(HELD_OUT)
        started = time.monotonic()
        program = trained(case.model, data, steps, elbo)
        seconds = time.monotonic() - started
        yield [case.name, *cells(case, gap_of(case, program, new)), f"{seconds:.0f}"]


def trained(
    model: object, data: tuple[Tensor, ...], steps: int, elbo: ELBO | None
) -> tuple[object, AutoAmortized]:
    """Fit a made guide for so many steps."""
    guide = AutoAmortized(model, *(x[:1000] for x in data))
    fit(
        (model, guide),
        data if len(data) > 1 else data[0],
        epochs=max(1, round(steps * BATCH / len(data[0]))),
        batch_size=BATCH,
        optimizer=partial(Adam, lr=LR),
        elbo=elbo,
        progress=False,
        device="cpu",
    )
    return model, guide


def gap_of(case: ClosedForm, program: tuple[object, AutoAmortized], new: Sequence[Tensor]) -> Gap:
    """Weigh a guide on new units.

    With r = p(z | x) / q(z), of mean 1, E_q[r - 1 - log r] is the KL from guide to posterior; it varies
    much less than -log r does.
    """
    unit = program[1].unit
    assert unit is not None
    draws = draws_of(program, new, case.draws, case.nesting, unit.dim)
    log_ratio = draws.log_weights - case.log_evidence(*new)
    each = log_ratio.exp() - 1 - log_ratio
    weights = log_ratio.softmax(0)
    posterior, z = case.posterior(*new), latents(case, draws)
    return Gap(
        each.mean(0),
        each.std(0) / len(each) ** 0.5,
        1 / weights.square().sum(0) / len(each),
        ((z.mean(0) - posterior.mean) / posterior.stddev).abs(),
        (z.std(0) / posterior.stddev - 1).abs(),
    )


def latents(case: ClosedForm, draws: Draws) -> Tensor:
    """Return draws of the latents, ``draws, units`` or ``draws, units, D``."""
    values = [draws.values[name].double() for name in case.latents]
    if len(values) > 1:
        return torch.stack(values, -1)
    return values[0].squeeze(-1) if case.nesting > 1 else values[0]


def cells(case: ClosedForm, gap: Gap) -> list[str]:
    median, top = gap.kl.median(), gap.kl.quantile(0.95)
    ess, (most, most_top, least) = gap.ess.quantile(0.05), case.bars
    off = gap.means_off.median(), gap.sds_off.median()
    met = median <= most and top <= most_top and ess >= least and off[0] <= 0.05 and off[1] <= 0.03
    return [
        f"{median:.4f}",
        f"{top:.4f}",
        f"{gap.error.median():.4f}",
        f"{ess:.3f}",
        f"{off[0]:.3f}",
        f"{100 * off[1]:.1f}",
        "yes" if met else "no",
    ]


def shared_mean(steps: int, units: int, elbo: ELBO | None = None) -> list[str]:
    """Return the row of groups around a mean that they share: its sd, against the exact one."""
    pyro.set_rng_seed(0)
    x, mask = draw_groups_around_2(units)
    started = time.monotonic()
    _, guide = trained(groups_with_mean, (x, mask), steps, elbo)
    counts = mask.double().sum(1)
    precision = 1 / 9 + (1 / (1 + 1 / counts)).sum()
    mean = ((x.double() * mask).sum(1) / counts / (1 + 1 / counts)).sum() / precision
    assert guide.shared is not None
    assert guide.shared.joint is not None
    draws = guide.shared.joint.distribution().sample((100_000,))[:, 0].double()
    sd = precision.rsqrt()
    ratio, off = float(draws.std() / sd), float((draws.mean() - mean) / sd)
    mean_field = float(len(x) ** -0.5 / sd)
    return [
        f"{ratio:.3f} (mean field: {mean_field:.2f})",
        f"{off:+.2f}",
        f"{time.monotonic() - started:.0f}",
        "yes" if abs(ratio - 1) <= 0.05 else "no",
    ]
