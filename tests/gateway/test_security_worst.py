"""Keys and clients at their worst together: a bot's orders go through, and nothing grows.

Strangers greet and say nothing, or say again what they recorded; members flood, read nothing, send
large and many-framed messages; a key is revoked and let in again all the while.
"""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from tests.gateway.locked_gateway import LONG_MS, LockedProcess, order
from tests.gateway.test_security_floods import GREETING, secured
from tests.gateway.test_security_sockets import Tap
from tests.support.servers import Threaded, offer
from trueup.gateway.access.keys import LinkKeys

pytestmark = pytest.mark.flood

LINES = ("bot1 trade * {bot1}", "flood read * {flood}")
ON_AND_OFF = "shaky trade * {shaky}"
MEMORY_MB_MAX, FILES_MAX = 160, 400
# An order waits at most as long as a bot does by default (GTW_TIMEOUT_MS).
LATENCY_SEC_MAX = 2.0
# A machine that is busy with other things makes an order wait without any attack.
CALM_ORDERS, CALM_TIMES_MAX = 20, 20
SOAK_SEC = 300.0
# The account has the margin for 900 of them.
ORDERS_MOST = 800
BIG = b"x" * 250_000
UUIDS = b'{"action":"GET_POSITIONS","symbol":"*","uuid":"' + BIG + b'"}'
SNAPSHOTS = b'{"action":"SNAPSHOT","session":"flood","id":1}'


class Attack(Threaded):
    """Something that is done again and again until the end."""

    def __init__(self, step: Callable[[], object]) -> None:
        super().__init__()
        self._step, self.times = step, 0

    def _run(self) -> None:
        self._ready.set()
        while not self._stop.is_set():
            try:
                self._step()
            except (OSError, zmq.ZMQError):
                # It was hung up on, as it should be.
                self._stop.wait(0.01)
            self.times += 1


class Member(Threaded):
    """A known key that pours messages over the gateway, and reads nothing."""

    def __init__(self, keys: LinkKeys, port: int, message: bytes, frames: int = 1) -> None:
        super().__init__()
        self._keys, self._port = keys, port
        self._message, self._frames = message, frames
        self.times = 0

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.rcvhwm, dealer.rcvbuf = 1, 4_096
            secured(dealer, self._keys, self._port)
            self._ready.set()
            while not self._stop.is_set():
                if dealer.poll(5, zmq.POLLOUT):
                    self.times += offer(dealer, [b"", *[self._message] * self._frames])
                    self._stop.wait(0.001)


def recorded(process: LockedProcess) -> bytes:
    """What a bot's connection said, encrypted, with an order in it."""
    link = process.keys.link("bot1", process.port)
    with Tap(process.port) as tap:
        link.endpoint = f"tcp://127.0.0.1:{tap.port}"
        link.send(json.dumps({**order("TAPPED"), "order_id": "TAPPED"}).encode(), LONG_MS)
        assert b"FILLED" in (link.receive(LONG_MS) or b"")
        said = tap.up
        link.close()
    return said


def say_and_leave(port: int, words: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 1.0) as line:
        line.settimeout(0.05)
        line.sendall(words)
        line.recv(4_096)


def test_orders_go_through_while_everybody_is_at_their_worst(tmp_path: Path) -> None:
    under_attack(tmp_path, 3.0)


@pytest.mark.soak
def test_orders_go_through_for_five_minutes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("under attack", under_attack(tmp_path, SOAK_SEC))


def under_attack(folder: Path, seconds: float) -> str:
    """Send orders during all attacks at once; return the figures of it."""
    options = "rate=Rate(per_sec=200, burst=400), handshake_ms=500"
    with LockedProcess(folder, options) as process, ExitStack() as stack:
        process.keys.allow(*LINES, ON_AND_OFF)
        flood = process.keys.link_keys("flood")
        shaky = process.keys.link_keys("shaky")
        captured = recorded(process)

        def revoke_and_let_in() -> None:
            for lines in (LINES, (*LINES, ON_AND_OFF)):
                process.keys.allow(*lines)
                threading.Event().wait(0.05)

        attacks: list[Attack | Member] = [
            Attack(lambda: say_and_leave(process.port, GREETING)),
            Attack(lambda: say_and_leave(process.port, captured)),
            Attack(revoke_and_let_in),
            Member(flood, process.port, UUIDS),
            Member(flood, process.port, SNAPSHOTS),
            Member(flood, process.port, b"{", 40),
            Member(flood, process.port, bytes(300_000)),
            Member(shaky, process.port, SNAPSHOTS),
        ]
        bot = stack.enter_context(process.bot("bot1"))
        assert bot.connect()
        latencies: list[float] = []
        sent = 0

        def send() -> None:
            nonlocal sent
            begin = time.monotonic()
            reply = bot.send_order({**order(f"A{sent}"), "order_id": f"A{sent}"})
            latencies.append(time.monotonic() - begin)
            assert reply["status"] == "FILLED", reply["error"]
            sent += 1

        for _ in range(CALM_ORDERS):
            send()
        most_sec = max(LATENCY_SEC_MAX, CALM_TIMES_MAX * statistics.median(latencies))
        latencies.clear()
        for attack in attacks:
            stack.enter_context(attack)
        end = time.monotonic() + seconds
        while time.monotonic() < end or not all(attack.times > 2 for attack in attacks):
            send()
            stays_small(process)
            threading.Event().wait(max(0.05, seconds / ORDERS_MOST))
        latencies.sort()
        slow_sec = latencies[len(latencies) * 95 // 100]
        assert slow_sec < most_sec
        held = bot.get_positions()["positions"]
        # What was recorded was carried out once, however often it was said again.
        assert len(held) == sent + 1
        return (
            f"{sent} orders in {seconds:g} s, 95 % within {slow_sec:.3f} s, the slowest "
            f"{latencies[-1]:.3f} s; {sum(attack.times for attack in attacks)} attacks; "
            f"{process.memory_mb() or 0:.0f} MB, {process.open_files() or 0} files"
        )


def stays_small(process: LockedProcess) -> None:
    memory_mb, files = process.memory_mb(), process.open_files()
    assert memory_mb is None or memory_mb < MEMORY_MB_MAX
    assert files is None or files < FILES_MAX
