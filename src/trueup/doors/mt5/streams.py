"""Read what the programs of an account left in a journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from trueup.core.book.book import Book
from trueup.core.book.events import CHANGES, OrderKind
from trueup.core.book.lifecycle import OrderStatus
from trueup.core.book.order import Order
from trueup.core.claims import scope_of
from trueup.core.scope import Scope
from trueup.doors.mt5.requests import KEY_PREFIX
from trueup.errors import JournalError
from trueup.journal import open_reader
from trueup.journal.backends.location import database_at, is_file
from trueup.journal.overview import overview
from trueup.runtime.control.last_known import book_of

_ENTRIES = frozenset(OrderKind) - CHANGES - {OrderKind.CLOSE_BY}
_ENDED_WITHOUT_EFFECT = (OrderStatus.REJECTED, OrderStatus.CANCELED)


def refuse_unusable(journal: str | Path) -> None:
    """Check that a book can be opened in a journal later.

    A program that gives no magic number opens its book by its first order, and must not learn only
    then that there is no journal.

    Raises:
        JournalError: the file is no journal, or there is no folder for it.
    """
    folder = Path(journal).absolute().parent
    if is_file(journal) and not folder.is_dir():
        raise JournalError(f"{journal} cannot be made: there is no folder {folder}.")
    if not _is_unmade(journal):
        database = database_at(journal, read_only=True)
        database.connect()
        try:
            database.revision()
        finally:
            database.close()


def comments_in(journal: str | Path, account: str) -> dict[str, str]:
    """Return the programs' comments by token, of all orders of an account in a journal.

    A program that has not sent an order yet has no book; its lists show its comments all the same.
    """
    comments: dict[str, str] = {}
    try:
        for scope in _scopes(journal, account):
            orders = _book(journal, scope).orders.values()
            comments |= {order.token: order.comment for order in orders if order.token}
    except JournalError:
        # Opening the journal for writing gives the error with its reason.
        return comments
    return comments


def book_with(journal: str | Path, account: str, magic: int) -> int | None:
    """Return the magic number that names the book which has orders of a magic number, or None.

    A program may use several numbers. Its book is named after the first of them, and after a
    restart its next order may have another one.
    """
    scopes = [scope for scope in _scopes(journal, account) if scope.magics]
    # The book that is named after the number comes first.
    for scope in sorted(scopes, key=lambda scope: magic not in scope.magics):
        orders = _book(journal, scope).orders.values()
        # A stream without orders is left over from an opening that was refused.
        if magic in numbers_of(orders) or (orders and magic in scope.magics):
            return scope.magics[0]
    return None


def numbers_of(orders: Iterable[Order]) -> set[int]:
    """Return the magic numbers with which a program opened positions.

    A change or close of a position of another program has that program's number.
    """
    entries = (order for order in orders if order.kind in _ENTRIES and not order.named)
    return {order.magic for order in entries}


def waits_elsewhere(journal: str | Path, account: str, magic: int, own: str) -> str:
    """Return why a program may not send with a magic number yet, or an empty string.

    Another book of the journal may have an order with that number whose outcome the program was not
    given: sent by this book, it would be sent a second time.

    Args:
        journal: the journal.
        account: the account, as login@server.
        magic: the magic number.
        own: the stream of the program's present book.
    """
    for scope in _scopes(journal, account):
        if scope.magics and scope.stream != own:
            for order in _book(journal, scope).orders.values():
                is_open = order.key.startswith(KEY_PREFIX) and not order.delivered
                is_its = order.magic == magic and order.status not in _ENDED_WITHOUT_EFFECT
                if is_open and is_its:
                    return (
                        f"the outcome of {order.order_id} with magic {magic} is in the book "
                        f"{scope.stream} of this journal and was not given yet: start the program "
                        f"with initialize(magic={scope.magics[0]}), or read it with positions_get "
                        "there first"
                    )
    return ""


def _scopes(journal: str | Path, account: str) -> list[Scope]:
    """Return the scopes of the books of an account, in a journal that may not exist yet."""
    if _is_unmade(journal):
        return []
    try:
        return [scope for scope in _all_scopes(journal) if scope.account == account]
    except JournalError:
        # Opening the journal for writing gives the error with its reason.
        return []


def _is_unmade(journal: str | Path) -> bool:
    return is_file(journal) and not Path(journal).exists()


def _all_scopes(journal: str | Path) -> Iterator[Scope]:
    for stream in overview(journal).streams:
        scope = scope_of(stream.name)
        if scope is not None:
            yield scope


def _book(journal: str | Path, scope: Scope) -> Book:
    with open_reader(journal, scope.stream) as reader:
        return book_of(reader)[0]
