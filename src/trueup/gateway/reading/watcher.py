"""Looks at the terminal while nobody asks, and says when something may have changed.

A look is a glance at the counts and the account's money, which costs little whatever is open, and
a reading of the lists, because a moved stop changes neither. The lists are read as often as a tenth
of the time allows; a glance that differs in between is said without them. What the watcher says are
hints (`protocol.hints`). While it cannot look it says nothing, and silence is a hint too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trueup.gateway.reading.snapshots import Snapshots
from trueup.gateway.terminal.terminal import Terminal
from trueup.protocol.hints import Hint, encode_hint

WATCH_MS = 50
# A hint is said again this often, changed or not.
BEAT_MS = 1_000
# For each millisecond that a look takes, so many go by before the next of its kind.
REST = 9
# What of a glance is the account's login.
LOGIN = 2


class Watcher:
    """Watches one terminal; not safe to share between threads.

    Args:
        terminal: what is watched.
        snapshots: makes its digest, and may have made a newer one for a client meanwhile.
        boot: this gateway's own name, new at every start.
        now_ns: nanoseconds that go on while the machine sleeps.
        watch_ms: from one look to the next.
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
        self._glance: tuple[Any, ...] | None = None
        self._can_read = True
        # Whether the latest glance differed, and whether the lists were read since one did.
        self._has_moved, self._is_read = False, True
        self._said, self._said_ns, self._count = "", 0, 0

    @property
    def login(self) -> int:
        """The account at the latest look, 0 where nothing could be seen."""
        return 0 if self._glance is None else int(self._glance[LOGIN])

    def turn(self, *, is_idle: bool = True) -> bytes | None:
        """Look if it is time to, and return a hint if there is something to say.

        Where the terminal is not idle, a look is put off for as long as a hint may take.
        """
        now_ns = self._now_ns()
        patience_ns = 0 if is_idle else BEAT_MS * 1_000_000
        if now_ns < self._due_ns + patience_ns:
            return None
        digest = self._look(now_ns)
        if digest is None:
            return None
        if self._has_moved or digest != self._said or now_ns >= self._said_ns + BEAT_MS * 1_000_000:
            return self._say(digest, now_ns)
        return None

    def _look(self, now_ns: int) -> str | None:
        """Return the digest of what is open now.

        It is empty where something else is open and the lists are not read yet, and None where
        nothing can be seen.
        """
        before, self._glance = self._glance, self._take_glance()
        self._due_ns = self._after(now_ns)
        if self._glance is None:
            return None
        self._has_moved = self._glance != before
        began_ns = self._now_ns()
        if began_ns >= self._lists_due_ns:
            self._can_read = self._is_read = bool(self._snapshots.look())
            self._lists_due_ns = self._after(began_ns)
        elif self._has_moved:
            self._is_read = False
        if not self._is_read:
            return "" if self._can_read else None
        return self._snapshots.digest

    def _take_glance(self) -> tuple[Any, ...] | None:
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
        """Return when to look again after a look that began then and ends now."""
        now_ns = self._now_ns()
        return max(began_ns + self.watch_ms * 1_000_000, now_ns + REST * (now_ns - began_ns))

    def _say(self, digest: str, now_ns: int) -> bytes:
        self._said, self._said_ns = digest, now_ns
        self._count += 1
        return encode_hint(Hint(self._count, self._boot, digest, BEAT_MS))
