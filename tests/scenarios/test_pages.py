"""The pages about reconciliation say what the code does, and name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trueup.core.account.health import health
from trueup.core.account.trust import LOOK_AGAIN, Reason
from trueup.core.holds import Hold, HoldKind

ROOT = Path(__file__).resolve().parents[2]
CONCEPTS = ROOT / "docs" / "concepts"
CANNOT = (CONCEPTS / "what-cannot-happen.md").read_text(encoding="utf-8")
RECONCILIATION = (CONCEPTS / "reconciliation.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests/\w+/)?test_\w+\.py)::(test_\w+)`", CANNOT)))
OWN = "## What trueup did itself"
OWN_INCIDENTS = 5
# How many reports each group of the collected ones has.
REPORTS = (11, 13, 11, 5, 4)


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading."""
    part = text.partition(heading)[2].partition("\n| --- ")[2].partition("\n")[2]
    table = part.partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_the_page_names_exists(file: str, test: str) -> None:
    place = ROOT / (file if "/" in file else f"tests/scenarios/{file}")
    source = place.read_text(encoding="utf-8")
    assert f"def {test}(" in source


def test_every_report_has_a_row_with_its_reference_and_its_test() -> None:
    headings = [one for one in re.findall(r"^## .*$", CANNOT, re.MULTILINE) if one != OWN]
    tables = [rows(CANNOT, heading) for heading in headings]
    assert tuple(map(len, tables)) == REPORTS
    for row in (row for table in tables for row in table):
        assert len(row) == 4
        assert re.search(r"`[\w.-]+/[\w.-]+#\d+`", row[1]), row
        assert "::test_" in row[3], row


def test_every_incident_of_our_own_has_its_cause_its_control_and_its_test() -> None:
    incidents = rows(CANNOT, OWN)
    assert len(incidents) == OWN_INCIDENTS
    for row in incidents:
        assert len(row) == 4
        assert all(row), row
        assert "::test_" in row[3], row


def test_the_trust_table_has_every_reason_in_the_order_of_the_code() -> None:
    table = rows(RECONCILIATION, "## Conditions for a believed reading")
    assert [row[0] for row in table] == [reason.value for reason in Reason]


def test_the_trust_table_says_after_which_reasons_two_readings_must_agree() -> None:
    table = rows(RECONCILIATION, "## Conditions for a believed reading")
    twice = {row[0] for row in table if row[3] == "yes"}
    assert twice == {reason.value for reason in {*LOOK_AGAIN, Reason.UNREADABLE}}


def test_the_sentence_in_the_page_is_the_one_that_is_said() -> None:
    hold = Hold(
        "EURUSD",
        "0.20 lots (ticket 100001) left the broker's list",
        "",
        100001,
        HoldKind.MISSING,
        why="deal not visible yet",
        since_ns=1_000_000_000,
    )
    assert health(None, [hold], 3_000_000_000, 5_000_000_000) in RECONCILIATION
