"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Far above what a busy machine takes to start a process.
DEADLINE_SEC = 60.0


def wait_for(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return when `holds`; fail with `what` was waited for when it takes too long."""
    deadline = time.monotonic() + DEADLINE_SEC
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what()}"
        time.sleep(0.02)
