"""The list of checks, and what they make of a gateway; docs/reference/wire-protocol.md has both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from trueup.conformance import family, history, keys, readings, snapshots
from trueup.conformance.examination import Examination
from trueup.conformance.findings import (
    MEANINGS,
    Finding,
    Grade,
    GradeRow,
    Outcome,
    Report,
    Standing,
    Verdict,
)
from trueup.conformance.orders import Orders
from trueup.conformance.probe import shown
from trueup.protocol.snapshot import VERSION

NAMES_ITS_RECORD = "REQUEST_STATUS"


class Check(msgspec.Struct, frozen=True):
    """One check: its name, the grade it belongs to, what the protocol says, how it is made."""

    name: str
    grade: Grade
    rule: str
    make: Callable[[Examination], Verdict]


class OrderCheck(msgspec.Struct, frozen=True):
    """A check that places orders."""

    name: str
    rule: str
    make: Callable[[Orders], Verdict]

    @property
    def grade(self) -> Grade:
        """The grade that orders decide."""
        return Grade.ONCE


G, A, S, K = Grade.GUIDE, Grade.ATOMIC, Grade.GAPS, Grade.KEYED
# Without these nothing else can be seen.
FIRST_CHECKS = (
    Check("zeromq", G, "The port speaks ZeroMQ.", readings.speaks_zeromq),
    Check("answers", G, "Every request is answered by one reply.", readings.answers),
    Check("json", G, "A reply is one JSON object.", readings.answers_json),
)
CHECKS = (
    Check(
        "list-or-failure",
        G,
        "The reply to GET_POSITIONS has status SUCCESS (or ok) and a list, or another status and "
        "an error.",
        readings.list_or_failure,
    ),
    Check("rows", G, "A row has the fields of a position, and no ticket twice.", readings.rows),
    Check(
        "answers-again",
        G,
        "Every request of every client is answered by one reply.",
        readings.answers_again,
    ),
    Check(
        "failure-is-not-empty",
        G,
        "A request that cannot be served is answered by a status other than SUCCESS (or ok), and "
        "by no list.",
        readings.failure_is_not_empty,
    ),
    Check("uuid", G, "A uuid comes back as it went, or not at all.", readings.uuid_comes_back),
    Check("tick", G, "TICK has bid and ask above 0, or status FAILED.", readings.ticks),
    Check("action", G, "The kind of a request is in `action`.", family.reads_action),
    Check(
        "forms",
        G,
        "GET_POSITIONS with the symbol `*`, or without one, shows all positions; with a symbol's "
        "name, those in it.",
        family.star_shows_all,
    ),
    Check("snapshot", A, "A SNAPSHOT has every field that it must.", snapshots.snapshot_is_read),
    Check("id", A, "A SNAPSHOT carries the id of its question.", snapshots.snapshot_echoes_id),
    Check(
        "counts",
        A,
        "count_before and count_after are the terminal's own counts, and those of the lists.",
        snapshots.counts_agree,
    ),
    Check("digest", A, "The digest is that of the lists.", snapshots.digest_agrees),
    Check(
        "account",
        A,
        "Account and lists are of one moment: profit and swap add up to the account's profit, and "
        "an empty list has no margin and no floating result.",
        snapshots.account_agrees,
    ),
    Check(
        "unchanged",
        A,
        "UNCHANGED is said only while the digest that was sent is that of the lists.",
        snapshots.unchanged_is_true,
    ),
    Check(
        "version",
        A,
        "HELLO and every SNAPSHOT say the version of this protocol.",
        snapshots.version_is_ours,
    ),
    Check("same-list", A, "GET_POSITIONS shows the same positions.", snapshots.lists_agree),
    Check(
        "deals",
        A,
        "The deals of an open position that is explained add up to its volume.",
        snapshots.deals_agree,
    ),
    Check(
        "history",
        A,
        "HISTORY has every deal of a span once, oldest first, page by page.",
        history.pages_are_whole,
    ),
    Check(
        "sequence",
        S,
        "The sequence is one higher with every snapshot served to a session.",
        snapshots.sequence_counts,
    ),
    Check("sessions", S, "Each session is counted for itself.", snapshots.sessions_apart),
    Check("epoch", S, "The epoch is the same until the gateway restarts.", snapshots.epoch_holds),
    Check("clock", S, "The trade server's time does not go back.", snapshots.clock_goes_on),
    Check(
        "hints",
        S,
        "Hints come within the time that they promise, numbered one after the other.",
        snapshots.hints_come,
    ),
    Check("key-wanted", K, "The port takes nobody without a key.", keys.wants_a_key),
    Check("strangers", K, "Who has no known key gets no answer.", keys.stranger_is_not_heard),
    Check("own-key", K, "Who has a known key is answered.", keys.own_key_is_heard),
)
ORDER_CHECKS = (
    OrderCheck(
        "outcome",
        "The reply to an order names its order_id, and FILLED, PLACED, DONE, REJECTED or UNKNOWN.",
        Orders.order_names_itself,
    ),
    OrderCheck(
        "signature",
        "An order needs no field that this protocol does not name.",
        Orders.needs_no_signature,
    ),
    OrderCheck("executed", "What is FILLED was executed.", Orders.order_is_executed),
    OrderCheck(
        "repeat",
        "The same order under the same id is executed once, and answered with the first outcome.",
        Orders.repeat_is_not_executed,
    ),
    OrderCheck(
        "changed",
        "Another order under an id that was used is REJECTED.",
        Orders.change_is_refused,
    ),
    OrderCheck(
        "status",
        "REQUEST_STATUS tells the outcome that the reply to the order told.",
        Orders.status_is_told,
    ),
    OrderCheck("refusal", "What cannot be executed is REJECTED.", Orders.refusal_is_told),
    OrderCheck(
        "close-once",
        "A close that is sent twice closes once.",
        Orders.close_is_executed_once,
    ),
)
# So many of them open the position that the others are about.
OPENING = 3


def examine(exam: Examination, endpoint: str) -> Report:
    """Run all checks that may be run, and return what they show.

    Raises:
        TrueupError: orders were asked for, and the account may be real money.
    """
    orders = Orders(exam) if exam.options.trade and _is_heard(exam) else None
    left_open: tuple[int, ...] = ()
    try:
        findings = list(_examined(exam, orders))
    finally:
        if orders is not None:
            left_open = tuple(orders.clean_up())
    grades = tuple(_graded(grade, exam, findings) for grade in Grade)
    return Report(
        endpoint,
        VERSION,
        exam.greeting.mechanism,
        exam.capabilities,
        grades,
        tuple(findings),
        left_open,
    )


def _is_heard(exam: Examination) -> bool:
    return exam.greeting.is_zeromq and exam.first.fields is not None


def _examined(exam: Examination, orders: Orders | None) -> Iterator[Finding]:
    for number, check in enumerate(FIRST_CHECKS):
        finding = _found(exam, check, check.make(exam))
        yield finding
        if finding.outcome is not Outcome.HOLDS:
            for other in (*FIRST_CHECKS[number + 1 :], *_others(exam)):
                because = f"not asked: {finding.because}"
                yield Finding(other.name, other.grade, Outcome.UNSEEN, because, other.rule)
            return
    # What is read is read while a position is open, where one may be opened.
    opening, others = ORDER_CHECKS[:OPENING], ORDER_CHECKS[OPENING:]
    if orders is not None:
        yield from (_found(exam, check, check.make(orders)) for check in opening)
    yield from (_found(exam, check, check.make(exam)) for check in _others(exam))
    if orders is not None:
        yield from (_found(exam, check, check.make(orders)) for check in others)


def _others(exam: Examination) -> list[Check]:
    """Return the checks of what the gateway claims."""
    return [check for check in CHECKS if _claims(exam, check.grade)]


def _claims(exam: Examination, grade: Grade) -> bool:
    if grade is Grade.KEYED:
        return exam.greeting.is_encrypted
    if grade is Grade.ONCE:
        return exam.claims(NAMES_ITS_RECORD)
    return grade is Grade.GUIDE or exam.claims("SNAPSHOT")


def _found(exam: Examination, check: Check | OrderCheck, verdict: Verdict) -> Finding:
    shown_by = verdict.shown_by or (exam.probe.said[-1] if exam.probe.said else None)
    return Finding(
        check.name,
        check.grade,
        verdict.outcome,
        verdict.because,
        check.rule,
        None if shown_by is None else shown(shown_by.sent),
        None if shown_by is None else shown(shown_by.raw),
    )


def _graded(grade: Grade, exam: Examination, findings: list[Finding]) -> GradeRow:
    ours = [finding for finding in findings if finding.grade is grade]
    wrong = [finding for finding in ours if finding.outcome is Outcome.BROKEN]
    seen = [finding for finding in ours if finding.outcome is Outcome.HOLDS]
    if not _claims(exam, grade):
        also = f"; and {wrong[0].check}: {wrong[0].because}" if wrong else ""
        return GradeRow(grade, Standing.NOT_CLAIMED, f"{_unclaimed(grade)}{also}")
    if wrong:
        return GradeRow(grade, Standing.NO, f"{wrong[0].check}: {wrong[0].because}")
    if grade is Grade.ONCE and not exam.options.trade:
        return GradeRow(grade, Standing.NOT_TESTED, "its checks place orders: give --trade")
    if not seen or (grade is Grade.ONCE and not _all_decisive(seen)):
        unseen = (finding.because for finding in ours if finding.outcome is Outcome.UNSEEN)
        return GradeRow(grade, Standing.NOT_TESTED, next(unseen, "nothing could be seen"))
    return GradeRow(grade, Standing.YES, MEANINGS[grade])


def _all_decisive(seen: list[Finding]) -> bool:
    return {"executed", "repeat", "changed"} <= {finding.check for finding in seen}


def _unclaimed(grade: Grade) -> str:
    if grade is Grade.KEYED:
        return "whoever reaches the port is answered"
    if grade is Grade.ONCE:
        return f"it does not say {NAMES_ITS_RECORD}"
    return "it does not say SNAPSHOT"
