"""`trueup doctor` against real sockets: a healthy world, and each sick one with its remedy."""

from __future__ import annotations

import io
import itertools
import json
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.journal.places import orders
from tests.paper.test_paper_processes import Shell
from tests.support.desk_world import BUY, OTHER, DeskLink, DeskWorld
from tests.support.manners import CurveGateway, GuideGateway, opened
from tests.support.rewritten import RewrittenWorld
from tests.support.rewritten import changed as rewritten
from tests.support.servers import TcpServer, ZmqServer, free_port
from tests.support.servers import until as wait_until
from trueup.cli import app
from trueup.core.book.events import AccountBound
from trueup.core.model import MarginMode
from trueup.gateway.access.keys import KeyFiles, new_keys
from trueup.gateway.client.endpoints import TERMINAL_HERE
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal.one_account import OneAccount
from trueup.journal import open_journal
from trueup.observe.doctor_text import DoctorRow, Mark, is_healthy, row_lines, summary
from trueup.observe.log import make_streams_safe
from trueup.observe.status.status import OverdueRow, State, Status
from trueup.runtime.control.bots import Bot
from trueup.runtime.doctor.bots import UnheardBot, bot_rows
from trueup.runtime.doctor.gateway import CHECKS, GatewayVisit
from trueup.runtime.doctor.journal import JournalCheck
from trueup.runtime.doctor.line import Target
from trueup.runtime.time.clock import ManualClock, SystemClock

QUICK_MS = "3000"
EVERY = (
    *("versions", "settings", "resolvable", "port open", "key accepted", "answers", "protocol"),
    *("clock", "reading", "terminal connected", "trade allowed", "account", "symbols"),
    *("neighbours", "latency"),
    *("journal writable", "journal whole", "bot", "last sync"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing runs and nothing is set."""
    for name in ("GTW_HOST", "GTW_PORT", "GTW_SERVER_KEY", "GTW_KEY_FILE", "TRUEUP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GTW_TIMEOUT_MS", QUICK_MS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def rows(*arguments: str) -> dict[str, dict[str, Any]]:
    """What the doctor finds, by check."""
    said = run("--json", *arguments)
    found = json.loads(said.stdout)
    assert said.exit_code == (0 if found["healthy"] else 1)
    return {row["check"]: row for row in found["rows"]}


def at(port: int) -> tuple[str, str]:
    return "--gateway", f"tcp://127.0.0.1:{port}"


@pytest.fixture
def world() -> DeskWorld:
    return opened()


@pytest.fixture
def served(world: DeskWorld) -> Iterator[tuple[str, str]]:
    """The options that lead to a healthy gateway."""
    with ZmqServer(world.desk.handle) as server:
        yield at(server.port)


# A healthy world.


def test_every_check_is_there_and_a_healthy_world_is_healthy(served: tuple[str, str]) -> None:
    found = rows(*served)
    assert tuple(found) == EVERY
    assert {row["mark"] for row in found.values()} <= {"ok", "warn", "-"}
    assert found["answers"]["figures"]["positions"] == 3
    figures = found["latency"]["figures"]
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] < float(QUICK_MS)
    assert "5000001@" in found["account"]["found"]


def test_it_sends_no_order(world: DeskWorld) -> None:
    with ZmqServer(world.desk.handle) as server:
        rows(*at(server.port))
        actions = {json.loads(message)["action"] for message in server.seen}
    assert actions == {"GET_POSITIONS", "HELLO", "PING", "SNAPSHOT"}


def test_a_gateway_of_the_guide_is_asked_nothing_that_it_may_not_know() -> None:
    asked: list[bytes] = []
    with GuideGateway() as gateway:

        def listen(message: bytes) -> bytes:
            asked.append(message)
            return gateway.as_the_guide_says(message)

        gateway.answer = listen
        found = rows(*at(gateway.port))
    assert {json.loads(message)["action"] for message in asked} == {"GET_POSITIONS"}
    assert found["protocol"]["mark"] == "warn"
    assert [name for name, row in found.items() if row["mark"] == "FAIL"] == []
    assert found["account"]["mark"] == "-"
    assert found["latency"]["mark"] == "ok"


def test_a_gateway_of_the_guide_that_hides_positions_is_told() -> None:
    """To it `*` is the name of a symbol, and nobody's position is in that."""
    with GuideGateway() as gateway:
        good = gateway.as_the_guide_says
        good(b'{"action":"BUY","order_id":"A","symbol":"EURUSD","volume":0.1}')

        def filters(message: bytes) -> bytes:
            reply = json.loads(good(message))
            wanted = json.loads(message).get("symbol")
            if wanted is not None:
                reply["positions"] = [p for p in reply["positions"] if p["symbol"] == wanted]
            return json.dumps(reply).encode()

        gateway.answer = filters
        row = rows(*at(gateway.port))["protocol"]
        assert row["mark"] == "warn"
        assert "asked without a symbol it shows ticket 101, and for the symbol *" in row["found"]
        # Where it takes no question without a symbol, the bots' own symbols tell.
        gateway.answer = lambda m: filters(m) if b'"symbol"' in m else b'{"status":"ERROR"}'
        link = ZmqLink(f"tcp://127.0.0.1:{gateway.port}")
        target = Target("127.0.0.1", gateway.port, 5_000, "a test")
        visit = GatewayVisit(target, link, SystemClock(), None, "s", ["EURUSD"])
        found = {one.check: one for one in visit.rows()}
        link.close()
    assert "asked for EURUSD it shows ticket 101" in found["protocol"].found


@given(
    st.lists(
        st.sampled_from(
            [
                *(b"", b"[]", b"{}", b"{", b"null", None, b'{"status":"SUCCESS"}'),
                b'{"status":"SUCCESS","positions":[],"capabilities":["SNAPSHOT"]}',
                b'{"status":"SUCCESS","positions":[],"capabilities":[]}',
                b'{"server_time":5}',
                b'{"server_time":"2026-01-01"}',
                b'{"server_time":"2026-01-01T00:00Z","version":"x","server":[]}',
                b'{"status":"FAILED","error":7}',
            ]
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_a_gateway_answers_there_is_a_row_for_each_check(
    replies: list[bytes | None],
) -> None:
    turn = itertools.cycle(replies)
    target = Target("127.0.0.1", 1, 10, "a test")
    link = DeskLink(lambda _: next(turn))
    found = list(GatewayVisit(target, link, ManualClock(), None, "s").rows())
    assert [row.check for row in found] == list(CHECKS)
    assert all(row_lines(row) for row in found)


# Sick worlds: what they are, which row says so, and a word of the remedy.


def test_a_setting_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTW_PORT", "abc")
    found = rows()
    assert found["settings"]["mark"] == "FAIL"
    assert "GTW_PORT='abc'" in found["settings"]["found"]
    assert ".env" in found["settings"]["remedy"]


def test_a_name_that_does_not_resolve() -> None:
    found = rows("--gateway", "tcp://no.such.host.invalid:5555")
    assert found["resolvable"]["mark"] == "FAIL"
    assert "correct the host of --gateway" in found["resolvable"]["remedy"]
    assert [found[name]["mark"] for name in EVERY[3:13]] == ["-"] * 10
    assert found["journal writable"]["mark"] == "ok"


def test_a_port_that_is_closed() -> None:
    found = rows(*at(free_port()))
    assert found["port open"]["mark"] == "FAIL"
    assert found["port open"]["remedy"].startswith("start the gateway (`trueup gateway`;")
    assert "neither open nor close; stops at the broker work" in found["port open"]["risk"]


def test_a_port_of_something_else() -> None:
    with TcpServer(b"HTTP/1.1 400 Bad Request\r\n") as server:
        found = rows(*at(server.port))
    assert found["port open"]["mark"] == "FAIL"
    assert "no ZeroMQ (it said b'HTTP/1.1" in found["port open"]["found"]


def test_a_gateway_that_wants_a_key_and_gets_none(world: DeskWorld) -> None:
    with CurveGateway(world.desk.handle, set()) as gateway:
        found = rows(*at(gateway.port))
    assert found["key accepted"]["mark"] == "FAIL"
    assert "trueup keys new" in found["key accepted"]["remedy"]
    assert found["answers"]["mark"] == "-"


@pytest.fixture
def own(tmp_path: Path) -> KeyFiles:
    return new_keys(tmp_path, "bot")


def keys_for(gateway: CurveGateway, own: KeyFiles) -> tuple[str, ...]:
    return "--server-key", gateway.public.decode(), "--key-file", str(own.secret_file)


def test_a_key_that_the_gateway_takes(world: DeskWorld, own: KeyFiles) -> None:
    with CurveGateway(world.desk.handle, {own.public}) as gateway:
        found = rows(*at(gateway.port), *keys_for(gateway, own))
    assert found["key accepted"]["found"] == "CURVE, encrypted"
    assert found["account"]["mark"] == "ok"


def test_a_key_that_the_gateway_does_not_know(world: DeskWorld, own: KeyFiles) -> None:
    with CurveGateway(world.desk.handle, set()) as gateway:
        found = rows(*at(gateway.port), *keys_for(gateway, own))
    row = found["key accepted"]
    assert (row["mark"], row["risk"]) == (
        "FAIL",
        "the bot can neither open nor close; stops at the broker work",
    )
    assert row["remedy"] == (
        "have your public key allowed at the gateway, and GTW_SERVER_KEY be its own"
    )


def test_keys_for_a_gateway_that_speaks_plain_text(served: tuple[str, str], own: KeyFiles) -> None:
    found = rows(*served, "--server-key", own.public, "--key-file", str(own.secret_file))
    assert found["key accepted"]["mark"] == "FAIL"
    assert "plain text only" in found["key accepted"]["found"]


def test_a_key_without_its_other_half(served: tuple[str, str], own: KeyFiles) -> None:
    found = rows(*served, "--server-key", own.public)
    assert found["key accepted"]["mark"] == "FAIL"


def test_a_gateway_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTW_TIMEOUT_MS", "200")
    with ZmqServer(lambda _: None) as server:
        found = rows(*at(server.port))
    assert found["answers"]["mark"] == "FAIL"
    assert "within 200 ms" in found["answers"]["found"]
    assert found["latency"]["mark"] == "-"


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (b"OK", "not JSON"),
        (b'{"status":"FAILED","error":"the terminal is gone"}', "the terminal is gone"),
        (b'{"status":"SUCCESS","positions":[{"ticket":1}]}', "ticket 1"),
    ],
)
def test_a_gateway_whose_answer_is_of_no_use(reply: bytes, word: str) -> None:
    with ZmqServer(lambda _: reply) as server:
        found = rows(*at(server.port))
    assert found["answers"]["mark"] == "FAIL"
    assert word in found["answers"]["found"]


def changed(world: DeskWorld, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Look at a world of which every reply is changed on its way out."""

    def handle(message: bytes) -> bytes:
        fields = json.loads(world.desk.handle(message))
        change(fields)
        return json.dumps(fields).encode()

    with ZmqServer(handle) as server:
        return rows(*at(server.port))


def test_another_version_of_the_protocol(world: DeskWorld) -> None:
    found = changed(world, lambda reply: reply.update(version=99))
    assert found["protocol"]["mark"] == "FAIL"
    assert "same trueup" in found["protocol"]["remedy"]


def test_a_terminal_without_its_trade_server(world: DeskWorld) -> None:
    found = changed(
        world, lambda reply: "terminal" in reply and reply["terminal"].update(connected=False)
    )
    assert found["terminal connected"]["mark"] == "FAIL"
    assert found["reading"]["mark"] == "ok"


def test_a_terminal_where_programs_may_not_trade(world: DeskWorld) -> None:
    found = changed(
        world, lambda reply: "terminal" in reply and reply["terminal"].update(trade_allowed=False)
    )
    assert found["trade allowed"]["mark"] == "FAIL"
    assert "Ctrl+E" in found["trade allowed"]["remedy"]


def test_a_terminal_without_link_is_no_gateway_that_does_not_answer(world: DeskWorld) -> None:
    world.terminal.disconnect()
    with ZmqServer(world.desk.handle) as server:
        found = rows(*at(server.port))
    assert found["answers"]["found"] == "yes, without a list of positions: see below"
    assert [name for name, row in found.items() if row["mark"] == "FAIL"] == ["terminal connected"]
    assert "neither open nor close; stops at the broker work" in found["terminal connected"]["risk"]
    assert found["terminal connected"]["remedy"].startswith("wait: the terminal connects again")
    assert found["trade allowed"]["mark"] == "-"


def test_a_gateway_of_another_account_says_which_is_logged_in() -> None:
    world = DeskWorld(others=(OTHER,))
    guarded = OneAccount(world.terminal)
    assert guarded.initialize(login=5_000_001)
    desk = Desk(guarded, "boot", world.clock.now_ns)
    world.terminal.switch_account(OTHER.login)
    with ZmqServer(desk.handle) as server:
        found = rows(*at(server.port))
    assert found["account"]["mark"] == "FAIL"
    assert found["account"]["found"] == (
        "Account 5000002 is logged in, and this gateway serves 5000001 alone"
    )
    assert "log the terminal in" in found["account"]["remedy"]
    assert [name for name, row in found.items() if row["mark"] == "FAIL"] == ["account"]


def test_a_login_that_may_only_read_is_told_with_the_two_causes(world: DeskWorld) -> None:
    world.terminal.investor = True
    with ZmqServer(world.desk.handle) as server:
        found = rows(*at(server.port))
    assert found["trade allowed"]["mark"] == "FAIL"
    assert "its password is the read-only one (investor)" in found["trade allowed"]["found"]
    assert "trading password" in found["trade allowed"]["remedy"]


def test_a_port_that_takes_a_connection_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that was stopped where it stands: the system still takes its connections."""
    monkeypatch.setenv("GTW_TIMEOUT_MS", "200")
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        found = rows(*at(port))
    assert "says nothing: the gateway there hangs" in found["port open"]["found"]
    assert f"which process listens on port {port}" in found["port open"]["remedy"]


def test_a_key_that_may_read_only_is_no_key_to_trade_with(world: DeskWorld) -> None:
    found = changed(world, lambda reply: "role" in reply and reply.update(role="read"))
    assert found["trade allowed"]["mark"] == "warn"
    assert found["trade allowed"]["found"].startswith("this key may read only")
    assert "allow file" in found["trade allowed"]["remedy"]


def test_a_gateway_that_does_not_tell_the_role_is_asked_about_its_terminal_alone(
    world: DeskWorld,
) -> None:
    found = changed(world, lambda reply: reply.pop("role", None))
    assert found["trade allowed"]["mark"] == "ok"


def test_a_reading_that_contradicts_itself(world: DeskWorld) -> None:
    found = changed(world, lambda reply: "digest" in reply and reply["positions"].pop())
    assert found["reading"]["mark"] == "FAIL"
    assert "counted" in found["reading"]["found"]


def test_an_odd_row_at_the_broker_is_named_and_the_rest_is_looked_at() -> None:
    world = RewrittenWorld()
    world.person.open("EURUSD", BUY, 0.1)
    world.rewrite(positions_get=lambda rows: tuple(rewritten(row, volume=0.0) for row in rows))
    with ZmqServer(world.desk.handle) as server:
        found = rows(*at(server.port))
    assert found["reading"]["mark"] == "FAIL"
    assert "in part: Row 1: ticket" in found["reading"]["found"]
    assert found["reading"]["risk"] == "nothing is opened in its symbol"
    assert found["reading"]["remedy"] == (
        "look at this row in the terminal, and ask the broker about it"
    )
    assert "volume is 0.0" in found["reading"]["found"]
    assert found["answers"]["mark"] == found["account"]["mark"] == "ok"


def test_a_clock_that_is_apart(world: DeskWorld) -> None:
    found = changed(
        world,
        lambda reply: "server_time" in reply and reply.update(server_time="2020-01-01T00:00Z"),
    )
    assert found["clock"]["mark"] == "warn"
    assert "w32tm" in found["clock"]["remedy"]
    assert found["clock"]["figures"]["apart_sec"] < -1e8
    assert "s behind ours" in found["clock"]["found"]


# The journal.


def journal_bound_to(path: Path, login: int, stream: str = "EURUSD") -> None:
    with open_journal(path, stream, now_ns=lambda: 1) as journal:
        bound = AccountBound(1, login, "Simulated-Demo", "USD", MarginMode.HEDGING)
        journal.append([bound])


def test_the_account_is_the_one_that_the_book_is_bound_to(
    served: tuple[str, str], folder: Path
) -> None:
    journal_bound_to(folder / "bot.db", 5_000_001)
    found = rows(*served, "--journal", "bot.db")
    assert "as the book is bound" in found["account"]["found"]
    assert "bot.db, stream EURUSD: 1 event" in found["journal writable"]["found"]


def test_another_account_than_that_of_the_book(served: tuple[str, str], folder: Path) -> None:
    journal_bound_to(folder / "bot.db", 7)
    found = rows(*served, "--journal", "bot.db")
    assert found["account"]["mark"] == "FAIL"
    assert "bound to 7@Simulated-Demo" in found["account"]["found"]
    assert "trueup rebind" in found["account"]["remedy"]


def test_a_journal_of_several_books_wants_to_know_which(
    served: tuple[str, str], folder: Path
) -> None:
    journal_bound_to(folder / "bot.db", 5_000_001)
    journal_bound_to(folder / "bot.db", 7, "other")
    found = rows(*served, "--journal", "bot.db")
    assert found["journal writable"]["mark"] == "-"
    assert "--stream" in found["journal writable"]["found"]
    found = rows(*served, "--journal", "bot.db", "--stream", "EURUSD")
    assert found["account"]["mark"] == "ok"


def test_a_journal_that_is_none(served: tuple[str, str], folder: Path) -> None:
    (folder / "bot.db").write_bytes(b"not a database, and longer than a header " * 40)
    found = rows(*served, "--journal", "bot.db")
    assert found["journal writable"]["mark"] == "FAIL"
    (folder / "file").write_bytes(b"")
    found = rows(*served, "--journal", "file/bot.db")
    assert found["journal writable"]["mark"] == "FAIL"
    found = rows(*served, "--journal", str(folder))
    assert found["journal writable"]["mark"] == "FAIL"


def test_a_journal_that_is_damaged_before_its_end(served: tuple[str, str], folder: Path) -> None:
    with open_journal(folder / "bot.db", "EURUSD", now_ns=lambda: 1) as journal:
        for number in range(30):
            journal.append(orders(number))
    whole = rows(*served, "--journal", "bot.db")["journal whole"]
    assert (whole["mark"], whole["found"]) == ("ok", "whole, in order and unaltered")
    connection = sqlite3.connect(folder / "bot.db")
    connection.execute("UPDATE journal_events SET at_ns = 5 WHERE position = 29")
    connection.commit()
    connection.close()
    found = rows(*served, "--journal", "bot.db")
    assert found["journal writable"]["risk"].startswith("a bot with this journal does not start")
    assert found["journal whole"]["mark"] == "FAIL"
    assert found["journal whole"]["found"] == "the event at position 29 was altered"
    assert found["journal whole"]["risk"] == (
        "the bot that runs goes on, and its next start may refuse this journal"
    )
    assert "docs/operating/journal.md" in found["journal whole"]["remedy"]


def test_of_a_long_journal_the_newest_events_are_proven(
    served: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trueup.runtime.doctor.journal.PROVEN_MOST", 10)
    with open_journal(folder / "bot.db", "EURUSD", now_ns=lambda: 1) as journal:
        for number in range(30):
            journal.append(orders(number))
    found = rows(*served, "--journal", "bot.db")["journal whole"]
    assert found["found"] == "its last 10 events are; of all `trueup journal verify` tells"
    connection = sqlite3.connect(folder / "bot.db")
    connection.execute("UPDATE journal_events SET at_ns = 5 WHERE position = 25")
    connection.commit()
    connection.close()
    found = rows(*served, "--journal", "bot.db")["journal whole"]
    assert found["found"] == "bot.db: the event at position 25 was altered."


def test_a_server_that_is_not_there_is_no_damaged_journal(
    served: tuple[str, str], tmp_path: Path
) -> None:
    url = f"postgresql://bot:secret@/prices?host={tmp_path}"
    found = rows(*served, "--journal", url)["journal writable"]
    assert found["mark"] == "FAIL"
    assert "cannot be reached" in found["found"]
    assert found["remedy"].startswith("start the PostgreSQL server")


def test_every_finding_has_what_is_at_risk_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTW_PORT", "9")
    monkeypatch.setenv("GTW_HOST", "no.such.host.invalid")
    said = run().stdout
    assert """FAIL  resolvable         no.such.host.invalid: """ in said
    assert (
        "                     !   the bot can neither open nor close; stops at the broker\n"
        "                         work\n"
        "                     ->  correct the host of GTW_HOST and GTW_PORT, or the name\n"
        "                         service\n"
    ) in said


def test_a_journal_on_a_disk_without_room(
    served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 3_000_000})
    monkeypatch.setattr("trueup.runtime.doctor.journal.shutil.disk_usage", lambda _: usage)
    found = rows(*served)
    assert found["journal writable"]["mark"] == "FAIL"
    assert "3 MB are free" in found["journal writable"]["found"]


def test_looking_changes_nothing_and_tries_no_lock(
    served: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "bot.db"
    with open_journal(path, "EURUSD", now_ns=lambda: 1) as journal:
        bound = AccountBound(1, 5_000_001, "Simulated-Demo", "USD", MarginMode.HEDGING)
        journal.append([bound])
        before = _contents(folder)
        monkeypatch.delattr("trueup.filelock.lock")
        assert rows(*served, "--journal", "bot.db")["journal writable"]["mark"] == "ok"
        assert _contents(folder) == before
        journal.append([bound])
    assert not (folder / ".trueup").exists()


def _contents(folder: Path) -> dict[str, bytes]:
    """What the files of a folder hold; SQLite's index of a log changes with its readers."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")
    }


# Bots.


def status(**fields: Any) -> Status:
    usual: dict[str, Any] = {
        "pid": 1,
        "symbol": "EURUSD",
        "gateway": "there",
        "started": "then",
        "now": "now",
        "state": State.AGREES,
        "sentence": "Both books are flat. Nothing is yours to do.",
        "works": "",
        "basis": "",
        "source": "bot",
        "needs": [],
        "entries_refused": "",
        "age_sec": 2.0,
        "sync_count": 5,
    }
    return Status(**(usual | fields))


@pytest.mark.parametrize(
    ("bot", "check"),
    [
        (status(needs=["Look here."]), "bot"),
        (status(age_sec=None), "last sync"),
        (status(age_sec=46.0), "last sync"),
    ],
)
def test_a_bot_that_is_not_well_is_told_with_what_it_needs(bot: Status, check: str) -> None:
    (row,) = [row for row in bot_rows([bot], [], 15) if row.mark is Mark.SICK]
    assert row.check == check
    assert row.remedy


@pytest.mark.parametrize(
    ("bot", "mark", "word"),
    [
        (status(journal="postgresql://db/bots"), Mark.OK, "the bot writes it"),
        (status(), Mark.WARN, "keeps no journal"),
        (
            status(journal="bot.db", journal_trouble="the disk is full.", needs=["Make room."]),
            Mark.SICK,
            "the bot cannot write: the disk is full",
        ),
    ],
)
def test_a_journal_that_only_the_bot_knows(bot: Status, mark: Mark, word: str) -> None:
    row, _ = JournalCheck(None, None, [bot]).rows()
    assert row.mark is mark
    assert word in row.found


def test_a_bot_that_is_well() -> None:
    assert is_healthy(bot_rows([status(age_sec=44.0)], [], 15))


def test_a_bot_whose_deals_are_overdue_is_well_with_a_warning_that_names_them() -> None:
    overdue = [OverdueRow(7, "2026-01-05T14:02:07+00:00", "2026-01-05T14:03:10+00:00")]
    row, _ = bot_rows([status(overdue=overdue)], [], 15)
    assert row.mark is Mark.WARN
    assert row.found.endswith("It waits for the deals of 7 since 14:02:07 UTC")
    assert "history" in row.remedy
    assert is_healthy([row])


def test_a_bot_that_does_not_answer() -> None:
    row, _ = bot_rows([], [UnheardBot(7, "EURUSD", "tcp://127.0.0.1:9", has_port=True)], 15)
    assert row.mark is Mark.SICK
    assert "process 7, EURUSD, does not answer at tcp://127.0.0.1:9: it hangs" in row.found
    assert "nobody manages its positions" in row.risk
    end = "taskkill /F /PID 7" if sys.platform == "win32" else "kill -9 7"
    assert f"look at the account in the terminal; then end the bot (`{end}`)" in row.remedy


def test_a_bot_that_was_killed() -> None:
    row, _ = bot_rows([], [UnheardBot(7, "EURUSD", "tcp://127.0.0.1:9", has_port=False)], 15)
    assert row.mark is Mark.SICK
    assert row.found == "process 7, EURUSD, has ended without a word: it was killed, or it crashed"
    assert "start the bot again" in row.remedy


def test_a_running_bot_is_found_with_its_journal_and_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path)
    monkeypatch.setenv("SYNC_INTERVAL_SEC", "15")
    try:
        bot = shell.start("bot.log", "paper", "--plain", "--strategy", "once:BuyOnce")
        bot.wait_for("[SYNC]")
        wait_until(lambda: rows()["last sync"]["mark"] == "ok")
        found = rows()
    finally:
        shell.clean()
    assert "the simulated terminal of this folder" in found["settings"]["found"]
    assert "as the book is bound" in found["account"]["found"]
    assert f"written by process {bot.child.pid}" in found["journal writable"]["found"]
    assert found["journal writable"]["found"].startswith(str(Path(".trueup", "paper.db")))
    assert found["bot"]["figures"]["pid"] == bot.child.pid


def test_without_a_gateway_none_is_asked_and_this_folder_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The guide's address is an example: nobody here may be the one who has it."""
    asked: list[object] = []
    monkeypatch.setattr("socket.create_connection", lambda *a, **_: asked.append(a))
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **_: asked.append(a))
    found = rows()
    assert asked == []
    assert tuple(found) == EVERY
    assert found["settings"]["mark"] == "warn"
    assert "no gateway is configured" in found["settings"]["found"]
    assert "--gateway" in found["settings"]["remedy"]
    assert found["journal writable"]["mark"] == "ok"
    others = {name: row["mark"] for name, row in found.items()}
    for name in ("versions", "settings", "journal writable"):
        others.pop(name)
    assert set(others.values()) == {"-"}


def test_the_gateway_of_a_running_bot_is_the_one_that_is_looked_at(
    world: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ZmqServer(world.desk.handle) as server:
        url = f"tcp://127.0.0.1:{server.port}"
        Path(".trueup").mkdir()
        noted = msgspec.json.encode(Bot(7, "tcp://127.0.0.1:9", "EURUSD", "", endpoint=url))
        Path(".trueup/bot-7.json").write_bytes(noted)
        monkeypatch.setenv("GTW_HOST", "127.0.0.1")
        monkeypatch.setenv("GTW_PORT", "9")
        found = rows()
        given = rows(*at(server.port))
    assert found["settings"]["found"] == (
        f"gateway {url} (the bot of this folder); GTW_HOST and GTW_PORT name tcp://127.0.0.1:9, "
        "where no bot of this folder trades"
    )
    assert found["answers"]["mark"] == "ok"
    # Its file tells the symbol, too, though the bot itself is gone.
    assert found["symbols"]["found"] == "the broker has EURUSD"
    assert found["bot"]["mark"] == "FAIL"
    assert given["settings"]["found"] == f"gateway {url} (--gateway)"


def test_a_bot_that_calls_its_terminal_itself_has_no_gateway_to_look_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".trueup").mkdir()
    noted = Bot(7, "tcp://127.0.0.1:9", "EURUSD", "", endpoint=TERMINAL_HERE)
    Path(".trueup/bot-7.json").write_bytes(msgspec.json.encode(noted))
    # The bot does not trade there.
    monkeypatch.setenv("GTW_HOST", "127.0.0.1")
    found = rows()
    assert (found["settings"]["mark"], found["settings"]["found"]) == (
        "ok",
        "the bot of this folder calls the terminal of this machine itself, so no gateway is asked",
    )
    assert found["answers"]["mark"] == "-"
    assert found["bot"]["mark"] == "FAIL"


def test_whose_money_it_is_and_which_account_is_meant(
    served: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "5000001@Simulated-Demo (demo)" in rows(*served)["account"]["found"]
    monkeypatch.setenv("TRUEUP_ACCOUNT", "5000001@Simulated-Demo")
    assert rows(*served)["account"]["mark"] == "ok"
    monkeypatch.setenv("TRUEUP_ACCOUNT", "7@Elsewhere")
    row = rows(*served)["account"]
    assert (row["mark"], row["remedy"]) == (
        "FAIL",
        "log the terminal in to 7@Elsewhere, or correct TRUEUP_ACCOUNT",
    )


# How it reads.


def test_a_sick_world_is_told_in_80_columns_with_an_arrow_to_the_remedy() -> None:
    said = run(*at(free_port()))
    assert said.exit_code == 1
    lines = said.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("FAIL  port open          tcp://127.0.0.1:") for line in lines)
    assert any(line.lstrip().startswith("->  start the gateway") for line in lines)
    assert lines[-1] == "Sick: port open."


def test_rows_are_plain_letters_in_every_console(monkeypatch: pytest.MonkeyPatch) -> None:
    # On Windows what is no console is UTF-8, but for who has chosen.
    monkeypatch.setenv("PYTHONIOENCODING", "chosen")
    row = DoctorRow("account", Mark.SICK, "the account is Büro–Konto", "ask Zoë")
    for encoding in ("cp437", "cp1252", "ascii", "utf-8"):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        make_streams_safe(stream)
        stream.write("\n".join(row_lines(row)))
        stream.flush()
        assert raw.getvalue().startswith(b"FAIL  account")
        assert b"->  ask Zo" in raw.getvalue()


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ([Mark.OK, Mark.NOT_ASKED], "Healthy."),
        ([Mark.OK, Mark.WARN], "Healthy, with 1 warning."),
        ([Mark.SICK, Mark.SICK], "Sick: c0, c1."),
        ([Mark.SICK, Mark.WARN, Mark.WARN], "Sick: c0. And 2 warnings."),
    ],
)
def test_the_last_line_says_how_things_stand(marks: list[Mark], words: str) -> None:
    found = [DoctorRow(f"c{number}", mark, "") for number, mark in enumerate(marks)]
    assert summary(found) == words
    assert is_healthy(found) == words.startswith("Healthy")


def test_a_gateway_option_that_is_no_endpoint_is_one_sentence() -> None:
    said = run("--gateway", "5555")
    assert said.exit_code == 64
    assert "give tcp://HOST:PORT" in said.output
