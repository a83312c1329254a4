"""A run's folder: what it holds, who may write to it, and how a run is opened again."""

import importlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pyro_vae import checkpoint
from pyro_vae.cli.options import safe_yaml
from pyro_vae.cli.options.data import reading_of
from pyro_vae.cli.options.model import find_class
from pyro_vae.cli.options.parser import allow_imports, take_options
from pyro_vae.cli.run.config import HOME, Experiment
from pyro_vae.data import DataSet, Split, batches, new_rows, remembered
from pyro_vae.errors import InputError, nearest, reading
from pyro_vae.inference.svi.run_state import CHECKPOINT, METRICS, Position, check
from pyro_vae.program.contract import as_program, num_arguments, signature
from pyro_vae.program.parameters import stored_parameters
from pyro_vae.storage import sole_use

CONFIG = "config.yaml"
OWN = (CHECKPOINT, CONFIG, METRICS)
TRUSTED = ("pyro_vae", "torch.nn", "torch.optim", "pyro.infer")
PARTS = ("model", "optimizer", "schedule", "elbo", "beta")  # options that name classes
MAY_CHANGE = {  # when a run is opened again, by a command line or in its file
    "epochs",
    "patience",
    "optimizer.init_args.lr",
    "compile",
    "device",
    "data_root",
    "download",
}
SAID = {"patience", "optimizer.init_args.lr"}  # of these, what is said where it changes


def read_config(path: Path) -> dict[str, Any]:
    """The options in a YAML file.

    :raises InputError: no such file, or it is no YAML of options.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with reading(path):
        config = safe_yaml.load(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no options: it should be a mapping, as runs leave it")
    return config


def check_free(folder: Path) -> None:
    """:raises InputError: the folder holds a run already."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --out names a folder")
    if folder.is_dir():
        with sole_use(folder):
            pass
    held = [name for name in OWN if (folder / name).exists()]
    if held and not _is_stillborn(folder):
        raise InputError(
            f"{folder} holds another run ({held[0]}): go on with it by --resume {folder}, or choose "
            "another folder with --out"
        )


def _is_stillborn(folder: Path) -> bool:
    """Whether the run in a folder ended before its first step, so that nothing is lost with it."""
    path = folder / CHECKPOINT
    if not path.is_file() or not (folder / CONFIG).is_file():
        return False
    try:
        with checkpoint.understood(path):
            position = Position.read(checkpoint.read(path)[1]["position"])
    except InputError:
        return False
    return position.epoch == position.batch == 0


@contextmanager
def claimed(folder: Path, experiment: Experiment) -> Iterator[None]:
    """Writes an experiment's configuration; takes it back where no run comes of it.

    :raises InputError: the folder holds another run.
    """
    check_free(folder)
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _remove(folder)
    checkpoint.write_text(folder / CONFIG, experiment.to_yaml())
    try:
        yield
    except Exception:
        if _is_stillborn(folder):
            _remove(folder)
        raise
    finally:
        if not (folder / CHECKPOINT).exists():
            _remove(folder)
            for parent in made:
                if not any(parent.iterdir()):
                    parent.rmdir()


def _remove(folder: Path) -> None:
    for name in OWN:
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class RunFolder:
    """A run that was left in a folder."""

    folder: Path
    experiment: Experiment
    changes: tuple[str, ...] = ()  # of what a resumed run does, in words

    @cached_property
    def saved(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The tensors and the record of the run's checkpoint."""
        tensors, record = checkpoint.read(self.folder / CHECKPOINT)
        check(self.folder / CHECKPOINT, tensors, record)
        with checkpoint.understood(self.folder / CHECKPOINT):
            for part in ("data", "options"):
                record[part].keys()
        return tensors, record

    def load_data(self) -> DataSet:
        """The data that the run was fitted to.

        :raises InputError: they are not what they were.
        """
        data = self.experiment.load_data()
        was, now = self.saved[1].get("data"), data.record()
        if was != now:
            changed = [key for key in now if was is None or was.get(key) != now[key]]
            raise InputError(
                f"the data {data.name} are not those that {self.folder} was fitted to: "
                f"their {', '.join(changed)} changed"
            )
        return data

    def remembered_data(self) -> DataSet:
        """What the run knows of its data, without them."""
        options, facts = self.experiment.options, self.saved[1].get("facts")
        if not isinstance(facts, Mapping):
            raise InputError(f"{self.folder / CHECKPOINT} does not say what the data were like")
        return remembered(options.data, facts, options.binarize)

    def new_data(self, name: str) -> Split:
        """Other data, all rows of them, as the run's model takes them."""
        options, model = self.experiment.options, getattr(self.experiment.model, "model", None)
        takes = None if model is None else num_arguments(model)  # with self
        return new_rows(
            name,
            self.remembered_data(),
            reading_of(options),
            labels_wanted=takes is not None and takes > 2,
            root=options.data_root,
            binarize=options.binarize,
        )

    def load_program(self, data: DataSet, device: torch.device) -> Any:
        """The run's model with the best parameters that it found.

        :raises InputError: it has none yet.
        """
        position = self.saved[1].get("position", {})
        if not (position.get("epoch") or position.get("batch")):
            raise InputError(
                f"the run in {self.folder} has not taken a step, so its model is as it was made: "
                f"pyro-vae fit --resume {self.folder}{naming(self.experiment.to_dict())} fits it"
            )
        program = self.experiment.build(data)
        target = as_program(program)
        for module in target.modules.values():
            module.to(device)
        row = next(rows_of(target, data.train, device, torch.zeros(1, dtype=torch.long)))
        tensors, _ = self.saved
        which = "best/" if any(name.startswith("best/") for name in tensors) else "model/"
        named = {n.removeprefix(which): t for n, t in tensors.items() if n.startswith(which)}
        kept = {n: t for n, t in named.items() if not n.startswith(checkpoint.BESIDE)}
        mine = checkpoint.tensors_of(target, stored_parameters(target, *row))
        checkpoint.load_into(mine, kept, self.folder / CHECKPOINT)
        return program


def rows_of(program: Any, split: Split, device: torch.device, index: torch.Tensor) -> Any:
    """The rows of a split numbered ``index``, as the program takes them."""
    return batches(split, device, signature(program)).take(index, len(index))


def open_run(folder: Path | str, words: Sequence[str] = ()) -> RunFolder:
    """The run in a folder; ``words`` may restate its options and change those of ``MAY_CHANGE``.

    No class is imported that is neither ours nor torch's nor Pyro's, unless ``words`` name it.

    :raises InputError: no run there, a class that is not named, an option that differs.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        runs = [path.parent.name for path in folder.parent.glob(f"*/{CONFIG}")]
        hint = nearest(folder.name, runs) if runs else "; `pyro-vae fit` makes one"
        raise InputError(f"there is no run in {folder}{hint}")
    config = read_config(folder / CONFIG)
    _check_names(config, words, folder)
    config[HOME] = str(_home(config, folder))
    run = RunFolder(folder, Experiment.read([], config))
    _check_kept(f"{folder} was made with", run.saved[1].get("options"), run.experiment)
    restated = Experiment.read(words, config)
    _check_kept(f"{folder} has", run.experiment.to_dict(), restated)
    was, now = _flat(run.experiment.to_dict()), _flat(restated.to_dict())
    changed = (key for key in was | now if key in SAID and was.get(key) != now.get(key))
    changes = (f"--{_option(key)} {now[key]}, not {was[key]}," for key in changed)
    return replace(run, experiment=restated, changes=tuple(changes))


def _home(config: Mapping[str, Any], folder: Path) -> Path:
    """Where a run's relative paths start: where it was begun, or, if all has moved, a folder above it."""
    begun, data = Path(str(config.get(HOME, ""))), str(config.get("data"))
    places = (begun, Path.cwd(), *folder.absolute().parents)
    return next((place for place in places if os.path.exists(place / data)), begun)


def _check_kept(whose: str, before: Any, experiment: Experiment) -> None:
    """:raises InputError: an option beyond ``MAY_CHANGE`` is not what it was."""
    was, now = _flat(before), _flat(experiment.to_dict())
    for key in was | now:
        if was.get(key) != now.get(key) and key not in MAY_CHANGE:
            raise InputError(
                f"{whose} --{_option(key)} {was.get(key)}, not {now.get(key)}: a run keeps its "
                "options; for others begin a new one with --config and --out. What may change: "
                f"{', '.join(sorted(name.replace('.init_args', '') for name in MAY_CHANGE))}"
            )


def _option(key: str) -> str:
    return key.replace(".init_args", "").removesuffix(".class_path")


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, Mapping)
        flat.update(_flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value})
    return flat


# --- whose code a run's file may name -------------------------------------------------------


def foreign_names(config: Mapping[str, Any], trusted: Sequence[str] = TRUSTED) -> dict[str, str]:
    """What a configuration names outside the trusted packages, by the option that names it."""
    found = {}
    for key, text in _strings({part: config.get(part) for part in PARTS}):
        is_path = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", text)
        if is_path and not _lies_in(text, trusted):
            found[f"--{key.replace('.init_args', '').removesuffix('.class_path')}"] = text
    return found


def naming(config: Mapping[str, Any]) -> str:
    """What a command line must add to open a run of this configuration."""
    model = foreign_names({"model": config["model"]["class_path"]})
    package = tuple(path.split(".")[0] for path in model.values())
    beyond = model | foreign_names(config, TRUSTED + package)
    return "".join(f" {option} {path}" for option, path in beyond.items())


def _check_names(config: Mapping[str, Any], words: Sequence[str], folder: Path) -> None:
    """Refuses a file that names code beyond what is trusted or named."""
    models, _ = take_options(words, "--model".__eq__)
    packages = tuple(find_class(name).__module__.split(".")[0] for _, name in models)
    named = {word.partition("=")[2] if word.startswith("--") else word for word in words}
    for option, path in foreign_names(config, TRUSTED + packages).items():
        if path not in named:
            raise InputError(
                f"{folder / CONFIG} names {path}, which is not part of pyro_vae: if you trust it, "
                f"name it again with {option} {path}"
            )
    allow_imports((*TRUSTED, *packages, *named), nothing_else=True)  # however a file hides a name


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)


def _lies_in(path: str, packages: Sequence[str]) -> bool:
    """Whether a class is found in one of the packages, and is their own, not merely imported there."""
    inside = tuple(f"{package}." for package in packages)
    if not path.startswith(inside):
        return False
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and f"{found.__module__}.".startswith(inside)
