"""Faults that a person puts on a running simulated terminal, by name, for rehearsals.

A fault lasts until `none` ends all faults. No fault changes a position: what is open at the trade
server stays open.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import TimedOut

OTHER_LOGIN = 5_000_002
MINUTES_BACK = 60
# Longer than a bot waits for an answer, and shorter than a bot waits for a trace of the order.
EXECUTED_AFTER_MS = 6_000


class TerminalFault(enum.StrEnum):
    """The faults, and `none` for their end."""

    NONE = "none"
    NO_LINK = "no-link"
    OTHER_ACCOUNT = "other-account"
    ALGO_TRADING_OFF = "algo-trading-off"
    NO_ANSWER = "no-answer"
    CLOCK_BACK = "clock-back"


class _Deed(NamedTuple):
    """The act of a fault at one terminal, and the sentence for the person."""

    do: Callable[[SimulatedTerminal], object]
    said: str


class FaultDesk:
    """Puts faults on the terminals of one simulated broker.

    Args:
        terminals: the terminals of one account; each shows the fault.
        pace: market milliseconds per real millisecond.
    """

    def __init__(self, terminals: Sequence[SimulatedTerminal], pace: float) -> None:
        self._terminals = terminals
        # The trade server's clock belongs to the broker, which all terminals share.
        self._switches = terminals[0].broker.switches
        self._offset_minutes = self._switches.server_offset_minutes
        unanswered = TimedOut(round(EXECUTED_AFTER_MS * pace))
        self._deeds = {
            TerminalFault.NO_LINK: _Deed(
                SimulatedTerminal.disconnect, "The terminal has no link to its trade server now"
            ),
            TerminalFault.OTHER_ACCOUNT: _Deed(
                lambda terminal: terminal.switch_account(OTHER_LOGIN),
                f"The terminal is logged in to account {OTHER_LOGIN} now",
            ),
            TerminalFault.ALGO_TRADING_OFF: _Deed(
                lambda terminal: setattr(terminal, "algo_trading", False),
                "Algo Trading is off in the terminal now",
            ),
            TerminalFault.NO_ANSWER: _Deed(
                lambda terminal: terminal.faults.next_send(unanswered),
                "The next order gets no answer, and is executed "
                f"{EXECUTED_AFTER_MS // 1000} seconds later",
            ),
            TerminalFault.CLOCK_BACK: _Deed(
                lambda _: self._set_server_clock(self._offset_minutes - MINUTES_BACK),
                f"The trade server's clock went back by {MINUTES_BACK} minutes",
            ),
        }

    def put(self, fault: TerminalFault) -> str:
        """Put a fault on the terminals, or end all of them; return a sentence for the person."""
        if fault is TerminalFault.NONE:
            self._end()
            return "The terminal has no fault now."
        deed = self._deeds[fault]
        for terminal in self._terminals:
            deed.do(terminal)
        return f"{deed.said}. End it with `trueup terminal --fault none`."

    def _end(self) -> None:
        self._set_server_clock(self._offset_minutes)
        for terminal in self._terminals:
            # A login loads the terminal again, which takes seconds: only where it is needed.
            if terminal.current_login != terminal.home_login:
                terminal.switch_account(terminal.home_login)
            terminal.reconnect()
            terminal.algo_trading = True
            terminal.faults.clear_calls()

    def _set_server_clock(self, offset_minutes: int) -> None:
        self._switches.server_offset_minutes = offset_minutes
