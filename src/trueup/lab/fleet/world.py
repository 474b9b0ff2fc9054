"""The world of a fleet: nodes, a database server and gateways, under the faults of a plan.

First the faults of the plan happen (safety). Then they stop and the owners are quiet, and each
account has to run at one node whose book agrees with the broker (liveness). At the end each owner
has one more order executed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from trueup.core.book.book import Book
from trueup.lab.facts.facts import Fact, Watcher
from trueup.lab.fleet import facts
from trueup.lab.fleet.account_run import AccountRun
from trueup.lab.fleet.account_side import AccountOwner, AccountSide
from trueup.lab.fleet.faults import strike
from trueup.lab.fleet.node_run import SimulatedNode
from trueup.lab.fleet.plan import (
    ACTS,
    FREEZES,
    LEASE_MS,
    OF_NODE,
    FleetFault,
    FleetPlan,
    FleetStrike,
)
from trueup.lab.fleet.server import Server
from trueup.lab.fleet.spots import Spot
from trueup.lab.fleet.tasks import TaskSchedule
from trueup.lab.system.schedule import BEGIN_NS, MS, SECOND

MOST_EVENTS = 100_000
LOOK_EVERY_MS = 250
# For the lease, the grace of an order in doubt, and the waits between failed attempts.
RESTS_WITHIN_SEC = 120
TRADES_WITHIN_SEC = 30
# An act counts as under way for so long.
ACT_NS = 2 * SECOND


class World:
    """A run of a plan.

    Args:
        plan: what happens.
    """

    def __init__(self, plan: FleetPlan) -> None:
        self.plan: FleetPlan = plan
        self.watchers: list[Watcher] = []
        self.schedule: TaskSchedule = TaskSchedule(MOST_EVENTS)
        setting = plan.setting
        self.server: Server = Server(
            self.schedule,
            plan.chance("server"),
            setting.shards,
            self.observe,
            claim_ms=setting.claim_ms,
        )
        sides = [
            AccountSide(self.schedule, plan, number, self.observe)
            for number in range(setting.accounts)
        ]
        self.sides: dict[str, AccountSide] = {side.name: side for side in sides}
        self.owners: dict[str, AccountOwner] = {
            name: AccountOwner(plan, name, self.schedule) for name in self.sides
        }
        self.nodes: list[SimulatedNode] = [
            SimulatedNode(self, f"n{number}") for number in range(setting.nodes)
        ]
        self._faults_end_ns = BEGIN_NS + plan.safety_ms * MS
        self._armed: dict[Spot, tuple[FleetFault, int, int]] = {}
        self._slow_until_ns = self._slow_number = 0
        self._slow: random.Random = plan.chance("slow openings")
        self._late: tuple[FleetStrike, int] | None = None
        self._acts: list[tuple[int, FleetFault]] = []

    def observe(self, fact: Fact) -> None:
        """Give a fact to all watchers."""
        for watcher in self.watchers:
            watcher.observe(fact)

    # The run.

    def run(self) -> None:
        """Run the whole plan.

        Raises:
            KeyboardInterrupt: Ctrl-C came; no task runs any more.
        """
        with self.schedule.stopped_by_interrupts():
            try:
                self._run()
            finally:
                self.schedule.end()

    def _run(self) -> None:
        self.observe(facts.FleetBegan(self.schedule.now_ns, self.plan.setting.sentence()))
        for number, node in enumerate(self.nodes):
            self.schedule.after(10 + 150 * number, node.start)
        for one in self.plan.strikes:
            at_ns = BEGIN_NS + one.at_ms * MS
            self.schedule.at(at_ns, lambda one=one: strike(self, one))  # type: ignore[misc]
        self.schedule.run(self._faults_end_ns)
        self._heal()
        late = self._come_to_rest() or self._trade_once_more()
        self._show_books()
        self.observe(facts.FleetEnded(self.schedule.now_ns, tuple(late)))

    def _heal(self) -> None:
        self._armed.clear()
        self._late, self._slow_until_ns = None, 0
        for node in self.nodes:
            node.database_cut_until_ns = node.gateways_cut_until_ns = 0
            self.server.drain(node.name, "")
        self.server.pauses.clear()
        for owner in self.owners.values():
            owner.is_quiet = True
        self.observe(facts.FleetHealed(self.schedule.now_ns))

    def _come_to_rest(self) -> list[str]:
        """Wait until each account runs at one node, and its book agrees with the broker.

        Return a sentence for each account that does not.
        """
        healed_ns = self.schedule.now_ns
        self._wait(RESTS_WITHIN_SEC, lambda: not self._restless(healed_ns))
        return [
            f"{name} does not rest at one node {RESTS_WITHIN_SEC} s after the faults: {why}"
            for name, why in self._restless(healed_ns)
        ]

    def _trade_once_more(self) -> list[str]:
        """Have each owner's next order executed; return a sentence for each that is not."""
        wanted = {name: side.executed + 1 for name, side in self.sides.items()}
        for owner in self.owners.values():
            owner.wants_one = True

        def missing() -> list[str]:
            found = [name for name in wanted if self.sides[name].executed < wanted[name]]
            for name, owner in self.owners.items():
                owner.wants_one = name in found
            return found

        self._wait(TRADES_WITHIN_SEC, lambda: not missing())
        late = [f"no order of {name} was executed after the faults" for name in missing()]
        return late or self._come_to_rest()

    def _wait(self, seconds: int, done: Callable[[], bool]) -> None:
        end_ns = self.schedule.now_ns + seconds * SECOND
        while self.schedule.now_ns < end_ns and not done():
            self.schedule.run(self.schedule.now_ns + LOOK_EVERY_MS * MS)

    def _restless(self, since_ns: int) -> list[tuple[str, str]]:
        """Return the accounts that do not rest, each with the reason."""
        found = ((name, self._unrest(name, since_ns)) for name in self.sides)
        return [(name, why) for name, why in found if why]

    def _unrest(self, name: str, since_ns: int) -> str:
        runs = self._runs(name)
        if len(runs) != 1 or runs[0].account is None:
            return f"{len(runs)} nodes have it"
        account = runs[0].account
        if runs[0].believed_ns < since_ns:
            return f"the broker was not read: {account.health}"
        if account.manager.book.in_doubt:
            return f"in doubt: {', '.join(account.manager.book.in_doubt)}"
        is_equal = _positions(account.manager.book) == self.sides[name].positions()
        return "" if is_equal else "its book does not agree with the broker"

    def _runs(self, name: str) -> list[AccountRun]:
        processes = [node.process for node in self.nodes if node.process is not None]
        return [one.accounts[name] for one in processes if name in one.accounts]

    def _show_books(self) -> None:
        for name, side in self.sides.items():
            runs = self._runs(name)
            opened = next((one.account for one in runs if one.account is not None), None)
            book = None if opened is None else opened.manager.book
            self.observe(
                facts.BookRead(
                    self.schedule.now_ns,
                    account=name,
                    nodes=tuple(node.name for node in self.nodes if self._has(node, name)),
                    book=() if book is None else _positions(book),
                    broker=side.positions(),
                    doubts=() if book is None else tuple(book.in_doubt),
                )
            )

    def _has(self, node: SimulatedNode, name: str) -> bool:
        return node.process is not None and name in node.process.accounts

    # The faults.

    @property
    def left_ms(self) -> int:
        """How long the faults last at most."""
        return (self._faults_end_ns - self.schedule.now_ns) // MS

    def struck(self, fault: FleetFault, what: str, number: int) -> None:
        """Tell that a fault or an act has an effect, and what was under way beside it."""
        now_ns = self.schedule.now_ns
        lasting = self._lasting()
        acts = {act for at_ns, act in self._acts if now_ns - at_ns <= ACT_NS}
        beside = tuple(sorted(one.name for one in lasting | acts))
        if fault in ACTS:
            self._acts.append((now_ns, fault))
        said = f"{fault.value}: {what}"
        self.observe(facts.FleetStruck(now_ns, fault.name, said, number, beside))

    def _lasting(self) -> set[FleetFault]:
        """Return the faults of nodes that last now."""
        now_ns = self.schedule.now_ns
        freeze, database, gateways, clocks = OF_NODE
        found = {
            freeze: lambda node: node.is_frozen,
            database: lambda node: now_ns < node.database_cut_until_ns,
            gateways: lambda node: now_ns < node.gateways_cut_until_ns,
            clocks: lambda node: abs(node.machine.skew_ns) >= SECOND,
        }
        return {fault for fault, lasts in found.items() if any(map(lasts, self.nodes))}

    def arm(self, spot: Spot, fault: FleetFault, number: int, ms: int) -> None:
        """Let the next node that passes a moment stand still there."""
        assert fault in FREEZES
        self._armed[spot] = fault, number, ms

    def pass_spot(self, node: SimulatedNode, spot: Spot) -> None:
        """Let the node stand still if a fault waits for that moment."""
        armed = self._armed.pop(spot, None)
        if armed is None:
            return
        fault, number, ms = armed
        ms = max(1, min(ms, self.left_ms))
        self.struck(fault, f"{node.name}, for {ms} ms", number)
        node.freeze(ms, sleeps=self.plan.setting.sleeps)

    def open_slowly(self, ms: int, number: int) -> None:
        """For a time, let accounts be read long after their claims."""
        self._slow_number = number
        self._slow_until_ns = self.schedule.now_ns + ms * MS

    def opening_ms(self, side: AccountSide) -> int:
        """Return how long after its claim the account that is opened now is read.

        Its gateway may lose its power meanwhile.
        """
        left_ms = (self._slow_until_ns - self.schedule.now_ns) // MS
        if left_ms <= 0:
            return 0
        if self.plan.setting.is_fenced and self._slow.random() < 0.5:
            self.struck(FleetFault.GATEWAY_RESTARTED, f"that of {side.name}", self._slow_number)
            side.lose_power(self._slow.randrange(50, 500))
        return self._slow.randrange(left_ms // 2, left_ms + 1)

    def arm_late(self, one: FleetStrike, ms: int) -> None:
        """Let the next order arrive late."""
        self._late = one, ms

    def order_late_ms(self, node: SimulatedNode) -> int:
        """Return how late the order that leaves now arrives; its node may die of that."""
        late, self._late = self._late, None
        if late is None:
            return 0
        one, ms = late
        self.struck(one.fault, f"that of {node.name}, by {ms} ms", one.number)
        if one.fault is FleetFault.ORDER_LATE_ALONE:
            self.schedule.after(1, lambda: node.kill(2 * LEASE_MS))
        return ms


def _positions(book: Book) -> tuple[tuple[int, float], ...]:
    """Return identifier and lots of each position of a book, negative for a sell."""
    return tuple(
        (identifier, round(held.position.net_volume, 8))
        for identifier, held in sorted(book.holdings.items())
    )
