"""`trueup watch`: its options, and what it says when it cannot begin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.shadow.world import ShadowWorld
from trueup.cli import app
from trueup.cli.watch import watch as command
from trueup.errors import SettingsError
from trueup.runtime.time.moments import span_sec


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without settings."""
    for name in ("GTW_HOST", "GTW_PORT", "GTW_SERVER_KEY", "GTW_KEY_FILE", "TRUEUP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(world: ShadowWorld | None, *options: str) -> Result:
    address = (
        [] if world is None else ["--gateway", f"tcp://{world.gateway.host}:{world.gateway.port}"]
    )
    return CliRunner().invoke(app, ["watch", "--shadow", *address, *options])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("8h", 28_800), ("1h 30m", 5_400)]
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert span_sec(text, "--for") == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "8h ago", "eight hours", "-1h"])
def test_another_text_is_no_length_of_time(text: str) -> None:
    with pytest.raises(SettingsError, match="give a length of time: 90s, 30m, 8h, 2d"):
        span_sec(text, "--for")


def test_a_watch_ends_after_its_time_with_a_report_and_a_page(
    world: ShadowWorld, folder: Path
) -> None:
    done = run(world, "--for", "0.3s", "--every", "0.1", "--report", "night.html")
    assert done.exit_code == 0, done.output
    assert "Shadow: what the broker did beside the bot" in done.stdout
    assert "Nothing that a bot of memory would have missed." in done.stdout
    assert "The report is in night.html." in done.stdout
    assert "Nothing that a bot of memory" in (folder / "night.html").read_text("utf-8")
    assert (folder / ".trueup" / "shadow.db").exists()


def test_a_gateway_that_never_answers_ends_with_a_sentence(world: ShadowWorld) -> None:
    world.gateway.stop()
    done = run(world, "--for", "0.2s")
    assert done.exit_code == 2
    assert "Waiting until it answers" in done.output
    assert "Nothing was seen" in done.output


def test_without_a_gateway_the_command_says_where_one_is_named() -> None:
    done = run(None, "--for", "1s")
    assert done.exit_code == 2
    assert "set GTW_HOST and GTW_PORT, or give --gateway" in done.output


def test_a_report_that_cannot_be_written_is_refused_before_the_watch(world: ShadowWorld) -> None:
    done = run(world, "--for", "9h", "--report", "no/such/folder/night.html")
    assert done.exit_code == 64
    assert "give a file in a folder that exists" in done.output
    assert not world.gateway.actions


def test_without_the_extra_the_page_is_refused_with_the_way_to_get_it(
    world: ShadowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "trueup.doors.shadow.page", raising=False)
    monkeypatch.delitem(sys.modules, "trueup.doors.page.screens", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = run(world, "--for", "9h", "--report", "night.html")
    assert done.exit_code == 2
    assert "pip install 'trueup[page]'" in done.output
    assert command.NOT_INSTALLED.startswith("--report needs the extra")
    # The terminal's report needs nothing.
    assert run(world, "--for", "0.2s", "--every", "0.1").exit_code == 0


def test_a_command_line_that_cannot_be_read_is_refused(world: ShadowWorld) -> None:
    done = run(world, "--for", "a night")
    assert done.exit_code == 64
    assert "give a length of time" in done.output
