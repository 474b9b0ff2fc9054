"""Find the programs that call `trueup.mt5` in a folder: each has a journal, and takes no commands.

Each book has a state file, which stays when its program has ended: the journal is read then, too.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import msgspec

from trueup.errors import SettingsError
from trueup.logs import Logger, logger
from trueup.processes import is_alive
from trueup.runtime.control.state_files import StateFile, state_folder

log: Logger = logger("trueup.mt5")

JOURNAL_FILE = "mt5.db"
"""The journal of programs that name none, in the state folder."""


class Program(msgspec.Struct, frozen=True):
    """The content of a program's state file.

    `name` is the script, `started` an ISO 8601 time, `account` login@server, and `stream` the
    program's book in the journal. `journal_file` is the path of a SQLite journal, empty with a
    server's journal, whose URL may have a password.
    """

    pid: int
    name: str
    started: str
    account: str
    stream: str
    journal_file: str = ""

    @property
    def is_running(self) -> bool:
        """Whether a process with this number runs."""
        return is_alive(self.pid)


def note_program(program: Program) -> None:
    """Write the state file of a program; a folder that cannot be written is only logged."""
    book = f"{program.journal_file}\n{program.stream}"
    name = f"mt5-{hashlib.sha256(book.encode()).hexdigest()[:8]}.json"
    try:
        StateFile(name, Program).write(program)
    except (OSError, SettingsError) as error:
        log.warning("[MT5] `trueup status` will not find this program: %s", error)


def noted_programs() -> list[Program]:
    """Return the programs of this folder, also ended ones; the last started comes first."""
    files = [StateFile(path.name, Program) for path in state_folder().glob("mt5-*.json")]
    found = [program for program in (file.read() for file in files) if program is not None]
    return sorted(found, key=lambda one: (one.is_running, one.started, one.pid), reverse=True)


def running_program(file: str, stream: str | None) -> Program | None:
    """Return the running program that writes a journal, or a stream of it; None without one."""
    for program in noted_programs():
        if program.is_running and program.journal_file == file and stream in (None, program.stream):
            return program
    return None


def journal_of_programs(*, running: bool = False) -> Path | None:
    """Return the journal of the program that runs, or of the one that ran last; None without one.

    Args:
        running: whether a program that has ended does not count.
    """
    for program in noted_programs():
        place = Path(program.journal_file)
        if program.journal_file and place.exists() and (program.is_running or not running):
            return place
    with contextlib.suppress(OSError):
        unnoted = state_folder() / JOURNAL_FILE
        if not running and unnoted.exists():
            return unnoted
    return None
