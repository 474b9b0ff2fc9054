"""A `HintLine` over ZeroMQ: a SUB socket that is read without waiting."""

from __future__ import annotations

import weakref

import zmq

from trueup.forks import HOLDERS, cut_connections, never_finalise
from trueup.gateway.access.keys import LinkKeys
from trueup.gateway.client import endpoints
from trueup.gateway.client.link import Signal
from trueup.gateway.client.zmq_link import address_of, has_message, next_serial
from trueup.protocol.text import json_frame

# Further unread hints are dropped; the reader notices the gap in their numbers.
HINTS_KEPT = 100
HINT_LONGEST_BYTES = 4_096
# A blocked port is retried at growing intervals.
RECONNECT_MS, RECONNECT_LONGEST_MS = 200, 10_000
# Heartbeats detect a connection that died silently; ZeroMQ then reconnects.
HEARTBEAT_MS, SILENCE_MS = 5_000, 15_000


class ZmqHints:
    """The hints published at `endpoint`, such as tcp://127.0.0.1:5556.

    Args:
        endpoint: the endpoint.
        keys: the keys of the link to the same gateway; None for plain text.
        is_ipv6: whether the host name has only IPv6 addresses; not needed for an IP address.
    """

    def __init__(
        self, endpoint: str, *, keys: LinkKeys | None = None, is_ipv6: bool = False
    ) -> None:
        # Bound the queue and the message size: a broken gateway must not fill the bot's memory.
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
        self._serial, self._descriptor = next_serial(), int(socket.FD)
        HOLDERS.add(self)
        socket.connect(endpoint)

    def let_go_in_child(self) -> None:
        """In a forked process: release the copy of the connection, which receives nothing."""
        self._is_copy = True
        self._let_go.detach()
        never_finalise(self._socket)
        cut_connections(to=[address_of(self._endpoint)])

    def heard(self) -> list[bytes]:
        """Return the messages since the last call; never waits."""
        messages: list[bytes] = []
        try:
            while not self._is_copy and len(messages) < HINTS_KEPT:
                messages.append(json_frame(self._socket.recv_multipart(zmq.NOBLOCK)))
        except zmq.Again:
            pass
        return messages

    def signal(self) -> Signal | None:
        """Return the descriptor to wait at; see `ZmqLink.signal`."""
        if self._socket.closed:
            return None
        return Signal(self._descriptor, self._serial, has_message(self._socket))

    def close(self) -> None:
        """Stop listening, for good."""
        self._let_go()
