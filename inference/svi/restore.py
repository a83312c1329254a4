"""The weights of a run, loaded into a program that was built in Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyro_vae import argument_checks as checks
from pyro_vae import checkpoint
from pyro_vae.data import Batches, OneCall
from pyro_vae.errors import InputError, report_user_errors, unknown
from pyro_vae.inference.svi.made_guide import has_guide
from pyro_vae.inference.svi.opening import FUNCTIONS, kind_of, open_fit
from pyro_vae.inference.svi.run_storage import CHECKPOINT, check_checkpoint
from pyro_vae.program.autoguide import has_unset_autoguide
from pyro_vae.program.contract import Program, as_program, held_program
from pyro_vae.program.parameters import stored_parameters
from pyro_vae.program.prior_guide import with_prior_as_guide

PASS_DATA = "pass the data of the fit: restore(program, path, data), or args=(...)"
CHECKS: dict[str, checks.Check] = {"path": checks.path}


def restore(
    program: Any,
    path: Path | str,
    data: Any = None,
    *,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Load the weights of a run into a program that you have built, in place.

    They are those that the program had when :func:`pyro_vae.fit` with ``out=path`` returned: of the best
    epoch, where it kept that. A checkpoint holds numbers and names: reading it runs no code.

    Some programs make their parameters when they are called: ``pyro.param``, Pyro's AutoGuides, a guide
    made from the model. They need the data, or the arguments, that the fit had.

    Args:
        program: a model and guide; or a model alone, which gets its guide made as by ``fit``.
        path: the folder of the run.
        data: the data of the fit, where the program needs them.
        args: with ``kwargs``, the arguments of the fit, in place of ``data``.
        kwargs: see ``args``.

    Returns:
        The program; a pair (model, guide) where the guide was made. A model that was fitted without a guide
        (by Adversarial) stays alone.

    Raises:
        InputError: there is no run in this folder, or it has not taken a step; the weights are of a program
            of another class, or have other names or shapes; the program needs data. Nothing is changed.

    >>> import tempfile, pyro_vae
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, folder = torch.randn(64, 3), tempfile.mkdtemp()
    >>> fitted = pyro_vae.fit(FactorAnalysis((3,), 1), x, epochs=2, out=folder, progress=False).program
    >>> again = pyro_vae.restore(FactorAnalysis((3,), 1), folder)
    >>> bool(pyro_vae.log_evidence(again, x, seed=0).mean == pyro_vae.log_evidence(fitted, x, seed=0).mean)
    True
    """
    checks.check_arguments(CHECKS, locals())
    program = held_program(program)
    file = checkpoint_in(Path(path))
    tensors, record = checkpoint.read(file)
    learnt = trained(file, tensors, record)
    _check_kind(program, file, record)
    if data is not None or args is not None or kwargs is not None:
        place = next((p.device for p in _parameters(program)), torch.device("cpu"))
        opened = open_fit(program, data, None, place, args, kwargs, seed=0)
        with report_user_errors():
            load_learnt(opened.program, _first_batch(opened.train, record), learnt, file)
        return opened.given
    if not has_guide(program):
        whole = as_program(with_prior_as_guide(program, sums_out=False))
        own = checkpoint.learnt_tensors(whole, {})
        if own.keys() == learnt.keys():  # fitted without a guide
            checkpoint.load_into(own, learnt, file)
            return program
        raise InputError("a guide is made from a model and data", subject="data", remedy=PASS_DATA)
    target = as_program(program)
    own = checkpoint.learnt_tensors(target, {})
    if has_unset_autoguide(target) or own.keys() < learnt.keys():
        raise InputError(
            "the program makes parameters when it is called first", subject="data", remedy=PASS_DATA
        )
    checkpoint.load_into(own, learnt, file)
    return program


def checkpoint_in(folder: Path) -> Path:
    """Return the checkpoint of the run in a folder.

    Raises:
        InputError: there is none; the error names the run of the nearest name.
    """
    if (folder / CHECKPOINT).is_file():
        return folder / CHECKPOINT
    raise no_run(folder, CHECKPOINT, "name the folder that was `out` of a fit")


def no_run(folder: Path, file: str, remedy: str) -> InputError:
    """Return the error of a folder without a run, which names the run of the nearest name."""
    runs = sorted(path.parent.name for path in folder.parent.glob(f"*/{file}"))
    return unknown(
        f"there is no run in {folder}",
        folder.name,
        runs,
        subject=str(folder),
        listing=f"one of the {len(runs)} runs in {folder.parent}",
        remedy=remedy,
    )


def trained(
    path: Path,
    tensors: Mapping[str, Tensor],
    record: Mapping[str, Any],
    remedy: str = "go on with it: fit(..., resume=True)",
) -> dict[str, Tensor]:
    """Return what the program of a run has learnt: the best that a checkpoint holds, by name.

    ``remedy`` is what to do where it has learnt nothing yet.

    Raises:
        InputError: the run has not taken a step, or the checkpoint is damaged.
    """
    position = check_checkpoint(path, tensors, record)
    if not (position.epoch or position.batch):
        raise InputError(
            f"the run in {path.parent} has not taken a step, so its program is untrained",
            subject=str(path.parent),
            remedy=remedy,
        )
    prefix = "best/" if any(name.startswith("best/") for name in tensors) else "model/"
    named = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return {n: t for n, t in named.items() if not n.startswith(checkpoint.OBJECTIVE_PREFIX)}


def load_learnt(
    program: Program, batch: tuple[Any, ...], learnt: Mapping[str, Tensor], source: Path
) -> None:
    """Copy what a run has learnt into a program, which runs once on a batch to make its parameters.

    Raises:
        InputError: names or shapes differ; Pyro's param store is then as it was.
    """
    store = pyro.get_param_store()
    before = store.get_state()
    try:
        own = checkpoint.learnt_tensors(program, stored_parameters(program, *batch))
        checkpoint.load_into(own, learnt, source)
    except BaseException:
        store.clear()
        store.set_state(before)
        raise


def _check_kind(program: Any, path: Path, record: Mapping[str, Any]) -> None:
    """Check that a program is of the class that was fitted, where both are objects of a class."""
    own, fitted = kind_of(program), record["program"]
    if FUNCTIONS not in (own, fitted) and own != fitted:
        raise InputError(
            f"{path} is of a {fitted}, and the program is a {own}",
            subject=str(path),
            remedy=f"pass a {fitted}, made with the options of its fit",
        )


def _parameters(program: Any) -> list[nn.Parameter]:
    parts = program if isinstance(program, tuple) else (program,)
    owners = [getattr(part, "__self__", part) for part in parts]
    return [p for owner in owners if isinstance(owner, nn.Module) for p in owner.parameters()]


def _first_batch(rows: Batches, record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return as many rows as a step of the fit took: a guide may have parameters for each of them."""
    if isinstance(rows, OneCall):
        return ()
    _, batch_size, _ = record["rows"]
    count = min(batch_size, rows.num_units)
    return next(rows.take(torch.arange(count), count))
