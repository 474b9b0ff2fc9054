"""The log file begins anew at its size, whoever else reads or writes it, and loses nothing."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trueup.filelock import LockableFile
from trueup.observe import log

LINES = 40
ROOT = Path(__file__).resolve().parents[2]


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


def older(file: Path) -> list[Path]:
    """The older files that there are, the oldest first."""
    found = [path for path in file.parent.iterdir() if path.suffix[1:].isdigit()]
    return sorted(found, key=lambda path: -int(path.suffix[1:]))


def all_said(file: Path) -> list[int]:
    """The numbers of the lines in a file and in the older ones, the oldest first."""
    return [number for path in (*older(file), file) for number in said(path)]


def test_a_full_log_file_begins_anew_and_so_many_older_ones_are_kept(file: Path) -> None:
    say(0, LINES)
    assert [path.name for path in older(file)] == ["bot.log.3", "bot.log.2", "bot.log.1"]
    assert len(older(file)) == log.FILES_KEPT
    assert {path.name for path in file.parent.iterdir()} - {"bot.log", "bot.log.lock"} == {
        path.name for path in older(file)
    }
    lines = all_said(file)
    assert lines == list(range(lines[0], LINES))
    assert all(path.stat().st_size <= log.FILE_BYTES_MAX for path in (file, *older(file)))


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are the folder's")
def test_a_new_file_is_for_its_user_alone_too(file: Path) -> None:
    say(0, LINES)
    for path in (file, *older(file)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """What Windows answers to whoever renames a file that another program has open."""
    rename = os.replace

    def refusing(source: Any, target: Any) -> None:
        if path in (Path(source), Path(target)):
            raise PermissionError(13, "The process cannot access the file", str(source))
        rename(source, target)

    monkeypatch.setattr(os, "replace", refusing)


@pytest.mark.parametrize("name", ["bot.log", "bot.log.1", "bot.log.2", "bot.log.full"])
def test_a_file_that_somebody_reads_on_windows_is_copied(
    name: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, file.with_name(name))
    say(0, LINES)
    lines = all_said(file)
    assert lines == list(range(lines[0], LINES))
    assert len(lines) > LINES // 2
    assert len(older(file)) == log.FILES_KEPT
    assert all(path.stat().st_size <= log.FILE_BYTES_MAX for path in (file, *older(file)))


def test_where_no_new_file_can_be_begun_the_file_grows_and_no_line_is_lost(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(0, 12)
    kept = {path: said(path) for path in older(file)}
    tried = []

    def full(*_: Any) -> None:
        tried.append(file.stat().st_size)
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as broken:
        refuse(broken, file)
        broken.setattr(shutil, "copyfileobj", full)
        say(12, 60)
        assert all_said(file) == list(range(60))
        assert {path: said(path) for path in kept} == kept
        # Not at each line: a copy of a large file takes its time.
        line = len(file.read_bytes().splitlines(keepends=True)[0])
        assert all(later - size > line for size, later in itertools.pairwise(tried))
    say(60, 64)
    assert file.stat().st_size <= log.FILE_BYTES_MAX
    assert all_said(file) == list(range(64))


def test_while_another_process_begins_a_new_file_this_one_goes_on(file: Path) -> None:
    other = LockableFile(file.with_name("bot.log.lock"))
    other.lock()
    say(0, 20)
    assert said(file) == list(range(20))
    other.release()
    say(20, 30)
    assert all_said(file) == list(range(30))
    assert file.stat().st_size <= log.FILE_BYTES_MAX


def test_a_file_that_was_moved_away_is_begun_again(file: Path) -> None:
    """As by logrotate, or by a person."""
    say(0, 3)
    file.rename(file.with_name("kept.log"))
    say(3, 6)
    assert said(file) == [3, 4, 5]
    file.unlink()
    say(6, 7)
    assert said(file) == [6]


def test_lines_that_a_killed_process_had_put_aside_are_not_lost(file: Path) -> None:
    say(0, 3)
    file.rename(file.with_name("bot.log.full"))
    say(3, 20)
    assert all_said(file) == list(range(20))


READER = """
import sys
with open(sys.argv[1], encoding="utf-8") as file:
    print(file.readline(), flush=True)
    sys.stdin.read()
"""


def test_a_log_file_that_another_program_reads_begins_anew_all_the_same(file: Path) -> None:
    say(0, 3)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert b"line 000" in reader.stdout.readline()
        say(3, 25)
        assert all_said(file) == [*range(25)]
        assert file.stat().st_size <= log.FILE_BYTES_MAX


WRITER = """
import logging, sys
from pathlib import Path
from trueup.observe import log
log.FILE_BYTES_MAX, log.FILES_KEPT = 2_000, 1_000
log.set_up_logging(console=False, file=Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    logging.getLogger("trueup.x").info("%s-%04d", sys.argv[2], number)
log.set_up_logging(console=False)
"""


def test_several_processes_write_one_log_file_and_lose_nothing(tmp_path: Path) -> None:
    path, lines, names = tmp_path / "shared.log", 400, "abc"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, str(lines)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline().strip() == b"ready"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.wait(60) == 0
        for stream in (writer.stdin, writer.stdout):
            assert stream is not None
            stream.close()
    files = [*older(path), path]
    text = "".join(part.read_text("utf-8") for part in files)
    found = re.findall(r"([abc])-(\d{4})$", text, flags=re.MULTILINE)
    for name in names:
        assert sorted(int(number) for who, number in found if who == name) == list(range(lines))
    assert len(found) == text.count("\n")
    # While one of them begins a new file the others go on in the old one.
    assert len(files) > 3
