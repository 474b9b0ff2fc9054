"""The files of a gateway's record of requests: one file per account, independent of the port.

If files were named after a port or a terminal, a restarted gateway could use another file, and an
id that was executed already would be executed again. Only the terminal knows its account, so the
file is opened once the terminal names the account, and no order is sent before that.

An id names a single request on all accounts together. So the ids in the other files of the folder
are known too, with their accounts, and such a request is never executed here. Until the account is
known these ids are all that is known: an order with one of them is answered UNKNOWN.

Earlier releases named files by port. The newest such file without requests of another account is
renamed to the account's name.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from trueup.core.gateway_record import BookAsked, RecordMark
from trueup.gateway.record.account_lock import AccountLock
from trueup.gateway.record.store import (
    APPLICATION_ID,
    ELSEWHERE,
    UNOPENED,
    ClaimRow,
    Entry,
    FenceRow,
    RequestStore,
    StoreTrouble,
)
from trueup.logs import Logger, logger
from trueup.sqlite_file import connected, error_code

log: Logger = logger("trueup.record")

_NAMED_BY_PORT = re.compile(r"requests-\d+\.db", re.ASCII)
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_NOT_OPEN = (
    "The terminal has not said yet which account it has, and the record of requests is that of an "
    "account."
)

Account = tuple[int, str]
"""Login and server."""


class AccountRecords:
    """The record of requests of the account that is served now.

    Only the thread that calls the terminal may call `serve`; all other methods are thread-safe.

    Args:
        folder: the folder of the files.
        boot: the name of this run of the gateway.
        now_ns: nanoseconds of UTC since 1970.
        file: a single file for all accounts instead, which is opened at once.
        login: the only account that is ever served; None for any.

    Raises:
        StoreRefused: the file is in use, or is not a record of requests.
    """

    def __init__(
        self,
        folder: Path,
        boot: str,
        now_ns: Callable[[], int],
        *,
        file: Path | None = None,
        login: int | None = None,
    ) -> None:
        self._folder, self._boot, self._now_ns = folder, boot, now_ns
        self._login, self._file = login, file
        self._locks: dict[Account, AccountLock] = {}
        # Replaced as a whole, because other threads read it; the current account is first.
        self._open: tuple[tuple[Path, RequestStore], ...] = ()
        self._elsewhere: dict[Path, dict[str, Account]] = {}
        if file is not None:
            self._open = ((file, RequestStore(file, boot, now_ns)),)
            log.info("[RECORD] Each order is recorded in %s before it is sent", file)
        else:
            self._elsewhere = dict(self._others())

    @property
    def is_durable(self) -> bool:
        """Always True: the rows are in files."""
        return True

    @property
    def awaits_account(self) -> bool:
        """Whether the terminal has not named its account yet."""
        return not self._locks

    def serve(self, login: int, server: str) -> bool:
        """Serve an account from now on; return whether its record was opened by this call.

        Raises:
            StoreRefused: another process serves the account, or uses its file.
            StoreTrouble: the file cannot be opened now.
        """
        account = login, server
        if self._login not in (None, login):
            return False
        if account not in self._locks:
            lock = AccountLock(self._path(account, "lock"), f"{login}@{server}")
            # Release the lock if the file cannot be opened, so that another process can serve.
            with ExitStack() as undo:
                undo.callback(lock.release)
                self._begin(account)
                undo.pop_all()
            self._locks[account] = lock
            return True
        path = self._file or self._path(account, "db")
        if self._open[0][0] != path:
            self._open = (*sorted(self._open, key=lambda store: store[0] != path),)
        return False

    def may_have_more(self, login: int, server: str) -> bool:
        """Return whether an account may have requests that `find` does not see: an unread file.

        Once this gateway serves an account of its own, a file in use by another is not counted.
        """
        path = self._path((login, server), "db")
        if self._file is not None or not path.exists():
            return False
        try:
            with closing(_opened(path)) as connection:
                connection.execute("SELECT order_id FROM requests LIMIT 1").fetchone()
        except (sqlite3.Error, _NotOurs) as error:
            return not (self._open and _is_in_use(error))
        return False

    def mark(self) -> RecordMark:
        """Return the id of the current record, and the last request in it."""
        return self._current.mark()

    def covers(self, mark: RecordMark) -> bool:
        """Return whether the record has every request since `mark`."""
        return any(store.covers(mark) for store in self._stores())

    def find(self, order_id: str) -> Entry | None:
        """Return the entry of a request, or None."""
        # In this order: when a file is opened its ids leave `_elsewhere` afterwards.
        elsewhere, stores = self._elsewhere, self._stores()
        for store in stores:
            found = store.find(order_id)
            if found is not None:
                return found
        for ids in elsewhere.values():
            if order_id in ids:
                return self._entry_elsewhere(order_id, *ids[order_id])
        return None

    def unsettled(self) -> list[Entry]:
        """Return the account's requests without a known outcome, oldest first."""
        return self._current.unsettled() if self._open else []

    def since(self, came_ns: int) -> list[Entry]:
        """Return the account's requests that arrived at or after a time, oldest first."""
        return self._current.since(came_ns) if self._open else []

    def sent_by(
        self, login: int, server: str, asked: BookAsked, most: int
    ) -> tuple[int, list[Entry]]:
        """Return the number of a book's requests since its mark, and the newest, oldest first."""
        return self._current.sent_by(login, server, asked, most)

    def with_key(self, login: int, server: str, stream: str, key: str) -> list[Entry]:
        """Return the requests of an account that a book sent under one key, oldest first."""
        return self._current.with_key(login, server, stream, key)

    def add(self, entry: Entry) -> bool:
        """Write a new request to disk; return False, with nothing written, for a known id.

        Raises:
            StoreTrouble: the request could not be written and is not in the record.
        """
        return self._current.add(entry)

    def end(self, order_id: str, state: str, reply: bytes) -> None:
        """Write the outcome of a request: state `settled`, or `unknown` if it is not final.

        Raises:
            StoreTrouble: the outcome could not be written; the record is unchanged.
        """
        stores = self._stores()
        holder = stores[0]
        if len(stores) > 1:
            holder = next((store for store in stores if store.find(order_id)), holder)
        holder.end(order_id, state, reply)

    def claims(self, login: int, server: str) -> list[ClaimRow]:
        """Return the claims of the served account, oldest first."""
        return self._current.claims(login, server)

    def keep_claims(
        self, login: int, server: str, kept: Sequence[ClaimRow], dropped: Sequence[str] = ()
    ) -> None:
        """Write new and changed claims of the served account, and delete others, all or nothing.

        Raises:
            StoreTrouble: the claims could not be written; the record is unchanged.
        """
        self._current.keep_claims(login, server, kept, dropped)

    def fence(self, login: int, server: str, journal: str) -> FenceRow:
        """Return the fence of a journal in the served account; token 0 if none was recorded."""
        return self._current.fence(login, server, journal)

    def keep_fence(self, login: int, server: str, journal: str, fence: FenceRow) -> None:
        """Write the fence of a journal to disk; a recorded token never becomes smaller.

        Raises:
            StoreTrouble: the fence could not be written; the record is unchanged.
        """
        self._current.keep_fence(login, server, journal, fence)

    def drop_old(self) -> int:
        """Delete the requests that are past their retention; return their number."""
        return sum(store.drop_old() for store in self._stores())

    def close(self) -> None:
        """Close the files and release the accounts; a second call does nothing."""
        for store in self._stores():
            store.close()
        for lock in self._locks.values():
            lock.release()
        self._locks = {}

    @property
    def _current(self) -> RequestStore:
        if not self._open:
            raise StoreTrouble(_NOT_OPEN)
        return self._open[0][1]

    def _stores(self) -> tuple[RequestStore, ...]:
        return tuple(store for _, store in self._open)

    def _path(self, account: Account, kind: str) -> Path:
        return self._folder / f"requests-{name_of(*account)}.{kind}"

    def _begin(self, account: Account) -> None:
        """Open an account's file, create it, or rename a file of an earlier release."""
        if self._file is not None:
            return
        path = self._path(account, "db")
        if not path.exists():
            self._take_over(path, account)
        # Two records that are created in the same run need different ids.
        store = RequestStore(path, f"{self._boot}.{len(self._open) + 1}", self._now_ns)
        self._open = ((path, store), *self._open)
        # Read the other files again: another gateway may have written to them and ended since.
        self._elsewhere = dict(self._others())
        log.info("[RECORD] Each order on %d@%s is recorded in %s before it is sent", *account, path)

    def _others(self) -> Iterator[tuple[Path, dict[str, Account]]]:
        """Yield the ids in the folder's other files, except files in use by other processes."""
        mine = {path for path, _ in self._open}
        for path in sorted(self._folder.glob("requests-*.db")):
            if path not in mine:
                ids = _ids_in(path)
                if ids:
                    yield path, ids

    def _take_over(self, path: Path, account: Account) -> None:
        """Rename a file that was named by port to the account's name, if it is this account's."""
        for earlier in sorted(self._folder.glob("requests-*.db"), key=_age):
            if _NAMED_BY_PORT.fullmatch(earlier.name) and _is_all_of(earlier, account):
                _rename(earlier, path)
                return

    def _entry_elsewhere(self, order_id: str, login: int, server: str) -> Entry:
        state = ELSEWHERE if self._open else UNOPENED
        return Entry(order_id, login, server, b"{}", None, None, "", 0, state, ended_ns=0)


def name_of(login: int, server: str) -> str:
    """Return an account as part of a file name: login@server, with unsafe characters replaced."""
    if _SAFE.fullmatch(server):
        return f"{login}@{server}"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", server, flags=re.ASCII)[:32]
    return f"{login}@{plain}-{hashlib.sha256(server.encode()).hexdigest()[:8]}"


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def _ids_in(path: Path) -> dict[str, Account]:
    """Return the ids in a record file that no process has in use, with their accounts."""
    try:
        with closing(_opened(path)) as connection:
            rows = connection.execute("SELECT order_id, login, server FROM requests").fetchall()
    except (sqlite3.Error, _NotOurs) as error:
        _tell(path, error)
        return {}
    return {order_id: (login, server) for order_id, login, server in rows}


def _is_all_of(path: Path, account: Account) -> bool:
    """Return whether a file has requests of this account only; also merges its log into it."""
    query = "SELECT DISTINCT login, server FROM requests WHERE login != 0"
    try:
        with closing(_opened(path)) as connection:
            if set(connection.execute(query)) - {account}:
                return False
            return _merge_log(connection)
    except (sqlite3.Error, _NotOurs) as error:
        _tell(path, error)
        return False


def move_record(earlier: Path, path: Path) -> None:
    """Rename a record of requests, with all that is in its log.

    Raises:
        StoreTrouble: the file is in use, is no record, or cannot be renamed.
    """
    try:
        with closing(_opened(earlier)) as connection:
            why = "" if _merge_log(connection) else "another process has it in use"
    except (sqlite3.Error, _NotOurs) as error:
        why = str(error)
    if why:
        raise StoreTrouble(f"{earlier} cannot be renamed to {path.name} ({why}).")
    _rename(earlier, path)


def _merge_log(connection: sqlite3.Connection) -> bool:
    """Merge the write-ahead log, which has a name of its own and would not be renamed."""
    (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    return bool(mode == "delete")


def _rename(earlier: Path, path: Path) -> None:
    try:
        os.replace(earlier, path)
    except OSError as error:
        why = f"{earlier} cannot be renamed to {path.name} ({error.strerror})."
        raise StoreTrouble(why) from error
    log.warning("[RECORD] %s is %s from now on", earlier, path.name)


class _NotOurs(Exception):
    """The file is a database of another program."""


def _opened(path: Path) -> sqlite3.Connection:
    connection = connected(path, 0)
    with ExitStack() as undo:
        undo.callback(connection.close)
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise _NotOurs("it is a database of something else")
        undo.pop_all()
    return connection


def _tell(path: Path, error: Exception) -> None:
    # A file in use belongs to another account, whose gateway is running.
    if not _is_in_use(error):
        log.warning("[RECORD] %s cannot be read, and is left alone: %s", path, error)


def _is_in_use(error: Exception) -> bool:
    return error_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def data_folder() -> Path:
    """Return the folder where programs of this user keep their data."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "trueup"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "trueup"
    return Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "trueup"
