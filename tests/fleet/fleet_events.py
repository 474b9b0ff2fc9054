"""The events of `make fleet`, each a series of steps that waits for the fleet and not for a while.

A step is a wait: what is waited for, in words, and how to see it. Between its waits an event does
something to a node, its lines or the database. `is_open` waits keep another event of a takeover
from beginning; while a frozen node sleeps, others go on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from tests.fleet.fleet_world import FleetWorld
from tests.fleet.postgres_pair import PostgresPair
from tests.fleet.takeovers import Look, Looker, Takeover, Times
from trueup.doors.fleet.fleet import Fleet

# How long an order is waited for that is to be under way when a node freezes.
ORDER_SEC = 3.0


class Wait(NamedTuple):
    """What is waited for, and how to see it; `is_open` while accounts are without an owner.

    `left` returns the accounts that are not there yet.
    """

    what: str
    is_over: Callable[[Look], bool]
    is_open: bool = True
    left: Callable[[], list[str]] = list


class Pauses(NamedTuple):
    """How long (seconds) a node is frozen, cut off from gateways, and a database away."""

    freeze: float = 30.0
    cut: float = 6.0
    outage: float = 30.0


Steps = Iterator[Wait]


class Background:
    """A call in a thread of its own; `is_over` raises what it has raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error

    def is_over(self) -> bool:
        """Return whether the call has returned."""
        if not self._thread.is_alive() and self._error is not None:
            raise self._error
        return not self._thread.is_alive()


class FleetEvents:
    """What can happen to the fleet, by name; the times are in `times`."""

    latest: Look
    """The latest look; an event is chosen by it, and begins with it or a later one."""

    def __init__(self, world: FleetWorld, looker: Looker, chance: Random, pauses: Pauses) -> None:
        self._world, self._looker = world, looker
        self._chance, self._pauses = chance, pauses
        self.times: Times = Times()
        self.open: list[Takeover] = []
        """The takeovers that are not over."""
        self.held: int = 0
        """How many orders had left a node and were under way when it was frozen or cut off."""
        self.away: set[str] = set()
        """The nodes that cannot have their accounts now."""
        self._rebuilding: Background | None = None
        self._ending: set[str] = set()

    @property
    def may_lose_database(self) -> bool:
        """Whether there is a standby, and no process that needs a database to end."""
        return self._has_standby and not self._ending

    @property
    def _has_standby(self) -> bool:
        return self._rebuilding is None or self._rebuilding.is_over()

    def see(self, look: Look) -> None:
        """Note what has become of the accounts."""
        self.latest = look
        for takeover in self.open:
            takeover.see(look)
        self.open = [one for one in self.open if one.left]

    # Of one node.

    def kill(self, name: str) -> Steps:
        """Kill its process; start another once the accounts are elsewhere."""
        self._look()
        self._world.nodes[name].kill()
        yield self._taken("kill", name)
        yield from self._start(name)

    def end(self, name: str) -> Steps:
        """End its process in order."""
        node = self._world.nodes[name]
        self._look()
        node.signal(signal.SIGTERM)
        yield self._taken("end", name)
        self._ending.add(name)
        yield Wait(f"the end of {name}", lambda _: node.has_ended(), is_open=False)
        self._ending.remove(name)
        yield from self._start(name)

    def freeze(self, name: str) -> Steps:
        """Let its machine stand still, with orders of its on the line; then wake it."""
        node = self._world.nodes[name]
        yield from self._cut_with_order(name)
        self._look()
        node.signal(signal.SIGSTOP)
        wakes_at = time.monotonic() + self._pauses.freeze
        yield self._taken("freeze", name)
        yield Wait(f"{name} to wake", lambda _: time.monotonic() >= wakes_at, is_open=False)
        node.signal(signal.SIGCONT)
        self._world.lines.tell("heal", node.number)
        began = time.time()
        yield self._member(name)
        self.times.count("wake")
        self.times.note("wake", time.time() - began)

    def cut_off(self, name: str) -> Steps:
        """Cut it off from the database."""
        self._look()
        self._world.cut_off(name)
        yield self._taken("cut off", name)
        began = time.time()
        self._world.reconnect(name)
        yield self._member(name, began)

    def drain(self, name: str) -> Steps:
        """Drain it, and end that."""
        self._look()
        with Fleet(self._world.url) as fleet:
            fleet.drain(name, "a test", "")
        yield self._taken("drain", name)
        with Fleet(self._world.url) as fleet:
            fleet.undrain(name, "a test")

    def move(self, name: str) -> Steps:
        """Move the shard of an account to it."""
        # The look by which the node was chosen: in a later one others might have nothing.
        look = self.latest
        elsewhere = [a for a, o in look.owners.items() if o.node not in ("", name, *self.away)]
        assert elsewhere, f"no account elsewhere can be moved to {name}"
        account = self._chance.choice(elsewhere)
        with Fleet(self._world.url) as fleet:
            fleet.move(account, name, "a test")
        owner = look.owners[account]
        # A shard has one row, so its accounts have the same one.
        yield self._watched("move", [a for a, o in look.owners.items() if o is owner])
        with Fleet(self._world.url) as fleet:
            fleet.move(account, "", "a test")

    def cut_from_gateways(self, name: str) -> Steps:
        """Cut it off from its gateways for a while: nobody else takes its accounts."""
        yield from self._cut_from_gateways(name)
        self._heal(name)
        accounts = self._look().at(name)
        yield self._watched("cut from gateways", accounts, is_claimed=False)

    def cut_and_drain(self, name: str) -> Steps:
        """Cut it off from its gateways until a person has drained it."""
        yield from self._cut_from_gateways(name)
        self._look()
        with Fleet(self._world.url) as fleet:
            fleet.drain(name, "a test", "its gateways are away")
        yield self._taken("drain of a cut node", name)
        self._heal(name)
        with Fleet(self._world.url) as fleet:
            fleet.undrain(name, "a test")

    # Of the database.

    def failover(self, _: str) -> Steps:
        """Kill the primary, and promote its standby at once."""
        yield from self._failed_over("failover", 0.0)

    def outage(self, _: str) -> Steps:
        """Kill the primary, and promote its standby after a time without any database."""
        yield from self._failed_over("failover after a while", self._pauses.outage)

    def _failed_over(self, kind: str, pause_sec: float) -> Steps:
        pair = self._world.server
        assert isinstance(pair, PostgresPair)
        began, pause = time.time(), threading.Event()
        promoting = Background(lambda: pair.fail_over(lambda: pause.wait(pause_sec)))
        awake = [name for name in self._look().members if name not in self.away]
        yield Wait("the promotion of the standby", lambda _: promoting.is_over())

        def beat(look: Look) -> bool:
            found = [look.members.get(name) for name in awake]
            return all(one is not None and one.is_alive and one.beat > began for one in found)

        yield Wait("a heartbeat of each node after the failover", beat)
        self.times.count(kind)
        self.times.note(kind, time.time() - began)
        self._rebuilding = Background(pair.rebuild)
        yield Wait("a fresh standby", lambda _: self._has_standby, is_open=False)

    # Their parts.

    def _look(self) -> Look:
        """Return a look of now, or the latest if the database has gone away."""
        self.latest = self._looker.look() or self.latest
        return self.latest

    def _taken(self, kind: str, name: str) -> Wait:
        return self._watched(kind, self.latest.at(name))

    def _watched(self, kind: str, accounts: list[str], *, is_claimed: bool = True) -> Wait:
        """Watch the accounts that an event meets from now on; return the wait for all of them."""
        for earlier in self.open:
            earlier.forget(accounts)
        takeover = Takeover(kind, accounts, self.latest, is_claimed=is_claimed)
        self.times.count(kind)
        self.times.takeovers.append(takeover)
        self.open.append(takeover)
        what = f"a reading of {len(accounts)} accounts by their new owners"
        return Wait(what, takeover.is_over, left=lambda: takeover.left)

    def _cut_with_order(self, name: str) -> Steps:
        """Cut a node's line, and wait a moment for an order of its to be in it."""
        node, lines = self._world.nodes[name], self._world.lines
        lines.tell("cut", node.number)
        end = time.monotonic() + ORDER_SEC

        def has_order(_: Look) -> bool:
            return int(lines.ask("held", node.number)) > 0 or time.monotonic() > end

        yield Wait("an order on the line", has_order)
        self.held += int(lines.ask("held", node.number))

    def _cut_from_gateways(self, name: str) -> Steps:
        node, lines = self._world.nodes[name], self._world.lines
        lines.tell("cut", node.number)
        end = time.monotonic() + self._pauses.cut
        yield Wait(f"{name} to be cut off", lambda _: time.monotonic() > end)
        # What reaches the database keeps its claims.
        yield Wait(f"{name} to be alive", lambda look: look.members[name].is_alive)
        self.held += int(lines.ask("held", node.number))

    def _heal(self, name: str) -> None:
        self._world.lines.tell("heal", self._world.nodes[name].number)

    def _start(self, name: str) -> Steps:
        self._world.nodes[name].start()
        yield self._member(name)

    def _member(self, name: str, since: float | None = None) -> Wait:
        since = time.time() if since is None else since

        def is_member(look: Look) -> bool:
            found = look.members.get(name)
            is_it = found is not None and found.process == self._world.nodes[name].pid
            return is_it and found is not None and found.is_alive and found.beat > since

        # All its accounts are elsewhere by then, or have never left it.
        return Wait(f"{name} to be a member", is_member, is_open=False)
