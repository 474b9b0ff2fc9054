"""Name the moments of an order and of a commit at which a process may die."""

from __future__ import annotations

import enum


class CrashPoint(enum.Enum):
    """A moment at which a process may die; the tests kill a process at each of them."""

    BEFORE_INTENT = "before intent"
    AFTER_INTENT = "after intent"
    AFTER_SEND_STARTED = "after send started"
    AFTER_SEND = "after send"
    BEFORE_OUTCOME = "before outcome"
    AFTER_OUTCOME = "after outcome"
    INSIDE_PLAN = "inside a plan"
    INSIDE_CHECKPOINT = "inside a checkpoint"


def carry_on(point: CrashPoint) -> None:
    """Do nothing at a crash point; only tests do otherwise."""
