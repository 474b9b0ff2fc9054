"""Ends a process with its parent, also where it is in a call that hangs.

The official module holds the interpreter's lock while it hangs, so no thread of Python's could
notice that the parent is gone. The operating system does. On Linux it sends the signal that ends
the process when the line to the parent ends; on Windows it calls the function that does. Elsewhere
the process ends when the call does, because the next look at the line says so.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trueup.gateway.module_process import Line

PARENT_GONE = 3
"""The exit code on Windows."""


if sys.platform == "linux":
    import fcntl

    class ParentWatch:
        """Watches the line to the parent, on which nothing comes during `call_under_way`.

        A signal is sent whenever something comes on the line or it ends (fcntl(2), O_ASYNC).
        """

        def __init__(self, line: Line) -> None:
            self._handle, self._parent = line.fileno(), os.getppid()
            fcntl.fcntl(self._handle, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(self._handle, fcntl.F_SETSIG, signal.SIGKILL)
            self._flags = fcntl.fcntl(self._handle, fcntl.F_GETFL)

        @contextmanager
        def call_under_way(self) -> Iterator[None]:
            """Let a block end with the parent."""
            fcntl.fcntl(self._handle, fcntl.F_SETFL, self._flags | os.O_ASYNC)
            if os.getppid() != self._parent:
                # It ended before the line was watched.
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                yield
            finally:
                fcntl.fcntl(self._handle, fcntl.F_SETFL, self._flags)

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE = 0x0010_0000
    _INFINITE = 0xFFFF_FFFF
    _EXECUTE_ONLY_ONCE = 0x8

    class ParentWatch:
        """Watches the parent itself, from now on (RegisterWaitForSingleObject of Windows)."""

        def __init__(self, line: Line) -> None:
            kernel = ctypes.WinDLL("kernel32")
            kernel.OpenProcess.restype = wintypes.HANDLE
            parent = kernel.OpenProcess(_SYNCHRONIZE, False, os.getppid())
            if parent:
                # Called with the exit code, and with one argument more that it does not look at.
                ends = ctypes.cast(kernel.ExitProcess, ctypes.c_void_p)
                kernel.RegisterWaitForSingleObject(
                    ctypes.byref(wintypes.HANDLE()),
                    wintypes.HANDLE(parent),
                    ends,
                    ctypes.c_void_p(PARENT_GONE),
                    _INFINITE,
                    _EXECUTE_ONLY_ONCE,
                )

        @contextmanager
        def call_under_way(self) -> Iterator[None]:
            """Let a block end with the parent."""
            yield

else:

    class ParentWatch:
        """Watches nothing: the end of the line is seen after the call."""

        def __init__(self, line: Line) -> None:
            pass

        @contextmanager
        def call_under_way(self) -> Iterator[None]:
            """Do nothing more than the block."""
            yield
