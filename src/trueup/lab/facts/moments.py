"""What a run shows to those who watch it: the checkers, the trace, the page that is drawn.

Plain data and nothing else. A watcher is told each moment as it happens, in order, and may read the
broker's ledger (`trueup.sim.broker.ledger`), which no fault reaches. `at_ns` is the world's own
time, which no clock of a process has to agree with; `bot` names the process it is about, empty for
none.

The checkers are made as `Oracle(ledger, scope)`, before the first moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Scope(msgspec.Struct, frozen=True):
    """Whose positions the bots keep: those in `symbols`, of them with `magics` (empty for all).

    `proves` says that the gateway shows more than a list of positions, `asks` which class of
    corrections needs a yes.
    """

    symbols: frozenset[str]
    magics: frozenset[int]
    proves: bool = True
    asks: str = ""


class Row(msgspec.Struct, frozen=True):
    """One row of the journal as its table has it; `payload` is JSON."""

    position: int
    kind: str
    payload: bytes


class Local(msgspec.Struct, frozen=True):
    """One position of a live book; prices and lots as the book has them."""

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
    """A live book: what it holds, and the bytes of its fold.

    `pending` are tickets, `missing` identifiers, `in_doubt` order ids. `age_ns` is how
    long ago the broker was last seen and believed, as the bot says, None before the first time.
    `strategies` are lots by symbol and magic number, as a person is shown them.
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
    """Something that happened in the world."""

    at_ns: int
    bot: str = ""


class Began(Moment, frozen=True):
    """The run begins, in this setting; all times of a run are told from here."""

    text: str


class BotStarted(Moment, frozen=True):
    """A bot opened its journal, as its writer number `token`, and goes on from there."""

    token: int
    book: LocalBook


class BotRefused(Moment, frozen=True):
    """A bot was not let in, because another one writes its journal."""

    because: str


class BotDied(Moment, frozen=True):
    """A bot was killed; `where` says at which of its steps."""

    where: str


class Journalled(Moment, frozen=True):
    """A transaction is on the disk, whether or not its writer, number `token`, heard of it."""

    token: int
    rows: tuple[Row, ...]


class JournalLost(Moment, frozen=True):
    """The machine lost its power, and the journal what followed `position`.

    `put_back` says that somebody put an earlier copy of the journal in its place instead.
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
    """The gateway named `gateway` answered an order; the answer may be lost on its way."""

    message: bytes
    gateway: str


class Served(Moment, frozen=True):
    """The gateway answered a question of a bot's `session` with the reading `epoch`, `sequence`.

    The rest is what was true of the terminal: the account that it was logged in to, whether it said
    that it has its trade server, whether it had its link and still lacked what the server knew
    (`catches_up`), and what it listed, as tickets and lots. `server_time_msc` is the trade
    server's time by the reading; `contradicts` says that no position was listed, and that the
    account's figures showed some. `outages` counts how often the terminal had told the gateway by
    then that it had lost its trade server.
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
    """A reading came to a bot, which is about to judge it."""

    session: str
    epoch: str
    sequence: int


class GatewayDied(Moment, frozen=True):
    """The gateway was killed at `where`, a point of carrying out an order, by its name."""

    where: str


class Executed(Moment, frozen=True):
    """The trade server answered a request of the terminal under test.

    `comment` and `magic` are the request's own, whatever the server keeps of them. `order` and
    `deal` are tickets, 0 for none; `action` is MetaTrader's, such as 1 for a market order. `login`
    is the account, which may be another than the bots'.
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

    `status` is the guide's, `believed` whether a reading was acted on, `asked_ns` the world's time
    at which that reading was asked for. `before` and `after` are the book around it, `again` the
    kinds of the events that a second plan on the same reading comes to, `audit` the entries that
    the sync added. `reason` is why it was not believed and `why` the sentence about that,
    `health` its own sentence.
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
    """Session, epoch and number of the reading that was believed; None where none proves itself."""
    rows: tuple[tuple[int, float], ...] | None = None
    """What that reading lists, as tickets and lots; None where a row could not be read."""


class Asked(Moment, frozen=True):
    """A strategy asked whether it is flat, whether that is current, and whether it may open."""

    flat: bool
    current: bool
    max_age_ns: int
    may_open: bool


class Forced(Moment, frozen=True):
    """A person made the book of a bot what its next events say of one position, whatever the broker
    has."""

    identifier: int


class Approved(Moment, frozen=True):
    """A person said yes to what a bot held back about one position or pending order."""

    identifier: int


class Repeated(Moment, frozen=True):
    """A bot was told its last fills again, in another order; its book's state around that."""

    count: int
    before: bytes
    after: bytes


class Retold(Moment, frozen=True):
    """A bot planned on a reading as it came, and on the same told in another way (`retelling`).

    `first` and `second` are what the two plans do. `again` are the kinds of the events that the
    second telling comes to once more, after the first plan was carried out.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    again: tuple[str, ...]


class Acted(Moment, frozen=True):
    """A bot's order came to an end of some kind: `status` is the book's word for it."""

    order_id: str
    wish: str
    status: str


class Struck(Moment, frozen=True):
    """A fault of the plan struck; `fault` is its kind, `text` says it to a person.

    `order_id` is the order that it met, where it met one. `numbers` are those of the strikes that
    it may be: of several of a kind that wait for their moment, nobody keeps which is which.
    """

    fault: str
    text: str
    order_id: str = ""
    numbers: tuple[int, ...] = ()


class Traded(Moment, frozen=True):
    """Somebody who is not the bot did something at the account, or the market did."""

    text: str


class Healed(Moment, frozen=True):
    """All faults have stopped; from here on agreement is owed."""


class Agreed(Moment, frozen=True):
    """All that book and broker need to agree has passed; `books` are the living bots' by name."""

    books: dict[str, LocalBook]


class Ended(Moment, frozen=True):
    """The run is over.

    `books` are the living bots' by name. `owed` says whether agreement was owed by now: it is, but
    in a run that was stopped short.
    """

    books: dict[str, LocalBook]
    owed: bool


class Violation(msgspec.Struct, frozen=True):
    """An invariant that did not hold: its number, what was seen, and when (world's time, ns)."""

    invariant: int
    sentence: str
    at_ns: int


class Watcher(Protocol):
    """Anything that is told what happens."""

    def observe(self, moment: Moment) -> None:
        """Take note of a moment."""


class Oracle(Watcher, Protocol):
    """A watcher that judges."""

    def verdicts(self) -> list[Violation]:
        """Return what did not hold so far."""
