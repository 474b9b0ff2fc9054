"""An order end to end, over loopback to a worker's terminal, against bare durable commits."""

from __future__ import annotations

import itertools
import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks._gateways import LOOPBACK, SYMBOL, _child
from benchmarks._measure import in_turn, report
from benchmarks.journal import bare, order
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.store import RequestStore
from trueup.gateway.server.front import Front
from trueup.gateway.server.sockets import Server
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.journal.rows.codec import encode
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import SystemClock

PROCESSES = 3
ORDERS = 300
COMMITS = 8


def run() -> int:
    """Measure all; return how many targets were missed."""
    logging.getLogger("trueup").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        return end_to_end(Path(folder))


def _serve(pipe: Connection, folder: Path) -> None:
    clock = SystemClock()
    with WorkerTerminal("benchmarks.door:simulated") as worker:
        assert worker.initialize()
        store = RequestStore(folder / "record.db", "bench", clock.now_ns)
        front = Front(Desk(worker, "bench", clock.now_ns, store=store), clock.now_ns)
        with Server(LOOPBACK, front.handle) as server:
            pipe.send(server.port)
            threading.Thread(target=front.run, args=(server,), daemon=True).start()
            pipe.recv()
        front.stop()


@contextmanager
def durable_gateway(folder: Path) -> Iterator[int]:
    """Run a gateway with a worker and a record on disk; yield the port."""
    with _child(_serve, folder) as pipe:
        yield pipe.recv()
        pipe.send("end")


def end_to_end(folder: Path) -> int:
    """An order of the desk until its outcome is on disk, against a bare commit."""
    with ExitStack() as stack:
        port = stack.enter_context(durable_gateway(folder))
        gateway = stack.enter_context(ExecutionGateway("127.0.0.1", port, 60_000))
        pm = PortfolioManager(SYMBOL, journal=folder / "bot.db")
        stack.callback(pm.close_journal)
        reconciler = StateReconciler(pm, gateway, 3_600, account="")
        reconciler.startup_recovery()
        connection = bare(folder / "bare.db")
        stack.callback(connection.close)
        payload = encode(order(0)).payload
        keys = map(str, itertools.count())

        def trade() -> None:
            # Opened and closed in turn, because the simulated terminal is slow with many positions.
            held = next(iter(pm.book.holdings), None)
            key = next(keys)
            sent = pm.close(held, key=key) if held else pm.submit("buy", 0.01, key=key)
            assert sent.status.value == "FILLED", sent.error

        def commit() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO events (payload) VALUES (?)", (payload,))
            connection.execute("COMMIT")

        pair = in_turn(trade, commit, ORDERS)
    return report("an order end to end", pair.ratio, COMMITS, "bare commits", pair.times(), pair)
