"""YAML from files that somebody else may have written: plain values alone, and of limited size."""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from pyro_vae.errors import InputError

MAX_CHARACTERS, MAX_NODES, MAX_DEPTH = 2**20, 10_000, 40
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")
}


def load(text: str, source: str) -> Any:
    """Return the value of a YAML text.

    Args:
        text: the YAML.
        source: its name in error messages.

    Raises:
        InputError: the text is not YAML, has tags or keys that are not plain text, or is too long or too
            deep; its aliases count as often as they are used.
    """
    if len(text) > MAX_CHARACTERS:
        raise _refuse(source, f"has {len(text):,} characters", f"at most {MAX_CHARACTERS:,}")
    try:
        _check_depth(text, source)
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _check_nodes(root, source)
        return yaml.load(text, Loader=_Loader)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise _refuse(source, f"is not valid YAML: {' '.join(str(error).split())}") from error


def _refuse(source: str, problem: str, expected: str = "YAML with plain values") -> InputError:
    return InputError(f"{source} {problem}", subject=source, expected=expected)


def _check_depth(text: str, source: str) -> None:
    """Count the nesting from the stream of events: building nodes recurses at each level."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _refuse(source, "is nested too deeply", f"at most {MAX_DEPTH} levels")


def _check_nodes(root: yaml.Node, source: str) -> None:
    """Count the nodes with every alias expanded, as a reader of the value will meet them."""
    count, waiting = 0, [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise _refuse(source, "holds too many values", f"at most {MAX_NODES:,}")
        if node.tag not in _PLAIN_TAGS:
            raise _refuse(source, f"has the tag {node.tag} in line {node.start_mark.line + 1}")
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag.rpartition(":")[2] != "str":
                    line = key.start_mark.line + 1
                    raise _refuse(source, f"has a key in line {line} that is not an option name")
                waiting.append((value, depth + 1))
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]


_default_loader = get_loader("yaml")


def _checked_loader(text: str) -> Any:
    if len(text) > 1000 or any(sign in text for sign in "&*!"):
        load(text, "the value of an option")
    return _default_loader(text)


def install_checks() -> None:
    """Make the option parser check every value that it reads as YAML."""
    set_loader("yaml", _checked_loader, (yaml.YAMLError, ValueError))
