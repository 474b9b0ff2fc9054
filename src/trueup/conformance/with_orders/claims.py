"""The checks of claims: no two writers hold what overlaps, and a former writer sends nothing."""

from __future__ import annotations

from typing import Any

from trueup.conformance.examination.examination import Examination
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.conformance.with_orders.fields import barred
from trueup.conformance.with_orders.orders import Orders
from trueup.conformance.with_orders.trading import NO_DOUBLE_HOLDS

# No strategy is likely to have these.
MAGIC, OTHER = NO_DOUBLE_HOLDS, NO_DOUBLE_HOLDS - 2


def claims_exclude_each_other(orders: Orders) -> Verdict:
    """Overlapping claims are REJECTED, disjoint claims granted, released claims free."""
    exam = orders.exam
    if not exam.claims("CLAIM"):
        return unseen("CLAIM is not claimed")
    why = barred(orders)
    if why:
        return unseen(why)
    first, second = exam.new_name(), exam.new_name()
    try:
        return _exclusive(orders, first, second)
    finally:
        for run in (first, second):
            _claim(exam, run, release=True)


def _exclusive(orders: Orders, first: str, second: str) -> Verdict:
    exam = orders.exam
    steps: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("a claim", first, {"magics": (MAGIC,)}, "SUCCESS"),
        ("the same claim again", first, {"magics": (MAGIC,)}, "SUCCESS"),
        ("a claim of the same magic number", second, {"magics": (MAGIC,)}, "REJECTED"),
        ("a claim of one symbol", second, {"symbols": (orders.symbol,)}, "REJECTED"),
        ("a claim of the whole account", second, {}, "REJECTED"),
        ("a claim of another magic number", second, {"magics": (OTHER,)}, "SUCCESS"),
        ("a wider claim that overlaps", second, {"magics": (MAGIC, OTHER)}, "REJECTED"),
        ("the release of a claim", first, {"release": True}, "SUCCESS"),
        ("a claim of what was released", second, {"magics": (MAGIC, OTHER)}, "SUCCESS"),
    )
    for number, (what, run, asked, wanted) in enumerate(steps):
        status = _claim(exam, run, **asked)
        # A bot that claims the whole account excludes the examiner as well.
        if number == 0 and status == "REJECTED":
            return unseen(f"another writer has a claim: {exam.probe.said[-1].error}")
        if status != wanted:
            return broken(f"{what} got {status or 'no status'}, not {wanted}")
    # The first writer's orders must not go out any more: it has no claim, and believes it has.
    order = orders.new_order("BUY", orders.volume) | {"magic": MAGIC, "claim": first}
    trouble = orders.objection(order, "an order with a claim that is not held")
    if trouble:
        return broken(trouble, orders.latest_order())
    return holds("overlapping claims were rejected, and an order without its claim")


def former_writer_is_refused(orders: Orders) -> Verdict:
    """Whatever carries an older fencing token of a journal than was seen before is refused."""
    exam = orders.exam
    if not exam.claims("CLAIM"):
        return unseen("CLAIM is not claimed")
    why = barred(orders)
    if why:
        return unseen(why)
    run = exam.new_name()
    try:
        return _fenced(orders, run, journal=exam.new_name())
    finally:
        _claim(exam, run, release=True)


def _fenced(orders: Orders, run: str, journal: str) -> Verdict:
    exam = orders.exam

    def claim(token: int) -> tuple[str, object]:
        scope = {"run": run, "stream": exam.name, "magics": (MAGIC,)}
        request = {"action": "CLAIM", "scope": scope, "journal": journal, "token": token}
        reply = exam.probe.ask(request)
        return reply.status or "no status", (reply.fields or {}).get("token", 0)

    status, recorded = claim(1)
    if status == "REJECTED":
        return unseen(f"another writer has a claim: {exam.probe.said[-1].error}")
    if not recorded:
        return unseen("no fencing tokens are recorded")
    for token, wanted in ((1, ("SUCCESS", 1)), (2, ("SUCCESS", 2)), (1, ("REJECTED", 2))):
        found = claim(token)
        if found != wanted:
            return broken(f"a claim with token {token} got {found}, not {wanted}")
    question = {"action": "SNAPSHOT", "session": exam.name, "id": 1}
    reply = exam.probe.ask({**question, "journal": journal, "token": 1})
    if reply.status != "FAILED":
        return broken(f"a question with an older token got {reply.status or 'no status'}")
    order = orders.new_order("BUY", orders.volume)
    former = {"magic": MAGIC, "claim": run, "journal": journal, "token": 1}
    trouble = orders.objection(order | former, "an order with an older token")
    if trouble:
        return broken(trouble, orders.latest_order())
    return holds("a claim, a question and an order with an older token were refused")


def _claim(exam: Examination, run: str, *, release: bool = False, **scope: Any) -> str:
    named = {"run": run, "stream": exam.name, **scope}
    return exam.probe.ask({"action": "CLAIM", "scope": named, "release": release}).status or ""
