"""The trace of an order that a reading with a history does not show."""

from __future__ import annotations

from trueup.core.book.book import Book
from trueup.core.doubt.lookalikes import lacking_in
from trueup.core.doubt.trace import Trace
from trueup.core.model import Evidence
from trueup.core.recovery import BrokerShows


def absent(words: str, evidence: Evidence, book: Book) -> Trace:
    """Return the trace of an absent order, unless the history lacks another executed order."""
    lacking = lacking_in(evidence, book)
    if lacking is None:
        return Trace(BrokerShows.NO_TRACE, words)
    words = f"the history lacks order {lacking.ticket}, which was done: it is not whole"
    return Trace(BrokerShows.UNSEEN, words)
