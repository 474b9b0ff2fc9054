"""Each kind of finding: it is reported when it happens, with its proof, and not otherwise."""

from __future__ import annotations

import pytest

from tests.shadow.world import BOT, BUY, EURUSD, OTHER, OTHER_LOGIN, SELL, ShadowWorld, tickets
from trueup.doors.shadow.deals import FAR_EVERY
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.observe.shadow.making import report_of
from trueup.observe.shadow.report import Finding, Kind
from trueup.observe.shadow.text import NOTHING, headline, write_report
from trueup.sim.terminal.terminal_faults import Fails


def fail_history(world: ShadowWorld) -> None:
    """From now on the terminal gives no history of deals."""
    world.terminal.faults.next_call("history_deals_get", *[Fails(mt5.RES_E_FAIL)] * 1_000)


def only(world: ShadowWorld, kind: Kind) -> Finding:
    """The one finding of a kind."""
    (found,) = world.report().of(kind)
    return found


def test_a_bot_that_does_all_by_itself_has_nothing_in_the_report(world: ShadowWorld) -> None:
    world.begin()
    bot = world.terminal.robot(BOT)
    with world.gateway.terminal():
        ticket = bot.open(EURUSD, BUY, 0.1, sl=1.09)
    world.look()
    with world.gateway.terminal():
        bot.close(ticket, 0.04)
    world.look()
    with world.gateway.terminal():
        bot.close(ticket)
    world.look()
    report = world.report()
    assert report.findings == ()
    assert (report.opened, report.closed, report.open_now) == (1, 1, 0)
    assert headline(report) == NOTHING


def test_a_stop_loss_makes_a_ghost_with_its_price_and_its_proof(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.0950)
    world.look()
    with world.gateway.terminal():
        world.price(-60)
    world.look()
    ghost = only(world, Kind.GHOST)
    assert ghost.ticket == ticket
    assert "LONG 0.10 lots of EURUSD is gone: closed by its stop loss" in ghost.seen
    assert "comment '[sl 1.095" in ghost.proof
    assert "it would manage 0.10 lots that do not exist" in ghost.meant
    assert "not know a result of -61.00" in ghost.meant
    assert ghost.at_ns <= ghost.seen_ns


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (mt5.ORDER_REASON_CLIENT, "by hand in the terminal"),
        (mt5.ORDER_REASON_MOBILE, "by hand on the phone"),
        (mt5.ORDER_REASON_WEB, "by hand in the browser"),
    ],
)
def test_a_hand_that_closes_the_bot_s_position_is_named(
    world: ShadowWorld, reason: int, words: str
) -> None:
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, SELL, 0.2, sl=1.2)
    world.begin()
    with world.gateway.terminal():
        world.terminal.somebody(reason).close(ticket)
    world.look()
    ghost = only(world, Kind.GHOST)
    assert f"closed {words}" in ghost.seen
    assert "SHORT 0.20 lots" in ghost.meant


def test_what_hands_and_other_programs_open_is_a_zombie(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        by_hand = world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0)
        by_other = world.terminal.robot(OTHER).open(EURUSD, SELL, 0.3, sl=1.2)
    world.look()
    with world.gateway.terminal():
        world.terminal.person.close(by_hand)
    world.look()
    first, second = world.report().of(Kind.ZOMBIE)
    assert {first.ticket, second.ticket} == {by_hand, by_other}
    told = {one.ticket: one for one in (first, second)}
    assert "opened by hand in the terminal" in told[by_hand].seen
    assert "closed by hand in the terminal after 2 s" in told[by_hand].seen
    assert "opened by another program (magic 9)" in told[by_other].seen
    assert told[by_other].until_ns == 0
    assert tickets(world.report(), Kind.GHOST) == []


def test_without_named_magics_every_program_is_the_bot(world: ShadowWorld) -> None:
    world.begin(())
    with world.gateway.terminal():
        world.terminal.robot(OTHER).open(EURUSD, SELL, 0.3, sl=1.2)
    world.look()
    assert world.report().findings == ()
    assert world.report().opened == 1


def test_what_opens_and_closes_between_two_looks_is_found_by_its_deals(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        hand = world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0)
        world.terminal.person.close(hand)
        own = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.0950)
        world.price(-60)
    world.look()
    assert tickets(world.report(), Kind.ZOMBIE) == [hand]
    assert tickets(world.report(), Kind.GHOST) == [own]


def test_others_who_change_the_volume_or_the_stops_make_a_drift(world: ShadowWorld) -> None:
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 0.3, sl=1.09)
    world.begin()
    with world.gateway.terminal():
        world.terminal.person.close(ticket, 0.1)
    world.look()
    with world.gateway.terminal():
        world.terminal.person.modify(ticket, sl=1.08, tp=1.12)
    world.look()
    volume, stops = world.report().of(Kind.DRIFT)
    assert "0.10 lots were closed by hand in the terminal" in volume.seen
    assert volume.seen.endswith("0.30 → 0.20 lots")
    assert stops.seen == "Stop loss 1.09 → 1.08, take profit none → 1.12"
    assert "keeps no record of who" in stops.proof


def test_a_reversal_by_hand_on_a_netting_account_is_told_with_both_sides(
    netting: ShadowWorld,
) -> None:
    world = netting
    with world.gateway.terminal():
        world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.09)
    world.begin()
    with world.gateway.terminal():
        world.terminal.person.open(EURUSD, SELL, 0.3)
    world.look()
    turned = only(world, Kind.REVERSAL)
    assert "LONG 0.10 lots → SHORT 0.20 lots" in turned.seen
    assert "its close would add to the position" in turned.meant
    assert tickets(world.report(), Kind.GHOST) == []
    # The other side has no stop; the side that had one is not said to lack it.
    assert "SHORT 0.20 lots of EURUSD has no stop loss" in only(world, Kind.MISSING_STOP).seen


def test_a_position_without_a_stop_is_told_with_its_length(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1)
        held = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1)
    world.look(15)
    with world.gateway.terminal():
        world.terminal.robot(BOT).modify(ticket, sl=1.09)
    world.look()
    bare = {one.ticket: one for one in world.report().of(Kind.MISSING_STOP)}
    assert set(bare) == {ticket, held}
    assert "had no stop loss for 32 s" in bare[ticket].seen
    assert bare[held].until_ns == 0
    with world.gateway.terminal():
        world.terminal.robot(BOT).close(held)
        world.terminal.robot(BOT).modify(ticket, sl=0.0)
    world.look()
    spans = [one for one in world.report().of(Kind.MISSING_STOP) if one.ticket == ticket]
    assert [one.until_ns == 0 for one in spans] == [False, True]


def test_a_deal_that_comes_late_is_told_with_how_late(world: ShadowWorld) -> None:
    world.begin()
    world.terminal.broker.switches.deal_lag_ms = 20_000
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.09)
    world.look(5)
    assert world.report().of(Kind.LATE_DEAL) == ()
    world.look(8)
    late = only(world, Kind.LATE_DEAL)
    assert late.ticket == ticket
    assert "18 to 20 s after its time" in late.seen
    # It is late, and the bot's own all the same.
    assert [one.kind for one in world.report().findings] == [Kind.LATE_DEAL]


def test_a_deal_that_comes_hours_late_is_found_by_the_long_look_back(world: ShadowWorld) -> None:
    world.begin()
    world.terminal.broker.switches.deal_lag_ms = 3 * 3_600_000
    with world.gateway.terminal():
        world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.09)
    world.look()
    world.terminal.broker.switches.deal_lag_ms = 0
    for _ in range(6):
        world.clock.advance(1_800)
        world.look()
    # The looks an hour back are past its time.
    assert world.report().of(Kind.LATE_DEAL) == ()
    world.look(FAR_EVERY)
    assert "s after its time" in only(world, Kind.LATE_DEAL).seen


def test_a_history_that_could_not_be_read_makes_no_late_deal(
    world: ShadowWorld,
) -> None:
    world.begin()
    # The gateway answers the question for positions, and stands still at the one for deals.
    fail_history(world)
    world.look(5)
    with world.gateway.terminal():
        world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.09)
    world.look(5)
    world.terminal.faults.clear_calls()
    world.look(2)
    assert world.report().findings == ()
    assert world.report().opened == 1


def test_a_watch_that_cannot_read_deals_at_first_begins_with_them_later(
    world: ShadowWorld,
) -> None:
    world.terminal.person.close(world.terminal.person.open(EURUSD, BUY, 0.1, sl=1.0))
    fail_history(world)
    world.begin()
    with world.gateway.terminal():
        world.terminal.person.open(EURUSD, BUY, 0.2, sl=1.0)
    world.look()
    # Without a deal, the position itself says who opened it.
    assert "opened by hand" in only(world, Kind.ZOMBIE).seen
    world.terminal.faults.clear_calls()
    world.look(2)
    with world.gateway.terminal():
        own = world.terminal.robot(BOT).open(EURUSD, BUY, 0.3, sl=1.0)
        world.terminal.person.close(own)
    world.look()
    assert [one.kind for one in world.report().findings] == [Kind.ZOMBIE, Kind.GHOST]


def test_a_silent_gateway_makes_a_stale_period_and_marks_what_happened_in_it(
    world: ShadowWorld,
) -> None:
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.0950)
    world.begin(timeout_ms=2_000)
    world.gateway.stop()
    world.look()
    (silent,) = world.report().of(Kind.STALE)
    assert silent.until_ns == 0
    world.price(-60)
    world.gateway.start()
    world.look(3)
    silent = only(world, Kind.STALE)
    assert "No reading to believe for" in silent.seen
    assert silent.until_ns is not None
    assert silent.until_ns > silent.at_ns
    ghost = only(world, Kind.GHOST)
    assert (ghost.ticket, ghost.meanwhile) == (ticket, "while no reading came")


def test_a_terminal_without_its_server_is_a_stale_period(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        world.terminal.disconnect()
    world.look(5)
    with world.gateway.terminal():
        world.terminal.reconnect()
    world.look(5)
    assert "no connection to its trade server" in only(world, Kind.STALE).seen


def test_the_end_of_a_watch_does_not_end_a_stale_period(world: ShadowWorld) -> None:
    watch = world.begin(looks=3)
    with world.gateway.terminal() as terminal:
        terminal.disconnect()
    world.clock.advance(60)
    watch.run(0.0, lambda: True, lambda: None)
    (stale,) = report_of(world.events()).of(Kind.STALE)
    assert stale.until_ns == 0


def test_another_account_on_the_terminal_is_said_and_its_positions_are_not_taken(
    world: ShadowWorld,
) -> None:
    watch = world.begin()
    with world.gateway.terminal():
        world.terminal.switch_account(OTHER_LOGIN)
    world.look(4)
    assert f"logged in to {OTHER_LOGIN}@" in watch.trouble
    with world.gateway.terminal():
        world.terminal.switch_account(world.terminal.home_login)
    world.look(8)
    assert watch.trouble == ""
    stale = only(world, Kind.STALE)
    assert f"logged in to {OTHER_LOGIN}@" in f"{stale.seen} {stale.proof}"


def test_a_deposit_is_a_balance_operation_and_no_result(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        login = world.terminal.ledger.setup.login
        world.terminal.broker.balance_operation(login, mt5.DEAL_TYPE_BALANCE, 500.0, "thanks")
    world.look()
    cash = only(world, Kind.CASH)
    assert cash.seen == "500.00 by a balance operation (balance)"
    assert "comment 'thanks'" in cash.proof


def test_a_night_s_swap_is_told(world: ShadowWorld) -> None:
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 1.0, sl=1.0)
    world.begin()
    world.clock.advance(86_400)
    world.look(3)
    swaps = world.report().of(Kind.SWAP)
    assert [one.ticket for one in swaps] == [ticket]
    assert "of swap was" in swaps[0].seen
    # A watch that is started again counts the swap of that night no second time.
    world.end()
    world.begin()
    assert world.report().of(Kind.SWAP) == swaps


def test_a_rollover_that_reopens_a_position_is_a_swap_and_no_ghost(world: ShadowWorld) -> None:
    with world.gateway.terminal():
        ticket = world.terminal.robot(BOT).open(EURUSD, BUY, 0.1, sl=1.0)
    world.begin()
    with world.gateway.terminal():
        login = world.terminal.ledger.setup.login
        world.terminal.broker.reopen(login, ticket, 1.1005, mt5.DEAL_REASON_ROLLOVER)
    world.look(2)
    (swap,) = world.report().findings
    assert (swap.kind, swap.position) == (Kind.SWAP, ticket)
    assert "opened again at 1.1005 by a rollover" in swap.seen
    assert world.report().open_now == 1


def test_the_text_of_a_report_fits_into_80_columns_and_has_all_parts(world: ShadowWorld) -> None:
    world.begin()
    with world.gateway.terminal():
        world.terminal.person.open(EURUSD, BUY, 0.1)
    world.look()
    text = write_report(world.report())
    assert max(map(len, text.splitlines())) <= 80
    for part in ("2 things that a bot would not know", "Zombies", "seen", "proof", "meant", "UTC"):
        assert part in text
