"""A gateway process under attack: what strangers and members pour over it, and who is served."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq

from tests.gateway.locked_gateway import LONG_MS, LockedProcess, order
from tests.support.servers import Threaded, offer, until
from trueup.errors import NotSent
from trueup.gateway.access.keys import LinkKeys
from trueup.gateway.access.permissions import NOT_ALLOWED
from trueup.gateway.client.execution_gateway import ExecutionGateway

pytestmark = pytest.mark.flood

CONNECTS = 10_000
BATCH = 200
ROOM = 100
# A quiet one holds some 45 MB: Python, pyzmq, the simulated terminal.
MEMORY_MB_MAX = 100
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
HUNDRED_MB = 100_000_000


@contextmanager
def served(folder: Path, options: str = "") -> Iterator[tuple[LockedProcess, ExecutionGateway]]:
    """A gateway process, and a bot with a key, all of whose connections stand."""
    with LockedProcess(folder, options) as process:
        process.keys.allow("bot1 trade * {bot1}", "flood read * {flood}")
        with process.bot("bot1") as bot:
            assert is_served(bot)
            assert bot.send_order(order("FIRST"))["status"] == "FILLED"
            yield process, bot


def stays_small(process: LockedProcess) -> None:
    memory_mb = process.memory_mb()
    assert memory_mb is None or memory_mb < MEMORY_MB_MAX


def is_served(bot: ExecutionGateway) -> bool:
    return bool(bot.get_positions()["status"] == "SUCCESS")


# Strangers.


def test_ten_thousand_connects_leave_the_others_served_and_the_memory_small(
    tmp_path: Path,
) -> None:
    """More at a time than there is room for, and none of them says anything."""
    with served(tmp_path, f"connections_max={ROOM}, handshake_ms=2_000") as (process, bot):
        for _ in range(CONNECTS // BATCH):
            with ExitStack() as lines:
                for _ in range(BATCH):
                    line = socket.create_connection(("127.0.0.1", process.port), LONG_MS / 1000)
                    lines.enter_context(line)
                assert is_served(bot)
                files = process.open_files()
                assert files is None or files < ROOM + BATCH
        assert bot.send_order(order("A"))["status"] == "FILLED"
        stays_small(process)
        with process.bot("bot1", 500) as newcomer:
            until(newcomer.connect)
        files = until(lambda: (process.open_files() or 1) < ROOM)
        assert files


@contextmanager
def mute(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing."""
    with ExitStack() as stack:
        lines = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), LONG_MS / 1000))
            for _ in range(count)
        ]
        for line in lines:
            line.setblocking(False)
        yield lines


def test_strangers_that_say_nothing_take_no_place_and_end_with_their_handshakes_time(
    tmp_path: Path,
) -> None:
    options = "connections_max=20, handshake_ms=3_000"
    with served(tmp_path, options) as (process, bot), mute(process.port, 100) as lines:
        with process.bot("bot1") as newcomer:
            assert is_served(newcomer)
        assert is_served(bot)
        until(lambda: all(_has_ended(line) for line in lines))
        assert is_served(bot)


def _has_ended(line: socket.socket) -> bool:
    """Whether the other end has hung up; what it says is passed over."""
    try:
        return line.recv(1_000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_members_beyond_the_room_are_told_so_and_those_that_stand_stay(tmp_path: Path) -> None:
    with served(tmp_path, "connections_max=5, handshake_ms=3_000") as (process, bot):
        ping = b'{"action":"PING"}'
        with ExitStack() as stack:

            def is_full() -> bool:
                link = process.keys.link("flood", process.port)
                stack.callback(link.close)
                try:
                    link.send(ping, 5_000)
                except NotSent as error:
                    return str(error).endswith("has no room for more connections now")
                return False

            # A bot has two connections by now: for its questions, and for its orders.
            assert [is_full() for _ in range(6)] == [False] * 3 + [True] * 3
            with process.bot("bot1") as newcomer:
                said = newcomer.send_order(order("A"))
                assert said["status"] == "REJECTED"
                assert said["error"].endswith("has no room for more connections now")
            assert is_served(bot)
            assert bot.send_order(order("B"))["status"] == "FILLED"
            until(lambda: not _finds_room(process))
        with process.bot("bot1", 500) as newcomer:
            until(newcomer.connect)


def _finds_room(process: LockedProcess) -> bool:
    with process.bot("bot1", 500) as newcomer:
        return newcomer.connect()


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no files there")
def test_a_key_is_revoked_although_strangers_have_taken_all_files(tmp_path: Path) -> None:
    with LockedProcess(tmp_path, "handshake_ms=60_000", files=200) as process:
        process.keys.allow("bot1 trade * {bot1}", "screen read * {screen}")
        with process.bot("bot1") as bot, process.bot("screen") as screen:
            assert bot.send_order(order("A"))["status"] == "FILLED"
            assert is_served(screen)
            with mute(process.port, 400):
                until(lambda: (process.open_files() or 200) >= 190)
                process.keys.allow("screen read * {screen}")
                assert bot.send_order(order("B"))["error"] == f"not sent: {NOT_ALLOWED}"
                assert is_served(screen)


@pytest.mark.parametrize("before", [b"", GREETING], ids=["at once", "after the greeting"])
def test_a_hundred_megabytes_of_a_stranger_are_not_kept(tmp_path: Path, before: bytes) -> None:
    with served(tmp_path) as (process, bot):
        frame = before + b"\x06" + struct.pack(">Q", HUNDRED_MB)
        with socket.create_connection(("127.0.0.1", process.port), LONG_MS / 1000) as line:
            line.sendall(frame)
            assert _sent_until_it_broke(line) < HUNDRED_MB
        assert is_served(bot)
        stays_small(process)


def _sent_until_it_broke(line: socket.socket) -> int:
    for sent in range(0, HUNDRED_MB, 100_000):
        try:
            line.sendall(bytes(100_000))
        except OSError:
            return sent
    return HUNDRED_MB


def test_noise_on_the_port_harms_nobody(tmp_path: Path) -> None:
    with served(tmp_path) as (process, bot):
        noises = [os.urandom(2_000), b"GET / HTTP/1.1\r\n\r\n", GREETING + b"\x04\xff" + bytes(300)]
        for noise in noises * 20:
            with socket.create_connection(("127.0.0.1", process.port)) as line:
                line.sendall(noise)
        assert is_served(bot)
        assert process.is_alive


# Members.


def secured(socket_: zmq.Socket[bytes], keys: LinkKeys, port: int) -> None:
    socket_.curve_serverkey = keys.server.encode()
    socket_.curve_publickey = keys.own.public.encode()
    socket_.curve_secretkey = keys.own.secret.encode()
    socket_.linger = 0
    socket_.connect(f"tcp://127.0.0.1:{port}")


class Flood(Threaded):
    """A member that asks without a pause, and counts what it is told."""

    def __init__(self, keys: LinkKeys, port: int, *, listens: bool) -> None:
        super().__init__()
        self._keys, self._port, self._listens = keys, port, listens
        self.sent = self.refused = self.answered = 0

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            secured(dealer, self._keys, self._port)
            self._ready.set()
            while not self._stop.is_set():
                if dealer.poll(5, zmq.POLLOUT):
                    self.sent += offer(dealer, [b"", b'{"action":"GET_POSITIONS"}'])
                while self._listens and dealer.poll(0):
                    self._hear(dealer.recv_multipart()[-1])

    def _hear(self, reply: bytes) -> None:
        self.answered += 1
        said = json.loads(reply)
        if said["status"] == "FAILED" and "asks more than 100 times a second" in said["error"]:
            self.refused += 1


@pytest.mark.parametrize("listens", [True, False], ids=["listens", "never listens"])
def test_a_flood_of_one_member_leaves_the_others_served(tmp_path: Path, listens: bool) -> None:
    with served(tmp_path, "rate=Rate(per_sec=100, burst=100)") as (process, bot):
        keys, began = process.keys.link_keys("flood"), time.monotonic()
        with ExitStack() as stack:
            floods = [
                stack.enter_context(Flood(keys, process.port, listens=listens)) for _ in range(3)
            ]
            until(lambda: all(flood.sent > 1_000 for flood in floods))
            if listens:
                until(lambda: sum(flood.refused for flood in floods) > 1_000)
            assert is_served(bot)
            filled = bot.send_order(order("A"))
            assert filled["status"] == "FILLED", filled["error"]
        # The rate is the key's, not the connection's.
        answered = sum(flood.answered - flood.refused for flood in floods)
        assert answered < 100 * (time.monotonic() - began) + 200
        assert is_served(bot)
        stays_small(process)


def test_a_hundred_megabytes_of_a_member_are_not_kept(tmp_path: Path) -> None:
    with (
        served(tmp_path) as (process, bot),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.sndtimeo = LONG_MS
        secured(dealer, process.keys.link_keys("flood"), process.port)
        dealer.send_multipart([b"", b'{"action":"PING"}'])
        assert dealer.poll(LONG_MS)
        dealer.recv_multipart()
        dealer.send_multipart([b"", bytes(HUNDRED_MB)])

        def lost_it_and_came_back() -> bool:
            offer(dealer, [b"", b'{"action":"PING"}'])
            return bool(dealer.poll(100))

        until(lost_it_and_came_back)
        assert b"SUCCESS" in dealer.recv_multipart()[-1]
        assert is_served(bot)
        stays_small(process)


def test_fifty_members_come_at_once_and_all_are_served(tmp_path: Path) -> None:
    with served(tmp_path) as (process, _):
        served_: list[bool] = []

        def ask() -> None:
            with process.bot("bot1") as one:
                served_.append(one.connect())

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_MS / 1000)
        assert served_ == [True] * 50
