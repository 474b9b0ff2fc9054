"""The pages about the door: what is executed as it stands, and the tables that must be complete."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from tests.support.page_console import check_console
from trueup.doors.mt5.opening import OPTIONS, Options
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import FUNCTIONS
from trueup.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating" / "mt5-script.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference" / "mt5-functions.md").read_text("utf-8")


def test_the_commands_of_the_page_print_what_the_page_has(tmp_path: Path) -> None:
    check_console(PAGE, tmp_path)


def test_python_blocks_are_python() -> None:
    blocks = re.findall(r"```python.*?\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        ast.parse(block)


@pytest.mark.parametrize("function", sorted({*FUNCTIONS, "last_error"}))
def test_the_reference_has_each_function_once(function: str) -> None:
    rows = [line for line in REFERENCE.splitlines() if line.startswith("| `")]
    assert sum(f"`{function}`" in row.split("| ")[1] for row in rows) == 1


def test_the_page_has_each_option_with_its_default() -> None:
    table = PAGE.partition("## Options and variables")[2].partition("## What None means")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert set(rows) == OPTIONS
    for name in ("read_ms", "resolve_ms"):
        assert rows[name].endswith(str(getattr(Options(), name)))
    variables = set(re.findall(r"`(TRUEUP_\w+)`", table))
    assert {name.lower() for name in variables} <= set(Settings.model_fields)


def test_the_codes_of_the_page_are_those_of_the_module() -> None:
    codes = {int(code) for code in re.findall(r"^\| `(-?\d+)` \|", PAGE, re.MULTILINE)}
    assert codes == {
        mt5.RES_S_OK,
        mt5.RES_E_INTERNAL_FAIL_TIMEOUT,
        mt5.RES_E_INTERNAL_FAIL_CONNECT,
        mt5.RES_E_INTERNAL_FAIL_INIT,
        mt5.RES_E_AUTH_FAILED,
        mt5.RES_E_INVALID_PARAMS,
        mt5.RES_E_FAIL,
    }
    assert f"`retcode` {mt5.TRADE_RETCODE_REJECT}" in PAGE


def test_the_pages_links_lead_somewhere() -> None:
    for page in ("operating/mt5-script.md", "reference/mt5-functions.md"):
        path = ROOT / "docs" / page
        for link in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
            assert os.path.exists(path.parent / link), link
