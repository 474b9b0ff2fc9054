"""May a reading be believed? Unknown is a value, and it is not an empty list.

"The broker has nothing", "the broker said no" and "we could not look" are three different things;
waiting alone never turns the third into either of the others.

A snapshot with evidence is believed when every rule below has nothing against it. The rules read
three things: the snapshot, the account the book is bound to, and what we saw last from this
gateway (`Seen`). The first rule that objects decides; each has its own reason, its own sentence,
and says what would end it.

A snapshot without evidence (the guide's wire) is believed as the guide says, except by a book that
was bound to an account by evidence: what once could be proven is not believed unproven later.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import msgspec

from trueup.core.digest import digest
from trueup.core.model import Account, Evidence, Snapshot
from trueup.core.quantity import format_money

# The server's clock is read off quotations, which arrive out of step by fractions of a second.
CLOCK_JITTER_MSC = 1_000


class Reason(enum.Enum):
    """Why a reading is not believed."""

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


# After these the terminal may still be loading; one agreeing look more is needed.
LOOK_AGAIN = frozenset(
    {Reason.WRONG_ACCOUNT, Reason.NOT_CONNECTED, Reason.EPOCH_CHANGED, Reason.RECONNECTED}
)


class Unknown(msgspec.Struct, frozen=True):
    """We could not look, or cannot believe what we saw.

    `sentence` says what happened, `until` what would end it, both for a person.
    """

    reason: Reason
    sentence: str
    until: str = "a gateway that answers GET_POSITIONS"


class Bound(msgspec.Struct, frozen=True):
    """The account a book belongs to."""

    login: int
    server: str

    @property
    def name(self) -> str:
        """The account as people write it: login@server."""
        return f"{self.login}@{self.server}"


class Seen(msgspec.Struct, frozen=True):
    """What the latest reading of a gateway said of itself, believed or not.

    `server_time_msc` is the latest time that the trade server's clock told, 0 before it told any.
    `asked` counts the questions sent since: replies that were lost on the way use up numbers too.
    After a restart, a lost trade server, another account or a terminal that could not be read,
    `confirmed` is false until two readings in a row agree; `digest` is empty where the latest
    reading may not be one of the two.
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
    """Return what to remember of a reading, believed or not."""
    reason = verdict.reason if isinstance(verdict, Unknown) else None
    confirmed = reason is None or (
        reason not in LOOK_AGAIN and (before is None or before.confirmed)
    )
    is_a_look = reason not in (Reason.WRONG_ACCOUNT, Reason.NOT_CONNECTED)
    return Seen(
        evidence.epoch,
        evidence.sequence,
        evidence.server_time_msc or (before.server_time_msc if before is not None else 0),
        evidence.digest if is_a_look else "",
        confirmed,
    )


def seen_without(reading: Unknown, before: Seen) -> Seen:
    """Return what to remember after a question that brought no snapshot.

    A terminal that could not be read may have been started anew, and be loading when it answers.
    """
    if reading.reason is not Reason.UNREADABLE:
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
    if evidence.terminal.connected:
        return None
    return Unknown(
        Reason.NOT_CONNECTED,
        "The terminal has no connection to its trade server, so its list may be an old one",
        "the terminal's connection to its trade server",
    )


def _epoch_changed(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
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
    # A number is used up by each question we sent, answered or not; more than that were not ours.
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
    # 0 is no time: no quotation told one, as for a symbol that was taken off the market.
    if seen is None or not evidence.server_time_msc:
        return None
    if evidence.server_time_msc >= seen.server_time_msc - CLOCK_JITTER_MSC:
        return None
    back_sec = (seen.server_time_msc - evidence.server_time_msc) / 1000
    return Unknown(
        Reason.CLOCK_JUMP,
        f"The trade server's clock went back by {back_sec:.0f} s, so what is older is not known",
        "a reading that goes on from there",
    )


def _torn(
    snapshot: Snapshot, evidence: Evidence, bound: Bound | None, seen: Seen | None
) -> Unknown | None:
    # Rows that were left out count, and the digest goes over them: a row that was changed on the
    # way, and cannot be read for that, is not taken for one that is odd at the broker.
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
        # It was nothing at some moment while the list was read.
        account = msgspec.structs.replace(account, profit=0.0)
    sign = sign_of_positions(account, has_orders=bool(evidence.orders))
    if sign is None:
        return None
    return Unknown(
        Reason.ACCOUNT_CONTRADICTS,
        f"The list is empty and the account has {sign}, so something is open",
        "a list that the account's own figures do not contradict",
    )


def sign_of_positions(account: Account, *, has_orders: bool) -> str | None:
    """Return what in an account's figures only open positions can have brought there.

    Equity is no sign: a commission that is charged at the day's end and the day's gains of some
    netting accounts are blocked until then, and lower it with nothing open (terminal manual, Trade
    tab: balance + credit - commission +/- floating - blocked).
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
    """Hold the sum of the results against the account's floating result, as a witness.

    Prices move while a terminal is read, so there are bounds: the result before the list and the
    one after it. A gateway that tells one figure only can be wrong by whatever moved in between; a
    list that two readings in a row show is believed from it all the same.
    """
    account = evidence.account
    if not snapshot.positions or _lacks_money(snapshot):
        return None
    low, high = _floating(evidence)
    tolerance = sum_tolerance(account.currency_digits, len(snapshot.positions))
    floating = evidence.floating
    if floating is None:
        floating = math.fsum(p.profit + p.swap for p in snapshot.positions)
    if low - tolerance <= floating <= high + tolerance:
        return None
    if evidence.profit_bounds is None and seen is not None and seen.digest == evidence.digest:
        return None
    said = _money(account.profit, account)
    if high - low > tolerance:
        said = f"between {_money(low, account)} and {_money(high, account)}"
    total = _money(floating, account)
    return Unknown(
        Reason.ACCOUNT_CONTRADICTS,
        f"The positions' results add up to {total}, and the account says {said}",
        "a list that the account's own figures do not contradict",
    )


def _floating(evidence: Evidence) -> tuple[float, float]:
    """Return the least and the most that the account's floating result was, as far as is told.

    The account's own figure is one of the two bounds; bounds that it is not within are none.
    """
    profit = evidence.account.profit
    low, high = sorted(evidence.profit_bounds or (profit, profit))
    return (low, high) if low <= profit <= high else (profit, profit)


def sum_tolerance(currency_digits: int, count: int) -> float:
    """Return by how much the results of so many positions may miss the account's, by rounding."""
    # Rounded to the cent once for each position, and once for the account.
    return _digit(currency_digits) * (count + 1)


def _money(amount: float, account: Account) -> str:
    return format_money(amount, account.currency_digits)


def _lacks_money(snapshot: Snapshot) -> bool:
    """Return whether a position's result cannot be read, so that no sum of them means anything."""
    is_partial = snapshot.listed is not None and snapshot.listed[0] != len(snapshot.positions)
    return is_partial or any(note.field in ("profit", "swap") for note in snapshot.notes)


def _cent(account: Account) -> float:
    return _digit(account.currency_digits)


def _digit(currency_digits: int) -> float:
    # Half a unit of the last digit more, so that a difference of exactly one cent is inside.
    return float(1.5 * 10.0**-currency_digits)


# The order matters: who it is, whether it can know, whether it is new, whether it is whole.
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
