"""The result of an examination: an outcome for each check, and the gateway's grades."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from trueup.conformance.examination.probe import Exchange
from trueup.core.gateway_record import RecordMark


class Grade(enum.Enum):
    """The grades of a gateway; each grade is defined by its checks."""

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
    Grade.KEYED: "a client without a known key gets no answer",
}


class Outcome(enum.Enum):
    """The outcome of a check."""

    HOLDS = "holds"
    BROKEN = "BROKEN"
    UNSEEN = "not seen"


class Verdict(msgspec.Struct, frozen=True):
    """The outcome of a check, and the reason as a sentence.

    `shown_by` is the exchange that shows the outcome, if that is not the latest exchange. `lines`
    are the hashed lines, if the check is about a digest.
    """

    outcome: Outcome
    because: str
    shown_by: Exchange | None = None
    lines: tuple[str, ...] = ()


def holds(because: str, shown_by: Exchange | None = None) -> Verdict:
    """Return the verdict that the gateway follows the protocol."""
    return Verdict(Outcome.HOLDS, because, shown_by)


def broken(because: str, shown_by: Exchange | None = None, lines: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict that the gateway breaks the protocol."""
    return Verdict(Outcome.BROKEN, because, shown_by, lines)


def unseen(because: str, shown_by: Exchange | None = None) -> Verdict:
    """Return the verdict that the check could not be made here and now."""
    return Verdict(Outcome.UNSEEN, because, shown_by)


class Finding(msgspec.Struct, frozen=True):
    """The result of a check: the rule, the exchange that decided, and the outcome.

    `sent` and `came` are the decisive request and reply, shortened for a person; `came` is None
    without a reply. `lines` are the lines of a digest.
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
    """Whether a gateway has a grade.

    ON_EMPTY_LIST: all checks hold, but no list had a row, so the rows could not be checked.
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
    """The notes of a run, for comparison by a later run after a restart of the gateway.

    `boot` is HELLO's epoch, `epoch` the epoch of a snapshot of `session`. `order` is the executed
    order, with the `status` and `ticket` of its outcome; `withdrawn` is an order that was
    withdrawn.
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
    """The report on a gateway.

    `left_open` are tickets that the examination could not close again; `noted` are the notes for a
    run after a restart of the gateway.
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
        """Whether the gateway has every grade that it claims."""
        return all(row.standing is not Standing.NO for row in self.grades)
