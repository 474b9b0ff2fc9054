"""The page about risk limits: its commands are executed, and its tables are complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.page_console import check_console
from trueup.core.limits.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating" / "limits.md").read_text("utf-8")


def test_the_commands_of_the_page_print_what_the_page_has(tmp_path: Path) -> None:
    check_console(PAGE, tmp_path)


def test_python_blocks_are_python() -> None:
    blocks = re.findall(r"```python.*?\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)


def test_the_tables_have_every_limit() -> None:
    table = PAGE.partition("## The limits")[2].partition("## Deposits")[0]
    named = {
        name
        for cell in re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert named == set(Limits.__struct_fields__)
