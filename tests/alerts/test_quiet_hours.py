"""Quiet hours: what wakes a person, what waits, and the digest; also when the clocks change."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from tests.alerts.scene import DEGRADED, HALTED, PERSON, SEC, UNSEEN, Scene, finding
from trueup.doors.alerts.quiet import QuietHours, quiet_hours

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = quiet_hours("22:00-07:00", BERLIN)


def at(text: str) -> int:
    """A moment in UTC, as nanoseconds."""
    return round(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) * SEC


@pytest.mark.parametrize(
    ("moment", "is_quiet"),
    [
        ("2026-01-05 20:59", False),
        ("2026-01-05 21:00", True),
        ("2026-01-06 05:59", True),
        ("2026-01-06 06:00", False),
        # In summer time the same local hours are an hour earlier in UTC.
        ("2026-07-05 20:00", True),
        ("2026-07-06 05:00", False),
    ],
)
def test_hours_over_midnight_follow_the_zone(moment: str, is_quiet: bool) -> None:
    assert NIGHT.has(at(moment)) is is_quiet


def test_hours_in_which_the_clock_goes_forward_end_although_their_end_is_skipped() -> None:
    """2026-03-29 in Berlin: 02:00 becomes 03:00, at 01:00 UTC."""
    hours = quiet_hours("23:00-02:30", BERLIN)
    assert hours.has(at("2026-03-29 00:59"))
    assert not hours.has(at("2026-03-29 01:00"))


def test_hours_in_which_the_clock_goes_back_are_an_hour_longer() -> None:
    """2026-10-25 in Berlin: 03:00 becomes 02:00, at 01:00 UTC."""
    assert NIGHT.has(at("2026-10-25 05:59"))
    assert not NIGHT.has(at("2026-10-25 06:00"))
    length = sum(NIGHT.has(at("2026-10-24 12:00") + minute * 60 * SEC) for minute in range(1_440))
    assert length == 10 * 60


def test_hours_within_a_day() -> None:
    noon = quiet_hours("12:00-13:00", ZoneInfo("UTC"))
    assert (noon.has(at("2026-01-05 12:30")), noon.has(at("2026-01-05 13:00"))) == (True, False)


@pytest.mark.parametrize("text", ["", "22:00", "24:00-07:00", "22:00-22:00", "22-7", "a"])
def test_what_is_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hours|two times"):
        quiet_hours(text, BERLIN)


def scene_at(moment: str, quiet: QuietHours | None = NIGHT) -> Scene:
    scene = Scene(quiet=quiet)
    scene.now_ns = at(moment)
    return scene


@pytest.mark.parametrize("state", [PERSON, HALTED])
def test_what_needs_a_person_is_told_at_night_and_its_end_too(state) -> None:  # type: ignore[no-untyped-def]
    scene = scene_at("2026-01-06 01:00")
    assert len(scene.bad(finding("silent", state))) == 1
    scene.wait(60)
    assert [one.level for one in scene.well()] == ["over"]


def test_the_rest_is_told_together_in_the_morning() -> None:
    scene = scene_at("2026-01-06 01:00")
    lasting = finding("late", DEGRADED, "The last reading is too old. The bot retries by itself.")
    assert scene.bad(finding("unseen", DEGRADED, UNSEEN), lasting) == []
    scene.wait(600)
    assert scene.bad(lasting) == []
    scene.now_ns = at("2026-01-06 05:59")
    assert scene.bad(lasting) == []
    scene.wait(60)
    (digest,) = scene.bad(lasting)
    head, *lines = digest.body.splitlines()
    assert head == "In the quiet hours, 22:00-07:00 Europe/Berlin:"
    assert [line.partition(": ")[2] for line in lines] == [
        "The last reading is too old. The bot retries by itself. Since 01:00:00 UTC.",
        "Over: The gateway does not answer. From 01:00:00 UTC to 01:10:00 UTC.",
    ]
    assert all(line[:8] in digest.conditions for line in lines)
    assert scene.bad(lasting) == []


def test_what_waits_and_gets_worse_wakes_and_is_not_in_the_digest() -> None:
    scene = scene_at("2026-01-06 01:00")
    assert scene.bad(finding("unseen", DEGRADED, UNSEEN)) == []
    assert [one.level for one in scene.bad(finding("unseen", PERSON))] == ["needs_person"]
    scene.now_ns = at("2026-01-06 06:00")
    assert scene.bad(finding("unseen", PERSON)) == []


def test_a_quiet_night_has_no_digest() -> None:
    scene = scene_at("2026-01-06 01:00")
    scene.well()
    scene.now_ns = at("2026-01-06 06:00")
    assert scene.well() == []


def test_what_needs_a_person_and_is_told_together_at_night_leaves_the_rest_for_the_morning() -> (
    None
):
    scene = scene_at("2026-01-06 01:00")
    scene.policy = scene.policy._replace(hourly=1)
    late = finding("late", DEGRADED, "The last reading is too old. The bot retries by itself.")
    assert scene.bad(late) == []
    first, second = finding("silent"), finding("journal")
    assert [one.title for one in scene.bad(late, first, second)][1:] == [
        "needs you · 1 condition · trueup"
    ]
    scene.now_ns = at("2026-01-06 06:00")
    (digest,) = scene.bad(late, first, second)
    assert [line.partition(": ")[2] for line in digest.body.splitlines()[1:]] == [
        "The last reading is too old. The bot retries by itself. Since 01:00:00 UTC."
    ]


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    scene = scene_at("2026-01-06 12:00")
    scene.policy = scene.policy._replace(hourly=1)
    assert len(scene.bad(finding("silent"))) == 1
    scene.wait(-3 * 86_400)
    (told,) = scene.bad(finding("silent"), finding("journal"))
    assert told.title.startswith("needs you · 5000001@Simulated-Demo")
