"""Read the machine's uptime, with and without the time asleep.

Python's own `time.monotonic` counts the time asleep on some systems only, so the clocks of each
system are read directly. Both clocks never go back, and cannot be set.

=========  ==============================================  =====================================
system     with the time asleep                            without
=========  ==============================================  =====================================
Linux      CLOCK_BOOTTIME (clock_gettime(2))               CLOCK_MONOTONIC
macOS      CLOCK_MONOTONIC (clock_gettime(3))              mach_absolute_time (time.monotonic)
Windows    QueryInterruptTimePrecise, or GetTickCount64    QueryUnbiasedInterruptTimePrecise
others     the same as without                             time.monotonic
=========  ==============================================  =====================================
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable

if sys.platform == "win32":
    import ctypes

    def _interrupt_time(precise: str) -> Callable[[], int] | None:
        """Return a precise clock of Windows 10 and later (ns), or None on an older Windows.

        The clocks count in units of 100 nanoseconds.
        """
        # The function is missing before Windows 10, and in some versions of Wine.
        try:
            query = getattr(ctypes.WinDLL("kernelbase"), precise)
        except (OSError, AttributeError):
            return None
        query.restype = None

        def now_ns() -> int:
            ticks = ctypes.c_ulonglong()
            query(ctypes.byref(ticks))
            return ticks.value * 100

        return now_ns

    def _ticks_ns() -> int:
        query = ctypes.WinDLL("kernel32").GetTickCount64
        query.restype = ctypes.c_ulonglong
        return int(query()) * 1_000_000

    uptime_ns = _interrupt_time("QueryInterruptTimePrecise") or _ticks_ns
    awake_ns = _interrupt_time("QueryUnbiasedInterruptTimePrecise") or time.monotonic_ns

else:
    if sys.platform == "darwin":
        _UPTIME = time.CLOCK_MONOTONIC
    else:
        _UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    uptime_ns = functools.partial(time.clock_gettime_ns, _UPTIME)
    """Returns the machine's uptime with the time asleep (ns)."""
    awake_ns = time.monotonic_ns
    """Returns the machine's uptime without the time asleep (ns)."""
