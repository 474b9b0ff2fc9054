"""`trueup approve` of what is missing: asked before, named after, not of what shows again."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli.bot_world import FACTS, BotWorld
from tests.support.desk_world import BUY, HEDGING
from trueup.cli import app
from trueup.cli.operate import bot as command
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.control.bots import Bot


class Shell:
    """A second shell beside a bot that misses a position, which comes back or never does."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        comes_back: bool = False,
        is_reopened: bool = False,
    ) -> None:
        self.world = BotWorld()
        broker = self.world.broker
        self.ticket = broker.person.open("EURUSD", BUY, 0.05)
        broker.sync(11)
        if is_reopened:
            # At the night's swap: the position has another ticket since, and its identifier.
            reason = mt5.DEAL_REASON_ROLLOVER
            broker.terminal.broker.reopen(HEDGING.login, self.ticket, 1.1, reason)
            (self.ticket,) = (p.ticket for p in broker.ledger.positions.values())
            broker.sync(11)
        if comes_back:
            # A terminal that has just started shows its positions late.
            broker.terminal.switches.synchronise_ms = 2_500
            broker.terminal.restart()
            assert broker.terminal.initialize()
            broker.sync(1)
            broker.sync(1)
        else:
            broker.terminal.switches.deal_lag_ms = 10**12
            broker.person.close(self.ticket)
            broker.sync()
        (held,) = self.world.held()
        self.hold_id = held.id
        bot = Bot(FACTS.pid, "tcp://127.0.0.1:1", "EURUSD", FACTS.started)
        monkeypatch.setattr(command, "find_bots", lambda: [bot])
        monkeypatch.setattr("trueup.runtime.control.line.ask_bot", self._ask)

    def _ask(self, _: Bot, name: str, **fields: Any) -> dict[str, Any]:
        answer = self.world.tell(name, **fields)
        if name != "hello":
            self.world.broker.wait(1)
            self.world.turn()
        return answer

    def approve(self, *options: str, said: str = "") -> Result:
        return CliRunner().invoke(app, ["approve", self.hold_id, *options], input=said)

    def closed(self) -> list[str]:
        """The reasons of the audit trail for which something left the book."""
        trail = self.world.broker.reconciler.get_audit_trail()
        return [entry["details"] for entry in trail if entry["action"] == "CLOSED"]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(monkeypatch)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("", "Nobody answered, so nothing was changed: give --yes."), ("n\n", "Nothing was changed.")],
)
def test_without_a_yes_nothing_is_let_go_of(shell: Shell, said: str, sentence: str) -> None:
    result = shell.approve(said=said)
    assert "it will count as assumed closed" in result.output
    assert sentence in str(result.exception) + result.output
    assert result.exit_code != 0
    assert shell.world.broker.tickets() == {shell.ticket}
    assert shell.closed() == []


@pytest.mark.parametrize(("options", "said"), [(("--yes",), ""), ((), "y\n")])
def test_a_named_person_lets_go_of_what_is_missing_and_the_journal_says_so(
    shell: Shell, options: tuple[str, ...], said: str
) -> None:
    result = shell.approve("--who", "Mary", *options, said=said)
    assert (result.exit_code, "carried out." in result.output) == (0, True)
    assert shell.world.broker.tickets() == set()
    assert shell.closed() == [
        "Ghost position removed (unproven): assumed closed: Mary let go of it while missing, "
        "deal not visible yet"
    ]


@pytest.mark.parametrize("is_reopened", [False, True])
def test_what_the_broker_shows_again_is_not_let_go_of(
    monkeypatch: pytest.MonkeyPatch, is_reopened: bool
) -> None:
    shell = Shell(monkeypatch, comes_back=True, is_reopened=is_reopened)
    result = shell.approve("--yes")
    assert result.exit_code == 1
    assert "not carried out, the broker shows it again." in result.output
    assert shell.world.broker.tickets() == {shell.ticket}
    assert shell.closed() == []
