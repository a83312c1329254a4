"""The options of an estimate of the evidence, which verbs share beside those of its method."""

import re
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyro_vae.cli.options.method import (
    add_method_options,
    check_method_takes,
    describe_particles,
    method_of,
)
from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.evidence.methods import METHODS, as_method
from pyro_vae.inference.evidence.proposals import refined, wider

BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def add_estimate_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of an estimate, and those of its method, which ``words`` name."""
    add = parser.add_argument
    add("--num_particles", type=int | None, metavar="K", help="particles: "
        f"{describe_particles()}")  # fmt: skip
    add("--max_memory", type=str | None, metavar="SIZE", help="memory to compute with, such as 2GB")
    add("--compile", type=Compile, default="auto", help="compile draws, weights and gradients")
    add("--widen", type=float | None, help="spread the guide about its mean by this factor")
    add("--refine", type=int | None, help="fit the guide to each datum, by so many steps")
    add_method_options(parser, words)


def estimate_options(options: Namespace, words: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of :func:`pyro_vae.log_evidence` that the options describe.

    Raises:
        InputError: an option does not fit the method, or is no size of memory.
    """
    as_method(options.method)  # one that there is
    method = method_of(options, words)
    _check_proposal_options(options)
    return {
        "method": method,
        "num_particles": options.num_particles,
        "max_memory": None if options.max_memory is None else in_bytes(options.max_memory),
        "compile": options.compile,
    }


def _check_proposal_options(options: Namespace) -> None:
    """Raise InputError where a proposal is asked for, but the method draws nothing."""
    estimating = [name for name, method in METHODS.items() if not method.is_exact]
    for name in ("widen", "refine"):
        if options[name] is not None:
            check_method_takes(name, options.method, estimating)


def proposal(program: Any, options: Namespace) -> Any:
    """Return the program with the guide that the options ask for."""
    if options.refine is not None:
        program = refined(program, steps=options.refine)
    return program if options.widen is None else wider(program, options.widen)


def in_bytes(text: str) -> int:
    """Return a size of memory in bytes.

    >>> in_bytes("2GB"), in_bytes("1.5 MiB")
    (2000000000, 1572864)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.strip().lower())
    size = 0.0 if match is None else float(match[1]) * BYTES.get(match[2], 0)
    if size < 1:
        raise InputError(
            f"--max_memory is {text}",
            subject="--max_memory",
            expected="a size such as 500MB, 2GB or 2GiB",
        )
    return int(size)
