"""Plan for the open files and sockets of many accounts before the first of them is opened.

A connection is a socket of ZeroMQ and two open files. An account has a connection for readings, one
for hints and one that renews its claim; with a strategy also those for prices, orders and questions
about them. A journal in a file has its file, its log and its index, which its accounts share, and a
lock for each account.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from trueup.doors.accounts.entry import AccountEntry
from trueup.errors import SettingsError
from trueup.gateway.access.descriptors import raise_files
from trueup.gateway.client.zmq_link import make_room
from trueup.journal.backends.location import is_file

CONNECTIONS: Final = 3
CONNECTIONS_OF_STRATEGY: Final = 3
FILES_OF_CONNECTION: Final = 2
# While it connects, a connection has a monitor of its failures: two more sockets, and their files.
SOCKETS_OF_CONNECTION: Final = 3
FILES_OF_JOURNAL, FILES_OF_STREAM = 3, 1
# Logs, the port of the commands, and the monitors and commands of some accounts at a time.
OTHER_FILES: Final = 512
OTHER_SOCKETS: Final = 128
# Accounts that are added while the process runs find this share more.
SPARE: Final = 0.25


class Room(NamedTuple):
    """How many open files and sockets there are, or are needed."""

    files: int
    sockets: int

    def has_room_for(self, needed: Room) -> bool:
        """Return whether there are as many as are needed."""
        return self.files >= needed.files and self.sockets >= needed.sockets


def needed_by(entries: Iterable[AccountEntry]) -> Room:
    """Return what these accounts need together."""
    files, sockets = OTHER_FILES, OTHER_SOCKETS
    journals: set[str] = set()
    for entry in entries:
        settings = entry.settings
        connections = CONNECTIONS + CONNECTIONS_OF_STRATEGY * bool(settings.trueup_strategy)
        files += connections * FILES_OF_CONNECTION
        sockets += connections * SOCKETS_OF_CONNECTION
        if settings.trueup_journal and is_file(settings.trueup_journal):
            files += FILES_OF_STREAM
            journals.add(os.path.realpath(settings.trueup_journal))
    return Room(files + FILES_OF_JOURNAL * len(journals), sockets)


def make_room_for(entries: Iterable[AccountEntry]) -> Room:
    """Raise the limits of this process for these accounts and some more; return the limits.

    Only before the first connection of this process.

    Raises:
        SettingsError: the system allows fewer; the message has the number that is needed.
    """
    needed = needed_by(entries)
    wanted = Room(round(needed.files * (1 + SPARE)), round(needed.sockets * (1 + SPARE)))
    room = Room(raise_files(wanted.files), make_room(wanted.sockets))
    if not room.has_room_for(needed):
        raise too_small(room, needed)
    return room


def too_small(room: Room, needed: Room) -> SettingsError:
    """Return the error for accounts that need more than there is."""
    if room.files < needed.files:
        valid = (
            f"the accounts need {needed.files} open files; allow them with `ulimit -Hn "
            f"{needed.files}` as root, LimitNOFILE={needed.files} in a unit of systemd, or run "
            "fewer accounts in a process"
        )
        return SettingsError("ulimit -Hn", str(room.files), valid)
    valid = f"the accounts need {needed.sockets} sockets: run fewer accounts in a process"
    return SettingsError("sockets of ZeroMQ", str(room.sockets), valid)
