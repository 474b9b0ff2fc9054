"""`trueup fleet node`: run the accounts of the shards that this node has.

Two threads: the loop of the accounts (`doors.accounts`), and one that sends heartbeats, claims
shards and gives them back. What the second finds, the first obeys. While the database is away
nothing changes: accounts go on reading, and their journals take no order. When it is back, the node
finds out which shards it still has.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, Final

import msgspec

from trueup.core.account.trust import Reason
from trueup.doors.accounts.checking import Accounts
from trueup.doors.accounts.database_wait import DatabaseWait
from trueup.doors.accounts.entry import AccountEntry
from trueup.doors.accounts.machine import PAUSED_IN_FLEET, AccountMachine, State
from trueup.doors.accounts.opened_account import OpenedAccount
from trueup.doors.accounts.room import make_room_for
from trueup.doors.accounts.run_accounts import AccountsProcess, first_list, run_process
from trueup.doors.accounts.source import AccountsSource
from trueup.doors.accounts.stop import Stop, Stopped
from trueup.doors.fleet.membership import Membership, OwnedShard, Pause, Replaced, Resumer, View
from trueup.doors.fleet.shards import shard_of, shards_of, target_of
from trueup.doors.fleet.tables import ensure_tables, fleet_database
from trueup.doors.fleet.telling import Telling
from trueup.doors.running.signals import stopped_by_signals
from trueup.errors import Refused, TrueupError
from trueup.journal.database.database import Database
from trueup.logs import Logger, logger
from trueup.processes import Process, this_process
from trueup.runtime.time.clock import Clock, SystemClock

log: Logger = logger("trueup.fleet")

LEASE_SEC: Final = 4.0
LEASE_LEAST_SEC, LEASE_MOST_SEC = 1.0, 300.0
BEATS_IN_A_LEASE: Final = 5
# So many shards of a hundred are given back at a heartbeat to a node that has fewer, at least one.
GIVEN_AT_ONCE_PERCENT: Final = 5
# The fleet's tables have so many of the accounts that do not run.
TROUBLES_TOLD: Final = 20
SECOND_NS: Final = 1_000_000_000
# After so long no gateway carries an order out, unless an account's own timeout is longer.
DEADLINE_SEC: Final = 60.0
UNKNOWN_NODE: Final = "another node"
# Of a shard that is not this node's: when it was claimed, and the dead node that had it.
NOBODYS: Final = (0, "")


class Node:
    """The decisions of a node, and what it knows of the fleet; one thread calls `turn`.

    Args:
        membership: the membership, joined.
        shards: the number of shards of the fleet.
        clock: the source of time.
    """

    def __init__(self, membership: Membership, shards: int, clock: Clock) -> None:
        self.membership, self.shards, self._clock = membership, shards, clock
        self.owned: Mapping[int, OwnedShard] = {}
        """The shards whose accounts are to run here; replaced as a whole."""
        self.pauses: Mapping[str, Pause] = {}
        self.resumed: Mapping[str, Resumer] = {}
        """Who has ended a pause, and why, by account; the empty name is for all."""
        self.trouble: str = ""
        """Why the database cannot be reached, or an empty text."""
        self._giving: dict[int, int] = {}
        # When each shard was claimed, and the dead node that had it. A thread of the accounts reads
        # what the thread of the heartbeats writes.
        self._claimed: dict[int, tuple[int, str]] = {}
        self._longest_sec = DEADLINE_SEC
        self._lease_ends_ns = 0
        self._name = membership.name

    def turn(
        self,
        accounts: frozenset[int],
        busy: frozenset[int],
        report: str,
        *,
        is_leaving: bool = False,
    ) -> None:
        """Send a heartbeat, give back what others should have, and claim what nobody has.

        Args:
            accounts: the shards that have accounts.
            busy: the shards with accounts that are not closed yet.
            report: what this node tells about itself, JSON.
            is_leaving: give everything back, and claim nothing.

        Raises:
            Replaced: this process is no longer the node.
            JournalError: the database cannot be reached.
        """
        member = self.membership
        asked_ns = self._clock.age_ns()
        view = member.beat(accounts, report)
        if is_leaving:
            view = view._replace(is_drained=True)
        self._lease_ends_ns = asked_ns + round(member.lease_sec * SECOND_NS)
        owned = dict(view.owned)
        for number in self._claimed.keys() - owned.keys():
            del self._claimed[number]
        for number in owned.keys() - self._claimed.keys():
            # The reply to the claim was lost, so who had the shard is not known.
            self._note_claim(number, UNKNOWN_NODE)
        # A claim that was lost and made again is another claim.
        self._giving = {
            number: epoch
            for number, epoch in self._giving.items()
            if number in owned and owned[number].epoch == epoch
        }
        for number in self._to_give(view, accounts):
            self._giving[number] = owned[number].epoch
        for number, epoch in list(self._giving.items()):
            if number not in busy:
                member.give_back(number, epoch, as_dead=self._may_be_followed(number))
                del self._giving[number], owned[number]
        owned |= self._claims(view, accounts, len(owned))
        ended = {name: one for name, one in self.pauses.items() if name not in view.pauses}
        if ended:
            self.resumed = {**self.resumed, **self._resumers(ended)}
        self.pauses = view.pauses
        self.owned = {
            number: shard for number, shard in owned.items() if number not in self._giving
        }

    def _resumers(self, ended: Mapping[str, Pause]) -> Mapping[str, Resumer]:
        try:
            return self.membership.resumers(ended)
        except TrueupError as error:
            # A name for the journals: the pauses end without it.
            log.warning("[FLEET] Who has resumed could not be read: %s", error)
            return {}

    def resumer(self, account: str) -> Resumer | None:
        """Return who has ended the last pause of an account, or of the whole fleet."""
        resumed = self.resumed
        # The account's own pause may have ended long before that of the whole fleet.
        return max((resumed[name] for name in (account, "") if name in resumed), default=None)

    def _to_give(self, view: View, accounts: frozenset[int]) -> list[int]:
        """Return the shards that this node gives back now."""
        kept = [number for number in sorted(view.owned) if number not in self._giving]
        if view.is_drained:
            return kept
        # Not to a drained node: it would not take them.
        elsewhere = view.loads.keys() - {self._name}
        moved = [number for number in kept if view.owned[number].pinned in elsewhere]
        if moved:
            return moved
        # Shards without accounts, as after a change of the file, are nobody's.
        empty = [number for number in kept if number not in accounts]
        free = [number for number in kept if view.owned[number].pinned is None]
        surplus = len(kept) - len(empty) - target_of(self._name, view.loads, len(accounts))
        most = max(1, len(kept) * GIVEN_AT_ONCE_PERCENT // 100)
        # One step after the other: what is on its way counts as given.
        count = min(surplus, most) if not self._giving else 0
        return [*empty, *[number for number in free if number in accounts][: max(0, count)]]

    def _claims(self, view: View, accounts: frozenset[int], count: int) -> dict[int, OwnedShard]:
        if view.is_drained or self._giving:
            return {}
        member, claimed = self.membership, {}
        most = target_of(self._name, view.loads, len(accounts)) - count
        if most > 0:
            claimed = member.claim(accounts, most, of_dead=view.is_settled)
        # What a person wants here comes on top.
        claimed |= member.claim(accounts, len(accounts), of_dead=view.is_settled, pinned_alone=True)
        for former, count in Counter(shard.former for shard in claimed.values()).items():
            whose = f" of node {former}, whose orders may still arrive" if former else ""
            log.info("[FLEET] Claimed %d shards%s", count, whose)
        for number, shard in claimed.items():
            self._note_claim(number, shard.former)
        return claimed

    def _note_claim(self, number: int, former: str) -> None:
        self._claimed[number] = self._clock.age_ns(), former

    def why_not_now(self, number: int, epoch: int) -> str:
        """Return why no order of a shard's accounts may leave now, or an empty text."""
        shard = self.owned.get(number)
        if shard is None or shard.epoch != epoch:
            return f"shard {number} is no longer of node {self._name}"
        late_ns = self._clock.age_ns() - self._lease_ends_ns
        if late_ns <= 0:
            return ""
        return (
            f"the lease of node {self._name} ended {late_ns / SECOND_NS:.0f} seconds ago, so "
            "another node may have the account"
        )

    def wait_sec(self, number: int, deadline_sec: float) -> float:
        """Return how long an account is still to be left alone; see `Right.wait_sec`."""
        self._longest_sec = max(self._longest_sec, deadline_sec)
        claimed_ns, former = self._claimed.get(number, NOBODYS)
        if not former:
            return 0.0
        since_sec = (self._clock.age_ns() - claimed_ns) / SECOND_NS
        return self.membership.lease_sec + deadline_sec - since_sec

    def leave(self) -> None:
        """Give all shards back and end the membership; see `Membership.leave`."""
        self.membership.leave(filter(self._may_be_followed, list(self._claimed)))

    def _may_be_followed(self, number: int) -> bool:
        """Return whether an order of a dead node that had a shard may still arrive.

        The next owner has to wait as well then: a shard may be given back before this node has
        judged its accounts.
        """
        return self.wait_sec(number, self._longest_sec) > 0

    def gives(self, number: int) -> bool:
        """Return whether a shard that is still this node's is being given back."""
        return number in self._giving

    def former(self, number: int) -> str:
        """Return the dead node that had a shard; empty for none."""
        _, name = self._claimed.get(number, NOBODYS)
        return name and (name if name == UNKNOWN_NODE else f"node {name}")


def departures(
    node: Node, running: Mapping[str, tuple[int, int]], wanted: Container[str]
) -> Iterator[tuple[str, str]]:
    """Yield the accounts that a node must close, each with the reason.

    The reason is empty where another node may have the account, and its journal: then this process
    writes nothing more.

    Args:
        node: the node.
        running: shard and epoch by which each account runs, by the account's name.
        wanted: the accounts of the file that are in the node's shards.
    """
    for name, (number, epoch) in running.items():
        shard = node.owned.get(number)
        if shard is None and node.gives(number):
            yield name, "the account goes to another machine"
        elif shard is None or shard.epoch != epoch:
            # A shard that was lost and claimed again was perhaps another's meanwhile.
            yield name, ""
        elif name not in wanted:
            yield name, "no longer in the list of the accounts"


class ShardRight:
    """The right to trade an account of a shard, by one claim of the shard; see `Right`."""

    def __init__(self, node: Node, number: int, epoch: int) -> None:
        self._node, self._number, self._epoch = node, number, epoch
        self.former: str = node.former(number)

    def permit(self, database: Database) -> None:
        """Check, in a transaction of the journal, that the claim holds."""
        self._node.membership.permit(database, self._number, self._epoch)

    def why_not_now(self) -> str:
        """Return why no order may leave now, or an empty text."""
        return self._node.why_not_now(self._number, self._epoch)

    def wait_sec(self, deadline_sec: float) -> float:
        """Return how long the account is still to be left alone."""
        return self._node.wait_sec(self._number, deadline_sec)


class NodeProcess(AccountsProcess):
    """The process of a node: those accounts of the file whose shards the node has.

    Args:
        source: the list of the accounts, read once.
        clock: the source of time.
        room: how many open files and sockets there are.
        node: the node, joined.
        journal: the journal of all accounts.
    """

    def __init__(
        self, source: AccountsSource, clock: Clock, room: Any, node: Node, journal: str
    ) -> None:
        super().__init__(source, clock, room)
        self._node, self._journal = node, journal
        self._found = Accounts(())
        # By name: the claim by which the account runs, and the entry of the file with that of here.
        self._running: dict[str, tuple[int, int]] = {}
        self._made: dict[str, tuple[AccountEntry, Pause | None, AccountEntry]] = {}
        self._telling = Telling(node.membership, node.shards)
        self._ended: Replaced | None = None
        self._is_over = threading.Event()
        self._beating = threading.Thread(target=self._beat_until_over, name="fleet", daemon=True)

    def begin(self, found: Accounts) -> None:
        """Begin to send heartbeats; the accounts follow."""
        self._found = found
        self._beating.start()

    def end(self) -> None:
        """After the accounts are closed: give the shards back, and leave.

        Raises:
            Replaced: another process became the node, which has ended this one.
        """
        self._is_over.set()
        if self._beating.is_alive():
            self._beating.join()
        if self._ended is not None:
            raise self._ended
        try:
            self._node.leave()
        except TrueupError as error:
            log.warning("[FLEET] The lease ends the membership: %s", error)

    def follow(self, found: Accounts, who: str, why: str) -> None:
        """Take a file that was read again."""
        named = {name for name, _ in found.faults}
        # An account that has a fault now goes on as it was; a fault of the defaults has no name.
        kept = [
            entry
            for entry in self._found.entries
            if (entry.name in named or "" in named)
            and entry.name not in {one.name for one in found.entries}
        ]
        self._found = found._replace(entries=(*found.entries, *kept))
        self._obey_fleet()

    # The thread of the heartbeats.

    def _beat_until_over(self) -> None:
        every_sec = self._node.membership.lease_sec / BEATS_IN_A_LEASE
        self._beat()
        while not self._is_over.wait(every_sec):
            self._beat()

    def _beat(self) -> None:
        node = self._node
        machines = list(self.loop.machines.values())
        busy = frozenset(shard_of(one.name, node.shards) for one in machines)
        names = [entry.name for entry in self._found.entries]
        try:
            node.turn(
                shards_of(names, node.shards),
                busy,
                self._report(machines, names),
                is_leaving=self.loop.is_stopped,
            )
        except Replaced as error:
            self._ended = error
            node.owned = {}
            self.loop.stop()
        except TrueupError as error:
            if str(error) != node.trouble:
                log.error(
                    "[FLEET] The database cannot be reached: accounts are read, and no order is "
                    "sent. %s",
                    error,
                )
            node.trouble = str(error)
            return
        except Exception:
            # Without this thread the accounts would be lost to others for no reason.
            log.exception("[FLEET] A heartbeat failed")
            return
        if node.trouble:
            log.warning("[FLEET] The database is reached again")
        node.trouble = ""
        self.loop.call_soon(self._obey_fleet)
        self._telling.tell(machines, node.owned, names)

    def _report(self, machines: Iterable[AccountMachine], names: Iterable[str]) -> str:
        """Return what the fleet's tables have about the accounts of this node."""
        states = dict.fromkeys((state.value for state in State), 0)
        troubles: dict[str, str] = {}
        believed = refused = 0
        for machine in machines:
            states[machine.state.value] += 1
            opened = machine.opened
            if opened is not None:
                refused += opened.gateway.refused_orders
                believed += opened.account.manager.as_of_ns is not None
            trouble = machine.trouble or _offline(opened)
            if trouble and len(troubles) < TROUBLES_TOLD:
                troubles[machine.name] = trouble
        told = {
            **states,
            "believed": believed,
            "refused_orders": refused,
            "troubles": troubles,
            "tells_accounts": True,
            "accounts": zlib.crc32("\n".join(sorted(names)).encode()),
        }
        return json.dumps(told)

    # The thread of the loop.

    def _prepare(self, machine: AccountMachine) -> None:
        super()._prepare(machine)
        number = shard_of(machine.name, self._node.shards)
        shard = self._node.owned.get(number)
        epoch = 0 if shard is None else shard.epoch
        self._running[machine.name] = number, epoch
        machine.right = ShardRight(self._node, number, epoch)

    def _obey_fleet(self) -> None:
        """Let the accounts be those of the shards that this node has."""
        if self.loop.is_stopped:
            return
        node, who = self._node, f"node {self._node.membership.name}"
        owned = node.owned
        wanted = {
            entry.name: entry
            for entry in self._found.entries
            if shard_of(entry.name, node.shards) in owned
        }
        running = {name: self._running[name] for name in self.loop.machines}
        for name, why in departures(node, running, wanted):
            self.loop.drop(name, who if why else "", why)
            wanted.pop(name, None)
        for name, entry in wanted.items():
            pause = node.pauses.get("") or node.pauses.get(name)
            by = pause or self._resumer(name) or Pause(who, "")
            self.loop.want(self._of_fleet(entry, pause), by.who, by.why)

    def _resumer(self, name: str) -> Resumer | None:
        """Return who has ended the fleet's pause of an account that is still paused by it."""
        machine = self.loop.machines.get(name)
        if machine is None or not machine.entry.paused_by:
            return None
        return self._node.resumer(name)

    def _of_fleet(self, entry: AccountEntry, pause: Pause | None) -> AccountEntry:
        """Return an entry with the journal of the fleet, and with its pause if there is one."""
        known = self._made.get(entry.name)
        if known is not None and known[0] is entry and known[1] == pause:
            return known[2]
        settings = entry.settings.model_copy(update={"trueup_journal": self._journal})
        made = msgspec.structs.replace(entry, settings=settings)
        if pause is not None:
            why = f"{PAUSED_IN_FLEET}: {pause.why}" if pause.why else PAUSED_IN_FLEET
            made = msgspec.structs.replace(
                made, is_paused=True, paused_by=pause.who, paused_why=why
            )
        self._made[entry.name] = entry, pause, made
        return made


def _offline(opened: OpenedAccount | None) -> str:
    """Return why an open account's gateway cannot be reached, or an empty text."""
    unknown = None if opened is None else opened.account.reconciler.unknown
    return unknown.sentence if unknown is not None and unknown.reason is Reason.OFFLINE else ""


def run_node(
    source: AccountsSource,
    journal: str,
    *,
    name: str = "",
    shards: int | None = None,
    lease_sec: float = LEASE_SEC,
    duration_sec: float | None = None,
) -> None:
    """Run a node until Ctrl-C, SIGTERM, or a duration; then give its shards back.

    Waits for the database while its server is away.

    Args:
        source: the list of the accounts, the same on all nodes.
        journal: the URL of the journal, which is the fleet's database as well.
        name: the name of the node; by default the machine's.
        shards: the number of shards of a new fleet.
        lease_sec: the accounts go to other nodes so long after the last sign of life.
        duration_sec: end after so many seconds; None for no end.

    Raises:
        SettingsError: the file or an option cannot be used.
        Refused: another process is the node of that name.
        TrueupError: the database cannot be used, or a second shell could not reach this process.
    """
    clock, here, stop = SystemClock(), this_process(), Stop()
    name = name or here.host
    wait = DatabaseWait(clock, stop, duration_sec)
    # From before the membership on: who joins also leaves in order.
    with stopped_by_signals(stop), suppress(Stopped), closing(fleet_database(journal)) as database:
        found = first_list(source, wait, stop)
        room = make_room_for(found.entries)

        def prepare() -> int:
            database.connect()
            return ensure_tables(database, shards)

        number = wait.done(lambda: stop.interrupting(prepare))
        run = f"{here.host}-{here.number}-{secrets.token_hex(6)}"
        membership = Membership(database, name, run, lease_sec)
        process = NodeProcess(source, clock, room, Node(membership, number, clock), journal)
        if not wait.done(lambda: join_fleet(membership, here, clock, lambda: stop.has_come)):
            return
        stop.ends(process.loop)
        log.info("[FLEET] Node %s joined; the fleet has %d shards", name, number)
        logger("trueup.reconciler").setLevel(logging.WARNING)
        try:
            run_process(process, found, duration_sec, clock)
        finally:
            process.end()


def join_fleet(
    membership: Membership, process: Process, clock: Clock, is_stopped: Callable[[], bool]
) -> bool:
    """Join; wait for the lease of an earlier process of this name that may have been killed.

    Returns False if a stop came while it waited.

    Raises:
        Refused: another process is the node of that name, and is alive.
        JournalError: the database cannot be reached.
    """
    end_ns = clock.waiting_ns() + round(LEASE_MOST_SEC * SECOND_NS)
    lease_ns = round(membership.lease_sec * SECOND_NS)
    told = ""
    while True:
        holder = membership.join(process.host, process.number)
        if not holder:
            return True
        if is_stopped():
            return False
        if not told:
            end_ns = clock.waiting_ns() + 2 * lease_ns
            log.warning("[FLEET] Node %s is %s: waiting for its lease", membership.name, holder)
        told = holder
        if clock.waiting_ns() >= end_ns:
            raise Refused(
                f"Node {membership.name} is {holder} already, and alive: give this one another "
                "name with --name."
            )
        clock.sleep(membership.lease_sec / BEATS_IN_A_LEASE)
