"""The names of a book: its symbol, its magic number, its stream and its order ids."""

from __future__ import annotations

from trueup.core.tokens import magic_with_token
from trueup.runtime.bot.order_checks import check_magic


class Identity:
    """Identifies one book to the broker, to the gateway and to other books.

    Args:
        symbol: the symbol, as the broker spells it.
        magic: the magic number of the book's orders.
        magic_token: whether the low 32 bits of the magic number carry an order's token.
        stream: the name of the book in the journal; by default the symbol.
        run: the part of every order id that is unique to this run.

    Raises:
        ValueError: a value is not valid.
    """

    def __init__(
        self, symbol: str, magic: int, *, magic_token: bool, stream: str | None, run: str
    ) -> None:
        if not symbol or not symbol.strip():
            raise ValueError(f"symbol={symbol!r} is not valid: give a symbol's name, as 'EURUSD'.")
        self.symbol: str = str(symbol)
        self.magic: int = check_magic(magic)
        if magic_token:
            magic_with_token(self.magic, "")
        self.magic_token = magic_token
        self.stream: str = str(stream or symbol)
        self.run = run
        self.order_count: int = 0

    @property
    def book_name(self) -> str:
        """The name of the book at the gateway: its stream, with the magic number if there is one.

        The magic number is needed because books in separate journals often have the same stream:
        the default, the symbol.
        """
        return f"{self.stream}, magic {self.magic}" if self.magic else self.stream

    def next_order_id(self) -> str:
        """Return an order id that no other order of any run has."""
        order_id = f"ORD_{self.order_count}_{self.run}"
        self.order_count += 1
        return order_id
