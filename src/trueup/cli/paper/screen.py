"""The content of the live view of a trading loop."""

from __future__ import annotations

import datetime as dt

from trueup.core.book.book import Holding
from trueup.core.holds import NEEDS_APPROVAL, HoldKind
from trueup.core.model import PLAY_MONEY, Position, describe_mode
from trueup.core.quantity import format_lots
from trueup.observe.live import AUDIT_LINES, Level, Picture, Row, Side
from trueup.runtime.story.audit import AuditEntry
from trueup.runtime.sync.reconciler import SyncStatus
from trueup.runtime.trading.loop import TradingLoop

# A sync counts as late if the last sync is older than this multiple of the interval.
LATE = 1.5


def picture(loop: TradingLoop, where: str, foot: str) -> Picture:
    """Return the present picture of a loop."""
    now = loop.pm.clock.now_ns() / 1e9
    status = loop.reconciler.get_status()
    level, health = _health(loop)
    due_sec = max(0, round(status["next_sync_due"] - now))
    age_ns = loop.pm.age_ns
    foreign = f"{status['foreign']} not ours. " if status["foreign"] else ""
    return Picture(
        where=where,
        money=_money(loop),
        # An account that does not tell counts as real: a warning too many does no harm.
        is_real=_money(loop) not in ("", *PLAY_MONEY),
        symbol=loop.pm.symbol,
        clock=f"{_utc(now):%H:%M:%S} UTC",
        price=_price(loop),
        level=level,
        health=health,
        rows=_rows(loop),
        age_sec=None if age_ns is None else float(age_ns // 1_000_000_000),
        doubts=[
            f"{order.action} {format_lots(order.volume)}L {order.order_id}: {order.error}"
            for order in loop.pm.book.in_doubt.values()
        ],
        audit=[
            (f"{entry['timestamp']:%H:%M:%S}", entry["action"], _audit_text(entry))
            for entry in loop.reconciler.get_audit_trail()[-AUDIT_LINES:]
        ],
        foot=f"{_waiting(loop)}{foreign}Next look in {due_sec} s. {foot}",
    )


def _money(loop: TradingLoop) -> str:
    """Return the kind of money as a word; an account that does not tell counts as real."""
    seen = loop.reconciler.remote
    if seen is None:
        return ""
    account = seen.evidence.account if seen.evidence is not None else None
    if account is None or not account.trade_mode:
        return "REAL?"
    return describe_mode(account.trade_mode)


def _waiting(loop: TradingLoop) -> str:
    """Name the correction that waits for approval, or the number of waiting corrections."""
    ids = [hold.id for hold in loop.reconciler.holds if hold.kind in NEEDS_APPROVAL]
    if len(ids) == 1:
        return f"Waits for `trueup approve {ids[0]}`. "
    return f"{len(ids)} wait for approval: `trueup plan`. " if ids else ""


def _health(loop: TradingLoop) -> tuple[Level, str]:
    reconciler, result = loop.reconciler, loop.last_result
    said = reconciler.health
    # Worst first: without a journal no order can be sent, whatever the broker says.
    if loop.pm.journal_trouble:
        trouble = loop.pm.journal_trouble.rstrip(".")
        none = "The bot can neither open nor close."
        return Level.TROUBLE, f"No order is sent: {trouble}. {none} {said}"
    if result is None:
        return Level.WAIT, "Looking at the broker for the first time."
    if result.status is SyncStatus.PARTIAL:
        return Level.TROUBLE, f"{result.errors[0]}. {said}"
    if result.status is not SyncStatus.SUCCESS:
        return Level.TROUBLE, said
    # From here on the last sync succeeded; a late sync or a held correction is still a warning.
    age_sec = (loop.pm.age_ns or 0) / 1e9
    is_late = age_sec > reconciler.sync_interval * LATE + loop.pace_sec
    held = any(hold.kind is not HoldKind.SETTLING for hold in reconciler.holds)
    waits = is_late or held or bool(loop.pm.book.in_doubt)
    return Level.WAIT if waits else Level.OK, said


def _price(loop: TradingLoop) -> str:
    tick = loop.tick
    if loop.prices_unknown is not None:
        return f"No price: {loop.prices_unknown}"
    if tick is None:
        return "No price yet"
    text = f"bid {tick.bid:.5f}  ask {tick.ask:.5f}"
    return f"{text}  market time {_utc(tick.time_msc / 1000):%Y-%m-%d %H:%M}"


def _rows(loop: TradingLoop) -> list[Row]:
    """Return a row for each ticket of our symbol; the broker's side is as of the last sync."""
    local = loop.pm.book.holdings
    seen = loop.reconciler.remote
    remote = {row.identifier: row for row in seen.positions} if seen is not None else {}
    return [
        _row(local.get(key), remote.get(key), loop.pm.currency_digits)
        for key in {**local, **remote}
        if key in local or remote[key].symbol == loop.pm.symbol
    ]


def _row(holding: Holding | None, remote: Position | None, digits: int | None) -> Row:
    local = None if holding is None else holding.position
    shown = remote or local
    return Row(
        ticket=0 if shown is None else shown.ticket,
        local=_side(local),
        remote=_side(remote),
        profit=None if remote is None else remote.profit,
        currency_digits=digits,
        is_newer=remote is None and holding is not None and holding.mark is None,
    )


def _side(position: Position | None) -> Side | None:
    if position is None:
        return None
    return Side(position.side.word, position.volume, position.price_open)


def _audit_text(entry: AuditEntry) -> str:
    ticket, details = entry["ticket"], str(entry["details"])
    return details if ticket is None else f"{ticket}  {details}"


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
