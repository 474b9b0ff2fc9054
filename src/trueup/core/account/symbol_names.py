"""Find symbols of a broker with names similar to a symbol that the broker does not have.

Brokers name the same instrument in many ways: EURUSD, EURUSD.m, EURUSDpro, mEURUSD, EUR/USD,
eurusd. The names found here are shown to a person and never traded: similar names may belong to
different instruments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

# A longer list would not help a person.
SHOWN_MOST = 5
# A shorter name is a part of too many other names.
SHORTEST_STEM = 3
# The length of the prefixes and suffixes that brokers add: .m, -ECN, .cash, micro.
LONGEST_ADDITION = 6
NOT_ALIKE = 6
_APART = re.compile(r"[\W_]+")
# Small letters at either end of a name in capitals: EURUSDm, iEURUSD.
_MARKED = re.compile(r"[a-z]{0,6}([A-Z0-9]{3,})[a-z]{0,6}")


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A symbol and its properties at the broker (MQL5 reference, "Symbol Properties")."""

    name: str
    currency_base: str = ""
    currency_profit: str = ""
    description: str = ""


class Catalogue:
    """All symbols of a broker, parsed once in advance: a broker may have 10,000 symbols."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self._names = {symbol.name: _Name(symbol) for symbol in listed}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def look_alikes(self, wanted: str) -> tuple[str, ...]:
        """Return the names similar to `wanted`, most similar first, five at most.

        The most similar names differ only in case, the next in characters between the letters, then
        in a prefix or a suffix. Last come symbols that match by the broker's description: by their
        two currencies, as GOLD with XAU and USD for XAUUSD, or by a word of the description.
        """
        parsed = _Name(Listed(wanted))
        found = ((_rank(parsed, name), len(name.name), name.name) for name in self._names.values())
        ranked = sorted(entry for entry in found if entry[0] < NOT_ALIKE)
        return tuple(name for _, _, name in ranked[:SHOWN_MOST])


class _Name:
    """A name with the forms by which names are compared."""

    def __init__(self, symbol: Listed) -> None:
        self.name = symbol.name
        self.folded = symbol.name.casefold()
        self.letters = _letters(symbol.name)
        self.stems = _stems(symbol.name)
        base, profit = symbol.currency_base.casefold(), symbol.currency_profit.casefold()
        # A share that is quoted in dollars is not the pair of dollars and dollars.
        self.pair = base + profit if base and profit and base != profit else ""
        self.words = frozenset(_APART.sub(" ", symbol.description).casefold().split())


def _rank(wanted: _Name, other: _Name) -> int:
    """Return the rank of a symbol by its similarity, 0 for the most similar."""
    if other.folded == wanted.folded:
        return 0
    # Names without letters, such as "#1", would match each other below.
    if not other.letters or not wanted.letters:
        return NOT_ALIKE
    if other.letters == wanted.letters:
        return 1
    if not wanted.stems.isdisjoint(other.stems):
        return 2
    if _is_lengthened(wanted.letters, other.letters):
        return 3
    if other.pair in wanted.stems:
        return 4
    # Short words, such as "US" or "THE", are in the descriptions of too many symbols.
    is_word = len(wanted.letters) > SHORTEST_STEM and wanted.letters in other.words
    return 5 if is_word else NOT_ALIKE


def _is_lengthened(wanted: str, letters: str) -> bool:
    """Return whether a name is the other name with a prefix or a suffix."""
    short, long = (letters, wanted) if len(letters) < len(wanted) else (wanted, letters)
    if len(short) < SHORTEST_STEM or len(long) - len(short) > LONGEST_ADDITION:
        return False
    # USD is a part of EURUSD, but a different instrument.
    is_most = short == wanted or 2 * len(short) > len(long)
    return is_most and (long.startswith(short) or long.endswith(short))


def _letters(name: str) -> str:
    return _APART.sub("", name).casefold()


def _stems(name: str) -> set[str]:
    """Return the possible forms of a name without the prefix or suffix of a broker."""
    parts = [part for part in _APART.split(name) if part]
    whole = "".join(parts)
    capitals = [part for part in parts if part != part.lower()]
    longest = max(parts, key=len, default="")
    found = {whole, *(capitals if len(capitals) == 1 else ())}
    if 2 * len(longest) > len(whole):
        found.add(longest)
    found |= {match[1] for match in map(_MARKED.fullmatch, tuple(found)) if match}
    return {stem.casefold() for stem in found if len(stem) >= SHORTEST_STEM}
