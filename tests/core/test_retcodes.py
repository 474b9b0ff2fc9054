from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.retcodes import (
    LAST_ERRORS,
    RETCODES,
    Code,
    Effect,
    classify_last_error,
    classify_retcode,
)

API: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[1] / "data" / "mt5_api.json").read_text(encoding="utf-8")
)
SERVER: dict[int, dict[str, Any]] = {int(n): facts for n, facts in API["retcodes"].items()}
LOCAL: dict[int, dict[str, Any]] = {int(n): facts for n, facts in API["last_error_codes"].items()}

# What the platform's classes mean for us, by the first word of the class.
SERVER_EFFECTS = {
    "executed": Effect.DONE,
    "executed_partial": Effect.DONE_PART,
    "accepted_pending": Effect.PLACED,
    "noop_already": Effect.NOTHING_TO_DO,
    "not_executed": Effect.REFUSED,
    "not_executed_reread": Effect.REFUSED_STALE,
    "unknown": Effect.UNKNOWN,
}
LOCAL_EFFECTS = {
    "ok": Effect.UNKNOWN,  # success is said and no result is given: nobody knows
    "not_executed": Effect.REFUSED,
    "unknown": Effect.UNKNOWN,
    "not_applicable_to_order_send": Effect.UNKNOWN,
}
SAYS_NOTHING_HAPPENED = {Effect.REFUSED, Effect.REFUSED_STALE, Effect.NOTHING_TO_DO}


@pytest.mark.parametrize("number", SERVER)
def test_every_return_code_of_the_platform_has_its_class(number: int) -> None:
    code = classify_retcode(number)
    assert number in RETCODES
    assert f"TRADE_RETCODE_{code.name}" == SERVER[number]["name"]
    assert code.effect is SERVER_EFFECTS[SERVER[number]["class"]]
    assert code.words


@pytest.mark.parametrize("number", LOCAL)
def test_every_last_error_of_the_module_has_its_class(number: int) -> None:
    effect = LOCAL_EFFECTS[LOCAL[number]["class_for_order_send_None"].split(" ")[0]]
    code = classify_last_error(number)
    assert code.effect is effect
    assert effect is Effect.UNKNOWN or code.name == LOCAL[number]["name"]


def test_the_tables_have_no_code_that_the_platform_has_not() -> None:
    assert set(RETCODES) == set(SERVER)
    assert set(LAST_ERRORS) <= set(LOCAL)


def test_a_code_that_is_not_known_is_told_by_its_number() -> None:
    """It is all that a person has to look the code up with."""
    assert classify_retcode(10099) == Code("10099", Effect.UNKNOWN, "a code not known")
    assert classify_last_error(-77) == Code("-77", Effect.UNKNOWN, "a failure not known")


@given(st.integers().filter(lambda number: number not in SERVER))
def test_a_return_code_nobody_knows_is_never_a_refusal(number: int) -> None:
    assert classify_retcode(number).effect is Effect.UNKNOWN


@given(st.integers().filter(lambda number: number not in LOCAL))
def test_a_last_error_nobody_knows_is_never_a_refusal(number: int) -> None:
    assert classify_last_error(number).effect is Effect.UNKNOWN


@pytest.mark.parametrize("number", [10008, 10009, 10010, 10011, 10012, 10031])
def test_what_may_have_been_executed_never_reads_as_nothing_happened(number: int) -> None:
    assert classify_retcode(number).effect not in SAYS_NOTHING_HAPPENED
