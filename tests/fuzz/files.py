"""Decoders of what is read from a disk: journal rows, settings, keys, prices, state files."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from tests.support.desk_world import DeskWorld
from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.deals import BookedDeal
from trueup.core.model import OrderType, PendingOrder, Position, Side
from trueup.core.scope import Scope
from trueup.errors import ClaimRefused, JournalCorrupt, JournalError, KeysError, SettingsError
from trueup.gateway.access.allow_file import Access, AllowFile
from trueup.gateway.access.keys import KEY_CHARS, is_key, new_keys, read_key_pair, read_public_key
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.local_claims import LocalClaims
from trueup.gateway.record.store import Entry, RequestStore
from trueup.journal.backends.lockfile import FileClaim, noted
from trueup.journal.journal import GENESIS, Tip
from trueup.journal.rows import chain, codec
from trueup.protocol.request_status import encode_status_request
from trueup.runtime.control.bots import Bot
from trueup.runtime.control.state_files import StateFile, listens
from trueup.settings import Settings, load_settings
from trueup.sim.market.market import Quote
from trueup.sim.prices.bars import Bar, FeedError
from trueup.sim.prices.files import open_table
from trueup.sim.process.whereabouts import Whereabouts
from trueup.sim.terminal.terminal_faults import AnswerLost

AT = 1_700_000_000_000_000_000
POSITION = Position(7, "EURUSD", Side.BUY, 0.1, 1.1, identifier=7)
PENDING = PendingOrder(9, "EURUSD", OrderType.BUY_LIMIT, 0.1, 1.05)
COUNTED = BookedDeal(3, money=-5, lots=10_000_000, order=7)


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
            events.DealsRecorded(
                AT, POSITION, (3,), 5, "changed", booked=(COUNTED,), changed=(3,), complete=(7,)
            ),
            events.PositionClosed(
                AT, POSITION, "by a rollover", deals=(3,), booked=(COUNTED,), went_on_as=(8,)
            ),
            events.PendingClosed(AT, PENDING, "filled", filled=0.1, position=7, ours=True),
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
        world.sync()
        world.pm.submit("buy", 0.1)
        self.messages = [Book().state(), world.state()]

    def feed(self, raw: bytes) -> None:
        """It is a book, or it is named as none."""
        with contextlib.suppress(JournalCorrupt):
            assert isinstance(Book.restore(raw), Book)


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
        self._path = folder / "allowed"
        key = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
        assert len(key) == KEY_CHARS
        self.messages = [b"# who\nbot1 trade 5012345 " + key + b"\nscreen read * " + key[::-1]]

    def feed(self, raw: bytes) -> None:
        """They are keys, or the line that is wrong is named."""
        self._path.write_bytes(raw)
        try:
            allowed = AllowFile(self._path, lambda: AT)
        except KeysError as error:
            assert str(self._path) in str(error)
            return
        access = allowed.find("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
        assert access is None or isinstance(access, Access)


class KeyFiles:
    """A key pair's two files."""

    def __init__(self, folder: Path) -> None:
        made = new_keys(folder, "own")
        self._path = folder / "other.key_secret"
        self._path.touch(mode=0o600)
        self.messages = [made.secret_file.read_bytes(), made.public_file.read_bytes()]

    def feed(self, raw: bytes) -> None:
        """It is a key, or the file is named and no secret is told."""
        self._path.write_bytes(raw)
        for read in (read_key_pair, read_public_key):
            try:
                key = read(self._path)
            except KeysError as error:
                assert str(self._path) in str(error)
                continue
            assert is_key(key if isinstance(key, str) else key.secret)


class StateFiles:
    """What a running bot, or the simulated terminal, says of where it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        bot = Bot(7, "tcp://127.0.0.1:5555", "EURUSD", "2026-01-05T14:00:00+00:00")
        terminal = Whereabouts(7, bot.control, bot.control, "5000001", "EURUSD", bot.started)
        self.messages = [msgspec.json.encode(one) for one in (bot, terminal)]

    def feed(self, raw: bytes) -> None:
        """It is where a process may be, or nothing; and nobody is there."""
        (self._folder / "state.json").write_bytes(raw)
        with (
            mock.patch.dict(os.environ, {"TRUEUP_HOME": str(self._folder)}),
            # No name is looked up, and nobody called.
            mock.patch("socket.getaddrinfo", side_effect=OSError),
        ):
            bot = StateFile("state.json", Bot).read()
            terminal = StateFile("state.json", Whereabouts).read()
            for endpoint in (bot and bot.control, terminal and terminal.person):
                assert not (endpoint and listens(endpoint, 100))


class LockNotes:
    """What a lock file notes of how far a journal got."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "bot.db.EURUSD.1.lock"
        claim = FileClaim(self._path, 1, None)
        claim.record(Tip(4_711, b"\x07" * 32))
        claim.release()
        self.messages = [self._path.read_bytes()]

    def feed(self, raw: bytes) -> None:
        """It is what was written, or says nothing."""
        self._path.write_bytes(raw)
        tip = noted([self._path])
        assert tip is None or tip == Tip(4_711, b"\x07" * 32)


class ClaimFiles:
    """The file of a claim that a living program holds: whatever is in it, others are told."""

    def __init__(self, folder: Path) -> None:
        self._scope = Scope("run-1", "s", account="1@A", magics=(7,), symbols=("EURUSD",))
        self._folder, self._held = folder, LocalClaims(lambda: AT, folder)
        self._held.claim(self._scope)
        (self._path,) = folder.rglob("*.claim")
        self.messages = [self._path.read_bytes()]

    def feed(self, raw: bytes) -> None:
        """Another program claims, or is refused with words."""
        self._path.write_bytes(raw)
        with LocalClaims(lambda: AT, self._folder) as other:
            try:
                other.claim(msgspec.structs.replace(self._scope, run="run-2", symbols=()))
            except ClaimRefused as error:
                assert str(error).encode("utf-8", "surrogatepass")


class DamagedStore(RequestStore):
    """A record of requests of whose rows one column was damaged; what is in doubt stays so."""

    column = ""
    raw = b""

    def _rows(self, statement: str, *parameters: object) -> list[Entry]:
        damage: dict[str, Any] = {self.column: self.raw} if self.column else {}
        return [row._replace(**damage) for row in super()._rows(statement, *parameters)]

    def end(self, order_id: str, state: str, reply: bytes) -> None:
        """Write nothing but the first outcome, which is none."""
        if state == "unknown":
            super().end(order_id, state, reply)


class Records:
    """The gateway's record of requests: what a row of it says in JSON."""

    COLUMNS = ("parameters", "message", "before", "reply")
    ORDER = b'{"action":"BUY","order_id":"A","symbol":"EURUSD","volume":0.1,"price":1.1}'
    DOUBT = b'{"action":"SNAPSHOT","id":1,"session":"fuzz","in_doubt":[{"id":"A"}]}'

    def __init__(self, folder: Path) -> None:
        self._world = DeskWorld()
        clock, terminal = self._world.clock, self._world.terminal
        self._store = DamagedStore(None, "boot", clock.now_ns)
        self._desk = Desk(terminal, "boot", clock.now_ns, store=self._store)
        terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
        assert self._ask(self.ORDER)["status"] == "UNKNOWN"
        row = self._store.find("A")
        assert row is not None
        self.messages = [raw for name in self.COLUMNS if (raw := getattr(row, name))]

    def feed(self, raw: bytes) -> None:
        """The gateway goes on, the outcome is not known or proven, and nothing is sent."""
        for column in self.COLUMNS:
            self._store.column, self._store.raw = column, raw
            self._world.wait(2)
            self._desk.tend()
            assert self._ask(self.ORDER)["status"] in ("UNKNOWN", "FILLED", "REJECTED")
            assert self._ask(encode_status_request("A"))["status"]
            assert self._ask(self.DOUBT)["status"] == "SUCCESS"
        assert len(self._world.ledger.deals) == 2

    def _ask(self, request: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._desk.handle(request))
        return answer


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
        rates = b",time,open,high,low,close,tick_volume,spread,real_volume\n"
        rates += (
            b"0,1704153600,1.1,1.2,1.0,1.15,5,7,0\n1,2024-01-02T01:00Z,1.1,1.2,1.0,1.15,5,7,0\n"
        )
        module = b",time,bid,ask,last,volume,time_msc,flags,volume_real\n"
        module += b"0,1704153600,1.1,1.2,0.0,0,1704153600101,6,0.0\n"
        chart = b"2024.01.02,00:00,1.1,1.2,1.0,1.15,5\n2024.01.02,01:00,1.1,1.2,1.0,1.15,5\n"
        comma = b"DATE;TIME;OPEN;HIGH;LOW;CLOSE\n2024.01.02;00:00;1,1;1,2;1,0;1,15\n"
        bare = bars.decode().encode("utf-16-be")
        self.messages = [bars, ticks, plain, wide, bare, rates, module, chart, comma]
        self.messages.append(gzip.compress(bars, mtime=0))

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
