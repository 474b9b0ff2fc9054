"""Money is told with the decimals of its account: yen have none, dinars three, bitcoin eight."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re

import msgspec
import pytest
from rich.console import Console

from tests.cli.bot_world import BotWorld
from tests.cli.test_status_text import QUIET
from tests.support.desk_world import COSTLY, DeskLink
from trueup.cli.terminal.running_terminal import position_lines
from trueup.core.book.events import AccountBound
from trueup.core.model import MarginMode
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal.memory import MemoryJournal
from trueup.journal.rows.codec import decode, encode
from trueup.observe.live_view.drawing import render
from trueup.observe.replay_text import write_scene
from trueup.observe.status.status import Money
from trueup.observe.status_text import write_status
from trueup.runtime.doctor.gateway import GatewayVisit
from trueup.runtime.doctor.line import Target
from trueup.runtime.story.replay import replay
from trueup.sim.market.symbols import USDJPY, AccountSetup, SymbolSetup
from trueup.sim.process.person_desk import PersonDesk

BTCUSD = SymbolSetup(
    name="BTCUSD",
    currency_base="BTC",
    currency_profit="USD",
    digits=2,
    contract_size=1.0,
    calc_mode=mt5.SYMBOL_CALC_MODE_CFD,
    bid=60_000.0,
    ask=60_001.0,
)
USDKWD = dataclasses.replace(
    USDJPY, name="USDKWD", currency_profit="KWD", digits=5, bid=0.307, ask=0.3071
)
SYMBOLS = (COSTLY, USDJPY, BTCUSD, USDKWD)
YEN = AccountSetup(currency="JPY", currency_digits=0, balance=1_000_000.0)
DINAR = AccountSetup(currency="KWD", currency_digits=3, balance=3_000.0)
BITCOIN = AccountSetup(currency="BTC", currency_digits=8, balance=0.5)
ACCOUNTS = pytest.mark.parametrize("account", [YEN, DINAR, BITCOIN], ids=lambda a: a.currency)
# An amount of money behind the word that says which one it is.
MONEY = re.compile(
    r"(?:profit|swap|commission|realised|result|result so far|balance|Equity)\s+"
    r"([+-]?\d+(?:\.(\d+))?)"
)


def opened(account: AccountSetup, journal: MemoryJournal | None = None) -> BotWorld:
    """A bot of this account that holds 0.02 lots, and a price that has moved since."""
    world = BotWorld(account, specs=SYMBOLS, journal=journal)
    for setup in SYMBOLS[1:]:
        world.broker.quote(setup.bid, setup.name, setup.ask - setup.bid)
    world.broker.sync()
    world.broker.pm.submit("buy", 0.02, sl=1.05)
    world.broker.quote(1.10370)
    world.broker.sync()
    return world


def amounts(text: str, account: AccountSetup) -> list[float]:
    """The amounts of a text, each with the decimals of the account."""
    found = MONEY.findall(text)
    assert found, text
    assert {len(decimals) for _, decimals in found} == {account.currency_digits}, text
    return [float(amount) for amount, _ in found]


def closed(world: BotWorld) -> float:
    """Let a hand close the position, and return the broker's result."""
    (ticket,) = world.broker.tickets()
    world.broker.person.close(ticket)
    ledger = world.broker.ledger
    deals = [deal for deal in ledger.deals.values() if deal.symbol]
    result = sum(deal.profit + deal.commission + deal.fee for deal in deals)
    return round(result, ledger.setup.currency_digits)


@ACCOUNTS
def test_log_audit_and_result_say_the_result_to_the_last_decimal(
    account: AccountSetup, caplog: pytest.LogCaptureFixture
) -> None:
    world = opened(account)
    result = closed(world)
    with caplog.at_level(logging.INFO, "trueup.reconciler"):
        synced = world.broker.sync()
    told = world.broker.reconciler.get_audit_trail()[-1]["details"]
    logged = next(text for text in caplog.messages if text.startswith("[EXPLAINED]"))
    assert amounts(told, account) == amounts(logged, account)
    assert amounts(told, account) == amounts(synced.explanations[-1], account)
    trail = world.broker.reconciler.get_audit_trail()
    (entry,) = [one["details"] for one in trail if one["action"] == "EXPLAINED"]
    said = [*amounts(entry, account), *amounts(told, account)]
    assert round(sum(said), account.currency_digits) == result
    assert round(world.broker.pm.realised, 8) == result


@ACCOUNTS
def test_the_plan_says_the_result(account: AccountSetup) -> None:
    world = opened(account)
    result = closed(world)
    world.broker.wait(2.0)
    plan = world.look("plan")
    assert f"result {result:.{account.currency_digits}f}" in plan["text"]
    amounts(plan["text"], account)
    amounts(json.dumps(plan["plan"]), account)


@ACCOUNTS
def test_status_replay_and_live_view_say_money_of_the_account(account: AccountSetup) -> None:
    journal = MemoryJournal()
    world = opened(account, journal)
    world.broker.person.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.01)
    closed(world)
    world.broker.sync()
    amounts(write_status(world.status()), account)
    scene = replay(journal.records(), "EURUSD", world.broker.clock.now_ns(), 5)
    amounts(write_scene(scene), account)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(world.status(), "", 100))
    amounts(console.export_text(), account)


@ACCOUNTS
def test_doctor_terminal_and_rebinding_say_money_of_the_account(
    account: AccountSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    world = opened(account)
    target = Target("127.0.0.1", 5555, 1_000, "a test")
    link = DeskLink(world.broker.desk.handle)
    visit = GatewayVisit(target, link, world.broker.clock, None, "visit")
    rows = {row.check: row for row in visit.rows()}
    assert amounts(rows["account"].found, account) == [world.broker.ledger.balance]
    person = PersonDesk(world.broker.terminal, "EURUSD", dict, lambda: None)
    lines = position_lines(json.loads(person.handle(b'{"command":"list"}')))
    assert amounts(lines[0], account)[1] == world.broker.ledger.balance
    amounts("\n".join(lines), account)
    assert world.look("account")["currency_digits"] == account.currency_digits


def test_a_book_that_was_bound_before_the_decimals_were_noted_tells_money_all_the_same() -> None:
    """A journal of an older release has no decimals: no amount is cut, and none is padded."""
    noted = AccountBound(
        at_ns=1,
        login=1,
        server="S",
        currency="BTC",
        margin_mode=MarginMode.HEDGING,
        currency_digits=8,
    )
    row = encode(noted)
    older = row.payload.replace(b',"currency_digits":8', b"")
    assert older != row.payload
    event = decode(1, row.kind, older)
    assert isinstance(event, AccountBound)
    assert event.currency_digits is None
    quiet = msgspec.structs.replace(QUIET, money=Money(realised=0.0001155, currency="BTC"))
    assert "realised 0.0001155 BTC" in write_status(quiet)
