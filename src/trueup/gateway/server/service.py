"""A terminal, served: where the parts of a gateway are put together, and nowhere else.

`trueup gateway` runs one of these on the real terminal or on a simulated one. A part that every
gateway should have is made and closed here; what it does is in its own module.
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
    """How a terminal is served.

    `host` is the address to listen on; `port` 0 takes a free one; `pace` is seconds of the trade
    server's clock in one of ours, 1 but in a simulation; `terms` say who may use it. Every
    `watch_ms` it looks for what its clients should know at once, 0 for never; its hints are on
    `hints_port`, 0 for the port after `port`. `records` is the folder of the records of requests,
    one for each account, and of the locks on accounts; None keeps them in memory, which is enough
    only where a terminal's positions live no longer than its gateway. `store` is one file for all
    accounts instead. `login` is the only account served, None for any.
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
        """Where requests come."""
        return tcp(self.host, self.port)

    @property
    def hints_endpoint(self) -> str | None:
        """Where hints go out."""
        if not self.watch_ms:
            return None
        # A firewall opens ports by their number, so this one follows from the other.
        following = self.port + 1 if 0 < self.port < 65_535 else 0
        return tcp(self.host, self.hints_port or following)


class Service:
    """Serves a terminal to many clients.

    Args:
        terminal: what is served; initialised, or about to be.
        options: where and how.
        now_ns: nanoseconds of UTC since 1970.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
        clocks: the machine's clocks; by default `now_ns` is all of them.

    Raises:
        SettingsError: the address or the port cannot be listened on, or not on these terms.
        KeysError: a file of keys cannot be used.
        StoreRefused: the record's file is another gateway's, or no record.
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
        # A client tells a restart of the gateway by this name.
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
        try:
            self._server = _listen(options, self._front, door)
        except SettingsError:
            desk.close()
            raise

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return self._server.endpoint

    def run(self) -> None:
        """Serve until `stop`.

        Raises:
            StoreRefused: another gateway serves the terminal's account, or has its record.
            DeskEnded: the thread that asks the terminal broke.
        """
        self._front.run(self._server)

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler or another thread."""
        self._front.stop()

    def close(self) -> None:
        """Stop listening, and let go of the record; the terminal is left as it is."""
        self._server.close()
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
        valid = (
            f"give a port that is free; by default it is the one after --port ({error.strerror})"
        )
        return SettingsError("--hints-port", port, valid)
    valid = f"give an address of this machine and a port that is free, or 0 ({error.strerror})"
    return SettingsError("--port", str(options.port), valid)
