"""The terminal in a process of its own: real processes that hang, die, raise and are slow."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import worker_terminals
from tests.support.exchanges import exchanges
from tests.support.processes import KILL, is_running
from tests.support.servers import until
from tests.support.worker_terminals import EXIT_CODE
from trueup.core.retcodes import Effect, classify_last_error
from trueup.errors import RemoteProtocolError
from trueup.gateway.reading.snapshots import Snapshots
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import (
    SUCCESS,
    Answer,
    Call,
    Error,
    decode_answers,
    encode_calls,
    perform,
)
from trueup.gateway.terminal.calls import CallTracker
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.gateway.terminal.together import make_calls
from trueup.gateway.worker.keeper import Timing
from trueup.gateway.worker.process import Worker
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.sim.terminal.terminal import SimulatedTerminal

SHORT_MS = 1_500
LONG_MS = 60_000
SECRET = "correct horse battery"
ORDER = {"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": 0}


def factory(name: str) -> str:
    return f"{worker_terminals.HERE}:{name}"


class Watched:
    """A misbehaving terminal in a worker, and what it noted down."""

    def __init__(self, notes: Path, **options: Any) -> None:
        self.notes = notes
        self.terminal = WorkerTerminal(
            factory("Misbehaving"),
            {"notes": str(notes)},
            Timing(**{"deadline_ms": LONG_MS, "pauses_ms": (0,), **options}),
        )

    def initializations(self) -> list[Any]:
        return [json.loads(note.read_text("utf-8")) for note in self.notes.glob("initialize-*")]

    def begin(self) -> int:
        """Keep it initialised; return the process of the first worker."""
        self.terminal.keep_initialized("C:/t.exe", login=5_000_001, password=SECRET)
        return int(until(lambda: self.terminal.pid))

    def another(self, pid: int) -> int:
        """Wait for another worker than that."""
        until(lambda: self.terminal.pid not in (None, pid))
        assert self.terminal.pid is not None
        return self.terminal.pid


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.terminal.close()


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Watched]:
    """Calls have a short deadline."""
    made = Watched(tmp_path, deadline_ms=SHORT_MS)
    yield made
    made.terminal.close()


# -- a call that does not come back ------------------------------------------------------------


def test_a_send_that_hangs_is_killed_at_its_deadline_and_its_outcome_is_unknown(
    hasty: Watched,
) -> None:
    first = hasty.begin()
    assert hasty.terminal.order_send(ORDER) is None
    code, text = hasty.terminal.last_error()
    assert code == mt5.RES_E_INTERNAL_FAIL_TIMEOUT
    assert text == f"IPC timeout, order_send: no answer within 1500 ms, process {first} was killed"
    assert classify_last_error(code).effect is Effect.UNKNOWN
    assert not is_running(first)


def test_a_killed_worker_is_replaced_and_initialised_with_the_same_arguments(
    hasty: Watched,
) -> None:
    first = hasty.begin()
    hasty.terminal.order_send(ORDER)
    second = hasty.another(first)
    assert hasty.terminal.positions_get() == ()
    assert hasty.terminal.last_error() == SUCCESS
    arguments = [["C:/t.exe"], {"login": 5_000_001, "password": SECRET}]
    assert hasty.initializations() == [arguments, arguments]
    assert hasty.terminal.pid == second


def test_a_slow_answer_within_the_deadline_is_an_answer(watched: Watched) -> None:
    first = watched.begin()
    account = watched.terminal.account_info()
    assert account.login == 5_000_001
    assert watched.terminal.pid == first


# -- a worker that ends by itself --------------------------------------------------------------


def test_a_worker_that_dies_in_a_call_leaves_its_outcome_unknown(watched: Watched) -> None:
    first = watched.begin()
    assert watched.terminal.positions_total() is None
    code, text = watched.terminal.last_error()
    assert code == mt5.RES_E_INTERNAL_FAIL_RECEIVE
    assert f"process {first} ended with exit code {EXIT_CODE}" in text
    assert classify_last_error(code).effect is Effect.UNKNOWN
    watched.another(first)
    assert watched.terminal.positions_get() == ()


def test_a_defect_in_the_terminal_ends_the_worker_and_not_the_gateway(watched: Watched) -> None:
    first = watched.begin()
    assert watched.terminal.orders_get() is None
    assert watched.terminal.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_RECEIVE
    watched.another(first)


def test_a_worker_killed_from_outside_in_a_send_leaves_it_unknown(watched: Watched) -> None:
    first = watched.begin()
    answers: list[Any] = []

    def send() -> None:
        answers.append(watched.terminal.order_send(ORDER))
        answers.append(watched.terminal.last_error()[0])

    sender = threading.Thread(target=send)
    sender.start()
    until((watched.notes / "sending").exists)
    os.kill(first, KILL)
    sender.join()
    assert answers == [None, mt5.RES_E_INTERNAL_FAIL_RECEIVE]


def test_a_worker_that_died_between_two_calls_takes_nothing_with_it(tmp_path: Path) -> None:
    never = Watched(tmp_path, pauses_ms=(LONG_MS,))
    with never.terminal as terminal:
        pid = never.begin()
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_running(pid))
        assert terminal.order_send(ORDER) is None
        code, text = terminal.last_error()
        assert code == mt5.RES_E_INTERNAL_FAIL_CONNECT
        assert text == f"No IPC connection, process {pid} ended between two calls"
        assert classify_last_error(code).effect is Effect.REFUSED


def test_while_there_is_no_worker_calls_fail_at_once_and_say_why(tmp_path: Path) -> None:
    never = Watched(tmp_path, pauses_ms=(LONG_MS,))
    with never.terminal as terminal:
        never.begin()
        terminal.positions_total()
        for function in (terminal.positions_get, terminal.terminal_info, terminal.symbols_get):
            assert function() is None
            code, text = terminal.last_error()
            assert code == mt5.RES_E_INTERNAL_FAIL_CONNECT
            assert text.startswith("No IPC connection, positions_total: process ")
        assert terminal.symbol_select("EURUSD") is False
        assert terminal.version() == (0, 0, "")
        assert terminal.trouble is not None


# -- a terminal that is lost, or cannot be initialised -----------------------------------------


def test_a_lost_terminal_is_initialised_again_in_a_new_worker(watched: Watched) -> None:
    first = watched.begin()
    (watched.notes / "mute").touch()
    assert watched.terminal.positions_get() is None
    assert watched.terminal.last_error() == (mt5.RES_E_INTERNAL_FAIL_RECEIVE, "IPC recv failed")
    (watched.notes / "mute").unlink()
    until(lambda: watched.terminal.positions_get() == ())
    assert watched.terminal.pid != first
    assert len(watched.initializations()) >= 2


def test_a_refused_login_is_tried_again_after_the_long_pause_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "refuse").touch()
    refused = Watched(tmp_path, refused_pause_ms=LONG_MS)
    with caplog.at_level(logging.INFO, "trueup"), refused.terminal as terminal:
        terminal.keep_initialized(login=5_000_001, password=SECRET)
        until(lambda: "-6" in (terminal.trouble or ""))
        assert terminal.positions_get() is None
        assert terminal.last_error() == (
            mt5.RES_E_INTERNAL_FAIL_CONNECT,
            "No IPC connection, initialize failed: -6 Terminal: Authorization failed",
        )
        assert len(refused.initializations()) == 1
    assert "initialising again in 60 s" in caplog.text
    assert SECRET not in caplog.text


def test_a_login_that_is_accepted_later_is_used(tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    refused = Watched(tmp_path, refused_pause_ms=0)
    with refused.terminal as terminal:
        terminal.keep_initialized()
        until(lambda: len(refused.initializations()) >= 2)
        (tmp_path / "refuse").unlink()
        until(lambda: terminal.pid)
        assert terminal.positions_get() == ()


def test_an_initialize_that_raises_is_tried_again_too(tmp_path: Path) -> None:
    (tmp_path / "raise").touch()
    raising = Watched(tmp_path)
    with raising.terminal as terminal:
        terminal.keep_initialized()
        until(lambda: terminal.trouble == "initialize failed: a defect in the arguments")
        (tmp_path / "raise").unlink()
        until(lambda: terminal.pid)


def test_an_initialize_that_takes_long_says_what_is_done_and_how_long_it_may_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "slow").touch()
    slow = Watched(tmp_path, start_deadline_ms=LONG_MS)
    takes = "takes seconds where it runs, minutes where it has to start, and at most 60 s"
    with caplog.at_level(logging.INFO, "trueup"), slow.terminal as terminal:
        terminal.keep_initialized()
        until(slow.initializations)
        (said,) = caplog.messages
        assert re.fullmatch(rf"\[TERMINAL\] Initialising in process \d+, which {takes}", said)
        assert terminal.positions_get() is None
        assert terminal.last_error() == (
            mt5.RES_E_INTERNAL_FAIL_CONNECT,
            f"No IPC connection, it is being initialised, which {takes}; before: it was not "
            "initialised",
        )
        (tmp_path / "slow").unlink()
        until(lambda: terminal.pid)
        assert terminal.positions_get() == ()


def test_a_machine_that_starts_no_process_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = Watched(tmp_path)
    start = subprocess.Popen
    refusals = [OSError(11, "Resource temporarily unavailable")] * 2

    def starts(*command: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return start(*command, **options)

    monkeypatch.setattr(subprocess, "Popen", starts)
    with lazy.terminal as terminal:
        terminal.keep_initialized()
        until(lambda: terminal.pid)
        assert refusals == []


def test_a_terminal_that_cannot_be_made_is_told_in_its_own_words() -> None:
    with WorkerTerminal(factory("refusing")) as terminal:
        assert terminal.initialize() is False
        assert terminal.last_error() == (
            mt5.RES_E_INTERNAL_FAIL_INIT,
            "IPC initialize failed, The terminal is not installed here.",
        )


def test_a_worker_that_dies_at_its_start_is_told_by_its_exit_code() -> None:
    with WorkerTerminal(factory("dying_at_start")) as terminal:
        assert terminal.initialize() is False
        code, text = terminal.last_error()
        assert code == mt5.RES_E_INTERNAL_FAIL_INIT
        assert f"exit code {EXIT_CODE}" in text


def test_pauses_grow_and_begin_anew_after_an_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    growing = Watched(tmp_path, pauses_ms=(1, 2, 3))
    with caplog.at_level(logging.INFO, "trueup"), growing.terminal as terminal:
        pid = growing.begin()
        for _ in range(4):
            terminal.positions_total()
            pid = growing.another(pid)
        assert terminal.positions_get() == ()
        terminal.positions_total()
    pauses = re.findall(r"Lost: .* again in ([\d.]+) s", caplog.text)
    assert pauses == ["0.001", "0.002", "0.003", "0.003", "0.001"]


# -- what a caller can rely on -----------------------------------------------------------------


def test_the_last_error_is_that_of_the_latest_call_of_the_same_thread() -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        assert terminal.symbol_info("NO.SUCH") is None
        assert terminal.last_error()[0] == mt5.RES_E_NOT_FOUND
        other = threading.Thread(target=terminal.positions_get)
        other.start()
        other.join()
        assert terminal.last_error()[0] == mt5.RES_E_NOT_FOUND
        assert terminal.positions_get() == ()
        assert terminal.last_error() == SUCCESS


def test_what_the_module_raises_is_raised() -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        with pytest.raises(TypeError):
            terminal.account_info(1)
        with pytest.raises(SystemError):
            terminal.order_send(ORDER | {"magic": -1})
        with pytest.raises(SystemError):
            terminal.order_send(ORDER | {"magic": 2**64})
        assert terminal.last_error() == SUCCESS


def test_rows_are_read_by_name_and_a_datetime_is_the_same_moment() -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        sent = terminal.order_send(ORDER | {"type_filling": mt5.ORDER_FILLING_IOC})
        assert sent.request.symbol == "EURUSD"
        assert sent.request._asdict()["volume"] == 0.1
        (position,) = terminal.positions_get()
        assert position.ticket == sent.order == position[0]
        begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        by_moment = terminal.history_deals_get(begin, dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
        by_number = terminal.history_deals_get(begin.timestamp(), 1_893_456_000)
        assert by_moment == by_number
        assert sent.deal in [deal.ticket for deal in by_moment]


def test_after_shutdown_nothing_is_initialised_by_itself() -> None:
    with WorkerTerminal(factory("simulated"), timing=Timing(pauses_ms=(0,))) as terminal:
        assert terminal.initialize()
        pid = terminal.pid
        assert terminal.shutdown() is True
        assert terminal.positions_get() is None
        assert terminal.last_error() == (mt5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")
        assert terminal.pid == pid
        assert terminal.initialize()
        assert terminal.positions_get() == ()


def test_closing_ends_the_worker_and_later_calls_fail() -> None:
    terminal = WorkerTerminal(factory("simulated"))
    assert terminal.initialize()
    pid = terminal.pid
    assert pid is not None
    terminal.close()
    assert not is_running(pid)
    assert terminal.positions_get() is None
    assert terminal.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT
    terminal.close()


def test_closing_waits_no_longer_than_the_deadline_for_a_call_that_hangs(hasty: Watched) -> None:
    pid = hasty.begin()
    sender = threading.Thread(target=hasty.terminal.order_send, args=(ORDER,))
    sender.start()
    until((hasty.notes / "sending").exists)
    hasty.terminal.close()
    sender.join()
    assert not is_running(pid)


# -- calls that are made together --------------------------------------------------------------


def test_a_reading_of_the_terminal_is_one_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        seen = exchanges(monkeypatch)
        reading = Snapshots(terminal, "boot", lambda: 1_700_000_000_000_000_000).read()
        assert (reading.is_whole, len(seen)) == (True, 1)


def test_a_reading_is_one_exchange_also_where_calls_are_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        seen = exchanges(monkeypatch)
        # As a desk has its terminal.
        recorded = CallTracker(terminal, lambda: 1).terminal
        assert Snapshots(recorded, "boot", lambda: 1_700_000_000_000_000_000).read().is_whole
        assert len(seen) == 1


def test_no_calls_are_no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        seen = exchanges(monkeypatch)
        assert list(make_calls(terminal, [])) == []
        assert not seen


def test_an_object_that_passes_every_attribute_on_is_called_one_by_one() -> None:
    class PassesOn:
        """A program's own wrapper around a terminal."""

        def __init__(self, terminal: SimulatedTerminal) -> None:
            self._terminal, self.made = terminal, list[str]()

        def __getattr__(self, name: str) -> Any:
            def call(*args: Any, **named: Any) -> Any:
                self.made.append(name)
                return getattr(self._terminal, name)(*args, **named)

            return call

    inner = SimulatedTerminal(now_msc=lambda: 1_700_000_000_000)
    assert inner.initialize()
    wrapper: Any = PassesOn(inner)
    calls = [Call("positions_total"), Call("orders_total")]
    assert [value for value, _ in make_calls(wrapper, calls)] == [0, 0]
    assert wrapper.made == ["positions_total", "orders_total"]


def test_calls_made_together_have_a_value_and_an_error_each() -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        calls = [Call("symbol_info", ("NO.SUCH",)), Call("positions_total")]
        (nothing, error), (total, success) = make_calls(terminal, calls)
        assert (nothing, error[0]) == (None, mt5.RES_E_NOT_FOUND)
        assert (total, success) == (0, SUCCESS)
        # As a single call does, they leave the error of the latest.
        assert terminal.last_error() == SUCCESS


def test_of_calls_made_together_none_is_made_if_one_is_no_function() -> None:
    terminal = SimulatedTerminal(now_msc=lambda: 1_700_000_000_000)
    raw = encode_calls([Call("initialize"), Call("_secret")])
    with pytest.raises(RemoteProtocolError, match="_secret"):
        perform(terminal, raw)
    assert terminal.account_info() is None


def test_a_worker_that_dies_in_calls_made_together_fails_all_of_them(watched: Watched) -> None:
    first = watched.begin()
    calls = [Call("positions_get"), Call("positions_total")]
    made = list(make_calls(watched.terminal, calls))
    assert [value for value, _ in made] == [None, None]
    assert {code for _, (code, _) in made} == {mt5.RES_E_INTERNAL_FAIL_RECEIVE}
    watched.another(first)


def test_answers_to_another_number_of_calls_are_none() -> None:
    terminal = SimulatedTerminal(now_msc=lambda: 1_700_000_000_000)
    raw = perform(terminal, encode_calls([Call("version"), Call("account_info")]))
    assert len(decode_answers(raw, 2)) == 2
    for count in (1, 3):
        with pytest.raises(RemoteProtocolError, match=f"2 answers came to {count} calls"):
            decode_answers(raw, count)


def test_an_answer_that_cannot_be_read_fails_all_calls_that_were_made_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torn = Answer(SUCCESS, "rows", [[1, 2]], "Row", ("one",))
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        with monkeypatch.context() as torn_pipe:
            answers = msgspec.msgpack.encode([torn, torn])
            torn_pipe.setattr(Worker, "exchange", lambda *_: answers)
            made = list(make_calls(terminal, [Call("positions_get"), Call("orders_get")]))
        assert [value for value, _ in made] == [None, None]
        assert {code for _, (code, _) in made} == {mt5.RES_E_INTERNAL_FAIL_RECEIVE}
        assert "cannot be read" in terminal.last_error()[1]


def test_each_answer_to_calls_made_together_is_noted_under_its_own_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Answer(SUCCESS, "row", [False, True], "TerminalInfo", ("connected", "trade_allowed"))
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        with monkeypatch.context() as pipe:
            answers = msgspec.msgpack.encode([Answer(SUCCESS, "plain", 0), lost])
            pipe.setattr(Worker, "exchange", lambda *_: answers)
            list(make_calls(terminal, [Call("positions_total"), Call("terminal_info")]))
    assert "The terminal has no link to its trade server" in caplog.text


def test_a_wrong_argument_of_a_call_made_together_leaves_no_error_of_an_earlier_call() -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        assert terminal.initialize()
        assert terminal.symbol_info("NO.SUCH") is None
        with pytest.raises(TypeError):
            list(make_calls(terminal, [Call("version"), Call("account_info", (1,))]))
        assert terminal.last_error() == SUCCESS


class AfterAFailure(ForwardingTerminal):
    """A terminal that has no positions, and whose last error is that of an earlier call."""

    def last_error(self) -> Error:
        return mt5.RES_E_NOT_FOUND, "of an earlier call"

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return {"positions_get": (), "positions_total": 0}.get(function)


def test_a_call_that_gives_nothing_to_list_has_not_failed() -> None:
    calls = [Call("positions_get"), Call("positions_total"), Call("account_info")]
    assert list(make_calls(AfterAFailure(), calls)) == [
        ((), SUCCESS),
        (0, SUCCESS),
        (None, (mt5.RES_E_NOT_FOUND, "of an earlier call")),
    ]


def test_without_a_worker_calls_made_together_fail_and_say_why() -> None:
    with WorkerTerminal(factory("simulated")) as terminal:
        (value, error), _ = make_calls(terminal, [Call("positions_get"), Call("version")])
        assert (value, error[0]) == (None, mt5.RES_E_INTERNAL_FAIL_CONNECT)
