"""Kill, freeze, cut off, drain, end and move the nodes of a fleet at random; the ledgers judge.

`make fleet ARGS="--accounts 300 --events 200 --seed 7"`. The accounts trade all the time. After the
last event all nodes end in order, and each terminal's own ledger is compared with the account's
journal: nothing lost, nothing doubled, nothing executed under an older token.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from tests.fleet.fleet_world import DEADLINE_SEC, FleetWorld
from tests.journal.postgres_server import PostgresServer, binaries
from tests.support.servers import until
from trueup.doors.fleet.fleet import Fleet

# How often each kind comes beside the others.
WEIGHTS = {
    "kill": 4,
    "freeze": 2,
    "cut off": 2,
    "end": 4,
    "drain": 4,
    "move": 3,
    "outage": 1,
}
WEIGHT = tuple(WEIGHTS.values())
OUTAGE_SEC = 2.0
RANDOM_SHARE = 0.2


class FleetRun:
    """A run; the figures are in `took`: seconds by the kind of the event."""

    def __init__(self, world: FleetWorld, seed: int, freeze_sec: float) -> None:
        self._world, self._chance = world, random.Random(seed)
        self._freeze_sec = freeze_sec
        self.took: dict[str, list[float]] = defaultdict(list)
        """From an event until every account was read and believed by a node that has it."""
        self.claimed: dict[str, list[float]] = defaultdict(list)
        """From an event until every shard had a living node."""
        self.says: Callable[[str], object] | None = None
        """Told of each event."""
        self.happened = 0
        """How many events there were."""
        # The nodes that stand still, and when they wake.
        self._frozen: dict[str, float] = {}

    def live_through(self, events: int, most_sec: float | None = None) -> None:
        """Let so many events happen, one after the other; begin none after so many seconds."""
        end_sec = None if most_sec is None else time.monotonic() + most_sec
        self.happened = events
        names = list(self._world.nodes)
        self._recovered(names)
        kinds = list(WEIGHTS)
        for number in range(events):
            self._wake()
            kind = kinds[number] if number < len(kinds) else self._chance.choices(kinds, WEIGHT)[0]
            able = [name for name in names if name not in self._frozen]
            if kind == "freeze" and len(able) < 2:
                kind = "kill"
            chosen = self._choose(kind, able)
            others = [name for name in able if name != chosen]
            began = time.monotonic()
            getattr(self, f"_{kind.replace(' ', '_')}")(chosen, others)
            if self.says is not None:
                took = time.monotonic() - began
                self.says(f"{number + 1} of {events}: {kind} {chosen}, {took:.0f} s")
            if end_sec is not None and time.monotonic() > end_sec:
                self.happened = number + 1
                break
        while self._frozen:
            self._wake(wait=True)
        self._recovered(names)

    def _choose(self, kind: str, able: list[str]) -> str:
        """Return the node that an event happens to: most often the one with the most accounts."""
        if kind == "move" or self._chance.random() < RANDOM_SHARE:
            return self._chance.choice(able)
        counts = Counter(self._world.where().values())
        return max(able, key=lambda name: counts[name])

    def _wake(self, *, wait: bool = False) -> None:
        for name, until_sec in list(self._frozen.items()):
            if wait:
                time.sleep(max(0.0, until_sec - time.monotonic()))
            if time.monotonic() >= until_sec:
                self._world.nodes[name].signal(signal.SIGCONT)
                del self._frozen[name]
                self._alive(name)

    # The events: each ends when all accounts are recovered, wherever they are.

    def _kill(self, name: str, others: list[str]) -> None:
        def act() -> None:
            self._world.nodes[name].kill()
            if not others:
                self._world.nodes[name].start()

        self._timed("kill", act, others or [name])
        if others:
            self._world.nodes[name].start()
        self._alive(name)

    def _freeze(self, name: str, others: list[str]) -> None:
        self._frozen[name] = time.monotonic() + self._freeze_sec
        self._timed("freeze", lambda: self._world.nodes[name].signal(signal.SIGSTOP), others)

    def _cut_off(self, name: str, others: list[str]) -> None:
        if not others:
            return
        self._timed("cut off", lambda: self._world.cut_off(name), others)
        self._world.reconnect(name)
        self._alive(name)

    def _end(self, name: str, others: list[str]) -> None:
        def act() -> None:
            assert self._world.nodes[name].end() == 0
            if not others:
                self._world.nodes[name].start()

        self._timed("end", act, others or [name])
        if others:
            self._world.nodes[name].start()
        self._alive(name)

    def _drain(self, name: str, others: list[str]) -> None:
        if not others:
            return

        def act() -> None:
            with Fleet(self._world.url) as fleet:
                fleet.drain(name, "a test", "")

        self._timed("drain", act, others)
        with Fleet(self._world.url) as fleet:
            fleet.undrain(name)

    def _move(self, name: str, others: list[str]) -> None:
        account = self._chance.choice(self._world.names)

        def act() -> None:
            with Fleet(self._world.url) as fleet:
                fleet.move(account, name, "a test")
            until(lambda: self._world.where()[account] == name, DEADLINE_SEC, pause_sec=0.05)

        self._timed("move", act, [name, *others])
        with Fleet(self._world.url) as fleet:
            fleet.move(account, "", "a test")

    def _outage(self, name: str, others: list[str]) -> None:
        def act() -> None:
            assert isinstance(self._world.server, PostgresServer)
            self._world.server.stop()
            time.sleep(OUTAGE_SEC)
            self._world.server.start()

        self._timed("outage", act, [name, *others])

    def _timed(self, kind: str, act: Callable[[], None], nodes: list[str]) -> None:
        began = time.monotonic()
        act()
        self._recovered(nodes, lambda: self.claimed[kind].append(time.monotonic() - began))
        self.took[kind].append(time.monotonic() - began)

    def _recovered(self, nodes: list[str], on_claimed: Callable[[], None] = lambda: None) -> None:
        """Wait until all accounts are at these nodes, and have been read there."""
        until(lambda: set(self._world.where().values()) <= set(nodes), DEADLINE_SEC, pause_sec=0.05)
        on_claimed()
        until(lambda: self._world.believed(nodes), DEADLINE_SEC, pause_sec=0.05)

    def _alive(self, name: str) -> None:
        """Wait until a node is a member again; what it takes back is its own affair."""

        def is_member() -> bool:
            node = self._world.status()["nodes"].get(name)
            is_new = node is not None and node["process"] == self._world.nodes[name].pid
            return is_new and node["state"] == "alive"

        until(is_member, DEADLINE_SEC, pause_sec=0.05)


def table(run: FleetRun) -> str:
    """Return the times of takeover by the kind of the event."""
    lines = [f"{'event':<10}{'count':>6}  claimed: p50    max  recovered: p50    max  (seconds)"]
    for kind, took in sorted(run.took.items()):
        claimed = run.claimed[kind]
        lines.append(
            f"{kind:<10}{len(took):>6}{statistics.median(claimed):>14.1f}{max(claimed):>7.1f}"
            f"{statistics.median(took):>16.1f}{max(took):>7.1f}"
        )
    return "\n".join(lines)


def run_fleet(
    folder: Path,
    server: PostgresServer,
    *,
    accounts: int,
    events: int,
    seed: int,
    nodes: int = 3,
    lease_sec: float = 4.0,
    interval_sec: float = 5.0,
    freeze_sec: float = 30.0,
    most_sec: float | None = None,
    says: Callable[[str], object] | None = None,
) -> tuple[str, list[str]]:
    """Run in a folder; return the table of figures, and everything that is wrong."""
    options = {"lease_sec": lease_sec, "interval_sec": interval_sec}
    with FleetWorld(folder, server, accounts, nodes, **options) as world:
        made = FleetRun(world, seed, freeze_sec)
        made.says = says
        made.live_through(events, most_sec)
        for node in world.nodes.values():
            assert node.end() == 0
        wrong, orders, refused = world.faults(), world.orders(), world.refused()
        tokens = world.takeovers()
    figures = (
        f"{accounts} accounts, {nodes} nodes, {made.happened} events: {orders} orders executed, "
        f"{refused} of former owners refused, {tokens} openings of journals"
    )
    return f"{table(made)}\n{figures}", wrong


def main() -> int:
    """Run it as the command line says; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accounts", type=int, default=300)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lease", type=float, default=4.0)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--freeze", type=float, default=30.0)
    parser.add_argument("--minutes", type=float, default=20.0, help="begin no event later")
    options = parser.parse_args()
    programs = binaries()
    if programs is None:
        sys.exit("no PostgreSQL: install Debian's `postgresql`")
    folder, began = Path(tempfile.mkdtemp(prefix="fleet-")), time.monotonic()
    server = PostgresServer(programs)
    try:
        figures, wrong = run_fleet(
            folder,
            server,
            accounts=options.accounts,
            events=options.events,
            seed=options.seed,
            nodes=options.nodes,
            lease_sec=options.lease,
            interval_sec=options.interval,
            freeze_sec=options.freeze,
            most_sec=60 * options.minutes,
            says=lambda line: sys.stderr.write(f"{line}\n"),
        )
    finally:
        server.remove()
    lines = [figures, f"seed {options.seed}, {time.monotonic() - began:.0f} s", *wrong[:20]]
    lines.append(f"WRONG: {len(wrong)}; logs: {folder}" if wrong else "0 lost, 0 doubled, 0 older")
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
