"""Make the status of a book: the only place where a `Status` is made.

A running bot is described by its book and its live facts, a bot that gives no answer by the same
book, read from the journal. Both get their words from the same functions, so a dead bot is told as
a running bot is.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.account.health import Restriction
from trueup.core.book.book import Book
from trueup.core.book.order import Order
from trueup.core.book.strategies import strategy_rows
from trueup.core.dates import iso
from trueup.core.holds import Hold, HoldKind
from trueup.core.model import Evidence
from trueup.core.policy import DIFFERENCES, Action, Policy
from trueup.observe.lines import cut
from trueup.observe.status import sentences
from trueup.observe.status.decisions import Decisions
from trueup.observe.status.facts import Fate, JournalFacts, LiveFacts
from trueup.observe.status.findings import (
    BADNESS,
    Finding,
    of_journal_trouble,
    of_permission,
    of_readings,
    of_silent_bot,
)
from trueup.observe.status.hold_findings import PASSING, HoldFindings
from trueup.observe.status.links import links_of, links_of_journal
from trueup.observe.status.persons import mode_row, of_failure, of_proposals, proposed, with_mode
from trueup.observe.status.rows import Books, fills
from trueup.observe.status.status import (
    FindingRow,
    InDoubt,
    LotsRow,
    Money,
    OverdueRow,
    RefusedRow,
    State,
    Status,
)

NEED_MOST = 400
NEXT_BOT = "once the next bot has asked the broker"


def findings_of(book: Book, live: LiveFacts) -> list[Finding]:
    """Return what is not well with a running bot, the worst first."""
    books = Books(book, live.snapshot, live.policy)
    holds = HoldFindings(book, books.order_tickets, live.counted_ns, live.began)
    found = [
        *(*of_journal_trouble(live), *of_readings(live), *of_permission(live)),
        *(*holds.of(live.holds), *of_failure(live.paused), *of_proposals(book)),
    ]
    # A stable sort: equal states stay in this order.
    return sorted(found, key=lambda finding: BADNESS[finding.state])


def status_of_bot(book: Book, live: LiveFacts) -> Status:
    """Make the status of a running bot."""
    bot, seen_ns = live.bot, live.seen_ns
    books = Books(book, live.snapshot, live.policy)
    found = findings_of(book, live)
    asked = _asked(found)
    decisions = Decisions(book, books, live.snapshot, live.counted_ns)
    since = {key: began.at_ns for key, began in live.began.items()}
    evidence = None if live.snapshot is None else live.snapshot.evidence
    passing = len([hold for hold in live.holds if hold.kind in PASSING])
    # A row that may be ours is held, so without a finding the unreadable rows are of others.
    unread = 0 if live.snapshot is None else len(live.snapshot.faults)
    return Status(
        state=sentences.state_of(found),
        sentence=sentences.sentence(
            found, with_mode(sentences.agreement(book, passing, unread), live.paused)
        ),
        detail=found[0].detail if found else "",
        since=_since(found),
        works=sentences.works(live),
        basis=sentences.basis(live),
        needs=[finding.need for finding in found if finding.need],
        findings=rows_of(found),
        to_decide=[*decisions.waiting(live.holds, asked, since), *proposed(book)],
        held=decisions.others(live.holds, asked),
        in_doubt=_in_doubt(book, live.holds, live),
        books=books.rows(),
        foreign=live.foreign,
        foreign_rows=books.foreign(),
        links=list(links_of(live)),
        events=list(live.events),
        fills=fills(book),
        money=_money(book, evidence),
        prices=list(live.prices),
        mode=mode_row(live.paused),
        refused=[*map(_refused, live.restrictions), *map(_limited, live.limits)],
        entries_refused=live.entries_refused,
        strategies=_lots(book),
        overdue=[
            OverdueRow(key, iso(since_ns), iso(live.due_ns))
            for key, since_ns in live.overdue.items()
        ],
        neighbours=list(live.neighbours),
        account=book.bound.name if book.bound else None,
        trade_mode=_trade_mode(book, evidence),
        scope=policy_words(live.policy),
        symbol=live.symbol,
        source="bot",
        now=iso(live.now_ns),
        pid=bot.pid,
        started=bot.started,
        checked=None if seen_ns is None else iso(seen_ns),
        age_sec=None if live.age_ns is None else round(live.age_ns / 1e9, 1),
        next_look=iso(live.due_ns),
        sync_count=live.sync_count,
        sync_ms=live.sync_ms,
        gateway=bot.gateway,
        endpoint=bot.endpoint,
        journal=bot.journal,
        journal_file=bot.journal_file,
        stream=bot.stream,
        journal_trouble=live.journal_trouble,
    )


def status_of_journal(
    book: Book, holds: Sequence[Hold], journal: JournalFacts, fate: Fate
) -> Status:
    """Make the status of a bot that gives no answer, from its journal.

    `holds` are the differences that the journal itself knows.
    """
    books = Books(book, None, None)
    of_holds = HoldFindings(book, books.order_tickets, journal.now_ns, {}).of(holds)
    # What a running bot would find out by itself waits for the next bot.
    found = [
        *([] if fate.script and not journal.trouble else [of_silent_bot(book, journal, fate)]),
        *(one for one in (*of_holds, *of_proposals(book)) if one.need),
    ]
    found.sort(key=lambda finding: BADNESS[finding.state])
    decisions, asked = Decisions(book, books, None, journal.now_ns), _asked(found)
    return Status(
        # Whether the book of a script agrees with the broker is not known.
        state=sentences.state_of(found) if found else State.DEGRADED,
        sentence=sentences.sentence(found, "") if found else sentences.of_script(book, fate),
        detail=found[0].detail if found else "",
        since=fate.ended or fate.alive,
        works=sentences.works_without_bot(fate),
        basis=sentences.basis_of_journal(journal, fate),
        needs=[finding.need for finding in found if finding.need],
        findings=rows_of(found),
        to_decide=[*decisions.waiting(holds, asked, {}), *proposed(book)],
        held=decisions.others(holds, asked),
        in_doubt=_in_doubt(book, holds, None),
        books=books.rows(),
        links=list(links_of_journal(journal, fate)),
        events=list(journal.events),
        fills=fills(book),
        money=_money(book, None),
        mode=mode_row(book.paused),
        refused=[
            RefusedRow("", lock.reason, iso(lock.at_ns), lock.until, by_limit=True)
            for lock in book.reached.values()
            # The next bot ends a lock whose time is over.
            if not lock.until_ns or journal.now_ns < lock.until_ns
        ],
        strategies=_lots(book),
        overdue=[OverdueRow(key, None, None) for key in book.unexplained],
        account=book.bound.name if book.bound else None,
        trade_mode=_trade_mode(book, None),
        symbol=fate.symbol,
        source="journal",
        now=iso(journal.now_ns),
        pid=fate.pid,
        started=fate.started,
        checked=fate.asked,
        endpoint=fate.gateway,
        journal=journal.journal,
        journal_file=journal.journal_file,
        stream=journal.stream,
        journal_trouble=journal.trouble,
        others=list(journal.others),
    )


def findings_of_journal(book: Book, holds: Sequence[Hold], now_ns: int) -> list[FindingRow]:
    """Return what a journal alone knows to be not well, the worst first.

    Args:
        book: the book.
        holds: the differences that the journal itself knows.
        now_ns: the date by which ages are counted (ns).
    """
    books = Books(book, None, None)
    of_holds = HoldFindings(book, books.order_tickets, now_ns, {}).of(holds)
    found = [*of_holds, *of_proposals(book)]
    return rows_of(sorted(found, key=lambda finding: BADNESS[finding.state]))


def rows_of(found: Sequence[Finding]) -> list[FindingRow]:
    """Return findings as plain values, each with a sentence of its own."""
    return [
        FindingRow(
            kind=finding.kind,
            state=finding.state,
            sentence=sentences.sentence([finding], ""),
            fact=finding.fact,
            detail=finding.detail,
            # Thousands of differences have thousands of ids; `needs` has them all.
            need=cut(finding.need, NEED_MOST),
            since=None if finding.since_ns is None else iso(finding.since_ns),
        )
        for finding in found
    ]


def _asked(found: Sequence[Finding]) -> frozenset[str]:
    return frozenset(key for finding in found if finding.need for key in finding.keys)


def _since(found: Sequence[Finding]) -> str | None:
    since_ns = found[0].since_ns if found else None
    return None if since_ns is None else iso(since_ns)


def _in_doubt(book: Book, holds: Sequence[Hold], live: LiveFacts | None) -> list[InDoubt]:
    judged = {hold.order_id: hold for hold in holds if hold.kind is HoldKind.DOUBT}
    return [
        InDoubt(
            order_id=order.order_id,
            action=order.action,
            lots=order.volume,
            symbol=order.symbol,
            key=order.key,
            since=iso(order.doubt_ns),
            error=order.error or "",
            evidence=_evidence(order, judged.get(order.order_id)),
            next_look=None if live is None else iso(live.due_ns),
            decided=_decided(judged.get(order.order_id), live),
            needs_person=order.order_id in judged and judged[order.order_id].needs_person,
        )
        for order in book.in_doubt.values()
    ]


def _evidence(order: Order, hold: Hold | None) -> str:
    return "the broker has not been asked about it yet" if hold is None else hold.evidence


def _decided(hold: Hold | None, live: LiveFacts | None) -> str:
    if live is None:
        return NEXT_BOT
    if hold is not None and hold.needs_person:
        return f"by a person: `trueup settle {hold.order_id}`"
    if live.unknown is not None or live.journal_trouble:
        return "once the broker is believed and the journal works again"
    grace_sec = live.policy.grace_period_ms / 1000
    return f"by a trace at the broker, or after {grace_sec:g} s of proven absence"


def _money(book: Book, evidence: Evidence | None) -> Money:
    account = None if evidence is None else evidence.account
    known = book.account
    return Money(
        currency=account.currency if account else known.currency if known else "",
        digits=(account.currency_digits if account else known.currency_digits if known else None),
        balance=None if account is None else account.balance,
        equity=None if account is None else account.equity,
        realised=book.realised,
    )


def _lots(book: Book) -> list[LotsRow]:
    return [LotsRow(row.symbol, row.magic, row.net_volume) for row in strategy_rows(book)]


def _refused(row: Restriction) -> RefusedRow:
    return RefusedRow(row.symbol, row.reason, iso(row.since_ns), row.until)


def _limited(row: Restriction) -> RefusedRow:
    return RefusedRow(row.symbol, row.reason, iso(row.since_ns), row.until, by_limit=True)


def _trade_mode(book: Book, evidence: Evidence | None) -> str | None:
    """Return the account's trade mode by the last believed reading, or else by the journal."""
    if evidence is not None:
        return evidence.account.trade_mode
    return None if book.account is None else book.account.trade_mode


def policy_words(policy: Policy) -> str:
    """Return a policy as a line of text."""
    symbols = "every symbol" if policy.covers_all else ", ".join(policy.named_symbols)
    owners = f"; ours by {policy.owners}" if policy.owners else ""
    special = [
        f"{name}: {getattr(policy, name).value}"
        for name in DIFFERENCES
        if getattr(policy, name) is not Action.APPLY
    ]
    stops = ["a stop loss is expected"] if policy.expects_stop_loss else []
    rest = "".join(f"; {words}" for words in (*special, *stops))
    return f"{symbols}, adopts {policy.adopt.value}{owners}{rest}"
