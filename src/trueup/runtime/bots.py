"""The bots of a folder: how a running one listens, and how a second shell finds and asks it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from trueup.core.scope import Scope
from trueup.errors import SettingsError
from trueup.gateway.server import Server, anybody
from trueup.processes import is_alive
from trueup.runtime.control import ControlDesk
from trueup.runtime.loop import TradingLoop
from trueup.runtime.status import BotFacts
from trueup.runtime.whereabouts import StateFile, ask_process, listens, state_folder

ANY_PORT = "tcp://127.0.0.1:0"
# A bot answers between two turns, and a turn may wait for the broker's answer to an order.
ASK_TIMEOUT_MS = 5_000
# How soon a bot knows of another one that was started in its folder.
LOOK_EVERY_NS = 10_000_000_000


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


class Control:
    """The listening end: found by a state file while it is open.

    Raises:
        OSError: no loopback port can be had, or the state folder cannot be written.
        SettingsError: the state folder is no folder.
    """

    def __init__(self, loop: TradingLoop, gateway: Any, facts: BotFacts) -> None:
        _forget_dead()
        self._desk = ControlDesk(loop, gateway, facts)
        self._server = Server(ANY_PORT, anybody(self._desk.handle))
        self.bot = Bot(
            facts.pid,
            self._server.endpoint,
            loop.pm.symbol,
            facts.started,
            facts.journal_file,
            facts.stream,
            facts.endpoint,
            loop.reconciler.scope,
        )
        self._loop = loop
        # The clock for waiting (ns) when it looks for other bots next.
        self._look_ns = loop.pm.clock.waiting_ns()
        self._file = _file(facts.pid)
        try:
            self._file.write(self.bot)
        except OSError:
            self._server.close()
            raise

    def turn(self) -> None:
        """Answer what was asked; never waits."""
        self._server.serve_once(0)
        self._desk.turn()
        waiting_ns = self._loop.pm.clock.waiting_ns()
        if waiting_ns >= self._look_ns:
            self._look_ns = waiting_ns + LOOK_EVERY_NS
            # A folder that cannot be read now costs what it would have told, and not the bot.
            with contextlib.suppress(OSError, SettingsError):
                self._loop.reconciler.note_neighbours(tuple(self._beside()))

    def _beside(self) -> Iterator[Scope]:
        """Yield the scopes of the other bots of this folder that trade at the same gateway.

        Nobody is asked: a bot that is asked answers between two of its turns, and this one trades
        meanwhile. A file whose process has ended is nobody's.
        """
        for bot in _noted():
            is_other = bot.pid != self.bot.pid and bot.endpoint == self.bot.endpoint
            if is_other and bot.scope is not None and is_alive(bot.pid):
                yield bot.scope

    def close(self) -> None:
        """Stop listening, and take back the state file."""
        self._file.remove(self.bot.pid)
        self._server.close()


def find_bots() -> list[Bot]:
    """Return the bots of this folder whose port is open, the oldest first.

    That something listens there does not make it the bot: `ask_bot` asks.
    """
    return sorted(
        (bot for bot in _noted() if listens(bot.control, ASK_TIMEOUT_MS)),
        key=lambda bot: (bot.started, bot.pid),
    )


def last_bot() -> Bot | None:
    """Return the bot that was started last in this folder and did not end in order, or None."""
    return max(_noted(), key=lambda bot: (bot.started, bot.pid), default=None)


def ask_bot(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
    """Give a bot a command and return its answer.

    Raises:
        NotSent: nobody listens; the command did nothing.
        OutcomeUnknown: no usable answer came.
    """
    whom = f"The bot, process {bot.pid},"
    return ask_process(bot.control, {"command": command, **fields}, ASK_TIMEOUT_MS, whom)


def _file(pid: int) -> StateFile[Bot]:
    return StateFile(f"bot-{pid}.json", Bot)


def _noted() -> list[Bot]:
    files = [StateFile(path.name, Bot) for path in state_folder().glob("bot-*.json")]
    return [bot for bot in (file.read() for file in files) if bot is not None]


def _forget_dead() -> None:
    """Remove the files that killed bots left behind."""
    for path in list(state_folder().glob("bot-*.json")):
        file = StateFile(path.name, Bot)
        bot = file.read()
        if bot is not None and not listens(bot.control, ASK_TIMEOUT_MS):
            file.remove(bot.pid)
