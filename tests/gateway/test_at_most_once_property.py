"""Any requests, in any order, altered, repeated, from several threads, with any kills: once each.

The oracle is the ledger of the simulated broker: it counts executions by the magic number, which
here says which id and which wording of it an order has.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.policy import GRACE_SEC
from trueup.gateway.desk.desk import Desk
from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.gateway.record.store import RequestStore
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import Terminal
from trueup.runtime.time.clock import ManualClock
from trueup.sim.market.switches import Switches
from trueup.sim.terminal.terminal import SimulatedTerminal
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    DoneWithoutDeal,
    PlacedLater,
    SendFault,
    TimedOut,
)

IDS = 4
WORDINGS = 2
VOLUMES = (0.1, 0.2)
# Half of it again for another look; looks come ever more rarely, and every five seconds while a
# terminal is away, which is believed the second time.
SETTLED_SEC = 2 * GRACE_SEC + 20
FAULTS: dict[str, SendFault] = {
    "lost, done": AnswerLost(executed=True, pipe_breaks=False),
    "lost, not done": AnswerLost(executed=False, pipe_breaks=False),
    "10012, then filled": TimedOut(fill_after_ms=4_000),
    "10012, then filled late": TimedOut(fill_after_ms=25_000),
    "10012, never": TimedOut(),
    "10008, then filled": PlacedLater(3_000),
    "10009, no figures": DoneWithoutDeal(),
    "10004": Answered(mt5.TRADE_RETCODE_REQUOTE),
    "10031, done": Answered(mt5.TRADE_RETCODE_CONNECTION, executed=True),
}

order_ids = st.integers(0, IDS - 1)
wordings = st.integers(0, WORDINGS - 1)
requests = st.tuples(st.just("ask"), order_ids, wordings)
steps = st.one_of(
    requests,
    requests,
    st.tuples(st.just("fault"), st.sampled_from(sorted(FAULTS))),
    st.tuples(st.just("kill"), st.sampled_from(list(GatewayPoint)), order_ids, wordings),
    st.tuples(st.just("kill now")),
    st.tuples(st.just("wait"), st.integers(1, 15)),
    st.tuples(
        st.just("together"), st.lists(st.tuples(order_ids, wordings), min_size=2, max_size=4)
    ),
    st.tuples(st.just("doubt"), order_ids),
    st.tuples(st.just("disconnect"), st.integers(1, 5)),
)


class Killed(BaseException):
    """The gateway is no more."""


class OneAtATime:
    """A terminal that is called by one thread at a time, as it must be."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self._terminal, self._lock = terminal, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._terminal, name)

        def alone(*args: Any, **named: Any) -> Any:
            with self._lock:
                return function(*args, **named)

        return alone


class World:
    """A broker that lives; gateways that die, each leaving its file as it is at that instant."""

    def __init__(self, folder: Path, switches: Switches) -> None:
        self.clock = ManualClock(1_700_000_000_000_000_000)
        self.terminal = SimulatedTerminal(
            now_msc=lambda: self.clock.now_ns() // 1_000_000, switches=switches
        )
        assert self.terminal.initialize()
        self.terminal.quote("EURUSD", 1.1, 1.1001)
        self.folder, self.boots = folder, 0
        self.dies_at: GatewayPoint | None = None
        self.told: dict[tuple[int, int], dict[str, Any]] = {}
        self.withdrawn: set[int] = set()
        self.store: RequestStore | None = None
        self.start()

    def start(self) -> None:
        """Start a gateway on what the one before it left: its file, and the log beside it."""
        self.boots += 1
        boot = f"boot{self.boots}"
        here, there = self.folder / f"boot{self.boots - 1}", self.folder / boot
        there.mkdir()
        for path in here.glob("requests.db*") if here.is_dir() else ():
            shutil.copy(path, there)
        if self.store is not None:
            self.store.close()
        self.store = RequestStore(there / "requests.db", boot, self.clock.now_ns)
        served = cast(Terminal, OneAtATime(self.terminal))
        self.desk = Desk(served, boot, self.clock.now_ns, store=self.store, crash=self._pass)

    def _pass(self, point: GatewayPoint) -> None:
        if point is self.dies_at:
            self.dies_at = None
            raise Killed

    def message(self, order_id: int, wording: int) -> bytes:
        fields = {
            "action": "BUY",
            "order_id": f"id-{order_id}",
            "symbol": "EURUSD",
            "volume": VOLUMES[wording],
            "price": 1.1,
            "magic": 10 * (order_id + 1) + wording,
        }
        return json.dumps(fields).encode()

    # The steps.

    def do_ask(self, order_id: int, wording: int) -> None:
        self.hear(order_id, wording, json.loads(self.desk.handle(self.message(order_id, wording))))

    def do_fault(self, name: str) -> None:
        self.terminal.faults.next_send(FAULTS[name])

    def do_kill(self, point: GatewayPoint, order_id: int, wording: int) -> None:
        self.dies_at = point
        try:
            self.do_ask(order_id, wording)
        except Killed:
            self.start()
        self.dies_at = None

    def do_kill_now(self) -> None:
        self.start()

    def do_wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.terminal.quote("EURUSD", 1.1, 1.1001)
            self.terminal.settle()
            self.desk.tend()

    def do_disconnect(self, seconds: int) -> None:
        self.terminal.disconnect()
        self.do_wait(seconds)
        self.terminal.reconnect()
        self.terminal.quote("EURUSD", 1.1, 1.1001)

    def do_doubt(self, order_id: int) -> None:
        asked = {
            "action": "SNAPSHOT",
            "session": "s",
            "id": 1,
            "in_doubt": [{"id": f"id-{order_id}"}],
        }
        reply = json.loads(self.desk.handle(json.dumps(asked).encode()))
        for status in reply.get("requests", ()):
            if status["state"] == "withdrawn":
                self.withdrawn.add(order_id)

    def do_together(self, asked: list[tuple[int, int]]) -> None:
        """Let several threads ask at once."""
        replies: list[tuple[int, int, bytes]] = []
        began = threading.Barrier(len(asked))

        def ask(order_id: int, wording: int) -> None:
            began.wait()
            message = self.message(order_id, wording)
            replies.append((order_id, wording, self.desk.handle(message)))

        threads = [threading.Thread(target=ask, args=one) for one in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replies) == len(asked)
        for order_id, wording, reply in replies:
            self.hear(order_id, wording, json.loads(reply))

    # What must hold.

    def hear(self, order_id: int, wording: int, reply: dict[str, Any]) -> None:
        """An outcome that was told is never told otherwise, and it is what the broker did."""
        executed = self.executions()
        magic = 10 * (order_id + 1) + wording
        assert reply["order_id"] == f"id-{order_id}"
        if reply["status"] == "FILLED":
            assert executed[magic] == 1
            assert reply["filled_volume"] == VOLUMES[wording]
        elif reply["status"] == "REJECTED":
            assert executed[magic] == 0
        if reply["status"] != "UNKNOWN":
            first = self.told.setdefault((order_id, wording), reply)
            assert (first["status"], first["ticket"]) == (reply["status"], reply["ticket"])

    def executions(self) -> Counter[int]:
        return Counter(deal.magic for deal in self.terminal.ledger.deals.values() if deal.order)

    def check(self) -> None:
        executed = self.executions()
        by_id = Counter(magic // 10 - 1 for magic in executed.elements())
        assert all(count == 1 for count in by_id.values()), by_id
        assert not self.withdrawn & set(by_id)


@given(
    st.lists(steps, min_size=1, max_size=14),
    st.sampled_from(["kept", "emptied", "late"]),
)
def test_no_id_is_ever_executed_twice_and_no_reply_is_untrue(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[Any, ...]], broker: str
) -> None:
    switches = {
        "kept": Switches(),
        "emptied": Switches(comment_replaced_by=""),
        "late": Switches(position_lag_ms=700, order_history_lag_ms=1_500, deal_lag_ms=2_500),
    }[broker]
    # Each example has a record of its own.
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        world = World(Path(folder), switches)
        for name, *arguments in script:
            getattr(world, f"do_{name.replace(' ', '_')}")(*arguments)
            world.check()
        world.terminal.faults.clear()
        world.do_wait(SETTLED_SEC)
        assert world.store is not None
        # Where comments are gone, two orders that look alike may stay nobody's.
        assert broker == "emptied" or world.store.unsettled() == []
        for order_id in range(IDS):
            for wording in range(WORDINGS):
                world.do_ask(order_id, wording)
        world.check()
        world.store.close()
