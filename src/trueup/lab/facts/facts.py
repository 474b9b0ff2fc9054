"""The facts of a simulated run, as plain data: facts of the broker, of the bots and of the world.

`at_ns` is the world's own time, nanoseconds since 1970, whatever any clock in the run says. Lots
are whole units of 1e-8 (`units`), money is whole units of 1e-8 of the account's currency. A run is
a list of facts; the checkers, the story and the drawing all read the same list.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

UNITS = 100_000_000


class Scope(msgspec.Struct, frozen=True):
    """The account, and the positions and orders that the bot may act on.

    `magics` empty: everything in `symbols` is in scope. `sees_late_ns` is how long the terminal of
    this world may show an old state. `price_grain` is the unit to which brokers round an averaged
    open price: the symbols' digits and three more. `netting`: the account has a single position per
    symbol, and every trade in that symbol changes that position. `proves`: the gateway shows deals,
    pending orders and the account; a gateway with only the guide's wire shows positions and nothing
    else. `asks` is the class of corrections that needs approval, by its name in the policy; empty
    if no class does.
    """

    login: int
    symbols: frozenset[str]
    magics: frozenset[int] = frozenset()
    sees_late_ns: int = 0
    price_grain: float = 1e-8
    netting: bool = False
    proves: bool = True
    asks: str = ""

    @property
    def books_net(self) -> bool:
        """Whether a bot's own fill may change any position in its symbol.

        If the kind of account is unknown, a book nets until the next list of positions.
        """
        return self.netting or not self.proves

    def is_foreign(self, symbol: str, magic: int) -> bool:
        """Return whether a position or an order is outside what the bot may act on."""
        if symbol not in self.symbols:
            return True
        # The upper half of a magic number with a token is the strategy's own.
        return bool(self.magics) and not {magic, magic >> 32} & self.magics


class Held(msgspec.Struct, frozen=True, gc=False):
    """A position of the broker or of the book. `side` is "buy" or "sell"."""

    identifier: int
    ticket: int
    symbol: str
    side: str
    units: int
    price_open: float
    sl: float = 0.0
    tp: float = 0.0
    magic: int = 0


class Working(msgspec.Struct, frozen=True, gc=False):
    """A pending order. `type` is MetaTrader's word in lower case, such as "buy_limit"."""

    ticket: int
    symbol: str
    type: str
    units: int
    price_open: float
    price_stoplimit: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    magic: int = 0


class Row(msgspec.Struct, frozen=True):
    """A row of the journal's table; `payload` is JSON."""

    position: int
    kind: str
    payload: bytes


class Fact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True, tag_field="fact"):
    """An observation of the run at the time `at_ns`."""

    at_ns: int


# The world's.


class Began(Fact, frozen=True):
    """The run begins; `setting` describes the world."""

    setting: str


class Faulted(Fact, frozen=True):
    """A fault struck; `what` is a sentence for people, `order_id` the affected order.

    `numbers` are the numbers of the plan's strikes that may have caused this fault.
    """

    kind: str
    what: str
    order_id: str = ""
    numbers: tuple[int, ...] = ()


class Traded(Fact, frozen=True):
    """A person, another program or the market acted at the account; `what` says how, in words."""

    what: str


class Healed(Fact, frozen=True):
    """All faults have ended: from now on, book and broker have to agree after some syncs."""


class Agreed(Fact, frozen=True):
    """The syncs that book and broker need to agree have run; trading continues afterwards."""


class Ended(Fact, frozen=True):
    """The run is over. `owed`: the syncs that book and broker need to agree have run."""

    owed: bool = True


# The broker's.


class PositionShown(Fact, frozen=True):
    """The broker opened a position or changed one."""

    login: int
    position: Held


class PositionLeft(Fact, frozen=True):
    """The broker closed a position."""

    login: int
    identifier: int


class OrderShown(Fact, frozen=True):
    """A pending order works, or was changed."""

    login: int
    order: Working


class RestWorks(Fact, frozen=True):
    """A part of a market order was filled, and the rest works: `left` units of it."""

    login: int
    ticket: int
    left: int


class OrderLeft(Fact, frozen=True):
    """An order is no longer pending, or a market order no longer works."""

    login: int
    ticket: int


class DealBooked(Fact, frozen=True):
    """The broker booked a deal, or corrected one; `entry` and `reason` are MetaTrader's numbers.

    `result_units` is profit, swap, commission and fee together.
    """

    login: int
    ticket: int
    order: int
    identifier: int
    symbol: str
    buys: bool
    units: int
    price: float
    entry: int
    reason: int
    result_units: int
    magic: int = 0
    time_msc: int = 0


class DealStruck(Fact, frozen=True):
    """The broker deleted a deal, whose result was `result_units`."""

    login: int
    ticket: int
    identifier: int
    result_units: int = 0


class Requested(Fact, frozen=True):
    """The trade server answered a request of a program; `done` says that the request was executed.

    The fields are those of the request as received (`action` is MetaTrader's number, `position` a
    ticket, `target` the pending order to change or remove); `order` is the ticket made.
    """

    login: int
    action: int
    symbol: str
    buys: bool
    units: int
    magic: int
    comment: str
    done: bool
    retcode: int
    order: int = 0
    position: int = 0
    target: int = 0
    sl: float = 0.0
    tp: float = 0.0


# The bot's.


class Started(Fact, frozen=True):
    """A bot started from a journal whose last event is at `position`."""

    bot: str
    position: int


class Refused(Fact, frozen=True):
    """A bot was refused at its start, because another bot writes the journal."""

    bot: str
    because: str


class Died(Fact, frozen=True):
    """A bot ended; `where` names the crash point or the cause."""

    bot: str
    where: str


class Fenced(Fact, frozen=True):
    """Another process took the journal over: from here on this bot may not act."""

    bot: str


class Journalled(Fact, frozen=True):
    """An event is in the journal and survives any crash; `payload` is its JSON."""

    bot: str
    position: int
    kind: str
    payload: bytes


class JournalLost(Fact, frozen=True):
    """The journal lost the events after `position`, because its machine lost power.

    `put_back`: instead, a person replaced the journal by an earlier copy.
    """

    position: int
    put_back: bool = False


class Sent(Fact, frozen=True):
    """A request of a bot is about to leave the bot's process; `message` has the bytes sent."""

    bot: str
    message: bytes


class Acted(Fact, frozen=True):
    """The trader of a bot asked for an order; `status` is the order's status in the book.

    `asked` is what the trader asked for under the key: kind, side, lots (units) and the position to
    close or change, 0 for none; the side is empty and the lots 0 if the order decides them. None if
    that is not compared.
    """

    bot: str
    order_id: str
    wish: str
    status: str
    asked: tuple[str, str, int, int] | None = None


# The gateway's.


class Arrived(Fact, frozen=True):
    """An order reached the gateway named `gateway`."""

    gateway: str
    message: bytes


class Replied(Fact, frozen=True):
    """The gateway named `gateway` answered an order; the network may still lose the answer."""

    gateway: str
    message: bytes


class GatewayDied(Fact, frozen=True):
    """The gateway was killed at `where`, the name of a point in carrying out an order."""

    where: str


class Served(Fact, frozen=True):
    """The gateway read the terminal for a bot; the fields give the terminal's true state then.

    `reading` is the session that asked, the gateway's name for itself, and the reading's number.
    `login` is the account that the terminal was logged in to, `says_connected` whether the terminal
    claimed a connection to its trade server, `catches_up` whether the terminal had that connection
    and did not have all of the server's changes yet. `rows` are the positions and pending orders
    that the terminal listed, as tickets and lots, and `digest` is over these rows.
    `server_time_msc` is the trade server's time by the reading, 0 for none; `contradicts` says that
    no position was listed, although the account's figures showed positions. `outages` counts how
    often the terminal had reported a lost trade server by then. `fits` says that the lists in the
    reply were as long as the true lists, with results that came to the account's, to the rounding.
    """

    reading: tuple[str, str, int]
    login: int
    says_connected: bool = True
    catches_up: bool = False
    rows: tuple[tuple[int, float], ...] = ()
    digest: str = ""
    server_time_msc: int = 0
    contradicts: bool = False
    outages: int = 0
    fits: bool = False


# How a bot sees the broker.


class Heard(Fact, frozen=True):
    """A bot received a reading, which the bot judges next."""

    bot: str
    reading: tuple[str, str, int]


class Synced(Fact, frozen=True):
    """A sync ended with a result.

    `asked_ns` is when the sync asked for the reading (the world's time). `believed`: the reading
    was trusted. `changed`: the sync changed the book; `version` and `state` are those before the
    sync. `said` is the sentence shown to people. `reading` names the trusted reading, None if the
    gateway gives readings no names, and `rows` has the reading's positions, as tickets and lots,
    None if a row could not be read. `reason` is the reason not to trust the reading, empty if the
    reading was trusted, and `holds` the sentences about the corrections that are held back.
    """

    bot: str
    status: str
    believed: bool
    asked_ns: int
    changed: bool = False
    version: int = 0
    state: bytes = b""
    said: str = ""
    reading: tuple[str, str, int] | None = None
    rows: tuple[tuple[int, float], ...] | None = None
    reason: str = ""
    holds: tuple[str, ...] = ()


class Audited(Fact, frozen=True):
    """The entries that a sync added to the audit trail: action, ticket, details.

    `version` is the book's version after the sync.
    """

    bot: str
    entries: tuple[tuple[str, int, str], ...]
    version: int


class BookSeen(Fact, frozen=True):
    """The contents of a bot's book now; `state` is the whole live fold as bytes.

    `realised_units` is the book's realised result. `results` is the share of each position, open or
    closed, by identifier; None if the shares were not computed. `booked` has the share of each
    position again, and the sum of its counted deals, deal by deal. `strategies` are lots (units,
    negative when short) by symbol and magic number, as shown to people.
    """

    bot: str
    version: int
    positions: tuple[Held, ...] = ()
    orders: tuple[Working, ...] = ()
    in_doubt: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    state: bytes = b""
    realised_units: int = 0
    results: tuple[tuple[int, int], ...] | None = None
    booked: tuple[tuple[int, int, int], ...] = ()
    strategies: tuple[tuple[str, int | None, int], ...] = ()


class Approved(Fact, frozen=True):
    """A person approved a correction of a position that this bot had held back."""

    bot: str
    identifier: int


class Forced(Fact, frozen=True):
    """A person forced the next events of this bot into the book, whatever the broker has.

    `identifier` is the position concerned.
    """

    bot: str
    identifier: int


class HandedOut(Fact, frozen=True):
    """The strategy read the bot's state: positions, and whether no older than `max_age_ns`.

    `may_open` says that the strategy was allowed to open a position in `symbol`, empty for any.
    """

    bot: str
    flat: bool
    current: bool
    max_age_ns: int
    may_open: bool = False
    symbol: str = ""


class Replanned(Fact, frozen=True):
    """A second plan on the snapshot that was just applied had this number of `changes`."""

    bot: str
    changes: int


class Repeated(Fact, frozen=True):
    """A report was delivered again or reordered; the book's state `before` and `after` that."""

    bot: str
    what: str
    before: bytes
    after: bytes


class Retold(Fact, frozen=True):
    """A bot planned on a reading twice, the second time with the rows reordered and duplicated.

    `first` and `second` are the actions of the two plans, sorted. `changes` is the number of
    changes that a plan on the second form still has after the first plan was carried out.
    """

    bot: str
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    changes: int = 0


# What is tried on the journal and the record of a run that is over.


class OtherEnd(Fact, frozen=True):
    """A copy of the journal with another last event was put in place; `opened` by a writer."""

    position: int
    opened: bool


class KeyReused(Fact, frozen=True):
    """A bot that has forgotten its orders used one key again and again; the answers, in order."""

    key: str
    answers: tuple[str, ...]


class TokensTold(Fact, frozen=True):
    """The writers of a journal came to the gateway: each token, and whether it was served."""

    told: tuple[tuple[int, bool], ...]


class FillTold(Fact, frozen=True):
    """The gateway answered a market order before the terminal knew the price of its deal."""

    status: str
    price: float
    lots: float


class ReadByTime(Fact, frozen=True):
    """A journal of `rows` events was read by a range of time that has all; `read` came."""

    rows: int
    read: int


class ListedTwice(Fact, frozen=True):
    """A list was read in which `twins` positions have the ticket of another one."""

    twins: int
    is_whole: bool


class OddlyAnswered(Fact, frozen=True):
    """A gateway answered a bot's market order with this word; `status` is that of the order now."""

    bot: str
    said: str
    status: str


class MarkAsked(Fact, frozen=True):
    """A record was asked whether it has all since an order; `is_same`: it has that very order."""

    is_same: bool
    vouched: bool


AnyFact = (
    Began
    | Faulted
    | Traded
    | Healed
    | Agreed
    | Ended
    | PositionShown
    | PositionLeft
    | OrderShown
    | OrderLeft
    | DealBooked
    | DealStruck
    | Requested
    | Started
    | Refused
    | Died
    | Fenced
    | Journalled
    | JournalLost
    | Sent
    | Acted
    | Arrived
    | Replied
    | GatewayDied
    | Served
    | Heard
    | Synced
    | Audited
    | BookSeen
    | Approved
    | Forced
    | HandedOut
    | Replanned
    | Repeated
    | Retold
    | OtherEnd
    | KeyReused
    | TokensTold
    | MarkAsked
    | FillTold
    | OddlyAnswered
    | ReadByTime
    | ListedTwice
)


class Violation(msgspec.Struct, frozen=True):
    """An invariant that did not hold: its number, a sentence, and when (world's time, ns)."""

    invariant: int
    sentence: str
    at_ns: int


class Watcher(Protocol):
    """An object that receives every fact of a run when the fact happens, in order."""

    def observe(self, fact: Fact) -> None:
        """Take in a fact."""
