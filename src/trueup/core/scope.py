"""The scope of a book: the positions that it counts as its own, and its overlap with other books.

Two books with overlapping scopes adopt each other's positions, close them by their own signals, and
both count the result. Each book follows its own rules, so no other check detects this.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.tokens import FIRST_CHAR, strategy_half

ALL = "all"
# Stands for every symbol of the account, in place of names of symbols.
EVERY_SYMBOL = "*"
# Limits for names and lists in a message; a person needs no more.
TEXT_LONGEST = 100
MAGICS_MOST = 100


class Scope(msgspec.Struct, frozen=True, omit_defaults=True):
    """A book's names and its rules for which positions are its own.

    `run` identifies a single run of a single book, so that a book recognises itself. `stream`,
    `process` (its number) and `host` name the book for a person. `symbols`, `adopt` (`ours`, `ask`
    or `all`), `magics` and `comment_prefix` are its policy, and `magic` is the number that its own
    orders carry. `account` is login@server, empty while the book is not bound to an account.
    """

    run: str
    stream: str = ""
    process: int = 0
    host: str = ""
    adopt: str = "ours"
    magic: int = 0
    magics: tuple[int, ...] = ()
    comment_prefix: str = ""
    account: str = ""
    symbols: tuple[str, ...] = ()

    def shortened(self) -> Scope:
        """Return the scope with names and lists of a bounded length, without names of symbols."""
        return Scope(
            self.run[:TEXT_LONGEST],
            self.stream[:TEXT_LONGEST],
            self.process,
            self.host[:TEXT_LONGEST],
            self.adopt[:TEXT_LONGEST],
            self.magic,
            self.magics[:MAGICS_MOST],
            self.comment_prefix[:TEXT_LONGEST],
            self.account[:TEXT_LONGEST],
            # The question names symbols, and cannot name all of them.
            (EVERY_SYMBOL,) if EVERY_SYMBOL in self.symbols else (),
        )

    @property
    def name(self) -> str:
        """The name of the book, for a person."""
        where = f" on {self.host}" if self.host else ""
        return f"stream {self.stream} (process {self.process}{where}, magic {self.magic})"

    @property
    def counts_all(self) -> bool:
        """Whether the book owns all positions in its symbols; without magics and prefix, too."""
        return self.adopt == ALL or not (self.magics or self.comment_prefix)


class Neighbour(msgspec.Struct, frozen=True):
    """Another book that asks a gateway, with the ages (ms) of its latest and first question."""

    scope: Scope
    asked_ms_ago: int = 0
    first_ms_ago: int = 0

    def is_beside(self, other: Neighbour) -> bool:
        """Return whether the two books were active at the same time, not one after the other."""
        is_later = self.asked_ms_ago < other.first_ms_ago
        return is_later and other.asked_ms_ago < self.first_ms_ago


def overlap(first: Scope, second: Scope) -> str:
    """Say which positions both books count as their own; empty if there can be none."""
    if first.account and second.account and first.account != second.account:
        return ""
    shared = shared_symbols(first.symbols, second.symbols)
    mark = _shared_mark(first, second) if shared else ""
    if not mark:
        return ""
    more = f" and {len(shared) - 3} more symbols" if len(shared) > 3 else ""
    named = "every symbol" if shared[:1] == [EVERY_SYMBOL] else ", ".join(shared[:3])
    return f"{named}{more}, {mark}"


def shared_symbols(own: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the symbols that two books have in common, in the order of the first."""
    if EVERY_SYMBOL in own:
        return list(others)
    wanted = set(others)
    return list(own) if EVERY_SYMBOL in wanted else [name for name in own if name in wanted]


def _shared_mark(first: Scope, second: Scope) -> str:
    """Return the mark of the positions that both books count, in a symbol of both; or empty."""
    if first.counts_all and second.counts_all:
        return "whatever the magic number"
    # A book that counts all positions shares exactly those that the other book counts.
    if first.counts_all or second.counts_all:
        return _owners(second if first.counts_all else first)
    magics = [m for m in first.magics if any(_may_be_same(m, n) for n in second.magics)]
    if magics:
        return f"magic {magics[0]}"
    for wider, narrower in ((first, second), (second, first)):
        prefix = wider.comment_prefix
        if prefix and narrower.comment_prefix.startswith(prefix):
            return f"comments that begin with {narrower.comment_prefix!r}"
        # The comment of each order of ours is a token, and all tokens begin with this character.
        if prefix == FIRST_CHAR:
            return _owners(narrower)
    return ""


def _may_be_same(magic: int, other: int) -> bool:
    """Return whether a position can match both magic numbers, since a magic may carry a token."""
    return magic == other or strategy_half(magic) == other or magic == strategy_half(other)


def _owners(scope: Scope) -> str:
    if scope.magics:
        return f"magic {', '.join(map(str, scope.magics[:3]))}"
    return f"comments that begin with {scope.comment_prefix!r}"
