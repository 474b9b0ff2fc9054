"""A process of a node, and the machine that it runs on.

The node's decisions are the product's (`doors.fleet.node`), and so is all that opens, recovers and
trades an account. Only the threads of its process are the world's tasks: one sends heartbeats and
obeys what it has found, and each account has one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from trueup.doors.fleet.membership import Replaced
from trueup.doors.fleet.node import BEATS_IN_A_LEASE, Node, departures, join_fleet
from trueup.doors.fleet.shards import shard_of, shards_of
from trueup.errors import TrueupError
from trueup.lab.facts.facts import Fact
from trueup.lab.fleet.account_run import AccountRun
from trueup.lab.fleet.account_side import AccountOwner, AccountSide
from trueup.lab.fleet.membership import SimulatedMembership
from trueup.lab.fleet.plan import FleetPlan
from trueup.lab.fleet.server import Server
from trueup.lab.fleet.spots import Spot
from trueup.lab.fleet.tasks import Task, TaskSchedule
from trueup.lab.fleet.way import WorldRenewals
from trueup.lab.system.bot import Killed
from trueup.lab.system.clocks import Machine, ProcessClock
from trueup.lab.system.schedule import MS, SECOND
from trueup.processes import Process

RESTART_MS = 1_000


class FleetWorld(Protocol):
    """The world of a node."""

    plan: FleetPlan
    schedule: TaskSchedule
    server: Server
    sides: dict[str, AccountSide]
    owners: dict[str, AccountOwner]
    nodes: list[SimulatedNode]

    def observe(self, fact: Fact) -> None:
        """Take a fact."""

    def pass_spot(self, node: SimulatedNode, spot: Spot) -> None:
        """Let the node stand still if a fault waits for that moment."""

    def opening_ms(self, side: AccountSide) -> int:
        """Return how long after its claim the account that is opened now is read."""

    def order_late_ms(self, node: SimulatedNode) -> int:
        """Return how late the order that leaves now arrives."""


class SimulatedNode:
    """A machine of the fleet, on which a process of the node runs, and is started again.

    Args:
        world: the world.
        name: the node's name.
    """

    def __init__(self, world: FleetWorld, name: str) -> None:
        self.world, self.name = world, name
        self.machine: Machine = Machine(world.schedule)
        self.frozen_until_ns = 0
        self.database_cut_until_ns = 0
        self.database_cuts = 0
        self.gateways_cut_until_ns = 0
        self.chance: random.Random = world.plan.chance(f"node {name}")
        self.process: NodeRun | None = None
        self._starts = 0

    def start(self) -> None:
        """Start a process, unless one runs."""
        if self.process is None:
            self._starts += 1
            self.process = NodeRun(self, self._starts)

    def kill(self, down_ms: int) -> None:
        """Kill the process; another one starts later."""
        process = self.process
        if process is not None:
            process.die()
            self.has_ended(process, down_ms)

    def has_ended(self, process: NodeRun, down_ms: int = RESTART_MS) -> None:
        """Start another process after one that has ended."""
        if self.process is process:
            self.process = None
            self.world.schedule.after(down_ms, self.start)

    def freeze(self, ms: int, *, sleeps: bool) -> None:
        """Let the process stand still, or the machine sleep."""
        until_ns = self.world.schedule.now_ns + ms * MS
        self.frozen_until_ns = max(until_ns, self.frozen_until_ns)
        if sleeps:
            self.machine.sleep_until(until_ns)
        self.world.schedule.at(until_ns, lambda: None)

    @property
    def is_frozen(self) -> bool:
        """Whether the process stands still."""
        return self.world.schedule.now_ns < self.frozen_until_ns


class NodeRun:
    """A process of `trueup fleet node`."""

    def __init__(self, host: SimulatedNode, number: int) -> None:
        world = host.world
        self.host, self.world = host, world
        self.name = host.name
        self.number = number
        self.run = f"{world.plan.seed:x}{host.name}.{number}"
        self.is_alive = True
        self.is_stopped = False
        """The process ends in order."""
        self.clock: ProcessClock = ProcessClock(host.machine, world.schedule.run)
        self.renewals: WorldRenewals = WorldRenewals(world.schedule, self)
        self.chance: random.Random = host.chance
        self.accounts: dict[str, AccountRun] = {}
        self.node: Node | None = None
        self._tasks: list[Task] = []
        self.begin_task(self._live)

    def begin_task(self, body: Callable[[], None]) -> None:
        """Begin a thread of this process."""
        self._tasks.append(self.world.schedule.start(self, body))

    def die(self) -> None:
        """End here and now: nothing is given back, and nothing is closed."""
        self.is_alive = False
        self.world.server.end_sessions(self)
        for task in self._tasks:
            task.kill()

    # What the world asks of a process.

    @property
    def is_frozen(self) -> bool:
        """Whether the process stands still."""
        return self.host.is_frozen

    @property
    def database_cuts(self) -> int:
        """How often the process was cut off from the database."""
        return self.host.database_cuts

    @property
    def is_cut_from_database(self) -> bool:
        """Whether nothing arrives at the database, or from it."""
        return self.world.schedule.now_ns < self.host.database_cut_until_ns

    @property
    def gateways_cut_until_ns(self) -> int:
        """Until when nothing arrives at a gateway, or from one."""
        return self.host.gateways_cut_until_ns

    def must_live(self) -> None:
        """Raise `Killed` if the process was killed."""
        if not self.is_alive:
            raise Killed("in the middle of something")

    def is_doomed(self) -> bool:
        """Return whether the process was killed."""
        return not self.is_alive

    def sends(self) -> int:
        """Pass the moment before an order leaves; return how much later it arrives (ms)."""
        self.pass_spot(Spot.SENDING)
        return self.world.order_late_ms(self.host)

    def pass_spot(self, spot: Spot) -> None:
        """Pass a moment at which the node may stand still."""
        self.must_live()
        self.world.pass_spot(self.host, spot)
        self.world.schedule.run(self.world.schedule.now_ns)
        self.must_live()

    def has_closed(self, name: str) -> None:
        """Forget an account that is closed."""
        self.accounts.pop(name, None)

    # The thread of the heartbeats.

    def _live(self) -> None:
        lease_sec = self.world.plan.setting.lease_ms / 1_000
        member = SimulatedMembership(self.world.server, self, self.name, self.run, lease_sec)
        here = Process(self.number, self.name)
        try:
            if join_fleet(member, here, self.clock, lambda: self.is_stopped):
                self.node = Node(member, self.world.plan.setting.shards, self.clock)
                self._beat_until_over(self.node, lease_sec / BEATS_IN_A_LEASE)
        except TrueupError:
            # As a service manager does, the host starts another process.
            pass
        self.is_alive = False
        self.world.server.end_sessions(self)
        self.host.has_ended(self)

    def _beat_until_over(self, node: Node, every_sec: float) -> None:
        while not (self.is_stopped and not self.accounts):
            try:
                self._beat(node)
            except Replaced:
                node.owned, self.is_stopped = {}, True
                self._wait_for_accounts()
                return
            except TrueupError as error:
                node.trouble = str(error)
            self.clock.sleep(every_sec)
        node.leave()

    def _wait_for_accounts(self) -> None:
        now_ns = self.world.schedule.now_ns
        self.world.schedule.run(now_ns + 3_600 * SECOND, lambda: not self.accounts)

    def _beat(self, node: Node) -> None:
        names = list(self.world.sides)
        busy = frozenset(shard_of(name, node.shards) for name in self.accounts)
        node.turn(shards_of(names, node.shards), busy, "{}", is_leaving=self.is_stopped)
        node.trouble = ""
        self._obey(node)

    def _obey(self, node: Node) -> None:
        """Let the accounts be those of the shards that this node has, as `NodeProcess` does."""
        if self.is_stopped:
            return
        wanted = {name for name in self.world.sides if shard_of(name, node.shards) in node.owned}
        running = {name: one.claim for name, one in self.accounts.items()}
        for name, _ in departures(node, running, wanted):
            self.accounts[name].is_dropped = True
        for name in sorted(wanted - self.accounts.keys()):
            account = self.accounts[name] = AccountRun(
                self, self.world, node, self.world.sides[name]
            )
            self.begin_task(account.live)
