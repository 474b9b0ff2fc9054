"""State files where others have them open: Windows neither replaces nor removes such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from trueup.errors import NotSent
from trueup.gateway.server.sockets import Server, anybody
from trueup.runtime.control import state_files as whereabouts
from trueup.runtime.control.bots import Bot
from trueup.runtime.control.listener import ANY_PORT, forget_dead
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\udc80"])
def test_a_command_that_json_cannot_carry_is_not_sent_and_says_why(value: Any) -> None:
    """JSON would carry such a number as null, which reads as a missing field."""
    with pytest.raises(NotSent, match=r"^The command cannot be written: "):
        whereabouts.ask_process("tcp://127.0.0.1:1", {"command": "x", "id": value}, 1, "It")


def test_only_files_of_bots_that_have_ended_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    server = Server(ANY_PORT, anybody(lambda _: b"{}"))
    dead, unread = StateFile("bot-1.json", Bot), StateFile("bot-3.json", Bot)
    live = StateFile("bot-2.json", Bot)
    try:
        live.write(Bot(2, server.endpoint, "EURUSD", "2026-01-05"))
        ended = Server(ANY_PORT, anybody(lambda _: b"{}"))
        dead.write(Bot(1, ended.endpoint, "EURUSD", "2026-01-05"))
        ended.close()
        unread.path.write_text("{")
        forget_dead()
        assert live.read() is not None
        assert not dead.path.exists()
        # A file that cannot be read names no bot to ask.
        assert unread.path.exists()
    finally:
        server.close()
