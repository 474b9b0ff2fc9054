"""Parts of the server that need neither a bot nor the protocol's library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from trueup.core.book.wishes import OrderWish, WishAction
from trueup.core.model import Side
from trueup.doors.mcp.link import Link
from trueup.doors.mcp.plain import LONGEST_TEXT, shown
from trueup.doors.mcp.results import Order
from trueup.doors.mcp.tools import Allow, schema_of, tools_of
from trueup.doors.mcp.wishing import wish_of

READING = {"status", "positions", "orders", "order", "plan", "audit", "limits", "proposals"}
LINK = Link(None, None, None, lambda: Path("bot.db"))


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("EURUSD, größer 中文 👍", "EURUSD, größer 中文 👍"),
        ("\x1b[2Ja\x07", "\\x1b[2Ja\\x07"),
        ("a\r\nb\tc\u2028d", "a\\r\\nb\\tc\\u2028d"),
        ("\u202eevil\u2066\u200b\ufeff", "\\u202eevil\\u2066\\u200b\\ufeff"),
        ("hidden\U000e0041\U000e007f", "hidden\\U000e0041\\U000e007f"),
        ("\x9bcsi", "\\x9bcsi"),
    ],
)
def test_a_text_is_one_line_of_visible_characters(text: str, visible: str) -> None:
    assert shown({"rows": [{"comment": text, "n": 1, "none": None}]}) == {
        "rows": [{"comment": visible, "n": 1, "none": None}]
    }


def test_a_text_without_end_is_cut() -> None:
    cut = shown("x" * 5_000)
    assert (len(cut), cut[-4:]) == (LONGEST_TEXT, "x...")


@pytest.mark.parametrize(
    ("allowed", "more"),
    [
        (set[Allow](), set[str]()),
        ({Allow.PROPOSE}, {"propose", "withdraw"}),
        ({Allow.SUBMIT}, {"submit"}),
        ({Allow.PROPOSE, Allow.SUBMIT}, {"propose", "withdraw", "submit"}),
    ],
)
def test_a_tool_that_is_not_allowed_does_not_exist(allowed: set[Allow], more: set[str]) -> None:
    assert set(tools_of(LINK, frozenset(allowed))) == READING | more


@pytest.mark.parametrize("name", [*sorted(READING), "propose", "withdraw", "submit"])
def test_every_tool_describes_its_fields(name: str) -> None:
    tool = tools_of(LINK, frozenset(Allow))[name]
    given, result = schema_of(tool.arguments), schema_of(tool.result)
    assert given["type"] == result["type"] == "object"
    assert given["additionalProperties"] is False
    for field, about in given["properties"].items():
        assert "description" in about, (name, field)
    assert tool.description.endswith(". ") or tool.description.endswith(".")
    # No tool of any name can approve.
    assert "approve" not in name


ORDER: dict[str, Any] = {"key": "a"}


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        (
            {"action": "open", "side": "buy", "volume": 0.1, "limit": 1, "sl": 0},
            OrderWish(WishAction.OPEN, side=Side.BUY, volume=0.1, limit=1.0),
        ),
        ({"action": "close", "ticket": 5}, OrderWish(WishAction.CLOSE, ticket=5)),
        (
            {"action": "modify", "ticket": 5, "sl": 0, "tp": 1.2},
            OrderWish(WishAction.MODIFY, tp=1.2, ticket=5),
        ),
        ({"action": "cancel", "ticket": 5}, OrderWish(WishAction.CANCEL, ticket=5)),
    ],
)
def test_arguments_become_a_wish(arguments: dict[str, Any], wish: OrderWish) -> None:
    assert wish_of(msgspec.convert({**ORDER, **arguments}, Order)) == wish


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"action": "buy"}, "action='buy' is not valid: give one of open, close, modify, cancel"),
        ({"action": "modify", "ticket": 5, "sl": 1.0}, "sl and tp are both needed to modify"),
        ({"action": "open", "side": "buy", "volume": 0}, "volume=0 is not valid"),
        ({"action": "open", "side": "buy", "volume": 0.1, "limit": 0}, "limit=0 is not valid"),
    ],
)
def test_arguments_that_are_no_wish_are_refused_by_name(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said.replace("'", ".")):
        wish_of(msgspec.convert({**ORDER, **arguments}, Order))
