"""Decide whether a snapshot can be trusted. "Unknown" is a value of its own, not an empty list.

"The broker has no positions", "the broker refused" and "the broker could not be read" are three
different answers. Waiting alone never turns the third answer into either of the others.

A snapshot with evidence is trusted if no rule below objects. Each rule reads the snapshot, the
account that the book is bound to, and the memory of the latest reading of this gateway (`Seen`).
The first rule with an objection decides. Each objection has a reason, a sentence for a person, and
the condition that would end the objection.

A snapshot without evidence (the guide's wire) is trusted, as in the guide. The exception is a book
that was bound to an account by evidence: such a book then requires evidence in every snapshot.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import msgspec

from trueup.core.digest import digest
from trueup.core.model import Account, Evidence, Snapshot
from trueup.core.quantity import format_money

# The server's clock comes from quotations, which can arrive out of order within a second.
CLOCK_JITTER_MSC = 1_000


class Reason(enum.Enum):
    """Why a reading is not trusted."""

    OFFLINE = "offline"
    UNREADABLE = "unreadable"
    NO_EVIDENCE = "no evidence"
    WRONG_ACCOUNT = "wrong account"
    REAL_MONEY = "real money"
    NOT_CONNECTED = "terminal not connected"
    OLDER = "older than what we know"
    EPOCH_CHANGED = "gateway restarted"
    RECONNECTED = "terminal just reconnected"
    SEQUENCE_GAP = "sequence gap"
    CLOCK_JUMP = "clock jump"
    TORN = "torn"
    ACCOUNT_CONTRADICTS = "account contradicts list"


# A gateway gives these reasons itself when it has no list to send.
UNSEEN_TERMINAL = frozenset({Reason.UNREADABLE, Reason.NOT_CONNECTED, Reason.WRONG_ACCOUNT})
# After these the terminal may still be loading, so a second reading must agree.
LOOK_AGAIN = frozenset(
    {Reason.WRONG_ACCOUNT, Reason.NOT_CONNECTED, Reason.EPOCH_CHANGED, Reason.RECONNECTED}
)


class Unknown(msgspec.Struct, frozen=True):
    """The broker could not be read, or the reading cannot be trusted.

    For a person, `sentence` describes the problem and `until` the condition that would end it.
    """

    reason: Reason
    sentence: str
    until: str = "a gateway that answers GET_POSITIONS"


NOT_CONNECTED = Unknown(
    Reason.NOT_CONNECTED,
    "The terminal has no connection to its trade server, so its list may be an old one",
    "the terminal's connection to its trade server",
)


class Bound(msgspec.Struct, frozen=True):
    """The account that a book belongs to."""

    login: int
    server: str

    @property
    def name(self) -> str:
        """The account as people write it: login@server."""
        return f"{self.login}@{self.server}"


class Seen(msgspec.Struct, frozen=True):
    """The memory of the latest reading of a gateway, trusted or not.

    `server_time_msc` is the latest known time of the trade server's clock, 0 if none is known.
    `asked` counts the questions sent since then: lost replies use up sequence numbers too. After a
    restart, a lost trade server, another account or a terminal that could not be read, `confirmed`
    is false until two consecutive readings agree. `digest` is empty if the latest reading must not
    count as the first of these two.
    """

    epoch: str
    sequence: int
    server_time_msc: int
    digest: str
    confirmed: bool = True
    asked: int = 0


class Trusted(msgspec.Struct, frozen=True):
    """A snapshot that may be acted on."""

    snapshot: Snapshot


Rule = Callable[[Snapshot, Evidence, Bound | None, Seen | None], Unknown | None]


def judge(snapshot: Snapshot, bound: Bound | None, seen: Seen | None) -> Trusted | Unknown:
    """Return the snapshot as trusted, or the first objection to it."""
    evidence = snapshot.evidence
    if evidence is None:
        return _without_evidence(bound) or Trusted(snapshot)
    for rule in RULES:
        objection = rule(snapshot, evidence, bound, seen)
        if objection is not None:
            return objection
    return Trusted(snapshot)


def seen_after(evidence: Evidence, before: Seen | None, verdict: Trusted | Unknown) -> Seen:
    """Return the memory to keep after a reading, trusted or not."""
    reason = verdict.reason if isinstance(verdict, Unknown) else None
    confirmed = reason is None or (
        reason not in LOOK_AGAIN and (before is None or before.confirmed)
    )
    # A list of another account, or without a connection, must not confirm the next one.
    may_confirm = reason not in (Reason.WRONG_ACCOUNT, Reason.NOT_CONNECTED)
    return Seen(
        evidence.epoch,
        evidence.sequence,
        evidence.server_time_msc or (before.server_time_msc if before is not None else 0),
        evidence.digest if may_confirm else "",
        confirmed,
    )


def seen_without(reading: Unknown, before: Seen) -> Seen:
    """Return the memory to keep after a question without a snapshot in reply.

    A terminal that could not be read may have restarted, and may still be loading when it answers.
    """
    if reading.reason not in UNSEEN_TERMINAL:
        return before
    return msgspec.structs.replace(before, digest="", confirmed=False)


def _without_evidence(bound: Bound | None) -> Unknown | None:
    if bound is None:
        return None
    return Unknown(
        Reason.NO_EVIDENCE,
        f"The gateway no longer proves its readings, and this book is bound to {bound.name}",
        "a gateway that serves SNAPSHOT",
    )


def _wrong_account(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    account = evidence.account
    if bound is None or (account.login, account.server) == (bound.login, bound.server):
        return None
    return Unknown(
        Reason.WRONG_ACCOUNT,
        f"The terminal is logged in to {account.name}, and this book is bound to {bound.name}",
        f"a login to {bound.name}, or a person who binds the book to {account.name}",
    )


def _not_connected(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    return None if evidence.terminal.connected else NOT_CONNECTED


def _epoch_changed(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    # A terminal that just started may still be loading, so its list may be incomplete.
    if seen is None or evidence.epoch == seen.epoch:
        return None
    return Unknown(
        Reason.EPOCH_CHANGED,
        "The gateway restarted, or its terminal was away since the last reading, and may not have "
        "all positions yet",
        "a second reading that agrees with this one",
    )


def _reconnected(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    if seen is None or seen.confirmed or evidence.digest == seen.digest:
        return None
    return Unknown(
        Reason.RECONNECTED,
        "The terminal came back a moment ago, and two readings in a row do not agree yet",
        "two readings in a row that agree",
    )


def _older(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    if seen is None or evidence.epoch != seen.epoch or evidence.sequence > seen.sequence:
        return None
    return Unknown(
        Reason.OLDER,
        f"The reading has number {evidence.sequence}, and number {seen.sequence} was here before",
        "a reading that is newer than what we know",
    )


def _sequence_gap(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    # Each question uses up a number, answered or not; a larger gap comes from another client.
    if seen is None or evidence.epoch != seen.epoch:
        return None
    if evidence.sequence <= seen.sequence + max(1, seen.asked):
        return None
    return Unknown(
        Reason.SEQUENCE_GAP,
        f"The reading has number {evidence.sequence} after {seen.sequence}, and we asked only "
        f"{max(1, seen.asked)} times: somebody else asks in our name",
        "a reading that follows this one without a gap",
    )


def _clock_jump(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    # 0 means no quotation, for example because the symbol is no longer traded.
    if seen is None or not evidence.server_time_msc:
        return None
    if evidence.server_time_msc >= seen.server_time_msc - CLOCK_JITTER_MSC:
        return None
    back_sec = (seen.server_time_msc - evidence.server_time_msc) / 1000
    return Unknown(
        Reason.CLOCK_JUMP,
        f"The trade server's clock went back by {back_sec:.0f} s, so it is not known which reading "
        "is newer",
        "a reading that goes on from there",
    )


def _torn(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    # Count and digest include the rows that were left out: so a row that was damaged on the wire
    # is told apart from a row that the broker itself sends in an unreadable form.
    counts = snapshot.listed or (len(snapshot.positions), len(evidence.orders))
    until = "a reading in which list, counts and digest agree"
    if snapshot.faults and not (snapshot.listed and snapshot.digest):
        return Unknown(Reason.TORN, f"The list cannot be read in full: {snapshot.faults[0]}", until)
    if not evidence.count_before == counts == evidence.count_after:
        return Unknown(
            Reason.TORN,
            f"The list has {counts[0]} positions and {counts[1]} pending orders; the terminal "
            f"counted {_count(evidence.count_before)} before it and "
            f"{_count(evidence.count_after)} after",
            until,
        )
    own_digest = snapshot.digest or digest(snapshot.positions, evidence.orders)
    if own_digest != evidence.digest:
        fault = f" ({snapshot.faults[0]})" if snapshot.faults else ""
        sentence = f"The list does not have the digest that came with it{fault}"
        return Unknown(Reason.TORN, sentence, until)
    return None


def _count(counts: tuple[int, int]) -> str:
    return f"{counts[0]} and {counts[1]}"


def _contradicts_empty(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    if snapshot.positions or (snapshot.listed and snapshot.listed[0]):
        return None
    account = evidence.account
    low, high = _floating(evidence)
    if low <= 0.0 <= high:
        # The floating result was zero at some moment during the reading.
        account = msgspec.structs.replace(account, profit=0.0)
    # A loading terminal can show an empty list while the account has its figures already.
    sign = sign_of_positions(account, has_orders=bool(evidence.orders))
    if sign is None:
        return None
    return Unknown(
        Reason.ACCOUNT_CONTRADICTS,
        f"The list is empty and the account has {sign}, so something is open",
        "a list that the account's own figures do not contradict",
    )


def sign_of_positions(account: Account, *, has_orders: bool) -> str | None:
    """Return the figure of an account that proves open positions, as a phrase; None without any.

    Equity is no proof: a commission that is charged at the end of the day, and the day's gains of
    some netting accounts, are blocked until then and lower the equity without an open position
    (terminal manual, Trade tab: balance + credit - commission +/- floating - blocked).
    """
    # Pending orders reserve margin at some exchanges; a floating result only positions have.
    if account.margin > _cent(account) and not has_orders:
        return f"{_money(account.margin, account)} of margin"
    if abs(account.profit) > _cent(account):
        return f"a floating result of {_money(account.profit, account)}"
    return None


def _contradicts_sum(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    """Compare the sum of the positions' results with the account's floating result.

    Prices move while a terminal is read, so the account's result before the list and after the list
    are the bounds. A gateway that sends a single figure can be off by the price changes in between,
    so from such a gateway a list is trusted if two consecutive readings have the same list.
    """
    account = evidence.account
    if not snapshot.positions or _lacks_money(snapshot):
        return None
    # Each result is rounded to the account's digits, so allow for the rounding.
    low, high = _floating(evidence)
    tolerance = sum_tolerance(account.currency_digits, len(snapshot.positions))
    floating = evidence.floating
    # Without a sum from the gateway the positions came with their results.
    if floating is None:
        floating = math.fsum(p.profit + p.swap for p in snapshot.positions)
    if low - tolerance <= floating <= high + tolerance:
        return None
    if evidence.profit_bounds is None and seen is not None and seen.digest == evidence.digest:
        return None
    stated = _money(account.profit, account)
    if high - low > tolerance:
        stated = f"between {_money(low, account)} and {_money(high, account)}"
    total = _money(floating, account)
    return Unknown(
        Reason.ACCOUNT_CONTRADICTS,
        f"The positions' results add up to {total}, and the account says {stated}",
        "a list that the account's own figures do not contradict",
    )


def _floating(evidence: Evidence) -> tuple[float, float]:
    """Return the bounds of the account's floating result during the reading.

    The account's own figure must lie within the gateway's bounds; otherwise the bounds are ignored.
    """
    profit = evidence.account.profit
    low, high = sorted(evidence.profit_bounds or (profit, profit))
    return (low, high) if low <= profit <= high else (profit, profit)


def sum_tolerance(currency_digits: int, count: int) -> float:
    """Return the rounding tolerance between the results of `count` positions and the account's."""
    # Each position and the account are rounded to the last digit once.
    return _digit(currency_digits) * (count + 1)


def _money(amount: float, account: Account) -> str:
    return format_money(amount, account.currency_digits)


def _lacks_money(snapshot: Snapshot) -> bool:
    """Return whether the result of a position is missing or unreadable: then no sum is valid."""
    is_partial = snapshot.listed is not None and snapshot.listed[0] != len(snapshot.positions)
    return is_partial or any(note.field in ("profit", "swap") for note in snapshot.notes)


def _cent(account: Account) -> float:
    return _digit(account.currency_digits)


def _digit(currency_digits: int) -> float:
    # 1.5 units of the last digit, so that a difference of exactly one unit is within.
    return float(1.5 * 10.0**-currency_digits)


# The order matters: the right account, a live connection, a new reading, a complete list.
RULES: tuple[Rule, ...] = (
    _wrong_account,
    _not_connected,
    _epoch_changed,
    _older,
    _sequence_gap,
    _clock_jump,
    _reconnected,
    _torn,
    _contradicts_empty,
    _contradicts_sum,
)
