"""Decide when the deals of a position are compared with the broker's again.

A broker may charge a commission some minutes after a trade, amend a deal, or cancel a deal, and no
list shows the change. So the deals of a position are read again while the position is open, and for
a day after its deals were counted last (`core.book.realised.RECENT_NS`: as a rule, a broker
corrects trades by the end of the trading day). They are read again at the first sync of a process,
whenever the balance moved by anything but the counted deals, and otherwise the less often the older
they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from trueup.core.book.book import Book
from trueup.core.book.realised import RECENT_NS
from trueup.core.look.waited import Waited
from trueup.core.model import Snapshot
from trueup.core.quantity import to_units

SECOND_NS = 1_000_000_000
NEVER_NS = 2**63
# The interval is an eighth of the age of the deals, between the two limits below: a change is seen
# before the deals are an eighth older, and within a quarter of an hour.
SHARE_OF_AGE = 8
# Each position costs a call at the terminal; the others follow at the next sync.
ASKED_MOST = 64
SOONEST_NS, LATEST_NS = 15 * SECOND_NS, 900 * SECOND_NS


class Rechecks:
    """Finds the positions with deals due for a comparison; times are of the clock for ages (ns)."""

    def __init__(self) -> None:
        self._checked_ns: dict[int, int] = {}
        # Positions with deals that may have changed, by the balance, and were not read since.
        self._suspects: set[int] = set()
        self._login = self._version = self._quiet_until_ns = 0
        # The book's realised result (units of 1e-8) at a version.
        self._realised = (-1, 0)
        # The balance less the counted deals (units of 1e-8): now, and before the last change.
        self._beside: int | None = None
        self._beside_before: int | None = None

    def due(self, book: Book, snapshot: Snapshot, waited: Waited) -> tuple[int, ...]:
        """Return the identifiers due at a sync; `waited` has the clocks at its question."""
        if snapshot.evidence is None:
            return ()
        if book.version == self._version and waited.age_ns < self._quiet_until_ns:
            return ()
        due_ns = {key: self._due_ns(key, book, waited) for key in self._candidates(book)}
        self._version = book.version
        self._quiet_until_ns = min(due_ns.values(), default=NEVER_NS)
        due = (key for key, at_ns in due_ns.items() if at_ns <= waited.age_ns)
        return tuple(itertools.islice(due, ASKED_MOST))

    def _candidates(self, book: Book) -> Iterable[int]:
        counted = (key for key, holding in book.holdings.items() if holding.deals)
        return dict.fromkeys((*self._suspects, *book.recent, *counted))

    def _due_ns(self, identifier: int, book: Book, waited: Waited) -> int:
        """Return when the deals of a position are due, 0 for at once."""
        checked_ns = self._checked_ns.get(identifier)
        if checked_ns is None or identifier in self._suspects:
            return 0
        recent = book.recent.get(identifier)
        age_ns = RECENT_NS
        if recent is not None:
            # The age of the deals at their last comparison.
            age_ns = waited.age_of_ns(recent.at_ns) - (waited.age_ns - checked_ns)
        if age_ns >= RECENT_NS and identifier not in book.holdings:
            return NEVER_NS
        return checked_ns + min(LATEST_NS, max(SOONEST_NS, age_ns // SHARE_OF_AGE))

    def suspect(self, identifiers: Iterable[int]) -> None:
        """Make the deals of these positions due at the next sync."""
        self._suspects.update(identifiers)
        self._quiet_until_ns = 0

    def done(self, identifiers: Iterable[int], asked_ns: int) -> None:
        """Note that the deals of these positions were read, and that the answer was acted on."""
        for identifier in identifiers:
            self._checked_ns[identifier] = asked_ns
            self._suspects.discard(identifier)
            # Only now, since most syncs ask about no position: `due` looks at every position then.
            self._quiet_until_ns = 0

    def believed(self, book: Book, snapshot: Snapshot) -> None:
        """Note the balance of a reading that was acted on.

        A change that the counted deals do not explain makes all counted deals due again.
        """
        if snapshot.evidence is None:
            return
        account = snapshot.evidence.account
        beside = to_units(account.balance) - self._realised_of(book)
        if account.login != self._login:
            self._login, self._beside, self._beside_before = account.login, beside, beside
        if beside != self._beside:
            # A balance that moves before its deals are counted returns to the earlier difference
            # once they are counted: no reason for suspicion.
            if beside != self._beside_before:
                self.suspect(self._candidates(book))
            self._beside_before, self._beside = self._beside, beside
        # No difference of sets, which would go through all holdings.
        recent, held = book.recent, book.holdings
        gone = [key for key in self._checked_ns if key not in recent and key not in held]
        for key in gone:
            del self._checked_ns[key]

    def _realised_of(self, book: Book) -> int:
        """Return the book's realised result; of an unchanged book without a look at its holdings.

        Each sync needs it, and the sum over ten thousand positions takes longer than the sync.
        """
        version, units = self._realised
        if version != book.version:
            units = book.realised_units
            self._realised = book.version, units
        return units
