"""The official module's argument rules, with the error text each violation leaves behind.

Nothing here is looser or stricter than the module (MT5 reference, Python integration; its own
answers, compared by `tests/windows/test_real_module.py`): unknown keywords are ignored, ``None`` is
refused, an integer is refused where a float of a request is due, integers must be Python integers
(a numpy integer is not), and what does not fit the C type ends in `SystemError`. Each violation
is a `BadArgument` whose text the module reports as ``(-2, text)``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from trueup.sim.market.structs import TradeRequest

# Of UTF-16, as Windows counts them: a character beyond U+FFFF is two.
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
    """The module refuses the call before anything is sent: `last_error()` is ``(-2, text)``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Unrepresentable(SystemError):
    """A value that the C type cannot hold: a result returned with an exception set.

    `text` is what `last_error()` says then, or None where the call went on all the same.
    """

    def __init__(self, function: str, text: str | None) -> None:
        super().__init__(f"<built-in function {function}> returned a result with an exception set")
        self.text = text


class ListQuery(msgspec.Struct, frozen=True):
    """What `positions_get` or `orders_get` asks for; at most one of the three is set."""

    ticket: int | None = None
    symbol: str | None = None
    group: str | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """What a history call asks for: a span in server seconds, a ticket, or a position.

    With `is_lost` a date fits no `long` of C: the terminal is asked, and the answer is lost in a
    `SystemError`.
    """

    span: tuple[int, int] | None = None
    group: str | None = None
    ticket: int | None = None
    position: int | None = None
    is_lost: bool = False


class Credentials(msgspec.Struct, frozen=True):
    """What `initialize` or `login` is given; 0 and empty where nothing is."""

    login: int = 0
    password: str = ""
    server: str = ""


# In this order, which decides what is said of several mistakes; of a text, its longest length.
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
    """Read the arguments of `positions_get` or `orders_get`; ticket wins over symbol over group."""
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

    Dates are positional only; with two dates `ticket` and `position` are not even looked at.
    """
    if args:
        span = parse_span(function, args)
        group = None
        if "group" in kwargs:
            group = _text('"group"', kwargs["group"], GROUP_CHARACTERS_MAX)
        return msgspec.structs.replace(span, group=group)
    if "ticket" in kwargs:
        return HistoryQuery(ticket=_integer(function, '"ticket"', kwargs["ticket"]))
    if "position" in kwargs:
        return HistoryQuery(position=_integer(function, '"position"', kwargs["position"]))
    raise BadArgument(INVALID_ARGUMENTS)


def parse_span(function: str, args: tuple[object, ...]) -> HistoryQuery:
    """Read the two dates of a history call, in whole seconds as the module cuts them."""
    if len(args) != 2:
        raise BadArgument(INVALID_ARGUMENTS)
    first, last = _seconds(function, args[0]), _seconds(function, args[1])
    is_lost = any(type(date) is int and date not in _SIGNED_32 for date in args)
    # The module keeps the low 32 bits, signed: nothing lies after 2038-01-19.
    low_bits = [(seconds + 2**31) % 2**32 - 2**31 for seconds in (first, last)]
    return HistoryQuery(span=(low_bits[0], low_bits[1]), is_lost=is_lost)


def _seconds(function: str, value: object) -> int:
    if isinstance(value, datetime):
        value = _since_1970_sec(function, value)
    if not isinstance(value, int | float):
        raise BadArgument(INVALID_ARGUMENTS)
    # What C makes of a float beyond its integers has no low bits.
    is_whole = isinstance(value, int) or (math.isfinite(value) and int(value) in _SIGNED_64)
    return int(value) if is_whole else 0


def _since_1970_sec(function: str, moment: datetime) -> float:
    """Return what Python on Windows makes of a datetime; a naive one is the machine's local time.

    It knows no local time before the second day of 1970.
    """
    with suppress(OSError):
        seconds = moment.timestamp()
        if moment.tzinfo is not None or seconds >= _DAY_SEC:
            return seconds
    raise Unrepresentable(function, INVALID_ARGUMENTS)


def parse_symbol(args: tuple[object, ...]) -> str:
    """Read the one symbol of `symbol_info` or `symbol_info_tick`."""
    if len(args) != 1:
        raise BadArgument(INVALID_ARGUMENTS)
    return _short_text(INVALID_ARGUMENTS, args[0])


def parse_symbol_select(args: tuple[object, ...]) -> tuple[str, bool]:
    """Read the symbol and the optional switch of `symbol_select`, anything true or false."""
    if len(args) not in (1, 2):
        raise BadArgument(INVALID_ARGUMENTS)
    return _short_text(INVALID_ARGUMENTS, args[0]), bool(args[1]) if len(args) == 2 else True


def parse_symbol_group(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
    """Read the optional group of `symbols_get`, positional or by name; the name wins."""
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

    The first `dates` of the two are dates, in seconds; the others are whole numbers.
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

    Other than in a request, an integer is a float here, and of an action the low 32 bits count.
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
        # Text is a number to Python, and not to C.
        return float("x" if isinstance(value, str | bytes) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise Unrepresentable(function, INVALID_ARGUMENTS) from None


def parse_request(
    function: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> TradeRequest:
    """Read a trade request: one dict, or the fields by keyword, not both.

    Missing fields are 0 or empty, unknown ones ignored. Floats must be floats: a volume of ``1``
    is refused, ``1.0`` is not.
    """
    if args and kwargs:
        raise BadArgument("Unnamed arguments not allowed")
    if not kwargs and len(args) != 1:
        raise BadArgument("Invalid number of arguments")
    fields: object = args[0] if args else kwargs
    if not isinstance(fields, dict):
        raise BadArgument(INVALID_ARGUMENTS)
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

    Tokens are separated by comma or space, ``*`` stands for anything, case counts. One exclusion
    (``!token``) that matches wins in any order; without a positive match nothing passes.
    """
    wanted, unwanted = _group_patterns(group)
    if any(pattern.fullmatch(symbol) for pattern in unwanted):
        return False
    return any(pattern.fullmatch(symbol) for pattern in wanted)
