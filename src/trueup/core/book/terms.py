"""How the broker is to execute an order: deviation, filling, and how long it stands.

Words and meanings are MetaTrader's (MQL5 reference, MqlTradeRequest). What is not said here is
left to the gateway: it takes a filling that the symbol allows, and a pending order stands until it
is cancelled.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

FillingWord = Literal["FOK", "IOC", "RETURN", "BOC"]
TimeWord = Literal["GTC", "DAY", "SPECIFIED", "SPECIFIED_DAY"]
FILLINGS: tuple[FillingWord, ...] = get_args(FillingWord)
TIMES: tuple[TimeWord, ...] = get_args(TimeWord)
# ORDER_TIME_SPECIFIED and ORDER_TIME_SPECIFIED_DAY alone have a date.
DATED: frozenset[TimeWord] = frozenset({"SPECIFIED", "SPECIFIED_DAY"})
HIGHEST_DEVIATION = 2**31 - 1


class Terms(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The terms of one order; each is None where the gateway decides.

    `deviation` is in points. `expiration` is in seconds of the trade server's clock since 1970, for
    an order whose `time` is SPECIFIED (that moment) or SPECIFIED_DAY (the end of that day).
    """

    deviation: int | None = None
    filling: FillingWord | None = None
    time: TimeWord | None = None
    expiration: int | None = None

    @property
    def wire(self) -> dict[str, int | str]:
        """The terms as fields of an order on the wire; those that are None are left out."""
        said = {
            "deviation": self.deviation,
            "type_filling": self.filling,
            "type_time": self.time,
            "expiration": self.expiration,
        }
        return {name: value for name, value in said.items() if value is not None}


PLAIN_TERMS = Terms()
