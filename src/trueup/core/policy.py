"""The policy: which positions are ours, how to act on each difference, and how long to wait."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from trueup.core.conversions import whole_number
from trueup.core.model import PendingOrder, Position
from trueup.core.scope import EVERY_SYMBOL
from trueup.core.tokens import FIRST_CHAR, MAGIC_HALF, strategy_half

GRACE_SEC = 60
"""How long an order without a trace may still be executed (s), for the bot and for the gateway's
record. A trade server can fill an order long after its own timeout (10012), and a program that is
told "not executed" too early sends the order again, so that there are two positions."""


class Adopt(enum.Enum):
    """Which zombies enter the book: ours by magic or comment, all in scope, or approved zombies."""

    OURS = "ours"
    ALL = "all in scope"
    ASK = "ask"


class Action(enum.Enum):
    """How to act on a class of differences: correct, correct after an approval, or only show."""

    APPLY = "apply"
    ASK = "ask"
    ALERT = "alert"


DIFFERENCES = ("zombie", "ghost", "drift", "protection", "pending")
"""The classes of differences that a policy has an action for."""


class Policy(msgspec.Struct, frozen=True):
    """Which positions the reconciler may act on, and how.

    Scope: `symbols` are ours ("*" is every symbol of the account). A position is ours if its symbol
    is ours and it has a magic number in `magics` or a comment that begins with `comment_prefix`;
    with neither set, all positions in our symbols are ours. Any other position is foreign: counted
    and shown, never adopted, changed or closed. `adopt` decides about positions in our symbols
    without our magic number or comment. `OURS` and `ASK` need `magics` or `comment_prefix`, because
    otherwise no position can be told apart. Orders of the order desk carry the book's magic number
    and a token as their comment, so a comment prefix alone does not recognise our own orders.

    Waiting: an order in doubt without a trace is given up `grace_period_ms` after the first
    snapshot without a trace, or later (`core.look.absence`), because MetaTrader 5 can fill after
    its own timeout (retcode 10012). A difference on a position that we touched less than
    `settle_ms` ago is held: on a loaded server the terminal shows a change 300 to 800 ms after the
    acknowledgement. 0 turns either off.

    Raises:
        ValueError: `symbols` is empty, or `adopt` needs `magics` or `comment_prefix` and both are
            empty; also for values of the wrong type.
    """

    symbols: frozenset[str]
    magics: frozenset[int] = frozenset()
    comment_prefix: str = ""
    adopt: Adopt = Adopt.ALL
    zombie: Action = Action.APPLY
    ghost: Action = Action.APPLY
    drift: Action = Action.APPLY
    protection: Action = Action.APPLY
    pending: Action = Action.APPLY
    expects_stop_loss: bool = False
    grace_period_ms: int = GRACE_SEC * 1_000
    settle_ms: int = 1_000

    def __post_init__(self) -> None:
        """Refuse a policy that would silently act on every position or on none."""
        msgspec.structs.force_setattr(self, "symbols", _names(self.symbols))
        msgspec.structs.force_setattr(self, "magics", _magics(self.magics))
        if self.adopt is not Adopt.ALL and not self.names_owners:
            raise ValueError(
                f"adopt=Adopt.{self.adopt.name} is not valid without a way to tell whose a "
                "position is: give magics={7} or comment_prefix='ORD_', or adopt=Adopt.ALL."
            )

    def covers(self, symbol: str) -> bool:
        """Return whether a symbol is one of ours."""
        return symbol in self.symbols or EVERY_SYMBOL in self.symbols

    @property
    def covers_all(self) -> bool:
        """Whether every symbol of the account is ours."""
        return EVERY_SYMBOL in self.symbols

    @property
    def named_symbols(self) -> tuple[str, ...]:
        """The symbols that the policy names, in alphabetical order; without "*"."""
        return tuple(sorted(self.symbols - {EVERY_SYMBOL}))

    @property
    def names_owners(self) -> bool:
        """Whether the policy can tell our positions from others within a symbol."""
        return bool(self.magics or self.comment_prefix)

    def owns(self, row: Position | PendingOrder) -> bool:
        """Return whether a position or a pending order is ours by symbol and magic or comment."""
        if not self.covers(row.symbol):
            return False
        if not self.names_owners:
            return True
        by_comment = bool(self.comment_prefix) and row.comment.startswith(self.comment_prefix)
        return by_comment or self._has_magic(row.magic)

    def is_foreign(self, row: Position | PendingOrder) -> bool:
        """Return whether a position or a pending order is outside the policy's scope."""
        if not self.covers(row.symbol):
            return True
        return self.adopt is Adopt.OURS and not self.owns(row)

    @property
    def owners(self) -> str:
        """The mark of our positions, for a sentence: magic 7 or comments that begin with 'x'."""
        known = [f"magic {magic}" for magic in sorted(self.magics)]
        if self.comment_prefix:
            known.append(f"comments that begin with {self.comment_prefix!r}")
        return " or ".join(known)

    def why_not_ours(self, symbol: str, magic: int, *, magic_token: bool) -> str:
        """Say why the policy would not recognise an order of our desk as ours; empty if it would.

        Args:
            symbol: the order's symbol.
            magic: the strategy's magic number on the order.
            magic_token: whether the low half of the number on the wire is the order's token.
        """
        if not self.covers(symbol):
            known = ", ".join(sorted(self.symbols))
            return f"its symbols are {known}, and an order of this book would be in {symbol}"
        # The comment is a token, and all tokens share only the first character.
        by_comment = self.comment_prefix == FIRST_CHAR
        on_the_wire = magic * MAGIC_HALF + 1 if magic_token else magic
        if self.adopt is Adopt.ALL or by_comment or self._has_magic(on_the_wire):
            return ""
        # Only the comment or the magic number tells the desk later that the position is its own.
        would = "be foreign" if self.adopt is Adopt.OURS else "wait for approval"
        return f"ours is {self.owners}, so an order of this book with magic {magic} would {would}"

    def _has_magic(self, magic: int) -> bool:
        return magic in self.magics or strategy_half(magic) in self.magics


def _names(given: object) -> frozenset[str]:
    """Return names of symbols as a set, from a set, a list, or a column of a table."""
    names = () if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f"symbols={given!r:.40} is not valid: give a set of names, as {{'EURUSD'}}."
        )
    return frozenset(map(str, names))


def _magics(given: object) -> frozenset[int]:
    """Return magic numbers as a set, from a set, a list, or a column of a table."""
    numbers = (
        [None if isinstance(item, str | float) else whole_number(item) for item in given]
        if isinstance(given, Iterable) and not isinstance(given, str)
        else [None]
    )
    found = [magic for magic in numbers if magic is not None and 0 <= magic < 2**64]
    if len(found) < len(numbers):
        raise ValueError(
            f"magics={given!r:.40} is not valid: give a set of whole numbers from 0 to 2**64 - 1, "
            "as {7}."
        )
    return frozenset(found)


def actions_of(ask: Iterable[str], alert: Iterable[str]) -> dict[str, Action]:
    """Return the actions of a policy by class of differences; all others are corrected.

    Raises:
        ValueError: a class is in both; the two contradict each other.
    """
    asked, alerted = dict.fromkeys(ask, Action.ASK), dict.fromkeys(alert, Action.ALERT)
    for name in asked:
        if name in alerted:
            raise ValueError(f"{name} is among those to ask for and among those to show: give one")
    return {**asked, **alerted}
