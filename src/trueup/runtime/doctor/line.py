"""Check the connection to the gateway: name resolution, port, key."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec

from trueup.errors import NotSent, TrueupError
from trueup.gateway.access.admission import is_loopback
from trueup.gateway.access.keys import LinkKeys, link_keys
from trueup.gateway.client.endpoints import bare, tcp
from trueup.gateway.client.greeting import NOTHING, greet
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.observe.doctor_text import DoctorRow, Mark, not_asked, ok, sick, warn
from trueup.protocol import guide
from trueup.runtime.time.clock import Clock

CHECKS = ("resolvable", "port open", "key accepted")
BLIND = "the bot can neither open nor close; stops at the broker work"
START = "start the gateway{} (`trueup gateway`; for the simulated terminal `trueup terminal`)"


class Target(msgspec.Struct, frozen=True):
    """The gateway to check: its address, the source of the address, and our keys.

    `said_by` names the source for users; `server_key` and `key_file` are as in the settings.
    """

    host: str
    port: int
    timeout_ms: int
    said_by: str
    server_key: str = ""
    key_file: str = ""

    @property
    def url(self) -> str:
        """The endpoint in ZeroMQ's form."""
        return tcp(self.host, self.port)


class Line:
    """Connect to a gateway step by step.

    After `rows`, `link` is a connection, or None if no connection is possible.
    """

    def __init__(self, target: Target, clock: Clock) -> None:
        self._target, self._clock = target, clock
        self.link: ZmqLink | None = None

    def rows(self) -> Iterator[DoctorRow]:
        """Yield a row for each step, up to the first step that fails."""
        steps = (self._resolve, self._open, self._show_key)
        for number, step in enumerate(steps):
            row = step()
            yield row
            if row.mark is Mark.SICK:
                for check in CHECKS[number + 1 :]:
                    yield not_asked(check, "not asked")
                return

    def _resolve(self) -> DoctorRow:
        host = bare(self._target.host)
        # A wrong name and a closed port have different remedies, so they are separate rows.
        try:
            found = socket.getaddrinfo(host, self._target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            because = getattr(error, "strerror", None) or str(error)
            remedy = f"correct the host of {self._target.said_by}, or the name service"
            return sick("resolvable", f"{host}: {because}", BLIND, remedy)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        return ok("resolvable", ", ".join(addresses), addresses=addresses)

    def _open(self) -> DoctorRow:
        target, begin_ns = self._target, self._clock.waiting_ns()
        # The greeting shows whether ZeroMQ answers, and whether keys are required.
        try:
            self._greeting = greet(target.host, target.port, target.timeout_ms)
        except NotSent as error:
            return sick("port open", str(error), BLIND, self._how_to_open(error))
        took_ms = (self._clock.waiting_ns() - begin_ns) / 1e6
        if not self._greeting.is_zeromq:
            return self._not_a_gateway(self._greeting.heard)
        return ok("port open", f"{target.url}, {self._greeting.heard}", took_ms=round(took_ms, 3))

    def _how_to_open(self, error: NotSent) -> str:
        """Return the remedy for a port that takes no connection."""
        target = self._target
        where = "" if is_loopback(target.host) else f" on {bare(target.host)}"
        # A machine that refuses is there, and nothing listens; a firewall drops without an answer.
        if isinstance(error.__cause__, ConnectionRefusedError):
            return START.format(where)
        return (
            f"see that the machine runs and that its firewall lets port {target.port} pass; or "
            f"{START.format(where)}"
        )

    def _not_a_gateway(self, heard: str) -> DoctorRow:
        target = self._target
        if heard == NOTHING:
            return sick(
                "port open",
                f"{target.url} takes connections and says nothing: the gateway there hangs, or "
                "another program has its port",
                BLIND,
                f"look which process listens on port {target.port}: end it, and start the gateway "
                "again",
            )
        return sick(
            "port open",
            f"{target.url} is open, and what listens there is no ZeroMQ (it said {heard})",
            BLIND,
            f"end the other program that has port {target.port}, or correct the port of "
            f"{target.said_by}",
        )

    def _show_key(self) -> DoctorRow:
        # Unreadable key files are an error even if the gateway needs no key: a bot would not start.
        try:
            keys = link_keys(self._target.server_key, self._target.key_file)
        except TrueupError as error:
            remedy = "correct GTW_SERVER_KEY and GTW_KEY_FILE"
            return sick("key accepted", str(error), BLIND, remedy)
        if self._greeting.is_encrypted:
            return self._try_key(keys)
        # A bot with keys cannot talk to a plain gateway, so this is an error, not a warning.
        if keys is not None:
            return sick(
                "key accepted",
                "keys are set, and the gateway speaks plain text only",
                BLIND,
                "start the gateway with keys, or unset GTW_SERVER_KEY and GTW_KEY_FILE",
            )
        self.link = ZmqLink(self._target.url)
        if is_loopback(self._target.host):
            return ok("key accepted", "not required: plain text, only on this machine")
        return warn(
            "key accepted",
            "not required: plain text",
            "any client that reaches the port may trade, and anybody in between reads along",
            "start the gateway with keys (`trueup keys new NAME`)",
        )

    def _try_key(self, keys: LinkKeys | None) -> DoctorRow:
        if keys is None:
            return sick(
                "key accepted",
                "the gateway requires a key",
                BLIND,
                "`trueup keys new NAME`, have its public key allowed at the gateway, then set "
                "GTW_SERVER_KEY and GTW_KEY_FILE",
            )
        link = ZmqLink(self._target.url, keys=keys)
        try:
            # Only the connection matters here, so the reply is not read.
            link.send(guide.GET_POSITIONS, self._target.timeout_ms)
        except NotSent as error:
            link.close()
            return sick(
                "key accepted",
                str(error),
                BLIND,
                "have your public key allowed at the gateway, and GTW_SERVER_KEY be its own",
            )
        link.reset()
        self.link = link
        return ok("key accepted", "CURVE, encrypted")
