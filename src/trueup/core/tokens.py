"""Make and find tokens: the short mark by which our orders are found again at the broker.

A trade server has no idempotency key. The server keeps the comment of an order, of which the Python
module takes 29 characters and which brokers cut, extend and rewrite, and the magic number, 64 bits
that brokers do not rewrite (MT5 reference, MqlTradeRequest). So the token is short and stands first
in the comment, and on request the low half of the magic number carries the token too.
"""

from __future__ import annotations

import base64
import hashlib
import re

TOKEN_CHARS = 9
FIRST_CHAR = "t"
# A comment that was cut to fewer characters than this proves nothing.
SHORTEST_CUT = 6
# All tokens share the first letter; three more letters match by chance in 1 of 32,768 comments.
SHORTEST_BEGINNING = 4
MAGIC_HALF = 1 << 32
# The lookahead finds a token at every place where one can begin, also inside another match.
_TOKEN = re.compile(r"(?=(t[a-z2-7]{8}))")


def token_of(order_id: str) -> str:
    """Return the token of an order: nine characters, a hash of its id (40 bits)."""
    hashed = hashlib.blake2b(order_id.encode(), digest_size=5).digest()
    return FIRST_CHAR + base64.b32encode(hashed).decode().lower()


def magic_with_token(magic: int, token: str) -> int:
    """Return a magic number whose high half is the strategy's and whose low half is the token's.

    Raises:
        ValueError: the strategy's number needs more than 32 bits.
    """
    if not 0 <= magic < MAGIC_HALF:
        raise ValueError(f"magic={magic} is not valid with magic_token: give a number below 2**32.")
    return magic * MAGIC_HALF + _low_half(token)


def tokens_in(comment: str) -> list[str]:
    """Return all parts of a comment that could be a token."""
    return _TOKEN.findall(comment)


def strategy_half(magic: int) -> int:
    """Return the strategy's half of a magic number with a token, else the number itself."""
    return magic // MAGIC_HALF or magic


def _low_half(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=4).digest(), "big")


def is_in_magic(magic: int, token: str) -> bool:
    """Return whether a magic number carries a token in its low half."""
    return magic % MAGIC_HALF == _low_half(token)


def bears(comment: str, magic: int, token: str, *, in_magic: bool) -> bool:
    """Return whether a magic number or a comment carries a token."""
    return (in_magic and is_in_magic(magic, token)) or is_in_comment(comment, token)


def is_in_comment(comment: str, token: str) -> bool:
    """Return whether a comment carries a token, whole or cut at its end."""
    if token in comment:
        return True
    is_short = len(token) == TOKEN_CHARS
    return is_short and len(comment) >= SHORTEST_CUT and token.startswith(comment)


def begins(comment: str, token: str) -> bool:
    """Return whether a comment is the beginning of a token; too short to be a proof by itself."""
    return (
        len(token) == TOKEN_CHARS
        and len(comment) >= SHORTEST_BEGINNING
        and token.startswith(comment)
    )


def is_token(comment: str) -> bool:
    """Return whether a comment consists of a token only."""
    return len(comment) == TOKEN_CHARS and _TOKEN.match(comment) is not None
