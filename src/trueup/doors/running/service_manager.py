"""Tell systemd that the bot is ready, alive, or stopping (the protocol of `sd_notify`).

The service manager gives a datagram socket in NOTIFY_SOCKET, and with `WatchdogSec=` the longest
pause between two signs of life in WATCHDOG_USEC. Without them, nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from trueup.runtime.time.clock import Clock

# systemd recommends half of the time after which it ends a silent service.
_SIGNS_PER_DEADLINE = 2


class ServiceManager:
    """The service manager that started this process, if any.

    Args:
        clock: the source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Windows has no such sockets, and no systemd.
        is_possible = sys.platform != "win32"
        self._address = os.environ.get("NOTIFY_SOCKET", "") if is_possible else ""
        deadline_us = os.environ.get("WATCHDOG_USEC", "")
        every_ns = int(deadline_us) * 1_000 // _SIGNS_PER_DEADLINE if deadline_us.isdigit() else 0
        self._every_ns = every_ns
        self._due_ns = 0
        self._is_ready = False
        self._status = ""

    def turn(self, status: str) -> None:
        """Tell that the bot is ready and alive, and its status as one sentence."""
        if not self._address:
            return
        if not self._is_ready:
            self._is_ready = self._tell("READY=1")
        if status != self._status and self._tell(f"STATUS={' '.join(status.split())}"):
            self._status = status
        now_ns = self._clock.waiting_ns()
        if self._every_ns and now_ns >= self._due_ns:
            self._due_ns = now_ns + self._every_ns
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the bot ends."""
        if self._address:
            self._tell("STOPPING=1")

    def _tell(self, line: str) -> bool:
        """Send a line; return whether it was sent. A service manager that is away stops no bot."""
        if sys.platform != "win32":
            # A name that begins with @ is in the abstract namespace of Linux.
            address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
            with contextlib.suppress(OSError):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    sender.sendto(line.encode(), address)
                return True
        return False
