"""One account among many: a state machine whose steps never wait, and jobs that may wait.

| state | the next step |
| --- | --- |
| WAITING | a job opens the account when the time has come: at once, or after a failure later |
| RUNNING | steps sync and take prices; a job calls the strategy when there is something to tell |
| STOPPED | none until the entry changes: a person stopped it, or it must not trade |
| CLOSED | none: the account left the file |

The thread of the loop takes the steps, and threads of a pool do the jobs. `lock` is held by whoever
uses the account, so that only one thread does at a time.
"""

from __future__ import annotations

import enum
import itertools
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from trueup.core.account.trust import Reason
from trueup.doors.accounts.entry import FILE_WHO, TABLE_WHO, AccountEntry
from trueup.doors.accounts.lateness import Lateness
from trueup.doors.accounts.opened_account import OpenedAccount
from trueup.doors.accounts.right import Right
from trueup.errors import (
    JournalConflict,
    JournalError,
    Refused,
    SettingsError,
    StrategyError,
    TrueupError,
)
from trueup.gateway.client.link import Signals
from trueup.logs import Logger, logger
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.run")

PAUSED_IN_LIST = f"paused in {FILE_WHO}", f"paused in {TABLE_WHO}"
PAUSED_IN_FLEET = "paused in the fleet"
STOPPED_BY_PERSON = "A person stopped it."
SECOND_NS = 1_000_000_000
# A look by the clock at a connection under way, in case that no signal comes.
LOOK_AGAIN_NS = 100_000_000
LOOK_AGAIN_UNWATCHED_NS = 10_000_000
RETRY_FIRST_SEC, RETRY_LONGEST_SEC = 1.0, 60.0
# After a failure each wait is longer by a part of it, another one for each account, up to this
# share: many accounts that fail together do not come back together.
JITTER = 0.25
# The multiples of the golden ratio lie as far apart on a circle as numbers can.
_GOLDEN = (5**0.5 - 1) / 2
# A gateway that is away for longer than this loses its connection until it is asked again.
REST_NS = 2 * SECOND_NS
# For so long after a command of a person, what the command began is carried on.
ATTENDED_NS = 60 * SECOND_NS


class State(enum.Enum):
    """What is done with an account; see the module."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    CLOSED = "closed"


def spread_of(name: str) -> Iterator[float]:
    """Yield numbers from 0 to 1 that are spread evenly over all names, and over each name's own."""
    first = zlib.crc32(name.encode()) / 2**32
    return ((first + number * _GOLDEN) % 1 for number in itertools.count())


class AccountMachine:
    """One account of the file.

    Args:
        entry: its entry.
        clock: the source of time.
        all_late: counts the lateness of all accounts.
    """

    def __init__(
        self,
        entry: AccountEntry,
        clock: Clock,
        all_late: Lateness,
    ) -> None:
        self.entry: AccountEntry = entry
        self.lock: threading.Lock = threading.Lock()
        self.state: State = State.WAITING
        self.trouble: str = ""
        """Why the account does not run, a sentence."""
        self.late: Lateness = Lateness()
        self.opened: OpenedAccount | None = None
        self.on_open: Callable[[AccountMachine], None] = lambda _: None
        self.on_close: Callable[[AccountMachine], None] = lambda _: None
        self.attend: Callable[[], None] | None = None
        """Carries on what a person's commands began; may wait."""
        self.attended_until_ns: int = 0
        self.right: Right | None = None
        """The right to trade the account; None where no other process is a candidate."""
        self.is_new: bool = False
        """Whether it was opened and the loop has not noticed yet."""
        self._clock, self._all_late = clock, all_late
        self._spread = spread_of(entry.name)
        self._retry_ns = 0
        self._failures = 0
        self._jitter_ns = self._jittered_due_ns = 0

    @property
    def name(self) -> str:
        """The name of the entry."""
        return self.entry.name

    @property
    def running(self) -> OpenedAccount:
        """The open account; only in the state RUNNING."""
        assert self.opened is not None
        return self.opened

    # Steps: they never wait.

    def step(self) -> bool:
        """Take a step of a running account; return whether `work` has something to do."""
        return bool(self._safely(self._step))

    def _step(self) -> bool:
        loop, now_ns = self.running.loop, self._clock.age_ns()
        reconciler = loop.reconciler
        due_ns, was_syncing = reconciler.due_age_ns, reconciler.is_syncing
        has_work = loop.look()
        if loop.is_stopped:
            self.state, self.trouble = State.STOPPED, STOPPED_BY_PERSON
            return False
        # A sync before its time was hinted at, and one after a failure was put off on purpose.
        if reconciler.is_syncing and not was_syncing and now_ns >= due_ns and not self._jitter_ns:
            self.late.note(now_ns - due_ns)
            self._all_late.note(now_ns - due_ns)
        if not reconciler.is_syncing and reconciler.due_age_ns != self._jittered_due_ns:
            self._put_off()
        return has_work or self._is_attended(now_ns)

    def _put_off(self) -> None:
        """After a failed sync: put off the next one a little, and close the connection."""
        reconciler = self.running.loop.reconciler
        self._jittered_due_ns, self._jitter_ns = reconciler.due_age_ns, 0
        unknown = reconciler.unknown
        if unknown is not None:
            wait_ns = self._jittered_due_ns - self._clock.age_ns()
            self._jitter_ns = round(max(0, wait_ns) * JITTER * next(self._spread))
            if unknown.reason is Reason.OFFLINE and wait_ns > REST_NS:
                self.running.gateway.rest()

    def signals(self) -> Signals:
        """Return the connections whose news this account waits for; none if that fails."""
        found = self._safely(self.running.gateway.signals)
        return found if isinstance(found, Signals) else Signals()

    def next_ns(self, signals: Signals, *, is_watched: bool) -> int:
        """Return the time of the next step without news (ns, clock for ages)."""
        loop, now_ns = self.running.loop, self._clock.age_ns()
        is_syncing = loop.reconciler.is_syncing
        for signal in (signals.reading if is_syncing else signals.hint, signals.price):
            if signal is not None and signal.has_message:
                return now_ns
        look_again_ns = now_ns + (LOOK_AGAIN_NS if is_watched else LOOK_AGAIN_UNWATCHED_NS)
        # What is under way was due in the past, and its answer is a signal.
        dates = [look_again_ns if is_syncing else loop.reconciler.due_age_ns + self._jitter_ns]
        if loop.awaits_price:
            dates.append(look_again_ns)
        elif loop.price_due_ns is not None:
            dates.append(now_ns + loop.price_due_ns - self._clock.waiting_ns())
        if self._is_attended(now_ns):
            dates.append(now_ns + LOOK_AGAIN_NS)
        return min(dates)

    @property
    def retry_ns(self) -> int:
        """When a waiting account is opened next (ns, clock for ages)."""
        return self._retry_ns

    def _is_attended(self, now_ns: int) -> bool:
        return self.attend is not None and now_ns < self.attended_until_ns

    # Jobs: they may wait, and are done in a thread of their own.

    def open(self) -> None:
        """Open the account and recover; on failure, note the trouble and the time to try again."""
        self._safely(self._open)

    def _open(self) -> None:
        opened = OpenedAccount(self.entry, self._clock, self.right)
        self.opened = opened
        with ExitStack() as undo:
            undo.callback(self._shut)
            self._obey_pause(self.entry.paused_by or self.entry.who, self.entry.paused_why)
            opened.loop.recover()
            self.on_open(self)
            undo.pop_all()
        # The first syncs are spread over the interval, and those after it with them.
        opened.loop.reconciler.sync_within(
            opened.loop.reconciler.sync_interval * next(self._spread)
        )
        self._jittered_due_ns = opened.loop.reconciler.due_age_ns
        self.state, self.trouble, self._failures = State.RUNNING, "", 0
        self.is_new = True

    def work(self) -> None:
        """Call the strategy with what `step` has found, and carry on a person's commands."""
        self._safely(self._work)

    def _work(self) -> None:
        self.running.loop.tell()
        if self.attend is not None and self._is_attended(self._clock.age_ns()):
            self.attend()

    def change_pause(self, entry: AccountEntry, who: str, why: str) -> None:
        """Take an entry that differs in `paused` alone."""
        self.entry = entry
        if self.state is State.RUNNING:
            self._safely(lambda: self._obey_pause(who, why))

    def _obey_pause(self, who: str, why: str) -> None:
        account = self.running.account
        if self.entry.is_paused:
            account.pause(who, why=self.entry.paused_why or why or f"paused in {self.entry.who}")
        # Only what the file, the table or the fleet has paused, they end: not the pause of a person
        # at this account, or of a failure.
        elif account.paused is not None and account.paused.why.startswith(
            (*PAUSED_IN_LIST, PAUSED_IN_FLEET)
        ):
            account.resume(who, why=why or f"no longer paused in {self.entry.who}")

    def close(self, who: str, why: str) -> None:
        """Close the account for good; the journal has who asked for it, if anybody did."""
        if who and self.opened is not None:
            with suppress(JournalError):
                self.opened.account.manager.note_stop(who, why=why)
        self._shut()
        self.state = State.CLOSED

    def end(self) -> None:
        """Close the account, and keep its state and its trouble."""
        self._shut()

    def _shut(self) -> None:
        opened, self.opened, self.attend = self.opened, None, None
        if opened is not None:
            # As when the disk fails: the account is closed all the same.
            try:
                self.on_close(self)
                opened.close()
            except Exception:
                log.exception("[ACCOUNT] Could not be closed in order")

    def _safely(self, call: Callable[[], object]) -> object:
        """Make a call; whatever fails, only this account is affected."""
        try:
            return call()
        except (SettingsError, StrategyError) as error:
            # Nothing but a change of the file or of the strategy heals these.
            self._failed(error, is_lasting=True)
        except (JournalConflict, Refused) as error:
            # At the opening, the other program that has the book may end.
            self._failed(error, is_lasting=self.opened is not None)
        except Exception as error:  # noqa: BLE001 - the other accounts must go on
            self._failed(error, is_lasting=False)
        return None

    def _failed(self, error: Exception, *, is_lasting: bool) -> None:
        known, self.trouble = self.trouble, str(error) or type(error).__name__
        self.state = State.STOPPED if is_lasting else State.WAITING
        self._failures += 1
        wait_sec = min(RETRY_FIRST_SEC * 2 ** min(self._failures - 1, 10), RETRY_LONGEST_SEC)
        wait_sec *= 1 + JITTER * next(self._spread)
        self._retry_ns = self._clock.age_ns() + round(wait_sec * SECOND_NS)
        if self.trouble != known:
            again = "" if is_lasting else " It is tried again, less and less often."
            # Errors of the package say all by their text.
            is_told = isinstance(error, (TrueupError, ValueError))
            log.error(
                "[ACCOUNT] Does not run: %s.%s",
                self.trouble.rstrip("."),
                again,
                exc_info=None if is_told else error,
            )
