"""The official module's argument rules, with the error text each violation leaves behind.

Nothing here is looser or stricter than the module (MT5 reference, Python integration, and the
module's own argument checks): unknown keywords are ignored, ``None`` is refused, an integer is
refused where a float is due, integers must be Python integers (a numpy integer is not), and what
does not fit the C type ends in `SystemError`. Each violation is a `BadArgument` whose text the
module reports as ``(-2, text)``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from trueup.sim.structs import TradeRequest

SYMBOL_CHARACTERS_MAX: Final = 29
COMMENT_CHARACTERS_MAX: Final = 29
GROUP_CHARACTERS_MAX: Final = 1997

_UNSIGNED_32: Final = range(2**32)
_UNSIGNED_64: Final = range(2**64)
_SIGNED_64: Final = range(-(2**63), 2**63)

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
    """An integer that does not fit the C type: a result returned with an exception set."""

    def __init__(self, function: str, request: TradeRequest | None = None) -> None:
        super().__init__(f"<built-in function {function}> returned a result with an exception set")
        self.request = request


class ListQuery(msgspec.Struct, frozen=True):
    """What `positions_get` or `orders_get` asks for; at most one of the three is set."""

    ticket: int | None = None
    symbol: str | None = None
    group: str | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """What a history call asks for: a span in server seconds, a ticket, or a position."""

    span: tuple[int, int] | None = None
    group: str | None = None
    ticket: int | None = None
    position: int | None = None


class Credentials(msgspec.Struct, frozen=True):
    """What `initialize` or `login` is given; 0 and empty where nothing is."""

    login: int = 0
    password: str = ""
    server: str = ""


_CREDENTIAL_TYPES: Final[dict[str, type]] = {
    "path": str,
    "login": int,
    "password": str,
    "server": str,
    "timeout": int,
    "portable": int,
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
    given = dict(zip(positional, args, strict=False)) | dict(kwargs)
    for name, kind in _CREDENTIAL_TYPES.items():
        if name in given and not isinstance(given[name], kind):
            raise BadArgument(f'Invalid "{name}" argument')
    login, password, server = given.get("login", 0), given.get("password"), given.get("server")
    return Credentials(
        _integer(function, "login", login),
        password if isinstance(password, str) else "",
        server if isinstance(server, str) else "",
    )


def _integer(function: str, name: str, value: object, allowed: range = _UNSIGNED_64) -> int:
    if not isinstance(value, int):
        raise BadArgument(f'Invalid "{name}" argument')
    if value not in allowed:
        raise Unrepresentable(function)
    return value


def _text(name: str, value: object, characters_max: int) -> str:
    if not isinstance(value, str) or len(value) > characters_max:
        raise BadArgument(f'Invalid "{name}" argument')
    return value


def parse_list_query(
    function: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> ListQuery:
    """Read the arguments of `positions_get` or `orders_get`; ticket wins over symbol over group."""
    if args:
        raise BadArgument("Unnamed arguments not allowed")
    if "ticket" in kwargs:
        return ListQuery(ticket=_integer(function, "ticket", kwargs["ticket"]))
    if "symbol" in kwargs:
        return ListQuery(symbol=_text("symbol", kwargs["symbol"], SYMBOL_CHARACTERS_MAX))
    if "group" in kwargs:
        return ListQuery(group=_text("group", kwargs["group"], GROUP_CHARACTERS_MAX))
    return ListQuery()


def parse_history_query(
    function: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> HistoryQuery:
    """Read the arguments of `history_orders_get` or `history_deals_get`.

    Dates are positional only; with two dates `ticket` and `position` are not even looked at.
    """
    if args:
        span = parse_span(args)
        group = None
        if "group" in kwargs:
            group = _text("group", kwargs["group"], GROUP_CHARACTERS_MAX)
        return HistoryQuery(span=span, group=group)
    if "ticket" in kwargs:
        return HistoryQuery(ticket=_integer(function, "ticket", kwargs["ticket"]))
    if "position" in kwargs:
        return HistoryQuery(position=_integer(function, "position", kwargs["position"]))
    raise BadArgument("Invalid arguments")


def parse_span(args: tuple[object, ...]) -> tuple[int, int]:
    """Read the two dates of a history call, in whole seconds as the module cuts them."""
    if len(args) != 2:
        raise BadArgument("Invalid number of arguments")
    return _moment("1st", args[0]), _moment("2nd", args[1])


def _moment(which: str, value: object) -> int:
    if isinstance(value, datetime):
        # As the module does: a naive datetime means the local time of this machine.
        value = value.timestamp()
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadArgument(f"Invalid {which} unnamed argument")
    seconds = int(value)
    # The module keeps the low 32 bits, signed: nothing lies after 2038-01-19.
    return (seconds + 2**31) % 2**32 - 2**31


def parse_symbol(args: tuple[object, ...]) -> str:
    """Read the one symbol of `symbol_info` or `symbol_info_tick`."""
    if len(args) != 1:
        raise BadArgument("Invalid number of arguments")
    return _unnamed_text("1st", args[0])


def parse_symbol_select(args: tuple[object, ...]) -> tuple[str, bool]:
    """Read the symbol and the optional switch of `symbol_select`."""
    if len(args) not in (1, 2):
        raise BadArgument("Invalid number of arguments")
    if len(args) == 2 and not isinstance(args[1], int):
        raise BadArgument("Invalid 2nd unnamed argument")
    return _unnamed_text("1st", args[0]), bool(args[1]) if len(args) == 2 else True


def parse_symbol_group(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
    """Read the optional group of `symbols_get`, positional or by name."""
    if len(args) > 1:
        raise BadArgument("Invalid number of arguments")
    if args:
        return _unnamed_text("1st", args[0], GROUP_CHARACTERS_MAX)
    if "group" in kwargs:
        return _text("group", kwargs["group"], GROUP_CHARACTERS_MAX)
    return None


def parse_calculation(
    function: str, args: tuple[object, ...], prices: int
) -> tuple[int, str, tuple[float, ...]]:
    """Read action, symbol, volume and `prices` prices of an `order_calc_*` call."""
    if len(args) != 3 + prices:
        raise BadArgument("Invalid number of arguments")
    if not isinstance(args[0], int):
        raise BadArgument("Invalid 1st unnamed argument")
    action = _integer(function, "action", args[0], _UNSIGNED_32)
    symbol = _unnamed_text("2nd", args[1])
    figures = args[2:]
    if not all(isinstance(figure, float) for figure in figures):
        raise BadArgument("Invalid 3rd unnamed argument")
    return action, symbol, tuple(figure for figure in figures if isinstance(figure, float))


def _unnamed_text(which: str, value: object, characters_max: int = SYMBOL_CHARACTERS_MAX) -> str:
    if not isinstance(value, str) or len(value) > characters_max:
        raise BadArgument(f"Invalid {which} unnamed argument")
    return value


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
        raise BadArgument("Invalid arguments")
    overflow = False
    values: list[Any] = []
    for name in TradeRequest.__match_args__:
        value, fits = _request_value(name, fields)
        values.append(value)
        overflow = overflow or not fits
    request: TradeRequest = tuple.__new__(TradeRequest, values)
    if overflow:
        raise Unrepresentable(function, request)
    return request


def _request_value(name: str, fields: dict[Any, Any]) -> tuple[Any, bool]:
    if name in _INTEGER_FIELDS:
        value = fields.get(name, 0)
        if not isinstance(value, int):
            raise BadArgument(f'Invalid "{name}" argument')
        allowed = _INTEGER_FIELDS[name]
        # A failed C conversion yields all bits set.
        return (int(value), True) if value in allowed else (allowed.stop - 1, False)
    if name in _TEXT_FIELDS:
        return _text(name, fields.get(name, ""), _TEXT_FIELDS[name]), True
    value = fields.get(name, 0.0)
    if not isinstance(value, float):
        raise BadArgument(f'Invalid "{name}" argument')
    return float(value), True


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
