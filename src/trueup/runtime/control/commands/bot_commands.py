"""Carry out the commands of a second shell in a running bot: look, decide, and restrict trading.

The bot takes commands between two turns of its trading loop, also while the loop rests there, and
never waits for a command. A
command that must read the broker (`plan`, `account`) starts an observation on a connection of its
own, and the answer tells the shell to ask again. So the loop continues to trade, and the bot's own
readings are not disturbed. The only exception is a confirmed `rebind`, which reads the broker
inside a turn: a book that is bound to another account trades nothing meanwhile. A person's `close`
is sent after the command was answered, and waits for its reply as every order does.

A command is a JSON object with `command` and its fields. The answer is a JSON object with `ok` and
either the command's own fields, or `error`, a sentence for the user, or `wait`: the number of the
observation to ask for again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trueup.core.account.trust import Unknown
from trueup.core.book.wishes import is_assistant
from trueup.core.dates import iso
from trueup.core.holds import NEEDS_APPROVAL
from trueup.errors import Refused, TrueupError
from trueup.observe.plan_text import plan_values, write_plan, write_proposals
from trueup.observe.status.facts import BotFacts
from trueup.runtime.control.commands.closing import ClosingCommands
from trueup.runtime.control.commands.command import Command, Commands
from trueup.runtime.control.commands.command_observer import CommandObserver
from trueup.runtime.control.commands.deciding import DecidingCommands
from trueup.runtime.control.commands.loop_commands import LoopCommands
from trueup.runtime.control.commands.modes import ModeCommands
from trueup.runtime.control.commands.reading import ReadingCommands
from trueup.runtime.control.commands.status import StatusSource, concerns_a_person
from trueup.runtime.control.commands.wishing import WishCommands
from trueup.runtime.trading.loop import TradingLoop

# What a person decides is refused if the one who asks says to be an assistant.
FOR_ASSISTANTS = frozenset(
    {
        *("hello", "status", "plan", "book", "find", "limits", "proposals", "outcome"),
        *("submit", "propose", "reject"),
    }
)


class BotCommands:
    """Carry out the commands of a second shell.

    Args:
        loop: the bot's trading loop.
        gateway: a gateway object for observations, used by nothing else.
        facts: the constant facts of the bot.
    """

    def __init__(self, loop: TradingLoop, gateway: Any, facts: BotFacts) -> None:
        self._loop, self._facts, self._gateway = loop, facts, gateway
        self._observer = CommandObserver(loop, gateway)
        self.source: StatusSource = StatusSource(loop, facts)
        """Makes the status of the bot."""
        self._closing = ClosingCommands(loop, self._observer)
        self._of_loop = LoopCommands(loop)
        self._wishes = WishCommands(loop, self._observer)
        self._deciding = DecidingCommands(loop, self._observer, self._wishes)
        self._commands: Commands = {
            "hello": lambda _: msgspec.to_builtins(facts),
            "status": lambda _: {"status": msgspec.to_builtins(self.source.status())},
            "plan": self._plan,
            **self._deciding.commands,
            **ModeCommands(loop).commands,
            **self._closing.commands,
            **self._of_loop.commands,
            **self._wishes.commands,
            **ReadingCommands(loop).commands,
        }

    def handle(self, raw: bytes) -> bytes:
        """Return the answer to a command; any bytes get an answer."""
        try:
            command = msgspec.json.decode(raw, type=Command)
            carry_out = self._commands.get(command.command)
            if carry_out is None:
                raise TrueupError(f"There is no command {command.command!r}.")
            _refuse_assistant(command)
            return msgspec.json.encode({"ok": True, **carry_out(command)})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            because = f"The command cannot be read: {error}."
        except (TrueupError, ValueError) as error:
            because = str(error)
        return msgspec.json.encode({"ok": False, "error": because})

    def close(self) -> None:
        """Close the connection that the observations use."""
        self._gateway.disconnect()

    def turn(self) -> None:
        """Continue the observations and approvals under way, and send what is asked for."""
        self._observer.turn()
        self._deciding.turn()
        self.source.turn()
        self._closing.turn()
        self._of_loop.turn()
        self._wishes.turn()

    def _plan(self, command: Command) -> dict[str, Any]:
        # Not the bot's last reading: the user asks about the broker as it is now.
        observation = self._observer.observation(command.look)
        if isinstance(observation, int):
            return {"wait": observation}
        if isinstance(observation.verdict, Unknown):
            unknown = {"reason": observation.verdict.sentence, "until": observation.verdict.until}
            return {"unknown": unknown, "at": iso(observation.asked.at.date_ns), **self._proposed()}
        digits = self._loop.pm.currency_digits
        return {
            "at": iso(observation.asked.at.date_ns),
            "text": write_plan(observation.plan, digits),
            "changes": len(observation.plan.events),
            "waiting": [
                *(hold.id for hold in self._observer.holds if hold.kind in NEEDS_APPROVAL),
                *(made.proposal_id for made in self._wishes.proposed),
            ],
            "needs_person": bool(self._wishes.proposed)
            or any(map(concerns_a_person, observation.plan.holds)),
            "plan": plan_values(observation.plan, digits),
            **self._proposed(),
        }

    def _proposed(self) -> dict[str, Any]:
        """Return the orders that assistants have proposed, as text and as plain values."""
        made = self._wishes.proposed
        rows = [msgspec.to_builtins(row) for row in self._wishes.rows()]
        return {"proposed": write_proposals(made), "proposals": rows}


def _refuse_assistant(command: Command) -> None:
    """Refuse an assistant what a person decides, such as the approval of its own proposal."""
    if is_assistant(command.who) and command.command not in FOR_ASSISTANTS:
        raise Refused(
            f"Nothing was done: `{command.command}` is for a person, and {command.who!r:.60} is an "
            "assistant."
        )
