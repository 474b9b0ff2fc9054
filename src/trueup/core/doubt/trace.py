"""A trace: what a reading shows of an order in doubt."""

from __future__ import annotations

import msgspec

from trueup.core.recovery import BrokerShows

MAY_BE_LOADING = "the account may not trade at this terminal now, which may be loading still"


class Trace(msgspec.Struct, frozen=True):
    """What the broker shows of an order, and in which words to say it.

    `ticket` and `position` are the order's and its position's identifier, `volume` (lots) what was
    done at `price`. `is_nobodys` says that something fits and only a person can say whether it is
    ours, and `candidates` what each of them would be; `comment` is what a candidate shows.
    `is_final` says that no waiting can change it, `refusal` with which words it was refused, `by`
    which person says it. `is_untold` says that nothing shows whether the order took effect, and
    that more waiting shows no more: it ends as not known.
    """

    shows: BrokerShows
    words: str
    ticket: int = 0
    position: int = 0
    volume: float = 0.0
    price: float | None = None
    is_nobodys: bool = False
    is_final: bool = False
    refusal: str = ""
    candidates: tuple[Trace, ...] = ()
    comment: str = ""
    by: str = ""
    is_untold: bool = False


def untold(words: str, *, is_final: bool = False) -> Trace:
    """Return that nothing shows whether an order took effect; `words` say what does show."""
    return Trace(BrokerShows.NO_TRACE, words, is_untold=True, is_final=is_final)
