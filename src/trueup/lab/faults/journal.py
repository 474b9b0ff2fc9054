"""Faults of the journal's file: a person puts an earlier copy back, or moves the open file."""

from __future__ import annotations

import random

from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import Fault

ACCEPTS_EVERY_MS = 1_000


def put_back(world: StruckWorld, chance: random.Random) -> None:
    """Copy the journal, and replace the journal by the copy later, while the bot is down.

    A person accepts the loss after a while. An image of the whole machine includes the note beside
    the file, a copy of the file alone does not.
    """
    # Everything is drawn now, so that the details do not depend on later events.
    copy, position, file = world.disk.copied(), _position(world), world.disk.file
    begins_msc = world.terminal.switches.history_begins_msc
    down_ms, accepts_ms = chance.choice((700, 3_000)), chance.choice((2_000, 8_000, 30_000))
    with_note = chance.random() < 0.5

    def put_it_back() -> None:
        lost = _position(world) - position
        # Deals archived since then, and orders on the guide's wire, cannot be proven a second time.
        is_archived = world.terminal.switches.history_begins_msc != begins_msc
        is_blind = is_archived or world.gateway.knows_only_the_guide
        if lost <= 0 or is_blind or world.is_healed or world.disk.file != file:
            return
        for bot in world.bots:
            bot.kill(down_ms)
        world.put_journal_back(copy, with_note=with_note)
        how = "and the note beside it" if with_note else "the file alone"
        world.struck(Fault.JOURNAL_PUT_BACK, f"it lacks {lost} events; {how}")
        _accept(world, accepts_ms)

    world.schedule.after(chance.choice((3_000, 6_000, 12_000)), put_it_back)


def _accept(world: StruckWorld, after_ms: int) -> None:
    """Accept the losses of journals after a while, and then again and again."""

    def accept() -> None:
        if not world.is_healed:
            world.accept_losses()
            _accept(world, ACCEPTS_EVERY_MS)

    world.schedule.after(after_ms, accept)


def _position(world: StruckWorld) -> int:
    rows = world.disk.rows()
    return rows[-1].position if rows else 0


def move(world: StruckWorld, chance: random.Random) -> None:
    """Move the journal's folder away under the bot, and restart the bot when the folder is back.

    Or replace the file by a copy: the file that the bot has open is then no longer the journal.
    """
    # Both faults leave the bot with an open file that no other process can find.
    disk, away_ms = world.disk, chance.choice((500, 3_000, 8_000))
    is_copied, restart_ms = chance.random() < 0.5, chance.choice((100, 2_000))
    if disk.file is None:
        return
    if is_copied:
        disk.put_in_place(disk.copied(), with_note=True)
    else:
        disk.move_away()
        world.schedule.after(away_ms, disk.move_back)

    # The bot must not go on writing to that file, so a person restarts the bot later.
    world.restarts_bots = True

    def restart() -> None:
        if not world.is_healed:
            world.start_anew()

    world.schedule.after(away_ms + restart_ms, restart)
