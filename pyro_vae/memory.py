"""The memory of this machine, and checks before anything large is allocated."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyro_vae.errors import InputError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ALLOWANCE = 2**30  # bytes that any file may unpack to
MAX_RATIO = 200  # by which a larger one may grow: deflate packs up to 1,000 zeros into a byte
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USAGE = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def total_memory() -> int:
    """Return the bytes of memory of the machine, or of the container."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    machine = pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else 2**62
    return min([machine, *_read_numbers(_LIMITS)]) + _meminfo("SwapTotal")


def available_memory() -> int:
    """Return the bytes of memory that are free, or that the system can free."""
    free = _meminfo("MemAvailable") + _meminfo("SwapFree") or total_memory()
    limits, usage = _read_numbers(_LIMITS), _read_numbers(_USAGE)
    return min([free, *(max(0, most - now) for most, now in zip(limits, usage, strict=False))])


def check_fits(what: str, needed: int, remedy: str) -> None:
    """Check that ``what``, which takes ``needed`` bytes, fits into the free memory."""
    free = available_memory()
    if needed > free:
        problem = (
            f"{what} takes {format_bytes(needed)} of memory, and {format_bytes(free)} are free"
        )
        raise InputError(problem, subject=what, remedy=remedy)


def check_unpacked(source: str, size: int, stored: int) -> None:
    """Check the size that a file announces, before any of it is read.

    Args:
        source: the file's name.
        size: the bytes that its contents will take.
        stored: the bytes that it has.

    Raises:
        InputError: the contents are implausibly large, or do not fit into memory.
    """
    if size > ALLOWANCE and size > MAX_RATIO * stored:
        raise InputError(
            f"{source} would unpack from {format_bytes(stored)} to {format_bytes(size)}, more than "
            "measured data do",
            subject=source,
            remedy="if that is right, save it without compression as .npy",
        )
    # rows are copied when they are split, and again when they are converted
    check_fits(source, 3 * size, "use fewer rows, or a smaller dtype")


def format_bytes(count: float) -> str:
    """Return a number of bytes with a fitting unit.

    >>> format_bytes(4e12), format_bytes(300)
    ('4.0 TB', '300 bytes')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}" if count < 1e24 else f"{count:.0e} bytes"
    return f"{count:.0f} bytes"


@contextmanager
def limited_to_machine() -> Iterator[None]:
    """Make allocations beyond the machine's memory raise an error within the block.

    Without this, Linux grants them and later kills this process, or another. It is done on Linux alone,
    and not with a GPU, whose driver reserves more addresses than there is memory.
    """
    if not Path("/proc/meminfo").exists() or Path("/dev/nvidiactl").exists() or resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = min(limit for limit in (soft, hard, total_memory()) if limit != resource.RLIM_INFINITY)
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


def _read_numbers(paths: tuple[str, ...]) -> list[int]:
    """Return the numbers in those files that exist and hold one."""
    numbers = []
    for path in paths:
        try:
            numbers.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return numbers
