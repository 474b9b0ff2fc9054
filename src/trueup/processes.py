"""Other processes of this machine: whether one lives, and which have a file open."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY_LIMITED_INFORMATION = 0x1000
    _STILL_ACTIVE = 259

    def is_alive(pid: int) -> bool:
        """Return whether a process runs."""
        kernel = ctypes.WinDLL("kernel32")
        kernel.OpenProcess.restype = wintypes.HANDLE
        handle = wintypes.HANDLE(kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid))
        if not handle.value:
            return False
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
    """Return the other processes of this user that have a file open; only Linux tells."""
    found: set[int] = set()
    with suppress(OSError):
        wanted = os.stat(path)
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):
                if os.path.samestat(os.stat(link), wanted):
                    found.add(int(link.parts[2]))
    return sorted(found - {os.getpid()})
