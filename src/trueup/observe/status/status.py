"""The status of a book as plain values: the same for the terminal, a page, alerts and metrics.

`observe.status.making` is the only place where the status of a book is made. Every text about the
state of a bot shows `Status.sentence`, so that all of them say the same.

All times are ISO 8601 in UTC. Volumes are lots, prices are prices of the symbol, money is the
currency of the account. A text is empty, and a list is empty, if there is nothing to say.
"""

from __future__ import annotations

import enum

import msgspec

SCHEMA = 1
"""The version of `Status`. A field that is added keeps the version; any other change raises it."""


class State(enum.Enum):
    """The state of a book, the best first."""

    AGREES = "agrees"
    DEGRADED = "degraded"
    NEEDS_PERSON = "needs_person"
    HALTED = "halted"
    NOTHING = "nothing"

    @property
    def exit_code(self) -> int:
        """The exit code of `trueup status`."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    State.AGREES: 0,
    State.NEEDS_PERSON: 1,
    State.DEGRADED: 2,
    State.HALTED: 3,
    State.NOTHING: 4,
}


class Verdict(enum.Enum):
    """The comparison of a ticket in the book and at the broker."""

    AGREES = "agrees"
    DIFFERS = "differs"
    ONLY_BROKER = "only at the broker"
    ONLY_BOOK = "only in the book"
    UNSEEN = "not seen yet"
    NOT_ASKED = "not asked"


class FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not well."""

    kind: str
    """The kind of finding, such as `unseen`, `silent`, `doubt` or `hold ask`."""
    state: State
    """The state that this finding alone puts the book into."""
    sentence: str
    """The finding in one sentence with a number, and who has to act."""
    fact: str
    """The same without who has to act, and without its full stop."""
    detail: str = ""
    """The reason in full."""
    need: str = ""
    """The action for a person, cut if it is long; empty while the bot retries by itself."""
    since: str | None = None
    """Since when this is so; None if it is not known."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that waits for a person."""

    id: str
    """The id for `trueup approve`."""
    what: str
    """What the decision is about, as a sentence without its full stop."""
    symbol: str = ""
    """The symbol; empty for the whole account."""
    ticket: int = 0
    """The ticket of the position or the pending order; 0 for none."""
    since: str | None = None
    """Since when the decision waits."""
    opened: str = ""
    """When and by whom the position was opened, as far as the broker tells."""
    protection: str = ""
    """The stop loss and the take profit at the broker."""
    if_approved: str
    """The consequence of an approval."""
    if_left: str
    """The consequence of no answer."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A difference that is left alone and waits for no decision of a person."""

    kind: str
    """The kind of hold, such as `settling` or `missing`."""
    symbol: str
    """The symbol; empty for the whole account."""
    ticket: int
    """The identifier of the position, or the ticket of the pending order; 0 for none."""
    reason: str
    """Why the difference is left alone."""
    until: str
    """The condition that ends the hold."""
    id: str = ""
    """The id for `trueup approve`, if an approval ends the hold too."""


class InDoubt(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was sent and has no proven outcome."""

    order_id: str
    """The id of the order; the argument of `trueup settle`."""
    action: str
    """BUY or SELL."""
    lots: float
    """The lots of the order."""
    symbol: str
    """The symbol of the order."""
    key: str = ""
    """The key that the strategy gave the order."""
    since: str
    """When the order came into doubt."""
    error: str
    """Why no outcome is known."""
    evidence: str = ""
    """What the latest reading of the broker shows of the order."""
    next_look: str | None = None
    """When the broker is read next; None without a running bot."""
    decided: str
    """When or by what the doubt ends."""
    needs_person: bool = False
    """Whether only a person can tell the outcome."""


class Side(msgspec.Struct, frozen=True):
    """A position or a pending order on one side."""

    side: str
    """LONG or SHORT, or the kind of a pending order, such as BUY LIMIT."""
    lots: float
    """The volume."""
    price_open: float
    """The open price; of a pending order, the price at which it waits."""
    sl: float = 0.0
    """The stop loss; 0 for none."""
    tp: float = 0.0
    """The take profit; 0 for none."""


class BookRow(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket in the book and at the broker."""

    ticket: int
    """The ticket."""
    identifier: int
    """The position's identifier, which stays the same if the broker changes the ticket."""
    symbol: str
    """The symbol."""
    pending: bool = False
    """Whether the row is a pending order."""
    ours: Side | None
    """The row in the book; None if the book does not have the ticket."""
    broker: Side | None
    """The row in the last believed reading; None if the reading does not have the ticket."""
    verdict: Verdict
    """The comparison of both sides."""
    fields: list[str] = []
    """The names of the fields that differ."""
    profit: float | None = None
    """The floating result by the broker, without swap; None if it is not known now."""
    price: float | None = None
    """The current price of the position by the broker; None if it is not known now."""
    magic: int = 0
    """The magic number."""


class ForeignRow(msgspec.Struct, frozen=True, kw_only=True):
    """A position or a pending order at the broker that is not ours: never touched."""

    ticket: int
    """The ticket."""
    symbol: str
    """The symbol."""
    row: Side
    """The row at the broker."""
    magic: int = 0
    """The magic number."""


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of the links between this bot and the broker's server."""

    name: str
    """`bot`, `gateway`, `terminal` or `journal`."""
    works: bool | None
    """Whether the link works; None if that is not known now."""
    words: str
    """The state of the link."""
    at: str | None = None
    """When the state was seen."""
    age_sec: float | None = None
    """The age of the state in seconds."""


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the book, in the words of `trueup audit`."""

    at: str
    """The time of the event."""
    action: str
    """The kind of entry."""
    ticket: int | None
    """The ticket; None for none."""
    details: str
    """The entry."""


class FillRow(msgspec.Struct, frozen=True, kw_only=True):
    """An executed order."""

    at: str
    """When the fill was recorded."""
    order_id: str
    """The id of the order."""
    action: str
    """BUY or SELL."""
    symbol: str
    """The symbol."""
    lots: float
    """The executed volume."""
    price: float | None
    """The price of the execution; None if it is not known."""
    ticket: int | None
    """The ticket; None if it is not known."""


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """The latest price of a symbol that a strategy trades."""

    symbol: str
    """The symbol."""
    bid: float | None = None
    """The bid; None before the first price."""
    ask: float | None = None
    """The ask; None before the first price."""
    at: str | None = None
    """When the price arrived."""
    age_sec: float | None = None
    """The age of the price in seconds."""
    market_time: str | None = None
    """The time of the price by the trade server's clock."""
    is_old: bool = True
    """Whether the price is too old to look current."""
    trouble: str = ""
    """Why there is no new price."""


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """The money of the account and of the book."""

    currency: str = ""
    """The currency of the account; empty if it is not known."""
    digits: int | None = None
    """The decimals of the currency; None if they are not known."""
    balance: float | None = None
    """The balance by the last believed reading; None if it is not known now."""
    equity: float | None = None
    """The equity by the same reading."""
    realised: float = 0.0
    """The realised result of all deals that the book has counted."""


class ModeRow(msgspec.Struct, frozen=True, kw_only=True):
    """The orders that a person allows the strategy."""

    mode: str
    """`paused`: none. `close_only`: only those that close."""
    by: str
    """The person who said so."""
    why: str
    """The reason of the person."""
    since: str
    """Since when."""


class LotsRow(msgspec.Struct, frozen=True):
    """The net lots of one magic number in a symbol, negative when short."""

    symbol: str
    """The symbol."""
    magic: int | None
    """The magic number; None for lots that no strategy claims."""
    lots: float
    """The net lots."""


class RefusedRow(msgspec.Struct, frozen=True):
    """A reason why new positions are refused, in a symbol or in the whole account."""

    symbol: str
    """The symbol; empty for the whole account."""
    reason: str
    """The reason."""
    since: str | None
    """Since when; None if it is not known."""
    until: str
    """The condition that ends the refusal."""
    by_limit: bool = False
    """Whether a risk limit refuses."""


class OverdueRow(msgspec.Struct, frozen=True):
    """Deals of a position that the broker has not shown yet."""

    ticket: int
    """The identifier of the position."""
    since: str | None
    """Since when the deals are expected; None if it is not known."""
    next: str | None
    """When they are asked for next; None without a running bot."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a book, from its running bot or from its journal alone."""

    schema: int = SCHEMA
    """The version of this structure; see the top of the page."""
    state: State
    """The state: `agrees`, `degraded` (the bot retries by itself), `needs_person`, `halted`
    (entries are halted, or another process took over), or `nothing` (no bot and no journal)."""
    sentence: str
    """The state in one sentence with a number, and who has to act."""
    detail: str = ""
    """The reason in full."""
    since: str | None = None
    """Since when this is so; None if it is not known."""
    works: str
    """What still works."""
    basis: str
    """Where these facts come from, and when the broker was last asked."""
    needs: list[str] = []
    """The actions for a person; empty if nobody has to act."""
    findings: list[FindingRow] = []
    """What is not well, the worst first; `sentence` has the first two in one."""
    to_decide: list[Decision] = []
    """The decisions that wait for a person."""
    held: list[Held] = []
    """The other differences that are left alone for now."""
    in_doubt: list[InDoubt] = []
    """The orders without a proven outcome."""
    books: list[BookRow] = []
    """Each ticket of the book and of its scope at the broker; differences first."""
    foreign: int = 0
    """The number of positions and pending orders at the broker that are not ours."""
    foreign_rows: list[ForeignRow] = []
    """These positions and pending orders."""
    links: list[LinkRow] = []
    """The links between bot and broker, each with its age."""
    events: list[EventRow] = []
    """The last events, the newest first."""
    fills: list[FillRow] = []
    """The last executed orders, the newest first."""
    money: Money = Money()
    """Balance, equity and realised result."""
    prices: list[PriceRow] = []
    """The latest price of each traded symbol."""
    mode: ModeRow | None = None
    """The mode that a person set with `trueup pause` or `close-only`; None for none."""
    refused: list[RefusedRow] = []
    """The reasons why new positions are refused; risk limits are marked."""
    entries_refused: str = ""
    """Why no position may be opened in the book's own symbol; empty if one may."""
    strategies: list[LotsRow] = []
    """The net lots by symbol and magic number."""
    overdue: list[OverdueRow] = []
    """Positions whose deals the broker has not shown yet."""
    neighbours: list[str] = []
    """A sentence for each other bot that counts the same positions as its own."""
    account: str | None = None
    """The account as login@server; None before the book is bound to an account."""
    trade_mode: str | None = None
    """`demo`, `contest` or `real`; empty if the gateway does not tell, None if it is not known."""
    scope: str = ""
    """The symbols of the book, and what it does with differences."""
    symbol: str = ""
    """The symbol that the bot trades."""
    source: str
    """`bot` if the running bot told this, `journal` if it was read from the journal."""
    now: str
    """When this status was made."""
    pid: int = 0
    """The process of the bot; 0 if it is not known."""
    started: str = ""
    """When the bot was started."""
    checked: str | None = None
    """When the last believed reading of the broker was asked for."""
    age_sec: float | None = None
    """The age of that reading in seconds."""
    next_look: str | None = None
    """When the broker is read next."""
    sync_count: int = 0
    """The number of believed readings since the start of the bot."""
    sync_ms: float | None = None
    """How long the last sync took, in milliseconds; None before the first."""
    gateway: str = ""
    """The gateway, in words."""
    endpoint: str = ""
    """The gateway's endpoint."""
    journal: str = ""
    """The journal, in words; empty for a book in memory only."""
    journal_file: str = ""
    """The path of a SQLite journal."""
    stream: str = ""
    """The name of the book in its journal."""
    journal_trouble: str = ""
    """Why the journal takes no events."""
    others: list[str] = []
    """The other books of the same journal."""


def nothing_here(now: str, detail: str) -> Status:
    """Return the status of a folder without a bot and without a journal; `now` is ISO 8601."""
    return Status(
        state=State.NOTHING,
        sentence="No bot runs in this folder, and no journal is here. Nothing is yours to do.",
        detail=detail,
        works="Nothing trades here.",
        basis="The folder has no trace of a bot.",
        source="journal",
        now=now,
    )
