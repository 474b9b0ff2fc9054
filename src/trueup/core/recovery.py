"""What to do about an order after a crash, a timeout or a restart: one labelled table.

Read this page before trusting us with money.

An intent is journalled and synced before its order leaves, and its outcome is journalled when the
answer comes. Everything can stop between any two of these steps, so after a restart the journal
says one of four things about an order: it was *prepared* and never sent as far as we know, it was
*sent* and no outcome came, it was *refused*, or it was *filled*. The broker, asked, shows one of
four things: it *cannot be seen in full*, there is *no trace* of the order, the order's position is
*open*, or its position is *closed* already. And absence counts only when it is *settled*: the
history that was read covers the moment of sending, and several looks showed nothing, over the
grace period and by a terminal that heard from its trade server meanwhile (`core.look.absence`), so
nothing of this order can still be on its way.

A gateway of ours keeps a durable record of each order, written before it is sent and after, and is
asked for it first. It may give the lost answer: the ticket by which the order is found at the
broker (D, E), or the refusal, which then counts as if it had come in time (H). And what it never
had it withdraws, so that it is refused should it still come: with a record that covers the sending,
that settles an absence at once (G).

A journal can lack orders that left: a backup was put back, or the journal was deleted. The record
knows them by their book. They enter the book as *sent*, and go through this table like any other
order without an outcome, while entries wait until a person accepts the loss (`core.sync.loss`).

How each case comes about:

A   The terminal is away, the list is torn, the account is another one. Whatever the journal says,
    nothing is decided on a reading that is not whole.
B   The process died after writing the intent and before sending it.
C   The broker has an order that we never sent: two processes, a copied journal, or a token that
    was used twice. Somebody must look.
D   The answer was lost: a timeout, a cut connection, a crash before the outcome was written.
E   As D, and the position ended (stop loss, a hand) before we came back.
F   As D, but nothing shows yet, or a recorded fill does not show yet. MetaTrader 5 may show an
    order late, so we wait; patience alone settles nothing.
G   As F, and now the history covers the sending and the grace period has passed: it never happened.
H   The broker said no, and shows nothing. All agree.
I   The broker said no, and has it all the same. Somebody must look.
J   Filled and open: all agree.
K   Filled, and closed since: the exit is recorded from the deals.
L   Filled by our record, and the broker's settled history knows nothing of it. Somebody must look.

*Halt* stops new orders in the narrowest scope, with the reason; it never stops reading or closing.
"""

from __future__ import annotations

import enum

import msgspec


class JournalSays(enum.Enum):
    """What the journal knows of an order."""

    PREPARED = "prepared"
    SENT = "sent"
    REFUSED = "refused"
    FILLED = "filled"


class BrokerShows(enum.Enum):
    """What the broker shows of an order."""

    UNSEEN = "cannot be seen in full"
    NO_TRACE = "no trace"
    OPEN = "open"
    CLOSED = "closed"


class Decision(enum.Enum):
    """What is done about an order."""

    WAIT = "wait"
    ABANDON = "abandon"
    HALT = "halt"
    ADOPT = "adopt"
    RECORD_BOTH = "record entry and exit"
    RECORD_EXIT = "record the exit"
    AGREE = "agree"


class Case(msgspec.Struct, frozen=True):
    """One row of the table: its label, its condition, the decision, and the reason for it.

    An empty `journal` or `broker` stands for any; `settled` None stands for either.
    """

    label: str
    journal: tuple[JournalSays, ...]
    broker: tuple[BrokerShows, ...]
    settled: bool | None
    decision: Decision
    because: str

    def covers(self, journal: JournalSays, broker: BrokerShows, settled: bool) -> bool:
        """Return whether this row is about the given situation."""
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
    """Return the one row for this situation; the table is total, so there always is one."""
    return next(case for case in CASES if case.covers(journal, broker, settled))
