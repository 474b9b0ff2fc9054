"""Whose positions a book counts as its own, and whether two books count the same ones.

Two books that do adopt each other's positions, close them by their own signals, and each count the
result. Neither of the two does anything wrong by its own rules, so nobody else notices.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trueup.core.tokens import FIRST_CHAR, strategy_half

ALL = "all"
# In place of symbols' names: every symbol of the account.
EVERY_SYMBOL = "*"
# What a message carries of a name or a list: enough for a person.
TEXT_LONGEST = 100
MAGICS_MOST = 100


class Scope(msgspec.Struct, frozen=True, omit_defaults=True):
    """A book, by what names it and by what it counts as its own.

    `run` is one run of one book, which no other has: with it a book knows itself. `stream`,
    `process` (its number) and `host` name it for people. `symbols`, `adopt` (`ours`, `ask` or
    `all`), `magics` and `comment_prefix` are its policy, and `magic` is what its own orders carry.
    `account` is login@server, empty while the book is not bound.
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
        """What names the book, for a person."""
        where = f" on {self.host}" if self.host else ""
        return f"stream {self.stream} (process {self.process}{where}, magic {self.magic})"

    @property
    def counts_all(self) -> bool:
        """Whether every position in its symbols is its own; without an owner's sign, all are."""
        return self.adopt == ALL or not (self.magics or self.comment_prefix)


class Neighbour(msgspec.Struct, frozen=True):
    """Another book that asks a gateway: when its latest and its first question came (ms ago)."""

    scope: Scope
    asked_ms_ago: int = 0
    first_ms_ago: int = 0

    def is_beside(self, other: Neighbour) -> bool:
        """Return whether both asked at the same time, and not the one after the other ended."""
        is_later = self.asked_ms_ago < other.first_ms_ago
        return is_later and other.asked_ms_ago < self.first_ms_ago


def overlap(one: Scope, other: Scope) -> str:
    """Say which positions two books both count as their own; empty where there can be none."""
    if one.account and other.account and one.account != other.account:
        return ""
    shared = shared_symbols(one.symbols, other.symbols)
    by = _both_count(one, other) if shared else ""
    if not by:
        return ""
    more = f" and {len(shared) - 3} more symbols" if len(shared) > 3 else ""
    named = "every symbol" if shared[:1] == [EVERY_SYMBOL] else ", ".join(shared[:3])
    return f"{named}{more}, {by}"


def shared_symbols(own: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the symbols that two books have in common, in the order of the first."""
    if EVERY_SYMBOL in own:
        return list(others)
    theirs = set(others)
    return list(own) if EVERY_SYMBOL in theirs else [one for one in own if one in theirs]


def _both_count(one: Scope, other: Scope) -> str:
    """Say by what two books tell the positions that both count, in a symbol of both."""
    if one.counts_all and other.counts_all:
        return "whatever the magic number"
    if one.counts_all or other.counts_all:
        return _owners(other if one.counts_all else one)
    magics = [magic for magic in one.magics if any(_is_one(magic, its) for its in other.magics)]
    if magics:
        return f"magic {magics[0]}"
    for mine, its in ((one, other), (other, one)):
        prefix = mine.comment_prefix
        if prefix and its.comment_prefix.startswith(prefix):
            return f"comments that begin with {its.comment_prefix!r}"
        # The comment of every order of ours is a token, and this is how all tokens begin.
        if prefix == FIRST_CHAR:
            return _owners(its)
    return ""


def _is_one(magic: int, other: int) -> bool:
    """Return whether a position can have both: a magic number may carry a token beside its own."""
    return magic == other or strategy_half(magic) == other or magic == strategy_half(other)


def _owners(scope: Scope) -> str:
    if scope.magics:
        return f"magic {', '.join(map(str, scope.magics[:3]))}"
    return f"comments that begin with {scope.comment_prefix!r}"
