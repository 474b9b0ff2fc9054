"""Hints from a gateway to a bot, over real sockets: a reason to ask, and never a truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from tests.gateway.busy_gateway import SYMBOL, BusyGateway
from tests.support.servers import ZmqServer, until
from trueup.core.digest import digest
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_hints import ZmqHints
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.terminal.mt5_constants import ORDER_TYPE_BUY
from trueup.protocol.hints import Hint, capability, encode_hint, hints_port
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult
from trueup.runtime.time.clock import ManualClock

NEVER_SEC = 86_400.0
LONG_MS = 60_000
LOCAL = "127.0.0.1"
EMPTY = digest(())


@contextmanager
def bot(port: int, clock: ManualClock) -> Iterator[StateReconciler]:
    """A bot that has recovered, and whose next sync is due in a day."""
    with ExecutionGateway(LOCAL, port, LONG_MS) as gateway:
        pm = PortfolioManager(SYMBOL, clock=clock)
        reconciler = StateReconciler(pm, gateway, NEVER_SEC)
        reconciler.startup_recovery()
        yield reconciler


class TestAGatewayOfOurs:
    @pytest.fixture
    def served(self) -> Iterator[BusyGateway]:
        with BusyGateway(watch_ms=50) as gateway:
            yield gateway

    def turns(self, served: BusyGateway, reconciler: StateReconciler) -> SyncResult | None:
        served.clock.advance(0.005)
        return reconciler.sync_continuous()

    def test_its_greeting_and_its_guides_reply_name_the_port(self, served: BusyGateway) -> None:
        for action in ("HELLO", "GET_POSITIONS"):
            until(lambda: hints_port(served.client().ask("HELLO")["capabilities"]))
            capabilities = served.client().ask(action)["capabilities"]
            assert hints_port(capabilities) == served.server.hints_port > 0

    def test_a_change_by_hand_is_in_the_book_long_before_the_interval(
        self, served: BusyGateway
    ) -> None:
        with bot(served.server.port, served.clock) as reconciler:
            ticket = served.by_hand(lambda person: person.open(SYMBOL, ORDER_TYPE_BUY, 0.1))
            result = until(lambda: self.turns(served, reconciler))
            assert (result.recovered, result.status.value) == (1, "SUCCESS")
            assert list(reconciler.portfolio.book.holdings) == [ticket]
            served.by_hand(lambda person: person.close(ticket))
            until(lambda: self.turns(served, reconciler) and not reconciler.portfolio.book.holdings)

    def test_nothing_changes_and_nothing_is_asked(self, served: BusyGateway) -> None:
        with bot(served.server.port, served.clock) as reconciler:
            # It listens for sure once it has heard of a change.
            served.by_hand(lambda person: person.open(SYMBOL, ORDER_TYPE_BUY, 0.1))
            until(lambda: self.turns(served, reconciler))
            asked = served.terminal.calls.count("symbol_info_tick")
            for _ in range(1_000):
                # Less in all than silence takes, however late the gateway's thread is.
                served.clock.advance(0.002)
                assert reconciler.sync_continuous() is None
            assert served.terminal.calls.count("symbol_info_tick") == asked

    def test_a_bot_without_hints_goes_on_as_ever(self, served: BusyGateway) -> None:
        with ExecutionGateway(LOCAL, served.server.port, LONG_MS, link=ZmqLink) as gateway:
            pm = PortfolioManager(SYMBOL, clock=served.clock)
            reconciler = StateReconciler(pm, gateway, 15)
            reconciler.startup_recovery()
            served.by_hand(lambda person: person.open(SYMBOL, ORDER_TYPE_BUY, 0.1))
            for _ in range(100):
                assert self.turns(served, reconciler) is None
            served.clock.advance(15)
            until(lambda: self.turns(served, reconciler))
            assert pm.book.holdings


class Hinter:
    """A gateway that hints what it likes: an empty account, and a socket for hints."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.asked = 0
        self.fails = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.hints = self._context.socket(zmq.XPUB)
        self.port = self.hints.bind_to_random_port("tcp://127.0.0.1")
        self._count = 0

    def handle(self, raw: bytes) -> bytes:
        request = json.loads(raw)
        if request["action"] == "SNAPSHOT":
            return self._snapshot(request)
        reply = {"status": "SUCCESS", "positions": []}
        return json.dumps({**reply, "capabilities": ["SNAPSHOT", capability(self.port)]}).encode()

    def _snapshot(self, request: dict[str, Any]) -> bytes:
        self.asked += 1
        if self.fails:
            return b'{"status":"FAILED","error":"the terminal is asleep"}'
        account = {
            "login": 1,
            "server": "s",
            "currency": "USD",
            "margin_mode": "hedging",
            "balance": 1.0,
            "equity": 1.0,
        }
        reply = {
            "status": "SUCCESS",
            "id": request["id"],
            "epoch": "boot.1",
            "sequence": self.asked,
            "digest": EMPTY,
            "account": account,
            "terminal": {"connected": True},
            "positions": [],
            "count_before": [0, 0],
            "count_after": [0, 0],
            "server_time_msc": 1,
        }
        return json.dumps(reply).encode()

    def say(self, digest: str = "", number: int = 0, boot: str = "boot") -> None:
        self._count = number or self._count + 1
        self.hints.send(encode_hint(Hint(self._count, boot, digest or EMPTY, 1_000)))

    def close(self) -> None:
        self.hints.close(0)
        self._context.term()


@pytest.fixture
def hinter() -> Iterator[Hinter]:
    made = Hinter()
    yield made
    made.close()


def listening(hinter: Hinter, reconciler: StateReconciler) -> None:
    """Return once the bot has heard the one hint so far, and asked because of it."""
    # The first call tells the bot's ear where to listen.
    assert reconciler.sync_continuous() is None
    assert hinter.hints.poll(LONG_MS), "nobody listens"
    hinter.say("elsewhere")
    until(reconciler.sync_continuous)


REASONS = {
    "something changed": lambda h: h.say("other"),
    "a gap": lambda h: h.say(number=10_000),
    "a restart": lambda h: h.say(boot="boot2"),
    "silence": lambda h: h.clock.advance(3.1),
}


@pytest.mark.parametrize("what", REASONS)
def test_a_reason_is_asked_about_once_and_changes_nothing_by_itself(
    hinter: Hinter, what: str
) -> None:
    with ZmqServer(hinter.handle) as server, bot(server.port, hinter.clock) as reconciler:
        listening(hinter, reconciler)
        asked, version = hinter.asked, reconciler.portfolio.book.version
        REASONS[what](hinter)
        until(reconciler.sync_continuous)
        assert hinter.asked == asked + 1
        assert reconciler.portfolio.book.version == version


def test_a_gateway_that_fails_is_asked_once_a_second_whatever_it_hints(hinter: Hinter) -> None:
    with ZmqServer(hinter.handle) as server, bot(server.port, hinter.clock) as reconciler:
        listening(hinter, reconciler)
        hinter.fails = True
        hinter.say("other")
        until(reconciler.sync_continuous)
        asked = hinter.asked
        for _ in range(100):
            hinter.say("yet another")
            reconciler.sync_continuous()
        assert hinter.asked == asked
        hinter.clock.advance(1.0)
        until(reconciler.sync_continuous)
        assert hinter.asked == asked + 1


def test_a_flood_of_hints_fills_no_memory(hinter: Hinter) -> None:
    line = ZmqHints(f"tcp://{LOCAL}:{hinter.port}")

    def comes() -> list[bytes]:
        hinter.say()
        return line.heard()

    until(comes)
    for _ in range(5_000):
        hinter.say("digest")
    heard = until(line.heard)
    assert 0 < len(heard) <= 100
    line.close()
