"""Incidents of processes: killed, hung, started twice, with the wrong symbol or a taken port."""

from __future__ import annotations

import contextlib
import os
import signal
import socketserver
import sys
import threading
from collections.abc import Iterator

from trueup.errors import TrueupError
from trueup.lab.incidents.stage import OTHER_LOG, Stage

NEEDS_POSIX = "Windows has no signal that stops a process where it stands"


def needs_posix() -> str:
    """Return why a process cannot be stopped here, or an empty text."""
    return NEEDS_POSIX if sys.platform == "win32" else ""


@contextlib.contextmanager
def gateway_killed(stage: Stage) -> Iterator[None]:
    """Kill the gateway; at the end, start it again."""
    stage.gateway.kill()
    yield
    stage.start_gateway()
    stage.wait_until_agreed()


@contextlib.contextmanager
def bot_killed(stage: Stage) -> Iterator[None]:
    """Kill the bot; at the end, start it again."""
    stage.bot.kill()
    yield
    stage.start_bot()
    stage.wait_until_agreed()


@contextlib.contextmanager
def bot_hung(stage: Stage) -> Iterator[None]:
    """Stop the bot where it stands, until the end."""
    if sys.platform == "win32":
        raise TrueupError(NEEDS_POSIX)
    os.kill(stage.bot.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stage.bot.pid, signal.SIGCONT)
    stage.wait_until_agreed()


@contextlib.contextmanager
def second_bot(stage: Stage) -> Iterator[None]:
    """Start the bot a second time; it ends by itself."""
    stage.start(OTHER_LOG, "run").wait()
    yield


@contextlib.contextmanager
def wrong_symbol(stage: Stage) -> Iterator[None]:
    """Run another bot with a symbol that the broker does not have."""
    other = stage.start(OTHER_LOG, "run", "--symbol", "EURUSDx", "--magic", "8")
    other.wait_for("[HOLD]")
    yield
    other.end()


@contextlib.contextmanager
def port_taken(stage: Stage) -> Iterator[None]:
    """Kill the gateway, give its port to another program, and start the gateway again."""
    stage.gateway.kill()
    with _Stranger(("127.0.0.1", stage.port), _WebServer) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        stage.start_gateway().wait()
        yield
        other.shutdown()
    stage.start_gateway()
    stage.wait_until_agreed()


class _Stranger(socketserver.ThreadingTCPServer):
    # The gateway has just had the port.
    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True


class _WebServer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Answer as a web server answers a request that it does not understand."""
        with contextlib.suppress(OSError):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
