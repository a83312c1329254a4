"""How much memory this machine has, and a word on what would take more, before it is taken."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyro_vae.errors import InputError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

LIKELY = 2**30  # bytes that any file may unpack to
RATIO = 200  # how many times its size a larger one may: deflate packs up to 1,000 zeros into a byte
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_HELD = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def total() -> int:
    """The bytes of memory that all processes can have together: the machine's, or the container's."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    whole = pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else 2**62
    return min([whole, *_numbers(_LIMITS)]) + _meminfo("SwapTotal")


def available() -> int:
    """The bytes of memory that are free, or can be made so."""
    free = _meminfo("MemAvailable") + _meminfo("SwapFree") or total()
    limits, held = _numbers(_LIMITS), _numbers(_HELD)
    return min([free, *(max(0, most - now) for most, now in zip(limits, held, strict=False))])


def check_fits(what: str, need: int, remedy: str) -> None:
    """:raises InputError: more memory is needed than is free; it says how much."""
    free = available()
    if need > free:
        raise InputError(
            f"{what} would take {in_words(need)} of memory, and {in_words(free)} are free: {remedy}"
        )


def check_unpacked(where: str, size: int, stored: int) -> None:
    """Looks at what a file says that it holds, before any of that is read.

    :param size: the bytes that it is to become.
    :param stored: those that it has.
    :raises InputError: nothing that was measured packs so well, or the machine cannot hold it.
    """
    if size > LIKELY and size > RATIO * stored:
        raise InputError(
            f"{where} would unpack from {in_words(stored)} to {in_words(size)}, as no data do that "
            "were measured: if it is right, save it without compression as .npy"
        )
    # rows are copied when they are divided into splits, and again when they are converted
    check_fits(where, 3 * size, "take fewer rows, or a smaller type")


def in_words(count: float) -> str:
    """Bytes as people say them.

    >>> in_words(4e12), in_words(300)
    ('4.0 TB', '300 bytes')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}" if count < 1e24 else f"{count:.0e} bytes"
    return f"{count:.0f} bytes"


@contextmanager
def of_this_machine() -> Iterator[None]:
    """Within the block, more memory than the machine has is refused to whoever asks for it.

    Else the system grants it, and kills the process, or another, when it is used. Only on Linux, and
    not where there is a GPU, whose driver reserves more addresses than there is memory.
    """
    if not Path("/proc/meminfo").exists() or Path("/dev/nvidiactl").exists() or resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = min(limit for limit in (soft, hard, total()) if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _meminfo(name: str) -> int:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in text.splitlines() if name in line), 0)


def _numbers(paths: tuple[str, ...]) -> list[int]:
    """What the files say of those that are there and hold a number."""
    found = []
    for path in paths:
        try:
            found.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return found
