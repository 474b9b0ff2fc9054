"""Hide the passwords of URLs, in texts for people and in names of files."""

from __future__ import annotations

import re

HIDDEN = "***"
# Up to the last @ of the word: a password that should have been written as %40 is hidden as well.
_IN_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:@/]*:)\S*@")
_PARAMETER = re.compile(r"((?:^|[?&\s])(?:ssl)?password=)[^&\s]+", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """Return a text in which each password of a URL is replaced by three stars."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _IN_URL.sub(rf"\1{HIDDEN}@", text))


def has_password(text: str) -> bool:
    """Return whether a URL has a password."""
    return hide_passwords(text) != text
