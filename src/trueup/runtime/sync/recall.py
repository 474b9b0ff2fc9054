"""Ask the gateway's record, at first contact, for orders of this book that the journal lacks.

A restored backup or a deleted journal lacks orders that were sent. A journal cannot be replaced
while a process writes to it, so one answer is enough in the life of a process. A book without a
journal remembers no orders by design, so the record is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.gateway_record import BookAsked, SentOrder
from trueup.core.look.inputs import Lost
from trueup.core.model import Evidence
from trueup.core.scope import EVERY_SYMBOL
from trueup.core.sync.loss import known_marks
from trueup.errors import JournalError
from trueup.logs import Logger, logger
from trueup.runtime.bot.portfolio import PortfolioManager

log: Logger = logger("trueup.reconciler")


class Recall:
    """The question of one book to the record of one gateway, until the answer comes."""

    def __init__(self, pm: PortfolioManager) -> None:
        self._pm = pm
        self._question: BookAsked | None = None
        self._is_answered = self._is_unread = False

    def question(self) -> BookAsked | None:
        """Return the question of this book, or None if there is nothing left to ask.

        The question stays the same until it is answered: orders that were sent meanwhile are in the
        book.
        """
        if self._is_answered or not self._pm.keeps_journal:
            return None
        if self._question is None:
            try:
                self._question = self._asked()
            except JournalError as error:
                # The question can wait: no order is sent while the journal cannot be read.
                log.error("[JOURNAL] %s", error)
        return self._question

    def _asked(self) -> BookAsked:
        book = self._pm.book
        # A journal without sent orders may be the replacement of a deleted one, so ask for the
        # orders of any journal.
        is_new = book.recalled is None and not any(o.by_desk for o in book.orders.values())
        journal = "" if is_new else self._pm.journal_id
        return BookAsked(self._pm.book_name, journal, known_marks(book))

    def lost(self, asked: BookAsked | None, evidence: Evidence | None) -> Lost | None:
        """Return the orders of this book that the record has and the journal lacks, or None."""
        if asked is None or evidence is None or evidence.sent is None:
            return None
        sent, is_new = evidence.sent, not asked.journal
        orders = [order for order in sent.orders if order.order_id not in self._pm.book.orders]
        if is_new and self._pm.symbol != EVERY_SYMBOL:
            # Orders in another symbol belong to another bot, whose stream has the same name.
            orders = [order for order in orders if order.symbol == self._pm.symbol]
        orders = self._not_written(orders)
        if not orders:
            return None
        older = sent.count - len(sent.orders)
        return Lost(tuple(orders), len(orders) + older, asked.stream, is_new)

    def believed(self, asked: BookAsked | None, evidence: Evidence | None) -> None:
        """Note that a reading was acted on: the orders of the record are now in the journal."""
        if asked is None or evidence is None or evidence.sent is None or self._is_unread:
            return
        self._is_answered = True
        record = evidence.record
        for mark in asked.marks:
            # A record that was put back may lack the newest orders, so its silence about them
            # proves nothing.
            if record is not None and mark.id == record.id and record.last < mark.last:
                log.warning(
                    "[RECORD] The gateway's record ends at request %d, and had %d before: an older "
                    "copy of it was put back. What it does not have proves nothing",
                    record.last,
                    mark.last,
                )

    def _not_written(self, orders: Sequence[SentOrder]) -> list[SentOrder]:
        """Return the orders that are not in the journal.

        The book alone does not tell, because a book forgets the oldest of its finished orders.
        """
        self._is_unread = False
        if not orders:
            return []
        try:
            written = self._pm.recorded_among([order.order_id for order in orders])
        except JournalError as error:
            log.error("[JOURNAL] %s", error)
            self._is_unread = True
            return []
        return [order for order in orders if order.order_id not in written]
