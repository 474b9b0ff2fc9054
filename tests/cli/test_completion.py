"""`-h` is `--help` everywhere, and real shells complete commands, options and values."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.test_exit_codes import EVERY_COMMAND
from tests.support.pseudo_terminal import ON_POSIX, PseudoTerminal, terminal
from trueup.cli import app
from trueup.cli.shared.completion import VARIABLE, Shell

TAB = "\t"
PROMPT = "READY>"
# How each shell starts without a user's files, and with our script.
STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(trueup completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$(trueup completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "trueup completion fish | source"),
}


@pytest.mark.parametrize("names", EVERY_COMMAND, ids=" ".join)
def test_h_is_help_in_every_command(names: tuple[str, ...]) -> None:
    short, long = (CliRunner().invoke(app, [*names, option]) for option in ("-h", "--help"))
    assert (short.exit_code, short.stdout) == (0, long.stdout)
    assert "-h, --help" in short.stdout


@pytest.mark.parametrize("shell", Shell)
def test_each_shell_has_a_script(shell: Shell) -> None:
    done = CliRunner().invoke(app, ["completion", shell.value])
    assert done.exit_code == 0
    assert f"complete_{shell.value}" in done.stdout
    assert VARIABLE in done.stdout


def asked(words: str, position: int, folder: Path, *program: str) -> list[str]:
    """Return the answer to bash for a line of words, by the protocol that its script uses."""
    done = subprocess.run(
        [sys.executable, *(program or ("-m", "trueup"))],
        cwd=folder,
        env={
            **os.environ,
            VARIABLE: "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "position", "fits"),
    [
        ("trueup jo", 1, ["journal"]),
        ("trueup trade ", 2, ["list", "open", "close", "partial", "modify"]),
        ("trueup journal verify --js", 3, ["--json"]),
        ("trueup paper --adopt ", 3, ["ours", "all", "ask"]),
        ("trueup trade open s", 3, ["sell"]),
        ("trueup --v", 1, ["--version"]),
        ("trueup nonsense --", 2, []),
    ],
)
def test_what_fits_is_answered(words: str, position: int, fits: list[str], tmp_path: Path) -> None:
    assert [word for word in asked(words, position, tmp_path) if word in fits] == fits
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_commands_imports_none(tmp_path: Path) -> None:
    """A person waits for the answer at each Tab."""
    heavy = {"pydantic", "zmq", "sqlite3", "trueup.runtime", "trueup.cli.operate.bot"}
    program = (
        "import sys\n"
        "from trueup.__main__ import main\n"
        "try: main()\n"
        f"except SystemExit: print(sorted({heavy} & {{*sys.modules}}))"
    )
    assert asked("trueup ", 1, tmp_path, "-c", program)[-1] == "[]"


def press(shell: PseudoTerminal, keys: str, shows: str, after: int) -> int:
    """Press keys and Tab, wait for a text, and clear the line."""
    shell.type(keys + TAB)
    place = shell.wait_for(shows, after=after)
    shell.type("\x15")
    return place


@ON_POSIX
@pytest.mark.parametrize("name", STARTS)
def test_a_real_shell_completes_at_tab(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    words, script = STARTS[name]
    scripts = Path(sys.executable).parent
    environment = {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PS1": "$ ",
    }
    with terminal(words, tmp_path, environment) as shell:
        # Shown only by the command itself, since the shell echoes the line with the quotes.
        shell.type(f"{script}\necho REA''DY\n")
        place = shell.wait_for("READY")
        place = press(shell, "trueup jour", "trueup journal", place)
        place = press(shell, "trueup journal ver", "journal verify", place)
        press(shell, "trueup journal verify --js", "verify --json", place)
