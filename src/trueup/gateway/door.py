"""Who may connect to a gateway, and how much one connection may cost it.

Encrypted, every connection proves with CURVE (RFC 26/CURVEZMQ) that it holds a secret key, and that
it knows the gateway's public key, before its first message is read. ZeroMQ then asks here, over ZAP
(RFC 27/ZAP), whether that key may come in, and from then on says with every message whose it is.
What was captured on the wire is worth nothing on another connection: each has keys of its own.

The limits hold with and without encryption: a message may be so large, a handshake may take so
long, a connection that went silent ends. A peer that breaks one is disconnected, and nobody else
notices.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

import zmq
from zmq.utils import z85

from trueup.gateway.access import AllowFile
from trueup.gateway.keys import KeyPair
from trueup.gateway.listener import CONNECTIONS_MAX
from trueup.logs import logger

log = logger("trueup.access")

# The largest request of ours, a snapshot with 500 positions and 500 orders to explain, has 25 kB.
MESSAGE_BYTES_MAX: Final = 262_144
# A handshake takes two round trips; ten seconds are enough for any line that orders can go over.
HANDSHAKE_MS: Final = 10_000
# All bots come back at once after a restart.
BACKLOG: Final = 512
HEARTBEAT_MS: Final = 10_000
SILENCE_MS: Final = 30_000
# Each stranger is named in the log once, and no more than this many.
STRANGERS_TOLD: Final = 1_000
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_VERSION: Final = b"1.0"
# Who may ask, and who may listen to hints, which are about one account.
DOMAIN: Final = b"trueup"
HINTS_DOMAIN: Final = b"trueup-hints"


class Lock(NamedTuple):
    """The gateway's own keys, and who may come in with which."""

    keys: KeyPair
    allowed: AllowFile


class Door:
    """What a server's socket is fitted with before it listens.

    Args:
        lock: None lets everybody in, in plain text.
        connections_max: how many may be connected at a time.
        handshake_ms: how long a connection may take to say who it is.
    """

    def __init__(
        self,
        lock: Lock | None = None,
        *,
        connections_max: int = CONNECTIONS_MAX,
        handshake_ms: int = HANDSHAKE_MS,
    ) -> None:
        self.lock = lock
        self.connections_max = connections_max
        self.hints_login = 0
        """The account that hints are about now: who may not see it is kept waiting outside."""
        self._handshake_ms = handshake_ms
        self._told: set[str] = set()

    def fit(self, socket: zmq.Socket[bytes], domain: bytes = DOMAIN) -> None:
        """Set the limits, and the lock where there is one, of a socket that is not bound yet."""
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
        # Otherwise libzmq lets everybody in while nobody answers it.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain)

    def keep(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Begin to answer whose connections are taken, until the context is terminated."""
        if self.lock is None:
            return
        keeper = context.socket(zmq.REP)
        keeper.setsockopt(zmq.LINGER, 0)
        keeper.bind(_ZAP_ENDPOINT)
        keep = threading.Thread(
            target=self._keep, args=(keeper, self.lock), name="door", daemon=True
        )
        keep.start()

    def _keep(self, keeper: zmq.Socket[bytes], lock: Lock) -> None:
        with keeper:
            while True:
                try:
                    keeper.send_multipart(self._answer(keeper.recv_multipart(), lock))
                except zmq.ContextTerminated:
                    return

    def _answer(self, question: list[bytes], lock: Lock) -> list[bytes]:
        """Answer: version, request id, domain, address, routing id, mechanism, then the key."""
        _, request_id, domain, address, _, mechanism, *credentials = question
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" else ""
        access = lock.allowed.find(key)
        if access is not None and domain == HINTS_DOMAIN and not access.may_see(self.hints_login):
            # "Temporary": it is hung up on, and tries again, because the account may come back.
            return [_ZAP_VERSION, request_id, b"300", b"another account", b"", b""]
        if access is not None:
            return [_ZAP_VERSION, request_id, b"200", b"OK", key.encode(), b""]
        self._tell(address.decode("ascii", "replace"), key, lock)
        return [_ZAP_VERSION, request_id, b"400", b"this key is not allowed", b"", b""]

    def _tell(self, address: str, key: str, lock: Lock) -> None:
        if key not in self._told and len(self._told) < STRANGERS_TOLD:
            self._told.add(key)
            log.warning(
                "[ACCESS] Turned away %s: its key %s is not in %s", address, key, lock.allowed.path
            )


def user_of(frame: zmq.Frame) -> str:
    """Return the public key that the sender of a frame has proved, or nothing."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""
