"""The listening end of a running bot, for commands of a second shell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trueup.core.scope import Scope
from trueup.errors import SettingsError
from trueup.gateway.server.sockets import Server, anybody
from trueup.processes import is_alive
from trueup.runtime.control.bots import ASK_TIMEOUT_MS, Bot, noted_bots, state_file
from trueup.runtime.control.commands import BotCommands
from trueup.runtime.control.state_files import StateFile, listens, state_folder
from trueup.runtime.control.status import BotFacts
from trueup.runtime.trading.loop import TradingLoop

ANY_PORT = "tcp://127.0.0.1:0"
# The longest delay until a bot notices another bot that was started in its folder.
LOOK_EVERY_NS = 10_000_000_000


class Control:
    """The listening end; a state file names its address while the bot runs.

    Raises:
        OSError: no loopback port is free, or the state folder cannot be written.
        SettingsError: the state folder's path is not a folder.
    """

    def __init__(self, loop: TradingLoop, gateway: Any, facts: BotFacts) -> None:
        # Files of killed bots go first, so that `trueup status` does not ask them.
        _forget_dead()
        self._desk = BotCommands(loop, gateway, facts)
        self._server = Server(ANY_PORT, anybody(self._desk.handle))
        self.bot: Bot = Bot(
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
        # The time of the next look for other bots, by the clock for waiting (ns).
        self._look_ns = loop.pm.clock.waiting_ns()
        self._file = state_file(facts.pid)
        try:
            self._file.write(self.bot)
        except OSError:
            self._server.close()
            raise

    def turn(self) -> None:
        """Answer the waiting commands; never waits."""
        self._server.serve_once(0)
        self._desk.turn()
        waiting_ns = self._loop.pm.clock.waiting_ns()
        if waiting_ns >= self._look_ns:
            self._look_ns = waiting_ns + LOOK_EVERY_NS
            # An unreadable folder hides the other bots, but must not stop this bot.
            with contextlib.suppress(OSError, SettingsError):
                self._loop.reconciler.note_neighbours(tuple(self._beside()))

    def _beside(self) -> Iterator[Scope]:
        """Yield the scopes of the other bots of this folder that trade at the same gateway.

        The state files are enough. To ask the other bots would take up to two of their turns, and
        this bot must not wait. A file of an ended process does not count.
        """
        for bot in noted_bots():
            is_other = bot.pid != self.bot.pid and bot.endpoint == self.bot.endpoint
            if is_other and bot.scope is not None and is_alive(bot.pid):
                yield bot.scope

    def close(self) -> None:
        """Stop listening, and remove the state file."""
        self._file.remove(self.bot.pid)
        self._server.close()


def _forget_dead() -> None:
    """Remove the files that killed bots left behind."""
    for path in list(state_folder().glob("bot-*.json")):
        file = StateFile(path.name, Bot)
        bot = file.read()
        if bot is not None and not listens(bot.control, ASK_TIMEOUT_MS):
            file.remove(bot.pid)
