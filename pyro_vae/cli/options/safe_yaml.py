"""YAML from files that others may have written: plain values alone, and no more than a person writes."""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from pyro_vae.errors import InputError

MOST_BYTES, MOST_NODES, MOST_DEPTH = 2**20, 10_000, 40
_PLAIN = {
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")
}


def load(text: str, what: str) -> Any:
    """The value of a YAML text.

    :raises InputError: it is no YAML; it has tags or keys that are no plain text; or it is longer,
        deeper or, with its aliases written out, larger than options are.
    """
    if len(text) > MOST_BYTES:
        raise InputError(f"{what} has {len(text):,} letters, which are no options")
    try:
        # the events come one by one; what makes nodes of them calls itself for each level
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise InputError(f"{what} is nested deeper than options are")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _check(root, what)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} is no YAML: {' '.join(str(error).split())}") from error


def _check(root: yaml.Node, what: str) -> None:
    """Counts what is there with each alias written out, as whoever reads it will meet it."""
    count, waiting = 0, [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_NODES or depth > MOST_DEPTH:
            raise InputError(f"{what} holds more than {MOST_NODES:,} values, which are no options")
        if node.tag not in _PLAIN:
            raise InputError(
                f"{what} is no YAML of options: {node.tag} at line {node.start_mark.line + 1}"
            )
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag.rpartition(":")[2] != "str":
                    raise InputError(
                        f"{what}: the key at line {key.start_mark.line + 1} is no name of an option"
                    )
                waiting.append((value, depth + 1))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]


_theirs = get_loader("yaml")


def _guarded(text: str) -> Any:
    if len(text) > 1000 or any(sign in text for sign in "&*!"):
        load(text, "a value")
    return _theirs(text)


def guard_parser() -> None:
    """Lets the option parser read values, wherever they come from, with the same care."""
    set_loader("yaml", _guarded, (yaml.YAMLError, ValueError))
