"""Why a step failed, with the site at fault."""

import pyro
import torch
from pyro import poutine

from pyro_vae.data import Batch
from pyro_vae.errors import InputError, first_line
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import examine
from pyro_vae.program.trace import as_raised, run, sample_sites

STABLER = "try a smaller learning rate, gradient clipping (clip_norm) or a floor under the scales"

POSSIBLE = "let the supports of the latents end where their density does"


def explain(loss: BatchLoss, batch: Batch, error: Exception) -> InputError:
    """Return what was wrong with a batch that raised ``error``, with its site where it can be found."""
    kind, error = type(loss.elbo).__name__, as_raised(error)
    if isinstance(error, InputError):  # Pyro has appended its trace below the first line
        problem = error.problem.split("\n")[0]
        return InputError(
            problem, subject=error.subject, expected=error.expected, remedy=error.remedy
        )
    try:
        with pyro.validation_enabled(False):
            not_finite = first_not_finite(loss.program, batch)
        for strict in (True, False) if not_finite is None else ():  # data outside a support, say
            examine(loss.program, *batch, strict=strict)
    except InputError as explained:
        return explained
    except Exception:
        return InputError(
            f"the program does not fit a batch of {loss.num_units(batch)} data: {first_line(error)}",
            subject="batch_size",
            remedy="give a guide with parameters for each datum, such as an AutoGuide, all data in a batch",
        )
    if isinstance(error, KeyError):
        return InputError(
            f"model and guide did not draw the same latents in this step: {error} is on one side only",
            subject=str(error).strip("'"),
        )
    raised = f"{kind} raised {type(error).__name__}: {first_line(error)}"
    return not_finite or InputError(raised, subject=kind)


@torch.no_grad()
def first_not_finite(program: Program, batch: Batch) -> InputError | None:
    """Return an error for the first site whose value or log-probability on ``batch`` is not finite."""
    guide_trace = run("guide", program.guide, batch, {})
    model_trace = run("model", poutine.replay(program.model, guide_trace), batch, {})
    for role, trace in (("guide", guide_trace), ("model", model_trace)):
        for name, site in sample_sites(trace).items():
            try:
                log_prob = site["fn"].log_prob(site["value"])
            except Exception:  # an examination says why
                return None
            for quantity, tensor in (("value", site["value"]), ("log-probability", log_prob)):
                if not torch.isfinite(tensor).all():
                    number = tensor[~torch.isfinite(tensor)][0]
                    is_impossible = role == "model" and number == -torch.inf
                    return InputError(
                        f"the loss is not finite: the {role}'s site {name!r} is the first whose "
                        f"{quantity} is not ({number:g})",
                        subject=name,
                        remedy=f"{POSSIBLE}, or {STABLER}" if is_impossible else STABLER,
                    )
    return None
