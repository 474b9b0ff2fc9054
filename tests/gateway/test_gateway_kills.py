"""A gateway process that is killed, and its broker that does not: no order runs twice.

The bot here, the gateway, its worker, and the terminal program (in a thread here): what the broker
did is read off its own ledger.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.gateway.gateway_field import LOCAL, LONG_MS, ROOT, Field
from tests.support import forked
from tests.support.marks import needs_interrupt
from tests.support.processes import KILLED, KILLED_ITSELF
from tests.support.servers import free_port, until
from trueup.core.gateway_record import RequestState, RequestStatus
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.sim.terminal.terminal_faults import Hang

SCRIPT = ROOT / "tests" / "support" / "killed_gateway.py"
GRACE_SEC = 2
LIVES = "-"


class KillField(Field):
    """A terminal that lives, and gateways that are killed, all with one record."""

    speed = 1.0
    """Where no price comes, no order is ever absent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = folder / "requests.db"
        self.starts = 0

    @property
    def pid(self) -> int:
        """The gateway's process."""
        assert self._gateway is not None
        return self._gateway.pid

    def start(self, point: str = LIVES, store: Path | None = None) -> None:
        """Start a gateway that dies at a point, and wait until it answers."""
        self.by_default(point, "--store", str(store or self.store))

    def by_default(self, point: str = LIVES, *options: str, port: int = 0) -> None:
        """Start it with the record that it has without `--store`."""
        self.starts += 1
        self.log = self.folder / f"gateway-{self.starts}.log"
        self._gateway = forked.start(
            [
                *("-P", str(SCRIPT), point, str(GRACE_SEC)),
                # Whoever waits here asks more often than one client may.
                *("--simulated", "--port", str(port), "--rate", "0"),
                *("--log", str(self.log), *options),
            ],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
                "PYTHONUTF8": "1",
            },
        )
        self.wait_for_worker()

    def wait_for_end(self) -> int:
        assert self._gateway is not None
        code = self._gateway.wait(60)
        self._gateway = None
        return code

    def kill(self) -> None:
        assert self._gateway is not None
        self._gateway.kill()
        assert self.wait_for_end() == KILLED

    def executions(self) -> Counter[str]:
        """The broker's own count of orders by their comments, which are the ids."""
        ledger = self.terminal.terminal.ledger
        orders = [*ledger.orders.values(), *ledger.order_history.values()]
        return Counter(order.comment for order in orders)


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KillField]:
    for name in [name for name in os.environ if name.startswith(("GTW_", "TRUEUP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "state"))
    made = KillField(tmp_path)
    yield made
    made.close()


def order(order_id: str = "A", **changes: Any) -> dict[str, Any]:
    fields = {"order_id": order_id, "symbol": "EURUSD", "action": "BUY", "volume": 0.1}
    return {**fields, "price": 1.0, **changes}


def status(bot: ExecutionGateway, order_id: str = "A") -> RequestStatus:
    found = bot.request_status(order_id)
    assert isinstance(found, RequestStatus), found
    return found


def settled(bot: ExecutionGateway, order_id: str = "A") -> RequestStatus:
    """Wait for the record to know; until then it says that it does not."""

    def known() -> RequestStatus | None:
        found = status(bot, order_id)
        assert found.state in (RequestState.UNKNOWN, RequestState.SETTLED), found
        return found if found.state is RequestState.SETTLED else None

    # It takes as long as the grace lasts, and each question costs the gateway as much as an order.
    found = until(known, pause_sec=0.1)
    assert isinstance(found, RequestStatus)
    return found


@pytest.mark.parametrize("point", list(GatewayPoint), ids=lambda point: point.value)
def test_a_gateway_that_dies_at_any_point_of_an_order_never_sends_it_twice(
    field: KillField, point: GatewayPoint
) -> None:
    field.start(point.value)
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        assert bot.connect()
        # The gateway dies in the order, so its answer is waited for in vain.
        bot.timeout_ms = 3_000
        assert bot.send_order(order())["status"] == "UNKNOWN"
    assert field.wait_for_end() == KILLED_ITSELF
    sent = point in (GatewayPoint.AFTER_SEND, GatewayPoint.AFTER_OUTCOME)
    assert field.executions() == Counter({"A": 1} if sent else {})
    field.start()
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        if point is GatewayPoint.BEFORE_RECORD:
            assert status(bot).state is RequestState.NEVER_SEEN
            return
        if point is not GatewayPoint.AFTER_OUTCOME:
            # The same bytes again, from a client that does not know better.
            assert bot.send_order(order())["status"] in ("UNKNOWN", "FILLED")
        found = settled(bot)
        assert found.status == ("FILLED" if sent else "REJECTED")
        again = bot.send_order(order())
        assert (again["status"], again["repeated"]) == (found.status, True)
        assert bot.send_order(order(volume=0.2))["status"] == "REJECTED"
    assert field.executions() == Counter({"A": 1} if sent else {})


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
def test_a_gateway_killed_while_the_terminal_has_the_order_finds_out_what_became_of_it(
    field: KillField, executed: bool
) -> None:
    field.start()
    field.terminal.module.faults.next_send(Hang(executed=executed))
    link: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    with link, ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        link.setsockopt(zmq.LINGER, 0)
        link.connect(f"tcp://{LOCAL}:{field.port}")
        link.send_multipart([b"", msgspec.json.encode(order())])
        until(lambda: status(bot).state is RequestState.PREPARED)
        until(lambda: field.terminal.module.faults.pending == 0)
        field.kill()
    field.start()
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        found = settled(bot)
        assert found.status == ("FILLED" if executed else "REJECTED")
        assert bot.send_order(order())["status"] == found.status
    assert field.executions() == Counter({"A": 1} if executed else {})


def test_gateways_killed_at_random_instants_never_send_an_order_twice(field: KillField) -> None:
    """Every order is sent again to each gateway, by a client that takes no answer for a no."""
    chance = random.Random(20260105)
    names = [f"order-{number}" for number in range(12)]
    told: dict[str, dict[str, Any]] = {}
    for _ in range(4):
        field.start()
        end = time.monotonic() + chance.uniform(0.005, 0.12)
        with ExecutionGateway(LOCAL, field.port, 200) as bot:
            for name in chance.sample(names, len(names)):
                reply = bot.send_order(order(name))
                _keep(told, reply)
                if time.monotonic() > end:
                    break
        field.kill()
    field.start()
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        for name in names:
            if status(bot, name).state is RequestState.UNKNOWN:
                settled(bot, name)
            _keep(told, bot.send_order(order(name)))
    executed = field.executions()
    assert set(executed.values()) == {1}
    for name in names:
        assert (told[name]["status"] == "FILLED") == (name in executed), told[name]


def _keep(told: dict[str, dict[str, Any]], reply: dict[str, Any]) -> None:
    """Note an outcome; one that was told before is never untold."""
    name = reply["order_id"]
    if reply["status"] == "UNKNOWN" or str(reply["error"]).startswith("Not sent: no connection"):
        return
    first = told.setdefault(name, reply)
    assert (first["status"], first["ticket"]) == (reply["status"], reply["ticket"])


def refused(field: KillField, *options: str) -> str:
    """Start one more gateway, and return the last thing that it says."""
    second = forked.run(
        ["-P", "-m", "trueup", "gateway", "--simulated", "--port", "0", *options],
        cwd=field.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"},
        timeout=60,
    )
    assert second.returncode == 2
    return second.stderr.strip().splitlines()[-1]


def test_a_second_gateway_on_the_same_record_is_refused(field: KillField) -> None:
    field.start()
    said = refused(field, "--store", str(field.store))
    assert f"{field.store} is in use by another process, most likely another gateway" in said
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        assert bot.send_order(order())["status"] == "FILLED"
    # It ends with its process, however that ends.
    field.kill()
    field.start()


@pytest.mark.parametrize("record", ["its own", "by default"])
def test_a_second_gateway_of_the_same_account_is_refused_with_the_process_of_the_first(
    field: KillField, record: str
) -> None:
    """On any port and with any record: an order that comes to both would run twice."""
    field.start()
    until(lambda: list((field.folder / "state").glob("requests-*.lock")))
    store = ("--store", str(field.folder / "second.db")) if record == "its own" else ()
    said = refused(field, *store)
    assert "Account 5000001@Simulated-Demo is served by another gateway on this machine, " in said
    assert f"process {field.pid}: end that one" in said
    field.kill()
    field.start()


def test_an_id_that_was_used_at_another_port_is_not_carried_out_again(field: KillField) -> None:
    """The first gateway dies in the order, and the next one is another in every option."""
    field.by_default(GatewayPoint.AFTER_SEND.value, port=free_port())
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        assert bot.connect()
        # The gateway dies in the order, so its answer is waited for in vain.
        bot.timeout_ms = 3_000
        assert bot.send_order(order())["status"] == "UNKNOWN"
    assert field.wait_for_end() == KILLED_ITSELF
    field.by_default(LIVES, "--login", "5000001", port=free_port())
    with ExecutionGateway(LOCAL, field.port, LONG_MS) as bot:
        until(lambda: isinstance(bot.request_status("A"), RequestStatus))
        assert settled(bot).status == "FILLED"
        again = bot.send_order(order())
        assert (again["status"], again["repeated"]) == ("FILLED", True)
    assert field.executions() == Counter({"A": 1})


@needs_interrupt
def test_without_store_the_record_is_beside_the_simulated_terminal_s_state(
    field: KillField,
) -> None:
    field.start_gateway()
    field.wait_for_worker()
    until((field.folder / "state" / "requests-5000001@Simulated-Demo.db").exists)
    assert field.end_gateway() == 0
