"""The constants are those of the official module, value by value."""

from __future__ import annotations

import json
from pathlib import Path

from trueup.gateway.terminal import mt5_constants as mt5

FACTS = json.loads((Path(__file__).parents[1] / "data" / "mt5_api.json").read_text("utf-8"))


def test_module_constants_are_the_223_of_the_official_module() -> None:
    assert FACTS["constants"] == mt5.MODULE_CONSTANTS
    assert len(mt5.MODULE_CONSTANTS) == 223


def test_server_only_values_are_the_documented_ones_that_the_module_lacks() -> None:
    documented = FACTS["server_values_missing_from_module"]
    assert {name: getattr(mt5, name) for name in mt5.SERVER_ONLY_NAMES} == documented


def test_every_documented_retcode_has_its_name() -> None:
    documented = {
        int(code): row["name"].removeprefix("TRADE_RETCODE_")
        for code, row in FACTS["retcodes"].items()
    }
    assert documented == mt5.RETCODE_NAMES


def test_every_last_error_has_its_name_and_text() -> None:
    documented = {int(code): row["name"] for code, row in FACTS["last_error_codes"].items()}
    assert documented == mt5.LAST_ERROR_NAMES
    assert mt5.LAST_ERROR_TEXTS.keys() == documented.keys()
    for code, text in mt5.LAST_ERROR_TEXTS.items():
        told = FACTS["last_error_codes"][str(code)]["text"]
        # The facts shorten long texts and give alternatives; ours is the first of them.
        first = told.split(" | ")[0].split(", <")[0].removesuffix("...").rstrip(", ")
        assert text.startswith(first)
