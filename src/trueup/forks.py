"""What a process has open, and a process that is forked from it must not have.

A fork copies every descriptor. A copy of a locked file keeps the lock when its owner has ended, a
copy of a connection keeps the connection, and a copy of a database connection that is used or even
closed damages the owner's database (SQLite, "How To Corrupt An SQLite Database File", section 2.6;
PostgreSQL ends the owner's session). So whoever has such a thing adds itself to `HOLDERS`, and lets
go of it in the child, which happens before the child does anything else. Whatever the child then
wants of it is refused by name.

Where there is no fork (Windows) nothing of this is ever called.
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
"""Which file a descriptor is of: its device and its number there."""


class Holder(Protocol):
    """Something that is open in this process alone."""

    def let_go_in_child(self) -> None:
        """Let go of a copy of what is open; called in a process that was just forked."""


class Holders:
    """All that is open in this process and must not be in one that is forked from it."""

    def __init__(self) -> None:
        self._all: dict[int, weakref.ref[Holder]] = {}
        self._opening = threading.RLock()
        self.inherited: set[Identity] = set()
        """Database files that were open in a process from which this one was forked.

        SQLite keeps in memory which of a process's files it has locked, and a fork copies that:
        it would take the owner's locks for its own.
        """
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._opening.acquire,
                after_in_parent=self._opening.release,
                after_in_child=self._let_go,
            )

    def add(self, holder: Holder) -> None:
        """Have a holder let go in every process that is forked from now on."""
        number = id(holder)
        self._all[number] = weakref.ref(holder, lambda _: self._all.pop(number, None))

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Let no other thread fork in a block, in which something is open that no holder has: it is
        being opened, or closed."""
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
    """Keep things as they are until this process ends: they must be neither used nor closed."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def cut_handle(handle: int) -> None:
    """Let go of this process's copy of one descriptor, and leave nothing to write to in its place.

    Raises:
        OSError: it is none.
    """
    _cut(lambda one, _: one == handle)


def cut_files(identities: Iterable[Identity]) -> None:
    """Let go of this process's copies of files, and leave nothing to write to in their place."""
    wanted = set(identities)
    _cut(lambda _, found: (found.st_dev, found.st_ino) in wanted)


def cut_connections(*, to: Iterable[tuple[str, int]] = (), at_ports: Iterable[int] = ()) -> None:
    """Let go of this process's copies of some TCP connections and of some ports to listen on.

    The other process's connections stand: a copy is closed, and nothing is shut down.

    Args:
        to: hosts and ports at the other end; a host that is a name is any with that port.
        at_ports: the ports at this end.
    """
    ends = {(host if _is_address(host) else "", port) for host, port in to}
    own_ports = set(at_ports)

    def is_one(handle: int, found: os.stat_result) -> bool:
        if not stat.S_ISSOCK(found.st_mode):
            return False
        (_, own_port), (host, port) = _ends(handle)
        return own_port in own_ports or (host, port) in ends or ("", port) in ends

    _cut(is_one)


def _ends(handle: int) -> list[tuple[str, int]]:
    """Return host and port of both ends of a TCP socket; what there is not is empty and 0."""
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


def _cut(is_one: Callable[[int, os.stat_result], bool]) -> None:
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR)
        for handle in map(int, os.listdir(_DESCRIPTORS)):
            with suppress(OSError):
                if handle != nothing and is_one(handle, os.fstat(handle)):
                    # Not closed: its number would be given to the next file that is opened here,
                    # which the owner's code would then take for its own.
                    os.dup2(nothing, handle, inheritable=False)
        os.close(nothing)
