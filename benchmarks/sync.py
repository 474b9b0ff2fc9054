"""A sync over loopback TCP against a bare pyzmq exchange of the same bytes."""

from __future__ import annotations

import logging
import multiprocessing
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import zmq

from benchmarks._measure import in_turn, report
from trueup.core.model import Position, Side
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.protocol.guide import GET_POSITIONS
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler

PROCESSES = 3
TICKET = 500_000_000


def positions(count: int) -> list[Position]:
    """Return open positions as a terminal would have them."""
    chance = random.Random(7)
    return [
        Position(
            ticket=TICKET + n,
            identifier=TICKET + n,
            symbol="EURUSD",
            side=chance.choice(list(Side)),
            volume=chance.randint(1, 500) / 100,
            price_open=round(1.05 + chance.random() / 10, 5),
            profit=round(chance.uniform(-500, 500), 2),
            swap=round(chance.uniform(-5, 0), 2),
            time=1_767_571_200 + n,
            time_msc=(1_767_571_200 + n) * 1000,
            price_current=1.10234,
            magic=20260105,
            comment="trueup",
        )
        for n in range(count)
    ]


def reply(rows: list[Position]) -> bytes:
    """Return the guide's reply to GET_POSITIONS."""
    return msgspec.json.encode({"status": "SUCCESS", "positions": rows, "error": None})


def _serve(pipe: Connection, answer: bytes) -> None:
    socket = zmq.Context().socket(zmq.REP)
    pipe.send(socket.bind_to_random_port("tcp://127.0.0.1"))
    while True:
        socket.recv()
        socket.send(answer)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Run a bare REP socket in a process of its own; yield its port."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(there, answer), daemon=True)
    server.start()
    yield here.recv()
    server.terminate()
    server.join()


def run() -> int:
    """Measure all; return how many targets were missed.

    Log records are made, and thrown away by the handler, whose speed is not ours.
    """
    logging.getLogger("trueup").addHandler(logging.NullHandler())
    missed = one_position() + many_positions(1_000, 200) + many_positions(10_000, 40)
    return missed + recovery(10_000, 15) + growth()


@contextmanager
def reconciling(rows: list[Position]) -> Iterator[tuple[StateReconciler, zmq.Socket[bytes]]]:
    """Yield a reconciler in agreement with a server, and a bare socket to the same server."""
    with answering(reply(rows)) as port, ExecutionGateway("127.0.0.1", port, 5000) as gateway:
        reconciler = StateReconciler(PortfolioManager("EURUSD"), gateway, 15)
        reconciler.startup_recovery()
        bare: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        bare.connect(f"tcp://127.0.0.1:{port}")
        yield reconciler, bare
        bare.close(0)


def exchange(socket: zmq.Socket[bytes]) -> bytes:
    """Ask once, bare."""
    socket.send(GET_POSITIONS)
    return socket.recv()


def one_position() -> int:
    """One position: the whole sync against the bare exchange."""
    with reconciling(positions(1)) as (reconciler, bare):
        pair = in_turn(reconciler.sync_positions, lambda: exchange(bare), 4000)
    return report("1 position, sync", pair.ratio, 1.2, "x the bare exchange", pair.times(), pair)


def many_positions(count: int, rounds: int) -> int:
    """Many positions: what a sync costs beyond the bare exchange, for each of them."""
    with reconciling(positions(count)) as (reconciler, bare):
        pair = in_turn(reconciler.sync_positions, lambda: exchange(bare), rounds)
    each = pair.excess_us / count
    return report(
        f"{count:,} positions, sync", each, 2.5, "us a position above it", pair.times(), pair
    )


def recovery(count: int, rounds: int) -> int:
    """Recovery into an empty book: what it costs beyond the bare exchange, for each position."""
    rows = positions(count)
    with answering(reply(rows)) as port, ExecutionGateway("127.0.0.1", port, 5000) as gateway:
        bare: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        bare.connect(f"tcp://127.0.0.1:{port}")

        def recover() -> Any:
            result = StateReconciler(PortfolioManager("EURUSD"), gateway, 15).startup_recovery()
            assert result.recovered == count

        pair = in_turn(recover, lambda: exchange(bare), rounds)
        bare.close(0)
    each = pair.excess_us / count
    return report(
        f"{count:,} positions, recovery", each, 20, "us a position above it", pair.times()
    )


def growth() -> int:
    """What 2,000 further syncs without a change leave behind, in bytes."""
    with reconciling(positions(1)) as (reconciler, _):
        for _ in range(200):
            reconciler.sync_positions()
            reconciler.detect_drift()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            reconciler.sync_positions()
            reconciler.detect_drift()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    return report(
        "1,000 syncs without a change", grown, 4096, "bytes kept", "traced by tracemalloc"
    )
