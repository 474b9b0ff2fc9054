"""Gateways that give canned replies, many in one process: each client has an account of its own."""

from __future__ import annotations

import itertools
import json
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import zmq

from benchmarks._gateways import _simulated
from trueup.gateway.desk.desk import Desk
from trueup.protocol.guide import GET_POSITIONS
from trueup.protocol.snapshot import SnapshotRequest, encode_snapshot_request
from trueup.runtime.time.clock import SystemClock

FIRST_LOGIN = 7_000_000
# The requests of an account that come before its gateway may hang.
HEALTHY_REQUESTS = 8


class _Asked(msgspec.Struct):
    """What of a request decides on the reply."""

    action: str
    session: str = ""
    id: int = 0
    digest: str = ""


class _Replies:
    """The replies of one gateway to one session, made of those of a real desk."""

    def __init__(self, login: int, full: dict[str, Any], unchanged: dict[str, Any]) -> None:
        self._full = {**full, "account": {**full["account"], "login": login}}
        account = [login, *unchanged["account"][1:]]
        self._unchanged = {**unchanged, "account": account}
        self.login, self.count = login, 0

    def reply(self, asked: _Asked) -> bytes:
        """Return the reply to a question for a snapshot."""
        self.count += 1
        known = self._unchanged if asked.digest == self._full["digest"] else self._full
        known["id"], known["sequence"] = asked.id, self.count
        return msgspec.json.encode(known)


def serve(pipe: Connection, positions: int, hanging: float, ports: int = 1) -> None:
    """Serve any number of accounts at some ports; a share of them hangs after some replies.

    The pipe gets the port, or a list of many.
    """
    clock = SystemClock()
    desk = Desk(_simulated(positions, clock), "bench", clock.now_ns)
    greeting = json.loads(desk.handle(GET_POSITIONS))
    # No hints, no claims: what is measured are the syncs.
    greeting["capabilities"] = ["SNAPSHOT", "DEALS"]
    hello = json.dumps(greeting).encode()
    full = json.loads(desk.handle(encode_snapshot_request(SnapshotRequest("s", 1))))
    again = SnapshotRequest("s", 2, digest=full["digest"])
    unchanged = json.loads(desk.handle(encode_snapshot_request(again)))
    logins, sessions = itertools.count(FIRST_LOGIN), dict[str, _Replies]()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 65_000)
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.BACKLOG, 4_096)
    bound = [socket.bind_to_random_port("tcp://127.0.0.1") for _ in range(ports)]
    pipe.send(bound if ports > 1 else bound[0])
    every = round(1 / hanging) if hanging else 0
    while True:
        *way, request = socket.recv_multipart()
        asked = msgspec.json.decode(request, type=_Asked)
        if asked.action != "SNAPSHOT":
            socket.send_multipart([*way, hello])
            continue
        known = sessions.get(asked.session)
        if known is None:
            known = sessions[asked.session] = _Replies(next(logins), full, unchanged)
        is_hanging = every and known.login % every == 0
        if not (is_hanging and known.count >= HEALTHY_REQUESTS):
            socket.send_multipart([*way, known.reply(asked)])
