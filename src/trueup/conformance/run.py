"""The list of all checks, and the grading of a gateway; see docs/reference/wire-protocol.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from trueup.conformance.examination.examination import Examination
from trueup.conformance.examination.findings import (
    MEANINGS,
    Finding,
    Grade,
    GradeRow,
    Noted,
    Outcome,
    Report,
    Standing,
    Verdict,
)
from trueup.conformance.examination.probe import shown
from trueup.conformance.with_orders import (
    after_close,
    claims,
    close_by,
    doubts,
    fields,
    pending,
    restarts,
)
from trueup.conformance.with_orders.orders import Orders
from trueup.conformance.without_orders import family, greetings, history, keys, readings, snapshots
from trueup.protocol.snapshot import VERSION

NAMES_ITS_RECORD = "REQUEST_STATUS"


class Check(msgspec.Struct, frozen=True):
    """A check: its name, its grade, the rule of the protocol, and the function that checks."""

    name: str
    grade: Grade
    rule: str
    make: Callable[[Examination], Verdict]


class RestartCheck(msgspec.Struct, frozen=True):
    """A check that compares with the notes of a run before a restart of the gateway."""

    name: str
    grade: Grade
    rule: str
    make: Callable[[Examination, Noted, Orders | None], Verdict]


class OrderCheck(msgspec.Struct, frozen=True):
    """A check that places orders; nearly all belong to the grade `at-most-once`."""

    name: str
    rule: str
    make: Callable[[Orders], Verdict]
    grade: Grade = Grade.ONCE


G, A, S, K = Grade.GUIDE, Grade.ATOMIC, Grade.GAPS, Grade.KEYED
# Without these no other check can run.
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
    Check(
        "tick",
        G,
        "TICK has bid and ask, and the quotation's time in milliseconds, or status FAILED.",
        readings.ticks,
    ),
    Check(
        "fields",
        G,
        "An unknown field is ignored; a request may have up to 256 KiB.",
        readings.unknown_fields_are_ignored,
    ),
    Check("action", G, "The kind of a request is in `action`.", family.reads_action),
    Check(
        "forms",
        G,
        "GET_POSITIONS with the symbol `*`, or without one, shows all positions; with a symbol's "
        "name, those in it.",
        family.star_shows_all,
    ),
    Check(
        "hello",
        A,
        "HELLO tells kind, run and capabilities of the gateway; PING is answered.",
        greetings.hello_tells_who_it_is,
    ),
    Check(
        "snapshot",
        A,
        "A SNAPSHOT has every required field, and each position its identifier.",
        snapshots.snapshot_is_read,
    ),
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
        "UNCHANGED is the reply only while the digest in the request is that of the lists.",
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
        "The deals of an explained open position add up to its volume.",
        snapshots.deals_agree,
    ),
    Check(
        "history",
        A,
        "HISTORY has every deal of a span once, oldest first, page by page.",
        history.pages_are_whole,
    ),
    Check(
        "call",
        A,
        "CALL returns what the terminal's function returns; order_send is ERROR.",
        readings.calls,
    ),
    Check(
        "limits",
        A,
        "A request beyond the limits gets ERROR, and no partial answer.",
        greetings.limits_are_kept,
    ),
    Check(
        "sequence",
        S,
        "The sequence is one higher with every snapshot served to a session.",
        snapshots.sequence_counts,
    ),
    Check("sessions", S, "Each session is counted for itself.", snapshots.sessions_apart),
    Check("epoch", S, "The epoch is the same until the gateway restarts.", snapshots.epoch_holds),
    Check(
        "clock",
        S,
        "The trade server's time is the latest quotation's, in milliseconds, and does not go back.",
        snapshots.clock_goes_on,
    ),
    Check(
        "hints",
        S,
        "Hints come within the time that they promise, numbered without a gap, with HELLO's "
        "epoch and the digest of the lists.",
        snapshots.hints_come,
    ),
    Check(
        "record",
        Grade.ONCE,
        "REQUEST_STATUS tells `never seen` of an order that never came.",
        doubts.record_answers,
    ),
    Check("key-wanted", K, "The port answers no client without a key.", keys.wants_a_key),
    Check(
        "strangers", K, "A client without a known key gets no answer.", keys.stranger_is_not_heard
    ),
    Check("own-key", K, "A client with a known key is answered.", keys.own_key_is_heard),
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
    OrderCheck("executed", "A FILLED order was executed.", Orders.order_is_executed),
    OrderCheck(
        "repeat",
        "The same order under the same id is executed once, and answered with the first outcome "
        "and `repeated`.",
        Orders.repeat_is_not_executed,
    ),
    OrderCheck(
        "changed",
        "A different order under a used id is REJECTED, whichever field differs.",
        Orders.change_is_refused,
    ),
    OrderCheck(
        "status",
        "REQUEST_STATUS tells the outcome that the reply to the order told.",
        Orders.status_is_told,
    ),
    OrderCheck(
        "integers",
        "Integers have up to 64 bits, and do not go through a double.",
        fields.integers_are_whole,
        A,
    ),
    OrderCheck(
        "refusal", "An order that cannot be executed is REJECTED.", fields.refusals_are_told
    ),
    OrderCheck(
        "login",
        "An order for another login, or another server, is not sent.",
        fields.other_accounts_are_refused,
    ),
    OrderCheck(
        "modify",
        "MODIFY sets both stops of a position; 0 removes a stop; a change to the same is DONE.",
        fields.stops_are_set,
    ),
    OrderCheck(
        "pending",
        "A limit or stop order is PLACED, and waits at its price in the list of orders, and so is "
        "a stop_limit order, if claimed; MODIFY_ORDER, if claimed, changes that price.",
        pending.pending_orders_wait,
    ),
    OrderCheck(
        "cancel",
        "CANCEL ends a pending order, and past_orders tell that it was canceled.",
        pending.cancelled_orders_end,
    ),
    OrderCheck(
        "close-by",
        "CLOSE_BY, if claimed, ends the smaller of two opposite positions, and leaves the rest of "
        "the larger one.",
        close_by.opposites_close_each_other,
    ),
    OrderCheck(
        "withdrawn",
        "in_doubt withdraws an order that never came, and the order is refused when it comes.",
        doubts.withdrawn_is_refused,
    ),
    OrderCheck(
        "covered",
        "`covered` is true for the record's own mark, and for no other.",
        doubts.marks_are_compared,
    ),
    OrderCheck(
        "claims",
        "Overlapping claims are REJECTED, and an order whose claim is not held is not sent.",
        claims.claims_exclude_each_other,
    ),
    OrderCheck(
        "fence",
        "Who claims, asks or orders with an older fencing token of a journal is refused.",
        claims.former_writer_is_refused,
    ),
    OrderCheck(
        "close-once",
        "A close that is sent twice closes once.",
        Orders.close_is_executed_once,
    ),
    OrderCheck(
        "changed-list",
        "After a close, the list from before the close is not UNCHANGED.",
        after_close.change_is_no_unchanged,
        A,
    ),
    OrderCheck(
        "closing-deals",
        "The deals of a closed position add up to 0 lots.",
        after_close.close_is_explained,
        A,
    ),
)
# Some gateways do not survive this check, so it runs after all positions are closed.
LAST_CHECKS = (
    Check(
        "noise",
        G,
        "Every request is answered by exactly one reply, whatever its bytes are.",
        readings.noise_is_answered,
    ),
)
RESTART_CHECKS = (
    RestartCheck(
        "restart",
        S,
        "After a restart, HELLO and SNAPSHOT tell another epoch.",
        restarts.epochs_are_new,
    ),
    RestartCheck(
        "durable",
        Grade.ONCE,
        "The record of requests is durable: no restart makes an order new.",
        restarts.record_is_durable,
    ),
)
ALL_CHECKS: tuple[Check | OrderCheck | RestartCheck, ...] = (
    *FIRST_CHECKS,
    *CHECKS,
    *ORDER_CHECKS,
    *RESTART_CHECKS,
    *LAST_CHECKS,
)
# The number of order checks that open the position; the other order checks need that position.
OPENING = 3


def examine(
    exam: Examination,
    endpoint: str,
    before: Noted | None = None,
    *,
    tell: Callable[[Finding], object] | None = None,
) -> Report:
    """Run all permitted checks, and return the report.

    Args:
        exam: the gateway under examination.
        endpoint: the gateway's address.
        before: the notes of a run before the gateway was restarted; without notes the restart
            checks are left out.
        tell: is told each finding of the checks as soon as it is made.

    Raises:
        TrueupError: the options allow orders, and the account may be real money.
    """
    orders = Orders(exam) if exam.options.trade and _may_trade(exam) else None
    left_open: tuple[int, ...] = ()
    # Whatever fails in between, positions that these checks opened are closed again.
    try:
        findings: list[Finding] = []
        for finding in _examined(exam, orders):
            findings.append(finding)
            if tell is not None:
                tell(finding)
        if before is not None:
            findings += _compared(exam, before, orders)
        noted = restarts.note(exam, orders)
    finally:
        if orders is not None:
            left_open = tuple(orders.clean_up())
    # Only a gateway that answers at all is sent noise.
    if all(finding.outcome is Outcome.HOLDS for finding in findings[: len(FIRST_CHECKS)]):
        findings += [_found(exam, check, check.make(exam)) for check in LAST_CHECKS]
    is_compared = before is not None
    grades = tuple(_graded(grade, exam, findings, is_compared=is_compared) for grade in Grade)
    return Report(
        endpoint,
        VERSION,
        exam.greeting.mechanism,
        exam.capabilities,
        grades,
        tuple(findings),
        left_open,
        noted,
    )


def _compared(exam: Examination, before: Noted, orders: Orders | None) -> Iterator[Finding]:
    for check in RESTART_CHECKS:
        if _claims(exam, check.grade):
            yield _found(exam, check, check.make(exam, before, orders))


def _may_trade(exam: Examination) -> bool:
    """Return whether this release can read the gateway's replies to orders."""
    is_heard = exam.greeting.is_zeromq and exam.first.fields is not None
    return is_heard and (not exam.claims("SNAPSHOT") or exam.version == VERSION)


def _examined(exam: Examination, orders: Orders | None) -> Iterator[Finding]:
    for number, check in enumerate(FIRST_CHECKS):
        finding = _found(exam, check, check.make(exam))
        yield finding
        # Without answers the other checks would each wait for a timeout, and say the same.
        if finding.outcome is not Outcome.HOLDS:
            for other in (*FIRST_CHECKS[number + 1 :], *_others(exam)):
                because = f"not asked: {finding.because}"
                yield Finding(other.name, other.grade, Outcome.UNSEEN, because, other.rule)
            return
    # If orders are allowed, the reading checks run while a position is open.
    opening, others = ORDER_CHECKS[:OPENING], ORDER_CHECKS[OPENING:]
    if orders is not None:
        yield from (_found(exam, check, check.make(orders)) for check in opening)
    yield from (_found(exam, check, check.make(exam)) for check in _others(exam))
    if orders is not None:
        mine = [c for c in others if c.grade is Grade.ONCE or _claims(exam, c.grade)]
        yield from (_found(exam, check, check.make(orders)) for check in mine)


def _others(exam: Examination) -> list[Check]:
    """Return the checks of the grades that the gateway claims."""
    return [check for check in CHECKS if _claims(exam, check.grade)]


def _claims(exam: Examination, grade: Grade) -> bool:
    if grade is Grade.KEYED:
        return exam.greeting.is_encrypted
    if grade is Grade.ONCE:
        return exam.claims(NAMES_ITS_RECORD)
    return grade is Grade.GUIDE or exam.claims("SNAPSHOT")


def _found(
    exam: Examination, check: Check | OrderCheck | RestartCheck, verdict: Verdict
) -> Finding:
    shown_by = verdict.shown_by or (exam.probe.said[-1] if exam.probe.said else None)
    return Finding(
        check.name,
        check.grade,
        verdict.outcome,
        verdict.because,
        check.rule,
        None if shown_by is None else shown(shown_by.sent),
        None if shown_by is None else shown(shown_by.raw),
        verdict.lines,
    )


def _graded(
    grade: Grade, exam: Examination, findings: list[Finding], *, is_compared: bool
) -> GradeRow:
    ours = [finding for finding in findings if finding.grade is grade]
    wrong = [finding for finding in ours if finding.outcome is Outcome.BROKEN]
    seen = [finding for finding in ours if finding.outcome is Outcome.HOLDS]
    # In this order: a grade that is not claimed is not failed, but a broken check is still shown.
    if not _claims(exam, grade):
        also = f"; and {wrong[0].check}: {wrong[0].because}" if wrong else ""
        return GradeRow(grade, Standing.NOT_CLAIMED, f"{_unclaimed(grade)}{also}")
    if wrong:
        return GradeRow(grade, Standing.NO, f"{wrong[0].check}: {wrong[0].because}")
    if grade is Grade.ONCE and exam.options.trade and not _may_trade(exam):
        return GradeRow(grade, Standing.NOT_TESTED, "no order was sent: see version")
    if grade is Grade.ONCE and not exam.options.trade:
        return GradeRow(grade, Standing.NOT_TESTED, "its checks place orders: give --trade")
    # A grade is given only for checks that held, never because nothing could be checked.
    if not seen or (grade is Grade.ONCE and not _all_decisive(seen)):
        unseen = (finding.because for finding in ours if finding.outcome is Outcome.UNSEEN)
        return GradeRow(grade, Standing.NOT_TESTED, next(unseen, "nothing could be seen"))
    because = f"{MEANINGS[grade]}{_not_looked_at(grade, ours, is_compared=is_compared)}"
    if not _has_seen_rows(grade, exam, seen):
        return GradeRow(grade, Standing.ON_EMPTY_LIST, because)
    return GradeRow(grade, Standing.YES, because)


def _not_looked_at(grade: Grade, findings: list[Finding], *, is_compared: bool) -> str:
    names = [finding.check for finding in findings if finding.outcome is Outcome.UNSEEN]
    if not is_compared and grade in (Grade.GAPS, Grade.ONCE):
        names.append("a restart (--restarted)")
    return f"; not seen: {', '.join(names)}" if names else ""


def _has_seen_rows(grade: Grade, exam: Examination, seen: list[Finding]) -> bool:
    if grade is Grade.GUIDE:
        return "rows" in {finding.check for finding in seen}
    return grade is not Grade.ATOMIC or exam.has_rows


def _all_decisive(seen: list[Finding]) -> bool:
    return {"executed", "repeat", "changed"} <= {finding.check for finding in seen}


def _unclaimed(grade: Grade) -> str:
    if grade is Grade.KEYED:
        return "every client that reaches the port is answered"
    if grade is Grade.ONCE:
        return f"it does not say {NAMES_ITS_RECORD}"
    return "it does not say SNAPSHOT"
