"""Find the bots of a folder, and send commands to them."""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.scope import Scope
from trueup.runtime.control.state_files import StateFile, ask_process, listens, state_folder

# A bot answers between two turns, and a turn may wait for the broker's reply to an order.
ASK_TIMEOUT_MS = 5_000


class Bot(msgspec.Struct, frozen=True):
    """The content of a bot's state file.

    `journal_file` is the path of the bot's SQLite journal, empty without a journal or with a
    server's journal, and `stream` the bot's book in the journal: both are read after the bot has
    ended. `endpoint` is the gateway's address, and `scope` tells the positions that the bot counts
    as its own; None in a file of an earlier release.
    """

    pid: int
    control: str
    symbol: str
    started: str
    journal_file: str = ""
    stream: str = ""
    endpoint: str = ""
    scope: Scope | None = None


def find_bots() -> list[Bot]:
    """Return the bots of this folder with an open port, the oldest first.

    An open port is no proof: another program may listen there. `ask_bot` asks the bot itself.
    """
    return sorted(
        (bot for bot in noted_bots() if listens(bot.control, ASK_TIMEOUT_MS)),
        key=lambda bot: (bot.started, bot.pid),
    )


def last_bot() -> Bot | None:
    """Return the last started bot of this folder that did not end in order, or None."""
    return max(noted_bots(), key=lambda bot: (bot.started, bot.pid), default=None)


def ask_bot(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
    """Give a bot a command and return its answer.

    Raises:
        NotSent: no process listens; the command had no effect.
        OutcomeUnknown: no usable answer came.
    """
    whom = f"The bot, process {bot.pid},"
    return ask_process(bot.control, {"command": command, **fields}, ASK_TIMEOUT_MS, whom)


def state_file(pid: int) -> StateFile[Bot]:
    """Return the state file of a bot, by its process."""
    return StateFile(f"bot-{pid}.json", Bot)


def noted_bots() -> list[Bot]:
    """Return the content of all state files of this folder, also of ended bots."""
    files = [StateFile(path.name, Bot) for path in state_folder().glob("bot-*.json")]
    return [bot for bot in (file.read() for file in files) if bot is not None]
