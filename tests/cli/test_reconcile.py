"""`trueup reconcile`: the journal's deals against a gateway's, over sockets and files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from tests.cli.bot_world import BotWorld
from tests.support.desk_world import COSTLY
from tests.support.manners import GuideGateway
from tests.support.order_world import OrderWorld
from tests.support.servers import ZmqServer, free_port
from trueup.cli import app
from trueup.core.book.events import HistoryCompared
from trueup.core.realised.agreement import Agreement, DealLine
from trueup.core.realised.history_report import HistoryReport
from trueup.journal import open_journal
from trueup.observe.history_text import LINES_MOST, WIDTH, write_history

LOGIN = 5_000_001


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing runs and nothing is set."""
    for name in ("GTW_HOST", "GTW_PORT", "GTW_SERVER_KEY", "GTW_KEY_FILE", "TRUEUP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GTW_TIMEOUT_MS", "10000")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["reconcile", *arguments])


def at(port: int) -> tuple[str, str]:
    return "--gateway", f"tcp://127.0.0.1:{port}"


@pytest.fixture
def world(folder: Path) -> Iterator[OrderWorld]:
    """A bot that has traded and ended; its journal is bot.db."""
    world = OrderWorld(journal=folder / "bot.db", specs=(COSTLY,))
    for _ in range(2):
        order = world.pm.submit("buy", 0.1)
        world.sync()
        world.quote(1.1010)
        world.pm.close(order.ticket)
        world.sync()
    yield world
    world.pm.close_journal()


def charged(world: OrderWorld, amount: float = -7.77) -> Any:
    """Change a deal behind everybody's back; return it as it was."""
    deal = max(world.ledger.deals.values(), key=lambda one: one.ticket)
    world.ledger.rewrite_deal(replace(deal, commission=amount))
    return deal


def test_a_journal_that_agrees_is_told_so(world: OrderWorld) -> None:
    with ZmqServer(world.desk.handle) as server:
        said = run(*at(server.port), "--journal", "bot.db")
        found = json.loads(run(*at(server.port), "--journal", "bot.db", "--json").stdout)
    assert said.exit_code == 0, said.output
    assert f"{LOGIN}@Simulated-Demo: deals from " in said.output
    assert "4 deals agree with the broker's history." in said.output
    assert (found["agrees"], found["agreed"], found["difference"]) == (True, 4, 0)


def test_what_differs_is_named_deal_by_deal(world: OrderWorld) -> None:
    before = charged(world)
    with ZmqServer(world.desk.handle) as server:
        said = run(*at(server.port), "--journal", "bot.db")
        found = json.loads(run(*at(server.port), "--journal", "bot.db", "--json").stdout)
    assert said.exit_code == 1
    lines = " ".join(said.output.split())
    result, now = before.result, before.result - before.commission - 7.77
    assert f"deal {before.ticket} of position {before.position_id}: " in lines
    assert f"{result:.2f} USD → {now:.2f} USD" in lines
    assert "1 with other money or lots" in lines
    (change,) = found["changed"]
    assert change["broker"]["deal"] == before.ticket
    assert change["broker"]["money"] - change["book"]["money"] == pytest.approx(now - result)
    assert found["difference"] == pytest.approx(now - result)


def test_looking_changes_nothing(world: OrderWorld, folder: Path) -> None:
    charged(world)
    world.pm.close_journal()
    before = (folder / "bot.db").read_bytes()
    with ZmqServer(world.desk.handle) as server:
        assert run(*at(server.port), "--journal", "bot.db").exit_code == 1
    assert (folder / "bot.db").read_bytes() == before
    assert not (folder / ".trueup").exists()


def test_since_leaves_out_what_is_older(world: OrderWorld) -> None:
    with ZmqServer(world.desk.handle) as server:
        whole = run(*at(server.port), "--journal", "bot.db", "--since", "2023-11-01", "--json")
        none = run(*at(server.port), "--journal", "bot.db", "--since", "2024-01-01", "--json")
        bad = run(*at(server.port), "--journal", "bot.db", "--since", "tomorrow")
    assert json.loads(whole.stdout)["agreed"] == 4
    assert json.loads(none.stdout)["agreed"] == 0
    assert bad.exit_code == 64
    assert "--since" in bad.output


def test_the_guides_wire_has_no_deals(world: OrderWorld) -> None:
    with GuideGateway() as gateway:
        said = run(*at(gateway.port), "--journal", "bot.db")
    assert said.exit_code == 2
    assert "has no deals to compare with" in " ".join(said.output.split())


def test_a_gateway_that_is_away_and_a_journal_that_is_not_there(world: OrderWorld) -> None:
    away = run(*at(free_port()), "--journal", "bot.db")
    assert away.exit_code == 2
    assert "Nothing was compared." in away.output
    with ZmqServer(world.desk.handle) as server:
        none = run(*at(server.port), "--journal", "other.db")
    assert none.exit_code == 2
    assert "other.db" in none.output


def test_a_book_that_was_never_bound_has_nothing_to_compare(folder: Path) -> None:
    with open_journal(folder / "new.db", "EURUSD", now_ns=lambda: 1):
        pass
    world = OrderWorld(specs=(COSTLY,))
    with ZmqServer(world.desk.handle) as server:
        said = run(*at(server.port), "--journal", "new.db", "--stream", "EURUSD")
    assert said.exit_code == 2
    assert "bound to no account yet" in said.output


# What a bot is told, and what the doctor shows.


def test_a_running_bot_compares_what_a_person_found_at_its_next_sync() -> None:
    world = BotWorld(specs=(COSTLY,))
    order = world.broker.pm.submit("buy", 0.1)
    world.broker.sync()
    world.broker.pm.close(order.ticket)
    world.broker.sync()
    world.broker.wait(40 * 24 * 3_600)
    world.broker.requote()
    world.broker.sync()
    world.broker.sync()
    deal = max(world.broker.ledger.deals.values(), key=lambda one: one.ticket)
    world.broker.ledger.rewrite_deal(replace(deal, commission=-5.0))
    before = world.broker.pm.realised
    world.broker.sync()
    assert world.broker.pm.realised == before
    assert world.tell("recheck", positions=[deal.position_id])["ok"]
    world.broker.sync()
    assert world.broker.pm.realised == pytest.approx(before - 5.0 - deal.commission)


def doctored(world: OrderWorld, *arguments: str) -> dict[str, Any]:
    with ZmqServer(world.desk.handle) as server:
        said = CliRunner().invoke(app, ["doctor", "--json", *at(server.port), *arguments])
    return {row["check"]: row for row in json.loads(said.stdout)["rows"]}


def compared(**more: int) -> HistoryCompared:
    facts = {"at_ns": 1, "since_msc": 0, "until_msc": 1_767_571_200_000, "agreed": 412}
    return HistoryCompared(**(facts | more))


@pytest.mark.parametrize("is_saved", [False, True], ids=["in the journal", "in a checkpoint"])
def test_the_doctor_shows_the_last_comparison(world: OrderWorld, is_saved: bool) -> None:
    assert "history" not in doctored(world, "--journal", "bot.db")
    world.pm.commit([compared(missing_in_book=3), compared()])
    if is_saved:
        world.pm._kept.checkpoint()
    row = doctored(world, "--journal", "bot.db")["history"]
    assert row["mark"] == "ok"
    assert row["found"] == "412 deals agree, up to 2026-01-05 00:00 server time"
    world.pm.commit([compared(agreed=1, missing_in_book=2, changed=1)])
    row = doctored(world, "--journal", "bot.db")["history"]
    assert row["mark"] == "warn"
    assert row["found"].startswith("1 deal agrees, 2 missing in the book, 1 with other money")
    assert "trueup reconcile" in row["remedy"]


def test_the_audit_shows_the_comparisons(world: OrderWorld) -> None:
    world.pm.commit([compared()])
    said = CliRunner().invoke(app, ["audit", "--journal", "bot.db", "--action", "COMPARED"])
    assert said.exit_code == 0, said.output
    assert "412 deals agree, up to 2026-01-05 00:00 server time" in " ".join(said.output.split())


# The text.


def test_the_text_is_of_80_columns_and_ends_somewhere() -> None:
    lines = tuple(
        DealLine(n, 7, -n * 100_000_000, 10_000_000, 1_700_000_000_000 + n, "EURUSD")
        for n in range(1, LINES_MOST + 12)
    )
    found = Agreement(3, missing_in_book=lines, missing_at_broker=lines[:2], of_others=1)
    report = HistoryReport(found=found, account="7@Demo", currency="USD")
    text = write_history(report)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "7@Demo: deals from the beginning to now, server time." in text
    assert "1 deal is of positions of others, of which the book counts none." in text
    assert "and 11 more (--json has all)" in text
    first = "deal 1 of position 7: EURUSD 0.10L bought, -1.00 USD, 2023-11-14 22:13:20"
    assert first in text
