"""What an examination finds: an outcome for each check, and what that makes of the gateway."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from trueup.conformance.examination.probe import Exchange
from trueup.core.gateway_record import RecordMark


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

    `shown_by` is the exchange that shows it, where that is not the latest one. `lines` are what was
    hashed, where the digest is in question.
    """

    outcome: Outcome
    because: str
    shown_by: Exchange | None = None
    lines: tuple[str, ...] = ()


def holds(because: str, shown_by: Exchange | None = None) -> Verdict:
    """The gateway did what the protocol says."""
    return Verdict(Outcome.HOLDS, because, shown_by)


def broken(because: str, shown_by: Exchange | None = None, lines: tuple[str, ...] = ()) -> Verdict:
    """The gateway did something else."""
    return Verdict(Outcome.BROKEN, because, shown_by, lines)


def unseen(because: str, shown_by: Exchange | None = None) -> Verdict:
    """It could not be seen here and now."""
    return Verdict(Outcome.UNSEEN, because, shown_by)


class Finding(msgspec.Struct, frozen=True):
    """One check: what the protocol says, what was sent and came, what that shows.

    `sent` and `came` are the exchange that decided, cut to what a person reads; `came` is None
    where nothing came. `lines` are the lines that a digest was made of.
    """

    check: str
    grade: Grade
    outcome: Outcome
    because: str
    rule: str
    sent: str | None = None
    came: str | None = None
    lines: tuple[str, ...] = ()


class Standing(enum.Enum):
    """Whether a gateway is what a grade says.

    ON_EMPTY_LIST: everything that was seen holds, and no list had a row by which to see the rest.
    """

    YES = "yes"
    ON_EMPTY_LIST = "yes, on an empty list"
    NO = "NO"
    NOT_CLAIMED = "not claimed"
    NOT_TESTED = "not tested"


class GradeRow(msgspec.Struct, frozen=True):
    """A grade, and whether the gateway has it."""

    grade: Grade
    standing: Standing
    because: str


class Noted(msgspec.Struct, frozen=True):
    """What one run saw that a later one, after a restart of the gateway, compares with.

    `boot` is HELLO's epoch, `epoch` that of a snapshot of `session`. `order` is the order that was
    executed, with the `status` and `ticket` of its outcome; `withdrawn` one that was withdrawn.
    """

    session: str
    boot: str
    epoch: str
    record: RecordMark | None = None
    order: dict[str, Any] = {}
    status: str = ""
    ticket: int = 0
    withdrawn: dict[str, Any] = {}


class Report(msgspec.Struct, frozen=True):
    """What a gateway is.

    `left_open` are tickets that the examination could not close again; `noted` is what a run after
    a restart of the gateway compares with.
    """

    endpoint: str
    protocol: int
    mechanism: str
    capabilities: tuple[str, ...]
    grades: tuple[GradeRow, ...]
    findings: tuple[Finding, ...]
    left_open: tuple[int, ...] = ()
    noted: Noted | None = None

    @property
    def keeps_its_word(self) -> bool:
        """Whether everything that the gateway claims holds."""
        return all(row.standing is not Standing.NO for row in self.grades)
