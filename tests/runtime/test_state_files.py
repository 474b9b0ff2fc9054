"""State files where others have them open: Windows neither replaces nor removes such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from trueup.runtime.control import state_files as whereabouts
from trueup.runtime.control.state_files import StateFile

IN_USE = PermissionError(13, "The process cannot access the file")


class State(msgspec.Struct, frozen=True):
    """The least that a state file says."""

    pid: int


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFile[State]:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    monkeypatch.setattr(whereabouts, "REPLACE_PAUSES_SEC", (0, 0, 0))
    return StateFile("state.json", State)


def in_use(monkeypatch: pytest.MonkeyPatch, method: str, times: int) -> None:
    """Let another program have the file open for the next so many attempts."""
    real, left = getattr(Path, method), [IN_USE] * times

    def attempt(self: Path, *arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, method, attempt)


def test_a_state_file_that_is_being_read_is_replaced_when_the_reader_is_done(
    file: StateFile[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(State(1))
    in_use(monkeypatch, "replace", 3)
    file.write(State(2))
    assert file.read() == State(2)


def test_a_state_file_that_stays_in_use_is_an_error_and_stays_as_it_was(
    file: StateFile[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(State(1))
    in_use(monkeypatch, "replace", 4)
    with pytest.raises(PermissionError):
        file.write(State(2))
    assert file.read() == State(1)


def test_a_state_file_that_is_being_read_at_the_end_is_left_behind(
    file: StateFile[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(State(1))
    in_use(monkeypatch, "unlink", 1)
    file.remove(1)
    assert file.read() == State(1)
    file.remove(1)
    assert file.read() is None
