"""Proposals: orders that assistants ask for, and that wait for a person.

A proposal is an event of the journal, so it survives a restart. Nothing is sent before a person
approves it. Then the order desk records and sends the order under the key of the proposal, and only
after that the proposal ends. The process may die


* before the order is recorded: nothing was sent, the proposal waits, and a person approves again;
* after the order is recorded, before it is sent: the order counts as never sent;
* after the order was sent: the order is in doubt, as any order.

After the second and the third the next process ends the proposal at its first turn.
So an approval sends at most one order: the key of the proposal names one order of the book.
"""

from __future__ import annotations

import contextlib

from trueup.core.book import events
from trueup.core.book.events import ProposalEnd, ProposalMade
from trueup.core.book.proposals import proposal_id, waiting
from trueup.core.book.wishes import is_assistant, order_key
from trueup.core.dates import iso
from trueup.errors import JournalError, Refused
from trueup.runtime.assistants.asking import Asked, ask, changed_since, checked
from trueup.runtime.bot.portfolio import PortfolioManager

MOST_WAITING = 20
"""More proposals than a person decides about; further ones are refused."""
DEFAULT_SEC, SHORTEST_SEC, LONGEST_SEC = 900, 30, 86_400
"""How long a proposal waits for a person."""


class Proposals:
    """Makes, approves and ends the proposals of a book.

    Args:
        pm: the book.
    """

    def __init__(self, pm: PortfolioManager) -> None:
        self._pm = pm

    @property
    def waiting(self) -> list[ProposalMade]:
        """The proposals that wait for a person, the oldest first."""
        return [made for made in waiting(self._pm.book.proposals) if not self._is_late(made)]

    def make(self, asked: Asked, lifetime_sec: int) -> ProposalMade:
        """Record a proposal, after the checks that its order would meet now.

        Raises:
            ValueError: a value is not valid.
            Refused: the order could not be sent now, or too many proposals wait.
            TrueupError: as for `PortfolioManager.submit`; nothing was recorded.
        """
        sec = lifetime_sec or DEFAULT_SEC
        if not SHORTEST_SEC <= sec <= LONGEST_SEC:
            raise ValueError(
                f"lifetime_sec={sec} is not valid: give {SHORTEST_SEC} to {LONGEST_SEC} seconds."
            )
        if len(self.waiting) >= MOST_WAITING:
            raise Refused(f"{MOST_WAITING} proposals wait for a person already.")
        # Checked as a person's order, since a person's approval sends it.
        wish = checked(self._pm, Asked(asked.wish, asked.key, "a person", asked.why))
        now_ns = self._pm.clock.now_ns()
        made = ProposalMade(
            at_ns=now_ns,
            proposal_id=proposal_id(wish, asked.key, now_ns),
            by=asked.who,
            key=asked.key,
            wish=wish,
            asked=asked.wish,
            expires_ns=now_ns + sec * 1_000_000_000,
            why=asked.why,
        )
        self._pm.note(made)
        return made

    def approve(self, name: str, who: str) -> None:
        """Send the order of a proposal, in the name of the person who approves it.

        Raises:
            Refused: no such proposal waits, or the order desk refuses the order now; then nothing
                was sent, and the proposal goes on waiting.
            OutcomeNotRecorded, JournalError, NotSent: as for `PortfolioManager.submit`.
        """
        made = self._waiting(name)
        changed = changed_since(self._pm.book, made.wish)
        if changed:
            self._void(made, changed)
        try:
            ask(self._pm, self._pm.desk, Asked(made.wish, made.key, who, made.why))
        except ValueError as error:
            # A value that was valid is not valid any more, such as more lots than are left.
            self._void(made, str(error))
        finally:
            # Also after an error: the order may have been sent, and then the proposal has ended.
            # A journal that takes nothing now must not hide that error.
            with contextlib.suppress(JournalError):
                self.sweep()

    def reject(self, name: str, who: str, why: str) -> None:
        """End a proposal for a person, or for the assistant that made it.

        Raises:
            Refused: no such proposal waits, or another assistant made it.
            JournalError: the journal takes nothing.
        """
        made = self._waiting(name)
        if is_assistant(who) and who != made.by:
            raise Refused(f"{name} is of {made.by}: only it and a person can end it.")
        end = ProposalEnd.WITHDRAWN if is_assistant(who) else ProposalEnd.REJECTED
        self._end(made, end, by=who, because=why)

    def sweep(self) -> None:
        """End the proposals whose order is recorded, and those that no person decided in time.

        Raises:
            JournalError: the journal takes nothing.
        """
        for made in waiting(self._pm.book.proposals):
            order = self._pm.book.by_key.get(order_key(made.key))
            if order is not None:
                self._end(made, ProposalEnd.APPROVED, by=order.by, order_id=order.order_id)
            elif self._is_late(made):
                self._end(made, ProposalEnd.EXPIRED)

    def _waiting(self, name: str) -> ProposalMade:
        known = self._pm.book.proposals.get(name)
        if known is None:
            raise Refused(f"There is no proposal {name!r:.40}.")
        if known.ended is not None:
            because = f" ({known.ended.because})" if known.ended.because else ""
            raise Refused(f"{name} is {known.ended.end.value} already{because}.")
        if self._is_late(known.made):
            raise Refused(f"{name} expired at {iso(known.made.expires_ns)}: nothing was sent.")
        return known.made

    def _is_late(self, made: ProposalMade) -> bool:
        # By the age and not by the date: a clock that was set back must not keep a proposal alive.
        return self._pm.times.age_of_ns(made.at_ns) >= made.expires_ns - made.at_ns

    def _void(self, made: ProposalMade, because: str) -> None:
        self._end(made, ProposalEnd.VOID, because=because)
        raise Refused(f"Nothing was sent, and {made.proposal_id} is void: {because.rstrip('.')}.")

    def _end(
        self,
        made: ProposalMade,
        end: ProposalEnd,
        *,
        by: str = "",
        because: str = "",
        order_id: str = "",
    ) -> None:
        self._pm.note(
            events.ProposalEnded(
                at_ns=self._pm.clock.now_ns(),
                proposal_id=made.proposal_id,
                end=end,
                by=by,
                because=because,
                order_id=order_id,
            )
        )
