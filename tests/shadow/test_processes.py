"""A strange bot, hands, stops and pauses, each in a process of its own; the watch names each."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.page.browser import looks_good
from tests.shadow.scene import Scene, day
from trueup.gateway.terminal import mt5_constants as mt5

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a whole console")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("shadow"))
    try:
        made.begin()
        yield made
    finally:
        made.clean()


@pytest.fixture(scope="module")
def told(scene: Scene) -> dict[str, Any]:
    return day(scene)


def found(told: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in told["report"]["findings"] if one["kind"] == kind]


def test_the_report_names_each_thing_that_happened(told: dict[str, Any]) -> None:
    tickets = told["tickets"]
    ghosts = {one["ticket"]: one for one in found(told, "ghost")}
    names = ("stopped", "by hand", "in silence", "while away")
    # The stop of "in silence" may be hit before the gateway stands still.
    assert set(ghosts) == {tickets[name] for name in names}
    assert "closed by its stop loss" in ghosts[tickets["stopped"]]["seen"]
    assert "closed by hand in the terminal" in ghosts[tickets["by hand"]]["seen"]
    assert ghosts[tickets["while away"]]["meanwhile"] == "while the watch was away"
    (zombie,) = found(told, "zombie")
    assert (zombie["ticket"], zombie["goes_on"]) == (tickets["zombie"], True)
    (drift,) = found(told, "drift")
    assert drift["ticket"] == tickets["kept"]
    assert "0.04 lots were closed by hand in the terminal" in drift["seen"]
    (bare,) = found(told, "missing stop")
    assert bare["ticket"] == tickets["bare"]
    # A busy machine may be silent for longer than the timeout once more, and that is told as well.
    assert found(told, "stale period")
    assert ghosts[tickets["in silence"]]["meanwhile"] in ("while no reading came", "")
    (away,) = found(told, "absence")
    assert away["goes_on"] is False


def test_the_report_has_nothing_that_the_trade_server_does_not_have(
    scene: Scene, told: dict[str, Any]
) -> None:
    ghosts, zombies = set(), set()
    for identifier, deals in scene.ledger().items():
        is_closed = round(
            sum(d.volume * (1 if d.type == mt5.DEAL_TYPE_BUY else -1) for d in deals), 8
        )
        if deals[0].magic != 7:
            zombies.add(identifier)
        elif not is_closed:
            ghosts.add(identifier)
    assert {one["position"] for one in found(told, "ghost")} == ghosts
    assert {one["position"] for one in found(told, "zombie")} == zombies
    assert found(told, "late deal") == found(told, "balance operation") == []
    # The first may be open before the first look.
    assert told["report"]["opened"] + told["report"]["at_first"] == 6
    assert told["report"]["closed"] == 0


def test_the_gateway_has_no_request_to_trade_from_the_watch(
    scene: Scene, told: dict[str, Any]
) -> None:
    store = scene.folder / "requests.db"
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as record:
        (count,) = record.execute("SELECT count(*) FROM requests").fetchone()
    assert count == 0
    assert "may only read" not in scene.gateway.text()


def test_the_watch_is_no_bot_of_this_folder(scene: Scene, told: dict[str, Any]) -> None:
    done = scene.run("status")
    assert done.returncode == 4
    assert "shadow" not in done.stdout


def test_the_page_is_one_file_that_reads_on_a_phone(
    browser: Any, scene: Scene, told: dict[str, Any]
) -> None:
    file = scene.folder / "report.html"
    assert "<script" not in file.read_text(encoding="utf-8")
    window = browser.new_context(offline=True).new_page()
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    looks_good(window, file.as_uri())
    title = window.get_by_role("heading", level=1)
    assert title.inner_text() == told["report"]["headline"]
    assert window.locator("article").count() == len(told["report"]["findings"])
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
