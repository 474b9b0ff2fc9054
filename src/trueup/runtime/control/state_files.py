"""Where a running process of this folder is, so that a second shell finds it.

A process that takes a person's commands says so in a small file in the state folder (`.trueup` in
the current folder, or TRUEUP_HOME). The file is never believed by itself: a process that was killed
leaves it behind, and its numbers may belong to others by now. So whoever reads it asks the process,
and takes silence for absence.
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
    """What a state file has at least."""

    @property
    def pid(self) -> int:
        """The process."""


State = TypeVar("State", bound=Located)

HOME_VARIABLE = "TRUEUP_HOME"
# A state file is read in well under a millisecond; a virus scanner takes longer.
REPLACE_PAUSES_SEC = (0.01, 0.04, 0.2, 0.5)


def state_folder() -> Path:
    """Return the folder for what trueup keeps between two commands; it need not exist.

    Raises:
        SettingsError: something else than a folder has its name.
    """
    folder = Path(os.environ.get(HOME_VARIABLE) or ".trueup")
    # Asked once: another process may make it at this very moment.
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            valid = "it is no folder; give one that is there, or that can be made"
            raise SettingsError(HOME_VARIABLE, str(folder), valid)
    return folder


class StateFile(Generic[State]):
    """One state file, by its name in the state folder, and what it holds."""

    def __init__(self, name: str, kind: type[State]) -> None:
        self._kind = kind
        self.name: str = name

    @property
    def path(self) -> Path:
        """Where it is now."""
        return state_folder() / self.name

    def write(self, state: State) -> None:
        """Say where this process is; another reader sees the whole file or none.

        Raises:
            OSError: the state folder cannot be written.
        """
        make_private_folder(self.path.parent)
        draft = self.path.with_name(f"{self.name}.{state.pid}")
        make_private(draft)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
        _replace(draft, self.path)

    def read(self) -> State | None:
        """Return what the file says, or None without a readable one."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def remove(self, pid: int) -> None:
        """Remove the file if it is still about this process."""
        state = self.read()
        if state is not None and state.pid == pid:
            # Windows removes no file that is being read; left behind, it is not believed.
            with contextlib.suppress(PermissionError):
                self.path.unlink(missing_ok=True)


def _replace(draft: Path, path: Path) -> None:
    """Put a file in another's place; Windows refuses while a reader or a scanner has that open."""
    for pause_sec in REPLACE_PAUSES_SEC:
        try:
            draft.replace(path)
        except PermissionError:
            threading.Event().wait(pause_sec)
        else:
            return
    draft.replace(path)


def listens(endpoint: str, timeout_ms: int) -> bool:
    """Return whether a loopback port takes connections; a dead one refuses at once."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((bare(host), int(port)), timeout_ms / 1000).close()
    except (OSError, ValueError):
        return False
    return True


def ask_process(
    endpoint: str, command: Mapping[str, Any], timeout_ms: int, whom: str
) -> dict[str, Any]:
    """Give a process a person's command and return its answer; `whom` is what errors call it.

    Raises:
        NotSent: nobody listens, or the command cannot be written; it did nothing.
        OutcomeUnknown: it was sent and no usable answer came.
    """
    # Imported here: a command that finds nobody to ask does not need ZeroMQ, nor its import time.
    from trueup.gateway.client.zmq_link import ZmqLink

    link = ZmqLink(endpoint)
    try:
        link.send(_written(command), timeout_ms)
        reply = link.receive(timeout_ms)
    finally:
        link.close()
    if reply is None:
        raise OutcomeUnknown(f"{whom} gave no answer within {timeout_ms} ms.")
    try:
        return msgspec.json.decode(reply, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OutcomeUnknown(f"{whom} gave an answer that cannot be read: {error}.") from error


def _written(command: Mapping[str, Any]) -> bytes:
    for name, value in command.items():
        # JSON has no such number; it would come as one that was left out.
        if isinstance(value, float) and not math.isfinite(value):
            raise NotSent(f"The command cannot be written: {name} is {value}.")
    try:
        return msgspec.json.encode(command)
    except UnicodeEncodeError as error:
        # An argument that was no text, as a shell passes it on.
        raise NotSent(f"The command cannot be written: {error}.") from error


def answers(endpoint: str, pid: int, timeout_ms: int) -> bool:
    """Return whether the process itself answers there, and not another program."""
    if not listens(endpoint, timeout_ms):
        return False
    try:
        answer = ask_process(endpoint, {"command": "hello"}, timeout_ms, "It")
    except (NotSent, OutcomeUnknown):
        return False
    return answer.get("pid") == pid
