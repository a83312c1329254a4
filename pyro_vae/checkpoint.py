"""Checkpoints: safe, exact, atomic.

One safetensors file holds the tensors and, as JSON in its header, everything else; so it is there whole
or not at all. Nothing in it is executed or instantiated when it is read.
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

from pyro_vae.errors import InputError, reading
from pyro_vae.program.contract import Program
from pyro_vae.storage import replacing

FORMAT = 1
BESIDE = "objective/"  # before the names of what was trained beside a program, and is no part of it
_KEY = "pyro_vae"


def write(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Writes or replaces ``path`` in one step: a reader, or a crash, never sees half of it."""
    # a tensor that shares memory with another is written as a tensor of its own
    own = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    header = {_KEY: json.dumps({**record, "format": FORMAT, "checksum": checksum(own)})}
    with replacing(path) as unfinished:
        unfinished.write_bytes(save(own, metadata=header))


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 of names and contents, in the order of the names."""
    crc = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().reshape(-1).view(torch.uint8)
        crc = zlib.crc32(content.numpy().data, zlib.crc32(name.encode(), crc))
    return crc


def write_text(path: Path, text: str) -> None:
    """Writes or replaces a text file in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a checkpoint.

    :raises InputError: no such file, a damaged one, one that is none of ours, or from a newer version.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint at {path}")
    with reading(path), safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY)
        if text is None:
            raise InputError(f"{path} is a safetensors file, but no checkpoint of pyro_vae")
        record = json.loads(text)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise InputError(f"{path} is damaged: its record is unreadable")
    if record["format"] > FORMAT:
        raise InputError(
            f"{path} was written by a newer pyro_vae (format {record['format']}, this one reads up "
            f"to {FORMAT}): upgrade pyro_vae"
        )
    if record.get("checksum") != checksum(tensors):
        raise InputError(f"{path} is damaged: its checksum is not that of its tensors")
    return tensors, record


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Says of a checkpoint, whose tensors are sound, that its record is not what we write."""
    with reading(path):
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            lacks = f"lacks {error}" if isinstance(error, KeyError) else f"is odd ({error})"
            raise InputError(f"{path} is damaged: its record {lacks}") from error


def tensors_of(program: Program, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All that a program has learnt: its modules' parameters and buffers, and what it keeps in
    Pyro's store (:func:`pyro_vae.program.parameters.stored_parameters`)."""
    own = {
        prefix + name: value
        for prefix, module in program.modules.items()
        for name, value in module.state_dict().items()
        if isinstance(value, Tensor)
    }
    return own | {f"store/{name}": value for name, value in stored.items()}


def check_alike(
    mine: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: Path | str
) -> None:
    """:raises InputError: names, shapes or types of ``tensors``, read from ``source``, are others."""
    missing, foreign = sorted(mine.keys() - tensors), sorted(tensors.keys() - mine)
    unlike = sorted(n for n in mine.keys() & tensors if _kind(mine[n]) != _kind(tensors[n]))
    if missing or foreign or unlike:
        name = (unlike or missing or foreign)[0]
        there, here = (_kind(x[name]) for x in (tensors, mine)) if unlike else ("", "")
        detail = (
            f"{name!r} has {there} there and {here.removeprefix('shape ')} here"
            if unlike
            else f"{name!r} is {'not there' if missing else 'only there'}"
        )
        raise InputError(f"{source} is of another model: {detail}")


def _kind(x: Tensor) -> str:
    numbers = "" if x.dtype == torch.float32 else f" of {str(x.dtype).removeprefix('torch.')}"
    return f"shape {tuple(x.shape)}{numbers}"


@torch.no_grad()
def load_into(
    mine: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: Path | str
) -> None:
    """Copies ``tensors``, read from ``source``, into those of a program of the same structure.

    :raises InputError: they are not alike; nothing is copied then.
    """
    check_alike(mine, tensors, source)
    for name, value in mine.items():
        value.copy_(tensors[name])
