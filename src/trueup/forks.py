"""Release open resources in a forked process that must belong to its parent alone.

A fork copies every descriptor. A copy of a locked file keeps the lock after its owner ended. A copy
of a connection keeps the connection open. A copy of a database connection damages the owner's
database if it is used or even closed (SQLite, "How To Corrupt An SQLite Database File", section
2.6; PostgreSQL ends the owner's session). So each owner of such a resource adds itself to `HOLDERS`
and releases its copy in the child, before the child does anything else. A later use in the child is
refused with an error that explains this.

On systems without fork (Windows) nothing of this is ever called.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

_DESCRIPTORS: Final = "/dev/fd"

Identity = tuple[int, int]
"""Identifies the file of a descriptor: device number and inode number."""


class Holder(Protocol):
    """An object with a resource that belongs to this process alone."""

    def let_go_in_child(self) -> None:
        """Release the copy of the resource; called in a process that was just forked."""


class Holders:
    """All objects with resources that a forked process must release."""

    def __init__(self) -> None:
        self._all: dict[int, weakref.ref[Holder]] = {}
        self._opening = threading.RLock()
        self.inherited: set[Identity] = set()
        """Database files that were open in a process from which this process was forked.

        SQLite keeps in memory which files its process has locked, and a fork copies that memory:
        the child would take the owner's locks for its own.
        """
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._opening.acquire,
                after_in_parent=self._opening.release,
                after_in_child=self._let_go,
            )

    def add(self, holder: Holder) -> None:
        """Have `holder` release its resource in every process that is forked from now on."""
        number = id(holder)
        self._all[number] = weakref.ref(holder, lambda _: self._all.pop(number, None))

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Prevent other threads from forking while a resource is being opened or closed, when no
        holder has it."""
        with self._opening:
            yield

    def _let_go(self) -> None:
        self._opening.release()
        copies, self._all = self._all, {}
        for copy in copies.values():
            holder = copy()
            if holder is not None:
                holder.let_go_in_child()


HOLDERS: Final = Holders()


def never_finalise(*things: object) -> None:
    """Keep objects alive until this process ends, because they must be neither used nor closed."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def cut_handle(handle: int) -> None:
    """Replace a descriptor of this process by one to the null device; the owner's stays open.

    Raises:
        OSError: `handle` is not an open descriptor.
    """
    _cut(lambda candidate, _: candidate == handle)


def cut_files(identities: Iterable[Identity]) -> None:
    """Replace this process's descriptors of some files by descriptors to the null device."""
    wanted = set(identities)
    _cut(lambda _, found: (found.st_dev, found.st_ino) in wanted)


def cut_connections(*, to: Iterable[tuple[str, int]] = (), at_ports: Iterable[int] = ()) -> None:
    """Replace this process's descriptors of some TCP connections and listening ports.

    The owner's connections stay open: a copy is closed, and nothing is shut down.

    Args:
        to: hosts and ports of the other end; a host name matches any host with that port.
        at_ports: ports of this end.
    """
    ends = {(host if _is_address(host) else "", port) for host, port in to}
    own_ports = set(at_ports)

    def matches(handle: int, found: os.stat_result) -> bool:
        if not stat.S_ISSOCK(found.st_mode):
            return False
        # Ask the socket itself: the descriptor alone does not tell its addresses.
        (_, own_port), (host, port) = _ends(handle)
        return own_port in own_ports or (host, port) in ends or ("", port) in ends

    _cut(matches)


def _ends(handle: int) -> list[tuple[str, int]]:
    """Return host and port of both ends of a TCP socket; "" and 0 for an unknown end."""
    ends = [("", 0), ("", 0)]
    with suppress(OSError), socket.socket(fileno=os.dup(handle)) as copy:
        if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
            ends[0] = copy.getsockname()[:2]
            ends[1] = copy.getpeername()[:2]
    return ends


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _cut(matches: Callable[[int, os.stat_result], bool]) -> None:
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR)
        for handle in map(int, os.listdir(_DESCRIPTORS)):
            with suppress(OSError):
                if handle != nothing and matches(handle, os.fstat(handle)):
                    # Replace the descriptor instead of closing it: its number would be given to the
                    # next file, and the owner's code would then use that file as its own.
                    os.dup2(nothing, handle, inheritable=False)
        os.close(nothing)
