"""Options, read by jsonargparse from the signatures of what they configure."""

import os
import re
import sys
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from pyro_vae.cli.options.parse_errors import CommandLine
from pyro_vae.cli.options.safe_yaml import guard_parser
from pyro_vae.errors import InputError

MANY = {"--columns", "--kinds", "--missing", "--arguments"}  # options with one value or more
SEEDS = {"seed", "data_seed"}  # options that every generator must be able to take


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Says of an option what a person wants to know: a class by its name, a default if there is one."""

    def add_argument(self, action: Action) -> None:
        if not any(option.endswith(".help") for option in action.option_strings):
            super().add_argument(action)

    def _get_type_str(self, action: Action) -> str | None:
        text = super()._get_type_str(action) or ""
        if (
            "Callable" in text
            or text.startswith("Literal")
            or text in ("bool", "str", "str | null")
        ):
            return None
        return text.replace(" | null", "") or None

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action)
        text = (
            re.sub(r"(, )?default: (null|False)", "", text).replace(" ()", "").replace("(, ", "(")
        )
        text = re.sub(r"\{'class_path': '([\w.]+)'[^}]*\}", r"\1", text)
        text = re.sub(r"\b(?:[a-z_]\w*\.)+([A-Z]\w*)", r"\1", text)  # class names without modules
        return text.replace("known subclasses:", "known:")


def new_parser(verb: str, description: str, examples: Sequence[str]) -> ArgumentParser:
    """The parser of a verb: no abbreviations, and help that ends with examples."""
    guard_parser()
    return ArgumentParser(
        prog=f"pyro-vae {verb}",
        usage=f"pyro-vae {verb} [OPTION ...]",
        description=description,
        epilog="\n  ".join(["examples:", *examples]),
        formatter_class=HelpFormatter,
        parser_mode="yaml",
        print_config=None,
        allow_abbrev=False,
        exit_on_error=False,
    )


def read(
    parser: ArgumentParser,
    words: Sequence[str],
    config: Mapping[str, Any] | None = None,
    defaults: bool = True,
) -> Namespace:
    """The options that ``words`` give, over those of ``config``, over the ``defaults``, if these count.

    :raises InputError: an unknown option, a value of the wrong kind, something missing.
    """
    given = ["--config", yaml.safe_dump(dict(config))] if config else []
    allow_imports(word.rpartition("=")[2] for word in words)  # a person typed them
    try:
        options = parser.parse_args([*given, *words], defaults=defaults)
    except ArgumentError as error:
        raise InputError(CommandLine(parser, words, given).explain(str(error))) from error
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise InputError(f"the options cannot be read: {str(error).strip() or error!r}") from error
    for name in SEEDS & set(options.keys()):
        if options[name] is None or not 0 <= options[name] < 2**32:
            raise InputError(f"--{name} must be between 0 and 2**32 - 1, not {options[name]}")
    return options


def allow_imports(names: Iterable[str], nothing_else: bool = False) -> None:
    """Lets the parser import what lies below ``names``.

    With ``nothing_else``, no more than that for the rest of the process, but for later calls.
    """
    paths = [name for name in names if all(map(str.isidentifier, name.split(".")))]
    for path in paths:
        look_here_for(path)
    set_parsing_settings(
        import_path_denylist=["*"] if nothing_else else [],
        import_path_allowlist=[path for path in paths if path.split(".")[0] != "jsonargparse"],
    )


def look_here_for(path: str) -> None:
    """Makes the working directory a place to import from, where the path's module is there."""
    top = Path(path.split(".")[0])
    if "." in path and (top.is_dir() or top.with_suffix(".py").exists()):
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)


def is_option(word: str) -> bool:
    """
    >>> is_option("--data"), is_option("-o"), is_option("-999")
    (True, True, False)
    """
    return word.startswith("--") or bool(re.fullmatch("-[a-z]", word))


def take_options(
    words: Sequence[str], wanted: Callable[[str], bool]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Takes out of a command line the options whose names are wanted, each with its value, or values.

    >>> take_options(["a", "--x", "1", "--y=2", "--z", "3"], lambda name: name in ("--x", "--y"))
    ([('--x', '1'), ('--y', '2')], ['a', '--z', '3'])
    """
    taken, rest = [], []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not (word.startswith("--") and wanted(name)):
            rest.append(word)
            continue
        values = [value] if equals else remaining[:1]
        if not values or (not equals and values[0].startswith("--")):
            raise InputError(f"{name} needs a value")
        del remaining[: 0 if equals else 1]
        while name in MANY and remaining and not is_option(remaining[0]):
            values.append(remaining.pop(0))
        taken.append((name, *values))
    return taken, rest
