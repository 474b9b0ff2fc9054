"""The parts of the loop of many accounts: lateness, the poller, room for files and sockets."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.paper.test_paper_processes import Shell
from tests.support.posix_limits import posix_only
from trueup.doors.accounts import control, wakeups
from trueup.doors.accounts.accounts_loop import AccountsLoop
from trueup.doors.accounts.control import AccountsControl
from trueup.doors.accounts.entry import AccountEntry
from trueup.doors.accounts.file import read_accounts
from trueup.doors.accounts.lateness import Lateness
from trueup.doors.accounts.machine import AccountMachine, State, spread_of
from trueup.doors.accounts.room import needed_by
from trueup.doors.accounts.wakeups import Wakeups
from trueup.gateway.client.link import Signal, Signals
from trueup.runtime.control.state_files import HOME_VARIABLE
from trueup.runtime.time.clock import ManualClock


def test_lateness_is_told_within_a_quarter() -> None:
    late = Lateness()
    assert (late.within_ms(0.99), late.most_ms) == (0, 0)
    for ms in range(1, 101):
        late.note(ms * 1_000_000)
    late.note(-5)
    assert (late.count, late.most_ms) == (101, 100)
    assert 50 <= late.within_ms(0.5) <= 50 * 1.25
    assert 98 <= late.within_ms(0.99) <= 100
    late.note(3_600_000_000_000)
    assert late.within_ms(1) == 3_600_000


def connection(serial: int) -> tuple[socket.socket, socket.socket, Signal]:
    """A connection, its other end, and its signal."""
    ours, theirs = socket.socketpair()
    return ours, theirs, Signal(ours.fileno(), serial, False)


def test_the_poller_returns_those_with_news_each_once() -> None:
    poller: Wakeups[str] = Wakeups()
    first, second = connection(1), connection(2)
    assert poller.watch("a", [first[2], None, second[2]])
    assert poller.wait(0) == []
    first[1].send(b"x")
    second[1].send(b"x")
    assert poller.wait(0) == ["a"]
    poller.forget("a")
    assert poller.wait(0) == []
    poller.wake()
    assert poller.wait(30) == []
    for one in (*first[:2], *second[:2]):
        one.close()
    poller.close()


def test_a_number_that_a_closed_connection_had_belongs_to_the_new_one() -> None:
    poller: Wakeups[str] = Wakeups()
    ours, theirs, signal = connection(1)
    poller.watch("a", [signal])
    ours.close()
    theirs.close()
    other, far, _ = connection(2)
    # Made to have the same number, as systems give the lowest free one.
    assert other.fileno() == signal.descriptor or far.fileno() == signal.descriptor
    new, end = (other, far) if other.fileno() == signal.descriptor else (far, other)
    poller.watch("b", [Signal(new.fileno(), 2, False)])
    end.send(b"x")
    assert poller.wait(30) == ["b"]
    # The earlier owner goes, and the new one is still waited for.
    poller.forget("a")
    assert poller.wait(30) == ["b"]
    new.close()
    end.close()
    poller.close()


def test_what_a_poller_cannot_take_is_looked_at_by_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wakeups, "WATCHED_MOST", 1)
    poller: Wakeups[str] = Wakeups()
    first, second = connection(1), connection(2)
    assert poller.watch("a", [first[2]])
    assert not poller.watch("b", [second[2]])
    poller.forget("a")
    assert poller.watch("b", [second[2]])
    for one in (*first[:2], *second[:2]):
        one.close()
    poller.close()


def accounts(folder: Path, *lines: str) -> Path:
    path = folder / "accounts.toml"
    path.write_text("\n".join(['[accounts.a]\ngateway = "tcp://127.0.0.1:1"', *lines]), "utf-8")
    return path


def test_strategies_and_files_of_journals_need_more_room(tmp_path: Path) -> None:
    def needed(*lines: str) -> int:
        return needed_by(read_accounts(accounts(tmp_path, *lines)).entries).files

    plain = needed()
    assert needed('journal = "postgresql://h/d"') == plain - 4
    assert needed('journal = "a.db"') == plain
    assert needed('strategy = "a:B"') == plain + 6
    # Accounts of one file share it, and each has its lock.
    second = '[accounts.b]\ngateway = "tcp://127.0.0.1:2"'
    connections = needed('journal = "postgresql://h/d"', second, 'journal = "postgresql://h/d"')
    assert needed('journal = "a.db"', second, 'journal = "./a.db"') == connections + 5
    assert needed('journal = "a.db"', second, 'journal = "b.db"') == connections + 8


@posix_only
def test_too_few_open_files_are_named_before_anything_starts(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    accounts(tmp_path)
    limited = "import resource as r,runpy,sys;r.setrlimit(r.RLIMIT_NOFILE,(200,200));"
    run = "sys.argv=['trueup','run','--accounts','accounts.toml'];"
    code = f"{limited}{run}runpy.run_module('trueup', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 64, done
    assert "ulimit -Hn='200' is not valid: the accounts need 522 open files" in done.stderr
    assert not list((tmp_path / ".trueup").glob("*.json"))


def test_an_option_of_a_single_bot_is_refused_with_a_file_of_accounts(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    accounts(tmp_path)
    done = shell.run("run", "mine:Bot", "--accounts", "accounts.toml")
    assert (done.returncode, "a strategy is for a single bot" in done.stderr) == (64, True)
    (tmp_path / "accounts.toml").write_text("[accounts.a]\n", "utf-8")
    done = shell.run("run", "--accounts", "accounts.toml")
    assert (done.returncode, "[accounts.a] gateway=''" in done.stderr) == (64, True)


def test_accounts_are_spread_evenly_and_always_alike() -> None:
    first = sorted(next(spread_of(f"a{number}")) for number in range(1_000))
    apart = max(later - earlier for earlier, later in itertools.pairwise([0.0, *first, 1.0]))
    assert apart < 0.02
    own = list(itertools.islice(spread_of("alpha"), 100))
    assert own == list(itertools.islice(spread_of("alpha"), 100))
    assert max(b - a for a, b in itertools.pairwise(sorted([0.0, *own, 1.0]))) < 0.05


class Stub:
    """A running account whose connection is broken in one way, or is whole."""

    def __init__(self, machine: AccountMachine, clock: ManualClock, *, broken: bool) -> None:
        self.machine, self._clock, self._broken = machine, clock, broken
        self.looks = 0
        self.is_syncing = self.awaits_price = self.is_stopped = False
        self.unknown = self.price_due_ns = self.paused = None
        self.due_age_ns = 0
        self.reconciler = self.loop = self.gateway = self.account = self.manager = self

    def look(self) -> bool:
        """Count a step, and be due again a day later."""
        self.looks += 1
        self.due_age_ns = self._clock.age_ns() + 86_400_000_000_000
        return False

    def signals(self) -> Signals:
        """Tell that nothing waits, or fail as without room for a socket."""
        if self._broken:
            raise OSError("too many open files")
        return Signals()

    def note_stop(self, who: str, why: str) -> None:
        """Note nothing."""

    def close(self) -> None:
        """Close nothing."""


def test_an_account_that_fails_in_an_unforeseen_way_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock(1_767_571_200_000_000_000)
    loop = AccountsLoop(clock)
    (entry,) = read_accounts(accounts(tmp_path, "timeout_ms = 20")).entries
    stubs = []
    for name in ("broken", "whole"):
        machine = AccountMachine(msgspec.structs.replace(entry, name=name), clock, loop.late)
        stub: Any = Stub(machine, clock, broken=name == "broken")
        machine.opened, machine.state = stub, State.RUNNING
        loop.machines[name] = machine
        stubs.append(stub)
    for stub in stubs:
        loop.step_soon(stub.machine)

    def turn() -> None:
        clock.advance(0.5)
        # As news do, which come before the due time.
        loop.step_soon(stubs[1].machine)
        if stubs[1].looks >= 500:
            loop.stop()

    loop.run(turn)
    assert stubs[0].looks == 1
    assert "Does not run: too many open files" in caplog.text
    # What was due and came earlier does not pile up.
    assert len(loop._due) < 100


def loop_of_one(file: Path) -> tuple[AccountsLoop, AccountMachine, ManualClock]:
    """Return a loop with the account of a file, and its clock."""
    clock = ManualClock()
    loop = AccountsLoop(clock)
    (entry,) = read_accounts(file).entries
    machine = loop.machines[entry.name] = AccountMachine(entry, clock, loop.late)
    return loop, machine, clock


@pytest.mark.parametrize("first", ["changed", "removed"])
def test_a_change_that_is_taken_back_while_an_account_is_busy_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(AccountMachine, "open", lambda machine: None)
    loop, machine, clock = loop_of_one(accounts(tmp_path, "volume = 0.1"))
    entry, stub = machine.entry, Stub(machine, clock, broken=False)
    machine.opened, machine.state = stub, State.RUNNING  # type: ignore[assignment]
    is_over = threading.Event()
    # As an order that waits for its reply.
    loop._submit(machine, is_over.wait)
    if first == "removed":
        loop.drop(entry.name, "the file", "no longer in it")
    else:
        settings = entry.settings.model_copy(update={"trueup_volume": 5.0})
        loop.want(msgspec.structs.replace(entry, settings=settings), "the file")
    loop.want(entry, "the file")
    is_over.set()

    found: list[AccountEntry] = []

    def turn() -> None:
        clock.advance(0.5)
        if machine not in loop._busy and entry.name not in loop._wanted:
            found.extend(one.entry for one in loop.machines.values())
            loop.stop()

    loop.run(turn)
    assert found == [entry]


@pytest.mark.parametrize("state", [State.WAITING, State.STOPPED])
def test_a_pause_of_an_account_that_does_not_run_counts_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    monkeypatch.setattr(AccountMachine, "open", lambda machine: None)
    loop, machine, clock = loop_of_one(accounts(tmp_path))
    entry, machine.state = machine.entry, state
    paused = msgspec.structs.replace(entry, is_paused=True, paused_why="news")
    loop.want(paused, "the file")

    def turn() -> None:
        clock.advance(0.5)
        if entry.name not in loop._wanted:
            loop.stop()

    loop.run(turn)
    assert machine.entry == paused


def test_a_command_goes_to_the_book_that_is_open_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that failed is opened again, with another book and other connections."""

    class Commands:
        """Answers with the name of the loop for which it was made."""

        def __init__(self, loop: str, *_: object) -> None:
            self._loop = loop

        def handle(self, raw: bytes) -> bytes:
            return self._loop.encode() + raw

        def turn(self) -> None:
            """Carry nothing on."""

        def close(self) -> None:
            """Close nothing."""

    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setattr(control, "BotCommands", Commands)
    monkeypatch.setattr(AccountsControl, "_facts", lambda *_: None)
    clock = ManualClock()
    loop = AccountsLoop(clock)
    (entry,) = read_accounts(accounts(tmp_path)).entries
    machine = loop.machines[entry.name] = AccountMachine(entry, clock, loop.late)
    commands = AccountsControl(loop, clock, lambda who, why: None)
    try:
        commands.prepare(machine)
        for name in ("first", "second"):
            gateway = SimpleNamespace(another=object)
            opened: Any = SimpleNamespace(loop=name, gateway=gateway, close=lambda: None)
            machine.opened, machine.state = opened, State.RUNNING
            for raw in (b" pause", b" resume"):
                assert commands._of_account(entry.name, raw) == name.encode() + raw
            machine.end()
    finally:
        commands.close()
        loop.stop()
        loop.run(lambda: None)
