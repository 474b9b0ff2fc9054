"""A bot that a person commands, as a process: it kills itself at a moment that a file names.

`python dying_bot.py PORT`: the gateway's port. The file `die` in the current folder has the value
of a `CrashPoint`, or the name of an event after whose journalling it dies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import KILL
from trueup.core.book.events import Event
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.observe.status.facts import BotFacts
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control.listener import listening
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.trading.loop import TradingLoop

DIE = Path("die")


class Idle:
    """A strategy that leaves everything to the person."""

    def on_tick(self, tick: object) -> int:
        """Hold."""
        return 0


def die_at(name: str) -> None:
    """Die if the file says so."""
    if DIE.exists() and DIE.read_text(encoding="utf-8") == name:
        DIE.unlink()
        os.kill(os.getpid(), KILL)


def main(port: int) -> None:
    """Run until a signal, or until a person stops the bot."""

    def crash(point: CrashPoint) -> None:
        die_at(point.value)

    def applied(history: Sequence[Event]) -> None:
        for event in history:
            die_at(type(event).__name__)

    gateway = ExecutionGateway("127.0.0.1", port, 2_000, server_key="")
    second = ExecutionGateway("127.0.0.1", port, 2_000, server_key="")
    with gateway, second, PortfolioManager("EURUSD", journal="bot.db", crash=crash) as pm:
        pm.watch(applied)
        reconciler = StateReconciler(pm, gateway, 0.3)
        loop = TradingLoop(pm, reconciler, Idle(), {}, pace_sec=0.05)
        facts = BotFacts(os.getpid(), "2026-01-05T14:00:00+00:00", f"at {gateway.url}", gateway.url)
        with listening(loop, second, facts) as control:
            loop.run(after_turn=control.turn)


if __name__ == "__main__":
    main(int(sys.argv[1]))
