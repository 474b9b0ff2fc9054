"""Look at the books of a folder, decide what is told, and keep it for the receivers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from trueup.doors.alerts.conditions import Condition, Observation, book_words, observed
from trueup.doors.alerts.deciding import BookMemory, Policy, decide
from trueup.doors.alerts.history import History
from trueup.doors.alerts.store import StateTrouble, Store
from trueup.doors.alerts.texts import OVER, Message
from trueup.doors.watch import Seen, Watch
from trueup.errors import JournalError, SettingsError
from trueup.journal.backends.location import is_file
from trueup.logs import Logger, logger
from trueup.observe.status.findings import UNREADABLE
from trueup.observe.status.status import FindingRow, State, Status
from trueup.runtime.control.gathering import status_left_behind
from trueup.runtime.time.clock import Clock

log: Logger = logger("trueup.alerts")

# A book without a bot changes seldom, and is folded from its journal each time.
LEFT_KEPT_SEC = 10.0
# The position in a journal alone is written so often; events that are read twice do no harm.
POSITION_KEPT_SEC = 10.0
HERE, UNREAD = "", "unread"
# The URL of a server may have a password, so it is not kept.
SERVER = "server"


class Looked(NamedTuple):
    """What a look has found: all conditions, and the new messages."""

    conditions: Sequence[Condition]
    messages: Sequence[Message]


class Alerter:
    """Looks at the books of a folder.

    Args:
        watch: gathers the statuses.
        store: the state of the alerts.
        policy: when conditions are told.
        receivers: the keys of the receivers.
        clock: the clock.
    """

    def __init__(
        self, watch: Watch, store: Store, policy: Policy, receivers: Sequence[str], clock: Clock
    ) -> None:
        self._watch, self._store, self._policy = watch, store, policy
        self._receivers, self._clock = receivers, clock
        self._memory = store.load()
        self._saved_ns = clock.waiting_ns()
        self._histories: dict[str, History] = {}
        self._left: dict[str, tuple[int, Status | None]] = {}
        self.trouble: str = "the books have not been read yet"
        """Why the books could not all be read at the last look; empty if they could."""

    def look(self) -> Looked:
        """Look at all books once, and keep what is to be sent.

        Raises:
            StateTrouble: nothing could be kept; the next look decides the same again.
        """
        troubles: list[str] = []
        # Before the statuses: what a status shows is then newer than what its journal showed.
        news = self._news(troubles)
        self._watch.renew()
        seen = self._watch.latest()
        books = {key: one for key, one in self._memory.books.items() if key in news}
        found = {key: list(observations) for key, observations in news.items()}
        statuses, closed = self._statuses(seen, books)
        for status in statuses:
            key = _key(status, books)
            known = books.get(key)
            history = self._histories.get(key)
            # A journal that cannot be read does not name its account.
            is_named = known is not None and status.account is None
            name = known.name if known is not None and is_named else book_words(status)
            books[key] = BookMemory(
                name=name,
                place=self._place(status) or ("" if known is None else known.place),
                stream=status.stream,
                position=None if history is None else history.position,
                conditions={} if known is None else known.conditions,
            )
            found.setdefault(key, []).append(observed(status, seen.at_ns, name))
            if any(row.kind == UNREADABLE for row in status.findings):
                troubles.append(status.sentence)
        for key in closed:
            found[key].append(Observation(books[key].name, seen.at_ns, {}))
        self._note_unread(seen, books, found)
        # A book without a journal has no trace once its bot is gone.
        gone = {
            key for key, one in books.items() if not (one.place or one.conditions or found.get(key))
        }
        books = {key: one for key, one in books.items() if key not in gone}
        found = {key: seen_of for key, seen_of in found.items() if key in books}
        looked = self._decided(books, found, seen.at_ns)
        self.trouble = seen.trouble or next(iter(troubles), "")
        return looked

    def _news(self, troubles: list[str]) -> dict[str, list[Observation]]:
        """Return what the journals of the known books tell since the last look."""
        found: dict[str, list[Observation]] = {}
        for key, book in self._memory.books.items():
            found[key] = []
            where = self._where(book)
            if not where or not book.stream:
                continue
            history = self._histories.get(key)
            if history is None:
                history = History(where, book.stream, book.position)
                self._histories[key] = history
            try:
                found[key] = history.news(book.name)
            except JournalError as error:
                troubles.append(f"the journal of {book.name} cannot be read: {error}")
        return found

    def _statuses(self, seen: Seen, books: dict[str, BookMemory]) -> tuple[list[Status], list[str]]:
        """Return the statuses of all books, and the keys of the known books that are over.

        A known book that the status of the folder does not show any more is read from its journal.
        """
        closed: list[str] = []
        told = [one for one in seen.statuses if one.state is not State.NOTHING]
        keys = {_key(one, books) for one in told}
        if seen.trouble:
            return told, closed
        for key in [key for key in books if key not in keys and key != HERE]:
            left = self._left_behind(key, books[key], told)
            if left is not None and _has_something(left):
                told.append(left)
            elif left is not None:
                # Its bot was ended in order, and left nothing to look after.
                closed.append(key)
            elif books[key].place:
                log.info("[ALERT] %s is no longer here", books[key].name)
                del books[key]
                self._forget(key)
        return told, closed

    def _left_behind(self, key: str, book: BookMemory, told: Sequence[Status]) -> Status | None:
        where = self._where(book)
        if not where:
            return None
        now_ns = self._clock.waiting_ns()
        at_ns, status = self._left.get(key, (None, None))
        if at_ns is None or now_ns - at_ns > LEFT_KEPT_SEC * 1e9:
            try:
                status = status_left_behind(where, book.stream, told, is_given=True)
            except SettingsError:
                # The journal has this book no longer.
                status = None
            self._left[key] = (now_ns, status)
        return status

    def _forget(self, key: str) -> None:
        history = self._histories.pop(key, None)
        if history is not None:
            history.close()
        self._left.pop(key, None)

    def _note_unread(
        self, seen: Seen, books: dict[str, BookMemory], found: dict[str, list[Observation]]
    ) -> None:
        """Note what no status tells: an answer that cannot be read, and the end of a book."""
        rows = {}
        if seen.trouble:
            rows[UNREAD] = FindingRow(
                kind=UNREAD,
                state=State.NEEDS_PERSON,
                sentence=seen.trouble,
                fact=seen.trouble.rstrip("."),
            )
            books.setdefault(HERE, BookMemory(name="this folder"))
        if HERE in books:
            found[HERE] = [Observation(books[HERE].name, seen.at_ns, rows)]
        for key, book in books.items():
            if book.conditions and not (seen.trouble or book.place or found.get(key)):
                found[key] = [Observation(book.name, seen.at_ns, {})]

    def _decided(
        self, books: dict[str, BookMemory], found: dict[str, list[Observation]], now_ns: int
    ) -> Looked:
        before = msgspec.structs.replace(self._memory, books=books)
        memory, messages = decide(before, found, now_ns, self._policy)
        is_due = self._clock.waiting_ns() - self._saved_ns > POSITION_KEPT_SEC * 1e9
        if messages or memory != before or (memory != self._memory and is_due):
            try:
                if messages:
                    self._store.tidy_up(self._receivers, now_ns)
                # Last: a look that fails after this would tell the same again.
                self._store.save(memory, messages, self._receivers)
            except StateTrouble:
                # The next look reads the same events again, from the positions of the memory.
                for key in list(self._histories):
                    self._forget(key)
                raise
            self._saved_ns = self._clock.waiting_ns()
        for message in messages:
            _log(message)
        self._memory = memory
        every = [one for book in memory.books.values() for one in book.conditions.values()]
        return Looked(every, messages)

    def _place(self, status: Status) -> str:
        """Return the journal of a book for the memory, empty if it is not known."""
        on_server = status.journal and not is_file(self._watch.place.journal)
        return status.journal_file or (SERVER if on_server else "")

    def _where(self, book: BookMemory) -> str:
        """Return the path or URL of the journal of a book, empty if it is not known."""
        if book.place != SERVER:
            return book.place
        where = self._watch.place.journal
        return "" if is_file(where) else str(where)


def _has_something(status: Status) -> bool:
    """Return whether a book without a bot has something that a person has to look after."""
    return bool(status.books or status.in_doubt or status.journal_trouble)


def _key(status: Status, books: Mapping[str, BookMemory]) -> str:
    """Return the name of a book in the memory, which has `books`."""
    if not status.stream:
        return f"process {status.pid}"
    journal = status.journal_file or status.journal
    if not journal:
        # What a killed bot left does not name its server, so its book is found by its own name.
        found = [
            key
            for key, one in books.items()
            if one.place in ("", SERVER) and one.stream == status.stream
        ]
        if len(found) == 1:
            return found[0]
    return f"{journal} {status.stream}"


def _log(message: Message) -> None:
    level = logging.INFO if message.level == OVER else logging.WARNING
    log.log(
        level,
        "[ALERT] %s: %s (%s)",
        *(message.title, message.body.splitlines()[0], ", ".join(message.conditions[:3])),
        extra={"event": "alert.made", "level_of_alert": message.level},
    )
