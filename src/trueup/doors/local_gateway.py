"""`LocalGateway`: a gateway in the bot's own process, for a terminal on the same machine.

The requests and the replies are those of the wire, so an order in process has the same record, the
same checks and the same proofs as an order through a remote gateway.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

from trueup.core.scope import Scope
from trueup.gateway.client.endpoints import TERMINAL_HERE
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.reading.snapshots import Reading
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.gateway.record.account_files import move_record
from trueup.gateway.record.local_claims import LocalClaims
from trueup.gateway.record.store import RequestStore
from trueup.gateway.terminal.clocks import Clocks
from trueup.gateway.terminal.terminal import Terminal
from trueup.journal.backends.location import is_file, without_user
from trueup.private import make_private_folder
from trueup.runtime.control.state_files import state_folder
from trueup.runtime.time.clock import Clock, SystemClock
from trueup.turns import Turn

# Calls of the terminal end by the worker's own deadlines, so no reply is ever late.
TIMEOUT_MS = 600_000
# A port that is never opened, for parts that need a number.
NO_PORT = 1
_starts = itertools.count()


class LocalLink:
    """A connection to a desk in this process.

    Args:
        answer: returns the reply to a request.
    """

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._request: bytes | None = None

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Keep the request until its reply is asked for."""
        self._request = message

    def receive(self, timeout_ms: int) -> bytes | None:
        """Answer the request; None without a request."""
        request, self._request = self._request, None
        return None if request is None else self._answer(request)

    def reset(self) -> None:
        """Forget a request that was not answered yet."""
        self._request = None

    close = reset


class LocalHints:
    """The hints of a desk in this process: the terminal is looked at when they are asked for.

    Args:
        look: looks at the terminal if a look is due; returns a hint, or None for nothing to say.
    """

    def __init__(self, look: Callable[[], bytes | None]) -> None:
        self._look = look

    def heard(self) -> list[bytes]:
        """Return the hint of a look that is due now."""
        hint = self._look()
        return [] if hint is None else [hint]

    def close(self) -> None:
        """Do nothing: no connection is open."""


class LocalGateway(ExecutionGateway):
    """A gateway and its client in one process.

    Threads may share it: one request is answered at a time. The record of requests is in memory
    until `keep_record`.

    Args:
        terminal: the terminal; calls are made in the thread of the caller.
        claims: the folder of all claims; by default the user's own.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
        clock: the source of time.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        claims: Path | None = None,
        attachments: Callable[[], int] = lambda: 1,
        clock: Clock | None = None,
    ) -> None:
        self._terminal, self._attachments = terminal, attachments
        self._clock: Clock = clock or SystemClock()
        self._turn = Turn()
        # The record is of this program alone, so claims are kept where all programs see them.
        self._local_claims = LocalClaims(self._clock.now_ns, claims)
        # A new name for each gateway, by which a reader knows that it is another one.
        self._boot = f"{os.getpid()}-{self._clock.now_ns():x}-{next(_starts)}"
        self._desk = self._new_desk(None)
        self._watcher = self._desk.watcher(WATCH_MS)
        super().__init__(
            "localhost",
            NO_PORT,
            TIMEOUT_MS,
            link=lambda _: LocalLink(self._handle),
            hints=lambda _: LocalHints(self._watch),
            server_key="",
        )
        # For messages alone: nothing listens anywhere.
        self.url = TERMINAL_HERE

    def another(self) -> ExecutionGateway:
        """Return a second client of the same desk, with the same record."""
        client = super().another()
        client.url = self.url
        return client

    def keep_record(self, file: Path) -> None:
        """Keep the record of requests in a file from now on; call this before the first order.

        Raises:
            StoreRefused: the file is in use by another process, or is not a record.
        """
        make_private_folder(file.parent)
        desk = self._new_desk(file)
        with self._turn:
            self._desk.close()
            self._desk, self._watcher = desk, desk.watcher(WATCH_MS)

    def _new_desk(self, record: Path | None) -> Desk:
        clock = self._clock
        return Desk(
            self._terminal,
            self._boot,
            clock.now_ns,
            clocks=Clocks(clock.now_ns, clock.age_ns, clock.waiting_ns),
            store=RequestStore(record, self._boot, clock.now_ns),
            attachments=self._attachments,
        )

    def hint(self, now_ns: int) -> str:
        """Return why to ask now: something changed at the terminal since the latest reading.

        Each call looks at the terminal if a look is due (`gateway.reading.watcher`).
        """
        with self._reading:
            return self._hints.reason(NO_PORT, self._reader.digest, now_ns)

    def _watch(self) -> bytes | None:
        with self._turn:
            return self._watcher.turn()

    def claim(self, scope: Scope, journal: str = "", token: int = 0) -> None:
        """Claim a scope among the programs of this machine; see `LocalClaims.claim`.

        The token is not needed: the lock of a program that ended is free, and a program that is
        frozen keeps it.
        """
        self._local_claims.claim(scope, journal)

    def release_claim(self) -> None:
        """Give the claim up; a second call does nothing."""
        self._local_claims.release_claim()

    @property
    def claimed(self) -> Scope | None:
        """The scope that is claimed now, or None."""
        return self._local_claims.claimed

    @property
    def latest_reading(self) -> Reading | None:
        """The terminal's own rows behind the latest snapshot, or None before the first."""
        return self._desk.latest_reading

    def _handle(self, message: bytes) -> bytes:
        with self._turn:
            self._desk.tend()
            return self._desk.handle(message)

    def disconnect(self) -> None:
        """Close connections and record, and give the claim up; the terminal is not touched."""
        super().disconnect()
        with self._turn:
            self._desk.close()


def record_file(journal: str | Path, stream: str) -> Path:
    """Return the file of the record of a book's requests.

    Two programs with one journal have a file each. The name has no character that Windows refuses.
    The file of a journal in a database stays the same when user or password change; a file of an
    earlier release, whose name depended on them, is renamed.

    Raises:
        StoreTrouble: the file of an earlier release cannot be renamed.
    """
    if is_file(journal):
        # Beside the journal, so that the two are moved and kept together.
        return Path(f"{journal}.requests") / _record_name(stream, stream)
    folder = state_folder() / "requests"
    file = folder / _record_name(stream, f"{without_user(str(journal))}\n{stream}")
    earlier = folder / _record_name(stream, f"{journal}\n{stream}")
    if earlier.exists() and not file.exists():
        move_record(earlier, file)
    return file


def _record_name(stream: str, hashed: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9@.,_=-]", "_", stream)[:60]
    return f"{readable}-{hashlib.sha256(hashed.encode()).hexdigest()[:8]}.db"
