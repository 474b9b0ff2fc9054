"""Gateways for an examination: one of the guide's kind, and what each wrong turn makes of one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils import z85

from scripts.support import request_at
from tests.support.desk_world import BUY, SELL, DeskWorld
from tests.support.servers import TURN_MS, Threaded
from trueup.gateway.desk.desk import Desk

Handler = Callable[[bytes], bytes | None]


class GuideGateway(Threaded):
    """A gateway of the guide's kind: one REP socket, JSON text, GET_POSITIONS and orders.

    It knows no ids and no capabilities, and executes whatever it is sent. `answer` may be replaced
    for another manner; an answer of None is never given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.positions: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []
        self.answer: Handler = self.as_the_guide_says

    def as_the_guide_says(self, message: bytes) -> bytes:
        try:
            request = json.loads(message)
            action = request.get("action")
        except (ValueError, AttributeError) as error:
            return _json(status="ERROR", error=f"no request: {error}")
        if action == "GET_POSITIONS":
            symbol = request.get("symbol", "*")
            rows = [row for row in self.positions if symbol in ("*", row["symbol"])]
            return _json(status="SUCCESS", positions=rows, error=None)
        if action in ("BUY", "SELL"):
            return self._execute(request)
        return _json(status="FAILED", error=f"unknown action {action!r}")

    def _execute(self, order: dict[str, Any]) -> bytes:
        self.orders.append(order)
        name = order["order_id"]
        if order["symbol"] != "EURUSD":
            return _json(order_id=name, status="REJECTED", error="no such symbol")
        closing = [p for p in self.positions if p["ticket"] == order.get("position")]
        if closing:
            self.positions.remove(closing[0])
        else:
            self.positions.append(
                {
                    "ticket": 100 + len(self.orders),
                    "symbol": order["symbol"],
                    "type": order["action"].lower(),
                    "volume": order["volume"],
                    "price_open": 1.1,
                    "profit": 0.0,
                    "time": 1_700_000_000,
                }
            )
        return _json(
            order_id=name,
            status="FILLED",
            ticket=100 + len(self.orders),
            filled_price=1.1,
            filled_volume=order["volume"],
            error=None,
        )

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.REP) as rep:
            rep.setsockopt(zmq.LINGER, 0)
            self.port = rep.bind_to_random_port("tcp://127.0.0.1")
            self._ready.set()
            while not self._stop.is_set():
                message = request_at(rep, TURN_MS)
                if message is None:
                    continue
                reply = self.answer(message)
                while reply is None:
                    if self._stop.wait(TURN_MS / 1000):
                        return
                rep.send(reply)


class CurveGateway(Threaded):
    """A handler behind a ROUTER socket with CURVE; `allowed` are public keys, None takes any."""

    def __init__(self, handle: Callable[[bytes], bytes], allowed: set[str] | None) -> None:
        super().__init__()
        self.port = 0
        self.public, self._secret = zmq.curve_keypair()
        self._handle, self.allowed = handle, allowed

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.REP) as door:
            # ZeroMQ asks here who may come in (ZMTP authentication protocol, RFC 27).
            door.bind("inproc://zeromq.zap.01")
            with context.socket(zmq.ROUTER) as router:
                router.setsockopt(zmq.LINGER, 0)
                router.curve_server = True
                router.curve_secretkey, router.curve_publickey = self._secret, self.public
                self.port = router.bind_to_random_port("tcp://127.0.0.1")
                poller = zmq.Poller()
                poller.register(router, zmq.POLLIN)
                poller.register(door, zmq.POLLIN)
                self._ready.set()
                while not self._stop.is_set():
                    for ready, _ in poller.poll(TURN_MS):
                        if ready is door:
                            self._admit(door)
                        else:
                            *way, message = router.recv_multipart()
                            router.send_multipart([*way, self._handle(message)])

    def _admit(self, door: zmq.Socket[bytes]) -> None:
        version, number, *_, key = door.recv_multipart()
        may_enter = self.allowed is None or z85.encode(key).decode() in self.allowed
        status = b"200" if may_enter else b"400"
        door.send_multipart([version, number, status, b"", b"", b""])


def forgetful(desk: Desk) -> Callable[[bytes], bytes]:
    """Our desk without its memory of orders: each comes under a name of its own."""
    count = itertools.count()

    def handle(message: bytes) -> bytes:
        request = json_object(message)
        name = request.get("order_id")
        if name is None or request["action"] == "REQUEST_STATUS":
            return desk.handle(message)
        request["order_id"] = f"{name}-{next(count)}"
        reply = json.loads(desk.handle(json.dumps(request).encode()))
        return json.dumps(reply | {"order_id": name}).encode()

    return handle


def changed(desk: Desk, change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Our desk with every snapshot changed on its way out."""

    def handle(message: bytes) -> bytes:
        reply = desk.handle(message)
        if b'"SNAPSHOT"' not in message:
            return reply
        fields = json.loads(reply)
        if fields["status"] not in ("SUCCESS", "UNCHANGED"):
            return reply
        change(fields)
        return json.dumps(fields).encode()

    return handle


def opened(count: int = 3) -> DeskWorld:
    """A broker with some positions on both sides, and a market that moved since."""
    world = DeskWorld()
    for number in range(count):
        world.person.open("EURUSD", (BUY, SELL)[number % 2], 0.1 * (number + 1))
    world.quote(1.102)
    return world


def json_object(message: bytes) -> dict[str, Any]:
    """A request as plain values, empty for one that is none."""
    try:
        request = json.loads(message)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
