"""Make several calls of a terminal one after the other, in one exchange if it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trueup.gateway.terminal.call_wire import SUCCESS, TOGETHER, Call, Error
from trueup.gateway.terminal.terminal import Terminal

Made = tuple[Any, Error]
"""The value of a call, and `last_error()` after the call."""


def makes_together(terminal: object) -> bool:
    """Return whether a terminal has `together`.

    The terminal must say so: an object that passes on every attribute to another object has any
    method, and would pass on calls that the other does not know.
    """
    return getattr(terminal, "makes_calls_together", False) is True


def make_calls(terminal: Terminal, calls: Sequence[Call]) -> Iterator[Made]:
    """Make calls in their order, and yield the value and the error of each.

    A terminal in a worker process makes all of them in one exchange. Any other terminal makes each
    call when its value is asked for, so a caller that stops early makes no further call.
    """
    # An account without symbols has no ticks to ask for, and needs no exchange for them.
    if calls and makes_together(terminal):
        yield from getattr(terminal, TOGETHER)(calls)
        return
    for call in calls:
        value = getattr(terminal, call.function)(*call.args, **call.kwargs)
        # Only None stands for a failed call; then the error has the reason.
        yield value, SUCCESS if value is not None else terminal.last_error()
