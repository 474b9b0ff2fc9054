"""Holds: differences we see and refuse to act on yet."""

from __future__ import annotations

import enum

import msgspec


class HoldKind(enum.Enum):
    """Why a difference is left alone."""

    DOUBT = "order in doubt"
    NEWER = "changed here after the broker was asked"
    PARTIAL = "partial reading"
    SETTLING = "settling"
    MISSING = "missing without proof"
    ASK = "waits for a yes"
    ALERT = "shown only"
    UNPROTECTED = "no stop loss"
    HALT = "journal and broker contradict each other"


class Hold(msgspec.Struct, frozen=True):
    """A difference we see and refuse to act on yet: why, and what would release it.

    `until_ns` is when it ends by time alone, 0 when time alone does not end it. `id` is what a
    person says yes to, empty where a yes releases nothing.
    """

    symbol: str
    reason: str
    until: str
    identifier: int = 0
    kind: HoldKind = HoldKind.NEWER
    until_ns: int = 0
    id: str = ""


# An entry in a symbol that has such a hold could double a position, or reverse one.
BLOCKS_ENTRIES = frozenset({HoldKind.DOUBT, HoldKind.MISSING, HoldKind.HALT})
