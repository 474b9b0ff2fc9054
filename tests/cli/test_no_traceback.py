"""Whatever happens around a command is one sentence and an exit code, and never a traceback."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.testing import CliRunner

from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Shell
from tests.support.logs import logs_as_before
from trueup.cli import app, commands, process
from trueup.errors import NotSent
from trueup.observe.log import set_up_logging
from trueup.runtime.control.state_files import ask_process

COMMANDS = (
    *(("status",), ("plan",), ("approve", "x"), ("settle", "x"), ("rebind",)),
    *(("audit",), ("replay", "--at", "1h"), ("journal", "info"), ("journal", "verify")),
    *(("trade", "list"), ("trade", "open"), ("terminal",), ("terminal", "--stop"), ("paper",)),
    ("gateway", "--simulated"),
)
NO_NUMBERS = ("nan", "inf", "-inf", "1e999")
FULL = Path("/dev/full")
ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="these are POSIX's own")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.environment.pop("TRUEUP_HOME", None)
        made.clean()


def fractions() -> Iterator[tuple[str, ...]]:
    """Yield what leads up to the value of every option and argument that takes a fraction."""

    def walk(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        kinds = get_type_hints(command.callback) if command.callback else {}
        for position, parameter in enumerate(command.params):
            if kinds.get(parameter.name) not in (float, float | None):
                continue
            if parameter.param_type_name == "option":
                yield (*names, parameter.opts[0])
            else:
                yield (*names, "--", *(("buy", "7")[names[-1] == "partial"],) * position)
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*names, name))

    for entry in commands.COMMANDS:
        yield from walk(entry.load(), (entry.name,))


def test_the_walk_over_the_options_finds_those_that_are_known() -> None:
    found = set(fractions())
    known = {("paper", "--volume"), ("trade", "open", "--sl"), ("trade", "open", "--", "buy")}
    assert known | {("trade", "partial", "--", "7"), ("terminal", "--balance")} <= found


@pytest.mark.parametrize("before", list(fractions()), ids=" ".join)
def test_what_is_no_number_is_refused_by_every_command(
    before: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for no_number in NO_NUMBERS:
        done = CliRunner().invoke(app, [*before, no_number])
        assert (done.exit_code, done.stdout) == (64, "")
        assert "is not valid: it should be" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_command_to_a_process_carries_no_number_that_is_none() -> None:
    # JSON would have null in its place, and null says that it was left out.
    with pytest.raises(NotSent, match="sl is nan"):
        ask_process("tcp://127.0.0.1:1", {"command": "open", "sl": float("nan")}, 100, "It")


def test_a_stop_loss_that_is_no_number_opens_nothing(shell: Shell) -> None:
    terminal = shell.start("terminal.log", "terminal")
    terminal.wait_for("[TERMINAL] Simulated terminal")
    for level in ("--sl", "--tp"):
        done = shell.ask("trade", "open", "buy", "0.1", level, "nan")
        assert done.returncode == 64
    assert "Positions  none" in shell.ask("trade", "list").stdout


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_state_folder_that_is_a_file_is_said_by_every_command(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.write_text("", encoding="utf-8")
    monkeypatch.setenv("TRUEUP_HOME", str(home))
    done = in_this_process(*arguments)
    assert done == (
        64,
        "",
        f"TRUEUP_HOME='{home}' is not valid: it is no folder; give one that is there, or that "
        "can be made.\n",
    )


@ON_POSIX
@pytest.mark.parametrize("arguments", [("paper",), ("terminal",), ("gateway", "--simulated")])
def test_a_state_folder_that_cannot_be_made_is_one_sentence(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "file" / "home"
    home.parent.write_text("", encoding="utf-8")
    monkeypatch.setenv("TRUEUP_HOME", str(home))
    code, out, err = in_this_process(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert str(home) in err
    assert "not a directory" in err.lower()


def in_this_process(*arguments: str) -> tuple[int, str, str]:
    with logs_as_before():
        done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


# The output.


def ended(child: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = child.communicate(timeout=60)
    return child.returncode, err.decode()


def opened(shell: Shell, *arguments: str, stdout: Any) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-m", "trueup", *arguments],
        cwd=shell.folder,
        env=shell.environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    shell.children.append(child)
    return child


@ON_POSIX
@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("sim", "--seed", "1")])
def test_an_output_that_nobody_reads_is_no_error_to_tell(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child = opened(shell, *arguments, stdout=writing)
    os.close(writing)
    assert ended(child) == (141, "")


@ON_POSIX
def test_a_bot_whose_log_nobody_reads_any_more_ends_in_order(shell: Shell) -> None:
    """`trueup paper --plain | head`: a bot that nobody can see does not go on trading."""
    child = opened(shell, "paper", "--plain", "--strategy", "once:BuyOnce", stdout=subprocess.PIPE)
    assert child.stdout is not None
    while b"[FILL] CONFIRMED" not in child.stdout.readline():
        pass
    child.stdout.close()
    child.stdout = None
    # The next line is about what a hand does.
    assert shell.ask("trade", "close", "all").returncode == 0
    assert ended(child) == (141, "")
    assert shell.ask("journal", "verify").returncode == 0
    assert not list((shell.folder / ".trueup").glob("bot-*.json"))


@ON_POSIX
def test_a_bot_with_a_log_file_goes_on_without_its_console(shell: Shell) -> None:
    child = opened(shell, "paper", "--plain", "--log", "bot.log", stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    child.stdout = None
    log = shell.folder / "bot.log"
    wait_for(lambda: "[STARTUP] No recovery" in log.read_text("utf-8"), lambda: "the start")
    opened_by_hand = shell.ask("trade", "open", "buy", "0.05").stdout.split()[2].rstrip(",")
    wait_for(lambda: opened_by_hand in log.read_text("utf-8"), lambda: "its line in the file")
    child.terminate()
    said = "A line of the log cannot be written to the console: [Errno 32] Broken pipe.\n"
    assert ended(child) == (141, said)


@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("config", "show")])
def test_a_full_disk_under_the_output_is_one_sentence(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    with FULL.open("wb") as full:
        child = opened(shell, *arguments, stdout=full)
        said = "The output cannot be written: no space left on device.\n"
        assert ended(child) == (2, said)


@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
def test_a_log_on_a_full_disk_loses_lines_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "full.log"
    file.symlink_to(FULL)
    with logs_as_before():
        set_up_logging(console=False, file=file)
        for number in range(5):
            logging.getLogger("trueup.sync").info("[SYNC] Line %d", number)
    assert capsys.readouterr().err.splitlines() == [
        f"Lines of the log {file} are lost: [Errno 28] No space left on device."
    ]


# Ctrl-C.

# Presses Ctrl-C at the moment when a module is about to be imported.
PRESSED_WHILE_IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from trueup.__main__ import main
main(["status"])
"""
# Presses it in the midst of a command.
PRESSED_IN_A_COMMAND = """
import os, signal
from trueup.__main__ import main
import trueup.runtime.control.gathering
trueup.runtime.control.gathering.find_bots = lambda: os.kill(os.getpid(), signal.SIGINT) or []
main(["status"])
"""


def python(shell: Shell, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@ON_POSIX
@pytest.mark.parametrize("module", ["trueup.cli", "typer", "trueup.cli.group"])
def test_ctrl_c_while_the_command_line_is_loaded_ends_it_without_a_word(
    shell: Shell, module: str
) -> None:
    done = python(shell, PRESSED_WHILE_IMPORTING.format(module=module))
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@ON_POSIX
@pytest.mark.parametrize("module", ["trueup.cli.operate.status", "msgspec"])
def test_ctrl_c_while_one_command_is_loaded_is_one_word(shell: Shell, module: str) -> None:
    done = python(shell, PRESSED_WHILE_IMPORTING.format(module=module))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


@ON_POSIX
def test_ctrl_c_in_a_command_is_one_word_and_its_own_exit_code(shell: Shell) -> None:
    done = python(shell, PRESSED_IN_A_COMMAND)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


@ON_POSIX
def test_a_process_that_is_to_ignore_ctrl_c_goes_on_ignoring_it(shell: Shell) -> None:
    ignoring = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    done = python(shell, ignoring + PRESSED_WHILE_IMPORTING.format(module="trueup.cli"))
    assert done.returncode == 4
    assert "No bot runs in this folder" in done.stdout


# A mistake of our own.


def test_a_mistake_of_the_program_is_one_sentence_with_the_place_of_its_details(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("sl")

    monkeypatch.setattr(process, "app", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # A file with the old, known name is nobody's business.
    (tmp_path / "trueup-error.txt").write_text("of another user", "utf-8")
    with pytest.raises(SystemExit) as ends:
        process.run(["status"], takes_interrupts=False)
    assert ends.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("A mistake in trueup itself ended the command: KeyError: 'sl' (the det")
    (file,) = tmp_path.glob(f"{process.REPORT_BEGINS}*.txt")
    assert str(file) in line
    assert "Traceback" in file.read_text("utf-8")
    if os.name != "nt":
        assert file.stat().st_mode & 0o77 == 0
