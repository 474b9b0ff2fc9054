"""The port of a gateway, with room for so many connections.

Every connection costs a file descriptor before it has said who it is. Without a limit a stranger
could take them all: then libzmq fails to accept, and tries again without a pause, and the gateway
can open no file, not even its own record of orders. So connections are counted, and one that comes
when there is no room is hung up on; those that stand notice nothing. A stranger's connections end
with the time that a handshake may take (see `gateway.door`), and then there is room again.

ZeroMQ has no such limit, and no way to end one connection. So the line is cut under it.
"""

from __future__ import annotations

import socket as tcp
import struct
import sys
from typing import Final

import zmq

from trueup.logs import logger

log = logger("trueup.access")

CONNECTIONS_MAX: Final = 1_000
# Requests come on one, hints go out on the other.
PORTS: Final = 2
# Descriptors kept for everything else: records, logs, the terminal's worker, connections that
# are being hung up on.
_OTHER_FILES: Final = 512
_FEWEST: Final = 16
# Told once, and again only after half have ended.
_ROOM: Final = 0.5
_EVENT: Final = struct.Struct("=HI")
_WATCHED: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


if sys.platform == "win32":

    def _open_files(wanted: int) -> int:
        # Sockets and files are counted apart, and by the million.
        return wanted
else:
    import resource

    def _open_files(wanted: int) -> int:
        """Return how many files this process may open, `wanted` where the system lets it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return wanted
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        except (OSError, ValueError):
            return soft
        return more


def connections_max() -> int:
    """Return how many connections each port has room for; asks the system for more files first."""
    wanted = PORTS * CONNECTIONS_MAX + _OTHER_FILES
    return max(_FEWEST, min(CONNECTIONS_MAX, (_open_files(wanted) - _OTHER_FILES) // PORTS))


class Listener:
    """Listens with a socket, for at most `limit` connections at a time.

    Raises:
        zmq.ZMQError: the endpoint cannot be bound.

    Attributes:
        endpoint: where it listens, with the port that it was given for port 0.
        ear: readable when connections came or went, and `turn` is due.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], endpoint: str, limit: int = CONNECTIONS_MAX
    ) -> None:
        self._socket, self._limit = socket, limit
        self._lines: set[int] = set()
        self._is_full = False
        self.ear: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        # What is not read yet must never block ZeroMQ's own thread.
        self.ear.setsockopt(zmq.RCVHWM, 0)
        self.ear.setsockopt(zmq.LINGER, 0)
        address = f"inproc://connections-{socket.FD}"
        socket.monitor(address, _WATCHED)
        self.ear.connect(address)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError:
            self.close()
            raise
        self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def connections(self) -> int:
        """How many there were at the last turn."""
        return len(self._lines)

    def turn(self) -> None:
        """Count the connections, and hang up on those that came when there was no room."""
        for line in self._come_and_gone():
            hang_up(line)
        if len(self._lines) > self._limit:
            if not self._is_full:
                self._is_full = True
                log.warning(
                    "[ACCESS] %d connections: others are hung up on until some end", self._limit
                )
        elif len(self._lines) <= self._limit * _ROOM:
            self._is_full = False

    def hang_up_on_all(self) -> None:
        """End every connection; who may come in connects again by itself."""
        self.turn()
        for line in self._lines:
            hang_up(line)

    def close(self) -> None:
        """Stop counting; the socket is closed by its owner, afterwards."""
        self._socket.monitor(None, 0)
        self.ear.close(0)

    def _come_and_gone(self) -> list[int]:
        """Bring the count up to date; return the newcomers that there is no room for."""
        surplus: dict[int, None] = {}
        try:
            while True:
                event, line = _EVENT.unpack(self.ear.recv_multipart(zmq.NOBLOCK)[0])
                if event == zmq.EVENT_ACCEPTED:
                    self._lines.add(line)
                    if len(self._lines) > self._limit:
                        surplus[line] = None
                else:
                    self._lines.discard(line)
                    surplus.pop(line, None)
        except zmq.Again:
            return list(surplus)


def hang_up(line: int) -> None:
    """Shut a connection down under ZeroMQ, which then closes it as if the peer had gone.

    Were its number another connection's by now, that one would have to connect again, no more.
    """
    try:
        connection = tcp.socket(fileno=line)
    except OSError:
        # It is gone already.
        return
    try:
        connection.shutdown(tcp.SHUT_RDWR)
    except OSError:
        return
    finally:
        # ZeroMQ closes it.
        connection.detach()
