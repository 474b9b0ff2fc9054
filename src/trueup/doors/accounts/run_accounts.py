"""`trueup run --accounts`: run the accounts of a file or a table, and follow its changes."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from trueup.doors.accounts.accounts_loop import AccountsLoop
from trueup.doors.accounts.checking import Accounts
from trueup.doors.accounts.control import AccountsControl
from trueup.doors.accounts.database_wait import DatabaseWait
from trueup.doors.accounts.machine import AccountMachine, State
from trueup.doors.accounts.room import Room, make_room_for, needed_by, too_small
from trueup.doors.accounts.source import AccountsSource
from trueup.doors.accounts.stop import Stop, Stopped
from trueup.doors.running.service_manager import ServiceManager
from trueup.doors.running.signals import stopped_by_signals
from trueup.errors import JournalError, SettingsError
from trueup.logs import Logger, logger
from trueup.runtime.time.clock import Clock, SystemClock

log: Logger = logger("trueup.run")

# How soon a change of the file or the table is noticed.
LOOK_EVERY_NS = 2_000_000_000


def run_accounts(source: AccountsSource, duration_sec: float | None = None) -> None:
    """Run the accounts of a file or a table until Ctrl-C, SIGTERM, or a duration.

    An entry with a fault is named in the log and left out. The list is read again when it changes.
    Waits for the database of a table while its server is away.

    Args:
        source: the file or table.
        duration_sec: end after so many seconds; None for no end.

    Raises:
        SettingsError: the list cannot be read, no entry can run, or the system allows too few open
            files.
        TrueupError: the database cannot be reached, or a second shell could not reach this process.
    """
    clock, stop = SystemClock(), Stop()
    wait = DatabaseWait(clock, stop, duration_sec)
    with stopped_by_signals(stop), suppress(Stopped):
        found = first_list(source, wait, stop)
        process = AccountsProcess(source, clock, make_room_for(found.entries))
        stop.ends(process.loop)
        run_process(process, found, duration_sec, clock)


def first_list(source: AccountsSource, wait: DatabaseWait, stop: Stop) -> Accounts:
    """Read the accounts, once the database of a table is reached; log what is wrong with entries.

    Raises:
        Stopped: a stop came before.
        SettingsError: the list cannot be read, or no entry can run.
        JournalError: the database cannot be read.
    """
    found = wait.done(lambda: stop.interrupting(source.read))
    for _, fault in found.faults:
        log.error("[ACCOUNTS] %s", fault)
    if not found.entries:
        raise found.faults[0][1]
    return found


def run_process(
    process: AccountsProcess, found: Accounts, duration_sec: float | None, clock: Clock
) -> None:
    """Run a process of many accounts, which a second shell can reach.

    Raises:
        TrueupError: a second shell could not reach this process.
    """
    control = AccountsControl(process.loop, clock, process.reread)
    try:
        process.control = control
        process.run(found, duration_sec)
    finally:
        control.close()


class AccountsProcess:
    """The accounts of a file or a table, and what follows from a change.

    Args:
        source: the file or table, read once.
        clock: the source of time.
        room: how many open files and sockets there are.
    """

    def __init__(self, source: AccountsSource, clock: Clock, room: Room) -> None:
        self._source, self._clock, self._room = source, clock, room
        self.loop: AccountsLoop = AccountsLoop(clock, self._prepare)
        self.control: AccountsControl | None = None
        self._is_looking = False
        self._look_ns = clock.age_ns() + LOOK_EVERY_NS
        self._end_ns: int | None = None
        self._manager = ServiceManager(clock)

    def _prepare(self, machine: AccountMachine) -> None:
        if self.control is not None:
            self.control.prepare(machine)

    def run(self, found: Accounts, duration_sec: float | None) -> None:
        """Run until the end."""
        if duration_sec is not None:
            self._end_ns = self._clock.waiting_ns() + round(duration_sec * 1e9)
        log.info("[ACCOUNTS] %s has %d accounts", self._source.name, len(found.entries))
        self.begin(found)
        try:
            self.loop.run(self._turn)
        finally:
            self._manager.stopping()

    def begin(self, found: Accounts) -> None:
        """Run the accounts that the file has at the start."""
        for entry in found.entries:
            self.loop.want(entry, self._source.who)

    def _turn(self) -> None:
        if self._end_ns is not None and self._clock.waiting_ns() >= self._end_ns:
            self.loop.stop()
        counts = self.loop.counts()
        others = len(self.loop.machines) - counts[State.RUNNING]
        self._manager.turn(f"{counts[State.RUNNING]} accounts run, {others} do not.")
        if self._clock.age_ns() >= self._look_ns and not self._is_looking:
            self._is_looking = True
            self.loop.do(self._look)

    def _look(self) -> None:
        """Read a list that has changed; waits for a database."""
        try:
            if self._source.has_changed():
                self._read(self._source.who, "")
        finally:
            self._look_ns = self._clock.age_ns() + LOOK_EVERY_NS
            self._is_looking = False

    def reread(self, who: str, why: str) -> None:
        """Read the list in another thread, and obey it; from any thread."""
        self.loop.do(partial(self._read, who, why))

    def _read(self, who: str, why: str) -> None:
        try:
            found = self._source.read()
        except (SettingsError, JournalError) as error:
            log.error(
                "[ACCOUNTS] The change is not used, and all accounts stay as they are: %s", error
            )
            return
        self.loop.call_soon(partial(self._obey, found, who, why))

    def _obey(self, found: Accounts, who: str, why: str) -> None:
        """Let the accounts be those of the list."""
        needed = needed_by(found.entries)
        if not self._room.has_room_for(needed):
            error = too_small(self._room, needed)
            log.error("[ACCOUNTS] The change is not used; start the process again: %s", error)
            return
        for _, fault in found.faults:
            log.error("[ACCOUNTS] %s", fault)
        self.follow(found, who, why)

    def follow(self, found: Accounts, who: str, why: str) -> None:
        """Add, change and remove accounts as a list that was read again has them."""
        # An account that has a fault now goes on as it was; a fault of the defaults has no name.
        names = {name for name, _ in found.faults} | {entry.name for entry in found.entries}
        has_bad_defaults = "" in names
        for name in [] if has_bad_defaults else [*self.loop.machines]:
            if name not in names:
                log.info("[ACCOUNTS] %s is no longer in %s", name, self._source.name)
                self.loop.drop(name, who, why or f"no longer in {self._source.who}")
        for entry in found.entries:
            self.loop.want(entry, who, why)
