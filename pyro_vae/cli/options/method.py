"""The methods of ``pyro-vae evidence`` and ``posterior``, with the options that their signatures have."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyro_vae.cli.options.parser import take_options
from pyro_vae.cli.run.trust import CLASS_OPTIONS
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.methods import METHODS

DEFAULT = "importance"
KINDS = (Method, DrawsPosterior)


Methods = Mapping[str, type[Any]]


def describe_methods(methods: Methods = METHODS) -> str:
    """Return a line for each method: its name and the first line of its docstring."""
    lines = (
        f"  {name:<15}{(cls.__doc__ or '').partition(chr(10))[0]}" for name, cls in methods.items()
    )
    return "\n".join(lines)


def describe_particles() -> str:
    """Return the default number of particles of each method that draws any.

    >>> describe_particles()
    '1,000, jointly 4,000 (importance), 16 (ais, sandwich, bidirectional), 2,000 (smc), 1,000 (auto)'
    """
    users: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        number = f"{method.num_particles:,}"
        if method.times_jointly > 1:
            number += f", jointly {method.times_jointly * method.num_particles:,}"
        if not method.is_exact:
            users.setdefault(number, []).append(name)
    return ", ".join(f"{number} ({', '.join(names)})" for number, names in users.items())


def add_method_options(
    parser: ArgumentParser, words: Sequence[str], methods: Methods = METHODS
) -> None:
    """Add ``--method``, and the options of all methods, in a group for each class.

    Where classes share the name of an option, it has the type that the method in ``words`` gives it.
    """
    _check_prefix(words, methods)
    choices = f"{{{','.join(methods)}}}"
    parser.add_argument("--method", type=str, default=DEFAULT, metavar=choices, help="see above")
    chosen = _chosen(words)
    names = [chosen, *methods] if chosen in methods else [*methods]
    taken: set[str] = set()
    for cls in dict.fromkeys(cls for name in names for cls in _classes(methods[name])):
        own = _own_options(cls)
        new = [name for name in own if name not in taken]
        if new:
            users = ", ".join(n for n, method in methods.items() if cls in _classes(method))
            group = parser.add_argument_group(f"options of --method {users}")
            skip = set(inspect.signature(cls).parameters) - set(new)
            group.add_class_arguments(cls, as_group=False, skip=skip)
            taken |= set(new)


def method_of(options: Namespace, words: Sequence[str], methods: Methods = METHODS) -> Any:
    """Return the method that the options describe.

    Raises:
        InputError: ``words`` hold an option of other methods, or a value that the method refuses.
    """
    every = {name for method in methods.values() for name in _options(method)}
    given = [pair[0][2:] for pair in take_options(words, lambda word: word[2:] in every)[0]]
    for name in given:
        takers = [n for n, method in methods.items() if name in _options(method)]
        check_method_takes(name, options.method, takers)
    return _build(methods[options.method], {name: options[name] for name in given})


def check_method_takes(option: str, method: str, takers: Sequence[str]) -> None:
    """Raise InputError unless a method is one of those that take an option."""
    if method not in takers:
        raise InputError(
            f"--method {method} does not take --{option}",
            subject=f"--{option}",
            expected=f"--method {_either(takers)}",
        )


def _check_prefix(words: Sequence[str], methods: Methods) -> None:
    """Check that no option of a method is written as one of a part, --method.OPTION."""
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--method."):
            name = option.removeprefix("--method.")
            takers = [n for n, method in methods.items() if name in _options(method)]
            example = f"{takers[0]} --{name} VALUE" if takers else "ais --num_temperatures 500"
            raise InputError(
                f"there is no option {option}",
                subject=option,
                expected=f"--method {_either(takers or [*methods])}",
                remedy=f"write its options as in --method {example}",
            )


def _either(names: Sequence[str]) -> str:
    """Return the names in a phrase.

    >>> _either(["importance", "ais", "auto"])
    'importance, ais or auto'
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _chosen(words: Sequence[str]) -> str:
    pairs = take_options(words, "--method".__eq__)[0]
    return pairs[-1][1] if pairs else DEFAULT


def _classes(method: type[Any]) -> Iterator[type[Any]]:
    """Yield the class of a method, and those of the methods among its parameters."""
    yield method
    for parameter in _parameters(method).values():
        if _is_method(parameter):
            yield from _classes(parameter.annotation)


def _options(method: type[Any]) -> set[str]:
    return {name for cls in _classes(method) for name in _own_options(cls)}


def _own_options(cls: type[Any]) -> list[str]:
    """Return the parameters that are options; not those with the name of a part of the run, and no
    tensors."""
    return [
        name
        for name, parameter in _parameters(cls).items()
        if not _is_method(parameter) and name not in CLASS_OPTIONS and not _holds_tensors(parameter)
    ]


def _build(cls: type[Any], given: Mapping[str, Any]) -> Any:
    parameters = _parameters(cls)
    nested = {n: _build(p.annotation, given) for n, p in parameters.items() if _is_method(p)}
    return cls(**nested, **{name: value for name, value in given.items() if name in parameters})


def _parameters(cls: type[Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls, eval_str=True).parameters


def _holds_tensors(parameter: inspect.Parameter) -> bool:
    return "Tensor" in str(parameter.annotation)


def _is_method(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and issubclass(parameter.annotation, KINDS)
