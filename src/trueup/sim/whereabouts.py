"""Where the running terminal of this folder is, so that a second shell finds it.

A small file in the state folder (`.trueup` in the current folder, or TRUEUP_HOME) says so. It is
never believed by itself: a process that was killed leaves it behind, and its numbers may belong to
others by now. So whoever reads it asks the terminal, and takes silence for absence.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from trueup.errors import NotSent, OutcomeUnknown
from trueup.gateway.zmq_link import ZmqLink

STATE_FILE = "terminal.json"
ASK_TIMEOUT_MS = 1_000
COMMAND_TIMEOUT_MS = 10_000


class Whereabouts(msgspec.Struct, frozen=True):
    """A terminal process: its endpoints for bots and for a person, and what it simulates."""

    pid: int
    gateway: str
    person: str
    account: str
    symbol: str
    started: str

    @property
    def port(self) -> int:
        """The TCP port for bots."""
        return int(self.gateway.rpartition(":")[2])


def state_folder() -> Path:
    """Return the folder for what trueup keeps between two commands; it need not exist."""
    return Path(os.environ.get("TRUEUP_HOME") or ".trueup")


def write_state(whereabouts: Whereabouts) -> None:
    """Say where this process is; another reader sees the whole file or none.

    Raises:
        OSError: the state folder cannot be written.
    """
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{STATE_FILE}.{whereabouts.pid}"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(whereabouts)) + b"\n")
    draft.replace(folder / STATE_FILE)


def read_state() -> Whereabouts | None:
    """Return what the state file says, or None without a readable one."""
    try:
        return msgspec.json.decode((state_folder() / STATE_FILE).read_bytes(), type=Whereabouts)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def remove_state(pid: int) -> None:
    """Remove the state file if it is still about this process."""
    state = read_state()
    if state is not None and state.pid == pid:
        (state_folder() / STATE_FILE).unlink(missing_ok=True)


def find_terminal() -> Whereabouts | None:
    """Return the terminal of this folder if it answers by itself, else None."""
    state = read_state()
    if state is None or not _listens(state.person):
        return None
    try:
        answer = ask(state, {"command": "hello"}, ASK_TIMEOUT_MS)
    except (NotSent, OutcomeUnknown):
        return None
    return state if answer.get("pid") == state.pid else None


def _listens(endpoint: str) -> bool:
    """Whether a loopback port takes connections; a dead one refuses at once."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), ASK_TIMEOUT_MS / 1000).close()
    except (OSError, ValueError):
        return False
    return True


def ask(
    whereabouts: Whereabouts, command: Mapping[str, Any], timeout_ms: int = COMMAND_TIMEOUT_MS
) -> dict[str, Any]:
    """Give the terminal a person's command and return its answer.

    Raises:
        NotSent: nobody listens; the command did nothing.
        OutcomeUnknown: it was sent and no usable answer came.
    """
    link = ZmqLink(whereabouts.person)
    try:
        link.send(msgspec.json.encode(command), timeout_ms)
        reply = link.receive(timeout_ms)
    finally:
        link.close()
    if reply is None:
        raise OutcomeUnknown(f"The terminal gave no answer within {timeout_ms} ms.")
    try:
        return msgspec.json.decode(reply, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OutcomeUnknown(f"The terminal's answer cannot be read: {error}.") from error
