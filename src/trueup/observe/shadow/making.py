"""Make the report of a watch: a fold of the watch's journal, without a clock of its own.

The journal of a watch has the events of an ordinary book, and three more: `WatchBegan`,
`BrokerSeen` and `ReadingsLost`. A look that finds changes records the book's events first and
`BrokerSeen` last; so between `WatchBegan` or `ReadingsLost` and the next `BrokerSeen` stands what
happened while nobody looked.
"""

from __future__ import annotations

from collections.abc import Iterable

from trueup.core.book import events
from trueup.core.model import Deal
from trueup.core.quantity import format_money
from trueup.observe.shadow.acts import Did, Owners
from trueup.observe.shadow.report import Finding, Kind, ShadowReport
from trueup.observe.shadow.sentences import BLIND, Sight, lasted, time_words
from trueup.observe.shadow.stories import Story

# The trade server's clock is known by quotations, which can arrive out of order within a second.
LATE_MSC = 1_000
AWAY = "while the watch was away"
SILENT = "while no reading came"


class _Gap:
    """A time without a believed reading: from the last one on, until the next."""

    def __init__(self, kind: Kind, since_ns: int, because: str) -> None:
        self.kind, self.since_ns, self.causes = kind, since_ns, [because]

    @property
    def meanwhile(self) -> str:
        return AWAY if self.kind is Kind.AWAY else SILENT


class ReportMaker:
    """Takes the events of a watch, and makes its report at any moment.

    Args:
        magics: the bot's magic numbers; without any, all that programs do counts as the bot's.
    """

    def __init__(self, magics: Iterable[int] = ()) -> None:
        self._owners = Owners(frozenset(magics))
        self._account = self._gateway = ""
        self._digits: int | None = None
        self._began_ns = self._seen_ns = 0
        self._offset_sec: int | None = None
        self._has_looked = False
        self._gap: _Gap | None = None
        self._stories: dict[int, Story] = {}
        self._others: list[Finding] = []
        # Each change of a stop, a position or a deal is news; a look without any is none.
        self.changes: int = 0
        """Counts what was taken that can change the report's findings."""

    def take(self, event: events.Event) -> None:
        """Take the next event of the journal."""
        match event:
            case events.WatchBegan():
                self._began(event)
            case events.ReadingsLost():
                self._lost(event)
            case events.BrokerSeen():
                self._seen(event)
            case events.AccountBound():
                self._account = f"{event.login}@{event.server}"
                self._digits = event.currency_digits
            case events.PositionAdopted(position=row):
                story = self._story(row.identifier)
                story.adopted(row, self._sight(event), at_first=not self._has_looked)
            case events.PositionCorrected(remote=row):
                self._story(row.identifier).corrected(event, self._sight(event))
            case events.PositionClosed(position=row):
                self._story(row.identifier).closed(event, self._sight(event))
            case _:
                return
        self.changes += 1

    def report(self) -> ShadowReport:
        """Return the report of what was taken so far."""
        owners, stories = self._owners, self._stories.values()
        found = [one for story in stories for one in story.findings(owners, self._digits)]
        if self._gap is not None:
            found.append(self._gap_finding(self._gap, 0, self._seen_ns))
        ordered = sorted([*found, *self._others], key=lambda one: (one.at_ns, one.ticket))
        return ShadowReport(
            self._account,
            self._gateway,
            self._began_ns,
            self._seen_ns,
            tuple(sorted(owners.magics)),
            opened=sum(story.own_acts(owners, Did.OPENED) for story in stories),
            closed=sum(story.own_acts(owners, Did.CLOSED) for story in stories),
            at_first=sum(story.was_there for story in stories),
            open_now=sum(story.is_open for story in stories),
            findings=tuple(ordered),
        )

    def _began(self, event: events.WatchBegan) -> None:
        self._gateway = event.gateway
        if not self._began_ns:
            self._began_ns = event.at_ns
        elif self._seen_ns:
            because = f"the watch was started again at {time_words(event.at_ns)}"
            self._gap = _Gap(Kind.AWAY, self._seen_ns, because)

    def _lost(self, event: events.ReadingsLost) -> None:
        if self._gap is None:
            self._gap = _Gap(Kind.STALE, event.since_ns or event.at_ns, event.because)
        elif event.because not in self._gap.causes:
            # As long as no reading comes it is one period, also if the cause changes.
            self._gap.causes.append(event.because)

    def _seen(self, event: events.BrokerSeen) -> None:
        self._offset_sec = self._offset_sec if event.offset_sec is None else event.offset_sec
        sight = self._sight(event)
        if self._gap is not None:
            self._others.append(self._gap_finding(self._gap, event.at_ns, event.at_ns))
        for deal in event.deals:
            self._story(deal.position).dealt(deal, sight)
            if event.covered_msc and deal.time_msc < event.covered_msc - LATE_MSC:
                self._others.append(_late(deal, event, sight))
        self._others += [_cash(one, sight, self._digits) for one in event.cash]
        self._others += [_swap(one, sight, self._digits) for one in event.swaps]
        self._gap, self._has_looked, self._seen_ns = None, True, event.at_ns

    def _gap_finding(self, gap: _Gap, until_ns: int, seen_ns: int) -> Finding:
        length = f" for {lasted(gap.since_ns, until_ns)}" if until_ns else " since then"
        if gap.kind is Kind.AWAY:
            seen = f"The watch did not look{length}"
            meant = (
                f"What happened meanwhile is found from its journal, and marked '{AWAY}'. {BLIND} "
                "after its own restart would know nothing of it"
            )
        else:
            seen = f"No reading to believe{length}: {gap.causes[0]}"
            meant = (
                "A bot that takes silence for 'nothing changed' would have traded by an old book; "
                f"what happened meanwhile is marked '{SILENT}'"
            )
        last = f"The last believed reading before was at {time_words(gap.since_ns)}"
        causes = "; ".join(gap.causes if gap.kind is Kind.AWAY else gap.causes[1:])
        return Finding(
            gap.kind,
            gap.since_ns,
            seen_ns,
            seen=seen,
            proof=f"{last}; {causes}" if causes else last,
            meant=meant,
            until_ns=until_ns,
        )

    def _sight(self, event: events.Event) -> Sight:
        meanwhile = "" if self._gap is None else self._gap.meanwhile
        return Sight(event.at_ns, self._offset_sec, meanwhile)

    def _story(self, identifier: int) -> Story:
        return self._stories.setdefault(identifier, Story(identifier))


def report_of(history: Iterable[events.Event], magics: Iterable[int] = ()) -> ShadowReport:
    """Return the report of a whole journal of a watch."""
    maker = ReportMaker(magics)
    for event in history:
        maker.take(event)
    return maker.report()


def _late(deal: Deal, event: events.BrokerSeen, sight: Sight) -> Finding:
    least = (event.covered_msc - deal.time_msc) // 1_000
    most = max(least, (event.server_msc - deal.time_msc) // 1_000)
    late = f"{least} s" if least == most else f"{least} to {most} s"
    money = format_money(deal.profit + deal.swap + deal.commission + deal.fee, None)
    return Finding(
        Kind.LATE_DEAL,
        sight.utc_ns(deal.time_msc),
        sight.at_ns,
        seen=f"Deal {deal.ticket} of {deal.symbol} came into the history {late} after its time",
        proof=f"The history had been read up to {_server(event.covered_msc)} without this deal of "
        f"{_server(deal.time_msc)}; the next reading had it",
        meant="A bot that reads the history once, up to the present, would miss the deal for good: "
        f"its result would lack {money}",
        ticket=deal.position,
        position=deal.position,
        symbol=deal.symbol,
        meanwhile=sight.meanwhile,
    )


def _cash(cash: events.CashDeal, sight: Sight, digits: int | None) -> Finding:
    comment = f", comment {cash.comment!r}" if cash.comment else ""
    money = format_money(cash.money, digits)
    return Finding(
        Kind.CASH,
        sight.utc_ns(cash.time_msc),
        sight.at_ns,
        seen=f"{money} by a balance operation ({cash.what})",
        proof=f"Deal {cash.ticket} belongs to no position{comment}",
        meant=f"A bot that takes the change of its balance for its result would count {money} as "
        "a trade's, and size its next order by it",
        meanwhile=sight.meanwhile,
    )


def _swap(swap: events.SwapMoved, sight: Sight, digits: int | None) -> Finding:
    before, after = (format_money(money, digits) for money in (swap.before, swap.after))
    more = "charged" if swap.after < swap.before else "paid"
    money = format_money(abs(swap.after - swap.before), digits)
    return Finding(
        Kind.SWAP,
        sight.at_ns,
        sight.at_ns,
        seen=f"{money} of swap was {more}: it was {before} and is {after}",
        proof="Two readings of the position differ",
        meant="A bot that counts prices alone would take its result to be "
        f"{money} {'better' if more == 'charged' else 'worse'} than it is",
        ticket=swap.ticket,
        position=swap.identifier,
        symbol=swap.symbol,
        meanwhile=sight.meanwhile,
    )


def _server(time_msc: int) -> str:
    return f"{time_words(time_msc * 1_000_000).removesuffix(' UTC')} server time"
