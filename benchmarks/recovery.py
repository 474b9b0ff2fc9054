"""An intent through the desk, recovery into a journal, and a cold start on a million events."""

from __future__ import annotations

import itertools
import json
import logging
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks._gateways import _simulated
from benchmarks._measure import in_turn, report
from benchmarks.journal import bare
from benchmarks.sync import answering, positions, reply
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.fills import FINISHED_KEPT
from trueup.core.digest import digest_of, raw_position_hash
from trueup.core.model import Position, Side
from trueup.core.policy import Policy
from trueup.core.scope import EVERY_SYMBOL
from trueup.core.tokens import token_of
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.server.sockets import Server, anybody
from trueup.gateway.terminal.mt5_constants import ORDER_TYPE_BUY
from trueup.journal import Record, open_journal, open_reader
from trueup.journal.backends.sqlite import SqliteDatabase
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.rows.chain import chained
from trueup.journal.rows.codec import encode
from trueup.observe.audit_text import audit_lines
from trueup.protocol.guide import GET_POSITIONS
from trueup.protocol.snapshot import SnapshotRequest, encode_snapshot_request
from trueup.runtime.bot.kept_book import EVENTS_PER_CHECKPOINT
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.story.replay import replay
from trueup.runtime.story.story import AuditFilter, story
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import SystemClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal import SimulatedTerminal

SYMBOL = "EURUSD"
NOW_NS = 1_767_571_200_000_000_000
MILLION = 1_000_000
TOLD = 100_000
OPEN = 1_000
FIRST_TICKET = 500_000_000
HEDGING_ROUNDS = 15
# An order opened, an order closed, and the deals of the position.
EVENTS_A_TRADE = 7


def run() -> int:
    """Measure all; return how many targets were missed."""
    logging.getLogger("trueup").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        missed = intent(Path(folder)) + recovery(Path(folder), 10_000, 15)
        missed += hedging(Path(folder), 10_000, 28)
        return missed + cold_start(Path(folder) / "long.db") + telling(Path(folder) / "long.db")


class _Taker:
    """A gateway that is never asked."""

    def send_order(self, order: Any) -> dict[str, Any]:
        raise AssertionError


def intent(folder: Path) -> int:
    """The desk's recording of one intent against a bare commit of the same bytes."""
    pm = PortfolioManager(SYMBOL, journal=folder / "desk.db")
    pm.desk.gateway = _Taker()
    wish = {
        "symbol": SYMBOL,
        "side": Side.BUY,
        "volume": 0.01,
        "price": 0.0,
        "sl": 1.09,
        "magic": 7,
    }
    record = pm.desk._record
    first = record("warm", wish)
    with open_reader(folder / "desk.db") as reader:
        payload = next(iter(encode(event).payload for event in reader.read()))
    assert first.token.encode() in payload
    connection = bare(folder / "bare-desk.db")

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO events (payload) VALUES (?)", (payload,))
        connection.execute("COMMIT")

    keys = map(str, itertools.count())
    pair = in_turn(lambda: record(next(keys), wish), commit, 2000)
    connection.close()
    pm.close_journal()
    return report(
        "1 intent through the desk", pair.ratio, 1.5, "x a bare commit", pair.times(), pair
    )


def recovery(folder: Path, count: int, rounds: int) -> int:
    """A recovery into an empty book with a journal, against the same in memory."""
    rows = positions(count)
    names = itertools.count()
    # A warm-up comes first; opening a new journal is no part of a recovery.
    kept = [
        PortfolioManager(SYMBOL, journal=folder / f"{next(names)}.db") for _ in range(rounds + 3)
    ]
    waiting = iter(kept)
    with answering(reply(rows)) as port, ExecutionGateway("127.0.0.1", port, 5000) as gateway:

        def recover(pm: PortfolioManager) -> None:
            assert StateReconciler(pm, gateway, 15).startup_recovery().recovered == count

        pair = in_turn(
            lambda: recover(next(waiting)), lambda: recover(PortfolioManager(SYMBOL)), rounds
        )
    for pm in kept:
        assert pm.book.version == count
        pm.close_journal()
    each = pair.excess_us / count
    what = f"{count:,} positions, recovery into SQLite, one transaction"
    return report(what, each, 25, "us a position above memory", pair.times(), pair)


def hedging(folder: Path, count: int, symbols: int) -> int:
    """A recovery of a hedging account over many symbols, without the wire: CPU, least of many."""
    clock = SystemClock()
    names = [f"SYM{number:02d}" for number in range(symbols)]
    gateway = _InProcess(*_hedging_replies(clock, count, names))
    policy = Policy(symbols=frozenset(names))
    journals = itertools.count()

    def least_ms(journal: Callable[[], Path | None]) -> float:
        spent = []
        for _ in range(HEDGING_ROUNDS):
            client = ExecutionGateway("127.0.0.1", 1, 1_000, link=lambda _: gateway)
            pm = PortfolioManager(EVERY_SYMBOL, journal=journal(), clock=clock)
            reconciler = StateReconciler(pm, client, 15, policy=policy, account="")
            began = time.thread_time()
            assert reconciler.startup_recovery().recovered == count
            spent.append(time.thread_time() - began)
            pm.close_journal()
        return min(spent) * 1e3

    what = f"{count:,} hedging tickets over {symbols} symbols, recovery"
    detail = f"CPU, least of {HEDGING_ROUNDS}"
    missed = report(f"{what} in memory", least_ms(lambda: None), 50, "ms", detail)
    kept_ms = least_ms(lambda: folder / f"hedging{next(journals)}.db")
    return missed + report(f"{what} into SQLite", kept_ms, 150, "ms", detail)


def _hedging_replies(clock: SystemClock, count: int, names: list[str]) -> tuple[bytes, bytes]:
    """Return a gateway's greeting, and its snapshot of so many positions in these symbols."""
    desk = Desk(_simulated(1, clock), "bench", clock.now_ns)
    greeting = json.loads(desk.handle(GET_POSITIONS))
    greeting["capabilities"] = ["SNAPSHOT", "DEALS"]
    full = json.loads(desk.handle(encode_snapshot_request(SnapshotRequest("s", 1))))
    one = {**full["positions"][0], "profit": 0.0}
    rows = [
        {**one, "ticket": ticket, "identifier": ticket, "symbol": names[ticket % len(names)]}
        for ticket in range(FIRST_TICKET, FIRST_TICKET + count)
    ]
    full["account"] |= {"profit": 0.0, "equity": full["account"]["balance"]}
    full |= {"positions": rows, "count_before": [count, 0], "count_after": [count, 0]}
    full |= {"profit_bounds": [0, 0], "specs": []}
    full["digest"] = digest_of(sum(map(raw_position_hash, rows)), count)
    return json.dumps(greeting).encode(), json.dumps(full, separators=(",", ":")).encode()


class _InProcess:
    """A connection that answers from memory: a greeting, and one snapshot again and again."""

    def __init__(self, greeting: bytes, snapshot: bytes) -> None:
        self._greeting, self._snapshot = greeting, snapshot
        self._reply = b""

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Answer a request."""
        asked = json.loads(message)
        self._reply = self._greeting
        if asked["action"] == "SNAPSHOT":
            numbered = f'"id":{asked["id"]},'.encode()
            self._reply = self._snapshot.replace(b'"id":1,', numbered, 1)

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply."""
        return self._reply

    def reset(self) -> None:
        """Do nothing."""

    close = reset


def cold_start(path: Path) -> int:
    """A fresh process, imports included, until book and broker agree."""
    with _terminal() as port:
        fill(path, _open_at(port))
        program = _PROGRAM.format(path=str(path), port=port, symbol=SYMBOL, count=OPEN)
        said = [
            json.loads(
                subprocess.run([sys.executable, "-c", program], check=True, stdout=-1).stdout
            )
            for _ in range(7)
        ]
    what = f"cold start to agreement, {OPEN:,} positions, {MILLION:,} events"
    seconds = [one["seconds"] for one in said]
    detail = f"{min(seconds):.2f} to {max(seconds):.2f}, imports included"
    missed = report(what, statistics.median(seconds), 1.0, "s of CPU", detail)
    mib = max(one["kib"] for one in said) / 1024
    return missed + report("its memory", mib, 150, "MiB", "the process at its largest")


def telling(path: Path) -> int:
    """Replay and audit of a long journal, against reading and proving the same events."""

    def spent(work: Callable[[Iterator[Record]], object]) -> float:
        with open_reader(path, SYMBOL) as reader:
            began = time.process_time()
            work(itertools.islice(reader.records(), TOLD))
            return time.process_time() - began

    works: dict[str, tuple[Callable[[Iterator[Record]], object], float]] = {
        "replay": (lambda records: replay(records, SYMBOL, NOW_NS * 2, 10), 4.0),
        "audit": (lambda records: _drain(audit_lines(story(records, AuditFilter()))), 5.0),
        "audit of what is not there": (
            lambda records: _drain(story(records, AuditFilter(actions=frozenset({"HALT"})))),
            2.5,
        ),
    }
    missed = 0
    for name, (work, target) in works.items():
        rounds = [(spent(work), spent(_drain)) for _ in range(5)]
        ratio = statistics.median(told / read for told, read in rounds)
        each_us = min(told for told, _ in rounds) / TOLD * 1e6
        detail = f"{each_us:.1f} us of CPU an event"
        missed += report(f"{name}, {TOLD:,} events", ratio, target, "x reading them", detail)
    return missed


def _drain(things: Iterator[object]) -> None:
    for _ in things:
        pass


_PROGRAM = """
import json, logging, pathlib, resource, sys, time
UNIT = 1024 if sys.platform == "darwin" else 1
logging.getLogger("trueup").addHandler(logging.NullHandler())
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
pm = PortfolioManager({symbol!r}, journal={path!r})
with ExecutionGateway("127.0.0.1", {port}, 5000) as gateway:
    reconciler = StateReconciler(pm, gateway, 15)
    result = reconciler.startup_recovery()
assert len(pm.book.holdings) == {count}, len(pm.book.holdings)
assert (result.status.value, result.recovered, result.closed) == ("SUCCESS", 0, 0)
assert reconciler.health.startswith("Everything agrees"), reconciler.health
spent = time.process_time()
status = pathlib.Path("/proc/self/status")
if status.exists():
    # Linux hands the largest size of the parent down; this one is the process's own.
    kib = int(status.read_text().partition("VmHWM:")[2].split()[0])
else:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT
print(json.dumps({{"seconds": spent, "kib": kib}}))
"""


@contextmanager
def _terminal() -> Iterator[int]:
    """Run a simulated terminal with open positions in a process of its own; yield its port."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(there,), daemon=True)
    server.start()
    yield here.recv()
    server.terminate()
    server.join()


def _serve(pipe: Connection) -> None:
    clock = SystemClock()
    account = AccountSetup(balance=100_000_000.0)
    terminal = SimulatedTerminal(account=account, now_msc=lambda: clock.now_ns() // 1_000_000)
    terminal.initialize()
    terminal.quote(SYMBOL, 1.1, 1.1001)
    Person(terminal.broker, account.login).open_many(SYMBOL, ORDER_TYPE_BUY, 0.01, OPEN)
    server = Server("tcp://127.0.0.1:0", anybody(Desk(terminal, "bench", clock.now_ns).handle))
    pipe.send(server.port)
    while True:
        server.serve_once(1_000)


def _open_at(port: int) -> tuple[events.AccountBound, list[Position]]:
    """Return the account and what is open there."""
    pm = PortfolioManager(SYMBOL)
    with ExecutionGateway("127.0.0.1", port, 5000) as gateway:
        StateReconciler(pm, gateway, 15).startup_recovery()
    assert pm.book.account is not None
    return pm.book.account, [holding.position for holding in pm.book.holdings.values()]


def life(bound: events.AccountBound, rows: list[Position]) -> Iterator[events.Event]:
    """Yield the events of a bot's long life: trades that came and went, and those still open."""
    yield bound
    names = itertools.count()
    # Far from those that are open.
    tickets = itertools.count(10**10)
    half = len(rows) // 2
    for row in rows[:half]:
        yield from _opened(next(names), row.ticket, row)
    rest = 3 * (len(rows) - half)
    written = 1 + 3 * half
    while written + EVENTS_A_TRADE <= MILLION - rest:
        ticket = next(tickets)
        yield from _opened(next(names), ticket, rows[0])
        yield from _closed(next(names), ticket, rows[0])
        written += EVENTS_A_TRADE
    for row in rows[half:]:
        yield from _opened(next(names), row.ticket, row)


def _opened(number: int, ticket: int, row: Position) -> Iterator[events.Event]:
    yield from _sent(number, row, row.side)
    yield _filled(number, ticket, row, row.side)


def _closed(number: int, ticket: int, row: Position) -> Iterator[events.Event]:
    yield from _sent(number, row, row.side.opposite, ticket)
    yield _filled(number, 10**9 + number, row, row.side.opposite)
    position = Position(ticket, row.symbol, row.side, row.volume, row.price_open, identifier=ticket)
    yield events.DealsRecorded(
        at_ns=NOW_NS + number,
        position=position,
        deals=(2 * number, 2 * number + 1),
        realised_units=-1_000_000,
        because="closed by a program: 0.01 lots at 1.1, profit -0.01, swap 0.00, commission 0.00",
    )


def _sent(number: int, row: Position, side: Side, position: int = 0) -> Iterator[events.OrderEvent]:
    order_id = f"ORD_{number}_19b8c3f2"
    at_ns = NOW_NS + number
    yield events.OrderCreated(
        at_ns=at_ns,
        order_id=order_id,
        symbol=row.symbol,
        side=side,
        volume=row.volume,
        price=0.0,
        position=position,
        magic=row.magic,
        token=token_of(order_id),
        key=f"key-{number}",
        why="breakout",
        by_desk=True,
    )
    yield events.SendStarted(at_ns=at_ns, order_id=order_id)


def _filled(number: int, ticket: int, row: Position, side: Side) -> events.OrderFilled:
    return events.OrderFilled(
        at_ns=NOW_NS + number,
        order_id=f"ORD_{number}_19b8c3f2",
        ticket=ticket,
        symbol=row.symbol,
        side=side,
        volume=row.volume,
        price=row.price_open,
    )


def fill(path: Path, known: tuple[events.AccountBound, list[Position]]) -> None:
    """Write a long journal as its writer would, in few transactions and without waiting.

    Checkpoints are the product's own, and the last one is as long ago as it can be.
    """
    book, tip = Book(), GENESIS
    saved_at, saved = 0, b""
    with open_journal(path, SYMBOL, now_ns=itertools.count(NOW_NS).__next__) as journal:
        database = journal._database
        assert isinstance(database, SqliteDatabase)
        database.run("PRAGMA synchronous=OFF")
        history = life(*known)
        last_saved = MILLION - max(EVENTS_PER_CHECKPOINT, 2 * OPEN + FINISHED_KEPT) + 50
        while batch := list(itertools.islice(history, 10_000)):
            rows = []
            for event in batch:
                (row,) = chained(SYMBOL, tip, [encode(event)])
                tip = Tip(row.position, row.hash)
                rows.append((SYMBOL, *row))
                book.apply(event)
                if book.version == last_saved:
                    saved_at, saved = book.version, book.state()
            with database.writing():
                database.change_many(database.statements.append, rows)
        with database.writing():
            database.run("UPDATE journal_writers SET position = 0")
            claimed = (journal.token, "benchmark", NOW_NS, *tip, SYMBOL)
            database.change(database.statements.claim, *claimed)
    with open_journal(path, SYMBOL, now_ns=itertools.count(NOW_NS).__next__) as journal:
        journal.checkpoint(saved_at, saved)
