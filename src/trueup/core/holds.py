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
    UNREADABLE = "a row that cannot be read"
    BROKEN = "an error of the program"
    LOSS = "the journal lacks events"
    NO_SYMBOL = "a symbol that the broker does not have"


class Hold(msgspec.Struct, frozen=True):
    """A difference we see and refuse to act on yet: why, and what would release it.

    `symbol` is empty where the hold concerns the whole account, or a symbol that cannot be read.
    `what` was seen, since `since_ns` where that matters, and `why` says more where there is more to
    say. `until_ns` is when it ends by time alone, 0 when time alone does not end it. `id` is what
    a person says yes to, empty where a yes releases nothing.
    """

    symbol: str
    what: str
    until: str
    identifier: int = 0
    kind: HoldKind = HoldKind.NEWER
    until_ns: int = 0
    id: str = ""
    why: str = ""
    since_ns: int = 0

    @property
    def scope(self) -> str:
        """What is held, for a person: a symbol, or the account."""
        return self.symbol or "Account"

    @property
    def reason(self) -> str:
        """Why it is held, without an age: what stays the same from one look to the next."""
        return f"{self.what}, {self.why}" if self.why else self.what

    def reason_at(self, now_ns: int) -> str:
        """Why it is held, with its age as of `now_ns`."""
        if not self.since_ns:
            return self.reason
        aged = f"{self.what} {age_of(self.since_ns, now_ns)}"
        return f"{aged}, {self.why}" if self.why else aged


# An entry in a symbol that has such a hold could double a position, or reverse one.
DOUBLES = frozenset(
    {
        *(HoldKind.DOUBT, HoldKind.MISSING, HoldKind.HALT, HoldKind.UNREADABLE),
        *(HoldKind.BROKEN, HoldKind.LOSS),
    }
)
# And one in a symbol that the broker does not have comes to nothing.
BLOCKS_ENTRIES = DOUBLES | {HoldKind.NO_SYMBOL}

# What a person's yes releases, and nothing else does.
WAITS_FOR_A_YES = frozenset({HoldKind.ASK, HoldKind.LOSS})


def age_of(then_ns: int, now_ns: int) -> str:
    """Say how long ago something was: 2 s ago, 3 min ago, 5 h ago."""
    seconds = max(0, now_ns - then_ns) // 1_000_000_000
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"
