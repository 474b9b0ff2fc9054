"""A page of the documentation whose console block is executed as a user would execute it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.crash_world import environment

SCRIPTS = Path(sysconfig.get_path("scripts"))
DEADLINE_SEC = 110.0


def check_console(page: str, folder: Path) -> None:
    """Write the page's files into a folder, give its commands there, and compare what they print.

    The page has one console block. A line that begins with "$ " is a command; `export` sets a
    variable for the commands that follow. The other lines are printed by the command above them,
    and "..." in such a line stands for any text. No terminal is left behind.
    """
    for name, text in re.findall(r'```\w+ title="([\w.]+)"\n(.*?)```', page, re.DOTALL):
        (folder / name).write_text(text, encoding="utf-8")
    env = environment(folder / ".trueup")
    # As for a user: the state folder is the one of the current folder.
    del env["TRUEUP_HOME"]
    for command, printed in _steps(page):
        program, *words = shlex.split(command)
        if program == "export":
            assert not printed, (command, printed)
            name, _, value = words[0].partition("=")
            env[name] = value
            continue
        found = sys.executable if program == "python" else str(SCRIPTS / program)
        done = subprocess.run(
            [found, *words],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=DEADLINE_SEC,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout.splitlines()
        for line in printed:
            pattern = ".*".join(map(re.escape, line.split("...")))
            assert any(re.fullmatch(pattern, one) for one in said), (line, said)
    assert not (folder / ".trueup" / "terminal.json").exists()


def _steps(page: str) -> list[tuple[str, list[str]]]:
    """Each command of the page, with the lines that it prints."""
    (console,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    steps: list[tuple[str, list[str]]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps
