"""Error messages of the option parser, reworded for the person who typed the options."""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pydoc import locate
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from pyro_vae.errors import InputError, unknown
from pyro_vae.parts import is_choice

TYPE_NAMES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "Sequence": "a list such as [1,2]",
    "list": "a list such as [1,2]",
}
# modules with the classes for an option that has no default class
CLASS_MODULES = {
    "--lr_schedule": ("torch.optim.lr_scheduler",),
    "--elbo": ("pyro_vae.inference.objectives", "pyro.infer"),
    "--elbo.loss": ("pyro_vae.inference.objectives.adversarial_losses",),
    "--elbo.penalty": ("pyro_vae.inference.objectives.penalties",),
    "--model.likelihood": ("pyro_vae.likelihoods",),
}
NOUNS = {"elbo": "objective", "binarize": "binarization"}  # where an option has another name
FROM_FILE = "the value in the configuration file"


@dataclass(frozen=True)
class CommandLine:
    """The words that a parser rejected; ``given`` are the words before them, from a file."""

    parser: ArgumentParser
    words: Sequence[str]
    given: Sequence[str] = ()

    def explain(self, message: str) -> InputError:
        """Return the error that says what the parser's message means."""
        if match := re.match(r"unrecognized arguments: (\S+)", message):
            return self._unknown_option(match[1])
        if match := re.search(r"ption '([\w.]+)' is not accepted", message):
            return self._unknown_option(self._as_typed(match[1]))
        if match := re.match(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message):
            return self._unknown_option(f"--{match[1]}.{match[2]}")
        if match := re.match(r'Parser key "([\w.]+)":\s*Unable to load config', message):
            return self._no_fields(f"--{match[1]}")
        # the parser gives the path of a part's option in pieces
        pieces = re.split(r'Parser key "([\w.]+)"', message)
        path, reason = ".".join(pieces[1::2]), pieces[-1]
        required = r"the following arguments are required: (\w[\w.]*(?:, \w[\w.]*)*)"
        if match := re.search(required, reason):
            names = [f"--{path}.{name}".replace("--.", "--") for name in match[1].split(", ")]
            return InputError(f"missing: {', '.join(names)}", subject=names[0])
        if path:
            return self._wrong_value(f"--{path}", reason)
        text = message.strip().split("\n")[0]
        named = re.match(r"argument (\S+):", text)
        return InputError(text, subject=named and named[1].rpartition("/")[2])

    def _as_typed(self, key: str) -> str:
        """Return the option as the user typed it: of a part's option the parser knows the last word."""
        names = [word.partition("=")[0] for word in self.words if word.startswith("--")]
        return next((n for n in reversed(names) if f".{n[2:]}".endswith(f".{key}")), f"--{key}")

    def _value(self, name: str) -> str | None:
        """Return the value that the user typed after an option, or None if it comes from a file."""
        for i, word in reversed(list(enumerate(self.words))):
            option, equals, value = word.partition("=")
            if option == name:
                return value if equals else " ".join(self.words[i + 1 : i + 2])
        return None

    def _unknown_option(self, word: str) -> InputError:
        if not word.startswith("--"):
            return InputError(f"the word {word!r} is not an option", subject=word,
                expected="options that begin with --")  # fmt: skip
        name = word.partition("=")[0]
        keys = (key.replace(".init_args", "") for key in self._without(name).keys())  # noqa: SIM118
        options = [f"--{key}" for key in keys if not key.endswith("class_path")]
        listing = f"an option that `{self.parser.prog} --help` lists"
        return unknown(f"there is no option {name}", name, options, listing=listing)

    def _no_fields(self, name: str) -> InputError:
        keys = (key for key in self._without(name).keys() if f"--{key}".startswith(f"{name}."))  # noqa: SIM118
        fields = ", ".join(f"--{key}" for key in keys)
        problem = f"{name} cannot be read from {self._value(name)!r}"
        return InputError(problem, subject=name, expected=f"its own options, {fields}")

    def _wrong_value(self, name: str, reason: str) -> InputError:
        value = self._value(name)
        found = FROM_FILE if value is None else repr(value)
        takes_class = re.search(r"must include a class_path|an instantiatable class", reason)
        if takes_class and value is None:
            return InputError(f"{name} has options, but no class", subject=name,
                remedy=f"name one with {name} CLASS")  # fmt: skip
        nested = re.search(r"value: NestedArg\(key='([\w.]+)'", reason)
        if nested and self._value(f"{name}.{nested[1]}") is not None:
            return self._unknown_option(f"{name}.{nested[1]}")
        if match := re.search(r"to be a subclass of <class '(?:\w+\.)*(\w+)'>", reason):
            return _must_be(name, f"a {match[1]}", found)
        if choices := re.findall(r"Literal\[(.*?)\]", reason):
            known = [choice.strip(" '") for choice in choices[-1].split(",")]
            return unknown(_not_there(name, value), value or "", known, subject=name)
        if match := re.search(r"Subtypes: \[<class '(pyro_vae[\w.]+)'>, <class 'float'>\]", reason):
            kind: Any = locate(match[1])
            known = sorted(k.__name__ for k in kind.__subclasses__() if is_choice(k))
            return _must_be(name, f"a number or one of {', '.join(known)}", found)
        types = re.findall(r"Expected an? <class '(?:\w+\.)*(\w+)'>", reason)
        if names := dict.fromkeys(TYPE_NAMES[kind] for kind in types if kind in TYPE_NAMES):
            return _must_be(name, " or ".join(names), found)
        if match := re.search(r"No module named '[\w.]+'", reason):
            return InputError(f"{name}: cannot import {found}: {match[0]}", subject=name)
        return self._unknown_class(name, value)

    def _unknown_class(self, name: str, value: str | None) -> InputError:
        known, module = self._classes(name)
        asked = (value or "").rpartition(".")[2]
        if asked in known:
            fitting = ", ".join(other for other in sorted(known) if self._fits(name, other))
            problem = f"{name}: {asked} does not fit here"
            return InputError(problem, subject=name, expected=f"one of {fitting}")
        problem = _not_there(name, value)
        listing = f"a class that `python -m pydoc {module}` lists"
        remedy = None if known else "name a class as MODULE.CLASS"
        return unknown(problem, asked, known, subject=name, listing=listing, remedy=remedy)

    def _classes(self, name: str) -> tuple[list[str], str]:
        """Return the classes in the module of an option's default class, and the module."""
        modules = CLASS_MODULES.get(name) or (self._module_of_default(name),)
        if not all(modules):
            return [], ""
        known = [
            value.__name__
            for module in modules
            for value in vars(importlib.import_module(module)).values()
            if isinstance(value, type) and value.__module__.startswith(module) and is_choice(value)
        ]
        return known, modules[0]

    def _fits(self, name: str, candidate: str) -> bool:
        """Return whether an option accepts a class, some of whose own options may be missing yet."""
        try:
            self.parser.parse_args([*self.given, *self._other_words(name), f"{name}={candidate}"])
        except ArgumentError as error:
            return "are required" in str(error)
        return True

    def _module_of_default(self, name: str) -> str:
        found: Any = self._without(name)
        for part in name[2:].split("."):
            if not isinstance(found, Namespace):
                return ""
            found = found.get(part, found.get("init_args", Namespace()).get(part))
            if found is None:
                return ""
        if isinstance(found, Namespace):
            found = found.get("class_path", "")
        path = found if isinstance(found, str) else ""
        return path.rpartition(".")[0]

    def _without(self, name: str) -> Namespace:
        """Return the options that parse when the one named is left out."""
        for words in ([*self.given, *self._other_words(name)], self.given):
            try:
                return self.parser.parse_args(words)
            except ArgumentError:
                continue
        return self.parser.get_defaults()

    def _other_words(self, name: str) -> list[str]:
        """Return the words without an option and the options of its part."""
        kept: list[str] = []
        dropping = False
        for word in self.words:
            if word.startswith("--"):
                dropping = f"{word.partition('=')[0]}.".startswith(f"{name}.")
            if not dropping:
                kept.append(word)
        return kept


def _must_be(name: str, expected: str, found: str) -> InputError:
    return InputError(f"{name} must be {expected}, not {found}", subject=name, expected=expected)


def _not_there(option: str, value: str | None) -> str:
    """Return the problem of a value that an option does not have; None is one from a file."""
    kind = _kind_of(option)
    return f"there is no {kind} {value!r}" if value else f"the {kind} in the file is unknown"


def _kind_of(option: str) -> str:
    """Return what an option chooses.

    >>> _kind_of("--model.likelihood"), _kind_of("--elbo")
    ('likelihood', 'objective')
    """
    word = option.rpartition(".")[2].removeprefix("--")
    return NOUNS.get(word, word.replace("_", " "))
