"""A `Link` over ZeroMQ, and the only place where ZeroMQ's errors become ours.

An exchange that is given up ends with its connection: `reset` closes the socket, and a reply that
comes late finds nobody. Gateways that echo no id are safe that way too (ZeroMQ Guide, "Client-Side
Reliability: Lazy Pirate Pattern").

ZMQ_IMMEDIATE keeps a message from queueing for a connection that does not stand: an order must not
leave minutes later, when the gateway comes back. So a send that fails is known not to have left.
"""

from __future__ import annotations

import weakref

import zmq

from trueup.errors import NotSent, OutcomeUnknown


class ZmqLink:
    """A connection to the gateway at `endpoint`, such as tcp://127.0.0.1:5555."""

    def __init__(
        self, endpoint: str, context: zmq.Context[zmq.Socket[bytes]] | None = None
    ) -> None:
        self.endpoint = endpoint
        self._context = context or zmq.Context.instance()
        self._socket: zmq.Socket[bytes] | None = None

    def open(self) -> None:
        """Begin to connect; does not wait, and does nothing on an open link.

        Raises:
            NotSent: the endpoint is not one.
        """
        if self._socket is not None:
            return
        socket = self._context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            socket.close()
            raise NotSent(f"{self.endpoint} is not an endpoint: {error.strerror}") from error
        self._socket = socket
        # A gateway that is dropped without `disconnect()` lets go of its socket all the same.
        weakref.finalize(self, socket.close, 0)
        self._send_timeout_ms = self._receive_timeout_ms = -1

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Send a request, waiting at most `timeout_ms` for a connection that takes it."""
        self.open()
        assert self._socket is not None
        if timeout_ms != self._send_timeout_ms:
            self._socket.sndtimeo = self._send_timeout_ms = timeout_ms
        try:
            self._socket.send(message)
        except zmq.Again as error:
            raise NotSent(f"no connection to {self.endpoint} within {timeout_ms} ms") from error
        except zmq.ZMQError as error:
            self.reset()
            raise NotSent(f"{self.endpoint}: {error.strerror}") from error

    def receive(self, timeout_ms: int) -> bytes | None:
        """Return the reply, or None when none came within `timeout_ms` (0 does not wait)."""
        if self._socket is None:
            return None
        if timeout_ms != self._receive_timeout_ms:
            self._socket.rcvtimeo = self._receive_timeout_ms = timeout_ms
        try:
            return self._socket.recv()
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            self.reset()
            raise OutcomeUnknown(f"{self.endpoint}: {error.strerror}") from error

    def reset(self) -> None:
        """Forget the exchange under way by leaving its connection."""
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    def close(self) -> None:
        """Let go of the connection; a later `send` opens it again."""
        self.reset()
