"""Everything that the crash harness does to a gateway, its worker, its terminal and a bot.

They are real processes on a real disk. What loses power is a process with its files: it is killed,
and whatever SQLite had not acknowledged is cut off its log, overwritten, or left, as the chance has
it; notes that nobody synced may be empty. So it shows that nothing is done, and nothing believed,
that rests on bytes without an acknowledged sync. It trusts SQLite and the disk to keep what they
acknowledged. A full disk is a limit on the size of files of one process; a failing sync is the
kernel's answer to it. The broker's own process only stands still: it has the ledger in memory.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tests.support.crash_world import BotProcess, Terminal
from tests.support.gateway_world import STORE, Gateway
from tests.support.hurt import HEADER, SYNC_FAILS, acknowledged, can_fail_syncs, note_of
from tests.support.posix_limits import no_file_beyond
from tests.support.processes import stopped
from tests.support.servers import until

JOURNAL = "bot.db"
# Within a call's deadline, beyond a bot's timeout, and beyond every grace period (seconds).
FREEZES = (0.2, 0.2, 0.2, 1.0, 1.0, 3.5)
CLOCKS_SEC = (-86_400, -3_600, -5, -0.5, 0, 0.5, 5, 3_600, 86_400)


class Machines(NamedTuple):
    """Who can be hurt, and the seeded chance."""

    terminal: Terminal
    gateway: Gateway
    bot: BotProcess
    chance: random.Random

    def go_on(self, most_sec: float = 0.3) -> None:
        """Let the bot trade for a random time."""
        self.bot.listen_for(self.chance.uniform(0.0, most_sec))

    def restart_gateway(self) -> None:
        """End the gateway, if it lives, and start it again after a while."""
        self.gateway.kill()
        self.go_on()
        self.gateway.start()

    def file(self, name: str) -> Path:
        """A file of gateway or bot."""
        return self.terminal.folder / name


class Hurt(NamedTuple):
    """One kind: its name, what it does, how often beside others; why it cannot be done here."""

    name: str
    do: Callable[[Machines], object]
    weight: int = 2
    ends_bot: bool = False
    impossible: str = ""


def _frozen(machines: Machines, pid: int) -> None:
    try:
        with stopped(pid):
            machines.bot.listen_for(machines.chance.choice(FREEZES))
    except ProcessLookupError:
        # A worker whose successor is not there yet.
        return


def _frozen_worker(machines: Machines) -> None:
    _frozen(machines, machines.gateway.workers()[-1])


def _powerless_gateway(machines: Machines) -> None:
    machines.gateway.kill_worker()
    machines.gateway.kill()
    lose_tail(machines.file(STORE), machines.chance, machines.terminal.hurts)
    machines.restart_gateway()


def _powerless_bot(machines: Machines) -> None:
    machines.bot.kill()
    lose_tail(machines.file(JOURNAL), machines.chance, machines.terminal.hurts)


def _full(machines: Machines, pid: int, database: str) -> None:
    log = machines.file(f"{database}-wal")
    size = log.stat().st_size if log.exists() else 0
    with no_file_beyond(pid, machines.chance.choice((0, size, size + 2_000))):
        machines.go_on(0.6)


def _unsynced_gateway(machines: Machines) -> None:
    os.kill(machines.gateway.pid, SYNC_FAILS or 0)
    machines.go_on(0.6)
    machines.restart_gateway()


def _unsynced_bot(machines: Machines) -> None:
    os.kill(machines.bot.pid, SYNC_FAILS or 0)
    machines.go_on(0.6)
    machines.bot.kill()


def _set_clock(machines: Machines, name: str) -> None:
    set_clock(machines.terminal.hurts, name, machines.chance.choice(CLOCKS_SEC))


def set_clock(folder: Path | None, name: str, seconds: float) -> None:
    """Set the clock of a process so many seconds off the machine's; no folder, no such clock."""
    if folder is None:
        return
    new = folder / f"{name}.clock.new"
    new.write_text(str(seconds), "ascii")

    def placed() -> bool:
        # Windows replaces no file that somebody reads.
        with contextlib.suppress(PermissionError):
            new.replace(folder / f"{name}.clock")
            return True
        return False

    until(placed)


def lose_tail(database: Path, chance: random.Random, notes: Path | None) -> None:
    """Take from a database's log what was not acknowledged, as a power loss may."""
    assert notes is not None
    log, note = database.with_name(f"{database.name}-wal"), note_of(notes, database)
    salt, end = acknowledged(note)
    if log.exists():
        with log.open("r+b") as file:
            # A log begun anew holds nothing yet that was acknowledged.
            keep = end if file.read(HEADER)[16:24] == salt else HEADER
            _overwrite(file, keep, log.stat().st_size, chance)
    for lock in database.parent.glob(f"{database.name}.*.lock"):
        if chance.random() < 0.3:
            lock.write_bytes(b"")


def _overwrite(file: BinaryIO, keep: int, size: int, chance: random.Random) -> None:
    rest = max(0, size - keep)
    tail = chance.choice((None, b"", bytes(rest), chance.randbytes(rest)))
    if tail is None:
        # The system had written it back by itself.
        return
    file.seek(keep)
    file.truncate()
    file.write(tail)


_NO_LIMITS = "" if sys.platform == "linux" else "only Linux limits the files of another process"
_NO_FILTER = "" if can_fail_syncs() else "only Linux makes the syncs of one process fail"

HURTS = (
    Hurt("bot killed", lambda m: m.bot.kill(), weight=4, ends_bot=True),
    Hurt("bot frozen", lambda m: _frozen(m, m.bot.pid)),
    Hurt("bot without power", _powerless_bot, weight=3, ends_bot=True),
    Hurt("bot's disk full", lambda m: _full(m, m.bot.pid, JOURNAL), impossible=_NO_LIMITS),
    Hurt("bot's syncs fail", _unsynced_bot, 1, ends_bot=True, impossible=_NO_FILTER),
    Hurt("bot's clock set", lambda m: _set_clock(m, "bot")),
    Hurt("gateway killed", lambda m: m.restart_gateway()),
    Hurt("gateway frozen", lambda m: _frozen(m, m.gateway.pid)),
    Hurt("gateway without power", _powerless_gateway),
    Hurt("gateway's disk full", lambda m: _full(m, m.gateway.pid, STORE), impossible=_NO_LIMITS),
    Hurt("gateway's syncs fail", _unsynced_gateway, 1, impossible=_NO_FILTER),
    Hurt("gateway's clock set", lambda m: _set_clock(m, "gateway")),
    Hurt("worker killed", lambda m: m.gateway.kill_worker()),
    Hurt("worker frozen", _frozen_worker),
    Hurt("terminal frozen", lambda m: _frozen(m, m.terminal.process.pid)),
)
KILLS = tuple(hurt for hurt in HURTS if hurt.name.endswith(" killed"))
