"""The names of a book: its symbol, its magic number, its stream and its order ids."""

from __future__ import annotations

from trueup.core.tokens import magic_with_token
from trueup.runtime.bot.order_checks import check_magic


class OrderNumbers:
    """Counts the order ids of a run."""

    def __init__(self) -> None:
        self.made: int = 0


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
        # The magic number is needed because books in separate journals often have the same stream:
        # the default, the symbol.
        self.book_name: str = f"{self.stream}, magic {self.magic}" if self.magic else self.stream
        """The name of the book at the gateway: its stream, and the magic number if there is one."""
        self._numbers = OrderNumbers()

    def of_part(self, symbol: str, magic: int) -> Identity:
        """Return the identity of a part of the book: with this symbol and magic number.

        The part has the stream, the name at the gateway and the order ids of the book.
        """
        part = Identity(
            symbol, magic, magic_token=self.magic_token, stream=self.stream, run=self.run
        )
        part.book_name, part._numbers = self.book_name, self._numbers
        return part

    @property
    def order_count(self) -> int:
        """The number of order ids that were made."""
        return self._numbers.made

    def next_order_id(self) -> str:
        """Return an order id that no other order of any run has."""
        order_id = f"ORD_{self._numbers.made}_{self.run}"
        self._numbers.made += 1
        return order_id
