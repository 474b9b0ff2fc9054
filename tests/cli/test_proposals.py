"""`trueup approve`, `reject` and `plan` for orders that assistants have proposed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.assistants.test_wishing import BUY, Beside
from tests.cli.bot_world import FACTS
from tests.cli.test_settle import flat
from trueup.cli import app
from trueup.cli.operate import bot as command
from trueup.runtime.control.bots import Bot
from trueup.sim.terminal.terminal_faults import Answered, AnswerLost


class Person(Beside):
    """A person in a second shell, beside a bot in this process and an assistant."""

    def answer(self, name: str, **fields: Any) -> dict[str, Any]:
        """Answer as the bot does, and let it take a turn."""
        self.world.turn()
        return self.world.tell(name, **fields)

    def run(self, *arguments: str) -> Result:
        """Give a command."""
        return CliRunner().invoke(app, list(arguments))

    def propose(self, key: str = "a") -> str:
        """Have the assistant propose an order, and return the id of the proposal."""
        name: str = self.ask("propose", key, **BUY)["proposal_id"]
        return name


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    beside = Person()
    bot = Bot(FACTS.pid, "tcp://127.0.0.1:1", "EURUSD", FACTS.started)
    monkeypatch.setattr(command, "find_bots", lambda: [bot])
    monkeypatch.setattr(
        "trueup.runtime.control.line.ask_bot", lambda _, name, **f: beside.answer(name, **f)
    )
    # The bot of these tests has their time, and a look of the command takes no time.
    for place in ("trueup.cli.operate.approve", "trueup.runtime.control.line"):
        monkeypatch.setattr(f"{place}.SystemClock", lambda: beside.pm.clock)
    return beside


def test_a_plan_shows_what_is_proposed_and_how_to_decide(person: Person) -> None:
    name = person.propose()
    done = person.run("plan")
    assert done.exit_code == 1
    assert max(map(len, done.output.splitlines())) <= 80
    said = flat(done)
    assert "1 proposed. ? EURUSD proposed: BUY 0.10L EURUSD, SL 1.05" in said
    assert "evidence: mcp:ada/desk asks for it (the news)" in said
    assert f"consequence: sent by trueup approve {name}; lapses 2023-11-14 22:28:20 UTC" in said
    assert f"id: {name}" in said
    values = json.loads(person.run("plan", "--json").stdout)
    assert values["waiting"] == [name]
    assert values["proposals"][0]["wish"] == "BUY 0.10L EURUSD, SL 1.05"


def test_an_approval_sends_the_order_and_tells_what_became_of_it(person: Person) -> None:
    name = person.propose()
    done = person.run("approve", name, "--who", "Ada")
    (order,) = person.pm.book.orders.values()
    assert done.exit_code == 0
    assert flat(done) == (
        f"Approved {name} (BUY 0.10L EURUSD, SL 1.05): filled, ticket {order.ticket}, 0.10L @ "
        f"{order.fill_price}."
    )
    assert order.by == "Ada"
    (row,) = json.loads(person.run("approve", name, "--json").stdout)
    assert (row["carried_out"], row["outcome"]["ticket"]) == (True, order.ticket)
    assert person.sent == 1


def test_an_order_that_is_refused_is_told_and_goes_on_waiting(person: Person) -> None:
    name = person.propose()
    person.tell("pause", who="Ada")
    done = person.run("approve", name, "--who", "Ada")
    assert done.exit_code == 1
    assert "not carried out: Nothing was sent: trading is paused by Ada" in flat(done)
    person.tell("resume", who="Ada")
    person.world.broker.terminal.faults.next_send(Answered(10019))
    done = person.run("approve", name)
    assert (done.exit_code, "not carried out: " in flat(done)) == (1, True)
    assert person.sent == 0


def test_an_order_in_doubt_is_told_with_the_time_of_the_answer(person: Person) -> None:
    name = person.propose()
    # The terminal cannot be read either, so no sync finds the order.
    person.world.broker.terminal.faults.next_send(AnswerLost(executed=True))
    done = person.run("approve", name)
    assert done.exit_code == 1
    assert "in doubt: the reply's status is 'UNKNOWN'" in flat(done)
    assert "the outcome is known when a look at the broker proves it" in flat(done)


def test_a_name_of_an_assistant_approves_nothing(person: Person) -> None:
    name = person.propose()
    done = person.run("approve", name, "--who", "mcp:ada/desk")
    assert done.exit_code == 2
    assert "`approve` is for a person, and 'mcp:ada/desk' is an assistant" in flat(done)
    assert person.sent == 0


def test_a_rejection_is_told_with_its_reason(person: Person) -> None:
    first, second = person.propose("a"), person.propose("b")
    done = person.run("reject", first, "--who", "Ada", "--why", "too much")
    assert done.exit_code == 0
    assert flat(done) == f"Rejected {first} (BUY 0.10L EURUSD, SL 1.05): nothing is sent."
    (row,) = json.loads(person.run("reject", second, "--json").stdout)
    assert row["outcome"]["state"] == "rejected"
    again = person.run("reject", first)
    assert (again.exit_code, "is rejected already (too much)" in flat(again)) == (2, True)
    assert person.outcome("a")["reason"] == "too much"
