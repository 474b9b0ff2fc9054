"""Why a gateway cannot read its terminal, as its reply says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trueup.core.account.trust import NOT_CONNECTED, Reason, Unknown
from trueup.protocol.guide import decode_positions
from trueup.protocol.snapshot import decode_snapshot


def readings_of(**fields: Any) -> list[Unknown]:
    """What a client makes of a failed GET_POSITIONS, and of a failed SNAPSHOT."""
    raw = json.dumps({"status": "FAILED", "positions": [], **fields}).encode()
    found = [decode_positions(raw), decode_snapshot(raw, 1)]
    assert all(isinstance(reading, Unknown) for reading in found)
    return [reading for reading in found if isinstance(reading, Unknown)]


def test_a_gateway_that_names_the_cause_is_not_called_offline() -> None:
    for reading in readings_of(cause="terminal", error="positions_get failed: (-1, 'x')"):
        assert reading.reason is Reason.UNREADABLE
        assert reading.sentence == (
            "The terminal could not be read: positions_get failed: (-1, 'x')"
        )
        assert reading.until == "a terminal that can be read"


def test_no_link_is_the_reason_that_a_snapshot_without_link_gets() -> None:
    words = "the terminal has no link to its trade server"
    assert readings_of(cause="no link", error=words) == [NOT_CONNECTED, NOT_CONNECTED]


def test_another_account_is_a_wrong_account_which_does_not_heal_by_waiting() -> None:
    words = "account 5000002 is logged in, and this gateway serves 5000001 alone"
    for reading in readings_of(cause="other account", error=words):
        assert reading.reason is Reason.WRONG_ACCOUNT
        assert reading.sentence == (
            "Account 5000002 is logged in, and this gateway serves 5000001 alone"
        )
        assert reading.until == "a login to the account that the gateway serves"


def test_a_cause_of_a_later_release_says_what_the_error_says() -> None:
    for reading in readings_of(cause="moonlight", error="it shines"):
        assert reading.sentence == "The terminal could not be read: it shines"
        assert reading.reason is Reason.UNREADABLE


@pytest.mark.parametrize("cause", [None, 5, [], True])
def test_a_cause_that_is_no_text_is_none(cause: object) -> None:
    of_list, of_snapshot = readings_of(cause=cause, error="no link")
    assert of_list.sentence.startswith("Gateway offline - no usable reading: ")
    assert of_snapshot.sentence == "The terminal could not be read: no link"
