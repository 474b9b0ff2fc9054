"""Decide about an order after a crash, a timeout or a restart, by a single labelled table.

Read this page before you let trueup trade real money.

trueup journals and syncs an intent before the order leaves, and journals the outcome when the reply
arrives. A process can stop between any two of these steps. So after a restart the journal has one
of four states for an order: *prepared* (as far as we know not sent), *sent* (no outcome arrived),
*refused*, or *filled*. The broker's state is one of four as well: it *cannot be seen in full*, it
shows *no trace* of the order, the order's position is *open*, or its position is *closed* already.
Absence counts as proof only when it is *settled*: the history covers the moment of sending, and
several snapshots over the grace period showed no trace, from a terminal that had contact with its
trade server meanwhile (`core.look.absence`). Then no part of this order can still be on its way.

A trueup gateway keeps a durable record of each order, written before and after sending, and trueup
asks for this record first. The record may have the lost reply: the ticket by which the order is
found at the broker (D, E), or the refusal, which then counts as if it had arrived in time (H). The
gateway withdraws an order that it never received, and refuses that order if it arrives later. If
the record covers the moment of sending, this settles an absence at once (G).

A journal can lack orders that left, after a backup was restored or the journal was deleted. The
gateway's record has those orders under the name of their book. They enter the book as *sent* and go
through this table like any other order without an outcome; entries wait until a person accepts the
loss (`core.sync.loss`).

How each case comes about:

A   The terminal is not reachable, the list is incomplete, or the account is a different account.
    trueup decides nothing on an incomplete reading, whatever the journal says.
B   The process died after writing the intent and before sending the order.
C   The broker has an order that we never sent: two processes, a copied journal, or a token that
    was used twice. A person must investigate.
D   The reply was lost: a timeout, a cut connection, or a crash before the outcome was written.
E   As D, and the position was closed (stop loss, by hand) before we came back.
F   As D, but the broker shows no trace yet, or does not show a recorded fill yet. MetaTrader 5 may
    show an order late, so we wait. Time alone never settles an order.
G   As F, and now the history covers the sending and the grace period has passed: the order was
    never executed.
H   The broker refused the order and shows no trace of it. All agree.
I   The broker refused the order, and has it nevertheless. A person must investigate.
J   The order was filled and its position is open. All agree.
K   The order was filled and its position was closed since: the exit is recorded from the deals.
L   The journal has a fill, and the broker's settled history has no trace of it. A person must
    investigate.

*Halt* stops new orders in the narrowest scope, with the reason; it never stops reading or closing.
"""

from __future__ import annotations

import enum

import msgspec


class JournalSays(enum.Enum):
    """The state of an order in the journal."""

    PREPARED = "prepared"
    SENT = "sent"
    REFUSED = "refused"
    FILLED = "filled"


class BrokerShows(enum.Enum):
    """The state of an order at the broker."""

    UNSEEN = "cannot be seen in full"
    NO_TRACE = "no trace"
    OPEN = "open"
    CLOSED = "closed"


class Decision(enum.Enum):
    """The action for an order."""

    WAIT = "wait"
    ABANDON = "abandon"
    HALT = "halt"
    ADOPT = "adopt"
    RECORD_BOTH = "record entry and exit"
    RECORD_EXIT = "record the exit"
    AGREE = "agree"


class Case(msgspec.Struct, frozen=True):
    """A row of the table: a label, a condition, the decision and its reason.

    An empty `journal` or `broker` matches any value; `settled` None matches both values.
    """

    label: str
    journal: tuple[JournalSays, ...]
    broker: tuple[BrokerShows, ...]
    settled: bool | None
    decision: Decision
    because: str

    def covers(self, journal: JournalSays, broker: BrokerShows, settled: bool) -> bool:
        """Return whether this row matches the given situation."""
        return (
            (not self.journal or journal in self.journal)
            and (not self.broker or broker in self.broker)
            and self.settled in (None, settled)
        )


_UNSEEN = (BrokerShows.UNSEEN,)
_NO_TRACE = (BrokerShows.NO_TRACE,)
_OPEN = (BrokerShows.OPEN,)
_CLOSED = (BrokerShows.CLOSED,)
_HAS_IT = (BrokerShows.OPEN, BrokerShows.CLOSED)
_PREPARED = (JournalSays.PREPARED,)
_SENT = (JournalSays.SENT,)
_SENT_OR_FILLED = (JournalSays.SENT, JournalSays.FILLED)
_REFUSED = (JournalSays.REFUSED,)
_FILLED = (JournalSays.FILLED,)

CASES: tuple[Case, ...] = (
    Case("A", (), _UNSEEN, None, Decision.WAIT, "the broker cannot be seen in full"),
    Case("B", _PREPARED, _NO_TRACE, None, Decision.ABANDON, "it never left"),
    Case("C", _PREPARED, _HAS_IT, None, Decision.HALT, "the broker has an order we did not send"),
    Case("D", _SENT, _OPEN, None, Decision.ADOPT, "it was filled and the answer was lost"),
    Case("E", _SENT, _CLOSED, None, Decision.RECORD_BOTH, "it was filled and has closed since"),
    Case("F", _SENT_OR_FILLED, _NO_TRACE, False, Decision.WAIT, "it may still be working"),
    Case("G", _SENT, _NO_TRACE, True, Decision.ABANDON, "a settled reading has no trace of it"),
    Case("H", _REFUSED, _NO_TRACE, None, Decision.AGREE, "refused, and the broker has nothing"),
    Case("I", _REFUSED, _HAS_IT, None, Decision.HALT, "refused, and the broker has it"),
    Case("J", _FILLED, _OPEN, None, Decision.AGREE, "filled, and the broker has it"),
    Case("K", _FILLED, _CLOSED, None, Decision.RECORD_EXIT, "filled, and closed since"),
    Case("L", _FILLED, _NO_TRACE, True, Decision.HALT, "a recorded fill left no trace"),
)


def decide(journal: JournalSays, broker: BrokerShows, *, settled: bool) -> Case:
    """Return the row for this situation; the table is total, so exactly one row always matches."""
    return next(case for case in CASES if case.covers(journal, broker, settled))
