"""Ends a process with its parent, also where it is in a call that hangs.

The official module holds the interpreter's lock while it hangs, so no thread of Python's could
notice that the parent is gone. The operating system does. On Linux it sends the signal that ends
the process when the parent's end of a pipe is closed; on Windows it calls the function that does.
Elsewhere the process ends when the call does, because the next look at the line says so.
"""

from __future__ import annotations

import os
import signal
import sys

PARENT_GONE = 3
"""The exit code on Windows."""


if sys.platform == "linux":
    import fcntl
    import select

    def end_with_parent(alive: int) -> None:
        """End this process from now on when the parent's end of a pipe is closed.

        The system sends a signal when anything happens to a watched file (fcntl(2), O_ASYNC). So
        nothing is ever written to this pipe, and it is not the line on which calls come: the signal
        that belongs to a message can come after the message was read, and would end the call that
        the message asked for.

        Args:
            alive: this process's end of the pipe.
        """
        os.set_inheritable(alive, False)
        fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(alive, fcntl.F_GETFL)
        fcntl.fcntl(alive, fcntl.F_SETFL, flags | os.O_ASYNC)
        # The parent may have ended before the pipe was watched.
        if select.select([alive], [], [], 0)[0]:
            os.kill(os.getpid(), signal.SIGKILL)

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE = 0x0010_0000
    _INFINITE = 0xFFFF_FFFF
    _EXECUTE_ONLY_ONCE = 0x8

    def end_with_parent(alive: int) -> None:
        """End this process from now on with its parent (RegisterWaitForSingleObject of Windows)."""
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

else:

    def end_with_parent(alive: int) -> None:
        """Do nothing: the end of the line is seen after the call."""
