"""State files where others have them open: Windows neither replaces nor removes such a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.cli.bot_world import FACTS, BotWorld
from tests.support.servers import ZmqServer, until
from trueup.core.dates import iso
from trueup.core.scope import Scope
from trueup.errors import NotSent, OutcomeUnknown, SettingsError, TrueupError
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.server.sockets import Server, anybody
from trueup.runtime.control import state_files as whereabouts
from trueup.runtime.control.bots import ENDED, Bot, noted_bots
from trueup.runtime.control.listener import ANY_PORT, Control, forget_dead, listening
from trueup.runtime.control.state_files import (
    StateFile,
    answers,
    ask_process,
    listens,
    short_path,
    state_folder,
)
from trueup.runtime.time.clock import ManualClock

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
        # Beside one that cannot be read, every other is looked at.
        StateFile("bot-0.json", Bot).path.write_text("{")
        forget_dead()
        assert live.read() is not None
        assert not dead.path.exists()
        # A file that cannot be read names no bot to ask.
        assert unread.path.exists()
    finally:
        server.close()


# A process is asked over a real socket.


def test_a_process_is_asked_and_its_answer_read() -> None:
    with ZmqServer(lambda _: b'{"ok":true,"pid":7}') as server:
        endpoint = f"tcp://127.0.0.1:{server.port}"
        command = {"command": "approve", "id": "x", "lots": 0.1}
        assert ask_process(endpoint, command, 5_000, "It") == {"ok": True, "pid": 7}
        assert [json.loads(message) for message in server.seen] == [command]
        assert answers(endpoint, 7, 5_000)
        assert json.loads(server.seen[-1]) == {"command": "hello"}
        assert not answers(endpoint, 8, 5_000)
    assert not answers(endpoint, 7, 5_000)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (None, "The bot gave no answer within 50 ms."),
        (b"[]", "The bot gave an answer that cannot be read: "),
        (b"\xff", "The bot gave an answer that cannot be read: "),
    ],
)
def test_an_answer_that_does_not_come_or_is_none(reply: bytes | None, words: str) -> None:
    with ZmqServer(lambda _: reply) as server:
        endpoint = f"tcp://127.0.0.1:{server.port}"
        with pytest.raises(OutcomeUnknown) as unknown:
            ask_process(endpoint, {"command": "x"}, 50 if reply is None else 5_000, "The bot")
        assert str(unknown.value).startswith(words)
        assert not answers(endpoint, 7, 50 if reply is None else 5_000)


@pytest.mark.parametrize("endpoint", ["", "tcp://127.0.0.1:port", "tcp://127.0.0.1:0"])
def test_a_port_that_is_none_takes_no_connection(endpoint: str) -> None:
    assert not listens(endpoint, 50)


def test_a_command_names_the_field_that_cannot_be_written() -> None:
    with pytest.raises(NotSent) as nan:
        ask_process("tcp://127.0.0.1:1", {"command": "x", "lots": float("nan")}, 1, "It")
    assert str(nan.value) == "The command cannot be written: lots is nan."


def test_a_state_file_is_removed_by_its_own_process_alone(file: StateFile[State]) -> None:
    file.remove(1)
    file.write(State(1))
    file.remove(2)
    assert file.read() == State(1)
    assert file.path.name == file.name == "state.json"
    # The draft took its place.
    assert [path.name for path in file.path.parent.iterdir()] == ["state.json"]


def test_a_state_file_in_use_is_not_waited_for_while_the_bot_trades(
    file: StateFile[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(State(1))
    with monkeypatch.context() as patch:
        in_use(patch, "replace", 1)
        file.refresh(State(2))
    assert file.read() == State(1)
    file.refresh(State(2))
    assert file.read() == State(2)


def test_the_state_folder_is_named_by_its_variable_and_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", "")
    assert state_folder() == Path(".trueup")
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "new"))
    assert state_folder() == tmp_path / "new"
    (tmp_path / "new").write_bytes(b"")
    with pytest.raises(SettingsError) as refused:
        state_folder()
    assert str(refused.value) == (
        f"TRUEUP_HOME='{tmp_path / 'new'}' is not valid: it is no folder; give one that is there, "
        "or that can be made."
    )
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "a" / "b") == Path("a/b")
    assert short_path(tmp_path.parent) == tmp_path.parent


# The end that a bot listens at.


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    world = BotWorld()
    with listening(world.loop, world.second, FACTS) as made:
        yield made


@pytest.fixture
def ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    """The same, for a test that closes it."""
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    world = BotWorld()
    return Control(world.loop, world.second, FACTS)


def test_a_bot_is_found_by_its_file_and_notes_when_it_took_a_turn(control: Control) -> None:
    (bot,) = noted_bots()
    assert bot == control.bot
    assert (bot.pid, bot.symbol, bot.started) == (4711, "EURUSD", FACTS.started)
    assert (bot.alive, bot.asked, bot.ended, bot.account) == (None, None, None, "")
    assert bot.control == control._server.endpoint
    assert bot.scope == control._loop.reconciler.scope
    clock = cast(ManualClock, control._loop.pm.clock)
    control.turn()
    (present,) = noted_bots()
    as_of_ns = control._loop.pm.as_of_ns
    assert as_of_ns is not None
    assert (present.alive, present.asked) == (iso(clock.now_ns()), iso(as_of_ns))
    # Written every ten seconds, however often the loop turns.
    clock.advance(9.9)
    control.turn()
    assert noted_bots() == [present]
    clock.advance(0.1)
    control.turn()
    (later,) = noted_bots()
    assert later.alive == iso(clock.now_ns())
    assert control.status().pid == 4711


def test_a_bot_that_ends_in_order_leaves_a_note_and_no_file(ending: Control) -> None:
    ending.close()
    assert noted_bots() == []
    ended = ENDED.read()
    assert ended is not None
    assert ended.ended == ended.alive == iso(ending._loop.pm.clock.now_ns())
    assert ended.control == ending.bot.control


@pytest.mark.parametrize("error", [OSError("full"), SettingsError("TRUEUP_HOME", "x", "none")])
def test_a_folder_that_cannot_be_read_or_written_stops_no_bot(
    ending: Control, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("trueup.runtime.control.listener.noted_bots", fails)
        ending.turn()
        patch.setattr(StateFile, "write", fails)
        ending.close()
    assert noted_bots() == []


def test_the_other_bots_of_a_folder_at_the_same_gateway_are_noted(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = {1, 2, 3}
    monkeypatch.setattr("trueup.runtime.control.listener.is_alive", alive.__contains__)
    own = control.bot

    def beside(pid: int, **fields: Any) -> None:
        other = msgspec.structs.replace(own, pid=pid, scope=Scope(f"run{pid}"), **fields)
        StateFile(f"bot-{pid}.json", Bot).write(other)

    beside(1)
    beside(2, endpoint="tcp://elsewhere:1")
    beside(4)
    StateFile("bot-3.json", Bot).write(msgspec.structs.replace(own, pid=3, scope=None))
    assert [scope.run for scope in control._beside()] == ["run1"]


def test_a_bot_that_cannot_be_reached_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path))
    world = BotWorld()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateFile, "write", fails)
    with (
        pytest.raises(TrueupError) as refused,
        listening(world.loop, world.second, FACTS),
    ):
        pass
    assert str(refused.value).startswith("A second shell could not reach this bot: ")
    assert "o space left on device" in str(refused.value)


def test_a_waiting_command_is_answered_in_a_turn_and_in_a_rest(control: Control) -> None:
    for serve in (control.turn, control.answer):
        link = ZmqLink(control.bot.control)
        link.send(b'{"command":"hello"}', 5_000)

        def answered(serve: Callable[[], None] = serve, link: ZmqLink = link) -> bool:
            serve()
            return link.receive(0) is not None

        until(answered)
        link.close()
