"""The trace of an order in doubt in a reading."""

from __future__ import annotations

import msgspec

from trueup.core.quantity import format_lots
from trueup.core.recovery import BrokerShows

MAY_BE_LOADING = "the account may not trade at this terminal now, which may be loading still"


class Trace(msgspec.Struct, frozen=True):
    """The state of an order at the broker, with words for a sentence.

    `ticket` is the order's ticket, `position` the identifier of its position, `volume` (lots) and
    `price` the execution. `needs_person` says that a match exists and only a person can decide
    whether it is ours; `candidates` are the traces of all matches, and `comment` is the comment of
    a candidate. `is_final` says that waiting cannot change the trace, `refusal` is the text of a
    refusal, `by` the person who made the statement. `is_not_known` says that no evidence shows
    whether the order had an effect, and that more waiting would not help: the order ends as not
    known.
    """

    shows: BrokerShows
    words: str
    ticket: int = 0
    position: int = 0
    volume: float = 0.0
    price: float | None = None
    needs_person: bool = False
    is_final: bool = False
    refusal: str = ""
    candidates: tuple[Trace, ...] = ()
    comment: str = ""
    by: str = ""
    is_not_known: bool = False


def filled_in_part(ticket: int, filled: float, volume: float) -> str:
    """Say that `filled` of an order's lots are filled, and that the broker works on the rest."""
    lots = f"{format_lots(filled)} of {format_lots(volume)} lots are filled"
    return f"{lots}, and the broker still works on the rest (order {ticket})"


def not_known(words: str, *, is_final: bool = False) -> Trace:
    """Return the trace of an order without evidence of its effect; `words` describe the state."""
    return Trace(BrokerShows.NO_TRACE, words, is_not_known=True, is_final=is_final)
