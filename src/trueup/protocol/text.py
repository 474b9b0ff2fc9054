"""Convert messages of other gateways to UTF-8 text and JSON, and mark damaged characters.

Other gateways put bytes around their JSON: a NUL behind it (MQL5's StringToCharArray, which may
leave the end of an older message behind the NUL), a byte order mark before it, or UTF-16. They also
cut comments inside a character: inside a surrogate pair, because MetaTrader counts 31 UTF-16 units,
or between the bytes of a character. All of these are read. A mark replaces the part of a character:
"?" in texts for people, U+FFFD in names, where the damage must be noticed. For any other encoding
the error names the place where it begins.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

Message = TypeVar("Message")
MARK = "?"
"""Replaces a part of a character in texts for people; every console can print it."""
DAMAGED = "\ufffd"
"""Replaces a part of a character in names, where the damage must be noticed: no symbol has it."""
# Stands for a part of a character between decoding and marking; UTF-8 cannot encode it.
_PART = "\udfff"
_PARTS = re.compile("[\ud800-\udfff]")
_BLANKS = b" \t\r\n"
# Bytes that are invalid in UTF-8, but that some encoders write for half of a surrogate pair.
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
# The end of a text value; the end of a field's name would be followed by a colon.
_END_OF_VALUE = re.compile(rb'"[ \t\r\n]*(?!:|[ \t\r\n])')
_LEAD_BYTES = range(0xC2, 0xF5)
_NEAR_BYTES = 20


def check_text(raw: bytes) -> None:
    """Check that all bytes are UTF-8, including names of fields.

    The decoder checks values only. A damaged name would pass for an unknown field, and the intended
    field would silently take its default.

    Raises:
        UnicodeDecodeError: the bytes are not UTF-8.
    """
    if not raw.isascii():
        raw.decode()


def cleaned(raw: bytes) -> bytes:
    """Return a message as UTF-8, without the bytes around its JSON.

    A message with parts of characters is returned unchanged: `read_json` reads it.

    Raises:
        UnicodeDecodeError: the message is not text, or in another encoding.
    """
    text = _text_of(raw)
    return raw if _PARTS.search(text) else text.encode()


def _text_of(raw: bytes) -> str:
    codec = _wide_codec(raw)
    if codec:
        text = raw[: len(raw) // 2 * 2].decode(codec, "surrogatepass")
        return text.removeprefix(codecs.BOM_UTF16_LE.decode("utf-16-le")).partition("\0")[0]
    whole = raw.removeprefix(codecs.BOM_UTF8).partition(b"\0")[0]
    return whole.decode("utf-8", "trueup-half-characters")


def _wide_codec(raw: bytes) -> str:
    """Return the UTF-16 codec of a message, or an empty text if it is not UTF-16."""
    if raw.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if raw.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    # JSON begins with an ASCII character or an ASCII blank, so its position tells the byte order.
    first, second = raw[:1], raw[1:2]
    if second == b"\0" and first != b"\0":
        return "utf-16-le"
    return "utf-16-be" if first == b"\0" and second != b"\0" and second else ""


def _mark_half_character(error: UnicodeError) -> tuple[str, int]:
    """Decoder error handler: mark a character cut at the end of a text, refuse all else."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    raw, start = error.object, error.start
    if half := _SURROGATE.match(raw, start):
        return _PART, half.end()
    is_cut = raw[start] in _LEAD_BYTES and _END_OF_VALUE.match(raw, error.end)
    if not is_cut:
        raise error
    return _PART, error.end


codecs.register_error("trueup-half-characters", _mark_half_character)


def writable(text: str, mark: str = MARK) -> str:
    """Return a text that UTF-8 can encode: `mark` replaces each half of a surrogate pair."""
    return text if text.isascii() else _PARTS.sub(mark, text)


def read_json(raw: bytes, mark: str = MARK) -> Any:
    """Parse JSON as leniently as the standard library, which accepts NaN and Infinity.

    Bytes around the JSON are ignored; `mark` replaces parts of characters.

    Raises:
        ValueError, RecursionError: the message is not JSON. `why_unreadable` says where and why.
    """
    try:
        # Eight times as fast, with the same values wherever this parser accepts the text.
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = _text_of(raw)
    value = json.loads(text, strict=False)
    return value if text.isascii() and "\\u" not in text else writable_json(value, mark)


def error_of(reply: Mapping[str, Any]) -> str:
    """Return the error in a reply as a single line, or an empty text if the reply has none."""
    error = reply.get("error") or reply.get("error_msg") or reply.get("message")
    return brief(error) if error else ""


def reason_of(reply: Mapping[str, Any]) -> str:
    """Return the error in a reply as a single line, or that the gateway gave no reason."""
    return error_of(reply) or "the gateway gave no reason"


def decode_json(decoder: msgspec.json.Decoder[Message], raw: bytes) -> Message:
    """Decode a message; if that fails, once more as leniently as `read_json`.

    Parts of characters are replaced by `DAMAGED`.

    Raises:
        msgspec.ValidationError: the JSON has another shape; the error names the place.
        ValueError, RecursionError: the message is not JSON. `why_unreadable` says where and why.
    """
    try:
        check_text(raw)
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(read_json(raw, DAMAGED), decoder.type)


def why_unreadable(raw: bytes) -> str:
    """Return where and why `read_json` cannot read a message, as a single line."""
    if not raw.strip(_BLANKS + b"\0"):
        return "it is empty"
    # Parse again with the slow parser, whose errors have a position.
    text = ""
    try:
        text = writable(_text_of(raw))
        json.loads(text, strict=False)
    except UnicodeDecodeError as error:
        return (
            f"it is not UTF-8 at byte {error.start}, near {_near(error.object, error.start)}: the "
            "sender writes another encoding, such as cp1251 or cp1252, and must write UTF-8"
        )
    except json.JSONDecodeError as error:
        # The position is in characters; people search a captured message by bytes.
        place = len(text[: error.pos].encode())
        return f"it is not JSON at byte {place}, near {_near(text.encode(), place)}: {error.msg}"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return f"it is not JSON: {error}"
    return "it is JSON, and not of the shape that is wanted"


def brief(value: object, most: int = 200) -> str:
    """Return a value as a single line of at most `most` characters that UTF-8 can encode."""
    line = writable(" ".join(str(value).split())).replace(DAMAGED, MARK)
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _near(raw: bytes, place: int) -> str:
    return repr(raw[max(0, place - _NEAR_BYTES) : place + _NEAR_BYTES])


def json_frame(frames: Iterable[bytes]) -> bytes:
    """Return the frame with the JSON of a message: the first that may be JSON, else the first.

    Some gateways send further frames, for example a checksum.
    """
    first, *others = frames
    for frame in (first, *others):
        if frame.lstrip(codecs.BOM_UTF8 + codecs.BOM_UTF16_BE + _BLANKS + b"\0").startswith(b"{"):
            return frame
    return first


def writable_json(value: Any, mark: str = MARK) -> Any:
    """Return plain values whose texts UTF-8 can encode; see `writable`."""
    if isinstance(value, str):
        return writable(value, mark)
    if isinstance(value, list | tuple):
        return [writable_json(item, mark) for item in value]
    if isinstance(value, dict):
        return {
            writable_json(name, mark): writable_json(item, mark) for name, item in value.items()
        }
    return value
