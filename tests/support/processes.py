"""What tests do to processes: end them without asking, stop them, look at them; on every system."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""For `os.kill`: on Windows every signal ends a process, with its number as the exit status."""

# `KILLED_ITSELF` and `KILLED` are the exit status of a process that `os.kill` has ended, and
# `Popen.kill`.
if sys.platform == "win32":
    import ctypes

    KILLED_ITSELF = int(KILL)
    KILLED = 1

    _SYNCHRONIZE, _SUSPEND_RESUME, _STILL_RUNS = 0x0010_0000, 0x0800, 0x102

    @contextmanager
    def _opened(pid: int, rights: int) -> Iterator[int]:
        kernel = ctypes.WinDLL("kernel32")
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(rights, False, pid) or 0
        try:
            yield handle
        finally:
            kernel.CloseHandle(ctypes.c_void_p(handle))

    def is_running(pid: int) -> bool:
        """Whether a process runs."""
        with _opened(pid, _SYNCHRONIZE) as handle:
            waited = ctypes.WinDLL("kernel32").WaitForSingleObject(ctypes.c_void_p(handle), 0)
            return bool(handle) and waited == _STILL_RUNS

    @contextmanager
    def stopped(pid: int) -> Iterator[None]:
        """Stop a process where it stands, until the block ends."""
        native = ctypes.WinDLL("ntdll")
        with _opened(pid, _SUSPEND_RESUME) as handle:
            assert native.NtSuspendProcess(ctypes.c_void_p(handle)) == 0
            try:
                yield
            finally:
                native.NtResumeProcess(ctypes.c_void_p(handle))
else:
    KILLED_ITSELF = KILLED = -int(KILL)

    def is_running(pid: int) -> bool:
        """Whether a process runs; one that has ended and that nobody waited for does not."""
        stat = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            return not stat.exists() or stat.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    @contextmanager
    def stopped(pid: int) -> Iterator[None]:
        """Stop a process where it stands, until the block ends."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            # It may have been killed meanwhile.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
