"""Tell apart a symbol that the broker does not have and a symbol that could not be read.

`symbol_info` returns None for both. Only `last_error()` tells them apart: -4 means not found (MT5
reference, Python integration). The list of all symbols confirms the error, and has similar names to
suggest. A broker may have 10,000 symbols, and the terminal answers no other call while listing
them. So the list is read only after a name was not found, and once per attachment and account.
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

# Read the list again after this time if it was empty, unreadable, or contradicts `symbol_info`.
READ_AGAIN_NS = 600_000_000_000
# A cap, because clients may ask for any number of names that do not exist.
NAMES_KEPT = 1_000


class SymbolCheck:
    """Knows which symbols the terminal's broker has, as far as clients have asked.

    Args:
        terminal: the terminal to ask.
        age_ns: the clock for ages.
        attachments: how often the terminal was attached to; see `WorkerTerminal.attachments`.
    """

    def __init__(
        self, terminal: Terminal, age_ns: Callable[[], int], attachments: Callable[[], int]
    ) -> None:
        self._terminal, self._age_ns, self._attachments = terminal, age_ns, attachments
        self._account: tuple[int, str] | None = None
        # The attachment and account that the list belongs to, and when it was last requested.
        self._of: tuple[int, tuple[int, str] | None] | None = None
        self._asked_ns: int | None = None
        self._listed: Catalogue | None = None
        self._found: dict[str, UnknownSymbol] = {}

    def note_account(self, login: int, server: str) -> None:
        """Store the terminal's account: another broker has other symbols."""
        self._account = login, server

    def unknown(self, name: str, *, may_search: bool = True) -> UnknownSymbol | None:
        """Return the name as unknown if it does not exist; call after `symbol_info` returned None.

        Args:
            name: the symbol.
            may_search: whether to search the list for similar names if that was not done yet.
        """
        code, _ = self._terminal.last_error()
        return self._unknown(name, may_search) if code == mt5.RES_E_NOT_FOUND else None

    def why_not(self, name: str, error: Error) -> str:
        """Return why `symbol_info` has just returned None, given the `last_error()` after it."""
        unknown = self._unknown(name, True) if error[0] == mt5.RES_E_NOT_FOUND else None
        if unknown is not None:
            return unknown.sentence[0].lower() + unknown.sentence[1:]
        return f"symbol_info failed for {name}: {error}"

    def _unknown(self, name: str, may_search: bool) -> UnknownSymbol | None:
        listed = self._symbols(name)
        if listed is None:
            # `symbol_info` did not find the name; without the list there are no suggestions.
            return UnknownSymbol(name)
        if not listed or name in listed:
            # An empty list is still loading; a listed symbol exists although it was not found.
            return None
        if name not in self._found:
            if not may_search:
                return UnknownSymbol(name)
            if len(self._found) >= NAMES_KEPT:
                self._found.clear()
            self._found[name] = UnknownSymbol(name, listed.look_alikes(name))
        return self._found[name]

    def _symbols(self, name: str) -> Catalogue | None:
        """Return all symbols of the broker, or None if they cannot be read."""
        of, age_ns = (self._attachments(), self._account), self._age_ns()
        is_due = self._asked_ns is None or age_ns - self._asked_ns >= READ_AGAIN_NS
        is_another = self._listed is not None and of != self._of
        # An empty list, and a list with the name, are read again later: both may be outdated.
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
