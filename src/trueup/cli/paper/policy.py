"""The options that say whose positions these are, and what is done about a difference."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from trueup.core.policy import Action, Adopt, Policy
from trueup.errors import SettingsError

# What the orders of `trueup paper` carry, unless it is given another.
PAPER_MAGIC = 878_787


class AdoptChoice(StrEnum):
    """Which positions that the book does not know enter it."""

    OURS = "ours"
    ALL = "all"
    ASK = "ask"


class Difference(StrEnum):
    """The classes of differences."""

    ZOMBIE = "zombie"
    GHOST = "ghost"
    DRIFT = "drift"
    PROTECTION = "protection"
    PENDING = "pending"


ADOPT = {AdoptChoice.OURS: Adopt.OURS, AdoptChoice.ALL: Adopt.ALL, AdoptChoice.ASK: Adopt.ASK}

MagicOption = Annotated[
    list[int] | None,
    typer.Option(
        "--magic",
        min=0,
        max=2**64 - 1,
        help="Positions with this magic number are ours; repeat it. Our own orders carry the "
        f"first one, {PAPER_MAGIC} unless given.",
    ),
]
CommentOption = Annotated[
    str,
    typer.Option(
        "--comment-prefix",
        help="Positions whose comment begins so are ours, too.",
    ),
]
AdoptOption = Annotated[
    AdoptChoice | None,
    typer.Option(
        "--adopt",
        help="Which positions in the symbol enter the book when it does not know them. all: every "
        "one. ours: ours, and others stay foreign. ask: ours, and others wait for a yes. By "
        "default all at the simulated terminal, and ours anywhere else.",
    ),
]
AskOption = Annotated[
    list[Difference] | None,
    typer.Option("--ask", help="Differences of this class wait for a yes; repeat it."),
]
AlertOption = Annotated[
    list[Difference] | None,
    typer.Option("--alert", help="Differences of this class are shown and left; repeat it."),
]
StopLossOption = Annotated[
    bool,
    typer.Option("--expects-stop-loss", help="Show every position of ours without a stop loss."),
]


def make_policy(
    symbol: str,
    magics: list[int] | None,
    comment_prefix: str,
    adopt: AdoptChoice,
    ask: list[Difference] | None,
    alert: list[Difference] | None,
    *,
    expects_stop_loss: bool,
) -> Policy:
    """Return the policy that the options come to.

    Raises:
        SettingsError: a class of differences is to be asked about and only shown.
    """
    both = sorted(set(ask or ()) & set(alert or ()))
    if both:
        raise SettingsError("--alert", both[0].value, "it is given to --ask as well: give one")
    tells_owners = magics or adopt is not AdoptChoice.ALL
    actions: dict[str, Any] = {
        **{one.value: Action.ASK for one in ask or ()},
        **{one.value: Action.ALERT for one in alert or ()},
    }
    return Policy(
        symbols=frozenset({symbol}),
        magics=frozenset(magics or (PAPER_MAGIC,)) if tells_owners else frozenset(),
        comment_prefix=comment_prefix,
        adopt=ADOPT[adopt],
        expects_stop_loss=expects_stop_loss,
        **actions,
    )
