"""What the option parser refuses, said so that a person sees what to change."""

import importlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from pyro_vae.errors import nearest

KINDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "Sequence": "a list such as [1,2]",
    "list": "a list such as [1,2]",
}
# where the classes are of which an option's default names none
HOMES = {
    "--schedule": ("torch.optim.lr_scheduler",),
    "--elbo": ("pyro_vae.inference.objectives", "pyro.infer"),
    "--model.likelihood": ("pyro_vae.likelihoods",),
}


@dataclass(frozen=True)
class CommandLine:
    """The words that a parser refused; ``given`` stands before them and comes from a file."""

    parser: ArgumentParser
    words: Sequence[str]
    given: Sequence[str] = ()

    def explain(self, message: str) -> str:
        """A sentence or two for the parser's message."""
        if match := re.match(r"unrecognized arguments: (\S+)", message):
            return self._unknown(match[1])
        if match := re.search(r"ption '([\w.]+)' is not accepted", message):
            return self._unknown(self._written(match[1]))
        if match := re.match(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message):
            return self._unknown(f"--{match[1]}.{match[2]}")
        # of an option of a part the parser tells the path in pieces
        pieces = re.split(r'Parser key "([\w.]+)"', message)
        path, reason = ".".join(pieces[1::2]), pieces[-1]
        if match := re.search(
            r"the following arguments are required: (\w[\w.]*(?:, \w[\w.]*)*)", reason
        ):
            names = [f"--{path}.{name}".replace("--.", "--") for name in match[1].split(", ")]
            return f"missing: {', '.join(names)}"
        if path:
            return self._wrong_value(f"--{path}", reason)
        return message.strip().split("\n")[0]

    def _written(self, key: str) -> str:
        """The option as the user wrote it; of a part's options the parser knows the last word."""
        names = [word.partition("=")[0] for word in self.words if word.startswith("--")]
        return next((n for n in reversed(names) if f".{n[2:]}".endswith(f".{key}")), f"--{key}")

    def _value(self, name: str) -> str | None:
        """What the user wrote after an option; None where it comes from a file."""
        for i, word in reversed(list(enumerate(self.words))):
            option, equals, value = word.partition("=")
            if option == name:
                return value if equals else " ".join(self.words[i + 1 : i + 2])
        return None

    def _unknown(self, word: str) -> str:
        if not word.startswith("--"):
            return f"{word!r} is one word too many; options begin with --"
        name = word.partition("=")[0]
        keys = (key.replace(".init_args", "") for key in self._without(name).keys())  # noqa: SIM118
        options = [f"--{key}" for key in keys if not key.endswith("class_path")]
        return f"there is no option {name}{_nearest(name, options, 'pyro-vae VERB --help')}"

    def _wrong_value(self, name: str, reason: str) -> str:
        value = self._value(name)
        found = "what the configuration file says" if value is None else repr(value)
        if "must include a class_path" in reason:
            return f"{name} has no class that takes further options: name one, {name} CLASS"
        if match := re.search(r"to be a subclass of <class '(?:\w+\.)*(\w+)'>", reason):
            return f"{name} must be a {match[1]}, not {found}"
        if choices := re.findall(r"Literal\[(.*?)\]", reason):
            known = [choice.strip(" '") for choice in choices[-1].split(",")]
            return f"{name} cannot be {found}{nearest(value or '', known)}"
        kinds = re.findall(r"Expected an? <class '(?:\w+\.)*(\w+)'>", reason)
        if expected := " or ".join(dict.fromkeys(KINDS[kind] for kind in kinds if kind in KINDS)):
            return f"{name} must be {expected}, not {found}"
        if match := re.search(r"No module named '[\w.]+'", reason):
            return f"{name}: there is no {found}: {match[0]}"
        unknown = (
            f"there is no {value!r}" if value else "the configuration file names an unknown class"
        )
        known, elsewhere = self._classes(name)
        asked = (value or "").rpartition(".")[2]
        if asked in known:
            fitting = ", ".join(other for other in sorted(known) if self._fits(name, other))
            return f"{name}: {asked} does not fit here; what does: {fitting}"
        where = _nearest(asked, known, elsewhere) if known else "; a class is named as MODULE.CLASS"
        return f"{name}: {unknown}{where}"

    def _classes(self, name: str) -> tuple[list[str], str]:
        """The classes beside an option's default one, and where more is said of them."""
        homes = HOMES.get(name) or (self._home(name),)
        if not all(homes):
            return [], ""
        known = [
            found.__name__
            for home in homes
            for found in vars(importlib.import_module(home)).values()
            if isinstance(found, type)
            and found.__module__.startswith(home)
            and not inspect.isabstract(found)
        ]
        return known, f"{homes[0]}'s documentation"

    def _fits(self, name: str, candidate: str) -> bool:
        """Whether a class can stand at an option, some of whose own options may yet be missing."""
        try:
            self.parser.parse_args([*self.given, *self._others(name), f"{name}={candidate}"])
        except ArgumentError as error:
            return "are required" in str(error)
        return True

    def _home(self, name: str) -> str:
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
        """All options and their values as they are without the one named."""
        for words in ([*self.given, *self._others(name)], self.given):
            try:
                return self.parser.parse_args(words)
            except ArgumentError:
                continue
        return self.parser.get_defaults()

    def _others(self, name: str) -> list[str]:
        """The words without an option and those of its part."""
        kept: list[str] = []
        dropping = False
        for word in self.words:
            if word.startswith("--"):
                dropping = f"{word.partition('=')[0]}.".startswith(f"{name}.")
            if not dropping:
                kept.append(word)
        return kept


def _nearest(name: str, known: Sequence[str], elsewhere: str) -> str:
    suggestion = nearest(name, known)
    return suggestion if len(known) < 12 or "did you mean" in suggestion else f"; see {elsewhere}"
