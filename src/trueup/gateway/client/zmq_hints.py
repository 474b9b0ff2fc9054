"""A `HintLine` over ZeroMQ: a SUB socket that is read and never waited for."""

from __future__ import annotations

import weakref

import zmq

from trueup.forks import HOLDERS, cut_connections, never_finalise
from trueup.gateway.access.keys import LinkKeys
from trueup.gateway.client import endpoints
from trueup.gateway.client.zmq_link import address_of
from trueup.protocol.text import json_frame

# Hints that nobody takes are dropped, and missed by their numbers.
HINTS_KEPT = 100
HINT_LONGEST_BYTES = 4_096
# A port that nobody opened for us is tried ever more seldom.
RECONNECT_MS, RECONNECT_LONGEST_MS = 200, 10_000
# A line that died without a word is noticed, and a new one begun.
HEARTBEAT_MS, SILENCE_MS = 5_000, 15_000


class ZmqHints:
    """The hints published at `endpoint`, such as tcp://127.0.0.1:5556.

    Args:
        keys: those of the link to the same gateway; None is plain text.
        is_ipv6: whether the host has an IPv6 address alone; its address says so by itself.
    """

    def __init__(
        self, endpoint: str, *, keys: LinkKeys | None = None, is_ipv6: bool = False
    ) -> None:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, HINTS_KEPT)
        socket.setsockopt(zmq.MAXMSGSIZE, HINT_LONGEST_BYTES)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_LONGEST_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.IPV6, is_ipv6 or endpoints.is_ipv6(endpoint))
        if keys is not None:
            socket.curve_serverkey = keys.server.encode()
            socket.curve_publickey = keys.own.public.encode()
            socket.curve_secretkey = keys.own.secret.encode()
        self._socket, self._endpoint = socket, endpoint
        self._let_go = weakref.finalize(self, socket.close, 0)
        self._is_copy = False
        HOLDERS.add(self)
        socket.connect(endpoint)

    def let_go_in_child(self) -> None:
        """Let go of a forked process's copy of the connection, on which nothing is heard."""
        self._is_copy = True
        self._let_go.detach()
        never_finalise(self._socket)
        cut_connections(to=[address_of(self._endpoint)])

    def heard(self) -> list[bytes]:
        """Return what came since the last call; never waits."""
        messages: list[bytes] = []
        try:
            while not self._is_copy and len(messages) < HINTS_KEPT:
                messages.append(json_frame(self._socket.recv_multipart(zmq.NOBLOCK)))
        except zmq.Again:
            pass
        return messages

    def close(self) -> None:
        """Stop listening, for good."""
        self._let_go()
