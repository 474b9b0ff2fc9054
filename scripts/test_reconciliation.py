"""The guide's first option: eight tests of reconciliation, about one second, no gateway needed.

They use real sockets on this machine: a gateway of the guide's kind, in a thread, and a port at
which nobody listens.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.support import (
    GuideGateway,
    free_port,
    listing,
    row,
    use_project_python,
)

use_project_python()

from trueup.gateway.client.execution_gateway import ExecutionGateway  # noqa: E402
from trueup.runtime.bot.portfolio import OrderStatus, PortfolioManager  # noqa: E402
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus  # noqa: E402

LINES: list[str] = []


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LINES.append(record.getMessage())


@contextmanager
def wired(*rows: Any) -> Iterator[tuple[PortfolioManager, StateReconciler, GuideGateway]]:
    """A book and its reconciler before a gateway that has these positions."""
    held = listing(*rows)
    with GuideGateway(lambda _: held) as server, ExecutionGateway("127.0.0.1", server.port) as link:
        pm = PortfolioManager(symbol="EURUSD")
        yield pm, StateReconciler(pm, link, sync_interval_sec=0.001), server


def startup_recovery() -> None:
    """A position that outlived a crash is in the book again, with the guide's log line."""
    with wired(row(123456)) as (pm, reconciler, _):
        result = reconciler.startup_recovery()
        assert (result.status, result.recovered) == (SyncStatus.SUCCESS, 1), result
        assert pm.position is not None
        assert pm.position.net_volume == 0.01
        line = "[RECOVERY] Zombie position recovered: Ticket 123456, LONG 0.01L"
        assert line in LINES, LINES


def continuous_drift_detection() -> None:
    """`sync_continuous` notices a change by itself, and never waits for the gateway."""
    with wired(row(123456)) as (_, reconciler, server):
        reconciler.startup_recovery()
        server.answer = lambda _: listing(row(123456, price=1.0544))
        deadline = time.monotonic() + 5
        result = reconciler.sync_continuous()
        while not (result and result.drifts) and time.monotonic() < deadline:
            result = reconciler.sync_continuous()
        assert result is not None
        assert len(result.drifts) == 1, result


def zombie_and_ghost() -> None:
    """What the broker alone has is recovered, what the book alone has is closed, in one sync."""
    with wired(row(1)) as (pm, reconciler, server):
        reconciler.startup_recovery()
        server.answer = lambda _: listing(row(2, side="sell"))
        result = reconciler.sync_positions()
        assert (result.recovered, result.closed) == (1, 1), result
        assert list(pm.get_local_positions()) == [2]
        assert "[CLOSED] Ghost position removed (Ticket 1)" in LINES, LINES


def volume_drift() -> None:
    """The broker's volume wins; float dust and a short are no drift."""
    with wired(row(1), row(2, "sell", volume=0.1 + 0.2)) as (pm, reconciler, server):
        reconciler.startup_recovery()
        server.answer = lambda _: listing(row(1, volume=0.02), row(2, "sell", volume=0.3))
        result = reconciler.sync_positions()
        assert len(result.drifts) == 1, result
        assert pm.get_local_positions()[1].net_volume == 0.02
        assert reconciler.detect_drift() is None
        assert "[DRIFT_FIX] Volume 0.01L → 0.02L" in LINES, LINES


def gateway_offline() -> None:
    """Behind a port at which nobody listens there is no flat account, but an unknown one."""
    pm = PortfolioManager(symbol="EURUSD")
    pm.force_add_position(row(123456))
    with ExecutionGateway("127.0.0.1", free_port(), timeout_ms=50) as gateway:
        result = StateReconciler(pm, gateway).startup_recovery()
    assert result.status is SyncStatus.DEGRADED, result
    assert "Gateway offline" in result.errors[0], result
    assert list(pm.get_local_positions()) == [123456]


def audit_trail() -> None:
    """Every correction is explained, and 1,000 explanations are kept."""
    with wired(*(row(ticket) for ticket in range(1, 1101))) as (_, reconciler, server):
        reconciler.startup_recovery()
        server.answer = lambda _: listing(*(row(ticket) for ticket in range(2, 1101)))
        reconciler.sync_positions()
        trail = reconciler.get_audit_trail()
        assert len(trail) == 1000, len(trail)
        assert (trail[-1]["action"], trail[-1]["ticket"]) == ("CLOSED", 1), trail[-1]
        assert (trail[0]["action"], trail[0]["ticket"]) == ("RECOVERY", 102), trail[0]
        assert {"timestamp", "details", "before", "after"} <= trail[0].keys()


def many_positions_once() -> None:
    """Ten positions are recovered once; then there is silence."""
    with wired(*(row(ticket, "sell" if ticket % 2 else "buy") for ticket in range(1, 11))) as (
        pm,
        reconciler,
        _,
    ):
        assert reconciler.startup_recovery().recovered == 10
        for _ in range(3):
            result = reconciler.sync_positions()
            assert (result.recovered, result.closed, result.drifts) == (0, 0, []), result
        assert len(pm.get_local_positions()) == 10
        assert len(reconciler.get_audit_trail()) == 10


def order_in_doubt() -> None:
    """An order whose answer was lost is in doubt, is sent once, and is settled by a sync."""
    sent: list[dict[str, Any]] = []
    with GuideGateway(sent.append) as deaf:
        pm = PortfolioManager(symbol="EURUSD")
        order = pm.create_order(1, 1.0543, 0.01)
        assert order is not None
        message = {"order_id": order.order_id, "symbol": "EURUSD", "action": "BUY"}
        with ExecutionGateway("127.0.0.1", deaf.port, timeout_ms=100) as gateway:
            outcome = gateway.send_order({**message, "volume": 0.01, "price": 1.0543})
    assert outcome["status"] == "UNKNOWN", outcome
    assert pm.on_fill(outcome)
    assert order.status is OrderStatus.IN_DOUBT
    assert not pm.check_risk(1)
    assert len(sent) == 1, sent
    with wired(row(123456)) as (_, reconciler, _server):
        StateReconciler(pm, reconciler.gateway).sync_positions()
    assert pm.orders[order.order_id].status is OrderStatus.FILLED, order
    assert list(pm.get_local_positions()) == [123456]


TESTS: tuple[Callable[[], None], ...] = (
    startup_recovery,
    continuous_drift_detection,
    zombie_and_ghost,
    volume_drift,
    gateway_offline,
    audit_trail,
    many_positions_once,
    order_in_doubt,
)


def main() -> int:
    """Run the eight and return the exit code."""
    logger = logging.getLogger("trueup")
    logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    failed = 0
    for test in TESTS:
        LINES.clear()
        try:
            test()
        except Exception:  # noqa: BLE001 - whatever it raises, the test failed
            failed += 1
            print(f"FAILED  {test.__name__}: {test.__doc__}")
            traceback.print_exc()
        else:
            print(f"ok      {test.__name__}")
    print(f"Passed: {len(TESTS) - failed}/{len(TESTS)}")
    print(f"Failed: {failed}/{len(TESTS)}")
    if failed:
        return 1
    print("✅ All tests passed!")
    return 0


if __name__ == "__main__":
    sys.exit(main())
