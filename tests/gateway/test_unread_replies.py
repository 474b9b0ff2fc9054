"""What a reply echoes, and what a connection that reads nothing may leave: bounded in bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from tests.support.desk_world import BUY, DeskWorld
from tests.support.servers import DEADLINE_SEC, until
from trueup.gateway.access.door import Client
from trueup.gateway.server.service import Service, ServiceOptions
from trueup.gateway.server.sockets import Server
from trueup.gateway.server.unread import Unread
from trueup.protocol.requests import NAME_LONGEST, ORDER_ID_LONGEST, UUID_BYTES_MOST

LONG = "x" * 250_000
REPLY_MOST = 4_000


@pytest.fixture
def world() -> DeskWorld:
    return DeskWorld()


# What comes back.


@pytest.mark.parametrize(
    "request_fields",
    [
        {"action": "PING", "uuid": LONG},
        {"action": "GET_POSITIONS", "uuid": [LONG]},
        {"action": "HELLO", "uuid": {"a": LONG}},
        {"action": "NOSUCH", "uuid": LONG},
        {"action": LONG},
        {"action": "OPEN", "uuid": LONG, "symbol": "EURUSD", "type": "BUY", "volume": 0.1},
        {"action": "BUY", "order_id": LONG, "symbol": "EURUSD", "volume": 0.1},
        {"action": "BUY", "order_id": LONG, "symbol": "EURUSD", "volume": "much"},
        {"action": "BUY", "order_id": "a", "symbol": LONG, "volume": 0.1},
        {"action": "BUY", "order_id": "a", "symbol": "EURUSD", "volume": 0.1, "type": LONG},
        {"action": "BUY", "order_id": "a", "symbol": "EURUSD", "volume": 0.1, "server": LONG},
        {"action": "BUY", "order_id": "a", "symbol": "EURUSD", "volume": 0.1, "comment": LONG},
        {"action": "BUY", "order_id": "a", "symbol": "EURUSD", "volume": 0.1, "key": LONG},
        {"action": "BUY", "order_id": "a", "symbol": "EURUSD", "volume": 0.1, "stream": LONG},
        {"action": "TICK", "symbol": LONG},
        {"action": "REQUEST_STATUS", "order_id": LONG},
        {"action": "SNAPSHOT", "session": LONG, "id": 1},
        {"action": "SNAPSHOT", "session": "a", "id": 1, "symbols": [LONG]},
        {"action": "SNAPSHOT", "session": "a", "id": 1, "digest": LONG},
        {"action": "SNAPSHOT", "session": "a", "id": 1, "in_doubt": [{"id": LONG}]},
        {"action": "HISTORY", "id": 1, "after": LONG},
        {"action": "PING", "uuid": "a", "timestamp": LONG},
        {"action": [LONG]},
    ],
    ids=lambda fields: json.dumps(fields).replace("x" * 100, "")[:60],
)
def test_no_reply_echoes_what_is_too_long(world: DeskWorld, request_fields: dict[str, Any]) -> None:
    reply = world.desk.handle(json.dumps(request_fields).encode())
    assert len(reply) < REPLY_MOST
    assert b"xxxxxxxxxx" * 20 not in reply
    assert json.loads(reply)["status"] in ("ERROR", "REJECTED", "error")
    assert not world.rows()


def test_names_of_the_longest_length_are_served(world: DeskWorld) -> None:
    uuid = "u" * (UUID_BYTES_MOST - 2)

    def ask(**fields: Any) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(world.desk.handle(json.dumps(fields).encode()))
        return reply

    assert ask(action="HELLO", uuid=uuid)["uuid"] == uuid
    assert "uuid" not in ask(action="HELLO", uuid=uuid + "u")
    order = {"action": "BUY", "symbol": "EURUSD", "volume": 0.1, "comment": "c" * 4_096}
    snail = "\U0001f40c" * ORDER_ID_LONGEST
    assert ask(**order, order_id=snail)["status"] == "FILLED"
    assert ask(action="SNAPSHOT", session="s" * NAME_LONGEST, id=1)["status"] == "SUCCESS"
    assert ask(action="TICK", symbol="s" * NAME_LONGEST)["status"] == "FAILED"


# What nobody reads.


def test_what_waits_is_bounded_for_one_and_for_all() -> None:
    unread = Unread(bytes_each=100, bytes_all=250)
    one, two, three = (Client((name, b"")) for name in (b"1", b"2", b"3"))
    for client in (one, two, three):
        for number in range(10):
            unread.put(client, bytes([number]) * 30)
    assert unread.size == 240
    assert unread.ways() == (b"1", b"2", b"3")
    unread.drop(b"1")
    waiting = unread.oldest(b"1")
    assert waiting is not None
    assert waiting == (one, b"\1" * 30)
    for way, count in ((b"1", 2), (b"2", 3), (b"3", 2)):
        for _ in range(count):
            unread.drop(way)
    assert not unread
    assert unread.size == 0
    assert unread.oldest(b"1") is None
    # One reply may wait whatever its size, so that a large list reaches a slow client.
    unread.put(one, bytes(200))
    unread.put(one, b"0")
    assert unread.size == 200


@pytest.fixture
def serving(world: DeskWorld) -> Iterator[Service]:
    for _ in range(200):
        world.person.open("EURUSD", BUY, 0.01)
    service = Service(world.terminal, ServiceOptions(), world.clock.now_ns)
    thread = threading.Thread(target=service.run)
    thread.start()
    yield service
    service.stop()
    thread.join(DEADLINE_SEC)
    service.close()


SNAPSHOT = json.dumps({"action": "SNAPSHOT", "session": "mute", "id": 1}).encode()


def mute(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    """A client whose end takes next to nothing before it is read."""
    client = context.socket(zmq.DEALER)
    client.linger, client.rcvhwm, client.rcvbuf = 0, 1, 4_096
    client.rcvtimeo = client.sndtimeo = round(DEADLINE_SEC * 1000)
    client.connect(endpoint)
    return client


def test_a_client_that_reads_nothing_leaves_few_bytes_and_the_others_are_served(
    serving: Service,
) -> None:
    with zmq.Context() as context, mute(context, serving.endpoint) as silent:
        server: Server = serving._server

        def is_full() -> bool:
            silent.send_multipart([b"", SNAPSHOT])
            return server.unread_bytes > 900_000

        until(is_full)
        for _ in range(200):
            silent.send_multipart([b"", SNAPSHOT])
        with context.socket(zmq.REQ) as other:
            other.linger = 0
            other.rcvtimeo = other.sndtimeo = round(DEADLINE_SEC * 1000)
            other.connect(serving.endpoint)
            for _ in range(20):
                other.send(SNAPSHOT)
                assert len(json.loads(other.recv())["positions"]) == 200
        assert server.unread_bytes <= 1 << 20
    # Its connection ended, and nothing is kept for it.
    until(lambda: server.unread_bytes == 0)


def test_a_client_that_reads_late_gets_the_replies_in_their_order(serving: Service) -> None:
    with zmq.Context() as context, mute(context, serving.endpoint) as late:
        for number in range(30):
            request = {"action": "SNAPSHOT", "session": "late", "id": number}
            late.send_multipart([b"", json.dumps(request).encode()])
        server: Server = serving._server
        until(lambda: server.unread_bytes > 0 or server.sent >= 30)
        came = [json.loads(late.recv_multipart()[-1])["id"] for _ in range(20)]
    assert came == list(range(20))
