"""The metrics: the one table of names, units, labels and meanings.

The exposition, docs/reference/metrics.md, and the tests of the dashboard and the alert rules in
`ops/` follow this table. Names follow the conventions of Prometheus: base units, a unit at the end
of the name, `_total` for a counter. A label has few values: no ticket and no order is a label.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from trueup.core.limits.figures import DAILY_LOSS, DRAWDOWN
from trueup.core.model import DealReason
from trueup.observe.status.status import State

Kind = Literal["gauge", "counter", "histogram"]
Unit = Literal["", "seconds", "bytes", "money", "1 = yes, 0 = no"]
Source = Literal["bot", "status", "journal", "process"]
"""Where a value comes from. bot: only a bot that answers; without an answer there is no value.
status: the bot, or its journal when the bot does not answer. journal: the events of the journal.
process: `trueup metrics` itself."""


class Metric(NamedTuple):
    """A metric. `values` are all values of its last label, if they are known beforehand."""

    name: str
    kind: Kind
    unit: Unit
    source: Source
    labels: tuple[str, ...]
    help: str
    values: tuple[str, ...] = ()


BOOK = ("journal", "book")
FLAG: Unit = "1 = yes, 0 = no"

STATES = tuple(state.value for state in State)
LINKS = ("bot", "gateway", "terminal", "journal")
MODES = ("all", "close_only", "paused")
OUTCOMES = ("filled", "applied", "refused", "canceled", "given_up")
CORRECTIONS = (
    *("zombie", "ghost", "drift"),
    *("pending_adopted", "pending_closed", "pending_corrected"),
)
REASONS = {reason.value: reason.name.lower() for reason in DealReason}
CLOSURES = (*REASONS.values(), "opposite_position", "reversal", "unproven")
AGREEMENTS = ("agrees", "differs")
LOSSES = tuple(name.replace(" ", "_") for name in (DAILY_LOSS, DRAWDOWN))

# The books, as `trueup status` tells them.
BOOK_INFO = Metric(
    "trueup_book_info",
    "gauge",
    "",
    "status",
    (*BOOK, "account", "trade_mode", "currency", "symbol"),
    "Always 1: the account (login@server) of a book, demo or real, its currency and symbol.",
)
STATE = Metric(
    "trueup_state",
    "gauge",
    FLAG,
    "status",
    (*BOOK, "state"),
    "The state of a book, as `trueup status` tells it: the present state has 1, the others 0.",
    STATES,
)
BOT_UP = Metric(
    "trueup_bot_up",
    "gauge",
    FLAG,
    "status",
    BOOK,
    "Whether the bot of a book answered now. No value for a program that takes no commands.",
)
BOT_START = Metric(
    "trueup_bot_start_time_seconds",
    "gauge",
    "seconds",
    "bot",
    BOOK,
    "When the bot was started, in seconds since 1970.",
)
READING_AGE = Metric(
    "trueup_reading_age_seconds",
    "gauge",
    "seconds",
    "status",
    BOOK,
    "The age of the last believed reading of the broker; it goes on when the bot is dead.",
)
SYNCS = Metric(
    "trueup_syncs_total",
    "counter",
    "",
    "bot",
    BOOK,
    "Believed readings since the start of the bot.",
)
SYNC_TIME = Metric(
    "trueup_last_sync_duration_seconds",
    "gauge",
    "seconds",
    "bot",
    BOOK,
    "How long the last sync took.",
)
LINK_UP = Metric(
    "trueup_link_up",
    "gauge",
    FLAG,
    "status",
    (*BOOK, "link"),
    "Whether a link works: bot, gateway, terminal or journal. No value if that is not known now.",
    LINKS,
)
DECISIONS = Metric(
    "trueup_decisions_waiting",
    "gauge",
    "",
    "status",
    BOOK,
    "Decisions that wait for a person.",
)
HELD = Metric(
    "trueup_differences_held",
    "gauge",
    "",
    "status",
    BOOK,
    "Other differences between book and broker that are left alone for now.",
)
DIFFERENCES = Metric(
    "trueup_differences",
    "gauge",
    "",
    "bot",
    BOOK,
    "Tickets that are not the same in the book and at the broker.",
)
IN_DOUBT = Metric(
    "trueup_orders_in_doubt",
    "gauge",
    "",
    "status",
    BOOK,
    "Orders that were sent and have no proven outcome.",
)
DOUBT_AGE = Metric(
    "trueup_oldest_doubt_age_seconds",
    "gauge",
    "seconds",
    "status",
    BOOK,
    "The age of the oldest order in doubt; 0 without one.",
)
POSITIONS = Metric(
    "trueup_positions",
    "gauge",
    "",
    "status",
    BOOK,
    "Open positions in the book.",
)
PENDING = Metric(
    "trueup_pending_orders",
    "gauge",
    "",
    "status",
    BOOK,
    "Pending orders in the book.",
)
ENTRIES_REFUSED = Metric(
    "trueup_entries_refused",
    "gauge",
    FLAG,
    "bot",
    BOOK,
    "Whether no position may be opened in the bot's symbol, or in one of its symbols.",
)
MODE = Metric(
    "trueup_trading_mode",
    "gauge",
    FLAG,
    "status",
    (*BOOK, "mode"),
    "The orders that a person allows: all, close_only or paused; the present mode has 1.",
    MODES,
)
EQUITY = Metric(
    "trueup_account_equity",
    "gauge",
    "money",
    "bot",
    BOOK,
    "The account's equity by the last believed reading.",
)
BALANCE = Metric(
    "trueup_account_balance",
    "gauge",
    "money",
    "bot",
    BOOK,
    "The account's balance by the last believed reading.",
)
REALISED = Metric(
    "trueup_realised_result",
    "gauge",
    "money",
    "status",
    BOOK,
    "The realised result of all deals that the book has counted.",
)
PRICE_AGE = Metric(
    "trueup_price_age_seconds",
    "gauge",
    "seconds",
    "bot",
    (*BOOK, "symbol"),
    "The age of the latest price of a traded symbol.",
)

# What the journals tell, from their first event on: a restart of a process changes no counter.
EVENTS = Metric(
    "trueup_journal_events_total",
    "counter",
    "",
    "journal",
    (*BOOK, "kind"),
    "Events of a book, by kind.",
)
ORDERS = Metric(
    "trueup_orders_total",
    "counter",
    "",
    "journal",
    (*BOOK, "outcome"),
    "Orders that ended: filled; applied (placed, changed or cancelled); refused; canceled (proven "
    "to have had no effect); given_up (ended without proof).",
    OUTCOMES,
)
DOUBTS = Metric(
    "trueup_orders_in_doubt_total",
    "counter",
    "",
    "journal",
    BOOK,
    "Orders that came into doubt.",
)
CORRECTED = Metric(
    "trueup_corrections_total",
    "counter",
    "",
    "journal",
    (*BOOK, "kind"),
    "Corrections of the book by the broker's side: zombies adopted, ghosts closed, drifts "
    "corrected, and the same of pending orders.",
    CORRECTIONS,
)
CLOSED = Metric(
    "trueup_closures_total",
    "counter",
    "",
    "journal",
    (*BOOK, "reason"),
    "Positions that a sync closed in the book, by the reason of the deals that closed them; "
    "unproven: by their absence, or by a person's word.",
    CLOSURES,
)
LIMITS = Metric(
    "trueup_limits_reached_total",
    "counter",
    "",
    "journal",
    (*BOOK, "limit"),
    "How often a limit on losses was reached, until which the journal keeps entries refused.",
    LOSSES,
)
HISTORY = Metric(
    "trueup_history_comparisons_total",
    "counter",
    "",
    "journal",
    (*BOOK, "result"),
    "Comparisons of all counted deals with the broker's history.",
    AGREEMENTS,
)
ORDER_TIME = Metric(
    "trueup_order_duration_seconds",
    "histogram",
    "seconds",
    "journal",
    BOOK,
    "The time from the sending of an order to its reply; orders in doubt are not in it.",
)
DOUBT_TIME = Metric(
    "trueup_doubt_duration_seconds",
    "histogram",
    "seconds",
    "journal",
    BOOK,
    "The time in doubt of each order that was in doubt and ended.",
)
UNREAD = Metric(
    "trueup_journal_unread_events",
    "gauge",
    "",
    "process",
    BOOK,
    "Events that are not in the counters yet; a book's counters begin once all were read.",
)
READABLE = Metric(
    "trueup_journal_readable",
    "gauge",
    FLAG,
    "process",
    ("journal",),
    "Whether a journal could be read by the latest scrape.",
)
SIZE = Metric(
    "trueup_journal_size_bytes",
    "gauge",
    "bytes",
    "process",
    ("journal",),
    "The size of a SQLite journal on disk.",
)

# This process.
STATUS_AGE = Metric(
    "trueup_status_age_seconds",
    "gauge",
    "seconds",
    "process",
    (),
    "How long ago the bots and journals were asked for what is shown here.",
)
STATUS_READABLE = Metric(
    "trueup_status_readable",
    "gauge",
    FLAG,
    "process",
    (),
    "Whether the states of all books could be read by the latest scrape.",
)
BUILD = Metric(
    "trueup_build_info",
    "gauge",
    "",
    "process",
    ("version",),
    "Always 1: the version of `trueup metrics`.",
)

TABLE: tuple[Metric, ...] = tuple(one for one in vars().copy().values() if isinstance(one, Metric))
COUNTED: tuple[Metric, ...] = (EVENTS, ORDERS, DOUBTS, CORRECTED, CLOSED, LIMITS, HISTORY)
"""The counters that are made of events."""

ORDER_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DOUBT_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0)
"""The upper bounds of the buckets of the histograms, in seconds."""
