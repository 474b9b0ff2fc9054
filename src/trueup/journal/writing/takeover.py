"""An account's stream takes over the books of earlier streams of the same account.

Such streams were written by bots of one symbol each, before the account had a book of its own.
Their books enter the account's book, and the streams end, in a single transaction:

    in the earlier stream    what its next writer would record first, then StreamClosed
    in the account's stream  StreamTakenOver, with the whole book and the end of its hash chain

Both chains stay provable, and each names the other. A release that does not know these events
refuses the ended stream by name, so no older bot goes on with it. A crash before the commit changes
nothing; after the commit there is nothing left to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from trueup.core.book import events
from trueup.core.book.book import Book
from trueup.core.book.holdings import UNKNOWN_OWNER
from trueup.core.book.outcome import after_restart
from trueup.core.claims import is_shadow
from trueup.errors import JournalConflict, JournalCorrupt
from trueup.journal.reading.reader import JournalReader
from trueup.journal.writing.store import StoredJournal
from trueup.logs import Logger, logger

log: Logger = logger("trueup.journal")


class Source(NamedTuple):
    """A stream to take over, its writer, its book, and the events that end it."""

    journal: StoredJournal
    book: Book
    ending: list[events.Event]


def take_over_streams(
    journal: StoredJournal,
    account: str,
    is_wanted: Callable[[Book], bool],
    now_ns: int,
) -> tuple[str, ...]:
    """Take over the streams of an account that are no account's streams; return their names.

    Args:
        journal: the account's stream, open for writing.
        account: the account, as login@server. Only streams that are bound to it are taken over.
        is_wanted: whether the book of a stream is to be taken over.
        now_ns: the time.

    Raises:
        JournalConflict: another process writes a wanted stream; nothing was changed.
        JournalCorrupt: a stream of the account is damaged; nothing was changed.
        JournalError: nothing was taken over, or the outcome of the commit is unknown; the next
            opening finds out.
    """
    with contextlib.ExitStack() as held:
        sources = []
        # Scopes of an account exclude each other as they are.
        for name in journal.other_streams():
            source = _source(journal, name, account, is_wanted, now_ns)
            if source is not None:
                held.callback(source.journal.let_go)
                sources.append(source)
        if sources:
            taken = [_taken_over(source, now_ns) for source in sources]
            journal.append_with(taken, [(source.journal, source.ending) for source in sources])
            for event in taken:
                log.warning(
                    "[JOURNAL] Stream %r took stream %r over",
                    journal.stream,
                    event.stream,
                    extra={"event": "journal.taken_over"},
                )
        return tuple(source.journal.stream for source in sources)


def _source(
    journal: StoredJournal,
    name: str,
    account: str,
    is_wanted: Callable[[Book], bool],
    now_ns: int,
) -> Source | None:
    """Become the writer of a stream that is to be taken over; return None for any other stream."""
    source = journal.beside(name)
    # An ended stream has nothing left.
    if source.successor or source.account != account:
        return None
    # A watch beside a bot has the bot's positions, and no order to answer for.
    if is_shadow(name):
        return None
    # Without the right to write first: a stream that is not wanted may have a living writer.
    book = _book(source)
    if not is_wanted(book):
        return None
    with _let_go_on_error(source):
        try:
            journal.become_writer_of(source, now_ns)
        except JournalConflict as error:
            raise JournalConflict(
                f"{str(error).partition(';')[0]}. Stream {journal.stream!r} takes its book over: "
                "stop that program first."
            ) from error
        # What its writer appended meanwhile, and what the next writer of the stream would record.
        book.replay(source.read(after=book.version))
        if not is_wanted(book):
            source.let_go()
            return None
        ending = after_restart(list(book.orders.values()), now_ns)
        if source.lost:
            ending.append(events.LossFound(at_ns=now_ns, because=source.lost))
        book.replay(ending)
        ending.append(events.StreamClosed(at_ns=now_ns, by=journal.stream))
    return Source(source, book, ending)


def _book(source: JournalReader) -> Book:
    """Return the book of a stream."""
    saved = source.latest_checkpoint()
    if saved is not None:
        with contextlib.suppress(JournalCorrupt):
            book = Book.restore(saved.state)
            # An older release did not save whose the money is: only the events tell.
            if UNKNOWN_OWNER not in book.realised_by:
                return book.replay(source.read(after=book.version))
    return Book().replay(source.read())


def _taken_over(source: Source, now_ns: int) -> events.StreamTakenOver:
    tip = source.journal.tip_after(source.ending)
    return events.StreamTakenOver(
        at_ns=now_ns,
        stream=source.journal.stream,
        position=tip.position,
        hash=tip.hash.hex(),
        book=source.book.state().decode(),
        positions=len(source.book.holdings),
        in_doubt=len(source.book.in_doubt),
    )


@contextlib.contextmanager
def _let_go_on_error(source: StoredJournal) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        undo.callback(source.let_go)
        yield
        undo.pop_all()
