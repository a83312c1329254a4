"""Checkpoints: safe to read, exact, and written completely or not at all.

One safetensors file holds the tensors and, as JSON in its header, everything else. Reading it runs no
code and makes no object but tensors and plain values.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.program.contract import Program
from pyro_vae.storage import atomic_write

FORMAT = 1
OBJECTIVE_PREFIX = (
    "objective/"  # of the names of tensors that belong to the objective, not the program
)
_KEY = "pyro_vae"


def write(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write or replace a checkpoint in one step.

    Args:
        path: the file.
        tensors: by name; two that share memory are written twice.
        record: everything else, as JSON takes it.
    """
    copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    header = {_KEY: json.dumps({**record, "format": FORMAT, "checksum": checksum(copies)})}
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(save(copies, metadata=header))


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of names and contents, in the order of the names."""
    crc = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().reshape(-1).view(torch.uint8)
        crc = zlib.crc32(content.numpy().data, zlib.crc32(name.encode(), crc))
    return crc


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the record of a checkpoint.

    Raises:
        InputError: the file does not exist, is damaged, or is not a checkpoint that this version reads.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint at {path}", subject=str(path))
    with report_read_errors(path), safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY)
        if text is None:
            raise _error(path, "is a safetensors file, but not a checkpoint of pyro_vae")
        record = json.loads(text)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise _error(path, "is damaged: its record is unreadable")
    if record["format"] > FORMAT:
        problem = f"was written by a newer pyro_vae, in format {record['format']}"
        raise _error(path, problem, f"format {FORMAT} at most", "upgrade pyro_vae")
    if record.get("checksum") != checksum(tensors):
        raise _error(path, "is damaged: its checksum does not match its tensors")
    return tensors, record


def _error(
    path: Path, problem: str, expected: str | None = None, remedy: str | None = None
) -> InputError:
    return InputError(f"{path} {problem}", subject=str(path), expected=expected, remedy=remedy)


@contextmanager
def checked_record(path: Path) -> Iterator[None]:
    """Report an error in the block as a damaged record of the checkpoint at ``path``."""
    with report_read_errors(path):
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else f"is invalid ({error})"
            raise _error(path, f"is damaged: its record {reason}") from error


def learnt_tensors(program: Program, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return everything that a program learns, by name.

    Args:
        program: its modules hold parameters and buffers.
        stored: its parameters in Pyro's store (:func:`pyro_vae.program.parameters.stored_parameters`).
    """
    own = {
        prefix + name: value
        for prefix, module in program.modules.items()
        for name, value in module.state_dict().items()
        if isinstance(value, Tensor)
    }
    return own | {f"store/{name}": value for name, value in stored.items()}


def check_same_structure(
    own: Mapping[str, Tensor], saved: Mapping[str, Tensor], source: Path | str
) -> None:
    """Check that saved tensors have the names, shapes and dtypes of a program's own.

    Args:
        own: tensors of the program.
        saved: tensors from a checkpoint.
        source: its name, for the error.

    Raises:
        InputError: they differ; it names the first difference.
    """
    missing, foreign = sorted(own.keys() - saved), sorted(saved.keys() - own)
    unlike = sorted(n for n in own.keys() & saved if _type(own[n]) != _type(saved[n]))
    if not (missing or foreign or unlike):
        return
    name = (unlike or missing or foreign)[0]
    if unlike:
        detail = f"{name!r} has {_type(saved[name])} there and {_type(own[name])} here"
    else:
        detail = f"{name!r} is {'not there' if missing else 'only there'}"
    raise InputError(
        f"{source} is of another model: {detail}",
        subject=name,
        remedy="make the model with the options of its fit",
    )


def _type(x: Tensor) -> str:
    dtype = "" if x.dtype == torch.float32 else f" and dtype {str(x.dtype).removeprefix('torch.')}"
    return f"shape {tuple(x.shape)}{dtype}"


@torch.no_grad()
def load_into(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], source: Path | str) -> None:
    """Copy saved tensors into those of a program of the same structure.

    Raises:
        InputError: the structure differs (:func:`check_same_structure`); nothing is copied.
    """
    check_same_structure(own, saved, source)
    for name, value in own.items():
        value.copy_(saved[name])
