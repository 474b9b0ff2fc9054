"""The gateway's end of the wire: a ROUTER socket that answers REQ and DEALER clients alike.

What a message means is the handler's business (`gateway.desk`); this module moves bytes. A request
that nobody can answer is answered all the same, because a REQ client waits for a reply.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq

log = logging.getLogger("trueup.server")

# One turn serves at most this many requests, so that a flood does not keep the caller's own work
# (the market of the simulated terminal, a stop signal) waiting.
REQUESTS_PER_TURN = 64
LAST_REPLY_MS = 200


class Server:
    """Answers each request that arrives at `endpoint` with `handle(request)`.

    Args:
        endpoint: where to listen, such as tcp://127.0.0.1:5555; port 0 takes a free one.
        handle: from the bytes of a request to the bytes of its reply; must not raise.

    Raises:
        OSError: the endpoint cannot be bound, with the endpoint in the message.
    """

    def __init__(self, endpoint: str, handle: Callable[[bytes], bytes]) -> None:
        self._handle = handle
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise OSError(f"cannot listen on {endpoint}: {error.strerror}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self.endpoint.rpartition(":")[2])

    def serve_once(self, timeout_ms: int) -> int:
        """Wait at most `timeout_ms` for requests, answer what is there, return how many."""
        if not self._socket.poll(timeout_ms):
            return 0
        for served in range(REQUESTS_PER_TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return served
            *envelope, request = frames
            self._socket.send_multipart([*envelope, self._handle(request)])
        return REQUESTS_PER_TURN

    def close(self) -> None:
        """Stop listening, once the last reply is out or nobody takes it."""
        self._socket.close(LAST_REPLY_MS)
        self._context.term()
