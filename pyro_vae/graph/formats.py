"""The formats, by a file's ending: each a function from a ``ModelGraph`` to text or bytes."""

from collections.abc import Callable, Mapping
from typing import Any

FORMATS: Mapping[str, Callable[[Any], str | bytes]] = {}
