"""Whether a message is text at all."""

from __future__ import annotations


def check_text(raw: bytes) -> None:
    """Make sure that bytes are UTF-8, names of fields included.

    The decoder checks values only. A name that was damaged on the way would pass for a field that
    nobody knows, and the field that it was would take its default.

    Raises:
        UnicodeDecodeError: they are not.
    """
    if not raw.isascii():
        raw.decode()
