"""The table of methods, by the names that ``log_evidence`` and the command line take."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.smc import SMC

M = TypeVar("M")

METHODS: dict[str, type[Method]] = {
    "importance": Importance,
    "ais": Annealed,
    "smc": SMC,
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
    if method == "bridge":
        raise InputError(
            "bridge sampling takes draws of the posterior",
            subject="method",
            remedy="pass method=Bridge(draws), or call log_evidence() of a Posterior",
        )
    return chosen(method, Method, METHODS, f"there is no method {method!r}")


def chosen(
    method: Any,
    kind: type[Any],
    table: Mapping[str, type[M]],
    problem: str,
    remedy: str | None = None,
) -> M:
    """Return an object of a kind, or the one of that name in a table with its default options.

    Args:
        method: the object, or a name.
        kind: its class.
        table: classes by name.
        problem: what to say of anything else.
        remedy: what to do then.

    Raises:
        InputError: it is neither.
    """
    if isinstance(method, kind):
        return cast(M, method)
    if isinstance(method, str) and method in table:
        return table[method]()
    if isinstance(method, type) and issubclass(method, kind):
        name = method.__name__
        raise InputError(
            f"method is the class {name}", subject="method", remedy=f"make one, {name}()"
        )
    raise unknown(
        problem, method, table, subject="method", **({"remedy": remedy} if remedy else {})
    )
