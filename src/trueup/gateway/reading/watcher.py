"""The watcher: looks for changes at the terminal between requests, and announces them to clients.

A look reads the counts and the account's money, which costs little however much is open. The lists
are read too, because a moved stop changes neither; their duty cycle is at most a tenth of the time.
A change of the counts or the money in between is announced at once, without the lists. The
announcements are hints (`protocol.hints`). While the terminal cannot be read no hint is sent, and
clients notice the silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trueup.gateway.reading.snapshots import Snapshots
from trueup.gateway.terminal.terminal import Terminal
from trueup.protocol.hints import Hint, encode_hint

WATCH_MS = 50
# A hint is sent at least this often, changed or not.
BEAT_MS = 1_000
# Duty cycle: after a read of N ms, wait at least 9 N ms before the next of its kind.
REST = 9
# The index of the account's login in a summary.
LOGIN = 2


class Watcher:
    """Watches one terminal; not thread-safe.

    Args:
        terminal: the terminal to watch.
        snapshots: computes the digest, and may have computed a newer one for a client meanwhile.
        boot: this gateway's name, new at every start.
        now_ns: nanoseconds, by a clock that runs on while the machine sleeps.
        watch_ms: the interval between two looks.
    """

    def __init__(
        self,
        terminal: Terminal,
        snapshots: Snapshots,
        boot: str,
        now_ns: Callable[[], int],
        watch_ms: int = WATCH_MS,
    ) -> None:
        self._terminal, self._snapshots = terminal, snapshots
        self._boot, self._now_ns = boot, now_ns
        self.watch_ms = watch_ms
        self._due_ns = self._lists_due_ns = now_ns()
        self._summary: tuple[Any, ...] | None = None
        self._can_read = True
        # Whether the latest summary differed, and whether the lists were read since then.
        self._has_moved, self._is_read = False, True
        self._sent_digest, self._sent_ns, self._count = "", 0, 0

    @property
    def login(self) -> int:
        """The account at the latest look, 0 if the terminal could not be read."""
        return 0 if self._summary is None else int(self._summary[LOGIN])

    def turn(self, *, is_idle: bool = True) -> bytes | None:
        """Look if a look is due; return a hint if there is something to announce.

        While the terminal is busy with requests, a look may be delayed by up to `BEAT_MS`.
        """
        now_ns = self._now_ns()
        patience_ns = 0 if is_idle else BEAT_MS * 1_000_000
        if now_ns < self._due_ns + patience_ns:
            return None
        digest = self._look(now_ns)
        if digest is None:
            return None
        is_due = now_ns >= self._sent_ns + BEAT_MS * 1_000_000
        if self._has_moved or digest != self._sent_digest or is_due:
            return self._make_hint(digest, now_ns)
        return None

    def _look(self, now_ns: int) -> str | None:
        """Return the digest of the open positions and orders.

        The digest is empty if something changed and the lists have not been read since; None is
        returned if the terminal cannot be read.
        """
        before, self._summary = self._summary, self._read_summary()
        self._due_ns = self._after(now_ns)
        if self._summary is None:
            return None
        self._has_moved = self._summary != before
        began_ns = self._now_ns()
        # The lists have a duty cycle of their own, because they take longer than the summary.
        if began_ns >= self._lists_due_ns:
            self._can_read = self._is_read = bool(self._snapshots.look())
            self._lists_due_ns = self._after(began_ns)
            # The digest at hand is of the time before the change, so it must not be announced.
        elif self._has_moved:
            self._is_read = False
        if not self._is_read:
            return "" if self._can_read else None
        return self._snapshots.digest

    def _read_summary(self) -> tuple[Any, ...] | None:
        terminal = self._terminal
        state, account = terminal.terminal_info(), terminal.account_info()
        counts = (terminal.positions_total(), terminal.orders_total())
        if state is None or account is None:
            return None
        self._snapshots.note(account, state)
        if not state.connected or None in counts:
            return None
        return (*counts, account.login, account.server, account.balance, account.credit)

    def _after(self, began_ns: int) -> int:
        """Return when to look again after a look that began at `began_ns` and ends now."""
        now_ns = self._now_ns()
        return max(began_ns + self.watch_ms * 1_000_000, now_ns + REST * (now_ns - began_ns))

    def _make_hint(self, digest: str, now_ns: int) -> bytes:
        self._sent_digest, self._sent_ns = digest, now_ns
        self._count += 1
        return encode_hint(Hint(self._count, self._boot, digest, BEAT_MS))
