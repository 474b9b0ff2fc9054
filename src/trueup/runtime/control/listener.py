"""The listening end of a running bot, for commands of a second shell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from trueup.core.dates import iso
from trueup.core.scope import Scope
from trueup.errors import SettingsError, TrueupError, reason
from trueup.gateway.server.sockets import READ_SEC, Server, anybody
from trueup.observe.status.facts import BotFacts
from trueup.observe.status.status import Status
from trueup.processes import is_alive
from trueup.runtime.control.bots import ASK_TIMEOUT_MS, ENDED, Bot, noted_bots, state_file
from trueup.runtime.control.commands.bot_commands import BotCommands
from trueup.runtime.control.state_files import StateFile, listens, state_folder
from trueup.runtime.trading.loop import TradingLoop

ANY_PORT = "tcp://127.0.0.1:0"
# The longest delay until a bot notices another bot that was started in its folder, and the age of
# the times in its own state file.
LOOK_EVERY_NS = 10_000_000_000


class Control:
    """The listening end; a state file names its address while the bot runs.

    Raises:
        OSError: no loopback port is free, or the state folder cannot be written.
        SettingsError: the state folder's path is not a folder.
    """

    def __init__(self, loop: TradingLoop, gateway: Any, facts: BotFacts) -> None:
        # Files of killed bots go first, so that `trueup status` does not ask them.
        forget_dead()
        self._desk = BotCommands(loop, gateway, facts)
        self._server = Server(ANY_PORT, anybody(self._desk.handle))
        self.bot: Bot = noted(loop, facts, self._server.endpoint)
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
                self._file.refresh(self._present())

    def answer(self) -> None:
        """Answer the waiting commands while the loop rests, so that nobody waits for a turn."""
        if self._server.serve_once(0):
            self._desk.turn()

    def status(self) -> Status:
        """Return the present status of the bot."""
        return self._desk.source.status()

    def _present(self) -> Bot:
        """Return the content of the state file with the present times, for when the bot is gone."""
        pm = self._loop.pm
        asked = None if pm.as_of_ns is None else iso(pm.as_of_ns)
        return msgspec.structs.replace(self.bot, alive=iso(pm.clock.now_ns()), asked=asked)

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
        """Stop listening, remove the state file, and note when the bot ended."""
        now = self._present()
        # The note is for a person's question later; a full disk must not keep the bot from ending.
        with contextlib.suppress(OSError, SettingsError):
            ENDED.write(msgspec.structs.replace(now, ended=now.alive))
        self._file.remove(self.bot.pid)
        # The last answer may be the one to `trueup stop`.
        self._server.close(READ_SEC)


def noted(loop: TradingLoop, facts: BotFacts, control: str, account: str = "") -> Bot:
    """Return what a bot's state file says from the beginning.

    Args:
        loop: the bot's trading loop.
        facts: the constant facts of the bot.
        control: the endpoint of its commands.
        account: its name among the accounts of one process.
    """
    return Bot(
        facts.pid,
        control,
        loop.pm.symbol,
        facts.started,
        facts.journal_file,
        facts.stream,
        facts.endpoint,
        loop.reconciler.scope,
        account=account,
    )


@contextlib.contextmanager
def listening(loop: TradingLoop, gateway: Any, facts: BotFacts) -> Iterator[Control]:
    """Let a second shell find this bot and send commands, until the end of the `with` block.

    Raises:
        TrueupError: no loopback port is free, or the state folder cannot be written.
    """
    try:
        control = Control(loop, gateway, facts)
    except OSError as error:
        raise TrueupError(f"A second shell could not reach this bot: {reason(error)}.") from error
    try:
        yield control
    finally:
        control.close()


def forget_dead() -> None:
    """Remove the files that killed bots left behind."""
    known: dict[str, bool] = {}
    for path in list(state_folder().glob("bot-*.json")):
        file = StateFile(path.name, Bot)
        bot = file.read()
        if bot is None:
            continue
        if bot.control not in known:
            known[bot.control] = listens(bot.control, ASK_TIMEOUT_MS)
        if not known[bot.control]:
            file.remove(bot.pid)
