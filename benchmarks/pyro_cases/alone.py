"""A case's own guide against the guide that `fit` makes for its bare model."""

import contextlib
import io
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import mean, stdev
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_cases.case import Case
from pyro_cases.trial import TooLong, at_most, first_line
from pyro_vae import InputError, fit, log_evidence
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.program.contract import as_program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import latent_sites, run

SEEDS = (0, 1, 2)
STEPS, PARTICLES, DRAWS = 500, 100, 100
RATES = (1e-2, 3e-3)  # each guide has the figure of the better one
COPIES = 2 * len(RATES)  # of a case, for each seed
SECONDS = 180  # of the processor's time, that one fit with its evidence may take
SHORT = RunControl(steps_worth_inductor=10**9)  # Inductor takes half a minute a program
SLOW = 6.0  # such seconds of one fit with its evidence, from which one seed has to do
WRONG = 1e12  # nats that no ELBO of so few data has
ERRORS = 2.0  # standard errors by which an ELBO may be lower
BLURRED = 0.1  # of the ELBO's size: an error above this hides how bad a guide is
ROUNDING = 1e-5  # of float32, as a share
A_POINT = "at a single point"  # what `log_evidence` says of a guide that finds a mode
STAND_IN = "the example's guide is a point (MAP); AutoNormal stands in for it"
OF_A_GUIDE = {  # models that hold the parameters of a guide, which must stay
    "NeuTraReparam",
    "deep kernel",
    "VariationalGP",
    "VariationalSparseGP, whiten=True",
    "VariationalSparseGP, whiten=False",
}


@dataclass(frozen=True)
class Figures:
    """Hold ELBO and evidence bound of all data after one fit, in nats, and the ELBO's standard error."""

    elbo: float
    error: float
    bound: float


@dataclass
class Comparison:
    """Hold a case's figures by seed; ``said`` is why there are none, or what to know of them."""

    name: str
    verdict: str = ""
    said: str = ""
    theirs: list[Figures] = field(default_factory=list)
    ours: list[Figures] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether the case has latents to draw, and always the same."""
        return not self.verdict.startswith("-")

    @property
    def is_kept(self) -> bool:
        """Whether the made guide does as well."""
        return self.verdict in ("as good", "better")

    def difference(self) -> tuple[float, float]:
        """Return how much larger our ELBO is, and the standard error over seeds and draws."""
        pairs = list(zip(self.ours, self.theirs, strict=True))
        each = [a.elbo - b.elbo for a, b in pairs]
        by_draws = math.sqrt(sum(a.error**2 + b.error**2 for a, b in pairs)) / len(pairs)
        by_seeds = stdev(each) / math.sqrt(len(each)) if len(each) > 1 else 0.0
        return mean(each), max(by_draws, by_seeds)


def restored(row: dict[str, Any]) -> Comparison:
    """Return what `asdict` made of a comparison."""
    figures = {key: [Figures(**each) for each in row[key]] for key in ("theirs", "ours")}
    return Comparison(**row | figures)


def compare(copies: Sequence[Case]) -> Comparison:
    """Fit a case's bare model and the case itself with each seed, and compare; in silence.

    Args:
        copies: of the case, `COPIES` for each seed, since a fit changes networks in place.
    """
    starts = range(0, len(copies), COPIES)
    ours = [copies[i : i + len(RATES)] for i in starts]
    theirs = [copies[i + len(RATES) : i + COPIES] for i in starts]
    result, started = Comparison(copies[0].name), time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            result.verdict = not_counted(copies[0])
            if not result.verdict:
                result.ours = list(of_made_guide(ours))
                theirs = theirs[: len(result.ours)]
                result.theirs = list(of_own_guide(theirs, result))
                result.verdict = verdict(result)
        except InputError as error:
            also = is_refused_too(theirs[0][0], error)
            result.verdict = "- refused with its own guide, too" if also else "refused"
            result.said = str(error)
        except TooLong:
            result.verdict = f"> {SECONDS} s"
        except Exception as error:
            result.verdict, result.said = "**crash**", first_line(error)
    result.seconds = time.monotonic() - started
    return result


def verdict(result: Comparison) -> str:
    off, error = result.difference()
    size = max(1.0, *(abs(f.elbo) for f in result.theirs))
    if not math.isfinite(off):
        return "**not finite**"
    if any(abs(f.elbo) > WRONG for f in result.ours):
        return "**wrong number**"
    if off < -ERRORS * error - ROUNDING * size:
        return "**worse**"
    if error > 1.0 + BLURRED * size:
        return "**unclear**"
    return "better" if off > ERRORS * error + ROUNDING * size else "as good"


def not_counted(case: Case) -> str:
    """Return why a case has no place in the comparison; empty if it has one."""
    if case.name in OF_A_GUIDE:
        return "- its model holds parameters of a guide"
    program = as_program(case.program)
    pyro.clear_param_store()
    runs = []
    for seed in range(8):
        with undisturbed(program, seed), pyro.validation_enabled(False):
            trace = run("model", program.model, case.args, case.kwargs)
        runs.append({n for n, s in latent_sites(trace).items() if not is_summed_out(s)})
    if any(names != runs[0] for names in runs):
        return "- other latents in each run"
    return "" if runs[0] else "- no latents to draw"


def bare(case: Case) -> Case:
    """Return a case without its guide and without the objective that goes with it."""
    program = case.program
    model = program[0] if isinstance(program, tuple) else program.model  # as a person hands it over
    return replace(case, program=model, elbo=None)


def of_made_guide(seeds: Sequence[Sequence[Case]]) -> Iterator[Figures]:
    """Yield figures of the guide that is made for the bare model; of one seed if they take long."""
    started = time.process_time()
    for copies, seed in zip(seeds, SEEDS, strict=False):
        yield better([bare(case) for case in copies], seed)
        if time.process_time() - started > SLOW * (seed - SEEDS[0] + 1):
            return


def of_own_guide(seeds: Sequence[Sequence[Case]], result: Comparison) -> Iterator[Figures]:
    """Yield figures of the case's own guide; of AutoNormal where that guide is a point."""
    for copies, seed in zip(seeds, SEEDS, strict=False):
        if not result.said:
            try:
                yield better(copies, seed)
                continue
            except InputError as error:
                if A_POINT not in str(error):
                    raise RuntimeError(f"its own guide: {error}") from error
                result.said = STAND_IN
        yield better([with_auto_normal(case) for case in copies], seed)


def with_auto_normal(case: Case) -> Case:
    model = bare(case).program
    drawn = poutine.block(model, hide_fn=is_summed_out)
    return replace(case, program=(model, AutoNormal(drawn)), ordered=True, elbo=None)


def is_summed_out(message: dict[str, Any]) -> bool:
    return bool(message["type"] == "sample" and message.get("infer", {}).get("enumerate"))


def better(copies: Sequence[Case], seed: int) -> Figures:
    """Fit a case with each learning rate, and return the figures of the larger ELBO.

    Raises:
        InputError: no rate gives figures; one that diverges is only not the better one.
    """
    found, errors = [], []
    for case, rate in zip(copies, RATES, strict=True):
        try:
            found.append(weighed(case, seed, rate))
        except InputError as error:
            errors.append(error)
    if not found:
        raise errors[-1]
    return max(
        found, key=lambda figures: figures.elbo if math.isfinite(figures.elbo) else -math.inf
    )


def weighed(case: Case, seed: int, rate: float) -> Figures:
    """Fit a case and weigh what comes out."""
    pyro.clear_param_store()
    with at_most(SECONDS):
        program, given = fitted(case, seed, rate), rows_of(case)
        try:
            found: Evidence = log_evidence(
                program,
                **given,
                num_particles=PARTICLES,
                seed=seed,
                device="cpu",
                progress=False,
                compile="off",
            )
        except InputError as error:
            if A_POINT in str(error):
                raise
            try:
                return by_pyro(replace(case, program=program), seed)
            except ValueError:  # of the model, at one of the guide's draws
                raise error from None
    error: Tensor = found.bounds_error[1].square().sum().sqrt()
    return Figures(float(found.bounds[1].sum()), float(error), found.total)


def is_refused_too(case: Case, refusal: InputError) -> bool:
    """Return whether a case with its own guide is refused by the same sentence."""
    pyro.clear_param_store()
    try:
        fitted(case, SEEDS[0], RATES[0], steps=1)
    except InputError as error:
        return str(error) == str(refusal)
    except Exception:
        return False
    return False


def fitted(case: Case, seed: int, rate: float, steps: int = STEPS) -> Any:
    """Return the program after a fit; as it is, where its own guide has nothing to train."""
    if isinstance(case.program, tuple) and not trainable(case):
        return case.program
    result = fit(
        case.program,
        **rows_of(case),
        **batches_of(case),
        epochs=steps,
        seed=seed,
        optimizer=partial(Adam, lr=rate),
        lr_schedule=partial(CosineAnnealingLR, T_max=steps),
        elbo=case.elbo() if case.elbo else None,
        device="cpu",
        progress=False,
        control=SHORT,
    )
    return result.program


def trainable(case: Case) -> bool:
    """Return whether a pair of functions has a parameter."""
    program = as_program(case.program)
    with undisturbed(program, 0), pyro.validation_enabled(False):
        runs = [
            poutine.trace(f).get_trace(*case.args, **case.kwargs)
            for f in (program.guide, program.model)
        ]
    return any(node["type"] == "param" for run in runs for node in run.nodes.values())


def by_pyro(case: Case, seed: int) -> Figures:
    """Estimate the ELBO of a fitted case by Pyro's own loss."""
    program = as_program(case.program)
    with undisturbed(program, seed), torch.no_grad():
        trace = poutine.trace(program.model).get_trace(*case.args, **case.kwargs)
        elbo = TraceEnum_ELBO if any(map(is_summed_out, trace.nodes.values())) else Trace_ELBO
        loss = elbo().loss
        pair = (program.model, program.guide)
        draws = torch.tensor([-loss(*pair, *case.args, **case.kwargs) for _ in range(DRAWS)])
    return Figures(float(draws.mean()), float(draws.std()) / math.sqrt(DRAWS), math.nan)


def rows_of(case: Case) -> dict[str, Any]:
    """Return a case's arguments as `fit` and `log_evidence` take them: rows of data, or one call."""
    if not case.rows:
        return {"args": case.args, "kwargs": case.kwargs}
    return {"data": case.args if len(case.args) > 1 else case.args[0]}


def batches_of(case: Case) -> dict[str, Any]:
    """Return that all rows are one batch, in their order."""
    if not case.rows:
        return {}
    return {"batch_size": len(case.args[0])} | ({} if case.ordered else {"shuffle": False})
