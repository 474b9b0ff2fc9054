"""Parse the whole numbers of options: a single number, a range, a list."""

from __future__ import annotations

import re

from trueup.errors import SettingsError

# A number with more digits is a typing error.
_WHOLE = re.compile(r"-?[0-9]{1,40}")


def seed_of(text: str) -> int:
    """Return the number of `--seed`."""
    return _whole("--seed", text, "give a whole number, as 7")


def jobs_of(text: str) -> int:
    """Return the number of `--jobs`; a negative number is refused."""
    valid = "give a number of processes, as 4, or 0 for a process per core"
    jobs = _whole("--jobs", text, valid)
    if jobs < 0:
        raise SettingsError("--jobs", text, valid)
    return jobs


def range_of(option: str, text: str) -> range:
    """Return the numbers of `A..B`: A up to B-1."""
    first, _, end = text.partition("..")
    if _WHOLE.fullmatch(first) and _WHOLE.fullmatch(end) and int(first) < int(end):
        return range(int(first), int(end))
    raise SettingsError(option, text, "give two whole numbers, the smaller first, as 0..100")


def numbers_of(option: str, text: str, known: frozenset[int]) -> frozenset[int]:
    """Return the numbers of `3,5`, which must all be known; `none` is the empty set."""
    if text.strip() == "none":
        return frozenset()
    parts = [part.strip() for part in text.split(",")]
    there = f"this seed has 1 to {max(known)}" if known else "this seed has none"
    valid = f"give numbers of faults, as 3,5, or none; {there}"
    if not all(map(_WHOLE.fullmatch, parts)) or not known.issuperset(map(int, parts)):
        raise SettingsError(option, text, valid)
    return frozenset(map(int, parts))


def _whole(option: str, text: str | int, valid: str) -> int:
    # An option's default passes through here too, and is already a number.
    if not _WHOLE.fullmatch(str(text).strip()):
        raise SettingsError(option, str(text), valid)
    return int(text)
