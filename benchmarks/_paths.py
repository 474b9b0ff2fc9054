"""The paths whose instructions `make gate` counts; each is a piece of work without a network.

The clock stands still and the search for garbage is off, so that two runs of the same code take the
same number of instructions. `os.getppid` marks the beginning and the end of a path: the counting
program (callgrind) writes its counter at each call of that function, and no other code calls it.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import trueup
from benchmarks.sync import positions, reply
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.model import Position, Side
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.journal import open_journal
from trueup.protocol.snapshot import SnapshotRequest, encode_snapshot_request
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

SYMBOL, SIDE_BUY = "EURUSD", 0
OPEN, FEW = 100, 5
SYNCS, LOOKS, ORDERS, APPENDS, EVENTS = 50, 20, 30, 60, 1_000
WARM = 3
RICH = AccountSetup(balance=1e9)


class _InProcess:
    """A connection to a desk in this process."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer, self._reply = answer, b""

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Answer a request."""
        self._reply = self._answer(message)

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply."""
        return self._reply

    def reset(self) -> None:
        """Do nothing."""

    close = reset


def _desk(clock: ManualClock, count: int) -> Desk:
    """Return the desk of a simulated terminal with so many open positions."""
    terminal = SimulatedTerminal(account=RICH, now_msc=lambda: clock.now_ns() // 1_000_000)
    terminal.initialize()
    terminal.quote(SYMBOL, 1.1, 1.1001)
    Person(terminal.broker, RICH.login).open_many(SYMBOL, SIDE_BUY, 0.01, count)
    return Desk(terminal, "gate", clock.now_ns)


def _bot(
    clock: ManualClock, answer: Callable[[bytes], bytes], journal: Path | None = None
) -> tuple[PortfolioManager, StateReconciler]:
    """Return a book and its reconciler; both names are given, so that no settings are read."""
    gateway = ExecutionGateway(
        "127.0.0.1", 1, 1_000, link=lambda _: _InProcess(answer), session="gate"
    )
    pm = PortfolioManager(SYMBOL, journal=journal, clock=clock)
    return pm, StateReconciler(pm, gateway, 1, account="")


def _repeating(desk: Desk) -> Callable[[bytes], bytes]:
    """Return what answers as the desk did, without its work: an unchanged account."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    numbers = itertools.count(1)

    def answer(request: bytes) -> bytes:
        asked = json.loads(request)
        kind = asked["action"], asked.get("digest", "")
        if kind not in known:
            known[kind] = json.loads(desk.handle(request))
        found = known[kind]
        if "id" in found:
            found["id"], found["sequence"] = asked["id"], next(numbers)
        return msgspec.json.encode(found)

    return answer


def _times(count: int, once: Callable[[], object]) -> None:
    for _ in range(count):
        once()


def unchanged_sync(_: ExitStack) -> Callable[[], object]:
    """A timed sync of 100 positions that finds nothing changed, without the gateway's share."""
    clock = ManualClock()
    _pm, reconciler = _bot(clock, _repeating(_desk(clock, OPEN)))
    reconciler.startup_recovery()

    def sync() -> None:
        clock.advance(1)
        while (result := reconciler.sync_continuous()) is None:
            pass
        assert result.status.value == "SUCCESS"

    _times(WARM, sync)
    return partial(_times, SYNCS, sync)


def full_sync(_: ExitStack) -> Callable[[], object]:
    """A full sync of one position on the guide's wire, without the gateway's share."""
    answer = reply(positions(1))
    _pm, reconciler = _bot(ManualClock(), lambda _: answer)
    reconciler.startup_recovery()
    _times(WARM, reconciler.sync_positions)
    return partial(_times, SYNCS, reconciler.sync_positions)


def snapshot(_: ExitStack) -> Callable[[], object]:
    """A gateway's reply to a question for a snapshot of 5 positions, known to the client."""
    clock = ManualClock()
    desk = _desk(clock, FEW)
    numbers = itertools.count(2)
    first = json.loads(desk.handle(encode_snapshot_request(SnapshotRequest("s", 1))))

    def look() -> None:
        clock.advance(1)
        request = SnapshotRequest("s", next(numbers), digest=first["digest"])
        assert b"UNCHANGED" in desk.handle(encode_snapshot_request(request))

    _times(WARM, look)
    return partial(_times, LOOKS, look)


def order(stack: ExitStack) -> Callable[[], object]:
    """An order from the strategy's call to its recorded outcome, with a journal."""
    clock = ManualClock()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    pm, reconciler = _bot(clock, _desk(clock, FEW).handle, folder / "bot.db")
    stack.callback(pm.close_journal)
    reconciler.startup_recovery()
    clock.advance(1)
    reconciler.sync_positions()

    def trade() -> None:
        assert pm.submit("buy", 0.01).status.value == "FILLED"

    _times(WARM, trade)
    return partial(_times, ORDERS, trade)


def recovery(_: ExitStack) -> Callable[[], object]:
    """A recovery of 100 positions into an empty book, without the gateway's share."""
    clock = ManualClock()
    answer = _repeating(_desk(clock, OPEN))
    waiting = iter([_bot(clock, answer) for _ in range(WARM + 1)])

    def recover() -> None:
        assert next(waiting)[1].startup_recovery().recovered == OPEN

    _times(WARM, recover)
    return recover


def _adopted(number: int) -> events.PositionAdopted:
    ticket = 500_000_000 + number
    position = Position(ticket, SYMBOL, Side.BUY, 0.01, 1.10234, identifier=ticket)
    return events.PositionAdopted(at_ns=number, position=position)


def journal_append(stack: ExitStack) -> Callable[[], object]:
    """Events appended to a journal in SQLite, one synced transaction each."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    ticks = itertools.count(1)
    journal = open_journal(folder / "events.db", "gate", now_ns=lambda: next(ticks))
    stack.callback(journal.close)
    numbers = itertools.count()

    def append() -> None:
        journal.append([_adopted(next(numbers))])

    _times(WARM, append)
    return partial(_times, APPENDS, append)


def _life() -> Iterator[events.Event]:
    for number in range(EVENTS // 4):
        order_id = f"ORD_{number}_19b8c3f2"
        yield _adopted(number)
        yield events.OrderCreated(
            at_ns=number, order_id=order_id, symbol=SYMBOL, side=Side.BUY, volume=0.01, price=1.1
        )
        yield events.SendStarted(at_ns=number, order_id=order_id)
        yield events.OrderFilled(
            at_ns=number,
            order_id=order_id,
            ticket=number + 1,
            symbol=SYMBOL,
            side=Side.BUY,
            volume=0.01,
            price=1.1,
        )


def fold(_: ExitStack) -> Callable[[], object]:
    """The fold of 1,000 events into a book."""
    history = list(_life())
    Book().replay(history)
    return lambda: Book().replay(history)


PATHS = {
    "unchanged sync": unchanged_sync,
    "full sync": full_sync,
    "snapshot": snapshot,
    "order": order,
    "recovery": recovery,
    "journal append": journal_append,
    "fold": fold,
}


def main() -> int:
    """Run every path once between two marks, after a warm-up; print the paths that ran.

    The first line is the place that the package was imported from.
    """
    print(trueup.__file__, flush=True)
    logging.getLogger("trueup").addHandler(logging.NullHandler())
    gc.disable()
    for name, prepare in PATHS.items():
        with ExitStack() as stack:
            try:
                work = prepare(stack)
            except Exception as error:  # noqa: BLE001  an older tree may lack what a path needs
                print(f"cannot run {name}: {error!r}", file=sys.stderr)
                continue
            os.getppid()
            work()
            os.getppid()
            print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
