"""Take over the streams that bots of single symbols wrote before the account had a book."""

from __future__ import annotations

from trueup.core.book.book import Book
from trueup.core.claims import has_order, scope_of
from trueup.core.scope import EVERY_SYMBOL, Scope
from trueup.runtime.bot.portfolio import PortfolioManager


def take_over(manager: PortfolioManager, account: str) -> tuple[str, ...]:
    """Take the earlier streams of an account over into the account's book; return their names.

    Args:
        manager: the book of the account, or of a part of it.
        account: the account, as login@server.

    Raises:
        JournalConflict: another process writes such a stream; nothing was changed.
        JournalError: a stream cannot be read or taken over.
    """
    if manager.journal is None:
        return ()
    # Imported here: a process without a journal on disk loads none of this.
    from trueup.journal.writing.store import StoredJournal
    from trueup.journal.writing.takeover import take_over_streams

    if not isinstance(manager.journal, StoredJournal):
        return ()
    scope = scope_of(manager.stream) or Scope(manager.stream)
    with manager.turn:
        names = take_over_streams(
            manager.journal, account, lambda book: is_within(book, scope), manager.clock.now_ns()
        )
        # The book takes the new events from its journal, as after an interruption.
        manager.follow()
    return names


def is_within(book: Book, scope: Scope) -> bool:
    """Return whether everything in a book is within a scope; an empty book only in the whole."""
    if not scope.magics and scope.symbols in ((), (EVERY_SYMBOL,)):
        return True
    orders = [
        (order.symbol, order.magic) for order in book.orders.values() if not order.is_stand_in
    ]
    held = [(one.position.symbol, book.strategy_of(one)) for one in book.holdings.values()]
    pending = [(one.order.symbol, one.order.magic) for one in book.pending.values()]
    marks = {*orders, *held, *pending}
    return bool(marks) and all(has_order(scope, symbol, magic) for symbol, magic in marks)
