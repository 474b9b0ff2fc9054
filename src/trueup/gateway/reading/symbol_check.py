"""Tell a symbol that the broker does not have from one that could not be read.

`symbol_info` returns None for both, and only `last_error()` tells them apart: -4, not found (MT5
reference, Python integration). The list of all symbols confirms that, and has the names that look
alike. A broker may have 10,000 symbols, and the terminal answers nobody else meanwhile. So the list
is read only when a name is not found, and once for each attachment to the terminal and account.
"""

from __future__ import annotations

from collections.abc import Callable

from trueup.core.account.symbol_names import Catalogue, Listed
from trueup.core.model import UnknownSymbol
from trueup.gateway.reading.rows import text_of
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import RAISED, Error
from trueup.gateway.terminal.terminal import SymbolInfo, Terminal
from trueup.logs import Logger, logger
from trueup.protocol.rows import is_name

log: Logger = logger("trueup.desk")

# After a list that could not be read, or one that contradicts what `symbol_info` says.
READ_AGAIN_NS = 600_000_000_000
# Clients may ask for any number of names that nobody has.
NAMES_KEPT = 1_000


class SymbolCheck:
    """What one terminal's broker has, as far as anybody asked.

    Args:
        terminal: who is asked.
        age_ns: the clock for ages.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
    """

    def __init__(
        self, terminal: Terminal, age_ns: Callable[[], int], attachments: Callable[[], int]
    ) -> None:
        self._terminal, self._age_ns, self._attachments = terminal, age_ns, attachments
        self._account: tuple[int, str] | None = None
        # Of which attachment and account the list is, and when it was asked for last.
        self._of: tuple[int, tuple[int, str] | None] | None = None
        self._asked_ns: int | None = None
        self._listed: Catalogue | None = None
        self._found: dict[str, UnknownSymbol] = {}

    def note_account(self, login: int, server: str) -> None:
        """Note what the terminal is logged in to: another broker has other symbols."""
        self._account = login, server

    def unknown(self, name: str, *, may_search: bool = True) -> UnknownSymbol | None:
        """Return a symbol for which `symbol_info` returned None just now, if it does not exist.

        Args:
            name: the symbol.
            may_search: whether to search for what looks like it, where that is not known yet.
        """
        code, _ = self._terminal.last_error()
        return self._unknown(name, may_search) if code == mt5.RES_E_NOT_FOUND else None

    def why_not(self, name: str) -> str:
        """Say why `symbol_info` returned None just now."""
        error: Error = self._terminal.last_error()
        unknown = self.unknown(name)
        if unknown is not None:
            return unknown.sentence[0].lower() + unknown.sentence[1:]
        return f"symbol_info failed for {name}: {error}"

    def _unknown(self, name: str, may_search: bool) -> UnknownSymbol | None:
        listed = self._symbols(name)
        if listed is None:
            # That it was not found is known; what looks like it is not.
            return UnknownSymbol(name)
        if not listed or name in listed:
            # A terminal that has no symbols is loading them, and one that lists it has it.
            return None
        if name not in self._found:
            if not may_search:
                return UnknownSymbol(name)
            if len(self._found) >= NAMES_KEPT:
                self._found.clear()
            self._found[name] = UnknownSymbol(name, listed.look_alikes(name))
        return self._found[name]

    def _symbols(self, name: str) -> Catalogue | None:
        """Return all symbols of the broker, or None where they cannot be read."""
        of, age_ns = (self._attachments(), self._account), self._age_ns()
        is_due = self._asked_ns is None or age_ns - self._asked_ns >= READ_AGAIN_NS
        is_another = self._listed is not None and of != self._of
        # An empty list, and one that has the name, are read again in a while: both may be old.
        is_doubtful = not self._listed or name in self._listed
        if is_another or (is_due and is_doubtful):
            self._asked_ns, self._of = age_ns, of
            self._listed, self._found = self._read(), {}
        return self._listed

    def _read(self) -> Catalogue | None:
        begin_ns = self._age_ns()
        try:
            rows = self._terminal.symbols_get()
        except RAISED:
            return None
        if not isinstance(rows, tuple):
            return None
        found = Catalogue(_listed(row) for row in rows if is_name(row.name))
        took_ms = (self._age_ns() - begin_ns) / 1e6
        log.info("[DESK] The broker has %d symbols (read in %.0f ms)", len(found), took_ms)
        return found


def _listed(row: SymbolInfo) -> Listed:
    texts = (row.currency_base, row.currency_profit, row.description)
    return Listed(row.name, *map(text_of, texts))
