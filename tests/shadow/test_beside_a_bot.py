"""The watch disturbs nobody: it reads, keeps its own journal, and goes on with it after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.shadow.world import BOT, BUY, EURUSD, OTHER_LOGIN, ShadowWorld, tickets
from trueup import Account
from trueup.cli import app
from trueup.core.book import events
from trueup.doors.shadow.deals import FAR_EVERY
from trueup.doors.shadow.gateway import WatchingGateway, wait_for_account
from trueup.doors.shadow.watch import ALIVE_NS, refuse_other_journals
from trueup.errors import BrokerUnknown, JournalConflict, JournalError, Refused
from trueup.observe.shadow.making import report_of
from trueup.observe.shadow.report import Kind
from trueup.protocol.requests import QUERIES
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.sync.results import SyncResult
from trueup.runtime.time.clock import ManualClock


def client_of(world: ShadowWorld) -> WatchingGateway:
    return WatchingGateway(world.gateway.host, world.gateway.port, 1_000)


def test_all_that_the_watch_asks_for_is_reading(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.0950)
    world.look(2)
    with world.gateway.terminal():
        world.price(-60)
    world.look(2)
    assert set(world.gateway.actions) <= QUERIES
    assert world.gateway.actions["SNAPSHOT"] > 4


def test_the_client_of_a_watch_cannot_send_and_cannot_claim(world: ShadowWorld) -> None:
    with client_of(world) as client:
        order = {"order_id": "A", "symbol": EURUSD, "action": "BUY", "volume": 0.1}
        with pytest.raises(Refused, match="only reads"):
            client.send_order(order)
        with pytest.raises(Refused, match="only reads"):
            client.claim(None)  # type: ignore[arg-type]
    assert world.gateway.actions["BUY"] == 0


def test_a_bot_of_ours_keeps_its_claim_and_hears_of_no_neighbour(
    world: ShadowWorld, tmp_path: Path
) -> None:
    world.begin()
    with Account(world.gateway.client(), journal=tmp_path / "bot.db", clock=world.clock) as bot:
        bot.sync()
        order = bot.submit("buy", 0.1, symbol=EURUSD, sl=1.09)
        world.look(3)
        bot.sync()
        assert order.ticket
        assert bot.status["neighbours"] == []
    assert world.report().open_now == 1


def test_a_watch_that_was_killed_goes_on_and_says_what_it_missed(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        lost = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.0950)
        kept = world.terminal.robot(BOT).open(EURUSD, BUY, 0.2, sl=1.05)
    world.look()
    world.end()
    world.clock.advance(300)
    world.price(-60)
    by_hand = world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0)
    world.clock.advance(300)
    world.price(0)
    world.begin()
    report = world.report()
    assert tickets(report, Kind.GHOST) == [lost]
    assert tickets(report, Kind.ZOMBIE) == [by_hand]
    assert {one.meanwhile for one in (*report.of(Kind.GHOST), *report.of(Kind.ZOMBIE))} == {
        "while the watch was away"
    }
    (away,) = report.of(Kind.AWAY)
    assert "did not look for 10 min" in away.seen
    # What was open before, and stays open, is no news.
    assert kept not in {one.ticket for one in report.findings}
    assert report == report_of(world.events(), (BOT,))


def test_a_short_absence_without_news_ends_with_the_first_reading(world: ShadowWorld) -> None:
    world.begin()
    world.end()
    world.clock.advance(10)
    world.begin()
    (away,) = world.report().of(Kind.AWAY)
    assert away.until_ns
    with world.gateway.terminal():
        world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0)
    world.look()
    (zombie,) = world.report().of(Kind.ZOMBIE)
    assert zombie.meanwhile == ""


def test_what_happens_between_the_first_deals_and_the_first_positions_is_news(
    world: ShadowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = world.terminal.robot(BOT)
    ticket, kept = bot.open(EURUSD, BUY, 0.1, sl=1.0), bot.open(EURUSD, BUY, 0.2, sl=1.0)
    world.price(0)
    watch = world.begin(looks=0)
    refresh = StateReconciler.refresh

    def late(self: StateReconciler) -> SyncResult:
        monkeypatch.undo()
        world.clock.advance(5)
        world.terminal.person.close(ticket)
        world.price(0)
        world.clock.advance(5)
        world.price(0)
        return refresh(self)

    monkeypatch.setattr(StateReconciler, "refresh", late)
    watch.look()
    world.look(2)
    (ghost,) = world.report().findings
    assert (ghost.kind, ghost.ticket) == (Kind.GHOST, ticket)
    assert world.report().open_now == 1
    assert kept != ticket


def test_a_quiet_watch_records_that_it_lives_and_little_more(world: ShadowWorld) -> None:
    world.begin()
    world.look(60)
    seen = [one for one in world.events() if isinstance(one, events.BrokerSeen)]
    passed_ns = 62 * 2 * 1_000_000_000
    assert passed_ns // ALIVE_NS <= len(seen) <= passed_ns // ALIVE_NS + 2


def test_deals_from_before_the_watch_are_no_news(world: ShadowWorld) -> None:
    hand = world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0)
    world.terminal.person.close(hand)
    world.begin()
    world.look(3)
    assert world.report().findings == ()


def test_a_long_absence_is_read_in_parts_and_nothing_before_the_watch_is_news(
    world: ShadowWorld,
) -> None:
    for _ in range(3):
        world.terminal.person.close(world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0))
        world.clock.advance(40 * 86_400)
        world.price(0)
    world.begin()
    world.end()
    hands = []
    for _ in range(3):
        world.clock.advance(20 * 86_400)
        world.price(0)
        hands.append(world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0))
        world.terminal.person.close(hands[-1])
    world.begin()
    world.look(FAR_EVERY)
    assert tickets(world.report(), Kind.ZOMBIE) == hands
    assert world.report().of(Kind.LATE_DEAL) == ()


def test_a_market_without_a_quotation_has_its_old_deals_behind_it(world: ShadowWorld) -> None:
    world.terminal.person.close(world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0))
    # A weekend: the newest price is old, and the account is flat.
    world.clock.advance(3 * 86_400)
    watch = world.begin(looks=0, knows_clock=False)
    for _ in range(3):
        watch.look()
        world.clock.advance(2)
    assert watch.trouble == ""
    assert world.report().findings == ()


def test_the_status_of_a_watch_s_journal_is_refused_with_what_to_do(world: ShadowWorld) -> None:
    world.begin()
    world.end()
    done = CliRunner().invoke(app, ["status", "--journal", str(world.journal)])
    assert done.exit_code == 64
    assert "journal of a watch beside a bot; `trueup watch`" in " ".join(done.output.split())


def test_the_journal_of_a_bot_is_refused(world: ShadowWorld, tmp_path: Path) -> None:
    file = tmp_path / "bot.db"
    with Account(world.gateway.client(), journal=file, clock=world.clock) as bot:
        bot.sync()
        name = bot.name
    with pytest.raises(JournalError, match=r"has the book of a bot .* --journal of its own"):
        refuse_other_journals(file, name)


def test_a_bot_does_not_take_the_journal_of_a_watch(world: ShadowWorld) -> None:
    world.begin()
    with pytest.raises(JournalError, match=r"journal of a watch .* give the bot a journal of its"):
        Account(world.gateway.client(), journal=world.journal, clock=world.clock)
    world.end()
    # The watch has its journal alone, and goes on with it.
    world.begin()
    world.end()


def test_the_watch_of_another_account_is_refused_by_its_name(world: ShadowWorld) -> None:
    world.begin()
    world.end()
    server = world.terminal.ledger.setup.server
    with pytest.raises(JournalError, match=f"logged in to {OTHER_LOGIN}@{server}: log in"):
        refuse_other_journals(world.journal, f"{OTHER_LOGIN}@{server}")


def test_two_watches_never_write_one_journal(world: ShadowWorld) -> None:
    watch = world.begin()
    with pytest.raises(JournalConflict):
        world.begin()
    assert world.watch is watch


def test_a_gateway_that_is_off_is_waited_for_and_said_once(world: ShadowWorld) -> None:
    world.gateway.stop()
    said: list[str] = []
    asked = iter(range(100))

    def is_over() -> bool:
        if next(asked) == 8:
            world.gateway.start()
        return False

    with client_of(world) as client:
        found = wait_for_account(client, ManualClock(), is_over, said.append)
    assert found is not None
    assert found.account.login == world.terminal.home_login
    assert [text for text in said if "Waiting until it answers" in text] == said
    assert len(said) == 1


def test_the_end_comes_also_while_a_gateway_is_waited_for(world: ShadowWorld) -> None:
    world.gateway.stop()
    with client_of(world) as client:
        assert wait_for_account(client, ManualClock(), lambda: True, print) is None


def test_a_gateway_without_proof_is_refused(world: ShadowWorld) -> None:
    class Plain(WatchingGateway):
        def read(self, question: object = None) -> object:  # type: ignore[override]
            from trueup.core.model import Snapshot

            return Snapshot(())

    with (
        Plain(world.gateway.host, world.gateway.port, 1_000) as client,
        pytest.raises(BrokerUnknown, match="a watch takes a `trueup gateway`"),
    ):
        wait_for_account(client, ManualClock(), lambda: False, print)
