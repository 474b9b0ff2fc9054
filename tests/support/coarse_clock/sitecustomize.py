"""Clocks of a process go in steps of a 64th of a second, as on Windows: a folder for PYTHONPATH.

The steps are those that Python reports of Windows for `time.monotonic` (1/64 s, 15.6 ms); Wine and
Linux have finer ones. Waiting is left as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

STEP_NS = 1_000_000_000 // 64


def _coarse(clock_ns: Callable[[], int]) -> Callable[[], int]:
    return lambda: clock_ns() // STEP_NS * STEP_NS


time.monotonic_ns, time.time_ns = _coarse(time.monotonic_ns), _coarse(time.time_ns)
if sys.platform != "win32":
    _of_system = time.clock_gettime_ns
    time.clock_gettime_ns = lambda clock: _of_system(clock) // STEP_NS * STEP_NS
time.monotonic = lambda: time.monotonic_ns() / 1e9
time.time = lambda: time.time_ns() / 1e9
