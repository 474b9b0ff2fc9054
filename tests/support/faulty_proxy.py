"""A TCP proxy that fails on purpose, between real processes.

It moves bytes and knows nothing of what they mean but one thing: where in the stream a pattern
comes. A fault can be armed there, so that it strikes in the middle of an order and not around it.
"""

from __future__ import annotations

import contextlib
import enum
import selectors
import socket
import struct
import threading

from tests.support.servers import DEADLINE_SEC, Threaded

TURN_SEC = 0.001
PIECE = 65_536
# Linger for no time: closing sends RST, and throws away what was not sent.
RST_ON_CLOSE = struct.pack("ii", 1, 0)


class NetFault(enum.Enum):
    """What befalls a connection."""

    CUT = "closed in good order, at both ends"
    RESET = "reset, at both ends"
    STALL = "nothing moves, and nobody is told; what was sent arrives when it is healed"
    DRIP = "one byte at a time"
    HALF_OPEN_CLIENT = "gone at the server's end, and the client is not told"
    HALF_OPEN_SERVER = "gone at the client's end, and the server is not told"


class When(enum.Enum):
    """Where a fault strikes that is armed."""

    REQUEST = "the request has come, and does not get on"
    REPLY = "the request was served, and its reply does not get on"


class _Pair:
    """A client's connection and ours to the server. An end that is None is gone."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client: socket.socket | None = client
        self.server: socket.socket | None = server
        self.to_server, self.to_client = bytearray(), bytearray()
        self.tail = self.server_tail = b""
        self.is_stalled = self.is_dripping = False
        self.trap: tuple[bytes, NetFault] | None = None


class FaultyProxy(Threaded):
    """Passes `port` on to `target_port`, as well as it is told to.

    `struck` counts the faults that met a connection.
    """

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        super().__init__()
        self.struck = 0
        self._target_port, self._host = target_port, host
        self._listener = socket.create_server((host, 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._armed: tuple[bytes, When, NetFault] | None = None
        self._is_shut = False

    # What a test says.

    def arm(self, pattern: bytes, when: When, fault: NetFault) -> None:
        """Let a fault strike once, where the clients' bytes next have a pattern.

        The reply to it is known by the same pattern.
        """
        with self._lock:
            self._armed = pattern, when, fault

    def strike(self, fault: NetFault) -> None:
        """Let a fault strike all connections now."""
        with self._lock:
            for pair in list(self._pairs):
                self._befall(pair, fault)

    def shut(self) -> None:
        """Let nobody in any more, and end all connections."""
        self.strike(NetFault.CUT)
        with self._lock:
            self._is_shut = True

    def heal(self) -> None:
        """End all faults. What is gone stays gone; what stood still moves on."""
        with self._lock:
            self._armed, self._is_shut = None, False
            for pair in list(self._pairs):
                pair.is_stalled = pair.is_dripping = False
                pair.trap = None
                # Before anybody's end is noticed: what was sent before it arrives.
                self._write(pair)

    # How it goes about it.

    def _run(self) -> None:
        self._ready.set()
        try:
            while not self._stop.is_set():
                self._turn()
        finally:
            self._listener.close()
            for pair in list(self._pairs):
                self._befall(pair, NetFault.CUT)

    def _turn(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            with self._lock:
                for pair in self._pairs:
                    for end in (pair.client, pair.server):
                        if end is not None and not pair.is_stalled:
                            ready.register(end, selectors.EVENT_READ, pair)
            waiting = [pair for pair in self._pairs if pair.to_server or pair.to_client]
            # Drops follow each other without a pause, so that a slow machine is in time, too.
            drips = any(pair.is_dripping and not pair.is_stalled for pair in waiting)
            found = ready.select(0 if drips else TURN_SEC if waiting else 5 * TURN_SEC)
        with self._lock:
            for key, _ in found:
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() >= 0:
                    self._read(key.data, key.fileobj)
            for pair in list(self._pairs):
                self._write(pair)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            if self._is_shut:
                client.close()
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port), DEADLINE_SEC)
            except OSError:
                client.close()
                return
            client.setblocking(False)
            server.setblocking(False)
            self._pairs.append(_Pair(client, server))

    def _read(self, pair: _Pair, end: socket.socket) -> None:
        try:
            piece = end.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._befall(pair, NetFault.CUT)
        elif end is pair.client:
            self._from_client(pair, piece)
        elif end is pair.server:
            self._from_server(pair, piece)

    def _from_client(self, pair: _Pair, piece: bytes) -> None:
        seen = pair.tail + piece
        armed = self._armed
        if armed is not None and armed[0] in seen:
            self._armed = None
            if armed[1] is When.REPLY:
                pair.trap = armed[0], armed[2]
            else:
                self._befall(pair, armed[2])
        pair.tail = seen[-64:]
        pair.to_server += piece

    def _from_server(self, pair: _Pair, piece: bytes) -> None:
        pair.to_client += piece
        seen = pair.server_tail + piece
        pair.server_tail = seen[-64:]
        if pair.trap is not None and pair.trap[0] in seen:
            (_, fault), pair.trap = pair.trap, None
            self._befall(pair, fault)

    def _befall(self, pair: _Pair, fault: NetFault) -> None:
        self.struck += 1
        match fault:
            case NetFault.CUT:
                self._end(pair)
            case NetFault.RESET:
                self._end(pair, abruptly=True)
            case NetFault.STALL:
                pair.is_stalled = True
            case NetFault.DRIP:
                pair.is_dripping = True
            case NetFault.HALF_OPEN_CLIENT:
                _close(pair.server)
                pair.server = None
                pair.to_server.clear()
                pair.to_client.clear()
            case NetFault.HALF_OPEN_SERVER:
                _close(pair.client)
                pair.client = None
                pair.to_client.clear()

    def _end(self, pair: _Pair, *, abruptly: bool = False) -> None:
        _close(pair.client, abruptly=abruptly)
        _close(pair.server, abruptly=abruptly)
        pair.client = pair.server = None
        if pair in self._pairs:
            self._pairs.remove(pair)

    def _write(self, pair: _Pair) -> None:
        if pair.is_stalled:
            return
        for end, waiting in ((pair.server, pair.to_server), (pair.client, pair.to_client)):
            if end is None:
                waiting.clear()
                continue
            count = 1 if pair.is_dripping else len(waiting)
            try:
                del waiting[: end.send(waiting[:count])]
            except BlockingIOError:
                continue
            except OSError:
                self._end(pair)
                return


def _close(end: socket.socket | None, *, abruptly: bool = False) -> None:
    if end is None:
        return
    with contextlib.suppress(OSError):
        if abruptly:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        end.close()
