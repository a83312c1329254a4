"""The option parser: jsonargparse reads the options from the signatures of the functions they configure."""

import os
import re
import sys
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pydoc import locate
from typing import Any

import yaml
from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)
from jsonargparse._common import parsing_settings  # no public name reads them

from pyro_vae.cli.options.parse_errors import CommandLine
from pyro_vae.cli.options.safe_yaml import install_checks
from pyro_vae.errors import InputError
from pyro_vae.parts import is_choice

MULTI_VALUED = {
    "--columns",
    "--kinds",
    "--missing",
    "--arguments",
    "--where",
}  # take one value or more
SEEDS = ("seed", "data_seed")
SEED_RANGE = "a whole number from 0 to 2**32 - 1"  # what every generator takes

# the choices or the known classes say more
_HIDDEN_TYPES = ("Callable", "Literal", "ELBO", "Schedule")
_METAVARS = {"int": "INT", "float": "FLOAT", "int | float": "NUMBER"}
_ABSTRACT = ("Optimizer", "LRScheduler")  # of torch, which does not declare them so
_REFUSED = (
    "Jit",
    "TraceEnumSample",
)  # ELBOs of Pyro that `fit` cannot use, which compiles by itself
_SUBSTITUTIONS = (
    (r"(, )?default: (null|False)", ""),
    (r" \(\)", ""),
    (r"\(, ", "("),
    (r"\{'class_path': '([\w.]+)'[^}]*\}", r"\1"),
    (r":mod:`([\w.]+)`", r"\1"),  # references in a docstring
    (r":\w+:`(?:[\w.]+\.)?(\w+)`", r"\1"),
    (r"``([^`]+)``", r"\1"),
    (r"\b(?:[a-z_]\w*\.)+([A-Z]\w*)", r"\1"),  # class names without modules
    (r"known subclasses:", "known:"),
    (r"\.(?= \(|$)", ""),  # the end of a sentence
)


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Show a class by its name, a default if there is one, and a type if it says more than the text.

    The type of a number stands in place of its value: ``--epochs INT``.
    """

    def add_argument(self, action: Action) -> None:
        if not any(option.endswith(".help") for option in action.option_strings):
            super().add_argument(action)

    def _format_action_invocation(self, action: Action) -> str:
        return super()._format_action_invocation(action).replace(",null}", "}")

    def _get_type_str(self, action: Action) -> str | None:
        text = self._type_of(action)
        says_nothing = text in ("bool", "str", *_METAVARS) or any(t in text for t in _HIDDEN_TYPES)
        return None if says_nothing else text or None

    def _get_default_metavar_for_optional(self, action: Action) -> str:
        metavar = super()._get_default_metavar_for_optional(action)
        return _METAVARS.get(self._type_of(action), metavar)

    def _type_of(self, action: Action) -> str:
        return (super()._get_type_str(action) or "").replace(" | null", "")

    def _expand_help(self, action: Action) -> str:
        text = re.sub(
            r"(?<=known subclasses: )[\w., ]+", _only_choices, super()._expand_help(action)
        )
        for pattern, replacement in _SUBSTITUTIONS:
            text = re.sub(pattern, replacement, text)
        return text


def _only_choices(paths: re.Match[str]) -> str:
    """Return the names in a list of dotted names whose classes are offered to the user."""
    classes: dict[str, Any] = {path: locate(path) for path in paths[0].split(", ")}
    return ", ".join(path for path, kind in classes.items() if _is_offered(path, kind))


def _is_offered(path: str, kind: Any) -> bool:
    name = path.rpartition(".")[2]
    is_usable = name not in _ABSTRACT and not name.startswith(_REFUSED)
    return is_usable and (not isinstance(kind, type) or is_choice(kind))


def new_parser(verb: str, description: str, examples: Sequence[str]) -> ArgumentParser:
    """Return the parser of a verb, whose help ends with examples."""
    install_checks()
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


def parse(
    parser: ArgumentParser,
    words: Sequence[str],
    config: Mapping[str, Any] | None = None,
    defaults: bool = True,
) -> Namespace:
    """Return the options of ``words``, which override ``config``, which overrides the defaults.

    Args:
        parser: a verb's parser.
        words: the command line.
        config: options from a file.
        defaults: whether options that nobody gave have their defaults, or are left out.

    Raises:
        InputError: an option is unknown or missing, or has a value of the wrong kind.
    """
    given = ["--config", yaml.safe_dump(dict(config))] if config else []
    allow_imports(word.rpartition("=")[2] for word in words)  # the user typed them
    try:
        options = parser.parse_args([*given, *words], defaults=defaults)
    except ArgumentError as error:
        raise CommandLine(parser, words, given).explain(str(error)) from error
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise InputError(f"the options cannot be read: {str(error).strip() or error!r}") from error
    for name in SEEDS:
        if name in options and (options[name] is None or not 0 <= options[name] < 2**32):
            option, value = f"--{name}", options[name]
            problem = f"{option} must be {SEED_RANGE}, not {value}"
            raise InputError(problem, subject=option, expected=SEED_RANGE)
    return options


def allow_imports(names: Iterable[str], exclusively: bool = False) -> None:
    """Allow the parser to import the modules that ``names`` lie in.

    Args:
        names: dotted names; anything else is ignored.
        exclusively: whether to forbid all other imports, until the next call.
    """
    paths = [name for name in names if all(map(str.isidentifier, name.split(".")))]
    for path in paths:
        find_in_working_directory(path)
    set_parsing_settings(
        import_path_denylist=["*"] if exclusively else [],
        import_path_allowlist=[path for path in paths if path.split(".")[0] != "jsonargparse"],
    )


@contextmanager
def imports_as_found() -> Iterator[None]:
    """Restore afterwards what the parser may import, and ``sys.path``: a call in Python leaves no trace."""
    settings, path = dict(parsing_settings), list(sys.path)
    try:
        yield
    finally:
        parsing_settings.clear()
        parsing_settings.update(settings)
        sys.path[:] = path


def find_in_working_directory(path: str) -> None:
    """Add the working directory to ``sys.path`` if it holds the module of the dotted name ``path``."""
    top = Path(path.split(".")[0])
    if "." in path and (top.is_dir() or top.with_suffix(".py").exists()):
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)


def is_option(word: str) -> bool:
    """Return whether a word of a command line is an option.

    >>> is_option("--data"), is_option("-o"), is_option("-999")
    (True, True, False)
    """
    return word.startswith("--") or bool(re.fullmatch("-[a-z]", word))


def take_options(
    words: Sequence[str], is_wanted: Callable[[str], bool]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Split a command line into the wanted options, each with its value or values, and the other words.

    >>> take_options(["a", "--x", "1", "--y=2", "--z", "3"], lambda name: name in ("--x", "--y"))
    ([('--x', '1'), ('--y', '2')], ['a', '--z', '3'])
    """
    taken, rest = [], []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not (word.startswith("--") and is_wanted(name)):
            rest.append(word)
            continue
        values = [value] if equals else remaining[:1]
        if not values or (not equals and values[0].startswith("--")):
            raise InputError(f"{name} has no value", subject=name, expected="a value after it")
        del remaining[: 0 if equals else 1]
        while name in MULTI_VALUED and remaining and not is_option(remaining[0]):
            values.append(remaining.pop(0))
        taken.append((name, *values))
    return taken, rest
