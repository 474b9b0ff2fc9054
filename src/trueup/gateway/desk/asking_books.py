"""Track which books request snapshots, so that each book can be told about its neighbours.

With each question a book sends its scope: the positions that it counts as its own (`core.scope`). A
book is not told about another book that ended before its own first question, so a restarted bot
does not see its earlier run as a neighbour.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator

import msgspec

from trueup.core.scope import Neighbour, Scope, shared_symbols
from trueup.protocol.snapshot import NEIGHBOURS_MOST, SnapshotRequest

# A book counts as active if it asked within the last five minutes.
LATELY_NS = 300_000_000_000
BOOKS_KEPT = 256
# A book may have more symbols than one question can name, and names different symbols each time.
SYMBOLS_KEPT = 2_000
SYMBOL_LONGEST = 64


class _Book(msgspec.Struct):
    """A book with the numbers and times (ns) of its first and its latest question."""

    scope: Scope
    first: int
    first_ns: int
    last: int
    last_ns: int


class AskingBooks:
    """The books that asked recently.

    Args:
        age_ns: the clock for ages.
    """

    def __init__(self, age_ns: Callable[[], int]) -> None:
        self._age_ns = age_ns
        self._count = itertools.count(1)
        self._books: OrderedDict[str, _Book] = OrderedDict()

    def note(self, request: SnapshotRequest) -> None:
        """Store the book that asks; a question without a scope or without a run is ignored."""
        scope = request.scope
        if scope is None or not scope.run:
            return
        number, age_ns = next(self._count), self._age_ns()
        book = self._books.get(scope.run)
        if book is None:
            nothing = msgspec.structs.replace(scope, symbols=())
            book = self._books[scope.run] = _Book(nothing, number, age_ns, number, age_ns)
        # Merge the symbols over several questions, newest first, so that old ones drop out.
        named = (symbol for symbol in request.symbols if len(symbol) <= SYMBOL_LONGEST)
        symbols = dict.fromkeys((*scope.symbols, *named, *book.scope.symbols))
        kept = tuple(itertools.islice(symbols, SYMBOLS_KEPT))
        book.scope = msgspec.structs.replace(scope.shortened(), symbols=kept)
        book.last, book.last_ns = number, age_ns
        self._books.move_to_end(scope.run)
        if len(self._books) > BOOKS_KEPT:
            self._books.popitem(last=False)

    def beside(self, request: SnapshotRequest, account: str) -> tuple[Neighbour, ...]:
        """Return the other books that share a symbol with the asking book, newest first.

        A question without a scope gets no neighbours; a scope without a run gets all books.

        Args:
            request: the question of the asking book.
            account: the terminal's account, as login@server.
        """
        if request.scope is None:
            return ()
        own = self._books.get(request.scope.run)
        found = (self._neighbour(book, own) for book in self._active(own, account))
        return tuple(itertools.islice(found, NEIGHBOURS_MOST))

    def _active(self, own: _Book | None, account: str) -> Iterator[_Book]:
        since_ns = self._age_ns() - LATELY_NS
        for book in reversed(self._books.values()):
            if book.last_ns < since_ns:
                return
            is_here = book.scope.account in ("", account)
            if is_here and (own is None or _is_beside(own, book)):
                yield book

    def _neighbour(self, book: _Book, own: _Book | None) -> Neighbour:
        scope, age_ns = book.scope, self._age_ns()
        if own is not None:
            shared = shared_symbols(scope.symbols, own.scope.symbols)
            scope = msgspec.structs.replace(scope, symbols=tuple(shared))
        ages_ms = ((age_ns - then_ns) // 1_000_000 for then_ns in (book.last_ns, book.first_ns))
        return Neighbour(scope, *ages_ms)


def _is_beside(own: _Book, other: _Book) -> bool:
    is_another = other is not own and other.last > own.first
    return is_another and bool(shared_symbols(other.scope.symbols, own.scope.symbols))
