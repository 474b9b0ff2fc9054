"""The terms of execution of an order: deviation, filling, and time until expiration.

Words and meanings are MetaTrader's (MQL5 reference, MqlTradeRequest). The gateway decides about
terms that are not set: it uses a filling mode that the symbol allows, and a pending order stays
active until it is cancelled.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

FillingWord = Literal["FOK", "IOC", "RETURN", "BOC"]
TimeWord = Literal["GTC", "DAY", "SPECIFIED", "SPECIFIED_DAY"]
FILLINGS: tuple[FillingWord, ...] = get_args(FillingWord)
TIMES: tuple[TimeWord, ...] = get_args(TimeWord)
# Only ORDER_TIME_SPECIFIED and ORDER_TIME_SPECIFIED_DAY have an expiration.
DATED: frozenset[TimeWord] = frozenset({"SPECIFIED", "SPECIFIED_DAY"})
HIGHEST_DEVIATION = 2**31 - 1


class Terms(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The terms of an order; None leaves a term to the gateway.

    `deviation` is in points. `expiration` is in seconds of the trade server's clock since 1970, for
    an order whose `time` is SPECIFIED (that moment) or SPECIFIED_DAY (the end of that day).
    """

    deviation: int | None = None
    filling: FillingWord | None = None
    time: TimeWord | None = None
    expiration: int | None = None

    @property
    def wire(self) -> dict[str, int | str]:
        """The terms as fields of an order on the wire, without the terms that are None."""
        fields = {
            "deviation": self.deviation,
            "type_filling": self.filling,
            "type_time": self.time,
            "expiration": self.expiration,
        }
        return {name: value for name, value in fields.items() if value is not None}


PLAIN_TERMS = Terms()
