"""A way to a database server that a rehearsal can cut off.

The server is a person's own and stays as it is: the bot reaches it through a port of this process,
which forwards bytes in both directions.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from typing import Any
from urllib.parse import quote

CHUNK_BYTES = 65_536


class Way:
    """A port of this machine that leads to a database server.

    Args:
        url: the `postgresql://` URL of a database.
    """

    def __init__(self, url: str) -> None:
        # The driver of PostgreSQL is an extra, so it is imported with the first URL.
        from psycopg import conninfo

        self._parameters: dict[str, Any] = dict(conninfo.conninfo_to_dict(url))
        self._host = str(self._parameters.get("host") or "localhost")
        self._port = int(self._parameters.get("port") or 5432)
        self._lines: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port: int = 0
        self.open()

    @property
    def url(self) -> str:
        """The URL of the database by this way."""
        named = {**self._parameters, "host": "127.0.0.1", "port": str(self.port)}
        database = quote(str(named.pop("dbname", "")))
        fields = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in named.items())
        return f"postgresql:///{database}?{fields}"

    def open(self) -> None:
        """Take connections, always at the same port."""
        self._listener = listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Cut all connections, and take no new ones."""
        listener, self._listener = self._listener, None
        lines, self._lines = self._lines, []
        for line in ([listener] if listener is not None else []) + lines:
            _shut(line)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = self._connected()
                self._lines += [here, there]
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=_forward, args=(source, target), daemon=True).start()

    def _connected(self) -> socket.socket:
        # A server of this machine may listen on a socket in a folder alone.
        if sys.platform != "win32" and self._host.startswith("/"):
            there = socket.socket(socket.AF_UNIX)
            there.connect(f"{self._host}/.s.PGSQL.{self._port}")
            return there
        return socket.create_connection((self._host, self._port))


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    _shut(source)
    _shut(target)


def _shut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
