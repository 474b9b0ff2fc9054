"""What nobody can know without a real terminal, answered either way: the books agree all the same.

The questions are those that the documents of MetaTrader 5 leave open. Each is a switch of the
simulated terminal, or a fault where it is about one call. One story, in which everything that the
questions are about happens, is played under every answer to each of them.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import pytest

from tests.support.desk_world import BUY, HEDGING, NETTING, SELL, DeskWorld, agree
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.market.switches import (
    DealOrder,
    DealTicketMeans,
    DownSend,
    FiguresFrom,
    ListAnswer,
    OnReversal,
    OptionOff,
    Switches,
)
from trueup.sim.market.symbols import EURUSD, AccountSetup
from trueup.sim.terminal import terminal_faults

A_DAY_SEC = 86_400
SYNCS_UNTIL_AGREED = 12

# By question: the switches, and for each the answers that differ from what is likely.
QUESTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "lists without a link": {
        "disconnected_list": tuple(ListAnswer),
        "connected_flag_lag_ms": (3_000,),
        "resync_ms": (3_000,),
    },
    "lists after a start or another login": {
        "unsynchronised_list": tuple(ListAnswer),
        "unsynchronised_account_known": (False,),
        "initialize_waits_for_synchronisation": (True,),
        "synchronise_ms": (0, 8_000),
    },
    "which ticket history_deals_get means": {"deal_ticket_means": tuple(DealTicketMeans)},
    "sending without a link": {
        # That one call blocks is the fault `Hang`, and no matter of agreement.
        "disconnected_send": tuple(way for way in DownSend if way is not DownSend.BLOCKS),
    },
    "delays": {
        "position_lag_ms": (800,),
        "order_lag_ms": (800,),
        "deal_lag_ms": (5_000,),
        "order_history_lag_ms": (5_000,),
        "account_lag_ms": (800,),
        "account_figures": tuple(FiguresFrom),
        "deal_order": tuple(DealOrder),
    },
    "comments": {
        "comment_characters_max": (16,),
        "comment_replaced_by": ("", "broker"),
        "comment_prefix": ("#",),
        "stop_comment": ("",),
        "stop_out_comment": ("",),
    },
    "reversal on netting": {
        "reversal_time": tuple(OnReversal),
        "reversal_price_open": tuple(OnReversal),
        "reversal_magic": tuple(OnReversal),
        "reversal_comment": tuple(OnReversal),
        "addition_changes_magic": (True,),
    },
    "rollover": {
        "reopening_changes_ticket": (False,),
        "reopening_changes_identifier": (True,),
        "automatic_day_change": (False,),
    },
    "the server's clock": {
        "server_offset_minutes": (0, -300, 180),
        "dst_jumps": (((1_700_000_060_000, 60),), ((1_700_000_060_000, 180),)),
    },
    "the option against Python": {"python_option_off": tuple(OptionOff)},
    "how long a call may block": {},
    "a read-only login": {"investor_list": tuple(ListAnswer)},
    "stops": {
        "stop_close_keeps_magic": (False,),
        "stop_fills_at_level": (True,),
        "stop_order_listed_ms": (3_000,),
        "volume_dust": (False,),
    },
    "what exchanges do": {
        "filled_orders_listed_ms": (3_000,),
        "positions_show_client": (True,),
    },
    "what an answer says": {
        "random_request_ids": (True,),
        "answers_with_request_comment": (True,),
    },
}
ANSWERS = [
    pytest.param({name: value}, id=f"{name}={value}")
    for switches in QUESTIONS.values()
    for name, values in switches.items()
    for value in values
]
# What the story is about: by bot and by hand, the stops, the day change, the stop out.
HAPPENED = {
    mt5.DEAL_REASON_EXPERT,
    mt5.DEAL_REASON_CLIENT,
    mt5.DEAL_REASON_SO,
}
REOPENED = dataclasses.replace(EURUSD, swap_mode=mt5.SYMBOL_SWAP_MODE_REOPEN_CURRENT)


def test_every_question_is_a_switch_or_a_fault() -> None:
    fields = {field.name for field in dataclasses.fields(Switches)}
    for switches in QUESTIONS.values():
        assert switches.keys() <= fields
    assert hasattr(terminal_faults, "Hang")
    # Nothing of a switch's range is left out.
    for switches in QUESTIONS.values():
        for name, values in switches.items():
            kind = type(getattr(Switches(), name))
            if issubclass(kind, enum.Enum) and kind is not DownSend:
                assert set(values) == set(kind), name


class Story(DeskWorld):
    """A bot, a person and a terminal that everything happens to."""

    def look(self, after_sec: float = 2.0) -> None:
        """Reconcile, and see that nothing that is open was closed in the book."""
        before = set(self.book())
        self.sync(after_sec)
        gone = before - set(self.book())
        assert not gone & set(self.rows()), "closed in the book, and open at the broker"

    def agrees(self) -> bool:
        for _ in range(SYNCS_UNTIL_AGREED):
            if agree(self.book(), self.rows()):
                return True
            self.look(10.0)
        return agree(self.book(), self.rows())


def play(account: AccountSetup, **switches: Any) -> Story:
    """Play the story; the books agree wherever they can be expected to."""
    story = Story(account, specs=(REOPENED,), **switches)
    terminal = story.terminal
    story.look()
    story.trade(1, 0.2, sl=1.05)
    assert story.agrees()
    # A person adds and, on netting, turns it round.
    story.person.open("EURUSD", BUY, 0.1)
    story.look(0.1)
    story.person.open("EURUSD", SELL, 0.5)
    assert story.agrees()
    # The link drops, somebody trades elsewhere, the link returns.
    terminal.disconnect()
    story.look()
    story.trade(1, 0.1)
    story.person.open("EURUSD", BUY, 0.3)
    story.look()
    terminal.reconnect()
    assert story.agrees()
    # The terminal restarts, and looks different until it is synchronised.
    terminal.restart()
    for _ in range(20):
        if terminal.initialize():
            break
        story.look(1.0)
    story.look(0.1)
    assert story.agrees()
    # A read-only login, for a while.
    terminal.investor = True
    story.look()
    terminal.investor = False
    assert story.agrees()
    # The day changes, with swaps and re-openings; then the market takes the stops.
    story.wait(A_DAY_SEC)
    assert story.agrees()
    story.quote(1.04)
    assert story.agrees()
    # More than the account can carry: the broker closes it.
    story.person.open("EURUSD", BUY, 8.0)
    assert story.agrees()
    story.quote(1.025)
    assert story.agrees()
    assert {deal.reason for deal in story.ledger.deals.values()} >= HAPPENED
    for ticket, *_ in list(story.rows().values()):
        story.person.close(ticket)
    assert story.agrees()
    assert story.book() == {}
    return story


@pytest.mark.parametrize("account", [HEDGING, NETTING], ids=["hedging", "netting"])
@pytest.mark.parametrize("switches", ANSWERS)
def test_whatever_the_answer_is_the_books_agree(
    account: AccountSetup, switches: dict[str, Any]
) -> None:
    play(account, **switches)
