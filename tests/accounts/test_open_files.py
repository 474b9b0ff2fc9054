"""The open files of `trueup run --accounts`, as the system counts them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.accounts.test_accounts_soak import Soaked
from tests.support.forking import needs_proc, opened
from trueup.doors.accounts.file import read_accounts
from trueup.doors.accounts.room import needed_by


@needs_proc
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [10, 50])
def test_all_books_in_a_file_share_it_and_each_has_one_open_file_more(
    tmp_path: Path, count: int
) -> None:
    with Soaked(tmp_path, count, 0.5, "books.db") as accounts:
        accounts.sync(3 * count)
        assert accounts.waiting() == {}
        names = opened(accounts.process.child.pid)
        needed = needed_by(read_accounts(tmp_path / "accounts.toml").entries)
    kinds = Counter(Path(name).suffix for name in names if "books.db" in name)
    assert kinds == {".db": 1, ".db-wal": 1, ".db-shm": 1, ".lock": count}
    # Nothing else grows by more than was planned for.
    assert len(names) <= needed.files
