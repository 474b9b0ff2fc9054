"""What a process lets be done to it: its clock is set, its disk fails, its machine loses power.

A start script of the tests calls `allow_hurts` before anything else. What happens then is up to
whoever started it, by files in the folder that `CRASH_HURTS` names, and by a signal:

* `NAME.clock` holds the seconds by which the wall clock of this process is off. It may be changed
  at any time; the machine's own clock stays as it is.
* `NAME.durable` is kept by this process: for each SQLite file, how much of its write-ahead log
  SQLite has acknowledged with `synchronous=FULL`. Whatever lies behind that is gone with the power.
* After `SYNC_FAILS`, each `fsync` and `fdatasync` of this process fails with EIO, by a filter of
  the kernel's; it stays so until the process ends.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trueup import sqlite_file
from trueup.runtime.time.clock import AgeClock, SystemClock
from trueup.runtime.time.machine_time import uptime_ns

VARIABLE = "CRASH_HURTS"
SYNC_FAILS = getattr(signal, "SIGUSR1", None)
# Linux, `asm/unistd.h`: seccomp, fsync, fdatasync; and AUDIT_ARCH of `linux/audit.h`.
_CALLS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}

HEADER, _FRAME_HEADER = 32, 24
_NOTE = struct.Struct("<8sQ")


def can_fail_syncs() -> bool:
    """Whether this system can make a process's syncs fail."""
    return sys.platform == "linux" and platform.machine() in _CALLS


def allow_hurts(name: str) -> None:
    """Let this process be hurt, under its name, where the environment says so."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return
    NotedConnection.folder = Path(folder)
    sqlite_file.OwnedConnection = NotedConnection  # type: ignore[misc]
    ShiftedClock.file = Path(folder) / f"{name}.clock"
    if can_fail_syncs():
        fail = _syncs_failer()
        signal.signal(SYNC_FAILS, lambda *_: fail())  # type: ignore[arg-type]


class ShiftedClock(SystemClock):
    """The machine's clocks, with the wall clock off by what a file says."""

    file: Path | None = None

    def __init__(self) -> None:
        self.age_ns = AgeClock(uptime_ns, self.now_ns).now_ns

    def now_ns(self) -> int:
        """Return the date by a wall clock that somebody has set."""
        return time.time_ns() + self._off_ns()

    def _off_ns(self) -> int:
        try:
            return int(float(self.file.read_text("ascii")) * 1e9) if self.file else 0
        except (OSError, ValueError):
            # Never set, or being set.
            return 0


class NotedConnection(sqlite_file.OwnedConnection):
    """A connection that notes how much of its log is acknowledged, where power may be lost."""

    folder: Path
    _is_synced = False
    _log: Path | None = None
    _note: mmap.mmap | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement; at its end, everything outside of a transaction is acknowledged."""
        cursor = super().execute(sql, parameters)
        if sql.startswith("PRAGMA synchronous="):
            self._is_synced = sql.endswith(("FULL", "EXTRA"))
        elif self._is_synced and not self.in_transaction and not sql.startswith("SELECT"):
            self._acknowledge()
        return cursor

    def _acknowledge(self) -> None:
        if self._note is None:
            (_, _, place) = super().execute("PRAGMA database_list").fetchone()
            if not place:
                return
            self._log = Path(f"{place}-wal")
            self._note = _mapped(note_of(self.folder, Path(place)))
        salt, end = _NOTE.unpack(self._note[: _NOTE.size])
        assert self._log is not None
        self._note[: _NOTE.size] = _NOTE.pack(*committed(self._log, salt, end))


def note_of(folder: Path, database: Path) -> Path:
    """Return where a process notes what of a database is acknowledged."""
    return folder / f"{database.name}.durable"


def acknowledged(note: Path) -> tuple[bytes, int]:
    """Return the generation of the log that a note is about, and where its last commit ends.

    Without a note nothing was ever acknowledged.
    """
    if not note.exists():
        return b"", 0
    salt, end = _NOTE.unpack(note.read_bytes()[: _NOTE.size])
    return salt, end


def committed(log: Path, salt: bytes = b"", end: int = 0) -> tuple[bytes, int]:
    """Return the generation of a write-ahead log, and where the last commit in it ends (bytes).

    What an earlier look found is gone on from. The format is that of "WAL-mode File Format"
    (SQLite documentation). A commit that failed may count as one; so too little is lost, and
    never what was acknowledged.
    """
    try:
        with log.open("rb") as file:
            header = file.read(HEADER)
            if len(header) < HEADER:
                return b"", 0
            if header[16:24] != salt:
                salt, end = header[16:24], HEADER
            for commit_end in _commits(file, int.from_bytes(header[8:12], "big"), salt, end):
                end = commit_end
    except OSError:
        return b"", 0
    return salt, end


def _commits(file: Any, page: int, salt: bytes, begin: int) -> Iterator[int]:
    at = begin
    while True:
        file.seek(at)
        frame = file.read(_FRAME_HEADER)
        if len(frame) < _FRAME_HEADER or frame[8:16] != salt:
            return
        at += _FRAME_HEADER + page
        if frame[4:8] != bytes(4):
            yield at


def _mapped(path: Path) -> mmap.mmap:
    """A file in memory: it is written although the disk is full, and outlives a kill."""
    if not path.exists():
        path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), mmap.PAGESIZE)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def _syncs_failer() -> Any:
    """Return what makes every sync of this process fail from then on (man 2 seccomp)."""
    seccomp, *syncs = _CALLS[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    step = struct.Struct("HBBI").pack
    # Load the number of the call; a sync is answered with EIO, everything else goes through.
    program = step(0x20, 0, 0, 0)
    program += step(0x15, 1, 0, syncs[0]) + step(0x15, 0, 1, syncs[1])
    program += step(0x06, 0, 0, 0x0005_0000 | errno.EIO) + step(0x06, 0, 0, 0x7FFF_0000)
    steps = ctypes.create_string_buffer(program)
    rules = _Filter(len(program) // 8, ctypes.addressof(steps))

    def fail() -> None:
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which the kernel refuses
        # SECCOMP_SET_MODE_FILTER, for all threads.
        done = libc.syscall(seccomp, 1, 1, ctypes.byref(rules))
        _ = steps
        if done != 0:
            raise OSError(ctypes.get_errno(), "seccomp")

    return fail
