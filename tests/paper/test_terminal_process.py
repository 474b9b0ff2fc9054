"""The terminal process, turn by turn in this process: bots, a person, idleness, the state file."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.paper.deadline import wait_for
from trueup.cli.paper.paper import default_stream
from trueup.cli.paper.run import Place
from trueup.errors import NotSent, SettingsError
from trueup.filelock import is_locked
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.protocol.ticks import Tick
from trueup.runtime.time.clock import ManualClock
from trueup.sim.process import fault_desk, whereabouts
from trueup.sim.process.process import TerminalOptions, TerminalProcess
from trueup.sim.process.whereabouts import Whereabouts, ask, find_terminal, read_state, write_state
from trueup.sim.terminal.terminal import SimulatedTerminal

# Stands for the ticket that is open.
HELD = 1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@contextmanager
def running(account: str = "hedging") -> Iterator[TerminalProcess]:
    process = TerminalProcess(TerminalOptions(account=account, feed="random", speed=0.001))
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        wait_for(lambda: read_state() is not None, lambda: "the state file")
        yield process
    finally:
        process.stop()
        thread.join()


def tell(process: TerminalProcess, command: str, **fields: Any) -> dict[str, Any]:
    return ask(process.whereabouts, {"command": command, **fields})


def test_it_is_found_by_its_state_file_and_takes_it_back(home: Path) -> None:
    with running() as process:
        assert find_terminal() == process.whereabouts
        assert process.whereabouts.pid == os.getpid()
        assert "tcp://127.0.0.1:" in process.whereabouts.gateway
    assert find_terminal() is None
    # The lock file stays: if it were deleted, two terminals could each lock a file of that name.
    assert [path.name for path in home.iterdir()] == ["terminal.lock"]
    assert not is_locked(home / "terminal.lock")


def test_a_state_file_that_nobody_answers_for_is_no_terminal() -> None:
    with running() as process:
        state = process.whereabouts
    write_state(state)
    assert find_terminal() is None
    with pytest.raises(NotSent):
        ask(state, {"command": "hello"}, 50)


def test_a_port_that_another_program_has_by_now_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whereabouts, "ASK_TIMEOUT_MS", 50)
    with running() as process, socket.create_server(("127.0.0.1", 0)) as other:
        person = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        write_state(msgspec.structs.replace(process.whereabouts, person=person))
        assert find_terminal() is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"pid": "x"}'])
def test_a_state_file_that_cannot_be_read_is_no_terminal(home: Path, content: bytes) -> None:
    home.mkdir()
    (home / "terminal.json").write_bytes(content)
    assert find_terminal() is None


def test_a_state_file_that_names_another_process_s_port_is_no_terminal() -> None:
    with running() as process:
        write_state(msgspec.structs.replace(process.whereabouts, pid=1))
        assert find_terminal() is None


def test_a_bot_gets_prices_and_fills() -> None:
    with running() as process, ExecutionGateway("127.0.0.1", process.whereabouts.port) as bot:
        assert isinstance(bot.get_tick("EURUSD"), Tick)
        order = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.0}
        outcome = bot.send_order(order)
        assert outcome["status"] == "FILLED"
        (row,) = tell(process, "list")["positions"]
        assert (row["ticket"], row["side"], row["volume"]) == (outcome["ticket"], "LONG", 0.1)


def test_a_person_opens_changes_and_closes() -> None:
    with running() as process:
        ticket = tell(process, "open", side="sell", volume=0.03, tp=0.5)["ticket"]
        assert "0.01 lots" in tell(process, "partial", ticket=ticket, volume=0.01)["text"]
        assert tell(process, "modify", ticket=ticket, sl=2.0)["text"] == (
            f"Ticket {ticket} has stop loss 2.0, take profit 0.5."
        )
        assert tell(process, "modify", ticket=ticket, tp=0)["text"].endswith("take profit none.")
        assert tell(process, "close", ticket=ticket)["text"] == (
            f"Closed ticket {ticket}, SHORT 0.02L EURUSD."
        )
        tell(process, "open")
        assert tell(process, "close_all")["text"] == "Closed 1 position."
        assert tell(process, "list")["positions"] == []
        assert tell(process, "close_all")["text"] == "Closed 0 positions: none is open."


def test_a_position_that_the_broker_does_not_close_is_named_and_the_others_are_closed() -> None:
    with running() as process:
        process.terminal.quote("GBPUSD", 1.3, 1.3002)
        tickets = [
            tell(process, "open", symbol=symbol)["ticket"]
            for symbol in ("EURUSD", "GBPUSD", "EURUSD")
        ]
        process.terminal.market.change("GBPUSD", trade_mode=mt5.SYMBOL_TRADE_MODE_DISABLED)
        answer = tell(process, "close_all")
        assert answer["ok"] is False
        assert answer["error"].startswith(
            f"Closed 2 of 3 positions. Ticket {tickets[1]} was not closed. The broker refused: "
        )
        assert [row["ticket"] for row in tell(process, "list")["positions"]] == [tickets[1]]


SHOWN: dict[str, Callable[[SimulatedTerminal], object]] = {
    "no-link": lambda terminal: terminal.view.shows_connected,
    "other-account": lambda terminal: terminal.current_login,
    "algo-trading-off": lambda terminal: terminal.algo_trading,
    "clock-back": lambda terminal: terminal.broker.clock.server_msc() // 3_600_000,
}


@pytest.mark.parametrize("fault", SHOWN)
def test_a_fault_shows_at_every_terminal_of_the_account_and_ends(fault: str) -> None:
    with running() as process:
        process.module.initialize()
        shown = SHOWN[fault]
        before = shown(process.module)
        said = tell(process, "fault", fault=fault)["text"]
        assert said.endswith(". End it with `trueup terminal --fault none`.")
        assert shown(process.module) == shown(process.terminal) != before
        assert tell(process, "fault", fault="none")["text"] == "The terminal has no fault now."
        assert shown(process.module) == before


def test_an_order_without_an_answer_is_executed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_desk, "EXECUTED_AFTER_MS", 1_000)
    with running() as process, ExecutionGateway("127.0.0.1", process.whereabouts.port) as bot:
        tell(process, "fault", fault="no-answer")
        order = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.1, "price": 1.0}
        assert bot.send_order(order)["status"] == "UNKNOWN"
        assert tell(process, "list")["positions"] == []
        wait_for(lambda: tell(process, "list")["positions"] != [], lambda: "the late execution")


def test_a_fault_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with running() as process:
        assert tell(process, "fault", fault="fire")["error"] == (
            "There is no fault 'fire': give one of none, no-link, other-account, "
            "algo-trading-off, no-answer, clock-back."
        )


def test_on_a_netting_account_there_is_one_position() -> None:
    with running("netting") as process:
        tell(process, "open", side="buy", volume=0.03)
        tell(process, "open", side="sell", volume=0.01)
        (row,) = tell(process, "list")["positions"]
        assert (row["side"], row["volume"]) == ("LONG", 0.02)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"command": "close", "ticket": 5}, "no open position with ticket 5: open are"),
        ({"command": "partial", "ticket": HELD, "volume": 0.02}, "has 0.02 lots"),
        ({"command": "partial", "ticket": HELD, "volume": -1}, "volume is -1"),
        ({"command": "partial", "ticket": HELD, "volume": 0.015}, "in steps of 0.01"),
        ({"command": "modify", "ticket": HELD}, "Nothing to modify"),
        ({"command": "modify", "ticket": HELD, "sl": -1}, "level is -1"),
        ({"command": "modify", "ticket": HELD, "sl": 9.0}, "invalid stops (10016"),
        ({"command": "open", "side": "up"}, "side is 'up'"),
        ({"command": "open", "symbol": "ABC"}, "no symbol 'ABC' here: give one of EURUSD"),
        ({"command": "open", "volume": 0.001}, "invalid volume (10014"),
        ({"command": "open", "volume": 90.0}, "not enough money (10019"),
        ({"command": "dance"}, "no command 'dance'"),
        ({}, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(command: dict[str, Any], said: str) -> None:
    with running() as process:
        ticket = tell(process, "open", volume=0.02)["ticket"]
        if command.get("ticket") == HELD:
            command = {**command, "ticket": ticket}
        answer = ask(process.whereabouts, command)
        assert answer["ok"] is False
        assert said in answer["error"]
        assert len(tell(process, "list")["positions"]) == 1


def test_it_ends_by_itself_when_nobody_asks_and_not_before() -> None:
    clock = ManualClock()
    process = TerminalProcess(TerminalOptions(idle_exit_min=10.0), clock)
    stopped = []
    for seconds in (590, 9, 2):
        clock.advance(seconds)
        process.turn(0)
        stopped.append(process.is_stopped)
    process.close()
    assert stopped == [False, False, True]


def test_zero_idle_minutes_means_never() -> None:
    clock = ManualClock()
    process = TerminalProcess(TerminalOptions(idle_exit_min=0.0, speed=0.001), clock)
    clock.advance(1_000_000)
    process.turn(0)
    assert not process.is_stopped
    process.close()


def test_terminals_that_start_in_the_same_second_have_books_of_their_own() -> None:
    clock = ManualClock()
    streams = []
    for _ in range(2):
        process = TerminalProcess(TerminalOptions(feed="random"), clock)
        streams.append(default_stream("EURUSD", Place("127.0.0.1", 1, process.whereabouts)))
        process.close()
        clock.advance(0.001)
    assert len(set(streams)) == 2
    assert all(name.startswith("EURUSD-sim-20") for name in streams)


def test_the_book_of_a_terminal_that_noted_whole_seconds_keeps_its_name() -> None:
    with running() as process:
        earlier = msgspec.structs.replace(process.whereabouts, started="2026-01-05T14:01:54+00:00")
        name = default_stream("EURUSD", Place("127.0.0.1", 1, earlier))
    assert name == "EURUSD-sim-20260105T140154"


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with running() as process, pytest.raises(SettingsError, match="--port="):
        TerminalProcess(TerminalOptions(port=process.whereabouts.port))


def test_the_command_to_stop_is_answered_before_it_stops() -> None:
    process = TerminalProcess(TerminalOptions(feed="random"))
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        wait_for(lambda: read_state() is not None, lambda: "the state file")
        assert tell(process, "stop") == {"ok": True, "positions": 0}
        thread.join(60)
        assert not thread.is_alive()
    finally:
        process.stop()
        thread.join()


def test_a_symbol_without_a_specification_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match="give one of EURUSD"):
        TerminalProcess(TerminalOptions(symbol="ABC"))


def test_the_state_of_another_process_is_not_removed(home: Path) -> None:
    other = Whereabouts(1, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "hedging", "EURUSD", "")
    with running():
        write_state(other)
    assert read_state() == other


def test_a_ticket_is_never_given_twice_by_terminals_that_follow_each_other() -> None:
    clock = ManualClock()
    tickets = []
    for _ in range(2):
        process = TerminalProcess(TerminalOptions(feed="random"), clock)
        tickets.append(process.terminal.person.open("EURUSD", 0, 0.01))
        process.close()
        clock.advance(5)
    assert tickets[0] < tickets[1]
