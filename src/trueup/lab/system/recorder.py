"""Gives the facts of a run to the run's watchers, in order."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from trueup.lab.facts import facts
from trueup.lab.system.ledger_facts import LedgerFacts
from trueup.sim.broker.ledger import Ledger


class Recorder:
    """Gives each fact to all watchers, and the changes of the ledger before the fact after them.

    Args:
        ledger: the trade server's books of the bots' account.
        now_ns: the world's time.
    """

    def __init__(self, ledger: Ledger, now_ns: Callable[[], int]) -> None:
        self.watchers: list[facts.Watcher] = []
        self.books = LedgerFacts(ledger)
        self._now_ns = now_ns
        # The bot of each writer of the journal, by the writer's number; empty after its death.
        self._writers: dict[int, str] = {}

    def tell(self, fact: facts.Fact) -> None:
        """Give a fact to all watchers."""
        # The ledger has no clock: its changes get the time of the next fact.
        happened, self.books.happened = self.books.happened, []
        for change in happened:
            self._give(msgspec.structs.replace(change, at_ns=fact.at_ns))
        if type(fact) is facts.Died:
            for token, bot in self._writers.items():
                if bot == fact.bot:
                    self._writers[token] = ""
        self._give(fact)

    def start(self, token: int, book: facts.BookSeen) -> None:
        """Record that a bot opened its journal as writer number `token`, and its first book."""
        writer = self._writer(book.bot, token, book.version)
        self.tell(msgspec.structs.replace(book, bot=writer))

    def journal(self, bot: str, token: int, rows: tuple[facts.Row, ...]) -> None:
        """Record a transaction on the disk, whether or not its writer was told of the success."""
        writer, at_ns = self._writer(bot, token, rows[0].position - 1), self._now_ns()
        for row in rows:
            self.tell(facts.Journalled(at_ns, writer, row.position, row.kind, row.payload))

    def _writer(self, bot: str, token: int, position: int) -> str:
        """Return the name of a writer, and record a new writer, or an old one that still writes."""
        newest, at_ns = max(self._writers, default=0), self._now_ns()
        if token > newest:
            before = self._writers.get(newest, "")
            if before:
                self.tell(facts.Fenced(at_ns, before))
            self._writers[token] = bot
            self.tell(facts.Started(at_ns, bot, position))
        elif token < newest:
            fenced = f"{bot}, fenced out,"
            self.tell(facts.Fenced(at_ns, fenced))
            return fenced
        return bot

    def _give(self, fact: facts.Fact) -> None:
        for watcher in self.watchers:
            watcher.observe(fact)
