"""The moments of a run: the data that a world gives to its watchers (checkers, trace, page).

Plain data and nothing else. A watcher receives each moment when the moment happens, in order, and
may read the broker's ledger (`trueup.sim.broker.ledger`), which no fault reaches. `at_ns` is the
world's own time, which the clock of a process may differ from; `bot` names the process concerned,
empty for none.

The checkers are made as `Oracle(ledger, scope)`, before the first moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Scope(msgspec.Struct, frozen=True):
    """The positions that the bots keep: those in `symbols` with one of `magics` (empty for all).

    `proves` says that the gateway shows more than a list of positions, `asks` which class of
    corrections needs approval.
    """

    symbols: frozenset[str]
    magics: frozenset[int]
    proves: bool = True
    asks: str = ""


class Row(msgspec.Struct, frozen=True):
    """A row of the journal's table; `payload` is JSON."""

    position: int
    kind: str
    payload: bytes


class Local(msgspec.Struct, frozen=True):
    """A position of a live book; prices and lots as the book has them."""

    identifier: int
    ticket: int
    symbol: str
    side: str
    volume: float
    price_open: float
    sl: float
    tp: float
    magic: int


class LocalBook(msgspec.Struct, frozen=True):
    """A live book: its positions, orders and doubts, and the bytes of its fold.

    `pending` are tickets, `missing` identifiers, `in_doubt` order ids. `age_ns` is the time since
    the last trusted reading, by the bot's account, None before the first trusted reading.
    `strategies` are lots by symbol and magic number, as shown to people.
    """

    positions: tuple[Local, ...]
    pending: tuple[int, ...]
    missing: tuple[int, ...]
    in_doubt: tuple[str, ...]
    realised: float
    version: int
    state: bytes
    age_ns: int | None
    strategies: tuple[tuple[str, int | None, float], ...] = ()


class Moment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An event of the world, given to all watchers."""

    at_ns: int
    bot: str = ""


class Began(Moment, frozen=True):
    """The run begins, in this setting; the story counts time from here."""

    text: str


class BotStarted(Moment, frozen=True):
    """A bot opened its journal, as writer number `token`, and continues from that journal."""

    token: int
    book: LocalBook


class BotRefused(Moment, frozen=True):
    """A bot was refused at its start, because another bot writes the journal."""

    because: str


class BotDied(Moment, frozen=True):
    """A bot was killed; `where` names the step at which that happened."""

    where: str


class Journalled(Moment, frozen=True):
    """A transaction is on the disk, whether or not its writer, number `token`, was told so."""

    token: int
    rows: tuple[Row, ...]


class JournalLost(Moment, frozen=True):
    """The machine lost its power, and the journal lost the events after `position`.

    `put_back` says that, instead, a person replaced the journal by an earlier copy.
    """

    position: int
    put_back: bool = False


class Sent(Moment, frozen=True):
    """A bot handed an order to its link."""

    message: bytes


class Arrived(Moment, frozen=True):
    """An order reached the gateway named `gateway`."""

    message: bytes
    gateway: str


class Replied(Moment, frozen=True):
    """The gateway named `gateway` answered an order; the network may still lose the answer."""

    message: bytes
    gateway: str


class Served(Moment, frozen=True):
    """The gateway answered a question of a bot's `session` with the reading `epoch`, `sequence`.

    The other fields give the terminal's true state: the account of its login, whether the terminal
    claimed a connection to its trade server, whether the terminal had that connection and did not
    have all of the server's changes yet (`catches_up`), and the rows that the terminal listed, as
    tickets and lots. `server_time_msc` is the trade server's time by the reading; `contradicts`
    says that no position was listed, although the account's figures showed positions. `outages`
    counts how often the terminal had reported a lost trade server by then.
    """

    session: str
    epoch: str
    sequence: int
    login: int
    says_connected: bool
    catches_up: bool
    rows: tuple[tuple[int, float], ...]
    digest: str
    server_time_msc: int
    contradicts: bool
    outages: int = 0


class Heard(Moment, frozen=True):
    """A bot received a reading, and judges the reading next."""

    session: str
    epoch: str
    sequence: int


class GatewayDied(Moment, frozen=True):
    """The gateway was killed at `where`, the name of a point in carrying out an order."""

    where: str


class Executed(Moment, frozen=True):
    """The trade server answered a request of the terminal under test.

    `comment` and `magic` are the request's own, whatever the server keeps of them. `order` and
    `deal` are tickets, 0 for none; `action` is MetaTrader's, such as 1 for a market order. `login`
    is the account, which may differ from the bots' account.
    """

    action: int
    comment: str
    magic: int
    symbol: str
    position: int
    order: int
    deal: int
    retcode: int
    login: int
    sl: float = 0.0
    tp: float = 0.0


class Synced(Moment, frozen=True):
    """A bot reconciled.

    `status` is the guide's status, `believed` whether the reading was trusted, `asked_ns` the
    world's time at which the bot asked for that reading. `before` and `after` are the book around
    the sync, `again` the kinds of the events that a second plan on the same reading has, `audit`
    the entries that the sync added. `reason` is why the reading was not trusted and `why` the
    sentence about that, `health` the sync's own sentence.
    """

    status: str
    believed: bool
    asked_ns: int
    before: LocalBook
    after: LocalBook
    again: tuple[str, ...]
    audit: tuple[Mapping[str, Any], ...]
    holds: tuple[str, ...]
    reason: str
    health: str
    why: str = ""
    reading: tuple[str, str, int] | None = None
    """Session, epoch and number of the trusted reading; None if readings have no such names."""
    rows: tuple[tuple[int, float], ...] | None = None
    """The rows of that reading, as tickets and lots; None if a row could not be read."""


class Asked(Moment, frozen=True):
    """A strategy asked: am I flat, is that answer current, and may I open a position."""

    flat: bool
    current: bool
    max_age_ns: int
    may_open: bool


class Forced(Moment, frozen=True):
    """A person forced the bot's next events about a position into the book, whatever the broker
    has."""

    identifier: int


class Approved(Moment, frozen=True):
    """A person approved a correction that a bot held back: a position or a pending order."""

    identifier: int


class Repeated(Moment, frozen=True):
    """A bot received its last fills again, in another order; the book's state around that."""

    count: int
    before: bytes
    after: bytes


class Retold(Moment, frozen=True):
    """A bot planned on a reading as received, and on the same reading reordered (`retelling`).

    `first` and `second` are the actions of the two plans. `again` are the kinds of the events that
    a plan on the second form still has, after the first plan was carried out.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    again: tuple[str, ...]


class Acted(Moment, frozen=True):
    """A bot's order ended; `status` is the order's status in the book."""

    order_id: str
    wish: str
    status: str


class Struck(Moment, frozen=True):
    """A fault of the plan struck; `fault` is its kind, `text` a sentence for people.

    `order_id` is the affected order, if any. `numbers` are the numbers of the strikes that may have
    caused this fault: strikes of the same kind that wait for their moment are not told apart.
    """

    fault: str
    text: str
    order_id: str = ""
    numbers: tuple[int, ...] = ()


class Traded(Moment, frozen=True):
    """A person, another program or the market acted at the account."""

    text: str


class Healed(Moment, frozen=True):
    """All faults have stopped; from now on, book and broker have to agree after some syncs."""


class Agreed(Moment, frozen=True):
    """The syncs that book and broker need to agree have run; `books` are those of living bots."""

    books: dict[str, LocalBook]


class Ended(Moment, frozen=True):
    """The run is over.

    `books` are those of living bots, by name. `owed` says whether book and broker have to agree by
    now, which is so unless the run was stopped early.
    """

    books: dict[str, LocalBook]
    owed: bool


class Violation(msgspec.Struct, frozen=True):
    """An invariant that did not hold: its number, a sentence, and when (world's time, ns)."""

    invariant: int
    sentence: str
    at_ns: int


class Watcher(Protocol):
    """An object that receives every moment of a run."""

    def observe(self, moment: Moment) -> None:
        """Take in a moment."""


class Oracle(Watcher, Protocol):
    """A watcher that judges."""

    def verdicts(self) -> list[Violation]:
        """Return the violations found so far."""
