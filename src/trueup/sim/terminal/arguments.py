"""Parsers of the official module's arguments, with the error text of each violation.

The rules are exactly those of the module (MT5 reference, Python integration; compared with the
module by `tests/windows/test_real_module.py`). Unknown keywords are ignored; ``None`` is refused; a
float field of a request refuses an integer; integers must be Python integers, so a numpy integer is
refused; a value outside the C type raises `SystemError`. Each violation is a `BadArgument`, and the
module reports its text as ``(-2, text)``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import msgspec

from trueup.sim.market.structs import TradeRequest

# Lengths in units of UTF-16, as on Windows: a character beyond U+FFFF counts as two.
SYMBOL_CHARACTERS_MAX: Final = 29
COMMENT_CHARACTERS_MAX: Final = 29
GROUP_CHARACTERS_MAX: Final = 1997
CREDENTIAL_CHARACTERS_MAX: Final = 253
PATH_CHARACTERS_MAX: Final = 257
INVALID_ARGUMENTS: Final = "Invalid arguments"

_UNSIGNED_32: Final = range(2**32)
_UNSIGNED_64: Final = range(2**64)
_SIGNED_64: Final = range(-(2**63), 2**63)
# A `long` of C on Windows.
_SIGNED_32: Final = range(-(2**31), 2**31)
_DAY_SEC: Final = 86_400
_ORDINALS: Final = ("1st", "2nd", "3rd")

_INTEGER_FIELDS: Final[dict[str, range]] = {
    "action": _UNSIGNED_32,
    "magic": _UNSIGNED_64,
    "order": _UNSIGNED_64,
    "deviation": _UNSIGNED_64,
    "type": _UNSIGNED_32,
    "type_filling": _UNSIGNED_32,
    "type_time": _UNSIGNED_32,
    "expiration": _SIGNED_64,
    "position": _UNSIGNED_64,
    "position_by": _UNSIGNED_64,
}
_TEXT_FIELDS: Final[dict[str, int]] = {
    "symbol": SYMBOL_CHARACTERS_MAX,
    "comment": COMMENT_CHARACTERS_MAX,
}


class BadArgument(Exception):
    """The module refuses a call without sending the call: `last_error()` is ``(-2, text)``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Unrepresentable(SystemError):
    """A value does not fit the C type: the module returns a result with an exception set.

    `text` is the text of `last_error()`, or None if the call continued.
    """

    def __init__(self, function: str, text: str | None) -> None:
        super().__init__(f"<built-in function {function}> returned a result with an exception set")
        self.text = text


class HasTicketAndSymbol(Protocol):
    """A row of a list of positions or orders."""

    @property
    def ticket(self) -> int:
        """The ticket."""

    @property
    def symbol(self) -> str:
        """The symbol."""


ListedRow = TypeVar("ListedRow", bound=HasTicketAndSymbol)


class ListQuery(msgspec.Struct, frozen=True):
    """The filter of `positions_get` or `orders_get`; at most one of the three is set."""

    ticket: int | None = None
    symbol: str | None = None
    group: str | None = None

    def chosen(self, rows: tuple[ListedRow, ...]) -> tuple[ListedRow, ...]:
        """Return the rows that pass the filter."""
        if self.ticket is not None:
            return tuple(row for row in rows if row.ticket == self.ticket)
        if self.symbol is not None:
            return tuple(row for row in rows if row.symbol == self.symbol)
        if self.group is not None:
            group = self.group
            return tuple(row for row in rows if matches_group(row.symbol, group))
        return rows


class HistoryQuery(msgspec.Struct, frozen=True):
    """The filter of a history call: a span in server seconds, a ticket, or a position.

    With `is_lost` a date does not fit a C `long`: the module asks the terminal, and then raises
    `SystemError` in place of the answer.
    """

    span: tuple[int, int] | None = None
    group: str | None = None
    ticket: int | None = None
    position: int | None = None
    is_lost: bool = False


class Credentials(msgspec.Struct, frozen=True):
    """The arguments of `initialize` or `login`; 0 and empty for missing arguments."""

    login: int = 0
    password: str = ""
    server: str = ""


# The order decides the error text of a call with several mistakes. A number is a longest length.
_CREDENTIALS: Final[dict[str, range | int]] = {
    "login": _UNSIGNED_64,
    "server": CREDENTIAL_CHARACTERS_MAX,
    "password": CREDENTIAL_CHARACTERS_MAX,
    "path": PATH_CHARACTERS_MAX,
    "timeout": _UNSIGNED_32,
}


def parse_login(
    function: str,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    positional: tuple[str, ...],
) -> Credentials:
    """Read the arguments of `initialize` or `login`; path, timeout and portable have no effect."""
    if len(args) > len(positional):
        raise BadArgument("Invalid number of arguments")
    values: dict[str, Any] = {}
    # A keyword overwrites a positional argument, as in the module.
    for ordinal, name, value in zip(_ORDINALS, positional, args, strict=False):
        values[name] = _credential(function, name, f"{ordinal} unnamed", value)
    for name in _CREDENTIALS:
        if name in kwargs:
            values[name] = _credential(function, name, f'"{name}"', kwargs[name])
    return Credentials(values.get("login", 0), values.get("password", ""), values.get("server", ""))


def _credential(function: str, name: str, said: str, value: object) -> int | str:
    limit = _CREDENTIALS[name]
    if isinstance(limit, range):
        return _integer(function, said, value, limit)
    return _text(said, value, limit)


def _integer(function: str, name: str, value: object, allowed: range = _UNSIGNED_64) -> int:
    said = f"Invalid {name} argument"
    if not isinstance(value, int):
        raise BadArgument(said)
    if value not in allowed:
        raise Unrepresentable(function, said)
    return int(value)


def _text(name: str, value: object, characters_max: int) -> str:
    return _short_text(f"Invalid {name} argument", value, characters_max)


def _short_text(said: str, value: object, characters_max: int = SYMBOL_CHARACTERS_MAX) -> str:
    if not isinstance(value, str) or _utf16_length(value) > characters_max:
        raise BadArgument(said)
    return value


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parse_list_query(
    function: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> ListQuery:
    """Parse the arguments of `positions_get` or `orders_get`; ticket before symbol before group."""
    if args:
        raise BadArgument("Unnamed arguments not allowed")
    if "ticket" in kwargs:
        return ListQuery(ticket=_integer(function, '"ticket"', kwargs["ticket"]))
    if "symbol" in kwargs:
        return ListQuery(symbol=_text('"symbol"', kwargs["symbol"], SYMBOL_CHARACTERS_MAX))
    if "group" in kwargs:
        return ListQuery(group=_text('"group"', kwargs["group"], GROUP_CHARACTERS_MAX))
    return ListQuery()


def parse_history_query(
    function: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> HistoryQuery:
    """Read the arguments of `history_orders_get` or `history_deals_get`.

    Dates are positional only; a call with two dates ignores `ticket` and `position`.
    """
    if args:
        span = parse_span(function, args)
        group = None
        if "group" in kwargs:
            group = _text('"group"', kwargs["group"], GROUP_CHARACTERS_MAX)
        return msgspec.structs.replace(span, group=group)
    # Without dates the module needs a ticket or a position, and prefers the ticket.
    if "ticket" in kwargs:
        return HistoryQuery(ticket=_integer(function, '"ticket"', kwargs["ticket"]))
    if "position" in kwargs:
        return HistoryQuery(position=_integer(function, '"position"', kwargs["position"]))
    raise BadArgument(INVALID_ARGUMENTS)


def parse_span(function: str, args: tuple[object, ...]) -> HistoryQuery:
    """Parse the two dates of a history call, cut to whole seconds as in the module."""
    if len(args) != 2:
        raise BadArgument(INVALID_ARGUMENTS)
    first, last = _seconds(function, args[0]), _seconds(function, args[1])
    is_lost = any(type(date) is int and date not in _SIGNED_32 for date in args)
    # The module keeps the low 32 bits, signed: no date lies after 2038-01-19.
    low_bits = [(seconds + 2**31) % 2**32 - 2**31 for seconds in (first, last)]
    return HistoryQuery(span=(low_bits[0], low_bits[1]), is_lost=is_lost)


def _seconds(function: str, value: object) -> int:
    if isinstance(value, datetime):
        value = _since_1970_sec(function, value)
    if not isinstance(value, int | float):
        raise BadArgument(INVALID_ARGUMENTS)
    # A float outside the C integers becomes a number without low bits.
    is_whole = isinstance(value, int) or (math.isfinite(value) and int(value) in _SIGNED_64)
    return int(value) if is_whole else 0


def _since_1970_sec(function: str, moment: datetime) -> float:
    """Return the seconds of a datetime as Python on Windows does; a naive datetime is local time.

    Python on Windows refuses a local time before the second day of 1970.
    """
    with suppress(OSError):
        seconds = moment.timestamp()
        if moment.tzinfo is not None or seconds >= _DAY_SEC:
            return seconds
    raise Unrepresentable(function, INVALID_ARGUMENTS)


def parse_symbol(args: tuple[object, ...]) -> str:
    """Parse the symbol of `symbol_info` or `symbol_info_tick`."""
    if len(args) != 1:
        raise BadArgument(INVALID_ARGUMENTS)
    return _short_text(INVALID_ARGUMENTS, args[0])


def parse_symbol_select(args: tuple[object, ...]) -> tuple[str, bool]:
    """Parse the symbol and the optional switch of `symbol_select`, any object as a bool."""
    if len(args) not in (1, 2):
        raise BadArgument(INVALID_ARGUMENTS)
    return _short_text(INVALID_ARGUMENTS, args[0]), bool(args[1]) if len(args) == 2 else True


def parse_symbol_group(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
    """Parse the optional group of `symbols_get`; the keyword overrides the positional argument."""
    if len(args) > 1:
        raise BadArgument("Invalid number of arguments")
    group = None
    if args:
        group = _text("1st unnamed", args[0], GROUP_CHARACTERS_MAX)
    if "group" in kwargs:
        group = _text('"group"', kwargs["group"], GROUP_CHARACTERS_MAX)
    return group


def parse_bars(
    function: str, args: tuple[object, ...], dates: int
) -> tuple[str, int, tuple[int, int]]:
    """Read symbol, timeframe and two figures of a `copy_rates_*` call.

    The first `dates` figures are dates, in seconds; the other figures are whole numbers.
    """
    if len(args) != 4:
        raise BadArgument(INVALID_ARGUMENTS)
    symbol, timeframe, *figures = args
    name = _short_text(INVALID_ARGUMENTS, symbol)
    return name, _whole(function, timeframe), _figures(function, figures, dates)


def parse_ticks(
    function: str, args: tuple[object, ...], dates: int
) -> tuple[str, tuple[int, int], int]:
    """Read symbol, two figures (see `parse_bars`) and the flags of a `copy_ticks_*` call."""
    if len(args) != 4:
        raise BadArgument(INVALID_ARGUMENTS)
    symbol, *figures, flags = args
    name = _short_text(INVALID_ARGUMENTS, symbol)
    return name, _figures(function, figures, dates), _whole(function, flags)


def _figures(function: str, figures: list[object], dates: int) -> tuple[int, int]:
    first, second = (
        _seconds(function, figure) if place < dates else _whole(function, figure)
        for place, figure in enumerate(figures)
    )
    return first, second


def _whole(function: str, value: object) -> int:
    if not isinstance(value, int):
        raise BadArgument(INVALID_ARGUMENTS)
    if value not in _SIGNED_32:
        raise Unrepresentable(function, INVALID_ARGUMENTS)
    return int(value)


def parse_calculation(
    function: str, args: tuple[object, ...], prices: int
) -> tuple[int, str, tuple[float, ...]]:
    """Read action, symbol, volume and `prices` prices of an `order_calc_*` call.

    Unlike in a request, an integer is accepted as a float, and only the low 32 bits of the action
    count.
    """
    if len(args) != 3 + prices:
        raise BadArgument(INVALID_ARGUMENTS)
    action, symbol, *figures = args
    if not isinstance(action, int):
        raise Unrepresentable(function, INVALID_ARGUMENTS)
    floats = tuple(_c_double(function, figure) for figure in figures)
    return action % 2**32, _short_text(INVALID_ARGUMENTS, symbol), floats


def _c_double(function: str, value: object) -> float:
    try:
        # Python converts text to a number, C does not.
        return float("x" if isinstance(value, str | bytes) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise Unrepresentable(function, INVALID_ARGUMENTS) from None


def parse_request(
    function: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> TradeRequest:
    """Read a trade request: one dict, or the fields by keyword, not both.

    Missing fields are 0 or empty; unknown fields are ignored. A float field needs a float: a volume
    of ``1`` is refused, ``1.0`` is accepted.
    """
    if args and kwargs:
        raise BadArgument("Unnamed arguments not allowed")
    if not kwargs and len(args) != 1:
        raise BadArgument("Invalid number of arguments")
    fields: object = args[0] if args else kwargs
    if not isinstance(fields, dict):
        raise BadArgument(INVALID_ARGUMENTS)
    # In the order of the fields, which decides the error text of a request with several mistakes.
    values = [_request_value(function, name, fields) for name in TradeRequest.__match_args__]
    request: TradeRequest = tuple.__new__(TradeRequest, values)
    return request


def _request_value(function: str, name: str, fields: dict[Any, Any]) -> int | str | float:
    said = f'"{name}"'
    if name in _INTEGER_FIELDS:
        return _integer(function, said, fields.get(name, 0), _INTEGER_FIELDS[name])
    if name in _TEXT_FIELDS:
        return _text(said, fields.get(name, ""), _TEXT_FIELDS[name])
    value = fields.get(name, 0.0)
    if not isinstance(value, float):
        raise BadArgument(f"Invalid {said} argument")
    return float(value)


@lru_cache(maxsize=256)
def _group_patterns(group: str) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
    wanted: list[re.Pattern[str]] = []
    unwanted: list[re.Pattern[str]] = []
    for token in re.split(r"[, ]+", group):
        name = token.removeprefix("!")
        if name:
            pattern = re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)
            (unwanted if token.startswith("!") else wanted).append(pattern)
    return wanted, unwanted


def matches_group(symbol: str, group: str) -> bool:
    """Return whether a symbol passes a group filter.

    Comma or space separates tokens, ``*`` matches any text, and case counts. A matching exclusion
    (``!token``) overrides all other tokens in any order. Without a positive match no symbol passes.
    """
    wanted, unwanted = _group_patterns(group)
    if any(pattern.fullmatch(symbol) for pattern in unwanted):
        return False
    return any(pattern.fullmatch(symbol) for pattern in wanted)
