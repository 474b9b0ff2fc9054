"""What the scripts beside it share: the right Python, and a gateway of the guide's kind."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import zmq

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("msgspec", "pydantic_settings", "zmq")


def use_project_python() -> None:
    """Go on in the project's `.venv` where this Python lacks what the project needs.

    Ends the process with one sentence where there is no `.venv` either.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console of code page 1252 has no check mark, and is not to end the script for it.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.path.insert(0, str(ROOT / "src"))
    if sys.version_info >= (3, 11) and all(map(importlib.util.find_spec, NEEDED)):
        return
    home = ROOT / ".venv"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file() or Path(sys.prefix).resolve() == home.resolve():
        print("This Python lacks what trueup needs: run `make setup` first.", file=sys.stderr)
        sys.exit(2)
    command = [str(python), *sys.argv]
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


def request_at(rep: zmq.Socket[bytes], timeout_ms: int) -> bytes | None:
    """Return the request that comes at a REP socket within `timeout_ms`, or None.

    A message that is no request, as of a client that looks for another server at this port, makes
    the socket readable, and ZeroMQ drops it only as it is read: to wait there is to wait for ever.
    """
    import zmq

    if rep.poll(timeout_ms):
        with suppress(zmq.Again):
            return rep.recv(zmq.NOBLOCK)
    return None


class GuideGateway:
    """A REP socket on a free loopback port that answers as the guide's gateway does.

    `answer` turns a request into a reply, or None for no reply at all, ever.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        import zmq

        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.port: int = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while not self._ended.is_set():
            message = request_at(self._socket, 20)
            if message is None:
                continue
            request = json.loads(message)
            self.requests.append(request)
            reply = self.answer(request)
            if reply is None:
                return
            self._socket.send(json.dumps(reply).encode())

    def __enter__(self) -> GuideGateway:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()


def row(ticket: int, side: str = "buy", volume: float = 0.01, price: float = 1.0543) -> Any:
    """A position as the guide's wire has it."""
    return {
        "ticket": ticket,
        "symbol": "EURUSD",
        "type": side,
        "volume": volume,
        "price_open": price,
        "profit": 0.0,
        "time": 1_767_571_200,
    }


def listing(*rows: Any) -> dict[str, Any]:
    """A reply to GET_POSITIONS."""
    return {"status": "SUCCESS", "positions": list(rows), "error": None}


def free_port() -> int:
    """A loopback port at which nobody listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
