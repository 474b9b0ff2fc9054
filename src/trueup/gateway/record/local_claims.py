"""Claims of programs on one machine that use a terminal without a gateway between them.

All programs of a user share a folder for each account. A claim is a file in it that its holder
keeps locked; the operating system frees the lock when the process ends, however it ends. A program
that claims locks the folder for a moment, reads the claims whose files are locked, and writes
its own if none of them overlaps. So two overlapping claims are never granted, and a killed program
excludes nobody.

A claim that is changed gets a new file, and the old file goes after that: whatever fails in
between, the program holds one of the two.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from trueup.core.claims import WriterClaim, account_of, claimable, why_taken
from trueup.core.scope import EVERY_SYMBOL, Scope
from trueup.errors import ClaimRefused, NotSent, reason
from trueup.filelock import LockableFile, is_locked
from trueup.forks import HOLDERS
from trueup.gateway.record.account_files import data_folder, name_of
from trueup.private import make_private_folder
from trueup.processes import holds, take_when_left, this_process

# A program has the folder locked for milliseconds, so this wait ends unless that program is paused.
LOOKS: Final = 1_000
PAUSE_SEC: Final = 0.005
# The claim in a file that cannot be read: its holder lives, and may act on any position.
_UNREADABLE: Final = WriterClaim(Scope("?", "?", symbols=(EVERY_SYMBOL,)))
_decode: Final = msgspec.json.Decoder(WriterClaim).decode


class LocalClaims:
    """What this program claims of an account on this machine; thread-safe.

    An object holds one claim at a time. A process that is forked from this one holds none.

    Args:
        now_ns: nanoseconds of UTC since 1970.
        folder: the folder of all claims; by default the user's own.
    """

    def __init__(self, now_ns: Callable[[], int], folder: Path | None = None) -> None:
        self._now_ns = now_ns
        self._folder = data_folder() / "claims" if folder is None else folder
        self._lock = threading.Lock()
        self._held: _ClaimFile | None = None
        HOLDERS.add(self)

    @property
    def claimed(self) -> Scope | None:
        """The scope that is claimed now, or None."""
        held = self._held
        return None if held is None else held.claim.scope

    def claim(self, scope: Scope, journal: str = "") -> None:
        """Claim a scope of an account, in place of what this object has claimed so far.

        Args:
            scope: magic numbers and symbols (see `core.claims.claimable`), with the names of the
                writer; `account` is login@server. Process and host are those of this process.
            journal: the id of the writer's journal.

        Raises:
            ClaimRefused: another program claimed a part of the scope; the claim so far stays.
            NotSent: the claim could not be written; the claim so far stays.
            ValueError: the scope is not valid.
        """
        process = this_process()
        scope = msgspec.structs.replace(claimable(scope), process=process.number, host=process.host)
        folder = self._folder / name_of(*account_of(scope))
        with self._lock:
            before = self._held
            is_same = before is not None and before.claim.scope.account == scope.account
            since_ns = before.claim.since_ns if before is not None and is_same else self._now_ns()
            wanted = WriterClaim(scope, journal, since_ns)
            try:
                make_private_folder(folder)
                self._held = self._taken(folder, wanted)
            except OSError as error:
                raise NotSent(
                    f"Nothing was claimed: {folder} cannot be used ({reason(error)})."
                ) from error

    def release_claim(self) -> None:
        """Give the claim up; a second call does nothing."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                held.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release_claim()

    def let_go_in_child(self) -> None:
        """Hold nothing in a forked process: the claim stays the parent's."""
        held, self._held, self._lock = self._held, None, threading.Lock()
        if held is not None:
            # The copy of the file: open, it would keep the lock after the parent has ended.
            held.release()

    def _taken(self, folder: Path, wanted: WriterClaim) -> _ClaimFile:
        in_the_way: list[tuple[Path, WriterClaim]] = []

        def take() -> _ClaimFile | None:
            with _alone(folder):
                in_the_way[:] = self._overlapping(folder, wanted.scope)
                return None if in_the_way else self._written(folder, wanted)

        def are_left_behind() -> bool:
            # The claim of a process that has ended is still locked for a moment, where another
            # process was just forked from it.
            return not any(_lives(path, claim) for path, claim in in_the_way)

        taken = take_when_left(take, are_left_behind)
        if taken is None:
            why = why_taken(wanted.scope, (claim for _, claim in in_the_way))
            raise ClaimRefused(f"Nothing was claimed in account {wanted.scope.account}: {why}.")
        return taken

    def _overlapping(self, folder: Path, wanted: Scope) -> list[tuple[Path, WriterClaim]]:
        """Return the claims of others that overlap; remove the files of those that have ended."""
        found = []
        own = None if self._held is None else self._held.path
        for path in sorted(folder.glob("*.claim")):
            if path == own:
                continue
            if not is_locked(path):
                # Left behind by a killed process. Windows may refuse for a moment: the next claim
                # removes the file.
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            claim = _read(path)
            if why_taken(wanted, [claim]):
                found.append((path, claim))
        return found

    def _written(self, folder: Path, wanted: WriterClaim) -> _ClaimFile:
        numbers = [int(path.stem) for path in folder.glob("*.claim") if path.stem.isdecimal()]
        path = folder / f"{max(numbers, default=0) + 1}.claim"
        written = _ClaimFile(path, wanted)
        if self._held is not None:
            self._held.remove()
        return written


class _ClaimFile(LockableFile):
    """The locked file of one claim."""

    def __init__(self, path: Path, claim: WriterClaim) -> None:
        self.path, self.claim = path, claim
        super().__init__(path)
        with contextlib.ExitStack() as undo:
            undo.callback(self.remove)
            self.lock()
            assert self._handle is not None
            # On Windows to lock moves the place where the file is written.
            os.lseek(self._handle, 0, os.SEEK_SET)
            data = msgspec.json.encode(claim)
            if os.write(self._handle, data) != len(data):
                raise OSError("the disk is full")
            undo.pop_all()

    def remove(self) -> None:
        """Release the lock, and remove the file."""
        self.release()
        # Without its lock the file is no claim, so a file that cannot be removed does no harm.
        with contextlib.suppress(OSError):
            self.path.unlink()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep the other programs of an account from claiming meanwhile."""
    lock, pause = LockableFile(folder / "claims.lock"), threading.Event()
    try:
        for _ in range(LOOKS):
            with contextlib.suppress(BlockingIOError):
                lock.lock()
                break
            pause.wait(PAUSE_SEC)
        else:
            raise NotSent(
                f"Nothing was claimed: another program has had {folder} locked for "
                f"{LOOKS * PAUSE_SEC:g} seconds; see whether one of the account's programs is "
                "paused."
            )
        yield
    finally:
        lock.release()


def _read(path: Path) -> WriterClaim:
    """Return the claim in a file that is locked."""
    try:
        claim = _decode(path.read_bytes())
        return msgspec.structs.replace(claim, scope=claimable(claim.scope))
    except (OSError, ValueError, RecursionError):
        # Decoding errors are ValueErrors; a file that is nested too deeply is the last.
        return _UNREADABLE


def _lives(path: Path, claim: WriterClaim) -> bool:
    return not claim.scope.process or holds(claim.scope.process, path)
