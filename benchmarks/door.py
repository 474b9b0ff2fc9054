"""The door for programs of the official module: what it costs beside a bare call."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from benchmarks._gateways import LOOPBACK, RICH, SYMBOL, _child
from benchmarks._measure import in_turn, report
from trueup.doors.local_gateway import LocalGateway
from trueup.doors.mt5.door import Door
from trueup.doors.mt5.opening import Options
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.desk.desk import Desk
from trueup.gateway.reading.snapshots import READ
from trueup.gateway.server.front import Front
from trueup.gateway.server.sockets import Server
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import Terminal
from trueup.gateway.terminal.together import make_calls
from trueup.gateway.worker.worker import WorkerTerminal
from trueup.runtime.time.clock import SystemClock
from trueup.sim.terminal.terminal import SimulatedTerminal

PROCESSES = 3
ROUNDS = 2_000
LISTS = 300
BARS, MANY_BARS = 100_000, 1_000_000
DOWNLOADS = 10
BAR = np.dtype(
    [
        *(("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8")),
        *(("tick_volume", "<u8"), ("spread", "<i4"), ("real_volume", "<u8")),
    ]
)


def run() -> int:
    """Measure all; return how many targets were missed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        return in_process(Path(folder)) + bars()


def simulated() -> Terminal:
    """Return a simulated terminal, for a worker."""
    clock = SystemClock()
    terminal: Any = SimulatedTerminal(account=RICH, now_msc=lambda: clock.now_ns() // 1_000_000)
    terminal.initialize()
    terminal.quote(SYMBOL, 1.1, 1.1001)
    made: Terminal = terminal
    return made


class _Behind:
    """The worker behind a door."""

    def __init__(self, worker: WorkerTerminal) -> None:
        self.lists: Terminal = worker
        self.prices: Terminal = worker
        self._gateway = LocalGateway(worker)

    def gateway(self) -> ExecutionGateway:
        """Return the gateway."""
        return self._gateway

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Refuse."""
        return False

    def close(self) -> None:
        """Close the gateway."""
        self._gateway.disconnect()


def _opened(worker: WorkerTerminal, folder: Path) -> Door:
    def behind(options: Options, args: tuple[Any, ...], named: Mapping[str, Any]) -> _Behind:
        return _Behind(worker)

    door = Door(behind)
    assert door.initialize(journal=str(folder / "bench.db"), magic=7), door.last_error()
    return door


def in_process(folder: Path) -> int:
    """A call that passes through, and a proven list, beside the worker's own calls."""
    with WorkerTerminal(f"{__name__}:simulated") as worker:
        assert worker.initialize()
        door = _opened(worker, folder)
        pair = in_turn(
            partial(door.symbol_info_tick, SYMBOL), partial(worker.symbol_info_tick, SYMBOL), ROUNDS
        )
        missed = report("a call that passes through", pair.ratio, 1.2, "x bare", pair.times(), pair)
        _list(door)
        pair = in_turn(partial(_list, door), lambda: list(make_calls(worker, READ)), LISTS)
        what = "a proven list"
        # A sync compares, judges and plans; the calls themselves are one exchange.
        missed += report(
            what, pair.ratio, 5, "x its nine calls in one exchange", pair.times(), pair
        )
        door.shutdown()
    return missed


def _list(door: Door) -> None:
    session = door._session
    assert session is not None
    # Not a reading that is shared with the round before.
    session.readings.forget()
    assert door.positions_get() is not None


class _Bars:
    """A simulated terminal that has a million bars."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self._bars = np.zeros(MANY_BARS, BAR)
        self._bars["time"] = 60 * np.arange(1, MANY_BARS + 1)
        self._bars["close"] = np.random.default_rng(1).normal(1.1, 0.01, MANY_BARS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        """Return bars, counted back from the newest."""
        end = MANY_BARS - start
        return self._bars[max(0, end - count) : end].copy()

    def copy_rates_from(self, symbol: str, timeframe: int, until: int, count: int) -> Any:
        """Return bars up to a date."""
        end = int(np.searchsorted(self._bars["time"], until, side="right"))
        return self._bars[max(0, end - count) : end].copy()


def _serve_bars(pipe: Any) -> None:
    clock = SystemClock()
    terminal: Any = _Bars(simulated())
    front = Front(Desk(terminal, "bench", clock.now_ns), clock.now_ns)
    raw = np.zeros(BARS, BAR).tobytes()
    with Server(LOOPBACK, front.handle) as server:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        pipe.send((server.port, socket.bind_to_random_port("tcp://127.0.0.1")))
        threading.Thread(target=_send_bare, args=(socket, raw), daemon=True).start()
        front.run(server)


def _send_bare(socket: zmq.Socket[bytes], raw: bytes) -> None:
    while True:
        socket.recv()
        socket.send(raw)


class _Counting(ZmqLink):
    carried = 0

    def receive(self, timeout_ms: int) -> bytes | None:
        reply = super().receive(timeout_ms)
        _Counting.carried += len(reply or b"")
        return reply


@contextmanager
def _bare(port: int) -> Iterator[zmq.Socket[bytes]]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
    socket.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield socket
    finally:
        socket.close(0)


def bars() -> int:
    """100,000 bars over loopback, beside the same bytes over bare ZeroMQ; and a million."""
    with _child(_serve_bars) as pipe:
        port, bare_port = pipe.recv()
        gateway = ExecutionGateway("127.0.0.1", port, 60_000, link=_Counting)
        terminal = gateway.terminal()
        with _bare(bare_port) as socket:

            def ours() -> None:
                found = terminal.copy_rates_from_pos(SYMBOL, mt5.TIMEFRAME_M1, 0, BARS)
                assert len(found) == BARS

            def plain() -> None:
                socket.send(b"bars")
                assert len(socket.recv()) == BARS * BAR.itemsize

            ours()
            _Counting.carried = 0
            ours()
            size = _Counting.carried / (BARS * BAR.itemsize)
            pair = in_turn(ours, plain, DOWNLOADS)
        missed = report(f"{BARS:,} bars, bytes", size, 1.5, "x their own", f"time: {pair.times()}")
        tracemalloc.start()
        began = time.perf_counter()
        found = terminal.copy_rates_from_pos(SYMBOL, mt5.TIMEFRAME_M1, 0, MANY_BARS)
        took, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(found) == MANY_BARS
        own = MANY_BARS * BAR.itemsize
        missed += report(f"{MANY_BARS:,} bars, memory", peak / own, 3, "x theirs", f"{took:.1f} s")
        gateway.disconnect()
        terminal.shutdown()
    return missed
