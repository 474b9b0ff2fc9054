"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Far above what a busy machine takes to start a process.
DEADLINE_SEC = 60.0
LOOK_AGAIN_SEC = 0.02
# Seconds of rest for each second of CPU that a look takes, up to the most seconds of rest.
IDLE_SHARE = 4
LOOK_LATEST_SEC = 1.0


def wait_for(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return when `holds`; fail with `what` was waited for when it takes too long."""
    deadline = time.monotonic() + DEADLINE_SEC
    before_sec = _cpu_sec()
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        # A look that is dear must not take the processor from the process that it waits for.
        now_sec = _cpu_sec()
        time.sleep(min(max(LOOK_AGAIN_SEC, IDLE_SHARE * (now_sec - before_sec)), LOOK_LATEST_SEC))
        before_sec = _cpu_sec()


def _cpu_sec() -> float:
    """Return the seconds of CPU of this thread and of the processes that were waited for."""
    times = os.times()
    return time.thread_time() + times.children_user + times.children_system
