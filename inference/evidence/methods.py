"""The table of methods, by the names that ``log_evidence`` and the command line take."""

from typing import Any

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Method

METHODS: dict[str, type[Method]] = {
    "importance": Importance,
    "ais": Annealed,
    "auto": Auto,
    "sandwich": Sandwich,
    "bidirectional": Bidirectional,
    "exact": Exact,
}


def as_method(method: Any) -> Method:
    """Return a method, or the one of that name with its default options.

    Raises:
        InputError: there is no such method.
    """
    if isinstance(method, Method):
        return method
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]()
    if isinstance(method, type) and issubclass(method, Method):
        name = method.__name__
        raise InputError(
            f"method is the class {name}", subject="method", remedy=f"make one, {name}()"
        )
    raise unknown(f"there is no method {method!r}", method, METHODS, subject="method")
