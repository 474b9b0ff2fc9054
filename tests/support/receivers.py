"""Receivers of messages for tests: an HTTP server and an SMTP server, each in a thread."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.smtp import SMTP


class Received:
    """What a receiver got, and what it does with a request."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        """Each with `title`, `message` and `type`, as Apprise sends them."""
        self.fetched: list[str] = []
        """The paths that were fetched."""
        self.status = 200
        self.before_answer: Callable[[], None] = lambda: None
        """Is called when a message is here and not answered yet."""
        self.url = ""
        """The address for TRUEUP_ALERTS_TO."""
        self.address = ""
        """The address for a browser."""

    def with_words(self, words: str) -> list[dict[str, str]]:
        """Return the messages that have some words."""
        return [one for one in self.messages if words in one["message"]]


@contextmanager
def http_receiver() -> Iterator[Received]:
    """Run an HTTP server that takes messages, and notes what is fetched."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            message: dict[str, Any] = json.loads(self.rfile.read(length))
            if received.status == 200:
                received.messages.append(message)
            received.before_answer()
            self._answer()

        def do_GET(self) -> None:
            received.fetched.append(self.path)
            self._answer()

        def _answer(self) -> None:
            self.send_response(received.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"json://127.0.0.1:{server.server_port}/hook-4f1d"
    received.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


@contextmanager
def smtp_receiver() -> Iterator[Received]:
    """Run an SMTP server that takes mails."""
    received = Received()

    class Handler:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
            body = mail.get_body(("plain",))
            assert body is not None
            received.messages.append(
                {"title": str(mail["Subject"]), "message": body.get_content(), "type": ""}
            )
            return "250 OK"

    loop = asyncio.new_event_loop()
    connections: list[SMTP] = []

    def connected() -> SMTP:
        connections.append(SMTP(Handler(), loop=loop))
        return connections[-1]

    async def ended() -> None:
        """Close the connections: a client that has just gone may not be noticed yet."""
        # What was accepted just now becomes a connection first, and what is closed is lost later.
        await _some_rounds()
        server.close()
        for one in connections:
            if one.transport is not None:
                one.transport.close()
        await _some_rounds()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = loop.run_until_complete(loop.create_server(connected, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    received.url = f"mailto://localhost:{port}/?from=bot@a.example&to=me@b.example&mode=insecure"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        asyncio.run_coroutine_threadsafe(ended(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def _some_rounds() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
