"""A run of the command line, opened in Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.cli.options.model import path_of
from pyro_vae.cli.options.parser import imports_as_found
from pyro_vae.cli.run.folder import CONFIG, RunFolder, read_config
from pyro_vae.cli.run.folder import open_run as open_folder
from pyro_vae.cli.run.trust import TRUSTED, foreign_names
from pyro_vae.data import DataSet, Split, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.training_rows import remember_training_rows
from pyro_vae.program.contract import as_program, signature
from pyro_vae.program.generators import generators_as_found

CHECKS: dict[str, checks.Check] = {
    "path": checks.path,
    "model": checks.optional(
        checks.suggesting("pass the class itself", checks.instance(type, "a class"))
    ),
    "parts": checks.each(
        checks.instance((type, FunctionType), "a class or a function"),
        "a list of classes and functions",
    ),
    "data": checks.optional(checks.path),
}


def open_run(
    path: Path | str,
    *,
    model: type | None = None,
    parts: Sequence[Any] = (),
    data: Path | str | None = None,
    device: str | torch.device = "cpu",
) -> tuple[Any, DataSet | Split]:
    """Open the folder of a run that ``pyro-vae fit`` wrote: its program with its weights, and its data.

    Both are as the run had them: the program with the parameters of the best epoch, the data with their
    splits and their preprocessing. Every verb takes them: ``log_evidence(program, data.test)``.

    The folder may come from somebody else. Its configuration names classes, and only those of pyro_vae,
    torch and Pyro are made from it, unless you pass them. A run that :func:`pyro_vae.fit` wrote in Python
    has no configuration: :func:`pyro_vae.restore` loads its weights.

    Args:
        path: the folder.
        model: the class of the run's model, if it is your own (``--model MODULE.CLASS``). The classes of
            its package may be made, too.
        parts: further classes and functions of your own that the configuration names: of parts of the
            model, of the optimizer, its schedule, or the objective.
        data: a name or a path of other data, in place of the run's own; all rows of them are read as the
            run's model takes them.
        device: where the program is to be.

    Returns:
        The program, and the data: a set with its splits, or the rows of other data.

    Raises:
        InputError: there is no such run, it has not taken a step, its data have changed, or it names code
            that is neither ours nor yours.
    """
    checks.check_arguments(CHECKS, locals())
    place, folder = resolve(device), Path(path)
    own = [path_of(each) for each in (*([model] if model else []), *parts)]
    if (folder / CONFIG).is_file():
        _check_named(read_config(folder / CONFIG), folder, model, own)
    with imports_as_found(), generators_as_found():
        words = [] if model is None else ["--model", own[0]]
        run = open_folder(folder, words, own)
        if data is not None:
            return run.load_program(run.remembered_data(), place), run.new_data(str(data))
        rows = _own_data(run)
        program = run.load_program(rows, place)
        target = as_program(program)
        remember_training_rows(target, batches(rows.train, "cpu", signature(target)))
        return program, rows


def _check_named(
    config: Mapping[str, Any], folder: Path, model: type | None, own: Sequence[str]
) -> None:
    """Check that the caller has passed all foreign code that a configuration names.

    Raises:
        InputError: a class is missing, or the run is of another model.
    """
    fitted = config.get("model")
    fitted = fitted.get("class_path") if isinstance(fitted, Mapping) else fitted
    if model is not None and own[0] != fitted:
        raise InputError(
            f"the model of {folder} is {fitted}, and model is {own[0]}",
            subject="model",
            remedy=f'build the program and load the weights by pyro_vae.restore(program, "{folder}")',
        )
    packages = () if model is None else (model.__module__.split(".")[0],)
    for option, name in foreign_names(config, TRUSTED + packages).items():
        if name not in own:
            argument = "model={}" if option == "--model" else "parts=[{}]"
            remedy = (
                f"if you trust it, import it and pass {argument.format(name.rpartition('.')[2])}"
            )
            raise InputError(
                f"{folder / CONFIG} names {name}, which is not part of pyro_vae",
                subject=option.removeprefix("--"),
                remedy=remedy,
            )


def _own_data(run: RunFolder) -> DataSet:
    try:
        return run.load_data()
    except InputError as error:
        raise InputError(
            error.problem,
            subject=error.subject,
            expected=error.expected,
            remedy='pass others as data="...", or put the data back where the run found them',
        ) from error
