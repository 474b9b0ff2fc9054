"""Which messages follow from which statuses: one at the beginning, one at the end."""

from __future__ import annotations

import pytest

from tests.alerts.scene import (
    DEGRADED,
    HALTED,
    PERSON,
    SEC,
    START_NS,
    UNSEEN,
    Scene,
    finding,
    status_of,
)
from trueup.doors.alerts.conditions import Observation
from trueup.doors.alerts.history import KNOWN
from trueup.observe.status.status import State, Status


def test_a_condition_is_told_once_with_the_sentence_of_the_status_and_once_when_it_is_over() -> (
    None
):
    scene = Scene()
    (begun,) = scene.bad(finding("unseen", DEGRADED, UNSEEN))
    assert begun.title == ("retries by itself · 5000001@Simulated-Demo (demo), book a · trueup")
    lines = begun.body.splitlines()
    assert lines[:2] == [UNSEEN, "Entries, exits and stops work."]
    (key,) = begun.conditions
    assert lines[-1] == f"5000001@Simulated-Demo (demo), book a; condition {key}"
    for _ in range(100):
        scene.wait(1)
        assert scene.bad(finding("unseen", DEGRADED, UNSEEN)) == []
    scene.wait(1)
    (ended,) = scene.well()
    assert ended.conditions == (key,)
    assert ended.title.startswith("over · ")
    assert ended.body.splitlines() == [
        "Over: The gateway does not answer.",
        "It began at 14:00:00 UTC and ended at 14:01:41 UTC, after 101 s.",
        "Now: Both books are flat. Nothing is yours to do.",
        f"5000001@Simulated-Demo (demo), book a; condition {key}",
    ]
    assert scene.well() == []


def test_what_does_not_last_is_not_told() -> None:
    scene = Scene(after_sec=30)
    assert scene.bad(finding("silent")) == []
    scene.wait(29)
    assert scene.bad(finding("silent")) == []
    # Nobody knows whether it has ended before the thirty seconds were over.
    scene.wait(2)
    assert scene.well() == []
    scene.wait(60)
    scene.bad(finding("silent"))
    scene.wait(30)
    assert len(scene.bad(finding("silent"))) == 1


def test_a_bot_that_was_stopped_for_long_is_told_by_what_is_seen() -> None:
    """It is late for a moment only, although its last reading is an hour old."""
    scene = Scene(after_sec=30)
    late = finding("late", DEGRADED, since_ns=scene.now_ns - 3_600 * SEC)
    assert scene.bad(late) == []
    scene.wait(29)
    assert scene.well() == []
    scene.bad(late)
    scene.wait(30)
    (told,) = scene.bad(late)
    assert "Since 13:00:00 UTC." in told.body


def test_trouble_that_comes_and_goes_is_one_condition() -> None:
    scene = Scene(calm_sec=60)
    scene.bad(finding("unseen"))
    for _ in range(50):
        scene.wait(30)
        assert scene.well() == []
        scene.wait(30)
        assert scene.bad(finding("unseen")) == []
    scene.wait(10)
    scene.well()
    scene.wait(60)
    (ended,) = scene.well()
    assert ended.conditions == scene.told[0].conditions


def test_a_condition_that_gets_worse_is_told_again_and_never_when_it_gets_better() -> None:
    scene = Scene()
    scene.bad(finding("unseen", DEGRADED, UNSEEN))
    (rose,) = scene.bad(
        finding("unseen", PERSON, "The gateway does not answer. One action is yours.")
    )
    assert rose.title.startswith("needs you · ")
    assert rose.conditions == scene.told[0].conditions
    assert "it is worse now" in rose.body
    (halted,) = scene.bad(finding("unseen", HALTED))
    assert halted.level == "halted"
    assert scene.bad(finding("unseen", DEGRADED, UNSEEN)) == []


def test_a_level_leaves_out_what_is_less_bad() -> None:
    scene = Scene(least=PERSON)
    assert scene.bad(finding("unseen", DEGRADED, UNSEEN)) == []
    assert len(scene.bad(finding("unseen", PERSON))) == 1


def test_two_conditions_of_a_book_have_a_message_each() -> None:
    scene = Scene()
    first, second = scene.bad(finding("hold ask"), finding("unseen", DEGRADED, UNSEEN))
    assert first.conditions != second.conditions
    (ended,) = scene.bad(finding("unseen", DEGRADED, UNSEEN))
    assert ended.conditions == first.conditions


@pytest.mark.parametrize(
    ("unknowing", "kind"),
    [
        (status_of([finding("silent")], bot=False), "hold ask"),
        (status_of([finding("unreadable")], bot=False), "hold ask"),
        (status_of([finding("unreadable")], bot=False), "silent"),
        (status_of([finding("first", DEGRADED)], seen=False), "hold ask"),
        (status_of([finding("unseen", DEGRADED)], seen=False), "hold ask"),
        (status_of([finding("unseen", DEGRADED)]), "orders"),
    ],
)
def test_nothing_is_called_over_by_a_status_that_cannot_know(unknowing: Status, kind: str) -> None:
    """A dead bot sees no differences, and they are there as before."""
    scene = Scene()
    scene.bad(finding(kind))
    assert all("Over" not in one.body for one in scene.see(unknowing))
    told = scene.well()
    assert scene.told[0].conditions[0] in {key for one in told for key in one.conditions}


def test_nothing_begins_by_a_status_that_cannot_see_it() -> None:
    scene = Scene(after_sec=30)
    scene.bad(finding("late", DEGRADED))
    scene.wait(60)
    assert scene.see(status_of([finding("silent")], bot=False)) == []
    scene.wait(60)
    (told,) = scene.see(status_of([finding("silent")], bot=False))
    assert told.body.startswith("The silent is wrong.")


def test_a_bot_that_runs_again_is_over_before_it_has_read_the_broker() -> None:
    scene = Scene()
    scene.see(status_of([finding("silent")], bot=False))
    told = scene.see(status_of([finding("first", DEGRADED)], seen=False))
    assert [one.body.splitlines()[0] for one in told][-1] == "Over: The silent is wrong."


def test_what_began_and_ended_meanwhile_is_told_once_as_both() -> None:
    scene = Scene(after_sec=30)
    scene.well()
    doubt = finding("doubt", DEGRADED, "One order is in doubt. The bot retries by itself.")
    began_ns, ended_ns = scene.now_ns + 100 * SEC, scene.now_ns + 200 * SEC
    scene.wait(1_000)
    past = [
        Observation("a", began_ns, {"doubt": doubt}, KNOWN, is_dated=True),
        Observation("a", ended_ns, {}, KNOWN, is_dated=True),
    ]
    (told,) = scene.observe({"a": [*past, Observation("a", scene.now_ns, {})]})
    assert told.body.splitlines()[:2] == [
        "Over: One order is in doubt.",
        "It began at 14:01:40 UTC and ended at 14:03:20 UTC, after 100 s.",
    ]
    short = [Observation("a", began_ns, {"doubt": doubt}, KNOWN, is_dated=True)]
    short.append(Observation("a", began_ns + 29 * SEC, {}, KNOWN, is_dated=True))
    assert scene.observe({"a": [*short, Observation("a", scene.now_ns, {})]}) == []


def test_a_journal_says_nothing_about_what_only_a_bot_knows() -> None:
    scene = Scene()
    scene.bad(finding("unseen"))
    assert scene.observe({"a": [Observation("a", scene.now_ns, {}, KNOWN)]}) == []


def test_a_thousand_books_that_lose_one_gateway_are_one_message_and_one_end() -> None:
    scene = Scene()
    lost = [finding("unseen", DEGRADED, UNSEEN)]
    books = [f"book {number}" for number in range(1_000)]
    (begun,) = scene.see(*(status_of(lost, book=name) for name in books))
    assert len(begun.body.splitlines()) <= 22
    assert begun.body.splitlines()[-1].startswith("and 980 more: ")
    scene.wait(60)
    (ended,) = scene.see(*(status_of(book=name) for name in books))
    assert ended.level == "over"


def test_an_hour_has_at_most_twenty_messages_and_the_rest_comes_together() -> None:
    scene = Scene()
    for number in range(100):
        scene.wait(5)
        # Each condition begins when the one before is over.
        scene.bad(finding(f"kind {number}", DEGRADED))
    assert len(scene.told) == 21
    joined = [one for one in scene.told if "Told together" in one.body]
    assert len(joined) == 1
    for _ in range(20):
        scene.wait(601)
        scene.well()
    told = {key for one in scene.told for key in one.conditions}
    assert len(told) == 100
    assert scene.memory.held == ()


def test_what_needs_a_person_waits_two_minutes_at_most_in_a_flood() -> None:
    scene = Scene()
    for number in range(100):
        scene.wait(5)
        scene.bad(finding(f"kind {number}", DEGRADED))
    began_ns = scene.now_ns
    halted = finding("halted", HALTED)
    while not any("halted" in one.level for one in scene.bad(halted)):
        scene.wait(5)
    assert scene.now_ns - began_ns <= 120 * SEC


def test_a_clock_that_is_set_back_keeps_nothing_open() -> None:
    scene = Scene(calm_sec=60)
    scene.bad(finding("unseen"))
    scene.well()
    scene.wait(-3_600)
    assert [one.level for one in scene.well()] == ["over"]


def test_a_clock_that_is_set_back_delays_no_message() -> None:
    scene = Scene(after_sec=30)
    scene.wait(7_200)
    assert scene.bad(finding("books")) == []
    scene.wait(-1)
    assert scene.bad(finding("books")) == []
    scene.wait(-3_600)
    assert len(scene.bad(finding("books"))) == 1


def test_a_bot_of_an_earlier_release_is_told_by_its_sentence() -> None:
    scene = Scene()
    old = Status(
        state=State.NEEDS_PERSON,
        sentence="Something differs. One action is yours.",
        works="",
        basis="",
        needs=["Look at it."],
        source="bot",
        now="2026-01-05T14:00:00+00:00",
        checked="2026-01-05T14:00:00+00:00",
        stream="a",
    )
    (told,) = scene.see(old)
    assert told.body.startswith("Something differs. One action is yours.\nTo do: Look at it.")
    assert scene.now_ns == START_NS
