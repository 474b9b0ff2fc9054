"""Promise 10: nothing old is handed out as current, and not knowing never turns into flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trueup.sim.oracle import facts
from trueup.sim.oracle.checker import Checker, Step

# The longest that what a bot did itself may still be on its way to the broker's list.
SETTLES_NS = 10_000_000_000
SETTLING = frozenset(
    {"OrderFilled", "OrderSettled", "OrderRejected", "OrderCanceled", "OrderApplied"}
)


class HonestAge(Checker):
    """Measures ages by the world's own time, whatever the bot's clock says."""

    number = 10
    promise = "nothing is handed out as current past its limit, and nothing decays into flat"

    def steps(self) -> Mapping[type[facts.Fact], Step]:
        """Judge what the strategy was told against the last reading that was believed."""
        self._asked_ns: dict[str, int] = {}
        self._closed_ns: dict[str, int] = {}
        self._in_doubt: set[str] = set()
        return {
            facts.Journalled: self._journalled,
            facts.Synced: self._synced,
            facts.Started: self._started,
            facts.HandedOut: self._handed_out,
        }

    def _journalled(self, fact: facts.Journalled) -> Iterator[str]:
        order_id = self.papers.row.get("order_id", "")
        if fact.kind == "OrderFilled" and self._closes(order_id):
            self._closed_ns[fact.bot] = fact.at_ns
        if fact.kind == "OrderInDoubt":
            self._in_doubt.add(order_id)
        elif fact.kind in SETTLING:
            self._in_doubt.discard(order_id)
        yield from ()

    def _closes(self, order_id: str) -> bool:
        """Whether a fill may leave a book flat: on netting accounts any may."""
        return self.scope.netting or bool(self.papers.intent_of.get(order_id, {}).get("position"))

    def _synced(self, fact: facts.Synced) -> Iterator[str]:
        if fact.believed:
            self._asked_ns[fact.bot] = fact.asked_ns
        yield from ()

    def _started(self, fact: facts.Started) -> Iterator[str]:
        self._asked_ns.pop(fact.bot, None)
        yield from ()

    def _handed_out(self, fact: facts.HandedOut) -> Iterator[str]:
        if not fact.current:
            return
        asked_ns = self._asked_ns.get(fact.bot)
        if asked_ns is None:
            yield f"{fact.bot} called its book current before it had seen the broker"
            return
        age_ns = fact.at_ns - asked_ns
        if age_ns > fact.max_age_ns:
            yield (
                f"{fact.bot} called its book no older than {fact.max_age_ns / 1e9:g} s, and the "
                f"broker was last seen {age_ns / 1e9:g} s ago"
            )
        # What was seen and then closed by our own order is flat by both, and a reading of the
        # moment after shows nothing better: what is there may be what is being closed.
        # An order in doubt may have opened something: who has one, and says so, is not flat.
        is_seen = fact.flat and asked_ns >= self._closed_ns.get(fact.bot, 0) + SETTLES_NS
        is_seen = is_seen and not self._in_doubt
        flat_ns = self.truth.last_flat_ns(fact.at_ns)
        if is_seen and flat_ns < asked_ns - self.scope.sees_late_ns:
            ago = (fact.at_ns - flat_ns) / 1e9
            yield f"{fact.bot} said it is flat, and the account has not been flat for {ago:g} s"
