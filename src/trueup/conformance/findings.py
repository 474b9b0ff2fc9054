"""What an examination finds: an outcome for each check, and what that makes of the gateway."""

from __future__ import annotations

import enum

import msgspec

from trueup.conformance.probe import Exchange


class Grade(enum.Enum):
    """What a gateway can be; each is defined by its checks."""

    GUIDE = "guide-compatible"
    ATOMIC = "snapshot-atomic"
    GAPS = "gap-detecting"
    ONCE = "at-most-once"
    KEYED = "authenticated"


MEANINGS = {
    Grade.GUIDE: "every question gets one answer that can be read, and no failure looks empty",
    Grade.ATOMIC: "a snapshot is one moment of one account, and proves it",
    Grade.GAPS: "a client can tell a lost, late or repeated answer, and a restart",
    Grade.ONCE: "one order is executed once, however often it is sent",
    Grade.KEYED: "who has no key is not heard",
}


class Outcome(enum.Enum):
    """What a check found."""

    HOLDS = "holds"
    BROKEN = "BROKEN"
    UNSEEN = "not seen"


class Verdict(msgspec.Struct, frozen=True):
    """The outcome of a check, and why, as a sentence.

    `shown_by` is the exchange that shows it, where that is not the latest one.
    """

    outcome: Outcome
    because: str
    shown_by: Exchange | None = None


def holds(because: str, shown_by: Exchange | None = None) -> Verdict:
    """The gateway did what the protocol says."""
    return Verdict(Outcome.HOLDS, because, shown_by)


def broken(because: str, shown_by: Exchange | None = None) -> Verdict:
    """The gateway did something else."""
    return Verdict(Outcome.BROKEN, because, shown_by)


def unseen(because: str, shown_by: Exchange | None = None) -> Verdict:
    """It could not be seen here and now."""
    return Verdict(Outcome.UNSEEN, because, shown_by)


class Finding(msgspec.Struct, frozen=True):
    """One check: what the protocol says, what was sent and came, what that shows.

    `sent` and `came` are the exchange that decided, cut to what a person reads; `came` is None
    where nothing came.
    """

    check: str
    grade: Grade
    outcome: Outcome
    because: str
    rule: str
    sent: str | None = None
    came: str | None = None


class Standing(enum.Enum):
    """Whether a gateway is what a grade says."""

    YES = "yes"
    NO = "NO"
    NOT_CLAIMED = "not claimed"
    NOT_TESTED = "not tested"


class GradeRow(msgspec.Struct, frozen=True):
    """A grade, and whether the gateway has it."""

    grade: Grade
    standing: Standing
    because: str


class Report(msgspec.Struct, frozen=True):
    """What a gateway is. `left_open` are tickets that the examination could not close again."""

    endpoint: str
    protocol: int
    mechanism: str
    capabilities: tuple[str, ...]
    grades: tuple[GradeRow, ...]
    findings: tuple[Finding, ...]
    left_open: tuple[int, ...] = ()

    @property
    def keeps_its_word(self) -> bool:
        """Whether everything that the gateway claims holds."""
        return all(row.standing is not Standing.NO for row in self.grades)
