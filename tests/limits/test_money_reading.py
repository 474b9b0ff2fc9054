"""Figures and deals of an account are read together, each deal once, however long the time is."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.gateway.client.remote_terminal import RemoteTerminal
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.limits.money import AHEAD_SEC, SPAN_SEC, TRIES, Asked, MoneyReader, Read

NOW_SEC = 1_767_600_000
DAY_SEC = 86_400
ACCOUNT = {"login": 1, "server": "Demo", "balance": 100.0, "equity": 90.0, "credit": 0.0}


class Terminal(RemoteTerminal):
    """The reading functions of a terminal: deals by their seconds, and accounts one by one."""

    def __init__(self, seconds: Sequence[int] = (), *accounts: dict[str, Any]) -> None:
        self.seconds, self.accounts, self.asked = seconds, list(accounts), 0

    def account_info(self) -> Any:
        changes = self.accounts.pop(0) if self.accounts else {}
        return SimpleNamespace(**{**ACCOUNT, "currency": "USD", "currency_digits": 2, **changes})

    def history_deals_get(self, since: int, until: int) -> Any:
        self.asked += 1
        # As MetaTrader 5: both ends belong to the span.
        found = [self._deal(n, sec) for n, sec in enumerate(self.seconds) if since <= sec <= until]
        return found or None

    def last_error(self) -> tuple[int, str]:
        return mt5.RES_E_NOT_FOUND, "not found"

    def shutdown(self) -> bool:
        return True

    @staticmethod
    def _deal(number: int, sec: int) -> Any:
        money = {"profit": 1.0, "swap": 0.1, "commission": -0.2, "fee": -0.3}
        return SimpleNamespace(ticket=number + 1, time_msc=sec * 1000, type=0, **money)


def read(terminal: Terminal, since_sec: int) -> Read | str:
    gateway = SimpleNamespace(time_offset_sec=0, terminal=lambda: terminal)
    return MoneyReader().read(gateway, Asked(since_sec * 10**9, NOW_SEC * 10**9))


# The ends of the spans are those that a reader may count twice.
SPANS = st.integers(0, 60).map(lambda days: NOW_SEC - 60 * DAY_SEC + days * DAY_SEC)


@given(st.lists(st.one_of(SPANS, st.integers(NOW_SEC - 60 * DAY_SEC, NOW_SEC + DAY_SEC))))
def test_each_deal_of_a_long_time_is_read_once(seconds: list[int]) -> None:
    found = read(Terminal(seconds), NOW_SEC - 60 * DAY_SEC)
    assert isinstance(found, Read)
    assert sorted(deal.ticket for deal in found.ledger.deals) == list(range(1, len(seconds) + 1))
    assert all(deal.amount == pytest.approx(0.6) for deal in found.ledger.deals)
    assert found.name == "1@Demo"


def test_a_deal_at_the_end_of_a_span_is_read_once() -> None:
    since_sec = NOW_SEC - 3 * SPAN_SEC
    found = read(Terminal([since_sec + SPAN_SEC]), since_sec)
    assert isinstance(found, Read)
    assert len(found.ledger.deals) == 1
    assert found.ledger.since_msc < NOW_SEC * 1000 < (NOW_SEC + AHEAD_SEC) * 1000


@pytest.mark.parametrize(
    ("what", "value"),
    [("balance", 150.0), ("credit", 150.0), ("login", 2), ("server", "Elsewhere")],
)
def test_what_moves_while_the_deals_are_read_is_read_again(what: str, value: Any) -> None:
    moved = {what: value}
    terminal = Terminal([NOW_SEC], {}, moved, moved)
    found = read(terminal, NOW_SEC - DAY_SEC)
    assert isinstance(found, Read)
    now = {**ACCOUNT, **moved}
    assert (found.name, terminal.accounts) == (f"{now['login']}@{now['server']}", [])
    assert (found.money.balance, found.money.credit) == (now["balance"], now["credit"])
    restless = Terminal([NOW_SEC], *([{}, moved] * TRIES)[: TRIES + 1])
    said = read(restless, NOW_SEC - DAY_SEC)
    assert said == "the account or its balance changed while its deals were read"


def test_figures_that_are_no_numbers_are_not_used() -> None:
    assert read(Terminal([NOW_SEC], *[{"equity": float("nan")}] * 2), NOW_SEC) == (
        "the account's figures are no numbers"
    )


@pytest.mark.parametrize(
    ("known_sec", "apart_sec", "offset_sec"),
    [
        # What the gateway tells goes first.
        (7_200, 100 * DAY_SEC, 7_200),
        (0, 100 * DAY_SEC, 0),
        # A market that is played back has a clock of long ago.
        (None, -100 * DAY_SEC, -100 * DAY_SEC),
        (None, 3_600, None),
        (True, 3_600, True),
    ],
)
def test_the_clock_of_the_server_is_the_gateways_or_that_of_a_replayed_market(
    known_sec: int | None, apart_sec: int, offset_sec: int | None
) -> None:
    terminal = Terminal([NOW_SEC - 5])
    gateway = SimpleNamespace(time_offset_sec=known_sec, terminal=lambda: terminal)
    asked = Asked(
        (NOW_SEC - 60) * 10**9,
        NOW_SEC * 10**9,
        server_time_msc=(NOW_SEC + apart_sec) * 1000,
    )
    found = MoneyReader().read(gateway, asked)
    assert isinstance(found, Read)
    assert found.ledger.offset_sec == offset_sec
    assert (found.name, found.money.balance, found.money.equity) == ("1@Demo", 100.0, 90.0)
    assert (found.money.credit, found.money.currency) == (0.0, "USD")
