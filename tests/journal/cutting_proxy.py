"""A server's socket with somebody in between, who cuts a connection after so many bytes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from pathlib import Path

from tests.journal.commit_proxy import SOCKET_NAME

TURN_SEC = 0.05


class CuttingProxy:
    """Forwards bytes between a client's socket in `folder` and the server's in another.

    `cut_after(bytes, silently=...)` cuts the connection that stands, and the next one after so many
    bytes of both directions; silently, the server does not hear of it and keeps the session.
    """

    def __init__(self, folder: Path, server_folder: Path) -> None:
        self.folder = folder
        self._server = server_folder / SOCKET_NAME
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET_NAME))
        self._listener.listen()
        self._lock = threading.Lock()
        # How many bytes may still pass, None for any number; and how many have.
        self._left: int | None = None
        self._silently = False
        self.passed = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        # The server's ends of connections that were cut silently.
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int, *, silently: bool) -> None:
        """Cut what stands now, and what comes next after so many bytes."""
        with self._lock:
            self._left, self._silently = count, silently
            self.passed = 0
            pairs, self._pairs = self._pairs, []
            for pair in pairs:
                self._cut(*pair)

    def pass_everything(self) -> None:
        """Cut nothing more."""
        with self._lock:
            self._left = None

    def let_the_server_know(self) -> None:
        """Tell the server of what was cut silently."""
        with self._lock:
            for kept in self._kept:
                kept.close()
            self._kept.clear()

    def close(self) -> None:
        """Lose everything."""
        self.let_the_server_know()
        self._listener.close()
        self.cut_after(0, silently=False)

    def _cut(self, client: socket.socket, server: socket.socket) -> None:
        _shut(client)
        if self._silently:
            self._kept.append(server)
        else:
            _shut(server)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                with self._lock:
                    self._pairs.append((client, server))
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while self._turn(client, server):
                pass

    def _turn(self, client: socket.socket, server: socket.socket) -> bool:
        """Forward what is there; return False where the connection has ended."""
        ready, _, _ = select.select((client, server), (), (), TURN_SEC)
        for source in ready:
            chunk = source.recv(65_536)
            with self._lock:
                if (client, server) not in self._pairs:
                    return False
                allowed = len(chunk) if self._left is None else min(len(chunk), self._left)
                if chunk[:allowed]:
                    (server if source is client else client).sendall(chunk[:allowed])
                self.passed += allowed
                if self._left is not None:
                    self._left -= allowed
                if not chunk or allowed < len(chunk):
                    self._pairs.remove((client, server))
                    self._left = None if chunk else self._left
                    self._end(client, server, was_cut=bool(chunk))
                    return False
        return True

    def _end(self, client: socket.socket, server: socket.socket, *, was_cut: bool) -> None:
        if was_cut:
            self._cut(client, server)
        else:
            _shut(client)
            _shut(server)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
