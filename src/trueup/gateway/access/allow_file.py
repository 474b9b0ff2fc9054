"""The allow file: lists the clients that may use a gateway, and is read again when it changes.

    # name    roles   accounts            public key
    bot1      trade   5012345             rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
    screen    read    *                   Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID  # office

Roles are `read` and `trade`; `trade` includes `read`. Accounts are logins, separated by commas, or
`*` for any account. A line that begins with # is a comment. Text after the key must begin with #.

An edit takes effect with the next request: every request is checked against the file, and a changed
file is read again. When the file is missing or cannot be parsed, the last valid version stays in
force and the log names the problem. To lock out all clients, leave a file with comments only.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trueup.errors import KeysError
from trueup.gateway.access.descriptors import spare
from trueup.gateway.access.keys import KEY_CHARS, MODES_ARE_CHECKED, NAME_RULE, is_key, is_name
from trueup.logs import Logger, logger

log: Logger = logger("trueup.access")

ROLES: Final = ("read", "trade")
FIELDS: Final = "NAME ROLES ACCOUNTS PUBLIC-KEY"
# Two edits within one step of the file system's clock leave the same modification time. So a file
# that changed less than one step ago is read again even if its modification time is the same. A
# time in whole seconds may come from FAT, whose step is two seconds; other file systems use the
# step of the system clock.
_SECOND_NS: Final = 1_000_000_000
_COARSE_STEP_NS: Final = 2 * _SECOND_NS
_FINE_STEP_NS: Final = 50_000_000
_LOGIN_DIGITS_MAX: Final = 19
_FILE_BYTES_MAX: Final = 1_048_576

Signature = tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """One line of the allow file: a client's name, key and rights; `accounts` None means any."""

    name: str
    key: str
    may_trade: bool
    accounts: frozenset[int] | None

    @property
    def role(self) -> str:
        """The highest role of this key."""
        return ROLES[self.may_trade]

    def may_see(self, login: int) -> bool:
        """Return whether this key may see data about the account `login`."""
        return self.accounts is None or login in self.accounts


FULL_ACCESS: Final = Access("", "", may_trade=True, accounts=None)
"""The rights of every client of a gateway that requires no keys."""
NO_ACCESS: Final = Access("", "", may_trade=False, accounts=frozenset())
"""The rights of a key that is not in the allow file, or no longer."""


def parse_allowed(text: str, source: str) -> dict[str, Access]:
    """Parse the text of an allow file; return the rights by public key.

    Raises:
        KeysError: a line is not valid; the message names `source`, the line and the valid form.
    """
    allowed: dict[str, Access] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            access = _parse(fields)
            # A second line for a name or a key would leave open which line applies.
            for kind, value in (("name", access.name), ("key", access.key)):
                first = lines.setdefault((kind, value), number)
                if first != number:
                    raise ValueError(f"this {kind} is in line {first} too: give each once")
        except ValueError as error:
            raise KeysError(f"{source}, line {number}: {error}.") from None
        allowed[access.key] = access
    return allowed


def _parse(fields: list[str]) -> Access:
    if len(fields) < 4:
        raise ValueError(f"{len(fields)} of 4 fields: write {FIELDS}")
    name, roles, accounts, key, *rest = fields
    if rest and not rest[0].startswith("#"):
        raise ValueError(f"{len(fields)} fields: write {FIELDS}, lists without spaces")
    if not is_name(name):
        raise ValueError(f"name {name!r:.80} is not valid: {NAME_RULE}")
    return Access(name, _key(key), "trade" in _roles(roles), _accounts(accounts))


def _roles(text: str) -> list[str]:
    roles = text.split(",")
    for role in roles:
        if role not in ROLES:
            raise ValueError(f"role {role!r:.40} is not known: give read or trade")
    return roles


def _accounts(text: str) -> frozenset[int] | None:
    if text == "*":
        return None
    logins = text.split(",")
    for login in logins:
        if not (login.isascii() and login.isdigit() and len(login) <= _LOGIN_DIGITS_MAX):
            raise ValueError(
                f"account {login!r:.40} is no login: give numbers separated by commas, or *"
            )
    return frozenset(map(int, logins))


def _key(text: str) -> str:
    if not is_key(text):
        # Do not print the text: it may be a secret key in the wrong place, or half of a key.
        raise ValueError(
            f"the key, of {len(text)} characters, is no public key: give the {KEY_CHARS} "
            "characters that `trueup keys show NAME` prints"
        )
    return text


class _Empty(KeysError):
    """The file has no text in it."""


class AllowFile:
    """The current content of an allow file; thread-safe.

    Args:
        path: the file.
        now_ns: nanoseconds of UTC since 1970, the clock of file modification times.

    Raises:
        KeysError: the file cannot be used. At the start there is no earlier version to keep.
    """

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        self._name = str(path)
        self.now_ns: Callable[[], int] = now_ns
        self.path: Path = path
        self._lock = threading.Lock()
        self._revision = 0
        self._complaint: tuple[Signature, str] | None = None
        self._signature: Signature = ()
        self._is_settled = False
        self._text = _read(path)
        self._allowed = parse_allowed(self._text, str(path))

    def find(self, key: str) -> Access | None:
        """Return the current rights of a public key, or None if the file does not list the key."""
        with self._lock:
            self._keep_up()
            return self._allowed.get(key)

    def revision(self) -> int:
        """Return how many times the content has changed; reads a changed file first."""
        with self._lock:
            self._keep_up()
            return self._revision

    def __len__(self) -> int:
        return len(self._allowed)

    def _keep_up(self) -> None:
        try:
            self._refresh()
        except _Empty as error:
            # Most programs empty a file before they write it: only a file that stays empty is
            # worth a line. Until it is settled, every question reads it again.
            if self._is_settled:
                self._complain(str(error))
        except KeysError as error:
            self._complain(str(error))

    def _refresh(self) -> None:
        """Read the file again if it may have changed; keep the last valid version on failure."""
        found = self._look()
        signature = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
        if signature == self._signature and self._is_settled:
            return
        # Store the signature before reading: an edit between the two then counts as a change.
        self._signature, self._is_settled = signature, self._is_old(found.st_mtime_ns)
        text = _read(self.path)
        # A file that was invalid before is parsed again, so that its repair is logged.
        if text == self._text and not self._complaint:
            return
        allowed = parse_allowed(text, str(self.path))
        self._text, self._allowed, self._complaint = text, allowed, None
        self._revision += 1
        log.info("[ACCESS] %s was read again: %d clients", self.path, len(allowed))

    def _look(self) -> os.stat_result:
        try:
            return os.stat(self._name)
        except OSError as error:
            self._signature = ()
            raise _unreadable(self.path, error) from error

    def _is_old(self, changed_ns: int) -> bool:
        """Return whether a new edit would give the file a different modification time."""
        step_ns = _FINE_STEP_NS if changed_ns % _SECOND_NS else _COARSE_STEP_NS
        return abs(self.now_ns() - changed_ns) > step_ns

    def _complain(self, problem: str) -> None:
        # Log once for each state of the file, because every request comes through here.
        if (self._signature, problem) != self._complaint:
            self._complaint = (self._signature, problem)
            log.warning("[ACCESS] %s The last valid version stays in force.", problem)


def _read(path: Path) -> str:
    try:
        # A client that was just removed from the file must not block this read by holding all
        # file descriptors with open connections.
        with spare(), path.open("rb") as file:
            if MODES_ARE_CHECKED:
                _check_mode(path, stat.S_IMODE(os.fstat(file.fileno()).st_mode))
            text = file.read(_FILE_BYTES_MAX).decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError:
        raise KeysError(f"{path} is not text: save it as UTF-8.") from None
    if not text.strip():
        # An editor may have truncated the file and not written the new text yet.
        raise _Empty(f"{path} is empty: write {FIELDS}, or a comment to let nobody in.")
    return text


def _check_mode(path: Path, mode: int) -> None:
    if mode & 0o022:
        raise KeysError(
            f"{path} says who may trade and others on this machine can write it (mode {mode:04o}): "
            f"run `chmod go-w {path}`."
        )


def _unreadable(path: Path, error: OSError) -> KeysError:
    because = (error.strerror or str(error)).lower()
    return KeysError(f"{path} cannot be read ({because}): give a file with lines of {FIELDS}.")
