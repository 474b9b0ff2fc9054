"""The command of a second shell to a running bot, with its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from trueup.core.book.wishes import OrderWish
from trueup.core.dates import iso
from trueup.errors import Refused

# A command that waited longer, as in front of a bot that hung, no longer says what the person
# wants: by now the position may have been closed by hand.
OLDEST_SEC = 30


class GivenWish(OrderWish, frozen=True, forbid_unknown_fields=True):
    """A wish as a command has it: a misspelt stop loss must not open a position without a stop."""


class Command(msgspec.Struct):
    """A command with all fields that any command may have.

    `look` is the number of the observation that an earlier answer named. `id` is the hold to
    approve, or the order to resolve, and `who` the user's name. `yes` confirms that the user has
    checked that a missing position is gone. `ticket` is the broker's order that matches an order in
    doubt, `never_executed` says that there is none. `positions` are the positions whose deals are
    compared with the broker's again. `why` is the user's reason. `side` and `lots` are those of the
    position that the user was shown, and `at_ns` is when the command was given (ns of UTC), 0 if
    that is not known. `everything` says that the position is one of all that the user closes. `key`
    is an assistant's name for the order of its `wish`, and `lifetime_sec` how long a proposal
    waits, 0 for the default. `count` is the number of rows that are wanted.
    """

    command: str
    id: str = ""
    look: int = 0
    who: str = "a person"
    yes: bool = False
    ticket: int = 0
    never_executed: bool = False
    login: int = 0
    server: str = ""
    positions: tuple[int, ...] = ()
    why: str = ""
    side: str = ""
    lots: float = 0.0
    at_ns: int = 0
    key: str = ""
    wish: GivenWish | None = None
    lifetime_sec: int = 0
    count: int = 20
    everything: bool = False


Commands: TypeAlias = Mapping[str, Callable[[Command], dict[str, Any]]]
"""The commands of one kind: each name, and the method that carries the command out."""


def refuse_old(command: Command, now_ns: int) -> None:
    """Refuse a command that waited so long that the person may have acted otherwise meanwhile.

    Raises:
        Refused: the command is too old.
    """
    age_sec = (now_ns - command.at_ns) / 1e9
    # A command of an earlier release has no time.
    if command.at_ns and age_sec > OLDEST_SEC:
        raise Refused(
            f"Nothing was done: the command is of {iso(command.at_ns)}, {age_sec:.0f} s ago; the "
            "bot was busy or hung until now. Give the command again if you still want that."
        )
