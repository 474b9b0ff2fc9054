"""Everything that reads bytes from outside, with messages it knows and what it may answer.

Those of the wire are here, those of a disk in `files`, and in `neighbours` those of other programs
on this machine and of gateways that nobody knows yet.

`feed` gives one input to a decoder. It returns quietly, having got an answer or one of the errors
that the decoder's docstring names; anything else that is raised is a find.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tests.fuzz import files, neighbours
from tests.support.desk_world import BUY, DeskWorld
from tests.support.make import as_bytes, reply, row
from tests.support.rewritten import RewrittenWorld, changed
from trueup.core.account.trust import Unknown
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.model import Snapshot
from trueup.core.scope import Scope
from trueup.errors import OutcomeUnknown, RemoteProtocolError
from trueup.gateway.client.reader import Question
from trueup.protocol.claims import ClaimRequest, decode_claim_reply, encode_claim_request
from trueup.protocol.guide import decode_positions
from trueup.protocol.hints import Hint, HintTracker, encode_hint
from trueup.protocol.orders import decode_outcome
from trueup.protocol.request_status import decode_status, encode_status_request
from trueup.protocol.requests import ORDERS, decode_request
from trueup.protocol.snapshot import decode_snapshot
from trueup.protocol.text import read_json, why_unreadable
from trueup.protocol.ticks import Tick, decode_tick
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.time.clock import ManualClock

AT = 1_700_000_000_000_000_000
LINE_LONGEST = 600


class Decoder(Protocol):
    """One decoder."""

    messages: list[bytes]

    def feed(self, raw: bytes) -> None:
        """Give it one input."""


def _can_be_said(reading: Snapshot | Unknown) -> None:
    """What is told of a reading goes into logs and journals, which take UTF-8, as a line."""
    said = (
        [reading.sentence]
        if isinstance(reading, Unknown)
        else [*map(str, reading.faults), *map(str, reading.notes)]
    )
    for text in said:
        assert text.encode()
        assert len(text) <= LINE_LONGEST


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
            {"action": "CLAIM", "scope": {"run": "a", "magics": [7], "symbols": ["EURUSD"]}},
            {"action": "BUY", "order_id": "b", "symbol": "EURUSD", "volume": 0.1, "claim": "a"},
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


class Texts:
    """JSON with whatever stands around it."""

    def __init__(self, folder: Path) -> None:
        value = {"status": "SUCCESS", "comment": "é \N{GRINNING FACE}", "rows": [{"a": 1.5}, None]}
        raw = json.dumps(value, ensure_ascii=False)
        self.messages = [raw.encode(), raw.encode() + b"\0}", b"\xef\xbb\xbf" + raw.encode()]
        self.messages += [raw.encode(codec) for codec in ("utf-16", "utf-16-le", "utf-16-be")]
        self.messages.append(rb'{"comment":"cut \ud83d"}')

    def feed(self, raw: bytes) -> None:
        """It is values that can be written, or the place that cannot be read is named in a line."""
        try:
            assert repr(read_json(raw)).encode()
        except (ValueError, RecursionError):
            said = why_unreadable(raw)
            assert said.encode()
            assert len(said) <= LINE_LONGEST
            assert "\n" not in said


class TerminalRows:
    """Rows of a terminal with any values, at the gateway and at a bot."""

    def __init__(self, folder: Path) -> None:
        self._begin()
        fields = self._truth[0]._asdict()
        self.messages = [json.dumps(fields).encode()]
        self.messages += [json.dumps({name: value}).encode() for name, value in fields.items()]

    def _begin(self) -> None:
        self._world = RewrittenWorld()
        self._world.person.open("EURUSD", BUY, 0.2)
        self._world.person.open("GBPUSD", BUY, 0.1)
        self._world.sync()
        self._truth = self._world.terminal.positions_get() or ()

    def feed(self, raw: bytes) -> None:
        """The row is named or read, and what is open is never gone."""
        try:
            fields = read_json(raw)
        except (ValueError, RecursionError):
            return
        kept = self._truth[0]._asdict()
        odd = {k: v for k, v in fields.items() if k in kept} if isinstance(fields, dict) else {}
        world = self._world
        world.rewrite(positions_get=lambda rows: (changed(rows[0], **odd), *rows[1:]))
        _can_be_said(decode_positions(world.desk.handle(b'{"action":"GET_POSITIONS"}')))
        result = world.sync(0.5)
        assert result.closed == 0
        assert result.status.value != "FAILED"
        world.show_truly()
        world.sync(0.5)
        if world.book() != {key: row for key, row in world.rows().items() if row[1] == "EURUSD"}:
            # A row of another position: the bot took it over, as it should.
            self._begin()


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


class ClaimReplies:
    """The reply to CLAIM."""

    def __init__(self, folder: Path) -> None:
        world, scope = DeskWorld(), Scope("a", magics=(7,), symbols=("EURUSD",))
        other = ClaimRequest(Scope("b", magics=(7, 8)))
        asked = (ClaimRequest(scope), other, ClaimRequest(scope, release=True))
        failed = {"status": "FAILED", "error": "the record is locked"}
        answers = [world.desk.handle(encode_claim_request(one)) for one in asked]
        self.messages = [*answers, json.dumps(failed).encode()]

    def feed(self, raw: bytes) -> None:
        """It says whether the scope is claimed, or why that is not known."""
        try:
            assert decode_claim_reply(raw).status in ("SUCCESS", "REJECTED")
        except RemoteProtocolError as error:
            assert str(error).encode()


class Hints:
    """What a gateway says unasked."""

    def __init__(self, folder: Path) -> None:
        self._ear = HintTracker()
        self.messages = [encode_hint(Hint(n, "boot", "0" * 32, 1_000)) for n in (1, 2, 900)]

    def feed(self, raw: bytes) -> None:
        """It is a reason to ask, or nothing."""
        assert isinstance(self._ear.hear([raw], "0" * 32, AT), str)


DECODERS: dict[str, Callable[[Path], Decoder]] = {
    "requests": Requests,
    "positions": Positions,
    "texts": Texts,
    "terminal rows": TerminalRows,
    "snapshots": Snapshots,
    "outcomes": Outcomes,
    "ticks": Ticks,
    "statuses": Statuses,
    "claim replies": ClaimReplies,
    "hints": Hints,
    "strangers' replies": neighbours.Replies,
    "greetings": neighbours.Greetings,
    "journal rows": files.Rows,
    "saved books": files.SavedBooks,
    "lock notes": files.LockNotes,
    "claim files": files.ClaimFiles,
    "record of requests": files.Records,
    "worker calls": neighbours.WorkerCalls,
    "worker answers": neighbours.WorkerAnswers,
    "commands": neighbours.Commands,
    "bot commands": neighbours.BotCommands,
    "bot answers": neighbours.BotAnswers,
    "state files": files.StateFiles,
    "settings": files.SettingsFiles,
    "allowed keys": files.AllowedKeys,
    "key files": files.KeyFiles,
    "price files": files.Feeds,
    "moments": neighbours.Moments,
}
