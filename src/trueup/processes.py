"""Inspect other processes on this machine: whether they run, and which files they have open."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

# A process that was just forked releases copied resources first of all, but on a busy machine it
# may not run for a while. So wait up to a second, in steps of 20 ms.
LOOKS: Final = 50
PAUSE_SEC: Final = 0.02

Taken = TypeVar("Taken")


class Process(NamedTuple):
    """A process, as named in messages."""

    number: int
    host: str


def this_process() -> Process:
    """Return the current process."""
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
            # Access is denied if the process belongs to another user.
            return ctypes.get_last_error() == _ACCESS_DENIED
        code = wintypes.DWORD()
        found = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return bool(found) and code.value == _STILL_ACTIVE
else:

    def is_alive(pid: int) -> bool:
        """Return whether a process runs; a zombie, which has ended but is not reaped, does not."""
        if pid <= 0:
            # System calls take 0 and negative numbers for process groups.
            return False
        try:
            os.kill(pid, 0)
        except PermissionError:
            # The process belongs to another user.
            return True
        except (OSError, OverflowError):
            return False
        return _state(pid) != "Z"

    def _state(pid: int) -> str:
        """Return a process's state letter on Linux, an empty text elsewhere."""
        with suppress(OSError):
            return (
                Path(f"/proc/{pid}/stat")
                .read_text("utf-8", "replace")
                .rpartition(")")[2]
                .split()[0]
            )
        return ""


def with_open_file(path: Path) -> list[int]:
    """Return the other processes that have a file open; only Linux tells."""
    if sys.platform == "win32":
        # Under Wine there is a /proc, but with the process numbers of Linux.
        return []
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in sorted(pids) if pid != os.getpid() and _has_open(pid, path)]


def _has_open(pid: int, path: Path) -> bool | None:
    """Return whether a process has a file open, or None if that cannot be known."""
    if sys.platform == "win32":
        return None
    folder = Path(f"/proc/{pid}/fd")
    # Processes of other users cannot be inspected, which says nothing about the file.
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
    """Return whether a process runs and may hold a locked file.

    The number may have been given to another process since, which does not have the file open.
    """
    return is_alive(pid) and _has_open(pid, path) is not False


def holder_of(path: Path, noted: int) -> str:
    """Return the holder of a locked file, as text for people.

    Args:
        path: the file.
        noted: the process id in the file, or 0. That process may have ended, while a process forked
            from it still has the lock.
    """
    if noted == os.getpid():
        return f"process {noted}, which is this one"
    if noted and holds(noted, path):
        return f"process {noted}"
    # The noted process has ended, so a process that was forked from it has the lock.
    heirs = with_open_file(path)
    heir = f"process {heirs[0]}" if heirs else "a process"
    if noted:
        return f"{heir} that process {noted} left behind when it ended"
    return heir if heirs else "an unknown process"


def take_when_left(
    take: Callable[[], Taken | None], is_left_behind: Callable[[], bool], looks: int = LOOKS
) -> Taken | None:
    """Acquire an exclusive resource; if its holder has ended, wait up to a second for its release.

    Args:
        take: acquires the resource, or returns None if another process has it.
        is_left_behind: whether the recorded holder has ended. Then a process forked from it, or a
            server, has not released the resource yet.
        looks: how often to try, 20 ms apart.
    """
    pause = threading.Event()
    # Wait only for an ended holder: a running holder will not release the resource soon.
    for _ in range(looks):
        taken = take()
        if taken is not None or not is_left_behind():
            return taken
        pause.wait(PAUSE_SEC)
    return take()
