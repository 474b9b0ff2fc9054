"""Check the books at a gateway: their symbols exist, and no position belongs to two books."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from trueup.core.account.trust import Unknown
from trueup.core.model import Evidence, Snapshot, UnknownSymbol
from trueup.core.scope import EVERY_SYMBOL, Neighbour, overlap
from trueup.observe.doctor_text import DoctorRow, not_asked, ok, sick, warn
from trueup.protocol.snapshot import NAMED_AT_ONCE
from trueup.runtime.sync.neighbours import REMEDY

CHECKS = ("symbols", "neighbours")
NO_SNAPSHOT = "this gateway does not tell it (no SNAPSHOT)"
NO_READING = "no reading"
NO_SYMBOL_GIVEN = "no bot names a symbol: give --symbol"
NO_PRICE = "a bot of this symbol gets no price and opens nothing"
SHARED = "each may close what the other has opened, and both count its result"
NAME_IT = "give the bot a symbol as the broker spells it (`--symbol`, PortfolioManager's `symbol`)"


class BooksCheck:
    """A check of the books that use a gateway, and of their symbols.

    Args:
        symbols: the known symbols: of the bots of this folder, and of the options.
        ask: requests a snapshot with these symbols from the gateway.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        ask: Callable[[Sequence[str]], Snapshot | Unknown],
    ) -> None:
        self._symbols, self._ask = symbols, ask

    def rows(self, reading: Snapshot | Unknown | None) -> Iterator[DoctorRow]:
        """Yield the rows of `CHECKS`.

        Args:
            reading: a snapshot that was requested with `symbols`; None without such a request.
        """
        if not isinstance(reading, Snapshot) or reading.evidence is None:
            why = NO_SNAPSHOT if reading is None else NO_READING
            yield from (not_asked(check, why) for check in CHECKS)
            return
        yield self._named(reading.evidence)
        yield _neighbours(reading.evidence.neighbours)

    def _named(self, evidence: Evidence) -> DoctorRow:
        of_books = [symbol for book in evidence.neighbours for symbol in book.scope.symbols]
        named = [
            name for name in dict.fromkeys((*self._symbols, *of_books)) if name != EVERY_SYMBOL
        ]
        if not named:
            return not_asked("symbols", NO_SYMBOL_GIVEN)
        # Further questions for the symbols of other books: a snapshot names only a few at once.
        answers = [evidence]
        others = [symbol for symbol in named if symbol not in self._symbols]
        for begin in range(0, len(others), NAMED_AT_ONCE):
            answer = self._ask(others[begin : begin + NAMED_AT_ONCE])
            if isinstance(answer, Unknown) or answer.evidence is None:
                return not_asked("symbols", NO_READING)
            answers.append(answer.evidence)
        missing = {unknown.symbol: unknown for part in answers for unknown in part.unknown_symbols}
        wanted = [missing[symbol] for symbol in named if symbol in missing]
        if wanted:
            found = "; ".join(_sentence_for(unknown, evidence.neighbours) for unknown in wanted)
            return sick(
                "symbols", found, NO_PRICE, NAME_IT, unknown=[unknown.symbol for unknown in wanted]
            )
        known = {spec.symbol for part in answers for spec in part.specs}
        unknown_yet = [symbol for symbol in named if symbol not in known]
        if unknown_yet:
            # An older gateway, or a gateway without a terminal now, does not tell about a symbol.
            return not_asked("symbols", f"whether the broker has {_some(unknown_yet)} is not told")
        return ok("symbols", f"the broker has {_some(named)}", symbols=named)


def _some(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:10]) + (", ..." if len(symbols) > 10 else "")


def _sentence_for(unknown: UnknownSymbol, neighbours: Sequence[Neighbour]) -> str:
    names = [book.scope.name for book in neighbours if unknown.symbol in book.scope.symbols]
    by = f" (asked for by {names[0]})" if names else ""
    return f"{unknown.sentence}{by}"


def _neighbours(books: Sequence[Neighbour]) -> DoctorRow:
    """Return a warning if two books at the gateway count the same positions as their own."""
    for book, other in itertools.combinations(books, 2):
        shared = overlap(book.scope, other.scope) if book.is_beside(other) else ""
        if shared:
            both = f"{book.scope.name} and {other.scope.name}"
            return warn("neighbours", f"{both} count the same positions: {shared}", SHARED, REMEDY)
    count = "1 book asks" if len(books) == 1 else f"{len(books) or 'no'} books ask"
    return ok("neighbours", f"{count} this gateway; no two count the same positions")
