"""The bots of a folder: how a second shell finds and asks them."""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.scope import Scope
from trueup.runtime.control.state_files import StateFile, ask_process, listens, state_folder

# A bot answers between two turns, and a turn may wait for the broker's answer to an order.
ASK_TIMEOUT_MS = 5_000


class Bot(msgspec.Struct, frozen=True):
    """What the state file of a bot says.

    `journal_file` is the path of its SQLite journal, empty for none or for a server's, and `stream`
    its book there: they are read when the bot is dead. `endpoint` is its gateway's, and `scope`
    what it counts as its own; None in a file of before.
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
    """Return the bots of this folder whose port is open, the oldest first.

    That something listens there does not make it the bot: `ask_bot` asks.
    """
    return sorted(
        (bot for bot in noted_bots() if listens(bot.control, ASK_TIMEOUT_MS)),
        key=lambda bot: (bot.started, bot.pid),
    )


def last_bot() -> Bot | None:
    """Return the bot that was started last in this folder and did not end in order, or None."""
    return max(noted_bots(), key=lambda bot: (bot.started, bot.pid), default=None)


def ask_bot(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
    """Give a bot a command and return its answer.

    Raises:
        NotSent: nobody listens; the command did nothing.
        OutcomeUnknown: no usable answer came.
    """
    whom = f"The bot, process {bot.pid},"
    return ask_process(bot.control, {"command": command, **fields}, ASK_TIMEOUT_MS, whom)


def state_file(pid: int) -> StateFile[Bot]:
    """Return the state file of a bot, by its process."""
    return StateFile(f"bot-{pid}.json", Bot)


def noted_bots() -> list[Bot]:
    """Return what all state files of this folder say, also those of dead bots."""
    files = [StateFile(path.name, Bot) for path in state_folder().glob("bot-*.json")]
    return [bot for bot in (file.read() for file in files) if bot is not None]
