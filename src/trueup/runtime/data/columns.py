"""The tables that are made of a journal, column by column.

SQL, CSV, JSON, pandas, polars and docs/reference/data.md all follow these lists. A column that is
here stays, with its meaning; new columns come at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["text", "whole", "number", "flag", "utc", "server"]
"""The kinds of columns. utc: a time in UTC. server: a time by the trade server's clock, which has
no known zone. Every column but those of the key may be empty (NULL)."""

VERSION = 1
"""The version of these tables."""


class Column(NamedTuple):
    """A column: its name, its kind, and its meaning."""

    name: str
    kind: Kind
    meaning: str


class Table(NamedTuple):
    """A table with its columns; a row is identified by the columns of `key`."""

    about: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


_BOOK = (
    Column("stream", "text", "the stream of the journal, that is the book"),
    Column("account", "text", "LOGIN@SERVER; empty if the book was bound to none"),
    Column("binding", "whole", "1; one more each time that the book was bound to another account"),
)
_STRATEGY = (
    Column("symbol", "text", "the symbol, as the broker spells it"),
    Column("magic", "whole", "the magic number of the strategy, 0 for none"),
)
TABLES: Mapping[str, Table] = {
    "orders": Table(
        "An order of yours, from its intent on: also those that were refused or changed nothing.",
        ("stream", "order_id"),
        (
            *_BOOK,
            Column("order_id", "text", "trueup's id, the same as in the log and the audit trail"),
            Column("created", "utc", "when the intent was recorded, before it was sent"),
            *_STRATEGY,
            Column("side", "text", "BUY or SELL"),
            Column(
                "kind",
                "text",
                "market, limit, stop, stop_limit, modify, cancel, modify_order or close_by",
            ),
            Column("volume", "number", "wanted lots"),
            Column("price", "number", "the level of a pending order, or the price that was seen"),
            Column("stoplimit", "number", "the limit that a stop order becomes"),
            Column("sl", "number", "stop loss"),
            Column("tp", "number", "take profit"),
            Column("closes", "whole", "the identifier of the position that it closes or changes"),
            Column("target", "whole", "the ticket of the pending order that it changes or cancels"),
            Column("order_key", "text", "your own key for the order"),
            Column("why", "text", "your reason"),
            Column("asked_by", "text", "the person or assistant who asked for it"),
            Column("comment", "text", "your comment"),
            Column("status", "text", "PENDING, SENT, IN_DOUBT, FILLED, REJECTED or CANCELED"),
            Column("ticket", "whole", "the order's ticket at the broker"),
            Column("done", "utc", "when the fill, or the change, was recorded"),
            Column("fill_price", "number", "the price of the fill"),
            Column("filled", "number", "executed lots"),
            Column("error", "text", "why it was refused, cancelled, or is in doubt"),
        ),
    ),
    "deals": Table(
        "A counted deal of a position of the book: late, amended and cancelled deals as they are "
        "now.",
        ("stream", "binding", "position", "deal"),
        (
            *_BOOK,
            Column("deal", "whole", "the deal's ticket"),
            Column("time", "server", "when it was made; empty if an older release counted it"),
            Column("order_ticket", "whole", "the ticket of its order at the broker"),
            Column("order_id", "text", "the same order, if it was yours"),
            Column("position", "whole", "the position's identifier"),
            *_STRATEGY,
            Column("lots", "number", "lots that it added, below 0 if sold, 0 if it moved none"),
            Column("money", "number", "profit, swap, commission and fee, in its currency"),
            Column("money_units", "whole", "the same in units of 1e-8, exactly"),
        ),
    ),
    "trades": Table(
        "A position of the book, open or closed, with its realised result.",
        ("stream", "binding", "position"),
        (
            *_BOOK,
            Column("position", "whole", "the position's identifier; 0 or below if carried"),
            Column("order_id", "text", "the order of yours that opened it"),
            *_STRATEGY,
            Column("side", "text", "BUY or SELL"),
            Column(
                "status",
                "text",
                "open, missing (not in the broker's list, not proven), closed, unproven (closed "
                "without proof), or carried (results of closed positions that came with the book "
                "of an earlier stream and are not known one by one)",
            ),
            Column("volume", "number", "lots: now, or before it closed"),
            Column("price_open", "number", "the average price of its entries"),
            Column("opened", "utc", "when the book first had it"),
            Column("closed", "utc", "when it left the book"),
            Column("price_close", "number", "the average price of its exit, if deals show it"),
            Column("reason", "text", "how it ended, or what was counted last, as a sentence"),
            Column("deals", "whole", "how many deals are counted"),
            Column("currency", "text", "the account's currency"),
            Column("realised", "number", "the result of all counted deals so far"),
            Column("realised_units", "whole", "the same in units of 1e-8, exactly"),
        ),
    ),
    "exports": Table(
        "A stream that was exported, and how far.",
        ("stream",),
        (
            *_BOOK,
            Column("currency", "text", "the account's currency"),
            Column("events", "whole", "how many events of the journal the tables contain"),
            Column("last_event", "utc", "the time of the last of them"),
            Column("exported", "utc", "when the tables were made"),
            Column("realised", "number", "the realised result of the book, as it is bound now"),
            Column("realised_units", "whole", "the same in units of 1e-8, exactly"),
            Column("version", "whole", "the version of the tables"),
        ),
    ),
}
VIEWS: Mapping[str, Table] = {
    "pnl": Table(
        "The results of each strategy: the sum over its trades. All rows of a binding together "
        "are the book's realised result at its end.",
        ("stream", "binding", "symbol", "magic"),
        (
            *_BOOK,
            Column("currency", "text", "the account's currency"),
            *_STRATEGY,
            Column("trades", "whole", "positions, open or closed"),
            Column("open_trades", "whole", "those that are open or missing"),
            Column("wins", "whole", "closed trades with a result above 0"),
            Column("losses", "whole", "closed trades with a result below 0"),
            Column("realised_closed", "number", "the result of closed trades"),
            Column("realised_open", "number", "what open trades have realised so far"),
            Column("realised", "number", "both together"),
            Column("realised_units", "whole", "the same in units of 1e-8, exactly"),
        ),
    ),
    "pnl_daily": Table(
        "The money of each strategy's deals on each day of the trade server.",
        ("stream", "binding", "symbol", "magic", "day"),
        (
            *_BOOK,
            *_STRATEGY,
            Column("day", "text", "the day by the trade server's clock, as 2026-01-05"),
            Column("deals", "whole", "how many deals"),
            Column("money", "number", "the sum of their money"),
            Column("money_units", "whole", "the same in units of 1e-8, exactly"),
        ),
    ),
}
EXPORTED: Mapping[str, Table] = {
    **{name: TABLES[name] for name in ("trades", "deals", "orders")},
    **VIEWS,
}
"""What can be exported by itself, by name."""
# A row's place in an export.
ORDER_BY = {
    "orders": "created, order_id",
    "deals": "time IS NOT NULL, time, deal",
    "trades": "opened IS NOT NULL, opened, position",
    "pnl": "binding, symbol, magic",
    "pnl_daily": "binding, day, symbol, magic",
}
