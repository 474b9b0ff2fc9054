"""Accept or reject connections to a gateway, and limit the cost of one connection.

With encryption, every client proves with CURVE (RFC 26/CURVEZMQ) that it holds a secret key and
knows the gateway's public key, before its first message is read. ZeroMQ then asks this module over
ZAP (RFC 27/ZAP) whether to accept that key, and passes the key along with every later message.
Traffic captured on the wire cannot be replayed on another connection, because each connection has
its own session keys.

Message size, handshake time and the backlog of new connections are limited with and without
encryption. ZeroMQ closes a connection that exceeds a limit; other connections are not affected.
The module never closes ZeroMQ's internal TCP sockets: on Windows that aborts the process.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final, NamedTuple

import zmq
from zmq.utils import z85

from trueup.gateway.access.allow_file import AllowFile
from trueup.gateway.access.connections import ConnectionLimit
from trueup.gateway.access.descriptors import CONNECTIONS_MAX
from trueup.gateway.access.keys import KeyPair
from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

# Our largest request, a snapshot that asks about 500 positions and 500 orders, has 25 kB.
MESSAGE_BYTES_MAX: Final = 262_144
# A handshake takes two round trips; ten seconds are enough for any network that carries orders.
HANDSHAKE_MS: Final = 10_000
# All bots reconnect at the same time after a restart.
BACKLOG: Final = 512
HEARTBEAT_MS: Final = 10_000
SILENCE_MS: Final = 30_000
# Each unknown key is logged once, and at most this many keys, so that a scan cannot fill the log.
LOGGED_KEYS_MAX: Final = 1_000
# How often connections are counted while no new connection arrives.
_COUNT_MS: Final = 500
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_VERSION: Final = b"1.0"
# ZAP domains: one for requests; another for hints, which concern a single account.
DOMAIN: Final = b"trueup"
HINTS_DOMAIN: Final = b"trueup-hints"


class Answer(NamedTuple):
    """A ZAP answer to ZeroMQ: status code and text."""

    status: bytes
    text: bytes


COME_IN: Final = Answer(b"200", b"OK")
# ZeroMQ passes 400 and 500 on to the client, which then gives up or starts over by itself. It does
# not pass on 300, and the client keeps trying.
NOT_ALLOWED: Final = Answer(b"400", b"this key is not allowed")
NO_ROOM: Final = Answer(b"500", b"no room for more connections")
NOT_NOW: Final = Answer(b"300", b"not now")


class Client(NamedTuple):
    """The sender of a request: the return route to its connection, and its proven public key.

    `user` is empty on a gateway without keys.
    """

    way: tuple[bytes, ...]
    user: str = ""

    @property
    def party(self) -> str | bytes:
        """The key for rate limits and shares: the user, or the connection if there are no users."""
        return self.user or self.way[0]


class Lock(NamedTuple):
    """The gateway's own key pair, and the allow file."""

    keys: KeyPair
    allowed: AllowFile


class Door:
    """Sets up access control on the sockets of a server, and answers ZeroMQ's ZAP questions.

    Args:
        lock: keys and allow file; None accepts every client, in plain text.
        connections_max: with a lock, how many connections each port may have at the same time.
        handshake_ms: the handshake timeout.
    """

    def __init__(
        self,
        lock: Lock | None = None,
        *,
        connections_max: int = CONNECTIONS_MAX,
        handshake_ms: int = HANDSHAKE_MS,
    ) -> None:
        self.lock = lock
        self._connections_max = connections_max
        self._handshake_ms = handshake_ms
        self._limits: dict[bytes, ConnectionLimit] = {}
        # Serialises the answers, and keeps the account of the hints from changing during an answer.
        self._judging = threading.Lock()
        self._hints_login = 0
        self._hint_keys: set[str] = set()
        self._logged_keys: set[str] = set()

    def secure(self, socket: zmq.Socket[bytes], domain: bytes = DOMAIN) -> None:
        """Set the limits, and with a lock also encryption, on a socket that is not bound yet."""
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        socket.setsockopt(zmq.HANDSHAKE_IVL, self._handshake_ms)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.BACKLOG, BACKLOG)
        if self.lock is None:
            return
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
        socket.curve_server = True
        socket.curve_secretkey = self.lock.keys.secret.encode()
        # Without this option libzmq accepts every client while the ZAP thread does not answer.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain)
        now_ns = self.lock.allowed.now_ns
        self._limits[domain] = ConnectionLimit(
            socket, self._connections_max, self._handshake_ms, now_ns
        )

    def reject_all(self, domain: bytes) -> None:
        """Reject all further connections to a socket that its owner is about to close."""
        with self._judging:
            limit = self._limits.pop(domain, None)
            if domain == HINTS_DOMAIN:
                self._hint_keys.clear()
        if limit is not None:
            limit.close()

    def may_all_see(self, login: int) -> bool:
        """Return whether every accepted hint subscriber may still see the account `login`.

        From this call on, new subscribers are accepted only if they may see that account.
        """
        if self.lock is None:
            return True
        with self._judging:
            self._hints_login = login
            return all(self._may_see(key, self.lock) for key in self._hint_keys)

    def start(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Start the thread that answers ZAP questions; the thread ends with the context."""
        if self.lock is None:
            return
        zap = context.socket(zmq.REP)
        zap.setsockopt(zmq.LINGER, 0)
        zap.bind(_ZAP_ENDPOINT)
        thread = threading.Thread(
            target=self._answer_zap, args=(zap, self.lock), name="door", daemon=True
        )
        thread.start()

    # The methods below run in the door's thread.

    def _answer_zap(self, zap: zmq.Socket[bytes], lock: Lock) -> None:
        with zap, suppress(zmq.ContextTerminated):
            while True:
                if zap.poll(_COUNT_MS):
                    zap.send_multipart(self._reply(zap.recv_multipart(), lock))
                for limit in tuple(self._limits.values()):
                    limit.turn()

    def _reply(self, question: list[bytes], lock: Lock) -> list[bytes]:
        """Answer a ZAP question.

        Its frames: version, request id, domain, address, routing id, mechanism, credentials.
        """
        _, request_id, domain, address, _, mechanism, *credentials = question
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" else ""
        with self._judging:
            answer = self._judge(domain, key, address.decode("ascii", "replace"), lock)
        user = key.encode() if answer is COME_IN else b""
        return [_ZAP_VERSION, request_id, *answer, user, b""]

    def _judge(self, domain: bytes, key: str, address: str, lock: Lock) -> Answer:
        is_for_hints, limit = domain == HINTS_DOMAIN, self._limits.get(domain)
        if lock.allowed.find(key) is None:
            self._log_rejected(address, key, lock)
            # 300 for hints: a subscriber that gave up after 400 would not reconnect by itself.
            return NOT_NOW if is_for_hints else NOT_ALLOWED
        if limit is None or (is_for_hints and not self._may_see(key, lock)):
            return NOT_NOW
        if not limit.take():
            return NOT_NOW if is_for_hints else NO_ROOM
        if is_for_hints:
            self._hint_keys.add(key)
        return COME_IN

    def _may_see(self, key: str, lock: Lock) -> bool:
        access = lock.allowed.find(key)
        return access is not None and access.may_see(self._hints_login)

    def _log_rejected(self, address: str, key: str, lock: Lock) -> None:
        if key not in self._logged_keys and len(self._logged_keys) < LOGGED_KEYS_MAX:
            self._logged_keys.add(key)
            log.warning(
                "[ACCESS] Rejected %s: its key %s is not in %s", address, key, lock.allowed.path
            )


def user_of(frame: zmq.Frame) -> str:
    """Return the proven public key of a frame's sender, or an empty text without encryption."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""
