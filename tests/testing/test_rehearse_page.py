"""The page about rehearsals is executed as it stands: its files, its tests, its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.crash_world import environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating" / "rehearse.md").read_text(encoding="utf-8")
SCRIPTS = Path(sysconfig.get_path("scripts"))
FILES = dict(re.findall(r'```python title="([\w.]+)"\n(.*?)```', PAGE, re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
SAYS = {
    "python -m pytest -q": r"6 passed",
    "trueup sim --strategy my_bot:Breakout --seeds 0..20": r"20 runs, 0 of them broke a promise",
    "trueup sim --strategy my_bot:Breakout --seed 7 --trace": r"The run is over\.",
    "trueup sim --strategy my_bot:Breakout --seed 7 --html run.html": r"every promise was kept",
    "trueup sim --strategy my_bot:Breakout --seed 7 --shrink --html run.html": r"Nothing to shrink",
    "trueup drill --rounds 2 --seed 7": r"Books agree after 2 of 2 kills",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files."""
    made = tmp_path_factory.mktemp("rehearsal")
    for name, text in FILES.items():
        (made / name).write_text(text, encoding="utf-8")
    (made / "home").mkdir()
    return made


def test_the_page_has_what_is_executed() -> None:
    assert set(FILES) == {"my_bot.py", "conftest.py", "test_my_bot.py", "test_my_reading.py"}
    assert set(COMMANDS) == set(SAYS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_says_what_the_page_promises(command: str, folder: Path) -> None:
    program, *arguments = shlex.split(command)
    # The command as it is installed, which has no folder on its path that `python -m` would have.
    found = sys.executable if program == "python" else SCRIPTS / program
    done = subprocess.run(
        [found, *arguments],
        cwd=folder,
        env=environment(folder / "home"),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(SAYS[command], done.stdout), done.stdout[-3000:]
    assert "run.html" not in command or (folder / "run.html").stat().st_size > 1_000
