"""The page on a journal of a million events: every screen without a bot, and the memory."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measure import report
from benchmarks.journal import MILLION, NOW_NS, STREAM, fill
from benchmarks.page import memory_mb
from tests.page.folder import Folder, Served
from tests.paper.deadline import wait_for
from tests.support.make import position
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.model import MarginMode, Side

SEC = 1_000_000_000
# An order of a strategy that opens and closes a position: so many events.
CYCLE = 4
# Screens and their goals in seconds. The first look at a moment far back begins to fold the
# journal, and says so at once.
SCREENS = (
    ("/", 1.0),
    ("/books", 1.0),
    ("/orders", 1.0),
    ("/story", 1.0),
    ("/story?text=nowhere", 2.0),
    (f"/story?ticket={1000 + (MILLION - 100) // CYCLE}", 2.0),
    (f"/moment?event={MILLION - 5}", 1.0),
    ("/moment?at=now", 1.0),
    (f"/moment?event={MILLION // 2}", 1.0),
    ("/accounts", 1.0),
    ("/figures", 1.0),
)
MEMORY_MB = 200.0
FOLDED_SEC = 60.0


def event_of(number: int) -> events.Event:
    """Return an event of a long life: orders that open positions, and their closes."""
    cycle, step = divmod(number - 1, CYCLE)
    at_ns = NOW_NS + number * SEC
    if number == 0:
        return events.AccountBound(
            at_ns=at_ns, login=1, server="S", currency="USD", margin_mode=MarginMode.HEDGING
        )
    name, ticket = f"19b8c3f2a10-{cycle}", 1000 + cycle
    if step == 0:
        return events.OrderCreated(
            at_ns=at_ns, order_id=name, symbol="EURUSD", side=Side.BUY, volume=0.01, price=1.1
        )
    if step == 1:
        return events.SendStarted(at_ns=at_ns, order_id=name)
    if step == 2:
        return events.OrderFilled(
            at_ns=at_ns,
            order_id=name,
            ticket=ticket,
            symbol="EURUSD",
            side=Side.BUY,
            volume=0.01,
            price=1.1,
        )
    return events.PositionClosed(
        at_ns=at_ns,
        position=position(ticket, volume=0.01),
        because="closed by its stop loss",
        realised_units=(cycle % 7 - 3) * 100_000_000,
        complete=(ticket,),
    )


def state_of(count: int) -> bytes:
    """Return the book after so many events."""
    book = Book()
    for number in range(count):
        book.apply(event_of(number))
    return book.state()


def run() -> int:
    """Measure, print, and return how many targets were missed."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        folder = Folder(Path(name))
        path = Path(name) / "long.db"
        fill(path, event_of, state_of)
        try:
            return _measure(folder.page("--journal", str(path), "--stream", STREAM))
        finally:
            folder.clean()


def _measure(served: Served) -> int:
    missed = 0
    for screen, goal_sec in SCREENS:
        # The best of three, since others use this machine too.
        spent = [_seconds(served, screen) for _ in range(3)]
        missed += report(screen, min(spent), goal_sec, "s", f"the first {spent[0]:.2f} s")
    missed += report(
        "a moment far back, the journal read", _folded_sec(served), FOLDED_SEC, "s", ""
    )
    far = [_seconds(served, f"/moment?event={n}") for n in range(12_345, MILLION, 90_001)]
    missed += report("then any moment", statistics.median(far), 1.0, "s", f"worst {max(far):.2f} s")
    if sys.platform == "linux":
        mib = memory_mb(served.running.child.pid)
        missed += report("its memory", mib, MEMORY_MB, "MB", "of its own, after all screens")
    return missed


def _folded_sec(served: Served) -> float:
    began = time.perf_counter()
    seen = [""]

    def is_there() -> bool:
        seen[0] = served.reader.get(f"/moment?event={MILLION // 2}")[1]
        return "for the first time" not in seen[0]

    wait_for(is_there, lambda: seen[0])
    return time.perf_counter() - began


def _seconds(served: Served, screen: str) -> float:
    began = time.perf_counter()
    status, body = served.reader.raw(screen)
    assert status == 200, body
    return time.perf_counter() - began
