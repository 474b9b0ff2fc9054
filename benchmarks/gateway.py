"""A gateway of ours: what a snapshot, an order and a change at the broker cost on the way."""

from __future__ import annotations

import logging
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from benchmarks._measure import report
from trueup.gateway.client import ExecutionGateway
from trueup.runtime.loop import TradingLoop
from trueup.runtime.portfolio import PortfolioManager
from trueup.runtime.prices import GatewayPrices
from trueup.runtime.reconciler import StateReconciler
from trueup.sim.process import TerminalOptions, TerminalProcess
from trueup.sim.whereabouts import Whereabouts, ask

SYMBOL = "EURUSD"
CLOSES = 40


class NoSignal:
    """A strategy that never trades."""

    def on_tick(self, tick: object) -> int:
        """Say nothing."""
        return 0


def run() -> int:
    """Measure all; return how many targets were missed."""
    logging.getLogger("trueup").addHandler(logging.NullHandler())
    logging.getLogger("trueup").propagate = False
    return manual_close()


def _terminal(pipe: Connection, home: str) -> None:
    os.environ["TRUEUP_HOME"] = home
    process = TerminalProcess(TerminalOptions(feed="random"))
    pipe.send(process.whereabouts)
    process.run()


@contextmanager
def terminal() -> Iterator[Whereabouts]:
    """Run the simulated terminal, as `trueup terminal` does, in a process of its own."""
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as home:
        process = multiprocessing.Process(target=_terminal, args=(there, home), daemon=True)
        process.start()
        yield here.recv()
        process.terminate()
        process.join()


def manual_close() -> int:
    """A close by hand at the terminal, until the position has left the book of a running bot."""
    delays_ms: list[float] = []
    with terminal() as where, ExecutionGateway("127.0.0.1", where.port, 5_000) as gateway:
        pm = PortfolioManager(SYMBOL)
        loop = TradingLoop(
            pm, StateReconciler(pm, gateway, 15), NoSignal(), GatewayPrices(gateway, SYMBOL)
        )
        bot = threading.Thread(target=loop.run, daemon=True)
        bot.start()
        for _ in range(CLOSES):
            ask(where, {"command": "open", "side": "buy", "volume": 0.1})
            _wait_until(lambda: bool(pm.book.holdings))
            ticket = next(iter(pm.book.holdings))
            began = time.perf_counter()
            ask(where, {"command": "close", "ticket": ticket})
            _wait_until(lambda: not pm.book.holdings)
            delays_ms.append((time.perf_counter() - began) * 1e3)
        loop.stop()
        bot.join()
    p95 = statistics.quantiles(delays_ms, n=20)[18]
    detail = f"median {statistics.median(delays_ms):.0f} ms, longest {max(delays_ms):.0f} ms"
    return report("manual close to book, p95", p95, 200, "ms", detail)


def _wait_until(is_so: object) -> None:
    assert callable(is_so)
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)
