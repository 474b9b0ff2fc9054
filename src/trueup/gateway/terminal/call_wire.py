"""Encode a call of a terminal function, and its answer, for transport between two processes.

The official module's rows cannot be pickled. So an answer carries the values and the field names of
its rows. The receiver builds rows from them, readable by name or by index and with `_asdict()`.
`last_error()` travels with every answer, because it is valid only right after the call.
"""

from __future__ import annotations

import datetime as dt
from collections import namedtuple
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from trueup.errors import RemoteProtocolError
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.terminal import Terminal
from trueup.protocol.module_calls import Shape
from trueup.protocol.text import DAMAGED, writable, writable_json

Error = tuple[int, str]

SUCCESS: Error = (mt5.RES_S_OK, mt5.LAST_ERROR_TEXTS[mt5.RES_S_OK])
FUNCTIONS = frozenset(
    name for name in vars(Terminal) if not name.startswith("_") and name != "last_error"
)
# Return values of failed calls; all other functions return None (Python integration).
_FAILED: dict[str, Any] = {
    "initialize": False,
    "login": False,
    "shutdown": True,
    "symbol_select": False,
    "market_book_add": False,
    "market_book_release": False,
    "version": (0, 0, ""),
}
RAISED: tuple[type[Exception], ...] = (
    *(TypeError, ValueError, OverflowError, SystemError),
    ImportError,
)
"""The exceptions of the module: wrong number of arguments, integers beyond 64 bits, no numpy."""
UNREADABLE: tuple[type[Exception], ...] = (
    *(msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
    # Rows without a name, with invalid field names, or with a wrong number of values.
    *(TypeError, ValueError),
)


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A call: one of `FUNCTIONS`, and the arguments."""

    function: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}


TOGETHER = "together"
"""The name of a call whose arguments are calls, to be made one after the other."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The result of a call as plain values, and `last_error()` after the call."""

    error: Error
    shape: Shape
    content: Any
    name: str = ""
    fields: tuple[str, ...] = ()


_calls = msgspec.msgpack.Decoder(Call)
_answers = msgspec.msgpack.Decoder(Answer)
_many_answers = msgspec.msgpack.Decoder(list[Answer])
_encoder = msgspec.msgpack.Encoder()


def failed(function: str) -> Any:
    """Return the value that `function` returns when it fails."""
    return _FAILED.get(function)


def encode_call(call: Call) -> bytes:
    """Encode a call.

    Raises:
        SystemError: an integer is out of range, as in the module; nothing was called.
        TypeError: an argument has a type that no function of the module takes.
    """
    try:
        return _encoder.encode(plain_call(call))
    except OverflowError as error:
        raise SystemError(f"{call.function}: {error}") from None


def encode_calls(calls: Sequence[Call]) -> bytes:
    """Encode several calls as one message; see `encode_call` for the errors."""
    return encode_call(Call(TOGETHER, tuple(map(plain_call, calls))))


def plain_call(call: Call) -> Call:
    """Return the call with dates converted to numbers, as the module itself converts them."""
    return Call(
        call.function,
        tuple(_plain(value) for value in call.args),
        {name: _plain(value) for name, value in call.kwargs.items()},
    )


def _plain(value: Any) -> Any:
    # As the module does; a naive datetime means local time there too.
    return value.timestamp() if isinstance(value, dt.datetime) else value


def perform(terminal: Terminal, raw: bytes) -> bytes:
    """Call the terminal, and return the encoded answer.

    Raises:
        RemoteProtocolError: the bytes are not a call; nothing was called.
    """
    try:
        call = _calls.decode(raw)
    except UNREADABLE as error:
        raise RemoteProtocolError(f"the call cannot be read: {error}") from None
    if call.function != TOGETHER:
        _require_function(call)
        return _encode(answer_of(terminal, call))
    try:
        calls = msgspec.convert(call.args, list[Call])
    except UNREADABLE as error:
        raise RemoteProtocolError(f"the calls cannot be read: {error}") from None
    # Check all of them before the first is made.
    for each in calls:
        _require_function(each)
    return _encode([answer_of(terminal, each) for each in calls])


def _require_function(call: Call) -> None:
    # Never call an attribute outside the list, whatever the other process sends.
    if call.function not in FUNCTIONS:
        raise RemoteProtocolError(f"{call.function!r} is no function of the terminal")


def answer_of(terminal: Terminal, call: Call) -> Answer:
    """Call the terminal, and return the answer."""
    try:
        value = getattr(terminal, call.function)(*call.args, **call.kwargs)
    except RAISED as error:
        # The caller raises the same exception type again.
        kind = next(kind for kind in RAISED if isinstance(error, kind))
        return Answer(terminal.last_error(), "raised", str(error), kind.__name__)
    return _shaped(value, terminal.last_error())


def decode_answer(raw: bytes) -> tuple[Any, Error]:
    """Return the result of a call, and `last_error()` after the call.

    Raises:
        TypeError, ValueError, OverflowError, SystemError: raised by the call itself.
        RemoteProtocolError: the bytes are not an answer; the effect of the call is unknown.
    """
    try:
        answer = _answers.decode(raw)
    except UNREADABLE as error:
        raise RemoteProtocolError(f"the answer cannot be read: {error}") from None
    return value_of(answer), answer.error


def decode_answers(raw: bytes, count: int) -> list[Answer]:
    """Return the answers to `count` calls that were made together.

    Raises:
        RemoteProtocolError: the bytes are not these answers; the effect of the calls is unknown.
    """
    try:
        answers = _many_answers.decode(raw)
    except UNREADABLE as error:
        raise RemoteProtocolError(f"the answers cannot be read: {error}") from None
    if len(answers) != count:
        raise RemoteProtocolError(f"{len(answers)} answers came to {count} calls")
    return answers


def value_of(answer: Answer) -> Any:
    """Rebuild the result of a call from its answer; raises the same errors as `decode_answer`."""
    try:
        raised = _raised(answer) if answer.shape == "raised" else None
        value = _value(answer)
    except UNREADABLE as error:
        raise RemoteProtocolError(f"the answer cannot be read: {error}") from None
    # Raise outside of the `try`, or this exception would count as an unreadable answer.
    if raised is not None:
        raise raised
    return value


def _raised(answer: Answer) -> Exception:
    kinds = [kind for kind in RAISED if kind.__name__ == answer.name]
    if not kinds or not isinstance(answer.content, str):
        raise ValueError(f"{answer.name!r:.40} is nothing that the module raises")
    return kinds[0](answer.content)


def _value(answer: Answer) -> Any:
    content = answer.content
    if answer.shape == "rows":
        make = row_type(answer.name, answer.fields)
        return tuple(map(make._make, content))
    if answer.shape == "array":
        return _array(content, answer.fields)
    if answer.shape == "row":
        return _row(answer.name, answer.fields, content)
    return tuple(content) if isinstance(content, list) else content


def _shaped(value: Any, error: Error) -> Answer:
    if _is_row(value):
        content = [_nested(field) if _is_row(field) else field for field in value]
        return Answer(error, "row", content, type(value).__name__, tuple(value._asdict()))
    if isinstance(value, tuple) and value and _is_row(value[0]):
        first = value[0]
        content = [tuple(row) for row in value]
        return Answer(error, "rows", content, type(first).__name__, tuple(first._asdict()))
    if hasattr(value, "dtype"):
        layout = tuple(f"{name} {kind}" for name, kind in value.dtype.descr)
        return Answer(error, "array", value.tobytes(), fields=layout)
    return Answer(error, "plain", value)


def _array(content: Any, layout: Sequence[str]) -> Any:
    # Import numpy only here: a caller of these functions has it, as every user of the module has.
    import numpy as np

    fields = [(name, kind) for name, _, kind in (field.rpartition(" ") for field in layout)]
    # Copy, because the bytes of an answer are read-only and an array of the module is not.
    return np.frombuffer(content, dtype=fields).copy()


def _is_row(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_asdict")


def _nested(row: Any) -> tuple[str, tuple[str, ...], tuple[Any, ...]]:
    """Encode the request inside a result; no other field of a row is a sequence."""
    return type(row).__name__, tuple(row._asdict()), tuple(row)


def _row(name: str, fields: Sequence[str], content: Sequence[Any]) -> Any:
    values = [_row(*value) if isinstance(value, list) else value for value in content]
    return row_type(name, tuple(fields))._make(values)


@lru_cache(maxsize=64)
def row_type(name: str, fields: tuple[str, ...]) -> type[Any]:
    """Return the type of all rows that have this name and these fields."""
    # The fields are the sender's, so a field that a later module version adds is kept.
    return namedtuple(name, fields)


def _encode(answer: Answer | list[Answer]) -> bytes:
    try:
        return _encoder.encode(answer)
    except UnicodeEncodeError:
        # A trade server cut a comment inside a character, and half a character is not text.
        if isinstance(answer, Answer):
            return _encoder.encode(_mended(answer))
        return _encoder.encode(list(map(_mended, answer)))


def _mended(answer: Answer) -> Answer:
    code, text = answer.error
    content = writable_json(answer.content, DAMAGED)
    return msgspec.structs.replace(answer, content=content, error=(code, writable(text)))
