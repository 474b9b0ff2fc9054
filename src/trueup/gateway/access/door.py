"""Who may connect to a gateway, and how much one connection may cost it.

Encrypted, every connection proves with CURVE (RFC 26/CURVEZMQ) that it holds a secret key, and that
it knows the gateway's public key, before its first message is read. ZeroMQ then asks here, over ZAP
(RFC 27/ZAP), whether that key may come in, and from then on says with every message whose it is.
What was captured on the wire is worth nothing on another connection: each has keys of its own.

The limits hold with and without encryption: a message may be so large, a handshake may take so
long, so many connections may wait to be taken. ZeroMQ ends a connection that breaks one, and nobody
else notices. ZeroMQ's own sockets are never touched: Windows ends the process for that.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final, NamedTuple

import zmq
from zmq.utils import z85

from trueup.gateway.access.allow_file import AllowFile
from trueup.gateway.access.connections import Room
from trueup.gateway.access.descriptors import CONNECTIONS_MAX
from trueup.gateway.access.keys import KeyPair
from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

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
# How often connections are counted where nobody asks to come in.
_COUNT_MS: Final = 500
_ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_ZAP_VERSION: Final = b"1.0"
# Who may ask, and who may listen to hints, which are about one account.
DOMAIN: Final = b"trueup"
HINTS_DOMAIN: Final = b"trueup-hints"


class Answer(NamedTuple):
    """What ZeroMQ is told of a connection: a status of ZAP, and a text."""

    status: bytes
    text: bytes


COME_IN: Final = Answer(b"200", b"OK")
# ZeroMQ tells the client 400 and 500, and a client gives up then, or begins anew by itself. It does
# not tell 300, and a client tries again and again.
NOT_ALLOWED: Final = Answer(b"400", b"this key is not allowed")
NO_ROOM: Final = Answer(b"500", b"no room for more connections")
NOT_NOW: Final = Answer(b"300", b"not now")


class Client(NamedTuple):
    """Who asks: the way back to the connection, and the public key it has proved, or nothing."""

    way: tuple[bytes, ...]
    user: str = ""

    @property
    def party(self) -> str | bytes:
        """Whose requests count together: a user's, or without users a connection's."""
        return self.user or self.way[0]


class Lock(NamedTuple):
    """The gateway's own keys, and who may come in with which."""

    keys: KeyPair
    allowed: AllowFile


class Door:
    """What a server's socket is fitted with before it listens.

    Args:
        lock: None lets everybody in, in plain text.
        connections_max: with a lock, how many may be connected to each port at a time.
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
        self._connections_max = connections_max
        self._handshake_ms = handshake_ms
        self._rooms: dict[bytes, Room] = {}
        # One connection is judged at a time, and none while the rules for hints change.
        self._judging = threading.Lock()
        self._hints_login = 0
        self._hearers: set[str] = set()
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
        now_ns = self.lock.allowed.now_ns
        self._rooms[domain] = Room(socket, self._connections_max, self._handshake_ms, now_ns)

    def unfit(self, domain: bytes) -> None:
        """Let nobody in to a socket any more, which its owner is about to close."""
        with self._judging:
            room = self._rooms.pop(domain, None)
            if domain == HINTS_DOMAIN:
                self._hearers.clear()
        if room is not None:
            room.close()

    def may_all_hear(self, login: int) -> bool:
        """Return whether all who were let in to hints may hear those about an account by now.

        From now on others are let in by their right to see that account.
        """
        if self.lock is None:
            return True
        with self._judging:
            self._hints_login = login
            return all(self._may_hear(key, self.lock) for key in self._hearers)

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

    # In the door's thread.

    def _keep(self, keeper: zmq.Socket[bytes], lock: Lock) -> None:
        with keeper, suppress(zmq.ContextTerminated):
            while True:
                if keeper.poll(_COUNT_MS):
                    keeper.send_multipart(self._reply(keeper.recv_multipart(), lock))
                for room in tuple(self._rooms.values()):
                    room.turn()

    def _reply(self, question: list[bytes], lock: Lock) -> list[bytes]:
        """Answer: version, request id, domain, address, routing id, mechanism, then the key."""
        _, request_id, domain, address, _, mechanism, *credentials = question
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" else ""
        with self._judging:
            answer = self._judge(domain, key, address.decode("ascii", "replace"), lock)
        user = key.encode() if answer is COME_IN else b""
        return [_ZAP_VERSION, request_id, *answer, user, b""]

    def _judge(self, domain: bytes, key: str, address: str, lock: Lock) -> Answer:
        is_for_hints, room = domain == HINTS_DOMAIN, self._rooms.get(domain)
        if lock.allowed.find(key) is None:
            self._tell(address, key, lock)
            # Who listens to hints and asks for nothing would not begin anew by itself.
            return NOT_NOW if is_for_hints else NOT_ALLOWED
        if room is None or (is_for_hints and not self._may_hear(key, lock)):
            return NOT_NOW
        if not room.take():
            return NOT_NOW if is_for_hints else NO_ROOM
        if is_for_hints:
            self._hearers.add(key)
        return COME_IN

    def _may_hear(self, key: str, lock: Lock) -> bool:
        access = lock.allowed.find(key)
        return access is not None and access.may_see(self._hints_login)

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
