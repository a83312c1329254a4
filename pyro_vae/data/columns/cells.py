"""The cells of a text: whether one is a number, or stands for a missing number."""

import re

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|infinity)", re.IGNORECASE)
COMMA_NUMBER = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_MISSING = {"", "na", "n/a", "#n/a", "#na", "<na>", "null", "none", "nan", "?", ".", "-", "--"}


def is_missing(cell: str) -> bool:
    """Return whether a cell is blank or a word for a missing number."""
    return cell.strip().casefold() in _MISSING


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with a decimal point or comma."""
    return bool(NUMBER.fullmatch(cell.strip()) or COMMA_NUMBER.fullmatch(cell.strip()))
