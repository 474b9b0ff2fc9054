"""What can be observed of a run, as plain data: the broker's facts, the bot's, and the world's.

`at_ns` is the world's own time, nanoseconds since 1970, whatever any clock in the run says. Lots
are whole units of 1e-8 (`units`), money is whole units of 1e-8 of the account's currency. A run is
a list of facts; the checkers, the story and the drawing all read the same list.
"""

from __future__ import annotations

import msgspec

UNITS = 100_000_000


class Scope(msgspec.Struct, frozen=True):
    """Whose account it is and what the bot may act on.

    `magics` empty: everything in `symbols` is in scope. `sees_late_ns` is how long the terminal of
    this world may show what was before. `price_grain` is
    the unit to which brokers round an averaged open price: the symbols' digits and three more.
    `netting`: the account has one position a symbol, and whatever trades there changes it.
    `proves`: the gateway shows deals, pending orders and the account; one of the guide's wire alone
    shows positions and nothing else. `asks` is the class of corrections that needs a yes, by its
    name in the policy; empty where none does.
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

        Where nothing tells what kind of account it is, a book nets until the next list.
        """
        return self.netting or not self.proves

    def is_foreign(self, symbol: str, magic: int) -> bool:
        """Return whether a position or an order is outside what the bot may act on."""
        if symbol not in self.symbols:
            return True
        # The upper half of a magic number with a token is the strategy's own.
        return bool(self.magics) and not {magic, magic >> 32} & self.magics


class Held(msgspec.Struct, frozen=True, gc=False):
    """A position, at the broker or in the book. `side` is "buy" or "sell"."""

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


class Fact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True, tag_field="fact"):
    """Something that was so at a moment."""

    at_ns: int


# The world's.


class Began(Fact, frozen=True):
    """The run begins; `setting` says in what world."""

    setting: str


class Faulted(Fact, frozen=True):
    """A fault of some kind struck; `what` says it to a person, `order_id` the order that it met.

    `numbers` are those of the strikes of the plan that it may be.
    """

    kind: str
    what: str
    order_id: str = ""
    numbers: tuple[int, ...] = ()


class Traded(Fact, frozen=True):
    """Somebody who is no bot acted at the account, or the market did; `what` is in words."""

    what: str


class Healed(Fact, frozen=True):
    """All faults have ended: from here on agreement is owed."""


class Agreed(Fact, frozen=True):
    """Book and broker have had the syncs that they need to agree; trading goes on after that."""


class Ended(Fact, frozen=True):
    """The run is over. `owed`: book and broker have had the syncs that they need to agree."""

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


class OrderLeft(Fact, frozen=True):
    """An order works no longer."""

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
    """The broker struck a deal out, which had brought `result_units`."""

    login: int
    ticket: int
    identifier: int
    result_units: int = 0


class Requested(Fact, frozen=True):
    """The trade server judged a request of a program; `done` says that it carried it out.

    The fields are those of the request as it arrived (`action` is MetaTrader's number, `position` a
    ticket, `target` the pending order that it changes or removes); `order` is the ticket made.
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
    """A bot started on the journal as it found it, whose last event is at `position`."""

    bot: str
    position: int


class Refused(Fact, frozen=True):
    """A bot was not let in, because another one writes the journal."""

    bot: str
    because: str


class Died(Fact, frozen=True):
    """A bot ended; `where` names the crash point, or how it came about."""

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
    """The journal lost, with its machine's power, what followed `position`.

    `put_back`: somebody put an earlier copy of it in its place instead.
    """

    position: int
    put_back: bool = False


class Sent(Fact, frozen=True):
    """A request of a bot is about to leave its process; `message` is its bytes on the wire."""

    bot: str
    message: bytes


class Served(Fact, frozen=True):
    """The terminal was read for a bot, and what was true of it then.

    `reading` is the session that asked, the gateway's name for itself, and the reading's number.
    `login` is the account that the terminal was logged in to, `says_connected` what it said of its
    link, `catches_up` whether it had the link and still lacked what the server knew. `rows` are
    the positions and pending orders that it listed, as tickets and lots, and `digest` is over them.
    `server_time_msc` is the trade server's time by the reading, 0 for none; `contradicts` says that
    no position was listed, and that the account's figures showed some.
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


class Heard(Fact, frozen=True):
    """A reading came to a bot, which judges it next."""

    bot: str
    reading: tuple[str, str, int]


class Synced(Fact, frozen=True):
    """A sync came to a result.

    `asked_ns` is when it asked (the world's time). `believed`: the reading was taken for the truth.
    `changed`: the book after it is another than before; `version` and `state` are those before.
    `said` is what a person is told of it. `reading` says which reading was believed, None where it
    proves nothing of itself, and `rows` its positions, as tickets and lots, None where a row could
    not be read.
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


class Audited(Fact, frozen=True):
    """A sync's corrections have these entries in the audit trail: action, ticket, details.

    `version` is that of the book after it.
    """

    bot: str
    entries: tuple[tuple[str, int, str], ...]
    version: int


class BookSeen(Fact, frozen=True):
    """What a bot's book holds now; `state` is the whole live fold as bytes.

    `realised_units` is its realised result. `results` is what each position brought of it, open or
    closed, by identifier; None where that was not looked at. `strategies` are lots (units, negative
    when short) by symbol and magic number, as a person is shown them.
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
    strategies: tuple[tuple[str, int | None, int], ...] = ()


class Approved(Fact, frozen=True):
    """A person said yes to what this bot held back about one position."""

    bot: str
    identifier: int


class Forced(Fact, frozen=True):
    """A person made the book what the next events of this bot say, whatever the broker has.

    `identifier` is the one position that it is about.
    """

    bot: str
    identifier: int


class HandedOut(Fact, frozen=True):
    """The strategy was told what it holds, and whether that is no older than `max_age_ns`.

    `may_open` says that it was told it may open a position.
    """

    bot: str
    flat: bool
    current: bool
    max_age_ns: int
    may_open: bool = False


class Replanned(Fact, frozen=True):
    """Planning again on the snapshot that was just applied came to so many `changes`."""

    bot: str
    changes: int


class Repeated(Fact, frozen=True):
    """A report was told again, or in another order: the book's state `before` and `after` that."""

    bot: str
    what: str
    before: bytes
    after: bytes


class Retold(Fact, frozen=True):
    """A bot planned on one reading twice, the second time on the same told in another way.

    `first` and `second` are what the two plans do, in an order of their own. To so many `changes`
    the second telling comes once more after the first plan was carried out.
    """

    bot: str
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    changes: int = 0


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
)
