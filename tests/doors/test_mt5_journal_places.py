"""A journal of a program behind the door, by every spelling of a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from trueup.doors.mt5.streams import refuse_unusable
from trueup.errors import JournalError

pytest.importorskip("psycopg")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_does_not_answer_is_named_by_every_spelling(scheme: str) -> None:
    with pytest.raises(JournalError) as refused:
        refuse_unusable(f"{scheme}://nobody@127.0.0.1:1/books")
    assert "folder" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)


def test_a_file_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no folder"):
        refuse_unusable(tmp_path / "nowhere" / "bot.db")
    refuse_unusable(tmp_path / "bot.db")
    assert not list(tmp_path.iterdir())
