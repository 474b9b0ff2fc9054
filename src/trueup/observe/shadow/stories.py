"""One position as a watch saw it: from the journal's events about it, and from its deals."""

from __future__ import annotations

from msgspec.structs import replace

from trueup.core.book import events
from trueup.core.deals import history_of
from trueup.core.model import Deal, DealReason, Position
from trueup.core.quantity import to_units
from trueup.observe.shadow.acts import Act, Did, Owners, acts_of
from trueup.observe.shadow.report import Finding
from trueup.observe.shadow.sentences import (
    NO_DEAL,
    Sight,
    Stops,
    closed_unseen,
    drift_of_stops,
    drift_of_volume,
    ghost,
    missing_stop,
    reopened,
    reversal,
    zombie,
)

# POSITION_REASON of the official module (MQL5 reference, ENUM_POSITION_REASON).
REASONS = {
    0: DealReason.CLIENT,
    1: DealReason.MOBILE,
    2: DealReason.WEB,
    3: DealReason.EXPERT,
}


class Bare:
    """A span in which a position had no stop loss."""

    def __init__(self, since: Sight, position: Position, *, at_first: bool) -> None:
        self.since, self.position, self.at_first = since, position, at_first
        self.until: Sight | None = None


class Story:
    """A position, and all that the watch saw of it.

    Args:
        identifier: the position's identifier.
    """

    def __init__(self, identifier: int) -> None:
        self.identifier = identifier
        self.first: Position | None = None
        """The position when the book took it in; None for one that no look found open."""
        self.at_first: bool = False
        """Whether the first reading of the positions had it."""
        self.is_open: bool = False
        self._taken: Sight | None = None
        self._closed: tuple[events.PositionClosed, Sight] | None = None
        self._deals: dict[int, tuple[Deal, Sight]] = {}
        self._bare: list[Bare] = []
        self._drifts: list[Finding] = []
        # What follows from the rest, until there is news.
        self._acts: list[Act] | None = None
        self._found: list[Finding] | None = None

    # What the journal has.

    def adopted(self, position: Position, sight: Sight, *, at_first: bool) -> None:
        """The book took the position in."""
        self.first, self._taken, self.at_first, self.is_open = position, sight, at_first, True
        self._see_stop(position, sight, at_first=at_first)
        self._acts = self._found = None

    def corrected(self, event: events.PositionCorrected, sight: Sight) -> None:
        """The position differed from the book."""
        stops = Stops(event.local.sl, event.local.tp, event.remote.sl, event.remote.tp)
        if stops.differ:
            self._drifts.append(drift_of_stops(event.remote, stops, sight))
        self._see_stop(event.remote, sight)
        self._acts = self._found = None

    def closed(self, event: events.PositionClosed, sight: Sight) -> None:
        """The position left the book."""
        self._closed, self.is_open = (event, sight), False
        self._end_bare(sight)
        self._acts = self._found = None

    def dealt(self, deal: Deal, sight: Sight) -> None:
        """A look saw a deal of the position."""
        self._deals[deal.ticket] = deal, sight
        self._acts = self._found = None

    def _see_stop(self, position: Position, sight: Sight, *, at_first: bool = False) -> None:
        is_bare = bool(self._bare) and self._bare[-1].until is None
        if not position.sl and not is_bare:
            self._bare.append(Bare(sight, position, at_first=at_first))
        elif position.sl:
            self._end_bare(sight)
        else:
            # Others may turn it or change its volume meanwhile; the ticket names the finding.
            ticket = self._bare[-1].position.ticket
            self._bare[-1].position = replace(position, ticket=ticket)

    def _end_bare(self, sight: Sight) -> None:
        if self._bare and self._bare[-1].until is None:
            self._bare[-1].until = sight

    # What follows from it.

    @property
    def acts(self) -> list[Act]:
        """What was done to the position, oldest first."""
        if self._acts is None:
            self._acts = self._made_acts()
        return self._acts

    def _made_acts(self) -> list[Act]:
        deals = [deal for deal, _ in self._deals.values()]
        held = 0 if self.first is None else to_units(self.first.net_volume)
        # With the deal that opened it, the deals are the whole history.
        if any(deal.order == self.identifier for deal in deals):
            held = 0
        return acts_of(self.identifier, deals, held, is_gone=not self.is_open)

    @property
    def was_there(self) -> bool:
        """Whether the position was open before the watch could see a deal of it."""
        return self.at_first and all(act.did is not Did.OPENED for act in self.acts)

    def is_own(self, owners: Owners) -> bool:
        """Return whether the bot opened the position, or had it when the watch began."""
        opening = next((act for act in self.acts if act.did is Did.OPENED), None)
        if opening is not None:
            return owners.own(opening.deals[0].reason, opening.deals[0].magic)
        if self.at_first or self.first is None:
            # A position that ended between the first reading and the first deals was there before.
            return True
        reason = REASONS.get(self.first.reason, DealReason.OTHER)
        return owners.own(reason, self.first.magic)

    def own_acts(self, owners: Owners, did: Did) -> int:
        """Return how often the bot itself opened, or closed, the position."""
        return sum(
            act.did is did and owners.own(act.last.reason, act.last.magic) for act in self.acts
        )

    def findings(self, owners: Owners, digits: int | None) -> list[Finding]:
        """Return the findings about the position; `digits` are the decimals of its money."""
        if self._found is None:
            found = (*self._of_acts(owners, digits), *self._drifts, *self._of_stops())
            self._found = [replace(one, position=self.identifier) for one in found]
        return self._found

    def _of_acts(self, owners: Owners, digits: int | None) -> list[Finding]:
        acts, is_own = self.acts, self.is_own(owners)
        found: list[Finding] = []
        if not is_own:
            found.append(self._zombie(acts, owners))
        history = history_of(self.identifier, [deal for deal, _ in self._deals.values()]).deals
        for act in acts:
            if owners.own(act.last.reason, act.last.magic) or act.did is Did.OPENED:
                continue
            sight = self._deals[act.last.ticket][1]
            who = owners.who(act.last)
            if act.did is Did.CLOSED:
                # The end of a zombie is told with its beginning: no bot of memory held it.
                if is_own:
                    found.append(ghost(act, who, sight, self._ticket, digits))
            elif act.did is Did.REOPENED:
                found.append(reopened(act, who, sight, self._ticket, digits))
            elif act.did is Did.TURNED:
                found.append(reversal(act, who, sight, self._ticket))
            else:
                found.append(drift_of_volume(act, who, sight, self._ticket))
        if is_own and self._closed is not None and not any(a.did is Did.CLOSED for a in acts):
            # The journal may prove the end by deals that no look found in the history.
            found.append(closed_unseen(*self._closed, bool(history), digits))
        return found

    def _zombie(self, acts: list[Act], owners: Owners) -> Finding:
        opening = next((act for act in acts if act.did is Did.OPENED), None)
        end = next((act for act in acts if act.did is Did.CLOSED), None)
        ended = (
            None if end is None else (end, owners.who(end.last), self._deals[end.last.ticket][1])
        )
        if opening is not None:
            first = opening.deals[0]
            sight = self._deals[first.ticket][1]
            proof = f"deal {first.ticket} of order {first.order}"
            return zombie(opening, owners.who(first), sight, self._ticket, ended, proof)
        assert self.first is not None
        assert self._taken is not None
        reason = REASONS.get(self.first.reason, DealReason.OTHER)
        return zombie(self.first, reason.value, self._taken, self._ticket, ended, NO_DEAL)

    def _of_stops(self) -> list[Finding]:
        return [
            missing_stop(
                bare.position,
                self._begin(bare),
                None if bare.until is None else self._end(bare.until),
                at_first=bare.at_first,
            )
            for bare in self._bare
        ]

    def _begin(self, bare: Bare) -> Sight:
        """Return when a bare span began: with the position's opening, if no stop was ever there."""
        opening = self._deals.get(min(self._deals, default=0))
        is_from_opening = bare is self._bare[0] and not bare.at_first and opening is not None
        if is_from_opening and opening is not None and opening[0].order == self.identifier:
            return opening[1].at_deal(opening[0])
        return bare.since

    def _end(self, until: Sight) -> Sight:
        """Return when a bare span ended: with the closing deal, if the position closed then."""
        if self._closed is not None and until is self._closed[1] and self._deals:
            deal, sight = self._deals[max(self._deals)]
            return sight.at_deal(deal)
        return until

    @property
    def _ticket(self) -> int:
        return self.identifier if self.first is None else self.first.ticket
