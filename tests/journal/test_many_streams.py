"""Many streams in one file: the time that it takes to find the lock of one."""

from __future__ import annotations

import sys
from pathlib import Path

from trueup.journal.backends.lockfile import lock_files


def test_the_lock_of_a_stream_is_found_without_a_step_for_each_other_stream(tmp_path: Path) -> None:
    """Each of a thousand streams in a file took twice the time of each of five hundred to open."""

    def steps(count: int) -> int:
        for number in range(count):
            (tmp_path / f"bot.db.other{number}.1.lock").touch()
        calls: list[str] = []

        def note(_frame: object, event: str, _argument: object) -> None:
            if event == "call":
                calls.append(event)

        sys.setprofile(note)
        try:
            found = lock_files(tmp_path / "bot.db", "mine")
        finally:
            sys.setprofile(None)
        assert list(found) == [4]
        return len(calls)

    for name in ("bot.db.mine.4.lock", "bot.db.mine.x.lock", "bot.db.minesweeper.5.lock"):
        (tmp_path / name).touch()
    # The first call of a process has more steps: patterns of names are compiled once.
    steps(1)
    assert steps(3) == steps(300)
