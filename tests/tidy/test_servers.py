"""The tests' own gateways: what comes to their ports by mistake holds none of them up."""

from __future__ import annotations

import zmq

from scripts.support import request_at
from tests.support.servers import DEADLINE_SEC


def test_a_message_for_another_server_is_no_request_and_holds_nobody_up() -> None:
    """A bot of another test may still look for its own gateway, which had this port before."""
    with zmq.Context() as context, context.socket(zmq.REP) as rep:
        port = rep.bind_to_random_port("tcp://127.0.0.1")
        with context.socket(zmq.DEALER) as stray:
            stray.linger = 0
            stray.connect(f"tcp://127.0.0.1:{port}")
            stray.send(b"for another server")
            assert request_at(rep, int(DEADLINE_SEC * 1000)) is None
            stray.send_multipart([b"", b"a request"])
            assert request_at(rep, int(DEADLINE_SEC * 1000)) == b"a request"
            rep.send(b"a reply")
            assert stray.recv_multipart() == [b"", b"a reply"]
            assert request_at(rep, 0) is None
