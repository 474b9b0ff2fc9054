"""Every incident of docs/operating/incidents.md, played with real processes.

The tests read only what the product says: logs, `trueup status`, `trueup doctor`, their exit codes,
and the messages of `trueup alerts`.
"""

from __future__ import annotations

import html
import os
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.incidents.alone import is_alerted, is_alerted_once
from tests.incidents.conftest import Stages
from tests.page.browser import PHONE, chromium, faults_in_both_schemes, overflow_of
from tests.page.folder import Reader
from tests.paper.deadline import wait_for
from tests.support.receivers import Received
from trueup.cli import app
from trueup.lab.incidents.incident import Incident, Sign, Where
from trueup.lab.incidents.stage import AGREES, OTHER_LOG, Stage
from trueup.lab.incidents.table import INCIDENTS
from trueup.lab.processes.children import OWN_SETTINGS

# An incident starts up to three processes, and waits for what they say.
pytestmark = pytest.mark.timeout(300)

GOOD, PERSON_NEEDED, DEGRADED = 0, 1, 2
NOTHING_TO_DO, RETRIES = "Nothing is yours to do.", "The bot retries by itself."
READS = "[SYNC] Starting full synchronization"
# What lasts until somebody acts, and tempts a bot to say in between that all is well.
LASTS = ("journal-locked", "disk-full", "database-down")
# A finding of the doctor, with the lines that belong to it.
FINDING = re.compile(r"^FAIL .*(?:\n +.*)*", re.MULTILINE)


# These are also seen in a browser, at the width of a phone.
IN_A_BROWSER = ("gateway-killed", "order-in-doubt", "bot-hung")
TONES = {GOOD: "ok", DEGRADED: "warn", PERSON_NEEDED: "bad"}
WORKS = re.compile(r"^Works +(.*(?:\n +.*)*)", re.MULTILINE)


class Page:
    """Somebody who has the page alone.

    Args:
        reader: reads the page.
        request: starts a browser where one is wanted.
    """

    def __init__(self, reader: Reader, request: pytest.FixtureRequest) -> None:
        self._reader, self._request = reader, request

    def says_it_alone(self, incident: Incident) -> None:
        """Wait until Now says what happened, what works, and what to do, as the status does."""
        signs = [sign for sign in incident.signs if sign.where is Where.STATUS]
        seen = [""]

        def is_there() -> bool:
            screen, seen[0] = self._reader.get("/")[1], self._text()
            # Of several bots the page shows the worst.
            works = [_flat(found) for found in WORKS.findall(_looks_at_status())]
            is_toned = f'<section class="now {TONES[signs[0].exit_code or 0]}">' in screen
            says = all(
                sign._replace(words=sign.words.removeprefix("NEEDS YOU ")).is_in(seen[0])
                for sign in signs
            )
            return is_toned and says and any(one in seen[0] for one in works)

        wait_for(is_there, lambda: f"{signs} and what works in\n{seen[0]}\n{_looks_at_status()}")
        # Nobody has to act without being told how.
        needs = "To do" in seen[0] or "To decide" in seen[0]
        assert needs is (signs[0].exit_code == PERSON_NEEDED), seen[0]
        if incident.name in IN_A_BROWSER and chromium() is not None:
            self._looks_good(self._request.getfixturevalue("browser"))

    def says_that_all_is_well(self) -> None:
        """Wait until Now is green again."""
        self._reader.wait_for("/", "<title>agrees · trueup</title>")

    def _text(self) -> str:
        main = self._reader.get("/")[1].partition("<main")[2].partition("</main>")[0]
        return _flat(html.unescape(re.sub(r"<[^>]*>", " ", main)))

    def _looks_good(self, browser: Any) -> None:
        width, height = PHONE
        context = browser.new_context(viewport={"width": width, "height": height})
        window = context.new_page()
        window.goto(f"{self._reader.address}/sign-in?token={self._reader.token}")
        heading = window.locator("section.now h1")

        def says_the_same() -> bool:
            # The sentence may change at any moment, in the browser a little later.
            found = re.findall(r"<h1>(.*?)</h1>", self._reader.get("/")[1])
            return bool(heading.inner_text() == html.unescape(found[0]))

        wait_for(says_the_same, heading.inner_text)
        assert faults_in_both_schemes(window) == []
        assert overflow_of(window) <= 0
        context.close()


def _flat(text: str) -> str:
    return " ".join(text.split())


def _looks_at_status() -> str:
    return CliRunner().invoke(app, ["status"]).stdout


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith(OWN_SETTINGS):
            monkeypatch.delenv(variable)


@pytest.mark.parametrize("incident", INCIDENTS, ids=[each.name for each in INCIDENTS])
def test_a_person_is_told(
    incident: Incident,
    stages: Stages,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if why := incident.impossible():
        pytest.skip(why)
    needed = request.getfixturevalue("postgres_server") if incident.needs_database else None
    with stages.one(needed) as (stage, phone):
        monkeypatch.chdir(stage.folder)
        phone.messages.clear()
        begun_at, clock = stage.bot.log.stat().st_size, f"{datetime.now(UTC):%H:%M:%S}"
        _is_told(incident, stage, phone, Page(stages.page_of(stage), request))
        is_alerted_once(incident, stage, phone, begun_at, clock)


def _is_told(incident: Incident, stage: Stage, phone: Received, page: Page) -> None:
    stage.bot.mark()
    stage.gateway.mark()
    with incident.play(stage):
        texts = _until_all_signs_are_there(stage, incident.signs)
        _says_what_to_do(texts[Where.STATUS], incident)
        page.says_it_alone(incident)
        is_alerted(incident, phone)
        for finding in FINDING.findall(texts.get(Where.DOCTOR, "")):
            assert re.search(r"^ +! ", finding, re.MULTILINE), f"no risk: {finding}"
            assert re.search(r"^ +-> ", finding, re.MULTILINE), f"no remedy: {finding}"
        if incident.name in LASTS:
            _reads_thrice_without_saying_that_all_is_well(stage)
    wait_for(lambda: _status()[1] == GOOD, lambda: _status()[0])
    assert NOTHING_TO_DO in _status()[0]
    page.says_that_all_is_well()


def test_the_names_of_incidents_differ() -> None:
    names = [incident.name for incident in INCIDENTS]
    assert len(set(names)) == len(names)


def _until_all_signs_are_there(stage: Stage, signs: tuple[Sign, ...]) -> dict[Where, str]:
    """Look until every sign is there; return what was said at each place.

    The alerts are looked at later: their messages stay.
    """
    signs = tuple(sign for sign in signs if sign.where is not Where.ALERT)
    texts: dict[Where, str] = {}
    missed: list[str] = []

    def are_there() -> bool:
        missed.clear()
        for where in dict.fromkeys(sign.where for sign in signs):
            texts[where], exit_code = _looks(stage, where)
            missed.extend(
                f"{sign} (exit code {exit_code})\n{texts[where][-4000:]}"
                for sign in signs
                if sign.where is where
                and not (sign.is_in(texts[where]) and sign.exit_code == exit_code)
            )
        return not missed

    wait_for(are_there, lambda: "\n".join(missed))
    return texts


def _looks(stage: Stage, where: Where) -> tuple[str, int | None]:
    """Return the text at a place, and the exit code of a command."""
    if where is Where.LOG:
        return stage.bot.text(), None
    if where is Where.GATEWAY_LOG:
        return stage.gateway.text(), None
    if where is Where.OTHER_LOG:
        return (stage.folder / OTHER_LOG).read_text("utf-8"), None
    if where is Where.STATUS:
        return _status()
    done = CliRunner().invoke(app, ["doctor"])
    return done.stdout, done.exit_code


def _status() -> tuple[str, int]:
    done = CliRunner().invoke(app, ["status"])
    return done.stdout, done.exit_code


def _says_what_to_do(status: str, incident: Incident) -> None:
    exit_code = next(sign.exit_code for sign in incident.signs if sign.where is Where.STATUS)
    assert re.search(r"^Works ", status, re.MULTILINE), status
    if exit_code == PERSON_NEEDED:
        assert re.search(r"^(NEEDS YOU|To decide) ", status, re.MULTILINE), status
    else:
        assert {GOOD: NOTHING_TO_DO, DEGRADED: RETRIES}[exit_code or GOOD] in status


def _reads_thrice_without_saying_that_all_is_well(stage: Stage) -> None:
    stage.bot.mark()
    wait_for(lambda: stage.bot.text().count(READS) > 3, stage.bot.text)
    said = stage.bot.text()
    assert AGREES not in said
    assert "Book and broker agree" not in said
    assert _status()[1] == PERSON_NEEDED
