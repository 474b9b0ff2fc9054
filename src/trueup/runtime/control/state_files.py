"""State files: the addresses of the running processes of a folder, and how to ask a process.

A process that takes commands writes its address to a small file in the state folder (`.trueup` in
the current folder, or TRUEUP_HOME). The file alone proves nothing: a killed process leaves its file
behind, and its process number or port may belong to another program by now. So a reader asks the
process itself, and treats a missing answer as a process that does not run.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from trueup.errors import NotSent, OutcomeUnknown, SettingsError
from trueup.gateway.client.endpoints import bare
from trueup.private import make_private, make_private_folder


class Located(Protocol):
    """The least that a state file has."""

    @property
    def pid(self) -> int:
        """The process."""


State = TypeVar("State", bound=Located)

HOME_VARIABLE = "TRUEUP_HOME"
# To read a state file takes well under a millisecond; a virus scanner takes longer.
REPLACE_PAUSES_SEC = (0.01, 0.04, 0.2, 0.5)


def state_folder() -> Path:
    """Return the folder for files between two commands; the folder need not exist.

    Raises:
        SettingsError: the path exists and is not a folder.
    """
    folder = Path(os.environ.get(HOME_VARIABLE) or ".trueup")
    # A single call, since another process may create the folder at this moment.
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            valid = "it is no folder; give one that is there, or that can be made"
            raise SettingsError(HOME_VARIABLE, str(folder), valid)
    return folder


def short_path(path: Path) -> Path:
    """Return a path relative to the current folder if possible, for printing."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class StateFile(Generic[State]):
    """A state file: its name in the state folder, and the type of its content."""

    def __init__(self, name: str, kind: type[State]) -> None:
        self._kind = kind
        self.name: str = name

    @property
    def path(self) -> Path:
        """The file's path."""
        return state_folder() / self.name

    def write(self, state: State) -> None:
        """Write this process's state; a reader sees either the whole file or no file.

        Raises:
            OSError: the state folder cannot be written.
        """
        make_private_folder(self.path.parent)
        _replace(self._draft(state), self.path)

    def refresh(self, state: State) -> None:
        """Write this process's state again, unless another program has the file open just now.

        Raises:
            OSError: the state folder cannot be written.
        """
        draft = self._draft(state)
        # Only Windows refuses; the loop of a bot must not wait, and the next time is soon.
        with contextlib.suppress(PermissionError):
            draft.replace(self.path)

    def _draft(self, state: State) -> Path:
        draft = self.path.with_name(f"{self.name}.{state.pid}")
        make_private(draft)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
        return draft

    def read(self) -> State | None:
        """Return the content, or None if the file is missing or unreadable."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def remove(self, pid: int) -> None:
        """Remove the file if it still belongs to this process."""
        state = self.read()
        if state is not None and state.pid == pid:
            # Windows cannot remove a file that is being read; a file left behind does no harm.
            with contextlib.suppress(PermissionError):
                self.path.unlink(missing_ok=True)


def _replace(draft: Path, path: Path) -> None:
    """Replace a file; retry, since Windows refuses while another program has the file open."""
    for pause_sec in REPLACE_PAUSES_SEC:
        try:
            draft.replace(path)
        except PermissionError:
            threading.Event().wait(pause_sec)
        else:
            return
    draft.replace(path)


def listens(endpoint: str, timeout_ms: int) -> bool:
    """Return whether a loopback port accepts connections; a closed port refuses at once."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((bare(host), int(port)), timeout_ms / 1000).close()
    except (OSError, ValueError):
        return False
    return True


def ask_process(
    endpoint: str, command: Mapping[str, Any], timeout_ms: int, whom: str
) -> dict[str, Any]:
    """Send a command to a process and return the answer; `whom` is its name in error messages.

    Raises:
        NotSent: no process listens, or the command cannot be encoded; the command had no effect.
        OutcomeUnknown: the command was sent and no usable answer came.
    """
    # Imported here: a command that finds no running process does not need ZeroMQ's import time.
    from trueup.gateway.client.zmq_link import ZmqLink

    link = ZmqLink(endpoint)
    try:
        link.send(_written(command), timeout_ms)
        reply = link.receive(timeout_ms)
    finally:
        link.close()
    if reply is None:
        raise OutcomeUnknown(f"{whom} gave no answer within {timeout_ms} ms.")
    # Another program may have the port by now, and answer anything.
    try:
        return msgspec.json.decode(reply, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OutcomeUnknown(f"{whom} gave an answer that cannot be read: {error}.") from error


def _written(command: Mapping[str, Any]) -> bytes:
    for name, value in command.items():
        # JSON has no such number; the process would read null, as for a missing field.
        if isinstance(value, float) and not math.isfinite(value):
            raise NotSent(f"The command cannot be written: {name} is {value}.")
    try:
        return msgspec.json.encode(command)
    except UnicodeEncodeError as error:
        # A shell argument that is not valid text.
        raise NotSent(f"The command cannot be written: {error}.") from error


def answers(endpoint: str, pid: int, timeout_ms: int) -> bool:
    """Return whether the process itself answers at the endpoint, and not another program."""
    if not listens(endpoint, timeout_ms):
        return False
    try:
        answer = ask_process(endpoint, {"command": "hello"}, timeout_ms, "It")
    except (NotSent, OutcomeUnknown):
        return False
    return answer.get("pid") == pid
