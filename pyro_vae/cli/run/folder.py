"""The folder of a run: what it holds, how a new run claims it, and how it is opened again."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pyro_vae import checkpoint
from pyro_vae.cli.options import safe_yaml
from pyro_vae.cli.options.data import reading_of
from pyro_vae.cli.run.config import BASE, FitConfig
from pyro_vae.cli.run.model_inputs import rows_of, takes_labels
from pyro_vae.cli.run.trust import check_names, option_name, options_to_repeat
from pyro_vae.data import DataSet, Split, blank_data_set, new_rows
from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.inference.svi.restore import load_learnt, no_run, trained
from pyro_vae.inference.svi.run_storage import CHECKPOINT, METRICS, Position, check_checkpoint
from pyro_vae.program.contract import as_program
from pyro_vae.storage import folder_lock, write_text

CONFIG, OPTIMIZER = "config.yaml", "optimizer"
RUN_FILES = (CHECKPOINT, CONFIG, METRICS)
CHANGEABLE = {  # options that may change when a run is opened again
    "epochs",
    "steps",
    "restarts",
    "patience",
    "optimizer.init_args.lr",
    "compile",
    "device",
    "data_root",
    "download",
}
REPORTED = {  # those of them whose change is reported, and what it means that one is not set
    "patience": "without a limit",
    "optimizer.init_args.lr": "chosen by the fit",
}


def read_config(path: Path) -> dict[str, Any]:
    """Return the options in a YAML file.

    Raises:
        InputError: there is no such file, or it is not a YAML mapping.
    """
    if not path.is_file():
        remedy = f"name the {CONFIG} of a run, or another YAML file"
        raise InputError(f"there is no file {path}", subject=str(path), remedy=remedy)
    with report_read_errors(path):
        config = safe_yaml.load(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(config, dict):
        expected = f"a mapping of options, as in the {CONFIG} of a run"
        raise InputError(f"{path} holds no options", subject=str(path), expected=expected)
    return config


# --- a new run ------------------------------------------------------------------------------


def check_free(folder: Path) -> None:
    """Check that a folder holds no run, or one that has not taken a step."""
    if folder.exists() and not folder.is_dir():
        problem = f"{folder} is a file"
        raise InputError(
            problem, subject="--out", expected="a folder", remedy="choose another --out"
        )
    if folder.is_dir():
        with folder_lock(folder):
            pass
    held = [name for name in RUN_FILES if (folder / name).exists()]
    if held and not _is_untrained(folder):
        raise InputError(
            f"{folder} holds another run ({held[0]})",
            subject="--out",
            remedy=f"continue it with --resume {folder}, or choose another --out",
        )


def _is_untrained(folder: Path) -> bool:
    """Return whether the run in a folder ended before its first step, so that nothing is lost with it."""
    path = folder / CHECKPOINT
    if not path.is_file() or not (folder / CONFIG).is_file():
        return False
    try:
        with checkpoint.checked_record(path):
            position = Position.read(checkpoint.read(path)[1]["position"])
    except InputError:
        return False
    return position.epoch == position.batch == 0


@contextmanager
def claimed(folder: Path, config: FitConfig) -> Iterator[None]:
    """Write a configuration to a folder, and remove it if the block ends without a run.

    Raises:
        InputError: the folder holds another run.
    """
    check_free(folder)
    created = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _remove_files(folder)
    write_text(folder / CONFIG, config.to_yaml())
    try:
        yield
    except Exception:
        if _is_untrained(folder):
            _remove_files(folder)
        raise
    finally:
        if not (folder / CHECKPOINT).exists():
            _remove_files(folder)
            for parent in created:
                if not any(parent.iterdir()):
                    parent.rmdir()


def _remove_files(folder: Path) -> None:
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


# --- an old run -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RunFolder:
    """Hold a run that was left in a folder.

    Attributes:
        folder: where it is.
        config: its configuration.
        changes: the options that differ from now on, in words.
    """

    folder: Path
    config: FitConfig
    changes: tuple[str, ...] = ()

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / CHECKPOINT

    @cached_property
    def saved(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The tensors and the record of the checkpoint."""
        tensors, record = checkpoint.read(self.checkpoint_path)
        check_checkpoint(self.checkpoint_path, tensors, record)
        with checkpoint.checked_record(self.checkpoint_path):
            for part in ("data", "options"):
                record[part].keys()
        return tensors, record

    def load_data(self) -> DataSet:
        """Return the data that the run was fitted to.

        Raises:
            InputError: the data have changed.
        """
        data = self.config.load_data()
        before, now = self.saved[1].get("data"), data.record()
        if before != now:
            changed = [key for key in now if before is None or before.get(key) != now[key]]
            raise InputError(
                f"the data {data.name} are not those that {self.folder} was fitted to: "
                f"their {', '.join(changed)} changed",
                subject=data.name,
                remedy="restore them, or fit a new run",
            )
        return data

    def remembered_data(self) -> DataSet:
        """Return the facts that the checkpoint holds about the data, without any rows."""
        options, facts = self.config.options, self.saved[1].get("facts")
        if not isinstance(facts, Mapping):
            problem, path = "holds no facts about the data", str(self.checkpoint_path)
            raise InputError(f"{path} {problem}", subject=path, remedy="fit a new run")
        return blank_data_set(options.data, facts, options.binarize)

    def new_data(self, name: str) -> Split:
        """Return all rows of other data, as the run's model takes them."""
        options = self.config.options
        return new_rows(
            name,
            self.remembered_data(),
            reading_of(options),
            labels_wanted=bool(takes_labels(self.config.model)),
            root=options.data_root,
            binarize=options.binarize,
        )

    def load_program(self, data: DataSet, device: torch.device) -> Any:
        """Return the run's model with the best parameters that the fit found.

        Raises:
            InputError: the run has not taken a step.
        """
        words = f"{self.folder}{options_to_repeat(self.config.to_dict())}"
        remedy = f"fit it with pyro-vae fit --resume {words}"
        learnt = trained(self.checkpoint_path, *self.saved, remedy)
        program = self.config.build(data)
        target = as_program(program)
        for module in target.modules.values():
            module.to(device)
        row = next(rows_of(target, data.train, device, torch.zeros(1, dtype=torch.long)))
        load_learnt(target, row, learnt, self.checkpoint_path)
        return program


def open_run(
    folder: Path | str, words: Sequence[str] = (), trusted: Collection[str] = ()
) -> RunFolder:
    """Return the run in a folder.

    Args:
        folder: the run's folder.
        words: options that repeat those of the run, or change those in ``CHANGEABLE``. Code outside
            pyro_vae, torch and Pyro runs only if they name it.
        trusted: dotted names of further code that may run.

    Raises:
        InputError: there is no run, a class is not named, or an option differs.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        if (folder / CHECKPOINT).is_file():
            raise InputError(
                f"{folder} holds the weights of a program that was fitted in Python, and no {CONFIG}",
                subject=str(folder),
                remedy=f'build the program and load them by pyro_vae.restore(program, "{folder}")',
            )
        raise no_run(folder, CONFIG, "make one with `pyro-vae fit`")
    options = read_config(folder / CONFIG)
    check_names(options, words, folder / CONFIG, trusted)
    options[BASE] = str(_base(options, folder))
    run = RunFolder(folder, FitConfig.read([], options))
    _check_unchanged(f"{folder} was made with", run.saved[1].get("options"), run.config)
    if not words:  # to read the same options again would take as long as everything before
        return run
    config = FitConfig.read(words, options)
    _check_unchanged(f"{folder} has", run.config.to_dict(), config)
    before, now = flat(run.config.to_dict()), flat(config.to_dict())
    changes = (
        f"from here on --{option_name(key)} is {_shown(key, now)}; it was {_shown(key, before)}"
        for key in REPORTED
        if before.get(key) != now.get(key)
    )
    return replace(run, config=config, changes=tuple(changes))


def _shown(key: str, options: Mapping[str, Any]) -> Any:
    value = options.get(key)
    return REPORTED[key] if value is None else value


def _base(config: Mapping[str, Any], folder: Path) -> Path:
    """Return where a run's relative paths start: where it began, or, after a move, a folder above it."""
    began, data = Path(str(config.get(BASE, ""))), str(config.get("data"))
    places = (began, Path.cwd(), *folder.absolute().parents)
    return next((place for place in places if os.path.exists(place / data)), began)


def _check_unchanged(owner: str, before: Any, config: FitConfig) -> None:
    """Check that no option but those in ``CHANGEABLE`` differs."""
    old, new = flat(before), flat(config.to_dict())
    if old.get(OPTIMIZER, "") is None and new.get(OPTIMIZER, "") is not None:
        old |= flat({OPTIMIZER: config.default_optimizer()})
    for key in old | new:
        if (
            old.get(key, new.get(key)) != new.get(key) and key not in CHANGEABLE
        ):  # an option may be new
            option = f"--{option_name(key)}"
            changeable = ", ".join(sorted(option_name(name) for name in CHANGEABLE))
            raise InputError(
                f"{owner} {option} {_or_unset(old.get(key))}, not {_or_unset(new.get(key))}: a run keeps "
                f"its options, all but {changeable}",
                subject=option,
                remedy="start a new run with --config and --out",
            )


def _or_unset(value: Any) -> Any:
    return "unset" if value is None else value


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested options by their dotted names.

    >>> flat({"model": {"class_path": "VAE"}, "seed": 0})
    {'model.class_path': 'VAE', 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found
