"""What the books at a gateway ask for: symbols that there are, and positions of one book alone."""

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
NOBODY_SAYS = "no bot says which it trades: give --symbol"
NAME_IT = "give the bot a symbol as the broker spells it (`--symbol`, PortfolioManager's `symbol`)"


class BooksLook:
    """A look at the books that ask a gateway, and at the symbols that they name.

    Args:
        symbols: those that are known here: of the bots of this folder, and those that were given.
        ask: asks the gateway for a snapshot with these symbols.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        ask: Callable[[Sequence[str]], Snapshot | Unknown],
    ) -> None:
        self._symbols, self._ask = symbols, ask

    def look(self, reading: Snapshot | Unknown | None) -> Iterator[DoctorRow]:
        """Yield the rows of `CHECKS`.

        Args:
            reading: a snapshot that `symbols` were asked for with; None where none was asked.
        """
        if not isinstance(reading, Snapshot) or reading.evidence is None:
            why = NO_SNAPSHOT if reading is None else NO_READING
            yield from (not_asked(check, why) for check in CHECKS)
            return
        yield self._named(reading.evidence)
        yield _neighbours(reading.evidence.neighbours)

    def _named(self, evidence: Evidence) -> DoctorRow:
        of_books = [one for book in evidence.neighbours for one in book.scope.symbols]
        named = [one for one in dict.fromkeys((*self._symbols, *of_books)) if one != EVERY_SYMBOL]
        if not named:
            return not_asked("symbols", NOBODY_SAYS)
        told = [evidence]
        others = [symbol for symbol in named if symbol not in self._symbols]
        for begin in range(0, len(others), NAMED_AT_ONCE):
            answer = self._ask(others[begin : begin + NAMED_AT_ONCE])
            if isinstance(answer, Unknown) or answer.evidence is None:
                return not_asked("symbols", NO_READING)
            told.append(answer.evidence)
        missing = {one.symbol: one for part in told for one in part.unknown_symbols}
        wanted = [missing[symbol] for symbol in named if symbol in missing]
        if wanted:
            said = "; ".join(_whose(one, evidence.neighbours) for one in wanted)
            return sick("symbols", said, NAME_IT, unknown=[one.symbol for one in wanted])
        has = {spec.symbol for part in told for spec in part.specs}
        untold = [symbol for symbol in named if symbol not in has]
        if untold:
            # A gateway of before, or one that cannot tell now, says nothing of a symbol.
            return not_asked("symbols", f"whether the broker has {_some(untold)} is not told")
        return ok("symbols", f"the broker has {_some(named)}", symbols=named)


def _some(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:10]) + (", ..." if len(symbols) > 10 else "")


def _whose(unknown: UnknownSymbol, neighbours: Sequence[Neighbour]) -> str:
    names = [book.scope.name for book in neighbours if unknown.symbol in book.scope.symbols]
    by = f" (asked for by {names[0]})" if names else ""
    return f"{unknown.sentence}{by}"


def _neighbours(books: Sequence[Neighbour]) -> DoctorRow:
    """Say which books that ask the gateway count the same positions as their own."""
    for one, other in itertools.combinations(books, 2):
        shared = overlap(one.scope, other.scope) if one.is_beside(other) else ""
        if shared:
            both = f"{one.scope.name} and {other.scope.name}"
            return warn("neighbours", f"{both} count the same positions: {shared}", REMEDY)
    count = "1 book asks" if len(books) == 1 else f"{len(books) or 'no'} books ask"
    return ok("neighbours", f"{count} this gateway; no two count the same positions")
