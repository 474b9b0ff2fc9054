"""Decide what the journal must know of the account's money: the day's start, the peak, the locks.

`next_events` compares the account's present figures with what the journal has, and returns the
events that bring the journal up to date. Each event has the whole state, so an event that is
applied twice changes nothing.

A deposit, a withdrawal, a credit and a bonus (`OPERATIONS`) move the day's start and the peak by
the same money, so they are neither a loss nor a gain. Their deals tell them from results of trades.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.book import events
from trueup.core.limits.limits import BALANCE, Limits
from trueup.core.limits.times import local_text, reset_after, reset_before
from trueup.core.quantity import format_money

DAILY_LOSS, DRAWDOWN = "daily loss", "drawdown"

# DEAL_TYPE_BUY and DEAL_TYPE_SELL are trades; of the other types (MQL5 reference, ENUM_DEAL_TYPE)
# these bring or take a client's money: BALANCE, CREDIT, BONUS. All others (charges, commissions,
# interest, dividends, taxes, corrections) are results.
DEAL_BALANCE, DEAL_CREDIT, DEAL_BONUS = 2, 3, 6
OPERATIONS = frozenset({DEAL_BALANCE, DEAL_CREDIT, DEAL_BONUS})

MINUTE_NS = 60 * 1_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
# A reading this soon after the reset has the figures of the reset itself.
AT_ONCE_NS = MINUTE_NS
# A clock that is set back by less than this still is in the day that has begun.
SET_BACK_NS = 60 * MINUTE_NS


# The smallest and the greatest difference of any zone, and so of a trade server's clock, from UTC.
OFFSETS_SEC = (-12 * 3600, 14 * 3600)


class Money(msgspec.Struct, frozen=True):
    """The account's figures at a moment; `digits` are the decimals of its currency."""

    balance: float
    equity: float
    credit: float = 0.0
    currency: str = ""
    digits: int = 2

    def by(self, basis: str) -> float:
        """Return the figure of a basis: the balance or the equity."""
        return self.balance if basis == BALANCE else self.equity


class MoneyDeal(msgspec.Struct, frozen=True):
    """A deal of the account as money: of a trade, or an operation on the balance or the credit.

    `time_msc` is the trade server's clock. `kind` is DEAL_TYPE of MetaTrader 5.
    """

    ticket: int
    time_msc: int
    kind: int
    amount: float

    @property
    def is_operation(self) -> bool:
        """Whether the deal brings or takes money, rather than being the result of a trade."""
        return self.kind in OPERATIONS

    @property
    def balance(self) -> float:
        """The money that the deal added to the balance."""
        return 0.0 if self.kind == DEAL_CREDIT else self.amount

    @property
    def credit(self) -> float:
        """The money that the deal added to the credit."""
        return self.amount if self.kind == DEAL_CREDIT else 0.0


class Ledger(msgspec.Struct, frozen=True):
    """The deals that were read together with the figures.

    `since_msc` is where they begin (server time), `offset_sec` the server's clock less UTC, None if
    not known.
    """

    deals: tuple[MoneyDeal, ...]
    since_msc: int
    offset_sec: int | None


class Unexplained(msgspec.Struct, frozen=True):
    """The figures cannot be used yet; `why` is a sentence without a period."""

    why: str


def deals_wanted_ns(
    limits: Limits, book: events.FiguresNoted | None, money: Money, now_ns: int
) -> int | None:
    """Return since which time (ns of UTC) deals are needed to judge the figures; None for none.

    Deals are needed when the balance or the credit changed, and when the day began unseen.
    """
    if book is None or (book.balance, book.credit) != (money.balance, money.credit):
        return deals_since_ns(limits, book, now_ns)
    reset_ns = _unseen_reset(limits, book, now_ns)
    return reset_ns - DAY_NS if reset_ns else None


def deals_since_ns(limits: Limits, book: events.FiguresNoted | None, now_ns: int) -> int:
    """Return since which time (ns of UTC) deals explain every change since the journal's figures.

    Deals of a day before cover clocks that disagree.
    """
    noted_ns = now_ns if book is None else min(book.at_ns, now_ns)
    return min(noted_ns, _unseen_reset(limits, book, now_ns) or noted_ns) - DAY_NS


def _unseen_reset(limits: Limits, book: events.FiguresNoted | None, now_ns: int) -> int:
    """Return the reset (ns of UTC) of a day that began unseen, or 0."""
    reset_ns = day_to_begin(limits, book, now_ns)
    return reset_ns if now_ns - reset_ns > AT_ONCE_NS else 0


def day_to_begin(limits: Limits, book: events.FiguresNoted | None, now_ns: int) -> int:
    """Return the reset (ns of UTC) of a day that the journal does not have yet, or 0."""
    if not limits.has_daily_loss:
        return 0
    reset_ns = reset_before(now_ns, limits.reset_hour, limits.reset_in)
    noted_ns = 0 if book is None else book.day_ns
    is_set_back = now_ns < noted_ns <= now_ns + SET_BACK_NS
    return 0 if noted_ns == reset_ns or is_set_back else reset_ns


def next_events(
    limits: Limits,
    noted: events.FiguresNoted | None,
    locks: Sequence[events.LimitReached],
    money: Money,
    ledger: Ledger | None,
    now_ns: int,
    *,
    is_last_try: bool = False,
) -> list[events.Event] | Unexplained:
    """Return the events that bring the journal up to date with the account's figures.

    Args:
        limits: the limits.
        noted: the latest figures of the journal, None before the first.
        locks: the limits that are reached by the journal.
        money: the account's figures now.
        ledger: the deals, if `deals_wanted_ns` asked for them.
        now_ns: the date (ns of UTC).
        is_last_try: whether to go on although the deals do not explain the balance. Money that
            nothing explains then counts as a loss if it is missing, and not as a gain if it came.
    """
    if not limits.needs_figures:
        return [_ended(lock, "the limit was removed", now_ns) for lock in locks]
    if noted is not None:
        # The journal has this reason already: a higher peak must not tell it again.
        noted = msgspec.structs.replace(noted, because="")
    after = _moved(noted, money, ledger, now_ns, is_last_try=is_last_try)
    if isinstance(after, Unexplained):
        return after
    begun = _begun(limits, after, noted, money, ledger, now_ns)
    if isinstance(begun, Unexplained):
        return begun
    after = _peaked(limits, begun, money, now_ns)
    history: list[events.Event] = [] if after == noted else [after]
    return [*history, *_lock_events(limits, after, locks, money, now_ns)]


def _moved(
    noted: events.FiguresNoted | None,
    money: Money,
    ledger: Ledger | None,
    now_ns: int,
    *,
    is_last_try: bool,
) -> events.FiguresNoted | Unexplained:
    """Take operations on the balance out of the day's start and of the peak."""
    digits, said = money.digits, money.currency
    if noted is None:
        if ledger is None:
            return Unexplained("the account's deals were not read")
        newest, tickets = _cursor(ledger, 0, ())
        return events.FiguresNoted(
            at_ns=now_ns,
            because="first figures",
            balance=money.balance,
            credit=money.credit,
            currency=said,
            digits=digits,
            deals_msc=newest or ledger.since_msc,
            deals=tickets,
        )
    if ledger is None:
        return noted
    new = [
        deal
        for deal in ledger.deals
        if deal.time_msc > noted.deals_msc
        or (deal.time_msc == noted.deals_msc and deal.ticket not in noted.deals)
    ]
    changed, lent = money.balance - noted.balance, money.credit - noted.credit
    # A bonus adds to the balance at some brokers, and to the credit at others.
    bonus = sum(deal.amount for deal in new if deal.kind == DEAL_BONUS)
    credited = sum(deal.credit for deal in new) + bonus
    is_credit = bool(bonus) and abs(lent - credited) < 0.6 * 10**-digits
    booked = [deal for deal in new if not (is_credit and deal.kind == DEAL_BONUS)]
    rest = changed - sum(deal.balance for deal in booked)
    if abs(rest) < 0.6 * 10**-digits:
        rest = 0.0
    if rest and not is_last_try:
        return Unexplained(
            f"the balance changed by {_money(changed, money)}, and the account's deals do not show "
            f"why {_money(rest, money)} of that came or went"
        )
    operations = [deal for deal in booked if deal.is_operation]
    # The credit is never a result of trades, so its own change counts, not its deals.
    moved_balance = sum(deal.balance for deal in operations) + max(0.0, rest)
    moved_equity = moved_balance + lent
    because = ""
    if operations or lent or rest:
        because = f"{_money(moved_equity, money)} paid in or out is taken out"
        if rest:
            taken = "counts as no gain" if rest > 0 else "counts as a loss"
            because += f"; {_money(rest, money)} without a deal {taken}"
    newest, tickets = _cursor(ledger, noted.deals_msc, noted.deals)
    is_same = (noted.balance, noted.credit) == (money.balance, money.credit)
    if is_same and not new:
        return noted
    has_day, has_peak = bool(noted.day_ns), noted.has_peak
    return msgspec.structs.replace(
        noted,
        at_ns=now_ns,
        because=because,
        balance=money.balance,
        credit=money.credit,
        deals_msc=newest,
        deals=tickets,
        day_balance=_rounded(noted.day_balance + moved_balance * has_day, digits),
        day_equity=_rounded(noted.day_equity + moved_equity * has_day, digits),
        peak_balance=_rounded(noted.peak_balance + moved_balance * has_peak, digits),
        peak_equity=_rounded(noted.peak_equity + moved_equity * has_peak, digits),
    )


def _begun(
    limits: Limits,
    after: events.FiguresNoted,
    noted: events.FiguresNoted | None,
    money: Money,
    ledger: Ledger | None,
    now_ns: int,
) -> events.FiguresNoted | Unexplained:
    """Begin a new day, from the figures of its first minute, or else from the deals since."""
    reset_ns = day_to_begin(limits, noted, now_ns)
    if not reset_ns:
        return after
    reset = local_text(reset_ns, limits.reset_in)
    if now_ns - reset_ns <= AT_ONCE_NS:
        balance, equity, computed = money.balance, money.equity, False
        because = f"the day since {reset} begins"
    else:
        traded = None if ledger is None else _traded_since(reset_ns, ledger)
        if traded is None:
            return Unexplained(
                f"the start of the day ({reset}) was not seen, and it cannot be computed from "
                "deals before a price shows the trade server's clock"
            )
        # Operations since the reset stay in: they would be taken out again at once.
        balance = money.balance - traded
        equity, computed = balance + money.credit, True
        because = (
            f"the day since {reset} begins; its start is computed from deals, without the floating "
            "result of that moment, which nothing shows"
        )
    return msgspec.structs.replace(
        after,
        at_ns=now_ns,
        because="; ".join(filter(None, [after.because, because])),
        day_ns=reset_ns,
        day_balance=_rounded(balance, money.digits),
        day_equity=_rounded(equity, money.digits),
        computed=computed,
    )


def _traded_since(reset_ns: int, ledger: Ledger) -> float | None:
    """Return the result of all trades since a reset; None if that needs the server's clock."""
    reset_msc = reset_ns // 1_000_000
    earliest_sec, latest_sec = OFFSETS_SEC
    if ledger.offset_sec is not None:
        earliest_sec = latest_sec = ledger.offset_sec
    traded = 0.0
    for deal in ledger.deals:
        if deal.is_operation or deal.time_msc < reset_msc + earliest_sec * 1000:
            continue
        # By some of the offsets this deal is before the reset, by others after.
        if deal.time_msc < reset_msc + latest_sec * 1000:
            return None
        traded += deal.balance
    return traded


def _peaked(
    limits: Limits, after: events.FiguresNoted, money: Money, now_ns: int
) -> events.FiguresNoted:
    """Raise the peak."""
    if not limits.has_drawdown:
        return after
    is_first = not after.has_peak
    balance = money.balance if is_first else max(after.peak_balance, money.balance)
    equity = money.equity if is_first else max(after.peak_equity, money.equity)
    # A peak of the other figure alone is not worth a row of the journal.
    by_balance = limits.drawdown_basis == BALANCE
    is_new = balance > after.peak_balance if by_balance else equity > after.peak_equity
    if not (is_first or is_new):
        return after
    because = after.because
    if is_first:
        because = "; ".join(filter(None, [because, "the peak counts from now on"]))
    return msgspec.structs.replace(
        after,
        at_ns=now_ns,
        because=because,
        has_peak=True,
        peak_balance=balance,
        peak_equity=equity,
    )


def _lock_events(
    limits: Limits,
    figures: events.FiguresNoted,
    locks: Sequence[events.LimitReached],
    money: Money,
    now_ns: int,
) -> list[events.Event]:
    known = {lock.limit: lock for lock in locks}
    history: list[events.Event] = []
    day = known.get(DAILY_LOSS)
    if day is not None and not limits.has_daily_loss:
        history.append(_ended(day, "the limit was removed", now_ns))
    elif day is not None and now_ns >= day.until_ns:
        history.append(_ended(day, "a new day has begun", now_ns))
        day = None
    if day is None and limits.has_daily_loss:
        reason = daily_loss_reached(limits, figures, money)
        if reason:
            until_ns = reset_after(max(now_ns, figures.day_ns), limits.reset_hour, limits.reset_in)
            until = f"the reset at {local_text(until_ns, limits.reset_in)}"
            history.append(
                events.LimitReached(
                    at_ns=now_ns, limit=DAILY_LOSS, reason=reason, until=until, until_ns=until_ns
                )
            )
    fall = known.get(DRAWDOWN)
    reached = drawdown_reached(limits, figures, money) if limits.has_drawdown else None
    if fall is not None and reached is None:
        why = f"{limits.drawdown_basis} is above it again"
        if not limits.has_drawdown:
            why = "the limit was removed"
        history.append(_ended(fall, why, now_ns))
    if fall is None and reached is not None:
        reason, until = reached
        history.append(
            events.LimitReached(at_ns=now_ns, limit=DRAWDOWN, reason=reason, until=until)
        )
    return history


def _ended(lock: events.LimitReached, why: str, now_ns: int) -> events.LimitEnded:
    return events.LimitEnded(at_ns=now_ns, limit=lock.limit, because=why)


def daily_loss_reached(limits: Limits, figures: events.FiguresNoted, money: Money) -> str:
    """Return the sentence for a daily loss at or beyond its limit, or an empty string."""
    basis = limits.daily_loss_basis
    start = figures.day_balance if basis == BALANCE else figures.day_equity
    most = _least(limits.daily_loss, limits.daily_loss_percent, start)
    now = money.by(basis)
    loss = _rounded(start - now, money.digits)
    if loss < most:
        return ""
    since = local_text(figures.day_ns, limits.reset_in)
    return (
        f"the account's {basis} fell by {_money(loss, money)} since {since} "
        f"(from {_money(start, money)} to {_money(now, money)}); the limit of a day is "
        f"{_money(most, money)}"
    )


def drawdown_reached(
    limits: Limits, figures: events.FiguresNoted, money: Money
) -> tuple[str, str] | None:
    """Return why the drawdown is at or beyond its limit, and until when; None if not."""
    basis = limits.drawdown_basis
    peak = figures.peak_balance if basis == BALANCE else figures.peak_equity
    most = _least(limits.drawdown, limits.drawdown_percent, peak)
    fall = _rounded(peak - money.by(basis), money.digits)
    if fall < most:
        return None
    return (
        f"the account's {basis} is {_money(fall, money)} below its peak of {_money(peak, money)}; "
        f"the limit is {_money(most, money)}",
        f"{basis} above {_money(peak - most, money)}",
    )


def _least(amount: float | None, percent: float | None, of: float) -> float:
    """Return the smaller limit in money. A percentage of nothing, or of a debt, is reached."""
    found = [] if amount is None else [amount]
    if percent is not None:
        found.append(max(0.0, of) * percent / 100)
    return min(found)


def _cursor(
    ledger: Ledger, before_msc: int, before: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    """Return the time of the newest deal, and the tickets of the deals at that time."""
    newest = max((deal.time_msc for deal in ledger.deals), default=0)
    if newest < before_msc:
        return before_msc, before
    tickets = {deal.ticket for deal in ledger.deals if deal.time_msc == newest}
    if newest == before_msc:
        tickets |= set(before)
    return newest, tuple(sorted(tickets))


def _rounded(amount: float, digits: int) -> float:
    return round(amount, digits) + 0.0


def _money(amount: float, money: Money) -> str:
    return format_money(amount, money.digits, money.currency)
