"""The gauges and the health of books, from their statuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.paper.deadline import wait_for
from tests.support.order_world import OrderWorld
from trueup.doors.metrics import table
from trueup.doors.metrics.asked import Asked
from trueup.doors.metrics.books import BookKeeper, Books
from trueup.doors.metrics.counting import Counting
from trueup.doors.metrics.facts import Facts
from trueup.doors.metrics.gauges import of_status
from trueup.doors.metrics.health import LATE_SEC, Health, NoSuchBook, health
from trueup.doors.metrics.table import Metric
from trueup.doors.watch import Place, Seen
from trueup.errors import JournalError
from trueup.observe.status.status import (
    InDoubt,
    LinkRow,
    ModeRow,
    Money,
    RefusedRow,
    State,
    Status,
    nothing_here,
)

NOW = "2026-11-29T03:00:00+00:00"
PROBES = ("/healthz", "/livez", "/readyz")


def status_of(
    state: State, name: str = "EURUSD", answers: bool | None = True, **more: object
) -> Status:
    """The status of a bot that answers (True), does not (False), or takes no commands (None)."""
    source = "bot" if answers else "journal"
    facts: dict[str, object] = {
        "state": state,
        "sentence": f"{name} is {state.value}.",
        "works": "",
        "basis": "",
        "links": [LinkRow(name="bot", works=answers, words="")],
        "source": source,
        "now": NOW,
        "journal": "PostgreSQL database 'x' on h",
        "stream": name,
    }
    return Status(**{**facts, **more})  # type: ignore[arg-type]


def asked(
    path: str,
    *statuses: Status,
    trouble: str = "",
    age_sec: float | None = 1.0,
    book: str = "",
) -> Health:
    return health(path, ("", book), Books(0, statuses, (), trouble), age_sec)


def answers(*statuses: Status, trouble: str = "", book: str = "") -> list[bool]:
    return [asked(path, *statuses, trouble=trouble, book=book).ok for path in PROBES]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (status_of(State.AGREES), [True, True, True]),
        (status_of(State.DEGRADED), [True, True, True]),
        # A restart does not help these, so they are live.
        (status_of(State.NEEDS_PERSON), [True, True, False]),
        (status_of(State.HALTED), [True, True, False]),
        (status_of(State.NEEDS_PERSON, answers=False), [True, False, False]),
        # A script behind `trueup.mt5` runs, and nobody can ask it.
        (status_of(State.DEGRADED, answers=None), [True, True, True]),
        (nothing_here(NOW, ""), [True, False, False]),
    ],
)
def test_each_state_is_live_or_ready_or_not(status: Status, wanted: list[bool]) -> None:
    assert answers(status) == wanted


def test_the_worst_book_decides_unless_one_is_asked_for() -> None:
    books = (status_of(State.AGREES), status_of(State.HALTED, "GBPUSD"))
    answer = asked("/readyz", *books)
    assert (answer.ok, answer.state, answer.exit_code) == (False, "halted", 3)
    assert answer.because == "GBPUSD is halted."
    assert [one.book for one in answer.books] == ["EURUSD", "GBPUSD"]
    assert asked("/readyz", *books, book="EURUSD").ok
    with pytest.raises(NoSuchBook, match="no book 'EUR'"):
        asked("/readyz", *books, book="EUR")


@pytest.mark.parametrize("age_sec", [None, LATE_SEC + 1])
def test_what_is_not_known_now_is_not_well(age_sec: float | None) -> None:
    for path in PROBES:
        answer = asked(path, status_of(State.AGREES), age_sec=age_sec)
        assert not answer.ok
        assert answer.because == "The bots and journals did not answer within 30 s."
        assert (answer.state, answer.books) == (None, [])
    assert not health("/livez", ("", ""), None, None).ok


def test_a_bot_that_cannot_be_read_restarts_no_other_bot() -> None:
    newer = "The bot is of a newer release."
    assert answers(status_of(State.AGREES), trouble=newer) == [False, False, False]
    assert answers(status_of(State.AGREES), trouble=newer, book="EURUSD") == [False, True, True]
    # Its own book is not known, which is no wrong question.
    answer = asked("/livez", trouble=newer, book="GBPUSD")
    assert (answer.ok, answer.because) == (False, newer)


def test_a_book_that_was_seen_once_stays_also_after_a_bot_that_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bot.db"
    world = OrderWorld(journal=file)
    world.pm.submit("buy", 0.1)
    world.pm.close_journal()
    ours, other = status_of(State.AGREES, journal_file=str(file)), status_of(State.AGREES, "GBPUSD")
    newer = "The bot is of a newer release."
    keeper = BookKeeper(Place(tmp_path / "none.db"))
    shown = []
    for statuses, trouble in (((ours, other), ""), ((other,), newer), ((other,), "")):
        found = partial(Seen, 1, 0, statuses, trouble)
        watch = SimpleNamespace(renew=lambda: None, latest=found)
        monkeypatch.setattr(keeper, "_watch", watch)
        keeper.gather()
        assert keeper.latest is not None
        shown.append([(one.stream, one.source) for one in keeper.latest.statuses])
    # The bots after the one that could not be read were not asked.
    assert shown[1] == [("GBPUSD", "bot")]
    assert sorted(shown[2]) == [("EURUSD", "journal"), ("GBPUSD", "bot")]


def gauges(status: Status) -> dict[tuple[str, ...], float]:
    return {(one.metric.name, *one.labels[2:]): one.value for one in of_status(status)}


def sources(status: Status) -> set[Metric]:
    return {one.metric for one in of_status(status)}


def test_the_gauges_of_a_book_with_a_doubt_a_pause_and_a_refusal() -> None:
    doubts = [
        InDoubt(
            order_id=name,
            action="BUY",
            lots=0.1,
            symbol="EURUSD",
            since=since,
            error="no reply",
            decided="",
        )
        for name, since in (("A", "2026-11-29T02:59:00+00:00"), ("B", "2026-11-29T02:50:00+00:00"))
    ]
    status = status_of(
        State.DEGRADED,
        in_doubt=doubts,
        mode=ModeRow(mode="paused", by="Ada", why="", since=NOW),
        refused=[RefusedRow("", "daily loss", NOW, "the reset", by_limit=True)],
        money=Money(currency="EUR", balance=100.0, equity=99.5, realised=-3.25),
        age_sec=4.5,
        account="1@Demo",
        trade_mode="demo",
    )
    found = gauges(status)
    assert found["trueup_orders_in_doubt",] == 2
    assert found["trueup_oldest_doubt_age_seconds",] == 600
    assert found["trueup_trading_mode", "paused"] == 1
    assert found["trueup_trading_mode", "all"] == 0
    assert found["trueup_entries_refused",] == 1
    assert found["trueup_account_equity",] == 99.5
    assert found["trueup_realised_result",] == -3.25
    assert found["trueup_reading_age_seconds",] == 4.5
    assert found["trueup_book_info", "1@Demo", "demo", "EUR", ""] == 1


def test_a_dead_bot_has_no_value_that_only_a_bot_knows_and_its_reading_ages() -> None:
    checked = "2026-11-29T02:00:00+00:00"
    status = status_of(State.NEEDS_PERSON, answers=False, checked=checked)
    assert {metric.source for metric in sources(status)} == {"status"}
    assert gauges(status)["trueup_reading_age_seconds",] == 3600
    assert gauges(status)["trueup_bot_up",] == 0
    script = status_of(State.DEGRADED, answers=None)
    assert table.BOT_UP not in sources(script)


def test_a_book_that_cannot_be_read_has_no_numbers() -> None:
    status = status_of(State.NEEDS_PERSON, answers=False, journal_trouble="it is locked")
    known = {table.STATE, table.BOOK_INFO, table.BOT_UP, table.LINK_UP}
    assert sources(status) == known


def test_nothing_is_shown_as_the_present_that_was_true_some_time_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    facts = Facts(Place(tmp_path / "none.db"))
    books = Books(0, (status_of(State.AGREES),), ())
    shown = []
    for age_sec in (LATE_SEC, LATE_SEC + 1):
        keeper = SimpleNamespace(latest=books, age_sec=age_sec, gather=lambda: None)
        monkeypatch.setattr(facts, "_keeper", keeper)
        found = {one.metric: one.value for one in facts._values()}
        assert found[table.STATUS_AGE] == age_sec
        shown.append(table.STATE in found)
    assert shown == [True, False]


def test_work_that_fails_is_tried_again_by_the_next_who_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[int] = []

    def work() -> None:
        done.append(len(done))
        if len(done) == 1:
            raise JournalError("the disk is away")

    asking = Asked(work, "test-work")
    for count in (1, 2):
        assert asking.wait(asking.ask(), 60.0)
        assert len(done) == count
    assert caplog.messages == ["[METRICS] the disk is away"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_the_program_is_no_silent_end_of_the_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*_: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_HOME", raising=False)
    monkeypatch.setattr(Counting, "read", mistake)
    facts = Facts(Place(tmp_path / "none.db"))
    wait_for(lambda: facts.trouble != "", lambda: "the end of the thread")
    readable = [
        sample.value
        for family in facts.collect()
        for sample in family.samples
        if sample.name == table.STATUS_READABLE.name
    ]
    assert readable == [0]
    ok, text = facts.health("/healthz", ("", ""))
    assert not ok
    assert b"start it again" in text
