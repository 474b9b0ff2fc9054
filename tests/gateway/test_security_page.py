"""docs/operating/keys.md and SECURITY.md: what they show works, and what they quote is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.cli_page import commands, options
from trueup.cli.gateway.gateway import RATE_PER_SEC
from trueup.gateway.access.allow_file import parse_allowed
from trueup.gateway.access.descriptors import CONNECTIONS_MAX, FILES_MAX
from trueup.gateway.access.door import HANDSHAKE_MS, MESSAGE_BYTES_MAX
from trueup.gateway.access.keys import is_key
from trueup.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating/keys.md").read_text(encoding="utf-8")
MODEL = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
GATEWAY = sorted((ROOT / "src/trueup/gateway").rglob("*.py"))
SOURCES = re.sub(r'"\n\s+f?"', "", "".join(path.read_text("utf-8") for path in GATEWAY))
KEY_IN_TEXT = re.compile(r"(?<=Public key  )\S+|(?<=GTW_SERVER_KEY=')[^']+")


def block(marker: str) -> str:
    """The fenced block of the page that has these words."""
    found = [text for text in re.findall(r"```\w+\n(.*?)```", PAGE, re.S) if marker in text]
    assert len(found) == 1
    return str(found[0])


def test_the_allow_file_on_the_page_is_read_as_the_page_says() -> None:
    bot, screen = parse_allowed(block("public key\n"), "keys.md").values()
    assert (bot.name, bot.may_trade, bot.accounts) == ("bot1", True, frozenset({5_000_001}))
    assert (screen.name, screen.may_trade, screen.accounts) == ("screen", False, None)


def test_the_settings_on_the_page_are_read_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GTW_HOST", "GTW_SERVER_KEY", "GTW_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(block("GTW_SERVER_KEY="), encoding="utf-8")
    settings = load_settings()
    shown = set(KEY_IN_TEXT.findall(PAGE))
    assert shown == {settings.gtw_server_key}
    assert is_key(settings.gtw_server_key)
    assert settings.gtw_key_file.endswith("bot1.key_secret")


def test_what_is_quoted_is_said() -> None:
    rows = re.findall(r"^\| (?:bot|start|gateway): `([^`]+)`", PAGE, re.M)
    assert len(rows) > 10
    for row in rows:
        for words in re.split(r"\.\.\.|\bscreen\b|\bbot1\b|500|1000|0644|203\.0\.113\.9", row):
            said = words.strip(" ;)(")
            assert len(said) < 4 or said in SOURCES, said


def test_the_numbers_are_the_ones_in_force() -> None:
    assert f"({CONNECTIONS_MAX}, fewer" in MODEL
    assert f"({FILES_MAX}, fewer" in MODEL
    assert f"({MESSAGE_BYTES_MAX // 1024} KiB)" in MODEL
    assert {10_000: "ten seconds after"}[HANDSHAKE_MS] in MODEL
    assert f"({RATE_PER_SEC:g} a second, `--rate`)" in MODEL
    assert f"asks more than {RATE_PER_SEC:g} times" in PAGE


def test_options_and_commands_exist() -> None:
    known = {option for _, command in commands() for option in options(command)}
    for page in (PAGE, MODEL):
        assert set(re.findall(r"`(--[a-z-]+)", page)) <= known
    names = {name for name, _ in commands()}
    used = re.findall(r"(?:^\$ |`)(trueup (?:keys \w+|\w+))", PAGE + MODEL, re.M)
    assert len(used) > 5
    assert set(used) <= names
