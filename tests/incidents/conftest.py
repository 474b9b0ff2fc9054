"""Stages for incidents: a journal in a file, and a journal in PostgreSQL.

Beside each run a page, and `trueup alerts`, whose messages a test receives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.journal.conftest import postgres_server as postgres_server
from tests.journal.postgres_server import PostgresServer
from tests.page.folder import Reader
from tests.support import forked
from tests.support.receivers import Received, http_receiver
from trueup.lab.incidents import stage as stage_module
from trueup.lab.incidents.database_way import Way
from trueup.lab.incidents.stage import Stage
from trueup.lab.processes.children import Child
from trueup.setting_places import TOML_FILE

INTERVAL_SEC = 0.3
ALERTS_LOG = "alerts.log"
# What a bot settles within one reading or two is nothing to tell.
ALERTS = """\
trueup_alerts_to = ["{url}"]
trueup_alerts_after_sec = 1
trueup_alerts_calm_sec = 0.5
trueup_alerts_hourly = 1000
"""


class Part(Child):
    """A part of a stage, forked from a process that has its modules imported."""

    def _start(
        self, words: list[str], folder: Path, variables: dict[str, str], out: IO[bytes]
    ) -> tuple[Any, IO[bytes]]:
        theirs, ours = os.pipe()
        started = forked.start(
            words, cwd=folder, env=variables, stdin=theirs, stdout=out, stderr=out
        )
        os.close(theirs)
        return started, os.fdopen(ours, "wb")


class Stages:
    """A stage that incidents share; one on which an incident failed is not used again."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._stages: dict[str, tuple[Stage, Received]] = {}
        self._pages: dict[Stage, Reader] = {}
        self._receivers = ExitStack()

    @contextmanager
    def one(self, server: PostgresServer | None) -> Iterator[tuple[Stage, Received]]:
        """Give a stage with its journal in a file or a database, and what its alerts tell."""
        kind = "file" if server is None else "database"
        if kind not in self._stages:
            way = Way(server.new_database()) if server is not None else None
            stage = Stage(self._folders.mktemp(kind), way, INTERVAL_SEC)
            phone = self._receivers.enter_context(http_receiver())
            self._stages[kind] = stage, phone
            with (stage.folder / TOML_FILE).open("a", encoding="utf-8") as file:
                file.write(ALERTS.format(url=phone.url))
            stage.begin()
            stage.start(ALERTS_LOG, "alerts").wait_for("Alerts go to 1 receiver")
        try:
            yield self._stages[kind]
        except BaseException:
            self._end(kind)
            raise
        if server is not None:
            # One incident needs a database, and the parts of a stage are busy all the time.
            self._end(kind)

    def page_of(self, stage: Stage) -> Reader:
        """Return a reader of the page of a stage, which runs beside all its incidents."""
        if stage not in self._pages:
            page = stage.start("page.log", "page", "--port", "0")
            page.wait_for("Sign in: ")
            address, _, token = page.text().partition("Sign in: ")[2].partition("/sign-in?token=")
            self._pages[stage] = Reader(address, token.split()[0])
        return self._pages[stage]

    def close(self) -> None:
        """End the parts of all stages."""
        for kind in list(self._stages):
            self._end(kind)
        self._receivers.close()

    def _end(self, kind: str) -> None:
        stage, _ = self._stages.pop(kind)
        stage.close()
        self._pages.pop(stage, None)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module, "Child", Part)
        made = Stages(tmp_path_factory)
        yield made
        made.close()
