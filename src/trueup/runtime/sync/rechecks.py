"""When the deals that were counted are compared again with what the broker shows.

A broker may charge a commission some minutes after a trade, amend a deal, or cancel one, and no
list tells. So deals that were counted are asked for again: those of every open position as long as
it is open, and those of a closed one for a day after they were counted last
(`core.book.realised.RECENT_NS`: a broker mends its trades by the end of the trading day, as a
rule). That is at the first look of a process, whenever the account's balance moved by anything but
the deals that were counted, and otherwise the less often the older they are.
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
# A change that was made at some age of the deals is seen before they are so much older, and within
# a quarter of an hour.
SHARE_OF_AGE = 8
# Each costs a call at the terminal; the others have their turn at the next look.
ASKED_MOST = 64
SOONEST_NS, LATEST_NS = 15 * SECOND_NS, 900 * SECOND_NS


class Rechecks:
    """Which positions' deals are due to be compared again; times are the clock's for ages (ns)."""

    def __init__(self) -> None:
        self._checked_ns: dict[int, int] = {}
        # Those whose deals may have changed, as the balance says, and were not asked for since.
        self._suspects: set[int] = set()
        self._login = self._version = self._quiet_until_ns = 0
        # What the balance has beside the counted deals (units of 1e-8): now, and before.
        self._beside: int | None = None
        self._beside_before: int | None = None

    def due(self, book: Book, snapshot: Snapshot, waited: Waited) -> tuple[int, ...]:
        """Return the identifiers due at a look; `waited` has the clocks at its question."""
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
        """Return when a position is due to be compared again, 0 for at once."""
        checked_ns = self._checked_ns.get(identifier)
        if checked_ns is None or identifier in self._suspects:
            return 0
        recent = book.recent.get(identifier)
        age_ns = RECENT_NS
        if recent is not None:
            # How old the deals were when they were compared last.
            age_ns = waited.age_of_ns(recent.at_ns) - (waited.age_ns - checked_ns)
        if age_ns >= RECENT_NS and identifier not in book.holdings:
            return NEVER_NS
        return checked_ns + min(LATEST_NS, max(SOONEST_NS, age_ns // SHARE_OF_AGE))

    def suspect(self, identifiers: Iterable[int]) -> None:
        """Let the deals of these positions be compared at the next look."""
        self._suspects.update(identifiers)
        self._quiet_until_ns = 0

    def done(self, identifiers: Iterable[int], asked_ns: int) -> None:
        """Note that deals of these positions were asked for, and the answer was acted on."""
        for identifier in identifiers:
            self._checked_ns[identifier] = asked_ns
            self._suspects.discard(identifier)
        self._quiet_until_ns = 0

    def believed(self, book: Book, snapshot: Snapshot) -> None:
        """Take in the balance of a look that was acted on; see what moved it besides our deals."""
        if snapshot.evidence is None:
            return
        account = snapshot.evidence.account
        beside = to_units(account.balance) - book.realised_units
        if account.login != self._login:
            self._login, self._beside, self._beside_before = account.login, beside, beside
        if beside != self._beside:
            # Deals that are later than the balance bring it back to where it was.
            if beside != self._beside_before:
                self.suspect(self._candidates(book))
            self._beside_before, self._beside = self._beside, beside
        for gone in self._checked_ns.keys() - book.recent.keys() - book.holdings.keys():
            del self._checked_ns[gone]
