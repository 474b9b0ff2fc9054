"""The report of a watch: findings, each with its time, its proof and its meaning; all frozen.

Times are nanoseconds of UTC since 1970. `observe.shadow.making` is the only place that makes a
report; `text` and the page render it.
"""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.Enum):
    """The kinds of findings, in the order of the report; the value is the word in JSON."""

    GHOST = "ghost"
    ZOMBIE = "zombie"
    DRIFT = "drift"
    REVERSAL = "reversal"
    MISSING_STOP = "missing stop"
    LATE_DEAL = "late deal"
    STALE = "stale period"
    AWAY = "absence"
    CASH = "balance operation"
    SWAP = "swap"

    @property
    def title(self) -> str:
        """The heading of the kind, in plural."""
        return _TITLES[self]


_TITLES = {
    Kind.GHOST: "Ghosts: closed at the broker, and not by the bot",
    Kind.ZOMBIE: "Zombies: opened from outside the bot",
    Kind.DRIFT: "Drifts: volume or stops changed",
    Kind.REVERSAL: "Reversals: turned to the other side by others",
    Kind.MISSING_STOP: "Missing stops: positions without a stop loss",
    Kind.LATE_DEAL: "Late deals: in the history after their time",
    Kind.STALE: "Stale periods: no reading to believe",
    Kind.AWAY: "While the watch was away",
    Kind.CASH: "Balance operations",
    Kind.SWAP: "Swaps",
}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a bot does not know unless it looks.

    `at_ns` is when it happened, and `until_ns` when it ended: None for a moment, 0 for something
    that goes on. `seen_ns` is when the watch saw it. `ticket` is 0 for the account, and `position`
    the identifier of a position, which never changes, 0 for none. `seen` is what was seen, `proof`
    the evidence, and `meant` what it would have meant for a bot that keeps only its own memory.
    `meanwhile` says what kept the watch from seeing it at once, else empty.
    """

    kind: Kind
    at_ns: int
    seen_ns: int
    seen: str
    proof: str
    meant: str
    ticket: int = 0
    position: int = 0
    symbol: str = ""
    until_ns: int | None = None
    meanwhile: str = ""

    @property
    def key(self) -> tuple[str, int, int, str]:
        """What tells this finding from all others of a report, also after it went on or ended."""
        return self.kind.value, self.ticket, self.at_ns, self.proof


class ShadowReport(msgspec.Struct, frozen=True):
    """The report of a watch.

    The watch ran from `since_ns` to `until_ns`, its last believed reading; 0 for none. `magics` are
    the bot's magic numbers as the person named them; without any, everything that a program does
    counts as the bot's. `opened` and `closed` count the bot's own orders, which are no findings.
    `at_first` counts the positions that were open when the watch began, and `open_now` those at its
    last look.
    """

    account: str
    gateway: str
    since_ns: int
    until_ns: int
    magics: tuple[int, ...]
    opened: int
    closed: int
    at_first: int
    open_now: int
    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """Return the findings of a kind, oldest first."""
        return tuple(one for one in self.findings if one.kind is kind)

    @property
    def counts(self) -> dict[Kind, int]:
        """The number of findings of each kind that occurred, in the order of the kinds."""
        return {kind: len(self.of(kind)) for kind in Kind if self.of(kind)}
