"""The check of claims: two writers never hold overlapping claims."""

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


def _claim(exam: Examination, run: str, *, release: bool = False, **scope: Any) -> str:
    named = {"run": run, "stream": exam.name, **scope}
    return exam.probe.ask({"action": "CLAIM", "scope": named, "release": release}).status or ""
