"""Assemble a gateway from its parts; the only place where that happens.

`trueup gateway` runs a `Service` on the real terminal or on a simulated terminal. A part that every
gateway needs is created and closed here; its behaviour is in its own module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from trueup.errors import SettingsError
from trueup.gateway.access.admission import Terms, admission
from trueup.gateway.access.door import Door
from trueup.gateway.client.endpoints import tcp
from trueup.gateway.desk.desk import Desk
from trueup.gateway.reading.watcher import WATCH_MS
from trueup.gateway.record.account_files import AccountRecords
from trueup.gateway.record.recorded_requests import RecordedRequests
from trueup.gateway.record.store import RequestStore
from trueup.gateway.server.front import Front
from trueup.gateway.server.sockets import Server
from trueup.gateway.terminal.clocks import Clocks, one_clock
from trueup.gateway.terminal.terminal import Terminal

LOOPBACK = "127.0.0.1"


class ServiceOptions(msgspec.Struct, frozen=True):
    """The options of a gateway.

    Attributes:
        host: the address to listen on.
        port: the port for requests; 0 takes a free port.
        pace: seconds of the trade server's clock per second of ours; 1 except in a simulation.
        terms: the access options.
        watch_ms: the watcher's interval, 0 for no watcher and no hints.
        hints_port: the port for hints; 0 takes the port after `port`.
        records: the folder of the request records, one per account, and of the account locks. None
            keeps the records in memory, which is enough only if the terminal's positions end with
            the gateway.
        store: one record file for all accounts, instead of one per account.
        login: the only account to serve; None for any.
    """

    host: str = LOOPBACK
    port: int = 0
    pace: float = 1.0
    terms: Terms = Terms()
    watch_ms: int = WATCH_MS
    hints_port: int = 0
    records: Path | None = None
    store: Path | None = None
    login: int | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint for requests."""
        return tcp(self.host, self.port)

    @property
    def hints_endpoint(self) -> str | None:
        """The endpoint for hints, or None without a watcher."""
        if not self.watch_ms:
            return None
        # Firewalls open ports by number, so the hint port must be predictable from the other.
        following = self.port + 1 if 0 < self.port < 65_535 else 0
        return tcp(self.host, self.hints_port or following)


class Service:
    """Serves a terminal to many clients.

    Args:
        terminal: the terminal to serve; initialised, or about to be.
        options: the gateway's options.
        now_ns: nanoseconds of UTC since 1970.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
        clocks: the machine's clocks; by default `now_ns` stands for all of them.

    Raises:
        SettingsError: the address or port cannot be bound, or the access options do not fit it.
        KeysError: a key file or the allow file cannot be used.
        StoreRefused: the record file belongs to another gateway, or is not a record.
    """

    def __init__(
        self,
        terminal: Terminal,
        options: ServiceOptions,
        now_ns: Callable[[], int],
        attachments: Callable[[], int] = lambda: 1,
        *,
        clocks: Clocks | None = None,
    ) -> None:
        clocks = clocks or one_clock(now_ns)
        # Clients detect a restart of the gateway by a change of this name.
        self.boot: str = f"{os.getpid()}-{now_ns():x}"
        door, gate = admission(options.host, options.terms, now_ns, clocks.age_ns)
        store = _open_records(options, self.boot, now_ns)
        self._desk = desk = Desk(
            terminal,
            self.boot,
            now_ns,
            options.pace,
            clocks=clocks,
            store=store,
            attachments=attachments,
        )
        self._front = Front(desk, clocks.age_ns, watch_ms=options.watch_ms, gate=gate)
        # The record is open by now: release it, so that the next attempt can start.
        try:
            self._server = _listen(options, self._front, door)
        except SettingsError:
            desk.close()
            raise

    @property
    def endpoint(self) -> str:
        """The endpoint for requests, with the real port."""
        return self._server.endpoint

    def run(self) -> None:
        """Serve until `stop`.

        Raises:
            StoreRefused: another gateway serves the terminal's account, or its record cannot be
                used.
            DeskEnded: the thread that calls the terminal failed.
        """
        self._front.run(self._server)

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler or another thread."""
        self._front.stop()

    def close(self, read_sec: float = 0) -> None:
        """Stop listening and close the record; the terminal is not touched.

        Args:
            read_sec: how long clients have to read the last replies, in seconds.
        """
        self._server.close(read_sec)
        self._desk.close()


def _open_records(
    options: ServiceOptions, boot: str, now_ns: Callable[[], int]
) -> RecordedRequests:
    if options.records is None:
        return RequestStore(options.store, boot, now_ns)
    return AccountRecords(options.records, boot, now_ns, file=options.store, login=options.login)


def _listen(options: ServiceOptions, front: Front, door: Door) -> Server:
    try:
        return Server(options.endpoint, front.handle, hints=options.hints_endpoint, door=door)
    except OSError as error:
        raise _cannot_listen(options, error) from error


def _cannot_listen(options: ServiceOptions, error: OSError) -> SettingsError:
    if options.port and error.filename == options.hints_endpoint:
        _, _, port = error.filename.rpartition(":")
        valid = f"give a port that is free; by default it is the one after --port: {error.strerror}"
        return SettingsError("--hints-port", port, valid)
    valid = f"give an address of this machine and a port that is free, or 0: {error.strerror}"
    return SettingsError("--port", str(options.port), valid)
