"""`trueup.run`: a strategy on an account, with the commands of a second shell."""

from __future__ import annotations

import dataclasses
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.account_world import AccountWorld
from tests.support.desk_world import BUY, HEDGING
from trueup import Account, Hold, StrategyError, SyncResult, Tick, run
from trueup.core.policy import Action, Adopt, Policy
from trueup.doors.running.service_manager import ServiceManager
from trueup.errors import JournalConflict, Refused
from trueup.events import LimitReached, PositionRecovered
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import open_journal
from trueup.observe.status.status import State, Status
from trueup.runtime.bot.order_desk import Intent
from trueup.runtime.control.bots import Bot, ask_bot, noted_bots
from trueup.runtime.time.clock import ManualClock
from trueup.runtime.trading.loop import TradingLoop


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AccountWorld]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    made = AccountWorld(tmp_path)
    yield made
    made.end()


class Stops:
    """A strategy that buys once with stops, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_start(self, account: Account) -> None:
        self.account = account
        self.told.append(f"start {len(account.positions)}")

    def on_tick(self, tick: Tick) -> None:
        self.told.append(f"tick {tick.symbol}")
        if not self.account.positions:
            self.account.submit("buy", 0.1, symbol=tick.symbol, sl=1.0, tp=1.2)

    def on_sync(self, result: SyncResult) -> None:
        self.told.append(result.status.value)

    def on_fill(self, order: Intent) -> None:
        self.told.append(f"fill {order.symbol}")

    def on_hold(self, hold: Hold) -> None:
        self.told.append(f"hold {hold.symbol}")


def test_a_strategy_gets_its_account_after_recovery_and_trades_with_stops(
    world: AccountWorld,
) -> None:
    strategy = Stops()
    with world.account(symbols=["EURUSD", "GBPUSD"]) as account:
        run(account, strategy, duration_sec=1)
        (position,) = account.positions.values()
    assert strategy.told[:2] == ["SUCCESS", "start 0"]
    assert [told for told in strategy.told if told.startswith("tick")] == [
        "tick EURUSD",
        "tick GBPUSD",
    ]
    assert strategy.told.count("fill EURUSD") == 1
    assert (position.symbol, position.sl, position.tp) == ("EURUSD", 1.0, 1.2)
    assert position.ticket == position.orders[0].ticket


class Signals:
    """A strategy that gives 1 for each price of the pound."""

    def on_tick(self, tick: Tick) -> int:
        return int(tick.symbol == "GBPUSD")


def test_an_order_in_a_symbol_outside_the_accounts_symbols_is_refused(world: AccountWorld) -> None:
    with world.account(symbols=["EURUSD", "GBPUSD"]) as account:
        account.sync()
        with pytest.raises(ValueError, match=r"USDJPY"):
            account.submit("buy", 0.1, symbol="USDJPY")
        with pytest.raises(ValueError, match=r"symbol is missing: the book has several"):
            account.submit("buy", 0.1)


def test_a_signal_trades_the_symbol_of_its_price(world: AccountWorld) -> None:
    with world.account(symbols=["EURUSD", "GBPUSD"]) as account:
        run(account, Signals(), volume=0.03, duration_sec=1)
        assert [(p.symbol, p.net_volume) for p in account.positions.values()] == [("GBPUSD", 0.03)]


class Nothing:
    """A strategy that only listens."""

    def on_sync(self, result: SyncResult) -> None:
        """Ignore the result."""


def test_a_whole_account_needs_symbols_only_for_prices(world: AccountWorld) -> None:
    with world.account() as account:
        run(account, Nothing(), duration_sec=0)
        with pytest.raises(ValueError, match=r"symbols=\(\) is not valid: .* name the symbols"):
            run(account, Signals())
        run(account, Signals(), symbols=["GBPUSD"], duration_sec=0.5)
        assert [p.symbol for p in account.positions.values()] == ["GBPUSD"]


def test_what_is_no_strategy_and_what_is_not_in_scope_is_named(world: AccountWorld) -> None:
    with world.account(symbols=["EURUSD"]) as account:
        with pytest.raises(ValueError, match="is no strategy: give it on_tick or on_sync"):
            run(account, object())
        with pytest.raises(ValueError, match="symbol='GBPUSD' is not valid"):
            run(account, Signals(), symbols=["GBPUSD"])


def test_a_function_is_called_after_the_sync_that_found_its_event(world: AccountWorld) -> None:
    world.person.open("EURUSD", BUY, 0.05)
    found: list[int] = []
    with world.account() as account:

        @account.on(PositionRecovered)
        def recovered(event: PositionRecovered) -> None:
            found.append(event.position.ticket)
            account.close(event.position)

        account.on(LimitReached)(lambda _: found.append(0))
        account.sync()
        assert len(found) == 1
        assert account.positions == {}
        account.sync()
    assert len(found) == 1


def test_a_function_that_fails_is_named_with_its_line(world: AccountWorld) -> None:
    world.person.open("EURUSD", BUY, 0.05)
    with world.account() as account:

        @account.on(PositionRecovered)
        def broken(event: PositionRecovered) -> None:
            raise KeyError(event.position.ticket)

        with pytest.raises(StrategyError, match=r"The function broken failed: KeyError.*test_run"):
            account.sync()


class Fails:
    """A strategy that buys at each price, and then fails."""

    def on_start(self, account: Account) -> None:
        self.account = account

    def on_tick(self, tick: Tick) -> None:
        self.account.submit("buy", 0.1, symbol=tick.symbol)
        raise ZeroDivisionError("no range")


def test_a_strategy_that_fails_is_paused_and_sends_nothing_at_its_next_start(
    world: AccountWorld,
) -> None:
    for _ in range(2):
        with world.account(symbols=["EURUSD"]) as account:
            run(account, Fails(), duration_sec=1)
            paused = account.manager.paused
            assert paused is not None
            assert paused.by == "trueup run"
            assert "ZeroDivisionError: no range" in paused.why
            assert "test_run.py, line " in paused.why
            assert not paused.why.endswith(".")
            # Syncs go on: a position that a person opens is seen.
            assert account.sync().errors == []
        assert world.open_lots == pytest.approx(0.1)
        world.quote("EURUSD", 1.2)
    with world.account(symbols=["EURUSD"]) as account:
        account.resume("anna")
        run(account, Fails(), duration_sec=1)
    assert world.open_lots == pytest.approx(0.2)


def asked(command: str, **fields: Any) -> dict[str, Any]:
    """The answer of the only bot of this folder, asked from a thread as by a second shell."""
    (bot,) = noted_bots()
    return ask_bot(bot, command, **fields)


class Shell:
    """A second shell: its commands run in a thread while the bot's loop turns."""

    def __init__(self, *commands: str) -> None:
        self.answers: list[dict[str, Any]] = []
        self._commands = commands
        self._thread = threading.Thread(target=self._ask)

    def after_turn(self, loop: TradingLoop) -> None:
        """Begin at the first turn, and stop the bot when all is answered."""
        if self._thread.ident is None:
            self._thread.start()
        elif not self._thread.is_alive():
            loop.stop()

    def _ask(self) -> None:
        self.answers += [asked(command) for command in self._commands]


def test_a_second_shell_reaches_the_bot_and_finds_nothing_after_its_end(
    world: AccountWorld,
) -> None:
    shell = Shell("hello", "status")
    with world.account(symbols=["EURUSD"]) as account:
        run(account, Nothing(), after_turn=shell.after_turn)
        hello, status = shell.answers
        assert hello["stream"] == account.manager.stream
        assert Path(hello["journal_file"]) == world.journal
        assert status["status"]["account"] == account.name
    assert noted_bots() == []


def test_an_approval_reaches_the_account(world: AccountWorld) -> None:
    policy = Policy(frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.ASK)
    world.person.open("EURUSD", BUY, 0.05)
    with world.account(magics=[7], symbols=["EURUSD"], policy=policy) as account:
        holds: list[Hold] = []

        class Watches(Nothing):
            def on_hold(self, hold: Hold) -> None:
                holds.append(hold)

        def approve(loop: TradingLoop) -> None:
            if holds and not loop.pm.book.holdings:
                account.approve(holds[0].id, "anna")
            elif loop.pm.book.holdings:
                loop.stop()

        run(account, Watches(), after_turn=approve)
        # A hold is told once, however many syncs show it again.
        assert len(holds) == 1
        assert len(account.positions) == 1


def test_a_bot_of_a_part_stays_out_of_sight_of_another_account(world: AccountWorld) -> None:
    actions = Policy(frozenset({"EURUSD"}), zombie=Action.ALERT)
    world.person.open("EURUSD", BUY, 0.05)
    with world.account(symbols=["EURUSD"], policy=actions) as account:
        run(account, Nothing(), duration_sec=1)
        assert account.positions == {}


def test_a_position_that_a_person_opens_is_seen_long_before_the_interval(
    world: AccountWorld,
) -> None:
    found: list[float] = []
    began = world.clock.waiting_ns()
    with world.account(symbols=["EURUSD"]) as account:

        def act(loop: TradingLoop) -> None:
            now = (world.clock.waiting_ns() - began) / 1e9
            if not found and now > 5:
                world.person.open("EURUSD", BUY, 0.05)
                found.append(now)
            if loop.pm.book.holdings:
                found.append(now)
                loop.stop()

        run(account, Nothing(), after_turn=act)
    opened, seen = found
    assert seen - opened < 1


def test_signals_stop_the_bot_and_are_given_back(world: AccountWorld) -> None:
    before = signal.getsignal(signal.SIGTERM)
    turns: list[int] = []

    def end(loop: TradingLoop) -> None:
        turns.append(1)
        signal.raise_signal(signal.SIGTERM)

    with world.account(symbols=["EURUSD"]) as account:
        run(account, Nothing(), after_turn=end)
    assert turns == [1]
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_account_of_real_money_is_refused_where_it_was_not_allowed(tmp_path: Path) -> None:

    world = AccountWorld(
        tmp_path, dataclasses.replace(HEDGING, trade_mode=mt5.ACCOUNT_TRADE_MODE_REAL)
    )
    with world.account(symbols=["EURUSD"], real_money=False) as account:
        with pytest.raises(Refused, match="is a REAL account"):
            run(account, Stops(), duration_sec=1)
        assert world.open_lots == 0
    world.end()


@pytest.mark.skipif(sys.platform == "win32", reason="systemd is of Linux")
def test_systemd_is_told_that_the_bot_is_ready_alive_and_stopping(
    world: AccountWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("notify.sock")
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", "notify.sock")
        monkeypatch.setenv("WATCHDOG_USEC", str(20_000_000))
        with world.account(symbols=["EURUSD"]) as account:
            told: list[str] = []

            def read(_: TradingLoop) -> None:
                told.extend(iter(lambda: _received(listener), ""))

            run(account, Nothing(), duration_sec=25, after_turn=read)
            told.extend(iter(lambda: _received(listener), ""))
    assert told[0] == "READY=1"
    assert told[1].startswith("STATUS=")
    # Half of the deadline, by the bot's clock: 0, 10 and 20 s.
    assert told.count("WATCHDOG=1") == 3
    assert told[-1] == "STOPPING=1"


def _received(listener: socket.socket) -> str:
    try:
        return listener.recv(1000).decode()
    except BlockingIOError:
        return ""


def test_a_service_manager_that_is_away_stops_no_bot(
    world: AccountWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "nowhere.sock")
    monkeypatch.setenv("WATCHDOG_USEC", "not a number")
    with world.account(symbols=["EURUSD"]) as account:
        run(account, Nothing(), duration_sec=1)


@pytest.mark.skipif(sys.platform == "win32", reason="systemd is of Linux")
def test_a_service_manager_that_was_away_is_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd waits for READY, and ends a service that never says so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", "notify.sock")
    manager = ServiceManager(ManualClock())
    manager.turn("All is well.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("notify.sock")
        listener.setblocking(False)
        manager.turn("All is well.")
        manager.turn("All is well.")
        told = list(iter(lambda: _received(listener), ""))
    assert told == ["READY=1", "STATUS=All is well."]


def test_a_bot_whose_journal_was_taken_over_ends(world: AccountWorld) -> None:
    with world.account(symbols=["EURUSD"]) as account:

        def take_over(loop: TradingLoop) -> None:
            open_journal(
                world.journal, account.manager.stream, take_over=True, now_ns=world.clock.now_ns
            ).close()
            world.person.open("EURUSD", BUY, 0.05)

        with pytest.raises(JournalConflict):
            run(account, Nothing(), after_turn=take_over)


def test_a_view_gets_the_status_of_every_turn(world: AccountWorld) -> None:
    seen: list[Status] = []
    with world.account(symbols=["EURUSD"]) as account:
        run(account, Nothing(), duration_sec=1, view=seen.append)
    assert len(seen) >= 3
    assert {status.state for status in seen} == {State.AGREES}
    assert {status.account for status in seen} == {account.name}


def test_the_state_file_names_the_journal(world: AccountWorld) -> None:
    seen: list[Bot] = []
    with world.account(symbols=["EURUSD"]) as account:
        run(account, Nothing(), duration_sec=0.1, after_turn=lambda _: seen.extend(noted_bots()))
    assert seen[0].stream == account.manager.stream
