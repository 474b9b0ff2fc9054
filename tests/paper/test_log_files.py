"""The log file: it begins anew at its size, and loses nothing where it cannot be renamed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trueup.observe import log

LINES = 40


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(log, "FILE_BYTES_MAX", 400)
    path = tmp_path / "bot.log"
    log.set_up_logging(console=False, file=path)
    yield path
    log.set_up_logging(console=False)


def say(first: int, last: int) -> None:
    for number in range(first, last):
        logging.getLogger("trueup.x").info("line %03d", number)


def said(path: Path) -> list[int]:
    """The numbers of the lines in a file."""
    return [int(line[-3:]) for line in path.read_text("utf-8").splitlines()]


def test_a_full_log_file_begins_anew_and_so_many_older_ones_are_kept(file: Path) -> None:
    say(0, LINES)
    older = [file.with_name(f"bot.log.{number}") for number in range(log.FILES_KEPT, 0, -1)]
    assert sorted(file.parent.iterdir()) == sorted([file, *older])
    lines = [number for path in (*older, file) for number in said(path)]
    assert lines == list(range(lines[0], LINES))
    assert all(path.stat().st_size <= log.FILE_BYTES_MAX for path in (file, *older))


def test_a_log_file_that_somebody_reads_on_windows_goes_on_and_costs_no_older_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(0, LINES)
    kept = {path: said(path) for path in file.parent.iterdir() if path != file}
    before = said(file)
    with monkeypatch.context() as held:
        for name in ("rename", "replace"):
            held.setattr(os, name, _unless_of(file, getattr(os, name)))
        say(LINES, 2 * LINES)
        assert said(file) == [*before, *range(LINES, 2 * LINES)]
        assert {path: said(path) for path in kept} == kept
    say(2 * LINES, 2 * LINES + 1)
    assert said(file) == [2 * LINES]
    assert said(file.with_name("bot.log.1")) == [*before, *range(LINES, 2 * LINES)]


def _unless_of(file: Path, rename: Any) -> Any:
    """What Windows answers to whoever renames a file that another program has open."""

    def refusing(source: Any, target: Any) -> None:
        if Path(source) == file:
            raise PermissionError(13, "The process cannot access the file", str(source))
        rename(source, target)

    return refusing


READER = """
import sys
with open(sys.argv[1], encoding="utf-8") as file:
    print(file.readline(), flush=True)
    sys.stdin.read()
"""


def test_a_log_file_that_another_program_reads_loses_no_line(file: Path) -> None:
    """On Windows the file cannot be renamed meanwhile; it is as soon as that program lets go."""
    say(0, 3)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert b"line 000" in reader.stdout.readline()
        # More than one file takes, and less than those that are kept.
        say(3, 20)
        assert _all_said(file) == [*range(20)]
        if sys.platform == "win32":
            assert [*file.parent.iterdir()] == [file]
    say(20, 21)
    assert _all_said(file) == [*range(21)]
    assert file.with_name("bot.log.1").exists()
    assert said(file)[-1] == 20


def _all_said(file: Path) -> list[int]:
    """The numbers of the lines in a file and in the older ones, the oldest first."""
    older = [file.with_name(f"bot.log.{number}") for number in range(log.FILES_KEPT, 0, -1)]
    return [number for path in (*older, file) if path.exists() for number in said(path)]
