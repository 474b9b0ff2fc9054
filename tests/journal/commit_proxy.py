"""A server's socket with somebody in between, who can lose a COMMIT or the answer to it."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from pathlib import Path

SOCKET_NAME = ".s.PGSQL.5432"
COMMIT = b"COMMIT"


class Loses(enum.Enum):
    """What is lost when the next COMMIT comes by; the connection is lost with it."""

    NOTHING = enum.auto()
    THE_COMMIT = enum.auto()
    THE_ANSWER = enum.auto()
    # As the answer, but the server keeps the session, as when a network goes away.
    THE_ANSWER_SILENTLY = enum.auto()


class CommitProxy:
    """Forwards bytes between a client's socket in `folder` and the server's in another."""

    def __init__(self, folder: Path, server_folder: Path) -> None:
        self.folder = folder
        self.loses = Loses.NOTHING
        self._server = server_folder / SOCKET_NAME
        # Clients that hung up, of which the server does not know.
        self._silent: list[socket.socket] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET_NAME))
        self._listener.listen()
        self.accepts = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Lose everything."""
        for one in (self._listener, *self._sockets):
            _shut(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.accepts:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._sockets += [client, server]
                for forward in (self._ask, self._answer):
                    threading.Thread(target=forward, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        while chunk := _received(client):
            if COMMIT in chunk and self._loses(Loses.THE_COMMIT):
                break
            _send(server, chunk)
        if client not in self._silent:
            _shut(server)
        _shut(client)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        while chunk := _received(server):
            if COMMIT in chunk and self._loses(Loses.THE_ANSWER):
                _shut(server)
                break
            if COMMIT in chunk and self._loses(Loses.THE_ANSWER_SILENTLY):
                self._silent.append(client)
                break
            _send(client, chunk)
        _shut(client)

    def _loses(self, what: Loses) -> bool:
        """Return whether this is what is to be lost; it is lost once."""
        if self.loses is not what:
            return False
        self.loses = Loses.NOTHING
        return True


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(65_536)
    except OSError:
        return b""


def _send(one: socket.socket, chunk: bytes) -> None:
    with contextlib.suppress(OSError):
        one.sendall(chunk)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
