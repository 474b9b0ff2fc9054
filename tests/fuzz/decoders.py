"""Everything that reads bytes from outside, with messages it knows and what it may answer.

`feed` gives one input to a decoder. It returns quietly, having got an answer or one of the errors
that the decoder's docstring names; anything else that is raised is a find.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tests.support.desk_world import BUY, DeskWorld
from tests.support.make import as_bytes, reply, row
from trueup.core import events
from trueup.core.book import Book
from trueup.core.lifecycle import OrderStatus
from trueup.core.model import Position, Side, Snapshot
from trueup.core.trust import Unknown
from trueup.errors import (
    JournalCorrupt,
    JournalError,
    KeysError,
    OutcomeUnknown,
    RemoteProtocolError,
    SettingsError,
)
from trueup.gateway.access import Access, parse_allowed
from trueup.gateway.keys import KEY_CHARS
from trueup.gateway.reader import Question
from trueup.journal import chain, codec
from trueup.journal.journal import GENESIS
from trueup.protocol.guide import decode_positions
from trueup.protocol.hints import Ear, Hint, encode_hint
from trueup.protocol.orders import decode_outcome
from trueup.protocol.request_status import decode_status, encode_status_request
from trueup.protocol.requests import ORDERS, decode_request
from trueup.protocol.snapshot import decode_snapshot
from trueup.protocol.ticks import Tick, decode_tick
from trueup.runtime.clock import ManualClock
from trueup.runtime.portfolio import PortfolioManager
from trueup.settings import Settings, load_settings
from trueup.sim.feed.bars import Bar, FeedError
from trueup.sim.feed.files import open_table
from trueup.sim.market import Quote
from trueup.sim.person_desk import PersonDesk

AT = 1_700_000_000_000_000_000
POSITION = Position(7, "EURUSD", Side.BUY, 0.1, 1.1, identifier=7)


class Decoder(Protocol):
    """One decoder."""

    messages: list[bytes]

    def feed(self, raw: bytes) -> None:
        """Give it one input."""


def _can_be_said(reading: Snapshot | Unknown) -> None:
    """What is told of a reading goes into logs and journals, which take UTF-8."""
    said = [reading.sentence] if isinstance(reading, Unknown) else reading.faults
    assert all(text.encode() for text in said)


class Requests:
    """The gateway's side of the wire: `decode_request`, and the whole desk behind it."""

    ROUNDS = 500

    def __init__(self, folder: Path) -> None:
        self._round = 0
        self._begin()
        self.world.sync()
        self.world.pm.submit("buy", 0.1, magic=7)
        self.world.pm.submit("sell", 0.1, limit=1.2)
        order = self.world.pm.close(next(iter(self.world.tickets())))
        self.world.gateway.read(Question(explain=(order.ticket or 1,), history_age_sec=60))
        orders = [m for m in self.world.requests if b'"order_id"' in m]
        asked = [m for m in self.world.requests if b'"order_id"' not in m]
        plain: list[dict[str, Any]] = [
            {"action": "GET_POSITIONS", "symbol": "*"},
            {"action": "TICK", "symbol": "EURUSD"},
            {"action": "HELLO"},
            {"action": "PING", "uuid": "a-1"},
            {"action": "GET_ACCOUNT", "uuid": "a-2"},
            {"action": "SYNC_ALL", "uuid": "a-3"},
            {"action": "OPEN", "uuid": "a-4", "symbol": "EURUSD", "type": "BUY", "volume": 0.1},
            {"action": "CLOSE", "uuid": "a-5", "ticket": 1},
            {"action": "MODIFY", "order_id": "m", "symbol": "EURUSD", "position": 1, "sl": 1.0},
            {"action": "CANCEL", "order_id": "c", "order": 1},
        ]
        self.messages = [*orders, *asked[-3:], *map(msgspec.json.encode, plain)]

    def _begin(self) -> None:
        self.world = DeskWorld()

    def feed(self, raw: bytes) -> None:
        """The desk answers everything, and what cannot be read changes nothing."""
        self._round += 1
        if self._round % self.ROUNDS == 0:
            self._begin()
        try:
            request = decode_request(raw)
        except RemoteProtocolError as error:
            request = None
            assert str(error)
        before = self._truth()
        answer = json.loads(self.world.desk.handle(raw))
        assert isinstance(answer, dict)
        assert answer.get("status")
        if request is None or request.action not in ORDERS:
            assert self._truth() == before
        if request is None:
            assert answer["status"].upper() in ("ERROR", "REJECTED", "FAILED"), answer

    def _truth(self) -> tuple[Any, ...]:
        ledger = self.world.ledger
        return dict(ledger.positions), dict(ledger.orders), len(ledger.deals)


class Positions:
    """The reply to GET_POSITIONS."""

    def __init__(self, folder: Path) -> None:
        rows = [row(1), row(2, type="sell", volume=0.25, comment="é"), row(3, identifier=9)]
        replies = [reply(), reply(*rows), reply(*rows, error="half of it")]
        self.messages = [*map(as_bytes, replies)]

    def feed(self, raw: bytes) -> None:
        """It is a reading, perhaps with faults, or it is unknown."""
        _can_be_said(decode_positions(raw))


class Snapshots:
    """The reply to SNAPSHOT, and what a sync makes of it."""

    def __init__(self, folder: Path) -> None:
        self.world = DeskWorld()
        self.world.sync()
        robot = self.world.terminal.robot(7)
        robot.open("EURUSD", BUY, 0.1)
        robot.close(robot.open("EURUSD", BUY, 0.2))
        robot.place("EURUSD", 2, 0.1, 1.05)
        self.world.sync()
        requests = [m for m in self.world.requests if b'"SNAPSHOT"' in m]
        requests.append(
            msgspec.json.encode(
                {
                    "action": "SNAPSHOT",
                    "id": 1,
                    "session": "fuzz",
                    "symbols": ["EURUSD"],
                    "explain": [1, *self.world.tickets()],
                    "history_age_sec": 1_000,
                }
            )
        )
        self.messages = [self.world.desk.handle(m) for m in requests]
        self._id = json.loads(self.messages[-1])["id"]

    def feed(self, raw: bytes) -> None:
        """It is a reading, perhaps with faults, or it is unknown; a sync survives it."""
        _can_be_said(decode_snapshot(raw, self._id))
        before, truth = self.world.state(), self.world.rows()
        self.world.mangle(lambda _: raw)
        result = self.world.sync(0)
        self.world.heal_wire()
        self.world.requests.clear()
        if result.status.value in ("DEGRADED", "FAILED"):
            assert self.world.state() == before
        assert self.world.rows() == truth


class Outcomes:
    """The reply to an order, and what the book makes of it."""

    def __init__(self, folder: Path) -> None:
        self._order = {"order_id": "ORD_0_x"}
        done = {"order_id": "ORD_0_x", "status": "FILLED", "ticket": 5, "retcode": 10009}
        other = {"status": "REJECTED", "error_msg": "no money", "retcode": 10019}
        self.messages = [
            json.dumps({**done, "filled_price": 1.1, "filled_volume": 0.1}).encode(),
            json.dumps({**done, "price": 1.1, "volume": 0.1, "deal": 3}).encode(),
            json.dumps({**done, **other}).encode(),
            json.dumps({**done, "status": "PLACED"}).encode(),
        ]

    def feed(self, raw: bytes) -> None:
        """The order is done, refused, or in doubt; a doubt never becomes a refusal."""
        pm = PortfolioManager("EURUSD", clock=ManualClock(AT), run="x")
        order = pm.create_order(1, 1.1, 0.1)
        assert order is not None
        try:
            outcome = decode_outcome(raw, self._order)
        except OutcomeUnknown as unknown:
            outcome = {"status": "UNKNOWN", "error": str(unknown)}
        pm.on_fill({**outcome, "order_id": "ORD_0_x"})
        assert order.status is not OrderStatus.PENDING
        if outcome["status"] == "UNKNOWN":
            assert order.status is OrderStatus.IN_DOUBT
        assert Book.restore(pm.book.state()).state() == pm.book.state()


class Ticks:
    """The reply to TICK."""

    def __init__(self, folder: Path) -> None:
        tick = {"status": "SUCCESS", "symbol": "EURUSD", "bid": 1.1, "ask": 1.2, "time_msc": 5}
        failed = {"status": "FAILED", "symbol": "EURUSD", "error": "no quotes"}
        self.messages = [json.dumps(tick).encode(), json.dumps(failed).encode()]

    def feed(self, raw: bytes) -> None:
        """It is a price or it is unknown."""
        tick = decode_tick(raw, "EURUSD")
        if isinstance(tick, Tick):
            assert 0 < tick.bid <= tick.ask < float("inf")
        else:
            _can_be_said(tick)


class Statuses:
    """The reply to REQUEST_STATUS."""

    def __init__(self, folder: Path) -> None:
        world = DeskWorld()
        world.sync()
        order = world.pm.submit("buy", 0.1)
        asked = map(encode_status_request, (order.order_id, "o"))
        failed = {"status": "FAILED", "error": "the record is locked"}
        answers = [world.desk.handle(one) for one in asked]
        self.messages = [*answers, json.dumps(failed).encode()]

    def feed(self, raw: bytes) -> None:
        """It is about the order that was asked for, or it is unknown."""
        status = decode_status(raw, "o")
        if isinstance(status, Unknown):
            _can_be_said(status)
        else:
            assert status.order_id == "o"


class Hints:
    """What a gateway says unasked."""

    def __init__(self, folder: Path) -> None:
        self._ear = Ear()
        self.messages = [encode_hint(Hint(n, "boot", "0" * 32, 1_000)) for n in (1, 2, 900)]

    def feed(self, raw: bytes) -> None:
        """It is a reason to ask, or nothing."""
        assert isinstance(self._ear.hear([raw], "0" * 32, AT), str)


class Rows:
    """The journal's rows: each kind of event, and the chain that proves them."""

    def __init__(self, folder: Path) -> None:
        history: list[events.Event] = [
            events.OrderCreated(AT, "O", "EURUSD", Side.BUY, 0.1, 1.1, token="t", key="k"),
            events.OrderFilled(AT, "O", 7, "EURUSD", Side.BUY, 0.1, 1.1),
            events.PositionAdopted(AT, POSITION),
            events.PositionClosed(AT, POSITION, "by its stop loss", realised_units=5),
            events.PositionCorrected(AT, POSITION, POSITION, ("volume",)),
            events.DealsRecorded(AT, POSITION, (1, 2), 5, "opened"),
        ]
        self._rows = chain.chained("EURUSD", GENESIS, [codec.encode(event) for event in history])
        self.messages = [row.payload for row in self._rows]
        self._kinds = [row.kind for row in self._rows] + ["NoSuchKind"]

    def feed(self, raw: bytes) -> None:
        """It is an event that can be written again, or it is named as none; no proof holds."""
        for kind in self._kinds:
            try:
                event = codec.decode(1, kind, raw)
            except (JournalCorrupt, JournalError) as error:
                assert "position 1" in str(error)
                continue
            with contextlib.suppress(JournalError):
                assert codec.decode(1, kind, codec.encode(event).payload) == event
        first = self._rows[0]
        if raw != first.payload:
            prover = chain.Prover("EURUSD")
            try:
                prover.take(first._replace(payload=raw))
            except chain.BrokenChain:
                return
            raise AssertionError("an altered row proves itself")


class SavedBooks:
    """A checkpoint's bytes."""

    def __init__(self, folder: Path) -> None:
        world = DeskWorld()
        world.sync()
        world.pm.submit("buy", 0.1)
        world.pm.submit("buy", 0.1, limit=1.05)
        self.messages = [Book().state(), world.state()]

    def feed(self, raw: bytes) -> None:
        """It is a book, or it is named as none."""
        with contextlib.suppress(JournalCorrupt):
            assert isinstance(Book.restore(raw), Book)


class Commands:
    """What a person at the simulated terminal may say."""

    def __init__(self, folder: Path) -> None:
        self.world = DeskWorld()
        self._desk = PersonDesk(self.world.terminal, "EURUSD", dict, lambda: None)
        self.messages = [
            b'{"command":"list"}',
            b'{"command":"open","side":"buy","volume":0.1}',
            b'{"command":"modify","ticket":1,"sl":1.0,"tp":1.3}',
            b'{"command":"partial","ticket":1,"volume":0.01}',
            b'{"command":"close_all"}',
        ]

    def feed(self, raw: bytes) -> None:
        """It is carried out, or refused with its reason."""
        answer = json.loads(self._desk.handle(raw))
        assert answer["ok"] or answer["error"]


class SettingsFiles:
    """`.env` and `trueup.toml`, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.messages = [
            b"GTW_HOST=127.0.0.1\nGTW_PORT=5555\nGTW_TIMEOUT_MS=2000\n",
            b"SYNC_INTERVAL_SEC=15 # seconds\nexport GTW_HOST='a b'\n",
            b'gtw_host = "10.0.0.1"\ngtw_port = 5556\nsync_interval_sec = 5.5\n',
        ]

    def feed(self, raw: bytes) -> None:
        """They are settings, or the one that is wrong is named."""
        here = Path.cwd()
        os.chdir(self._folder)
        try:
            for name in (".env", "trueup.toml"):
                Path(name).write_bytes(raw)
                with contextlib.suppress(SettingsError):
                    assert isinstance(load_settings(), Settings)
                Path(name).unlink()
        finally:
            os.chdir(here)


class AllowedKeys:
    """The file of keys that may come in."""

    def __init__(self, folder: Path) -> None:
        key = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
        assert len(key) == KEY_CHARS
        self.messages = [b"# who\nbot1 trade 5012345 " + key + b"\nscreen read * " + key[::-1]]

    def feed(self, raw: bytes) -> None:
        """They are keys, or the line that is wrong is named."""
        with contextlib.suppress(KeysError):
            found = parse_allowed(raw.decode("utf-8", "replace"), "allowed")
            assert all(isinstance(access, Access) for access in found.values())


class Feeds:
    """MetaTrader 5's exports of bars and ticks, plain bars, and their archives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        heading = b"<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n"
        bars = heading + b"2024.01.31\t23:00:00\t1.1\t1.2\t1.0\t1.15\t5\t0\t7\r\n"
        ticks = b"<DATE>\t<TIME>\t<BID>\t<ASK>\n2024.01.31\t23:59:59.123\t1.1\t1.2\n"
        ticks += b"2024.01.31\t23:59:59.500\t\t1.3\n"
        plain = b"time,open,high,low,close\n2024-01-31T00:00,1,2,0.5,1.5\n"
        wide = bars.decode().encode("utf-16")
        self.messages = [bars, ticks, plain, wide, gzip.compress(bars, mtime=0)]

    def feed(self, raw: bytes) -> None:
        """They are prices in order, or the line that is wrong is named."""
        path = self._folder / ("prices.csv.gz" if raw[:2] == b"\x1f\x8b" else "prices.csv")
        path.write_bytes(raw)
        try:
            table = open_table(path)
            quoted: Iterable[Quote | Bar] = table.ticks() if table.has_ticks else table.bars()
            times = [one.time_msc for one in quoted]
            assert times == sorted(times)
        except FeedError as error:
            assert str(path) in str(error)


DECODERS: dict[str, Callable[[Path], Decoder]] = {
    "requests": Requests,
    "positions": Positions,
    "snapshots": Snapshots,
    "outcomes": Outcomes,
    "ticks": Ticks,
    "statuses": Statuses,
    "hints": Hints,
    "journal rows": Rows,
    "saved books": SavedBooks,
    "commands": Commands,
    "settings": SettingsFiles,
    "allowed keys": AllowedKeys,
    "price files": Feeds,
}
