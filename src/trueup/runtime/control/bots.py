"""Find the bots of a folder, and send commands to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trueup.core.scope import Scope
from trueup.errors import TrueupError
from trueup.runtime.control.state_files import StateFile, ask_process, listens, state_folder

# A bot answers between two turns, and a turn may wait for the broker's reply to an order.
ASK_TIMEOUT_MS = 5_000
# An error names at most so many bots.
NAMED_MOST = 10
NO_BOT = "No bot runs in this folder: start one with `trueup run` or `trueup paper`."


class Bot(msgspec.Struct, frozen=True):
    """The content of a bot's state file.

    `journal_file` is the path of the bot's SQLite journal, empty without a journal or with a
    server's journal, and `stream` the bot's book in the journal: both are read after the bot has
    ended. `endpoint` is the gateway's address, and `scope` tells the positions that the bot counts
    as its own; None in a file of an earlier release. `account` is its name among the accounts of
    one process (`trueup run --accounts`), empty for a bot with a process of its own. `alive` is
    when the bot took a turn last, at most half a minute old, `asked` when its last believed reading
    was asked for, and `ended` when it ended in order; all are ISO 8601, and None if not known.
    """

    pid: int
    control: str
    symbol: str
    started: str
    journal_file: str = ""
    stream: str = ""
    endpoint: str = ""
    scope: Scope | None = None
    account: str = ""
    alive: str | None = None
    asked: str | None = None
    ended: str | None = None


ENDED = StateFile("ended-bot.json", Bot)
"""The bot of this folder that ended in order last."""


def find_bots() -> list[Bot]:
    """Return the bots of this folder with an open port, the oldest first.

    An open port is no proof: another program may listen there. `ask_bot` asks the bot itself.
    """
    noted = noted_bots()
    # The accounts of one process have one port.
    ports = {port: listens(port, ASK_TIMEOUT_MS) for port in {bot.control for bot in noted}}
    return sorted(
        (bot for bot in noted if ports[bot.control]),
        key=lambda bot: (bot.started, bot.pid, bot.account),
    )


def last_bot() -> Bot | None:
    """Return the last started bot of this folder, whether it runs, ended or was killed, or None."""
    ended = ENDED.read()
    known = [*noted_bots(), *([] if ended is None else [ended])]
    return max(known, key=lambda bot: (bot.started, bot.pid), default=None)


def one_of(bots: Sequence[Bot], which: int | str | None) -> Bot:
    """Return the only bot, or that of a process, or that of an account's name.

    Raises:
        TrueupError: there is no such bot, or there are several and `which` is None or the process
            of several accounts.
    """
    if which is not None:
        bots = [bot for bot in bots if str(which) in (str(bot.pid), bot.account)]
        if not bots:
            what = f"process {which}" if str(which).isdigit() else f"the name {which}"
            raise TrueupError(f"No bot with {what} runs in this folder: see `trueup status`.")
    if not bots:
        raise TrueupError(NO_BOT)
    if len(bots) > 1:
        known = [bot.account or f"{bot.pid} ({bot.symbol})" for bot in bots]
        more = ", ..." if len(known) > NAMED_MOST else ""
        some = f"{', '.join(known[:NAMED_MOST])}{more}"
        option = "--account NAME" if bots[0].account else "--bot PID"
        raise TrueupError(f"{len(bots)} bots run in this folder: give {option}, one of {some}.")
    return bots[0]


def silence_of(bot: Bot) -> str:
    """Return the sentence about a bot that gives no answer."""
    return (
        f"The bot of this folder, process {bot.pid} at {bot.control}, does not answer: it hangs, "
        "or it is gone and another program has its port."
    )


def refusal_of(bot: Bot, command: str, error: str) -> str:
    """Return a bot's reason; a bot of an earlier release says that it does not know the command."""
    if error != f"There is no command {command!r}.":
        return error
    # The plan is asked for by a command of its own, which nobody types.
    name = command.removesuffix("-plan")
    return (
        f"The bot, process {bot.pid}, is of an earlier release and does not know `trueup "
        f"{name}`: nothing was changed. Restart the bot with this release, or act in the "
        "terminal."
    )


def ask_bot(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
    """Give a bot a command and return its answer.

    Raises:
        NotSent: no process listens; the command had no effect.
        OutcomeUnknown: no usable answer came.
    """
    whom = f"The bot, process {bot.pid},"
    # One process may have the bots of many accounts.
    to = {"account": bot.account} if bot.account else {}
    return ask_process(bot.control, {"command": command, **to, **fields}, ASK_TIMEOUT_MS, whom)


def state_file(pid: int, account: str = "") -> StateFile[Bot]:
    """Return the state file of a bot, by its process and its account's name."""
    return StateFile(f"bot-{pid}-{account}.json" if account else f"bot-{pid}.json", Bot)


def process_file(pid: int) -> StateFile[Bot]:
    """Return the state file of a process that runs many accounts."""
    return StateFile(f"accounts-{pid}.json", Bot)


def account_processes() -> list[Bot]:
    """Return the processes of this folder that run many accounts, and have an open port."""
    files = [StateFile(path.name, Bot) for path in state_folder().glob("accounts-*.json")]
    found = (file.read() for file in files)
    return [one for one in found if one is not None and listens(one.control, ASK_TIMEOUT_MS)]


def noted_bots() -> list[Bot]:
    """Return the content of all state files of this folder, also of ended bots."""
    files = [StateFile(path.name, Bot) for path in state_folder().glob("bot-*.json")]
    return [bot for bot in (file.read() for file in files) if bot is not None]
