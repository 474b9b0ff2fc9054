"""Make texts of others safe to show: a broker's comment, a symbol, a reason.

An assistant reads every text, and so does the person who looks at what the assistant shows. A text
could move the cursor of a terminal, turn the direction of the line, or hide words in characters
without width. Such characters are written as Python writes them, `\\x1b`. What a text says is not
changed: the server's instructions say that a text of the broker is data.
"""

from __future__ import annotations

from typing import Any

from trueup.observe.log import CONTROLS

LONGEST_TEXT = 2_000

# Characters that change the direction of text, have no width, or cannot be seen.
_HIDDEN = (
    0x00AD,
    0x061C,
    0x180E,
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    # Tags: an invisible copy of ASCII.
    *range(0xE0000, 0xE0080),
)
_SHOWN = {
    **CONTROLS,
    ord("\t"): "\\t",
    **{code: f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}" for code in _HIDDEN},
}


def shown(value: Any) -> Any:
    """Return plain values with every text as one line of visible characters."""
    if isinstance(value, str):
        text = value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 3]}..."
        return text.translate(_SHOWN)
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {shown(name): shown(item) for name, item in value.items()}
    return value
