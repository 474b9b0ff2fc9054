"""The status of a running bot, as plain values for a second shell."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trueup.core.book.book import Holding
from trueup.core.book.strategies import strategy_rows
from trueup.core.holds import Hold, HoldKind
from trueup.core.policy import Action, Policy
from trueup.observe.status_text import (
    BotStatus,
    DoubtRow,
    HeldRow,
    LotsRow,
    OverdueRow,
    PositionRow,
    RefusedRow,
)
from trueup.runtime.sync.results import SyncStatus
from trueup.runtime.time.clock import iso
from trueup.runtime.trading.loop import TradingLoop

# Holds that end by themselves within a reading or two, and need no person.
PASSING = frozenset({HoldKind.SETTLING, HoldKind.NEWER})
CLASSES = ("zombie", "ghost", "drift", "protection", "pending")


class BotFacts(msgspec.Struct, frozen=True):
    """The constant facts of a running bot; see `BotStatus` for the fields."""

    pid: int
    started: str
    gateway: str
    endpoint: str = ""
    journal: str = ""
    journal_file: str = ""
    stream: str = ""


def status_of(loop: TradingLoop, facts: BotFacts) -> BotStatus:
    """Return the present state of a bot."""
    # Read between two turns, so all fields are of the same moment.
    pm, reconciler = loop.pm, loop.reconciler
    book, seen, age_ns = pm.book, pm.seen, pm.age_ns
    return BotStatus(
        **msgspec.structs.asdict(facts),
        symbol=pm.symbol,
        now=iso(pm.clock.now_ns()),
        health=reconciler.health,
        policy=policy_words(reconciler.policy),
        needs=list(needs(loop)),
        entries_refused=pm.entries_refused() or _unseen(loop),
        account=book.bound.name if book.bound else None,
        trade_mode=_trade_mode(loop) if book.bound else None,
        checked=None if seen is None else iso(seen.date_ns),
        age_sec=None if age_ns is None else round(age_ns / 1e9, 1),
        sync_count=reconciler.sync_count,
        restrictions=[
            RefusedRow(r.symbol, r.reason, iso(r.since_ns), r.until) for r in pm.restrictions
        ],
        holds=[held_row(hold, pm.counted_ns) for hold in reconciler.holds],
        strategies=[LotsRow(r.symbol, r.magic, r.net_volume) for r in strategy_rows(book)],
        positions=[position_row(holding) for holding in book.holdings.values()],
        in_doubt=[
            DoubtRow(o.order_id, o.action, o.volume, o.symbol, o.error or "", iso(o.doubt_ns))
            for o in book.in_doubt.values()
        ],
        overdue=[
            OverdueRow(key, iso(since_ns), iso(reconciler.due_ns))
            for key, since_ns in reconciler.overdue.items()
        ],
        foreign=reconciler.get_status()["foreign"],
        realised=book.realised,
        currency=book.account.currency if book.account else "",
        currency_digits=pm.currency_digits,
        journal_trouble=pm.journal_trouble,
        neighbours=list(reconciler.neighbours),
    )


def needs(loop: TradingLoop) -> Iterator[str]:
    """Yield the actions that a person should take; none while all is well or ends by itself."""
    pm, result, holds = loop.pm, loop.last_result, loop.reconciler.holds
    if pm.journal_trouble:
        yield (
            "The journal takes nothing, so no order is sent, and the bot can neither open nor "
            f"close: {pm.journal_trouble}"
        )
    # A full or broken journal explains a failed sync too, so only the cause is named.
    intended = loop.reconciler.intended
    if result is not None and result.status is SyncStatus.FAILED and not pm.journal_trouble:
        if intended.account is not None and pm.book.bound in (None, intended.account):
            yield f"Log the terminal in to {intended.account.name}, or correct {intended.said_by}."
        else:
            yield (
                "Log the terminal in to the book's account; or, to bind the book to the terminal's "
                "account from now on, `trueup rebind`."
            )
    elif _unseen(loop) and not pm.journal_trouble:
        yield "The broker cannot be seen or believed: see to the gateway and its terminal."
    waiting = [hold for hold in holds if hold.kind is HoldKind.ASK]
    if waiting:
        ids = ", ".join(hold.id for hold in waiting)
        yield f"Waiting for approval (`trueup plan`, then `trueup approve ID`): {ids}"
    # Holds that wait for approval are listed above, by their ids.
    for hold in holds:
        if hold.kind is not HoldKind.ASK and concerns_a_person(hold):
            yield f"{hold.reason_at(pm.counted_ns)} (until {hold.until})"


def concerns_a_person(hold: Hold) -> bool:
    """Return whether a person should know about a hold."""
    return hold.kind not in PASSING


def held_row(hold: Hold, now_ns: int) -> HeldRow:
    """Return a hold as plain values, as of `now_ns`."""
    kind, reason = hold.kind.name.lower(), hold.reason_at(now_ns)
    return HeldRow(hold.id, kind, hold.symbol, hold.identifier, reason, hold.until)


def policy_words(policy: Policy) -> str:
    """Return a policy as a line of text."""
    symbols = "every symbol" if policy.covers_all else ", ".join(policy.named_symbols)
    owners = f"; ours by {policy.owners}" if policy.owners else ""
    special = [
        f"{name}: {getattr(policy, name).value}"
        for name in CLASSES
        if getattr(policy, name) is not Action.APPLY
    ]
    stops = ["a stop loss is expected"] if policy.expects_stop_loss else []
    rest = "".join(f"; {words}" for words in (*special, *stops))
    return f"{symbols}, adopts {policy.adopt.value}{owners}{rest}"


def _trade_mode(loop: TradingLoop) -> str:
    """Return the account's trade mode by the last trusted reading, or else by the journal."""
    seen = loop.reconciler.remote
    if seen is not None and seen.evidence is not None:
        return seen.evidence.account.trade_mode
    account = loop.pm.book.account
    return "" if account is None or account.trade_mode is None else account.trade_mode


def _unseen(loop: TradingLoop) -> str:
    result = loop.last_result
    if result is None:
        return "until the broker has been seen"
    if result.status in (SyncStatus.SUCCESS, SyncStatus.PARTIAL):
        return ""
    return f"while {result.errors[0]}" if result.errors else "while the broker is not believed"


def position_row(holding: Holding) -> PositionRow:
    """Return a position of a book as plain values."""
    position, mark = holding.position, holding.mark
    return PositionRow(
        position.ticket,
        position.symbol,
        position.side.word,
        position.volume,
        position.price_open,
        position.sl,
        position.tp,
        position.magic,
        None if mark is None else mark.profit,
        position.identifier,
    )
