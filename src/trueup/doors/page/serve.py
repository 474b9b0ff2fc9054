"""Serve the page: a process of its own, which ends at Ctrl-C also while streams are open."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

import uvicorn

from trueup.doors.listening import LOOPBACK, address_of, listening_at
from trueup.doors.page.app import Page
from trueup.doors.page.later import Screens
from trueup.doors.page.patience import MOST_CONNECTIONS, MOST_HEAD_BYTES, Patient
from trueup.doors.page.people import People
from trueup.doors.page.samples import Samples
from trueup.doors.watch import Place, Watch
from trueup.errors import SettingsError


class Door(NamedTuple):
    """Where the page listens, and how it is protected on the way.

    `certificate` and `certificate_key` are PEM files for HTTPS, empty for plain HTTP.
    `behind_proxy` says that a reverse proxy in front of the page speaks HTTPS.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    certificate: str = ""
    certificate_key: str = ""
    behind_proxy: bool = False

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the page by HTTPS."""
        return bool(self.certificate) or self.behind_proxy


# uvicorn logs a traceback for each response that it cancels at its end.
_UVICORN = logging.getLogger("uvicorn.error")


class _Server(uvicorn.Server):
    """A server that ends in order at Ctrl-C, while streams are open or a screen is being made."""

    def __init__(self, config: uvicorn.Config, page: Page) -> None:
        super().__init__(config)
        self._page = page

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then what else is open."""
        self._page.end_streams()
        _UVICORN.disabled = True
        await super().shutdown(sockets)


def serve(door: Door, people: People, place: Place, opened: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C or a request to end.

    Args:
        door: where the page listens.
        people: who may see the page.
        place: the journal to read if no bot runs.
        opened: is told the address, once the page can be reached.

    Raises:
        SettingsError: the address cannot be used, or is reachable by others without HTTPS.
    """
    if door.host not in LOOPBACK and not door.is_secure:
        raise SettingsError(
            "--host",
            door.host,
            "others could read the tokens on the way: give --tls-cert and --tls-key, or "
            "--behind-proxy if a reverse proxy speaks HTTPS",
        )
    _check_certificate(door)
    listening = listening_at(door.host, door.port, "the page")
    samples = Samples()
    watch = Watch(place, samples.note)
    screens = Screens(place, samples, watch)
    page = Page(watch, people, is_secure=door.is_secure)
    config = uvicorn.Config(
        page.application(screens.by_path, screens.live),
        loop="asyncio",
        http=Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # A reader who does not read would keep the process for ever.
        timeout_graceful_shutdown=1,
        # `Patient` ends the silent ones before; this holds when all connections are busy.
        limit_concurrency=MOST_CONNECTIONS + 1,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        ssl_certfile=door.certificate or None,
        ssl_keyfile=door.certificate_key or None,
        server_header=False,
        proxy_headers=False,
    )
    scheme = "https" if door.certificate else "http"
    watch.start()
    opened(f"{scheme}://{address_of(door.host, listening)}")
    try:
        _Server(config, page).run(sockets=[listening])
    finally:
        _UVICORN.disabled = False
        watch.stop()
        listening.close()


def _check_certificate(door: Door) -> None:
    """Try the certificate before anything listens.

    Raises:
        SettingsError: the certificate or its key cannot be used.
    """
    if not door.certificate:
        return
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key with a passphrase would ask for it at the terminal.
        made.load_cert_chain(door.certificate, door.certificate_key, _no_passphrase)
    except (OSError, ValueError) as error:
        valid = f"give PEM files of a certificate and its key, without a passphrase: {error}"
        raise SettingsError("--tls-cert", door.certificate, valid) from error


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
