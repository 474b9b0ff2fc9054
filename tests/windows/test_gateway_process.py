"""The gateway's command under strangers, edits of its allow file, and kills of its worker.

Windows ends a process whose network code touches a socket that is not its own, so each of these
must leave the same process serving, with keys and without. They hold on every system.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zmq

from tests.gateway.gateway_field import LOCAL, LONG_MS, ROOT, Field
from tests.gateway.locked_gateway import Keyring, order
from tests.support.processes import KILL
from tests.support.servers import free_port, until
from trueup.core.model import Snapshot
from trueup.gateway.access.descriptors import CONNECTIONS_MAX
from trueup.gateway.access.permissions import NOT_ALLOWED
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.server.sockets import FRAMES_MAX

pytestmark = pytest.mark.timeout(900)

COARSE_CLOCK = ROOT / "tests" / "support" / "coarse_clock"
COARSE = "a clock of 15.6 ms"
FOLDER = "Счёт один, копия"
LONG_SEC = 120.0
BOTS = "bot1 trade * {bot1}", "bot2 trade * {bot2}"
NUMBERS = itertools.count()
PING = b'{"action":"PING"}'


class Served:
    """A gateway process with keys or without, and the bots and strangers that come to it.

    Args:
        folder: for its files.
        has_keys: whether only bots with keys are let in.
        is_coarse: whether its clocks, and its worker's, go in steps of 15.6 ms.
    """

    def __init__(self, folder: Path, *, has_keys: bool, is_coarse: bool = False) -> None:
        self.has_keys = has_keys
        (folder / "keys").mkdir(parents=True)
        self.keys = Keyring(folder / "keys")
        self.keys.allow(*BOTS)
        self.field = Field(folder)
        allow = "--allow", str(self.keys.allow_file)
        key = "--key", str(self.keys.secret_file("gateway"))
        self.hints_port = free_port()
        options = "--rate", "0", "--hints-port", str(self.hints_port)
        path = [str(COARSE_CLOCK)] * is_coarse + [str(ROOT / "src")]
        self.field.start_gateway(
            *options, *((*key, *allow) if has_keys else ()), PYTHONPATH=os.pathsep.join(path)
        )
        self.worker = self.field.wait_for_worker()

    def bot(self, name: str, timeout_ms: int = LONG_MS) -> ExecutionGateway:
        if self.has_keys:
            return self.keys.bot(name, self.field.port, timeout_ms)
        return ExecutionGateway(LOCAL, self.field.port, timeout_ms, server_key="")

    def dressed(self, raw: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        """Give a bare socket what it needs to be let in."""
        raw.linger, raw.rcvtimeo, raw.sndtimeo = 0, LONG_MS, LONG_MS
        if self.has_keys:
            keys = self.keys.link_keys("bot2")
            raw.curve_serverkey = keys.server.encode()
            raw.curve_publickey = keys.own.public.encode()
            raw.curve_secretkey = keys.own.secret.encode()
        return raw

    def is_whole(self) -> bool:
        """Whether neither the gateway nor its worker was replaced."""
        return len(self.field.said("Serving")) == 1 and self.field.workers()[-1] == self.worker


@pytest.fixture(scope="module", params=["keys", "plain"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One gateway for all tests with keys, and one for those without: starting takes seconds."""
    folder = tmp_path_factory.mktemp("gateway") / FOLDER
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GTW_", "TRUEUP_"))]:
            patch.delenv(name)
        patch.setenv("TRUEUP_HOME", str(folder / "state"))
        has_keys, is_coarse = request.param == "keys", request.param == COARSE
        made = Served(folder, has_keys=has_keys, is_coarse=is_coarse)
        yield made
        made.field.close()


# What a gateway says while its terminal is busy, as it may be on a busy machine.
BUSY = re.compile(r"the terminal has been busy for|went by before its turn came")


def is_served(bot: ExecutionGateway) -> bool:
    """Wait until a bot reads and trades, however busy the terminal is."""
    until(lambda: has_listed(bot), LONG_SEC)
    until(lambda: has_traded(bot), LONG_SEC)
    return True


def has_listed(bot: ExecutionGateway) -> bool:
    """List the positions; False where the terminal is busy."""
    listed = bot.get_positions()
    assert listed["status"] == "SUCCESS" or BUSY.search(listed["error"]), listed["error"]
    return bool(listed["status"] == "SUCCESS")


def has_traded(bot: ExecutionGateway) -> bool:
    """Send an order; False where the terminal was too busy to get it."""
    filled = bot.send_order(order(f"ORDER {next(NUMBERS)}"))
    assert filled["status"] == "FILLED" or BUSY.search(filled["error"]), filled["error"]
    return bool(filled["status"] == "FILLED")


def knows_all(bot: ExecutionGateway) -> bool:
    """Read; a hint from before may come after the answer, and is a reason to read again."""
    reading = bot.read()
    if not isinstance(reading, Snapshot):
        assert BUSY.search(reading.sentence), reading
        return False
    return not bot.hint(time.time_ns())


def all_hear_of_a_trade(*bots: ExecutionGateway) -> None:
    """The first one trades, and each hears that something changed."""
    until(lambda: all(knows_all(bot) for bot in bots), LONG_SEC)
    assert is_served(bots[0])
    until(lambda: all(bot.hint(time.time_ns()) for bot in bots), LONG_SEC)


def test_the_allow_file_is_edited_while_bots_ask_trade_and_listen(served: Served) -> None:
    with served.bot("bot1") as bot, served.bot("bot2") as other:
        assert is_served(other)
        all_hear_of_a_trade(bot, other)
        for edit in range(3):
            served.keys.allow(BOTS[0], f"# edit {edit}")
            all_hear_of_a_trade(bot)
            if served.has_keys:
                refused = other.send_order(order(f"ORDER {next(NUMBERS)}"))
                assert refused["error"] == f"not sent: {NOT_ALLOWED}"
            served.keys.allow(*BOTS)
            assert is_served(other)
            all_hear_of_a_trade(bot, other)
    assert served.is_whole()


def test_the_coarse_clock_goes_in_steps_of_a_64th_of_a_second() -> None:
    said = "import time; print(time.monotonic_ns(), time.time_ns())"
    environment = {**os.environ, "PYTHONPATH": str(COARSE_CLOCK)}
    command = [sys.executable, "-P", "-c", said]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert [int(now_ns) % (1_000_000_000 // 64) for now_ns in done.stdout.split()] == [0, 0]


@pytest.mark.parametrize("served", ["plain", COARSE], indirect=True)
def test_how_soon_a_bot_hears_of_anothers_trade_is_told(
    served: Served,
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> None:
    """The clock of Windows goes in steps of 15.6 ms; what that comes to is told, not judged."""
    heard_ms = []
    with served.bot("bot1") as bot, served.bot("bot2") as other:
        for _ in range(20):
            until(lambda: knows_all(other), LONG_SEC)
            until(lambda: has_traded(bot), LONG_SEC)
            began = time.perf_counter()
            until(lambda: other.hint(time.time_ns()), LONG_SEC)
            heard_ms.append((time.perf_counter() - began) * 1_000)
    told = f"{statistics.median(heard_ms):.0f} ms in the median, {max(heard_ms):.0f} ms at most"
    clock = request.node.callspec.params["served"]
    record_property(f"a fill at one bot was hinted at to another ({clock}) after", told)


def test_messages_of_51_frames_are_passed_over(served: Served) -> None:
    endpoint = f"tcp://{LOCAL}:{served.field.port}"
    assert FRAMES_MAX < 51
    with (
        served.bot("bot1") as bot,
        zmq.Context() as context,
        closing(served.dressed(context.socket(zmq.DEALER))) as raw,
    ):
        raw.connect(endpoint)
        for _ in range(20):
            raw.send_multipart([PING] * 51)
            raw.send_multipart([b"", PING])
            assert b"SUCCESS" in raw.recv_multipart()[-1]
            assert is_served(bot)
        assert not raw.poll(0)
    assert served.is_whole()


@pytest.mark.flood
def test_1001_connects_that_say_nothing_leave_the_bots_served(served: Served) -> None:
    port = served.field.port
    with served.bot("bot1") as bot:
        for _ in range(2):
            assert is_served(bot)
            with ExitStack() as lines:
                for at in [port] * 1001 + [served.hints_port] * 1001:
                    line = socket.create_connection((LOCAL, at), LONG_SEC)
                    lines.enter_context(line)
                assert is_served(bot)
                with served.bot("bot2") as newcomer:
                    assert is_served(newcomer)
        assert is_served(bot)
    assert served.is_whole()


@pytest.mark.flood
def test_1001_members_at_once_fill_the_room_and_the_process_lives(served: Served) -> None:
    """The thousandth and first is refused where there are keys; nobody who stands is hung up on."""
    endpoint = f"tcp://{LOCAL}:{served.field.port}"
    with served.bot("bot1") as bot, zmq.Context() as context:
        assert is_served(bot)
        # Of the kinds of sockets this one connects to an endpoint as often as it is told to.
        many = served.dressed(context.socket(zmq.ROUTER))
        for _ in range(CONNECTIONS_MAX + 1):
            many.connect(endpoint)
        if served.has_keys:
            until(lambda: served.field.said("1000 connections: others are refused"), LONG_SEC)
        assert is_served(bot)
        many.close(0)
        newcomer = served.bot("bot2", 1_000)
        until(newcomer.connect, LONG_SEC)
        newcomer.disconnect()
        assert is_served(bot)
    assert served.is_whole()


# -- the worker is killed while it starts ------------------------------------------------------


@pytest.mark.parametrize("served", ["plain"], indirect=True)
@pytest.mark.parametrize("after_sec", [0.0, 0.05, 1.0])
def test_a_worker_that_is_killed_at_its_start_is_replaced_at_once(
    served: Served, after_sec: float
) -> None:
    with served.bot("bot1") as bot:
        assert is_served(bot)
        before = len(_begun(served))
        os.kill(served.field.workers()[-1], KILL)
        # The next one is killed so long after it was started, and the one after it lives.
        until(lambda: len(_begun(served)) > before, LONG_SEC)
        threading.Event().wait(after_sec)
        _kill(_begun(served)[-1])
        until(lambda: len(_begun(served)) > before + 1 or _is_up(served), LONG_SEC)
        until(lambda: bot.get_positions()["status"] == "SUCCESS", LONG_SEC)
        assert is_served(bot)
    served.worker = served.field.workers()[-1]
    assert served.is_whole()


def _begun(served: Served) -> list[int]:
    """Every worker that was started, the latest last."""
    return [int(pid) for pid in served.field.said(r"Initialising in process (\d+)")]


def _is_up(served: Served) -> bool:
    return served.field.workers()[-1] == _begun(served)[-1]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, KILL)
    except OSError:
        # It ended by itself.
        return
