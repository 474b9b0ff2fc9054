"""May a reading be believed? Unknown is a value, and it is not an empty list.

"The broker has nothing", "the broker said no" and "we could not look" are three different things;
waiting alone never turns the third into either of the others.
"""

from __future__ import annotations

import enum

import msgspec


class Reason(enum.Enum):
    """Why a reading is not believed."""

    OFFLINE = "offline"
    UNREADABLE = "unreadable"


class Unknown(msgspec.Struct, frozen=True):
    """We could not look, or cannot believe what we saw.

    `sentence` says what happened, `until` what would end it, both for a person.
    """

    reason: Reason
    sentence: str
    until: str = "a gateway that answers GET_POSITIONS"
