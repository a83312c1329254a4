"""Whose code the configuration of a run may load.

A configuration may come from somebody else. Code outside pyro_vae, torch and Pyro runs only if the user
names it on the command line.
"""

import importlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vae.cli.options.model import find_class
from pyro_vae.cli.options.parser import allow_imports, take_options
from pyro_vae.errors import InputError

TRUSTED = ("pyro_vae", "torch.nn", "torch.optim", "pyro.infer")
CLASS_OPTIONS = ("model", "optimizer", "lr_schedule", "elbo", "beta")


def foreign_names(config: Mapping[str, Any], trusted: Sequence[str] = TRUSTED) -> dict[str, str]:
    """Return the dotted names outside the trusted packages, by the option that holds them."""
    foreign = {}
    for key, text in _strings({option: config.get(option) for option in CLASS_OPTIONS}):
        is_path = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", text)
        if is_path and not _is_class_of(text, trusted):
            foreign[f"--{option_name(key)}"] = text
    return foreign


def option_name(key: str) -> str:
    """Return the option of a key in a configuration: ``optimizer.init_args.lr`` is ``optimizer.lr``."""
    return key.replace(".init_args", "").removesuffix(".class_path")


def options_to_repeat(config: Mapping[str, Any]) -> str:
    """Return the options that every command on a run of this configuration must repeat."""
    model = foreign_names({"model": config["model"]["class_path"]})
    package = tuple(path.split(".")[0] for path in model.values())
    foreign = model | foreign_names(config, TRUSTED + package)
    return "".join(f" {option} {path}" for option, path in foreign.items())


def check_names(
    config: Mapping[str, Any], words: Sequence[str], file: Path, trusted: Collection[str] = ()
) -> None:
    """Check that the user names all foreign code of a configuration; forbid other imports.

    Args:
        config: what a file holds.
        words: the command line, which names code.
        file: the file, for the error.
        trusted: dotted names of code that the user has named elsewhere.
    """
    models, _ = take_options(words, "--model".__eq__)
    packages = tuple(find_class(name).__module__.split(".")[0] for _, name in models)
    named = {word.partition("=")[2] if word.startswith("--") else word for word in words}
    named |= set(trusted)
    for option, path in foreign_names(config, TRUSTED + packages).items():
        if path not in named:
            raise InputError(
                f"{file} names {path}, which is not part of pyro_vae",
                subject=option,
                remedy=f"if you trust it, repeat {option} {path}",
            )
    allow_imports((*TRUSTED, *packages, *named), exclusively=True)  # however a file hides a name


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)


def _is_class_of(path: str, packages: Sequence[str]) -> bool:
    """Return whether a class lies in one of the packages and is defined, not only imported, there."""
    inside = tuple(f"{package}." for package in packages)
    if not path.startswith(inside):
        return False
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and f"{found.__module__}.".startswith(inside)
