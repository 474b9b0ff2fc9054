"""What Wine does otherwise than Windows, and the tests that cannot pass under Wine for that reason.

`tests/conftest.py` expects these tests to fail under Wine, and tells when they pass there; on
Windows they count. `tests/windows/test_semantics.py` shows each difference, and what is the same.
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Difference(NamedTuple):
    """One thing that Wine 8 does otherwise.

    `tests` are the beginnings of the ids of the tests that fail for this reason alone.
    """

    what: str
    tests: tuple[str, ...] = ()


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "its clock goes in steps of about 1 ms, where that of Windows goes in 15.6 ms",
        ("tests/windows/test_semantics.py::test_the_clock_goes_in_coarse_steps",),
    ),
    Difference(
        "a process does not inherit the error mode of the one that starts it (SetErrorMode)",
        ("tests/windows/test_commands.py::test_a_child_of_such_a_process",),
    ),
)


def is_wine() -> bool:
    """Return whether this Python runs under Wine."""
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def reason_to_fail(test_id: str) -> str | None:
    """Return what Wine does otherwise, where a test fails for that."""
    for difference in DIFFERENCES:
        if test_id.startswith(difference.tests):
            return difference.what
    return None
