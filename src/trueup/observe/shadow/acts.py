"""What was done to one position, by its deals: who opened, grew, shrank, turned and closed it.

The deals of one order are one act. An act is the bot's own if a program made it, and the program
has one of the bot's magic numbers; without named numbers, any program counts as the bot.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Iterator

import msgspec

from trueup.core.deals import history_of
from trueup.core.explain import Exit, exit_of
from trueup.core.model import Deal, DealKind, DealReason, Entry
from trueup.core.tokens import strategy_half

SERVICE = frozenset(
    {
        DealReason.ROLLOVER,
        DealReason.VARIATION_MARGIN,
        DealReason.SPLIT,
        DealReason.CORPORATE_ACTION,
    }
)
"""The reasons for which a broker closes a position and opens it again."""


class Did(enum.Enum):
    """What an act did to its position; REOPENED: the broker closed it and opened it again."""

    OPENED = "opened"
    GREW = "grew"
    SHRANK = "shrank"
    TURNED = "turned"
    REOPENED = "reopened"
    CLOSED = "closed"


class Act(msgspec.Struct, frozen=True):
    """The deals of one order in one position; of two orders if the broker reopened it.

    `net` is the position's volume afterwards (units of 1e-8 lots, negative when short), as far as
    the deals are known. `ended` is the exit of the closing part, None for an act that closes
    nothing.
    """

    did: Did
    deals: tuple[Deal, ...]
    net: int
    ended: Exit | None = None

    @property
    def last(self) -> Deal:
        """The newest deal."""
        return self.deals[-1]

    @property
    def units(self) -> int:
        """The lots of the act: units of 1e-8, negative if sold."""
        return sum(deal.units for deal in self.deals)


class Owners(msgspec.Struct, frozen=True):
    """The magic numbers of the bot; empty if any program is taken for the bot."""

    magics: frozenset[int] = frozenset()

    def own(self, reason: DealReason, magic: int) -> bool:
        """Return whether the bot itself did something."""
        if reason is not DealReason.EXPERT:
            return False
        return not self.magics or not self.magics.isdisjoint({magic, strategy_half(magic)})

    def who(self, deal: Deal) -> str:
        """Say who or what made a deal."""
        if deal.reason is DealReason.EXPERT:
            return f"by another program (magic {deal.magic})"
        return str(deal.reason.value)


def acts_of(identifier: int, deals: Iterable[Deal], held: int, *, is_gone: bool) -> list[Act]:
    """Return the acts on a position, oldest first.

    Args:
        identifier: the position.
        deals: its deals that the watch has seen.
        held: the volume before the first of them (units of 1e-8 lots, negative when short); 0 for
            a position that was opened under the eyes of the watch.
        is_gone: whether the position is closed by now.
    """
    history = history_of(identifier, deals).deals
    acts = []
    net = held
    for deals_of_order in _by_order(history):
        before = net
        net += sum(deal.units for deal in deals_of_order)
        did = _did(identifier, deals_of_order, before, net)
        closes = did in (Did.SHRANK, Did.TURNED, Did.CLOSED)
        ended = exit_of(deals_of_order, history, held) if closes else None
        acts.append(Act(did, deals_of_order, net, ended))
    acts = list(_merged(acts))
    # The deals before the watch are unknown, and so may be the volume: the book knows the end.
    if is_gone and acts and acts[-1].did is Did.SHRANK:
        acts[-1] = msgspec.structs.replace(acts[-1], did=Did.CLOSED, net=0)
    return acts


def _by_order(history: Iterable[Deal]) -> Iterator[tuple[Deal, ...]]:
    trades = (deal for deal in history if deal.kind is DealKind.TRADE and deal.units)
    # A position that an opposite one closes has no order of its own: each such deal is an act.
    for _, deals in itertools.groupby(trades, key=lambda deal: deal.order or -deal.ticket):
        yield tuple(deals)


def _merged(acts: list[Act]) -> Iterator[Act]:
    """Yield the acts, with a close and the opening that replaced it as one act."""
    before: Act | None = None
    for act in acts:
        is_again = act.did is Did.GREW and act.last.reason in SERVICE
        if before is not None and is_again and before.ended and before.last.reason in SERVICE:
            before = Act(Did.REOPENED, (*before.deals, *act.deals), act.net, before.ended)
            continue
        if before is not None:
            yield before
        before = act
    if before is not None:
        yield before


def _did(identifier: int, deals: tuple[Deal, ...], before: int, net: int) -> Did:
    entry = deals[-1].entry
    if entry is Entry.IN_OUT:
        return Did.TURNED
    if entry is Entry.IN:
        is_first = not before and deals[0].order == identifier
        return Did.OPENED if is_first else Did.GREW
    return Did.CLOSED if not net else Did.SHRANK
