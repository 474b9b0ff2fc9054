"""Kill, freeze, cut off, drain, end and move the nodes of a fleet at random; the ledgers judge.

`make fleet ARGS="--accounts 300 --events 200 --seed 7"`. The accounts trade all the time, their
journals are in a PostgreSQL pair that fails over, and events overlap. After the last event all
nodes end in order, and each terminal's own ledger is compared with the account's journal: nothing
lost, nothing doubled, nothing executed under an older token.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg

from tests.fleet.fleet_events import FleetEvents, Pauses, Steps, Wait
from tests.fleet.fleet_world import DEADLINE_SEC, FleetNode, FleetWorld
from tests.fleet.postgres_pair import PostgresPair
from tests.fleet.ray_nodes import RayCluster, RayNode
from tests.fleet.takeovers import Look, Looker
from tests.journal.postgres_server import binaries
from trueup.errors import TrueupError

# How many of 200 events are of each kind; the wakes of frozen nodes are events as well.
OF_200: Final = {
    "kill": 36,
    "freeze": 20,
    "wake": 20,
    "cut_off": 20,
    "cut_from_gateways": 11,
    "cut_and_drain": 11,
    "end": 26,
    "drain": 20,
    "move": 24,
    "failover": 9,
    "outage": 3,
}
OF_DATABASE: Final = frozenset({"failover", "outage"})
# While these last, takeovers are slower: only frozen nodes are beside them.
ALONE: Final = OF_DATABASE | {"cut_from_gateways", "cut_and_drain"}
# So many other takeovers are under way at the same time at most.
OPEN_MOST: Final = 2
RANDOM_SHARE: Final = 0.2
# An event meets a node with at least this part of all accounts.
LEAST_SHARE: Final = 12
LOOK_SEC: Final = 0.1
# Shards are shared out evenly, and have different numbers of accounts.
EVEN_SHARE: Final = 0.8
PAUSES: Final = Pauses()


class FleetFailed(Exception):
    """The fleet did not do what was waited for."""


class Episode:
    """An event under way."""

    def __init__(self, kind: str, node: str, steps: Steps) -> None:
        self.kind, self.node, self._steps = kind, node, steps
        self.began = time.monotonic()
        self.wait: Wait | None = next(steps, None)
        self._since = self.began

    def go_on(self, look: Look) -> None:
        """Take the next step, if what is waited for is there."""
        while self.wait is not None and self.wait.is_over(look):
            self.wait, self._since = next(self._steps, None), time.monotonic()
        self.check()

    def check(self) -> None:
        """Fail after the deadline of a wait."""
        if self.wait is not None and time.monotonic() > self._since + DEADLINE_SEC:
            where = f"{self.kind} {self.node}".rstrip()
            left = ", ".join(self.wait.left()[:20])
            what = f"{where}: {self.wait.what} not within {DEADLINE_SEC:.0f} s"
            raise FleetFailed(f"{what}; left are {left}" if left else what)


class FleetRun:
    """A run; the times are in `events`."""

    def __init__(
        self,
        world: FleetWorld,
        seed: int,
        pauses: Pauses,
        only: str = "",
        *,
        is_apart: bool = False,
    ) -> None:
        self._world, self._chance, self._only = world, random.Random(seed), only
        self._is_apart = is_apart
        self._looker = Looker(world)
        self.events = FleetEvents(world, self._looker, self._chance, pauses)
        self.says: Callable[[str], object] = lambda _: None
        """Told of each event."""
        self.happened = 0
        """How many events there were, with wakes."""
        self._episodes: list[Episode] = []
        self._began = time.monotonic()

    def live_through(self, events: int, most_sec: float = 1e9) -> None:
        """Let so many events happen; begin none after so many seconds.

        Raises:
            FleetFailed: the fleet did not do what was waited for.
        """
        deck, pause = self._deck(events), threading.Event()
        self._wait_for("all accounts to be read, by all nodes", self._is_shared_out)
        self._began = time.monotonic()
        while deck or self._episodes:
            look = self._looker.look()
            self._check_processes()
            if look is not None:
                self.events.see(look)
            self._go_on(look)
            if time.monotonic() > self._began + most_sec:
                deck.clear()
            if look is not None and deck:
                self._begin_one(deck, self.events.latest)
            pause.wait(LOOK_SEC)
        self._wait_for("all accounts to be read at last", lambda look: not self._unread(look))
        self._looker.close()

    def _deck(self, events: int) -> list[str]:
        """Return the kinds of all events, in the order in which they are tried."""
        if self._only:
            return [self._only] * events
        kinds = {kind: max(1, round(count * events / 200)) for kind, count in OF_200.items()}
        # What rounding leaves is killed.
        kinds["kill"] = max(1, kinds["kill"] + events - sum(kinds.values()))
        del kinds["wake"]
        deck = [kind for kind, count in kinds.items() for _ in range(count)]
        self._chance.shuffle(deck)
        return deck

    def _go_on(self, look: Look | None) -> None:
        for episode in list(self._episodes):
            if look is None:
                episode.check()
                continue
            episode.go_on(look)
            if episode.wait is None:
                self._end(episode)

    def _end(self, episode: Episode) -> None:
        self._episodes.remove(episode)
        self.events.away.discard(episode.node)
        took = time.monotonic() - episode.began
        self._say(f"{episode.kind} {episode.node} is over after {took:.0f} s")
        self.happened += 1 + (episode.kind == "freeze")

    def _begin_one(self, deck: list[str], look: Look) -> None:
        """Begin the first event of the deck that can happen now."""
        opened = [one.kind for one in self._episodes if one.wait is not None and one.wait.is_open]
        if len(opened) >= OPEN_MOST or ALONE.intersection(opened):
            return
        if self._is_apart and (self._episodes or not self._is_even(look)):
            return
        for number, kind in enumerate(deck):
            if kind in ALONE and opened:
                continue
            if kind in OF_DATABASE and not self.events.may_lose_database:
                continue
            node = "" if kind in OF_DATABASE else self._choose(kind, look)
            if node or kind in OF_DATABASE:
                self._begin(deck.pop(number), node, look)
                return

    def _choose(self, kind: str, look: Look) -> str:
        """Return the node of an event: most often the one with the most accounts; '' for none."""
        away = self.events.away
        free = [name for name, node in look.members.items() if node.is_alive and name not in away]
        # A node that goes away leaves another that can take its accounts.
        if len(free) < 2:
            return ""
        counts = {name: len(look.at(name)) for name in free}
        if kind == "move":
            # Whoever has the fewest gets one of another's, if any of them has one.
            return min(free, key=counts.__getitem__) if any(counts.values()) else ""
        least = max(1, len(look.owners) // LEAST_SHARE)
        worth = [name for name in free if counts[name] >= least]
        if not worth:
            return ""
        if self._chance.random() < RANDOM_SHARE:
            return self._chance.choice(worth)
        return max(worth, key=counts.__getitem__)

    def _begin(self, kind: str, node: str, look: Look) -> None:
        self._say(f"{kind} {node}: {len(look.at(node)) if node else 'all'} accounts")
        if node:
            self.events.away.add(node)
        episode = Episode(kind, node, getattr(self.events, kind)(node))
        self._episodes.append(episode)

    def _say(self, text: str) -> None:
        self.says(f"{time.monotonic() - self._began:6.1f} s, {self.happened:3} events: {text}")

    def _check_processes(self) -> None:
        for name, node in self._world.nodes.items():
            code = node.process.child.poll()
            if code is not None and name not in self.events.away:
                raise FleetFailed(f"{name} ended by itself with {code}: {node.text()[-2000:]}")

    def _is_shared_out(self, look: Look) -> bool:
        least = len(look.owners) // LEAST_SHARE
        return not self._unread(look) and all(len(look.at(n)) > least for n in self._world.nodes)

    def _is_even(self, look: Look) -> bool:
        """Whether all nodes have about as many accounts, and all of these were read."""
        least = EVEN_SHARE * len(look.owners) / len(self._world.nodes)
        is_even = all(len(look.at(name)) >= least for name in self._world.nodes)
        return is_even and not self._unread(look)

    def _unread(self, look: Look) -> Iterable[str]:
        return [
            name
            for name, owner in look.owners.items()
            if not owner.node or look.readings[name].last < owner.since
        ]

    def _wait_for(self, what: str, is_there: Callable[[Look], bool]) -> None:
        end, pause = time.monotonic() + DEADLINE_SEC, threading.Event()
        while True:
            look = self._looker.look()
            if look is not None and is_there(look):
                return
            if time.monotonic() > end:
                unread = "no database" if look is None else list(self._unread(look))[:20]
                raise FleetFailed(f"{what}: not within {DEADLINE_SEC:.0f} s: {unread}")
            pause.wait(LOOK_SEC)


def run_fleet(
    folder: Path,
    pair: PostgresPair,
    *,
    accounts: int,
    events: int,
    seed: int,
    nodes: int = 3,
    lease_sec: float = 4.0,
    interval_sec: float = 5.0,
    timeout_ms: int = 5_000,
    pauses: Pauses = PAUSES,
    most_sec: float = 1e9,
    only: str = "",
    is_apart: bool = False,
    kind: type[FleetNode] = FleetNode,
    says: Callable[[str], object] = lambda _: None,
) -> tuple[str, list[str]]:
    """Run in a folder; return the table of figures, and everything that is wrong."""
    with FleetWorld(
        folder,
        pair,
        accounts,
        nodes,
        lease_sec=lease_sec,
        interval_sec=interval_sec,
        timeout_ms=timeout_ms,
        has_lines=True,
        kind=kind,
    ) as world:
        made = FleetRun(world, seed, pauses, only, is_apart=is_apart)
        made.says = says
        wrong: list[str] = []
        tokens = 0
        try:
            made.live_through(events, most_sec)
            # Each order in doubt is decided by then.
            world.trade(2)
            says("the end: each ledger is compared with its journal")
            codes = [node.end() for node in world.nodes.values()]
            wrong = [f"a node ended with {code}" for code in codes if code] + world.faults()
            tokens = world.takeovers()
        except (FleetFailed, AssertionError, TrueupError, psycopg.Error) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        wrong += [
            f"{node.name}: a traceback in its log"
            for node in world.nodes.values()
            if "Traceback" in node.text()
        ]
        orders, refused = world.orders(), world.refused()
    figures = (
        f"{accounts} accounts, {nodes} nodes, {made.happened} of {events} events: {orders} orders "
        f"executed, {tokens} openings of journals;\n{made.events.held} orders were on their way "
        f"when their node was frozen or cut off, and {refused} of former owners were refused"
    )
    return f"{made.events.times.table()}\n{figures}", wrong


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
    parser.add_argument("--outage", type=float, default=30.0, help="seconds without any database")
    parser.add_argument("--minutes", type=float, default=20.0, help="begin no event later")
    kinds = sorted(OF_200.keys() - {"wake"})
    parser.add_argument("--only", choices=kinds, default="", help="events of one kind alone")
    apart = "one event after the other, each once the accounts are shared out evenly"
    parser.add_argument("--apart", action="store_true", help=apart)
    parser.add_argument("--ray", action="store_true", help="let Ray start the nodes")
    options = parser.parse_args()
    programs = binaries()
    if programs is None or not (programs / "pg_basebackup").exists():
        sys.exit("no PostgreSQL with pg_basebackup: install Debian's `postgresql`")
    if options.ray and find_spec("ray") is None:
        sys.exit("no Ray here: pip install ray")
    folder, began = Path(tempfile.mkdtemp(prefix="fleet-")), time.monotonic()
    sys.stderr.write(f"Logs: {folder}\n")
    pair = PostgresPair(programs)
    cluster = RayCluster(folder, options.nodes) if options.ray else nullcontext()
    try:
        with cluster:
            figures, wrong = run_fleet(
                folder,
                pair,
                accounts=options.accounts,
                events=options.events,
                seed=options.seed,
                nodes=options.nodes,
                lease_sec=options.lease,
                interval_sec=options.interval,
                pauses=Pauses(freeze=options.freeze, outage=options.outage),
                most_sec=60 * options.minutes,
                only=options.only,
                is_apart=options.apart,
                kind=RayNode if options.ray else FleetNode,
                says=lambda line: sys.stderr.write(f"{line}\n"),
            )
    finally:
        for number, server in enumerate(pair.servers):
            shutil.copy(server.folder / "log", folder / f"postgres{number}.log")
        pair.remove()
    lines = [figures, f"seed {options.seed}, {time.monotonic() - began:.0f} s", *wrong[:20]]
    lines.append(f"WRONG: {len(wrong)}; logs: {folder}" if wrong else "0 lost, 0 doubled, 0 older")
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
