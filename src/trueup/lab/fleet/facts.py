"""The facts of a run of the simulated fleet, as plain data; the judge reads nothing else.

`at_ns` is the world's time, `server_ns` the time by the clock of the database server.
"""

from __future__ import annotations

from trueup.lab.facts.facts import Fact, Row


class FleetBegan(Fact, frozen=True):
    """The run begins; `setting` describes the world."""

    setting: str


class FleetStruck(Fact, frozen=True):
    """A fault or an act had an effect.

    `beside` are the faults of nodes that lasted then, and the acts of the moments before.
    """

    kind: str
    what: str
    number: int
    beside: tuple[str, ...] = ()


class FleetHealed(Fact, frozen=True):
    """All faults have ended."""


class FleetEnded(Fact, frozen=True):
    """The run ends; `late` are sentences about accounts that did not come to rest in time."""

    late: tuple[str, ...]


# The database server's.


class Beat(Fact, frozen=True):
    """The server took a heartbeat of a process of a node."""

    node: str
    run: str
    server_ns: int
    lease_ns: int


class Claimed(Fact, frozen=True):
    """The server gave a shard to a process of a node.

    The statement had looked at `looked_ns` of the world, which was `server_ns` by the server.
    """

    node: str
    run: str
    shard: int
    epoch: int
    looked_ns: int
    server_ns: int


class GivenBack(Fact, frozen=True):
    """A process of a node gave a shard back."""

    node: str
    run: str
    shard: int


class NodeGone(Fact, frozen=True):
    """A process is no longer the node: it left, or another process became the node."""

    node: str
    run: str


class WriterMade(Fact, frozen=True):
    """A process became the writer of an account's journal, by a claim with this epoch.

    `opening` is the name by which it asks and orders; each opening of an account has its own.
    """

    account: str
    shard: int
    node: str
    run: str
    epoch: int
    token: int
    opening: str


class Appended(Fact, frozen=True):
    """The server committed rows of a journal; `token` is the one of the session's writer."""

    account: str
    node: str
    token: int
    rows: tuple[Row, ...]


class Lost(Fact, frozen=True):
    """A statement of a node got no answer; `is_done` says whether the server carried it out."""

    node: str
    is_done: bool


# The gateways'.


class Granted(Fact, frozen=True):
    """A gateway granted a claim of an account under a fencing token."""

    account: str
    token: int


class ReadBy(Fact, frozen=True):
    """A gateway answered a question about an account; `token` is 0 if it records none."""

    account: str
    opening: str
    token: int


class Executed(Fact, frozen=True):
    """The broker carried out an order; `mark` is its comment, which finds its intent."""

    account: str
    opening: str
    mark: str


class RefusedAsOld(Fact, frozen=True):
    """A gateway refused an order for its older token."""

    account: str
    token: int


class NotSentNow(Fact, frozen=True):
    """A node sent no order, because it had lost its right."""

    account: str
    node: str
    why: str


class Waits(Fact, frozen=True):
    """A node leaves an account alone, as its gateway does not refuse the orders of a dead node."""

    account: str
    node: str


# The books.


class BookRead(Fact, frozen=True):
    """The book of an account at a node, and the broker's positions, at the end.

    Positions are pairs of identifier and lots, negative for a sell. `nodes` are those that run the
    account, `doubts` its orders in doubt.
    """

    account: str
    nodes: tuple[str, ...]
    book: tuple[tuple[int, float], ...]
    broker: tuple[tuple[int, float], ...]
    doubts: tuple[str, ...]
