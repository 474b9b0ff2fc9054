"""Decide which orders a person's mode refuses, and say so.

A person who allows only closes wants no position to open or grow. A person who pauses wants the
strategy to send nothing; the person's own closes still pass. An assistant has the rights of a
strategy.
"""

from __future__ import annotations

from trueup.core.book.events import AT_ONCE, OrderKind, TradingMode, TradingPaused
from trueup.core.book.wishes import is_assistant

BY_FAILURE = "trueup run"
"""The name in the journal of the pause of a strategy that failed: no person asked for it."""
UNTIL_RESUMED = "a person resumes: `trueup resume`"


def refused_by_mode(
    paused: TradingPaused | None,
    kind: OrderKind,
    *,
    position: int = 0,
    target: int = 0,
    by: str = "",
) -> str:
    """Return why a person's mode refuses an order, or an empty string.

    Args:
        paused: the mode, None without one.
        kind: the kind of the order.
        position: the position that the order closes or changes, 0 for none.
        target: the pending order that the order changes, 0 for none.
        by: the person or the assistant who asked for the order, empty for the strategy.
    """
    if paused is None:
        return ""
    if paused.mode is TradingMode.CLOSE_ONLY:
        # An order without a position may open one, also if it would reduce a netting position: that
        # position may be gone by the time the order arrives.
        return "" if position or target else _refused(paused)
    is_persons = bool(by) and not is_assistant(by)
    is_persons_close = is_persons and bool(position) and kind in AT_ONCE
    return "" if is_persons_close else _refused(paused)


def mode_words(paused: TradingPaused) -> str:
    """Return the mode, the person and the reason, as a part of a sentence."""
    why = f": {paused.why}" if paused.why else ""
    if paused.mode is TradingMode.PAUSED:
        return f"trading is paused by {paused.by}{why}"
    return f"only closes are allowed by {paused.by}{why}"


def _refused(paused: TradingPaused) -> str:
    return f"{mode_words(paused)} (until {UNTIL_RESUMED})"
