"""Gate 1 audit: what the guide promises, exercised with objects and sockets, one line a check.

The broker is the simulated terminal behind its gateway server, on a loopback port; gateways that
misbehave are small servers of the guide's kind. Exit code 0 when every check holds, else 1.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.support import (
    ROOT,
    GuideGateway,
    free_port,
    listing,
    row,
    use_project_python,
)

use_project_python()

import zmq  # noqa: E402

import src.config  # noqa: E402
import src.main_paper_trading  # noqa: E402
import src.strategy.reconciler  # noqa: E402
import trueup.gateway.client.execution_gateway  # noqa: E402
import trueup.runtime.bot.portfolio  # noqa: E402
import trueup.runtime.sync.reconciler  # noqa: E402
from src.main_paper_trading import ExecutionGateway  # noqa: E402
from src.strategy.portfolio import OrderStatus, PortfolioManager  # noqa: E402
from src.strategy.reconciler import StateReconciler, SyncStatus  # noqa: E402
from trueup.sim.process.process import TerminalOptions, TerminalProcess  # noqa: E402
from trueup.sim.process.whereabouts import ask  # noqa: E402

HOST = "127.0.0.1"
LINES: list[str] = []
CHECKS: list[tuple[str, Callable[[], None]]] = []


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LINES.append(record.getMessage())


def check(promise: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Add a function to the audit under the promise that it checks."""

    def add(function: Callable[[], None]) -> Callable[[], None]:
        CHECKS.append((promise, function))
        return function

    return add


@contextmanager
def terminal(account: str = "hedging") -> Iterator[TerminalProcess]:
    """A simulated terminal behind its gateway, served by a thread."""
    process = TerminalProcess(TerminalOptions(account=account, feed="random", speed=0.001))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            process.turn(5)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield process
    finally:
        ended.set()
        thread.join()
        process.close()


@contextmanager
def trader(port: int, timeout_ms: int = 2000) -> Iterator[tuple[Any, Any, Any]]:
    """A book, a gateway and a reconciler, as the guide's second option makes them."""
    with ExecutionGateway(HOST, port, timeout_ms) as gateway:
        pm = PortfolioManager(symbol="EURUSD")
        yield pm, gateway, StateReconciler(pm, gateway, sync_interval_sec=0.001)


@contextmanager
def started(port: int) -> Iterator[tuple[Any, Any, Any]]:
    """A trader that has seen the broker: before that nothing is opened."""
    with trader(port) as (pm, gateway, reconciler):
        assert reconciler.startup_recovery().status is SyncStatus.SUCCESS
        yield pm, gateway, reconciler


def place(pm: Any, gateway: Any, signal: int, volume: float = 0.02) -> tuple[Any, dict[str, Any]]:
    """Make an order, send it, and tell the book what came of it."""
    order = pm.create_order(signal, 1.07, volume)
    assert order is not None
    outcome = gateway.send_order(
        {
            "order_id": order.order_id,
            "symbol": order.symbol,
            "action": order.action,
            "volume": order.volume,
            "price": order.entry_price,
            "position": order.position,
        }
    )
    assert pm.on_fill(outcome), outcome
    return order, outcome


def sync_until(reconciler: Any, holds: Callable[[Any], bool]) -> Any:
    """Sync until a result is as wanted: what we touched ourselves is left to settle for a while."""
    deadline = time.monotonic() + 10
    result = reconciler.sync_positions()
    while not holds(result):
        assert time.monotonic() < deadline, result
        time.sleep(0.02)
        result = reconciler.sync_positions()
    return result


def settle(reconciler: Any) -> None:
    """Sync, and let the time pass in which what we did ourselves is left alone."""
    reconciler.sync_positions()
    time.sleep(reconciler.get_status()["settle_window_ms"] / 1000)


def logged(pattern: str) -> bool:
    """Whether a whole log line matches."""
    return any(re.fullmatch(pattern, line) for line in LINES)


def _same(reading: Any, _: dict[str, Any]) -> Any:
    return reading


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python from the root of the checkout."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@check("the guide's import paths give the package's own classes")
def _() -> None:
    assert StateReconciler is trueup.runtime.sync.reconciler.StateReconciler
    assert src.strategy.reconciler.SyncResult is trueup.runtime.sync.reconciler.SyncResult
    assert SyncStatus is trueup.runtime.sync.reconciler.SyncStatus
    assert PortfolioManager is trueup.runtime.bot.portfolio.PortfolioManager
    assert ExecutionGateway is trueup.gateway.client.execution_gateway.ExecutionGateway
    assert callable(src.main_paper_trading.main)
    for name in ("SYNC_INTERVAL_SEC", "GTW_HOST", "GTW_PORT", "GTW_TIMEOUT_MS"):
        assert hasattr(src.config, name), name


@check("a second copy of the package under another name is refused")
def _() -> None:
    done = run_python("import src.trueup")
    assert done.returncode != 0
    assert "src.trueup" in done.stderr.strip().splitlines()[-1], done.stderr


@check("settings come from the environment")
def _() -> None:
    code = (
        "from src.config import *; import src.config as c; print(c.SYNC_INTERVAL_SEC, c.GTW_PORT)"
    )
    done = run_python(code, SYNC_INTERVAL_SEC="30", GTW_PORT="6001")
    assert done.stdout.split() == ["30", "6001"], done


@check("a bad setting is one sentence with the variable, its value and what would be valid")
def _() -> None:
    for name, value in (("GTW_PORT", "abc"), ("SYNC_INTERVAL_SEC", "0"), ("GTW_HOST", "tcp://x")):
        done = run_python("import src.config", **{name: value})
        said = done.stderr.strip().splitlines()[-1]
        assert done.returncode != 0, name
        assert name in said, said
        assert repr(value) in said, said
        assert "give" in said, said


@check("a REQ client of the guide's wire is served: GET_POSITIONS, an order, nonsense")
def _() -> None:
    with terminal() as process, zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger, client.rcvtimeo = 0, 5000
        client.connect(process.whereabouts.gateway)

        def exchange(request: bytes) -> dict[str, Any]:
            client.send(request)
            reply: dict[str, Any] = json.loads(client.recv())
            return reply

        order = {"order_id": "A", "symbol": "EURUSD", "action": "BUY", "volume": 0.01}
        filled = exchange(json.dumps({**order, "price": 1.07, "confidence": 0.6}).encode())
        assert filled["status"] == "FILLED", filled
        reply = exchange(b'{"action": "GET_POSITIONS", "symbol": "*"}')
        assert reply["status"] == "SUCCESS", reply
        assert reply["positions"][0]["ticket"] == filled["ticket"], reply
        assert reply["positions"][0]["type"] == "buy", reply
        assert exchange(b"{nonsense")["status"] == "ERROR"


@check("an order is filled, and the book agrees with the broker without any correction")
def _() -> None:
    with terminal() as process, started(process.whereabouts.port) as (pm, gateway, reconciler):
        order, outcome = place(pm, gateway, 1)
        assert outcome["status"] == "FILLED", outcome
        assert order.status is OrderStatus.FILLED
        result = reconciler.sync_positions()
        assert result.status is SyncStatus.SUCCESS, result
        assert (result.recovered, result.closed, result.drifts) == (0, 0, []), result
        assert pm.position.net_volume == 0.02


@check("an order against a position closes it, on a hedging and on a netting account")
def _() -> None:
    for account in ("hedging", "netting"):
        with terminal(account) as process, started(process.whereabouts.port) as (pm, gateway, sync):
            place(pm, gateway, -1)
            place(pm, gateway, 1)
            assert pm.position is None, account
            assert gateway.get_positions()["positions"] == [], account
            assert sync.detect_drift() is None, account


@check("an order that the broker refuses is REJECTED and leaves the book flat")
def _() -> None:
    with terminal() as process, started(process.whereabouts.port) as (pm, gateway, _reconciler):
        order, outcome = place(pm, gateway, 1, volume=0.001)
        assert outcome["status"] == "REJECTED", outcome
        assert outcome["error"], outcome
        assert order.status is OrderStatus.REJECTED
        assert pm.position is None


@check("scenario 1, clean startup: nothing to recover")
def _() -> None:
    with terminal() as process, trader(process.whereabouts.port) as (_pm, _gateway, reconciler):
        result = reconciler.startup_recovery()
        assert (result.status, result.recovered) == (SyncStatus.SUCCESS, 0), result
        assert "[STARTUP] Starting recovery process" in LINES


@check("scenario 2, crash recovery: a new process finds the old one's position")
def _() -> None:
    with terminal() as process:
        with started(process.whereabouts.port) as (pm, gateway, _reconciler):
            _, outcome = place(pm, gateway, 1)
        with trader(process.whereabouts.port) as (pm, _gateway, reconciler):
            assert reconciler.startup_recovery().recovered == 1
            assert list(pm.get_local_positions()) == [outcome["ticket"]]
        ticket = outcome["ticket"]
        assert f"[RECOVERY] Zombie position recovered: Ticket {ticket}, LONG 0.02L" in LINES


@check("scenario 3, external modification: a position closed by hand leaves the book")
def _() -> None:
    with terminal() as process, started(process.whereabouts.port) as (pm, gateway, reconciler):
        _, outcome = place(pm, gateway, 1)
        settle(reconciler)
        assert ask(process.whereabouts, {"command": "close", "ticket": outcome["ticket"]})["ok"]
        sync_until(reconciler, lambda result: result.closed == 1)
        assert pm.position is None
        assert f"[CLOSED] Ghost position removed (Ticket {outcome['ticket']})" in LINES
        assert "[SYNC] Reconciliation complete: +0 -1 ~0 drifts" in LINES, LINES


@check("a partial close by hand is a drift, and the broker's volume wins")
def _() -> None:
    with terminal() as process, started(process.whereabouts.port) as (pm, gateway, reconciler):
        _, outcome = place(pm, gateway, 1)
        settle(reconciler)
        ticket = outcome["ticket"]
        asked = {"command": "partial", "ticket": ticket, "volume": 0.01}
        assert ask(process.whereabouts, asked)["ok"]
        drift = reconciler.detect_drift()
        assert drift is not None
        assert str(ticket) in drift, drift
        assert pm.position.net_volume == 0.02, "detect_drift() changed the book"
        assert len(reconciler.sync_positions().drifts) == 1
        assert pm.position.net_volume == 0.01
        assert "[DRIFT_FIX] Volume 0.02L → 0.01L" in LINES
        assert f"[DRIFT_FIX] Ticket {ticket}: volume mismatch corrected" in LINES
        assert reconciler.detect_drift() is None


@check("a sync without differences says so in the guide's words")
def _() -> None:
    with terminal() as process, trader(process.whereabouts.port) as (_pm, _gateway, reconciler):
        reconciler.sync_positions()
        assert "[SYNC] Starting full synchronization" in LINES
        assert logged(r"\[SYNC\] State Reconciled: Local matches Remote \(\d+\.\dms\)"), LINES


@check("a dead gateway: DEGRADED, Gateway offline, and the book as it was")
def _() -> None:
    with trader(free_port(), timeout_ms=50) as (pm, _gateway, reconciler):
        pm.force_add_position(row(123456))
        result = reconciler.startup_recovery()
        assert result.status is SyncStatus.DEGRADED, result
        assert "Gateway offline" in result.errors[0], result
        assert list(pm.get_local_positions()) == [123456]


@check("a gateway that comes back is seen again without a restart")
def _() -> None:
    with GuideGateway(lambda _: listing(row(1))) as server:
        port = server.port
        with trader(port) as (pm, _gateway, reconciler):
            reconciler.startup_recovery()
            server.answer = lambda _: {"status": "ERROR", "error": "terminal restarting"}
            assert reconciler.sync_positions().status is SyncStatus.DEGRADED
            assert list(pm.get_local_positions()) == [1]
            server.answer = lambda _: listing(row(1), row(2))
            assert reconciler.sync_positions().recovered == 1


@check("a reply that comes late is never taken for the answer to the next question")
def _() -> None:
    given_up = threading.Event()
    late = [True]

    def answer(_: dict[str, Any]) -> Any:
        if late and late.pop():
            given_up.wait(60)
            return listing(row(666))
        return listing(row(1))

    with GuideGateway(answer) as server, trader(server.port, 400) as (pm, _gateway, reconciler):
        assert reconciler.sync_positions().status is SyncStatus.DEGRADED
        given_up.set()
        # A busy machine may take longer than one question waits.
        looks = (reconciler.sync_positions() for _ in range(50))
        seen = next(look for look in looks if look.status is not SyncStatus.DEGRADED)
        assert seen.recovered == 1
        assert list(pm.get_local_positions()) == [1], "a late reply was believed"


@check("an order without an answer is UNKNOWN, sent once, and blocks new entries")
def _() -> None:
    def answer(request: dict[str, Any]) -> Any:
        return listing() if request["action"] == "GET_POSITIONS" else None

    with GuideGateway(answer) as deaf, trader(deaf.port, 1000) as (pm, gateway, reconciler):
        assert not pm.check_risk(1), "an entry passes before the broker was seen"
        reconciler.startup_recovery()
        order, outcome = place(pm, gateway, 1)
        assert outcome["status"] == "UNKNOWN", outcome
        assert order.status is OrderStatus.IN_DOUBT
        assert not pm.check_risk(1)
        assert pm.create_order(1, 1.07, 0.01) is None
        sent = [request for request in deaf.requests if request["action"] == "BUY"]
        assert len(sent) == 1, deaf.requests


@check("sync_continuous never waits: 10,000 calls before a silent gateway, one question")
def _() -> None:
    with GuideGateway(lambda _: None) as deaf, trader(deaf.port, 60_000) as (_pm, _gateway, sync):
        sync.sync_interval = 60.0
        spans = []
        for _ in range(10_000):
            began = time.perf_counter()
            assert sync.sync_continuous() is None
            spans.append(time.perf_counter() - began)
        assert sorted(spans)[9_900] < 0.001, f"p99 is {sorted(spans)[9_900] * 1000:.2f} ms"
        assert len(deaf.requests) <= 1, deaf.requests


@check("unreadable readings change nothing")
def _() -> None:
    readings: list[Any] = [[], "SUCCESS", 7, {}, {"status": "SUCCESS"}, {"status": "FAILED"}]
    readings += [{"status": "SUCCESS", "positions": None}, {"status": "SUCCESS", "positions": "x"}]
    with GuideGateway(lambda _: listing(row(1))) as server, trader(server.port) as (pm, _, sync):
        sync.sync_positions()
        for reading in readings:
            server.answer = functools.partial(_same, reading)
            result = sync.sync_positions()
            assert result.status is SyncStatus.DEGRADED, (reading, result)
            assert list(pm.get_local_positions()) == [1], reading


@check("a row that cannot be believed is named, and nothing is closed on that reading")
def _() -> None:
    with GuideGateway(lambda _: listing(row(1))) as server, trader(server.port) as (pm, _, sync):
        sync.sync_positions()
        server.answer = lambda _: listing(row(2), row(3, volume=float("nan")))
        result = sync.sync_positions()
        assert result.status is SyncStatus.PARTIAL, result
        assert (result.recovered, result.closed) == (1, 0), result
        assert "3" in result.errors[0], result
        assert list(pm.get_local_positions()) == [1, 2]


@check("the other spelling of the family is understood")
def _() -> None:
    other = {"ticket": "7", "symbol": "EURUSD", "type": 1, "volume": 0.01, "open_price": 1.07}
    reply = {"status": "ok", "uuid": "x", "positions": [other]}
    with GuideGateway(lambda _: reply) as server, trader(server.port) as (pm, _gateway, sync):
        assert sync.startup_recovery().recovered == 1
        assert pm.position.net_volume == -0.01


@check("any number of positions is recovered once, a short is no drift, dust is no drift")
def _() -> None:
    rows = [row(ticket, "sell" if ticket % 2 else "buy", 0.1 + 0.2) for ticket in range(1, 51)]
    with GuideGateway(lambda _: listing(*rows)) as server, trader(server.port) as (_pm, _, sync):
        assert sync.startup_recovery().recovered == 50
        server.answer = lambda _: listing(*({**one, "volume": 0.3} for one in rows))
        for _ in range(3):
            result = sync.sync_positions()
            assert (result.recovered, result.closed, result.drifts) == (0, 0, []), result


@check("positions in other symbols are never adopted and never closed")
def _() -> None:
    foreign = {**row(9), "symbol": "XAUUSD"}
    with GuideGateway(lambda _: listing(foreign)) as server, trader(server.port) as (pm, _, sync):
        result = sync.startup_recovery()
        assert (result.status, result.recovered) == (SyncStatus.SUCCESS, 0), result
        assert pm.position is None


@check("the audit trail keeps the last 1,000 entries, each with its evidence")
def _() -> None:
    rows = [row(ticket) for ticket in range(1, 1101)]
    with GuideGateway(lambda _: listing(*rows)) as server, trader(server.port) as (_pm, _, sync):
        sync.startup_recovery()
        trail = sync.get_audit_trail()
        assert len(trail) == 1000, len(trail)
        keys = {"timestamp", "action", "ticket", "details", "before", "after"}
        assert all(keys <= entry.keys() for entry in trail)
        assert [entry["ticket"] for entry in trail] == list(range(101, 1101))


@check("get_status has what the guide prints")
def _() -> None:
    with terminal() as process, trader(process.whereabouts.port) as (_pm, _gateway, reconciler):
        reconciler.startup_recovery()
        status = reconciler.get_status()
        wanted = {"sync_count", "last_sync_time", "next_sync_due", "audit_trail_entries"}
        assert wanted | {"portfolio_position"} <= status.keys(), status
        assert status["sync_count"] == 1, status


def main() -> int:
    """Run every check and return the exit code."""
    logger = logging.getLogger("trueup")
    logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    failed = 0
    for promise, function in CHECKS:
        LINES.clear()
        try:
            function()
        except Exception as error:  # noqa: BLE001 - whatever it raises, the check failed
            failed += 1
            because = str(error) or "see the line below"
            line = error.__traceback__ and error.__traceback__.tb_next
            where = f" (line {line.tb_lineno})" if line else ""
            print(f"FAILED  {promise}{where}: {type(error).__name__}: {because:.300}")
        else:
            print(f"ok      {promise}")
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
