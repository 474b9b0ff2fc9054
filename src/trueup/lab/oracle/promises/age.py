"""Promise 10: old state is never called current, and an unknown state is never called flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trueup.lab.facts import facts
from trueup.lab.oracle.base.checker import Checker, Step

# The longest time until the broker's list shows the bot's own changes.
SETTLES_NS = 10_000_000_000
# The faults by which the machine of the bots sleeps.
SLEEPS = frozenset({"SUSPENDED", "SUSPENDED_LONG"})
SETTLING = frozenset(
    {"OrderFilled", "OrderSettled", "OrderRejected", "OrderCanceled", "OrderApplied"}
)
CHANGES = frozenset({"modify", "cancel"})


class HonestAge(Checker):
    """Measures ages by the world's own time, whatever the bot's clock says."""

    number = 10
    promise = "nothing is handed out as current past its limit, and nothing decays into flat"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Compare the answers to the strategy with the last trusted reading."""
        # Of the last trusted reading: when the bot asked, and when the terminal was truly read.
        self._asked_ns: dict[str, int] = {}
        self._read_ns: dict[str, int] = {}
        self._served_ns: dict[tuple[str, str, int], int] = {}
        # The readings that listed nothing, and the bots whose last trusted reading is such a one.
        self._empty: set[tuple[str, str, int]] = set()
        self._sees_nothing: set[str] = set()
        self._unseen: dict[str, str] = {}
        self._is_bound = False
        self._fenced: set[str] = set()
        self._closed_ns: dict[str, int] = {}
        self._in_doubt: set[str] = set()
        self._asleep_ns: dict[str, int] = {}
        return {
            facts.Faulted: self._faulted,
            facts.Journalled: self._journalled,
            facts.Served: self._serve,
            facts.Synced: self._synced,
            facts.Started: self._started,
            facts.Fenced: self._fence,
            facts.HandedOut: self._handed_out,
            facts.JournalLost: self._lost,
        }

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        self._is_bound = self._is_bound or fact.kind == "AccountBound"
        order_id = self.papers.row.get("order_id", "")
        if fact.kind == "OrderFilled" and self._closes(order_id):
            self._closed_ns[fact.bot] = fact.at_ns
            # The bot is awake, so an earlier sleep is over, even if no sync has followed it yet.
            # Else the start of that sleep would hide a sleep that follows this fill.
            self._asleep_ns.pop(fact.bot, None)
        if fact.kind == "OrderInDoubt":
            self._in_doubt.add(order_id)
        elif fact.kind in SETTLING:
            self._in_doubt.discard(order_id)
        yield from ()

    def _lost(self, fact: facts.JournalLost) -> Iterator[str]:
        self._in_doubt &= self.papers.intent_of.keys()
        yield from ()

    def _closes(self, order_id: str) -> bool:
        """Return whether a fill may leave a book flat: on netting accounts, any fill may."""
        return self.scope.books_net or bool(self.papers.intent_of.get(order_id, {}).get("position"))

    def _serve(self, fact: facts.Served) -> Iterator[str]:
        self._served_ns[fact.reading] = fact.at_ns
        if not fact.rows:
            self._empty.add(fact.reading)
        yield from ()

    def _faulted(self, fact: facts.Faulted) -> Iterator[str]:
        if fact.kind in SLEEPS:
            self._asleep_ns = dict.fromkeys(self._closed_ns, fact.at_ns) | self._asleep_ns
        yield from ()

    def _wake(self, fact: facts.Synced) -> None:
        """Let the time in which the machine of a bot slept not count for its own last close.

        A bot waits for the list awake, because it can see nothing in its sleep.
        """
        asleep_ns = self._asleep_ns.pop(fact.bot, None)
        closed_ns = self._closed_ns.get(fact.bot, 0)
        if asleep_ns is not None and closed_ns <= asleep_ns:
            self._closed_ns[fact.bot] = closed_ns + fact.at_ns - asleep_ns

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        self._wake(fact)
        if fact.believed:
            self._asked_ns[fact.bot] = self._read_ns[fact.bot] = fact.asked_ns
            if fact.reading in self._served_ns:
                self._read_ns[fact.bot] = self._served_ns[fact.reading]
            self._sees_nothing.discard(fact.bot)
            if fact.reading in self._empty:
                self._sees_nothing.add(fact.bot)
            self._unseen.pop(fact.bot, None)
        elif fact.status == "DEGRADED":
            self._unseen[fact.bot] = fact.said
        yield from ()

    def _started(self, fact: facts.Started) -> Iterator[str]:
        for known in (self._asked_ns, self._read_ns, self._unseen):
            known.pop(fact.bot, None)
        self._fenced.discard(fact.bot)
        yield from ()

    def _may_not_open(self, fact: facts.HandedOut) -> Iterator[str]:
        """Yield the reasons for which the bot must not allow a new position now."""
        told = f"{fact.bot} was told that it may open a position"
        if fact.bot not in self._asked_ns:
            yield f"{told} before it had seen the broker"
        elif fact.bot in self._unseen and self._is_bound:
            yield f"{told}, and its last look was not believed: {self._unseen[fact.bot]}"
        trades = sorted(one for one in self._in_doubt if self._bars(one, fact.symbol))
        if trades:
            yield f"{told} while {', '.join(trades)} is in doubt"

    def _bars(self, order_id: str, symbol: str) -> bool:
        """Return whether an order in doubt bars entries in a symbol, or in any if that is empty."""
        intent = self.papers.intent_of.get(order_id, {})
        # A change of stops and a cancellation open nothing.
        return intent.get("kind") not in CHANGES and symbol in ("", intent.get("symbol", symbol))

    def _fence(self, fact: facts.Fenced) -> Iterator[str]:
        # A fenced bot does not act, and does not know the new writer's orders in doubt.
        self._fenced.add(fact.bot)
        yield from ()

    def _handed_out(self, fact: facts.HandedOut) -> Iterator[str]:
        # A fenced bot cannot send, so its permission to open has no effect.
        if fact.may_open and fact.bot not in self._fenced:
            yield from self._may_not_open(fact)
        if not fact.current:
            return
        asked_ns = self._asked_ns.get(fact.bot)
        if asked_ns is None:
            yield f"{fact.bot} called its book current before it had seen the broker"
            return
        age_ns = fact.at_ns - self._read_ns[fact.bot]
        if age_ns > fact.max_age_ns:
            yield (
                f"{fact.bot} called its book no older than {fact.max_age_ns / 1e9:g} s, and the "
                f"broker was last seen {age_ns / 1e9:g} s ago"
            )
        # After our own closing order, the broker's list may show the closed position for a while,
        # so an open position there proves nothing until the list has had time to follow.
        # An order in doubt may have opened a position, so a bot with such an order is not judged.
        is_seen = fact.flat and asked_ns >= self._closed_ns.get(fact.bot, 0) + SETTLES_NS
        # A book that takes positions in only after approval is flat until the approval.
        is_seen = is_seen and not self._in_doubt and self.scope.asks != "zombie"
        # A terminal that lost its link unnoticed may list nothing; promise 3 judges that belief.
        is_seen = is_seen and fact.bot not in self._sees_nothing
        flat_ns = self.truth.last_flat_ns(fact.at_ns)
        if is_seen and flat_ns < asked_ns - self.scope.sees_late_ns:
            ago = (fact.at_ns - flat_ns) / 1e9
            yield f"{fact.bot} said it is flat, and the account has not been flat for {ago:g} s"
