"""Who may use a gateway: a file of public keys, one client a line, read again when it changes.

    # name    roles   accounts            public key
    bot1      trade   5012345             rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
    screen    read    *                   Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID  # office

Roles are `read` and `trade`; who may trade may read. Accounts are logins, separated by commas, or
`*` for any. A line that begins with # is a comment, and so is what follows the key and a #.

An edit counts from the next request on: every request asks here, and a changed file is read again.
A file that cannot be read or understood, or is gone, changes nothing: what it said before stays in
force, and the log says so. To let nobody in, leave a file that has comments only.
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
# Two edits within one step of the file system's clock look like one, so a file that changed so
# lately is read again, whatever its date says. Where dates are whole seconds, the steps may be two
# of them (FAT); elsewhere they are those of the system's clock.
_SECOND_NS: Final = 1_000_000_000
_COARSE_STEP_NS: Final = 2 * _SECOND_NS
_FINE_STEP_NS: Final = 50_000_000
_LOGIN_DIGITS_MAX: Final = 19
_FILE_BYTES_MAX: Final = 1_048_576

Signature = tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """One line: who has the key, and what it opens. `accounts` are logins; None is any."""

    name: str
    key: str
    may_trade: bool
    accounts: frozenset[int] | None

    @property
    def role(self) -> str:
        """The most that the key may do."""
        return ROLES[self.may_trade]

    def may_see(self, login: int) -> bool:
        """Return whether the key may know what happens on an account."""
        return self.accounts is None or login in self.accounts


ANYBODY: Final = Access("", "", may_trade=True, accounts=None)
"""Whoever asks where no keys are asked for."""
NOBODY: Final = Access("", "", may_trade=False, accounts=frozenset())
"""Whose key is in no line, or no longer."""


def parse_allowed(text: str, source: str) -> dict[str, Access]:
    """Return who may come in, by public key.

    Raises:
        KeysError: a line cannot be used; the message names `source`, the line and what is right.
    """
    allowed: dict[str, Access] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            access = _parse(fields)
            for what, value in (("name", access.name), ("key", access.key)):
                first = lines.setdefault((what, value), number)
                if first != number:
                    raise ValueError(f"this {what} is in line {first} too: give each once")
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
        # Not quoted: it may be somebody's secret in the wrong place, or the half of one.
        raise ValueError(
            f"the key, of {len(text)} characters, is no public key: give the {KEY_CHARS} "
            "characters that `trueup keys show NAME` prints"
        )
    return text


class _Empty(KeysError):
    """The file has no text in it."""


class AllowFile:
    """The file as it is now; safe to share between threads.

    Args:
        path: the file.
        now_ns: nanoseconds of UTC since 1970, the clock that files are dated by.

    Raises:
        KeysError: it cannot be used; at the start there is nothing to fall back on.
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
        """Return what the file says of a public key by now, or None if it has no such line."""
        with self._lock:
            self._keep_up()
            return self._allowed.get(key)

    def revision(self) -> int:
        """Return how often what the file says has changed by now."""
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
        """Read the file again if it may have changed; what it said is kept until it is good."""
        found = self._look()
        signature = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
        if signature == self._signature and self._is_settled:
            return
        # Noted before it is read: an edit in between makes it look changed the next time.
        self._signature, self._is_settled = signature, self._is_old(found.st_mtime_ns)
        text = _read(self.path)
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
        """Return whether an edit from now on would give the file another date."""
        step_ns = _FINE_STEP_NS if changed_ns % _SECOND_NS else _COARSE_STEP_NS
        return abs(self.now_ns() - changed_ns) > step_ns

    def _complain(self, what: str) -> None:
        # Once for each state of the file, however often it is asked.
        if (self._signature, what) != self._complaint:
            self._complaint = (self._signature, what)
            log.warning("[ACCESS] %s What it said before stays in force.", what)


def _read(path: Path) -> str:
    try:
        # Whoever is taken out of it must not keep it from being read by opening connections.
        with spare(), path.open("rb") as file:
            if MODES_ARE_CHECKED:
                _check_mode(path, stat.S_IMODE(os.fstat(file.fileno()).st_mode))
            text = file.read(_FILE_BYTES_MAX).decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError:
        raise KeysError(f"{path} is not text: save it as UTF-8.") from None
    if not text.strip():
        # Half of an edit, as likely as not.
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
