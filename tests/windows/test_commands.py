"""Each command as a process, in a folder with spaces and Cyrillic letters, its output piped.

Windows gives Python the code page 1252 for a pipe then, and that has none of these letters.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import until
from trueup.cli import app
from trueup.cli.gateway.crashes import SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX

pytestmark = [
    pytest.mark.skipif(sys.platform != "win32", reason="needs Windows: `make windows`"),
    pytest.mark.timeout(900),
]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "Счёт один, копия"
# Each command takes a minute where others are busy.
LONG_SEC = 400.0


class Shell:
    """A folder, and commands given in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GTW_", "TRUEUP_"))}
        kept.pop("PYTHONUTF8", None)
        self.environment = {**kept, "PYTHONPATH": str(ROOT / "src"), "LOCALAPPDATA": str(folder)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Give a command, and go on."""
        return subprocess.Popen(
            [sys.executable, "-m", "trueup", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def say(self, *arguments: str) -> str:
        """Give a command, wait for its end, and return what it said, whatever that is."""
        return self.start(*arguments).communicate(timeout=LONG_SEC)[0].decode("utf-8")

    def run(self, *arguments: str, code: int = 0) -> str:
        """Give a command, wait for its end, and return what it said."""
        process = self.start(*arguments)
        said = process.communicate(timeout=LONG_SEC)[0].decode("utf-8")
        assert process.returncode == code, said
        assert "Traceback" not in said
        return said


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder in which a simulated terminal runs, and a bot has traded."""
    folder = tmp_path_factory.mktemp("shell") / FOLDER
    folder.mkdir()
    made = Shell(folder)
    terminal = made.start("terminal", "--log", "terminal.log", "--speed", "600")
    until((folder / ".trueup" / "terminal.json").exists, LONG_SEC)
    made.run("trade", "open", "buy", "0.05")
    made.run("paper", "--plain", "--duration", "3", "--log", "бот.log")
    yield made
    terminal.kill()
    terminal.communicate()


def test_what_a_bot_did_is_told_by_every_command_that_reads(shell: Shell) -> None:
    assert "Zombie position recovered" in (shell.folder / "бот.log").read_text("utf-8")
    assert "LONG" in shell.run("trade", "list")
    assert "LONG 0.05 @" in shell.run("status", code=1)
    assert "recovered" in shell.run("audit").lower()
    assert "0.05" in shell.run("replay", "--at", "0s")
    assert "paper.db" in shell.run("journal", "info")
    shell.run("journal", "verify")
    assert "No bot runs" in shell.run("plan", code=2)


def test_the_doctor_and_the_examination_look_at_a_gateway(shell: Shell) -> None:
    assert "Healthy" in shell.run("doctor")
    lines = shell.run("status", code=1).splitlines()
    gateway = next(line.split()[-1] for line in lines if line.startswith("Gateway"))
    assert "holds" in shell.run("conformance", gateway)


def test_a_journal_s_second_writer_is_told_who_has_it(shell: Shell) -> None:
    bot = shell.start("paper", "--plain", "--log", "первый.log")
    log = shell.folder / "первый.log"
    try:
        until(lambda: log.exists() and "[SYNC]" in log.read_text("utf-8"), LONG_SEC)
        said = shell.run("paper", "--plain", code=2)
        assert "is being written by trueup paper (process " in said
        assert "Errno" not in said
        # Another program reads the log, and the bot goes on.
        with log.open(encoding="utf-8") as reader:
            assert "[JOURNAL]" in reader.read()
            assert bot.poll() is None
            # A bot that has just begun may not answer at once where the machine is busy.
            until(lambda: "work: bot, gateway" in shell.say("status"), LONG_SEC)
    finally:
        bot.kill()
        bot.communicate()


def test_keys_are_made_and_shown(shell: Shell) -> None:
    shell.run("keys", "new", "gateway", "--dir", ".")
    assert shell.run("keys", "show", "gateway.key").strip()


def test_the_file_of_a_task_and_the_lines_for_it_name_the_folder_whole(shell: Shell) -> None:
    said = shell.run("gateway", "install", "--", "--port", "5600")
    path = str(shell.folder / "trueup-gateway.xml")
    assert f'schtasks /Create /TN "trueup-gateway" /XML "{path}" /F' in said
    task = (shell.folder / "trueup-gateway.xml").read_text("utf-16")
    assert str(shell.folder) in task
    missing = shell.folder / "нет" / "такой"
    said = shell.run("gateway", "install", "--folder", str(missing), code=2)
    assert f"--folder='{missing}' is not valid" in said


def test_a_simulated_run_and_a_drill_keep_their_promises(shell: Shell) -> None:
    shell.run("sim", "--seed", "7")
    assert "Books agree after 1 of 1 kills" in shell.run("drill", "--rounds", "1")


@pytest.mark.parametrize("command", ["approve", "settle", "rebind"])
def test_what_a_person_says_to_a_bot_needs_one(shell: Shell, command: str) -> None:
    arguments = {"approve": ["x"], "settle": ["ORD_1", "--never-executed", "--yes"]}
    said = shell.run(command, *arguments.get(command, ["--yes"]), code=2)
    assert "No bot runs" in said


def test_each_command_has_a_page_and_the_launcher_works(shell: Shell) -> None:
    exe = Path(sys.executable).parent / "Scripts" / "trueup.exe"
    if not exe.exists():
        exe = Path(sys.executable).parent / "trueup.exe"
    done = subprocess.run([exe, "--help"], capture_output=True, check=True)
    for command in app.registered_commands:
        assert str(command.name) in done.stdout.decode("utf-8")


CRASHES = """
import os
from trueup.cli.gateway.crashes import end_without_a_dialog
end_without_a_dialog()
os.abort()
"""
CHILD_S_MODE = """
import subprocess, sys
from trueup.cli.gateway.crashes import end_without_a_dialog
end_without_a_dialog()
said = "import ctypes, sys; sys.exit(ctypes.windll.kernel32.GetErrorMode())"
sys.exit(subprocess.call([sys.executable, "-c", said]))
"""


def status_of(code: str, shell: Shell) -> int:
    """Run a program, and return its exit status."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=shell.environment, timeout=LONG_SEC).returncode


def test_a_process_that_aborts_ends_at_once_and_shows_no_dialog(shell: Shell) -> None:
    assert status_of(CRASHES, shell) != 0


def test_a_child_of_such_a_process_shows_no_dialog_either(shell: Shell) -> None:
    """The gateway's worker is a child."""
    inherited = status_of(CHILD_S_MODE, shell)
    assert inherited == SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX
