"""What fuzzing has found in the product, each as a test of its own."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from tests.support.desk_world import DeskLink, DeskWorld
from trueup.conformance.examination.findings import Outcome
from trueup.conformance.examination.probe import Probe
from trueup.conformance.without_orders.snapshots import hints_come
from trueup.core.account.trust import Unknown
from trueup.core.book.book import Book
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.retcodes import Effect, classify_last_error
from trueup.errors import (
    JournalCorrupt,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    SettingsError,
)
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import RequestStore
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import decode_answer, perform
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.journal.rows import codec
from trueup.protocol.guide import decode_positions
from trueup.protocol.hints import hints_port
from trueup.protocol.orders import decode_outcome
from trueup.protocol.request_status import encode_status_request
from trueup.protocol.ticks import decode_tick
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.control.state_files import ask_process
from trueup.runtime.doctor.gateway import GatewayVisit
from trueup.runtime.doctor.line import Target
from trueup.settings import load_settings
from trueup.sim.process.module_port import AttachedTerminal, ModulePort
from trueup.sim.process.person_desk import PersonDesk
from trueup.sim.terminal.terminal_faults import AnswerLost


@pytest.mark.parametrize("action", [[], {}, [["BUY"]], None, 7, True])
@pytest.mark.parametrize("more", [{}, {"order_id": "ORD_1"}, {"uuid": "a-1"}])
def test_an_action_that_is_no_text_is_refused_and_the_gateway_goes_on(
    action: object, more: dict[str, str]
) -> None:
    """`{"action":[]}` ended the thread that serves the terminal."""
    world = DeskWorld()
    refused = json.loads(world.desk.handle(json.dumps({"action": action, **more}).encode()))
    assert refused["status"].upper() in ("ERROR", "REJECTED")
    assert world.sync().status.value == "SUCCESS"


@pytest.mark.parametrize("half", [b"\\ud800", b"\xed\xa0\x80"])
@pytest.mark.parametrize("status", ["REJECTED", "UNKNOWN", "\ud800"])
def test_half_of_a_surrogate_pair_in_a_reply_is_journalled_as_a_question_mark(
    status: str, half: bytes, tmp_path: Path
) -> None:
    """The order's outcome could never be journalled, and so nothing else either."""
    raw = json.dumps({"order_id": "O", "status": status, "error": "no HALF money"}).encode()
    pm = PortfolioManager("EURUSD", journal=tmp_path / "bot.db", run="x")
    order = pm.create_order(1, 1.1)
    assert order is not None
    try:
        outcome = decode_outcome(raw.replace(b"HALF", half), {"order_id": "O"})
    except OutcomeUnknown as unknown:
        outcome = {"status": "UNKNOWN", "error": str(unknown)}
    assert pm.on_fill({**outcome, "order_id": order.order_id})
    assert order.status in (OrderStatus.REJECTED, OrderStatus.IN_DOUBT)
    assert str(order.error).encode().count(b"?") >= 1
    pm.close_journal()


@pytest.mark.parametrize("half", [b"\\ud800", b"\xed\xa0\x80"])
def test_half_of_a_surrogate_pair_in_a_reply_can_be_said(half: bytes) -> None:
    raw = b'{"status":"FAILED","symbol":"EURUSD","error":"no ' + half + b' link"}'
    for unknown in (decode_positions(raw), decode_tick(raw, "EURUSD")):
        assert isinstance(unknown, Unknown)
        assert "?" in unknown.sentence.encode().decode()


def test_a_price_that_no_float_can_hold_is_no_price() -> None:
    """A whole number of 400 digits ended the loop that asked for the price."""
    raw = b'{"status":"SUCCESS","symbol":"EURUSD","bid":' + b"1" * 400 + b',"ask":1}'
    assert isinstance(decode_tick(raw, "EURUSD"), Unknown)


@pytest.mark.parametrize("deep", [b'{"a":' * 3_000, b"[" * 3_000])
def test_a_row_and_a_saved_book_that_are_nested_without_end_are_corrupt(deep: bytes) -> None:
    with pytest.raises(JournalCorrupt, match="position 7"):
        codec.decode(7, "PositionCorrected", b'{"event":"PositionCorrected","local":' + deep)
    with pytest.raises(JournalCorrupt, match="saved book"):
        Book.restore(b'{"version":0,"account":' + deep)


def test_a_saved_book_with_the_ticket_of_no_order_is_corrupt() -> None:
    world = DeskWorld()
    world.sync()
    world.pm.submit("buy", 0.1)
    damaged = world.state().replace(b'"by_ticket":[[', b'"by_ticket":[[1,"ORD_9"],[')
    with pytest.raises(JournalCorrupt, match="ORD_9"):
        Book.restore(damaged)


def test_a_command_that_is_nested_without_end_is_answered() -> None:
    """Anybody on this machine could end the bot, or the simulated terminal, with one message."""
    world = DeskWorld()
    people = PersonDesk(world.terminal, "EURUSD", dict, lambda: None)
    assert b"error" in people.handle(b'{"a":' * 3_000)


def test_settings_that_are_nested_without_end_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trueup.toml").write_bytes(b"gtw_port = " + b"[" * 3_000)
    with pytest.raises(SettingsError, match=r"trueup.toml.*write name = value"):
        load_settings()


def test_a_volume_whose_steps_no_float_can_count_is_refused_by_the_simulated_terminal() -> None:
    """It ended the process of the simulated terminal."""
    world = DeskWorld()
    order = {"order_id": "O", "symbol": "EURUSD", "action": "BUY", "volume": 1e308}
    refused = json.loads(world.desk.handle(json.dumps(order).encode()))
    assert refused["status"] == "REJECTED"
    assert not world.ledger.positions


# What the process says that calls the terminal.


class Garbled:
    """A worker that makes calls, and whose answers to orders arrive as something else."""

    pid, is_alive = 4_711, True

    def __init__(self, answer: bytes) -> None:
        self._answer, self._terminal = answer, DeskWorld().terminal
        self.was_killed = False

    def wait_ready(self, deadline_ms: int) -> None:
        """It is ready."""

    def exchange(self, call: bytes, deadline_ms: int) -> bytes:
        answer = perform(self._terminal, call)
        return self._answer if b"order_send" in call else answer

    def kill(self) -> None:
        self.was_killed = True

    close = kill


# A field's name that is none was a ValueError, a row of another length a TypeError, an unknown
# error StopIteration: each read as that the terminal refused the arguments, and nothing was sent.
UNREADABLE = [
    b"",
    b"\xc1",
    msgspec.msgpack.encode([[1, ""], "rows", [[1]], "Row", ["1x"]]),
    msgspec.msgpack.encode([[1, ""], "rows", [[1, 2]], "Row", ["ticket"]]),
    msgspec.msgpack.encode([[1, ""], "row", [[1, 2, 3, 4]], "Row", ["ticket"]]),
    msgspec.msgpack.encode([[1, ""], "raised", "no such thing", "KeyError"]),
    msgspec.msgpack.encode([[1, ""], "raised", 7, "TypeError"]),
]


@pytest.mark.parametrize("answer", UNREADABLE)
def test_an_unreadable_answer_of_the_terminal_s_process_is_no_word_about_the_order(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked like arguments that the terminal refuses, or ended the gateway."""
    with pytest.raises(RemoteProtocolError, match="the answer cannot be read"):
        decode_answer(answer)
    worker = Garbled(answer)
    monkeypatch.setattr("trueup.gateway.worker.worker.Worker", lambda *_: worker)
    with WorkerTerminal("a:b") as terminal:
        assert terminal.initialize()
        assert terminal.order_send({"action": 1}) is None
        code, text = terminal.last_error()
    assert classify_last_error(code).effect is Effect.UNKNOWN
    assert "order_send: the answer cannot be read" in text
    assert worker.was_killed


@pytest.mark.parametrize("call", [b"", b"\xc1", msgspec.msgpack.encode(["__init__", [], {}])])
def test_a_stranger_at_the_simulated_terminal_s_port_is_hung_up_on(call: bytes) -> None:
    """It ended the thread with a traceback, which is what a fault of the terminal looks like."""
    with pytest.raises(RemoteProtocolError):
        perform(DeskWorld().terminal, call)
    port = ModulePort(DeskWorld().terminal, threading.Lock())
    try:
        with Client(port.address) as stranger:
            stranger.send_bytes(call)
            with pytest.raises(EOFError):
                stranger.recv_bytes()
        terminal = AttachedTerminal(lambda: port.address)
        assert terminal.initialize()
        terminal.shutdown()
    finally:
        port.close()


def test_an_unreadable_answer_of_the_simulated_terminal_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = mock.Mock(recv_bytes=lambda: b"\xc1")
    monkeypatch.setattr("trueup.sim.process.module_port.Client", lambda _: line)
    terminal = AttachedTerminal(lambda: "there")
    assert not terminal.initialize()
    assert terminal.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_RECEIVE
    assert line.close.called


# What a stranger's gateway says.


@pytest.mark.parametrize("half", [b"\\ud800", b"\xed\xa0\x80"])
def test_half_of_a_surrogate_pair_in_a_reply_can_be_said_by_doctor_and_conformance(
    half: bytes,
) -> None:
    """Both ended with a UnicodeEncodeError where they came to print it."""
    world = DeskWorld()
    raw = b'{"status":"SUCCESS","server":"my ' + half + b' gateway","version":1}'

    def answer(message: bytes) -> bytes:
        return raw if b"HELLO" in message else world.desk.handle(message)

    link = DeskLink(answer)
    visit = GatewayVisit(Target("h", 1, 1_000, "me"), link, world.clock, None, "s")
    (said,) = [row.found for row in visit.rows() if row.check == "protocol"]
    assert "my ?" in said.encode().decode()
    fields = Probe(lambda: DeskLink(answer), 1_000).ask({"action": "HELLO"}).fields
    assert fields is not None
    assert "my ?" in fields["server"].encode().decode()


def test_a_hint_that_is_nested_without_end_is_no_hint() -> None:
    deep = b'{"more":' + b"[" * 3_000
    exam = mock.Mock(capabilities=["HINTS 5556"], wait=lambda is_so, _: is_so())
    exam.hear.return_value.heard.return_value = [deep, deep]
    verdict = hints_come(exam)
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.because.startswith("what came is no hint")


def test_a_port_of_hints_with_thousands_of_digits_is_none() -> None:
    """It ended the bot that asked for the list of positions."""
    assert hints_port(["HINTS " + "5" * 5_000, "HINTS 5556"]) == 5556


# What a disk made of the gateway's record of requests, which has no checksums.


@pytest.mark.parametrize("column", ["parameters", "message", "before", "reply"])
@pytest.mark.parametrize("damaged", [b"", b'{"volume":"\xff"}', b"[" * 3_000, b"7"])
def test_a_damaged_row_of_the_record_still_says_that_its_order_came(
    column: str, damaged: bytes, tmp_path: Path
) -> None:
    """It ended the gateway; and with it orders of others stayed in doubt."""
    world = DeskWorld()
    now_ns = world.clock.now_ns
    for name in ("A", "B"):
        store = RequestStore(tmp_path / "requests.db", "boot", now_ns)
        desk = Desk(world.terminal, "boot", now_ns, store=store)
        world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
        assert ordered(desk, name)["status"] == "UNKNOWN"
        desk.close()
        with closing(sqlite3.connect(tmp_path / "requests.db")) as file, file:
            file.execute(f"UPDATE requests SET {column} = ? WHERE order_id = 'A'", (damaged,))
    store = RequestStore(tmp_path / "requests.db", "boot", now_ns)
    desk = Desk(world.terminal, "boot", now_ns, store=store)
    world.wait(5)
    desk.tend()
    assert ordered(desk, "A")["status"] in ("UNKNOWN", "REJECTED")
    status = json.loads(desk.handle(encode_status_request("A")))["request"]
    assert status["state"] == "sent, unknown"
    assert ordered(desk, "B")["status"] == "FILLED"
    assert len(world.ledger.positions) == 2
    desk.close()


def ordered(desk: Desk, name: str) -> dict[str, Any]:
    """What the gateway says to an order, or to its repetition."""
    order = {"action": "BUY", "order_id": name, "symbol": "EURUSD", "volume": 0.1}
    answer: dict[str, Any] = json.loads(desk.handle(json.dumps(order).encode()))
    return answer


def test_a_command_of_what_is_no_text_was_not_sent() -> None:
    """A shell passes any bytes on, and `trueup settle` ended with a UnicodeEncodeError."""
    with pytest.raises(NotSent, match="cannot be written"):
        ask_process("tcp://127.0.0.1:1", {"command": "order", "id": "ORD_\udcff"}, 100, "It")
