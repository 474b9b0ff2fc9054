"""Holds: differences that are seen and not acted on yet."""

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
    ASK = "waits for approval"
    ALERT = "shown only"
    UNPROTECTED = "no stop loss"
    HALT = "journal and broker contradict each other"
    UNREADABLE = "a row that cannot be read"
    BROKEN = "an error of the program"
    LOSS = "the journal lacks events"
    NO_SYMBOL = "a symbol that the broker does not have"


class Hold(msgspec.Struct, frozen=True):
    """A difference that is not acted on yet, with the reason and the condition for its release.

    `symbol` is empty if the hold concerns the whole account, or a symbol that cannot be read.
    `what` is the difference, seen since `since_ns` (0 if its age does not matter), `why` adds the
    reason if there is more to say, and `until` is the condition for the release. `until_ns` is the
    time at which the hold ends by itself, 0 if time alone does not end the hold. `id` is the id for
    an approval, empty if an approval does not release the hold. `order_id` is the order in doubt
    that the hold is about, `evidence` what the reading shows of that order, and `needs_person` says
    that only a person can tell its outcome.
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
    order_id: str = ""
    evidence: str = ""
    needs_person: bool = False

    @property
    def scope(self) -> str:
        """The scope of the hold, for a person: a symbol, or the account."""
        return self.symbol or "Account"

    @property
    def reason(self) -> str:
        """The reason for the hold without its age, so the text is the same from sync to sync."""
        return f"{self.what}, {self.why}" if self.why else self.what

    def reason_at(self, now_ns: int) -> str:
        """The reason for the hold, with its age at `now_ns`."""
        if not self.since_ns:
            return self.reason
        aged = f"{self.what} {age_of(self.since_ns, now_ns)}"
        return f"{aged}, {self.why}" if self.why else aged


# While a symbol has such a hold, an entry could double or reverse a position.
DOUBLES = frozenset(
    {
        *(HoldKind.DOUBT, HoldKind.MISSING, HoldKind.HALT, HoldKind.UNREADABLE),
        *(HoldKind.BROKEN, HoldKind.LOSS),
    }
)
# The broker would refuse an entry in a symbol that it does not have.
BLOCKS_ENTRIES = DOUBLES | {HoldKind.NO_SYMBOL}

# Only a person's approval releases these holds.
NEEDS_APPROVAL = frozenset({HoldKind.ASK, HoldKind.LOSS})


def age_of(then_ns: int, now_ns: int) -> str:
    """Write the age of a moment: 2 s ago, 3 min ago, 5 h ago."""
    seconds = max(0, now_ns - then_ns) // 1_000_000_000
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"
