"""Faults of the wire, the gateway, the disks and the clocks."""

from __future__ import annotations

import random
from collections.abc import Callable

from trueup.gateway.record.at_most_once import GatewayPoint
from trueup.lab.facts.facts import GatewayDied
from trueup.lab.faults import terminal
from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import Fault
from trueup.lab.system.gateway import Doom
from trueup.lab.system.schedule import MS, SECOND
from trueup.lab.system.wire import REPLY_FAULTS, REQUEST_FAULTS, Armed

MESSAGE_FAULTS = REQUEST_FAULTS | REPLY_FAULTS
# The share of gateway faults that end the gateway between two requests.
NOW = 0.3
# The points of the other gateway faults, most often while the outcome of a sent order is unknown.
POINTS = (*GatewayPoint, GatewayPoint.AFTER_SEND, GatewayPoint.AFTER_SEND)
DISK_FAULTS = frozenset({Fault.COMMIT_UNANSWERED, Fault.COMMIT_FAILS})


def on_message(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Let a fault wait for the next order, or for the next messages of any kind."""
    orders_only = chance.random() < 0.6
    for _ in range(1 if orders_only else chance.randint(1, 3)):
        late_ms = chance.choice((50, 400, 1_500, 2_500, 6_000))
        world.network.armed.append(Armed(fault, orders_only, late_ms))


def on_disk(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Let a fault wait for the next commits."""
    world.disk.armed += [fault] * chance.randint(1, 2)


def cut_network(world: StruckWorld, chance: random.Random) -> str:
    """Let nothing arrive for a while."""
    seconds = chance.choice((0.5, 2.0, 5.0, 12.0))
    world.network.cut_until_ns = world.now_ns + round(seconds * SECOND)
    return f"for {seconds} s"


def spoil_hints(world: StruckWorld, fault: Fault, chance: random.Random) -> None:
    """Lose or falsify every hint for a while."""
    world.network.hints_fault = fault

    def end() -> None:
        world.network.hints_fault = None

    world.schedule.after(chance.choice((1_000, 5_000)), end)


def restart_gateway(world: StruckWorld, chance: random.Random) -> str | None:
    """End the gateway's process, now or while an order is carried out, and start a new process."""
    down_ms = chance.choice((100, 800, 3_000, 9_000))
    return _end_gateway(
        world, Fault.GATEWAY_RESTARTED, lambda: world.gateway.stop(down_ms), down_ms, chance
    )


def lose_gateway_power(world: StruckWorld, chance: random.Random) -> str | None:
    """End every process of the gateway's machine, and lose all data not synced to its disk."""
    down_ms = chance.choice((800, 3_000))

    def lose_power() -> None:
        world.gateway.stop(down_ms)
        world.gateway.disk.lose_power()
        terminal.restart_terminal(world, chance)

    return _end_gateway(world, Fault.GATEWAY_POWER_LOST, lose_power, down_ms, chance)


def _end_gateway(
    world: StruckWorld, fault: Fault, end: Callable[[], None], down_ms: int, chance: random.Random
) -> str | None:
    """Let a gateway end, now or at a point of the next order."""
    # The second kind waits for an order, and is recorded when it strikes.
    if chance.random() < NOW:
        end()
        return f"for {down_ms} ms"
    where = chance.choice(POINTS)

    def death() -> None:
        end()
        world.observe(GatewayDied(world.now_ns, where.name))
        world.struck(fault, f"{where.value}, for {down_ms} ms")

    world.gateway.doom = Doom(where, death)
    return None


def fill_gateway_disk(world: StruckWorld, chance: random.Random) -> None:
    """Let the disk under the gateway's record accept no data for a while."""
    disk = world.gateway.disk
    disk.is_full = True

    def make_room() -> None:
        disk.is_full = False

    world.schedule.after(chance.choice((3_000, 8_000)), make_room)


def downgrade_gateway(world: StruckWorld, chance: random.Random) -> str:
    """Replace the gateway by a gateway that proves nothing.

    Only the record of requests tells a journal that was put back which rows and keys are missing.
    """
    # So no downgrade happens while a journal still needs that record.
    if world.loss_is_unasked:
        return ""
    seconds = chance.choice((3, 10))
    world.gateway.stop(200)
    world.gateway.knows_only_the_guide = True

    def upgrade() -> None:
        if world.gateway.knows_only_the_guide:
            world.gateway.stop(200)
            world.gateway.knows_only_the_guide = False

    world.schedule.after(seconds * 1000, upgrade)
    return f"for {seconds} s"


def fill_disk(world: StruckWorld, chance: random.Random) -> None:
    """Let the disk accept no data for a while."""
    disk = world.disk
    disk.is_full = True

    def make_room() -> None:
        disk.is_full = False

    world.schedule.after(chance.choice((500, 3_000, 8_000)), make_room)


def slow_disk(world: StruckWorld, chance: random.Random) -> None:
    """Let every commit take long for a while."""
    disk = world.disk
    disk.slow_ms = chance.choice((30, 300, 2_500))

    def hasten() -> None:
        disk.slow_ms = 0

    world.schedule.after(5_000, hasten)


def lose_power(world: StruckWorld, chance: random.Random) -> str:
    """End every process of the bots' machine, and lose all data not synced to the disk."""
    down_ms = chance.choice((1_000, 5_000))
    for bot in world.bots:
        bot.kill(down_ms)
    world.lose_power()
    return f"for {down_ms} ms"


def set_clock(world: StruckWorld, chance: random.Random, *, starts_anew: bool) -> str:
    """Set the wall clock of the bot's machine, and restart the bot or let the bot run on."""
    # The run waits for the time by which a clock was set back, so only restarts draw two hours.
    seconds = chance.choice((-7_200 if starts_anew else -30, -90, -5, 5, 90, 7_200))
    world.set_back_sec += max(0, -seconds)
    for bot in world.bots:
        bot.machine.skew_ns += seconds * SECOND
        if starts_anew:
            bot.kill(500)
    return f"by {seconds} s"


def change_dst(world: StruckWorld, chance: random.Random) -> str:
    """Move the trade server's clock by an hour, or back to its usual time.

    A server has a summer time and a winter time. Two changes forward in a row would be another
    fault, under which a bot could not tell the age of its orders.
    """
    switches, usual = world.terminal.switches, world.plan.setting.offset_minutes
    before = switches.server_offset_minutes
    summer_first = world.plan.chance("summer time").random() < 0.5
    other = usual + (60 if summer_first else -60)
    switches.server_offset_minutes = other if before == usual else usual
    if switches.history_begins_msc:
        # Archived deals stay archived; deals made within the repeated hour do not become archived.
        switches.history_begins_msc += min(0, switches.server_offset_minutes - before) * 60_000
    return "forward" if switches.server_offset_minutes > before else "back"


def change_day(world: StruckWorld, chance: random.Random) -> str:
    """End the trade server's day, which charges swaps and ends day orders."""
    ledger = world.ledger
    before = (dict(ledger.positions), dict(ledger.orders))
    world.terminal.broker.change_day()
    return "with its swaps" if before != (ledger.positions, ledger.orders) else ""


def suspend(world: StruckWorld, chance: random.Random) -> str:
    """Let the bot's machine sleep."""
    seconds = chance.choice((2, 8, 20))
    for bot in world.bots:
        bot.sleep_until(world.now_ns + seconds * 1_000 * MS)
    return f"for {seconds} s"


def suspend_for_minutes(world: StruckWorld, chance: random.Random) -> str:
    """Let the bot's machine sleep for minutes, as overnight; the run lasts longer by that time."""
    seconds = chance.choice((120, 240))
    if not world.may_be_prolonged:
        return ""
    for bot in world.bots:
        bot.sleep_until(world.now_ns + seconds * SECOND)
    world.faults_last_until(world.now_ns + (seconds + 5) * SECOND)
    return f"for {seconds} s"
