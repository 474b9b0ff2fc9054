"""The state of a bot as a person reads it."""

from __future__ import annotations

import msgspec

from trueup.observe.status_text import (
    BotStatus,
    DoubtRow,
    HeldRow,
    LotsRow,
    OverdueRow,
    PositionRow,
    RefusedRow,
    write_status,
)

QUIET = BotStatus(
    pid=4711,
    symbol="EURUSD",
    gateway="at tcp://127.0.0.1:5555",
    started="2026-01-05T14:00:00+00:00",
    now="2026-01-05T14:03:07+00:00",
    health="Everything agrees (checked 2 s ago).",
    policy="EURUSD, adopts all in scope",
    needs=[],
    entries_refused="",
    account="5000001@Simulated-Demo",
    checked="2026-01-05T14:03:05+00:00",
    age_sec=2.0,
    currency="USD",
    journal=".trueup/paper.db",
    stream="EURUSD",
)
LOUD = BotStatus(
    pid=4711,
    symbol="EURUSD",
    gateway="at tcp://127.0.0.1:5555",
    started="2026-01-05T14:00:00+00:00",
    now="2026-01-05T14:03:07+00:00",
    health="EURUSD held: 0.20 lots left the broker's list 4 s ago, deal not visible yet; "
    "everything else agrees (checked 2 s ago).",
    policy="EURUSD, adopts ask",
    needs=["Waiting for approval (`trueup plan`, then `trueup approve ID`): zombie-1f3a9c02"],
    entries_refused="refused: 0.20 lots left the list",
    restrictions=[
        RefusedRow("EURUSD", "0.20 lots left the list", "2026-01-05T14:03:01+00:00", "its deals"),
        RefusedRow("", "another account", "2026-01-05T14:03:01+00:00", "a login to 1@S"),
    ],
    holds=[HeldRow("zombie-1f3a9c02", "ask", "EURUSD", 5, "zombie waits", "trueup approve z")],
    in_doubt=[DoubtRow("ORD_1", "BUY", 0.1, "EURUSD", "no reply", "2026-01-05T14:02:00+00:00")],
    positions=[
        PositionRow(5, "EURUSD", "LONG", 0.1, 1.1, 1.05, 0.0, 7, -3.5),
        PositionRow(6, "EURUSD", "SHORT", 0.2, 1.2, 0.0, 0.0, 0, None),
    ],
    strategies=[LotsRow("EURUSD", 7, 0.1), LotsRow("EURUSD", None, -0.2)],
    overdue=[OverdueRow(9, "2026-01-05T14:02:07+00:00", "2026-01-05T14:03:10+00:00")],
    foreign=2,
)


def test_a_quiet_bot_takes_few_lines_and_says_that_all_agrees() -> None:
    assert write_status(QUIET).splitlines() == [
        "Bot        process 4711, trades EURUSD at tcp://127.0.0.1:5555",
        "Health     Everything agrees (checked 2 s ago).",
        "Entries    allowed",
        "Account    5000001@Simulated-Demo, realised 0.00 USD, as of 14:03:05 UTC",
        "Policy     EURUSD, adopts all in scope",
        "Journal    .trueup/paper.db, stream EURUSD",
        "Book       flat",
    ]


def test_what_needs_a_person_stands_before_everything_that_does_not() -> None:
    text = write_status(LOUD)
    assert text.index("NEEDS YOU") < text.index("Entries")
    for line in (
        "Entries    REFUSED, closing stays allowed",
        "           - in EURUSD since 14:03:01 UTC: 0.20 lots left the list",
        "             ends with: its deals",
        "           - in the whole account since 14:03:01 UTC: another account",
        "Account    not bound yet, realised 0.00, the broker was not seen yet",
        "Journal    none: it ends with the bot",
        "In doubt   ORD_1, BUY 0.10L EURUSD, since 14:02:00 UTC: no reply",
        "Book       5 EURUSD LONG 0.10L @ 1.1, SL 1.05, profit -3.50",
        "           6 EURUSD SHORT 0.20L @ 1.2",
        "Strategies EURUSD 0.10L, magic 7",
        "           EURUSD -0.20L, claimed by no strategy",
        "Foreign    2 at the broker, not ours, never touched",
    ):
        assert line in text.splitlines(), f"{line!r} in\n{text}"


def test_deals_that_are_overdue_are_named_with_when_they_are_asked_for_next() -> None:
    text = " ".join(write_status(LOUD).split())
    assert (
        "Waits for the deals of ticket 9, asked for since 14:02:07 UTC, next at 14:03:10 UTC"
        in text
    )


def test_nothing_is_wider_than_80_columns() -> None:
    assert max(map(len, write_status(LOUD).splitlines())) <= 80


def test_what_was_said_as_a_need_is_not_said_again_as_a_hold() -> None:
    row = HeldRow("", "unprotected", "EURUSD", 5, "Ticket 5 has no stop loss", "a stop loss")
    twice = msgspec.structs.replace(
        QUIET, holds=[row], needs=["Ticket 5 has no stop loss (until a stop loss)"]
    )
    assert write_status(twice).count("Ticket 5") == 1
