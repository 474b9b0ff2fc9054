"""An incident: what happens, what the product says of it, and what a person does.

The page docs/operating/incidents.md, the command `trueup sim incident` and the tests are made from
the same incidents, so they cannot say different things.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from trueup.lab.incidents.stage import Stage

ANYTHING = "..."


class Where(enum.Enum):
    """Where the product says something."""

    LOG = "log of the bot"
    GATEWAY_LOG = "log of the gateway"
    OTHER_LOG = "the second process"
    STATUS = "`trueup status`"
    DOCTOR = "`trueup doctor`"
    ALERT = "`trueup alerts`"


class Sign(NamedTuple):
    """A sign of an incident: words that the product says, and the exit code of the command.

    `...` in the words stands for anything, such as a time or a process number. `exit_code` is None
    for a log and an alert. An alert begins with the words.
    """

    where: Where
    words: str
    exit_code: int | None = None

    def is_in(self, text: str) -> bool:
        """Return whether a text has the words, however its lines are wrapped."""
        parts = map(re.escape, self.words.split(ANYTHING))
        return re.search(".*?".join(parts), " ".join(text.split())) is not None


class Incident(NamedTuple):
    """An incident of the night.

    `happens`, `means`, `risk`, `todo` and `ends` are sentences for a person. `play` brings the
    incident about at a stage; the end of its context ends the incident. `impossible` returns why
    the incident cannot be played here, or an empty text. With `needs_database` the journal of the
    stage has to be in a database server.
    """

    name: str
    title: str
    happens: str
    signs: tuple[Sign, ...]
    means: str
    risk: str
    todo: str
    ends: str
    play: Callable[[Stage], AbstractContextManager[None]]
    impossible: Callable[[], str] = lambda: ""
    needs_database: bool = False
