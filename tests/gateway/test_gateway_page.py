"""docs/operating/windows-gateway.md: its commands exist, and its log lines are ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.cli_page import commands, options

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating/windows-gateway.md").read_text(encoding="utf-8")
SOURCES = "".join(
    (ROOT / "src/trueup" / name).read_text(encoding="utf-8").replace('"\n            "', "")
    for name in (
        *(
            "gateway/worker/keeper.py",
            "gateway/terminal/terminal_log.py",
            "gateway/worker/process.py",
        ),
        "cli/gateway/gateway.py",
    )
)
COMMANDS = dict(commands())


def test_every_option_on_the_page_is_one_of_the_gateway() -> None:
    known = {
        option
        for name, command in COMMANDS.items()
        if name.startswith(("trueup gateway", "trueup doctor", "trueup paper"))
        for option in options(command)
    } | {"--version", "--upgrade"}  # the last is pip's
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert named <= known
    assert "--login" in named


def test_every_command_on_the_page_exists() -> None:
    # Only where a line begins, or in backticks: prose speaks of trueup too.
    called = r"(?:^\$ |Scripts\\|`)trueup (\w+(?: install| new| open| backup)?)"
    named = re.findall(called, PAGE, re.M)
    assert len(named) > 5
    for name in named:
        assert f"trueup {name}" in COMMANDS, name


@pytest.mark.parametrize(
    "words",
    [
        "[GATEWAY] Serving ",
        "[TERMINAL] Initialised: account ",
        "Orders will be refused",
        "Algo Trading (button) ",
        "account may trade ",
        "The terminal has no link to its trade server",
        "Lost: ",
        "no answer within ",
        "was killed",
    ],
)
def test_the_log_lines_that_the_page_explains_are_written_so(words: str) -> None:
    assert words in PAGE
    assert words in SOURCES
