"""A gateway of ours: what a snapshot, an order and a change at the broker cost on the way."""

from __future__ import annotations

import json
import logging
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from benchmarks._gateways import SYMBOL, holding, instant, instant_desk, terminal
from benchmarks._measure import Pair, in_turn, report
from benchmarks.sync import answering
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import SystemClock
from trueup.runtime.trading.loop import TradingLoop
from trueup.runtime.trading.prices import GatewayPrices
from trueup.sim.process.whereabouts import ask

MANY = 10_000
ROUNDS = 100
PAUSE_SEC = 0.05
ORDERS = 200
BATCHES = 25
EXCHANGES = 3_000
CLOSES = 40
PING = b'{"action":"PING"}'
TICK = b'{"action":"TICK","symbol":"EURUSD"}'


def run() -> int:
    """Measure all; return how many targets were missed."""
    logging.getLogger("trueup").addHandler(logging.NullHandler())
    logging.getLogger("trueup").propagate = False
    return unchanged() + order() + encrypted() + manual_close()


class Waiting(ZmqLink):
    """The real link, counting bytes; where the client would look again it waits, for no CPU.

    It waits equally long for every reply: what a processor forgets meanwhile is not the client's.
    """

    carried = 0

    def send(self, message: bytes, timeout_ms: int) -> None:
        """Send a request."""
        self.carried += len(message)
        super().send(message, max(timeout_ms, 5_000))

    def receive(self, timeout_ms: int) -> bytes | None:
        """Wait for the reply."""
        time.sleep(PAUSE_SEC)
        reply = super().receive(max(timeout_ms, 5_000))
        self.carried += len(reply or b"")
        return reply


class Bot:
    """A bot in agreement with a gateway, which syncs whenever it is told to."""

    def __init__(self, port: int) -> None:
        self.links: list[Waiting] = []
        gateway = ExecutionGateway("127.0.0.1", port, 60_000, link=self._link)
        self.reconciler = StateReconciler(PortfolioManager(SYMBOL), gateway, 1e-9)
        self.reconciler.startup_recovery()
        # The first sync after an adoption plans; from then on book and broker agree.
        self.sync()

    def _link(self, endpoint: str) -> Waiting:
        self.links.append(Waiting(endpoint))
        return self.links[-1]

    @property
    def carried(self) -> int:
        """The bytes of all requests and replies so far."""
        return sum(link.carried for link in self.links)

    def sync(self) -> float:
        """Sync as a loop does; return the seconds of CPU that this thread took."""
        began = time.thread_time()
        while (result := self.reconciler.sync_continuous()) is None:
            pass
        took = time.thread_time() - began
        assert result.status.value == "SUCCESS", result.errors
        return took


def unchanged() -> int:
    """A sync that finds nothing changed, with 10,000 positions open and with one."""
    with holding(MANY) as many_port, holding(1) as one_port:
        many, one = Bot(many_port), Bot(one_port)
        wire = _carried(many) / _carried(one)
        pair = Pair([], [])
        for _ in range(ROUNDS):
            pair.first.append(many.sync())
            pair.second.append(one.sync())
    what = f"unchanged {MANY:,} positions"
    missed = report(f"{what}, wire", wire, 1.2, "x one position", f"{_carried.__doc__}")
    return missed + report(f"{what}, client", pair.ratio, 1.2, "x one position", pair.times(), pair)


def _carried(bot: Bot) -> int:
    """bytes of a request and its reply"""
    before = bot.carried
    bot.sync()
    return bot.carried - before


def order() -> int:
    """CPU of an order at a terminal that answers at once, with no record of orders.

    The fastest batch counts: what other processes do to our caches is not the server's.
    """
    own_us = _fastest_us(instant_desk(SystemClock()).handle, time.thread_time)
    with instant(encrypted=False) as gateway, gateway.client() as socket:
        whole_us = _fastest_us(partial(_exchange, socket), gateway.cpu_sec)
    detail = f"{whole_us:.0f} us with sockets and threads"
    return report("an order, from bytes to bytes, CPU", own_us, 60, "us", detail)


def _fastest_us(carry_out: Callable[[bytes], bytes], cpu_sec: Callable[[], float]) -> float:
    """Return the CPU of an order in the fastest of many batches, in microseconds."""
    found = []
    for batch in range(BATCHES):
        orders = [_order(f"bench {batch} {number}") for number in range(ORDERS)]
        before = cpu_sec()
        for message in orders:
            assert b'"FILLED"' in carry_out(message)
        found.append((cpu_sec() - before) / ORDERS * 1e6)
    return min(found)


def _order(order_id: str) -> bytes:
    fields = {"order_id": order_id, "symbol": SYMBOL, "volume": 0.01, "price": 1.1}
    return json.dumps({"action": "BUY", **fields}).encode()


def encrypted() -> int:
    """A request through ROUTER with CURVE, against a bare plain REQ/REP exchange."""
    with (
        instant(encrypted=True) as gateway,
        gateway.client() as ours,
        answering(b'{"status":"SUCCESS"}') as bare_port,
        zmq.Context() as context,
        context.socket(zmq.REQ) as bare,
    ):
        bare.setsockopt(zmq.LINGER, 0)
        bare.connect(f"tcp://127.0.0.1:{bare_port}")
        pair = in_turn(partial(_exchange, ours, PING), partial(_exchange, bare, PING), EXCHANGES)
        desk = in_turn(partial(_exchange, ours, TICK), partial(_exchange, bare, TICK), EXCHANGES)
    detail = f"{pair.times()}; through the desk {desk.ratio:.2f} x"
    return report("a request with CURVE", pair.ratio, 2, "x bare plain REQ/REP", detail, pair)


def _exchange(socket: zmq.Socket[bytes], message: bytes) -> bytes:
    socket.send(message)
    return socket.recv()


class NoSignal:
    """A strategy that never trades."""

    def on_tick(self, tick: object) -> int:
        """Say nothing."""
        return 0


def manual_close() -> int:
    """A close by hand at the terminal, until the position has left the book of a running bot."""
    delays_ms: list[float] = []
    with terminal() as where, ExecutionGateway("127.0.0.1", where.port, 5_000) as gateway:
        pm = PortfolioManager(SYMBOL)
        reconciler = StateReconciler(pm, gateway, 15)
        loop = TradingLoop(pm, reconciler, NoSignal(), {SYMBOL: GatewayPrices(gateway, SYMBOL)})
        bot = threading.Thread(target=loop.run, daemon=True)
        bot.start()
        for _ in range(CLOSES):
            ask(where, {"command": "open", "side": "buy", "volume": 0.1})
            _wait_until(lambda: bool(pm.book.holdings))
            began = time.perf_counter()
            ask(where, {"command": "close", "ticket": next(iter(pm.book.holdings))})
            _wait_until(lambda: not pm.book.holdings)
            delays_ms.append((time.perf_counter() - began) * 1e3)
        loop.stop()
        bot.join()
    p95 = statistics.quantiles(delays_ms, n=20)[18]
    detail = f"median {statistics.median(delays_ms):.0f} ms, longest {max(delays_ms):.0f} ms"
    return report("a close by hand, until in the book", p95, 200, "ms (p95)", detail)


def _wait_until(is_so: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end, "nothing happened for 30 s"
        time.sleep(0.001)
