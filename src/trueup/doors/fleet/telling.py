"""What a node tells the fleet's tables of its accounts: each one's state, and why it is so.

Only what has changed is told, so a fleet that is well writes nothing but its heartbeats. The tables
are for persons: nothing that is decided depends on them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from trueup.core.account.trust import Unknown
from trueup.core.book.proposals import waiting
from trueup.core.holds import Hold
from trueup.core.limits.modes import BY_FAILURE
from trueup.doors.accounts.machine import STOPPED_BY_PERSON, AccountMachine, State
from trueup.doors.accounts.opened_account import OpenedAccount
from trueup.doors.fleet.membership import AccountRow, Membership, OwnedShard
from trueup.doors.fleet.shards import shard_of
from trueup.errors import TrueupError
from trueup.logs import Logger, logger
from trueup.observe.lines import cut
from trueup.observe.status.findings import BY_PERSON, at_start, counted
from trueup.observe.status.hold_findings import AT_ONCE

log: Logger = logger("trueup.fleet")

# So many accounts are told at a heartbeat: the heartbeat itself must not be late.
TOLD_AT_ONCE: Final = 1_000
SENTENCE_MOST: Final = 300


class Told(enum.Enum):
    """The state of an account, as the tables have it; the worst first."""

    NEEDS_PERSON = "needs person"
    RETRIES = "retries"
    STOPPED = "stopped"
    OPENING = "opening"
    RUNS = "runs"


class Telling:
    """Tells the tables what has changed; one thread uses it.

    Args:
        membership: the membership of this node.
        shards: the number of shards of the fleet.
    """

    def __init__(self, membership: Membership, shards: int) -> None:
        self._membership, self._shards = membership, shards
        self._told: dict[str, AccountRow] = {}
        self._forgotten: object = None
        self._trouble = ""

    def tell(
        self,
        machines: Iterable[AccountMachine],
        owned: Mapping[int, OwnedShard],
        names: Iterable[str],
    ) -> None:
        """Tell what has changed; a failure is logged, since the accounts must go on.

        Args:
            machines: the accounts of this process.
            owned: the shards of this node.
            names: all accounts of the list.
        """
        try:
            self._tell(machines, owned, frozenset(names))
        except Exception as error:
            # Whatever it is, the heartbeats must go on: without them others take the accounts.
            # Told again as a whole: what arrived of this is not known.
            self._told, self._forgotten = {}, None
            if str(error) != self._trouble:
                is_ours = not isinstance(error, TrueupError)
                words = "[FLEET] The states of the accounts could not be told: %s"
                log.warning(words, error, exc_info=is_ours)
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _tell(
        self,
        machines: Iterable[AccountMachine],
        owned: Mapping[int, OwnedShard],
        names: frozenset[str],
    ) -> None:
        rows = {row.account: row for row in self._rows(machines, owned, names)}
        changed = [row for name, row in rows.items() if self._told.get(name) != row]
        told = changed[:TOLD_AT_ONCE]
        self._membership.tell(told)
        # What is gone is told again when it comes back.
        self._told = {name: row for name, row in self._told.items() if name in rows}
        self._told |= {row.account: row for row in told}
        mine = names, frozenset((number, shard.epoch) for number, shard in owned.items())
        if mine != self._forgotten:
            self._membership.forget_accounts(names)
            self._forgotten = mine

    def _rows(
        self,
        machines: Iterable[AccountMachine],
        owned: Mapping[int, OwnedShard],
        names: frozenset[str],
    ) -> Iterator[AccountRow]:
        for machine in machines:
            number = shard_of(machine.name, self._shards)
            shard = owned.get(number)
            if shard is not None and machine.name in names:
                yield row_of(machine, number, shard.epoch)


def row_of(machine: AccountMachine, shard: int, epoch: int) -> AccountRow:
    """Return what is told of an account; without its turn, so that a busy one delays nothing."""
    opened = machine.opened
    state, sentence = _state_of(machine, opened)
    paused = None if opened is None else opened.account.manager.paused
    by, why = ("", "") if paused is None else (paused.by, paused.why)
    texts = (_text(text) for text in (sentence, by, why))
    return AccountRow(machine.name, shard, epoch, state.value, *texts)


def _text(text: str) -> str:
    # PostgreSQL takes neither this character nor a half of a pair (UTF-16).
    whole = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return cut(whole, SENTENCE_MOST)


def _state_of(machine: AccountMachine, opened: OpenedAccount | None) -> tuple[Told, str]:
    if machine.state is State.STOPPED:
        is_persons = machine.trouble == STOPPED_BY_PERSON
        return Told.STOPPED if is_persons else Told.NEEDS_PERSON, machine.trouble
    if machine.state is not State.RUNNING or opened is None:
        return Told.RETRIES if machine.trouble else Told.OPENING, machine.trouble
    return _of_running(opened)


def _of_running(opened: OpenedAccount) -> tuple[Told, str]:
    manager, reconciler = opened.account.manager, opened.loop.reconciler
    unknown = reconciler.unknown
    needs = [*_needs(reconciler.holds, unknown)]
    proposals = manager.book.proposals
    # A copy, because the account's own thread may change it.
    if proposals and (proposed := waiting(dict(proposals))):
        needs.append(f"{at_start(counted(len(proposed), 'order'))} proposed: approve or reject")
    paused = manager.paused
    if paused is not None and paused.by == BY_FAILURE:
        needs.append(f"The strategy failed and is paused: {paused.why}")
    if needs:
        more = f" And {len(needs) - 1} more." if len(needs) > 1 else ""
        return Told.NEEDS_PERSON, f"{needs[0].rstrip('.')}.{more}"
    if manager.journal_trouble:
        return Told.RETRIES, manager.journal_trouble
    if unknown is not None:
        return Told.RETRIES, f"{unknown.sentence}."
    return (Told.OPENING if manager.as_of_ns is None else Told.RUNS), ""


def _needs(holds: Iterable[Hold], unknown: Unknown | None) -> Iterator[str]:
    """Yield what a person has to see to, without ages: the same text from sync to sync."""
    if unknown is not None and unknown.reason in BY_PERSON:
        yield unknown.sentence
    for hold in holds:
        if hold.needs_person or hold.kind in AT_ONCE:
            yield f"{hold.scope}: {hold.reason}"
