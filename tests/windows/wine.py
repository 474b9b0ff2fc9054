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


DIFFERENCES: tuple[Difference, ...] = ()


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
