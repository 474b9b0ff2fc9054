"""Other processes of this machine: whether one lives, and which have a file open."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

# A process that was forked just now lets go of what it must not have before it does anything else;
# a busy machine may give it no turn for a while.
LOOKS: Final = 50
PAUSE_SEC: Final = 0.02

Taken = TypeVar("Taken")


class Process(NamedTuple):
    """A process, as it is named to others."""

    number: int
    host: str


def this_process() -> Process:
    """Return the process that this is."""
    return Process(os.getpid(), socket.gethostname())


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY_LIMITED_INFORMATION = 0x1000
    _STILL_ACTIVE = 259
    _ACCESS_DENIED = 5

    def is_alive(pid: int) -> bool:
        """Return whether a process runs."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        handle = wintypes.HANDLE(kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid))
        if not handle.value:
            # Somebody else's.
            return ctypes.get_last_error() == _ACCESS_DENIED
        code = wintypes.DWORD()
        found = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return bool(found) and code.value == _STILL_ACTIVE
else:

    def is_alive(pid: int) -> bool:
        """Return whether a process runs; one that has ended and is not waited for does not."""
        if pid <= 0:
            # To a system call these are groups of processes.
            return False
        try:
            os.kill(pid, 0)
        except PermissionError:
            # Somebody else's.
            return True
        except (OSError, OverflowError):
            return False
        return _state(pid) != "Z"

    def _state(pid: int) -> str:
        """Return a process's state as Linux tells it, else nothing."""
        with suppress(OSError):
            return (
                Path(f"/proc/{pid}/stat")
                .read_text("utf-8", "replace")
                .rpartition(")")[2]
                .split()[0]
            )
        return ""


def with_open_file(path: Path) -> list[int]:
    """Return the other processes that have a file open, as far as the system tells: Linux does."""
    if sys.platform == "win32":
        # Under Wine there is a /proc, of Linux, and its numbers are others.
        return []
    pids = [int(one.name) for one in Path("/proc").glob("[0-9]*")]
    return [pid for pid in sorted(pids) if pid != os.getpid() and _has_open(pid, path)]


def _has_open(pid: int, path: Path) -> bool | None:
    """Return whether a process has a file open, or None where that is not told."""
    if sys.platform == "win32":
        return None
    folder = Path(f"/proc/{pid}/fd")
    try:
        wanted, handles = path.stat(), os.listdir(folder)
    except OSError:
        return None
    for handle in handles:
        with suppress(OSError):
            if os.path.samestat(os.stat(folder / handle), wanted):
                return True
    return False


def holds(pid: int, path: Path) -> bool:
    """Return whether a process lives and may hold a locked file.

    Its number may have been given to another process since, which does not have the file open.
    """
    return is_alive(pid) and _has_open(pid, path) is not False


def holder_of(path: Path, noted: int) -> str:
    """Return who holds a locked file now, in words.

    Args:
        path: the file.
        noted: the process that noted itself as the holder, or 0. It may have ended, and one that
            was forked from it may hold the lock still.
    """
    if noted == os.getpid():
        return f"process {noted}, which is this one"
    if noted and holds(noted, path):
        return f"process {noted}"
    heirs = with_open_file(path)
    heir = f"process {heirs[0]}" if heirs else "a process"
    if noted:
        return f"{heir} that process {noted} left behind when it ended"
    return heir if heirs else "whose process it does not say"


def take_when_left(
    take: Callable[[], Taken | None], is_left_behind: Callable[[], bool]
) -> Taken | None:
    """Take what only one process may have; a second at most is waited for one that has ended.

    Args:
        take: takes it, or returns None where somebody has it.
        is_left_behind: whether the one that had it has ended. Then it is a process forked from
            that one, or a server, which has not let go yet.
    """
    pause = threading.Event()
    for _ in range(LOOKS):
        taken = take()
        if taken is not None or not is_left_behind():
            return taken
        pause.wait(PAUSE_SEC)
    return take()
