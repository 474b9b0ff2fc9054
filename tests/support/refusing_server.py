"""A server in a process of its own that refuses every connection as PostgreSQL does.

The language of its texts is not ours. With no code it says nothing, and ends the connection.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.support.many_gateways import ChildProcess


class RefusingServer(ChildProcess):
    """The process, for tests; `url` leads to it."""

    def __init__(self, code: str = "", text: str = "") -> None:
        super().__init__(Path(__file__), code, text)
        where = f"trueup@127.0.0.1:{int(self.heard())}/trueup"
        self.url = f"postgresql://{where}?sslmode=disable&gssencmode=disable"


def refusal(code: str, text: str) -> bytes:
    """Return an error as PostgreSQL sends it."""
    fields = [f"SFATAL: {text}", "VFATAL", f"C{code}", f"M{text}"]
    body = b"".join(field.encode() + b"\0" for field in fields) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


def main(code: str, text: str) -> None:
    """Serve until the process is ended."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(1_000)
                if code:
                    client.sendall(refusal(code, text))


if __name__ == "__main__":
    main(*sys.argv[1:])
