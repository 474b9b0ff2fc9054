"""A run is a function of its plan, and without faults book and broker never differ."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import TypeVar
from unittest.mock import Mock

import msgspec
import pytest

from tests.support import make
from tests.world.mutants import deals_as_told, duplicate_fill_counted
from trueup.core.account import trust
from trueup.core.book import saved as saved_book
from trueup.core.book.book import Book
from trueup.core.model import Side
from trueup.errors import Refused
from trueup.lab.facts import facts
from trueup.lab.faults.people import lose_fill
from trueup.lab.faults.strikes import strike
from trueup.lab.plan.plan import Fault, Strike, calm, draw
from trueup.lab.plan.shrink import shortest
from trueup.lab.runs import run as run_module
from trueup.lab.runs.run import run
from trueup.lab.system.retelling import retold
from trueup.lab.system.schedule import SECOND
from trueup.lab.system.wire import FASTEST_NS, SPAN_NS
from trueup.lab.world.world import SYNCS_AFTER_SEC, World
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncResult
from trueup.runtime.sync.schedule import SyncSchedule

Kind = TypeVar("Kind", bound=facts.Fact)


class Notes:
    """A watcher that keeps everything."""

    def __init__(self) -> None:
        self.facts: list[facts.Fact] = []

    def observe(self, fact: facts.Fact) -> None:
        """Take in a fact."""
        self.facts.append(fact)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The facts of one kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_plan_gives_the_same_run(seed: int) -> None:
    first, again = run(draw(seed)), run(draw(seed))
    assert first.digest == again.digest
    assert first.events == again.events


def test_a_run_tells_nothing_of_the_process_that_it_runs_in() -> None:
    # Here a bot looks at the broker after another has taken its journal over.
    told: list[facts.Fact] = []
    run(draw(237), tell=told.append)
    assert any(
        "was taken over by B" in fact.said for fact in told if isinstance(fact, facts.Synced)
    )
    assert not [fact for fact in told if f"process {os.getpid()}" in str(fact)]


def test_another_seed_gives_another_run() -> None:
    assert run(draw(1)).digest != run(draw(2)).digest


@pytest.mark.parametrize("seed", range(5))
def test_without_faults_every_sync_is_believed(seed: int) -> None:
    notes = Notes()
    run(calm(seed), watchers=[notes])
    syncs = notes.of(facts.Synced)
    assert len(syncs) > 5
    assert all(sync.believed for sync in syncs)
    assert not notes.of(facts.Faulted)


def test_a_run_in_which_the_program_itself_fails_is_a_broken_promise_with_a_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("ORD_1")

    monkeypatch.setattr(PortfolioManager, "submit", fail)
    report = run(draw(1))
    assert [one.invariant for one in report.violations] == [1]
    said = report.violations[0].sentence
    assert said.startswith("the program failed, and the run broke off: KeyError: 'ORD_1' (")
    assert "trader.py line " in said
    # It is cut down like any other: this one fails without any fault.
    assert shortest(report, run).plan.strikes == ()


def test_a_run_that_hangs_without_an_event_is_a_broken_promise_with_a_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spin(*_: object, **__: object) -> None:
        while True:
            pass

    monkeypatch.setattr(run_module, "RUN_CPU_S_MOST", 0.3)
    monkeypatch.setattr(PortfolioManager, "submit", spin)
    report = run(draw(1))
    assert [one.invariant for one in report.violations] == [1]
    said = report.violations[0].sentence
    assert "nothing came to an end within 0.3 s of the processor (" in said
    assert "test_world_runs.py line " in said


def test_a_run_that_gets_no_processor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Far less than the run takes, on a machine whose processor others use.
    monkeypatch.setattr(run_module, "RUN_CPU_S_MOST", 0.001)
    monkeypatch.setattr("time.process_time", lambda: 0.0)
    assert not run(draw(1)).violations


def is_overtaken(fault: Fault) -> tuple[bool, bool]:
    """Return whether a request, and whether a reply, of a run comes after a later one."""
    strikes = tuple(Strike(n, n * 1_000, fault) for n in range(1, 16))
    world = World(msgspec.structs.replace(calm(0), strikes=strikes))
    network = world.network
    request, serve = network.request, network.serve
    sent_ns: dict[int, int] = {}
    served_ns: dict[bytes, int] = {}
    requests: list[int] = []
    replies: list[int] = []

    def noted(message: bytes, reply_to: Callable[[bytes], None]) -> None:
        sent_ns[id(message)] = world.now_ns

        def reply(text: bytes) -> None:
            replies.append(served_ns[text])
            reply_to(text)

        request(message, reply)

    def noted_service(message: bytes) -> bytes | None:
        requests.append(sent_ns[id(message)])
        reply = serve(message)
        if reply is not None:
            served_ns[reply] = world.now_ns
        return reply

    network.request, network.serve = noted, noted_service  # type: ignore[method-assign]
    world.run()
    # Within the time that a message takes at most, two may change places without any fault.
    way_ns = FASTEST_NS + SPAN_NS
    return tuple(  # type: ignore[return-value]
        any(after < before - way_ns for before, after in pairwise(times))
        for times in (requests, replies)
    )


@pytest.mark.parametrize(
    ("fault", "of_requests", "of_replies"),
    [
        (Fault.HAND_OPENS, False, False),
        (Fault.REQUESTS_REORDERED, True, False),
        (Fault.REPLIES_REORDERED, False, True),
    ],
)
def test_what_is_overtaken_comes_after_a_later_one(
    fault: Fault, of_requests: bool, of_replies: bool
) -> None:
    assert is_overtaken(fault) == (of_requests, of_replies)


def test_fills_that_are_told_again_change_nothing_and_a_book_that_counts_them_is_caught() -> None:
    notes = Notes()
    assert run(calm(0), watchers=[notes]).is_good
    said = {one.what for one in notes.of(facts.Repeated)}
    assert said - {f"each of its last {count} fills" for count in (0, 1)}
    with duplicate_fill_counted():
        broken = {violation.invariant for violation in run(calm(0)).violations}
    assert 6 in broken


def test_readings_told_in_another_way_come_to_the_same_and_an_order_of_deals_is_caught() -> None:
    notes = Notes()
    assert run(draw(0), watchers=[notes]).is_good
    told = notes.of(facts.Retold)
    # One that the bot made by itself, and one after it traded.
    assert 4 < len(told) <= len(SYNCS_AFTER_SEC) + 2
    assert any(one.first for one in told)
    assert all(one.first == one.second and not one.changes for one in told)
    with deals_as_told():
        # Not every seed has two deals of one moment; one of the first has.
        found = ({one.invariant for one in run(draw(seed)).violations} for seed in range(20))
        assert {6} in found


def test_a_reading_told_in_another_way_has_the_same_rows_and_what_is_past_twice() -> None:
    rows = tuple(make.position(number) for number in range(1, 9))
    deals = tuple(make.deal(number, 1, Side.BUY, 0.1) for number in range(1, 9))
    seen = make.proven(*rows, deals=deals)
    again = retold(seen, Random(7))
    assert tuple(again.positions) != rows
    assert sorted(again.positions, key=lambda row: row.ticket) == list(rows)
    assert again.evidence is not None
    assert Counter(deal.ticket for deal in again.evidence.deals) == dict.fromkeys(range(1, 9), 2)
    assert msgspec.structs.replace(again.evidence, deals=deals) == seen.evidence


@pytest.mark.parametrize("seed", range(4))
def test_a_fault_strikes_one_order_whatever_else_waits_for_a_deal(seed: int) -> None:
    faults = (*(Fault.LATE_DEALS for _ in range(4)), Fault.REFUSED_EXECUTED)
    strikes = tuple(Strike(n, n, fault) for n, fault in enumerate(faults, start=1))
    notes = Notes()
    assert run(msgspec.structs.replace(calm(seed), strikes=strikes), watchers=[notes]).is_good
    struck = notes.of(facts.Faulted)
    assert [one.kind for one in struck].count("REFUSED_EXECUTED") == 1


@pytest.mark.parametrize("fault", [Fault.OTHER_ACCOUNT, Fault.SAME_LOGIN_ELSEWHERE])
@pytest.mark.parametrize("seed", range(2))
def test_a_bot_that_believes_another_account_is_caught(
    seed: int, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = calm(seed)
    setting = msgspec.structs.replace(plan.setting, pins_account=False, sync_interval_ms=1_000)
    strikes = tuple(Strike(n, 3_000 * n, fault) for n in range(1, 6))
    plan = msgspec.structs.replace(plan, setting=setting, strikes=strikes)
    assert run(plan).is_good
    rules = tuple(rule for rule in trust.RULES if rule is not trust._wrong_account)
    monkeypatch.setattr(trust, "RULES", rules)
    assert not run(plan).is_good


HABITS = (
    Fault.COMMENT_REWRITTEN,
    Fault.COMMENT_CUT,
    Fault.LATE_POSITIONS,
    Fault.LATE_DEALS,
    Fault.LATE_ORDERS,
)


@pytest.mark.parametrize("fault", [*HABITS, Fault.LIST_EMPTY, Fault.LIST_HALF])
def test_a_fault_counts_when_it_changed_something(fault: Fault) -> None:
    world, notes = World(calm(0)), Notes()
    world.watchers.append(notes)
    world.begin()
    (trader,) = world.traders
    trader.is_quiet = True
    for number in range(20):
        strike(world, Strike(number, 0, fault))
        world.schedule.run(world.now_ns + SECOND)
    # There was no order, no position and no row.
    assert not notes.of(facts.Faulted)
    trader.is_quiet = False
    world.schedule.run(world.now_ns + 60 * SECOND)
    told = [one.kind for one in notes.of(facts.Faulted)]
    assert told
    assert set(told) == {fault.name}
    if fault in HABITS:
        assert len(told) == 1


@pytest.mark.parametrize("is_open", [False, True])
def test_the_end_of_a_day_counts_where_something_is_open(is_open: bool) -> None:
    world, notes = World(calm(0)), Notes()
    if is_open:
        strike(world, Strike(1, 0, Fault.HAND_OPENS))
    world.watchers.append(notes)
    strike(world, Strike(2, 0, Fault.DAY_CHANGED))
    assert len(notes.of(facts.Faulted)) == is_open


def test_whoever_asks_the_broker_hears_of_a_fill_that_was_struck_out_since() -> None:
    """Seed 5002956: the person who was asked whose order it was called it cancelled."""
    world = World(calm(0))
    world.begin()
    struck = ""
    while not struck:
        world.schedule.run(world.now_ns + SECOND)
        struck = lose_fill(world, world.plan.chance("strike"))
    pm = world.bot.pm
    assert pm is not None
    (held,) = (pm.book.orders_by_ticket[ticket] for ticket in world.struck_out)
    told = world.true_answer(held.token)
    assert told["status"] == "FILLED"
    assert (told["filled_price"], told["filled_volume"]) == (held.fill_price, held.filled_volume)


def test_a_bot_that_was_killed_starts_from_what_it_saved_on_the_way_and_is_held_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills = tuple(Strike(n, 5_000 * n, Fault.KILL_ANYWHERE) for n in range(1, 4))
    plans = [msgspec.structs.replace(calm(seed), strikes=kills) for seed in range(8)]
    restored = Mock(wraps=Book.restore)
    monkeypatch.setattr("trueup.runtime.bot.kept_book.Book.restore", restored)
    assert all(run(plan).is_good for plan in plans)
    # About a third of the bots save nothing on the way.
    assert restored.call_count > len(plans)
    fill_from = saved_book.fill_from

    def forgetting(book: Book, state: bytes) -> None:
        fill_from(book, state)
        book.unexplained.clear()

    monkeypatch.setattr("trueup.core.book.book.fill_from", forgetting)
    assert any(broken.invariant == 5 for plan in plans for broken in run(plan).violations)


def never_again(self: StateReconciler) -> SyncResult | None:
    """Sync by itself until a first reading was believed, and no more."""
    return None if self.sync_count > 1 else sync_continuous(self)


def failed_for_good(self: SyncSchedule, now_ns: int, interval_sec: float, **_: bool) -> None:
    """Wait for ever once a look came to nothing."""
    self.due_ns = now_ns + 10**6 * SECOND


sync_continuous = StateReconciler.sync_continuous


@pytest.mark.parametrize(
    ("kind", "name", "broken"),
    [
        (StateReconciler, "sync_continuous", never_again),
        (SyncSchedule, "failed", failed_for_good),
    ],
)
def test_a_bot_that_stops_looking_by_itself_is_caught_though_it_syncs_when_it_is_told_to(
    kind: type, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies_lost = tuple(Strike(n, 4_000 * n, Fault.REPLY_LOST) for n in range(1, 5))
    plan = msgspec.structs.replace(calm(1), strikes=replies_lost)
    assert run(plan).is_good
    monkeypatch.setattr(kind, name, broken)
    (violation,) = run(plan).violations
    assert violation.invariant == 1
    assert violation.sentence == (
        "A did not look at the broker by itself within 150 s after the faults had ended"
    )


def test_a_bot_goes_on_by_itself_after_a_sync_by_hand_that_took_longer_than_its_turn() -> None:
    """Its turns, which fell due meanwhile, were left out for ever."""
    world = World(calm(0))
    world.begin()
    world.schedule.run(world.now_ns + 5 * SECOND)
    bot = world.bot
    assert bot.reconciler is not None
    world.network.cut_until_ns = world.now_ns + 3 * SECOND
    bot.sync()
    before = bot.reconciler.sync_count
    world.network.heal()
    world.schedule.run(world.now_ns + 90 * SECOND)
    assert bot.reconciler.sync_count > before


def test_a_bot_closes_all_it_has_at_the_end_and_opens_one_position() -> None:
    notes = Notes()
    assert run(calm(0), watchers=[notes]).is_good
    (position,) = notes.of(facts.BookSeen)[-1].positions
    assert (position.side, position.units) == ("buy", facts.UNITS // 100)


def test_a_bot_that_cannot_trade_at_the_end_and_does_not_say_why_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Refused("No close: not today.")

    monkeypatch.setattr(PortfolioManager, "close", refuse)
    (violation,) = run(calm(0)).violations
    assert violation.invariant == 1
    assert "A cannot close 1" in violation.sentence
    assert violation.sentence.endswith(": No close: not today.")
