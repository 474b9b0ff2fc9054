"""The state of a bot as a person reads it."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.observe.status.status import (
    BookRow,
    Decision,
    EventRow,
    FillRow,
    ForeignRow,
    Held,
    InDoubt,
    LinkRow,
    LotsRow,
    Money,
    OverdueRow,
    PriceRow,
    RefusedRow,
    Side,
    State,
    Status,
    Verdict,
    nothing_here,
)
from trueup.observe.status_text import write_status

NOW = "2026-01-05T14:03:07.000+00:00"
LINKS = [
    LinkRow(name=name, works=True, words="fine", at=NOW, age_sec=0.0)
    for name in ("bot", "gateway", "terminal", "journal")
]
QUIET = Status(
    state=State.AGREES,
    sentence="Both books are flat. Nothing is yours to do.",
    works="Entries, exits and stops work.",
    basis="The bot answered at 14:03:07 UTC; the broker was asked at 14:03:05 UTC.",
    source="bot",
    now=NOW,
    pid=4711,
    symbol="EURUSD",
    gateway="at tcp://127.0.0.1:5555",
    started="2026-01-05T14:00:00+00:00",
    account="5000001@Simulated-Demo",
    trade_mode="demo",
    checked="2026-01-05T14:03:05.000+00:00",
    age_sec=2.0,
    scope="EURUSD, adopts all in scope",
    journal=".trueup/paper.db",
    stream="EURUSD",
    links=LINKS,
    money=Money(currency="USD", digits=2, balance=10_000.0, equity=10_000.0),
)
LOUD = msgspec.structs.replace(
    QUIET,
    state=State.NEEDS_PERSON,
    sentence="The books differ by one position, and one order is in doubt. One decision is yours.",
    works="Entries in EURUSD wait; exits and stops work.",
    since="2026-01-05T13:54:07.000+00:00",
    needs=["Waiting for approval: zombie-1f3a9c02", "Look at the disk."],
    to_decide=[
        Decision(
            id="zombie-1f3a9c02",
            what="Position 81123 is at the broker and not in the book: SHORT 0.30L @ 1.07541",
            symbol="EURUSD",
            ticket=81123,
            opened="2026-01-05 13:50:58 UTC, by hand on the phone",
            protection="no stop loss, no take profit",
            if_approved="the book adopts it",
            if_left="it is not traded",
        )
    ],
    held=[Held(kind="settling", symbol="EURUSD", ticket=5, reason="it settles", until="soon")],
    in_doubt=[
        InDoubt(
            order_id="ORD_1",
            action="BUY",
            lots=0.1,
            symbol="EURUSD",
            key="monday",
            since="2026-01-05T14:02:00.000+00:00",
            error="no reply",
            evidence="it has no trace",
            next_look="2026-01-05T14:03:10.000+00:00",
            decided="by a trace at the broker",
        )
    ],
    refused=[
        RefusedRow("EURUSD", "0.20 lots left", "2026-01-05T14:03:01.000+00:00", "its deals"),
        RefusedRow("", "the day's loss", None, "the reset", by_limit=True),
    ],
    books=[
        BookRow(
            ticket=81123,
            identifier=81123,
            symbol="EURUSD",
            ours=None,
            broker=Side("SHORT", 0.3, 1.07541, 1.09),
            verdict=Verdict.ONLY_BROKER,
            profit=-3.5,
            price=1.0766,
        ),
        BookRow(
            ticket=6,
            identifier=6,
            symbol="EURUSD",
            ours=Side("LONG", 0.2, 1.2),
            broker=Side("LONG", 0.1, 1.2),
            verdict=Verdict.DIFFERS,
            fields=["volume"],
            profit=0.0,
        ),
        BookRow(
            ticket=7,
            identifier=7,
            symbol="XAUUSD",
            ours=Side("LONG", 0.2, 1.2),
            broker=Side("LONG", 0.2, 1.2),
            verdict=Verdict.AGREES,
            profit=12.0,
            price=1.3,
        ),
    ],
    foreign=7,
    foreign_rows=[
        ForeignRow(ticket=90 + n, symbol="GBPUSD", row=Side("LONG", 1.0, 1.3)) for n in range(7)
    ],
    fills=[
        FillRow(
            at="2026-01-04T23:59:59.000+00:00",
            order_id="ORD_0",
            action="SELL",
            symbol="EURUSD",
            lots=0.1,
            price=1.1,
            ticket=44,
        )
    ],
    prices=[
        PriceRow(
            symbol="EURUSD",
            bid=1.0765,
            ask=1.0766,
            at="2026-01-05T12:03:06.000+00:00",
            age_sec=7_201.0,
            trouble="the market is closed",
        )
    ],
    strategies=[LotsRow("EURUSD", 7, 0.1), LotsRow("EURUSD", None, -0.2)],
    overdue=[
        OverdueRow(9, "2026-01-05T14:02:07.000+00:00", "2026-01-05T14:03:10.000+00:00"),
    ],
    links=[*LINKS[:3], LinkRow(name="journal", works=False, words="the disk is full")],
    events=[
        EventRow(
            at="2026-01-05T14:02:00.000+00:00",
            action="IN_DOUBT",
            ticket=None,
            details="ORD_1 (BUY 0.1L EURUSD): no reply; may have been executed, profit -123.45",
        )
    ],
    neighbours=["stream two counts EURUSD too"],
)


def test_an_event_is_one_line_whatever_a_person_wrote() -> None:
    at, said = "2026-01-05T14:02:00+00:00", "x\ny allows closes (a\nb)"
    event = EventRow(at=at, action="PERSON", ticket=None, details=said)
    text = write_status(msgspec.structs.replace(QUIET, events=[event]))
    assert "Last       14:02:00 PERSON x y allows closes (a b)" in text.splitlines()


def test_a_quiet_bot_takes_few_lines_and_begins_with_its_sentence() -> None:
    assert write_status(QUIET).splitlines() == [
        "Both books are flat. Nothing is yours to do.",
        "Account    5000001@Simulated-Demo (demo)",
        "Works      Entries, exits and stops work.",
        "Books      flat; the broker's side is of 14:03:05 UTC (2 s)",
        "Money      balance 10000.00, equity 10000.00, realised 0.00 USD",
        "Links      all work: bot, gateway, terminal, journal",
        "Scope      process 4711, EURUSD, adopts all in scope; .trueup/paper.db, stream",
        "           EURUSD",
    ]


def test_a_loud_bot_tells_each_thing_once_in_order_of_urgency() -> None:
    text = write_status(LOUD)
    for line in (
        "Account    5000001@Simulated-Demo (demo), since 13:54:07 UTC (9 min)",
        "Works      Entries in EURUSD wait; exits and stops work.",
        "NEEDS YOU  Look at the disk.",
        "           opened: 2026-01-05 13:50:58 UTC, by hand on the phone",
        "           yes, `trueup approve zombie-1f3a9c02`: the book adopts it",
        "           no answer: it is not traded",
        "In doubt   BUY 0.10L EURUSD (ORD_1, key 'monday'), since 14:02:00 UTC (67 s): no",
        "           so far: it has no trace",
        "           next look 14:03:10 UTC; decided by a trace at the broker",
        "Entries    REFUSED in EURUSD since 14:03:01 UTC (6 s): 0.20 lots left",
        "Limit      REFUSED in the whole account: the day's loss",
        "Held       EURUSD: it settles",
        "  81123  EURUSD  only at the broker",
        "      ours    none",
        "      broker  SHORT 0.30 @ 1.07541  SL 1.09  now 1.0766  profit -3.50",
        "  6  EURUSD  differs: volume",
        "      ours    LONG 0.20 @ 1.2",
        "      broker  LONG 0.10 @ 1.2  profit +0.00",
        "  7  XAUUSD  LONG 0.20 @ 1.2  now 1.3  profit +12.00",
        "Foreign    7 at the broker, not ours, never touched",
        "  90  GBPUSD  LONG 1.00 @ 1.3",
        "  and 2 more",
        "Price      EURUSD 1.0765 / 1.0766, OLD, of 12:03:06 UTC (2 h): the market is",
        "Fills      2026-01-04 23:59:59 UTC: SELL 0.10L EURUSD @ 1.1, ticket 44",
        "Strategies EURUSD 0.10L, magic 7",
        "           EURUSD -0.20L, claimed by no strategy",
        "Links      journal  DOWN the disk is full",
        "           ok: bot, gateway, terminal",
        "Neighbour  stream two counts EURUSD too",
    ):
        assert line in text.splitlines(), f"{line!r} in\n{text}"
    assert text.startswith("The books differ by one position, and one order is in doubt.")
    # A decision is told with its consequences, and not again as a need.
    assert text.count("zombie-1f3a9c02") == 1
    labels = ("NEEDS YOU", "To decide", "In doubt", "Entries", "Held", "Books", "Money", "Links")
    places = [text.index(f"\n{label}") for label in labels]
    assert places == sorted(places)


def test_one_cause_is_told_once() -> None:
    why = "Gateway offline - it gave no reply"
    refused = RefusedRow("", why, NOW, "a gateway that answers")
    doubt = RefusedRow("EURUSD", "Order in doubt: BUY 0.10L EURUSD (ORD_1)", NOW, "a sync")
    status = msgspec.structs.replace(
        LOUD,
        state=State.DEGRADED,
        detail=f"{why}. This ends with a gateway that answers",
        refused=[refused, doubt],
        needs=[],
        prices=[PriceRow(symbol="EURUSD", bid=1.1, ask=1.2, at=NOW, trouble="no connection")],
        links=[LinkRow(name="gateway", works=False, words=why, at=NOW)],
    )
    text = write_status(status)
    assert text.count(why) == 1
    assert "Entries    REFUSED" not in text
    assert "gateway  DOWN see above, 14:03:07 UTC (0 s)" in text
    assert "no connection" not in text


def test_an_event_is_one_line_and_no_number_in_it_is_cut() -> None:
    (line,) = [line for line in write_status(LOUD, 80).splitlines() if line.startswith("Last")]
    assert line.endswith("IN_DOUBT ORD_1 (BUY 0.1L EURUSD): no reply; may have ...")


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_loses_neither_the_broker_s_price_nor_the_profit(width: int) -> None:
    text = write_status(LOUD, width)
    assert max(map(len, text.splitlines())) <= width
    for fact in ("SHORT 0.30 @ 1.07541", "now 1.0766", "profit -3.50", "profit +12.00", "1.0765"):
        assert fact in text


@pytest.mark.parametrize(
    ("mode", "word"), [("demo", "demo"), ("real", "REAL"), ("", "demo or REAL is not told")]
)
def test_the_kind_of_money_is_told(mode: str, word: str) -> None:
    told = write_status(msgspec.structs.replace(QUIET, trade_mode=mode))
    assert f"5000001@Simulated-Demo ({word}" in told


def test_a_folder_without_anything_is_told_in_two_lines() -> None:
    assert write_status(nothing_here(NOW, "Start one.")).splitlines() == [
        "No bot runs in this folder, and no journal is here. Nothing is yours to do.",
        "Start one.",
    ]


def test_of_very_many_rows_the_first_are_shown_and_the_rest_counted() -> None:
    rows = [LOUD.books[0]] * 30 + [LOUD.books[2]] * 30
    many = msgspec.structs.replace(
        LOUD, books=rows, to_decide=LOUD.to_decide * 15, prices=LOUD.prices * 9
    )
    text = write_status(many)
    assert text.count("only at the broker") == 20
    assert "  and 10 more that differ" in text
    assert text.count("To decide") == 10
    assert "and 5 more: `trueup plan`" in text
    assert "and 4 more symbols" in text
    assert text.count("profit +12.00") == 20
    assert "  and 10 more that agree" in text


def test_what_was_said_as_a_need_is_not_said_again_as_a_hold() -> None:
    row = Held(
        kind="unprotected",
        symbol="EURUSD",
        ticket=5,
        reason="Ticket 5 has no stop loss",
        until="a stop loss",
    )
    twice = msgspec.structs.replace(
        QUIET, held=[row], needs=["Ticket 5 has no stop loss (until a stop loss)"]
    )
    assert write_status(twice).count("Ticket 5") == 1


# Every line fits, whatever the texts of a broker are.

# Texts of brokers and systems have spaces, long words and characters of any script.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "))
AMOUNT = st.floats(-1e12, 1e12)
FIXED = {
    **dict.fromkeys(("at", "now", "since", "checked", "next_look", "next"), NOW),
    "digits": 8,
}


def filled(kind: Any, texts: Iterator[str], amounts: Iterator[float]) -> Any:
    """Return a value of a type, with all its fields from the given texts and amounts."""
    # Of an optional field, the first kind is the one with more to show.
    kind = get_args(kind)[0] if get_origin(kind) is UnionType else kind
    if get_origin(kind) is list:
        return [filled(get_args(kind)[0], texts, amounts) for _ in range(2)]
    if issubclass(kind, enum.Enum):
        return list(kind)[round(next(amounts)) % len(kind)]
    if not issubclass(kind, msgspec.Struct):
        return next(texts) if kind is str else kind(abs(next(amounts)))
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return kind(
        **{
            name: FIXED[name] if name in FIXED else filled(of, texts, amounts)
            for name, of in fields.items()
        }
    )


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    st.lists(AMOUNT, min_size=1, max_size=4),
    st.sampled_from([40, 60, 80]),
)
def test_every_line_fits_the_terminal(texts: list[str], amounts: list[float], width: int) -> None:
    status: Status = filled(Status, itertools.cycle(texts), itertools.cycle(amounts))
    for line in write_status(status, width).splitlines():
        assert len(line) <= width
