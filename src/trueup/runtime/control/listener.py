"""How a running bot listens to a second shell in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trueup.core.scope import Scope
from trueup.errors import SettingsError
from trueup.gateway.server.sockets import Server, anybody
from trueup.processes import is_alive
from trueup.runtime.control.bots import ASK_TIMEOUT_MS, Bot, noted_bots, state_file
from trueup.runtime.control.commands import ControlDesk
from trueup.runtime.control.state_files import StateFile, listens, state_folder
from trueup.runtime.control.status import BotFacts
from trueup.runtime.trading.loop import TradingLoop

ANY_PORT = "tcp://127.0.0.1:0"
# How soon a bot knows of another one that was started in its folder.
LOOK_EVERY_NS = 10_000_000_000


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
        # The clock for waiting (ns) when it looks for other bots next.
        self._look_ns = loop.pm.clock.waiting_ns()
        self._file = state_file(facts.pid)
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
        for bot in noted_bots():
            is_other = bot.pid != self.bot.pid and bot.endpoint == self.bot.endpoint
            if is_other and bot.scope is not None and is_alive(bot.pid):
                yield bot.scope

    def close(self) -> None:
        """Stop listening, and take back the state file."""
        self._file.remove(self.bot.pid)
        self._server.close()


def _forget_dead() -> None:
    """Remove the files that killed bots left behind."""
    for path in list(state_folder().glob("bot-*.json")):
        file = StateFile(path.name, Bot)
        bot = file.read()
        if bot is not None and not listens(bot.control, ASK_TIMEOUT_MS):
            file.remove(bot.pid)
