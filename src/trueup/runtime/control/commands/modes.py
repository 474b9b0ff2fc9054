"""The commands by which a person restricts the strategy: pause, close-only, resume."""

from __future__ import annotations

from typing import Any

from trueup.core.book.events import TradingMode
from trueup.core.dates import iso
from trueup.core.model import describe_order
from trueup.runtime.control.commands.command import Command, Commands, refuse_old
from trueup.runtime.trading.loop import TradingLoop


class ModeCommands:
    """Carry out what a person tells the strategy; the journal has it before the answer.

    Args:
        loop: the bot's trading loop.
    """

    def __init__(self, loop: TradingLoop) -> None:
        self._pm = loop.pm
        self.commands: Commands = {
            "pause": lambda command: self._set(TradingMode.PAUSED, command),
            "close-only": lambda command: self._set(TradingMode.CLOSE_ONLY, command),
            "resume": self._resume,
        }

    def _set(self, mode: TradingMode, command: Command) -> dict[str, Any]:
        before = self._pm.paused
        if mode is TradingMode.CLOSE_ONLY and self._pm.is_paused:
            # It lifts a part of the pause, so it is refused when it is old, as `resume` is.
            refuse_old(command, self._pm.clock.now_ns())
        ask = self._pm.pause if mode is TradingMode.PAUSED else self._pm.close_only
        told = ask(command.who, why=command.why)
        return {
            **self._mode(),
            "changed": told is not before,
            # Without a journal a mode ends with the process, as everything does.
            "journalled": self._pm.keeps_journal and self._pm.book.paused == told,
            "trouble": self._pm.journal_trouble,
            "pending": [
                f"{ticket} {describe_order(pending.order)}"
                for ticket, pending in self._pm.book.pending.items()
            ],
        }

    def _resume(self, command: Command) -> dict[str, Any]:
        refuse_old(command, self._pm.clock.now_ns())
        before = self._mode()
        return {**before, "changed": self._pm.resume(command.who, why=command.why)}

    def _mode(self) -> dict[str, Any]:
        """Return the mode as plain values; `mode` is empty while every order is allowed."""
        paused = self._pm.paused
        if paused is None:
            return {"mode": "", "by": "", "why": "", "since": None}
        return {
            "mode": paused.mode.value,
            "by": paused.by,
            "why": paused.why,
            "since": iso(paused.at_ns),
        }
