"""Why a gateway cannot read its terminal, in a reply with the status FAILED.

A gateway of ours names the cause in the field `cause`, because each cause has another remedy. A
reply without the field comes from another gateway, or from an earlier release: then the cause is
not known.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from trueup.core.account.trust import NOT_CONNECTED, Reason, Unknown
from trueup.protocol.text import reason_of

UNTIL_READ = "a terminal that can be read"


class Cause(enum.StrEnum):
    """The causes; a client takes an unknown cause for `TERMINAL`."""

    TERMINAL = "terminal"
    """The terminal did not answer, answered with an error, or is busy."""
    NO_LINK = "no link"
    """The terminal has no link to its trade server."""
    OTHER_ACCOUNT = "other account"
    """The terminal is logged in to an account that the gateway does not serve."""


def failure_of(reply: Mapping[str, object]) -> Unknown | None:
    """Return why a gateway could not read, or None if the reply names no cause."""
    cause = reply.get("cause")
    if not isinstance(cause, str):
        return None
    if cause == Cause.NO_LINK:
        return NOT_CONNECTED
    why = reason_of(reply)
    if cause == Cause.OTHER_ACCOUNT:
        sentence = f"{why[:1].upper()}{why[1:]}"
        return Unknown(
            Reason.WRONG_ACCOUNT, sentence, "a login to the account that the gateway serves"
        )
    return Unknown(Reason.UNREADABLE, f"The terminal could not be read: {why}", UNTIL_READ)
