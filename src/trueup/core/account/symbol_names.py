"""Find the symbols of a broker that look like a name which that broker does not have.

Brokers write one instrument in many ways: EURUSD, EURUSD.m, EURUSDpro, mEURUSD, EUR/USD, eurusd.
What is found here is shown to a person and never traded: two names that look alike may be two
instruments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

# More than these are no help to a person.
SHOWN_MOST = 5
# A name of fewer characters is a part of too many others.
SHORTEST_STEM = 3
# What brokers put before or after a name: .m, -ECN, .cash, micro.
LONGEST_ADDITION = 6
NOT_ALIKE = 6
_APART = re.compile(r"[\W_]+")
# Small letters at either end of a name in capitals: EURUSDm, iEURUSD.
_MARKED = re.compile(r"[a-z]{0,6}([A-Z0-9]{3,})[a-z]{0,6}")


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A symbol, and what its broker says of it (MQL5 reference, "Symbol Properties")."""

    name: str
    currency_base: str = ""
    currency_profit: str = ""
    description: str = ""


class Catalogue:
    """All symbols of a broker, taken apart once: a broker may have 10,000."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self._names = {symbol.name: _Name(symbol) for symbol in listed}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def look_alikes(self, wanted: str) -> tuple[str, ...]:
        """Return the names that look like `wanted`, the likest first, five at most.

        The likest differ by case alone, then by signs between the letters, then by a prefix or a
        suffix. Last come those of which the broker says that they are it: by their two currencies,
        as GOLD of XAU and USD for XAUUSD, or by a word of their description.
        """
        wish = _Name(Listed(wanted))
        found = ((_rank(wish, one), len(one.name), one.name) for one in self._names.values())
        ranked = sorted(one for one in found if one[0] < NOT_ALIKE)
        return tuple(name for _, _, name in ranked[:SHOWN_MOST])


class _Name:
    """A name and what it is compared by."""

    def __init__(self, symbol: Listed) -> None:
        self.name = symbol.name
        self.folded = symbol.name.casefold()
        self.letters = _letters(symbol.name)
        self.stems = _stems(symbol.name)
        base, profit = symbol.currency_base.casefold(), symbol.currency_profit.casefold()
        # A share that is quoted in dollars is not the pair of dollars and dollars.
        self.pair = base + profit if base and profit and base != profit else ""
        self.words = frozenset(_APART.sub(" ", symbol.description).casefold().split())


def _rank(wish: _Name, other: _Name) -> int:
    """Return how alike a symbol is, 0 for the likest."""
    if other.folded == wish.folded:
        return 0
    if not other.letters or not wish.letters:
        return NOT_ALIKE
    if other.letters == wish.letters:
        return 1
    if not wish.stems.isdisjoint(other.stems):
        return 2
    if _is_lengthened(wish.letters, other.letters):
        return 3
    if other.pair in wish.stems:
        return 4
    is_word = len(wish.letters) > SHORTEST_STEM and wish.letters in other.words
    return 5 if is_word else NOT_ALIKE


def _is_lengthened(wanted: str, letters: str) -> bool:
    """Return whether one name is the other with something before or after it."""
    short, long = (letters, wanted) if len(letters) < len(wanted) else (wanted, letters)
    if len(short) < SHORTEST_STEM or len(long) - len(short) > LONGEST_ADDITION:
        return False
    # USD is a part of EURUSD, and not what is meant by it.
    is_most = short == wanted or 2 * len(short) > len(long)
    return is_most and (long.startswith(short) or long.endswith(short))


def _letters(name: str) -> str:
    return _APART.sub("", name).casefold()


def _stems(name: str) -> set[str]:
    """Return what a name may be without the prefix or suffix of a broker."""
    parts = [part for part in _APART.split(name) if part]
    whole = "".join(parts)
    capitals = [part for part in parts if part != part.lower()]
    longest = max(parts, key=len, default="")
    found = {whole, *(capitals if len(capitals) == 1 else ())}
    if 2 * len(longest) > len(whole):
        found.add(longest)
    found |= {match[1] for match in map(_MARKED.fullmatch, tuple(found)) if match}
    return {stem.casefold() for stem in found if len(stem) >= SHORTEST_STEM}
