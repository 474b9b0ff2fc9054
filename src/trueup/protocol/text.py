"""Whether a message is text at all, and JSON whose texts can be written again.

Gateways of others put bytes around their JSON: a NUL behind it (MQL5's StringToCharArray, which may
leave the end of an older message behind the NUL), a byte order mark before it, or UTF-16. They cut
a comment in the middle of a character: of a surrogate pair, because MetaTrader counts 31 UTF-16
units, or of a character's bytes. All of that is read, with a mark for the part of a character: "?"
in a text for people, U+FFFD where a name must be seen to be damaged. Any other encoding is named,
and where it begins.
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
"""What stands for a part of a character in a text for people, whatever the console."""
DAMAGED = "\ufffd"
"""What stands for it where a name must be seen to be damaged: no symbol has it."""
# How a part of a character is held between reading and marking; no text can be written with it.
_PART = "\udfff"
_PARTS = re.compile("[\ud800-\udfff]")
_BLANKS = b" \t\r\n"
# The bytes that UTF-8 has no use for, and that some encoders write for half of a surrogate pair.
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
# The end of a text, where no name of a field ends: that would be followed by a colon.
_END_OF_VALUE = re.compile(rb'"[ \t\r\n]*(?!:|[ \t\r\n])')
_LEAD_BYTES = range(0xC2, 0xF5)
_NEAR_BYTES = 20


def check_text(raw: bytes) -> None:
    """Make sure that bytes are UTF-8, names of fields included.

    The decoder checks values only. A name that was damaged on the way would pass for a field that
    nobody knows, and the field that it was would take its default.

    Raises:
        UnicodeDecodeError: they are not.
    """
    if not raw.isascii():
        raw.decode()


def cleaned(raw: bytes) -> bytes:
    """Return a message as UTF-8 without what stands around its JSON.

    A message with parts of characters is returned as it came: `read_json` reads it.

    Raises:
        UnicodeDecodeError: it is no text, or of another encoding.
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
    """Return the UTF-16 codec of a message, empty for one that is not UTF-16."""
    if raw.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if raw.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    # JSON begins with an ASCII character, and so does every blank before it.
    first, second = raw[:1], raw[1:2]
    if second == b"\0" and first != b"\0":
        return "utf-16-le"
    return "utf-16-be" if first == b"\0" and second != b"\0" and second else ""


def _mark_half_character(error: UnicodeError) -> tuple[str, int]:
    """Let a mark stand for a character that was cut at the end of a text, and refuse all else."""
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
    """Return a text that UTF-8 can write: a mark stands for each half of a surrogate pair."""
    return text if text.isascii() else _PARTS.sub(mark, text)


def read_json(raw: bytes, mark: str = MARK) -> Any:
    """Read JSON as leniently as the standard library does, which takes NaN and Infinity.

    It also takes what stands around the JSON, and parts of characters, for which `mark` stands.

    Raises:
        ValueError, RecursionError: it is no JSON. `why_unreadable` says where and why.
    """
    try:
        # Eight times as fast, and the same values where it takes the text at all.
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = _text_of(raw)
    value = json.loads(text, strict=False)
    return value if text.isascii() and "\\u" not in text else writable_json(value, mark)


def error_of(reply: Mapping[str, Any]) -> str:
    """Return what a reply says went wrong, in one line; empty where the gateway gives no reason."""
    said = reply.get("error") or reply.get("error_msg") or reply.get("message")
    return brief(said) if said else ""


def reason_of(reply: Mapping[str, Any]) -> str:
    """Return what a reply says went wrong, or that it does not say."""
    return error_of(reply) or "the gateway gave no reason"


def decode_json(decoder: msgspec.json.Decoder[Message], raw: bytes) -> Message:
    """Decode a message, and where that fails once more, as leniently as `read_json`.

    Parts of characters are marked as `DAMAGED`.

    Raises:
        msgspec.ValidationError: it is JSON of another shape; the error names the place.
        ValueError, RecursionError: it is no JSON. `why_unreadable` says where and why.
    """
    try:
        check_text(raw)
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(read_json(raw, DAMAGED), decoder.type)


def why_unreadable(raw: bytes) -> str:
    """Say in one line where and why `read_json` cannot read a message."""
    if not raw.strip(_BLANKS + b"\0"):
        return "it is empty"
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
        place = len(text[: error.pos].encode())
        return f"it is not JSON at byte {place}, near {_near(text.encode(), place)}: {error.msg}"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return f"it is not JSON: {error}"
    return "it is JSON, and not of the shape that is wanted"


def brief(value: object, most: int = 200) -> str:
    """Return what a value says as one line of at most `most` characters that can be written."""
    line = writable(" ".join(str(value).split())).replace(DAMAGED, MARK)
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _near(raw: bytes, place: int) -> str:
    return repr(raw[max(0, place - _NEAR_BYTES) : place + _NEAR_BYTES])


def json_frame(frames: Iterable[bytes]) -> bytes:
    """Return the frame of a message that is its JSON: the first that can be, else the first.

    Some gateways send more than one, such as a checksum.
    """
    first, *others = frames
    for frame in (first, *others):
        if frame.lstrip(codecs.BOM_UTF8 + codecs.BOM_UTF16_BE + _BLANKS + b"\0").startswith(b"{"):
            return frame
    return first


def writable_json(value: Any, mark: str = MARK) -> Any:
    """Return plain values whose texts UTF-8 can write; see `writable`."""
    if isinstance(value, str):
        return writable(value, mark)
    if isinstance(value, list | tuple):
        return [writable_json(one, mark) for one in value]
    if isinstance(value, dict):
        return {writable_json(name, mark): writable_json(one, mark) for name, one in value.items()}
    return value
