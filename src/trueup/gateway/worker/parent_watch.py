"""End this process when its parent ends, even during a call that hangs.

The official module holds the interpreter lock while it hangs, so no Python thread could notice that
the parent has ended. The operating system does. On Linux it sends the signal that ends the process
when the parent's end of a pipe is closed. On Windows it calls the function that ends the process.
On other systems the process ends after the call, when it finds its connection closed.
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
        """Have the system kill this process when the parent's end of a pipe is closed.

        The system sends a signal on any event of a watched file (fcntl(2), O_ASYNC). So nothing is
        ever written to this pipe, and the connection for calls is not watched: a signal caused by a
        message may arrive after the message was read, and would end the call that was asked for.

        Args:
            alive: this process's end of the pipe.
        """
        os.set_inheritable(alive, False)
        fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(alive, fcntl.F_GETFL)
        fcntl.fcntl(alive, fcntl.F_SETFL, flags | os.O_ASYNC)
        # The parent may have ended before the pipe was watched, and then no signal comes. Not
        # `select`, which takes no descriptor above 1023: the parent may have many open.
        watch = select.poll()
        watch.register(alive, select.POLLIN)
        if watch.poll(0):
            os.kill(os.getpid(), signal.SIGKILL)

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE = 0x0010_0000
    _INFINITE = 0xFFFF_FFFF
    _EXECUTE_ONLY_ONCE = 0x8

    def end_with_parent(alive: int) -> None:
        """Have Windows end this process with its parent (RegisterWaitForSingleObject)."""
        kernel = ctypes.WinDLL("kernel32")
        kernel.OpenProcess.restype = wintypes.HANDLE
        parent = kernel.OpenProcess(_SYNCHRONIZE, False, os.getppid())
        if parent:
            # Windows passes the exit code and a second argument, which ExitProcess ignores.
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
        """Do nothing: the process notices its closed connection after the call."""
