"""The line to a running bot: its commands, as a second shell, the page and an assistant give them.

A command that needs time is asked for again: while the bot reads the broker, and while it waits for
the broker's reply to an order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trueup.errors import NotSent, OutcomeUnknown, TrueupError
from trueup.observe.status.earlier import read_status
from trueup.observe.status.status import Status
from trueup.processes import is_alive
from trueup.runtime.control.bots import Bot, ask_bot, refusal_of, silence_of
from trueup.runtime.time.clock import Clock, SystemClock

# An observation takes two turns of the bot's loop, or at most the gateway's timeout.
LOOK_SEC = 30.0
AGAIN_SEC = 0.1


class BotSilent(TrueupError):
    """The bot ended, or does not answer: what it did with the command is not known."""


class Line:
    """The line to one bot.

    Args:
        bot: the bot.
    """

    def __init__(self, bot: Bot) -> None:
        self.bot: Bot = bot
        self.clock: Clock = SystemClock()

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Return a bot's answer to a command.

        Raises:
            BotSilent: no answer came; what the bot did is not known.
            TrueupError: the bot refuses, with its reason.
        """
        try:
            answer = ask_bot(self.bot, command, **fields)
        except (NotSent, OutcomeUnknown) as error:
            raise BotSilent(silence_of(self.bot)) from error
        if not answer.get("ok"):
            raise TrueupError(refusal_of(self.bot, command, str(answer.get("error"))))
        return answer

    def ask_patiently(self, command: str, seconds: float, **fields: Any) -> dict[str, Any]:
        """Return an answer; ask again while the bot waits for the broker's reply to an order.

        Only for a command that may be repeated.

        Raises:
            BotSilent: the bot ended, or did not answer in time.
            TrueupError: the bot refuses, with its reason.
        """
        for _ in self.until(seconds):
            with contextlib.suppress(BotSilent):
                return self.ask(command, **fields)
            if not is_alive(self.bot.pid):
                raise BotSilent(f"The bot, process {self.bot.pid}, has ended.")
        raise BotSilent(silence_of(self.bot))

    def look(self, command: str, **fields: Any) -> dict[str, Any]:
        """Have the bot read the broker now, and return its answer.

        Raises:
            TrueupError: the bot could not read the broker, does not answer, or refuses.
        """
        number = 0
        for _ in self.until(LOOK_SEC):
            answer = self.ask(command, look=number, **fields)
            if "wait" not in answer:
                return answer
            number = answer["wait"]
        raise TrueupError(
            f"The bot, process {self.bot.pid}, got no look at the broker: see its log."
        )

    def status(self) -> Status:
        """Return the bot's status now.

        Raises:
            TrueupError: the bot does not answer, or tells a status that cannot be read.
        """
        return read_status(self.ask("status")["status"])

    def until(self, seconds: float) -> Iterator[float]:
        """Yield the seconds that have passed, repeatedly, until `seconds` have."""
        began_ns = self.clock.waiting_ns()
        passed_sec = 0.0
        while passed_sec < seconds:
            yield passed_sec
            self.clock.sleep(AGAIN_SEC)
            passed_sec = (self.clock.waiting_ns() - began_ns) / 1e9
