"""The account that is meant, and whose money it is: said before first contact, told everywhere."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from tests.support.desk_world import BUY, HEDGING, OTHER, DeskWorld, figures
from trueup.core.account.trust import Reason
from trueup.core.book.lifecycle import OrderStatus
from trueup.errors import Refused, SettingsError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler, SyncStatus

NAME = f"{HEDGING.login}@{HEDGING.server}"
OTHER_NAME = f"{OTHER.login}@{OTHER.server}"
REAL = dataclasses.replace(HEDGING, trade_mode=mt5.ACCOUNT_TRADE_MODE_REAL)
CONTEST = dataclasses.replace(HEDGING, trade_mode=mt5.ACCOUNT_TRADE_MODE_CONTEST)


def bot(
    world: DeskWorld, account: str | None = None, *, real_money: bool = True
) -> StateReconciler:
    _, _, gateway = world.another_bot()
    pm = PortfolioManager("EURUSD", clock=world.clock)
    return StateReconciler(pm, gateway, 15, account=account, real_money=real_money)


def test_another_account_than_the_one_that_is_meant_is_refused_at_first_contact() -> None:
    world = DeskWorld(OTHER, others=(HEDGING,))
    world.person.open("EURUSD", BUY, 0.1)
    reconciler = bot(world, NAME)
    result = reconciler.startup_recovery()
    said = f"The terminal is logged in to {OTHER_NAME}, and account says {NAME}"
    assert (result.status, result.errors) == (SyncStatus.FAILED, [said])
    assert reconciler.unknown is not None
    assert reconciler.unknown.until == f"a login to {NAME}"
    book = reconciler.portfolio.book
    assert (book.bound, list(book.holdings)) == (None, [])
    assert reconciler.detect_drift() == said
    with pytest.raises(Refused, match="Nothing was changed: The terminal is logged in to"):
        reconciler.bind_to_terminal_account()
    # The right account is bound when it comes, once two readings of it agree.
    assert world.terminal.login(HEDGING.login)
    for _ in range(3):
        result = reconciler.sync_positions()
    assert result.status is SyncStatus.SUCCESS
    assert book.bound is not None
    assert book.bound.name == NAME


def test_the_setting_says_it_where_the_code_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    world = DeskWorld()
    monkeypatch.setenv("TRUEUP_ACCOUNT", f" {OTHER_NAME} ")
    result = bot(world).startup_recovery()
    assert result.errors == [
        f"The terminal is logged in to {NAME}, and TRUEUP_ACCOUNT says {OTHER_NAME}"
    ]
    # The code goes first, and may say that any will do.
    assert bot(world, NAME).startup_recovery().status is SyncStatus.SUCCESS
    assert bot(world, "").startup_recovery().status is SyncStatus.SUCCESS
    monkeypatch.delenv("TRUEUP_ACCOUNT")
    Path(".env").write_text(f"TRUEUP_ACCOUNT={OTHER_NAME}\n", encoding="utf-8")
    assert bot(world).startup_recovery().status is SyncStatus.FAILED
    Path(".env").write_text("TRUEUP_ACCOUNT=5000001\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="TRUEUP_ACCOUNT='5000001' is not valid: give login@se"):
        bot(world)


@pytest.mark.parametrize("account", ["5000001", "@S", 5_000_001, ["a"]])
def test_what_is_no_account_is_refused_when_the_reconciler_is_made(account: str) -> None:
    with pytest.raises(ValueError, match=r"account=.* is not valid: give login@server, .* or '' "):
        bot(DeskWorld(), account)


def test_on_a_wire_that_tells_no_account_none_that_is_meant_is_believed() -> None:
    world = DeskWorld()
    world.knows_only_the_guide = True
    result = bot(world, NAME).startup_recovery()
    assert result.status is SyncStatus.FAILED
    assert "does not say which account its terminal has" in result.errors[0]
    assert bot(world, "").startup_recovery().status is SyncStatus.SUCCESS


@pytest.mark.parametrize(
    ("account", "word", "level"),
    [
        (HEDGING, "demo", logging.INFO),
        (CONTEST, "contest", logging.INFO),
        (REAL, "REAL", logging.WARNING),
    ],
)
def test_whose_money_it_is_is_logged_once_in_the_life_of_a_process(
    account: object, word: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    world = DeskWorld(account)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "trueup"):
        for _ in range(3):
            world.sync()
    lines = [r for r in caplog.records if r.getMessage().startswith("[ACCOUNT]")]
    assert [(r.getMessage(), r.levelno) for r in lines] == [(f"[ACCOUNT] {NAME}: {word}", level)]
    assert world.pm.book.account is not None
    assert world.pm.book.account.trade_mode == word.lower()


def test_a_gateway_of_before_does_not_tell_and_counts_as_real() -> None:
    world = DeskWorld()
    old = lambda reply: reply["account"].pop("trade_mode")  # noqa: E731
    world.tamper(old, old)
    result = world.sync()
    assert figures(result) == ("SUCCESS", 0, 0, 0)
    assert world.pm.book.account is not None
    assert world.pm.book.account.trade_mode is None
    reconciler = bot(world, real_money=False)
    result = reconciler.startup_recovery()
    assert result.status is SyncStatus.FAILED
    assert "so it counts as REAL" in result.errors[0]
    # Once the gateway tells, nothing of the account has changed for that.
    assert world.sync().status is SyncStatus.SUCCESS
    assert world.pm.book.account.changed == ()


def test_without_a_word_for_real_money_a_real_account_is_read_by_nobody() -> None:
    world = DeskWorld(REAL)
    world.person.open("EURUSD", BUY, 0.1)
    reconciler = bot(world, real_money=False)
    result = reconciler.startup_recovery()
    assert (result.status, result.errors) == (SyncStatus.FAILED, [f"{NAME} is a REAL account"])
    assert reconciler.unknown is not None
    assert reconciler.unknown.reason is Reason.REAL_MONEY
    assert reconciler.portfolio.book.bound is None
    assert bot(world, real_money=True).startup_recovery().status is SyncStatus.SUCCESS


def test_an_order_names_login_and_server_and_goes_to_no_other() -> None:
    """The same login may be at two servers of one broker."""
    world = DeskWorld()
    world.sync()
    world.pm.submit("buy", 0.1)
    order = json.loads(world.requests[-1])
    assert (order["login"], order["server"]) == (HEDGING.login, HEDGING.server)
    for name, value in (("server", "Elsewhere"), ("login", 7)):
        copy = {**order, name: value, "order_id": f"A{name}"}
        reply = json.loads(world.desk.handle(json.dumps(copy).encode()))
        assert reply["status"] == "REJECTED"
        assert f"and the terminal is logged in to {NAME}" in reply["error"]
    # A bot of before names the login alone, or nothing.
    for name in ("server", "login"):
        order.pop(name)
        copy = {**order, "order_id": f"B{name}"}
        assert json.loads(world.desk.handle(json.dumps(copy).encode()))["status"] == "FILLED"


def test_a_refusal_for_another_account_leaves_nothing_in_doubt() -> None:
    world = DeskWorld(others=(OTHER,))
    world.sync()
    assert world.terminal.login(OTHER.login)
    intent = world.pm.submit("buy", 0.1)
    assert intent.status is OrderStatus.REJECTED
    assert f"it is for account {NAME}, and the terminal is logged in to {OTHER_NAME}" in (
        intent.error or ""
    )
