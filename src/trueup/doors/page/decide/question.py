"""What an action of the page asks, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from trueup.errors import TrueupError
from trueup.observe.status.status import Decision, Status
from trueup.runtime.control.bots import find_bots
from trueup.runtime.control.line import Line

Values: TypeAlias = Mapping[str, str]
"""The fields of an address or of a form."""


class Choice(NamedTuple):
    """An answer that an approver may choose: its words, and the fields that stand for it."""

    words: str
    fields: Values


class Question(NamedTuple):
    """What an approver is asked: the facts of now, the button, and what must be ticked first.

    `hidden` are values that the form sends back, so that an action stands for exactly what was
    shown. With `choices` the approver first chooses, and is asked about the choice then;
    `asks_ticket` lets them name another ticket.
    """

    title: str
    facts: list[str]
    button: str
    decision: Decision | None = None
    tick: str = ""
    hidden: Values = {}  # noqa: RUF012 - never changed
    asks_why: bool = True
    choices: tuple[Choice, ...] = ()
    asks_ticket: bool = False


class Outcome(NamedTuple):
    """What became of an action: whether it was carried out, the sentence, and rows."""

    done: bool
    sentence: str
    rows: list[str] = []  # noqa: RUF012 - never changed


class Act(NamedTuple):
    """An action: its question, and its execution."""

    question: Callable[[Line, Values], Question]
    carry_out: Callable[[Line, Values, str], Outcome]


class Withdrawn(TrueupError):
    """The action is not possible any more; the message says why."""


def line_to(status: Status) -> Line:
    """Return the line to the bot of this folder that told a status.

    Raises:
        TrueupError: no such bot runs here.
    """
    bots = [bot for bot in find_bots() if bot.pid == status.pid]
    if len(bots) > 1:
        # The accounts of one process.
        bots = [bot for bot in bots if bot.stream == status.stream]
    if len(bots) == 1:
        return Line(bots[0])
    raise TrueupError("No bot answers, so nothing can be decided here.")
