"""The log file: it begins anew at its size, and loses nothing where it cannot be renamed."""

from __future__ import annotations

import logging
import os
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
