"""The options of the policy: which positions are ours, and how a difference is treated."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, cast

import typer

from trueup.core.policy import Adopt, Policy, actions_of
from trueup.errors import SettingsError

# The magic number of the orders of `trueup paper` without --magic.
PAPER_MAGIC = 878_787


class AdoptChoice(StrEnum):
    """Which unknown positions the book adopts."""

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
        help="Positions with this magic number are ours; repeatable. Our own orders carry the "
        f"first number, by default {PAPER_MAGIC}.",
    ),
]
CommentOption = Annotated[
    str,
    typer.Option(
        "--comment-prefix",
        help="Positions with a comment that begins with this text are ours, too.",
    ),
]
AdoptOption = Annotated[
    AdoptChoice | None,
    typer.Option(
        "--adopt",
        help="Which unknown positions in the symbol the book adopts. all: all positions. ours: our "
        "positions; others stay foreign. ask: our positions; others wait for approval. By default "
        "all at the simulated terminal, and ours anywhere else.",
    ),
]
AskOption = Annotated[
    list[Difference] | None,
    typer.Option("--ask", help="Differences of this class wait for approval; repeatable."),
]
AlertOption = Annotated[
    list[Difference] | None,
    typer.Option("--alert", help="Differences of this class are only shown; repeatable."),
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
    """Return the policy of these options.

    Raises:
        SettingsError: a class of differences is given to both --ask and --alert.
    """
    try:
        actions = actions_of(ask or (), alert or ())
    except ValueError as error:
        both = sorted(set(ask or ()) & set(alert or ()))
        raise SettingsError("--alert", both[0].value, str(error)) from None
    # With `all` and no magic number the account is ours alone, so no position is foreign.
    tells_owners = magics or adopt is not AdoptChoice.ALL
    return Policy(
        symbols=frozenset({symbol}),
        magics=frozenset(magics or (PAPER_MAGIC,)) if tells_owners else frozenset(),
        comment_prefix=comment_prefix,
        adopt=ADOPT[adopt],
        expects_stop_loss=expects_stop_loss,
        **cast(dict[str, Any], actions),
    )
