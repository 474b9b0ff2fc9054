"""Hints on the wire, and the ear that turns them into reasons to ask."""

from __future__ import annotations

import pytest

from trueup.protocol.hints import Hint, HintTracker, capability, encode_hint, hints_port

MS = 1_000_000
WITHIN_MS = 1_000


def hint(number: int, digest: str = "same", boot: str = "boot") -> bytes:
    return encode_hint(Hint(number, boot, digest, WITHIN_MS))


def hears(ear: HintTracker, *messages: bytes, now_ms: int = 0) -> str:
    return ear.hear(messages, "same", now_ms * MS)


def test_a_port_is_named_among_the_capabilities() -> None:
    assert hints_port(("SNAPSHOT", capability(5556), "TICK")) == 5556


@pytest.mark.parametrize(
    "said", ["HINTS", "HINTS ", "HINTS x", "HINTS 0", "HINTS 65536", "HINTS -1", "HINTS ٣", "5556"]
)
def test_what_names_no_port_is_no_capability(said: str) -> None:
    assert hints_port(("SNAPSHOT", said)) == 0


def test_a_hint_that_says_what_we_know_is_no_reason() -> None:
    assert hears(HintTracker(), hint(1), hint(2), hint(3)) == ""


def test_another_digest_is_a_reason_until_somebody_asks() -> None:
    ear = HintTracker()
    assert hears(ear, hint(1, "other")) == "something changed"
    assert hears(ear) == "something changed"
    ear.asked()
    assert hears(ear) == ""


def test_a_hint_that_says_it_again_after_a_reading_that_agrees_is_no_reason() -> None:
    ear = HintTracker()
    hears(ear, hint(1, "other"))
    ear.asked()
    assert ear.hear([hint(2, "other")], "other", 0) == ""


@pytest.mark.parametrize("number", [1, 2, 4, 100])
def test_a_number_that_does_not_follow_is_a_reason(number: int) -> None:
    ear = HintTracker()
    hears(ear, hint(1), hint(2))
    assert hears(ear, hint(number)) == "hints were lost"


def test_a_restart_is_a_reason() -> None:
    ear = HintTracker()
    hears(ear, hint(7))
    assert hears(ear, hint(1, boot="boot2")) == "the gateway restarted"


def test_silence_is_a_reason_once_and_so_is_its_end() -> None:
    ear = HintTracker()
    hears(ear, hint(1))
    assert hears(ear, now_ms=3 * WITHIN_MS) == ""
    assert hears(ear, now_ms=3 * WITHIN_MS + 1) == "no hint came for 3.0 s"
    ear.asked()
    assert hears(ear, now_ms=100 * WITHIN_MS) == ""
    assert hears(ear, hint(2), now_ms=100 * WITHIN_MS) == "hints came back"


def test_a_gateway_that_never_hinted_is_not_silent() -> None:
    assert hears(HintTracker(), now_ms=10**9) == ""


@pytest.mark.parametrize(
    "mad", [b"", b"\xff", b"{}", b"[" * 50_000, b'{"hint":"1","boot":1}', hint(1)[:-1]]
)
def test_what_is_no_hint_is_passed_over(mad: bytes) -> None:
    ear = HintTracker()
    assert hears(ear, hint(1), mad, hint(2)) == ""
