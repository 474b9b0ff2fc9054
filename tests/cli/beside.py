"""A second shell beside a bot in this process: commands of the CLI, and turns of the bot."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli.bot_world import FACTS, BotWorld
from tests.support.desk_world import HEDGING
from tests.support.make import RefusingJournal
from trueup.cli import app
from trueup.cli.operate import bot as command
from trueup.runtime.control.bots import Bot
from trueup.sim.market.symbols import AccountSetup


class Beside:
    """A shell whose commands reach a bot in this process, which takes a turn after each."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        account: AccountSetup = HEDGING,
        *,
        journal: RefusingJournal | None = None,
        **options: Any,
    ) -> None:
        self.journal = journal or RefusingJournal()
        self.world = BotWorld(account, journal=self.journal, **options)
        self.broker, self.pm = self.world.broker, self.world.broker.pm
        self.asked: list[str] = []
        bot = Bot(FACTS.pid, "tcp://127.0.0.1:1", "EURUSD", FACTS.started)
        monkeypatch.setattr(command, "find_bots", lambda: [bot])
        monkeypatch.setattr(
            "trueup.runtime.control.line.ask_bot", lambda _, name, **f: self.answer(name, **f)
        )

    def answer(self, name: str, **fields: Any) -> dict[str, Any]:
        """Answer as the bot does, and let it take a turn."""
        self.asked.append(name)
        answer = self.world.tell(name, **fields)
        if name != "hello":
            self.world.turn()
        return answer

    def run(self, *arguments: str, said: str = "") -> Result:
        """Give a command."""
        return CliRunner().invoke(app, list(arguments), input=said)


def flat(result: Result) -> str:
    """All that was printed, on one line."""
    return " ".join(f"{result.output} {result.stderr}".split())
