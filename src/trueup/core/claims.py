"""Claims of writers: which orders of an account only one writer may send.

A writer claims a scope of an account: magic numbers, symbols, or both; a scope that names neither
is the whole account. Claims whose scopes overlap are never granted side by side, because each of
the two writers would act on the positions of the other. Two scopes overlap if one order can belong
to both: if they share a symbol, and in that symbol a magic number. A magic number that carries an
order's token (`core.tokens`) belongs to the strategy's number.

This module decides only. `gateway.record.claims` grants claims to the clients of a gateway,
`gateway.record.local_claims` to the programs on one machine that use a terminal without a gateway,
and the journal excludes overlapping streams.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote, unquote

import msgspec

from trueup.core.scope import ALL, EVERY_SYMBOL, MAGICS_MOST, Scope, overlap

# Limits of one claim, so that a message and a file stay small.
SYMBOLS_MOST = 500
NAME_LONGEST = 128
TEXT_LONGEST = 1_024
_MAGICS = range(2**64)
_ADVICE = "end that one, or give one of the two other magic numbers or other symbols"


class WriterClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """A claim that was granted.

    `scope` is a scope from `claimable`, and names the holder. `journal` is the id of the holder's
    journal, by which a restarted program is recognised. `since_ns` is the time of the grant, UTC
    since 1970.
    """

    scope: Scope
    journal: str = ""
    since_ns: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0

    @property
    def holder(self) -> str:
        """The holder, for a person: stream, process, host, and since when."""
        scope = self.scope
        where = f" on {scope.host}" if scope.host else ""
        since = dt.datetime.fromtimestamp(self.since_ns / 1e9, dt.UTC)
        return (
            f"stream {scope.stream!r} (process {scope.process}{where}, "
            f"since {since:%Y-%m-%d %H:%M:%S} UTC)"
        )

    def is_of_same_book(self, other: WriterClaim) -> bool:
        """Return whether both holders are the same book: one run, or one stream of one journal."""
        if self.scope.run == other.scope.run:
            return True
        # Many programs use the default stream, so a stream alone does not identify a book.
        is_same_journal = bool(self.journal) and self.journal == other.journal
        return is_same_journal and self.scope.stream == other.scope.stream


def claimable(scope: Scope) -> Scope:
    """Return the scope that a book with this scope has to claim: magic numbers and symbols only.

    No symbols means every symbol, no magic numbers every magic number. A book that adopts all
    positions of its symbols, or recognises its own by comments too, claims every magic number.

    Raises:
        ValueError: the scope has no `run`, or a value is not valid.
    """
    if not scope.run:
        raise ValueError("run='' is not valid: give the claim a name that no other run has.")
    limits = (("run", NAME_LONGEST), ("stream", TEXT_LONGEST), ("host", TEXT_LONGEST))
    for name, most in (*limits, ("account", TEXT_LONGEST)):
        if len(getattr(scope, name)) > most:
            raise ValueError(f"{name} has {len(getattr(scope, name))} characters: at most {most}.")
    counts_by_magic = scope.adopt != ALL and not scope.comment_prefix
    magics = tuple(sorted(set(scope.magics))) if counts_by_magic else ()
    symbols = tuple(sorted(set(scope.symbols)))
    wrong = [magic for magic in magics if magic not in _MAGICS]
    if wrong:
        raise ValueError(f"magics has {wrong[0]}: give whole numbers from 0 to 2**64 - 1.")
    if not all(0 < len(symbol) <= NAME_LONGEST for symbol in symbols):
        raise ValueError(f"symbols={symbols!r:.60} is not valid: give names, as ('EURUSD',).")
    # To cut a list that is too long would claim less than the writer sends orders for.
    for what, count, most in (
        ("magic numbers", len(magics), MAGICS_MOST),
        ("symbols", len(symbols), SYMBOLS_MOST),
    ):
        if count > most:
            raise ValueError(f"A claim names at most {most} {what}, and this one {count}.")
    return Scope(
        scope.run,
        scope.stream,
        scope.process,
        scope.host,
        magics=magics,
        account=scope.account,
        symbols=(EVERY_SYMBOL,) if not symbols or EVERY_SYMBOL in symbols else symbols,
    )


def why_taken(wanted: Scope, held: Iterable[WriterClaim]) -> str:
    """Return why a scope cannot be claimed: the first held claim that overlaps; or ''.

    Args:
        wanted: a scope from `claimable`.
        held: the claims of other writers of the same account.
    """
    for claim in held:
        shared = overlap(wanted, claim.scope)
        if shared:
            return f"{shared} is claimed by {claim.holder}; {_ADVICE}"
    return ""


def has_order(scope: Scope, symbol: str, magic: int) -> bool:
    """Return whether an order with this symbol and this magic number belongs to a claimed scope."""
    return bool(overlap(scope, Scope("", magics=(magic,), symbols=(symbol,))))


def account_of(scope: Scope) -> tuple[int, str]:
    """Return login and server of a scope's account.

    Raises:
        ValueError: the scope has no account, as login@server.
    """
    login, _, server = scope.account.partition("@")
    if not (login.isascii() and login.isdigit() and server):
        raise ValueError(f"account={scope.account!r:.60} is not valid: give login@server.")
    return int(login), server


# Names of streams.

_STREAM = re.compile(
    r"(?P<account>[0-9]+@[^/]+)"
    r"(?:/(?:magic=(?P<magics>[0-9]+(?:,[0-9]+)*))?;?(?:symbol=(?P<symbols>[^/;=]+))?)?",
)
# Characters of a symbol that a stream's name has as they are: all but those with a meaning there.
_PLAIN = " !\"#$&'()*+.:<>?@[\\]^`{|}~"


def stream_of(account: str, magics: Iterable[int] = (), symbols: Iterable[str] = ()) -> str:
    """Return the name of the stream of an account's book with this scope.

    The name is `login@server` for the whole account, else `login@server/magic=7,9;symbol=EURUSD`.
    """
    parts = []
    numbers, names = sorted(set(magics)), sorted(set(symbols) - {EVERY_SYMBOL})
    if numbers:
        parts.append(f"magic={','.join(map(str, numbers))}")
    if names:
        parts.append(f"symbol={','.join(quote(name, _PLAIN) for name in names)}")
    return f"{account}/{';'.join(parts)}" if parts else account


_SHADOW = "shadow "


def shadow_stream_of(account: str) -> str:
    """Return the name of the stream of a watch beside a bot: no book of a bot has such a name."""
    return f"{_SHADOW}{account}"


def is_shadow(stream: str) -> bool:
    """Return whether a stream is that of a watch, which sends no order and has no bot."""
    return stream.startswith(_SHADOW)


def scope_of(stream: str) -> Scope | None:
    """Return the scope in a name from `stream_of`, or None for any other name."""
    found = _STREAM.fullmatch(stream)
    if found is None:
        return None
    magics = tuple(map(int, found["magics"].split(","))) if found["magics"] else ()
    names = found["symbols"].split(",") if found["symbols"] else ()
    if any(magic not in _MAGICS for magic in magics):
        return None
    return Scope(
        stream,
        stream,
        magics=magics,
        account=found["account"],
        symbols=tuple(map(unquote, names)) or (EVERY_SYMBOL,),
    )


def has_scope(stream: str) -> bool:
    """Return whether a name is one of `stream_of`; as `scope_of`, for many names."""
    found = _STREAM.fullmatch(stream)
    return found is not None and (not found["magics"] or scope_of(stream) is not None)


def shared_by_streams(stream: str, other: str) -> str:
    """Return what two streams of one account share; '' if nothing, or for other names."""
    first, second = scope_of(stream), scope_of(other)
    if first is None or second is None or stream == other:
        return ""
    return overlap(first, second)
