"""The rows of `trueup doctor`, each bound and each remedy, without a socket."""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.test_doctor import status
from tests.support.desk_world import OTHER, DeskLink, DeskWorld
from tests.support.make import ACCOUNT, proven
from tests.support.manners import opened
from trueup.core.account.trust import Bound, Reason, Unknown
from trueup.core.book.events import (
    AccountBound,
    HistoryCompared,
    LossAccepted,
    LossFound,
)
from trueup.core.model import Evidence, MarginMode, Snapshot, SymbolSpec, TerminalState
from trueup.core.model import UnknownSymbol as Missing
from trueup.core.scope import Neighbour, Scope
from trueup.errors import JournalCorrupt, NotSent, OutcomeUnknown, SettingsError
from trueup.gateway.access.keys import new_keys
from trueup.gateway.client.greeting import NOTHING, Greeting
from trueup.gateway.desk.desk import Desk
from trueup.gateway.terminal.one_account import OneAccount
from trueup.journal import open_journal, open_reader
from trueup.observe.doctor_text import DoctorRow, Mark
from trueup.observe.status.status import OverdueRow, State
from trueup.protocol.snapshot import NAMED_AT_ONCE
from trueup.runtime.doctor import journal as journal_check
from trueup.runtime.doctor.books import BooksCheck
from trueup.runtime.doctor.bots import UnheardBot, bot_rows, history_rows
from trueup.runtime.doctor.gateway import GatewayVisit
from trueup.runtime.doctor.journal import JournalCheck, damage_in, last_facts
from trueup.runtime.doctor.line import Line, Target
from trueup.runtime.doctor.terminal import account_row, connected_row, trade_row
from trueup.runtime.time.clock import ManualClock

NOBODY = "nobody manages its positions; stops at the broker work"
BLIND = "the bot can neither open nor close; stops at the broker work"
ALL_REFUSED = "every order is refused, also one that closes; stops at the broker work"
OTHER_ACCOUNT = "the bot neither opens nor closes; nobody manages the positions of its account"
NO_ORDERS = (
    "the strategy can neither open nor close: close what cannot wait by `trueup close TICKET`, or "
    "by hand in the terminal"
)
NO_START = "a bot with this journal does not start; stops at the broker work"
SHARED = "each may close what the other has opened, and both count its result"
APART = (
    "give each bot a magic number of its own (`magic=`, `--magic`) and adopt ours, or give one of "
    "them another symbol"
)


def said(row: DoctorRow) -> tuple[str, str, str, str, str]:
    """What a person reads of a row, in the order of the lines."""
    return row.mark.value, row.check, row.found, row.risk, row.remedy


# The terminal and its account.


@pytest.mark.parametrize(
    ("terminal", "words"),
    [
        (
            TerminalState(connected=False, ping_us=9),
            (
                *("FAIL", "terminal connected", "the terminal has no link to its trade server"),
                BLIND,
                "wait: the terminal connects again by itself. If it does not, see to the network "
                "of its machine, to the terminal's journal (server, login), and to the broker's "
                "notices",
            ),
        ),
        (
            TerminalState(connected=True, ping_us=31_700, build=5200),
            ("ok", "terminal connected", "to its trade server, ping 32 ms, build 5200", "", ""),
        ),
        (
            TerminalState(connected=True, build=5200),
            ("ok", "terminal connected", "to its trade server, build 5200", "", ""),
        ),
    ],
)
def test_the_terminals_link_to_its_trade_server(
    terminal: TerminalState, words: tuple[str, ...]
) -> None:
    assert said(connected_row(terminal)) == words


@pytest.mark.parametrize(
    ("terminal", "may_trade", "role", "words"),
    [
        (
            # The terminal's own button first: it is known without a link.
            TerminalState(connected=False, trade_allowed=False),
            *(False, "read"),
            (
                "FAIL",
                "trade allowed",
                "algorithmic trading is off in the terminal: every order is refused (10027)",
                ALL_REFUSED,
                "press Algo Trading in the terminal's toolbar (Ctrl+E)",
            ),
        ),
        (
            TerminalState(connected=False),
            *(False, "trade"),
            (
                "-",
                "trade allowed",
                "not known without the link to the trade server",
                *("", ""),
            ),
        ),
        (
            TerminalState(connected=True),
            *(False, "read"),
            (
                "FAIL",
                "trade allowed",
                f"this login to {ACCOUNT.name} may not trade: its password is the read-only one "
                "(investor), or the broker has closed the account for trading",
                ALL_REFUSED,
                "log the terminal in with the trading password; if it is so already, ask the "
                "broker",
            ),
        ),
        (
            TerminalState(connected=True),
            *(True, "read"),
            (
                "warn",
                "trade allowed",
                "this key may read only: the gateway refuses its orders",
                "a bot with this key can neither open nor close",
                "to let this key trade, write `trade` instead of `read` in its line of the "
                "gateway's allow file",
            ),
        ),
        (
            TerminalState(connected=True),
            *(True, "trade"),
            (
                "ok",
                "trade allowed",
                "in the terminal and on the account, and by the gateway for this key",
                *("", ""),
            ),
        ),
        (
            TerminalState(connected=True),
            *(True, ""),
            (
                "ok",
                "trade allowed",
                "in the terminal and on the account; the role of this key is not told",
                *("", ""),
            ),
        ),
    ],
)
def test_whether_orders_are_taken(
    terminal: TerminalState, may_trade: bool, role: str, words: tuple[str, ...]
) -> None:
    account = msgspec.structs.replace(ACCOUNT, trade_allowed=may_trade)
    assert said(trade_row(terminal, account, role)) == words


OURS = Bound(ACCOUNT.login, ACCOUNT.server)


def evidence(**fields: Any) -> Evidence:
    found = proven(**fields).evidence
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("offset_sec", "clock"),
    [
        (None, ""),
        (0, ", its clock is UTC+00:00"),
        (7_200, ", its clock is UTC+02:00"),
        (-12_600, ", its clock is UTC-03:30"),
        (20_700, ", its clock is UTC+05:45"),
    ],
)
def test_the_account_with_its_money_and_its_clock(offset_sec: int | None, clock: str) -> None:
    account = msgspec.structs.replace(
        ACCOUNT, balance=1_234.567, currency_digits=2, trade_mode="demo"
    )
    seen = evidence(account=account, time_offset_sec=offset_sec)
    row = account_row(seen, None, None)
    name, money = f"{account.name} (demo)", f"balance 1234.57 {account.currency}{clock}"
    assert said(row) == ("ok", "account", f"{name}, {money}; no book is bound yet", "", "")
    assert row.figures == {
        "login": account.login,
        "server": account.server,
        "trade_mode": "demo",
        "offset_sec": offset_sec,
    }
    bound = account_row(seen, OURS, OURS)
    assert said(bound) == ("ok", "account", f"{name}, as the book is bound; {money}", "", "")
    assert bound.figures == row.figures


@pytest.mark.parametrize("other", [Bound(7, ACCOUNT.server), Bound(ACCOUNT.login, "Elsewhere")])
def test_another_account_than_the_settings_or_the_books(other: Bound) -> None:
    account = msgspec.structs.replace(ACCOUNT, trade_mode="demo")
    seen = evidence(account=account, time_offset_sec=60)
    # The setting first, whatever the book says.
    for bound in (None, OURS, other):
        row = account_row(seen, bound, other)
        assert said(row) == (
            *("FAIL", "account"),
            f"the terminal is logged in to {ACCOUNT.name} (demo), and TRUEUP_ACCOUNT says "
            f"{other.name}",
            OTHER_ACCOUNT,
            f"log the terminal in to {other.name}, or correct TRUEUP_ACCOUNT",
        )
        assert row.figures["offset_sec"] == 60
    row = account_row(seen, other, OURS)
    assert said(row) == (
        *("FAIL", "account"),
        f"the terminal is logged in to {ACCOUNT.name}, and the book is bound to {other.name}",
        OTHER_ACCOUNT,
        f"log the terminal in to {other.name}; or, to bind the book to the other account from now "
        "on, `trueup rebind`",
    )
    assert row.figures["login"] == ACCOUNT.login


# The bots.


def one_bot(**fields: Any) -> tuple[DoctorRow, DoctorRow]:
    row, synced = bot_rows([status(**fields)], [], 15)
    return row, synced


HERE = "process 1, EURUSD: Both books are flat. Nothing is yours to do."


def test_a_bot_that_needs_a_person_is_told_with_all_it_needs() -> None:
    row, _ = one_bot(
        needs=["Look here.", "Then there."],
        state=State.DEGRADED,
        works="Closing works.",
        detail="The wire is cut.",
    )
    words = ("FAIL", "bot", f"{HERE} The wire is cut.", "Closing works.", "Look here. Then there.")
    assert said(row) == words
    assert row.figures == {"pid": 1}


def test_a_bot_that_retries_by_itself_is_waited_for() -> None:
    row, _ = one_bot(state=State.DEGRADED, works="Closing works.", detail="No reply")
    assert said(row) == (
        *("warn", "bot", f"{HERE} No reply.", "Closing works."),
        "wait: `trueup status` says when it needs you",
    )


def test_overdue_deals_are_told_with_each_ticket_since_the_first_of_them() -> None:
    overdue = [
        OverdueRow(7, "2026-01-05T14:02:07+00:00", "2026-01-05T14:03:10+00:00"),
        OverdueRow(9, "2026-01-05T14:05:00+00:00", "2026-01-05T14:06:00+00:00"),
    ]
    row, _ = one_bot(overdue=overdue, neighbours=["not told yet"])
    assert said(row) == (
        *("warn", "bot", f"{HERE} It waits for the deals of 7, 9 since 14:02:07 UTC"),
        "until they come, the result of these positions is not counted",
        "show all of the terminal's history (History tab, All History): they may be there",
    )
    assert row.figures == {"pid": 1}


def test_another_bot_with_the_same_positions_is_told_with_what_it_may_do() -> None:
    row, _ = one_bot(neighbours=["process 9, EURUSD", "process 10"])
    words = ("warn", "bot", f"{HERE} Another bot: process 9, EURUSD", SHARED, APART)
    assert said(row) == words
    assert row.figures == {"pid": 1}


def test_a_bot_and_its_last_sync_that_are_well() -> None:
    row, synced = one_bot(age_sec=12.4)
    assert said(row) == ("ok", "bot", HERE, "", "")
    assert row.figures == {"pid": 1}
    assert said(synced) == ("ok", "last sync", "12 s ago, 5 since the start", "", "")
    assert synced.figures == {"age_sec": 12.4, "sync_count": 5}


def test_a_sync_is_late_after_three_intervals_and_not_at_the_third() -> None:
    _, synced = one_bot(age_sec=45.0)
    assert synced.mark is Mark.OK
    _, synced = one_bot(age_sec=45.1)
    assert said(synced) == (
        *("FAIL", "last sync", "45 s ago, 5 since the start"),
        "the book may be old: positions may have been opened, changed or closed since",
        "a sync is due every 15 s: see the rows above and the bot's log",
    )
    assert synced.figures == {"age_sec": 45.1, "sync_count": 5}


def test_a_bot_that_has_not_seen_the_broker_opens_nothing() -> None:
    _, synced = one_bot(age_sec=None)
    assert said(synced) == (
        *("FAIL", "last sync", "process 1 has not seen the broker yet", "the bot opens nothing"),
        "see the rows above; until the broker was seen, no order is sent",
    )


def test_without_a_bot_and_with_one_that_gives_no_answer() -> None:
    nobody, no_sync = bot_rows([], [], 15)
    assert said(nobody) == ("-", "bot", "no bot runs in this folder", "", "")
    words = ("-", "last sync", "no bot answers, so no sync is due", "", "")
    assert said(no_sync) == words
    hangs, killed, no_sync = bot_rows(
        [], [UnheardBot(7, "EURUSD", "tcp://h:9", True), UnheardBot(8, "GOLD", "", False)], 15
    )
    assert said(no_sync) == words
    end = "taskkill /F /PID 7" if os.name == "nt" else "kill -9 7"
    assert said(hangs) == (
        *("FAIL", "bot"),
        "process 7, EURUSD, does not answer at tcp://h:9: it hangs, or it is gone and another "
        "program has its port",
        NOBODY,
        f"look at the account in the terminal; then end the bot (`{end}`) and start it again: it "
        "finds what is open, and sends no order twice",
    )
    assert hangs.figures == {"pid": 7}
    assert said(killed) == (
        *("FAIL", "bot"),
        "process 8, GOLD, has ended without a word: it was killed, or it crashed",
        NOBODY,
        "start the bot again; `trueup status` tells what it held, and its log why it ended",
    )
    assert killed.figures == {"pid": 8}
    # With a bot that answers, only the other is told without an answer.
    marks = [
        row.check for row in bot_rows([status()], [UnheardBot(7, "EURUSD", "", has_port=True)], 15)
    ]
    assert marks == ["bot", "bot", "last sync"]


def test_the_last_comparison_with_the_brokers_history() -> None:
    assert list(history_rows(None)) == []
    (row,) = history_rows(HistoryCompared(1, 0, 1_767_571_200_000, agreed=12))
    found = "12 deals agree, up to 2026-01-05 00:00 server time"
    assert said(row) == ("ok", "history", found, "", "")
    assert row.figures == {"agreed": 12}
    (row,) = history_rows(HistoryCompared(1, 0, 1_767_571_200_000, agreed=1, changed=2))
    assert said(row) == (
        *("warn", "history"),
        "1 deal agrees, 2 with other money or lots, up to 2026-01-05 00:00 server time",
        "the realised result of the book is not the broker's",
        "`trueup reconcile` names each of these deals",
    )
    assert row.figures == {"agreed": 1}


# The books at the gateway.


class Told:
    """A gateway that has some symbols, and notes what it is asked."""

    def __init__(self, *known: str, missing: Sequence[Missing] = ()) -> None:
        self.known, self.missing = known, {one.symbol: one for one in missing}
        self.asked: list[list[str]] = []

    def __call__(self, symbols: Sequence[str], **more: Any) -> Snapshot:
        self.asked.append(list(symbols))
        return proven(
            specs=tuple(SymbolSpec(name, 0.01, 1e-5, 5) for name in symbols if name in self.known),
            unknown_symbols=tuple(self.missing[name] for name in symbols if name in self.missing),
            **more,
        )


def books(told: Told, *symbols: str, neighbours: Sequence[Neighbour] = ()) -> list[DoctorRow]:
    reading = told(symbols, neighbours=tuple(neighbours))
    told.asked.clear()
    return list(BooksCheck(symbols, told).rows(reading))


def test_without_a_reading_nothing_is_told_about_the_books() -> None:
    check = BooksCheck(["EURUSD"], Told())
    for reading, why in (
        (None, "this gateway does not tell it (no SNAPSHOT)"),
        (Unknown(Reason.UNREADABLE, "no"), "no reading"),
        (Snapshot(()), "no reading"),
    ):
        rows = [said(row) for row in check.rows(reading)]
        assert rows == [("-", check, why, "", "") for check in ("symbols", "neighbours")]


def test_symbols_that_the_broker_has_and_has_not() -> None:
    row, alone = books(Told())
    assert said(row) == ("-", "symbols", "no bot names a symbol: give --symbol", "", "")
    words = "no books ask this gateway; no two count the same positions"
    assert said(alone) == ("ok", "neighbours", words, "", "")
    row, _ = books(Told("EURUSD", "GOLD"), "EURUSD", "GOLD", "EURUSD", "*")
    assert said(row) == ("ok", "symbols", "the broker has EURUSD, GOLD", "", "")
    assert row.figures == {"symbols": ["EURUSD", "GOLD"]}
    row, _ = books(Told("EURUSD"), "EURUSD", "GOLD")
    assert said(row) == ("-", "symbols", "whether the broker has GOLD is not told", "", "")
    missing = Missing("GOLD", ("XAUUSD", "GOLD.m"))
    row, _ = books(Told("EURUSD", missing=[Missing("OIL"), missing]), "GOLD", "EURUSD", "OIL")
    assert said(row) == (
        *("FAIL", "symbols"),
        "The broker does not have the symbol GOLD; similar names there: XAUUSD, GOLD.m; The broker "
        "does not have the symbol OIL",
        "a bot of this symbol gets no price and opens nothing",
        "give the bot a symbol as the broker spells it (`--symbol`, PortfolioManager's `symbol`)",
    )
    assert row.figures == {"unknown": ["GOLD", "OIL"]}


def test_of_many_symbols_ten_are_named() -> None:
    names = [f"S{number:02}" for number in range(11)]
    row, _ = books(Told(*names), *names[:10])
    assert row.found == f"the broker has {', '.join(names[:10])}"
    row, _ = books(Told(*names), *names)
    assert row.found == f"the broker has {', '.join(names[:10])}, ..."


def neighbour(name: str, *symbols: str, asked: int = 0, first: int = 10, **scope: Any) -> Neighbour:
    made = Scope(name, name, 3, adopt="all", magic=5, symbols=symbols, **scope)
    return Neighbour(made, asked, first)


def test_the_symbols_of_other_books_are_asked_for_a_few_at_a_time() -> None:
    names = [f"S{number:02}" for number in range(NAMED_AT_ONCE + 1)]
    told = Told("EURUSD", *names)
    row, _ = books(told, "EURUSD", neighbours=[neighbour("a", "EURUSD", "*", *names)])
    assert told.asked == [names[:NAMED_AT_ONCE], names[NAMED_AT_ONCE:]]
    assert row.mark is Mark.OK
    assert row.figures["symbols"] == ["EURUSD", *names]
    told = Told("EURUSD", *names[:-1], missing=[Missing(names[-1])])
    row, _ = books(told, "EURUSD", neighbours=[neighbour("a", *names), neighbour("b", *names)])
    assert row.found == (
        f"The broker does not have the symbol {names[-1]} (asked for by stream a (process 3, magic "
        "5))"
    )


@pytest.mark.parametrize("answer", [Unknown(Reason.UNREADABLE, "no"), Snapshot(())])
def test_symbols_of_other_books_without_an_answer_are_not_judged(answer: Any) -> None:
    reading = proven(neighbours=(neighbour("a", "GOLD"),))
    row, _ = BooksCheck([], lambda _: answer).rows(reading)
    assert said(row) == ("-", "symbols", "no reading", "", "")


def test_two_books_with_the_same_positions_are_named() -> None:
    told = Told("EURUSD")
    first, other = neighbour("a", "EURUSD"), neighbour("b", "EURUSD")
    _, row = books(told, "EURUSD", neighbours=[neighbour("c", "GOLD"), first, other])
    assert said(row) == (
        *("warn", "neighbours"),
        "stream a (process 3, magic 5) and stream b (process 3, magic 5) count the same positions: "
        "EURUSD, whatever the magic number",
        *(SHARED, APART),
    )
    # One after the other, and alone.
    later = neighbour("b", "EURUSD", asked=20, first=30)
    _, row = books(told, "EURUSD", neighbours=[first, later])
    words = "2 books ask this gateway; no two count the same positions"
    assert said(row) == ("ok", "neighbours", words, "", "")
    _, row = books(told, "EURUSD", neighbours=[first])
    assert row.found == "1 book asks this gateway; no two count the same positions"


# The gateway.

Handle = Callable[[bytes], bytes | None]


class Wire(DeskLink):
    """A link to a function, on a clock that an answer takes its time on; errors are raised."""

    def __init__(self, answer: Handle, clock: ManualClock, took_sec: float = 0.0) -> None:
        super().__init__(answer)
        self.clock, self.took_sec, self.resets = clock, took_sec, 0
        self.timeouts: set[int] = set()

    def send(self, message: bytes, timeout_ms: int) -> None:
        self.timeouts.add(timeout_ms)
        self.clock.advance(self.took_sec)
        super().send(message, timeout_ms)

    def receive(self, timeout_ms: int) -> bytes | None:
        self.timeouts.add(timeout_ms)
        return super().receive(timeout_ms)

    def reset(self) -> None:
        self.resets += 1
        super().reset()


def visited(
    answer: Handle, *symbols: str, clock: ManualClock | None = None, took_sec: float = 0.0
) -> dict[str, DoctorRow]:
    clock = clock or ManualClock()
    wire = Wire(answer, clock, took_sec)
    target = Target("127.0.0.1", 1, 3_000, "a test")
    rows = {r.check: r for r in GatewayVisit(target, wire, clock, None, "s", symbols).rows()}
    assert wire.timeouts == {3_000}
    return rows


def replies(handle: Handle, change: Callable[[dict[str, Any]], object]) -> Handle:
    """Change every reply of a gateway on its way."""

    def changed(message: bytes) -> bytes:
        fields = json.loads(handle(message) or b"")
        change(fields)
        return json.dumps(fields).encode()

    return changed


@pytest.fixture
def world() -> DeskWorld:
    return opened()


@pytest.mark.parametrize("error", [None, NotSent("no"), OutcomeUnknown("no")])
def test_a_gateway_without_a_reply_ends_the_visit(error: Exception | None) -> None:
    asked: list[bytes] = []

    def answer(message: bytes) -> bytes | None:
        asked.append(message)
        if error is not None:
            raise error
        return None

    rows = visited(answer)
    assert len(asked) == 1
    assert said(rows.pop("answers")) == (
        *("FAIL", "answers", "no reply to GET_POSITIONS within 3000 ms", BLIND),
        "look at the gateway's log: it hangs, or its terminal does; or raise GTW_TIMEOUT_MS",
    )
    assert [said(row) for row in rows.values()] == [
        ("-", check, "not asked", "", "")
        for check in (
            *("protocol", "clock", "reading", "terminal connected", "trade allowed", "account"),
            *("symbols", "neighbours", "latency"),
        )
    ]


@pytest.mark.parametrize(("count", "words"), [(0, "0 open positions"), (1, "1 open position")])
def test_the_open_positions_are_counted(count: int, words: str) -> None:
    row = visited(opened(count).desk.handle)["answers"]
    assert said(row) == ("ok", "answers", words, "", "")
    assert row.figures == {"positions": count}


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("trade", "in the terminal and on the account, and by the gateway for this key"),
        ("read", "this key may read only: the gateway refuses its orders"),
        (None, "in the terminal and on the account; the role of this key is not told"),
    ],
)
def test_the_role_of_the_key_comes_from_the_gateways_greeting(
    world: DeskWorld, role: str | None, words: str
) -> None:
    def change(reply: dict[str, Any]) -> None:
        reply.pop("role", None)
        if role is not None:
            reply["role"] = role

    row = visited(replies(world.desk.handle, change))["trade allowed"]
    assert row.found == words


def test_a_greeting_that_is_no_object_tells_no_version(world: DeskWorld) -> None:
    def answer(message: bytes) -> bytes | None:
        return b"[1]" if b'"HELLO"' in message else world.desk.handle(message)

    assert visited(answer)["protocol"].found.startswith("a gateway, protocol None; serves ")


def test_an_answer_that_is_lost_in_the_middle_of_a_visit(world: DeskWorld) -> None:
    """The link is begun anew, so that a late answer is not taken for that of the next question."""
    clock = ManualClock()

    def answer(message: bytes) -> bytes | None:
        return None if b'"SNAPSHOT"' in message else world.desk.handle(message)

    wire = Wire(answer, clock)
    visit = GatewayVisit(Target("127.0.0.1", 1, 3_000, "a test"), wire, clock, None, "s")
    rows = {row.check: row for row in visit.rows()}
    assert wire.resets == 1
    assert rows["reading"].mark is Mark.SICK
    assert rows["reading"].found.startswith("Gateway offline")
    for check in ("terminal connected", "trade allowed", "account", "symbols", "neighbours"):
        assert said(rows[check]) == ("-", check, "no reading", "", "")
    assert rows["latency"].mark is Mark.OK


def test_a_gateway_that_answers_with_a_failure_or_an_unreadable_list() -> None:
    row = visited(lambda _: b'{"status":"FAILED","error":"gone"}')["answers"]
    assert row.mark is Mark.SICK
    assert "gone" in row.found
    assert row.risk == BLIND
    assert row.remedy == (
        "look at the gateway's log, and whether the terminal runs and is logged in"
    )
    row = visited(lambda _: b'{"status":"SUCCESS","positions":[{"ticket":1}]}')["answers"]
    assert row.found.startswith("the list cannot be read: ")
    assert row.risk == "the bot corrects nothing, and opens no position"
    assert row.remedy == "`trueup conformance` says what is wrong with this gateway's replies"


def test_the_protocol_of_the_guide_and_of_another_release(world: DeskWorld) -> None:
    world.knows_only_the_guide = True
    guide = visited(world._carry)
    assert said(guide["protocol"]) == (
        *("warn", "protocol", "the guide's wire only: its readings carry no proof"),
        "an incomplete list looks like closed positions, so the bot checks with care",
        "serve the terminal with `trueup gateway`",
    )
    words = "this gateway does not tell its time"
    assert said(guide["clock"]) == ("-", "clock", words, "", "")
    for check in ("reading", "terminal connected", "trade allowed", "account"):
        words = "this gateway does not tell it (no SNAPSHOT)"
        assert said(guide[check]) == ("-", check, words, "", "")
    assert guide["latency"].found.endswith("(50 x GET_POSITIONS)")
    row = visited(world.desk.handle)["protocol"]
    version = row.figures["ours"]
    assert row.mark is Mark.OK
    assert row.figures == {"ours": version, "theirs": version}
    assert f", protocol {version}; serves " in row.found
    other = visited(replies(world.desk.handle, lambda reply: reply.update(version=version + 1)))
    row = other["protocol"]
    assert row.mark is Mark.SICK
    assert f", protocol {version + 1}; serves " in row.found
    assert row.risk == "both may read the same field in another way, so the bot believes nothing"
    assert row.remedy == (f"install the same trueup on both machines; this one speaks {version}")
    assert row.figures == {"ours": version, "theirs": version + 1}
    unnamed = visited(replies(world.desk.handle, lambda reply: reply.pop("server", None)))
    assert unnamed["protocol"].found.startswith("a gateway, protocol ")


def test_a_position_that_opens_between_two_questions_is_not_hidden(world: DeskWorld) -> None:
    """The guide's gateway is asked twice before it is said to hide a position."""
    world.knows_only_the_guide = True
    shown = 0

    def answer(message: bytes) -> bytes | None:
        nonlocal shown
        shown += 1
        # The first three lists are of before the position, the others have it.
        if shown <= 2:
            return b'{"status":"SUCCESS","positions":[]}'
        return world._carry(message)

    found = visited(answer)["protocol"].found
    assert found == "the guide's wire only: its readings carry no proof"


def test_hidden_positions_are_told_by_the_lowest_ticket_and_the_form_that_shows_them() -> None:
    rows = [
        {"ticket": ticket, "symbol": "EURUSD", "type": "BUY", "volume": 0.1, "price_open": 1.1}
        for ticket in (9, 7)
    ]

    def answer(message: bytes) -> bytes:
        shown = rows if json.loads(message).get("symbol") == "EURUSD" else []
        return json.dumps({"status": "SUCCESS", "positions": shown}).encode()

    assert visited(answer, "GOLD", "EURUSD")["protocol"].found == (
        "the guide's wire only: its readings carry no proof; asked for EURUSD it shows ticket 7, "
        "and for the symbol * it does not: a bot asks in the form that shows more"
    )


def test_latency_is_the_median_and_the_slowest_of_fifty(world: DeskWorld) -> None:
    clock = ManualClock(world.clock.now_ns())
    pings = 0

    def answer(message: bytes) -> bytes | None:
        nonlocal pings
        # The first ping compares the clocks.
        if b'"PING"' in message and b'"uuid"' not in message:
            pings += 1
            clock.advance(0.001 * pings)
        return world.desk.handle(message)

    row = visited(answer, clock=clock)["latency"]
    assert pings == 50
    words = "p50 26.0 ms, p99 50.0 ms (50 x PING)"
    assert said(row) == ("ok", "latency", words, "", "")
    assert row.figures == {"p50_ms": 26.0, "p99_ms": 50.0, "samples": 50}


def test_latency_is_told_to_the_microsecond(world: DeskWorld) -> None:
    row = visited(world.desk.handle, took_sec=0.0123456)["latency"]
    assert row.figures == {"p50_ms": 12.346, "p99_ms": 12.346, "samples": 50}


def test_latency_that_comes_near_the_timeout_is_a_warning(world: DeskWorld) -> None:
    assert visited(world.desk.handle, took_sec=1.5)["latency"].mark is Mark.OK
    row = visited(world.desk.handle, took_sec=1.501)["latency"]
    assert said(row) == (
        *("warn", "latency", "p50 1501.0 ms, p99 1501.0 ms (50 x PING)"),
        "on a slow day answers come too late, and orders are in doubt",
        "raise GTW_TIMEOUT_MS, now 3000, or shorten the way",
    )
    assert row.figures["samples"] == 50


def test_a_ping_that_gets_no_answer_is_told_with_its_number(world: DeskWorld) -> None:
    pings = 0

    def answer(message: bytes) -> bytes | None:
        nonlocal pings
        pings += b'"PING"' in message and b'"uuid"' not in message
        return world.desk.handle(message) if pings < 3 else None

    row = visited(answer)["latency"]
    assert said(row) == (
        *("FAIL", "latency", "PING 3 got no answer"),
        "an order whose answer is lost is in doubt until the broker shows it",
        "look for lost packets between the machines, and at the gateway's log",
    )


@pytest.mark.parametrize(
    ("ahead_sec", "took_sec", "words"),
    [
        # The gateway reads its clock somewhere between the question and the answer.
        (0.0, 0.0, "the gateway's is ours, to 1 ms"),
        (0.5, 1.0, "the gateway's is ours, to 501 ms"),
        (1.0, 1.0, "the gateway's is ours, to 501 ms"),
        (1.002, 1.0, "the gateway's is 0.502 s ahead of ours, give or take 0.501 s"),
        (-0.25, 0.1, "the gateway's is 0.300 s behind ours, give or take 0.051 s"),
        (0.3, 0.1, "the gateway's is 0.250 s ahead of ours, give or take 0.051 s"),
    ],
)
def test_a_clock_that_is_close_enough(ahead_sec: float, took_sec: float, words: str) -> None:
    row = clock_row(ahead_sec, took_sec)
    assert said(row) == ("ok", "clock", words, "", "")
    assert row.figures == {"apart_sec": round(ahead_sec - took_sec / 2, 3)}


def test_a_clock_is_apart_by_more_than_two_seconds_beyond_doubt() -> None:
    assert clock_row(2.0).mark is Mark.OK
    assert clock_row(3.0, 1.0).mark is Mark.OK
    assert clock_row(3.002, 1.0).mark is Mark.WARN
    row = clock_row(-2.002)
    assert said(row) == (
        *("warn", "clock", "the gateway's is 2.002 s behind ours, give or take 0.001 s"),
        "dates in the audit trail are wrong, and risk limits take another day's figures",
        "synchronise both machines' clocks (NTP; on Windows `w32tm /resync`)",
    )
    assert row.figures == {"apart_sec": -2.002}


def clock_row(ahead_sec: float, took_sec: float = 0.0) -> DoctorRow:
    """The clock's row, if the gateway's time is so much after that of the question."""
    world, clock = opened(), ManualClock(1_767_571_200_000_000_000)
    theirs_sec = 1_767_571_200 + ahead_sec

    def answer(message: bytes) -> bytes | None:
        reply = json.loads(world.desk.handle(message))
        if b'"uuid":"s"' in message:
            clock.advance(took_sec)
            stamp = dt.datetime.fromtimestamp(theirs_sec, dt.UTC)
            reply["server_time"] = stamp.isoformat()
        else:
            # No other question moves the clock or is asked of it.
            clock.set_date(1_767_571_200 - clock.now_ns() / 1e9)
        return json.dumps(reply).encode()

    return visited(answer, clock=clock)["clock"]


@pytest.mark.parametrize("stamp", ["2026-01-05T00:00:00", "soon", 5, None])
def test_a_time_without_a_zone_is_no_time(world: DeskWorld, stamp: object) -> None:
    changed = replies(world.desk.handle, lambda reply: reply.update(server_time=stamp))
    words = "this gateway does not tell its time"
    assert said(visited(changed)["clock"]) == ("-", "clock", words, "", "")


def test_a_reading_that_is_believed_and_that_is_not(world: DeskWorld) -> None:
    row = visited(world.desk.handle)["reading"]
    words = "list, counts, digest and account agree"
    assert said(row) == ("ok", "reading", words, "", "")
    cut = replies(world.desk.handle, lambda reply: "digest" in reply and reply["positions"].pop())
    row = visited(cut)["reading"]
    assert row.mark is Mark.SICK
    assert row.risk == ("the bot corrects nothing and opens no position; closing stays allowed")
    assert row.remedy.startswith("it ends with ")
    assert row.remedy.endswith("; `trueup conformance` examines the gateway")


def test_the_symbols_of_a_bot_at_the_gateway_are_checked_though_nobody_names_them(
    world: DeskWorld,
) -> None:
    world.sync()
    rows = visited(world.desk.handle)
    assert said(rows["symbols"]) == ("ok", "symbols", "the broker has EURUSD", "", "")
    words = "1 book asks this gateway; no two count the same positions"
    assert said(rows["neighbours"]) == ("ok", "neighbours", words, "", "")


def test_each_snapshot_is_a_question_of_its_own_that_names_its_symbols(world: DeskWorld) -> None:
    asked: list[dict[str, Any]] = []

    def answer(message: bytes) -> bytes | None:
        fields = json.loads(message)
        if fields["action"] == "SNAPSHOT":
            asked.append(fields)
        return world.desk.handle(message)

    names = [f"S{number:02}" for number in range(NAMED_AT_ONCE + 1)]
    visited(answer, *names)
    assert [len(one["symbols"]) for one in asked] == [NAMED_AT_ONCE]
    assert [one["session"] for one in asked] == ["s"]
    assert [one["scope"]["run"] for one in asked] == [""]


def test_a_terminal_without_its_server_is_told_in_its_own_row(world: DeskWorld) -> None:
    world.terminal.disconnect()
    rows = visited(world.desk.handle)
    words = "yes, without a list of positions: see below"
    assert said(rows["answers"]) == ("ok", "answers", words, "", "")
    assert f"protocol {rows['protocol'].figures['ours']}; serves SNAPSHOT, " in (
        rows["protocol"].found
    )
    assert said(rows["terminal connected"]) == said(connected_row(TerminalState(connected=False)))
    assert [name for name, row in rows.items() if row.mark is Mark.SICK] == ["terminal connected"]


def test_a_terminal_of_another_account_is_told_in_the_row_of_the_account() -> None:
    world = DeskWorld(others=(OTHER,))
    guarded = OneAccount(world.terminal)
    assert guarded.initialize(login=5_000_001)
    desk = Desk(guarded, "boot", world.clock.now_ns)
    world.terminal.switch_account(OTHER.login)
    rows = visited(desk.handle)
    assert said(rows["reading"]) == ("-", "reading", "no list: see below", "", "")
    for check in ("terminal connected", "trade allowed", "symbols", "neighbours"):
        assert said(rows[check]) == ("-", check, "no reading", "", "")
    assert said(rows["account"]) == (
        *("FAIL", "account"),
        "Account 5000002 is logged in, and this gateway serves 5000001 alone",
        ALL_REFUSED,
        "log the terminal in to the account that the gateway serves",
    )


# The journal.


def journal_rows(
    place: str | Path | None, *bots: Any, stream: str | None = None
) -> list[tuple[str, str, str, str, str]]:
    return [said(row) for row in JournalCheck(place, stream, bots).rows()]


UNREAD = ("-", "journal whole", "no journal was read", "", "")
BOUND = AccountBound(1, 7, "Server", "USD", MarginMode.HEDGING)
COMPARED = HistoryCompared(2, 0, 5, agreed=3)
LOSS = LossFound(3, because="the journal lacks 2 orders", orders=2)


def made(path: Path, *events: Any) -> Path:
    with open_journal(path, "EURUSD", now_ns=lambda: 1) as journal:
        for event in events:
            journal.append([event])
    return path


def test_what_the_bot_says_of_its_journal_comes_first(tmp_path: Path) -> None:
    trouble = status(journal_trouble="the disk is full.", needs=["Make room.", "Soon."])
    rows = journal_rows(made(tmp_path / "bot.db", BOUND), status(), trouble)
    assert rows == [
        (
            *("FAIL", "journal writable", "the bot cannot write: the disk is full", NO_ORDERS),
            "Make room. Soon.",
        ),
        UNREAD,
    ]


def test_a_journal_that_the_bots_alone_know() -> None:
    rows = journal_rows(None, status(), status(journal="postgresql://db/bots"))
    assert rows == [
        ("ok", "journal writable", "postgresql://db/bots: the bot writes it", "", ""),
        UNREAD,
    ]
    assert journal_rows(None, status()) == [
        (
            *("warn", "journal writable", "the bot keeps no journal: what it knows ends with it"),
            "after a crash orders in doubt are found by their traces at the broker alone",
            "start it without --no-journal",
        ),
        UNREAD,
    ]


def test_a_journal_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "bot.db"
    words = f"{path} is not there yet, and can be made"
    assert journal_rows(path) == [("ok", "journal writable", words, "", ""), UNREAD]
    (tmp_path / "new").write_bytes(b"")
    assert journal_rows(path) == [
        (
            *("FAIL", "journal writable", f"{path} cannot be made in {tmp_path / 'new'}", NO_START),
            "give another place with --journal, or make the folder writable",
        ),
        UNREAD,
    ]
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 event"), (2, "2 events")], ids=["one", "several"]
)
def test_a_journal_that_is_well_is_told_with_its_events_and_its_writer(
    tmp_path: Path, count: int, words: str
) -> None:
    path = made(tmp_path / "bot.db", *[BOUND, COMPARED][:count])
    found = f"{path}, stream EURUSD: {words}"
    whole = ("ok", "journal whole", "whole, in order and unaltered", "", "")
    assert journal_rows(path) == [("ok", "journal writable", found, "", ""), whole]
    writer = status(pid=9, journal_file=str(path.resolve()))
    other = status(pid=8, journal_file=str(tmp_path / "other.db"))
    written = f"{found}, written by process 9"
    assert journal_rows(path, other, writer)[0] == ("ok", "journal writable", written, "", "")


@pytest.mark.parametrize(
    ("free", "mark"),
    [
        (500_000_000, "ok"),
        (499_999_999, "warn"),
        (20_000_000, "warn"),
        (19_999_999, "FAIL"),
    ],
)
def test_the_room_on_the_disk_of_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, mark: str
) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Any:
        asked.append(folder)
        return type("Usage", (), {"free": free})

    monkeypatch.setattr("trueup.runtime.doctor.journal.shutil.disk_usage", usage)
    path = made(tmp_path / "bot.db", BOUND)
    (row, _) = JournalCheck(path, None, []).rows()
    found, free_mb = f"{path}, stream EURUSD: 1 event", free // 1_000_000
    assert (row.mark.value, row.figures) == (mark, {"free_mb": free_mb})
    assert asked == [tmp_path]
    if mark != "ok":
        assert said(row)[2:] == (
            f"{found}; {free_mb} MB are free on its disk",
            f"when the disk is full, {NO_ORDERS}",
            f"make room on the disk of {tmp_path}",
        )


def test_a_journal_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "bot.db", BOUND)
    found = f"{path}, stream EURUSD: 1 event"
    with monkeypatch.context() as patch:
        patch.setattr("trueup.runtime.doctor.journal.os.access", lambda *_: False)
        assert journal_rows(path)[0] == (
            *("FAIL", "journal writable", f"{found}; nothing can be made beside it", NO_ORDERS),
            f"make {tmp_path} writable for the user that runs the bot",
        )
        unmade = tmp_path / "no.db"
        assert journal_rows(unmade)[0][2] == f"{unmade} cannot be made in {tmp_path}"
    # A test may run as the administrator, whom no permission stops.
    whole = Path.open

    def refuses(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if self == path and mode == "r+b":
            raise PermissionError(13, "Permission Denied")
        return whole(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", refuses)
    assert journal_rows(path)[0] == (
        "FAIL",
        "journal writable",
        f"{found}; it cannot be written: permission denied",
        NO_ORDERS,
        f"make {path} writable for the user that runs the bot",
    )


def test_several_books_and_a_file_that_is_no_journal(tmp_path: Path) -> None:
    path = made(tmp_path / "bot.db", BOUND)
    with open_journal(path, "other", now_ns=lambda: 1) as journal:
        journal.append([BOUND])
    row, unread = journal_rows(path)
    assert row[:2] == ("-", "journal writable")
    assert "Say which stream" in row[2]
    assert row[2].endswith(" Give --stream.")
    assert unread == UNREAD
    (tmp_path / "none.db").write_bytes(b"not a database, and longer than a header " * 40)
    row, _ = journal_rows(tmp_path / "none.db")
    assert (row[0], row[3]) == ("FAIL", NO_START)
    assert "none.db" in row[2]
    assert row[4]


def test_an_error_without_a_remedy_of_its_own_asks_for_another_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "bot.db", BOUND)
    with monkeypatch.context() as patch:
        patch.setattr(journal_check, "damage_in", lambda _: _raise(SettingsError("a", "b", "c")))
        row = journal_rows(path)[0]
        assert row[2:] == ("a='b' is not valid: c.", NO_START, "give another --journal")
        patch.setattr(journal_check, "damage_in", lambda _: _raise(JournalCorrupt("torn")))
        row = journal_rows(path)[0]
        assert row[2:] == ("torn", NO_START, JournalCorrupt.remedy)
    # The journal of a server has no file to try.
    monkeypatch.setattr(journal_check, "is_file", lambda _: False)
    assert journal_rows(path)[0] == (
        *("ok", "journal writable"),
        f"{path}, stream EURUSD: 1 event; whether it may be written is not tried",
        *("", ""),
    )


def _raise(error: Exception) -> Any:
    raise error


def test_damage_is_told_by_its_first_place_with_what_the_next_start_does(tmp_path: Path) -> None:
    path = made(tmp_path / "bot.db", *[BOUND] * 4)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE journal_events SET at_ns = 5 WHERE position IN (1, 2)")
    connection.commit()
    connection.close()
    with open_reader(path) as reader:
        assert damage_in(reader) == (
            "the event at position 1 was altered",
            "whole, in order and unaltered",
        )
    row = journal_rows(path)[1]
    assert row == (
        *("FAIL", "journal whole", "the event at position 1 was altered"),
        "the bot that runs goes on, and its next start may refuse this journal",
        JournalCorrupt.remedy,
    )


def test_a_loss_that_nobody_has_accepted_is_told_on_top_of_a_journal_that_is_well(
    tmp_path: Path,
) -> None:
    path = made(tmp_path / "bot.db", BOUND, LOSS)
    row, _ = JournalCheck(path, None, []).rows()
    mark, check, found, risk, remedy = said(row)
    assert (mark, check) == ("FAIL", "journal writable")
    assert found == f"{path}, stream EURUSD: 2 events. the journal lacks 2 orders"
    assert risk == "the history of the book has a gap; entries wait"
    assert remedy.startswith("look at what is open, then say `trueup approve ")
    assert remedy.endswith("` to the running bot")
    assert row.figures["free_mb"] > 0
    made(path, LossAccepted(4, by="anna"))
    assert journal_rows(path)[0][0] == "ok"


def test_the_last_facts_of_a_journal_are_those_after_its_checkpoint(tmp_path: Path) -> None:
    path = made(tmp_path / "bot.db")
    with open_reader(path) as reader:
        assert last_facts(reader) == (None, None, None)
    made(path, BOUND, COMPARED, LOSS)
    with open_reader(path) as reader:
        assert last_facts(reader) == (Bound(7, "Server"), COMPARED, LOSS)
    # The same account keeps what was compared, another one does not.
    made(path, BOUND)
    with open_reader(path) as reader:
        assert last_facts(reader) == (Bound(7, "Server"), COMPARED, LOSS)
    made(path, LossAccepted(4, by="anna"), msgspec.structs.replace(BOUND, login=8))
    with open_reader(path) as reader:
        assert last_facts(reader) == (Bound(8, "Server"), None, None)


def test_all_events_are_proven_up_to_the_bound_and_the_newest_beyond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "bot.db", *[BOUND] * 3)
    monkeypatch.setattr(journal_check, "PROVEN_MOST", 3)
    with open_reader(path) as reader:
        assert damage_in(reader) == ("", "whole, in order and unaltered")
    monkeypatch.setattr(journal_check, "PROVEN_MOST", 2)
    with open_reader(path) as reader:
        newest = "its last 2 events are; of all `trueup journal verify` tells"
        assert damage_in(reader) == ("", newest)


# The way to the gateway.


def way(
    monkeypatch: pytest.MonkeyPatch,
    heard: Greeting | NotSent,
    addresses: Sequence[str] | Exception = ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
    **target: Any,
) -> dict[str, tuple[str, str, str, str, str]]:
    """The rows of the way to another machine, which this machine does not have."""
    resolved: list[str] = []
    clock = ManualClock()

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if isinstance(addresses, Exception):
            raise addresses
        resolved.append(host)
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    def greet(host: str, port: int, timeout_ms: int) -> Greeting:
        assert (port, timeout_ms) == (5555, 50)
        clock.advance(0.0123456)
        if isinstance(heard, NotSent):
            raise heard
        return heard

    monkeypatch.setattr("trueup.runtime.doctor.line.socket.getaddrinfo", resolve)
    monkeypatch.setattr("trueup.runtime.doctor.line.greet", greet)
    usual: dict[str, Any] = {
        "host": "vps",
        "port": 5555,
        "timeout_ms": 50,
        "said_by": "GTW_HOST and GTW_PORT",
    }
    line = Line(Target(**(usual | target)), clock)
    rows = list(line.rows())
    assert [row.check for row in rows] == ["resolvable", "port open", "key accepted"]
    if rows[0].mark is Mark.OK:
        assert rows[0].figures == {"addresses": ["10.0.0.7", "10.0.0.8"]}
        assert resolved == [(usual | target)["host"]]
    if rows[1].mark is Mark.OK:
        assert rows[1].figures == {"took_ms": 12.346}
    assert (line.link is None) == any(row.mark is Mark.SICK for row in rows)
    if line.link is not None:
        line.link.close()
    return {row.check: said(row) for row in rows}


PLAIN, CURVE = Greeting("NULL", "ZMTP 3.1, NULL"), Greeting("CURVE", "ZMTP 3.1, CURVE")
START_THERE = (
    "start the gateway on vps (`trueup gateway`; for the simulated terminal `trueup terminal`)"
)
UNASKED = ("-", "key accepted", "not asked", "", "")


def test_a_gateway_without_keys_on_another_machine_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = way(monkeypatch, PLAIN)
    assert rows["resolvable"] == ("ok", "resolvable", "10.0.0.7, 10.0.0.8", "", "")
    words = "tcp://vps:5555, ZMTP 3.1, NULL"
    assert rows["port open"] == ("ok", "port open", words, "", "")
    assert rows["key accepted"] == (
        *("warn", "key accepted", "not required: plain text"),
        "any client that reaches the port may trade, and anybody in between reads along",
        "start the gateway with keys (`trueup keys new NAME`)",
    )
    words = "not required: plain text, only on this machine"
    here = way(monkeypatch, PLAIN, host="127.0.0.1")["key accepted"]
    assert here == ("ok", "key accepted", words, "", "")


@pytest.mark.parametrize(
    ("error", "because"),
    [
        (OSError(2, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_where_it_was_set(
    monkeypatch: pytest.MonkeyPatch, error: Exception, because: str
) -> None:
    rows = way(monkeypatch, PLAIN, error)
    assert rows["resolvable"] == (
        *("FAIL", "resolvable", f"vps: {because}", BLIND),
        "correct the host of GTW_HOST and GTW_PORT, or the name service",
    )
    assert rows["port open"] == ("-", "port open", "not asked", "", "")
    assert rows["key accepted"] == UNASKED


def test_a_port_that_refuses_and_one_that_drops_have_other_remedies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = NotSent("refused")
    refused.__cause__ = ConnectionRefusedError()
    rows = way(monkeypatch, refused)
    assert rows["port open"] == ("FAIL", "port open", "refused", BLIND, START_THERE)
    assert rows["key accepted"] == UNASKED
    assert way(monkeypatch, NotSent("late"))["port open"] == (
        *("FAIL", "port open", "late", BLIND),
        "see that the machine runs and that its firewall lets port 5555 pass; or " + START_THERE,
    )


def test_a_port_of_another_program_is_told_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert way(monkeypatch, Greeting("", NOTHING))["port open"] == (
        *("FAIL", "port open"),
        "tcp://vps:5555 takes connections and says nothing: the gateway there hangs, or another "
        "program has its port",
        BLIND,
        "look which process listens on port 5555: end it, and start the gateway again",
    )
    assert way(monkeypatch, Greeting("", "b'SSH'"))["port open"] == (
        *("FAIL", "port open"),
        "tcp://vps:5555 is open, and what listens there is no ZeroMQ (it said b'SSH')",
        BLIND,
        "end the other program that has port 5555, or correct the port of GTW_HOST and GTW_PORT",
    )


def test_keys_that_one_side_alone_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert way(monkeypatch, CURVE)["key accepted"] == (
        *("FAIL", "key accepted", "the gateway requires a key", BLIND),
        "`trueup keys new NAME`, have its public key allowed at the gateway, then set "
        "GTW_SERVER_KEY and GTW_KEY_FILE",
    )
    own = new_keys(tmp_path, "bot")
    keys = {"server_key": own.public, "key_file": str(own.secret_file)}
    assert way(monkeypatch, PLAIN, **keys)["key accepted"] == (
        *("FAIL", "key accepted", "keys are set, and the gateway speaks plain text only", BLIND),
        "start the gateway with keys, or unset GTW_SERVER_KEY and GTW_KEY_FILE",
    )
    row = way(monkeypatch, PLAIN, server_key=own.public)["key accepted"]
    assert (row[0], row[3]) == ("FAIL", BLIND)
    assert "GTW_KEY_FILE" in row[2]
    assert row[4] == "correct GTW_SERVER_KEY and GTW_KEY_FILE"
