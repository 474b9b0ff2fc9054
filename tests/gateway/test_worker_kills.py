"""Workers killed at any moment of an order: what is said of it is what the broker has.

The terminal is in this process and outlives every worker, as the real one does.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import worker_terminals
from tests.support.processes import KILL
from tests.support.servers import until
from tests.support.worker_terminals import SteppingClock
from trueup.core.retcodes import Effect, classify_last_error
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.worker.keeper import Timing
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.sim.process.module_port import ModulePort
from trueup.sim.terminal.terminal import SimulatedTerminal

# An order through all processes takes about two milliseconds.
LATEST_KILL_SEC = 0.004


def kill(pid: int) -> None:
    """Kill a worker, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, KILL)


class Killing:
    """A terminal, a worker that calls it, and a hand that kills the worker."""

    def __init__(self) -> None:
        self.simulated = SimulatedTerminal(now_msc=SteppingClock())
        self.strike: Callable[[], object] | None = None
        self.port = ModulePort(self.simulated, threading.Lock(), self._on_call)
        self.terminal = WorkerTerminal(
            f"{worker_terminals.HERE}:attached_to",
            {"address": self.port.address},
            Timing(deadline_ms=60_000, pauses_ms=(0,)),
        )
        self.terminal.keep_initialized()

    def _on_call(self) -> None:
        if self.strike is not None:
            self.strike()

    def close(self) -> None:
        self.terminal.close()
        self.port.close()

    def pid(self) -> int:
        """A worker that is ready; waits for one."""
        return int(until(lambda: self.terminal.pid))

    def send(self, number: int) -> Effect:
        """Send order `number`, and return what is known about its effect."""
        result: Any = self.terminal.order_send(
            {
                "action": mt5.TRADE_ACTION_DEAL,
                "symbol": "EURUSD",
                "volume": 0.01,
                "type": mt5.ORDER_TYPE_BUY,
                "type_filling": mt5.ORDER_FILLING_IOC,
                "magic": number,
            }
        )
        if result is None:
            return classify_last_error(self.terminal.last_error()[0]).effect
        assert result.retcode == mt5.TRADE_RETCODE_DONE
        return Effect.DONE

    def executed(self, number: int) -> int:
        """How often the broker has executed order `number`."""
        return sum(row.magic == number for row in self.simulated.ledger.positions.values())


@pytest.fixture
def killing() -> Iterator[Killing]:
    made = Killing()
    yield made
    made.close()


def test_an_order_that_arrives_while_its_worker_dies_is_unknown_and_executed(
    killing: Killing,
) -> None:
    pid = killing.pid()
    killing.strike = lambda: kill(pid)
    assert killing.send(1) is Effect.UNKNOWN
    until(lambda: killing.executed(1) == 1)


def test_whenever_a_worker_is_killed_no_order_is_called_refused_that_was_executed(
    killing: Killing,
) -> None:
    chance, said = random.Random(7_700_077), Counter[Effect]()
    # How fast a machine is decides how often a kill falls into the middle of an order.
    for number in range(1, 101):
        if number > 16 and said[Effect.UNKNOWN]:
            break
        pid = killing.pid()
        hand = threading.Timer(chance.uniform(0, LATEST_KILL_SEC), kill, (pid,))
        hand.start()
        effect = killing.send(number)
        hand.join()
        # The next worker's first call comes after whatever the last one began.
        killing.pid()
        times = {Effect.DONE: {1}, Effect.REFUSED: {0}, Effect.UNKNOWN: {0, 1}}[effect]
        assert killing.executed(number) in times, (number, effect)
        said[effect] += 1
    assert said[Effect.UNKNOWN] > 0, said
