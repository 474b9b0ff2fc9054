"""What each fault and each act of a plan does to the world of a fleet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Protocol

from trueup.doors.fleet.membership import Pause
from trueup.doors.fleet.shards import shard_of
from trueup.lab.fleet.node_run import FleetWorld, SimulatedNode
from trueup.lab.fleet.plan import LEASE_MS, FleetFault, FleetStrike
from trueup.lab.fleet.spots import Spot
from trueup.lab.system.schedule import MS, SECOND

ANNA = "anna"
# How far the clock of the other machine of the database may be from the one before.
SERVER_SKEW_MS = (-900, 0, 0, 900, 5_000)


class StruckFleet(FleetWorld, Protocol):
    """The world, as the faults know it."""

    @property
    def left_ms(self) -> int:
        """How long the faults last at most."""

    def struck(self, fault: FleetFault, what: str, number: int) -> None:
        """Tell that a fault or an act has an effect."""

    def arm(self, spot: Spot, fault: FleetFault, number: int, ms: int) -> None:
        """Let the next node that passes a moment stand still there."""

    def open_slowly(self, ms: int, number: int) -> None:
        """For a time, let accounts be read long after their claims."""

    def arm_late(self, one: FleetStrike, ms: int) -> None:
        """Let the next order arrive late."""


Strike = Callable[[StruckFleet, random.Random, FleetStrike], None]


def strike(world: StruckFleet, one: FleetStrike) -> None:
    """Let a fault or an act happen."""
    STRIKES[one.fault](world, world.plan.chance(f"strike {one.number}"), one)


def _lasting(world: StruckFleet, chance: random.Random, least: int, most: int) -> int:
    return max(1, min(chance.randrange(least, most), world.left_ms))


def _node(world: StruckFleet, chance: random.Random) -> SimulatedNode:
    """Return a node, rather one that runs accounts."""
    busy = [node for node in world.nodes if node.process is not None and node.process.accounts]
    return chance.choice(busy or world.nodes)


def _freeze_ms(world: StruckFleet, chance: random.Random) -> int:
    setting = world.plan.setting
    # Without a fence the next owner waits longer.
    waits_ms = 0 if setting.is_fenced else LEASE_MS + setting.timeout_ms
    return chance.randrange(LEASE_MS + 400, 4 * LEASE_MS) + waits_ms


def _freeze(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    node = _node(world, chance)
    ms = max(1, min(_freeze_ms(world, chance), world.left_ms))
    world.struck(one.fault, f"{node.name}, for {ms} ms", one.number)
    node.freeze(ms, sleeps=world.plan.setting.sleeps)


def _freeze_at(spot: Spot) -> Strike:
    def arm(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
        world.arm(spot, one.fault, one.number, _freeze_ms(world, chance))

    return arm


def _cut_from_database(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    node = _node(world, chance)
    ms = _lasting(world, chance, 300, 4 * LEASE_MS)
    node.database_cuts += 1
    node.database_cut_until_ns = world.schedule.now_ns + ms * MS
    world.struck(one.fault, f"{node.name}, for {ms} ms", one.number)


def _cut_from_gateways(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    node = _node(world, chance)
    ms = _lasting(world, chance, 300, 4 * LEASE_MS)
    node.gateways_cut_until_ns = world.schedule.now_ns + ms * MS
    world.struck(one.fault, f"{node.name}, for {ms} ms", one.number)


def _slow_openings(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    ms = _lasting(world, chance, 2 * LEASE_MS, 5 * LEASE_MS)
    world.struck(one.fault, f"for {ms} ms", one.number)
    world.open_slowly(ms, one.number)


def _clocks_apart(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    # Rather that of a machine that stands still: its clock is set when it wakes.
    node = next((node for node in world.nodes if node.is_frozen), None) or _node(world, chance)
    seconds = chance.choice((-3_600, -30, -3, 3, 30, 86_400))
    node.machine.skew_ns += seconds * SECOND
    world.struck(one.fault, f"{node.name}, by {seconds} s", one.number)


def _kill(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    node = _node(world, chance)
    if node.process is not None:
        world.struck(one.fault, node.name, one.number)
        node.kill(chance.randrange(300, 2 * LEASE_MS))


def _order_late(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    setting = world.plan.setting
    # By the documents, an order without a fence is on its way for the timeout at most.
    most = 4 * LEASE_MS if setting.is_fenced else setting.timeout_ms
    world.arm_late(one, chance.randrange(most // 2, most))


def _gateway_restarted(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    side = world.sides[chance.choice(sorted(world.sides))]
    world.struck(one.fault, f"that of {side.name}", one.number)
    side.lose_power(chance.randrange(100, 1_500))


def _move(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    account = chance.choice(sorted(world.sides))
    shard = shard_of(account, world.plan.setting.shards)
    others = [node.name for node in world.nodes if node.name != world.server.shards[shard].node]
    node = chance.choice(others)
    world.struck(one.fault, f"{account} to {node}", one.number)
    world.server.pin(shard, node)


def _drain(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    node = _node(world, chance)
    world.struck(one.fault, node.name, one.number)
    world.server.drain(node.name, ANNA)
    ms = _lasting(world, chance, 500, 3 * LEASE_MS)
    world.schedule.after(ms, lambda: world.server.drain(node.name, ""))


def _fail_over(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    down_ms = _lasting(world, chance, 200, 2 * LEASE_MS)
    skew_ms = chance.choice(SERVER_SKEW_MS)
    world.struck(one.fault, f"after {down_ms} ms", one.number)
    world.server.fail_over(down_ms, skew_ms * MS)


def _pause(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    account = chance.choice(["", *sorted(world.sides)])
    world.struck(one.fault, account or "all", one.number)
    world.server.pauses[account] = Pause(ANNA, "")
    ms = _lasting(world, chance, 500, 3 * LEASE_MS)

    def resume() -> None:
        world.server.pauses.pop(account, None)

    world.schedule.after(ms, resume)


def _end(world: StruckFleet, chance: random.Random, one: FleetStrike) -> None:
    node = _node(world, chance)
    if node.process is not None:
        world.struck(one.fault, node.name, one.number)
        node.process.is_stopped = True


STRIKES: Mapping[FleetFault, Strike] = {
    FleetFault.FREEZE: _freeze,
    FleetFault.FREEZE_JOURNALLED: _freeze_at(Spot.JOURNALLED),
    FleetFault.FREEZE_SENDING: _freeze_at(Spot.SENDING),
    FleetFault.FREEZE_OPENING: _freeze_at(Spot.OPENING),
    FleetFault.CUT_FROM_DATABASE: _cut_from_database,
    FleetFault.CUT_FROM_GATEWAYS: _cut_from_gateways,
    FleetFault.CLOCKS_APART: _clocks_apart,
    FleetFault.KILL: _kill,
    FleetFault.ORDER_LATE: _order_late,
    FleetFault.ORDER_LATE_ALONE: _order_late,
    FleetFault.SLOW_OPENINGS: _slow_openings,
    FleetFault.GATEWAY_RESTARTED: _gateway_restarted,
    FleetFault.MOVE: _move,
    FleetFault.DRAIN: _drain,
    FleetFault.FAILOVER: _fail_over,
    FleetFault.PAUSE: _pause,
    FleetFault.END: _end,
}
"""What happens at a strike of each kind."""
