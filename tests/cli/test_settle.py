"""`trueup settle`: what it shows, asks, refuses, and what becomes of the order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli.bot_world import FACTS, BotWorld
from tests.support.desk_world import BUY, HEDGING, SELL, DeskWorld
from trueup.cli import app
from trueup.cli.operate import bot as command
from trueup.core.tokens import token_of
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.control.bots import Bot
from trueup.sim.terminal.person import Person
from trueup.sim.terminal.terminal_faults import AnswerLost


@pytest.fixture(autouse=True)
def _no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's own record would have the ticket, or know that there is none."""
    monkeypatch.setattr(DeskWorld, "keeps_record", False)


class Shell:
    """A second shell beside a bot with an order in doubt, which another program's fits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = BotWorld()
        self.broker = self.world.broker
        self.robot = Person(
            self.broker.terminal.broker, HEDGING.login, mt5.ORDER_REASON_EXPERT, magic=7
        )
        self.mine = self.broker.pm.submit("buy", 0.2, magic=7)
        self.broker.sync(200)
        self.broker.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
        self.order = self.broker.pm.submit("buy", 0.1, magic=7)
        self.order_id = self.order.order_id
        bot = Bot(FACTS.pid, "tcp://127.0.0.1:1", "EURUSD", FACTS.started)
        monkeypatch.setattr(command, "find_bots", lambda: [bot])
        monkeypatch.setattr("trueup.runtime.control.line.ask_bot", self._ask)

    def leave_to_a_person(self, comment: str = "") -> int:
        ticket = self.robot.open("EURUSD", BUY, 0.1, comment=comment)
        for _ in range(3):
            self.broker.sync(6)
        return ticket

    def _ask(self, _: Bot, name: str, **fields: Any) -> dict[str, Any]:
        answer = self.world.tell(name, **fields)
        if name != "hello":
            self.broker.wait(1)
            self.world.turn()
        return answer

    def settle(self, *options: str, said: str = "") -> Result:
        return CliRunner().invoke(app, ["settle", self.order_id, *options], input=said)

    @property
    def status(self) -> str:
        return self.order.status.value


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(monkeypatch)


def flat(result: Result) -> str:
    """All that was printed, on one line."""
    return " ".join(f"{result.output} {result.stderr}".split())


def test_without_a_word_it_shows_what_is_known_and_changes_nothing(shell: Shell) -> None:
    ticket = shell.leave_to_a_person("someone")
    result = shell.settle()
    text = flat(result)
    assert result.exit_code == 2
    assert f"{shell.order_id}: BUY 0.10L EURUSD, magic 7, sent 2023-11-14 22:1" in text
    assert "In doubt the reply's status is 'UNKNOWN': the answer was lost" in text
    assert f"Because it fits order {ticket}, and nothing shows that this is ours" in text
    assert f"Fits {ticket}: 0.10L @ 1.1" in text
    assert f"position {ticket} is open, comment 'someone'" in text
    assert "--ticket TICKET for the matching order, or --never-executed" in text
    assert shell.status == "IN_DOUBT"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("", "Nobody answered, so nothing was changed: give --yes."), ("n\n", "Nothing was changed.")],
)
def test_without_a_yes_nothing_is_settled(shell: Shell, said: str, sentence: str) -> None:
    shell.leave_to_a_person()
    result = shell.settle("--never-executed", said=said)
    assert f"Nothing proves it. Shall {shell.order_id} count as never executed?" in flat(result)
    assert sentence in flat(result)
    assert (result.exit_code, shell.status) == (2, "IN_DOUBT")
    assert shell.broker.reconciler.statements == {}


@pytest.mark.parametrize(("options", "said"), [(("--yes",), ""), ((), "y\n")])
def test_a_named_person_says_that_it_was_never_executed(
    shell: Shell, options: tuple[str, ...], said: str
) -> None:
    shell.leave_to_a_person()
    result = shell.settle("--never-executed", "--who", "Mary", *options, said=said)
    assert result.exit_code == 0
    assert (
        f"{shell.order_id} is CANCELED: assumed, unproven: Mary says that it was never executed"
        in flat(result)
    )
    assert shell.world.status().entries_refused == ""


def test_a_person_names_the_ticket_that_it_is(shell: Shell) -> None:
    ticket = shell.leave_to_a_person()
    result = shell.settle("--ticket", str(ticket), "--yes", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["settled"], said["status"]) == (0, True, "FILLED")
    assert (said["ticket"], said["volume"]) == (ticket, 0.1)
    assert said["price"] == pytest.approx(shell.order.fill_price)


def test_what_cannot_be_the_order_is_refused_with_the_reason(shell: Shell) -> None:
    ticket = shell.leave_to_a_person()
    larger = shell.robot.open("EURUSD", BUY, 0.3)
    sale = shell.robot.open("EURUSD", SELL, 0.1)
    yen = shell.robot.open("USDJPY", BUY, 0.1)
    by_hand = shell.broker.person.open("EURUSD", BUY, 0.1)
    refused = {
        larger: "it is of 0.30L, and 0.10L were meant",
        sale: "it is a SELL, and a BUY was meant",
        yen: "it is in USDJPY, and EURUSD was meant",
        by_hand: "its magic number is 0, and 7 was sent",
        shell.mine.ticket or 0: f"it is {shell.mine.order_id}'s",
        4711: "the broker shows no order of that ticket since it was sent",
    }
    for wrong, why in refused.items():
        result = shell.settle("--ticket", str(wrong), "--yes")
        assert f"{wrong} cannot be {shell.order_id}: {why}. What fits: {ticket}." in flat(result)
        assert (result.exit_code, shell.status) == (2, "IN_DOUBT")


def test_never_executed_is_refused_where_a_token_shows_that_it_was(shell: Shell) -> None:
    shell.robot.open("EURUSD", BUY, 0.1, comment=token_of(shell.order_id))
    result = shell.settle("--never-executed", "--yes")
    assert "is not left to a person: the broker shows that it was executed, by its token" in (
        flat(result)
    )
    assert result.exit_code == 2


def test_never_executed_is_refused_where_the_gateway_s_record_has_it_as_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DeskWorld, "keeps_record", True)
    shell = Shell(monkeypatch)
    while shell.status == "IN_DOUBT":
        shell.broker.wait(10)
        shell.broker.requote()
        shell.broker.sync()
    shell.broker.terminal.switches.comment_replaced_by = ""
    shell.broker.lose_replies(1)
    shell.order = shell.broker.pm.submit("buy", 0.1, magic=7)
    shell.order_id = shell.order.order_id
    result = shell.settle("--never-executed", "--yes")
    assert "the broker shows that it was executed, by the gateway's record, ticket" in flat(result)
    assert (result.exit_code, shell.broker.reconciler.statements) == (2, {})


def test_never_executed_is_refused_where_a_beginning_of_the_token_shows(shell: Shell) -> None:
    shell.robot.open("EURUSD", BUY, 0.1, comment=token_of(shell.order_id)[:4])
    shell.leave_to_a_person()
    result = shell.settle("--never-executed", "--yes")
    assert f"shows the beginning of the token of {shell.order_id}" in flat(result)
    assert (result.exit_code, shell.status) == (2, "IN_DOUBT")


def test_an_order_that_is_not_in_doubt_is_refused_with_what_it_is(shell: Shell) -> None:
    shell.leave_to_a_person()
    assert shell.settle("--never-executed", "--yes").exit_code == 0
    again = shell.settle("--never-executed", "--yes")
    assert again.exit_code == 2
    assert f"{shell.order_id} is CANCELED, not in doubt: assumed, unproven" in flat(again)


def test_what_ends_by_itself_is_left_to_end(shell: Shell) -> None:
    result = shell.settle("--never-executed", "--yes")
    assert "is not left to a person: nothing fits in the last" in flat(result)
    assert (result.exit_code, shell.broker.reconciler.statements) == (2, {})


def test_words_that_say_nothing_or_two_things_are_refused(shell: Shell) -> None:
    shell.leave_to_a_person()
    both = shell.settle("--never-executed", "--ticket", "5")
    assert "Give --ticket or --never-executed, not both." in flat(both)
    none = shell.settle("--ticket", "0")
    assert "give a ticket above 0" in flat(none)
    assert (both.exit_code, none.exit_code) == (64, 64)
    raw = shell.world.tell("settle", id=shell.order_id)
    assert raw["error"].startswith("Say which")


def test_status_names_the_command_beside_a_doubt_that_waits_for_a_person(shell: Shell) -> None:
    assert not any("settle" in need for need in shell.world.status().needs)
    shell.leave_to_a_person()
    assert any(f"`trueup settle {shell.order_id}`" in n for n in shell.world.status().needs)
