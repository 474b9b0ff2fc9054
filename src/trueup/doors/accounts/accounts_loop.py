"""The loop of many accounts: one thread that never waits for an account, and threads for jobs.

News come first: an answer, a hint or a price of any account. Then the accounts that are due, in the
order of their due times. What may wait, such as an order of a strategy or the opening of an
account, is a job of a pool: an account has a thread only while something of it waits. So a gateway
that hangs keeps a thread of a pool, and delays nobody.
"""

from __future__ import annotations

import gc
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from trueup.doors.accounts.entry import AccountEntry
from trueup.doors.accounts.lateness import Lateness
from trueup.doors.accounts.machine import SECOND_NS, AccountMachine, State
from trueup.doors.accounts.wakeups import Wakeups
from trueup.logs import about_account
from trueup.runtime.time.clock import Clock

# So many accounts are opened at the same time.
OPENING_MOST = 32
# More jobs than accounts are never under way; threads are made as they are needed.
WORKING_MOST = 10_000
# So many due accounts are taken before the next look at news.
DUE_AT_ONCE = 32
# The longest wait of the loop, and so of its caller's own work.
REST_SEC = 0.5
# The heap of due times has at most so many times the entries that count.
STALE_MOST = 8
# How often the caller's own work is done.
TURN_NS = 450_000_000
# An account that a command uses just now is tried again so soon.
TAKEN_NS = 20_000_000


class AccountsLoop:
    """Runs the accounts of a process.

    One thread calls `run`, `want` and `drop`; `wake` and `stop` may be called from any thread.

    Args:
        clock: the source of time.
        prepare: called with each new account, such as to let a second shell reach it.
    """

    def __init__(
        self, clock: Clock, prepare: Callable[[AccountMachine], None] = lambda _: None
    ) -> None:
        self.machines: dict[str, AccountMachine] = {}
        """The accounts by name."""
        self.late: Lateness = Lateness()
        """How late the syncs of all accounts began."""
        self._clock, self._prepare = clock, prepare
        self._wakeups: Wakeups[AccountMachine] = Wakeups()
        self._due: list[tuple[int, int, AccountMachine]] = []
        self._numbers = itertools.count()
        self._scheduled: dict[AccountMachine, int] = {}
        self._busy: set[AccountMachine] = set()
        # By name: what the account is to become, and who wants it, with the reason.
        self._wanted: dict[str, tuple[AccountEntry | None, str, str]] = {}
        self._done: deque[AccountMachine] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        self._opening = ThreadPoolExecutor(OPENING_MOST, "open")
        self._working = ThreadPoolExecutor(WORKING_MOST, "account")
        self._is_stopped = self._has_opened = False

    # What the accounts are to be.

    def want(self, entry: AccountEntry, who: str, why: str = "") -> None:
        """Run an account by this entry: a new one, or in place of its earlier entry."""
        machine = self.machines.get(entry.name)
        if machine is None:
            self._add(entry)
            return
        # A change may wait for a job of the account: the last word counts, also to stay as it is.
        is_changing = entry.name in self._wanted
        if is_changing or machine.entry != entry or machine.state is State.CLOSED:
            self._change(machine, entry, who, why)

    def drop(self, name: str, who: str, why: str) -> None:
        """Close an account."""
        self._change(self.machines[name], None, who, why)

    def drop_all(self, who: str, why: str) -> None:
        """Close all accounts, and end `run`."""
        for name in list(self.machines):
            self.drop(name, who, why)
        self.stop()

    def _add(self, entry: AccountEntry) -> None:
        machine = AccountMachine(entry, self._clock, self.late)
        self._prepare(machine)
        self.machines[entry.name] = machine
        self._submit(machine, machine.open)

    def _change(
        self, machine: AccountMachine, entry: AccountEntry | None, who: str, why: str
    ) -> None:
        self._wanted[machine.name] = entry, who, why
        if machine not in self._busy:
            self._go_on(machine)

    # The loop.

    def run(self, turn: Callable[[], object]) -> None:
        """Run until `stop`, then close all accounts.

        Args:
            turn: called about twice a second; must not wait.
        """
        turn_ns = 0
        while not self._is_stopped:
            self._round(REST_SEC)
            now_ns = self._clock.age_ns()
            if now_ns >= turn_ns:
                turn_ns = now_ns + TURN_NS
                self._leave_to_rest()
                turn()
        self._close_all()

    def _leave_to_rest(self) -> None:
        """Take what opened accounts consist of out of the searches for garbage.

        The objects of an account live as long as it does. A search through those of a thousand
        accounts takes longer than a hundred syncs, and finds nothing.
        """
        if self._has_opened and not any(one.state is State.WAITING for one in self._busy):
            self._has_opened = False
            gc.collect()
            gc.freeze()

    def stop(self) -> None:
        """End `run`; may be called from a signal handler."""
        self._is_stopped = True
        self._wakeups.wake()

    @property
    def is_stopped(self) -> bool:
        """Whether `run` ends."""
        return self._is_stopped

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have the thread of the loop make a call."""
        self._calls.append(call)
        self._wakeups.wake()

    def do(self, job: Callable[[], object]) -> None:
        """Do a job of no account in a thread of the pool."""
        self._opening.submit(job)

    def step_soon(self, machine: AccountMachine) -> None:
        """Have an account take a step at once; from any thread."""
        self.call_soon(partial(self._visit, machine))

    def _round(self, longest_sec: float) -> None:
        wait_sec = longest_sec
        if self._due:
            wait_sec = min(wait_sec, (self._due[0][0] - self._clock.age_ns()) / SECOND_NS)
        for machine in self._wakeups.wait(wait_sec):
            self._visit(machine)
        while self._calls:
            self._calls.popleft()()
        while self._done:
            machine = self._done.popleft()
            self._busy.discard(machine)
            self._has_opened = self._has_opened or machine.is_new
            machine.is_new = False
            self._go_on(machine)
        for _ in range(DUE_AT_ONCE):
            if not self._due or self._due[0][0] > self._clock.age_ns():
                return
            due_ns, _, machine = heapq.heappop(self._due)
            if self._scheduled.get(machine) == due_ns:
                del self._scheduled[machine]
                self._visit(machine)

    def _visit(self, machine: AccountMachine) -> None:
        """Let an account take its next step."""
        if machine in self._busy or self.machines.get(machine.name) is not machine:
            return
        if machine.state is State.WAITING:
            self._submit(machine, machine.open)
            return
        if machine.state is not State.RUNNING:
            return
        if not machine.lock.acquire(blocking=False):
            self._schedule(machine, self._clock.age_ns() + TAKEN_NS)
            return
        try:
            with about_account(machine.name):
                has_work = machine.step()
        finally:
            machine.lock.release()
        if has_work:
            self._submit(machine, machine.work)
        else:
            self._go_on(machine)

    def _go_on(self, machine: AccountMachine) -> None:
        """After a step or a job: do what is wanted, or wait for news and for the next due time."""
        if machine.name in self._wanted:
            self._become(machine)
        elif machine.state is State.CLOSED:
            self._forget(machine)
        elif machine.state is State.RUNNING:
            self._wait_for_news(machine)
        else:
            self._wakeups.forget(machine)
            if machine.opened is not None:
                self._submit(machine, machine.end)
            elif machine.state is State.WAITING:
                self._schedule(machine, machine.retry_ns)

    def _wait_for_news(self, machine: AccountMachine) -> None:
        with about_account(machine.name):
            signals = machine.signals()
        if machine.state is not State.RUNNING:
            # As when there is no room for a socket to hear hints with.
            self._go_on(machine)
            return
        is_watched = self._wakeups.watch(machine, signals)
        self._schedule(machine, machine.next_ns(signals, is_watched=is_watched))

    def _become(self, machine: AccountMachine) -> None:
        entry, who, why = self._wanted[machine.name]
        self._wakeups.forget(machine)
        if machine.state is State.CLOSED:
            del self._wanted[machine.name]
            self._forget(machine)
            if entry is not None:
                self._add(entry)
        elif entry is not None and _differs_in_pause(machine.entry, entry):
            del self._wanted[machine.name]
            self._submit(machine, partial(machine.change_pause, entry, who, why))
        else:
            self._submit(machine, partial(machine.close, who, why))

    def _forget(self, machine: AccountMachine) -> None:
        self._wakeups.forget(machine)
        self._scheduled.pop(machine, None)
        if self.machines.get(machine.name) is machine:
            del self.machines[machine.name]

    def _schedule(self, machine: AccountMachine, due_ns: int) -> None:
        if self._scheduled.get(machine) != due_ns:
            self._scheduled[machine] = due_ns
            if len(self._due) > STALE_MOST * (len(self._scheduled) + 1):
                # News come before their due time, and leave it behind in the heap.
                known = self._scheduled
                self._due = [one for one in self._due if known.get(one[2]) == one[0]]
                heapq.heapify(self._due)
            heapq.heappush(self._due, (due_ns, next(self._numbers), machine))

    def _submit(self, machine: AccountMachine, job: Callable[[], object]) -> None:
        self._busy.add(machine)
        # News are left unread during a job, so they would wake the loop again and again.
        self._wakeups.forget(machine)
        self._scheduled.pop(machine, None)
        pool = self._opening if job == machine.open else self._working
        pool.submit(self._do, machine, job)

    def _do(self, machine: AccountMachine, job: Callable[[], object]) -> None:
        try:
            with machine.lock, about_account(machine.name):
                job()
        finally:
            self._done.append(machine)
            self._wakeups.wake()

    def _close_all(self) -> None:
        """End all accounts at the same time; wait for the replies under way."""
        for name in list(self.machines):
            # What a person has ended by name is ended in that name.
            if name not in self._wanted or self._wanted[name][0] is not None:
                self.drop(name, "", "")
        while self.machines:
            self._round(REST_SEC)
        self._opening.shutdown()
        self._working.shutdown()
        self._wakeups.close()

    def counts(self) -> dict[State, int]:
        """Return how many accounts are in each state."""
        found = dict.fromkeys(State, 0)
        for machine in self.machines.values():
            found[machine.state] += 1
        return found


def _differs_in_pause(entry: AccountEntry, other: AccountEntry) -> bool:
    pause = {name: getattr(other, name) for name in ("is_paused", "paused_by", "paused_why")}
    return msgspec.structs.replace(entry, **pause) == other
