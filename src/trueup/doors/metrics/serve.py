"""Serve the metrics and the health: a process of its own, which goes on when no bot does."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from trueup.doors.listening import address_of, listening_at
from trueup.doors.metrics.asked import log
from trueup.doors.metrics.facts import Facts
from trueup.doors.metrics.health import NoSuchBook
from trueup.doors.watch import Place

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# A reader that sends or takes nothing for so long is left alone.
READER_SEC = 10.0
PROBES = ("/healthz", "/livez", "/readyz")
PLAIN, JSON = "text/plain; charset=utf-8", "application/json"


def serve(host: str, port: int, place: Place, opened: Callable[[str], None]) -> None:
    """Serve until the process is asked to end.

    Args:
        host: the address of this machine to listen at.
        port: the port; 0 takes a free one.
        place: the journal to read if no bot runs.
        opened: is told the address, once the metrics can be reached.

    Raises:
        SettingsError: the address cannot be used.
    """
    listening = listening_at(host, port, "the metrics")
    server = _Server(listening, application(Facts(place)))
    opened(f"http://{address_of(host, listening)}")
    try:
        server.serve_forever()
    finally:
        server.server_close()


def application(facts: Facts) -> WSGIApplication:
    """Return what answers the requests of Prometheus and of supervisors."""
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(facts)
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start)
        if path in PROBES:
            code, media_type, body = _probed(facts, path, environ["QUERY_STRING"])
        else:
            known = ", ".join(("/metrics", *PROBES))
            code, media_type = HTTPStatus.NOT_FOUND, PLAIN
            body = f"Nothing is here; there are {known}.\n".encode()
        headers = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start(f"{code.value} {code.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return answer


def _probed(facts: Facts, path: str, query: str) -> tuple[HTTPStatus, str, bytes]:
    asked = parse_qs(query)
    journal, book = (asked.get(name, [""])[-1] for name in ("journal", "book"))
    try:
        ok, text = facts.health(path, (journal, book))
    except NoSuchBook as error:
        return HTTPStatus.NOT_FOUND, PLAIN, f"{error}\n".encode()
    return HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, JSON, text


class _Server(ThreadingMixIn, WSGIServer):
    """The standard library's server, on a socket that listens, with a thread for each request."""

    daemon_threads = True
    # A reader that hangs would keep the process.
    block_on_close = False

    def __init__(self, listening: socket.socket, answer: WSGIApplication) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = host, port
        self.setup_environ()
        self.set_app(answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong in one line; that a reader left is no news."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("[METRICS] An answer failed: %r", error, extra={"event": "metrics.mistake"})


class _Handler(WSGIRequestHandler):
    timeout = READER_SEC
    server_version, sys_version = "trueup", ""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write no line for each request."""
